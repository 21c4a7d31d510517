"""Tests of `dopamine.networks`."""

import functools
import itertools

import gin
from gymnasium import spaces
import keras
from keras import ops
import numpy as np
from numpy.testing import assert_allclose
from numpy.testing import assert_array_equal
import pytest

from dopamine import networks
from dopamine.agents.dqn import dqn_agent
from dopamine.agents.full_rainbow import full_rainbow_agent
from dopamine.agents.implicit_quantile import implicit_quantile_agent
from dopamine.agents.quantile import quantile_agent
from dopamine.agents.rainbow import rainbow_agent
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import gym_lib

SUPPORT = np.linspace(-10.0, 10.0, 51)  # float64, as a user may well pass it.
MAKE = {
  'dqn': functools.partial(networks.NatureDQNNetwork, 6),
  'rainbow': functools.partial(networks.RainbowNetwork, 6, 51, SUPPORT),
  'quantile': functools.partial(networks.QuantileNetwork, 6, 200),
  'implicit_quantile': functools.partial(
    networks.ImplicitQuantileNetwork, 6, 64
  ),
  'full_rainbow': functools.partial(
    networks.FullRainbowNetwork, 6, 51, SUPPORT
  ),
  'full_rainbow_plain': functools.partial(
    networks.FullRainbowNetwork, 6, 51, SUPPORT, noisy=False, dueling=False
  ),
  'full_rainbow_q': functools.partial(
    networks.FullRainbowNetwork, 6, 51, SUPPORT, distributional=False
  ),
}
NUM_QUANTILES = 4


def call(network, state):
  if 'Implicit' in type(network).__name__:
    return network(state, num_quantiles=NUM_QUANTILES)
  return network(state)


@functools.cache
def nature(name):
  """A network of `MAKE` and what it returns of two states."""
  network = MAKE[name](name='Online')
  return network, call(network, pixels())


def pixels(seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (2, 84, 84, 4)).astype(np.uint8)


def test_nature_network_has_the_published_layers():
  network, outputs = nature('dqn')
  assert outputs.q_values.shape == (2, 6)
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
  network, _ = nature('dqn')
  kernel, bias = (np.array(w) for w in network.dense1.get_weights())
  limit = np.sqrt(6 / (7744 + 512))
  assert 0.99 * limit < np.abs(kernel).max() <= limit * (1 + 1e-6)
  assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.01)
  assert not bias.any()


@pytest.mark.parametrize('name', MAKE)
def test_pixels_are_divided_by_255(name):
  plain, _ = nature(name)
  ready = MAKE[name](inputs_preprocessed=True)
  ready.features(np.zeros((2, 84, 84, 4), np.float32))
  for layer in ('conv1', 'conv2', 'conv3'):
    weights = getattr(plain, layer).get_weights()
    getattr(ready, layer).set_weights(weights)
  assert_allclose(
    ready.features(pixels().astype(np.float32) / 255),
    plain.features(pixels()),
    rtol=1e-4,
    atol=1e-6,
  )


def test_rescale_maps_the_range_to_minus_one_and_one():
  low, high = np.array([-2.0, 0.0]), np.array([2.0, 10.0])
  values = np.array([[-2.0, 10.0], [1.0, 5.0]], np.float32)
  assert_allclose(networks.rescale(values, low, high), [[-1, 1], [0.5, 0]])


def test_rescale_is_the_same_to_the_last_bit_where_all_have_ranges():
  low, high = (
    np.asarray(v, np.float32)
    for v in (gym_lib.CARTPOLE_MIN_VALS, gym_lib.CARTPOLE_MAX_VALS)
  )
  values = np.random.default_rng(0).uniform(-5, 5, (9, 4)).astype(np.float32)
  found = networks.rescale(
    values, gym_lib.CARTPOLE_MIN_VALS, gym_lib.CARTPOLE_MAX_VALS
  )
  assert_array_equal(found, 2.0 * (values - low) / (high - low) - 1.0)


def test_rescale_leaves_what_has_no_range():
  # 0..10; none; half of one; the largest floats; 0..1e6, 0..1e6 - 1; empty.
  low = np.array([0, -np.inf, 0, -3e38, 0, 0, 5], np.float32)
  high = np.array([10, np.inf, np.inf, 3e38, 1e6, 999999, 5], np.float32)
  values = np.array([[2.5, 7, 8, -9, 3, 999999, 5]], np.float32)
  found = networks.rescale(values, low, high)
  assert_array_equal(found, [[-0.5, 7, 8, -9, 3, 1, 5]])


def test_every_observation_of_a_stack_is_rescaled():
  network = networks.BasicDiscreteDomainNetwork(
    (0.0, 0.0), (10.0, 100.0), num_actions=None, num_layers=0
  )
  # Two numbers, three times each: 0..10 and 0..100 become -1..1.
  state = np.array([[[0, 5, 10], [0, 25, 100]]])
  assert_allclose(network(state), [[-1, 0, 1, -1, -0.5, 1]])


def test_the_trunk_takes_colours_as_channels():
  rng = np.random.default_rng(0)
  state = rng.integers(0, 256, (2, 36, 40, 3, 2)).astype(np.uint8)
  merged = np.zeros((2, 36, 40, 6), np.uint8)
  for colour in range(3):
    for i in range(2):
      merged[..., 2 * colour + i] = state[..., colour, i]
  network = networks.NatureDQNNetwork(4)
  q = network(state).q_values
  assert network.conv1.kernel.shape == (8, 8, 6, 32)
  assert_allclose(q, network(merged).q_values, rtol=1e-5, atol=1e-6)


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


@pytest.mark.parametrize(
  'module,name',
  [
    (atari_lib, 'DQNNetworkType'),
    (atari_lib, 'RainbowNetworkType'),
    (atari_lib, 'ImplicitQuantileNetworkType'),
    (atari_lib, 'NatureDQNNetwork'),
    (atari_lib, 'RainbowNetwork'),
    (atari_lib, 'ImplicitQuantileNetwork'),
    (gym_lib, 'BasicDiscreteDomainNetwork'),
    (gym_lib, 'CartpoleDQNNetwork'),
    (gym_lib, 'CartpoleRainbowNetwork'),
    (gym_lib, 'AcrobotDQNNetwork'),
    (gym_lib, 'AcrobotRainbowNetwork'),
    (gym_lib, 'LunarLanderDQNNetwork'),
    (gym_lib, 'MountainCarDQNNetwork'),
    (gym_lib, 'FourierBasis'),
    (gym_lib, 'FourierDQNNetwork'),
    (gym_lib, 'CartpoleFourierDQNNetwork'),
    (gym_lib, 'AcrobotFourierDQNNetwork'),
  ],
)
def test_the_original_module_paths_stay(module, name):
  assert getattr(module, name) is getattr(networks, name)


@pytest.mark.parametrize('module', [atari_lib, gym_lib])
def test_other_names_are_no_attributes(module):
  for name in ('NoSuchNetwork', 'QuantileNetwork', 'keras'):
    with pytest.raises(AttributeError, match=f'no attribute {name!r}'):
      getattr(module, name)


def test_outputs_are_named_tuples():
  outputs = networks.CartpoleDQNNetwork(2)(ops.zeros((1, 4, 1)))
  assert isinstance(outputs, networks.DQNNetworkType)
  assert outputs._fields == ('q_values',)
  assert isinstance(networks.CartpoleDQNNetwork(2), keras.Model)


# Distributional agents: what the networks return ------------------------------

C51 = networks.RainbowNetworkType
IQN = networks.ImplicitQuantileNetworkType
DQN = networks.DQNNetworkType


@pytest.mark.parametrize(
  'name,kind,shapes',
  [
    ('dqn', DQN, [(2, 6)]),
    ('rainbow', C51, [(2, 6), (2, 6, 51), (2, 6, 51)]),
    ('quantile', C51, [(2, 6), (2, 6, 200), (2, 6, 200)]),
    ('implicit_quantile', IQN, [(8, 6), (8, 1)]),
    ('full_rainbow', C51, [(2, 6), (2, 6, 51), (2, 6, 51)]),
    ('full_rainbow_plain', C51, [(2, 6), (2, 6, 51), (2, 6, 51)]),
    ('full_rainbow_q', DQN, [(2, 6)]),
  ],
)
def test_what_the_nature_networks_return(name, kind, shapes):
  network, outputs = nature(name)
  assert type(outputs) is kind
  assert [tuple(x.shape) for x in outputs] == shapes
  for x in outputs:
    assert keras.backend.standardize_dtype(x.dtype) == 'float32'
    assert np.isfinite(np.asarray(x)).all()
  assert isinstance(network, keras.Model) and network.name == 'Online'


def test_the_fields_are_those_of_the_original():
  assert C51._fields == ('q_values', 'logits', 'probabilities')
  assert IQN._fields == ('quantile_values', 'quantiles')


@pytest.mark.parametrize('name', MAKE)
def test_the_nature_networks_have_the_attributes_of_the_original(name):
  network, _ = nature(name)
  convolutions = (network.conv1, network.conv2, network.conv3)
  assert [c.filters for c in convolutions] == [32, 64, 64]
  assert [c.kernel_size for c in convolutions] == [(8, 8), (4, 4), (3, 3)]
  assert [c.strides for c in convolutions] == [(4, 4), (2, 2), (1, 1)]
  for convolution in convolutions:
    assert convolution.padding == 'same'
    assert convolution.activation is keras.activations.relu
    assert convolution.name == 'Conv'
  assert isinstance(network.flatten, keras.layers.Flatten)
  assert network.num_actions == 6
  if not name.startswith('full'):
    assert network.dense1.units == 512
    assert network.dense1.activation is keras.activations.relu
    assert network.dense2.activation is keras.activations.linear
    assert network.dense1.name == network.dense2.name == 'fully_connected'


# Of the weights: 8 x 8 x 4 + 1 for each of 32 filters, 4 x 4 x 32 + 1 for 64,
# 3 x 3 x 64 + 1 for 64.
TRUNK = 257 * 32 + 513 * 64 + 577 * 64
HIDDEN = (11 * 11 * 64 + 1) * 512


@pytest.mark.parametrize(
  'name,count',
  [
    ('dqn', TRUNK + HIDDEN + 513 * 6),
    ('rainbow', TRUNK + HIDDEN + 513 * 6 * 51),
    ('quantile', TRUNK + HIDDEN + 513 * 6 * 200),
    ('implicit_quantile', TRUNK + 65 * 7744 + HIDDEN + 513 * 6),
    # A mean and a deviation each, and the stream of the value.
    ('full_rainbow', TRUNK + 2 * (HIDDEN + 513 * 6 * 51 + 513 * 51)),
    ('full_rainbow_q', TRUNK + 2 * (HIDDEN + 513 * 6 * 51 + 513 * 51)),
    ('full_rainbow_plain', TRUNK + HIDDEN + 513 * 6 * 51),
  ],
)
def test_parameters_by_hand(name, count):
  assert nature(name)[0].count_params() == count


@pytest.mark.parametrize('name', ['rainbow', 'full_rainbow'])
def test_probabilities_are_the_softmax_and_q_is_their_mean(name):
  _, outputs = nature(name)
  q, logits, p = (np.asarray(x, np.float64) for x in outputs)
  softmax = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
  assert_allclose(p, softmax, rtol=1e-4)
  assert_allclose(q, (p * SUPPORT).sum(axis=-1), atol=1e-5)


def test_quantiles_have_equal_mass_and_q_is_their_mean():
  _, (q, values, p) = nature('quantile')
  assert_allclose(p, np.full((2, 6, 200), 1 / 200), rtol=1e-6)
  assert_allclose(q, np.asarray(values).mean(axis=-1), atol=1e-5)


@pytest.mark.parametrize('name', ['rainbow', 'quantile'])
def test_outputs_are_action_by_action(name):
  network, outputs = nature(name)
  features = np.asarray(network.features(pixels()), np.float64)
  w1, b1, w2, b2 = network.get_weights()[-4:]
  flat = np.maximum(features @ w1 + b1, 0) @ w2 + b2
  n = network.num_atoms
  for a in range(6):
    assert_allclose(
      np.asarray(outputs.logits)[:, a], flat[:, a * n : (a + 1) * n], atol=1e-4
    )


# How the networks start -------------------------------------------------------


def glorot(*shape):
  area = np.prod(shape[:-2], dtype=int)
  return np.sqrt(6 / (area * (shape[-2] + shape[-1])))


def variance_scaling(*shape):
  return np.sqrt(np.sqrt(3) / np.prod(shape[:-1]))


def assert_uniform(weight, limit):
  """Whether the weights are uniform between +-limit, as far as that shows."""
  assert np.abs(weight).max() <= limit * (1 + 1e-6)
  # Once in e^20 times the largest of n numbers is below.
  assert np.abs(weight).max() > (1 - 20 / weight.size) * limit
  error = 4 / np.sqrt(weight.size)  # Seven deviations.
  assert abs(weight.mean()) < error * limit
  assert_allclose(weight.std(), limit / np.sqrt(3), rtol=error)


@pytest.mark.parametrize(
  'name,limit',
  [
    ('dqn', glorot),
    ('rainbow', variance_scaling),
    ('quantile', variance_scaling),
    ('implicit_quantile', variance_scaling),
    ('full_rainbow_plain', glorot),
  ],
)
def test_the_first_weights_of_the_nature_networks(name, limit):
  weights = nature(name)[0].get_weights()
  if name == 'implicit_quantile':
    assert (64, 7744) in [w.shape for w in weights], 'the embedding too'
  for weight in weights:
    if weight.ndim == 1:
      assert not weight.any(), 'biases start at 0'
    else:
      assert_uniform(weight, limit(*weight.shape))


def test_the_first_weights_of_noisy_layers():
  network, _ = nature('full_rainbow')
  for layer in (network.conv1, network.conv2, network.conv3):
    kernel, bias = layer.get_weights()
    assert_uniform(kernel, glorot(*kernel.shape))
    assert not bias.any()
  noisy = network.head.get_weights()
  assert len(noisy) == 3 * 4
  inputs = [7744] * 4 + [512] * 8
  for i, (weight, fan_in) in enumerate(zip(noisy, inputs, strict=True)):
    if i % 2 == 0:  # A mean.
      assert_uniform(weight, 1 / np.sqrt(fan_in))
    else:
      assert_allclose(weight, 0.1 / np.sqrt(fan_in), rtol=1e-6)


CLASSIC = {
  'dqn': functools.partial(networks.ClassicControlDQNNetwork, 2),
  'rainbow': functools.partial(
    networks.ClassicControlRainbowNetwork, 2, 51, SUPPORT
  ),
  'cartpole_rainbow': functools.partial(
    networks.CartpoleRainbowNetwork, 2, 51, SUPPORT
  ),
  'quantile': functools.partial(networks.ClassicControlQuantileNetwork, 2, 200),
  'implicit_quantile': functools.partial(
    networks.ClassicControlImplicitQuantileNetwork, 2, 64
  ),
  'full_rainbow': functools.partial(
    networks.ClassicControlFullRainbowNetwork, 2, 51, SUPPORT
  ),
  'full_rainbow_plain': functools.partial(
    networks.ClassicControlFullRainbowNetwork, 2, 51, SUPPORT, noisy=False
  ),
}


@functools.cache
def classic(name):
  """A network of `CLASSIC` and what it returns of two states."""
  network = CLASSIC[name](name='Target')
  return network, call(network, np.zeros((2, 4, 1)))


@pytest.mark.parametrize('name', [n for n in CLASSIC if n != 'full_rainbow'])
def test_the_networks_of_vectors_start_with_glorot_uniform(name):
  for weight in classic(name)[0].get_weights():
    if weight.ndim == 2:
      assert_uniform(weight, glorot(*weight.shape))
    else:
      assert not weight.any()


def starts(network):
  """The first numbers of every random weight, without their scale."""
  found = [w.ravel()[:20] for w in network.get_weights() if w.std() > 1e-7]
  return [w / np.abs(w).max() for w in found]


@pytest.mark.parametrize(
  'get,name',
  [(nature, name) for name in MAKE] + [(classic, name) for name in CLASSIC],
)
def test_no_two_layers_start_with_the_same_numbers(get, name):
  """They do if one initializer serves two layers."""
  found = starts(get(name)[0])
  assert len(found) >= 3
  for a, b in itertools.combinations(found, 2):
    n = min(len(a), len(b))
    assert np.abs(a[:n] - b[:n]).max() > 0.1


@pytest.mark.parametrize(
  'agent,network',
  [
    (dqn_agent.DQNAgent, 'DQN'),
    (rainbow_agent.RainbowAgent, 'Rainbow'),
    (quantile_agent.QuantileAgent, 'Quantile'),
    (implicit_quantile_agent.ImplicitQuantileAgent, 'ImplicitQuantile'),
    (full_rainbow_agent.FullRainbowAgent, 'FullRainbow'),
  ],
)
def test_the_seed_decides_where_the_networks_start(agent, network):
  def first_weights(seed):
    made = agent(
      num_actions=2,
      observation_shape=(4,),
      stack_size=1,
      network=getattr(networks, f'ClassicControl{network}Network'),
      seed=seed,
    )
    weights = made.online_convnet.get_weights()
    for a, b in zip(weights, made.target_convnet.get_weights(), strict=True):
      assert_array_equal(a, b)
    return [w for w in weights if w.std() > 1e-7]

  gin.parse_config('OutOfGraphReplayBuffer.replay_capacity = 100')
  try:
    one, same, two = (first_weights(seed) for seed in (1, 1, 2))
  finally:
    gin.clear_config()
  for a, b, c in zip(one, same, two, strict=True):
    assert_array_equal(a, b)
    assert (a != c).mean() > 0.99


# Implicit quantiles -----------------------------------------------------------


def randomize(layer, seed=0):
  """Gives every weight a number of its own; returns the weights."""
  rng = np.random.default_rng(seed)
  weights = [rng.normal(size=w.shape) for w in layer.get_weights()]
  layer.set_weights(weights)
  return weights


def embed(features, tau, kernel, bias):
  """Dabney et al. (2018a), eq. (4), one row at a time, but for i from 1."""
  rows = []
  for n in range(tau.shape[1]):
    for b in range(len(features)):
      i = np.arange(1, len(kernel) + 1)
      phi = np.maximum(np.cos(np.pi * i * tau[b, n]) @ kernel + bias, 0)
      rows.append(features[b] * phi)
  return np.array(rows)


def test_the_embedding_by_hand():
  rng = np.random.default_rng(1)
  features, tau = rng.normal(size=(3, 5)), rng.random((3, 4))
  embedding = networks.QuantileEmbedding(7)
  arguments = (features.astype(np.float32), tau.astype(np.float32))
  embedding(*arguments)
  kernel, bias = randomize(embedding)
  assert kernel.shape == (7, 5)
  found = embedding(*arguments)
  expected = embed(features, tau, kernel, bias)
  assert found.shape == (4 * 3, 5)
  assert 0 < (expected == 0).mean() < 0.9, 'both sides of the ReLU'
  assert_allclose(found, expected, atol=1e-4)


def test_one_cosine_of_one_level():
  # cos(pi * 1 * 1/3) = 1/2; ReLU(1/2 * 4 - 1) = 1; 3 * 1 = 3
  embedding = networks.QuantileEmbedding(1)
  arguments = np.full((1, 1), 3.0, 'float32'), np.full((1, 1), 1 / 3, 'float32')
  embedding(*arguments)
  embedding.set_weights([np.full((1, 1), 4.0), np.full(1, -1.0)])
  assert_allclose(embedding(*arguments), [[3.0]], rtol=1e-5)


def test_the_implicit_quantile_network_for_vectors_by_hand():
  network = networks.ClassicControlImplicitQuantileNetwork(
    3, 6, hidden_units=5, min_vals=(-2.0,) * 4, max_vals=(2.0,) * 4
  )
  rng = np.random.default_rng(0)
  state = rng.uniform(-2, 2, (3, 4, 1))
  tau = rng.random((3, 7)).astype(np.float32)
  network(state, num_quantiles=7, quantiles=tau)
  by_layer = [
    randomize(layer, seed)
    for seed, layer in enumerate(
      (network.features, network.embedding, network.dense1, network.dense2)
    )
  ]
  (w, b), embedding, (w1, b1), (w2, b2) = by_layer
  values, levels = network(state, num_quantiles=7, quantiles=tau)
  features = np.maximum(state[..., 0] / 2 @ w + b, 0)
  joined = embed(features, tau, *embedding)
  assert_allclose(
    values, np.maximum(joined @ w1 + b1, 0) @ w2 + b2, rtol=1e-3, atol=1e-3
  )
  # Row n * B + b.
  assert_allclose(
    levels, [[tau[b, n]] for n in range(7) for b in range(3)], rtol=1e-6
  )


def test_the_implicit_quantile_network_joins_levels_to_the_features():
  network, _ = nature('implicit_quantile')
  tau = np.random.default_rng(0).random((2, 3)).astype(np.float32)
  values, levels = network(pixels(), num_quantiles=3, quantiles=tau)
  features = np.asarray(network.features(pixels()))
  joined = embed(features, tau, *network.embedding.get_weights())
  (w1, b1), (w2, b2) = (
    layer.get_weights() for layer in (network.dense1, network.dense2)
  )
  assert_allclose(values, np.maximum(joined @ w1 + b1, 0) @ w2 + b2, atol=1e-4)
  assert_allclose(levels, tau.T.reshape(-1, 1))


def test_a_level_has_its_value_whatever_else_is_asked_for():
  network = networks.ClassicControlImplicitQuantileNetwork(3, 6, hidden_units=5)
  state = np.random.default_rng(0).normal(size=(2, 4, 1))
  tau = np.array([[0.1, 0.5, 0.9], [0.2, 0.6, 0.3]], np.float32)
  together = np.asarray(
    network(state, num_quantiles=3, quantiles=tau).quantile_values
  )
  for b in range(2):
    for n in range(3):
      alone = network(
        state[b : b + 1], num_quantiles=1, quantiles=tau[b : b + 1, n : n + 1]
      ).quantile_values
      assert_allclose(alone, together[n * 2 + b][None], atol=1e-6)


@pytest.mark.parametrize(
  'make', [MAKE['implicit_quantile'], CLASSIC['implicit_quantile']]
)
def test_levels_that_are_not_given_are_drawn_for_each_state(make):
  network = make()
  atari = isinstance(network, networks.NatureTrunk)
  state = pixels()[:1] if atari else np.zeros((1, 4, 1))
  state = np.repeat(state, 2, axis=0)
  first, second = (
    np.asarray(network(state, num_quantiles=50).quantiles) for _ in range(2)
  )
  both = np.concatenate([first, second])
  assert both.shape == (200, 1)
  assert both.min() >= 0 and both.max() < 1
  assert len(np.unique(both)) > 190, 'neither repeated nor shared'
  assert abs(both.mean() - 0.5) < 6 / np.sqrt(12 * 200)


# Noisy layers -----------------------------------------------------------------


def f(x):
  return np.sign(x) * np.sqrt(np.abs(x))


def noisy(x, weights, noise=None):
  """Fortunato et al. (2018), eqs. (9) to (11), for one `x` `[inputs]`."""
  mu, sigma, bias_mu, bias_sigma = weights
  if noise is None:
    return x @ mu + bias_mu
  e_in, e_out = f(noise[: len(mu)]), f(noise[len(mu) :])
  w = mu + sigma * np.outer(e_in, e_out)
  return x @ w + bias_mu + bias_sigma * e_out


def test_noisy_dense_by_the_formula():
  rng = np.random.default_rng(0)
  layer, x = networks.NoisyDense(3), rng.normal(size=(6, 5)).astype(np.float32)
  layer(x)
  weights = randomize(layer)
  assert [w.shape for w in weights] == [(5, 3), (5, 3), (3,), (3,)]
  names = ['kernel_mu', 'kernel_sigma', 'bias_mu', 'bias_sigma']
  assert [w.name for w in layer.weights] == names
  assert layer.num_noise == 5 + 3
  shared = rng.normal(size=8).astype(np.float32)
  own = rng.normal(size=(6, 8)).astype(np.float32)
  for noise, rows in (
    (None, [None] * 6),
    (shared, [shared] * 6),
    (own, own),
  ):
    expected = [noisy(*row) for row in zip(x, [weights] * 6, rows, strict=True)]
    assert_allclose(layer(x, noise=noise), expected, atol=1e-4)


def test_noise_of_one_number():
  # f(-4) = -2, f(9) = 3: w = 1 + 10 * -2 * 3 = -59, b = 5 + 7 * 3 = 26;
  # 2 * -59 + 26 = -92, and after the ReLU 0.
  x, noise = np.array([[2.0]], np.float32), np.array([-4.0, 9.0], np.float32)
  for activation, expected in ((None, -92.0), ('relu', 0.0)):
    layer = networks.NoisyDense(1, activation=activation)
    layer(x)
    one = [np.full((1, 1), 1.0), np.full((1, 1), 10.0)]
    layer.set_weights([*one, np.full(1, 5.0), np.full(1, 7.0)])
    assert_allclose(layer(x, noise=noise), [[expected]])


def test_every_noisy_parameter_learns():
  layer = networks.NoisyDense(2)
  x = np.ones((1, 3), np.float32)
  layer(x)
  assert len(layer.trainable_weights) == 4


# The head of Rainbow ----------------------------------------------------------

HEAD_SUPPORT = np.array([-1.0, 0.0, 3.0], np.float32)


def make_head(**kwargs):
  """A head of 2 actions, 3 atoms and 4 hidden units on 5 features."""
  head = networks.RainbowHead(2, 3, HEAD_SUPPORT, hidden_units=4, **kwargs)
  x = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
  head(x)
  return head, x, randomize(head)


def head_by_hand(x, weights, noise, is_noisy, dueling):
  """Hessel et al. (2018): the logits `[A, N]` of one `x`."""
  size = 4 if is_noisy else 2
  layers = [weights[i : i + size] for i in range(0, len(weights), size)]

  def layer(i, x):
    nonlocal noise
    if not is_noisy:
      return x @ layers[i][0] + layers[i][1]
    if noise is None:
      return noisy(x, layers[i])
    length = sum(layers[i][0].shape)
    part, noise = noise[:length], noise[length:]
    return noisy(x, layers[i], part)

  hidden = np.maximum(layer(0, x), 0)
  advantage = layer(1, hidden).reshape(2, 3)
  if not dueling:
    return advantage
  return layer(2, hidden) + advantage - advantage.mean(axis=0)


@pytest.mark.parametrize('distributional', [True, False])
@pytest.mark.parametrize('dueling', [True, False])
@pytest.mark.parametrize('noise', ['no layers', 'none', 'shared', 'own'])
def test_the_head_by_hand(noise, dueling, distributional):
  is_noisy = noise != 'no layers'
  head, x, weights = make_head(
    noisy=is_noisy, dueling=dueling, distributional=distributional
  )
  rng = np.random.default_rng(1)
  length = is_noisy * ((5 + 4) + (4 + 6) + dueling * (4 + 3))
  assert head.num_noise == length
  given, rows = None, [None] * 6
  if noise == 'shared':
    given = rng.normal(size=length).astype(np.float32)
    rows = [given] * 6
  elif noise == 'own':
    given = rows = rng.normal(size=(6, length)).astype(np.float32)
  logits = np.array(
    [
      head_by_hand(a, weights, b, is_noisy, dueling)
      for a, b in zip(x, rows, strict=True)
    ]
  )
  outputs = head(x, noise=given)
  if not distributional:
    assert type(outputs) is DQN
    assert_allclose(outputs.q_values, logits.sum(axis=-1), atol=1e-3)
    return
  assert type(outputs) is C51
  assert_allclose(outputs.logits, logits, atol=1e-3)
  p = np.exp(logits - logits.max(axis=-1, keepdims=True))
  p /= p.sum(axis=-1, keepdims=True)
  assert_allclose(outputs.probabilities, p, atol=1e-3)
  assert_allclose(outputs.q_values, p @ HEAD_SUPPORT, atol=1e-3)


def test_the_mean_advantage_is_zero():
  """So the mean of the logits over the actions is the stream of the value."""
  head, x, weights = make_head(noisy=False)
  w, b, _, _, w_value, b_value = weights
  value = np.maximum(x @ w + b, 0) @ w_value + b_value
  logits = np.asarray(head(x).logits)
  assert_allclose(logits.mean(axis=1), value, atol=1e-4)
  # What is added to the advantages of all actions changes nothing.
  weights[3] += np.tile([1.0, -2.0, 5.0], 2)
  head.set_weights(weights)
  assert_allclose(head(x).logits, logits, atol=1e-4)


@pytest.mark.parametrize('dueling', [True, False])
def test_the_layers_share_out_the_noise(dueling, monkeypatch):
  """No number goes to two layers, none is left over."""
  head, x, _ = make_head(dueling=dueling)
  parts = []
  original = networks.NoisyDense.call

  def call(self, x, noise=None):
    parts.append(np.asarray(noise))
    return original(self, x, noise)

  noise = np.arange(head.num_noise, dtype=np.float32)
  monkeypatch.setattr(networks.NoisyDense, 'call', call)
  head(x, noise=noise)
  assert [len(p) for p in parts] == [9, 10, 7][: 2 + dueling]
  assert np.sort(np.concatenate(parts)).tolist() == noise.tolist()


@pytest.mark.parametrize('is_noisy', [True, False])
def test_the_full_network_passes_its_noise_to_the_head(is_noisy):
  network = networks.ClassicControlFullRainbowNetwork(
    2, 3, HEAD_SUPPORT, hidden_units=4, noisy=is_noisy
  )
  state = np.random.default_rng(0).normal(size=(6, 5, 1))
  network(state)
  randomize(network)
  assert network.num_noise == network.head.num_noise == 25 * is_noisy
  if not is_noisy:
    return
  noise = np.random.default_rng(1).normal(size=25).astype(np.float32)
  features = network.features(state)
  found = network(state, noise=noise).logits
  assert_allclose(found, network.head(features, noise=noise).logits, rtol=1e-5)
  assert not np.allclose(found, network(state).logits)


# Vectors ----------------------------------------------------------------------


@pytest.mark.parametrize(
  'network,low,high',
  [
    (networks.CartpoleRainbowNetwork, *2 * (None,)),
    (networks.AcrobotRainbowNetwork, *2 * (None,)),
    (networks.ClassicControlRainbowNetwork, (-1.0, -3.0), (1.0, 5.0)),
    (networks.ClassicControlQuantileNetwork, (-1.0, -3.0), (1.0, 5.0)),
    (networks.ClassicControlQuantileNetwork, None, None),
  ],
)
def test_distributional_networks_for_vectors_by_hand(network, low, high):
  arguments = {} if low is None else {'min_vals': low, 'max_vals': high}
  is_c51 = 'Rainbow' in network.__name__
  if is_c51:
    arguments['support'] = HEAD_SUPPORT
  made = network(2, 3, **arguments)
  low = getattr(made, 'min_vals', None) if low is None else low
  high = getattr(made, 'max_vals', None) if high is None else high
  size = 4 if low is None else len(low)
  state = np.random.default_rng(0).uniform(-0.5, 0.5, (6, size, 1))
  q, logits, p = made(state)
  x = state[..., 0]
  if low is not None:
    low, high = np.array(low), np.array(high)
    x = 2 * (x - low) / (high - low) - 1
  w = made.get_weights()
  assert [v.shape for v in w[::2]] == [(size, 512), (512, 512), (512, 6)]
  hidden = np.maximum(np.maximum(x @ w[0] + w[1], 0) @ w[2] + w[3], 0)
  assert_allclose(logits, (hidden @ w[4] + w[5]).reshape(6, 2, 3), atol=1e-5)
  if is_c51:
    assert_allclose(np.asarray(p).sum(axis=-1), 1, atol=1e-6)
    assert_allclose(q, np.asarray(p) @ HEAD_SUPPORT, atol=1e-5)
  else:
    assert_allclose(p, np.full((6, 2, 3), 1 / 3), rtol=1e-6)
    assert_allclose(q, np.asarray(logits).mean(axis=-1), atol=1e-6)
  assert made.num_actions == 2 and made.num_atoms == 3


@pytest.mark.parametrize('name', CLASSIC)
def test_networks_for_vectors_know_their_actions_and_their_name(name):
  network, _ = classic(name)
  assert network.num_actions == 2 and network.name == 'Target'


@pytest.mark.parametrize(
  'make',
  [
    functools.partial(networks.ClassicControlRainbowNetwork, 2, 51, SUPPORT),
    functools.partial(networks.ClassicControlQuantileNetwork, 2, 51),
  ],
)
def test_depth_and_width_reach_the_networks_for_vectors(make):
  network = make(num_layers=3, hidden_units=7)
  network(np.zeros((1, 4, 1)))
  assert [w.shape for w in network.get_weights()[::2]] == [
    (4, 7),
    (7, 7),
    (7, 7),
    (7, 102),
  ]


@pytest.mark.parametrize('name', CLASSIC)
def test_preprocessed_inputs_are_not_rescaled(name):
  if name == 'cartpole_rainbow':
    ranges = {}  # It has its own.
  else:
    ranges = {'min_vals': (-2.0,) * 4, 'max_vals': (2.0,) * 4}
  plain = CLASSIC[name](**ranges)
  ready = CLASSIC[name](**ranges, inputs_preprocessed=True)
  state = np.random.default_rng(0).uniform(-1, 1, (2, 4, 1))
  low, high = (-2.0, 2.0)
  if not ranges:
    low, high = gym_lib.CARTPOLE_MIN_VALS, gym_lib.CARTPOLE_MAX_VALS
  given = {}
  if name == 'implicit_quantile':
    tau = np.random.default_rng(1).random((2, 3)).astype(np.float32)
    given = {'num_quantiles': 3, 'quantiles': tau}
  expected = plain(state, **given)[0]
  scaled = networks.rescale(state[..., 0], low, high)
  ready(scaled, **given)
  ready.set_weights(plain.get_weights())
  assert_allclose(ready(scaled, **given)[0], expected, atol=1e-5)
  assert not np.allclose(ready(state[..., 0], **given)[0], expected)


# Fourier ----------------------------------------------------------------------


def test_cosines_by_hand():
  # c = 01, 10, 11; c . x = 1/3, 1, 4/3; cos(pi / 3) = 1/2, cos(pi) = -1,
  # cos(4 pi / 3) = -1/2.
  basis = networks.FourierBasis(2, order=1)
  assert_array_equal(basis.multipliers, [[0, 1], [1, 0], [1, 1]])
  x = np.array([[1, 1 / 3]], np.float32)
  assert_allclose(basis.compute_features(x), [[0.5, -1, -0.5]], atol=1e-6)


def test_the_basis_is_on_0_to_1():
  # [-3, 1] -> [0, 1]: -2 -> 1/4; c = 1, 2: cos(pi / 4), cos(pi / 2).
  basis = networks.FourierBasis(1, [-3.0], [1.0], order=2)
  assert_allclose(basis.scale(np.array([[-3.0], [-2.0]])), [[0], [0.25]])
  features = basis.compute_features(np.array([[-2.0]], np.float32))
  assert_allclose(features, [[np.sqrt(0.5), 0]], atol=1e-6)
  # Without an upper end, the lower is subtracted and nothing divided.
  basis = networks.FourierBasis(1, 2.0)
  assert basis.order == 3
  assert_allclose(basis.scale(np.array([[2.5]])), [[0.5]])


def test_every_vector_of_coefficients_but_the_constant():
  multipliers = networks.FourierBasis(3).multipliers
  assert multipliers.shape == (4**3 - 1, 3)
  assert len(np.unique(multipliers, axis=0)) == 4**3 - 1
  assert multipliers.min() == 0 and multipliers.max() == 3
  assert multipliers.any(axis=1).all()


def test_the_fourier_network_is_linear_without_a_bias():
  # x = 1/2 of the range; c = 1, 2: cosines 0, -1.
  network = networks.FourierDQNNetwork([0.0], [2.0], 3, fourier_basis_order=2)
  state = np.array([[[1.0]]])
  assert network(state).shape == (1, 3)
  network.set_weights([np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])])
  assert_allclose(network(state), [[-4, -5, -6]], atol=1e-5)


@pytest.mark.parametrize(
  'make,low,high',
  [
    (
      networks.CartpoleFourierDQNNetwork,
      gym_lib.CARTPOLE_MIN_VALS,
      gym_lib.CARTPOLE_MAX_VALS,
    ),
    (
      networks.AcrobotFourierDQNNetwork,
      gym_lib.ACROBOT_MIN_VALS,
      gym_lib.ACROBOT_MAX_VALS,
    ),
  ],
)
def test_fourier_networks_of_tasks_by_hand(make, low, high):
  network = make(2, name='Online')
  assert network.name == 'Online' and network.num_actions == 2
  state = np.random.default_rng(0).uniform(low, high, (5, len(low)))
  outputs = network(state[..., None])
  assert type(outputs) is DQN
  (weights,) = network.get_weights()
  assert len(weights) == {4: 255, 6: 4095}[len(low)]
  c = np.array(list(itertools.product(range(4), repeat=len(low))))[1:]
  x = (state - low) / (high - low)
  assert_allclose(
    outputs.q_values, np.cos(np.pi * x @ c.T) @ weights, atol=1e-4
  )


# Any task ---------------------------------------------------------------------


IMAGE = spaces.Box(0, 255, (32, 40, 3), np.uint8)
OF_VECTORS = {
  'dqn': networks.ClassicControlDQNNetwork,
  'rainbow': networks.ClassicControlRainbowNetwork,
  'quantile': networks.ClassicControlQuantileNetwork,
  'implicit_quantile': networks.ClassicControlImplicitQuantileNetwork,
  'full_rainbow': networks.ClassicControlFullRainbowNetwork,
}


@pytest.mark.parametrize('name', OF_VECTORS)
def test_a_fitting_network_is_of_the_same_family(name):
  of_pixels = MAKE[name].func
  assert networks.fitting(of_pixels, IMAGE) is of_pixels
  space = spaces.Box(*np.array([[0, -np.inf], [4, np.inf]], np.float32))
  make = networks.fitting(of_pixels, space)
  network = make(*MAKE[name].args)
  assert type(network) is OF_VECTORS[name]
  first = getattr(network, 'net', None) or network.features
  assert_array_equal(first._min_vals, [0, -np.inf])
  assert_array_equal(first._max_vals, [4, np.inf])


@pytest.mark.parametrize(
  'space,is_image',
  [
    (IMAGE, True),
    (spaces.Box(0, 255, (32, 32), np.uint8), True),
    (spaces.Box(0, 255, (31, 40, 3), np.uint8), False),
    (spaces.Box(0, 255, (3, 96, 96), np.uint8), False),
    (spaces.Box(0, 255, (40, 40, 3, 2), np.uint8), False),
    (spaces.Box(0, 255, (128,), np.uint8), False),
    (spaces.Box(0, 1, (40, 40, 3), np.float32), False),
    (spaces.Box(0, 1, (), np.float32), False),
  ],
)
def test_what_counts_as_an_image(space, is_image):
  make = networks.fitting(networks.NatureDQNNetwork, space)
  assert (make is networks.NatureDQNNetwork) == is_image
  if not is_image:
    assert make.func is networks.ClassicControlDQNNetwork
    assert make.keywords['min_vals'].shape == (int(np.prod(space.shape)),)


def test_ranges_that_gin_binds_win():
  gin.parse_config('ClassicControlDQNNetwork.max_vals = (8.0,)')
  try:
    make = networks.fitting(networks.NatureDQNNetwork, spaces.Box(0, 1, (1,)))
    network = make(2)
  finally:
    gin.clear_config()
  assert (network.net._min_vals, network.net._max_vals) == ([0], (8.0,))


# The names of the JAX subpackage ----------------------------------------------

needs_jax = pytest.mark.skipif(
  keras.config.backend() != 'jax', reason='dopamine.jax needs JAX'
)


@needs_jax
@pytest.mark.parametrize(
  'name,is_configurable',
  [
    ('NatureDQNNetwork', True),
    ('ClassicControlDQNNetwork', True),
    ('RainbowNetwork', True),
    ('ClassicControlRainbowNetwork', True),
    ('ImplicitQuantileNetwork', False),
    ('QuantileNetwork', True),
    ('FullRainbowNetwork', True),
  ],
)
def test_jax_networks_have_the_names_of_the_original(name, is_configurable):
  from dopamine.jax import networks as jax_networks

  network = getattr(jax_networks, name)
  assert network is getattr(networks, name)
  if is_configurable:
    for prefix in ('', 'networks.', 'dopamine.jax.networks.'):
      found = gin.config.parse_value(f'@{prefix}{name}').configurable.wrapped
      assert found is network
  else:
    with pytest.raises(ValueError):
      gin.config.parse_value(f'@{name}')


@needs_jax
def test_jax_constants_of_the_gin_files():
  from dopamine.jax import networks as jax_networks  # noqa: F401

  for task, low, high in (
    ('CARTPOLE', gym_lib.CARTPOLE_MIN_VALS, gym_lib.CARTPOLE_MAX_VALS),
    ('ACROBOT', gym_lib.ACROBOT_MIN_VALS, gym_lib.ACROBOT_MAX_VALS),
    ('MOUNTAINCAR', gym_lib.MOUNTAINCAR_MIN_VALS, gym_lib.MOUNTAINCAR_MAX_VALS),
  ):
    for end, values in (('MIN', low), ('MAX', high)):
      name = f'jax_networks.{task}_{end}_VALS'
      found = gin.query_parameter(name)
      assert type(found) is tuple and found == tuple(values)
  for task in ('CARTPOLE', 'ACROBOT', 'LUNAR', 'MOUNTAINCAR'):
    name = f'jax_networks.{task}_OBSERVATION_DTYPE'
    assert gin.query_parameter(name) == np.float64


@needs_jax
def test_noisy_network_is_a_gin_reference():
  from dopamine.jax import networks as jax_networks

  assert jax_networks.NoisyNetwork is networks.NoisyDense
  try:
    gin.parse_config('NoisyNetwork.features = 3')
    for prefix in ('', 'networks.', 'dopamine.jax.networks.'):
      make = gin.get_configurable(f'{prefix}NoisyNetwork')
      layer = make()
      assert isinstance(layer, networks.NoisyDense)
      assert layer(np.zeros((2, 5))).shape == (2, 3)
      assert layer.num_noise == 8
  finally:
    gin.clear_config()


@needs_jax
def test_feature_layers_are_noisy_if_asked_for():
  from dopamine.jax import networks as jax_networks

  layer = jax_networks.feature_layer(None, noisy=True)(7)
  assert isinstance(layer, networks.NoisyDense) and layer.features == 7
  layer = jax_networks.feature_layer(None, noisy=False, eval_mode=True)(7)
  assert isinstance(layer, keras.layers.Dense) and layer.units == 7
  layer(np.zeros((1, 3000)))
  assert_uniform(np.array(layer.get_weights()[0]), glorot(3000, 7))


@needs_jax
def test_jax_preprocessing():
  from dopamine.jax import networks as jax_networks

  found = jax_networks.preprocess_atari_inputs(np.array([0, 51], np.uint8))
  assert_allclose(found, [0.0, 0.2], rtol=1e-6)
  x = np.array([0, 51], np.uint8)
  assert jax_networks.identity_preprocess_fn(x) is x
