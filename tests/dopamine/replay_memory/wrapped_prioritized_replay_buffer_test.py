"""Tests of the prioritised memory that agents have, and of how it is made."""

import gin
import numpy as np
import pytest

from dopamine.discrete_domains import agent_factory
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import prioritized_replay_buffer
from tests.support import inside
from tests.support import prioritized
from tests.support import replays

pytestmark = pytest.mark.no_backend


STORAGE = dict(
  update_horizon=2,
  gamma=0.5,
  max_sample_attempts=9,
  extra_storage_types=replays.EXTRAS,
  observation_dtype=np.int16,
  terminal_dtype=np.float64,
  action_shape=(3,),
  action_dtype=np.float32,
  reward_shape=(4,),
  reward_dtype=np.float64,
  seed=0,
)


@pytest.mark.parametrize('build', [prioritized.Memory, prioritized.Wrapped])
def test_every_storage_argument_is_forwarded(build):
  # The wrapper of 3.2.1 forgot five of them.
  replay = build((2,), 3, replay_capacity=50, batch_size=4, **STORAGE)
  memory = getattr(replay, 'memory', replay)
  assert type(memory) is prioritized.Memory
  assert memory._observation_shape == (2,) and memory._stack_size == 3
  assert inside.capacity(memory) == 50 and memory._batch_size == 4
  assert (memory._update_horizon, memory._gamma) == (2, 0.5)
  assert memory._max_sample_attempts == 9
  stored = {k: (v.shape[1:], v.dtype) for k, v in inside.arrays(memory).items()}
  assert stored == {
    'observation': ((2,), np.int16),
    'action': ((3,), np.float32),
    'reward': ((4,), np.float64),
    'terminal': ((), np.float64),
    'note': ((2,), np.int64),
  }
  for i in range(30):
    step = [i, -i], [i, 0, 0], [i, 0, 0, 1], i % 7 == 6
    replay.add(*step, [i, 2 * i], priority=1.0 + i)
  sample = replays.sampled(memory, memory.sample_index_batch(6))
  np.testing.assert_array_equal(
    sample['sampling_probabilities'], 1 + sample['note'][:, 0]
  )
  np.testing.assert_array_equal(sample['action'][:, 0], sample['note'][:, 0])


def test_sizes_may_be_positional():
  memory = prioritized.Memory((2,), 3, 50, 4, seed=0)
  assert (inside.capacity(memory), memory._batch_size) == (50, 4)
  gin.parse_config('OutOfGraphPrioritizedReplayBuffer.replay_capacity = 60')
  assert inside.capacity(prioritized.Memory((2,), 3, 50, 4)) == 50
  text = 'There is not enough capacity to cover update_horizon and stack_size.'
  with pytest.raises(ValueError, match=text):
    prioritized.Memory((2,), 3, 3)
  with pytest.raises(TypeError, match='nonsense'):
    prioritized.Memory((2,), 3, nonsense=1)


def _sizes(replay):
  memory = getattr(replay, 'memory', replay)
  assert len(prioritized.priorities(memory)) == inside.capacity(memory)
  assert getattr(replay, 'batch_size', memory._batch_size) == memory._batch_size
  return inside.capacity(memory), memory._batch_size


def test_sizes_are_bound_at_any_level():
  assert (
    _sizes(prioritized.Memory((), 1))
    == _sizes(prioritized.Wrapped((), 1))
    == (1_000_000, 32)
  )
  levels = [
    'OutOfGraphReplayBuffer',
    'prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer',
    'WrappedReplayBuffer',
    'prioritized_replay_buffer.WrappedPrioritizedReplayBuffer',
  ]
  expected = []
  for i, level in enumerate(levels):
    gin.parse_config(f"""
      {level}.replay_capacity = {70 + i}
      {level}.batch_size = {6 + i}
    """)
    expected.append((70 + i, 6 + i))
    memory = expected[min(i, 1)]  # What is bound for wrappers is not for it.
    assert _sizes(prioritized.Memory((), 1)) == memory
    assert _sizes(prioritized.Wrapped((), 1)) == expected[-1]
    assert _sizes(prioritized.Wrapped((), 1, replay_capacity=80)) == (80, 6 + i)
  # And the uniform ones are as they were bound.
  uniform_memory = circular_replay_buffer.OutOfGraphReplayBuffer((), 1)
  assert inside.capacity(uniform_memory) == 70
  uniform_replay = circular_replay_buffer.WrappedReplayBuffer((), 1)
  assert inside.capacity(uniform_replay.memory) == 72


def test_what_is_bound_for_the_prioritised_ones_reaches_no_uniform_one():
  gin.parse_config("""
    OutOfGraphPrioritizedReplayBuffer.replay_capacity = 70
    OutOfGraphPrioritizedReplayBuffer.max_sample_attempts = 5
    WrappedPrioritizedReplayBuffer.batch_size = 7
  """)
  assert _sizes(prioritized.Wrapped((), 1)) == (70, 7)
  assert prioritized.Wrapped((), 1).memory._max_sample_attempts == 5
  replay = circular_replay_buffer.WrappedReplayBuffer((), 1)
  assert inside.capacity(replay.memory) == 1_000_000
  assert replay.memory._max_sample_attempts == 1000 and replay.batch_size == 32


@pytest.mark.parametrize(
  'name', ['observation_shape', 'stack_size', 'update_horizon', 'gamma']
)
def test_what_the_agent_decides_is_not_bound(name):
  with pytest.raises(ValueError, match=name):
    gin.parse_config(f'WrappedPrioritizedReplayBuffer.{name} = 1')


def test_gin_files_may_name_the_module():
  module = 'dopamine.replay_memory.prioritized_replay_buffer'
  assert module in agent_factory._OTHERS


def test_nbytes_counts_the_tree():
  # A slot: 8 bytes of frame, 4 action, 4 reward, 1 terminal, 1 marker; and a
  # tree of 2 * 32 nodes.
  assert prioritized.memory().nbytes == 20 * 18 + 64 * 8


# WrappedPrioritizedReplayBuffer ----------------------------------------------


def _wrapped(**kwargs):
  replay = prioritized.Wrapped(
    (2,), 3, replay_capacity=50, batch_size=4, seed=0, **kwargs
  )
  for i in range(30):
    replay.add([i, i], i % 3, i, i == 15, priority=1.0 + i)
  return replay


def test_sample_has_the_priorities():
  replay = _wrapped(update_horizon=2, gamma=0.5)
  batch = replay.sample(3)
  assert batch._fields[-3:] == ('indices', 'sampling_probabilities', 'discount')
  assert batch.sampling_probabilities.shape == (3, 4)
  assert batch.sampling_probabilities.dtype == np.float32
  np.testing.assert_array_equal(
    batch.sampling_probabilities,
    [replay.memory.get_priority(indices) for indices in batch.indices],
  )
  transition = replay.transition
  np.testing.assert_array_equal(
    transition['sampling_probabilities'],
    replay.tf_get_priority(transition['indices']),
  )
  np.testing.assert_array_equal(replay.indices, transition['indices'])


def test_priorities_of_several_batches_are_set_at_once():
  replay = _wrapped()
  batch = replay.sample(3)
  new = np.arange(1.0, 13.0, dtype=np.float32).reshape(3, 4)
  replay.tf_set_priority(batch.indices, new)
  last = dict(zip(batch.indices.flat, new.flat, strict=True))
  np.testing.assert_array_equal(
    replay.tf_get_priority(batch.indices),
    [[last[i] for i in indices] for indices in batch.indices],
  )
  indices = [4, 9]
  replay.tf_set_priority(indices, [0.25, 70.0])
  assert replay.tf_get_priority(indices).tolist() == [0.25, 70]
  assert replay.memory.get_priority(np.array([4], np.int32)) == [0.25]
  assert replay.sum_tree.max_recorded_priority == 70


def test_wrapped_add_passes_priorities_on():
  replay = _wrapped()
  replay.add_final_observation([7, 7])
  assert replay.tf_get_priority([0, 1, 2, 3, 33, 34]).tolist() == [
    *(0, 0, 1, 2),
    *(30, 0),
  ]
  with pytest.raises(ValueError, match='Add expects 5 elements, received 4'):
    replay.add([1, 1], 0, 0.0, False)
  assert 'WrappedPrioritizedReplayBuffer(OutOfGraphPri' in repr(replay)


def test_wrapped_save_and_load(tmp_path):
  replay = _wrapped()
  replay.tf_set_priority([5, 6], [0.1, 33.0])
  replay.save(tmp_path, 3)
  loaded = prioritized.Wrapped(
    (2,), 3, replay_capacity=50, batch_size=4, seed=1
  )
  loaded.load(tmp_path, 3)
  loaded.memory.generator_state = replay.memory.generator_state
  prioritized.assert_same_tree(loaded.memory, replay.memory)
  for array, other in zip(loaded.sample(2), replay.sample(2), strict=True):
    np.testing.assert_array_equal(array, other)


def test_wrapper_checks_are_those_of_the_uniform_one():
  with pytest.raises(ValueError, match='Update horizon must be positive.'):
    prioritized.Wrapped((), 1, update_horizon=0)
  memory = prioritized.memory(batch_size=5)
  replay = prioritized.Wrapped((), 1, wrapped_memory=memory)
  assert replay.memory is memory and replay.batch_size == 5


def test_what_is_given_by_position_wins_over_gin():
  gin.parse_config('WrappedPrioritizedReplayBuffer.replay_capacity = 30')
  wrapped = prioritized_replay_buffer.WrappedPrioritizedReplayBuffer
  assert inside.capacity(wrapped((4,), 1).memory) == 30
  given = wrapped((4,), 1, False, 50, 4)
  assert inside.capacity(given.memory) == 50 and given.batch_size == 4
