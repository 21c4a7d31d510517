"""Small DQN agents, their weights, and what they write."""

import numpy as np

from dopamine.agents.dqn import dqn_agent
from dopamine.replay_memory import circular_replay_buffer
from tests.support import small


class Recorder:
  """A summary writer that keeps what it is given."""

  def __init__(self):
    self.scalars = []

  def add_scalar(self, tag, value, step):
    self.scalars.append((tag, value, step))


class SmallReplayAgent(dqn_agent.DQNAgent):
  """A DQN agent with a replay memory of 100 transitions."""

  def _build_replay_buffer(self, use_staging):
    return circular_replay_buffer.WrappedReplayBuffer(
      observation_shape=self.observation_shape,
      stack_size=self.stack_size,
      replay_capacity=100,
      batch_size=4,
      update_horizon=self.update_horizon,
      gamma=self.gamma,
      observation_dtype=self.observation_dtype,
    )


def make_agent(cls=SmallReplayAgent, **kwargs):
  settings = dict(
    num_actions=small.NUM_ACTIONS,
    observation_shape=small.OBSERVATION_SHAPE,
    observation_dtype=np.float64,
    stack_size=1,
    network=small.Perceptron,
    gamma=0.9,
    seed=1,
  )
  return cls(**(settings | kwargs))


def weights(network):
  return [np.array(w) for w in network.get_weights()]


def perturb(network, seed=5):
  rng = np.random.default_rng(seed)
  network.set_weights(
    [w + 0.1 * rng.normal(size=w.shape) for w in network.get_weights()]
  )
