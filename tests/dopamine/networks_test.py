"""Tests of `dopamine.networks`."""

import keras
from keras import ops
import numpy as np
from numpy.testing import assert_allclose
import pytest

from dopamine import networks
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import gym_lib


def pixels(seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (2, 84, 84, 4)).astype(np.uint8)


def test_nature_network_has_the_published_layers():
  network = networks.NatureDQNNetwork(6, name='Online')
  assert network(pixels()).q_values.shape == (2, 6)
  shapes = [tuple(w.shape) for w in network.weights]
  assert shapes == [
    (8, 8, 4, 32),
    (32,),
    (4, 4, 32, 64),
    (64,),
    (3, 3, 64, 64),
    (64,),
    (11 * 11 * 64, 512),
    (512,),
    (512, 6),
    (6,),
  ]
  assert network.name == 'Online'
  for name in ('conv1', 'conv2', 'conv3', 'dense1', 'dense2', 'flatten'):
    assert hasattr(network, name)
  assert network.conv1.padding == 'same' and network.conv1.strides == (4, 4)
  assert network.num_actions == 6


def test_nature_network_starts_with_glorot_uniform_and_zero_biases():
  network = networks.NatureDQNNetwork(6)
  network(pixels())
  kernel, bias = (np.array(w) for w in network.dense1.get_weights())
  limit = np.sqrt(6 / (7744 + 512))
  assert 0.99 * limit < np.abs(kernel).max() <= limit * (1 + 1e-6)
  assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.01)
  assert not bias.any()


def test_pixels_are_divided_by_255():
  plain = networks.NatureDQNNetwork(6)
  q = plain(pixels()).q_values
  ready = networks.NatureDQNNetwork(6, inputs_preprocessed=True)
  ready(pixels().astype(np.float32))
  ready.set_weights(plain.get_weights())
  assert_allclose(
    ready(pixels().astype(np.float32) / 255).q_values, q, rtol=1e-4, atol=1e-6
  )


def test_rescale_maps_the_range_to_minus_one_and_one():
  low, high = np.array([-2.0, 0.0]), np.array([2.0, 10.0])
  values = np.array([[-2.0, 10.0], [1.0, 5.0]], np.float32)
  assert_allclose(networks.rescale(values, low, high), [[-1, 1], [0.5, 0]])


@pytest.mark.parametrize(
  'network,size',
  [
    (networks.CartpoleDQNNetwork, 4),
    (networks.AcrobotDQNNetwork, 6),
    (networks.LunarLanderDQNNetwork, 8),
    (networks.MountainCarDQNNetwork, 2),
  ],
)
def test_classic_networks_by_hand(network, size):
  online = network(3, name='Online')
  state = np.random.default_rng(0).uniform(-0.5, 0.5, (5, size, 1))
  q = online(state).q_values
  x = state[..., 0]
  if online.min_vals is not None:
    x = 2 * (x - online.min_vals) / (online.max_vals - online.min_vals) - 1
  w = [np.array(v) for v in online.get_weights()]
  assert [v.shape for v in w] == [
    (size, 512),
    (512,),
    (512, 512),
    (512,),
    (512, 3),
    (3,),
  ]
  hidden = np.maximum(np.maximum(x @ w[0] + w[1], 0) @ w[2] + w[3], 0)
  assert_allclose(q, hidden @ w[4] + w[5], atol=1e-5)


def test_basic_network_takes_positional_arguments_and_atoms():
  network = gym_lib.BasicDiscreteDomainNetwork(
    gym_lib.CARTPOLE_MIN_VALS, gym_lib.CARTPOLE_MAX_VALS, 2, 51
  )
  assert network(np.zeros((3, 4, 1))).shape == (3, 102)


def test_classic_control_network_has_the_layers_it_is_told():
  network = networks.ClassicControlDQNNetwork(
    2, num_layers=3, hidden_units=7, min_vals=(-1.0, -1.0), max_vals=(1.0, 1.0)
  )
  assert network(np.zeros((5, 2, 1))).q_values.shape == (5, 2)
  assert [tuple(w.shape) for w in network.weights[::2]] == [
    (2, 7),
    (7, 7),
    (7, 7),
    (7, 2),
  ]


def test_the_original_module_paths_stay():
  assert atari_lib.NatureDQNNetwork is networks.NatureDQNNetwork
  assert atari_lib.DQNNetworkType is networks.DQNNetworkType
  assert gym_lib.CartpoleDQNNetwork is networks.CartpoleDQNNetwork
  with pytest.raises(AttributeError):
    atari_lib.NoSuchNetwork  # noqa: B018


def test_outputs_are_named_tuples():
  outputs = networks.CartpoleDQNNetwork(2)(ops.zeros((1, 4, 1)))
  assert isinstance(outputs, networks.DQNNetworkType)
  assert outputs._fields == ('q_values',)
  assert isinstance(networks.CartpoleDQNNetwork(2), keras.Model)
