"""Partners that speak an interface of before, wrapped once, at the door."""

import inspect
from typing import Any

from dopamine import interfaces
from dopamine.replay_memory import batches
from dopamine.replay_memory import ring
from dopamine.settings import errors


class _Foreign:
  """A partner, all of whose attributes are read and set as they are."""

  def __init__(self, partner: Any):
    object.__setattr__(self, '_partner', partner)

  @property  # type: ignore[misc]  # Of what it is to others.
  def __class__(self):
    return type(self._partner)

  def __getattr__(self, name: str) -> Any:
    if name == '_partner':  # Of a copy, which has none yet.
      raise AttributeError(name)
    return getattr(self._partner, name)

  def __setattr__(self, name: str, value: Any) -> None:
    setattr(self._partner, name, value)

  def __repr__(self) -> str:
    return repr(self._partner)

  def __str__(self) -> str:
    return str(self._partner)


# Agents -----------------------------------------------------------------------


def agent(partner: Any) -> Any:
  """Returns an agent that an `interfaces.Agent` can be taken for.

  Raises:
    InterfaceError: it lacks what would only be missed hours later.
  """
  verbs = (
    *('begin_episode', 'step', 'end_episode'),
    *('bundle_and_checkpoint', 'unbundle'),
  )
  lacks = [n for n in verbs if not callable(getattr(partner, n, None))]
  if lacks:
    raise errors.InterfaceError(
      f'{type(partner).__name__} has no {", ".join(lacks)}, which a '
      'Runner calls: docs/extending.md says what an agent needs'
    )
  arguments = _end_episode_arguments(partner)
  names = {'terminal': 'terminal', 'observation': 'observation'}
  if isinstance(partner, interfaces.Agent) and arguments == names:
    return partner
  return _ForeignAgent(partner, arguments)


# What an agent may say of itself, and what else such a name may be.
_SAID = {
  'is_warming_up': bool,
  'saves_mid_episode': bool,
  'allow_partial_reload': bool,
  'max_tf_checkpoints_to_keep': int | None,
}


class _ForeignAgent(_Foreign):
  """An agent that takes less at the end of an episode, or says less."""

  def __init__(self, partner: Any, arguments: dict[str, str]):
    super().__init__(partner)
    object.__setattr__(self, '_arguments', arguments)

  def __getattr__(self, name: str) -> Any:
    partner = self._partner
    if isinstance(partner, interfaces.Agent):
      return getattr(partner, name)
    default = getattr(_AGENT, name, None)
    if name in _SAID:
      value = getattr(partner, name, default)
      return value if isinstance(value, _SAID[name]) else default
    if name in _OF_OURS:
      return default
    return getattr(partner, name)

  def end_episode(self, reward, terminal=True, observation=None) -> None:
    values = {'terminal': terminal, 'observation': observation}
    arguments = {n: values[v] for n, v in self._arguments.items()}
    self._partner.end_episode(reward, **arguments)


# All of which a foreign agent has no notion of.
_AGENT = interfaces.Agent()
_OF_OURS = frozenset(
  ('remember_settings', 'identity', 'bundles_attributes', 'graph_def')
)


def _end_episode_arguments(agent: Any) -> dict[str, str]:
  """What an agent's `end_episode` takes beside the reward, by its own names.

  Returns:
    The name of a parameter -> 'terminal' or 'observation'.
  """
  if not hasattr(type(agent), 'end_episode'):  # E.g. a mock.
    return {}
  parameters = inspect.signature(agent.end_episode).parameters
  kinds = [p.kind for p in parameters.values()]
  names = ('terminal', 'observation')
  if inspect.Parameter.VAR_KEYWORD in kinds:
    return {name: name for name in names}
  taken = {name: name for name in names if name in parameters}
  required = [
    name
    for name, parameter in list(parameters.items())[1:]
    if parameter.default is parameter.empty
    and parameter.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD
  ]
  # Under another name, as in `end_episode(reward, is_terminal)`.
  if 'terminal' not in taken and required[:1] and required[0] not in taken:
    taken[required[0]] = 'terminal'
  return taken


# Replay memories --------------------------------------------------------------


def replay(partner: Any) -> Any:
  """Returns a replay memory of an agent that has named batches."""
  memory = getattr(partner, 'memory', None)
  is_ours = isinstance(partner, batches.NamedBatches)
  is_ours = is_ours and isinstance(memory, ring.Ring)
  adds = partner.add, getattr(memory, 'add', partner.add)
  keywords = {
    name
    for name in ('priority', 'episode_end')
    if all(takes(add, name) for add in adds)
  }
  if is_ours and len(keywords) == 2:
    return partner
  return _ForeignReplay(partner, memory, keywords)


class _ForeignReplay(_Foreign):
  """A replay memory whose `add` takes less, or that can do less."""

  def __init__(self, partner: Any, memory: Any, takes: set[str]):
    super().__init__(partner)
    own = object.__setattr__
    own(self, '_takes', takes)
    own(self, 'cuts_episodes', hasattr(partner, 'add_final_observation'))
    if memory is None or not isinstance(memory, ring.Ring):
      memory = _ForeignMemory(partner if memory is None else memory)
    own(self, 'memory', memory)

  def add(self, *args, priority=None, episode_end=False) -> None:
    keywords = {}
    if priority is not None and 'priority' in self._takes:
      keywords['priority'] = priority
    elif priority is not None:
      args = (*args, priority)
    if episode_end and 'episode_end' in self._takes:
      keywords['episode_end'] = True
    self._partner.add(*args, **keywords)
    if episode_end and 'episode_end' not in self._takes:
      self.cut_episode()

  def cut_episode(self) -> None:
    if self.cuts_episodes:
      self._partner.cut_episode()

  def checkpoint(self, *place) -> None:
    getattr(self._partner, 'checkpoint', self._partner.save)(*place)

  def restore(self, *place) -> None:
    getattr(self._partner, 'restore', self._partner.load)(*place)


class _ForeignMemory(_Foreign):
  """A memory that may have no generator, and not say how large it is."""

  def __getattr__(self, name: str) -> Any:
    if name == 'generator_state':
      return getattr(self._partner, name, None)
    if name == 'nbytes':
      size = getattr(self._partner, name, 0)
      return size if isinstance(size, int) else 0
    return super().__getattr__(name)


def takes(function: Any, name: str) -> bool:
  """Whether a function can be called with the keyword `name`."""
  parameters = inspect.signature(function).parameters
  return name in parameters or any(
    p.kind == inspect.Parameter.VAR_KEYWORD for p in parameters.values()
  )
