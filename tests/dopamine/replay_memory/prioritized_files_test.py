"""Tests of the files of a prioritised memory: its tree is one of them."""

import gzip
import os
import pickle

import numpy as np
import pytest

from dopamine.replay_memory import circular_replay_buffer
from tests.support import inside
from tests.support import prioritized
from tests.support import replays

pytestmark = pytest.mark.no_backend


def test_tree_is_saved_as_an_array(tmp_path):
  memory = prioritized.filled(count=12)
  memory.set_priority(np.array([2], np.int32), [1 / 3])
  memory.save(tmp_path, 3)
  assert set(os.listdir(tmp_path)) == replays.PUBLIC_FILES | {
    'sum_tree_ckpt.3.gz',
    'episode_markers_ckpt.3.gz',
  }
  with gzip.open(tmp_path / 'sum_tree_ckpt.3.gz') as file:
    saved = np.load(file, allow_pickle=False)
  assert saved.shape == () and saved.dtype.names == (
    'priorities',
    'max_recorded_priority',
  )
  priorities = [1, 2, 1 / 3, *range(4, 13), *[0] * 8]
  assert saved['priorities'].dtype == np.float64
  assert saved['priorities'].tolist() == priorities
  assert saved['max_recorded_priority'] == 12


def test_loading_replaces_all_of_the_tree(tmp_path):
  memory = prioritized.filled(count=12)
  for priority in (40.0, 0.5):
    memory.set_priority(np.array([3], np.int32), [priority])
  memory.save(tmp_path, 3)
  loaded = prioritized.filled(count=18, seed=5)
  loaded.set_priority(np.array([19], np.int32), [99.0])
  loaded.load(tmp_path, 3)
  assert loaded.sum_tree.max_recorded_priority == 40
  prioritized.assert_same_tree(loaded, memory)
  loaded.generator_state = memory.generator_state
  draws = [memory.sample_index_batch(6).tolist() for _ in range(5)]
  assert [loaded.sample_index_batch(6).tolist() for _ in range(5)] == draws
  # What is loaded is no view of what was saved, and can be written to.
  loaded.set_priority(np.array([0], np.int32), [50.0])
  assert prioritized.priorities(memory)[0] == 1


def test_save_keeps_four_trees(tmp_path):
  memory = prioritized.filled()
  for i in range(6):
    memory.save(tmp_path, i)
  names = [name for name in os.listdir(tmp_path) if 'sum_tree' in name]
  assert sorted(names) == [f'sum_tree_ckpt.{i}.gz' for i in (2, 3, 4, 5)]


def test_missing_tree_is_named_and_nothing_is_loaded(tmp_path):
  prioritized.filled().save(tmp_path, 3)
  os.remove(tmp_path / 'sum_tree_ckpt.3.gz')
  fresh = prioritized.memory()
  text = 'sum_tree_ckpt.3.gz'
  with pytest.raises(circular_replay_buffer.NotFoundError, match=text):
    prioritized.Wrapped((), 1, wrapped_memory=fresh).restore(tmp_path, 3)
  assert fresh.is_empty() and not prioritized.priorities(fresh).any()


def _save_tree(directory, value):
  name = directory / 'sum_tree_ckpt.3.gz'
  with gzip.open(name, 'wb') as file:
    if isinstance(value, np.ndarray):
      np.save(file, value)
    else:
      pickle.dump(value, file)


def _record(priorities, largest=9.0):
  return np.array(
    (priorities, largest),
    [
      ('priorities', np.float64, np.shape(priorities)),
      ('max_recorded_priority', np.float64),
    ],
  )


@pytest.mark.parametrize(
  'tree, text',
  [
    (_record(np.ones(30)), 'holds 30 priorities'),
    (np.ones(20), 'holds no tree'),
    ({'nodes': []}, 'holds no tree'),
  ],
)
def test_a_tree_that_does_not_fit_is_refused(tmp_path, tree, text):
  replay = prioritized.Wrapped(
    (), 1, wrapped_memory=prioritized.filled(count=12)
  )
  replay.save(tmp_path, 3)
  _save_tree(tmp_path, tree)
  replay.memory = prioritized.filled(count=5)
  memory = replay.memory
  for load in (replay.load, memory.load, memory.check_shapes):
    with pytest.raises(ValueError, match=text) as error:
      load(tmp_path, 3)
    assert 'sum_tree' in str(error.value)
    assert 'replay_capacity=20' in str(error.value)
    _assert_untouched(memory)


@pytest.mark.parametrize('bad', [-1.0, np.nan])
def test_a_damaged_maximum_is_refused(tmp_path, bad):
  replay = prioritized.Wrapped(
    (), 1, wrapped_memory=prioritized.filled(count=12)
  )
  replay.save(tmp_path, 3)
  record = _record([1.0] * 20)
  record['max_recorded_priority'] = bad
  _save_tree(tmp_path, record)
  replay.memory = prioritized.filled(count=5)
  with pytest.raises(ValueError, match=f'max_recorded_priority={bad}') as error:
    replay.load(tmp_path, 3)
  assert str(tmp_path) in error.value.__notes__[0]
  _assert_untouched(replay.memory)


@pytest.mark.parametrize('bad', [-1.0, np.nan])
def test_a_damaged_tree_is_refused(tmp_path, bad):
  replay = prioritized.Wrapped(
    (), 1, wrapped_memory=prioritized.filled(count=12)
  )
  replay.save(tmp_path, 3)
  _save_tree(tmp_path, _record([1.0] * 19 + [bad]))
  replay.memory = prioritized.filled(count=5)
  with pytest.raises(ValueError, match=f'Got {bad} at index 19'):
    replay.load(tmp_path, 3)
  _assert_untouched(replay.memory)


def _assert_untouched(memory):
  """Asserts that it is as `_filled(count=5)` left it."""
  assert memory.add_count == 5
  assert inside.arrays(memory)['action'].tolist() == [0, 1, 2, 3, 4] + [0] * 15
  assert prioritized.priorities(memory).tolist() == [1, 2, 3, 4, 5] + [0] * 15
  assert memory.sum_tree.max_recorded_priority == 5


@pytest.mark.parametrize(
  'change', [{'replay_capacity': 30}, {'observation_dtype': np.float32}]
)
def test_another_build_is_refused(tmp_path, change):
  prioritized.filled(count=12, **change).save(tmp_path, 3)
  replay = prioritized.Wrapped(
    (), 1, wrapped_memory=prioritized.filled(count=5)
  )
  with pytest.raises(ValueError, match='observation of shape'):
    replay.load(tmp_path, 3)
  _assert_untouched(replay.memory)


def test_a_uniform_data_set_gets_equal_priorities(tmp_path, caplog):
  uniform = circular_replay_buffer.OutOfGraphReplayBuffer(
    (), 1, 20, observation_dtype=np.float64
  )
  for i in range(12):
    uniform.add(i, i, i, i == 7)
  uniform.save(tmp_path, 3)
  memory = prioritized.filled(count=5)
  with caplog.at_level('WARNING'):
    memory.load(tmp_path, 3)
  assert 'without priorities' in caplog.text
  assert prioritized.priorities(memory).tolist() == [1] * 12 + [0] * 8
  assert memory.sum_tree.max_recorded_priority == 1
  drawn = memory.sample_index_batch(1100)
  counts = np.bincount(drawn, minlength=20)
  assert not counts[11:].any()  # The last has no next state.
  assert counts[:11].min() > 60
  # Of a run that goes on, priorities are part of the state.
  replay = prioritized.Wrapped(
    (), 1, wrapped_memory=prioritized.filled(count=5)
  )
  with pytest.raises(circular_replay_buffer.NotFoundError, match='sum_tree'):
    replay.restore(tmp_path, 3)
  _assert_untouched(replay.memory)
