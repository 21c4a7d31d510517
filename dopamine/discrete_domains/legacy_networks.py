"""The networks as functions of a state, as they were until Dopamine 2.

Each call makes a new network, with weights of its own. Code that wants to keep
one makes a model of it:

    inputs = keras.Input((84, 84, 4))
    outputs = nature_dqn_network(num_actions, DQNNetworkType, inputs)
    model = keras.Model(inputs, outputs.q_values)

What `network` of an agent is, says docs/extending.md.
"""

import gin

from dopamine import networks


def nature_dqn_network(num_actions, network_type, state):
  """`network_type` of the `q_values` `[B, A]` of pixels `[B, 84, 84, 4]`."""
  return network_type(networks.NatureDQNNetwork(num_actions)(state).q_values)


def rainbow_network(num_actions, num_atoms, support, network_type, state):
  """`network_type` of what `networks.RainbowNetwork` returns."""
  network = networks.RainbowNetwork(num_actions, num_atoms, support)
  return network_type(*network(state))


def implicit_quantile_network(
  num_actions, quantile_embedding_dim, network_type, state, num_quantiles
):
  """`network_type` of what `networks.ImplicitQuantileNetwork` returns."""
  network = networks.ImplicitQuantileNetwork(
    num_actions, quantile_embedding_dim
  )
  return network_type(*network(state, num_quantiles=num_quantiles))


@gin.configurable
def _basic_discrete_domain_network(
  min_vals, max_vals, num_actions, state, num_atoms=None
):
  """`[B, A]`, or `[B, A * num_atoms]`, of observations."""
  return networks.BasicDiscreteDomainNetwork(
    min_vals, max_vals, num_actions, num_atoms
  )(state)


@gin.configurable
def fourier_dqn_network(
  min_vals, max_vals, num_actions, state, fourier_basis_order=3
):
  """`[B, A]` of observations, linear in their Fourier basis."""
  return networks.FourierDQNNetwork(
    min_vals, max_vals, num_actions, fourier_basis_order
  )(state)


@gin.configurable
def cartpole_dqn_network(num_actions, network_type, state):
  """`network_type` of the `q_values` of CartPole's observations."""
  return network_type(networks.CartpoleDQNNetwork(num_actions)(state).q_values)


@gin.configurable
def acrobot_dqn_network(num_actions, network_type, state):
  """`network_type` of the `q_values` of Acrobot's observations."""
  return network_type(networks.AcrobotDQNNetwork(num_actions)(state).q_values)


def cartpole_fourier_dqn_network(num_actions, network_type, state):
  """`cartpole_dqn_network`, linear in the Fourier basis."""
  network = networks.CartpoleFourierDQNNetwork(num_actions)
  return network_type(network(state).q_values)


@gin.configurable
def acrobot_fourier_dqn_network(num_actions, network_type, state):
  """`acrobot_dqn_network`, linear in the Fourier basis."""
  network = networks.AcrobotFourierDQNNetwork(num_actions)
  return network_type(network(state).q_values)


@gin.configurable
def cartpole_rainbow_network(
  num_actions, num_atoms, support, network_type, state
):
  """`network_type` of what `networks.CartpoleRainbowNetwork` returns."""
  network = networks.CartpoleRainbowNetwork(num_actions, num_atoms, support)
  return network_type(*network(state))


@gin.configurable
def acrobot_rainbow_network(
  num_actions, num_atoms, support, network_type, state
):
  """`network_type` of what `networks.AcrobotRainbowNetwork` returns."""
  network = networks.AcrobotRainbowNetwork(num_actions, num_atoms, support)
  return network_type(*network(state))
