"""What a pickle builds is in proportion to its size, and not too deep."""

import collections
import contextlib
import io
import pickle
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from dopamine.files import atomic
from dopamine.files import safe_pickle

pytestmark = pytest.mark.no_backend


def op(*parts):
  """Opcodes, and objects, which are pickled where they stand."""
  return b''.join(
    part if isinstance(part, bytes) else pickle.dumps(part, 3)[2:-1]
    for part in parts
  )


def name(module, attribute):
  return f'c{module}\n{attribute}\n'.encode()


def call(function, *args):
  return function + b'(' + op(*args) + b'tR'


SCALAR = name('numpy._core.multiarray', 'scalar')
NEW_ARRAY = call(
  name('numpy._core.multiarray', '_reconstruct'), np.ndarray, (0,), op(b'b')
)
OBJECTS = call(name('numpy', 'dtype'), 'O8', False, True)
VOID = call(name('numpy', 'dtype'), 'V2000000000', False, True)
N = 60_000
NUMBERS = op(list(range(N))) + b'q\xff'  # Remembered as number 255.

HOSTILE = {
  # Made of nothing, and much of it.
  'scalar of an object': SCALAR + OBJECTS + b'\x85R',
  'scalar of an object that is one': SCALAR + OBJECTS + b'N\x86R',
  'scalar of nothing': SCALAR + VOID + b'\x85R',
  'scalar of too little': SCALAR + VOID + op(b'x') + b'\x86R',
  'array of a large void': NEW_ARRAY
  + b'('
  + op(1, (1,))
  + VOID
  + op(False, b'')
  + b'tb',
  'array of negative sizes': NEW_ARRAY
  + op((1, (-1, -8), np.dtype('i1'), False, b'12345678'))
  + b'b',
  'array of a huge shape': NEW_ARRAY
  + op((1, (2**62, 2**62), np.dtype('i1'), False, b''))
  + b'b',
  'dtype of many fields': call(name('numpy', 'dtype'), 'i1,' * 10**5),
  'dtype of a list': call(name('numpy', 'dtype'), [('a', 'i1')]),
  'a unit of time that is a list of fields': call(
    name('numpy', 'dtype'), 'M8', False, True
  )
  + b'('
  + op(4, '<', None, None, None, -1, -1, 0, ({}, ('s],' + 'i1,' * N, 1, 1, 1)))
  + b'tb',
  'dtypes of the same dtypes': call(name('numpy', 'dtype'), 'V0', False, True)
  + b'q\x00'
  + b''.join(
    call(name('numpy', 'dtype'), 'V0', False, True)
    + b'('
    + op(3, '|', None, ('a', 'b'))
    + b'}('
    + op('a')
    + b'h\x00K\x00\x86'
    + op('b')
    + b'h\x00K\x00\x86u'
    + op(0, 1, 0)
    + b'tbq\x00'
    for _ in range(40)
  ),
  'empty lists': b'(' + b']' * N + b'l',
  'empty dicts': b'(' + b'}' * N + b'l',
  'empty sets': b'(' + b'\x8f' * N + b'l',
  'short tuples': b'(' + b'N\x85' * N + b'l',
  'marks': b'(' * N,
  'remembered far away': b'Nr\xff\xff\xff\x7f',
  'remembered further and further': b'N'
  + b''.join(b'r' + (1000 * i).to_bytes(4, 'little') for i in range(N)),
  'twice on the stack': NUMBERS + b'2' * 9,
  'an extension': b'\x82\x01',
  'copies': NUMBERS + b'(' + call(name('builtins', 'tuple'), b'h\xff') * 100,
  'counted': NUMBERS + b'(' + call(name('builtins', 'set'), b'h\xff') * 100,
  'copies of bytes': op(b'x' * N)
  + b'q\xff('
  + call(name('builtins', 'bytearray'), b'h\xff') * 100,
  'letters': op('\u4e2d' * N * 9)
  + b'q\xff('
  + call(name('builtins', 'list'), b'h\xff'),
  'numbers of an array': call(name('builtins', 'list'), np.zeros(N, 'i1')),
  'a text as bytes': call(name('builtins', 'bytes'), 'x' * N, 'utf-32'),
  'items of an array': op(np.zeros(3, object)) + b'K\x00Ns',
  'a frame of a terabyte': b'\x95' + (2**40).to_bytes(8, 'little') + b'N',
  'bytes of a terabyte': b'\x8e' + (2**40).to_bytes(8, 'little') + b'N',
  'a text of 4 gigabytes': b'X\xff\xff\xff\xff' + b'N',
  # Within each other.
  'tuples': b')' + b'\x85' * N,
  'tuples as keys': b'}(' + b')' + b'\x85' * N + b'Nu',
  'sets': b'(' * 9 + b'\x91' + b'(' * 0 + b'\x85' * N,
  'lists': b']' * N + b'a' * N,
  'slices': name('builtins', 'slice')
  + b'q\x00N'
  + b''.join(b'q\x01h\x00h\x01\x85R' for _ in range(N)),
  'deques': b'N' + b'q\x01' + name('collections', 'deque') + b'q\x00)R'
  b'q\x01' + b'h\x00)Rh\x01aq\x01' * N,
  'appended where it is no more': b'('
  + b']q\x00'
  + b''.join(b']q\x01h\x00h\x01a0h\x01q\x000' for _ in range(N))
  + b'l',
  'holding what is open': b'(' + b']q\x00]q\x01h\x00a' * N + b'l',
  'keys that take for ever': b'})' + b'q\x00h\x00\x86' * 60 + b'Ns',
  'keys of a set that take for ever': b'\x8f()'
  + b'q\x00h\x00\x86' * 60
  + b'\x90',
  'text of a number': b'L' + b'9' * N + b'L\n',
}

CHILD = """
import resource, sys
import numpy as np
from dopamine.files import safe_pickle
content = sys.stdin.buffer.read()
resource.setrlimit(resource.RLIMIT_AS, (2 * 10**9, 2 * 10**9))
size = int.from_bytes(content[:4], 'little')
while content:
  size = int.from_bytes(content[:4], 'little')
  try:
    safe_pickle.loads(content[4 : 4 + size])
    print('loaded', flush=True)
  except MemoryError:
    print('no memory', flush=True)
  except Exception as error:
    print('refused', flush=True)
  content = content[4 + size:]
"""


def run_child(pickles):
  content = b''.join(len(p).to_bytes(4, 'little') + p for p in pickles)
  return subprocess.run(
    [sys.executable, '-c', CHILD], input=content, capture_output=True
  )


def test_small_pickles_neither_end_the_process_nor_fill_it():
  pickles = [b'\x80\x04' + data + b'.' for data in HOSTILE.values()]
  child = run_child(pickles)
  lines = child.stdout.decode().split('\n')[:-1]
  found = dict(zip(HOSTILE, lines, strict=False))
  assert child.returncode == 0, list(HOSTILE)[len(lines)]
  harmless = {'a frame of a terabyte': 'loaded'}  # None is in it, no more.
  assert found == dict.fromkeys(HOSTILE, 'refused') | harmless


@pytest.mark.parametrize('case', HOSTILE)
def test_what_is_built_is_in_proportion(case):
  data = b'\x80\x04' + HOSTILE[case] + b'.'
  if any(word in case for word in ('scalar', 'terabyte', 'gigabytes')):
    pytest.skip('may fill the memory of this process where it fails')
  file = io.BytesIO(data)
  tracemalloc.start()
  try:
    with contextlib.suppress(Exception):
      safe_pickle.load(file)
    _, peak = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  # The stack and the memo come on top, 9 bytes for each of what was read.
  assert peak < (16 + 9 + 9) * len(data) + 3 * 2**20


def test_a_chain_of_lists_that_are_still_open_is_not_too_deep():
  """Each is put into the one before while it is short itself."""

  def number(i):
    return i.to_bytes(4, 'little')

  data = b'\x80\x04(' + b''.join(b']r' + number(i) for i in range(300))
  for i in range(299):
    data += b'j' + number(i) + b'j' + number(i + 1) + b'a0'
  with pytest.raises(safe_pickle.RefusedError, match='holds itself'):
    safe_pickle.loads(data + b'l.')


def nested(depth, kind):
  value = ()
  for _ in range(depth):
    value = {
      'dict': lambda x: {'a': x},
      'deque': lambda x: collections.deque([x]),
      'tuple': lambda x: (x,),
      'list': lambda x: [x],
    }[kind](value)
  return value


@pytest.mark.parametrize('kind', ['dict', 'deque', 'tuple', 'list'])
@pytest.mark.parametrize('protocol', [0, 2, 5])
def test_depth(kind, protocol):
  data = pickle.dumps(nested(199, kind), protocol)
  assert safe_pickle.loads(data) == nested(199, kind)
  with pytest.raises(safe_pickle.RefusedError, match='deeper than 200'):
    safe_pickle.loads(pickle.dumps(nested(201, kind), protocol))
  assert safe_pickle.dumps(nested(198, kind))
  with pytest.raises(safe_pickle.RefusedError, match='deeper than 200'):
    safe_pickle.dumps(nested(201, kind))


@pytest.mark.parametrize('protocol', range(6))
def test_what_holds_itself(protocol):
  value = [1, {}]
  value[1]['whole'] = value
  value.append((value, [value]))
  value += range(5000)
  for data in (pickle.dumps(value, protocol), safe_pickle.dumps(value)):
    loaded = safe_pickle.loads(data)
    assert loaded[1]['whole'] is loaded is loaded[2][0] is loaded[2][1][0]
    assert loaded[3:] == value[3:]


@pytest.mark.parametrize('protocol', range(6))
def test_what_is_in_several_places(protocol):
  part, array = [1], np.zeros((2, 2))
  value = [part] * 3000 + [array] * 3000 + [(part, {'a': part})] * 100
  loaded = safe_pickle.loads(pickle.dumps(value, protocol))
  assert len({id(x) for x in loaded}) == 3
  assert loaded[-1][0] is loaded[0] is loaded[-1][1]['a']


@pytest.mark.parametrize('protocol', range(6))
def test_dtypes_of_another_byte_order_change_no_others(protocol):
  """One that was remembered before became the other."""
  value = [np.arange(3.0), np.arange(3.0).astype('>f8'), np.arange(4.0)]
  value += [np.dtype('f8'), np.dtype('>f8'), np.float64(2.0)]
  loaded = safe_pickle.loads(pickle.dumps(value, protocol))
  for found, expected in zip(loaded, value, strict=True):
    np.testing.assert_array_equal(found, expected)


RNG = np.random.default_rng(0)


@pytest.mark.parametrize('protocol', [2, 5])
@pytest.mark.parametrize(
  'value',
  [
    RNG.normal(size=10**6).tolist(),
    RNG.integers(-(2**62), 2**62, 10**5).tolist(),
    RNG.integers(0, 2**17, 10**5).tolist(),
    tuple(RNG.integers(0, 2, 10**5).astype(bool).tolist()),
    [f'{i:x}' for i in range(10**5)],
    {(i % 1000, i // 1000): float(i) for i in range(5 * 10**4)},
    {i: i for i in range(10**5)},
    set(map(float, range(5 * 10**4))),
    [(i, i + 1) for i in range(5 * 10**4)],
    [np.float32(x) for x in range(10**4)],
    {f'iteration_{i}': {'returns': [1.5] * 9} for i in range(10**4)},
  ],
  ids=lambda value: f'{type(value).__name__} of {len(value)}',
)
def test_what_is_large_and_honest_loads(value, protocol):
  data = safe_pickle.dumps(value)
  assert safe_pickle.loads(data) == value
  assert safe_pickle.loads(pickle.dumps(value, protocol)) == value


def test_a_large_array_loads(tmp_path):
  path = tmp_path / 'array'
  array = np.arange(300_000_000 // 8, dtype=np.float64)
  with open(path, 'wb') as file:
    pickle.dump(array, file)
  with open(path, 'rb') as file:
    loaded = safe_pickle.load(file)
  assert loaded[-1] == array[-1] and loaded.nbytes == 300_000_000


def test_pickles_one_after_the_other_are_read_as_such(tmp_path):
  path = tmp_path / 'two'
  with open(path, 'wb') as file:
    for value in (1, [2] * 100_000, 3):
      pickle.dump(value, file)
  with open(path, 'rb') as file:
    assert safe_pickle.load(file) == 1
    assert len(safe_pickle.load(file)) == 100_000
    assert safe_pickle.load(file) == 3


def test_what_would_not_be_read_is_not_written(tmp_path):
  with pytest.raises(safe_pickle.RefusedError, match='16 times'):
    safe_pickle.dumps([[] for _ in range(10**5)])
  path = tmp_path / 'file'
  path.write_bytes(pickle.dumps([[] for _ in range(10**5)]))
  with pytest.raises(safe_pickle.RefusedError, match=str(path)):
    atomic.read_pickle(str(path))


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_numbers_that_are_read_together_are_the_same(protocol):
  """In and between runs of one kind, and around the ends of frames."""
  rng = np.random.default_rng(protocol)
  kinds = [
    lambda: rng.normal(),
    lambda: int(rng.integers(256, 65536)),
    lambda: int(rng.integers(0, 256)),
    lambda: (1.5, 300, 'a'),
    lambda: {300: [2.5, 2.5], 2.5: 300},
  ]
  for size in (1, 2, 30, 1001, 20_000):
    value = []
    while len(value) < size:
      kind = kinds[rng.integers(len(kinds))]
      value += [kind() for _ in range(rng.integers(1, 1 + size))]
    content = pickle.dumps(value, protocol)
    assert safe_pickle.loads(content) == value


@pytest.mark.parametrize('number', [1.5, 300])
def test_a_number_that_is_cut_off_is_damage(number):
  content = pickle.dumps([number] * 3, 2)
  for length in range(len(content)):
    with pytest.raises(
      (EOFError, IndexError, pickle.UnpicklingError, struct.error)
    ):
      safe_pickle.loads(content[:length])
