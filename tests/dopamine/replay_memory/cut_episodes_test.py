"""Priorities of transitions that a cut leaves without their next state."""

import copy
import gzip
import itertools
import os
import tempfile

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import data_set
from dopamine.replay_memory import prioritized_replay_buffer
from tests.support import inside

pytestmark = pytest.mark.no_backend

Memory = prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer


def _memory(**kwargs):
  defaults = dict(
    observation_shape=(),
    stack_size=1,
    replay_capacity=60,
    batch_size=4,
    observation_dtype=np.float64,
    seed=0,
  )
  return Memory(**defaults | kwargs)


def _priorities(memory):
  return memory.sum_tree.nodes[-1][: memory._replay_capacity].tolist()


def _set(memory, slots, priorities):
  memory.set_priority(np.array(slots, np.int32), np.array(priorities))


def _play(memory, ends, priority=1.0):
  """Adds a step for each of `ends`: '-', 'terminal', 'cut' or 'time-out'."""
  for end in ends:
    memory.add(
      *(0, 0, 0.0, end == 'terminal'),
      priority=priority,
      episode_end=end == 'cut',
    )
    if end == 'time-out':
      memory.add_final_observation(0)


# The oracle ------------------------------------------------------------------


class Episodes:
  """What was added: one entry per slot, in order, of episodes as lists."""

  def __init__(self, capacity, stack_size, horizon):
    self.capacity, self.stack_size, self.horizon = capacity, stack_size, horizon
    self.log = []  # [episode, t, priority]; the episode is None of padding.
    self.episode = None  # The one that is open.
    self.last = None  # The last one, while its end may still be seen.

  def add(self, end, priority):
    if self.episode is None:
      if self.last is not None and self.last['end'] is None:
        self.last['end'] = 'unknown'
      self.log += [[None, 0, 0.0] for _ in range(self.stack_size - 1)]
      self.episode = {'steps': 0, 'end': None}
    episode = self.last = self.episode
    self.log.append([episode, episode['steps'], priority])
    episode['steps'] += 1
    if end == 'terminal':
      episode['end'] = 'known'
    if end is not None:
      self.episode = None

  def add_final_observation(self):
    if self.last is not None and self.last['end'] is None:
      self.log.append([None, 0, 0.0])
      self.last['end'], self.episode = 'known', None

  def cut(self):
    if self.episode is not None:
      self.episode['end'] = 'unknown'
    self.episode = None

  def is_lost(self, position):
    """Whether what follows the transition after N steps is never seen."""
    episode, t, _ = self.log[position]
    if episode is None:
      return True
    reaches = t + self.horizon >= episode['steps']
    return reaches and episode['end'] == 'unknown'

  def position(self, slot):
    """What was written to a slot last; None if nothing was."""
    positions = range(slot, len(self.log), self.capacity)
    return positions[-1] if positions else None

  def set_priority(self, slot, priority):
    self.log[self.position(slot)][2] = priority

  def check(self, memory):
    assert memory.add_count == len(self.log)
    expected = np.zeros(self.capacity)
    is_valid = inside.is_valid(memory, np.arange(self.capacity))
    for slot in range(self.capacity):
      position = self.position(slot)
      if position is None:
        continue
      if self.is_lost(position):
        self.log[position][2] = 0.0  # For good.
      expected[slot] = self.log[position][2]
      age = len(self.log) - position  # 1 is the newest.
      barred = age <= self.horizon or age > self.capacity - self.stack_size
      valid = not barred and not self.is_lost(position)
      assert is_valid[slot] == valid, slot
    np.testing.assert_array_equal(_priorities(memory), expected)
    assert memory.sum_tree.nodes[0] == pytest.approx(expected.sum())


_operations = st.lists(
  st.tuples(
    st.sampled_from(
      [None] * 8
      + ['terminal', 'cut', 'cut', 'cut_episode', 'final', 'set', 'set']
      + ['sample', 'save', 'checkpoint']
    ),
    st.integers(1, 10**6),
  ),
  max_size=60,
)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(
  st.integers(1, 4), st.integers(1, 4), st.integers(0, 20), _operations
)
def test_what_can_never_be_valid_has_priority_0_and_all_else_its_own(
  stack_size, horizon, more, operations
):
  build = dict(
    stack_size=stack_size,
    update_horizon=horizon,
    replay_capacity=stack_size + horizon + more,
  )
  memory = _memory(**build)
  oracle = Episodes(build['replay_capacity'], stack_size, horizon)
  largest = 1.0
  with tempfile.TemporaryDirectory() as directory:
    for number, (operation, value) in enumerate(operations):
      priority = value % 7 / 4
      if operation in (None, 'terminal', 'cut'):
        ends = operation == 'terminal', operation == 'cut'
        memory.add(
          *(value, 0, 0.0, ends[0]), priority=priority, episode_end=ends[1]
        )
        oracle.add(operation, priority)
        largest = max(largest, priority)
      elif operation == 'cut_episode':
        memory.cut_episode()
        oracle.cut()
      elif operation == 'final':
        memory.add_final_observation(value)
        oracle.add_final_observation()
      elif operation == 'set' and oracle.log:
        rng = np.random.default_rng(value)
        slots = rng.integers(min(len(oracle.log), oracle.capacity), size=5)
        priorities = rng.integers(9, size=5) / 2
        _set(memory, slots, priorities)
        for slot, priority in zip(slots, priorities, strict=True):
          oracle.set_priority(slot, priority)
        largest = max(largest, *priorities)
      elif operation == 'sample':
        try:
          drawn = memory.sample_index_batch(4)
        except RuntimeError:
          continue
        assert all(memory.is_valid_transition(i) for i in drawn)
      elif operation in ('save', 'checkpoint'):
        write, read = dict(
          save=('save', 'load'), checkpoint=('checkpoint', 'restore')
        )[operation]
        getattr(memory, write)(directory, number)
        memory = _memory(**build)
        getattr(memory, read)(directory, number)
      oracle.check(memory)
      assert memory.sum_tree.max_recorded_priority == largest


@pytest.mark.parametrize('stack_size', [1, 2])
@pytest.mark.parametrize('horizon', [1, 2, 3])
def test_what_some_later_operation_can_make_valid_keeps_its_priority(
  stack_size, horizon
):
  # All that can be done to the newest transitions: they go on, perhaps after
  # what a time-out cut them at.
  operations = ['-', 'terminal', 'cut', 'time-out', 'cut_episode']
  for ends in itertools.product(operations, repeat=4):
    memory = _memory(stack_size=stack_size, update_horizon=horizon)
    for end in ends:
      memory.cut_episode() if end == 'cut_episode' else _play(memory, [end])
    priorities, count = np.array(_priorities(memory)), int(memory.add_count)
    with_final = copy.deepcopy(memory)
    with_final.add_final_observation(0)
    possible = np.zeros(60, bool)
    for later in (memory, with_final):
      _play(later, ['-'] * (horizon + 1))
      possible |= inside.is_valid(later, np.arange(60))
    possible[count:] = False  # Of what was added only then.
    np.testing.assert_array_equal(priorities > 0, possible, str(ends))


# By hand ---------------------------------------------------------------------


def test_mass_does_not_gather_where_episodes_were_cut():
  # 17 in 20 are sampled, and then have a priority of 1e-3. The others kept
  # their 1, and in the end all that was drawn was among them.
  memory = _memory(
    replay_capacity=5000, batch_size=32, update_horizon=3, seed=1
  )
  for step in range(2000):
    priority = memory.sum_tree.max_recorded_priority
    memory.add(
      step, 0, 0.0, False, priority=priority, episode_end=step % 20 == 19
    )
    if step >= 500:
      drawn = memory.sample_index_batch(32)
      assert (drawn % 20 < 17).all()
      _set(memory, drawn, np.full(32, 1e-3))
  assert memory.sum_tree.nodes[0] < 2000 * 1e-3 + 4


def test_a_cut_is_certain_when_the_next_episode_begins():
  memory = _memory(update_horizon=2, stack_size=2)
  _play(memory, ['-', '-', '-', 'cut'])
  assert _priorities(memory)[:5] == [0, 1, 1, 1, 1]
  memory.cut_episode()  # No episode is open.
  assert _priorities(memory)[:5] == [0, 1, 1, 1, 1]
  seen = copy.deepcopy(memory)
  seen.add_final_observation(9)
  _play(seen, ['-'])
  assert _priorities(seen)[:8] == [0, 1, 1, 1, 1, 0, 0, 1]
  _play(memory, ['-'])
  assert _priorities(memory)[:7] == [0, 1, 1, 0, 0, 0, 1]
  # What was computed before comes too late, and is no other's loss.
  _set(memory, [2, 3, 4, 3, 6], [5.0, 6.0, 7.0, 8.0, 9.0])
  assert _priorities(memory)[:7] == [0, 1, 5, 0, 0, 0, 9]
  assert memory.sum_tree.nodes[0] == 15
  assert memory.sum_tree.max_recorded_priority == 9


def test_an_abandoned_episode_is_cut_for_certain():
  memory = _memory(update_horizon=2)
  _play(memory, ['-', '-', '-'])
  memory.cut_episode()
  assert _priorities(memory)[:3] == [1, 0, 0]
  _set(memory, [0, 1, 2], [3.0, 3.0, 3.0])
  assert _priorities(memory)[:3] == [3, 0, 0]
  memory.add_final_observation(9)  # Nothing is open.
  _play(memory, ['-'])
  assert _priorities(memory)[:4] == [3, 0, 0, 1]


def test_a_window_that_ends_before_the_cut_is_kept():
  memory = _memory(update_horizon=3)
  _play(memory, ['terminal', 'cut', 'time-out', 'cut', '-'])
  # Slot:    terminal  cut  time-out  final  cut  -
  assert _priorities(memory)[:6] == [1, 0, 1, 0, 0, 1]


def test_what_only_the_cursor_bars_keeps_its_priority():
  # The ring is 0 ... 5; the cut at slot 5 is the last one, and certain.
  memory = _memory(update_horizon=2, replay_capacity=6)
  _play(memory, ['-', '-', '-', '-', '-', 'cut', '-'])
  assert _priorities(memory) == [1, 1, 1, 1, 0, 0]
  # The windows of slots 1 to 3 are next to old cuts that are not theirs.
  _play(memory, ['-', '-', '-'], priority=2.0)
  assert _priorities(memory) == [1, 2, 2, 2, 0, 0]
  assert not memory.is_valid_transition(3)
  _set(memory, [2, 3, 4], [4.0, 4.0, 4.0])
  assert _priorities(memory) == [1, 2, 4, 4, 0, 0]


def test_what_is_empty_yet_keeps_its_priority():
  # The window of slot 5 wraps around to the cut at slot 0.
  memory = _memory(update_horizon=2, replay_capacity=6)
  _play(memory, ['cut', '-'])
  _set(memory, [0, 5], [2.0, 2.0])
  assert _priorities(memory) == [0, 1, 0, 0, 0, 2]


def test_of_a_subclass_only_what_is_certain_counts():
  class Even(Memory):
    def is_valid_transition(self, index):
      return index % 2 == 0 and super().is_valid_transition(index)

  memory = Even((), 1, 20, 4, update_horizon=1, seed=0)
  _play(memory, ['-', '-', '-', 'cut', '-'])
  assert _priorities(memory)[:5] == [1, 1, 1, 0, 1]


def test_only_cut_episodes_that_are_too_short():
  memory = _memory(update_horizon=3, max_sample_attempts=50)
  _play(memory, ['-', '-', 'cut'] * 9)
  with pytest.raises(RuntimeError, match='Max sample.*nobody saw what came'):
    memory.sample_index_batch(4)
  _play(memory, ['-'])
  memory.cut_episode()
  assert memory.sum_tree.nodes[0] == 0
  with pytest.raises(RuntimeError, match='nothing that can be sampled has'):
    memory.sample_index_batch(4)


@pytest.mark.parametrize('end', ['cut', 'terminal', 'time-out', '-'])
@pytest.mark.parametrize('capacity, stack_size', [(30, 1), (60, 4), (200, 4)])
def test_the_newest_do_not_keep_a_small_memory_from_being_sampled(
  end, capacity, stack_size
):
  """Those that the cursor bars have nearly all of the mass here."""
  memory = _memory(
    replay_capacity=capacity,
    stack_size=stack_size,
    update_horizon=3,
    batch_size=32,
    max_sample_attempts=100,
  )
  for i in range(400):
    is_last = i % 20 == 19
    _play(
      memory,
      [end if is_last else '-'],
      memory.sum_tree.max_recorded_priority,
    )
    if i >= 20:
      before = _priorities(memory)
      indices = memory.sample_index_batch(32)
      assert inside.is_valid(memory, indices).all()
      assert _priorities(memory) == before
      _set(memory, indices, [1e-3] * 32)


# Files -----------------------------------------------------------------------


def _write_tree(directory, priorities):
  """Writes a tree with mass anywhere, as versions before this wrote it."""
  tree = data_set.tree_record(priorities, 5.0)
  with gzip.open(os.path.join(directory, 'sum_tree_ckpt.3.gz'), 'wb') as file:
    np.save(file, tree)


@pytest.mark.parametrize('with_markers', [True, False])
def test_data_sets_whose_trees_have_mass_anywhere(tmp_path, with_markers):
  memory = _memory(stack_size=3, update_horizon=2, replay_capacity=20)
  # Slots:  0 1    2 3  4         5 6    7 8 9    10 11  12 13
  #         zeros  - -  terminal  zeros  - - cut  zeros  -  -
  _play(memory, ['-', '-', 'terminal', '-', '-', 'cut', '-', '-'])
  memory.save(tmp_path, 3)
  _write_tree(tmp_path, np.arange(1.0, 21.0))
  if not with_markers:
    os.remove(tmp_path / 'episode_markers_ckpt.3.gz')
  loaded = _memory(stack_size=3, update_horizon=2, replay_capacity=20)
  loaded.load(tmp_path, 3)
  kept = [2, 3, 4, 7, 12, 13]
  if not with_markers:
    # Padding is known by the terminal before it, and by being the first. The
    # next add starts an episode: nobody saw what came after slot 13. That
    # there was a cut, nobody can say.
    kept = [2, 3, 4, 7, 8, 9, 10, 11]
  # Slots that are empty are nobody's business yet.
  kept += range(14, 20)
  expected = [i + 1.0 if i in kept else 0.0 for i in range(20)]
  assert _priorities(loaded) == expected
  assert loaded.sum_tree.max_recorded_priority == 5
  _set(loaded, range(14), np.full(14, 2.0))
  expected = [2.0 if i in kept else 0.0 for i in range(14)]
  assert _priorities(loaded)[:14] == expected
  # Where the terminal was overwritten, padding is still known for what it is.
  _play(loaded, ['-'] * (11 if with_markers else 9))
  assert loaded.add_count == 25
  _set(loaded, [5, 6, 7], [3.0, 3.0, 3.0])
  assert _priorities(loaded)[5:8] == [0, 0, 3]


def test_the_oldest_is_no_padding_of_the_newest_terminal(tmp_path):
  memory = _memory(stack_size=3, update_horizon=2, replay_capacity=10)
  _play(memory, ['-'] * 9 + ['terminal'])
  assert memory.cursor() == 2  # Slot 1 is the newest, slot 2 the oldest.
  assert _priorities(memory) == [1] * 10
  memory.save(tmp_path, 3)
  loaded = _memory(stack_size=3, update_horizon=2, replay_capacity=10)
  loaded.load(tmp_path, 3)
  assert _priorities(loaded) == [1] * 10


def test_a_uniform_data_set_gets_priorities_where_it_can_be_sampled(tmp_path):
  uniform = circular_replay_buffer.OutOfGraphReplayBuffer(
    (), 2, 10, update_horizon=2, observation_dtype=np.float64
  )
  for i in range(8):
    uniform.add(i, 0, 0.0, i == 2, episode_end=i == 5)
    if i == 3:
      uniform.add_final_observation(9)
  # Added:  0 | 0 1 2 | zeros 3 final | zeros 4 5 cut | zeros 6 7
  # Slots:  (0 1 2 are overwritten)
  assert uniform.add_count == 13
  uniform.save(tmp_path, 3)
  memory = _memory(stack_size=2, update_horizon=2, replay_capacity=10)
  memory.load(tmp_path, 3)
  # Positions 3 to 12: 2, zeros, 3, final, zeros, 4, 5, zeros, 6, 7.
  by_position = [1, 0, 1, 0, 0, 0, 0, 0, 1, 1]
  by_slot = [by_position[(i - 3) % 10] for i in range(10)]
  assert _priorities(memory) == by_slot


def test_a_checkpoint_whose_tree_has_mass_on_cut_slots(tmp_path):
  memory = _memory(update_horizon=2)
  _play(memory, ['-', '-', 'cut', '-', '-'])
  memory.sum_tree.set(np.arange(5), 3.0)  # As it was before.
  memory.checkpoint(tmp_path, 3)
  restored = _memory(update_horizon=2)
  restored.restore(tmp_path, 3)
  assert _priorities(restored)[:5] == [3, 0, 0, 3, 3]
  assert restored.sum_tree.max_recorded_priority == 3


def test_a_final_observation_that_is_refused_leaves_the_cut():
  memory = _memory()
  _play(memory, ['-', 'cut'])
  with pytest.raises(ValueError, match='shape'):
    memory.add_final_observation([1, 2])
  _play(memory, ['-'] * 5)
  assert _priorities(memory)[:3] == [1, 0, 1]
  assert not memory.is_valid_transition(1)
