"""Partners of another interface than ours, wrapped once, at the door."""

import inspect
from typing import Any

import gymnasium
import numpy as np

from dopamine import interfaces
from dopamine.compat import old_gym
from dopamine.compat import own_code
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
  if any(
    map(bundles_trees, (partner, *getattr(partner, '__dict__', {}).values()))
  ):
    from dopamine.compat.functional import door

    return door.FunctionalAgent(partner)
  is_ours = issubclass(type(partner), interfaces.Agent)
  if is_ours and _bundles_alone(type(partner)):
    return SelfBundling(partner)
  if is_ours and _end_episode_arguments(partner).keys() == _TOLD:
    return partner
  return ForeignAgent(partner)


def bundles_trees(agent: Any) -> bool:
  """Whether it is an agent in the functional style of Dopamine's JAX agents."""
  return getattr(type(agent), 'bundles_trees', False) is True


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

  def unsaved_draws(self) -> str | None:
    return self._asked('unsaved_draws', str, None) if self._is_ours else None

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


def _bundles_alone(cls: type) -> bool:
  """Whether a subclass makes the bundle without `super()`, as in 3.2.1."""
  hook = 'bundle_and_checkpoint'
  return (
    hasattr(cls, 'save_weights')
    and hook in own_code.defined(cls)
    and hook not in own_code.uses(cls).inherited
  )


class SelfBundling(ForeignAgent):
  """One of ours whose bundle is all its own, but weights and generators."""

  __slots__ = ()

  # What is added, where none of it is there.
  _added: tuple[str, ...] = ('generators', 'attributes')

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    agent = self._partner_of_proxy
    bundle = agent.bundle_and_checkpoint(checkpoint_dir, iteration_number)
    if not isinstance(bundle, dict) or bundle.keys() & {*self._added}:
      return bundle
    agent.save_weights(checkpoint_dir, iteration_number)
    added = {**agent.plain_record(), 'trees': self._rest(bundle)}
    return bundle | {k: added[k] for k in self._added} | {'is_added': True}

  def _rest(self, bundle: dict[str, Any]) -> Any:
    """What else is not in the bundle."""

  def unbundle(self, checkpoint_dir, iteration_number, bundle_dictionary):
    agent, bundle = self._partner_of_proxy, bundle_dictionary
    if isinstance(bundle, dict) and bundle.get('is_added'):
      bundle = {k: v for k, v in bundle.items() if k != 'is_added'}
      added = {key: bundle.pop(key) for key in self._added}
      agent.take_record(checkpoint_dir, iteration_number, added)
    return agent.unbundle(checkpoint_dir, iteration_number, bundle)


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


def replay(partner: Any, agent: Any) -> Any:
  """Returns a replay memory of an agent that has named batches."""
  memory = getattr(partner, 'memory', None)
  is_ours = isinstance(partner, batches.NamedBatches)
  is_ours = is_ours and isinstance(memory, ring.Ring)
  if is_ours and len(_keywords_of_add(partner)) == 2:
    return partner
  return _ForeignReplay(partner, agent)


def memory(partner: Any, update_horizon: int) -> Any:
  """Returns ours as it is, and wraps what a `WrappedReplayBuffer` is given.

  Raises:
    InterfaceError: it lacks what nobody can supply.
  """
  if isinstance(partner, ring.Ring):
    return partner
  return _ForeignMemory(partner, update_horizon)


def _keywords_of_add(partner: Any) -> set[str]:
  """What both `add` take, that of a wrapper and that of its memory."""
  memory = getattr(partner, 'memory', partner)
  adds = partner.add, getattr(memory, 'add', partner.add)
  names = 'priority', 'episode_end'
  return {name for name in names if all(takes(add, name) for add in adds)}


def _declares(partner: Any, name: str) -> bool:
  """Whether it has something itself, and does not hand it on."""
  return inspect.getattr_static(partner, name, None) is not None


class _ForeignReplay(proxy.Proxy):
  """A replay memory whose `add` takes less, or that can do less.

  It is a wrapper with batches by name, one of Dopamine 3's form that has none,
  or a memory alone.
  """

  __slots__ = ('_batches', '_takes', 'cuts_episodes', 'memory')

  def __init__(self, partner: Any, agent: Any):
    super().__init__(partner)
    own = object.__setattr__
    own(self, '_takes', _keywords_of_add(partner))
    inner = getattr(partner, 'memory', partner)
    own(self, '_batches', None)
    if not _declares(partner, 'sample'):
      inner = memory(inner, agent.update_horizon)
      own(self, '_batches', _Batches(inner, partner))
    is_known = isinstance(inner, ring.Ring) or type(inner) is _ForeignMemory
    own(self, 'memory', inner if is_known else _Counted(inner))
    cuts = getattr(partner, 'cuts_episodes', True)
    cuts = cuts and hasattr(partner, 'add_final_observation')
    if type(inner) is _ForeignMemory:
      inner.check(agent)
      cuts = cuts and _declares(
        inner._partner_of_proxy, 'add_final_observation'
      )
    own(self, 'cuts_episodes', cuts)

  def __setattr__(self, name: str, value: Any) -> None:
    super().__setattr__(name, value)
    if name == 'gamma' and self._batches is not None:
      self._batches.gamma = value

  def add(self, *args, priority=None, episode_end=False) -> None:
    keywords = {}
    if priority is not None and 'priority' in self._takes:
      keywords['priority'] = priority
    elif priority is not None:
      args = (*args, priority)
    if episode_end and 'episode_end' in self._takes:
      keywords['episode_end'] = True
    elif episode_end and not self.cuts_episodes:  # As 3.2.1 stored it.
      args = (*args[:3], True, *args[4:])
    self._partner_of_proxy.add(*args, **keywords)
    if episode_end and 'episode_end' not in self._takes:
      self.cut_episode()

  def sample(self, num_batches: int = 1) -> Any:
    return (self._batches or self._partner_of_proxy).sample(num_batches)

  def cut_episode(self) -> None:
    if self.cuts_episodes:
      self._partner_of_proxy.cut_episode()

  def checkpoint(self, *place) -> None:
    partner = self._partner_of_proxy
    _either(partner, 'checkpoint', 'save')(*place)

  def restore(self, *place) -> None:
    partner = self._partner_of_proxy
    _either(partner, 'restore', 'load')(*place)


def _either(partner: Any, *names: str) -> Any:
  """The first of some methods that a partner has; one that does nothing."""
  found = (getattr(partner, name, None) for name in names)
  return next(filter(None, found), lambda *place: None)


class _Batches(batches.NamedBatches):
  """Batches by name of a wrapper, or a memory, that has none."""

  def __init__(self, memory: Any, partner: Any):
    self.memory = memory
    size = getattr(partner, 'batch_size', None)
    self.batch_size = size if isinstance(size, int) else memory._batch_size


class _Counted(proxy.Proxy):
  """The memory of a wrapper that has batches by name itself."""

  __slots__ = ()

  _if_missing: dict[str, Any] = {
    'generator_state': None,
    'nbytes': 0,
    'takes_priority': False,
    'live_figures': dict,
  }


class _ForeignMemory(proxy.Proxy):
  """A memory with 3.2.1's public methods, of which `batches` takes all others.

  What it hands on to another one, or to one of several, is only what 3.2.1 had.
  """

  __slots__ = ('_horizon', '_names')

  _if_missing = _Counted._if_missing | {
    'save': lambda *place: None,
    'load': lambda *place: None,
  }

  def __init__(self, partner: Any, update_horizon: int):
    super().__init__(partner)
    needed = (
      *('add', 'add_count', 'get_transition_elements'),
      'sample_transition_batch',
    )
    lacks = [n for n in needed if not hasattr(partner, n)]
    own = object.__setattr__
    own(self, '_horizon', update_horizon)
    own(self, '_names', ())
    if not lacks:
      elements = partner.get_transition_elements()
      own(self, '_names', tuple(element[0] for element in elements))
      expected = 'state', 'action', 'reward', 'next_state', 'terminal'
      lacks = [f'element {n!r}' for n in expected if n not in self._names]
    if lacks:
      raise errors.InterfaceError(
        f'{type(partner).__name__} has no {", ".join(lacks)}, which an agent '
        'takes of its replay memory: see the row of wrapped_memory in '
        'docs/migrating.md'
      )

  def __getattr__(self, name: str) -> Any:
    partner = self._partner_of_proxy
    if name in _Counted._if_missing and not _declares(partner, name):
      return self._if_missing[name]
    return super().__getattr__(name)

  def __reduce__(self) -> tuple:
    return type(self), (self._partner_of_proxy, self._horizon)

  def check(self, agent: Any) -> None:
    """Refuses one without priorities for an agent that asks for them."""
    elements = {'indices', 'sampling_probabilities'} - {*self._names}
    lacks = [f'element {name!r}' for name in sorted(elements)]
    methods = ['set_priority'] + ['sum_tree'] * self.takes_priority
    lacks += [name for name in methods if not hasattr(self, name)]
    if agent._replay_scheme == 'prioritized' and lacks:
      raise errors.InterfaceError(
        f'{self.__class__.__name__} has no {", ".join(lacks)}: set '
        f'replay_scheme = "uniform" of {type(agent).__name__}, which takes none'
      )

  @property
  def _batch_size(self) -> int:
    partner = self._partner_of_proxy
    if _declares(partner, '_batch_size'):
      return partner._batch_size
    return partner.get_transition_elements()[0][1][0]

  @property
  def takes_priority(self) -> bool:
    signature = getattr(self, 'get_add_args_signature', list)
    return any(element[0] == 'priority' for element in signature())

  def draw_batches(
    self, num_batches: int, batch_size: int, gamma: float
  ) -> Any:
    """See `OutOfGraphReplayBuffer.draw_batches`; nothing of it was cut."""
    draw = self._partner_of_proxy.sample_transition_batch
    size = {'batch_size': batch_size} if takes(draw, 'batch_size') else {}
    drawn = [draw(**size) for _ in range(num_batches)]
    arrays = tuple(
      np.concatenate([np.asarray(x) for x in of_one])
      for of_one in zip(*drawn, strict=True)
    )
    terminal = arrays[self._names.index('terminal')].astype(np.float32)
    discount = np.float32(gamma**self._horizon) * (1 - terminal)
    return arrays, discount

  def checkpoint(self, *place) -> None:
    self._declared('checkpoint', 'save')(*place)

  def restore(self, *place) -> None:
    self._declared('restore', 'load')(*place)

  def _declared(self, new: str, old: str) -> Any:
    partner = self._partner_of_proxy
    return (
      getattr(partner, new) if _declares(partner, new) else getattr(self, old)
    )


def takes(function: Any, name: str) -> bool:
  """Whether a function can be called with the keyword `name`."""
  parameters = inspect.signature(function).parameters
  return name in parameters or any(
    p.kind == inspect.Parameter.VAR_KEYWORD for p in parameters.values()
  )
