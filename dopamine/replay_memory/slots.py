"""Where a replay memory stands, and its slots one by one, for who looks at it.

Agents draw batches, for which nothing here but the cursor is needed.
"""

import numpy as np

from dopamine.replay_memory import elements
from dopamine.settings import errors


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


class Slots:
  """What an `OutOfGraphReplayBuffer` tells of its slots."""

  _replay_capacity: int
  _stack_size: int
  _update_horizon: int
  _gamma: float
  _store: dict[str, np.ndarray]
  add_count: np.ndarray
  _invalid_range: np.ndarray | None = None

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
    sizes = self._replay_capacity, self._stack_size, self._update_horizon
    return invalid_range(self.cursor(), *sizes)

  @invalid_range.setter
  def invalid_range(self, value: np.ndarray) -> None:
    self._invalid_range = value

  def get_range(
    self, array: np.ndarray, start_index: int, end_index: int
  ) -> np.ndarray:
    """Returns `array[start_index:end_index]`, wrapping around its end."""
    capacity, cursor = self._replay_capacity, self.cursor()
    assert end_index > start_index, 'end_index must be larger than start_index'
    assert end_index >= 0, f'end_index={end_index} is negative'
    assert start_index < capacity, f'{start_index=} is not below {capacity}'
    assert end_index <= cursor or self.is_full(), (
      f'Index {max(start_index, cursor)} has not been added.'
    )
    return array[np.arange(start_index, end_index) % capacity]

  def get_observation_stack(self, index: int) -> np.ndarray:
    """Returns the state at `index`, oldest frame first: `[..., K]`."""
    return np.moveaxis(self._element_stack(index, 'observation'), 0, -1)

  def get_terminal_stack(self, index: int) -> np.ndarray:
    """Returns the terminal flags of the frames of a state: `[K]`."""
    return self._element_stack(index, 'terminal')

  # For loops over slots that subclasses have: ours goes over whole arrays.

  @property
  def _cumulative_discount_vector(self) -> np.ndarray:
    """gamma^j for j below the update horizon: `[N]`."""
    return (self._gamma ** np.arange(self._update_horizon)).astype(np.float32)

  @_cumulative_discount_vector.setter
  def _cumulative_discount_vector(self, vector: np.ndarray) -> None:
    # Set by code that anneals gamma or n, which it may not have set as yet.
    self._update_horizon = len(vector)
    if not np.allclose(vector, self._cumulative_discount_vector):
      self._gamma = float(vector[-1]) ** (1 / max(len(vector) - 1, 1))
    if not np.allclose(vector, self._cumulative_discount_vector):
      raise errors.SettingError(
        f'_cumulative_discount_vector = {vector} is of no gamma: gamma^j'
      )

  def _create_batch_arrays(self, batch_size: int) -> tuple[np.ndarray, ...]:
    """Returns arrays of `get_transition_elements`, to be filled in."""
    return tuple(
      np.empty(shape, elements.numpy_dtype(kind))
      for _, shape, kind in self.get_transition_elements(batch_size)
    )

  def get_transition_elements(self, batch_size: int | None = None) -> list:
    """See `Ring`."""
    raise NotImplementedError

  def _element_stack(self, index: int, name: str) -> np.ndarray:
    first = index - self._stack_size + 1
    return self.get_range(self._store[name], first, index + 1)
