"""Unpickles no more than a file's size accounts for, and nothing too deep.

A few bytes of a pickle can ask for gigabytes, or for containers within each
other that end the process when C code goes through them. Which names a pickle
may use is not decided here, but in `unpickler`.
"""

import collections
from collections.abc import Callable, Iterable
import io
import pickle
import struct
import sys
from typing import Any, ClassVar

import numpy as np

from dopamine.files import safe_pickle

MAX_DEPTH = safe_pickle.MAX_DEPTH
RefusedError = safe_pickle.RefusedError

# What is built may be so many times as large as what was read, and this more.
_FACTOR, _ALLOWANCE = 16, 2**20

# How often a part may become deeper than it was when it was put elsewhere, as
# only what holds itself does.
_MAX_CYCLES = 20

# A number, and the opcode after it; so many are looked at, as picklers do.
_FLOATS = np.dtype([('value', '>f8'), ('next', 'u1')])
_SHORTS = np.dtype([('value', '<u2'), ('next', 'u1')])
_MOST_NUMBERS = 1000

_LISTS = (list, collections.deque)
_SETS = (set, frozenset)

# What holds nothing else. Types and functions are what a pickle named.
_LEAVES = frozenset(
  (
    *(int, float, complex, bool, type(None), str, bytes, bytearray, range),
    *(type, type(len), type(lambda: None)),
    *(x for x in np.sctypeDict.values() if x not in (np.void, np.object_)),
  )
)


Base: Any = pickle._Unpickler  # type: ignore[attr-defined]


class Unpickler(Base):
  """Counts what it builds, and how deep that is, before it is too much.

  Python's own unpickler: the one in C sets attributes of whatever a pickle
  names. The depth of a container is known when it becomes part of another, by a
  rule that every pickler keeps: only what is still on the stack, where it was
  made, is changed. What holds itself is the exception, and counted.

  A subclass says what may be called (`_call`) and made (`_make`), and what
  state may be set (`_set_state`, `_dtype`), or raises RefusedError; what
  somebody allowed, and answers for, it knows by `_is_trusted`.
  """

  dispatch: ClassVar[dict[int, Callable]] = dict(Base.dispatch)

  def __init__(self, file: io.BytesIO, **kwargs: Any):
    super().__init__(file, **kwargs)
    self._file = file
    self._limit = _FACTOR * len(file.getbuffer()) + _ALLOWANCE
    self._built = self._hashed = 0
    # All by `id`. Depths are of containers that hold others.
    self._depths: dict[int, int] = {}
    self._open: set[int] = set()  # Made on the stack, and still there.
    self._lent: set[int] = set()  # Of those, what may be elsewhere as well.
    self._copies: collections.Counter[int] = collections.Counter()  # Likewise.
    self._num_cycles = self._most = 0
    # What is to be remembered has numbers from 0 on.
    self._memo: list[Any] = []
    self._places: dict[int, int] = {}  # Of dtypes in it, by `id`.

  def load(self) -> Any:
    """Returns what is pickled.

    Raises:
      RefusedError: it is more, or deeper, than it may be.
    """
    value = super().load()
    self._spend(0)
    return value

  # What it costs --------------------------------------------------------------

  def _spend(self, num_bytes: int) -> None:
    """Counts what was built, or is about to be."""
    self._built += num_bytes
    if self._built > self._limit:
      raise RefusedError(
        f'refusing to build more than {_FACTOR} times what was read (an array '
        'takes less than many small containers)'
      )

  def _check_keys(self, keys: Iterable[Any]) -> None:
    """Refuses what takes longer to hash than all else to read."""
    # A tuple of the same tuple, time and again, is hashed as if it were long.
    todo = [key for key in keys if type(key) not in _LEAVES]
    while todo:
      key = todo.pop()
      if isinstance(key, np.void):
        key = key.item()
      if isinstance(key, (tuple, frozenset)):
        self._hashed += 1 + len(key)
        if self._hashed > self._limit:
          raise RefusedError('refusing keys that take so long to hash')
        todo += [part for part in key if type(part) not in _LEAVES]

  # How deep it is -------------------------------------------------------------

  def _take(self, items: Iterable[Any]) -> int:
    """The depth of the deepest of what leaves the stack; 0 of leaves."""
    if set(map(type, items)) <= _LEAVES:  # Most are long lists of numbers.
      return 0
    return max(map(self._close, items))

  def _close(self, item: Any) -> int:
    """The depth of what leaves the stack, which changes no more."""
    if type(item) in _LEAVES:
      return 0
    key = id(item)
    if key in self._copies:
      self._copies[key] -= 1
      if not self._copies[key]:
        del self._copies[key]
    else:
      self._open.discard(key)
      self._lent.discard(key)
    return self._depths.get(key, 1)

  def _set_depth(self, value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
      raise RefusedError(f'refusing what is deeper than {MAX_DEPTH}')
    if depth > 1:
      self._depths[id(value)] = depth
      self._spend(100)
    else:
      self._depths.pop(id(value), None)  # Of one whose memory this now has.

  def _push(self, value: Any, depth: int = 1, is_open: bool = True) -> None:
    """Puts what was made on the stack, open to changes or not."""
    if type(value) not in _LEAVES:
      self._set_depth(value, depth)
      if is_open:
        self._open.add(id(value))
        self._count_sets()
    self.append(value)
    self._spend(sys.getsizeof(value))
    if isinstance(value, np.ndarray):
      self._spend(value.nbytes)

  def _count_sets(self) -> None:
    """Counts what it takes to know all this, where it is more than before."""
    size = len(self._open) + 2 * len(self._lent)
    if size > self._most:
      self._spend(100 * (size - self._most))
      self._most = size

  def _change(
    self, value: Any, depth: int, change: Callable, *args: Any
  ) -> None:
    """Calls `change(*args)`, which gives `value` parts as deep as `depth`."""
    if id(value) not in self._open:
      raise RefusedError('refusing to change what is part of something else')
    if depth >= self._depths.get(id(value), 1):
      self._set_depth(value, 1 + depth)
      self._num_cycles += id(value) in self._lent
      if self._num_cycles > _MAX_CYCLES:
        raise RefusedError('refusing so much that holds itself')
    before = sys.getsizeof(value)
    change(*args)
    self._spend(sys.getsizeof(value) - before)

  # Opcodes --------------------------------------------------------------------

  def load_binfloat(self) -> None:
    self._load_numbers(_FLOATS, pickle.BINFLOAT[0])

  def load_binint2(self) -> None:
    self._load_numbers(_SHORTS, pickle.BININT2[0])

  def _load_numbers(self, kind: np.dtype, code: int) -> None:
    """All that follow of one kind: logs are little else, and long."""
    source = self._unframer.current_frame or self._file
    start = source.tell()
    left = source.getbuffer()[start:]
    count = min(len(left) // kind.itemsize, _MOST_NUMBERS)
    found = np.frombuffer(left, kind, count)
    ends = np.flatnonzero(found['next'] != code)
    values = found['value'][: ends[0] + 1 if len(ends) else count].tolist()
    if values:
      source.seek(start + len(values) * kind.itemsize - 1)  # At the opcode.
      self.stack += values
    else:  # The last of a frame, with no opcode after it.
      Base.dispatch[code](self)
    self._built += max(1, len(values)) * sys.getsizeof(self.stack[-1])

  def load_bytearray8(self) -> None:
    (size,) = struct.unpack('<Q', self.read(8))
    self.append(bytearray(self.read(size)))  # Not of its size before.
    self._built += size

  def load_empty_list(self) -> None:
    self._push([])

  def load_empty_dictionary(self) -> None:
    self._push({})

  def load_empty_set(self) -> None:
    self._push(set())

  def load_list(self) -> None:
    items = self.pop_mark()
    self._push(items, 1 + self._take(items))

  def load_dict(self) -> None:
    items = self.pop_mark()
    self._push({})
    self._set_items(items)

  def load_frozenset(self) -> None:
    items = self.pop_mark()
    self._check_keys(items)
    self._push(frozenset(items), 1 + self._take(items), is_open=False)

  def load_tuple(self) -> None:
    self._push_tuple(self.pop_mark())

  def load_tuple1(self) -> None:
    self._push_tuple([self.stack.pop()])

  def load_tuple2(self) -> None:
    self._push_tuple([self.stack.pop(-2), self.stack.pop()])

  def load_tuple3(self) -> None:
    self._push_tuple([self.stack.pop(i) for i in (-3, -2, -1)])

  def _push_tuple(self, items: list[Any]) -> None:
    self._push(tuple(items), 1 + self._take(items), is_open=False)

  def _checked(self, types: Any, change: str) -> Any:
    """What is on the stack, if it is of these types, or of a trusted one."""
    value = self.stack[-1]
    if not isinstance(value, types) and not self._is_trusted(type(value)):
      raise RefusedError(f'refusing to {change} {name_of(value)}')
    return value

  def load_append(self) -> None:
    self._extend([self.stack.pop()])

  def load_appends(self) -> None:
    self._extend(self.pop_mark())

  def _extend(self, items: list[Any]) -> None:
    value = self._checked(_LISTS, 'append to')
    extend = getattr(value, 'extend', None)
    if extend is not None:
      self._change(value, self._take(items), extend, items)
      return
    for item in items:
      self._change(value, self._close(item), value.append, item)

  def load_setitem(self) -> None:
    item = self.stack.pop()
    self._set_items([self.stack.pop(), item])

  def load_setitems(self) -> None:
    self._set_items(self.pop_mark())

  def _set_items(self, items: list[Any]) -> None:
    value = self._checked(dict, 'set items of')
    self._check_keys(items[::2])

    def change() -> None:
      for key, item in zip(items[::2], items[1::2], strict=True):
        value[key] = item

    self._change(value, self._take(items), change)

  def load_additems(self) -> None:
    items = self.pop_mark()
    value = self._checked(set, 'add to')
    self._check_keys(items)

    def change() -> None:
      for item in items:
        value.add(item)

    self._change(value, self._take(items), change)

  def load_mark(self) -> None:
    if len(self.metastack) > 4 * MAX_DEPTH:
      raise RefusedError(f'refusing what is deeper than {MAX_DEPTH}')
    super().load_mark()

  def load_pop(self) -> None:
    if self.stack:
      self._close(self.stack.pop())
    else:
      self.load_pop_mark()

  def load_pop_mark(self) -> None:
    self._take(self.pop_mark())

  # Memo -----------------------------------------------------------------------

  def load_memoize(self) -> None:
    self._remember(len(self._memo))

  def load_put(self) -> None:
    self._remember(int(self.readline()[:-1]))

  def load_binput(self) -> None:
    self._remember(self.read(1)[0])

  def load_long_binput(self) -> None:
    self._remember(struct.unpack('<I', self.read(4))[0])

  def _remember(self, i: int) -> None:
    value, size = self.stack[-1], len(self._memo)
    if i == size:
      self._memo.append(value)
    elif 0 <= i < size:
      self._memo[i] = value
    else:  # Python 2 counted from 1; what is optimized leaves out some.
      if not 0 <= i < 2**32 or i > 2 * size + 1000:
        raise RefusedError(f'refusing to remember something as number {i}')
      self._spend(8 * (i - size))
      self._memo += [_NOTHING] * (i - size)
      self._memo.append(value)
    if isinstance(value, np.dtype):
      self._places[id(value)] = i

  def load_get(self) -> None:
    self._recall(int(self.readline()[:-1]))

  def load_binget(self) -> None:
    self._recall(self.read(1)[0])

  def load_long_binget(self) -> None:
    self._recall(struct.unpack('<I', self.read(4))[0])

  def _recall(self, i: int) -> None:
    value = self._memo[i] if 0 <= i < len(self._memo) else _NOTHING
    if value is _NOTHING:
      raise pickle.UnpicklingError(f'Memo value not found at index {i}')
    if id(value) in self._open:
      self._lent.add(id(value))
      self._copies[id(value)] += 1
      self._count_sets()
    self.append(value)

  def _replace_dtype(self, old: np.dtype, new: np.dtype) -> None:
    """What was remembered before its state was known is so no more."""
    self.stack[-1] = new
    place = self._places.pop(id(old), None)
    if place is not None:
      self._memo[place] = new

  # Calls ----------------------------------------------------------------------

  def load_reduce(self) -> None:
    args = self.stack.pop()
    self._push_call(self._call, self.stack.pop(), args)

  def load_newobj(self) -> None:
    args = self.stack.pop()
    self._push_call(self._make, self.stack.pop(), args, {})

  def load_newobj_ex(self) -> None:
    kwargs = self.stack.pop()
    args = self.stack.pop()
    self._push_call(self._make, self.stack.pop(), args, kwargs)

  def _instantiate(self, klass: Any, args: Any) -> None:
    args = tuple(args)
    self._set_depth(args, 1 + self._take(args))
    self._push_call(self._call, klass, args)

  def _push_call(self, call: Callable, function: Any, *args: Any) -> None:
    depth = max(map(self._close, args))
    self._close(function)
    first = args[0][0] if isinstance(args[0], tuple) and args[0] else None
    if isinstance(first, (*_LISTS, *_SETS, dict, tuple)):
      self._spend(8 * len(first))  # The least that a copy of it takes.
      self._built -= 8 * len(first)
    self._push(call(function, *args), max(1, depth))

  def load_build(self) -> None:
    state = self.stack.pop()
    depth = self._close(state)
    instance = self.stack[-1]
    if isinstance(instance, np.dtype):
      dtype = self._dtype(instance, state)
      self._set_depth(dtype, max(1, depth))
      self._spend(sys.getsizeof(dtype) + 300 * len(dtype.names or ()))
      self._replace_dtype(instance, dtype)
    elif isinstance(instance, np.ndarray):  # In a list, in the tuple `state`.
      self._change(
        instance, max(depth - 2, 0), self._set_state, instance, state
      )
      self._spend(instance.nbytes)
    else:
      self._change(instance, depth, self._set_state, instance, state)

  def load_refused(self) -> None:
    raise RefusedError('refusing an opcode that no pickler writes here')


_NOTHING = object()


def name_of(value: Any) -> str:
  """Of what is refused: to print it whole may take longer than to load it."""
  return str(getattr(value, '__name__', type(value).__name__))


def _counting(load: Callable) -> Callable:
  """The handler `load` of an opcode, and what it pushes is counted."""

  def load_and_count(self: Unpickler) -> None:
    load(self)
    self._built += sys.getsizeof(self.stack[-1])

  return load_and_count


for _name in (
  *('INT', 'BININT', 'LONG', 'LONG1', 'LONG4', 'FLOAT'),
  *('STRING', 'BINSTRING', 'SHORT_BINSTRING', 'UNICODE', 'BINUNICODE'),
  *('BINUNICODE8', 'SHORT_BINUNICODE', 'SHORT_BINBYTES', 'BINBYTES'),
  'BINBYTES8',
):
  _code = getattr(pickle, _name)[0]
  Unpickler.dispatch[_code] = _counting(Base.dispatch[_code])
for _name in ('DUP', 'EXT1', 'EXT2', 'EXT4', 'NEXT_BUFFER', 'READONLY_BUFFER'):
  Unpickler.dispatch[getattr(pickle, _name)[0]] = Unpickler.load_refused
for _code, _load in list(Unpickler.dispatch.items()):
  # Those that are overridden above, under the names that `pickle` gives them.
  Unpickler.dispatch[_code] = getattr(Unpickler, _load.__name__, _load)
