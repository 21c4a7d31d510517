"""Every agent learns a chain to its known values, and Catch.

The same checks must fail when the algorithm is broken on purpose.
"""

import functools
from typing import Any, NamedTuple

import keras
from keras import layers
from keras import ops
import numpy as np
import pytest

from dopamine import networks
from dopamine.agents.dqn import dqn_agent
from dopamine.agents.full_rainbow import full_rainbow_agent
from dopamine.agents.implicit_quantile import implicit_quantile_agent
from dopamine.agents.quantile import quantile_agent
from dopamine.agents.rainbow import rainbow_agent
from dopamine.replay_memory import prioritized_replay_buffer
from tests.support import inside
from tests.support import small

pytestmark = pytest.mark.xla

GAMMA = 0.9


# Networks ---------------------------------------------------------------------


class _Outputs(keras.Model):
  """`num_outputs` numbers per action, looked up or from a perceptron."""

  hidden: tuple[int, ...] = ()

  def __init__(self, num_outputs, name=None):
    super().__init__(name=name)
    self.flatten = layers.Flatten()
    self.dense = [layers.Dense(n, activation='relu') for n in self.hidden]
    zeros = {} if self.hidden else {'kernel_initializer': 'zeros'}
    self.last = layers.Dense(num_outputs, **zeros)

  def outputs(self, state):
    x = self.flatten(ops.cast(state, 'float32'))
    for layer in self.dense:
      x = layer(x)
    return self.last(x)


class CategoricalTable(_Outputs):
  """A distribution over atoms that is looked up."""

  def __init__(self, num_actions, num_atoms, support, name=None):
    super().__init__(num_actions * num_atoms, name)
    self.num_actions, self.support = num_actions, support

  def call(self, state):
    return networks.categorical(
      self.outputs(state), self.num_actions, self.support
    )


class CategoricalPerceptron(CategoricalTable):
  hidden = (50,)


class QuantileTable(_Outputs):
  """Quantiles that are looked up."""

  def __init__(self, num_actions, num_atoms, name=None):
    super().__init__(num_actions * num_atoms, name)
    self.num_actions, self.num_atoms = num_actions, num_atoms

  def call(self, state):
    return networks.quantiles(
      self.outputs(state), self.num_actions, self.num_atoms
    )


class QuantilePerceptron(QuantileTable):
  hidden = (50,)


def implicit_quantiles(num_actions, dimension, name=None):
  return networks.ClassicControlImplicitQuantileNetwork(
    num_actions, dimension, name=name, hidden_units=50
  )


full_rainbow = functools.partial(
  networks.ClassicControlFullRainbowNetwork, hidden_units=50
)


# Agents -----------------------------------------------------------------------


class Case(NamedTuple):
  """How an agent learns the two tasks.

  Attributes:
    cls: the agent's class.
    settings: for both tasks.
    table: the network for the chain.
    network: the network for Catch.
    rate: Adam's learning rate for the chain.
  """

  cls: type
  settings: dict[str, Any]
  table: Any
  network: Any
  rate: float


# The chain's values lie in [0, 1], those of Catch in [-1, 1].
_ATOMS = {'num_atoms': 21, 'vmax': 1.0}
_TAU = {
  'num_tau_samples': 8,
  'num_tau_prime_samples': 8,
  'num_quantile_samples': 8,
  'quantile_embedding_dim': 8,
}
CASES = {
  'dqn': Case(dqn_agent.DQNAgent, {}, small.Table, small.Perceptron50, 0.05),
  'double_dqn': Case(
    dqn_agent.DQNAgent,
    {'double_dqn': True, 'replay_scheme': 'prioritized'},
    small.Table,
    small.Perceptron50,
    0.05,
  ),
  'c51': Case(
    rainbow_agent.RainbowAgent,
    {**_ATOMS, 'replay_scheme': 'uniform'},
    CategoricalTable,
    CategoricalPerceptron,
    0.1,
  ),
  'rainbow': Case(
    rainbow_agent.RainbowAgent,
    {**_ATOMS, 'update_horizon': 3},
    CategoricalTable,
    CategoricalPerceptron,
    0.1,
  ),
  'quantile': Case(
    quantile_agent.QuantileAgent,
    {'num_atoms': 11, 'kappa': 0.1},
    QuantileTable,
    QuantilePerceptron,
    0.02,
  ),
  'implicit_quantile': Case(
    implicit_quantile_agent.ImplicitQuantileAgent,
    {**_TAU, 'kappa': 0.1},
    implicit_quantiles,
    implicit_quantiles,
    0.005,
  ),
  'full_rainbow': Case(
    full_rainbow_agent.FullRainbowAgent,
    {**_ATOMS, 'update_horizon': 3},
    full_rainbow,
    full_rainbow,
    0.003,
  ),
}


def make_agent(cls, capacity, **settings):
  """An agent of `cls` with a small replay memory, without a gin file."""

  class Agent(cls):
    def _build_replay_buffer(self, use_staging):
      return prioritized_replay_buffer.WrappedPrioritizedReplayBuffer(
        observation_shape=self.observation_shape,
        stack_size=1,
        replay_capacity=capacity,
        batch_size=32,
        update_horizon=self.update_horizon,
        gamma=self.gamma,
        observation_dtype=np.float32,
      )

  return Agent(
    observation_dtype=np.float32,
    stack_size=1,
    min_replay_history=100,
    seed=0,
    **settings,
  )


def chain_error(case, cls=None):
  """The largest error of the values after 3,000 random steps of the chain."""
  # Actions are random: returns of more than one step are not the policy's.
  settings = case.settings | {'update_horizon': 1}
  agent = make_agent(
    cls or case.cls,
    1000,
    num_actions=2,
    observation_shape=(small.Chain.length,),
    network=case.table,
    gamma=GAMMA,
    update_period=2,
    target_update_period=50,
    epsilon_fn=dqn_agent.identity_epsilon,
    epsilon_train=1.0,
    optimizer=lambda: keras.optimizers.Adam(case.rate),
    **settings,
  )
  small.run(agent, small.Chain(), 3000)
  agent.eval_mode = True
  q = []
  for state in np.eye(small.Chain.length, dtype=np.float32)[..., None]:
    draws = [agent._acting_draws(1) for _ in range(10)]
    q.append(
      np.mean(
        [inside.learner(agent).predict(state[None], *d) for d in draws], axis=0
      )
    )
  return np.abs(np.concatenate(q) - small.Chain.values(GAMMA)).max()


def catch_return(case, cls=None):
  """The mean return of 100 greedy games of Catch after 6,000 steps."""
  agent = make_agent(
    cls or case.cls,
    5000,
    num_actions=3,
    observation_shape=(small.Catch.rows, small.Catch.columns),
    network=case.network,
    gamma=0.99,
    update_period=4,
    target_update_period=100,
    epsilon_fn=dqn_agent.linearly_decaying_epsilon,
    epsilon_decay_period=2000,
    epsilon_train=0.05,
    epsilon_eval=0.0,
    optimizer=lambda: keras.optimizers.Adam(0.003),
    **case.settings,
  )
  small.run(agent, small.Catch(seed=1), 6000)
  agent.eval_mode = True
  return np.mean(small.run(agent, small.Catch(seed=2), 500))


# The exact updates are tested under both; what they add up to, under JAX, and
# two agents' under TensorFlow: with uniform and with prioritised replay.
LEARNED = CASES if keras.config.backend() == 'jax' else ('dqn', 'rainbow')


@pytest.mark.parametrize('name', LEARNED)
def test_learns_the_values_of_the_chain(name):
  assert chain_error(CASES[name]) < 0.05


@pytest.mark.parametrize('name', LEARNED)
def test_learns_catch(name):
  assert catch_return(CASES[name]) >= 0.9


# Mutants ----------------------------------------------------------------------


def _no_discount(batch):
  """Ends of episodes discount to 0 as they should, other steps not at all."""
  discount = ops.cast(batch.discount > 0, 'float32')
  return batch._replace(discount=discount)


def _no_end(batch):
  """Bootstraps beyond the ends of episodes."""
  return batch._replace(discount=ops.full_like(batch.discount, GAMMA))


def _wrong_sign(batch):
  """Subtracts the value of the next state."""
  return batch._replace(discount=-batch.discount)


def _wrong_action(batch):
  """Credits the action next to the one taken."""
  return batch._replace(action=1 - batch.action)


def _swapped_states(batch):
  """Learns the value of the next state from the present one."""
  return batch._replace(state=batch.next_state, next_state=batch.state)


MUTATIONS = (
  _no_discount,
  _no_end,
  _wrong_sign,
  _wrong_action,
  _swapped_states,
)


def broken(cls, mutation):
  """`cls`, whose loss sees mutated batches."""

  class Broken(cls):
    def _loss(self, batch):
      return super()._loss(mutation(batch))

  return Broken


class FrozenTarget(dqn_agent.DQNAgent):
  """Never copies the online network."""

  def _sync_weights(self):
    pass


# The exact updates refuse these mutations too, in far less time.
@pytest.mark.slow
@pytest.mark.parametrize('mutation', MUTATIONS)
def test_a_broken_dqn_fails_the_chain(mutation):
  case = CASES['dqn']
  assert chain_error(case, broken(case.cls, mutation)) > 0.1


def test_a_frozen_target_fails_the_chain():
  assert chain_error(CASES['dqn'], FrozenTarget) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
  ('name', 'mutation'),
  [
    ('double_dqn', _no_end),
    ('c51', _wrong_sign),
    ('rainbow', _no_discount),
    ('quantile', _swapped_states),
    ('implicit_quantile', _wrong_sign),
    ('full_rainbow', _wrong_action),
  ],
)
def test_a_broken_agent_fails_the_chain(name, mutation):
  case = CASES[name]
  assert chain_error(case, broken(case.cls, mutation)) > 0.1
