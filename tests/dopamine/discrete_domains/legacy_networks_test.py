"""The functions answer as the networks do that they make."""

import keras
import numpy as np
import pytest

from dopamine import networks
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import legacy_networks

SUPPORT = np.linspace(-1.0, 1.0, 5, dtype=np.float32)
BOX = gym_lib.CARTPOLE_MIN_VALS, gym_lib.CARTPOLE_MAX_VALS
DQN, RAINBOW, IQN = (
  networks.DQNNetworkType,
  networks.RainbowNetworkType,
  networks.ImplicitQuantileNetworkType,
)


@pytest.mark.parametrize(
  'function, arguments, shape, network_type, keywords, expected',
  [
    ('nature_dqn_network', (3,), (12, 12, 4), DQN, {}, (2, 3)),
    ('rainbow_network', (3, 5, SUPPORT), (12, 12, 4), RAINBOW, {}, (2, 3)),
    (
      'implicit_quantile_network',
      (3, 6),
      (12, 12, 4),
      IQN,
      {'num_quantiles': 7},
      (14, 3),
    ),
    ('cartpole_dqn_network', (3,), (4, 1), DQN, {}, (2, 3)),
    ('acrobot_dqn_network', (3,), (6, 1), DQN, {}, (2, 3)),
    ('cartpole_fourier_dqn_network', (3,), (4, 1), DQN, {}, (2, 3)),
    ('acrobot_fourier_dqn_network', (3,), (6, 1), DQN, {}, (2, 3)),
    ('cartpole_rainbow_network', (3, 5, SUPPORT), (4, 1), RAINBOW, {}, (2, 3)),
    ('acrobot_rainbow_network', (3, 5, SUPPORT), (6, 1), RAINBOW, {}, (2, 3)),
    ('_basic_discrete_domain_network', (*BOX, 3), (4, 1), None, {}, (2, 3)),
    ('fourier_dqn_network', (*BOX, 3), (4, 1), None, {}, (2, 3)),
  ],
)
def test_each_function(
  function, arguments, shape, network_type, keywords, expected
):
  state = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
  types = () if network_type is None else (network_type,)
  outputs = getattr(legacy_networks, function)(
    *arguments, *types, state, **keywords
  )
  if network_type is None:
    assert tuple(outputs.shape) == expected
  else:
    assert type(outputs) is network_type
    assert tuple(outputs[0].shape) == expected


def test_a_model_of_one_keeps_its_weights():
  inputs = keras.Input((12, 12, 4))
  outputs = legacy_networks.nature_dqn_network(3, DQN, inputs)
  model = keras.Model(inputs, outputs.q_values)
  network = networks.NatureDQNNetwork(3)
  state = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 4))
  network(state)
  model.set_weights(network.get_weights())
  np.testing.assert_allclose(
    model(state.astype(np.float32)), network(state).q_values, atol=1e-6
  )


def test_variables_by_their_names_of_old():
  network = networks.NatureDQNNetwork(3, name='Online')
  network(np.zeros((1, 12, 12, 4), np.uint8))
  rename = atari_lib.maybe_transform_variable_names
  assert rename(network.weights) is None
  names = rename(network.weights[:2], legacy_checkpoint_load=True)
  assert list(names) == ['Online/Conv/weights', 'Online/Conv/biases']
  assert names['Online/Conv/biases'] is network.weights[1]
