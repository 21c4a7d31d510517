"""A ring of slots: what is stored, and what is added to it."""

from collections.abc import Sequence
import functools
import math

import numpy as np

from dopamine import memory
from dopamine import seams
from dopamine import seeding
from dopamine.replay_memory import elements
from dopamine.replay_memory import ring_files
from dopamine.replay_memory import slots
from dopamine.replay_memory import windows
from dopamine.settings import checks
from dopamine.settings import errors

ReplayElement = elements.ReplayElement

# Where the size of a replay memory is set, for messages.
CAPACITY_SETTINGS = (
  'replay_capacity of WrappedReplayBuffer, WrappedPrioritizedReplayBuffer or '
  'OutOfGraphReplayBuffer, whichever the gin file sets'
)


class Ring(slots.Slots):
  """The slots of an `OutOfGraphReplayBuffer`, which says what they are."""

  takes_priority = False  # With each transition.

  SETTINGS = {
    'stack_size': checks.integer(1),
    'replay_capacity': checks.integer(1),
    'batch_size': checks.integer(1),
    'update_horizon': checks.integer(1),
    'gamma': checks.real(0, 1),
    'max_sample_attempts': checks.integer(1),
    'observation_dtype': checks.dtype,
    'terminal_dtype': checks.dtype,
    'action_shape': checks.size,
    'action_dtype': checks.dtype,
    'reward_shape': checks.size,
    'reward_dtype': checks.dtype,
  }

  def __init__(
    self,
    observation_shape: tuple[int, ...],
    stack_size: int,
    replay_capacity: int = 1_000_000,
    batch_size: int = 32,
    update_horizon: int = 1,
    gamma: float = 0.99,
    max_sample_attempts: int = 1000,
    extra_storage_types: Sequence[ReplayElement] | None = None,
    observation_dtype=np.uint8,
    terminal_dtype=np.uint8,
    action_shape: tuple[int, ...] = (),
    action_dtype=np.int32,
    reward_shape: tuple[int, ...] = (),
    reward_dtype=np.float32,
    seed: int | None = None,
  ):
    """Allocates the buffer; the system commits its memory as it fills.

    Args:
      observation_shape: of one frame.
      stack_size: K, the frames in a state.
      replay_capacity: slots, padding included.
      batch_size: how many transitions are sampled unless said otherwise.
      update_horizon: N, the steps of a transition.
      gamma: discount of one step.
      max_sample_attempts: draws per batch that may turn out invalid.
      extra_storage_types: further values of a transition; `add` takes them
        after `terminal`, in this order.
      observation_dtype: as all dtypes, NumPy's or TensorFlow's.
      terminal_dtype: of the terminal flag.
      action_shape: of one action.
      action_dtype: of actions.
      reward_shape: of one reward.
      reward_dtype: of rewards, and of the n-step sum that is returned.
      seed: of what is sampled; by default the run's seed, or a fresh one.
    """
    seams.check_code(self)
    assert isinstance(observation_shape, tuple), (
      f'observation_shape={observation_shape!r} must be a tuple'
    )
    self._observation_shape = observation_shape
    self._stack_size = stack_size
    self._replay_capacity = replay_capacity
    self._batch_size = batch_size
    self._update_horizon = update_horizon
    self._gamma = gamma
    self._max_sample_attempts = max_sample_attempts
    self._observation_dtype = observation_dtype
    self._terminal_dtype = terminal_dtype
    self._action_shape, self._action_dtype = action_shape, action_dtype
    self._reward_shape, self._reward_dtype = reward_shape, reward_dtype
    checks.check(self)
    if replay_capacity < update_horizon + stack_size:
      raise errors.SettingError(
        'There is not enough capacity to cover update_horizon and stack_size. '
        f'replay_capacity={replay_capacity} must be at least '
        f'update_horizon={update_horizon} plus stack_size={stack_size}: raise '
        f'{CAPACITY_SETTINGS}'
      )

    self._state_shape = observation_shape + (self._stack_size,)
    extra = () if extra_storage_types is None else extra_storage_types
    if not isinstance(extra, (list, tuple)) or not all(
      isinstance(element, tuple) and len(element) == 3 for element in extra
    ):
      expected = 'a list of ReplayElement(name, shape, type)'
      checks.fail(self, 'extra_storage_types', extra, expected)
    self._extra_storage_types = list(extra)
    self._rng = seeding.generator(seeding.resolve(seed), 'replay')

    # Public attributes are what `save` writes, beside the store.
    self.add_count = np.array(0, dtype=np.int64)
    self._next_experience_is_episode_start = True
    stored = [
      (name, tuple(shape), elements.numpy_dtype(dtype))
      for name, shape, dtype in self.get_storage_signature()
    ]
    slot = sum(math.prod(shape) * dtype.itemsize for _, shape, dtype in stored)
    memory.check_room(replay_capacity, slot, CAPACITY_SETTINGS)
    self._markers = np.zeros(replay_capacity, dtype=np.uint8)
    self._store: dict[str, np.ndarray] = {
      name: np.zeros((replay_capacity, *shape), dtype)
      for name, shape, dtype in stored
    }
    self._ring = ring_files.RingFiles(self._store)

  # What users know, for messages.
  __init__.__qualname__ = 'OutOfGraphReplayBuffer.__init__'

  # What a transition is made of ----------------------------------------------

  def get_storage_signature(self) -> list[ReplayElement]:
    """Returns name, shape and dtype of what a slot holds."""
    return [
      ReplayElement(
        'observation', self._observation_shape, self._observation_dtype
      ),
      ReplayElement('action', self._action_shape, self._action_dtype),
      ReplayElement('reward', self._reward_shape, self._reward_dtype),
      ReplayElement('terminal', (), self._terminal_dtype),
      *self._extra_storage_types,
    ]

  def get_add_args_signature(self) -> list[ReplayElement]:
    """Returns what `add` takes, in its order. Read once, at the first add."""
    return self.get_storage_signature()

  def get_transition_elements(
    self, batch_size: int | None = None
  ) -> list[ReplayElement]:
    """Returns what `sample_transition_batch` returns, in its order."""
    batch_size = self._batch_size if batch_size is None else batch_size
    state = (batch_size, *self._state_shape), self._observation_dtype
    action = (batch_size, *self._action_shape), self._action_dtype
    reward = (batch_size, *self._reward_shape), self._reward_dtype
    return [
      ReplayElement('state', *state),
      ReplayElement('action', *action),
      ReplayElement('reward', *reward),
      ReplayElement('next_state', *state),
      ReplayElement('next_action', *action),
      ReplayElement('next_reward', *reward),
      ReplayElement('terminal', (batch_size,), self._terminal_dtype),
      ReplayElement('indices', (batch_size,), np.dtype(np.int32)),
      *(
        ReplayElement(name, (batch_size, *shape), elements.numpy_dtype(dtype))
        for name, shape, dtype in self._extra_storage_types
      ),
    ]

  # Adding --------------------------------------------------------------------

  def add(
    self,
    observation,
    action,
    reward,
    terminal,
    *args,
    priority: float | None = None,
    episode_end: bool = False,
  ) -> None:
    """Stores o_t, a_t and the r_{t+1} and terminal_{t+1} that followed.

    Args:
      observation: the frame that was acted on.
      action: what was done.
      reward: what it gave.
      terminal: whether the episode really ended with it.
      *args: the values of `extra_storage_types`.
      priority: appended to `args` if given (prioritised buffers take it).
      episode_end: whether the episode was cut here. After a time-out whose last
        observation is known, use `add_final_observation` instead.
    """
    values = (observation, action, reward, terminal, *args)
    if priority is not None:
      values += (priority,)
    transition = tuple(map(elements.as_numpy, values))
    self._check_add(transition)
    if self._next_experience_is_episode_start:
      self._start_episode()
    is_end = bool(transition[3])
    self._append(
      windows.CUT if episode_end and not is_end else windows.NONE, transition
    )
    self._next_experience_is_episode_start = is_end or bool(episode_end)

  def add_final_observation(self, observation) -> None:
    """Ends the episode at the observation that a time-out cut it at.

    The last transition comes first, with `add(..., terminal=False)`. The
    observation gets a slot of its own, zero in all else, that is never sampled
    as a start. A window that reaches it stops there: the return is that of
    the k steps really taken, discounted with gamma^k (Pardo et al., 2018).
    It may have been added with `episode_end=True`. Where no episode is open
    there is nothing to end.
    """
    last, is_over = self.cursor() - 1, self._next_experience_is_episode_start
    if is_over and (self.add_count == 0 or self._markers[last] != windows.CUT):
      return
    transition = (elements.as_numpy(observation), *self._add_zeros[1:])
    self._check_add(transition)
    if is_over:
      self._markers[last] = windows.NONE  # What came next is known after all.
    self._append(windows.FINAL, transition)
    self._next_experience_is_episode_start = True

  def cut_episode(self) -> None:
    """Ends an episode that is still open, as `episode_end=True` would have.

    For one that was abandoned: what comes next is not what followed.
    """
    self._next_experience_is_episode_start = True

  def _start_episode(self) -> None:
    """Adds the K - 1 slots of zeros that keep stacks within the episode."""
    if self._is_abandoned():
      self._markers[self.cursor() - 1] = windows.CUT
    for _ in range(self._stack_size - 1):
      self._append(windows.PADDING, self._add_zeros)
    self._next_experience_is_episode_start = False

  def _is_abandoned(self) -> bool:
    """Whether nobody saw what followed the last slot; it is not yet marked."""
    last = self.cursor() - 1
    return bool(
      self._next_experience_is_episode_start
      and self.add_count > 0
      and self._markers[last] == windows.NONE
      and not self._store['terminal'][last]
    )

  def _append(self, marker: int, transition: tuple) -> None:
    cursor = self.cursor()
    self._ring.before_adding(cursor)
    self._markers[cursor] = marker
    self._invalid_range = None
    self._add(*transition)

  def _add(self, *args) -> None:
    """Writes one slot, padding and final observations included.

    A subclass that keeps more per slot overrides this and passes up what is in
    the store: `self.cursor()` is the slot before `super()._add` is called.
    """
    cursor = self.cursor()
    self._ring.before_adding(cursor)  # Here too: some call only this.
    for name, arg in zip(self._added, args, strict=False):
      self._store[name][cursor] = arg
    self.add_count += 1

  @functools.cached_property
  def _added(self) -> dict[str, tuple[tuple[int, ...], np.dtype, bool]]:
    """Shape and dtype of what `add` takes; whether it must not be rounded."""
    added = {}
    for name, shape, kind in self.get_add_args_signature():
      dtype = elements.numpy_dtype(kind)
      exact = 'biuf' if name == 'observation' else 'biu'
      added[name] = tuple(shape), dtype, dtype.kind in exact
    return added

  @functools.cached_property
  def _add_zeros(self) -> tuple[np.ndarray, ...]:
    added = self._added.values()
    return tuple(np.zeros(shape, dtype) for shape, dtype, _ in added)

  def _check_add(self, args: tuple) -> None:
    added = self._added
    if len(args) != len(added):
      raise errors.SettingError(
        f'Add expects {len(added)} elements, received {len(args)}'
      )
    for arg, (name, expected) in zip(args, added.items(), strict=True):
      shape, dtype, is_exact = expected
      given = () if type(arg) in elements.SCALARS else np.shape(arg)
      if given != shape:
        raise errors.SettingError(
          f'arg has shape {given}, expected {shape} ({name})'
        )
      if not is_exact or type(arg) in (int, bool):
        continue  # NumPy itself refuses an int that does not fit.
      if (float if type(arg) is float else arg.dtype) != dtype:
        setting = f'{type(self).__name__}.{name}_dtype'
        elements.as_stored(arg, dtype, f'add was given {name}', setting)

  def live_figures(self) -> dict[str, float]:
    """What TensorBoard shows of it, by tag."""
    share = min(int(self.add_count) / self._replay_capacity, 1.0)
    return {'Replay/ShareFull': share}

  @property
  def nbytes(self) -> int:
    """Bytes of memory that the buffer takes once it is full."""
    return sum(x.nbytes for x in (*self._store.values(), self._markers))

  def __repr__(self):
    return (
      f'{type(self).__name__}({self.add_count} added, '
      f'replay_capacity={self._replay_capacity}, '
      f'{self.nbytes / 2**20:,.1f} MiB when full)'
    )
