"""A binary tree of sums: draws an index with probability p_i / sum of all p.

Setting a value and drawing an index both take one step per level.
"""

import math

import numpy as np

from dopamine import seeding
from dopamine.settings import errors


class SumTree:
  """Nonnegative values, one per index, and the sums of pairs above them.

  A parent is always the sum of its two children, never the old sum plus a
  difference: what the leaves are decides what the sums are, to the last bit.

  `max_recorded_priority` is the largest value that was ever set, or 1.0 if none
  was larger.
  """

  def __init__(self, capacity: int, rng: np.random.Generator | None = None):
    """Makes a tree of zeros.

    Args:
      capacity: how many values there are.
      rng: what is drawn from; by default a generator of the run's seed.
    """
    assert isinstance(capacity, (int, np.integer)) and capacity > 0, (
      f'capacity={capacity!r} must be an integer above 0'
    )
    if rng is None:
      rng = seeding.generator(seeding.resolve(None), 'sum_tree')
    self._rng = rng
    self._capacity = int(capacity)
    self._depth = (self._capacity - 1).bit_length()
    # The root is node 1, the children of node i are 2 i and 2 i + 1.
    self._first_leaf = 2**self._depth
    self._sums = np.zeros(2 * self._first_leaf)
    self.max_recorded_priority = 1.0

  @property
  def nodes(self) -> list[np.ndarray]:
    """The levels, root first, leaves padded to a power of two with zeros."""
    return [self._sums[2**d : 2 ** (d + 1)] for d in range(self._depth + 1)]

  @property
  def nbytes(self) -> int:
    """Bytes of memory that the tree takes."""
    return self._sums.nbytes

  def __repr__(self):
    return f'SumTree(capacity={self._capacity}, total={self._sums[1]})'

  # Values --------------------------------------------------------------------

  def set(self, node_index, value) -> None:
    """Sets one value, or an array of them.

    Args:
      node_index: an index, or an integer array; of an index that is in it more
        than once, the last value stays.
      value: finite and 0 or more, of a shape that broadcasts to the indices'.

    Raises:
      ValueError: where a value is negative or not finite. Nothing was changed.
      IndexError: where an index is not in [0, capacity). Nothing was changed.
    """
    if not isinstance(node_index, (int, np.integer)):
      self._set_array(node_index, value)
      return
    value = float(value)
    if not 0 <= node_index < self._capacity:
      raise self._no_such_index(node_index)
    if not 0.0 <= value < math.inf:
      raise _no_such_value(value, node_index)
    self.max_recorded_priority = max(self.max_recorded_priority, value)
    # Through the view 2.1 us at capacity 1e6, through the array 3.0.
    sums = memoryview(self._sums)  # type: ignore[arg-type]
    node = self._first_leaf + int(node_index)
    sums[node] = value
    while node > 1:
      value += sums[node ^ 1]  # Its sibling.
      node >>= 1
      sums[node] = value

  def _set_array(self, node_index, value) -> None:
    indices = self._checked(node_index)
    values = np.broadcast_to(np.asarray(value, np.float64), indices.shape)
    indices, values = indices.ravel(), values.ravel()
    bad = ~((values >= 0.0) & (values < math.inf))
    if bad.any():
      raise _no_such_value(values[bad][0], indices[bad][0])
    self.max_recorded_priority = float(
      values.max(initial=self.max_recorded_priority)
    )
    node = self._first_leaf + indices
    # Both sides are contiguous: NumPy writes them in order, the last one stays.
    self._sums[node] = values
    total = self._sums[node]
    for _ in range(self._depth):
      total += self._sums[node ^ 1]
      node >>= 1
      self._sums[node] = total

  def get(self, node_index):
    """Returns the value of an index (float), or of an array of them (array)."""
    if isinstance(node_index, (int, np.integer)):
      if not 0 <= node_index < self._capacity:
        raise self._no_such_index(node_index)
      return float(self._sums[self._first_leaf + int(node_index)])
    return self._sums[self._first_leaf + self._checked(node_index)]

  def _checked(self, node_index) -> np.ndarray:
    indices = np.asarray(node_index)
    if indices.dtype.kind not in 'iu':
      raise IndexError(f'indices must be integers, not {indices.dtype}')
    bad = (indices < 0) | (indices >= self._capacity)
    if bad.any():
      raise self._no_such_index(indices[bad].flat[0])
    return indices.astype(np.int64, copy=False)

  def _no_such_index(self, index) -> IndexError:
    return IndexError(f'index {index} is not in [0, {self._capacity})')

  # Drawing -------------------------------------------------------------------

  def sample(self, query_value=None):
    """Returns an index drawn in proportion to its value, never one of value 0.

    Args:
      query_value: in [0, 1], the fraction of the total that lies before the
        point that is looked up; drawn if None. An array returns an array.
    """
    if query_value is None:
      query_value = self._rng.random()
    fraction = np.asarray(query_value, np.float64)
    if not ((fraction >= 0.0) & (fraction <= 1.0)).all():
      raise ValueError(f'query_value must be in [0, 1]. Got {query_value}')
    index = self._find(fraction.ravel()).reshape(fraction.shape)
    return index if fraction.ndim else int(index)

  def stratified_sample(
    self, batch_size: int, num_batches: int = 1
  ) -> np.ndarray:
    """Returns indices, one from each of `batch_size` equal parts of the total.

    Args:
      batch_size: into how many parts each batch divides the total.
      num_batches: drawn independently of each other.

    Returns:
      `[num_batches * batch_size]`, batch after batch, each in ascending order.
    """
    offset = self._rng.random((num_batches, batch_size))
    return self._find(((np.arange(batch_size) + offset) / batch_size).ravel())

  def _find(self, fraction: np.ndarray) -> np.ndarray:
    """Returns where fractions `[B]` of the total lie: indices `[B]`."""
    sums = self._sums
    if not sums[1] > 0.0:
      raise errors.StateError(
        'Cannot sample from an empty sum tree: all priorities are 0.'
      )
    query = fraction * sums[1]
    node = np.ones(len(query), np.int64)
    for _ in range(self._depth):
      node *= 2
      left = sums[node]
      # At the very end of a node, or by rounding, the query may lie beyond all
      # that is there: to the right only where there is something.
      go_right = (query >= left) & (sums[node + 1] > 0.0)
      query -= left * go_right
      node += go_right
    return node - self._first_leaf


def _no_such_value(value, index) -> errors.UsageError:
  kind = 'nonnegative' if math.isfinite(value) else 'finite'
  return errors.SettingError(
    f'Sum tree values should be {kind}. Got {value} at index {index}'
  )
