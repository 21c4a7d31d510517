"""A ring of transitions, and the buffer that agents draw named batches from.

One slot holds o_t, a_t, r_{t+1} and terminal_{t+1}; the next observation is in
the next slot. `K` is the stack size, `N` the update horizon, `B` the batch.
"""

import collections
from collections.abc import Callable, Sequence
import functools
import inspect
import math
import os
from typing import Any

from absl import logging
import gin
import numpy as np

from dopamine import memory
from dopamine import seeding
from dopamine.replay_memory import data_set
from dopamine.replay_memory import ring_files
from dopamine.replay_memory import windows
from dopamine.settings import checks
from dopamine.settings import errors

ReplayElement = collections.namedtuple(  # type: ignore[name-match]
  'shape_type', ['name', 'shape', 'type']
)

# Reachable here, as they always were.
STORE_FILENAME_PREFIX = data_set.STORE_FILENAME_PREFIX
CHECKPOINT_DURATION = data_set.CHECKPOINT_DURATION
NotFoundError = data_set.NotFoundError
_MARKERS_NAME = data_set.MARKERS_NAME
_filename = data_set.filename


_SCALARS = frozenset((bool, int, float))

# Where the size of a replay memory is set, for messages.
CAPACITY_SETTINGS = (
  'replay_capacity of WrappedReplayBuffer, WrappedPrioritizedReplayBuffer or '
  'OutOfGraphReplayBuffer, whichever the gin file sets'
)


# Attributes of the wrapper -> fields of its last batch.
_OF_THE_LAST_BATCH = {
  'states': 'state',
  'actions': 'action',
  'rewards': 'reward',
  'next_states': 'next_state',
  'next_actions': 'next_action',
  'next_rewards': 'next_reward',
  'terminals': 'terminal',
  'indices': 'indices',
}


class NothingToSampleError(errors.StateError):
  """The buffer holds no transition that can be sampled, or hardly one."""


def modulo_range(start: int, length: int, modulo: int):
  """Yields `length` consecutive integers from `start`, modulo `modulo`."""
  for i in range(length):
    yield (start + i) % modulo


def invalid_range(
  cursor: int, replay_capacity: int, stack_size: int, update_horizon: int
) -> np.ndarray:
  """Returns the `[K + N]` indices around the cursor that cannot be sampled.

  The N slots before the cursor lack their next state; the stacks of those from
  the cursor on mix the newest with the oldest. (Of the latter K - 1 would do:
  the published range is one slot too careful.)
  """
  return np.array(
    [
      (cursor - update_horizon + i) % replay_capacity
      for i in range(stack_size + update_horizon)
    ]
  )


def _numpy_dtype(dtype) -> np.dtype:
  """Returns the NumPy dtype of anything that names one, tf.DType included."""
  return np.dtype(getattr(dtype, 'as_numpy_dtype', dtype))


def _as_numpy(value: Any) -> Any:
  """Returns a number or an array as it is, and a tensor as NumPy has it."""
  if type(value) in _SCALARS or isinstance(value, (np.ndarray, np.generic)):
    return value
  return np.asarray(value)


def as_stored(
  values: Any, dtype: np.dtype, what: str, setting: str
) -> np.ndarray:
  """Returns numbers as an array of `dtype`.

  Floats lose the digits that a narrower float has no room for; nothing else may
  change.

  Args:
    values: one or more.
    dtype: of a kind of numbers.
    what: they are, for the error.
    setting: what `dtype` is called, for the error.

  Raises:
    ValueError: they would change, or are no numbers.
  """
  array = np.asarray(values)
  if array.dtype == object:  # There may be numbers in it.
    array = np.array(array.tolist())
  kind, fits, given = array.dtype.kind, False, str(array.dtype)
  is_wide = kind in 'iu' and array.itemsize == 8  # Of which some are no floats.
  if np.can_cast(array.dtype, dtype) and not (is_wide and dtype.kind in 'fc'):
    return array.astype(dtype, copy=False)  # 1 us; all that follows takes 6.
  with np.errstate(over='ignore', invalid='ignore'):
    if kind in 'fcV' and np.can_cast(array.dtype, dtype, 'same_kind'):
      stored = array.astype(dtype)  # 'V': bfloat16.
      fits = np.isfinite(stored).all()
      fits = fits or (np.isfinite(stored) == np.isfinite(array)).all()
    elif kind in 'biuf':
      stored = array.astype(dtype)
      fits = (stored == array).all()
      if is_wide:
        fits = fits and (stored.astype(array.dtype) == array).all()
  if fits:
    return stored
  if kind in 'biuf':
    given += f' from {array.min()} to {array.max()}'
  raise errors.SettingError(
    f'{what} of {given}, which {setting} = {dtype} cannot hold: set it to one '
    'that can'
  )


@gin.configurable
class OutOfGraphReplayBuffer:
  """A circular buffer of transitions that stacks frames when it is sampled.

  Frames are stored once; a state of K frames is put together from K slots.
  Each episode starts with K - 1 slots of zeros, which `add_count` counts.

  An episode ends in one of three ways:
    * `add(..., terminal=True)`: a real end, nothing is bootstrapped from.
    * `add(...)` of the last transition, then `add_final_observation(...)`: a
      time-out. Windows that reach it stop there, and bootstrap from it.
    * `add(..., terminal=False, episode_end=True)`: a time-out whose last
      observation is unknown. Transitions that would need it are not sampled.

  To store more, pass `extra_storage_types`; to return more or less, override
  `get_transition_elements`; to decide what is drawn, `sample_index_batch`.
  """

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
    if not isinstance(extra_storage_types, (list, tuple, type(None))) or any(
      len(t) != 3 if isinstance(t, tuple) else True
      for t in extra_storage_types or ()
    ):
      checks.fail(
        self,
        'extra_storage_types',
        extra_storage_types,
        'a list of ReplayElement(name, shape, type)',
      )
    self._extra_storage_types = list(extra_storage_types or ())
    self._rng = seeding.generator(seeding.resolve(seed), 'replay')

    # Public attributes are what `save` writes, beside the store.
    self.add_count = np.array(0, dtype=np.int64)
    self._invalid_range: np.ndarray | None = None
    self._next_experience_is_episode_start = True
    self._check_memory()
    self._markers = np.zeros(self._replay_capacity, dtype=np.uint8)
    self._store: dict[str, np.ndarray] = {}
    self._create_storage()
    self._ring = ring_files.RingFiles(self._store)

  def _create_storage(self) -> None:
    for name, shape, dtype in self.get_storage_signature():
      self._store[name] = np.zeros(
        (self._replay_capacity, *shape), _numpy_dtype(dtype)
      )

  def _check_memory(self) -> None:
    """Refuses a buffer that could not be filled."""
    slot = sum(
      math.prod(shape) * _numpy_dtype(dtype).itemsize
      for _, shape, dtype in self.get_storage_signature()
    )
    needed, limit = slot * self._replay_capacity, memory.tightest()
    used = memory.resident()
    available = max(limit.size - used, 0)
    if needed > available:
      raise errors.SettingError(
        f'a replay memory of replay_capacity={self._replay_capacity} '
        f'transitions needs {needed / 1e9:.1f} GB when it is full, beside the '
        f'{used / 1e9:.1f} GB that are in use, and {limit.owner} '
        f'{limit.size / 1e9:.1f} GB, enough for at most '
        f'{int(available // slot)}: lower '
        f'{CAPACITY_SETTINGS}'
      )

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
        ReplayElement(name, (batch_size, *shape), _numpy_dtype(dtype))
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
    transition = tuple(map(_as_numpy, values))
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
    transition = (_as_numpy(observation), *self._add_zeros[1:])
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
    """Returns whether nobody can say any more what followed the last slot.

    After `cut_episode`, or after a data set without markers was loaded. The
    next episode marks the slot as cut.
    """
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
    self._ring.before_adding(cursor)
    for name, arg in zip(self._add_shapes, args, strict=False):
      self._store[name][cursor] = arg
    self.add_count += 1

  @functools.cached_property
  def _add_shapes(self) -> dict[str, tuple[int, ...]]:
    return {e.name: tuple(e.shape) for e in self.get_add_args_signature()}

  @functools.cached_property
  def _add_zeros(self) -> tuple[np.ndarray, ...]:
    return tuple(
      np.zeros(e.shape, _numpy_dtype(e.type))
      for e in self.get_add_args_signature()
    )

  @functools.cached_property
  def _exact_types(self) -> dict[str, np.dtype]:
    """The dtypes that change nothing; a reward may well be rounded."""
    types = {
      e.name: _numpy_dtype(e.type) for e in self.get_add_args_signature()
    }
    return {
      name: dtype
      for name, dtype in types.items()
      if dtype.kind in ('biuf' if name == 'observation' else 'biu')
    }

  def _check_add(self, args: tuple) -> None:
    shapes = self._add_shapes
    if len(args) != len(shapes):
      raise errors.SettingError(
        f'Add expects {len(shapes)} elements, received {len(args)}'
      )
    for arg, (name, expected) in zip(args, shapes.items(), strict=True):
      shape = () if type(arg) in _SCALARS else np.shape(arg)
      if shape != expected:
        raise errors.SettingError(
          f'arg has shape {shape}, expected {expected} ({name})'
        )
      dtype = self._exact_types.get(name)
      if dtype is None or type(arg) in (int, bool):
        continue  # NumPy itself refuses an int that does not fit.
      if getattr(arg, 'dtype', float) != dtype:
        setting = f'{type(self).__name__}.{name}_dtype'
        as_stored(arg, dtype, f'add was given {name}', setting)

  # Where the buffer stands ---------------------------------------------------

  def is_empty(self) -> bool:
    """Returns whether nothing was added yet."""
    return bool(self.add_count == 0)

  def is_full(self) -> bool:
    """Returns whether new slots overwrite old ones."""
    return bool(self.add_count >= self._replay_capacity)

  def cursor(self) -> int:
    """Returns the slot that is written next."""
    return int(self.add_count) % self._replay_capacity

  @property
  def invalid_range(self) -> np.ndarray:
    """The indices around the cursor that cannot be sampled: `[K + N]`."""
    if self._invalid_range is not None:  # It was set.
      return self._invalid_range
    return invalid_range(
      self.cursor(),
      self._replay_capacity,
      self._stack_size,
      self._update_horizon,
    )

  @invalid_range.setter
  def invalid_range(self, value: np.ndarray) -> None:
    self._invalid_range = value

  @property
  def nbytes(self) -> int:
    """Bytes of memory that the buffer takes once it is full."""
    arrays = (*self._store.values(), self._markers)
    return sum(array.nbytes for array in arrays)

  @property
  def generator_state(self) -> dict[str, Any]:
    """The state of the generator that sampling draws from."""
    return dict(self._rng.bit_generator.state)

  @generator_state.setter
  def generator_state(self, state: dict[str, Any]) -> None:
    self._rng.bit_generator.state = state

  def __repr__(self):
    return (
      f'{type(self).__name__}({self.add_count} added, '
      f'replay_capacity={self._replay_capacity}, '
      f'{self.nbytes / 2**20:,.1f} MiB when full)'
    )

  # Reading single slots ------------------------------------------------------

  def get_range(
    self, array: np.ndarray, start_index: int, end_index: int
  ) -> np.ndarray:
    """Returns `array[start_index:end_index]`, wrapping around its end."""
    assert end_index > start_index, 'end_index must be larger than start_index'
    assert end_index >= 0, f'end_index={end_index} is negative'
    assert start_index < self._replay_capacity, (
      f'start_index={start_index} is not below {self._replay_capacity}'
    )
    if not self.is_full():
      assert end_index <= self.cursor(), (
        f'Index {max(start_index, self.cursor())} has not been added.'
      )
    return array[np.arange(start_index, end_index) % self._replay_capacity]

  def get_observation_stack(self, index: int) -> np.ndarray:
    """Returns the state at `index`, oldest frame first: `[..., K]`."""
    frames = self._get_element_stack(index, 'observation')
    return np.moveaxis(frames, 0, -1)

  def get_terminal_stack(self, index: int) -> np.ndarray:
    """Returns the terminal flags of the frames of a state: `[K]`."""
    return self._get_element_stack(index, 'terminal')

  def _get_element_stack(self, index: int, name: str) -> np.ndarray:
    return self.get_range(
      self._store[name], index - self._stack_size + 1, index + 1
    )

  # Which starts are valid ----------------------------------------------------

  @property
  def _sizes(self) -> windows.Sizes:
    return windows.Sizes(
      self._replay_capacity, self._stack_size, self._update_horizon
    )

  def _rings(self) -> windows.Rings:
    return windows.Rings(
      self._store['terminal'],
      self._markers,
      int(self.add_count),
      self._is_abandoned(),
    )

  def _window(self, indices: Sequence[int] | np.ndarray) -> windows.Window:
    """Follows the transitions that start at `[B]` indices to their ends."""
    start = np.asarray(indices, dtype=np.int64) % self._replay_capacity
    return windows.window(start, self._rings(), self._sizes)

  def is_valid_transition(self, index: int) -> bool:
    """Returns whether the transition that starts at `index` may be sampled."""
    return bool(self._is_valid(np.array([index]))[0])

  def _is_valid(self, indices: np.ndarray) -> np.ndarray:
    """Returns which transitions may be sampled: `[B]` for indices `[B]`."""
    slots = indices % self._replay_capacity
    valid = windows.is_valid(slots, self._rings(), self._sizes)
    if self._invalid_range is not None:  # Somebody set another.
      barred = slots[:, None] == self._invalid_range
      valid = valid & ~barred.any(axis=1)
    return valid & (slots == indices)

  # Sampling ------------------------------------------------------------------

  def sample_index_batch(
    self, batch_size: int, num_batches: int = 1
  ) -> np.ndarray:
    """Returns valid indices, batch after batch: `[num_batches * batch_size]`.

    Uniform and with replacement. Of several batches, one may use up the
    attempts of all.
    """
    low, high = self._start_range()

    def draw(count: int) -> np.ndarray:
      return self._rng.integers(low, high, count) % self._replay_capacity

    indices = draw(num_batches * batch_size)
    return self._redraw_invalid(indices, num_batches, draw)

  def _start_range(self) -> tuple[int, int]:
    """Returns between which slots, modulo the capacity, all valid ones are.

    Raises:
      NothingToSampleError: if there are none yet.
      RuntimeError: if there never will be any.
    """
    low, high = map(int, windows.start_range(int(self.add_count), self._sizes))
    if high <= low and self.is_full():
      raise errors.StateError(
        f'replay_capacity={self._replay_capacity} never holds a transition '
        'that can be sampled: it must be more than stack_size='
        f'{self._stack_size} plus update_horizon={self._update_horizon}'
      )
    if high <= low:
      raise NothingToSampleError(
        f'Cannot sample a batch with fewer than stack size '
        f'({self._stack_size}) + update_horizon ({self._update_horizon}) '
        f'transitions. Add more before: it has {self.add_count}.'
      )
    return low, high

  def _redraw_invalid(
    self,
    indices: np.ndarray,
    num_batches: int,
    *draws: Callable[[int], np.ndarray],
  ) -> np.ndarray:
    """Returns indices with those that are invalid drawn again until valid.

    Args:
      indices: `[B]`, written to.
      num_batches: of how many batches they are.
      *draws: return as many new indices as they are asked for; of two, the
        second takes over after half of the attempts.

    Raises:
      NothingToSampleError: after `max_sample_attempts` invalid ones per batch.
    """
    max_attempts = self._max_sample_attempts * num_batches
    attempts = 0
    missing = np.flatnonzero(~self._valid(indices))
    while len(missing):
      attempts += len(missing)
      if attempts >= max_attempts:
        raise NothingToSampleError(
          f'Max sample attempts: Tried {max_attempts} times but only sampled '
          f'{len(indices) - len(missing)} valid indices. Batch size is '
          f'{len(indices)}. Where an episode was cut and nobody saw what came '
          f'next, its last update_horizon={self._update_horizon} transitions '
          'are not valid'
        )
      draw = draws[attempts * len(draws) // max_attempts]
      indices[missing] = draw(len(missing))
      missing = missing[~self._valid(indices[missing])]
    return indices

  def _valid(self, indices: np.ndarray) -> np.ndarray:
    """`is_valid_transition` of an array, a subclass's override included."""
    if not _is_overridden(self, 'is_valid_transition'):
      return self._is_valid(indices)
    return np.array([bool(self.is_valid_transition(i)) for i in indices], bool)

  def sample_transition_batch(
    self,
    batch_size: int | None = None,
    indices: Sequence[int] | np.ndarray | None = None,
  ) -> tuple[np.ndarray, ...]:
    """Returns a batch in the order of `get_transition_elements`.

    For a transition of k <= N steps that starts at t, `reward` is the sum of
    gamma^j r_{t+1+j} for j < k, `next_state`, `next_action` and `next_reward`
    are those of t + k (after a terminal: of nothing in particular), and
    `terminal` is that of the last step. Values of `extra_storage_types` are
    those of t. Every array is new: a learner may keep it.

    Args:
      batch_size: by default as many as `indices`, or the buffer's own.
      indices: where the transitions start; drawn if None.
    """
    if indices is None:
      batch_size = self._batch_size if batch_size is None else batch_size
      indices = self.sample_index_batch(batch_size)
    if batch_size not in (None, len(indices)):
      raise ValueError(f'batch_size={batch_size} but {len(indices)} indices')
    indices = np.asarray(indices, dtype=np.int64)
    return self._transition(indices, self._window(indices))

  def _transition(
    self, indices: np.ndarray, window: windows.Window
  ) -> tuple[np.ndarray, ...]:
    """Returns the batch at `indices`, whose window is given."""
    # One allocation for both: two of 0.9 MB each go back to the system when
    # freed, and 450 page faults per Atari batch cost 0.4 ms.
    states = windows.stacks(
      self._store['observation'],
      np.concatenate((window.start, window.next)),
      self._sizes,
    )
    rewards = self._store['reward']
    values = {
      'state': states[: len(indices)],
      'action': self._store['action'][window.start],
      'reward': windows.n_step_return(rewards, window, self._gamma),
      'next_state': states[len(indices) :],
      'next_action': self._store['action'][window.next],
      'next_reward': rewards[window.next],
      'terminal': window.terminal,
      'indices': indices,
    }
    return tuple(
      self._element(element, values, window.start)
      for element in self.get_transition_elements(len(indices))
    )

  def discounts(
    self, indices: Sequence[int] | np.ndarray, gamma: float | None = None
  ) -> np.ndarray:
    """Returns gamma^k (1 - terminal), k the steps really taken: `[B]` float32.

    What a target multiplies the value of `next_state` with.

    Args:
      indices: `[B]` where the transitions start.
      gamma: by default the buffer's own.
    """
    gamma = self._gamma if gamma is None else gamma
    return windows.discounts(self._window(indices), gamma)

  def _element(
    self, element: ReplayElement, values: dict[str, Any], start: np.ndarray
  ) -> np.ndarray:
    """Returns one array of a batch.

    A subclass fills what it added to `get_transition_elements` here; a name
    that nobody knows is zeros.
    """
    dtype = _numpy_dtype(element.type)
    if element.name in values:
      return values[element.name].astype(dtype, copy=False)
    if element.name in self._store:
      return self._store[element.name][start].astype(dtype, copy=False)
    return np.zeros(element.shape, dtype)

  # Checkpoints of a run -------------------------------------------------------

  def checkpoint(
    self, checkpoint_dir: str | os.PathLike, iteration_number: int
  ) -> None:
    """Saves what is new since the last time, for `restore`.

    Slots go to files that the checkpoints of a run share: see `ring_files`.
    What was added stays as it is until it is overwritten (who changes it calls
    `rewrite_checkpoints`). All else is in `replay_ckpt.N.npz`. What a Runner
    saves is written later; until then `add` waits where it would overwrite it.

    Args:
      checkpoint_dir: an existing folder.
      iteration_number: names the file.
    """
    self._ring.save(
      checkpoint_dir,
      iteration_number,
      self._store,
      int(self.add_count),
      self._elements_beside_the_store() | {_MARKERS_NAME: self._markers},
      next_is_episode_start=self._next_experience_is_episode_start,
    )

  def restore(
    self, checkpoint_dir: str | os.PathLike, iteration_number: int
  ) -> None:
    """Reads what `checkpoint` saved.

    Raises:
      NotFoundError: there is no such checkpoint.
      DamagedError: naming the file. Nothing is left in the buffer.
      ValueError: naming the array that does not fit. Nothing was changed.
    """
    saved = ring_files.read(checkpoint_dir, iteration_number)
    ring_files.check_fit(saved, self._store)
    names = [*self._elements_beside_the_store(), _MARKERS_NAME]
    lacking = [name for name in names if name not in saved.elements]
    if lacking:
      raise errors.SettingError(
        f'{saved.path} was saved by another kind of replay memory: it has no '
        f'{", ".join(lacking)}. Build the one that saved it, or start in an '
        'empty directory.'
      )
    if self.add_count > 0:
      self._empty()
    try:
      self._ring.restore(saved, self._store)
      elements = {name: saved.elements[name] for name in names}
      self._markers = elements.pop(_MARKERS_NAME)
      self._restore_elements(elements)
    except BaseException:
      self._empty()
      raise
    self._next_experience_is_episode_start = saved.record[
      'next_is_episode_start'
    ]

  def rewrite_checkpoints(self) -> None:
    """Makes the next checkpoint save every slot anew, for who changed some."""
    self._ring.forget()

  # Saving --------------------------------------------------------------------

  # What `load` can do without.
  _not_in_data_sets: frozenset[str] = frozenset()

  def _checkpointable_elements(self) -> dict[str, Any]:
    """Returns what is saved, by name: the store and the public attributes."""
    elements = {STORE_FILENAME_PREFIX + k: v for k, v in self._store.items()}
    elements['invalid_range'] = self.invalid_range
    elements.update(
      (name, value)
      for name, value in vars(self).items()
      if not name.startswith('_')
    )
    return elements

  def _elements_beside_the_store(self) -> dict[str, Any]:
    return {
      name: value
      for name, value in self._checkpointable_elements().items()
      if not name.startswith(STORE_FILENAME_PREFIX)
    }

  def _restore_elements(self, elements: dict[str, Any]) -> None:
    """Takes over what `_checkpointable_elements` returned."""
    for name, value in elements.items():
      if name.startswith(STORE_FILENAME_PREFIX):
        self._store[name.removeprefix(STORE_FILENAME_PREFIX)] = value
      else:
        setattr(self, name, value)

  def save(self, checkpoint_dir: str | os.PathLike, iteration_number: int):
    """Writes one file per array, and removes those of an old checkpoint.

    Arrays are gzipped `.npy` files, what else is public is pickled. That of
    iteration `iteration_number - CHECKPOINT_DURATION` is removed. Does nothing
    if the directory does not exist.
    """
    if not os.path.isdir(checkpoint_dir):
      return
    elements = self._checkpointable_elements()
    elements[data_set.MARKERS_NAME] = data_set.markers_record(
      self._markers, self._next_experience_is_episode_start
    )
    data_set.save(checkpoint_dir, iteration_number, elements)

  def load(self, checkpoint_dir: str | os.PathLike, suffix: int | str) -> None:
    """Reads what `save` wrote, or a data set written by Dopamine 3.

    Arrays are read into those of the buffer where they fit, so that there are
    not two of each. A checkpoint without markers (Dopamine's have none) knows
    its episodes by their terminals alone, and the next `add` starts an episode.

    Raises:
      NotFoundError: naming the files that are missing. Nothing was changed.
      atomic.DamagedError: naming the file that is. The buffer is empty.
    """
    elements = self._checkpointable_elements()
    files = data_set.find(
      checkpoint_dir, suffix, elements, self._not_in_data_sets
    )
    small = data_set.read_small(files)
    markers, next_is_start = data_set.read_markers(
      checkpoint_dir, suffix, self._replay_capacity
    )
    try:
      self._restore_elements(small)
    except ValueError as error:
      error.add_note(f'in {checkpoint_dir}, checkpoint {suffix}')
      raise
    self.rewrite_checkpoints()
    try:
      for name in [name for name in files if name not in small]:
        array = data_set.read(files[name], into=elements[name])
        self._store[name.removeprefix(STORE_FILENAME_PREFIX)] = array
    except BaseException:
      self._empty()
      raise
    self._markers = markers
    self._next_experience_is_episode_start = next_is_start

  def _empty(self) -> None:
    """Forgets all transitions."""
    for array in self._store.values():
      array[...] = 0
    self._ring.forget()
    self.add_count = np.array(0)
    self._markers = np.zeros(self._replay_capacity, np.uint8)
    self._next_experience_is_episode_start = True

  def check_shapes(
    self, checkpoint_dir: str | os.PathLike, suffix: int | str
  ) -> None:
    """Raises ValueError if saved arrays do not fit; reads only their headers.

    Files that are missing are left to `load`.
    """
    expected = {
      STORE_FILENAME_PREFIX + name: (
        (self._replay_capacity, *shape),
        _numpy_dtype(dtype),
      )
      for name, shape, dtype in self.get_storage_signature()
    }
    data_set.check_shapes(checkpoint_dir, suffix, expected)


def _is_overridden(memory: Any, *names: str) -> bool:
  """Whether a memory has methods other than `OutOfGraphReplayBuffer`'s."""
  return any(
    getattr(getattr(memory, name), '__func__', None)
    is not getattr(OutOfGraphReplayBuffer, name)
    for name in names
  )


def _saves_its_own_way(memory: Any) -> bool:
  """Whether a class that is not of this package decides what is saved."""
  return any(
    not getattr(getattr(type(memory), name, None), '__module__', '').startswith(
      'dopamine.'
    )
    for name in ('save', 'load')
  )


@gin.configurable(
  denylist=['observation_shape', 'stack_size', 'update_horizon', 'gamma']
)
class WrappedReplayBuffer:
  """The buffer of an agent: a memory, and batches by name.

  `states`, `actions`, `rewards`, `next_states`, `next_actions`, `next_rewards`,
  `terminals` and `indices` are those of the batch that was drawn last. Other
  public names that are not found here are those of `memory`.

  Attributes:
    memory: the `OutOfGraphReplayBuffer`.
    batch_size: B.
    gamma: what `discount` is made of; the rewards are summed with the memory's.
  """

  SETTINGS = {'batch_size': checks.integer(1)}

  def __init__(
    self,
    observation_shape: tuple[int, ...],
    stack_size: int,
    use_staging: bool = False,
    replay_capacity: int | None = None,
    batch_size: int | None = None,
    update_horizon: int = 1,
    gamma: float = 0.99,
    wrapped_memory: OutOfGraphReplayBuffer | None = None,
    **kwargs: Any,
  ):
    """Builds the memory, unless it is given.

    What is not given is left to the memory, and so to gin's bindings of
    `OutOfGraphReplayBuffer`, as Dopamine's JAX files have them.

    Args:
      observation_shape: of one frame.
      stack_size: K, the frames in a state.
      use_staging: ignored, with a warning: sampling needs no staging.
      replay_capacity: in slots; the memory's default is 1,000,000.
      batch_size: the memory's default is 32.
      update_horizon: N, the steps of a transition.
      gamma: discount of one step.
      wrapped_memory: the memory; if given, what would build it is not read.
      **kwargs: further arguments of `OutOfGraphReplayBuffer`, from
        `max_sample_attempts` to `seed`.
    """
    given = checks.is_number(replay_capacity)
    if given and replay_capacity < update_horizon + 1:  # type: ignore[operator]
      raise errors.SettingError(
        f'Update horizon ({update_horizon}) should be significantly smaller '
        f'than replay capacity ({replay_capacity}).'
      )
    if not update_horizon >= 1:
      raise errors.SettingError('Update horizon must be positive.')
    if not 0.0 <= gamma <= 1.0:
      raise errors.SettingError('Discount factor (gamma) must be in [0, 1].')
    if use_staging:
      logging.warning('use_staging=True does nothing: sampling is fast enough.')

    if wrapped_memory is not None:
      self.memory = wrapped_memory
    else:
      sizes = {'replay_capacity': replay_capacity, 'batch_size': batch_size}
      self.memory = self._build_memory(
        observation_shape=observation_shape,
        stack_size=stack_size,
        update_horizon=update_horizon,
        gamma=gamma,
        **{k: v for k, v in sizes.items() if v is not None},
        **kwargs,
      )
    self.batch_size = (
      self.memory._batch_size if batch_size is None else batch_size
    )
    checks.check(self)
    # An agent sets its own: a memory of one step need not know it.
    self.gamma = getattr(self.memory, '_gamma', gamma)
    self._batch: Any = None

  def _build_memory(self, **kwargs) -> OutOfGraphReplayBuffer:
    """Returns the memory; a wrapper of another kind of memory overrides it."""
    return OutOfGraphReplayBuffer(**kwargs)

  def __getattr__(self, name: str) -> Any:
    if name in _OF_THE_LAST_BATCH:
      return self._last(_OF_THE_LAST_BATCH[name])
    # Only public names, so that a copy that has no memory yet does not loop.
    if name.startswith('_') or name == 'memory':
      raise AttributeError(f'{type(self).__name__} has no attribute {name}')
    return getattr(self.memory, name)

  def __repr__(self):
    return f'{type(self).__name__}({self.memory!r})'

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
    """Stores a transition: see `OutOfGraphReplayBuffer.add`."""
    # A memory whose `add` is overridden need not know these.
    keywords: dict[str, Any] = {}
    if priority is not None:
      keywords['priority'] = priority
    if episode_end:
      keywords['episode_end'] = True
    self.memory.add(observation, action, reward, terminal, *args, **keywords)

  def add_final_observation(self, observation) -> None:
    """Ends an episode by time-out: see `OutOfGraphReplayBuffer`."""
    self.memory.add_final_observation(observation)

  def cut_episode(self) -> None:
    """Ends an abandoned episode: see `OutOfGraphReplayBuffer`."""
    self.memory.cut_episode()

  # Sampling ------------------------------------------------------------------

  @functools.cached_property
  def _batch_type(self) -> Any:
    elements = self.memory.get_transition_elements()
    names = [element.name for element in elements]
    return collections.namedtuple('Batch', [*names, 'discount'])

  def sample(self, num_batches: int = 1) -> Any:
    """Returns a `Batch` of arrays `[num_batches, batch_size, ...]`.

    Its fields are the memory's transition elements, and `discount`; `reward`
    and `discount` are float32, as the networks are.
    """
    memory = self.memory
    if _is_overridden(memory, 'sample_transition_batch', 'discounts'):
      arrays = memory.sample_transition_batch(num_batches * self.batch_size)
      batch = self._batch_type(*arrays, discount=None)
      discount = memory.discounts(batch.indices, self.gamma)
    else:
      indices = self._sample_indices(num_batches)
      window = memory._window(indices)
      arrays = memory._transition(indices, window)
      batch = self._batch_type(*arrays, discount=None)
      discount = windows.discounts(window, self.gamma)
    batch = batch._replace(
      reward=batch.reward.astype(np.float32, copy=False), discount=discount
    )
    self._batch = self._batch_type(
      *(x.reshape(num_batches, self.batch_size, *x.shape[1:]) for x in batch)
    )
    return self._batch

  @functools.cached_property
  def _takes_num_batches(self) -> bool:
    """Whether the memory can be asked for the indices of several batches."""
    method = self.memory.sample_index_batch  # May be overridden.
    return 'num_batches' in inspect.signature(method).parameters

  def _sample_indices(self, num_batches: int) -> np.ndarray:
    sample, size = self.memory.sample_index_batch, num_batches * self.batch_size
    if self._takes_num_batches:
      indices = sample(self.batch_size, num_batches)
    else:
      indices = sample(size)
    if len(indices) != size:
      raise ValueError(f'batch_size={size} but {len(indices)} indices')
    return np.asarray(indices, np.int64)

  @property
  def transition(self) -> collections.OrderedDict[str, np.ndarray]:
    """A batch by name, `[batch_size, ...]`; each access draws a new one."""
    batch = self.sample()
    return collections.OrderedDict(
      (name, array[0]) for name, array in zip(batch._fields, batch, strict=True)
    )

  def _last(self, name: str) -> np.ndarray:
    """Returns one array of the batch drawn last, or of a first one."""
    batch = self.sample() if self._batch is None else self._batch
    return getattr(batch, name)[-1]

  # Saving --------------------------------------------------------------------

  def checkpoint(
    self, checkpoint_dir: str | os.PathLike, iteration_number: int
  ) -> None:
    """Saves what is new: see `OutOfGraphReplayBuffer.checkpoint`.

    A subclass that saves in its own way, here or in the memory, does so.
    """
    if _saves_its_own_way(self) or _saves_its_own_way(self.memory):
      self.save(checkpoint_dir, iteration_number)
    else:
      self.memory.checkpoint(checkpoint_dir, iteration_number)

  def restore(
    self, checkpoint_dir: str | os.PathLike, iteration_number: int
  ) -> None:
    """Reads what `checkpoint` saved, or else what `save` did.

    Raises:
      NotFoundError: naming the files that are missing.
      atomic.DamagedError: naming the file that is.
      ValueError: naming the array that does not fit.
    """
    path = ring_files.record_path(checkpoint_dir, iteration_number)
    if os.path.exists(path):
      self.memory.restore(checkpoint_dir, iteration_number)
      return
    for name in getattr(self.memory, '_not_in_data_sets', ()):
      path = _filename(checkpoint_dir, name, iteration_number)
      if not os.path.exists(path):  # Of a run, it is part of the state.
        raise NotFoundError(f'Missing files: {path}')
    self.load(checkpoint_dir, iteration_number)

  def save(self, checkpoint_dir: str | os.PathLike, iteration_number: int):
    """Saves the memory: see `OutOfGraphReplayBuffer.save`."""
    self.memory.save(checkpoint_dir, iteration_number)

  def load(self, checkpoint_dir: str | os.PathLike, suffix: int | str) -> None:
    """Loads the memory if what was saved fits it; all of it, or nothing.

    Raises:
      NotFoundError: naming the files that are missing.
      ValueError: naming the array that does not fit.
    """
    if hasattr(self.memory, 'check_shapes'):
      self.memory.check_shapes(checkpoint_dir, suffix)
    self.memory.load(checkpoint_dir, suffix)
