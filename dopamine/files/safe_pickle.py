"""Pickles of built-ins and NumPy values, read without running their code.

`load` knows built-in containers and numbers, and NumPy arrays, scalars and
dtypes. It refuses everything else by name, before anything is called. For the
few other types that Dopamine 3 wrote, something harmless takes their place.
How it reads is in `unpickler`, which is loaded when there is something to read.
"""

import collections
import contextlib
import io
import itertools
import pickle
from typing import IO, Any

import numpy as np

from dopamine.settings import errors

# How deep containers may lie in each other.
MAX_DEPTH = 200

BUILTINS = (
  *(bool, int, float, complex, str, bytes, bytearray),
  *(tuple, list, dict, set, frozenset, range, slice),
)
COLLECTIONS = (
  collections.Counter,
  collections.OrderedDict,
  collections.defaultdict,
  collections.deque,
)

# Others add theirs to this dict.
NUMPY_TYPES = frozenset(
  x for x in np.sctypeDict.values() if x.__module__ == 'numpy'
)


class RefusedError(errors.UsageError, pickle.UnpicklingError):
  """A pickle asks for more than it may."""


allowed: set[str] = set()


def allow(*names: str) -> None:
  """Lets `load` build further types, e.g. `allow('my_lib.stats.Tally')`.

  Args:
    *names: full dotted names. Allow only what is harmless to call with any
      arguments.
  """
  allowed.update(names)


def load(file: IO[bytes]) -> Any:
  """Returns the object pickled in `file`, or raises RefusedError.

  What Python 2 wrote is read too: its texts and arrays as Latin-1.
  """
  # A process that only writes needs none.
  from dopamine.files import unpickler

  content = io.BytesIO(file.read())
  value = unpickler.Unpickler(content, encoding='latin1').load()
  with contextlib.suppress(AttributeError, OSError):  # Of a pipe.
    file.seek(-len(content.read()), io.SEEK_CUR)  # There may be another pickle.
  return value


def loads(pickled: bytes) -> Any:
  """Returns the object of a pickle, or raises RefusedError."""
  return load(io.BytesIO(pickled))


def is_plain(value: Any) -> bool:
  """Whether it is what `dumps` takes, found out without pickling it.

  Of what is False here, `dumps` takes some as well.
  """
  return _overhead(value) is not None


def _overhead(value: Any, depth: int = MAX_DEPTH) -> int | None:
  """Bytes that the containers in it take at most; None if it is not plain."""
  if type(value) in _SCALARS:
    return 0
  if isinstance(value, np.ndarray):
    is_ours = type(value) is np.ndarray and _is_plain_dtype(value.dtype)
    return 300 if is_ours else None
  if isinstance(value, np.dtype):
    return 300 if _is_plain_dtype(value) else None
  if isinstance(value, np.generic):
    is_ours = type(value) in NUMPY_TYPES and _is_plain_dtype(value.dtype)
    return 300 if is_ours else None
  if depth == 0:
    return None
  if type(value) in (slice, tuple, list, set, frozenset, collections.deque):
    if isinstance(value, slice):
      value = (value.start, value.stop, value.step)
    total = 300 + 70 * len(value) * isinstance(value, (set, frozenset))
    if set(map(type, value)) <= _SCALARS:  # Most are long lists of numbers.
      return total
    parts = iter(value)
  elif type(value) in (dict, *COLLECTIONS):
    factory = getattr(value, 'default_factory', None)
    if getattr(value, '__dict__', None) or not any(  # Of a Counter, say.
      factory is known for known in (None, *BUILTINS)
    ):
      return None
    total = 700 + 200 * len(value)
    parts = itertools.chain(value.keys(), value.values())
  else:
    return None
  for part in parts:
    overhead = _overhead(part, depth - 1)
    if overhead is None:
      return None
    total += overhead
  return total


_SCALARS = frozenset((*BUILTINS[:7], type(None), range))


def _is_plain_dtype(dtype: np.dtype) -> bool:
  """Whether it is one of NumPy's own that holds no objects."""
  if dtype.type not in NUMPY_TYPES or dtype.metadata:
    return False
  if dtype.subdtype is not None:
    return _is_plain_dtype(dtype.base)
  if dtype.names is not None:
    return all(_is_plain_dtype(dtype[name]) for name in dtype.names)
  return dtype.kind in 'biufcmMSUV'


def dumps(value: Any) -> bytes:
  """Returns the pickle of `value`, which `load` is sure to read.

  What could not be read again must fail when it is saved, not when a run of
  days resumes.

  Raises:
    RefusedError: `value` holds something that `load` refuses; names it.
    RecursionError: it is much deeper than what `load` takes.
  """
  pickled = pickle.dumps(value)
  overhead = _overhead(value)
  # Numbers and texts take less than 12 times what is written of them.
  if overhead is None or overhead > 4 * len(pickled) + 2**20:
    loads(pickled)
  return pickled
