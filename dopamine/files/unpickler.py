"""Reads pickles without running the code that a pickle can ask for.

Of what a pickle may name, some may be called and filled; all else only held.
"""

import collections
import math
import pickle
import re
import sys
from typing import Any

import numpy as np

from dopamine.files import bounded_pickle
from dopamine.files import safe_pickle

name_of = bounded_pickle.name_of
RefusedError = safe_pickle.RefusedError


class FrozenDict(dict):
  """Stands in for Flax's, which is pickled as a call or as its attributes."""


class SavedSumTree:
  """The attributes of a `SumTree` of Dopamine 3.

  Attributes:
    nodes: the levels, root first, leaves padded to a power of two.
    max_recorded_priority: the largest that was ever set.
  """

  nodes: Any
  max_recorded_priority: Any


class SavedTuple(tuple):
  """Stands in for Optax's named tuples: their values alone."""

  def __new__(cls, *values: Any) -> 'SavedTuple':
    return super().__new__(cls, values)


def _encode_latin1(text: str, encoding: str) -> bytes:
  """Stands in for `_codecs.encode`, how protocol 2 spells bytes."""
  if encoding != 'latin1':
    raise pickle.UnpicklingError(f'refusing to encode as {encoding!r}')
  return text.encode('latin1')


def _jax_array(unused_function: Any, args: Any, state: Any, *_: Any) -> Any:
  """Stands in for JAX's, which are pickled as NumPy arrays are."""
  _check_call(_RECONSTRUCT, args)
  array = _RECONSTRUCT(*args)
  _set_array(array, state)
  return array


def _reconstructor(cls: Any, base: Any, state: Any) -> Any:
  """Stands in for `copyreg._reconstructor`, as protocols 0 and 1 have it."""
  if cls not in (FrozenDict, SavedSumTree) or base is not object or state:
    raise RefusedError(f'refusing to make {name_of(cls)}')
  return cls()


# NumPy moved these between versions: ask the arrays for them.
_RECONSTRUCT: Any = np.zeros(1).__reduce__()[0]
_SCALAR: Any = np.float64().__reduce__()[0]
_FROM_BUFFER: Any = np.zeros(1).__reduce_ex__(5)[0]

_STAND_INS: dict[tuple[str, str], Any] = {
  ('flax.core.frozen_dict', 'FrozenDict'): FrozenDict,
  ('jax._src.array', '_reconstruct_array'): _jax_array,
  ('jax._src.device_array', 'reconstruct_device_array'): _jax_array,
  ('jax.interpreters.xla', '_reconstruct_device_array'): _jax_array,
  ('dopamine.replay_memory.sum_tree', 'SumTree'): SavedSumTree,
  ('dopamine.tf.replay_memory.sum_tree', 'SumTree'): SavedSumTree,
  ('copy_reg', '_reconstructor'): _reconstructor,
  ('copyreg', '_reconstructor'): _reconstructor,
  ('__builtin__', 'object'): object,
  ('builtins', 'object'): object,
}
for _name in (
  *('base.EmptyState', 'transform.EmptyState', 'transform.TraceState'),
  *('transform.ScaleByAdamState', 'transform.ScaleByRmsState'),
  *('transform.ScaleByRStdDevState', 'transform.ScaleByRssState'),
  *('transform.ScaleByScheduleState', 'transform.ScaleState'),
):
  _module, _, _type = f'optax._src.{_name}'.rpartition('.')
  _STAND_INS[_module, _type] = SavedTuple

# Of what a pickle may name, what it may call. All else it may only hold.
_CONTAINERS = (list, tuple, dict, set, frozenset, *safe_pickle.COLLECTIONS)
_CALLABLES = (
  *(complex, bytes, bytearray, range, slice, *_CONTAINERS),
  *(np.dtype, _RECONSTRUCT, _SCALAR, _FROM_BUFFER),
  *(_encode_latin1, _jax_array, _reconstructor),
  *(FrozenDict, SavedSumTree, SavedTuple),
)


def _known() -> dict[tuple[str, str], Any]:
  """Returns what a pickle may name: `{(module, name): object}`."""
  known: dict[tuple[str, str], Any]
  known = {('builtins', x.__name__): x for x in safe_pickle.BUILTINS}
  # Protocols 0 to 2 use the names of Python 2.
  known |= {('__builtin__', x.__name__): x for x in safe_pickle.BUILTINS}
  known['__builtin__', 'xrange'] = range
  known['__builtin__', 'long'] = int
  known['__builtin__', 'unicode'] = str
  known |= {('collections', x.__name__): x for x in safe_pickle.COLLECTIONS}
  known['_codecs', 'encode'] = _encode_latin1
  for core in ('numpy.core', 'numpy._core'):
    known[f'{core}.multiarray', '_reconstruct'] = _RECONSTRUCT
    known[f'{core}.multiarray', 'scalar'] = _SCALAR
    known[f'{core}.numeric', '_frombuffer'] = _FROM_BUFFER
  known |= {('numpy', x): getattr(np, x) for x in ('ndarray', 'dtype')}
  known |= {('numpy', x.__name__): x for x in safe_pickle.NUMPY_TYPES}
  known['numpy', 'bool_'] = np.bool_
  return known | _STAND_INS


_KNOWN = _known()
_KNOWN_IDS = frozenset(map(id, _KNOWN.values()))
_CALLABLE_IDS = frozenset(map(id, _CALLABLES))

# What `np.dtype` is called with in a pickle; the state has the rest.
_DTYPE = re.compile(r'[<>=|]?[?a-zA-Z][0-9]{0,9}')


def _check_call(function: Any, args: Any) -> None:
  """Refuses what is not there to be called, and arguments that do harm."""
  if id(function) not in _CALLABLE_IDS:
    raise RefusedError(f'refusing to call {name_of(function)}')
  if type(args) is not tuple:
    raise RefusedError(f'refusing to call {name_of(function)} without a tuple')
  first, second = (*args, None, None)[:2]
  is_fine = True
  if function is _RECONSTRUCT:  # An empty array, that is filled once.
    is_fine = args in ((np.ndarray, (0,), b'b'), (np.ndarray, (0,), 'b'))
  elif function is _SCALAR:
    is_fine = len(args) == 2 and _is_scalar(first, second)
  elif function is _FROM_BUFFER:  # All else may be freed.
    is_fine = type(first) in (bytes, bytearray)
  elif function is np.dtype:  # Many fields are a short text.
    is_fine = (
      first in safe_pickle.NUMPY_TYPES
      if isinstance(first, type)
      else (isinstance(first, str) and bool(_DTYPE.fullmatch(first)))
    )
  # A few bytes must not ask for gigabytes.
  elif function in (bytes, bytearray):
    is_fine = type(first) in (bytes, bytearray, type(None)) and second is None
    is_latin1 = type(first) is str and args[1:] == ('latin-1',)
    is_fine = is_fine or (function is bytearray and is_latin1)
  elif function is collections.defaultdict:
    is_fine = first is None or id(first) in _KNOWN_IDS
  elif function in (dict, collections.Counter, FrozenDict):
    is_fine = not args or isinstance(first, dict)
  elif function in _CONTAINERS:
    is_fine = not args or type(first) in (
      *_CONTAINERS,
      *safe_pickle.COLLECTIONS,
    )
  if not is_fine:
    raise RefusedError(
      f'refusing to call {name_of(function)} with {name_of(type(first))}'
    )


def _is_scalar(dtype: Any, content: Any) -> bool:
  """Whether NumPy's scalar of this content has no memory but its own."""
  if not isinstance(dtype, np.dtype) or dtype == np.object_:
    return False
  if isinstance(content, np.ndarray):
    return content.shape == () and content.dtype == dtype
  # A text is what Python 2 had for bytes.
  is_whole = (
    isinstance(content, (bytes, str)) and len(content) == dtype.itemsize
  )
  return is_whole and not dtype.hasobject


def _set_array(array: np.ndarray, state: Any) -> None:
  """Fills an array that `_RECONSTRUCT` has made."""
  # The dtype in `state` is one of those made here. Once, because others may
  # look at its memory afterwards; and with as many objects as it has places.
  if not (type(state) is tuple and len(state) == 5):
    raise RefusedError("refusing an array whose state is no array's")
  _, shape, dtype, _, content = state
  is_new = array.shape == (0,) and array.dtype == np.int8
  is_plain = isinstance(dtype, np.dtype) and dtype.subdtype is None
  is_shape = type(shape) is tuple and all(
    type(n) is int and 0 <= n < 2**48 for n in shape
  )
  if not is_new or not is_plain or not is_shape:
    raise RefusedError('refusing to fill an array so')
  size = math.prod(shape) * (1 if isinstance(content, list) else dtype.itemsize)
  if isinstance(content, (list, bytes, str)) and len(content) != size:
    raise RefusedError(f'refusing {len(content)} values for a shape {shape}')
  array.__setstate__(state)  # type: ignore[attr-defined]


def _dtype(dtype: np.dtype, state: Any) -> np.dtype:
  """What `dtype.__setstate__(state)` would make of it, by public means."""
  # NumPy believes a state: one that hides an object field has it take numbers
  # for addresses.
  _, order, subtype, names, fields, size, _, flags, *metadata = state
  if subtype is not None:
    return _checked(np.dtype((_checked(subtype[0]), subtype[1])))
  if names is not None:
    titles = [(*fields[name], None)[2] for name in names]
    if {type(x) for x in (*names, *titles)} - {str, type(None)}:
      raise RefusedError('refusing fields that have other names than texts')
    layout: Any = {
      'names': list(names),
      'formats': [_checked(fields[name][0]) for name in names],
      'offsets': [fields[name][1] for name in names],
      'titles': titles,
      'itemsize': size,
    }
    return _checked(np.dtype(layout, align=bool(flags & 0x80)))
  if dtype.kind in 'mM' and metadata:
    unit, count = metadata[0][1][:2]
    unit = unit.decode() if isinstance(unit, bytes) else unit
    if not re.fullmatch('[A-Za-z]{1,7}', unit):
      raise RefusedError('refusing a unit of time that is none')
    if unit != 'generic':
      dtype = np.dtype(f'{dtype.kind}8[{int(count)}{unit}]')
  return dtype.newbyteorder('=' if order == _NATIVE else order)


def _checked(dtype: Any) -> np.dtype:
  """Returns a dtype, unless it is none, or has very many parts."""
  # Those that are the same are counted each time: NumPy compares them so.
  if not isinstance(dtype, np.dtype):
    raise RefusedError(f'refusing {name_of(dtype)} for a dtype')
  todo, count = [dtype], 0
  while todo:
    part = todo.pop()
    count += 1
    if count > 10_000:
      raise RefusedError('refusing a dtype of so many parts')
    if part.subdtype is not None:
      todo.append(part.base)
    todo += [part[name] for name in part.names or ()]
  return dtype


_NATIVE = '<' if sys.byteorder == 'little' else '>'


class Unpickler(bounded_pickle.Unpickler):
  """Calls, makes and changes nothing but what is known."""

  def __init__(self, *args: Any, **kwargs: Any):
    super().__init__(*args, **kwargs)
    self._trusted: list[Any] = []

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) in _KNOWN:
      return _KNOWN[module, name]
    if f'{module}.{name}' in safe_pickle.allowed:
      found = super().find_class(module, name)
      self._trusted.append(found)
      return found
    raise RefusedError(
      f'refusing to load {module}.{name}: a pickle may hold built-in '
      'containers and numbers, and NumPy values. If you trust where the file '
      f"came from, call dopamine.safe_pickle.allow('{module}.{name}') first."
    )

  def _is_trusted(self, value: Any) -> bool:
    return any(value is trusted for trusted in self._trusted)

  def _call(self, function: Any, args: Any) -> Any:
    if not self._is_trusted(function):
      _check_call(function, args)
      if function in (set, frozenset, collections.OrderedDict) and args:
        pairs = function is collections.OrderedDict
        self._check_keys(x[0] if pairs else x for x in args[0])
    return function(*args)

  def _make(self, cls: Any, args: Any, kwargs: Any) -> Any:
    if cls in (FrozenDict, SavedSumTree, SavedTuple) or self._is_trusted(cls):
      return cls.__new__(cls, *args, **kwargs)
    raise RefusedError(f'refusing to make {name_of(cls)}')

  _dtype = staticmethod(_dtype)

  def _set_state(self, instance: Any, state: Any) -> None:
    if self._is_trusted(type(instance)):
      self.append(state)
      bounded_pickle.Base.load_build(self)
    elif type(instance) is np.ndarray:
      _set_array(instance, state)
    elif type(instance) in (FrozenDict, SavedSumTree):
      # Of a class with slots, what they hold comes second.
      attributes = state[1] if isinstance(state, tuple) else state
      if type(instance) is FrozenDict:
        instance.update(attributes['_dict'])
      else:
        instance.nodes = attributes['nodes']
        instance.max_recorded_priority = attributes['max_recorded_priority']
    else:
      raise RefusedError(f'refusing to set attributes of {name_of(instance)}')
