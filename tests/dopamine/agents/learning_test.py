"""Every agent learns a chain to its known values, and Catch.

The same checks must fail when the algorithm is broken on purpose.
"""

import keras
from keras import ops
import numpy as np
import pytest

from dopamine.agents.dqn import dqn_agent
from dopamine.replay_memory import circular_replay_buffer
from tests.dopamine import small

GAMMA = 0.9


def with_replay(cls, capacity):
  """`cls` with a small replay memory."""

  class Agent(cls):
    def _build_replay_buffer(self, use_staging):
      return circular_replay_buffer.WrappedReplayBuffer(
        observation_shape=self.observation_shape,
        stack_size=1,
        replay_capacity=capacity,
        batch_size=32,
        update_horizon=self.update_horizon,
        gamma=self.gamma,
        observation_dtype=np.float32,
      )

  return Agent


def chain_error(cls):
  """The largest error of the values after 3,000 random steps of the chain."""
  agent = with_replay(cls, 1000)(
    num_actions=2,
    observation_shape=(small.Chain.length,),
    observation_dtype=np.float32,
    stack_size=1,
    network=small.Table,
    gamma=GAMMA,
    min_replay_history=100,
    update_period=2,
    target_update_period=50,
    epsilon_fn=dqn_agent.identity_epsilon,
    epsilon_train=1.0,
    optimizer=lambda: keras.optimizers.SGD(3.0),
    seed=0,
  )
  small.run(agent, small.Chain(), 3000)
  states = np.eye(small.Chain.length, dtype=np.float32)[..., None]
  q = np.concatenate([agent._learner.predict(s[None]) for s in states])
  return np.abs(q - small.Chain.values(GAMMA)).max()


def catch_return(cls):
  """The mean return of 100 greedy games of Catch after 6,000 steps."""
  agent = with_replay(cls, 5000)(
    num_actions=3,
    observation_shape=(small.Catch.rows, small.Catch.columns),
    observation_dtype=np.float32,
    stack_size=1,
    network=small.Perceptron50,
    gamma=0.99,
    min_replay_history=100,
    update_period=4,
    target_update_period=100,
    epsilon_fn=dqn_agent.linearly_decaying_epsilon,
    epsilon_decay_period=2000,
    epsilon_train=0.05,
    epsilon_eval=0.0,
    optimizer=lambda: keras.optimizers.Adam(0.003),
    seed=0,
  )
  small.run(agent, small.Catch(seed=1), 6000)
  agent.eval_mode = True
  return np.mean(small.run(agent, small.Catch(seed=2), 500))


def test_dqn_learns_the_values_of_the_chain():
  assert chain_error(dqn_agent.DQNAgent) < 0.02


def test_dqn_learns_catch():
  assert catch_return(dqn_agent.DQNAgent) >= 0.9


class NoDiscount(dqn_agent.DQNAgent):
  """Ends of episodes discount to 0 as they should, other steps not at all."""

  def _build_target_q_op(self, batch):
    discount = ops.cast(batch.discount > 0, 'float32')
    return super()._build_target_q_op(batch._replace(discount=discount))


class NoEnd(dqn_agent.DQNAgent):
  """Bootstraps beyond the ends of episodes."""

  def _build_target_q_op(self, batch):
    discount = ops.full_like(batch.discount, GAMMA)
    return super()._build_target_q_op(batch._replace(discount=discount))


class FrozenTarget(dqn_agent.DQNAgent):
  """Never copies the online network."""

  def _sync_weights(self):
    pass


class WrongSign(dqn_agent.DQNAgent):
  """Subtracts the value of the next state."""

  def _build_target_q_op(self, batch):
    return 2 * batch.reward - super()._build_target_q_op(batch)


class WrongAction(dqn_agent.DQNAgent):
  """Credits the action next to the one taken."""

  def _loss(self, batch):
    action = (batch.action + 1) % self.num_actions
    return super()._loss(batch._replace(action=action))


class SwappedStates(dqn_agent.DQNAgent):
  """Learns the value of the next state from the present one."""

  def _loss(self, batch):
    return super()._loss(
      batch._replace(state=batch.next_state, next_state=batch.state)
    )


@pytest.mark.parametrize(
  'mutant',
  [NoDiscount, NoEnd, FrozenTarget, WrongSign, WrongAction, SwappedStates],
)
def test_a_broken_dqn_fails_the_chain(mutant):
  assert chain_error(mutant) > 0.1
