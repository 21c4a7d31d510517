"""Tests of the replay buffer against a list of episodes, and of its files."""

import gzip
import os
import pickle
import re
import tempfile
import tracemalloc

import gin
import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from dopamine.files import atomic
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import windows
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


def _memory(**kwargs):
  defaults = dict(
    observation_shape=(),
    stack_size=1,
    replay_capacity=20,
    batch_size=2,
    observation_dtype=np.float64,
    seed=0,
  )
  return circular_replay_buffer.OutOfGraphReplayBuffer(**defaults | kwargs)


def test_final_observation_stops_the_window_and_is_bootstrapped_from():
  memory = _memory(update_horizon=3, gamma=0.5, stack_size=2)
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
  memory = _memory(update_horizon=3, gamma=0.5)
  for i in range(10):
    memory.add(i, 0, 1.0, i == 4)
  sample = replays.sampled(memory, [1, 2, 3, 4, 5])
  np.testing.assert_array_equal(sample['terminal'], [0, 1, 1, 1, 0])
  np.testing.assert_array_equal(sample['discount'], [0.125, 0, 0, 0, 0.125])
  np.testing.assert_array_equal(sample['reward'], [1.75, 1.75, 1.5, 1, 1.75])


def test_legacy_episode_end_bars_the_windows_that_contain_it():
  memory = _memory(update_horizon=3)
  for i in range(12):
    memory.add(i, 0, 1.0, False, episode_end=i == 5)
  valid = [i for i in range(12) if memory.is_valid_transition(i)]
  assert valid == [0, 1, 2, 6, 7, 8]


def test_padding_after_a_time_out_is_not_sampled():
  # 3.2.1 reported slots 9, 10 and 11 valid, their stacks mixing two episodes.
  memory = _memory(stack_size=4, replay_capacity=40)
  for i in range(6):
    memory.add(i + 1, 0, 1.0, False, episode_end=i == 5)  # Slots 3..8.
  for i in range(10):
    memory.add(i + 11, 0, 1.0, False)  # Slots 12..21.
  valid = [i for i in range(40) if memory.is_valid_transition(i)]
  assert valid == [*range(3, 8), *range(12, 21)]
  states = memory.sample_transition_batch(indices=[12, 13])[0]
  np.testing.assert_array_equal(states, [[0, 0, 0, 11], [0, 0, 11, 12]])


def test_values_after_the_end_do_not_leak_into_the_reward():
  memory = _memory(update_horizon=2)
  memory.add(0, 0, 1.0, True)
  for _ in range(5):
    memory.add(0, 0, np.nan, False)
  assert memory.sample_transition_batch(indices=[0])[2] == [1.0]


def test_terminal_with_episode_end_is_a_terminal():
  memory = _memory()
  for i in range(6):
    memory.add(i, 0, 1.0, i == 3, episode_end=i == 3)
  assert memory.is_valid_transition(3)


def test_sum_of_rewards_is_accumulated_in_float64():
  memory = _memory(update_horizon=3, gamma=1.0, reward_dtype=np.float32)
  for reward in (2.0**24, 1.0, 1.0, 0.0, 0.0):
    memory.add(0, 0, reward, False)
  # In float32, 2^24 + 1 is 2^24 again.
  assert memory.sample_transition_batch(indices=[0])[2] == [2.0**24 + 2]


# Adding ----------------------------------------------------------------------


def test_padding_is_counted_and_zero():
  memory = _memory(stack_size=3, extra_storage_types=replays.EXTRAS)
  for end in (True, False):
    memory.add(5, 1, 2.0, end, [3, 4])
  assert memory.add_count == 6
  assert memory.add_count.shape == () and memory.add_count.dtype == np.int64
  np.testing.assert_array_equal(
    inside.arrays(memory)['observation'][:6], [0, 0, 5] * 2
  )
  np.testing.assert_array_equal(inside.arrays(memory)['note'][:3, 1], [0, 0, 4])


def test_add_checks_number_and_shapes():
  memory = _memory(observation_shape=(2,), extra_storage_types=replays.EXTRAS)
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
  memory = _memory()
  memory.add_final_observation(1)
  assert memory.is_empty()
  memory.add(1, 0, 0.0, True)
  count = int(memory.add_count)
  memory.add_final_observation(1)
  assert memory.add_count == count


def test_a_cut_episode_is_not_joined_to_the_next():
  memory = _memory(stack_size=1, update_horizon=1)
  for t in range(3):
    memory.add(t, 0, 0.0, False)
  memory.cut_episode()
  for t in range(3):
    memory.add(t, 0, 0.0, False)
  valid = [i for i in range(6) if memory.is_valid_transition(i)]
  assert valid == [0, 1, 3, 4]


def test_constructor_errors():
  with pytest.raises(AssertionError, match='must be a tuple'):
    _memory(observation_shape=[84, 84])
  text = 'There is not enough capacity to cover update_horizon and stack_size.'
  with pytest.raises(ValueError, match=text + '.*replay_capacity=10'):
    _memory(replay_capacity=10, update_horizon=9, stack_size=2)
  _memory(replay_capacity=10, update_horizon=8, stack_size=2)


def test_defaults():
  memory = circular_replay_buffer.OutOfGraphReplayBuffer((4,), 1)
  assert inside.capacity(memory) == 1_000_000
  assert memory._batch_size == 32
  assert inside.arrays(memory)['observation'].shape == (1_000_000, 4)
  assert not inside.arrays(memory)['observation'][:100].any()


def test_dtypes_may_be_those_of_tensorflow():
  class DType:  # tf.uint8 is such an object.
    as_numpy_dtype = np.uint8

  memory = _memory(
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
  memory = _memory(stack_size=3, replay_capacity=30)
  for i in range(8):
    memory.add(i, 0, 0.0, i == 3)
  # Slots 0, 1: padding; 5: terminal; 6, 7: padding.
  np.testing.assert_array_equal(memory.get_terminal_stack(5), [0, 0, 1])
  np.testing.assert_array_equal(memory.get_terminal_stack(7), [1, 0, 0])


def test_cursor_empty_full():
  memory = _memory(replay_capacity=5)
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
  memory = _memory(stack_size=2, update_horizon=2, replay_capacity=10)
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
  memory = _memory(replay_capacity=10)
  for i in range(14):
    memory.add(i, 0, 0.0, False)
  frames = inside.arrays(memory)['observation']
  np.testing.assert_array_equal(memory.get_range(frames, 2, 5), [12, 13, 4])
  np.testing.assert_array_equal(memory.get_range(frames, 8, 12), [8, 9, 10, 11])


def test_get_range_errors():
  memory = _memory()
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
  memory = _memory(observation_shape=(2,), stack_size=3, replay_capacity=6)
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
  memory = _memory(
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
    memory = _memory(seed=seed, replay_capacity=1000)
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
  memory, other = _memory(seed=1), _memory(seed=2)
  for i in range(15):
    memory.add(i, 0, 0.0, False)
    other.add(i, 0, 0.0, False)
  other.generator_state = memory.generator_state
  expected = [memory.sample_index_batch(20).tolist() for _ in range(2)]
  assert [other.sample_index_batch(20).tolist() for _ in range(2)] == expected


def test_too_few_transitions():
  memory = _memory(stack_size=2, update_horizon=3)
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
  memory = _memory(max_sample_attempts=7)
  for _ in range(10):
    memory.add(1, 0, 0.0, False, episode_end=True)
  text = (
    'Max sample attempts: Tried 7 times but only sampled 0 valid indices. '
    'Batch size is 2'
  )
  with pytest.raises(RuntimeError, match=text):
    memory.sample_index_batch(2)


def test_no_attempt_is_wasted_on_the_slot_that_is_never_valid():
  memory = _memory(
    stack_size=3, replay_capacity=8, batch_size=100, max_sample_attempts=1
  )
  for i in range(30):
    memory.add(i, 0, 0.0, False)
    if memory.is_full():
      memory.sample_index_batch(100)


def test_attempts_grow_with_the_number_of_batches():
  memory = _memory(max_sample_attempts=20, replay_capacity=1000)
  for i in range(1000):
    memory.add(i, 0, 0.0, False, episode_end=i % 2 == 0)
  assert len(memory.sample_index_batch(2, num_batches=200)) == 400


def test_batch_size_and_indices():
  memory = _memory()
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
  memory = _memory(stack_size=stack_size)
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


# Files -----------------------------------------------------------------------


def test_files_are_in_the_public_format(tmp_path):
  memory = _memory(stack_size=2)
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
  memory = _memory(stack_size=2, update_horizon=2, replay_capacity=30)
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
  memory = _memory(observation_shape=(84, 84), stack_size=4)
  arrays = {
    name: np.full((10,), i)
    for i, name in enumerate(sorted(memory._checkpointable_elements()))
  }
  for name, array in arrays.items():
    _write_array(tmp_path, name, array)
  memory.load(tmp_path, 3)
  for name, array in memory._checkpointable_elements().items():
    np.testing.assert_array_equal(array, arrays[name])


def test_saves_attributes_that_were_set(tmp_path):
  memory = _memory()
  inside.arrays(memory)['observation'] = np.arange(3)
  memory.add_count = np.array(7)
  memory.invalid_range = np.ones(4)
  memory.save(tmp_path, 3)
  loaded = _memory()
  loaded.load(tmp_path, 3)
  assert inside.arrays(loaded)['observation'].tolist() == [0, 1, 2]
  assert loaded.add_count == 7
  assert loaded.invalid_range.tolist() == [1, 1, 1, 1]


def test_missing_files_are_named_and_nothing_is_loaded(tmp_path):
  memory = _memory()
  memory.add(5, 0, 0.0, False)
  memory.save(tmp_path, 3)
  os.remove(tmp_path / 'add_count_ckpt.3.gz')
  os.remove(tmp_path / '$store$_reward_ckpt.3.gz')
  fresh = _memory()
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
  memory = _memory()
  memory.add(5, 0, 0.0, False)
  memory.save(tmp_path, 3)
  file = tmp_path / 'invalid_range_ckpt.3.gz'
  file.write_bytes(file.read_bytes()[:-12])
  fresh = _memory()
  with pytest.raises((EOFError, OSError, ValueError)):
    fresh.load(tmp_path, 3)
  assert fresh.add_count == 0 and not inside.arrays(fresh)['observation'].any()


def test_save_without_directory_is_silent(tmp_path):
  _memory().save(tmp_path / 'missing', 3)
  assert not os.listdir(tmp_path)


def test_save_keeps_four_checkpoints(tmp_path):
  memory = _memory()
  for i in range(6):
    memory.save(tmp_path, i)
  numbers = {name.split('.')[-2] for name in os.listdir(tmp_path)}
  assert numbers == {'2', '3', '4', '5'}
  assert len(os.listdir(tmp_path)) == 4 * 7


def test_save_holds_no_second_copy(tmp_path):
  memory = _memory(observation_shape=(1024,), replay_capacity=8192)  # 64 MiB.
  tracemalloc.start()
  memory.save(tmp_path, 3)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 40 * 2**20


def test_load_holds_no_second_copy(tmp_path):
  memory = _memory(observation_shape=(1024,), replay_capacity=8192)  # 64 MiB.
  for i in range(9):
    memory.add(np.full(1024, i), i, i, False)
  memory.save(tmp_path, 3)
  fresh = _memory(observation_shape=(1024,), replay_capacity=8192)
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
  memory = _memory()
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
  memory = _memory(observation_shape=(3,))
  for i in range(9):
    memory.add([i, 2 * i, 3 * i], i, i, False)
  memory.save(tmp_path, 3)
  expected = inside.arrays(memory)['observation'].copy()
  _write_array(tmp_path, '$store$_observation', np.asfortranarray(expected))
  loaded, restored = (_memory(observation_shape=(3,)) for _ in range(2))
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
  memory = _memory()
  memory.add(5, 0, 0.0, False)
  memory.save(tmp_path, 3)
  with gzip.open(tmp_path / f'{name}_ckpt.3.gz', 'wb') as file:
    if isinstance(content, bytes):
      file.write(content)
    else:
      np.save(file, content)
  fresh = _memory()
  with pytest.raises(atomic.DamagedError, match=text) as error:
    fresh.load(tmp_path, 3)
  assert f'{name}_ckpt.3.gz' in str(error.value)
  assert fresh.is_empty()


def test_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
  memory = _memory()
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

  memory = _memory()
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


# WrappedReplayBuffer ---------------------------------------------------------


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
  memory = _memory(batch_size=5)
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
