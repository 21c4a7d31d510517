"""Every observation is what the memory keeps and the network sees, or refused.

Of `observation_dtype`: floats lose the digits that it has no room for, and
nothing else changes.
"""

import functools
import warnings

import keras
import numpy as np
from numpy.testing import assert_array_equal
import pytest

from dopamine.agents.dqn import dqn_agent
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import elements
from dopamine.replay_memory import prioritized_replay_buffer
from tests.support import small

SHAPE = (2,)

# NumPy's, of casts.
WARNINGS = ('error::RuntimeWarning', 'error:Casting complex')


class SmallAgent(dqn_agent.DQNAgent):
  """A DQN agent with a replay memory of 50 transitions."""

  def _build_replay_buffer(self, use_staging):
    return circular_replay_buffer.WrappedReplayBuffer(
      self.observation_shape,
      self.stack_size,
      replay_capacity=50,
      batch_size=4,
      observation_dtype=self.observation_dtype,
    )


class OwnRecord(SmallAgent):
  """Records as Dopamine 3 did, and keeps what it is given."""

  def _record_observation(self, observation):
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # Of the cast.
      self._observation = np.reshape(observation, self.observation_shape)
      self.state = np.roll(self.state, -1, axis=-1)
      self.state[0, ..., -1] = self._observation


class OwnVerbs(SmallAgent):
  """Has verbs of its own, which record."""

  def begin_episode(self, observation):
    self._reset_state()
    self._record_observation(observation)
    return self._select_action()

  def step(self, reward, observation):
    last = self._observation
    self._record_observation(observation)
    self._store_transition(last, 0, reward, False)
    return self._select_action()

  def end_episode(self, reward, terminal=True, observation=None):
    self._store_transition(self._observation, 0, reward, terminal)


class OwnBoth(OwnVerbs):
  """Leaves it to the memory to look."""

  _record_observation = OwnRecord._record_observation

  def step(self, reward, observation):
    action = super().step(reward, observation)
    self._store_transition(self._observation, 0, reward, False)
    return action


class DType:
  """What a dtype of another framework is: nothing that NumPy's is."""


class Tensor:
  """An array of another framework, as NumPy sees it."""

  dtype = DType()

  def __init__(self, values):
    self._values = np.asarray(values)

  def __array__(self, dtype=None):
    return self._values


@functools.cache
def built(cls, observation_dtype):
  return cls(
    num_actions=2,
    observation_shape=SHAPE,
    observation_dtype=observation_dtype,
    stack_size=2,
    network=small.Perceptron,
    min_replay_history=1000,
    seed=1,
  )


def make_agent(cls=SmallAgent, observation_dtype='uint8'):
  """An agent as new; networks take a while to build."""
  agent = built(cls, observation_dtype)
  agent.eval_mode = False
  agent._replay = agent._make_replay(False)
  return agent


GOOD = np.array([1, 0])
WRONG = [
  ('uint8', np.array([300, 0])),
  ('uint8', np.array([-1, 0])),
  ('uint8', np.array([-1, 0], np.int8)),
  ('uint8', np.array([0.5, 0])),
  ('uint8', np.array([np.nan, 0])),
  ('uint8', np.array([1e30, 0])),
  ('uint8', np.array([256, 0], np.float32)),
  ('int32', np.array([2**31, 0])),
  ('int64', np.array([2**63, 0], np.uint64)),
  ('bool', np.array([2, 0])),
  ('float32', np.array([1e300, 0])),
  ('float32', np.array([2**24 + 1, 0])),
  ('float16', np.array([70000.0, 0])),
  ('float16', np.array([70000, 0])),
  ('float32', np.array([1j, 0])),
  ('uint8', np.array([1j, 0])),
  ('float32', np.array(['1', '2'])),
  ('uint8', np.array([1, None])),
  ('float32', np.array([1, None])),
  ('uint8', np.array([300, 0], object)),
  ('uint8', Tensor([300, 0])),
]


def begin(agent, observation):
  agent.begin_episode(observation)


def step(agent, observation):
  agent.begin_episode(GOOD)
  agent.step(0.0, GOOD)
  agent.step(0.0, observation)


def step_in_evaluation(agent, observation):
  agent.eval_mode = True
  step(agent, observation)


def time_out(agent, observation):
  agent.begin_episode(GOOD)
  agent.step(0.0, GOOD)
  agent.end_episode(0.0, False, observation)


@pytest.mark.parametrize('dtype, observation', WRONG, ids=str)
@pytest.mark.parametrize('give', [begin, step, step_in_evaluation, time_out])
@pytest.mark.filterwarnings(*WARNINGS)
def test_an_observation_that_does_not_fit_is_refused_at_any_time(
  give, dtype, observation
):
  agent = make_agent(observation_dtype=dtype)
  text = rf'SmallAgent\.observation_dtype = {dtype} cannot hold'
  with pytest.raises(ValueError, match=text):
    give(agent, observation)


def test_what_does_not_fit_is_said():
  agent = make_agent()
  text = 'an observation of int64 from -1 to 300, which .* = uint8 cannot hold'
  with pytest.raises(ValueError, match=text):
    step(agent, np.array([-1, 300]))


@pytest.mark.parametrize('cls', [OwnRecord, OwnVerbs, OwnBoth])
@pytest.mark.parametrize('value', [300, -1, 0.5])
def test_subclasses_with_their_own_verbs_are_covered(cls, value):
  agent = make_agent(cls)
  with pytest.raises(ValueError, match='observation_dtype = uint8 cannot hold'):
    step(agent, np.array([value, 0]))


def test_the_last_observation_of_a_subclass_is_covered():
  with pytest.raises(ValueError, match='observation_dtype = uint8 cannot hold'):
    time_out(make_agent(OwnRecord), np.array([300, 0]))


@pytest.mark.parametrize(
  'dtype, observation',
  [
    ('uint8', np.array([255, 0], np.uint8)),
    ('uint8', np.array([255, 0])),
    ('uint8', np.array([255.0, 0.0])),
    ('uint8', [255, 0]),
    ('uint8', np.array([True, False])),
    ('uint8', np.array([255, 0], object)),
    ('uint8', Tensor([255, 0])),
    ('bool', np.array([1, 0])),
    ('int32', np.array([-(2**31), 2**31 - 1])),
    ('float32', np.array([2**24, 0])),
    ('float32', np.array([0.1, -1e-300])),
    ('float32', np.array([np.inf, np.nan])),
    ('float32', np.array([0.1, 1.0], object)),
    ('float32', Tensor([0.1, 1.0])),
    ('float16', np.array([0.1, 65504.0])),
    ('float64', np.array([0.1, 1.0], np.float32)),
    ('float64', np.array([0.1, 1.0])),
  ],
  ids=str,
)
@pytest.mark.parametrize('cls', [SmallAgent, OwnRecord, OwnVerbs])
@pytest.mark.filterwarnings(*WARNINGS)
def test_memory_and_network_have_the_same_numbers(cls, dtype, observation):
  if cls is OwnRecord and isinstance(observation, Tensor):
    pytest.skip('what it records is not for NumPy')
  agent = make_agent(cls, dtype)
  agent.begin_episode(observation)
  agent.step(0.0, observation)
  agent.end_episode(0.0, True)
  expected = np.asarray(observation).astype(dtype)
  stored = agent._replay.memory._store['observation'][1:3]
  for found in (*stored, *np.moveaxis(agent.state[0], -1, 0)):
    assert found.dtype == dtype
    assert_array_equal(found, expected)


def test_a_memory_of_a_wider_dtype_gets_what_the_network_sees():
  class Wide(SmallAgent):
    def _build_replay_buffer(self, use_staging):
      return circular_replay_buffer.WrappedReplayBuffer(
        SHAPE, 2, replay_capacity=50, observation_dtype=np.float64
      )

  agent = make_agent(Wide, 'float32')
  time_out(agent, np.array([0.1, 0.2]))
  stored = agent._replay.memory._store['observation'][3]
  assert_array_equal(stored, np.float32([0.1, 0.2]))
  assert_array_equal(stored, agent.state[0, :, -1])


def test_an_agent_that_keeps_no_array_is_left_alone():
  class Words(SmallAgent):
    def _record_observation(self, observation):
      self._observation = {'text': observation}

    def _store_transition(self, last_observation, *args, **kwargs):
      super()._store_transition(GOOD, *args, **kwargs)

  agent = make_agent(Words)
  agent.begin_episode('north')
  agent.step(0.0, 'south')
  agent.end_episode(0.0, True)
  assert agent._replay.memory.add_count == 3


def test_pixels_are_not_looked_at(monkeypatch):
  agent = make_agent()
  pixels = np.array([255, 0], np.uint8)
  agent.begin_episode(pixels)

  def fail(*args):
    raise AssertionError('pixels were cast')

  monkeypatch.setattr(elements, 'as_stored', fail)
  agent.step(0.0, pixels)
  agent.end_episode(0.0, False, pixels)
  with pytest.raises(AssertionError):
    agent.begin_episode(pixels.astype(np.int64))


def test_tensors_of_tensorflow_are_observations_and_rewards():
  tf = pytest.importorskip('tensorflow')
  agent = make_agent()
  agent.begin_episode(tf.constant([255, 0], tf.uint8))
  agent.step(tf.constant(0.5), tf.constant([1.0, 2.0]))
  agent.end_episode(tf.constant(2.0), False, tf.constant([3, 4]))
  memory = agent._replay.memory
  assert_array_equal(
    memory._store['observation'][1:4], [[255, 0], [1, 2], [3, 4]]
  )
  assert_array_equal(memory._store['reward'][1:3], [0.5, 2.0])
  with pytest.raises(ValueError, match='int32 from 0 to 256'):
    agent.begin_episode(tf.constant([256, 0]))


def test_arrays_of_the_backend_are_observations_and_rewards():
  agent = make_agent()
  convert = keras.ops.convert_to_tensor
  agent.begin_episode(convert(np.uint8([255, 0])))
  agent.step(convert(0.5), convert([1.0, 2.0]))
  with pytest.raises(ValueError, match='from 0.0 to 256.0'):
    agent.step(convert(0.5), convert([256.0, 0.0]))


# The memory by itself ---------------------------------------------------------


def make_memory(cls=circular_replay_buffer.OutOfGraphReplayBuffer, **kwargs):
  return cls(SHAPE, 1, **({'replay_capacity': 10, 'batch_size': 2} | kwargs))


@pytest.mark.parametrize('dtype, observation', WRONG, ids=str)
@pytest.mark.filterwarnings(*WARNINGS)
def test_the_memory_refuses_what_it_would_change(dtype, observation):
  memory = make_memory(observation_dtype=dtype)
  text = rf'add was given observation of .* = {dtype} cannot hold'
  with pytest.raises(ValueError, match=text):
    memory.add(observation, 0, 0.0, False)
  assert memory.is_empty()
  memory.add(GOOD, 0, 0.0, False)
  with pytest.raises(ValueError, match=text):
    memory.add_final_observation(observation)
  assert memory.add_count == 1


def test_the_memory_refuses_actions_and_rewards_that_it_would_change():
  memory = make_memory(reward_dtype=np.int32)
  with pytest.raises(ValueError, match=r'action of float64 .*action_dtype'):
    memory.add(GOOD, 0.5, 0, False)
  with pytest.raises(ValueError, match=r'action of int64 from 2147483648'):
    memory.add(GOOD, np.int64(2**31), 0, False)
  with pytest.raises(ValueError, match=r'reward of float64 .*reward_dtype'):
    memory.add(GOOD, 0, 0.5, False)
  with pytest.raises(OverflowError):
    memory.add(GOOD, 2**31, 0, False)
  assert memory.is_empty()
  memory.add(GOOD, 1.0, np.float32(-3), 1.0)
  assert [int(memory._store[n][0]) for n in ('action', 'reward')] == [1, -3]


def test_a_reward_may_be_rounded():
  memory = make_memory()
  memory.add(GOOD, 0, np.int64(2**24 + 1), False)
  memory.add(GOOD, 0, np.float64(0.1), False)
  assert_array_equal(
    memory._store['reward'][:2], [np.float32(2**24), np.float32(0.1)]
  )


def test_the_memory_takes_tensors():
  memory = make_memory(
    prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer
  )

  class Number(Tensor):
    def __float__(self):
      return float(self._values)

  memory.add(Tensor([1, 2]), Number(1), Number(0.5), Number(True), Number(2.0))
  memory.add(Tensor([3, 4]), 1, 0.5, False, priority=Number(3.0))
  assert_array_equal(memory._store['observation'][:2], [[1, 2], [3, 4]])
  assert_array_equal(memory.get_priority(np.int32([0, 1])), [2, 3])
  assert memory._store['terminal'][0] == 1
