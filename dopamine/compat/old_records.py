"""What the checkpoints of a run said in format 1.

The files of a replay memory held what was added from one number of transitions
to another, in that order, also where the ring began anew in between.
"""

from collections.abc import Mapping, Sequence
from typing import Any


def spans(first: int, end: int, capacity: int) -> list[slice]:
  """The slots of what was added from `first` to `end`, as one or two runs."""
  start = first % capacity
  stop = start + end - first
  if stop <= capacity:
    return [slice(start, stop)]
  return [slice(start, capacity), slice(0, stop - capacity)]


def checked(
  chunks: Sequence[Mapping[str, Any]], count: int, record: Mapping[str, Any]
) -> Sequence[Mapping[str, Any]]:
  """Returns the files of an old record, in the order in which they are read.

  Args:
    chunks: what the record says of them.
    count: how many transitions were ever added.
    record: of the ring.

  Raises:
    ValueError: some of what the ring held is missing.
  """
  capacity = record['replay_capacity']
  covered = max(0, count - capacity)
  for chunk in chunks:
    first, end = chunk['first'], chunk['end']
    if not first <= covered < end <= first + capacity:
      raise ValueError(f'slots are missing before {chunk["file"]}')
    covered = end
  if covered != count:
    raise ValueError('slots are missing')
  return chunks


def place(number: int) -> tuple[int, int]:
  """Iteration and part of a checkpoint within an iteration, by its number.

  In format 1 those within iteration N had numbers of their own: N times a
  million plus 1, 2, ...
  """
  return divmod(number, 1_000_000)
