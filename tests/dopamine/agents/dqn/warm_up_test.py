"""Training starts once there is something to learn from, and says if not."""

import functools

import gin
import keras
import numpy as np
import pytest

from dopamine.agents import replay_agent
from dopamine.agents.dqn import dqn_agent
from dopamine.agents.full_rainbow import full_rainbow_agent
from dopamine.agents.implicit_quantile import implicit_quantile_agent
from dopamine.agents.quantile import quantile_agent
from dopamine.agents.rainbow import rainbow_agent
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import prioritized_replay_buffer
from tests.support import small

AGENTS = (
  dqn_agent.DQNAgent,
  rainbow_agent.RainbowAgent,
  implicit_quantile_agent.ImplicitQuantileAgent,
  quantile_agent.QuantileAgent,
  full_rainbow_agent.FullRainbowAgent,
)


@pytest.fixture(autouse=True)
def small_replay():
  gin.clear_config()
  gin.bind_parameter('OutOfGraphReplayBuffer.replay_capacity', 100)
  gin.bind_parameter('OutOfGraphReplayBuffer.batch_size', 4)
  yield
  gin.clear_config()


class Sampler:
  """A learner that only counts: what it is asked to do is of no account."""

  def __init__(self, prioritized):
    self.batches, self.syncs = [], 0
    self.prioritized = prioritized

  def update(self, batches):
    self.batches.append(batches)
    size = batches.action.shape
    return type(
      'Update',
      (),
      dict(
        priorities=np.ones(size, np.float32) if self.prioritized else None,
        objective=np.zeros(size[:1]),
        extras={},
        figures={},
      ),
    )

  def predict(self, *args):
    return np.zeros(2)

  def sync_target(self):
    self.syncs += 1


def make_agent(cls=dqn_agent.DQNAgent, stack_size=1, **kwargs):
  """An agent as new that learns nothing; networks take a while to build."""
  agent = built(cls, stack_size, **kwargs)
  agent.training_steps = 0
  agent._replay = agent._make_replay(False)
  agent._learner = Sampler(agent._replay_scheme == 'prioritized')
  return agent


@functools.cache
def built(cls, stack_size, **kwargs):
  settings = dict(
    num_actions=2,
    observation_shape=(6, 6),
    observation_dtype=np.uint8,
    stack_size=stack_size,
    min_replay_history=0,
    update_period=1,
    target_update_period=5,
    seed=1,
  )
  if cls is dqn_agent.DQNAgent:
    settings['network'] = small.Perceptron
  return cls(**(settings | kwargs))


OBSERVATION = np.zeros((6, 6), np.uint8)


def episode(agent, steps, terminal=True, observation=None):
  agent.begin_episode(OBSERVATION)
  for _ in range(steps - 1):
    agent.step(0.0, OBSERVATION)
  agent.end_episode(0.0, terminal, observation)


@pytest.mark.parametrize(
  'cls, scheme, stack_size, n',
  [
    (dqn_agent.DQNAgent, scheme, stack_size, n)
    for scheme in ('uniform', 'prioritized')
    for stack_size, n in ((1, 1), (4, 1), (1, 3), (4, 3))
  ]
  + [(cls, 'prioritized', 4, 3) for cls in AGENTS[1:]],
)
def test_no_history_at_all_starts_as_soon_as_possible(
  cls, scheme, stack_size, n
):
  agent = make_agent(cls, stack_size, update_horizon=n, replay_scheme=scheme)
  first = None
  agent.begin_episode(OBSERVATION)
  for t in range(1, 20):
    agent.step(0.0, OBSERVATION)
    if agent._learner.batches and first is None:
      first = t
  # Transition 0 needs n steps and the observation after them, which is stored
  # with the step that follows.
  assert first == n + 1
  assert len(agent._learner.batches) == 20 - first
  assert agent.training_steps == 20


@pytest.mark.parametrize('scheme', ['uniform', 'prioritized'])
@pytest.mark.parametrize('stack_size, n', [(1, 1), (4, 1), (1, 3), (4, 3)])
@pytest.mark.parametrize(
  'terminal, observation', [(True, None), (False, OBSERVATION)]
)
def test_episodes_of_one_step(scheme, stack_size, n, terminal, observation):
  agent = make_agent(
    stack_size=stack_size, update_horizon=n, replay_scheme=scheme
  )
  for _ in range(30):
    episode(agent, 1, terminal, observation)
  assert len(agent._learner.batches) >= 30 - n - 2
  for batches in agent._learner.batches:
    assert batches.terminal.all() == terminal


@pytest.mark.parametrize('scheme', ['uniform', 'prioritized'])
def test_first_episodes_that_were_cut_too_early_are_waited_for(scheme):
  agent = make_agent(update_horizon=3, replay_scheme=scheme)
  for _ in range(10):  # Nobody sees what came next: none is whole.
    episode(agent, 3, terminal=False)
  assert agent._replay.memory.add_count == 30
  assert not agent._learner.batches
  episode(agent, 8)
  episode(agent, 8)
  assert len(agent._learner.batches) >= 8
  starts = [b.indices.min() for b in agent._learner.batches]
  assert min(starts) == 30


def test_abandoned_episodes_are_waited_for():
  agent = make_agent(update_horizon=2)
  for _ in range(5):
    agent.begin_episode(OBSERVATION)
    agent.step(0.0, OBSERVATION)
  episode(agent, 6)
  assert agent._learner.batches


def test_a_history_below_the_horizon_is_not_too_short():
  agent = make_agent(update_horizon=5, min_replay_history=2)
  episode(agent, 20)
  assert len(agent._learner.batches) == 20 - 6


def test_priorities_of_zero_are_waited_for():
  class Zero(dqn_agent.DQNAgent):
    def _store_transition(self, *args, **kwargs):
      priority = float(self.training_steps > 10)
      super()._store_transition(*args, priority=priority, **kwargs)

  agent = make_agent(
    Zero, network=small.Perceptron, replay_scheme='prioritized'
  )
  episode(agent, 20)
  assert 5 <= len(agent._learner.batches) < 10


@pytest.mark.parametrize('scheme', ['uniform', 'prioritized'])
def test_where_nothing_can_ever_be_sampled_it_is_said(scheme, monkeypatch):
  monkeypatch.setattr(replay_agent, '_PATIENCE', 50)
  agent = make_agent(update_horizon=3, replay_scheme=scheme)
  with pytest.raises(RuntimeError) as error:
    for _ in range(100):
      episode(agent, 3, terminal=False)
  assert agent._replay.memory.add_count == 51
  assert 'min_replay_history' not in str(error.value)
  if scheme == 'uniform':
    assert 'Where an episode was cut' in str(error.value)


def test_a_history_that_holds_nothing_is_not_waited_for_beyond_that():
  agent = make_agent(update_horizon=3, min_replay_history=50)
  agent._replay.memory.add_count += 5000  # As if 50 times full.
  with pytest.raises(RuntimeError, match='Max sample attempts'):
    for _ in range(40):
      episode(agent, 3, terminal=False)


def test_a_memory_that_is_too_small_for_a_transition_is_named():
  gin.bind_parameter('OutOfGraphReplayBuffer.replay_capacity', 7)
  agent = make_agent(stack_size=4, update_horizon=3)
  with pytest.raises(
    RuntimeError,
    match='replay_capacity=7 never .* more than stack_size=4 plus '
    'update_horizon=3',
  ):
    episode(agent, 20)


def test_too_early_a_sample_is_told_no_circle():
  memory = circular_replay_buffer.OutOfGraphReplayBuffer(
    (2,), 1, replay_capacity=10
  )
  memory.add(np.zeros(2, np.uint8), 0, 0.0, False)
  with pytest.raises(
    circular_replay_buffer.NothingToSampleError, match='Add more'
  ) as error:
    memory.sample_transition_batch()
  assert 'min_replay_history' not in str(error.value)


def test_epsilon_is_as_before():
  seen = []

  def epsilon_fn(decay_period, step, warmup_steps, epsilon):
    seen.append((step, warmup_steps))
    return epsilon

  agent = make_agent(epsilon_fn=epsilon_fn)
  episode(agent, 3)
  assert seen == [(1, 0), (2, 0), (3, 0)]


def test_an_error_of_ones_own_memory_is_not_hidden():
  class Own(dqn_agent.DQNAgent):
    def _sample_batches(self, num_batches):
      raise RuntimeError('the disk is gone')

  agent = make_agent(Own, network=small.Perceptron)
  with pytest.raises(RuntimeError, match='the disk is gone'):
    episode(agent, 20)


def test_a_real_learner_starts_from_nothing():
  agent = dqn_agent.DQNAgent(
    num_actions=2,
    observation_shape=(6, 6),
    stack_size=2,
    network=small.Perceptron,
    min_replay_history=0,
    update_period=1,
    optimizer=lambda: keras.optimizers.SGD(0.1),
    seed=1,
  )
  before = [np.array(w) for w in agent.online_convnet.get_weights()]
  agent.begin_episode(OBSERVATION + 1)
  for _ in range(6):
    agent.step(1.0, OBSERVATION + 1)
  after = agent.online_convnet.get_weights()
  assert any((a != b).any() for a, b in zip(before, after, strict=True))


def test_an_empty_tree_is_nothing_to_sample():
  memory = prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer(
    (2,), 1, replay_capacity=10
  )
  for _ in range(5):
    memory.add(np.zeros(2, np.uint8), 0, 0.0, False, priority=0.0)
  with pytest.raises(
    circular_replay_buffer.NothingToSampleError, match='empty sum tree'
  ):
    memory.sample_transition_batch()
