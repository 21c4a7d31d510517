"""Partners of another interface than ours, wrapped once, at the door."""

import inspect
from typing import Any

import gymnasium

from dopamine import interfaces
from dopamine.compat import old_gym
from dopamine.compat import proxy
from dopamine.replay_memory import batches
from dopamine.replay_memory import ring
from dopamine.settings import errors

# Environments -----------------------------------------------------------------


class ForeignEnvironment(proxy.Proxy):
  """What `interfaces.Environment` has beside what the partner has."""

  __slots__ = ()

  _if_missing = {
    'action_space': None,
    'observation_space': None,
    'close': lambda: None,
  }

  @property
  def task_name(self) -> str | None:
    return old_gym.name_of(self._partner_of_proxy)

  @property
  def saves_mid_episode(self) -> bool:
    partner = self._partner_of_proxy
    says_so = getattr(partner, 'saves_mid_episode', False) is True
    return says_so and not interfaces.overrides(type(partner), 'reset', 'step')

  def get_state(self) -> Any:
    """Returns None for one that has no `set_state`."""
    partner = self._partner_of_proxy
    return partner.get_state() if hasattr(partner, 'set_state') else None


def environment(partner: Any) -> Any:
  """Returns ours as it is, and wraps any other."""
  if issubclass(type(partner), interfaces.Environment):
    return partner
  is_wrapped = type(partner) is ForeignEnvironment
  return partner if is_wrapped else ForeignEnvironment(partner)


def check_environment(partner: Any) -> None:
  """Refuses what is no environment, or lacks what `GymPreprocessing` adds."""
  is_bare = isinstance(partner, gymnasium.Env)
  is_bare = is_bare and not hasattr(partner, 'game_over')
  lacks = [n for n in ('reset', 'step') if not hasattr(partner, n)]
  if is_bare or lacks:
    raise errors.SettingError(
      f'Runner.create_environment_fn returned {partner}, which lacks '
      f'{", ".join(lacks) or "game_over"}: return '
      'gym_lib.GymPreprocessing(environment) of a Gymnasium environment'
    )


# Agents -----------------------------------------------------------------------


def agent(partner: Any) -> Any:
  """Returns an agent that an `interfaces.Agent` can be taken for.

  Raises:
    InterfaceError: it lacks what would only be missed hours later.
  """
  if issubclass(type(partner), ForeignAgent):
    return partner
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
  is_ours = issubclass(type(partner), interfaces.Agent)
  if is_ours and _end_episode_arguments(partner).keys() == _TOLD:
    return partner
  if getattr(partner, 'bundles_trees', False) is True:
    from dopamine.compat.functional import door

    return door.FunctionalAgent(partner)
  return ForeignAgent(partner)


# What `end_episode` is told beside the reward.
_TOLD = {'terminal', 'observation'}

# What an agent may say of itself; such a name may be something else too.
_SAID = {
  'is_warming_up': bool,
  'saves_mid_episode': bool,
  'allow_partial_reload': bool,
  'max_tf_checkpoints_to_keep': int | None,
}
_AGENT = interfaces.Agent()


class ForeignAgent(proxy.Proxy):
  """An agent that takes less at the end of an episode, or says less."""

  __slots__ = ('_arguments',)

  _if_missing = {'set_aside': _AGENT.set_aside}

  def __init__(self, partner: Any):
    super().__init__(partner)
    arguments = _end_episode_arguments(partner)
    object.__setattr__(self, '_arguments', arguments)

  def __getattr__(self, name: str) -> Any:
    if name not in _SAID:
      return super().__getattr__(name)
    default = getattr(_AGENT, name)
    value = getattr(self._partner_of_proxy, name, default)
    return value if isinstance(value, _SAID[name]) else default

  def end_episode(self, reward, terminal=True, observation=None) -> None:
    values = {'terminal': terminal, 'observation': observation}
    arguments = {n: values[v] for n, v in self._arguments.items()}
    self._partner_of_proxy.end_episode(reward, **arguments)

  def load_weights(self, path: str) -> None:
    partner = self._partner_of_proxy
    declared = interfaces.Agent.load_weights
    getattr(partner, 'load_weights', lambda p: declared(partner, p))(path)

  @property
  def bundles_attributes(self) -> bool:
    return hasattr(self._partner_of_proxy, 'remember_settings')

  @property
  def replay_nbytes(self) -> int:
    memory = getattr(self._partner_of_proxy, '_replay', None)
    size = getattr(memory, 'nbytes', 0)
    return size if isinstance(size, int) else 0

  def remember_settings(self) -> None:
    self._asked('remember_settings', object, None)

  def identity(self) -> dict[str, Any]:
    return self._asked('identity', dict, {}) if self.bundles_attributes else {}

  def describe_device(self) -> str | None:
    return self._asked('describe_device', str, None)

  def graph_def(self) -> bytes | None:
    return self._asked('graph_def', bytes, None)

  def live_figures(self) -> dict[str, Any]:
    # Others may call something of their own like this.
    return self._asked('live_figures', dict, {}) if self._is_ours else {}

  def start_distribution(self) -> Any:
    if not self._is_ours:
      return None
    return self._asked('start_distribution', tuple, None)

  @property
  def seconds_updating(self) -> float:
    return self._partner_of_proxy.seconds_updating if self._is_ours else 0.0

  @property
  def _is_ours(self) -> bool:
    return issubclass(type(self._partner_of_proxy), interfaces.Agent)

  def _asked(self, name: str, kind: type, default: Any) -> Any:
    """What a method returns, if there is one and that is of a kind."""
    method = getattr(self._partner_of_proxy, name, None)
    value = method() if callable(method) else default
    return value if isinstance(value, kind) else default


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
  if is_ours and len(_keywords_of_add(partner)) == 2:
    return partner
  return _ForeignReplay(partner)


def _keywords_of_add(partner: Any) -> set[str]:
  """What both `add` take, that of a wrapper and that of its memory."""
  memory = getattr(partner, 'memory', partner)
  adds = partner.add, getattr(memory, 'add', partner.add)
  names = 'priority', 'episode_end'
  return {name for name in names if all(takes(add, name) for add in adds)}


class _ForeignReplay(proxy.Proxy):
  """A replay memory whose `add` takes less, or that can do less."""

  __slots__ = ('_takes', 'cuts_episodes', 'memory')

  def __init__(self, partner: Any):
    super().__init__(partner)
    own = object.__setattr__
    own(self, '_takes', _keywords_of_add(partner))
    own(self, 'cuts_episodes', hasattr(partner, 'add_final_observation'))
    memory = getattr(partner, 'memory', partner)
    is_ours = isinstance(memory, ring.Ring)
    own(self, 'memory', memory if is_ours else _ForeignMemory(memory))

  def add(self, *args, priority=None, episode_end=False) -> None:
    keywords = {}
    if priority is not None and 'priority' in self._takes:
      keywords['priority'] = priority
    elif priority is not None:
      args = (*args, priority)
    if episode_end and 'episode_end' in self._takes:
      keywords['episode_end'] = True
    self._partner_of_proxy.add(*args, **keywords)
    if episode_end and 'episode_end' not in self._takes:
      self.cut_episode()

  def cut_episode(self) -> None:
    if self.cuts_episodes:
      self._partner_of_proxy.cut_episode()

  def checkpoint(self, *place) -> None:
    partner = self._partner_of_proxy
    getattr(partner, 'checkpoint', partner.save)(*place)

  def restore(self, *place) -> None:
    partner = self._partner_of_proxy
    getattr(partner, 'restore', partner.load)(*place)


class _ForeignMemory(proxy.Proxy):
  """A memory that may have no generator, and not say how large it is."""

  __slots__ = ()

  _if_missing = {
    'generator_state': None,
    'nbytes': 0,
    'takes_priority': False,
    'live_figures': dict,
  }


def takes(function: Any, name: str) -> bool:
  """Whether a function can be called with the keyword `name`."""
  parameters = inspect.signature(function).parameters
  return name in parameters or any(
    p.kind == inspect.Parameter.VAR_KEYWORD for p in parameters.values()
  )
