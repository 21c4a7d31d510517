"""Batches of transitions: named tuples of arrays, one row per transition."""

import collections
import functools
from typing import Any


@functools.lru_cache
def _batch_type(fields: tuple[str, ...]) -> Any:
  return collections.namedtuple('Batch', fields)


def extend(batches: Any, **fields: Any) -> Any:
  """The named tuple `batches` with further `fields`."""
  names = (*batches._fields, *fields)
  return _batch_type(names)(*batches, *fields.values())
