"""Reads pickles without running the code a pickle can ask for.

`load` knows built-in containers and numbers, and NumPy arrays, scalars and
dtypes. It refuses everything else by name, before anything is called. For the
few other types that Dopamine 3 wrote, something harmless takes their place.
"""

import collections
import io
import pickle
from typing import IO, Any, ClassVar

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


def _jax_array(unused_function: Any, args: Any, state: Any, *_: Any) -> Any:
  """Stands in for JAX's, which are pickled as NumPy arrays are."""
  _check_call(_RECONSTRUCT, args)
  array = _RECONSTRUCT(*args)
  _set_array(array, state)
  return array


def _reconstructor(cls: Any, base: Any, state: Any) -> Any:
  """Stands in for `copyreg._reconstructor`, as protocols 0 and 1 have it."""
  if cls not in (FrozenDict, SavedSumTree) or base is not object or state:
    raise RefusedError(f'refusing to make {cls!r} from {base!r}')
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
_CONTAINERS = (list, tuple, dict, set, frozenset, *_COLLECTIONS)
_CALLABLES = (
  *(complex, bytes, bytearray, range, slice, *_CONTAINERS),
  *(np.dtype, _RECONSTRUCT, _SCALAR, _FROM_BUFFER),
  *(_encode_latin1, _jax_array, _reconstructor),
  *(FrozenDict, SavedSumTree, SavedTuple),
)


def _known() -> dict[tuple[str, str], Any]:
  """Returns what a pickle may name: `{(module, name): object}`."""
  known: dict[tuple[str, str], Any]
  known = {('builtins', x.__name__): x for x in _BUILTINS}
  # Protocols 0 to 2 use the names of Python 2.
  known |= {('__builtin__', x.__name__): x for x in _BUILTINS}
  known['__builtin__', 'xrange'] = range
  known |= {('collections', x.__name__): x for x in _COLLECTIONS}
  known['_codecs', 'encode'] = _encode_latin1
  for core in ('numpy.core', 'numpy._core'):
    known[f'{core}.multiarray', '_reconstruct'] = _RECONSTRUCT
    known[f'{core}.multiarray', 'scalar'] = _SCALAR
    known[f'{core}.numeric', '_frombuffer'] = _FROM_BUFFER
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


def _check_call(function: Any, args: Any) -> None:
  """Refuses what is not there to be called, and arguments that do harm."""
  if not any(function is known for known in _CALLABLES):
    raise RefusedError(f'refusing to call {function!r}')
  if not isinstance(args, tuple):
    raise RefusedError(f'refusing to call {function!r} with {type(args)}')
  first = args[0] if args else None
  if function is _RECONSTRUCT and first is not np.ndarray:
    raise RefusedError(f'refusing to make an array of {first!r}')
  if function is _FROM_BUFFER and type(first) not in (bytes, bytearray):
    raise RefusedError(f'refusing to share the memory of {type(first)}')
  # A few bytes must not ask for gigabytes.
  of_size = isinstance(first, int) and function in (bytes, bytearray)
  if of_size or (isinstance(first, range) and function in _CONTAINERS):
    raise RefusedError(f'refusing to make {function!r} of {first!r}')


def _set_array(array: np.ndarray, state: Any) -> None:
  """Fills an array; the dtype in `state` is one of those made here."""
  if not (isinstance(state, tuple) and len(state) == 5):
    raise RefusedError("refusing an array whose state is no array's")
  array.__setstate__(state)  # type: ignore[attr-defined]


def _dtype(dtype: np.dtype, state: Any) -> np.dtype:
  """What `dtype.__setstate__(state)` would make of it, by public means.

  NumPy believes a state: one that hides an object field has it take numbers
  for addresses.
  """
  _, order, subtype, names, fields, size, *_ = state
  if subtype is not None:
    base, shape = subtype
    return np.dtype((base, shape))
  if names is not None:
    formats, offsets = zip(*(fields[name][:2] for name in names), strict=True)
    return np.dtype(
      {
        'names': list(names),
        'formats': list(formats),
        'offsets': list(offsets),
        'itemsize': size,
      }
    )
  if dtype.kind in 'mM' and len(state) > 8:
    unit, count = state[8][1][:2]
    unit = unit.decode() if isinstance(unit, bytes) else unit
    dtype = np.dtype(f'{dtype.kind}8[{int(count)}{unit}]')
  return dtype.newbyteorder(order)


_Base: Any = pickle._Unpickler  # type: ignore[attr-defined]


class _Unpickler(_Base):
  """Calls, makes and changes nothing but what is known.

  Python's own: the one in C sets attributes of whatever a pickle names.
  """

  dispatch: ClassVar[dict[int, Any]] = dict(_Base.dispatch)

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) in _KNOWN:
      return _KNOWN[module, name]
    if f'{module}.{name}' in _allowed:
      found = super().find_class(module, name)
      self._trusted.append(found)
      return found
    raise RefusedError(
      f'refusing to load {module}.{name}: a pickle may hold built-in '
      'containers and numbers, and NumPy values. If you trust where the file '
      f"came from, call dopamine.safe_pickle.allow('{module}.{name}') first."
    )

  def __init__(self, *args: Any, **kwargs: Any):
    super().__init__(*args, **kwargs)
    self._trusted: list[Any] = []

  def _is_trusted(self, value: Any) -> bool:
    return any(value is trusted for trusted in self._trusted)

  def _call(self, function: Any, args: Any, kwargs: Any = None) -> Any:
    if not self._is_trusted(function):
      _check_call(function, args)
    return function(*args, **(kwargs or {}))

  def load_reduce(self) -> None:
    args = self.stack.pop()
    self.stack[-1] = self._call(self.stack[-1], args)

  def load_newobj(self) -> None:
    args = self.stack.pop()
    self._make(args, {})

  def load_newobj_ex(self) -> None:
    kwargs = self.stack.pop()
    args = self.stack.pop()
    self._make(args, kwargs)

  def _make(self, args: Any, kwargs: Any) -> None:
    cls = self.stack[-1]
    if cls in (FrozenDict, SavedSumTree, SavedTuple) or self._is_trusted(cls):
      self.stack[-1] = cls.__new__(cls, *args, **kwargs)
    else:
      raise RefusedError(f'refusing to make {cls!r}')

  def _instantiate(self, klass: Any, args: Any) -> None:
    self.append(self._call(klass, tuple(args)))

  def load_build(self) -> None:
    instance = self.stack[-2]
    if self._is_trusted(type(instance)):
      super().load_build()
      return
    state = self.stack.pop()
    if isinstance(instance, np.dtype):
      dtype = self.stack[-1] = _dtype(instance, state)
      for key, value in self.memo.items():
        if value is instance:
          self.memo[key] = dtype
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
      raise RefusedError(f'refusing to set attributes of {instance!r}')

  dispatch[pickle.REDUCE[0]] = load_reduce
  dispatch[pickle.NEWOBJ[0]] = load_newobj
  dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex
  dispatch[pickle.BUILD[0]] = load_build


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
  if type(value) in _SCALARS:
    return True
  if isinstance(value, np.ndarray):
    return type(value) is np.ndarray and _is_plain_dtype(value.dtype)
  if isinstance(value, np.dtype):
    return _is_plain_dtype(value)
  if isinstance(value, np.generic):
    return _is_plain_dtype(value.dtype)
  if type(value) in (dict, *_COLLECTIONS) and isinstance(value, dict):
    return all(is_plain(k) and is_plain(v) for k, v in value.items()) and (
      getattr(value, 'default_factory', None) in (None, *_BUILTINS)
    )
  if type(value) in (tuple, list, set, frozenset, collections.deque):
    # Most are long lists of numbers.
    return set(map(type, value)) <= _SCALARS or all(map(is_plain, value))
  return False


_SCALARS = {*_BUILTINS[:7], type(None), range, slice}


def _is_plain_dtype(dtype: np.dtype) -> bool:
  """Whether it is one of NumPy's own that holds no objects."""
  if dtype.names is not None:
    return all(_is_plain_dtype(dtype[name]) for name in dtype.names)
  base = dtype.base
  return base.kind in 'biufcmMSUV' and base.type.__module__ == 'numpy'


def dumps(value: Any) -> bytes:
  """Returns the pickle of `value`, which `load` is sure to read.

  What could not be read again must fail when it is saved, not when a run of
  days resumes.

  Raises:
    RefusedError: `value` holds something that `load` refuses; names it.
  """
  pickled = pickle.dumps(value)
  if not is_plain(value):
    loads(pickled)
  return pickled
