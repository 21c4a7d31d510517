"""Tests of the replay memory that agents have, around one of arrays."""

import re

import gin
import numpy as np
import pytest

from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import windows
from tests.support import inside
from tests.support import replays

pytestmark = pytest.mark.no_backend


def _wrapped(**kwargs):
  defaults = dict(
    observation_shape=(2,),
    stack_size=3,
    replay_capacity=50,
    batch_size=4,
    seed=0,
  )
  return circular_replay_buffer.WrappedReplayBuffer(**defaults | kwargs)


def _filled(**kwargs):
  replay = _wrapped(**kwargs)
  for i in range(30):
    replay.add([i, i], i % 3, i, i == 15)
  return replay


def test_wrapped_constructor_errors():
  text = re.escape(
    'Update horizon (5) should be significantly smaller than replay capacity '
    '(5).'
  )
  with pytest.raises(ValueError, match=text):
    _wrapped(replay_capacity=5, update_horizon=5)
  with pytest.raises(ValueError, match='Update horizon must be positive.'):
    _wrapped(update_horizon=0)
  text = re.escape('Discount factor (gamma) must be in [0, 1].')
  for gamma in (-0.1, 1.1):
    with pytest.raises(ValueError, match=text):
      _wrapped(gamma=gamma)


def test_wrapped_forwards_every_storage_argument():
  replay = _wrapped(
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
  )
  memory = replay.memory
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


def test_sizes_are_bound_on_the_wrapper_or_on_the_memory():
  build = circular_replay_buffer.WrappedReplayBuffer
  replay = build((), 1)
  assert (inside.capacity(replay.memory), replay.batch_size) == (1_000_000, 32)
  gin.parse_config("""
    OutOfGraphReplayBuffer.replay_capacity = 70
    OutOfGraphReplayBuffer.batch_size = 6
  """)
  replay = build((), 1)
  assert (inside.capacity(replay.memory), replay.batch_size) == (70, 6)
  gin.parse_config("""
    circular_replay_buffer.WrappedReplayBuffer.replay_capacity = 90
    WrappedReplayBuffer.batch_size = 8
  """)
  replay = build((), 1)
  assert (inside.capacity(replay.memory), replay.batch_size) == (90, 8)
  assert replay.memory._batch_size == 8
  with pytest.raises(ValueError, match='gamma'):
    gin.parse_config('WrappedReplayBuffer.gamma = 0.9')


def test_wrapped_memory_is_used():
  memory = replays.memory(batch_size=5)
  replay = _wrapped(wrapped_memory=memory, batch_size=None)
  assert replay.memory is memory and replay.batch_size == 5


def test_sample_is_named_and_stacked():
  replay = _filled(update_horizon=2, gamma=0.5, extra_storage_types=None)
  batch = replay.sample(3)
  assert batch._fields == (
    *('state', 'action', 'reward', 'next_state', 'next_action', 'next_reward'),
    *('terminal', 'indices', 'discount'),
  )
  assert type(replay.sample()) is type(batch)
  assert batch.state.shape == batch.next_state.shape == (3, 4, 2, 3)
  assert batch.discount.shape == (3, 4) and batch.discount.dtype == np.float32
  assert len(set(map(tuple, batch.indices.tolist()))) == 3
  for row, indices in enumerate(batch.indices):
    expected = replay.memory.sample_transition_batch(indices=indices)
    for array, value in zip(batch, expected, strict=False):
      np.testing.assert_array_equal(array[row], value)
    np.testing.assert_array_equal(
      batch.discount[row], replay.memory.discounts(indices)
    )


def test_sample_goes_through_overrides_of_the_memory():
  class Memory(circular_replay_buffer.OutOfGraphReplayBuffer):
    def sample_transition_batch(self, batch_size=None, indices=None):
      batch = super().sample_transition_batch(batch_size, indices)
      return batch[0], batch[1] * 0 + 77, *batch[2:]

  replay = _filled(wrapped_memory=Memory((2,), 3, 50, 4))
  assert set(replay.sample(2).action.flat) == {77}


def test_an_override_of_what_is_drawn_may_know_of_several_batches_or_not():
  asked = []

  class Old(circular_replay_buffer.OutOfGraphReplayBuffer):
    def sample_index_batch(self, batch_size):
      asked.append((batch_size,))
      return [3] * (batch_size - 1) + [-4]

  class New(circular_replay_buffer.OutOfGraphReplayBuffer):
    def sample_index_batch(self, batch_size, num_batches=1):
      asked.append((batch_size, num_batches))
      return super().sample_index_batch(batch_size, num_batches) * 0 + 4

  old = _filled(wrapped_memory=Old((2,), 3, 50, 4)).sample(2)
  assert old.indices.tolist() == [[3] * 4, [3] * 3 + [-4]]
  new = _filled(wrapped_memory=New((2,), 3, 50, 4), batch_size=5).sample(3)
  assert new.indices.tolist() == [[4] * 5] * 3
  assert asked == [(8,), (5, 3)]
  assert len(Old((2,), 3, 50, 4).sample_transition_batch(6)[0]) == 6
  few = _filled(wrapped_memory=Old((2,), 3, 50, 4))
  few.memory.sample_index_batch = lambda batch_size: [3]
  with pytest.raises(ValueError, match='batch_size=8 but 1 indices'):
    few.sample(2)


def test_a_batch_follows_its_transitions_once(monkeypatch):
  followed = []

  def window(*args):
    followed.append(args)
    return follow(*args)

  follow = windows.window
  replay = _filled()
  monkeypatch.setattr(windows, 'window', window)
  replay.sample(3)
  assert len(followed) == 1


def test_transition_and_properties():
  replay = _filled()
  first = replay.states
  assert replay.states is not first
  np.testing.assert_array_equal(replay.states, first)
  drawn = {tuple(replay.transition['indices'].tolist()) for _ in range(5)}
  assert len(drawn) > 1
  transition = replay.transition
  assert list(transition) == [*replays.names(replay.memory), 'discount']
  for name in replays.names(replay.memory):
    plural = name if name == 'indices' else name + 's'
    np.testing.assert_array_equal(getattr(replay, plural), transition[name])


def test_wrapped_add_forwards_priority_and_episode_end():
  replay = _wrapped(stack_size=1)
  with pytest.raises(ValueError, match='Add expects 4 elements, received 5'):
    replay.add([1, 1], 0, 0.0, False, priority=1.0)
  for i in range(10):
    replay.add([i, i], 0, 0.0, False, episode_end=i == 4)
  assert not replay.memory.is_valid_transition(4)
  replay.add_final_observation([1, 1])
  for i in range(5):
    replay.add([i, i], 0, 0.0, False)
  assert replay.is_valid_transition(9) and not replay.is_valid_transition(10)


def test_public_names_of_the_memory_are_found():
  replay = _filled()
  assert replay.add_count == replay.memory.add_count == 34
  assert replay.cursor() == 34
  with pytest.raises(AttributeError, match='nothing'):
    _ = replay.nothing
  with pytest.raises(AttributeError, match='_store'):
    _ = replay._store
  assert 'nbytes' not in vars(replay)
  # A slot: 2 bytes of frame, 4 action, 4 reward, 1 terminal, 1 marker.
  assert replay.nbytes == 50 * 12
  assert 'WrappedReplayBuffer(OutOfGraphReplayBuffer(34 added' in repr(replay)


def test_staging_warns(caplog):
  with caplog.at_level('WARNING', logger='absl'):
    _wrapped(use_staging=True)
  assert 'use_staging' in caplog.text


def test_wrapped_save_and_load(tmp_path):
  replay = _filled()
  replay.save(tmp_path, 3)
  loaded = _wrapped(seed=0)
  loaded.load(tmp_path, 3)
  fresh = _filled()
  for array, other in zip(loaded.sample(), fresh.sample(), strict=True):
    np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize(
  'change, found, expected',
  [
    ({'replay_capacity': 60}, '(50, 2)', '(60, 2)'),
    ({'observation_shape': (3,)}, '(50, 2)', '(50, 3)'),
    ({'observation_dtype': np.float32}, 'uint8', 'float32'),
    ({'action_dtype': np.int64}, 'int32', 'int64'),
  ],
)
def test_wrapped_load_refuses_what_does_not_fit(
  tmp_path, change, found, expected
):
  _filled().save(tmp_path, 3)
  replay = _wrapped(**change)
  with pytest.raises(ValueError) as error:
    replay.load(tmp_path, 3)
  name = '$store$_action' if 'action_dtype' in change else '$store$_observation'
  for part in (name, found, expected, 'replay_capacity'):
    assert part in str(error.value)
  assert replay.add_count == 0
  assert not inside.arrays(replay.memory)['observation'].any()


def test_wrapped_load_names_missing_files(tmp_path):
  with pytest.raises(circular_replay_buffer.NotFoundError, match='reward'):
    _wrapped().load(tmp_path, 3)
