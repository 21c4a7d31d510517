"""Classes as users had them for Dopamine 3.2.1."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dopamine.agents.dqn import dqn_agent
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import gym_lib
from dopamine.replay_memory import circular_replay_buffer

CARTPOLE = dict(
  observation_shape=gym_lib.CARTPOLE_OBSERVATION_SHAPE,
  observation_dtype=gym_lib.CARTPOLE_OBSERVATION_DTYPE,
  stack_size=gym_lib.CARTPOLE_STACK_SIZE,
  min_replay_history=20,
)


class ExtraStorageAgent(dqn_agent.DQNAgent):
  def __init__(self, sess, num_actions, summary_writer=None):
    super().__init__(
      sess,
      num_actions,
      network=gym_lib.CartpoleDQNNetwork,
      summary_writer=summary_writer,
      **CARTPOLE,
    )

  def _build_replay_buffer(self, use_staging):
    return circular_replay_buffer.WrappedReplayBuffer(
      observation_shape=self.observation_shape,
      stack_size=self.stack_size,
      use_staging=use_staging,
      update_horizon=self.update_horizon,
      gamma=self.gamma,
      observation_dtype=self.observation_dtype.as_numpy_dtype,
      extra_storage_types=[
        circular_replay_buffer.ReplayElement('surprise', (), np.float32)
      ],
    )

  def _store_transition(self, last_observation, action, reward, is_terminal):
    self._replay.add(last_observation, action, reward, is_terminal, reward / 2)


class FlaxDQNNetwork(nn.Module):
  """As written for 3.2.1: of one state."""

  num_actions: int

  @nn.compact
  def __call__(self, x):
    initializer = nn.initializers.xavier_uniform()
    x = x.astype(jnp.float32)
    x = x.reshape(-1)  # flatten
    x = nn.Dense(features=32, kernel_init=initializer)(x)
    x = nn.relu(x)
    q_values = nn.Dense(features=self.num_actions, kernel_init=initializer)(x)
    return atari_lib.DQNNetworkType(q_values)


class FlaxRainbowNetwork(nn.Module):
  num_actions: int
  num_atoms: int

  @nn.compact
  def __call__(self, x, support):
    x = x.astype(jnp.float32).reshape(-1)
    x = nn.relu(nn.Dense(features=32)(x))
    x = nn.Dense(features=self.num_actions * self.num_atoms)(x)
    logits = x.reshape((self.num_actions, self.num_atoms))
    probabilities = nn.softmax(logits)
    q_values = jnp.sum(support * probabilities, axis=1)
    return atari_lib.RainbowNetworkType(q_values, logits, probabilities)


class FlaxQuantileNetwork(nn.Module):
  num_actions: int
  num_atoms: int

  @nn.compact
  def __call__(self, x):
    x = x.astype(jnp.float32).reshape(-1)
    x = nn.relu(nn.Dense(features=32)(x))
    x = nn.Dense(features=self.num_actions * self.num_atoms)(x)
    logits = x.reshape((self.num_actions, self.num_atoms))
    return atari_lib.RainbowNetworkType(
      jnp.mean(logits, axis=1), logits, nn.softmax(logits)
    )


class FlaxIQNNetwork(nn.Module):
  num_actions: int
  quantile_embedding_dim: int

  @nn.compact
  def __call__(self, x, num_quantiles, rng):
    x = x.astype(jnp.float32).reshape(-1)
    x = nn.relu(nn.Dense(features=32)(x))
    state_net_tiled = jnp.tile(x, [num_quantiles, 1])
    quantiles = jax.random.uniform(rng, shape=[num_quantiles, 1])
    i = jnp.arange(1, self.quantile_embedding_dim + 1, dtype=jnp.float32)
    embedding = jnp.cos(i * np.pi * quantiles)
    embedding = nn.relu(nn.Dense(features=32)(embedding))
    x = state_net_tiled * embedding
    quantile_values = nn.Dense(features=self.num_actions)(x)
    return atari_lib.ImplicitQuantileNetworkType(quantile_values, quantiles)


FLAX = {
  'dqn': ('JaxDQNAgent', FlaxDQNNetwork, {}),
  'rainbow': ('JaxRainbowAgent', FlaxRainbowNetwork, {'num_atoms': 5}),
  'quantile': ('JaxQuantileAgent', FlaxQuantileNetwork, {'num_atoms': 5}),
  'implicit_quantile': (
    'JaxImplicitQuantileAgent',
    FlaxIQNNetwork,
    {'quantile_embedding_dim': 8, 'num_quantile_samples': 4},
  ),
}


def flax_agent(name, **kwargs):
  cls, network, settings = FLAX[name]
  module = pytest.importorskip(f'dopamine.jax.agents.{name}.{name}_agent')
  settings = dict(CARTPOLE, network=network, seed=4) | settings | kwargs
  return getattr(module, cls)(2, **settings)
