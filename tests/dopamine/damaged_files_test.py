"""Whatever happened to a file: an error that names it, or what was written.

Files are cut, flipped, overwritten and lengthened at random. Those with a
checksum, which are all but the pickles, never give another value.
"""

import contextlib
import functools
import gzip
import pathlib
import pickle
import shutil
import tempfile

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from dopamine.colab import utils
from dopamine.compat import old_weights
from dopamine.discrete_domains import checkpointer
from dopamine.files import arrays
from dopamine.files import safe_pickle
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import prioritized_replay_buffer
from dopamine.runs import going_on
from tests.support import old_files

pytestmark = pytest.mark.no_backend

LOGS = {
  f'iteration_{i}': {'train_episode_returns': [1.0, 2.0 + i]} for i in range(3)
}


def memory(prioritized=False, filled=False):
  cls = circular_replay_buffer.OutOfGraphReplayBuffer
  if prioritized:
    cls = prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer
  buffer = cls((6,), 2, 30, 4, seed=1)
  if filled:
    for i in range(40):
      extra = (1.0 + i % 7,) if prioritized else ()
      buffer.add(np.full(6, i * 7 % 256), i % 3, i, i % 9 == 8, *extra)
  return buffer


def contents(buffer):
  return {
    'markers': buffer._markers,
    **{
      k: np.array(v)
      for k, v in buffer._return_checkpointable_elements().items()
    },
  }


def read_public(folder, prioritized):
  buffer = memory(prioritized)
  buffer.load(folder, 3)
  return contents(buffer)


def read_checkpoint(folder, prioritized):
  buffer = memory(prioritized)
  buffer.restore(folder, 3)
  return contents(buffer)


def read_weights(folder, _):
  found = arrays.read_npz(str(folder / 'weights.npz'))
  if found.keys() < {'a', 'b'}:  # Which an agent finds out.
    raise ValueError('weights.npz has fewer than there were')
  return found


def read_manifest(folder, _):
  saver = checkpointer.Checkpointer(str(folder))
  going_on.check_files(saver, 3)
  return saver.load_checkpoint(3)


def write_manifest(folder, _):
  checkpointer.Checkpointer(str(folder)).save_checkpoint(3, {'logs': LOGS})


# Kind of folder -> what writes it, and what reads it.
KINDS = {
  'public': (
    lambda folder, p: memory(p, filled=True).save(folder, 3),
    read_public,
  ),
  'checkpoint': (
    lambda folder, p: memory(p, filled=True).checkpoint(folder, 3),
    read_checkpoint,
  ),
  'weights': (
    lambda folder, _: np.savez(
      folder / 'weights.npz', a=np.arange(50.0), b=np.ones((3, 4), np.uint8)
    ),
    read_weights,
  ),
  'manifest': (write_manifest, read_manifest),
  'tensorflow': (
    lambda folder, _: old_files.write_tf(folder, 3, 'cartpole', 'keras'),
    lambda folder, _: old_weights.read(str(folder / 'tf_ckpt-3')).online,
  ),
}
# Read without a checksum: any value may come, but nothing else.
PICKLES = {
  'log': (
    'log_2',
    lambda: pickle.dumps(LOGS),
    lambda folder: utils.load_statistics(str(folder), verbose=False),
  ),
  'jax': (
    'ckpt.3',
    lambda: pickle.dumps(
      {'online_params': {'Dense_0': {'kernel': np.ones(3)}}}
    ),
    lambda folder: old_weights.read(str(folder / 'ckpt.3')),
  ),
}


@functools.cache
def pristine(kind, prioritized):
  """A folder as it was written, and what it reads as."""
  folder = pathlib.Path(tempfile.mkdtemp())
  write, read = KINDS[kind]
  write(folder, prioritized)
  return folder, read(folder, prioritized)


@st.composite
def damages(draw):
  """A function of the bytes of a file, which changes them."""
  kind = draw(st.sampled_from(['cut', 'flip', 'write', 'add', 'remove']))
  share = draw(st.floats(0, 1, exclude_max=True))
  bit = draw(st.integers(0, 7))
  noise = draw(st.binary(min_size=1, max_size=9))

  def damage(content):
    place = int(share * len(content))
    if kind == 'cut':
      return content[:place]
    if kind == 'add':
      return content + noise
    if kind == 'remove':
      return content[:place] + content[place + len(noise) :]
    if kind == 'write':
      return content[:place] + noise + content[place + len(noise) :]
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return bytes(changed)

  return damage


def assert_equal(found, expected):
  assert type(found) is type(expected)
  if isinstance(found, dict):
    assert found.keys() == expected.keys()
    for name, value in found.items():
      assert_equal(value, expected[name])
  else:
    np.testing.assert_array_equal(found, expected)


@contextlib.contextmanager
def only_named_errors(path):
  """Lets errors pass that are ours and name the file."""
  try:
    yield
  except (OSError, ValueError, pickle.UnpicklingError) as error:
    stem = path.name.split('.data-')[0].removesuffix('.index')
    named = any(name in str(error) for name in (path.name, stem))
    assert named or isinstance(error, safe_pickle.RefusedError), error


@pytest.mark.parametrize(
  'kind, prioritized',
  [
    ('public', False),
    ('public', True),
    ('checkpoint', False),
    ('checkpoint', True),
    ('weights', False),
    ('manifest', False),
    ('tensorflow', False),
  ],
)
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=150, deadline=None, derandomize=True)
def test_no_wrong_array(kind, prioritized, data):
  folder, expected = pristine(kind, prioritized)
  names = sorted(
    str(p.relative_to(folder))
    for p in folder.rglob('*')
    if p.is_file()
    and not p.name.startswith('sentinel')
    and p.suffix != '.meta'
    and p.name != 'checkpoint'
  )
  name = data.draw(st.sampled_from(names))
  damage = data.draw(damages())
  with tempfile.TemporaryDirectory() as other:
    other = pathlib.Path(other) / 'copy'
    shutil.copytree(folder, other)
    path = other / name
    path.write_bytes(damage(path.read_bytes()))
    with only_named_errors(path):
      assert_equal(KINDS[kind][1](other, prioritized), expected)


@pytest.mark.parametrize('kind', PICKLES)
@hypothesis.given(damage=damages())
@hypothesis.settings(max_examples=300, deadline=None, derandomize=True)
def test_a_damaged_pickle_is_an_error_or_a_value(kind, damage):
  name, write, read = PICKLES[kind]
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, name)
    path.write_bytes(damage(write()))
    with only_named_errors(path):
      read(pathlib.Path(folder))


@hypothesis.given(content=st.binary(max_size=200))
@hypothesis.settings(max_examples=200, deadline=None, derandomize=True)
def test_noise_in_place_of_a_file(content):
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder)
    (path / 'ckpt.3').write_bytes(content)
    with only_named_errors(path / 'ckpt.3'):
      old_weights.read(str(path / 'ckpt.3'))
    memory().save(path, 3)
    file = path / '$store$_action_ckpt.3.gz'
    for noise in (content, gzip.compress(content)):
      file.write_bytes(noise)
      with only_named_errors(file):
        memory().load(path, 3)
        pytest.fail('noise was taken for an array')
