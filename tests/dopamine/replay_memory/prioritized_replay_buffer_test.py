"""Tests of the prioritised buffer against a list of episodes."""

import re
import tempfile

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from dopamine.replay_memory import circular_replay_buffer
from tests.support import inside
from tests.support import prioritized
from tests.support import replays

pytestmark = pytest.mark.no_backend


ReplayElement = circular_replay_buffer.ReplayElement


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
  memory = prioritized.Memory(
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
  np.testing.assert_array_equal(prioritized.priorities(memory), expected)
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
  prioritized.assert_same_tree(loaded, memory)
  other = Recorder(loaded, recorder.priorities)
  other.log = list(recorder.log)
  oracle.play(more, recorder, other)
  prioritized.assert_same_tree(loaded, memory)
  replays.assert_holds(loaded, oracle)
  memory._max_sample_attempts = loaded._max_sample_attempts = 50
  for _ in range(3):
    assert _outcome(memory) == _outcome(loaded)


def _outcome(memory):
  try:
    return memory.sample_index_batch(8).tolist()
  except RuntimeError as error:
    return str(error)


# Adding ----------------------------------------------------------------------


def test_padding_and_final_observations_have_priority_zero():
  memory = prioritized.memory(stack_size=3)
  # Slot:     0 1    2  3     4 5    6    7        8 9     10
  #           zeros  frames   zeros  one  final    zeros   cut
  memory.add(1, 0, 0.0, False, priority=2.0)
  memory.add(1, 0, 0.0, True, priority=3.0)
  memory.add(1, 0, 0.0, False, priority=4.0)
  memory.add_final_observation(9)
  memory.add(1, 0, 0.0, False, priority=5.0, episode_end=True)
  assert memory.add_count == 11
  assert prioritized.priorities(memory)[:11].tolist() == [
    *(0, 0, 2, 3),
    *(0, 0, 4, 0),
    *(0, 0, 5),
  ]
  assert memory.sum_tree.nodes[0] == [14]


def test_what_overwrites_a_transition_overwrites_its_priority():
  memory = prioritized.memory(stack_size=2, replay_capacity=5)
  for i in range(5):
    memory.add(i, 0, 0.0, False, priority=10.0 + i)
  # Slot 0 holds the fifth. Slots 1 and 2 become a final observation and zeros.
  assert prioritized.priorities(memory).tolist() == [14, 10, 11, 12, 13]
  memory.add_final_observation(9)
  memory.add(6, 0, 0.0, False, priority=0.5)
  assert prioritized.priorities(memory).tolist() == [14, 0, 0, 0.5, 13]
  assert memory.sum_tree.nodes[0] == [27.5]


def test_priority_is_the_last_argument_of_add():
  memory = prioritized.memory(extra_storage_types=replays.EXTRAS)
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
  assert prioritized.priorities(memory)[:3].tolist() == [6, 7, 0]
  assert inside.arrays(memory)['note'][:3].tolist() == [[4, 5]] * 3


def test_a_missing_or_bad_priority_changes_nothing():
  memory = prioritized.memory(stack_size=3)
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
  assert not prioritized.priorities(memory).any()
  memory.add(1, 0, 0.0, False, priority=1.0)
  assert memory.add_count == 3


# Priorities ------------------------------------------------------------------


def test_set_and_get_priority():
  memory = prioritized.filled()
  indices = np.array([3, 7, 0], np.int32)
  assert memory.get_priority(indices).tolist() == [4, 8, 1]
  memory.set_priority(indices, np.array([0.5, 0.1, 0], np.float32))
  priorities = memory.get_priority(indices)
  assert priorities.tolist() == [0.5, np.float32(0.1), 0]
  assert priorities.dtype == np.float32
  assert prioritized.priorities(memory)[:4].tolist() == [0, 2, 3, 0.5]
  assert memory.sum_tree.max_recorded_priority == 15
  memory.set_priority(indices, [20, 1, 1])
  assert memory.sum_tree.max_recorded_priority == 20
  # Of an index that was drawn twice, the last one stays.
  memory.set_priority(np.array([5, 6, 5], np.int32), np.array([1.0, 2.0, 3.0]))
  assert memory.get_priority(np.array([5, 6], np.int32)).tolist() == [3, 2]
  assert memory.sum_tree.nodes[0] == prioritized.priorities(memory).sum()


def test_indices_of_priorities_are_int32_arrays():
  memory = prioritized.filled()
  calls = (memory.get_priority, lambda i: memory.set_priority(i, np.zeros(2)))
  for call in calls:
    for indices in (3, np.int32(3), np.array(3, np.int32)):
      with pytest.raises(AssertionError, match='Indices must be an array.'):
        call(indices)
    for indices in (np.array([1, 2]), np.array([1.0, 2.0]), [1, 2]):
      with pytest.raises(AssertionError, match='Indices must be integers'):
        call(indices)
  assert prioritized.priorities(memory)[:3].tolist() == [1, 2, 3]


def test_bad_priorities_change_nothing():
  memory = prioritized.filled()
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
  memory = prioritized.memory(
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
  memory = prioritized.memory(replay_capacity=900, batch_size=8)
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
  memory = prioritized.memory(replay_capacity=900, batch_size=8)
  for i in range(801):
    memory.add(i, 0, 0.0, False, priority=float(i < 800))
  assert sorted(memory.sample_index_batch(16) // 50) == list(range(16))
  indices = memory.sample_transition_batch(16)[-2]
  assert sorted(indices // 50) == list(range(16))


def test_batches_of_another_size_are_not_the_oldest_and_the_newest():
  # The wrapper's batch size may be another than the memory's.
  for batch_size, own in [(12, 32), (16, 32), (64, 32), (6, 4)]:
    memory = prioritized.memory(replay_capacity=900, batch_size=own)
    for i in range(801):
      memory.add(i, 0, 0.0, False, priority=float(i < 800))
    replay = prioritized.Wrapped(
      (), 1, batch_size=batch_size, wrapped_memory=memory
    )
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
  memory = prioritized.memory(
    batch_size=10, max_sample_attempts=10**6, update_horizon=3
  )
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
  class Barred(prioritized.Memory):
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
  memory = prioritized.memory(stack_size=2, update_horizon=3)
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
  memory = prioritized.memory()
  for i in range(10):
    memory.add(i, 0, 0.0, False, priority=0.0)
  with pytest.raises(RuntimeError, match='Cannot sample from an empty sum'):
    memory.sample_index_batch(2)


@pytest.mark.parametrize('valid', [0, 1])
def test_max_sample_attempts(valid):
  # 3.2.1 returned the last index of a batch even if it was invalid.
  class Picky(prioritized.Memory):
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
  class Barred(prioritized.Memory):
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
  memory = prioritized.memory(
    max_sample_attempts=1, batch_size=100, replay_capacity=90
  )
  for i in range(60):
    memory.add(i, 0, 0.0, False, priority=float(i < 59))
  assert len(memory.sample_index_batch(100)) == 100


def test_transition_elements_end_with_the_priorities():
  memory = prioritized.filled(extra_storage_types=None, update_horizon=2)
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
    memory = prioritized.filled(replay_capacity=1000, count=500, seed=seed)
    return memory.sample_index_batch(50).tolist()

  np.random.seed(0)
  state = np.random.get_state()[1].copy()
  assert draws(3) == draws(3)
  assert draws(3) != draws(4)
  assert draws(None) != draws(None)
  np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_generator_state_repeats_the_samples_and_those_of_the_tree():
  memory, other = prioritized.filled(seed=1), prioritized.filled(seed=2)

  def draws(memory):
    sample, tree = memory.sample_index_batch, memory.sum_tree
    return [*sample(4), tree.sample(), *tree.stratified_sample(3), *sample(4)]

  other.generator_state = memory.generator_state
  expected = draws(memory)
  assert draws(other) == expected
  assert draws(other) != expected


def test_subclass_decides_what_is_valid_and_stores_more():
  class Even(prioritized.Memory):
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
