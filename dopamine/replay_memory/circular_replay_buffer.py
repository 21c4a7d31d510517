"""A ring of transitions, and the buffer that agents draw named batches from.

One slot holds o_t, a_t, r_{t+1} and terminal_{t+1}; the next observation is in
the next slot. `K` is the stack size, `N` the update horizon, `B` the batch.
"""

from collections.abc import Callable, Sequence
from typing import Any

from absl import logging
import gin
import numpy as np

from dopamine import seams
from dopamine.replay_memory import batches
from dopamine.replay_memory import elements
from dopamine.replay_memory import saved_ring
from dopamine.replay_memory import slots
from dopamine.replay_memory import windows
from dopamine.settings import checks
from dopamine.settings import errors

# Reachable here, as they always were.
ReplayElement = elements.ReplayElement
STORE_FILENAME_PREFIX = elements.STORE_FILENAME_PREFIX
CHECKPOINT_DURATION = elements.CHECKPOINT_DURATION
NotFoundError = elements.NotFoundError
as_stored = elements.as_stored
invalid_range = slots.invalid_range
modulo_range = slots.modulo_range


class NothingToSampleError(errors.StateError):
  """The buffer holds no transition that can be sampled, or hardly one."""


@gin.configurable
class OutOfGraphReplayBuffer(saved_ring.SavedRing):
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
  `get_transition_elements`; to decide what is drawn, `draw_starts`, or all of
  `sample_index_batch`. Attributes without an underscore are saved and restored.
  """

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

  _is_valid_transition = is_valid_transition  # Ours, whoever overrides it.

  def _is_valid(self, indices: np.ndarray) -> np.ndarray:
    """Returns which transitions may be sampled: `[B]` for indices `[B]`."""
    start = indices % self._replay_capacity
    valid = windows.is_valid(start, self._rings(), self._sizes)
    if self._invalid_range is not None:  # Somebody set another.
      barred = start[:, None] == self._invalid_range
      valid = valid & ~barred.any(axis=1)
    return valid & (start == indices)

  def compare(self, agent: str, update_horizon: int, gamma: float) -> None:
    """Warns where returns are of other steps than an agent says."""
    n = self._update_horizon
    if n != update_horizon or (n > 1 and self._gamma != gamma):
      logging.warning(
        '%s has update_horizon=%s, gamma=%s, but its replay memory sums '
        'rewards with update_horizon=%s, gamma=%s, which count: give it '
        'what the agent has',
        *(agent, update_horizon, gamma, n, self._gamma),
      )

  # Sampling ------------------------------------------------------------------

  def sample_index_batch(
    self, batch_size: int, num_batches: int = 1
  ) -> np.ndarray:
    """Returns valid indices, batch after batch: `[num_batches * batch_size]`.

    Those that `draw_starts` draws, with what is not valid drawn again. Of
    several batches, one may use up the attempts of all.
    """
    low, high = self._start_range()

    def draw(count: int) -> np.ndarray:
      return self.draw_starts(count, low, high) % self._replay_capacity

    indices = draw(num_batches * batch_size)
    return self._redraw_invalid(indices, num_batches, draw)

  def draw_starts(self, count: int, low: int, high: int) -> np.ndarray:
    """Returns `[count]` integers in [low, high), the newest just below high.

    Uniform and with replacement; a memory that prefers some overrides this.
    """
    return self._rng.integers(low, high, count)

  def _start_range(self) -> tuple[int, int]:
    """Returns between which slots, modulo the capacity, all valid ones are."""
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
    """Draws again those of `[B]` indices that are invalid, until none are."""
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
      # Of two ways to draw, the second takes over halfway.
      draw = draws[attempts * len(draws) // max_attempts]
      indices[missing] = draw(len(missing))
      missing = missing[~self._valid(indices[missing])]
    return indices

  def _valid(self, indices: np.ndarray) -> np.ndarray:
    """`is_valid_transition` of an array, a subclass's override included."""
    if self.is_valid_transition == self._is_valid_transition:
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
    size = len(indices) if batch_size is None else batch_size
    return self.batch_at(indices, size)[0]

  def draw_batches(
    self, num_batches: int, batch_size: int, gamma: float
  ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Returns several batches, one after the other, and their discounts."""
    indices = self.sample_index_batch(batch_size, num_batches)
    return self.batch_at(indices, num_batches * batch_size, gamma)

  def batch_at(
    self,
    indices: Sequence[int] | np.ndarray,
    size: int,
    gamma: float | None = None,
  ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Returns `sample_transition_batch` and `discounts` of `[size]` indices."""
    if len(indices) != size:
      raise ValueError(f'batch_size={size} but {len(indices)} indices')
    indices = np.asarray(indices, np.int64)
    window = self._window(indices)
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
    batch = tuple(
      self._element(element, values, window.start)
      for element in self.get_transition_elements(size)
    )
    gamma = self._gamma if gamma is None else gamma
    return batch, windows.discounts(window, gamma)

  def discounts(
    self, indices: Sequence[int] | np.ndarray, gamma: float | None = None
  ) -> np.ndarray:
    """Returns gamma^k (1 - terminal), k the steps really taken: `[B]` float32.

    What a target multiplies the value of `next_state` with; `gamma` is by
    default the buffer's own.
    """
    gamma = self._gamma if gamma is None else gamma
    return windows.discounts(self._window(indices), gamma)

  def _element(
    self,
    element: ReplayElement,
    values: dict[str, Any],
    start: np.ndarray,
  ) -> np.ndarray:
    """Returns one array of a batch; a subclass fills in what it added."""
    dtype = elements.numpy_dtype(element.type)
    if element.name in values:
      return values[element.name].astype(dtype, copy=False)
    if element.name in self._store:
      return self._store[element.name][start].astype(dtype, copy=False)
    return np.zeros(element.shape, dtype)  # Nobody knows this name.


@gin.configurable(
  denylist=['observation_shape', 'stack_size', 'update_horizon', 'gamma']
)
class WrappedReplayBuffer(batches.NamedBatches):
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
    wrapped_memory: Any = None,
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
    if old_memories := seams.compat('old_memories', self, self.memory):
      self.memory = old_memories.admitted(self, update_horizon)
    if batch_size is None:
      batch_size = self.memory._batch_size
    self.batch_size = batch_size
    checks.check(self)
    # An agent sets its own: a memory of one step need not know it.
    is_ours = isinstance(self.memory, OutOfGraphReplayBuffer)
    self.gamma = self.memory._gamma if is_ours else gamma
    seams.check_code(self)

  def _build_memory(self, **kwargs) -> OutOfGraphReplayBuffer:
    """Returns the memory; a wrapper of another kind of memory overrides it."""
    return OutOfGraphReplayBuffer(**kwargs)
