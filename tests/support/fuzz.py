"""Reads files that were made at random, in a process with little memory.

    python -m tests.support.fuzz pickle 100000 --seed 1

Ends with 0 if each file was read, or refused in the way that is documented;
what ends the process otherwise is in the file that is printed first.
"""

import argparse
import functools
import gzip
import io
import json
import os
import pathlib
import pickle
import pickletools
import resource
import sys
import tempfile
import zlib

import hypothesis
from hypothesis import strategies as st
import numpy as np

from dopamine.discrete_domains import checkpointer
from dopamine.files import arrays
from dopamine.files import atomic
from dopamine.files import parity
from dopamine.files import safe_pickle
from dopamine.files import unpickler
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import prioritized_replay_buffer
from dopamine.runs import going_on
from dopamine.runs import run_checks

LIMIT = 2 * 10**9  # Bytes of address space.


# Pickles ----------------------------------------------------------------------


@functools.cache
def operands():
  """Opcode -> a strategy of what comes after it."""
  names = st.sampled_from([*sorted(unpickler._KNOWN), ('os', 'system')])
  sizes = st.one_of(
    st.integers(0, 20), st.sampled_from([2**16 - 1, 2**31 - 1, 2**32 - 1])
  )
  small = st.integers(0, 20)

  def counted(width):
    def lay(size, content):
      return size.to_bytes(width, 'little') + content

    short = st.binary(max_size=9)
    honest = short.map(lambda content: lay(len(content), content))
    return st.one_of(
      honest, st.builds(lay, sizes.map(lambda n: n % 256**width), short)
    )

  line = st.sampled_from(['1', '-7', '1e9', '00', "'ab'", '9' * 400, '5L'])
  kinds = {
    'uint1': small.map(lambda i: bytes([i])),
    'uint2': st.binary(min_size=2, max_size=2),
    'uint4': st.one_of(small, sizes).map(lambda i: i.to_bytes(4, 'little')),
    'int4': st.binary(min_size=4, max_size=4),
    'uint8': st.one_of(small, st.just(2**40)).map(
      lambda i: i.to_bytes(8, 'little')
    ),
    'float8': st.binary(min_size=8, max_size=8),
    'stringnl_noescape_pair': names.map(lambda n: f'{n[0]}\n{n[1]}\n'.encode()),
    'long1': counted(1),
    'string1': counted(1),
    'bytes1': counted(1),
    'unicodestring1': counted(1),
    'long4': counted(4),
    'string4': counted(4),
    'bytes4': counted(4),
    'unicodestring4': counted(4),
    'bytes8': counted(8),
    'unicodestring8': counted(8),
    'bytearray8': counted(8),
  }
  lines = line.map(lambda text: text.encode() + b'\n')
  return {
    op.code.encode('latin1'): st.just(b'')
    if op.arg is None
    else kinds.get(op.arg.name, lines)
    for op in pickletools.opcodes
  }


@functools.cache
def pieces():
  """Parts of honest pickles, from one of their objects to the next."""
  values = [
    {'a': [1, 2.5, 'x', b'y', None, True, 2**70], 'b': (1, (2, (3,)))},
    [{1, 2}, frozenset((3,)), range(3), slice(1, 2), 1j, bytearray(b'z')],
    [np.arange(3), np.float32(1), np.zeros(2, [('a', 'i2'), ('b', 'O')])],
    [np.array([None, (1,)], object), np.array('x'), np.zeros((2, 0), '>f4')],
    np.random.default_rng(0).bit_generator.state,
    unpickler.SavedTuple(1, 2),
  ]
  found = [
    pickle.DUP,
    *(c * 300 for c in (b')\x85', b'\x85', b'(', b']', b'a')),
  ]
  for value in values:
    for protocol in (2, 4, 5):
      data = pickle.dumps(value, protocol)
      starts = [i for _, _, i in pickletools.genops(data)][1:]
      found += [data[i:j] for i, j in zip(starts, starts[1:], strict=False)]
      found.append(data[2:-1])
  return found


@st.composite
def pickles(draw):
  """Opcodes one after the other, some of them many times."""
  opcode = st.sampled_from(sorted(operands())).flatmap(
    lambda code: operands()[code].map(lambda operand: code + operand)
  )
  part = st.one_of(opcode, st.sampled_from(pieces()))
  times = st.sampled_from([1] * 30 + [2, 50, 3000])
  parts = draw(st.lists(st.tuples(part, times), max_size=25))
  return b'\x80\x04' + b''.join(p * n for p, n in parts) + b'.'


def read_pickle(data):
  try:
    safe_pickle.loads(data)
  except MemoryError:
    raise AssertionError('a pickle filled the memory') from None
  except Exception:  # What a broken pickle raises is anything.
    return


# Files ------------------------------------------------------------------------


def memory(cls=circular_replay_buffer.OutOfGraphReplayBuffer):
  return cls((6,), 2, 30, 4, seed=1)


def filled(cls):
  buffer = memory(cls)
  extra = (1.0,) * (cls is not circular_replay_buffer.OutOfGraphReplayBuffer)
  for i in range(40):
    buffer.add(np.full(6, i % 256), i % 3, i, i % 9 == 8, *extra)
  return buffer


MEMORIES = (
  circular_replay_buffer.OutOfGraphReplayBuffer,
  prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer,
)


def header(shape, dtype):
  """The beginning of an array's file."""
  file = io.BytesIO()
  described = {'descr': dtype, 'fortran_order': False, 'shape': shape}
  np.lib.format.write_array_header_1_0(file, described)
  return file.getvalue()


JSON = st.recursive(
  st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(['', '/etc/passwd', '../x', 'ckpt.3', '0-9-01234567.zst']),
    st.sampled_from(['folder', 'replay', '.', 'files', '<f4', 'O']),
  ),
  lambda inner: st.one_of(
    st.lists(inner, max_size=4),
    st.dictionaries(
      st.sampled_from(
        ['files', 'shared', 'format', 'segments', 'file', 'first']
      ),
      inner,
    ),
  ),
)


def changed(value, path, new):
  """A copy of nested lists and dicts, with something else in one place."""
  if not path or not isinstance(value, (dict, list)) or not value:
    return new
  keys = sorted(value) if isinstance(value, dict) else range(len(value))
  key = list(keys)[path[0] % len(value)]
  copy = dict(value) if isinstance(value, dict) else list(value)
  copy[key] = changed(value[key], path[1:], new)
  return copy


def mutated(content, draw):
  """Bytes with some flipped, cut, repeated or added."""
  content = bytearray(content)
  for _ in range(draw(st.integers(0, 3))):
    i = draw(st.integers(0, max(len(content) - 1, 0)))
    kind = draw(st.integers(0, 3))
    if kind == 0 and content:
      content[i] ^= 1 << draw(st.integers(0, 7))
    elif kind == 1:
      del content[i : i + draw(st.integers(1, 40))]
    elif kind == 2:
      content[i:i] = content[i : i + 20] * draw(st.sampled_from([1, 9, 4000]))
    else:
      content[i:i] = draw(st.binary(max_size=9))
  return bytes(content)


@st.composite
def zipped(draw):
  """What is in a gzipped file: an array, honest or not, or a pickle."""
  shape = draw(
    st.lists(st.sampled_from([0, 1, 6, 30, 2**33, 2**62, -1]), max_size=4)
  )
  dtype = draw(
    st.sampled_from(['|u1', '<f8', '|O', '|V2000000000', [['a', '<f8']]])
  )
  with_header = header(tuple(shape), dtype) + draw(st.binary(max_size=300))
  honest = io.BytesIO()
  np.save(honest, np.arange(180, dtype=np.uint8).reshape(30, 6))
  content = draw(st.sampled_from([with_header, honest.getvalue()]))
  content = draw(st.one_of(st.just(content), pickles()))
  packed = gzip.compress(mutated(content, draw), 1)
  return draw(st.sampled_from([packed, mutated(packed, draw)]))


def read_zipped(folder, content, state):
  cls = MEMORIES[len(content) % 2]
  if cls not in state:
    state[cls] = filled(cls)
  files = folder / cls.__name__
  if not files.is_dir():
    files.mkdir()
    state[cls].save(files, 3)
  names = sorted(os.listdir(files))
  path = files / names[zlib.crc32(content) % len(names)]
  before = path.read_bytes()
  path.write_bytes(content)
  try:
    buffer = memory(cls)
    buffer.check_shapes(files, 3)
    buffer.load(files, 3)
  except (ValueError, OSError, pickle.UnpicklingError):
    pass
  finally:
    path.write_bytes(before)


@st.composite
def archives(draw):
  """An `.npz` file of weights, honest or not."""
  file = io.BytesIO()
  arrays = {'a': np.arange(12.0), 'b': np.zeros((3, 0)), 'c': np.array(1)}
  draw(st.sampled_from([np.savez, np.savez_compressed]))(file, **arrays)
  content = file.getvalue()
  if draw(st.booleans()):  # Another size in one of its headers.
    sizes = st.sampled_from([b'(99,)', b'(2e9)', b'(-1,)', b'(1<<9'])
    content = content.replace(b'(12,)', draw(sizes))
  return mutated(content, draw)


def read_archive(folder, content, state):
  del state
  path = folder / 'weights.npz'
  path.write_bytes(content)
  try:
    arrays.read_npz(str(path))
  except atomic.DamagedError:
    pass


@st.composite
def records(draw):
  """What a replay memory's record is changed to, and its files' bytes."""
  path = draw(st.lists(st.integers(0, 9), max_size=4))
  return path, draw(JSON), draw(st.booleans()), draw(st.randoms())


def read_record(folder, case, state):
  path, new, is_of_files, random = case
  cls = MEMORIES[len(path) % 2]
  files = folder / f'record {cls.__name__}'
  if cls not in state:
    files.mkdir()
    filled(cls).checkpoint(files, 3)
    with np.load(files / 'replay_ckpt.3.npz') as file:
      state[cls] = dict(file), {p.name: p.read_bytes() for p in files.iterdir()}
  arrays, contents = state[cls]
  for name, content in contents.items():
    (files / name).write_bytes(content)
  record = json.loads(arrays['record'].tobytes())
  if is_of_files:
    name = sorted(n for n in contents if n.endswith('.zst'))[0]
    content = bytearray(contents[name])
    for _ in range(random.randrange(4)):
      content[random.randrange(len(content))] = random.randrange(256)
    # As somebody writes it who knows the checksums.
    (segment,) = (s for s in record['segments'] if s['file'] == name)
    payload = bytes(content[: segment['size']])
    segment['checksums'] = parity.write_shared(str(files / name), payload)
  else:
    record = changed(record, path, new)
  text = json.dumps(record).encode()
  np.savez(
    files / 'replay_ckpt.3.npz',
    **arrays | {'record': np.frombuffer(text, np.uint8)},
  )
  try:
    memory(cls).restore(files, 3)
  except (ValueError, OSError, pickle.UnpicklingError):
    pass


@st.composite
def manifests(draw):
  """JSON of a manifest, or the content of `seed.json`."""
  depth = draw(st.sampled_from([0, 0, 0, 150, 5000]))
  text = json.dumps(draw(JSON))
  return '[' * depth + text + ']' * depth


def read_manifest(folder, text, state):
  directory = folder / 'checkpoints'
  if not state:
    saver = checkpointer.Checkpointer(str(directory))
    saver.save_checkpoint(3, {})
    state['victim'] = folder / 'victim'
    state['victim'].write_text('mine')
  content = text.encode()
  line = b'\n%d\n' % zlib.crc32(content)
  (directory / 'manifest_ckpt.3.json').write_bytes(content + line)
  (folder / 'seed.json').write_bytes(content)
  saver = checkpointer.Checkpointer(str(directory))
  for read in (
    lambda: going_on.check_files(saver, 3),
    saver.shared_files,
    lambda: run_checks.settle_seed(str(folder), True, None),
  ):
    try:
      read()
    except ValueError:
      pass
  assert state['victim'].read_text() == 'mine'


FORMATS = {
  'pickle': (pickles, lambda folder, data, state: read_pickle(data)),
  'zipped': (zipped, read_zipped),
  'archive': (archives, read_archive),
  'record': (records, read_record),
  'manifest': (manifests, read_manifest),
}


def fuzz(kind, count, seed):
  """Reads `count` files of a kind."""
  make, read = FORMATS[kind]
  folder = pathlib.Path(tempfile.mkdtemp())
  last = folder / 'last'
  print(f'{kind} {count} --seed {seed}: the last one is in {last}', flush=True)
  state = {}

  @hypothesis.seed(seed)
  @hypothesis.settings(
    max_examples=count,
    deadline=None,
    database=None,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
  )
  @hypothesis.given(make())
  def run(case):
    with open(last, 'wb') as file:
      file.write(case if isinstance(case, bytes) else repr(case).encode())
    read(folder, case, state)

  run()


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('kind', choices=FORMATS)
  parser.add_argument('count', type=int)
  parser.add_argument('--seed', type=int, default=0)
  arguments = parser.parse_args()
  resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
  fuzz(arguments.kind, arguments.count, arguments.seed)


if __name__ == '__main__':
  sys.exit(main())
