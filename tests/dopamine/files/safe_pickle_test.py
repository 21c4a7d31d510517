"""Tests of the restricted unpickler."""

import collections
import io
import os
import pickle

import ml_dtypes
import numpy as np
import pytest

from dopamine import safe_pickle as public
from dopamine.files import safe_pickle
from dopamine.files import unpickler
from dopamine.replay_memory import sum_tree

pytestmark = pytest.mark.no_backend


class Call:
  """Pickles to a call of `function(*args)`."""

  def __init__(self, function, *args):
    self._reduced = (function, args)

  def __reduce__(self):
    return self._reduced


def _load(data):
  return safe_pickle.load(io.BytesIO(data))


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_reads_containers_numbers_and_numpy(protocol):
  value = {
    'numbers': [1, -(2**70), 2.5, 1j, True, None, 'text', b'\x00\xff'],
    'sets': (set([1, 2]), frozenset([3]), range(3)),
    'ordered': collections.OrderedDict(a=1),
    'lists': collections.defaultdict(list, x=[1]),
    'last': collections.deque([1, 2], maxlen=2),
    'scalar': np.float32(0.5),
    'dtype': np.dtype('int16'),
    'type': np.uint8,
    'empty': np.zeros((0, 3)),
  }
  loaded = _load(pickle.dumps(value, protocol))
  np.testing.assert_array_equal(loaded.pop('empty'), value.pop('empty'))
  assert loaded == value
  assert type(loaded['scalar']) is np.float32


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
  'array',
  [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6).reshape(2, 3)),
    np.array([True, False]),
    np.array([1, 'x', None], dtype=object),
    np.array([(1, 2.0)], dtype=[('a', 'i4'), ('b', 'f8')]),
  ],
)
def test_reads_arrays(array, protocol):
  loaded = _load(pickle.dumps(array, protocol))
  assert loaded.dtype == array.dtype
  np.testing.assert_array_equal(loaded, array)


def test_reads_names_of_older_numpy():
  data = pickle.dumps(np.arange(3), 2)
  old = data.replace(b'numpy._core', b'numpy.core')
  assert b'numpy.core' in old
  np.testing.assert_array_equal(_load(old), np.arange(3))


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('function', [os.mkdir, os.system, eval, exec, print])
def test_malicious_pickle_runs_nothing(tmp_path, function, protocol):
  target = tmp_path / 'made'
  text = {eval: f'__import__("os").mkdir("{target}")'}.get(function)
  data = pickle.dumps([1, Call(function, text or str(target))], protocol)
  with pytest.raises(pickle.UnpicklingError, match=function.__name__):
    _load(data)
  assert not target.exists()


def test_attribute_of_an_allowed_type_is_refused():
  # Protocol 4 names may have dots: 'set.__init__' is not 'set'.
  data = b'\x80\x04\x8c\x08builtins\x8c\x0cset.__init__\x93.'
  with pytest.raises(pickle.UnpicklingError, match='set.__init__'):
    _load(data)


def test_object_array_is_searched_too(tmp_path):
  array = np.array([Call(os.mkdir, str(tmp_path / 'made'))], dtype=object)
  with pytest.raises(pickle.UnpicklingError, match='mkdir'):
    _load(pickle.dumps(array))
  assert not (tmp_path / 'made').exists()


def test_codecs_other_than_latin1_are_refused():
  data = pickle.dumps(b'\xff', 2).replace(b'latin1', b'rot_13')
  with pytest.raises(pickle.UnpicklingError, match='rot_13'):
    _load(data)


def test_a_type_is_loaded_once_its_name_is_allowed(monkeypatch):
  monkeypatch.setattr(safe_pickle, 'allowed', set())
  data = pickle.dumps(collections.UserDict(a=1))
  with pytest.raises(pickle.UnpicklingError, match='collections.UserDict'):
    _load(data)
  safe_pickle.allow('collections.UserDict')
  assert _load(data) == {'a': 1}


# What a pickle may not do with what it may name ------------------------------


def _op(*parts):
  """A pickle of opcodes and of objects, which are pickled where they stand."""
  data = pickle.PROTO + b'\x04'
  for part in parts:
    if isinstance(part, bytes):
      data += part
    else:
      data += pickle.dumps(part, 3)[2:-1]  # 4 numbers what it remembers.
  return data + pickle.STOP


def _name(module, name):
  return _op(module, name)[2:-1] + pickle.STACK_GLOBAL


@pytest.mark.parametrize('key', unpickler._KNOWN, ids='.'.join)
def test_nothing_that_a_pickle_may_name_is_changed(key):
  value = unpickler._KNOWN[key]
  before = dict(vars(value)) if hasattr(value, '__dict__') else {}
  for state in (
    {'attribute': 1},
    (None, {'attribute': 1, 'most_common': list, '__defaults__': (1,)}),
  ):
    with pytest.raises((pickle.UnpicklingError, TypeError)):
      _load(_op(_name(*key), state, pickle.BUILD))
  assert (dict(vars(value)) if hasattr(value, '__dict__') else {}) == before
  assert not hasattr(value, 'attribute')


@pytest.mark.parametrize(
  'data',
  [
    # A dtype whose state hides that a field is an object: NumPy would take the
    # bytes of an array for addresses.
    _op(
      *(_name('numpy', 'dtype'), ('V8', False, True), pickle.REDUCE),
      (3, '|', None, ('a',), {'a': (np.dtype('O'), 0)}, 8, 1, 0),
      pickle.BUILD,
    ),
    _op(_name('numpy', 'ndarray'), ((1,), np.dtype('O'), b'12345678'), b'R'),
    _op(_name('numpy', 'ndarray'), ((2,),), pickle.NEWOBJ),
    _op(_name('builtins', 'bytearray'), (2**40,), pickle.REDUCE),
    _op(_name('builtins', 'list'), (range(10**10),), pickle.REDUCE),
    _op(_name('builtins', 'int'), ('1',), pickle.REDUCE),
    _op(
      _name('numpy._core.multiarray', '_reconstruct'), (list, (0,), b'b'), b'R'
    ),
    _op(
      _name('numpy._core.numeric', '_frombuffer'),
      (np.zeros(8), np.dtype('f8'), (8,), 'C'),
      pickle.REDUCE,
    ),
    _op(_name('copyreg', '_reconstructor'), (dict, object, None), b'R'),
  ],
)
def test_what_would_do_harm_is_refused(data):
  with pytest.raises(pickle.UnpicklingError, match='refusing'):
    found = _load(data)
    # Of the first, the dtype knows what it holds.
    assert found.hasobject
    raise pickle.UnpicklingError('refusing')


_EMPTY = (
  _name('numpy._core.multiarray', '_reconstruct')
  + _op(np.zeros(0).__reduce__()[1])[2:-1]
  + pickle.REDUCE
)


def _state(shape, dtype, content):
  return _op((1, shape, dtype, False, content))[2:-1]


@pytest.mark.parametrize(
  'parts',
  [
    # Filled twice: what looks at its memory would read what is freed.
    (_EMPTY, _state((2,), np.dtype('i8'), bytes(16)), b'b')
    + (_state((0,), np.dtype('i1'), b''), b'b'),
    # Of a shape that nobody fills: what was in the memory before.
    (_name('numpy._core.multiarray', '_reconstruct'),)
    + (_op((np.ndarray, (1200,), b'b'))[2:-1], pickle.REDUCE),
    # Fewer objects than places.
    (_EMPTY, _state((3,), np.dtype('O'), []), b'b'),
    (_EMPTY, _state((3,), np.dtype([('a', 'O')]), [1]), b'b'),
    # Each element an array: NumPy has no such.
    (_EMPTY, _state((1,), np.dtype(('i8', (2,))), bytes(16)), b'b'),
    # A number from an array without one.
    (_name('numpy._core.multiarray', 'scalar'), pickle.MARK)
    + (_op(np.dtype('V1000'))[2:-1], _op(np.zeros(0))[2:-1])
    + (pickle.TUPLE, pickle.REDUCE),
    (_op(bytearray(3))[2:-1], pickle.READONLY_BUFFER),
    (pickle.NEXT_BUFFER,),
  ],
)
def test_no_memory_but_its_own_is_read(parts):
  with pytest.raises(pickle.UnpicklingError, match='refusing'):
    _load(pickle.PROTO + b'\x04' + b''.join(parts) + pickle.STOP)


def test_a_few_bytes_do_not_ask_for_gigabytes():
  with pytest.raises((EOFError, pickle.UnpicklingError)):
    _load(pickle.BYTEARRAY8 + (2**40).to_bytes(8, 'little') + b'.')
  # Tuples of tuples, which are short as long as nobody prints them.
  nested = b'K\x01' + b'2\x86' * 60
  with pytest.raises(pickle.UnpicklingError, match='refusing') as error:
    _load(nested + b'Nb.')
  assert len(str(error.value)) < 200


def test_arrays_in_arrays_are_not_too_deep():
  def nested(depth):
    state = b''.join(_op(x)[2:-1] for x in (1, (), np.dtype('O'), False))
    data = pickle.NONE
    for _ in range(depth):
      data = _EMPTY + pickle.MARK + state + pickle.MARK + data
      data += pickle.LIST + pickle.TUPLE + pickle.BUILD
    return pickle.PROTO + b'\x04' + data + pickle.STOP

  assert _load(nested(190)).shape == ()
  with pytest.raises(pickle.UnpicklingError, match='deeper than 200'):
    _load(nested(210))


def test_a_dtype_keeps_its_layout():
  for dtype in (
    np.dtype('>f4'),
    np.dtype([('a', '<i2'), ('b', '>f8', (2, 3))]),
    np.dtype({'names': ['x', 'y'], 'formats': ['u1', 'i8'], 'offsets': [8, 0]}),
    np.dtype([('a', 'u1'), ('b', 'i8')], align=True),
    np.dtype('M8[3ns]'),
    np.dtype('U7'),
    np.dtype([('o', 'O')]),
    np.dtype([]),
    np.dtype([(('Title', 'a'), 'i4'), ('b', 'f8')]),
  ):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
      array = np.zeros(3, dtype)
      data = pickle.dumps([array, dtype, array[0]], protocol)
      loaded, expected = _load(data), pickle.loads(data)
      assert loaded[1] == dtype and loaded[1].fields == dtype.fields
      assert loaded[1].isalignedstruct == dtype.isalignedstruct
      assert repr(loaded[1]) == repr(expected[1])
      for i in (0, 2):
        assert loaded[i].dtype == expected[i].dtype
        np.testing.assert_array_equal(loaded[i], expected[i])


def test_an_allowed_type_may_have_attributes(monkeypatch):
  monkeypatch.setattr(safe_pickle, 'allowed', set())
  value = Point()
  value.x = [1]
  for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
    safe_pickle.allowed.clear()
    data = pickle.dumps({'p': value}, protocol)
    with pytest.raises(pickle.UnpicklingError, match='Point|_reconstructor'):
      _load(data)
    safe_pickle.allow(f'{__name__}.Point')
    if protocol < 2:  # They have a function make it, which is not allowed.
      continue
    assert _load(data)['p'].x == [1]


@pytest.mark.parametrize(
  'value, is_plain',
  [
    ([1, 2.0, None, 'x', (True,)], True),
    ({'a': np.zeros(3, 'i2'), 'b': np.float32(1), 'c': np.dtype('U3')}, True),
    (np.zeros(2, [('a', 'i4'), ('b', 'f8', (2,))]), True),
    (np.array(['2020-01-01'], 'M8[D]'), True),
    (collections.defaultdict(list, a=[1]), True),
    (slice(1, None, 2), True),
    (slice(Call(os.mkdir, 'x'), 1), False),
    (np.zeros(2, [('a', [('b', 'O')], (1,))]), False),
    (np.dtype('i4', metadata={'x': 1}), False),
    (np.array([None]), False),
    (np.zeros(2, [('a', 'O')]), False),
    (np.zeros(2, ml_dtypes.bfloat16), False),
    (np.zeros(2, [('a', ml_dtypes.bfloat16)]), False),
    (np.dtype(ml_dtypes.bfloat16), False),
    ([1, Call(os.mkdir, 'x')], False),
  ],
)
def test_what_is_plain_is_read_again(value, is_plain):
  assert safe_pickle.is_plain(value) == is_plain
  if is_plain:
    loaded = safe_pickle.loads(safe_pickle.dumps(value))
    assert repr(loaded) == repr(value)


def test_a_dtype_of_others_is_refused_when_it_is_saved():
  with pytest.raises(pickle.UnpicklingError, match='ml_dtypes'):
    safe_pickle.dumps([np.zeros(2, ml_dtypes.bfloat16)])


class Point:
  pass


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_sum_tree_of_dopamine_3(monkeypatch, protocol):
  class SumTree:
    def __init__(self):
      self.nodes = [[3.0], [1.0, 2.0]]
      self.max_recorded_priority = 2.0

  SumTree.__module__, SumTree.__qualname__ = sum_tree.__name__, 'SumTree'
  with monkeypatch.context() as patch:
    patch.setattr(sum_tree, 'SumTree', SumTree)
    data = pickle.dumps({'tree': SumTree()}, protocol)
  tree = _load(data)['tree']
  assert type(tree) is unpickler.SavedSumTree
  assert tree.nodes == [[3.0], [1.0, 2.0]] and tree.max_recorded_priority == 2


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_numbers_and_texts_of_python_2(protocol):
  value = collections.defaultdict(int, a=1, b=2**70)
  assert _load(pickle.dumps(value, protocol)) == value
  assert _load(b'c__builtin__\nlong\n.') is int


def test_all_that_is_public_is_the_same_under_its_public_name():
  ours = {
    name: value
    for name, value in vars(safe_pickle).items()
    if not name.startswith('_')
    and getattr(value, '__module__', '').startswith('dopamine.')
  }
  assert {'allow', 'load', 'RefusedError'} <= ours.keys()
  assert {name: getattr(public, name, None) for name in ours} == ours
