"""Replay memories and their wrappers as subclasses of Dopamine 3 had them."""

import os
import types

import numpy as np
import pytest

from dopamine.compat import adapters
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import prioritized_replay_buffer
from tests.support import inside
from tests.support import replays

pytestmark = pytest.mark.no_backend

OURS = (
  circular_replay_buffer.OutOfGraphReplayBuffer,
  prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer,
)


def fill(memory, count=15):
  rng = np.random.default_rng(0)
  extra = (1.0,) * memory.takes_priority
  for t in range(count):
    memory.add(rng.normal(), t % 3, t, t % 6 == 5, *extra)
  return memory


# What is saved, and under which names -----------------------------------------


@pytest.mark.parametrize('cls', OURS)
def test_the_elements_of_a_checkpoint(cls):
  memory = fill(replays.memory(cls))
  elements = memory._return_checkpointable_elements()
  stored = {'observation', 'action', 'reward', 'terminal'}
  others = {'add_count', 'invalid_range'}
  others |= {'sum_tree'} if memory.takes_priority else set()
  assert elements.keys() == {f'$store$_{name}' for name in stored} | others
  for name in stored:
    assert elements[f'$store$_{name}'] is inside.arrays(memory)[name]
  assert elements['add_count'] == 15
  np.testing.assert_array_equal(
    elements['invalid_range'], memory.__dict__['invalid_range']
  )
  fill(memory, 3)
  np.testing.assert_array_equal(
    memory._return_checkpointable_elements()['invalid_range'],
    [(18 - 1 + i) % 20 for i in range(2)],
  )


def test_the_name_of_a_file():
  memory = replays.memory()
  name = memory._generate_filename('a/b', 'add_count', 7)
  assert name == os.path.join('a/b', 'add_count_ckpt.7.gz')


class Counting(circular_replay_buffer.OutOfGraphReplayBuffer):
  """Saves a private count, and leaves out what follows from others."""

  def __init__(self, *args, **kwargs):
    super().__init__(*args, **kwargs)
    self._ends = 0

  def add(self, observation, action, reward, terminal, *args):
    super().add(observation, action, reward, terminal, *args)
    self._ends += int(terminal)

  def _return_checkpointable_elements(self):
    elements = super()._return_checkpointable_elements()
    elements['_ends'] = self._ends
    del elements['invalid_range']
    return elements


class Naming(Counting):
  """Names its files otherwise."""

  def _generate_filename(self, checkpoint_dir, name, suffix):
    return os.path.join(checkpoint_dir, f'own_{suffix}_{name}.gz')


def wrapped(memory):
  return circular_replay_buffer.WrappedReplayBuffer(
    (), 1, wrapped_memory=memory
  )


@pytest.mark.parametrize('cls', [Counting, Naming])
@pytest.mark.parametrize('how', [('save', 'load'), ('checkpoint', 'restore')])
def test_what_overrides_say_is_saved_and_goes_on(tmp_path, cls, how):
  save, load = how
  memory, other = fill(replays.memory(cls)), replays.memory(cls)
  for number in range(6):
    getattr(wrapped(memory), save)(tmp_path, number)
  getattr(wrapped(other), load)(tmp_path, 5)
  assert other._ends == memory._ends == 2
  for name, array in inside.arrays(memory).items():
    np.testing.assert_array_equal(inside.arrays(other)[name], array)
  assert other.add_count == 15
  np.testing.assert_array_equal(other.invalid_range, memory.invalid_range)
  names = os.listdir(tmp_path)
  assert not any('invalid_range' in name for name in names)
  if cls is Naming:
    assert {name.split('_')[0] for name in names} == {'own'}
    assert {name.split('_')[1] for name in names} == {'2', '3', '4', '5'}
  other = replays.memory(cls)
  with pytest.raises(FileNotFoundError, match='Missing files'):
    getattr(wrapped(other), load)(tmp_path, 9)
  assert other.is_empty()


def test_a_file_under_another_name_is_checked_before_it_is_read(tmp_path):
  fill(replays.memory(Naming)).save(tmp_path, 0)
  other = replays.memory(Naming, replay_capacity=30)
  with pytest.raises(ValueError, match='own_0.*was built for shape'):
    wrapped(other).load(tmp_path, 0)
  assert other.is_empty()


# Loops over slots -------------------------------------------------------------


class Slotwise(circular_replay_buffer.OutOfGraphReplayBuffer):
  """Fills arrays transition by transition."""

  def sample_transition_batch(self, batch_size=None, indices=None):
    batch_size = batch_size or self._batch_size
    if indices is None:
      indices = self.sample_index_batch(batch_size)
    arrays = self._create_batch_arrays(batch_size)
    elements = self.get_transition_elements(batch_size)
    for row, index in enumerate(indices):
      steps = [
        (index + j) % self._replay_capacity for j in range(self._update_horizon)
      ]
      ends = self._store['terminal'][steps]
      length = self._update_horizon
      if ends.any():
        length = int(np.argmax(ends.astype(bool))) + 1
      following = (index + length) % self._replay_capacity
      rewards = self._store['reward'][steps[:length]]
      values = {
        'state': self.get_observation_stack(index),
        'reward': np.sum(self._cumulative_discount_vector[:length] * rewards),
        'next_state': self.get_observation_stack(following),
        'next_action': self._store['action'][following],
        'next_reward': self._store['reward'][following],
        'terminal': ends.any(),
        'indices': index,
      }
      for array, element in zip(arrays, elements, strict=True):
        if element.name in values:
          array[row] = values[element.name]
        else:
          array[row] = self._store[element.name][index]
    return arrays


def test_a_loop_over_slots_draws_what_ours_does():
  settings = dict(update_horizon=3, gamma=0.5)
  ours, theirs = (
    fill(replays.memory(cls, **settings)) for cls in (OURS[0], Slotwise)
  )
  expected = ours.sample_transition_batch(8)
  found = theirs.sample_transition_batch(8)
  for a, b in zip(found, expected, strict=True):
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=1e-6)
  batch = wrapped(theirs).sample(2)
  np.testing.assert_array_equal(
    batch.discount, theirs.discounts(batch.indices.ravel()).reshape(2, 2)
  )


def test_a_loop_over_slots_is_given_no_windows_that_a_time_out_ended():
  class AsksOurs(OURS[0]):
    def sample_transition_batch(self, batch_size=None, indices=None):
      return super().sample_transition_batch(batch_size, indices)

  for cls, cuts in ((OURS[0], True), (AsksOurs, True), (Slotwise, False)):
    assert wrapped(replays.memory(cls)).cuts_episodes is cuts

  class Old(Slotwise):
    def add(self, observation, action, reward, terminal, *args):
      super().add(observation, action, reward, terminal, *args)

  agent = types.SimpleNamespace(update_horizon=1)
  for cls in (Slotwise, Old):
    replay = adapters.replay(wrapped(replays.memory(cls)), agent)
    assert not replay.cuts_episodes
  # An agent then says this, and what needs more is never drawn.
  memory = replays.memory(Slotwise, update_horizon=2)
  for t in range(6):
    memory.add(float(t), 0, 1.0, False, episode_end=t == 3)
  assert [memory.is_valid_transition(t) for t in range(4)] == [
    *(True, True),
    *(False, False),
  ]


# Wrappers ---------------------------------------------------------------------


def test_sampling_ops_draw_the_batch_that_the_attributes_have():
  replay = wrapped(fill(replays.memory()))
  replay.create_sampling_ops(use_staging=False)
  first = replay.states.copy(), replay.indices.copy()
  np.testing.assert_array_equal(replay.indices, first[1])
  states = replay.memory.sample_transition_batch(indices=replay.indices)[0]
  np.testing.assert_array_equal(replay.states, states)
  for _ in range(9):
    replay.create_sampling_ops(False)
    if (replay.indices != first[1]).any():
      break
  else:
    raise AssertionError('it is always the same batch')


def test_the_discounts_of_the_steps_may_be_set():
  memory = fill(replays.memory(update_horizon=3, gamma=0.5))
  memory._cumulative_discount_vector = np.array([1, 0.9, 0.81], np.float32)
  assert memory._gamma == pytest.approx(0.9)
  memory._cumulative_discount_vector = np.array([1.0, 0.9], np.float32)
  assert memory._update_horizon == 2 and memory._gamma == pytest.approx(0.9)
  with pytest.raises(ValueError, match='of no gamma'):
    memory._cumulative_discount_vector = np.array([1.0, 0.5, 0.5])
