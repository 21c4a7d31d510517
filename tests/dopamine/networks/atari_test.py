"""The networks of pixels."""

import itertools

import gin
import keras
import numpy as np
from numpy.testing import assert_allclose
import pytest

from dopamine import networks
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import gym_lib
from tests.support import networks as kinds


def test_nature_network_has_the_published_layers():
  network, outputs = kinds.nature('dqn')
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
  network, _ = kinds.nature('dqn')
  kernel, bias = (np.array(w) for w in network.dense1.get_weights())
  limit = np.sqrt(6 / (7744 + 512))
  assert 0.99 * limit < np.abs(kernel).max() <= limit * (1 + 1e-6)
  assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.01)
  assert not bias.any()


@pytest.mark.parametrize('name', kinds.MAKE)
def test_pixels_are_divided_by_255(name):
  plain, _ = kinds.nature(name)
  ready = kinds.MAKE[name](inputs_preprocessed=True)
  ready.features(np.zeros((2, 84, 84, 4), np.float32))
  for layer in ('conv1', 'conv2', 'conv3'):
    weights = getattr(plain, layer).get_weights()
    getattr(ready, layer).set_weights(weights)
  assert_allclose(
    ready.features(kinds.pixels().astype(np.float32) / 255),
    plain.features(kinds.pixels()),
    rtol=1e-4,
    atol=1e-6,
  )


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


@pytest.mark.parametrize(
  'name,kind,shapes',
  [
    ('dqn', kinds.DQN, [(2, 6)]),
    ('rainbow', kinds.C51, [(2, 6), (2, 6, 51), (2, 6, 51)]),
    ('quantile', kinds.C51, [(2, 6), (2, 6, 200), (2, 6, 200)]),
    ('implicit_quantile', kinds.IQN, [(8, 6), (8, 1)]),
    ('full_rainbow', kinds.C51, [(2, 6), (2, 6, 51), (2, 6, 51)]),
    ('full_rainbow_plain', kinds.C51, [(2, 6), (2, 6, 51), (2, 6, 51)]),
    ('full_rainbow_q', kinds.DQN, [(2, 6)]),
  ],
)
def test_what_the_nature_networks_return(name, kind, shapes):
  network, outputs = kinds.nature(name)
  assert type(outputs) is kind
  assert [tuple(x.shape) for x in outputs] == shapes
  for x in outputs:
    assert keras.backend.standardize_dtype(x.dtype) == 'float32'
    assert np.isfinite(np.asarray(x)).all()
  assert isinstance(network, keras.Model) and network.name == 'Online'


@pytest.mark.parametrize('name', kinds.MAKE)
def test_the_nature_networks_have_the_attributes_of_the_original(name):
  network, _ = kinds.nature(name)
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
  assert kinds.nature(name)[0].count_params() == count


@pytest.mark.parametrize('name', ['rainbow', 'full_rainbow'])
def test_probabilities_are_the_softmax_and_q_is_their_mean(name):
  _, outputs = kinds.nature(name)
  q, logits, p = (np.asarray(x, np.float64) for x in outputs)
  softmax = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
  assert_allclose(p, softmax, rtol=1e-4)
  assert_allclose(q, (p * kinds.SUPPORT).sum(axis=-1), atol=1e-5)


def test_quantiles_have_equal_mass_and_q_is_their_mean():
  _, (q, values, p) = kinds.nature('quantile')
  assert_allclose(p, np.full((2, 6, 200), 1 / 200), rtol=1e-6)
  assert_allclose(q, np.asarray(values).mean(axis=-1), atol=1e-5)


@pytest.mark.parametrize('name', ['rainbow', 'quantile'])
def test_outputs_are_action_by_action(name):
  network, outputs = kinds.nature(name)
  features = np.asarray(network.features(kinds.pixels()), np.float64)
  w1, b1, w2, b2 = network.get_weights()[-4:]
  flat = np.maximum(features @ w1 + b1, 0) @ w2 + b2
  n = network.num_atoms
  for a in range(6):
    assert_allclose(
      np.asarray(outputs.logits)[:, a], flat[:, a * n : (a + 1) * n], atol=1e-4
    )


@pytest.mark.parametrize(
  'name,limit',
  [
    ('dqn', kinds.glorot),
    ('rainbow', kinds.variance_scaling),
    ('quantile', kinds.variance_scaling),
    ('implicit_quantile', kinds.variance_scaling),
    ('full_rainbow_plain', kinds.glorot),
  ],
)
def test_the_first_weights_of_the_nature_networks(name, limit):
  weights = kinds.nature(name)[0].get_weights()
  if name == 'implicit_quantile':
    assert (64, 7744) in [w.shape for w in weights], 'the embedding too'
  for weight in weights:
    if weight.ndim == 1:
      assert not weight.any(), 'biases start at 0'
    else:
      kinds.assert_uniform(weight, limit(*weight.shape))


def test_the_first_weights_of_noisy_layers():
  network, _ = kinds.nature('full_rainbow')
  for layer in (network.conv1, network.conv2, network.conv3):
    kernel, bias = layer.get_weights()
    kinds.assert_uniform(kernel, kinds.glorot(*kernel.shape))
    assert not bias.any()
  noisy = network.head.get_weights()
  assert len(noisy) == 3 * 4
  inputs = [7744] * 4 + [512] * 8
  for i, (weight, fan_in) in enumerate(zip(noisy, inputs, strict=True)):
    if i % 2 == 0:  # A mean.
      kinds.assert_uniform(weight, 1 / np.sqrt(fan_in))
    else:
      assert_allclose(weight, 0.1 / np.sqrt(fan_in), rtol=1e-6)


def starts(network):
  """The first numbers of every random weight, without their scale."""
  found = [w.ravel()[:20] for w in network.get_weights() if w.std() > 1e-7]
  return [w / np.abs(w).max() for w in found]


@pytest.mark.parametrize(
  'get,name',
  [(kinds.nature, name) for name in kinds.MAKE]
  + [(kinds.classic, name) for name in kinds.CLASSIC],
)
def test_no_two_layers_start_with_the_same_numbers(get, name):
  """They do if one initializer serves two layers."""
  found = starts(get(name)[0])
  assert len(found) >= 3
  for a, b in itertools.combinations(found, 2):
    n = min(len(a), len(b))
    assert np.abs(a[:n] - b[:n]).max() > 0.1


def test_the_implicit_quantile_network_joins_levels_to_the_features():
  network, _ = kinds.nature('implicit_quantile')
  tau = np.random.default_rng(0).random((2, 3)).astype(np.float32)
  values, levels = network(kinds.pixels(), num_quantiles=3, quantiles=tau)
  features = np.asarray(network.features(kinds.pixels()))
  joined = kinds.embed(features, tau, *network.embedding.get_weights())
  (w1, b1), (w2, b2) = (
    layer.get_weights() for layer in (network.dense1, network.dense2)
  )
  assert_allclose(values, np.maximum(joined @ w1 + b1, 0) @ w2 + b2, atol=1e-4)
  assert_allclose(levels, tau.T.reshape(-1, 1))


@pytest.mark.parametrize(
  'make', [kinds.MAKE['implicit_quantile'], kinds.CLASSIC['implicit_quantile']]
)
def test_levels_that_are_not_given_are_drawn_for_each_state(make):
  network = make()
  atari = isinstance(network, networks.NatureTrunk)
  state = kinds.pixels()[:1] if atari else np.zeros((1, 4, 1))
  state = np.repeat(state, 2, axis=0)
  first, second = (
    np.asarray(network(state, num_quantiles=50).quantiles) for _ in range(2)
  )
  both = np.concatenate([first, second])
  assert both.shape == (200, 1)
  assert both.min() >= 0 and both.max() < 1
  assert len(np.unique(both)) > 190, 'neither repeated nor shared'
  assert abs(both.mean() - 0.5) < 6 / np.sqrt(12 * 200)


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
  import dopamine.jax.networks  # noqa: F401

  network = getattr(networks, name)
  if is_configurable:
    for prefix in ('', 'networks.', 'dopamine.jax.networks.'):
      found = gin.config.parse_value(f'@{prefix}{name}').configurable.wrapped
      assert found is network
  else:
    with pytest.raises(ValueError):
      gin.config.parse_value(f'@{name}')
