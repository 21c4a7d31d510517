"""Tests of the prioritised buffer against a list of episodes, and its files."""

import gzip
import os
import pickle
import re
import tempfile

import gin
import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from dopamine.discrete_domains import agent_factory
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import prioritized_replay_buffer
from tests.support import inside
from tests.support import replays

pytestmark = pytest.mark.no_backend

ReplayElement = circular_replay_buffer.ReplayElement
Memory = prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer
Wrapped = prioritized_replay_buffer.WrappedPrioritizedReplayBuffer


def _memory(**kwargs):
  defaults = dict(
    observation_shape=(),
    stack_size=1,
    replay_capacity=20,
    batch_size=2,
    observation_dtype=np.float64,
    seed=0,
  )
  return Memory(**defaults | kwargs)


def _priorities(memory):
  return memory.sum_tree.nodes[-1][: inside.capacity(memory)]


# The oracle ------------------------------------------------------------------


class Recorder:
  """Passes on what an `Episodes` adds, with priorities, and notes which."""

  def __init__(self, memory, priorities):
    self.memory, self.priorities = memory, priorities
    self.log = []  # The priority of every slot that was written.

  def add(self, *step, episode_end):
    priority = self.priorities[len(self.log) % len(self.priorities)]
    self.memory.add(*step, priority=priority, episode_end=episode_end)
    self.log += [0.0] * (int(self.memory.add_count) - 1 - len(self.log))
    self.log.append(priority)

  def add_final_observation(self, observation):
    self.memory.add_final_observation(observation)
    self.log.append(0.0)

  def cut_episode(self):
    self.memory.cut_episode()

  def by_slot(self):
    capacity = inside.capacity(self.memory)
    result = np.zeros(capacity)
    for position, priority in enumerate(self.log):
      result[position % capacity] = priority
    return result


def _pair(setting):
  memory = Memory(
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


_priority_lists = st.lists(
  st.sampled_from([0.0, 0.25, 1.0, 1.0, 3.0, 100.0]), min_size=1, max_size=7
)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(replays.settings(), replays.episodes, _priority_lists)
def test_samples_what_has_a_priority_and_is_valid_and_all_of_it(
  setting, played, priorities
):
  setting['replay_capacity'] += 10
  memory, oracle = _pair(setting)
  recorder = Recorder(memory, priorities)
  oracle.play(played, recorder)
  replays.assert_holds(memory, oracle)
  expected = recorder.by_slot()
  expected[list(oracle.lost())] = 0.0
  np.testing.assert_array_equal(_priorities(memory), expected)
  some = {i for i in oracle.valid() if expected[i] > 0}
  memory._max_sample_attempts = 10**6 if some else 10
  if not some:
    text = 'Cannot sample|Max sample attempts'
    with pytest.raises(RuntimeError, match=text):
      memory.sample_index_batch(4)
    return
  drawn = set(memory.sample_index_batch(1000).tolist())
  assert drawn <= some
  # Every index that is drawn a hundred times on average is drawn.
  total = expected[list(some)].sum()
  assert drawn >= {i for i in some if expected[i] / total > 0.1}
  *_, indices, _, probabilities = memory.sample_transition_batch(4)
  assert set(indices.tolist()) <= some
  np.testing.assert_array_equal(probabilities, expected[indices])
  assert probabilities.dtype == np.float32


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(
  replays.settings(), replays.episodes, replays.few_episodes, st.booleans()
)
def test_continues_identically_after_save_and_load(
  setting, played, more, mid_episode
):
  memory, oracle = _pair(setting)
  recorder = Recorder(memory, [0.1, 2.0, 1 / 3])
  oracle.play(played + [(2, None)] * mid_episode, recorder)
  loaded, _ = _pair(setting)
  loaded.add(*[e[...] for e in loaded._add_zeros[:-1]], priority=50.0)
  with tempfile.TemporaryDirectory() as directory:
    memory.save(directory, 3)
    loaded.load(directory, 3)
  loaded.generator_state = memory.generator_state
  _assert_same_tree(loaded, memory)
  other = Recorder(loaded, recorder.priorities)
  other.log = list(recorder.log)
  oracle.play(more, recorder, other)
  _assert_same_tree(loaded, memory)
  replays.assert_holds(loaded, oracle)
  memory._max_sample_attempts = loaded._max_sample_attempts = 50
  for _ in range(3):
    assert _outcome(memory) == _outcome(loaded)


def _assert_same_tree(memory, other):
  ours, theirs = memory.sum_tree, other.sum_tree
  for level, expected in zip(ours.nodes, theirs.nodes, strict=True):
    np.testing.assert_array_equal(level, expected)
  assert ours.max_recorded_priority == theirs.max_recorded_priority


def _outcome(memory):
  try:
    return memory.sample_index_batch(8).tolist()
  except RuntimeError as error:
    return str(error)


# Adding ----------------------------------------------------------------------


def test_padding_and_final_observations_have_priority_zero():
  memory = _memory(stack_size=3)
  # Slot:     0 1    2  3     4 5    6    7        8 9     10
  #           zeros  frames   zeros  one  final    zeros   cut
  memory.add(1, 0, 0.0, False, priority=2.0)
  memory.add(1, 0, 0.0, True, priority=3.0)
  memory.add(1, 0, 0.0, False, priority=4.0)
  memory.add_final_observation(9)
  memory.add(1, 0, 0.0, False, priority=5.0, episode_end=True)
  assert memory.add_count == 11
  assert _priorities(memory)[:11].tolist() == [
    *(0, 0, 2, 3),
    *(0, 0, 4, 0),
    *(0, 0, 5),
  ]
  assert memory.sum_tree.nodes[0] == [14]


def test_what_overwrites_a_transition_overwrites_its_priority():
  memory = _memory(stack_size=2, replay_capacity=5)
  for i in range(5):
    memory.add(i, 0, 0.0, False, priority=10.0 + i)
  # Slot 0 holds the fifth. Slots 1 and 2 become a final observation and zeros.
  assert _priorities(memory).tolist() == [14, 10, 11, 12, 13]
  memory.add_final_observation(9)
  memory.add(6, 0, 0.0, False, priority=0.5)
  assert _priorities(memory).tolist() == [14, 0, 0, 0.5, 13]
  assert memory.sum_tree.nodes[0] == [27.5]


def test_priority_is_the_last_argument_of_add():
  memory = _memory(extra_storage_types=replays.EXTRAS)
  names = [element.name for element in memory.get_add_args_signature()]
  assert names == [
    *('observation', 'action', 'reward', 'terminal'),
    *('note', 'priority'),
  ]
  element = memory.get_add_args_signature()[-1]
  assert (element.shape, element.type) == ((), np.float32)
  assert 'priority' not in inside.arrays(memory)
  memory.add(1, 2, 3.0, False, [4, 5], 6.0)
  memory.add(1, 2, 3.0, False, [4, 5], priority=np.float32(7))
  memory.add(1, 2, 3.0, False, [4, 5], priority=0.0)
  assert _priorities(memory)[:3].tolist() == [6, 7, 0]
  assert inside.arrays(memory)['note'][:3].tolist() == [[4, 5]] * 3


def test_a_missing_or_bad_priority_changes_nothing():
  memory = _memory(stack_size=3)
  with pytest.raises(ValueError, match='Add expects 5 elements, received 4'):
    memory.add(1, 0, 0.0, False)
  text = re.escape('arg has shape (1,), expected () (priority)')
  with pytest.raises(ValueError, match=text):
    memory.add(1, 0, 0.0, False, priority=[1.0])
  for bad in (-1.0, np.nan, np.inf, np.float32(-2)):
    text = f'priority={bad} must be finite and 0 or more'
    with pytest.raises(ValueError, match=text):
      memory.add(1, 0, 0.0, False, priority=bad)
  assert memory.is_empty() and not memory._markers.any()
  assert not _priorities(memory).any()
  memory.add(1, 0, 0.0, False, priority=1.0)
  assert memory.add_count == 3


# Priorities ------------------------------------------------------------------


def _filled(memory=None, count=15, **kwargs):
  memory = _memory(**kwargs) if memory is None else memory
  for i in range(count):
    memory.add(i, i, 0.0, False, priority=1.0 + i)
  return memory


def test_set_and_get_priority():
  memory = _filled()
  indices = np.array([3, 7, 0], np.int32)
  assert memory.get_priority(indices).tolist() == [4, 8, 1]
  memory.set_priority(indices, np.array([0.5, 0.1, 0], np.float32))
  priorities = memory.get_priority(indices)
  assert priorities.tolist() == [0.5, np.float32(0.1), 0]
  assert priorities.dtype == np.float32
  assert _priorities(memory)[:4].tolist() == [0, 2, 3, 0.5]
  assert memory.sum_tree.max_recorded_priority == 15
  memory.set_priority(indices, [20, 1, 1])
  assert memory.sum_tree.max_recorded_priority == 20
  # Of an index that was drawn twice, the last one stays.
  memory.set_priority(np.array([5, 6, 5], np.int32), np.array([1.0, 2.0, 3.0]))
  assert memory.get_priority(np.array([5, 6], np.int32)).tolist() == [3, 2]
  assert memory.sum_tree.nodes[0] == _priorities(memory).sum()


def test_indices_of_priorities_are_int32_arrays():
  memory = _filled()
  calls = (memory.get_priority, lambda i: memory.set_priority(i, np.zeros(2)))
  for call in calls:
    for indices in (3, np.int32(3), np.array(3, np.int32)):
      with pytest.raises(AssertionError, match='Indices must be an array.'):
        call(indices)
    for indices in (np.array([1, 2]), np.array([1.0, 2.0]), [1, 2]):
      with pytest.raises(AssertionError, match='Indices must be integers'):
        call(indices)
  assert _priorities(memory)[:3].tolist() == [1, 2, 3]


def test_bad_priorities_change_nothing():
  memory = _filled()
  indices = np.array([3, 7], np.int32)
  with pytest.raises(ValueError, match='Got nan at index 7'):
    memory.set_priority(indices, np.array([1.0, np.nan]))
  with pytest.raises(ValueError, match='Got -1.0 at index 3'):
    memory.set_priority(indices, np.array([-1.0, 2.0]))
  with pytest.raises(ValueError, match='broadcast'):
    memory.set_priority(indices, np.ones(3))
  with pytest.raises(IndexError, match='index 20 is not in'):
    memory.set_priority(np.array([0, 20], np.int32), np.ones(2))
  assert memory.get_priority(indices).tolist() == [4, 8]


# Sampling --------------------------------------------------------------------


def test_sampling_is_proportional_to_the_priorities_of_what_is_valid():
  memory = _memory(
    stack_size=2,
    update_horizon=2,
    replay_capacity=40,
    extra_storage_types=replays.EXTRAS,
  )
  oracle = replays.Episodes(40, stack_size=2, horizon=2)
  recorder = Recorder(memory, [1.0, 4.0, 0.0, 2.0, 0.3])
  oracle.play([(9, 'terminal'), (7, 'cut'), (8, 'time-out')] * 3, recorder)
  p = np.zeros(40)
  p[list(oracle.valid())] = recorder.by_slot()[list(oracle.valid())]
  memory._max_sample_attempts = 10**6
  # As one batch, as batches of two, and one by one.
  draws = [
    memory.sample_index_batch(99_999),
    memory.sample_index_batch(2, num_batches=50_000),
    np.concatenate([memory.sample_index_batch(1) for _ in range(3000)]),
  ]
  for drawn in draws:
    counts = np.bincount(drawn, minlength=40)
    assert not counts[p == 0].any()
    # Mean n - 1 and variance 2 (n - 1): five standard deviations.
    expected = len(drawn) * p[p > 0] / p.sum()
    n = len(expected)
    chi_square = ((counts[p > 0] - expected) ** 2 / expected).sum()
    assert chi_square < n - 1 + 5 * np.sqrt(2 * (n - 1))


@pytest.mark.parametrize('num_batches', [1, 2, 3, 8])
def test_every_batch_is_stratified_over_the_whole_buffer(num_batches):
  # All priorities are 1: the parts of a batch of 8 are those of 800 slots.
  memory = _memory(replay_capacity=900, batch_size=8)
  for i in range(801):
    memory.add(i, 0, 0.0, False, priority=float(i < 800))
  orders = set()
  for _ in range(10):
    drawn = memory.sample_index_batch(8, num_batches)
    assert drawn.shape == (8 * num_batches,)
    for batch in drawn.reshape(num_batches, 8):
      assert sorted(batch // 100) == list(range(8))
      orders.add(tuple(batch // 100))
  assert len(orders) == 10 * num_batches


def test_a_multiple_of_the_batch_size_is_one_batch():
  memory = _memory(replay_capacity=900, batch_size=8)
  for i in range(801):
    memory.add(i, 0, 0.0, False, priority=float(i < 800))
  assert sorted(memory.sample_index_batch(16) // 50) == list(range(16))
  indices = memory.sample_transition_batch(16)[-2]
  assert sorted(indices // 50) == list(range(16))


def test_batches_of_another_size_are_not_the_oldest_and_the_newest():
  # The wrapper's batch size may be another than the memory's.
  for batch_size, own in [(12, 32), (16, 32), (64, 32), (6, 4)]:
    memory = _memory(replay_capacity=900, batch_size=own)
    for i in range(801):
      memory.add(i, 0, 0.0, False, priority=float(i < 800))
    replay = Wrapped((), 1, batch_size=batch_size, wrapped_memory=memory)
    firsts, lasts = [], []
    for _ in range(100):
      first, last = replay.sample(2).indices
      firsts.append(first.mean())
      lasts.append(last.mean())
    # The mean of n independent ones has a deviation of 231 / sqrt(n); it would
    # be 200 and 600 for the two halves of what is stratified in order.
    for means in (firsts, lasts):
      limit = 5 * 231 / np.sqrt(100 * batch_size)
      assert abs(np.mean(means) - 399.5) < limit


def test_indices_that_are_not_valid_are_drawn_again_from_the_whole():
  memory = _memory(batch_size=10, max_sample_attempts=10**6, update_horizon=3)
  for i in range(11):
    memory.add(i, 0, 0.0, False, priority=100.0 if i >= 8 else 1.0)
  # Nearly all parts hold nothing but the newest three.
  counts = np.zeros(11)
  for _ in range(100):
    counts += np.bincount(memory.sample_index_batch(10), minlength=11)
  assert not counts[8:].any() and counts.sum() == 1000
  # 1000 draws of 8 alike: 125 each, with a deviation of 10.5.
  assert (np.abs(counts[:8] - 125) < 5 * 10.5).all()


def test_what_is_drawn_again_is_as_unbiased_in_every_batch():
  class Barred(Memory):
    def is_valid_transition(self, index):
      return index not in (4, 5) and super().is_valid_transition(index)

  memory = Barred((), 1, 20, 10, seed=0)
  for i in range(11):
    # Half of the total, in the middle, is of slots that are barred.
    priority = [1.0, 4.0, 1.0, 0.0][(i > 3) + (i > 5) + (i > 9)]
    memory.add(i, 0, 0.0, False, priority=priority)
  drawn = np.stack([memory.sample_index_batch(10, 2) for _ in range(100)])
  # Of 1000 in a batch, 500 are from the first four slots, give or take 16.
  for batches in (drawn[:, :10], drawn[:, 10:]):
    assert abs((batches < 4).sum() - 500) < 5 * 16


def test_too_few_transitions():
  memory = _memory(stack_size=2, update_horizon=3)
  text = re.escape(
    'Cannot sample a batch with fewer than stack size (2) + update_horizon '
    '(3) transitions.'
  )
  for _ in range(3):
    with pytest.raises(RuntimeError, match=text):
      memory.sample_index_batch(2)
    memory.add(1, 0, 0.0, False, priority=1.0)
  memory.add(1, 0, 0.0, False, priority=1.0)
  assert memory.sample_index_batch(2).tolist() == [1, 1]


def test_nothing_has_a_priority():
  memory = _memory()
  for i in range(10):
    memory.add(i, 0, 0.0, False, priority=0.0)
  with pytest.raises(RuntimeError, match='Cannot sample from an empty sum'):
    memory.sample_index_batch(2)


@pytest.mark.parametrize('valid', [0, 1])
def test_max_sample_attempts(valid):
  # 3.2.1 returned the last index of a batch even if it was invalid.
  class Picky(Memory):
    def is_valid_transition(self, index):
      return index < valid

  memory = Picky((), 1, 50, 5, max_sample_attempts=7, seed=0)
  for i in range(10):
    memory.add(1, 0, 0.0, False, priority=1e9 if i else valid * 1e-9)
  for batch_size in (1, 2, 3):
    text = (
      'Max sample attempts: Tried 7 times but only sampled 0 valid indices. '
      f'Batch size is {batch_size}'
    )
    with pytest.raises(RuntimeError, match=text):
      memory.sample_index_batch(batch_size)


def test_budget_of_attempts_is_shared_by_a_batch():
  class Barred(Memory):
    checked = 0

    def is_valid_transition(self, index):
      self.checked += 1
      return False

  for num_batches in (1, 3):
    memory = Barred((), 1, 50, 5, max_sample_attempts=20, seed=0)
    for i in range(30):
      memory.add(i, 0, 0.0, False, priority=1.0)
    with pytest.raises(RuntimeError, match=f'Tried {20 * num_batches} times'):
      memory.sample_index_batch(5, num_batches)
    assert memory.checked == 20 * num_batches


def test_attempts_that_turn_out_valid_are_not_counted():
  memory = _memory(max_sample_attempts=1, batch_size=100, replay_capacity=90)
  for i in range(60):
    memory.add(i, 0, 0.0, False, priority=float(i < 59))
  assert len(memory.sample_index_batch(100)) == 100


def test_transition_elements_end_with_the_priorities():
  memory = _filled(extra_storage_types=None, update_horizon=2)
  elements = memory.get_transition_elements()
  assert elements[-1].name == 'sampling_probabilities'
  assert (elements[-1].shape, elements[-1].type) == ((2,), np.float32)
  parent = circular_replay_buffer.OutOfGraphReplayBuffer
  assert elements[:-1] == parent.get_transition_elements(memory)
  batch = memory.sample_transition_batch(indices=[4, 2, -19])
  assert batch[-1].tolist() == [5, 3, 2]  # Not divided by the total.
  assert batch[-1].dtype == np.float32
  batch[-1][:] = 0
  assert memory.get_priority(np.array([4], np.int32)) == 5


def test_same_seed_same_samples():
  def draws(seed):
    memory = _filled(replay_capacity=1000, count=500, seed=seed)
    return memory.sample_index_batch(50).tolist()

  np.random.seed(0)
  state = np.random.get_state()[1].copy()
  assert draws(3) == draws(3)
  assert draws(3) != draws(4)
  assert draws(None) != draws(None)
  np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_generator_state_repeats_the_samples_and_those_of_the_tree():
  memory, other = _filled(seed=1), _filled(seed=2)

  def draws(memory):
    sample, tree = memory.sample_index_batch, memory.sum_tree
    return [*sample(4), tree.sample(), *tree.stratified_sample(3), *sample(4)]

  other.generator_state = memory.generator_state
  expected = draws(memory)
  assert draws(other) == expected
  assert draws(other) != expected


def test_subclass_decides_what_is_valid_and_stores_more():
  class Even(Memory):
    def get_storage_signature(self):
      x = ReplayElement('x', (), np.float32)
      return [*super().get_storage_signature(), x]

    def is_valid_transition(self, index):
      return index % 2 == 0 and super().is_valid_transition(index)

  memory = Even((), 1, 20, 4, seed=0)
  for i in range(12):
    memory.add(i, 0, 0.0, False, i / 2, priority=1.0)
  assert set(memory.sample_index_batch(100).tolist()) == {0, 2, 4, 6, 8, 10}
  assert inside.arrays(memory)['x'][:3].tolist() == [0, 0.5, 1]


# Building --------------------------------------------------------------------

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


@pytest.mark.parametrize('build', [Memory, Wrapped])
def test_every_storage_argument_is_forwarded(build):
  # The wrapper of 3.2.1 forgot five of them.
  replay = build((2,), 3, replay_capacity=50, batch_size=4, **STORAGE)
  memory = getattr(replay, 'memory', replay)
  assert type(memory) is Memory
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
  memory = Memory((2,), 3, 50, 4, seed=0)
  assert (inside.capacity(memory), memory._batch_size) == (50, 4)
  gin.parse_config('OutOfGraphPrioritizedReplayBuffer.replay_capacity = 60')
  assert inside.capacity(Memory((2,), 3, 50, 4)) == 50
  text = 'There is not enough capacity to cover update_horizon and stack_size.'
  with pytest.raises(ValueError, match=text):
    Memory((2,), 3, 3)
  with pytest.raises(TypeError, match='nonsense'):
    Memory((2,), 3, nonsense=1)


def _sizes(replay):
  memory = getattr(replay, 'memory', replay)
  assert len(_priorities(memory)) == inside.capacity(memory)
  assert getattr(replay, 'batch_size', memory._batch_size) == memory._batch_size
  return inside.capacity(memory), memory._batch_size


def test_sizes_are_bound_at_any_level():
  assert _sizes(Memory((), 1)) == _sizes(Wrapped((), 1)) == (1_000_000, 32)
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
    assert _sizes(Memory((), 1)) == memory
    assert _sizes(Wrapped((), 1)) == expected[-1]
    assert _sizes(Wrapped((), 1, replay_capacity=80)) == (80, 6 + i)
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
  assert _sizes(Wrapped((), 1)) == (70, 7)
  assert Wrapped((), 1).memory._max_sample_attempts == 5
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
  assert _memory().nbytes == 20 * 18 + 64 * 8


# Files -----------------------------------------------------------------------


def test_tree_is_saved_as_an_array(tmp_path):
  memory = _filled(count=12)
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
  memory = _filled(count=12)
  for priority in (40.0, 0.5):
    memory.set_priority(np.array([3], np.int32), [priority])
  memory.save(tmp_path, 3)
  loaded = _filled(count=18, seed=5)
  loaded.set_priority(np.array([19], np.int32), [99.0])
  loaded.load(tmp_path, 3)
  assert loaded.sum_tree.max_recorded_priority == 40
  _assert_same_tree(loaded, memory)
  loaded.generator_state = memory.generator_state
  draws = [memory.sample_index_batch(6).tolist() for _ in range(5)]
  assert [loaded.sample_index_batch(6).tolist() for _ in range(5)] == draws
  # What is loaded is no view of what was saved, and can be written to.
  loaded.set_priority(np.array([0], np.int32), [50.0])
  assert _priorities(memory)[0] == 1


def test_save_keeps_four_trees(tmp_path):
  memory = _filled()
  for i in range(6):
    memory.save(tmp_path, i)
  names = [name for name in os.listdir(tmp_path) if 'sum_tree' in name]
  assert sorted(names) == [f'sum_tree_ckpt.{i}.gz' for i in (2, 3, 4, 5)]


def test_missing_tree_is_named_and_nothing_is_loaded(tmp_path):
  _filled().save(tmp_path, 3)
  os.remove(tmp_path / 'sum_tree_ckpt.3.gz')
  fresh = _memory()
  text = 'sum_tree_ckpt.3.gz'
  with pytest.raises(circular_replay_buffer.NotFoundError, match=text):
    Wrapped((), 1, wrapped_memory=fresh).restore(tmp_path, 3)
  assert fresh.is_empty() and not _priorities(fresh).any()


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
  replay = Wrapped((), 1, wrapped_memory=_filled(count=12))
  replay.save(tmp_path, 3)
  _save_tree(tmp_path, tree)
  replay.memory = _filled(count=5)
  memory = replay.memory
  for load in (replay.load, memory.load, memory.check_shapes):
    with pytest.raises(ValueError, match=text) as error:
      load(tmp_path, 3)
    assert 'sum_tree' in str(error.value)
    assert 'replay_capacity=20' in str(error.value)
    _assert_untouched(memory)


@pytest.mark.parametrize('bad', [-1.0, np.nan])
def test_a_damaged_maximum_is_refused(tmp_path, bad):
  replay = Wrapped((), 1, wrapped_memory=_filled(count=12))
  replay.save(tmp_path, 3)
  record = _record([1.0] * 20)
  record['max_recorded_priority'] = bad
  _save_tree(tmp_path, record)
  replay.memory = _filled(count=5)
  with pytest.raises(ValueError, match=f'max_recorded_priority={bad}') as error:
    replay.load(tmp_path, 3)
  assert str(tmp_path) in error.value.__notes__[0]
  _assert_untouched(replay.memory)


@pytest.mark.parametrize('bad', [-1.0, np.nan])
def test_a_damaged_tree_is_refused(tmp_path, bad):
  replay = Wrapped((), 1, wrapped_memory=_filled(count=12))
  replay.save(tmp_path, 3)
  _save_tree(tmp_path, _record([1.0] * 19 + [bad]))
  replay.memory = _filled(count=5)
  with pytest.raises(ValueError, match=f'Got {bad} at index 19'):
    replay.load(tmp_path, 3)
  _assert_untouched(replay.memory)


def _assert_untouched(memory):
  """Asserts that it is as `_filled(count=5)` left it."""
  assert memory.add_count == 5
  assert inside.arrays(memory)['action'].tolist() == [0, 1, 2, 3, 4] + [0] * 15
  assert _priorities(memory).tolist() == [1, 2, 3, 4, 5] + [0] * 15
  assert memory.sum_tree.max_recorded_priority == 5


@pytest.mark.parametrize(
  'change', [{'replay_capacity': 30}, {'observation_dtype': np.float32}]
)
def test_another_build_is_refused(tmp_path, change):
  _filled(count=12, **change).save(tmp_path, 3)
  replay = Wrapped((), 1, wrapped_memory=_filled(count=5))
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
  memory = _filled(count=5)
  with caplog.at_level('WARNING'):
    memory.load(tmp_path, 3)
  assert 'without priorities' in caplog.text
  assert _priorities(memory).tolist() == [1] * 12 + [0] * 8
  assert memory.sum_tree.max_recorded_priority == 1
  drawn = memory.sample_index_batch(1100)
  counts = np.bincount(drawn, minlength=20)
  assert not counts[11:].any()  # The last has no next state.
  assert counts[:11].min() > 60
  # Of a run that goes on, priorities are part of the state.
  replay = Wrapped((), 1, wrapped_memory=_filled(count=5))
  with pytest.raises(circular_replay_buffer.NotFoundError, match='sum_tree'):
    replay.restore(tmp_path, 3)
  _assert_untouched(replay.memory)


# WrappedPrioritizedReplayBuffer ----------------------------------------------


def _wrapped(**kwargs):
  replay = Wrapped((2,), 3, replay_capacity=50, batch_size=4, seed=0, **kwargs)
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
  loaded = Wrapped((2,), 3, replay_capacity=50, batch_size=4, seed=1)
  loaded.load(tmp_path, 3)
  loaded.memory.generator_state = replay.memory.generator_state
  _assert_same_tree(loaded.memory, replay.memory)
  for array, other in zip(loaded.sample(2), replay.sample(2), strict=True):
    np.testing.assert_array_equal(array, other)


def test_wrapper_checks_are_those_of_the_uniform_one():
  with pytest.raises(ValueError, match='Update horizon must be positive.'):
    Wrapped((), 1, update_horizon=0)
  memory = _memory(batch_size=5)
  replay = Wrapped((), 1, wrapped_memory=memory)
  assert replay.memory is memory and replay.batch_size == 5


def test_what_is_given_by_position_wins_over_gin():
  gin.parse_config('WrappedPrioritizedReplayBuffer.replay_capacity = 30')
  wrapped = prioritized_replay_buffer.WrappedPrioritizedReplayBuffer
  assert inside.capacity(wrapped((4,), 1).memory) == 30
  given = wrapped((4,), 1, False, 50, 4)
  assert inside.capacity(given.memory) == 50 and given.batch_size == 4
