"""Puts what is in objects back in place, so that all who share them see it."""

import collections
from collections.abc import Iterable, Iterator
import contextlib
import random
from typing import Any

import keras
import numpy as np

_DICTS = (dict, collections.OrderedDict, collections.defaultdict)
_DICTS += (collections.Counter,)


@contextlib.contextmanager
def kept(values: Iterable[Any]) -> Iterator[None]:
  """Afterwards, all built-in containers in values hold what they held before.

  Arrays and generators do too, but not what only other objects hold.
  """
  found: dict[int, tuple[Any, Any]] = {}
  for value in values:
    _take(value, found)
  try:
    yield
  finally:
    for value, old in found.values():
      _give(value, old)


def _take(value: Any, found: dict[int, tuple[Any, Any]]) -> None:
  """Adds a value, and those that are in it, with what they hold now."""
  if id(value) in found:
    return
  parts: Iterable[Any] = ()
  old: Any = None
  if type(value) is np.ndarray:
    old = value.copy()
  elif type(value) in _DICTS:
    old = dict(value)
    parts = old.values()
  elif type(value) in (list, set, tuple, collections.deque):
    parts = old = list(value)
  elif isinstance(value, np.random.Generator):
    old = value.bit_generator.state
  elif isinstance(value, np.random.RandomState):
    old = value.get_state()
  elif type(value) is random.Random:
    old = value.getstate()
  elif isinstance(value, keras.random.SeedGenerator):
    old = np.copy(keras.ops.convert_to_numpy(value.state))
  else:
    return
  found[id(value)] = value, old
  for part in parts:
    _take(part, found)


def _give(value: Any, old: Any) -> None:
  if type(value) is np.ndarray:
    if value.flags.writeable:  # Others are what they were.
      value[...] = old
  elif isinstance(value, list):
    value[:] = old
  elif isinstance(value, (dict, set)):
    value.clear()
    value.update(old)
  elif isinstance(value, collections.deque):
    value.clear()
    value.extend(old)
  elif isinstance(value, np.random.Generator):
    value.bit_generator.state = old
  elif isinstance(value, np.random.RandomState):
    value.set_state(old)
  elif isinstance(value, random.Random):
    value.setstate(old)
  elif isinstance(value, keras.random.SeedGenerator):
    value.state.assign(old)
