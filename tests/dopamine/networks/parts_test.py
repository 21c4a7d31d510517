"""Layers and heads, by hand."""

import gin
import keras
from keras import ops
import numpy as np
from numpy.testing import assert_allclose
import pytest

from dopamine import networks
from tests.support import networks as kinds


def test_outputs_are_named_tuples():
  outputs = networks.CartpoleDQNNetwork(2)(ops.zeros((1, 4, 1)))
  assert isinstance(outputs, networks.DQNNetworkType)
  assert outputs._fields == ('q_values',)
  assert isinstance(networks.CartpoleDQNNetwork(2), keras.Model)


def test_the_fields_are_those_of_the_original():
  assert kinds.C51._fields == ('q_values', 'logits', 'probabilities')
  assert kinds.IQN._fields == ('quantile_values', 'quantiles')


def test_the_embedding_by_hand():
  rng = np.random.default_rng(1)
  features, tau = rng.normal(size=(3, 5)), rng.random((3, 4))
  embedding = networks.QuantileEmbedding(7)
  arguments = (features.astype(np.float32), tau.astype(np.float32))
  embedding(*arguments)
  kernel, bias = kinds.randomize(embedding)
  assert kernel.shape == (7, 5)
  found = embedding(*arguments)
  expected = kinds.embed(features, tau, kernel, bias)
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
  weights = kinds.randomize(layer)
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


def make_head(**kwargs):
  """A head of 2 actions, 3 atoms and 4 hidden units on 5 features."""
  head = networks.RainbowHead(
    2, 3, kinds.HEAD_SUPPORT, hidden_units=4, **kwargs
  )
  x = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
  head(x)
  return head, x, kinds.randomize(head)


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
    assert type(outputs) is kinds.DQN
    assert_allclose(outputs.q_values, logits.sum(axis=-1), atol=1e-3)
    return
  assert type(outputs) is kinds.C51
  assert_allclose(outputs.logits, logits, atol=1e-3)
  p = np.exp(logits - logits.max(axis=-1, keepdims=True))
  p /= p.sum(axis=-1, keepdims=True)
  assert_allclose(outputs.probabilities, p, atol=1e-3)
  assert_allclose(outputs.q_values, p @ kinds.HEAD_SUPPORT, atol=1e-3)


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


needs_jax = pytest.mark.skipif(
  keras.config.backend() != 'jax', reason='dopamine.jax needs JAX'
)


@needs_jax
def test_noisy_network_is_a_gin_reference():
  import dopamine.jax.networks  # noqa: F401

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
def test_jax_preprocessing():
  from dopamine.jax import networks as jax_networks

  found = jax_networks.preprocess_atari_inputs(np.array([0, 51], np.uint8))
  assert_allclose(found, [0.0, 0.2], rtol=1e-6)
  x = np.array([0, 51], np.uint8)
  assert jax_networks.identity_preprocess_fn(x) is x
