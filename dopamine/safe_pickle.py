"""Reads pickles without running the code a pickle can ask for.

`load` knows built-in containers and numbers, and NumPy arrays, scalars and
dtypes. It refuses everything else by name, before anything is called. For the
few other types that Dopamine 3 wrote, something harmless takes their place.
"""

import collections
import io
import pickle
from typing import IO, Any

import numpy as np

_BUILTINS = (
  *(bool, int, float, complex, str, bytes, bytearray),
  *(tuple, list, dict, set, frozenset, range, slice),
)
_COLLECTIONS = (
  collections.Counter,
  collections.OrderedDict,
  collections.defaultdict,
  collections.deque,
)


def _encode_latin1(text: str, encoding: str) -> bytes:
  """Stands in for `_codecs.encode`, how protocol 2 spells bytes."""
  if encoding != 'latin1':
    raise pickle.UnpicklingError(f'refusing to encode as {encoding!r}')
  return text.encode('latin1')


class _FrozenDict(dict):
  """Stands in for Flax's, which is pickled as a call or as its attributes."""

  def __setstate__(self, state: Any) -> None:
    attributes = state[1] if isinstance(state, tuple) else state
    self.update(attributes['_dict'])


def _jax_array(unused_function: Any, args: Any, state: Any, *_: Any) -> Any:
  """Stands in for JAX's, which are pickled as NumPy arrays are."""
  array = _RECONSTRUCT(*args)
  array.__setstate__(state)
  return array


class SavedSumTree:
  """The attributes of a `SumTree` of Dopamine 3.

  Attributes:
    nodes: the levels, root first, leaves padded to a power of two.
    max_recorded_priority: the largest that was ever set.
  """

  nodes: Any
  max_recorded_priority: Any


class _SavedTuple(tuple):
  """Stands in for Optax's named tuples: their values alone."""

  def __new__(cls, *values: Any) -> '_SavedTuple':
    return super().__new__(cls, values)


_RECONSTRUCT: Any = np.zeros(1).__reduce__()[0]

_STAND_INS: dict[tuple[str, str], Any] = {
  ('flax.core.frozen_dict', 'FrozenDict'): _FrozenDict,
  ('jax._src.array', '_reconstruct_array'): _jax_array,
  ('jax._src.device_array', 'reconstruct_device_array'): _jax_array,
  ('jax.interpreters.xla', '_reconstruct_device_array'): _jax_array,
  ('dopamine.replay_memory.sum_tree', 'SumTree'): SavedSumTree,
  ('dopamine.tf.replay_memory.sum_tree', 'SumTree'): SavedSumTree,
}
for _name in (
  *('base.EmptyState', 'transform.EmptyState', 'transform.TraceState'),
  *('transform.ScaleByAdamState', 'transform.ScaleByRmsState'),
  *('transform.ScaleByRStdDevState', 'transform.ScaleByRssState'),
  *('transform.ScaleByScheduleState', 'transform.ScaleState'),
):
  _module, _, _type = f'optax._src.{_name}'.rpartition('.')
  _STAND_INS[_module, _type] = _SavedTuple


def _known() -> dict[tuple[str, str], Any]:
  """Returns what a pickle may name: `{(module, name): object}`."""
  known: dict[tuple[str, str], Any]
  known = {('builtins', x.__name__): x for x in _BUILTINS}
  # Protocols 0 to 2 use the names of Python 2.
  known |= {('__builtin__', x.__name__): x for x in _BUILTINS}
  known['__builtin__', 'xrange'] = range
  known |= {('collections', x.__name__): x for x in _COLLECTIONS}
  known['_codecs', 'encode'] = _encode_latin1
  # NumPy moved these between versions: ask the arrays for them.
  for core in ('numpy.core', 'numpy._core'):
    known[f'{core}.multiarray', '_reconstruct'] = _RECONSTRUCT
    known[f'{core}.multiarray', 'scalar'] = np.float64().__reduce__()[0]
    known[f'{core}.numeric', '_frombuffer'] = np.zeros(1).__reduce_ex__(5)[0]
  known |= {('numpy', x): getattr(np, x) for x in ('ndarray', 'dtype')}
  for types in np.sctypeDict.values():
    known['numpy', types.__name__] = types
  known['numpy', 'bool_'] = np.bool_
  return known | _STAND_INS


class RefusedError(pickle.UnpicklingError):
  """A pickle asks for more than built-ins and NumPy values."""


_KNOWN = _known()
_allowed: set[str] = set()


def allow(*names: str) -> None:
  """Lets `load` build further types, e.g. `allow('my_lib.stats.Tally')`.

  Args:
    *names: full dotted names. Allow only what is harmless to call with any
      arguments.
  """
  _allowed.update(names)


class _Unpickler(pickle.Unpickler):
  def find_class(self, module: str, name: str) -> Any:
    if (module, name) in _KNOWN:
      return _KNOWN[module, name]
    if f'{module}.{name}' in _allowed:
      return super().find_class(module, name)
    raise RefusedError(
      f'refusing to load {module}.{name}: a pickle may hold built-in '
      'containers and numbers, and NumPy values. If you trust where the file '
      f"came from, call dopamine.safe_pickle.allow('{module}.{name}') first."
    )


def load(file: IO[bytes]) -> Any:
  """Returns the object pickled in `file`, or raises RefusedError.

  What Python 2 wrote is read too: its texts and arrays as Latin-1.
  """
  return _Unpickler(file, encoding='latin1').load()


def loads(pickled: bytes) -> Any:
  """Returns the object of a pickle, or raises RefusedError."""
  return load(io.BytesIO(pickled))


def is_plain(value: Any) -> bool:
  """Whether `dumps` takes `value`, found out without pickling it."""
  if isinstance(value, np.ndarray):
    return type(value) is np.ndarray and not value.dtype.hasobject
  if type(value) in (*_BUILTINS[:7], type(None), range, slice, np.dtype):
    return True
  if isinstance(value, np.generic):
    return not value.dtype.hasobject
  if type(value) in (dict, *_COLLECTIONS) and isinstance(value, dict):
    return all(is_plain(k) and is_plain(v) for k, v in value.items()) and (
      getattr(value, 'default_factory', None) in (None, *_BUILTINS)
    )
  if type(value) in (tuple, list, set, frozenset, collections.deque):
    return all(map(is_plain, value))
  return False


def dumps(value: Any) -> bytes:
  """Returns the pickle of `value`, which `load` is sure to read.

  What could not be read again must fail when it is saved, not when a run of
  days resumes.

  Raises:
    RefusedError: `value` holds something that `load` refuses; names it.
  """
  pickled = pickle.dumps(value)
  loads(pickled)
  return pickled
