"""What older checkpoints and data sets said.

In format 1 the files of a replay memory, its chunks, held what was added from
one number of transitions to another, in that order, also where the ring began
anew in between.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dopamine.files import unpickler


def segments(record: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
  """Returns the files of a record of format 1 as segments, in their order.

  Args:
    record: of the ring.
    count: how many transitions were ever added.

  Raises:
    ValueError: some of what the ring held is missing.
  """
  capacity = record['replay_capacity']
  covered = max(0, count - capacity)
  for chunk in record['chunks']:
    first, end = chunk['first'], chunk['end']
    if not first <= covered < end <= first + capacity:
      raise ValueError(f'slots are missing before {chunk["file"]}')
    covered = end
  if covered != count:
    raise ValueError('slots are missing')
  return record['chunks']


def spans(first: int, end: int, capacity: int) -> list[slice]:
  """The slots of what was added from `first` to `end`, as one or two runs."""
  start = first % capacity
  stop = start + end - first
  if stop <= capacity:
    return [slice(start, stop)]
  return [slice(start, capacity), slice(0, stop - capacity)]


def place(number: int) -> tuple[int, int]:
  """Iteration and part of a checkpoint within an iteration, by its number.

  In format 1 those within iteration N had numbers of their own: N times a
  million plus 1, 2, ...
  """
  return divmod(number, 1_000_000)


def sum_tree(saved: Any, capacity: int) -> tuple[np.ndarray, float] | None:
  """The priorities, and the largest ever, of a tree that Dopamine 3 pickled.

  Its leaves are padded to a power of two, which is all there is to tell the
  capacity by. None is no such tree.
  """
  if not isinstance(saved, unpickler.SavedSumTree):
    return None
  try:
    leaves = np.array(saved.nodes[-1], np.float64)
    largest = float(saved.max_recorded_priority)
  except (AttributeError, IndexError, TypeError, ValueError):
    return None
  is_padded = leaves.shape == (2 ** (int(capacity) - 1).bit_length(),)
  return (leaves[:capacity] if is_padded else leaves), largest


def padding(terminal: np.ndarray, count: int, stack_size: int) -> np.ndarray:
  """The slots of zeros in a data set without markers.

  They follow a terminal, or were added first of all.
  """
  capacity = len(terminal)
  ends, behind = np.flatnonzero(terminal), np.arange(1, stack_size)[:, None]
  newer = (count - 1 - ends) % capacity  # Slots added after them.
  after = ((ends + behind) % capacity)[newer >= behind]
  first = np.arange(max(count - capacity, 0), min(count, stack_size - 1))
  return np.concatenate([after, first])
