"""Tests of the replay buffer against a list of episodes."""

import re
import tempfile

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from dopamine.replay_memory import circular_replay_buffer
from tests.support import inside
from tests.support import replays

pytestmark = pytest.mark.no_backend


# The oracle ------------------------------------------------------------------


def _pair(setting):
  memory = circular_replay_buffer.OutOfGraphReplayBuffer(
    **setting,
    batch_size=4,
    gamma=replays.GAMMA,
    extra_storage_types=replays.EXTRAS,
    seed=0,
  )
  oracle = replays.Episodes(
    setting['replay_capacity'],
    setting['stack_size'],
    setting['update_horizon'],
    setting['observation_shape'],
    setting['reward_shape'],
  )
  return memory, oracle


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(replays.settings(), replays.episodes, st.integers(1, 9))
def test_holds_what_lists_of_episodes_hold(setting, played, open_steps):
  memory, oracle = _pair(setting)
  oracle.play(played, memory)
  replays.assert_holds(memory, oracle)
  oracle.play([(open_steps, None)], memory)
  replays.assert_holds(memory, oracle)


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(replays.settings(), replays.few_episodes)
def test_holds_what_lists_of_episodes_hold_after_every_step(setting, played):
  memory, oracle = _pair(setting)
  for length, end in played:
    for t in range(length):
      oracle.step(end if t == length - 1 else None, memory)
      replays.assert_holds(memory, oracle)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(
  replays.settings(), replays.episodes, replays.few_episodes, st.booleans()
)
def test_continues_identically_after_save_and_load(
  setting, played, more, mid_episode
):
  memory, oracle = _pair(setting)
  oracle.play(played + [(2, None)] * mid_episode, memory)
  loaded, _ = _pair(setting)
  with tempfile.TemporaryDirectory() as directory:
    memory.save(directory, 3)
    loaded.load(directory, 3)
  replays.assert_holds(loaded, oracle)
  oracle.play(more, memory, loaded)
  replays.assert_holds(loaded, oracle)
  everything = np.arange(setting['replay_capacity'])
  ours, theirs = (
    replays.sampled(memory, everything),
    replays.sampled(loaded, everything),
  )
  for name, array in ours.items():
    np.testing.assert_array_equal(array, theirs[name], err_msg=name)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(replays.settings(), replays.episodes)
def test_samples_valid_indices_only_and_all_of_them(setting, played):
  setting['replay_capacity'] += 10
  memory, oracle = _pair(setting)
  oracle.play(played, memory)
  valid = set(oracle.valid())
  if not valid:
    with pytest.raises(RuntimeError, match='Cannot sample|Max sample attempts'):
      memory.sample_index_batch(4)
    return
  memory._max_sample_attempts = 10**6
  assert set(memory.sample_index_batch(2000).tolist()) == valid


# Arithmetic to redo by hand --------------------------------------------------


def test_final_observation_stops_the_window_and_is_bootstrapped_from():
  memory = replays.memory(update_horizon=3, gamma=0.5, stack_size=2)
  # Slot:       0        1  2  3  4      5        6 ...
  # Frame:   padding     1  2  3  9   padding     10 ...
  for frame in (1, 2, 3):
    memory.add(frame, frame, 10.0**frame, False)
  memory.add_final_observation(9)
  for frame in range(10, 20):
    memory.add(frame, 0, 7.0, False)
  assert [i for i in range(9) if memory.is_valid_transition(i)] == [
    *(1, 2, 3),
    *(6, 7, 8),
  ]
  sample = replays.sampled(memory, [1, 2, 3])
  # Slot 1 takes N = 3 steps: 10 + 100/2 + 1000/4 = 310; then 2, then 1 step:
  # 100 + 1000/2 = 600 and 1000.
  np.testing.assert_array_equal(sample['reward'], [310, 600, 1000])
  np.testing.assert_array_equal(sample['discount'], [0.125, 0.25, 0.5])
  np.testing.assert_array_equal(sample['next_state'], [[3, 9]] * 3)
  np.testing.assert_array_equal(sample['terminal'], [0, 0, 0])
  np.testing.assert_array_equal(sample['next_action'], [0, 0, 0])


def test_discount_is_zero_after_a_terminal_within_the_horizon():
  memory = replays.memory(update_horizon=3, gamma=0.5)
  for i in range(10):
    memory.add(i, 0, 1.0, i == 4)
  sample = replays.sampled(memory, [1, 2, 3, 4, 5])
  np.testing.assert_array_equal(sample['terminal'], [0, 1, 1, 1, 0])
  np.testing.assert_array_equal(sample['discount'], [0.125, 0, 0, 0, 0.125])
  np.testing.assert_array_equal(sample['reward'], [1.75, 1.75, 1.5, 1, 1.75])


def test_legacy_episode_end_bars_the_windows_that_contain_it():
  memory = replays.memory(update_horizon=3)
  for i in range(12):
    memory.add(i, 0, 1.0, False, episode_end=i == 5)
  valid = [i for i in range(12) if memory.is_valid_transition(i)]
  assert valid == [0, 1, 2, 6, 7, 8]


def test_padding_after_a_time_out_is_not_sampled():
  # 3.2.1 reported slots 9, 10 and 11 valid, their stacks mixing two episodes.
  memory = replays.memory(stack_size=4, replay_capacity=40)
  for i in range(6):
    memory.add(i + 1, 0, 1.0, False, episode_end=i == 5)  # Slots 3..8.
  for i in range(10):
    memory.add(i + 11, 0, 1.0, False)  # Slots 12..21.
  valid = [i for i in range(40) if memory.is_valid_transition(i)]
  assert valid == [*range(3, 8), *range(12, 21)]
  states = memory.sample_transition_batch(indices=[12, 13])[0]
  np.testing.assert_array_equal(states, [[0, 0, 0, 11], [0, 0, 11, 12]])


def test_values_after_the_end_do_not_leak_into_the_reward():
  memory = replays.memory(update_horizon=2)
  memory.add(0, 0, 1.0, True)
  for _ in range(5):
    memory.add(0, 0, np.nan, False)
  assert memory.sample_transition_batch(indices=[0])[2] == [1.0]


def test_terminal_with_episode_end_is_a_terminal():
  memory = replays.memory()
  for i in range(6):
    memory.add(i, 0, 1.0, i == 3, episode_end=i == 3)
  assert memory.is_valid_transition(3)


def test_sum_of_rewards_is_accumulated_in_float64():
  memory = replays.memory(update_horizon=3, gamma=1.0, reward_dtype=np.float32)
  for reward in (2.0**24, 1.0, 1.0, 0.0, 0.0):
    memory.add(0, 0, reward, False)
  # In float32, 2^24 + 1 is 2^24 again.
  assert memory.sample_transition_batch(indices=[0])[2] == [2.0**24 + 2]


# Adding ----------------------------------------------------------------------


def test_padding_is_counted_and_zero():
  memory = replays.memory(stack_size=3, extra_storage_types=replays.EXTRAS)
  for end in (True, False):
    memory.add(5, 1, 2.0, end, [3, 4])
  assert memory.add_count == 6
  assert memory.add_count.shape == () and memory.add_count.dtype == np.int64
  np.testing.assert_array_equal(
    inside.arrays(memory)['observation'][:6], [0, 0, 5] * 2
  )
  np.testing.assert_array_equal(inside.arrays(memory)['note'][:3, 1], [0, 0, 4])


def test_add_checks_number_and_shapes():
  memory = replays.memory(
    observation_shape=(2,), extra_storage_types=replays.EXTRAS
  )
  with pytest.raises(ValueError, match='Add expects 5 elements, received 4'):
    memory.add([1, 2], 0, 0.0, False)
  with pytest.raises(ValueError, match='Add expects 5 elements, received 6'):
    memory.add([1, 2], 0, 0.0, False, [1, 2], priority=1.0)
  text = re.escape('arg has shape (3,), expected (2,)')
  with pytest.raises(ValueError, match=text):
    memory.add(np.zeros(3), 0, 0.0, False, [1, 2])
  text = re.escape('arg has shape (1,), expected ()')
  with pytest.raises(ValueError, match=text):
    memory.add([1, 2], [0], 0.0, False, [1, 2])
  assert memory.is_empty()
  memory.add([1, 2], 0, 0.0, False, [1, 2])
  text = re.escape('arg has shape (), expected (2,)')
  with pytest.raises(ValueError, match=text):
    memory.add_final_observation(3)
  assert memory.add_count == 1


def test_final_observation_needs_an_open_episode():
  memory = replays.memory()
  memory.add_final_observation(1)
  assert memory.is_empty()
  memory.add(1, 0, 0.0, True)
  count = int(memory.add_count)
  memory.add_final_observation(1)
  assert memory.add_count == count


def test_a_cut_episode_is_not_joined_to_the_next():
  memory = replays.memory(stack_size=1, update_horizon=1)
  for t in range(3):
    memory.add(t, 0, 0.0, False)
  memory.cut_episode()
  for t in range(3):
    memory.add(t, 0, 0.0, False)
  valid = [i for i in range(6) if memory.is_valid_transition(i)]
  assert valid == [0, 1, 3, 4]


def test_constructor_errors():
  with pytest.raises(AssertionError, match='must be a tuple'):
    replays.memory(observation_shape=[84, 84])
  text = 'There is not enough capacity to cover update_horizon and stack_size.'
  with pytest.raises(ValueError, match=text + '.*replay_capacity=10'):
    replays.memory(replay_capacity=10, update_horizon=9, stack_size=2)
  replays.memory(replay_capacity=10, update_horizon=8, stack_size=2)


def test_defaults():
  memory = circular_replay_buffer.OutOfGraphReplayBuffer((4,), 1)
  assert inside.capacity(memory) == 1_000_000
  assert memory._batch_size == 32
  assert inside.arrays(memory)['observation'].shape == (1_000_000, 4)
  assert not inside.arrays(memory)['observation'][:100].any()


def test_dtypes_may_be_those_of_tensorflow():
  class DType:  # tf.uint8 is such an object.
    as_numpy_dtype = np.uint8

  memory = replays.memory(
    observation_dtype=DType(),
    terminal_dtype=DType(),
    extra_storage_types=[
      circular_replay_buffer.ReplayElement('x', (), DType())
    ],
  )
  for i in range(5):
    memory.add(i, 0, 0.0, False, i)
  sample = replays.sampled(memory, [1, 2])
  assert sample['state'].dtype == sample['x'].dtype == np.uint8


def test_subclass_stores_and_returns_more():
  class Memory(circular_replay_buffer.OutOfGraphReplayBuffer):
    def get_storage_signature(self):
      x = circular_replay_buffer.ReplayElement('x', (), np.float32)
      return [*super().get_storage_signature(), x]

    def get_add_args_signature(self):
      y = circular_replay_buffer.ReplayElement('y', (), np.float32)
      return [*super().get_add_args_signature(), y]

    def get_transition_elements(self, batch_size=None):
      b = self._batch_size if batch_size is None else batch_size
      state = super().get_transition_elements(b)[0]
      return [
        circular_replay_buffer.ReplayElement('x', (b,), np.float64),
        state,
        circular_replay_buffer.ReplayElement('z', (b, 2), np.int8),
      ]

    def _add(self, *args):
      self.seen = [*getattr(self, 'seen', []), (self.cursor(), args[-1])]
      super()._add(*args[:-1])

    def is_valid_transition(self, index):
      return index % 2 == 0 and super().is_valid_transition(index)

  memory = Memory((), 2, 20, 4, seed=0)
  for i in range(12):
    memory.add(i, 0, 0.0, False, i / 2, priority=i)
  assert memory.seen == [(0, 0), *((i + 1, i) for i in range(12))]
  assert set(memory.sample_index_batch(100).tolist()) == {2, 4, 6, 8, 10}
  x, state, z = memory.sample_transition_batch(indices=[2, 4])
  np.testing.assert_array_equal(x, [0.5, 1.5])
  np.testing.assert_array_equal(state, [[0, 1], [2, 3]])
  np.testing.assert_array_equal(z, np.zeros((2, 2)))
  assert x.dtype == np.float64 and z.dtype == np.int8


# Cursor, ranges, stacks ------------------------------------------------------


def test_terminal_stack():
  memory = replays.memory(stack_size=3, replay_capacity=30)
  for i in range(8):
    memory.add(i, 0, 0.0, i == 3)
  # Slots 0, 1: padding; 5: terminal; 6, 7: padding.
  np.testing.assert_array_equal(memory.get_terminal_stack(5), [0, 0, 1])
  np.testing.assert_array_equal(memory.get_terminal_stack(7), [1, 0, 0])


def test_cursor_empty_full():
  memory = replays.memory(replay_capacity=5)
  assert memory.is_empty() and not memory.is_full() and memory.cursor() == 0
  for i in range(7):
    memory.add(i, 0, 0.0, False)
    assert not memory.is_empty()
    assert memory.is_full() == (i >= 4)
    assert memory.cursor() == (i + 1) % 5


def test_module_functions_keep_their_published_values():
  assert list(circular_replay_buffer.modulo_range(8, 4, 10)) == [8, 9, 0, 1]
  # N = 2 slots before the cursor and K = 3 from it on.
  np.testing.assert_array_equal(
    circular_replay_buffer.invalid_range(1, 10, 3, 2), [9, 0, 1, 2, 3]
  )
  assert circular_replay_buffer.ReplayElement.__name__ == 'shape_type'
  assert (
    circular_replay_buffer.ReplayElement('a', (), np.uint8).type == np.uint8
  )
  assert circular_replay_buffer.STORE_FILENAME_PREFIX == '$store$_'
  assert circular_replay_buffer.CHECKPOINT_DURATION == 4


def test_invalid_range_follows_the_cursor():
  memory = replays.memory(stack_size=2, update_horizon=2, replay_capacity=10)
  for _ in range(12):
    memory.add(1, 0, 0.0, False)
    np.testing.assert_array_equal(
      memory.invalid_range,
      circular_replay_buffer.invalid_range(memory.cursor(), 10, 2, 2),
    )
  memory.invalid_range = np.arange(10)
  assert not any(memory.is_valid_transition(i) for i in range(10))
  memory.add(1, 0, 0.0, False)
  assert any(memory.is_valid_transition(i) for i in range(10))


def test_get_range_wraps_around():
  memory = replays.memory(replay_capacity=10)
  for i in range(14):
    memory.add(i, 0, 0.0, False)
  frames = inside.arrays(memory)['observation']
  np.testing.assert_array_equal(memory.get_range(frames, 2, 5), [12, 13, 4])
  np.testing.assert_array_equal(memory.get_range(frames, 8, 12), [8, 9, 10, 11])


def test_get_range_errors():
  memory = replays.memory()
  memory.add(0, 0, 0.0, False)
  text = 'end_index must be larger than start_index'
  for end in (1, 2):
    with pytest.raises(AssertionError, match=text):
      memory.get_range([], 2, end)
  with pytest.raises(AssertionError, match='Index 1 has not been added.'):
    memory.get_range([], 1, 2)
  with pytest.raises(AssertionError, match='start_index=20 is not below 20'):
    memory.get_range([], 20, 21)


def test_stacks():
  memory = replays.memory(
    observation_shape=(2,), stack_size=3, replay_capacity=6
  )
  for i in range(1, 8):
    memory.add([i, -i], 0, 0.0, i == 4)
  # Frames 0, 0, 1, 2, 3, 4 | 0, 0, 5, 6, 7: the later ones in slots 0..4.
  np.testing.assert_array_equal(
    memory.get_observation_stack(4), [[5, 6, 7], [-5, -6, -7]]
  )
  np.testing.assert_array_equal(
    memory.get_observation_stack(3), [[0, 5, 6], [0, -5, -6]]
  )


# Sampling --------------------------------------------------------------------


def test_sampling_is_uniform():
  memory = replays.memory(
    stack_size=3,
    update_horizon=2,
    replay_capacity=40,
    extra_storage_types=replays.EXTRAS,
  )
  oracle = replays.Episodes(40, stack_size=3, horizon=2)
  oracle.play([(7, 'terminal'), (5, 'cut'), (6, 'time-out')] * 4, memory)
  valid = sorted(oracle.valid())
  draws = 20_000
  memory._max_sample_attempts = draws * 10
  counts = np.bincount(memory.sample_index_batch(draws), minlength=40)
  assert counts.sum() == counts[valid].sum()
  expected = draws / len(valid)
  chi_square = ((counts[valid] - expected) ** 2 / expected).sum()
  # Mean n - 1 and variance 2 (n - 1): five standard deviations.
  n = len(valid)
  assert chi_square < n - 1 + 5 * np.sqrt(2 * (n - 1))


def test_same_seed_same_samples():
  def draws(seed):
    memory = replays.memory(seed=seed, replay_capacity=1000)
    for i in range(500):
      memory.add(i, 0, 0.0, i % 10 == 9)
    return memory.sample_index_batch(50).tolist()

  np.random.seed(0)
  state = np.random.get_state()[1].copy()
  assert draws(3) == draws(3)
  assert draws(3) != draws(4)
  assert draws(None) != draws(None)
  np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_generator_state_repeats_the_samples():
  memory, other = replays.memory(seed=1), replays.memory(seed=2)
  for i in range(15):
    memory.add(i, 0, 0.0, False)
    other.add(i, 0, 0.0, False)
  other.generator_state = memory.generator_state
  expected = [memory.sample_index_batch(20).tolist() for _ in range(2)]
  assert [other.sample_index_batch(20).tolist() for _ in range(2)] == expected


def test_too_few_transitions():
  memory = replays.memory(stack_size=2, update_horizon=3)
  text = re.escape(
    'Cannot sample a batch with fewer than stack size (2) + update_horizon '
    '(3) transitions.'
  )
  for _ in range(3):
    with pytest.raises(RuntimeError, match=text):
      memory.sample_index_batch(2)
    memory.add(1, 0, 0.0, False)
  memory.add(1, 0, 0.0, False)
  assert memory.sample_index_batch(2).tolist() == [1, 1]


def test_max_sample_attempts():
  memory = replays.memory(max_sample_attempts=7)
  for _ in range(10):
    memory.add(1, 0, 0.0, False, episode_end=True)
  text = (
    'Max sample attempts: Tried 7 times but only sampled 0 valid indices. '
    'Batch size is 2'
  )
  with pytest.raises(RuntimeError, match=text):
    memory.sample_index_batch(2)


def test_no_attempt_is_wasted_on_the_slot_that_is_never_valid():
  memory = replays.memory(
    stack_size=3, replay_capacity=8, batch_size=100, max_sample_attempts=1
  )
  for i in range(30):
    memory.add(i, 0, 0.0, False)
    if memory.is_full():
      memory.sample_index_batch(100)


def test_attempts_grow_with_the_number_of_batches():
  memory = replays.memory(max_sample_attempts=20, replay_capacity=1000)
  for i in range(1000):
    memory.add(i, 0, 0.0, False, episode_end=i % 2 == 0)
  assert len(memory.sample_index_batch(2, num_batches=200)) == 400


def test_batch_size_and_indices():
  memory = replays.memory()
  for i in range(10):
    memory.add(i, i, 0.0, False)
  assert [len(x) for x in memory.sample_transition_batch()] == [2] * 8
  assert [len(x) for x in memory.sample_transition_batch(5)] == [5] * 8
  action, indices = memory.sample_transition_batch(3, [1, 2, 4])[1::6]
  assert action.tolist() == indices.tolist() == [1, 2, 4]
  assert indices.dtype == np.int32
  with pytest.raises(ValueError, match='batch_size=2 but 3 indices'):
    memory.sample_transition_batch(2, [1, 2, 4])


@pytest.mark.parametrize('stack_size', [1, 2])
def test_batches_do_not_share_memory(stack_size):
  memory = replays.memory(stack_size=stack_size)
  for i in range(10):
    memory.add(i, i, 0.0, False)
  first = memory.sample_transition_batch(indices=[3, 4])
  copies = [array.copy() for array in first]
  second = memory.sample_transition_batch(indices=[3, 4])
  for array, other in zip(first, second, strict=True):
    assert array.flags.c_contiguous
    assert not np.shares_memory(array, other)
    assert not any(
      np.shares_memory(array, x) for x in inside.arrays(memory).values()
    )
    other[...] = 1
  for array, copy in zip(first, copies, strict=True):
    np.testing.assert_array_equal(array, copy)


def test_a_memory_may_prefer_some_transitions():
  class Newest(circular_replay_buffer.OutOfGraphReplayBuffer):
    def draw_starts(self, count, low, high):
      ends.append((low, high))
      return np.full(count, high - 1)

  ends = []
  memory = Newest((2,), 2, replay_capacity=20, batch_size=4)
  for i in range(33):
    memory.add(np.full(2, i % 250), 0, float(i), i % 11 == 10)
  # The newest lacks its next state; K + N of 20 slots are barred.
  assert set(memory.sample_index_batch(8)) == {(memory.add_count - 2) % 20}
  assert {high - low for low, high in ends} == {20 - 2 - 1}


def test_a_memory_of_another_horizon_is_told(caplog):
  memory = circular_replay_buffer.OutOfGraphReplayBuffer(
    (2,), 1, replay_capacity=20, update_horizon=3, gamma=0.9
  )
  memory.compare('Agent', 3, 0.9)
  assert not caplog.records
  for horizon, gamma in ((1, 0.9), (3, 0.5)):
    memory.compare('Agent', horizon, gamma)
    assert f'update_horizon={horizon}, gamma={gamma}' in caplog.text
