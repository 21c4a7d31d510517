"""Tests of the files of a replay memory, which are those of Dopamine 3.2.1."""

import gzip
import os
import pickle
import tracemalloc

import numpy as np
import pytest

from dopamine.files import atomic
from dopamine.replay_memory import circular_replay_buffer
from tests.support import inside
from tests.support import replays

pytestmark = pytest.mark.no_backend


def test_files_are_in_the_public_format(tmp_path):
  memory = replays.memory(stack_size=2)
  for i in range(5):
    memory.add(i, i, i, False)
  memory.public = {'some': [1, 2]}
  memory._private = 'not saved'
  memory.save(tmp_path, 3)
  assert set(os.listdir(tmp_path)) == replays.PUBLIC_FILES | {
    'public_ckpt.3.gz',
    'episode_markers_ckpt.3.gz',
  }
  for name in ('observation', 'action', 'reward', 'terminal'):
    with gzip.open(tmp_path / f'$store$_{name}_ckpt.3.gz') as file:
      array = np.load(file, allow_pickle=False)
    np.testing.assert_array_equal(array, inside.arrays(memory)[name])
  with gzip.open(tmp_path / 'add_count_ckpt.3.gz') as file:
    add_count = np.load(file, allow_pickle=False)
  assert add_count == 6 and add_count.shape == ()
  with gzip.open(tmp_path / 'invalid_range_ckpt.3.gz') as file:
    np.testing.assert_array_equal(np.load(file), memory.invalid_range)
  with gzip.open(tmp_path / 'public_ckpt.3.gz') as file:
    assert pickle.load(file) == {'some': [1, 2]}


def _write_array(directory, name, array, suffix=3):
  with gzip.open(directory / f'{name}_ckpt.{suffix}.gz', 'wb') as file:
    np.save(file, array)


def test_loads_a_data_set_without_markers(tmp_path):
  memory = replays.memory(stack_size=2, update_horizon=2, replay_capacity=30)
  # Frames 0, 1, 2, 3 (terminal) | 0, 5, 6, 7, 8.
  frames = np.array([0, 1, 2, 3, 0, 5, 6, 7, 8] + [0] * 21, np.float64)
  _write_array(tmp_path, '$store$_observation', frames)
  _write_array(tmp_path, '$store$_action', np.zeros(30, np.int32))
  _write_array(tmp_path, '$store$_reward', np.ones(30, np.float32))
  _write_array(tmp_path, '$store$_terminal', np.eye(30, dtype=np.uint8)[3])
  _write_array(tmp_path, 'add_count', np.array(9))
  _write_array(tmp_path, 'invalid_range', np.array([7, 8, 9, 10]))
  memory.load(tmp_path, 3)
  np.testing.assert_array_equal(memory.invalid_range, [7, 8, 9, 10])
  valid = [i for i in range(30) if memory.is_valid_transition(i)]
  assert valid == [1, 2, 3, 5, 6]
  # The next add starts an episode; nobody saw what came after slot 8.
  for i in range(11, 16):
    memory.add(i, 0, 1.0, False)
  np.testing.assert_array_equal(
    inside.arrays(memory)['observation'][7:13], [7, 8, 0, 11, 12, 13]
  )
  valid = [i for i in range(30) if memory.is_valid_transition(i)]
  assert valid == [1, 2, 3, 5, 6, 10, 11, 12]


def test_loads_arrays_of_any_shape(tmp_path):
  memory = replays.memory(observation_shape=(84, 84), stack_size=4)
  arrays = {
    name: np.full((10,), i)
    for i, name in enumerate(sorted(memory._return_checkpointable_elements()))
  }
  for name, array in arrays.items():
    _write_array(tmp_path, name, array)
  memory.load(tmp_path, 3)
  for name, array in memory._return_checkpointable_elements().items():
    np.testing.assert_array_equal(array, arrays[name])


def test_saves_attributes_that_were_set(tmp_path):
  memory = replays.memory()
  inside.arrays(memory)['observation'] = np.arange(3)
  memory.add_count = np.array(7)
  memory.invalid_range = np.ones(4)
  memory.save(tmp_path, 3)
  loaded = replays.memory()
  loaded.load(tmp_path, 3)
  assert inside.arrays(loaded)['observation'].tolist() == [0, 1, 2]
  assert loaded.add_count == 7
  assert loaded.invalid_range.tolist() == [1, 1, 1, 1]


def test_missing_files_are_named_and_nothing_is_loaded(tmp_path):
  memory = replays.memory()
  memory.add(5, 0, 0.0, False)
  memory.save(tmp_path, 3)
  os.remove(tmp_path / 'add_count_ckpt.3.gz')
  os.remove(tmp_path / '$store$_reward_ckpt.3.gz')
  fresh = replays.memory()
  with pytest.raises(circular_replay_buffer.NotFoundError) as error:
    fresh.load(tmp_path, 3)
  assert 'add_count_ckpt.3.gz' in str(error.value)
  assert '$store$_reward_ckpt.3.gz' in str(error.value)
  assert 'action' not in str(error.value)
  assert isinstance(error.value, FileNotFoundError)
  assert not inside.arrays(fresh)['observation'].any()
  with pytest.raises(circular_replay_buffer.NotFoundError):
    fresh.load(tmp_path / 'missing', 3)


def test_damaged_file_loads_nothing(tmp_path):
  memory = replays.memory()
  memory.add(5, 0, 0.0, False)
  memory.save(tmp_path, 3)
  file = tmp_path / 'invalid_range_ckpt.3.gz'
  file.write_bytes(file.read_bytes()[:-12])
  fresh = replays.memory()
  with pytest.raises((EOFError, OSError, ValueError)):
    fresh.load(tmp_path, 3)
  assert fresh.add_count == 0 and not inside.arrays(fresh)['observation'].any()


def test_save_without_directory_is_silent(tmp_path):
  replays.memory().save(tmp_path / 'missing', 3)
  assert not os.listdir(tmp_path)


def test_save_keeps_four_checkpoints(tmp_path):
  memory = replays.memory()
  for i in range(6):
    memory.save(tmp_path, i)
  numbers = {name.split('.')[-2] for name in os.listdir(tmp_path)}
  assert numbers == {'2', '3', '4', '5'}
  assert len(os.listdir(tmp_path)) == 4 * 7


def test_save_holds_no_second_copy(tmp_path):
  memory = replays.memory(
    observation_shape=(1024,), replay_capacity=8192
  )  # 64 MiB.
  tracemalloc.start()
  memory.save(tmp_path, 3)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 40 * 2**20


def test_load_holds_no_second_copy(tmp_path):
  memory = replays.memory(
    observation_shape=(1024,), replay_capacity=8192
  )  # 64 MiB.
  for i in range(9):
    memory.add(np.full(1024, i), i, i, False)
  memory.save(tmp_path, 3)
  fresh = replays.memory(observation_shape=(1024,), replay_capacity=8192)
  store = inside.arrays(fresh)['observation']
  tracemalloc.start()
  fresh.load(tmp_path, 3)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 4 * 2**20
  assert inside.arrays(fresh)['observation'] is store
  np.testing.assert_array_equal(store, inside.arrays(memory)['observation'])


@pytest.mark.parametrize('damage', ['short', 'flipped', 'longer', 'pickled'])
def test_a_damaged_array_leaves_the_buffer_empty(tmp_path, damage):
  memory = replays.memory()
  for i in range(9):
    memory.add(i, i, i, False)
  memory.save(tmp_path, 3)
  file = tmp_path / '$store$_reward_ckpt.3.gz'
  content = gzip.decompress(file.read_bytes())
  zipped = bytearray(gzip.compress(content))
  if damage == 'short':
    zipped = zipped[:-9]
  elif damage == 'flipped':  # Only the checksum tells.
    zipped[-8] ^= 1
  elif damage == 'longer':
    zipped = gzip.compress(content + b'more')
  else:
    zipped = gzip.compress(b'\x80\x04no pickle')
  file.write_bytes(zipped)
  with pytest.raises(atomic.DamagedError, match='reward_ckpt.3.gz is damaged'):
    memory.load(tmp_path, 3)
  assert memory.is_empty() and memory.cursor() == 0
  for i in range(20, 26):
    memory.add(i, i, i, False)
  assert memory.add_count == 6
  assert [i for i in range(9) if memory.is_valid_transition(i)] == list(
    range(5)
  )


def test_an_array_in_fortrans_order_is_checkpointed_as_any(tmp_path):
  memory = replays.memory(observation_shape=(3,))
  for i in range(9):
    memory.add([i, 2 * i, 3 * i], i, i, False)
  memory.save(tmp_path, 3)
  expected = inside.arrays(memory)['observation'].copy()
  _write_array(tmp_path, '$store$_observation', np.asfortranarray(expected))
  loaded, restored = (replays.memory(observation_shape=(3,)) for _ in range(2))
  loaded.load(tmp_path, 3)
  loaded.checkpoint(tmp_path, 4)
  restored.restore(tmp_path, 4)
  for other in (loaded, restored):
    np.testing.assert_array_equal(inside.arrays(other)['observation'], expected)


@pytest.mark.parametrize(
  'name, content, text',
  [
    ('$store$_reward', pickle.dumps([1.0]), 'no array, but list'),
    ('add_count', np.array(-5), '-5, which is no number of transitions'),
    ('add_count', np.array(13.5), '13.5, which is no number'),
    ('episode_markers', np.zeros(3), 'does not fit replay_capacity=20'),
  ],
)
def test_what_is_no_part_of_a_memory_is_named(tmp_path, name, content, text):
  memory = replays.memory()
  memory.add(5, 0, 0.0, False)
  memory.save(tmp_path, 3)
  with gzip.open(tmp_path / f'{name}_ckpt.3.gz', 'wb') as file:
    if isinstance(content, bytes):
      file.write(content)
    else:
      np.save(file, content)
  fresh = replays.memory()
  with pytest.raises(atomic.DamagedError, match=text) as error:
    fresh.load(tmp_path, 3)
  assert f'{name}_ckpt.3.gz' in str(error.value)
  assert fresh.is_empty()


def test_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
  memory = replays.memory()
  memory.save(tmp_path, 3)
  before = {x.name: x.read_bytes() for x in tmp_path.iterdir()}

  def fail(file, array, allow_pickle):
    file.write(b'half')
    raise OSError('disk full')

  monkeypatch.setattr(np, 'save', fail)
  with pytest.raises(OSError, match='disk full'):
    memory.save(tmp_path, 3)
  assert {x.name: x.read_bytes() for x in tmp_path.iterdir()} == before


def test_load_runs_no_code(tmp_path):
  class Attack:
    def __reduce__(self):
      return os.mkdir, (str(tmp_path / 'made'),)

  memory = replays.memory()
  memory.extra = 1
  memory.save(tmp_path, 3)
  with gzip.open(tmp_path / 'extra_ckpt.3.gz', 'wb') as file:
    pickle.dump(Attack(), file)
  with pytest.raises(pickle.UnpicklingError, match='mkdir'):
    memory.load(tmp_path, 3)
  with gzip.open(tmp_path / 'extra_ckpt.3.gz', 'wb') as file:
    np.save(file, np.array([Attack()]), allow_pickle=True)
  with pytest.raises(ValueError, match='allow_pickle=False'):
    memory.load(tmp_path, 3)
  assert not (tmp_path / 'made').exists()
