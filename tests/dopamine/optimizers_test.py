"""Tests of `dopamine.optimizers` against NumPy, TF1 and Optax."""

import functools

import keras
import numpy as np
from numpy.testing import assert_allclose
import pytest

from dopamine import optimizers

NUM_STEPS = 50


def gradients():
  """Gradients over five orders of magnitude, the same at every call."""
  rng = np.random.default_rng(0)
  scales = np.logspace(-4, 1, NUM_STEPS)
  return [(s * rng.normal(size=6)).astype(np.float32) for s in scales]


def start():
  return np.linspace(-1.0, 1.0, 6).astype(np.float32)


def trajectory(optimizer):
  """The weights after each step, `[NUM_STEPS, 6]`."""
  variable = keras.Variable(start())
  optimizer.build([variable])
  weights = []
  for gradient in gradients():
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    weights.append(np.array(keras.ops.convert_to_numpy(variable.value)))
  return np.stack(weights)


def tf1_trajectory(make):
  tf = pytest.importorskip('tensorflow')
  variable = tf.Variable(start())
  optimizer = make(tf.compat.v1.train)
  weights = []
  for gradient in gradients():
    optimizer.apply_gradients([(tf.constant(gradient), variable)])
    weights.append(variable.numpy())
  return np.stack(weights)


def optax_trajectory(make):
  optax = pytest.importorskip('optax')
  optimizer, weights = make(optax), []
  value = start()
  state = optimizer.init(value)
  for gradient in gradients():
    updates, state = optimizer.update(gradient, state, value)
    value = np.asarray(optax.apply_updates(value, updates))
    weights.append(value)
  return np.stack(weights)


needs_tf = pytest.mark.skipif(
  keras.config.backend() != 'tensorflow', reason='the oracle is TensorFlow'
)
needs_jax = pytest.mark.skipif(
  keras.config.backend() != 'jax', reason='the oracle is Optax'
)


def test_first_rmsprop_step_by_hand():
  # s = .95 * 1 + .05 * 2^2 = 1.15; m = .05 * 2 = .1; s - m^2 = 1.14
  optimizer = optimizers.RMSProp(0.1, decay=0.95, epsilon=0.0)
  variable = keras.Variable(np.zeros(1, np.float32))
  optimizer.build([variable])
  optimizer.apply([np.full(1, 2.0, np.float32)], [variable])
  assert_allclose(variable.value, [-0.1 * 2 / np.sqrt(1.14)], rtol=1e-6)


@needs_tf
@pytest.mark.parametrize('centered', [True, False])
@pytest.mark.parametrize('momentum', [0.0, 0.9])
def test_rmsprop_is_tf1s(centered, momentum):
  def make(train):
    return train.RMSPropOptimizer(
      0.00025, 0.95, momentum, 1e-5, centered=centered
    )

  ours = optimizers.RMSProp(0.00025, 0.95, momentum, 1e-5, centered)
  assert_allclose(trajectory(ours), tf1_trajectory(make), atol=1e-6, rtol=0)
  keras_own = keras.optimizers.RMSprop(
    0.00025, 0.95, momentum, 1e-5, centered=centered
  )
  error = np.abs(trajectory(keras_own) - tf1_trajectory(make)).max()
  assert error > 1e-4, "the test cannot tell TF1's RMSProp from Keras's"


@needs_tf
def test_keras_adam_is_tf1s():
  def make(train):
    return train.AdamOptimizer(0.001, epsilon=0.0003125)

  ours = keras.optimizers.Adam(0.001, epsilon=0.0003125)
  assert_allclose(trajectory(ours), tf1_trajectory(make), atol=1e-6, rtol=0)
  error = np.abs(
    trajectory(optimizers.Adam(0.001, epsilon=0.0003125)) - tf1_trajectory(make)
  ).max()
  assert error > 1e-5, 'the test cannot tell the two epsilons apart'


@needs_jax
def test_adam_is_optaxs():
  ours = optimizers.create_optimizer('adam', 0.001, eps=1.5e-4)
  expected = optax_trajectory(lambda optax: optax.adam(0.001, eps=1.5e-4))
  assert_allclose(trajectory(ours), expected, atol=1e-6, rtol=0)


@needs_jax
@pytest.mark.parametrize('centered', [True, False])
def test_create_optimizer_rmsprop_is_optaxs(centered):
  ours = optimizers.create_optimizer(
    'rmsprop', 0.0025, beta2=0.9, eps=1e-4, centered=centered
  )
  expected = optax_trajectory(
    lambda optax: optax.rmsprop(0.0025, 0.9, 1e-4, centered=centered)
  )
  # Far from 0, where one ulp of float32 is 1e-7.
  assert_allclose(trajectory(ours), expected, atol=1e-6, rtol=1e-6)


def test_create_optimizer_names_what_it_knows():
  with pytest.raises(ValueError, match='Unsupported optimizer lion.*rmsprop'):
    optimizers.create_optimizer('lion')
  (moved,) = steps(optimizers.create_optimizer('sgd', 0.5), [3.0])
  assert moved == -1.5


@needs_jax
@pytest.mark.parametrize('settings', [{}, {'centered': True}])
@pytest.mark.parametrize('name', ['adam', 'rmsprop', 'sgd'])
def test_what_create_optimizer_returns_is_of_optax_too(name, settings):
  jax = pytest.importorskip('jax')
  optax = pytest.importorskip('optax')
  ours = optimizers.create_optimizer(name, 0.1, 0.8, 0.9, 1e-3, **settings)
  gradients = [np.float32([0.5, -2.0]), np.float32([0.1, 0.3])]

  @functools.partial(jax.jit, static_argnums=0)
  def updated(optimizer, gradient, state, params):
    changes, state = optimizer.update(gradient, state, params=params)
    return state, optax.apply_updates(params, changes)

  params = {'w': np.float32([1.0, 2.0])}
  state = ours.init(params)
  for gradient in gradients:
    state, params = updated(ours, {'w': gradient}, state, params)
  variable = keras.Variable(np.float32([1.0, 2.0]))
  copy = type(ours).from_config(ours.get_config())
  for gradient in gradients:
    copy.apply([keras.ops.convert_to_tensor(gradient)], [variable])
  assert_allclose(params['w'], variable.value, rtol=1e-6)
  for chained in (
    optax.chain(optax.clip(1.0), ours),
    optax.masked(ours, {'w': True}),
    optax.MultiSteps(ours, every_k_schedule=2),
  ):
    chained.update({'w': gradient}, chained.init(params), params)


def test_settings_survive_a_copy():
  original = optimizers.RMSProp(
    0.1, 0.7, 0.3, 0.01, centered=False, initial_mean_square=0.5
  )
  assert optimizers.resolve(original) is original
  expected = trajectory(original)
  copy = optimizers.resolve(original)
  assert copy is not original
  assert_allclose(trajectory(copy), expected)


def test_resolve_calls_factories():
  assert isinstance(optimizers.resolve(optimizers.rmsprop), optimizers.RMSProp)
  assert isinstance(optimizers.resolve('adam'), optimizers.Adam)


def test_resolve_refuses_what_it_does_not_know():
  with pytest.raises(ValueError, match='optimizer=7'):
    optimizers.resolve(7)


@needs_tf
def test_resolve_converts_tf1_optimizers():
  tf = pytest.importorskip('tensorflow')
  train = tf.compat.v1.train
  for make in (
    lambda: train.RMSPropOptimizer(0.01, 0.9, 0.1, 1e-3, centered=True),
    lambda: train.AdamOptimizer(0.01, 0.8, 0.9, 1e-3),
    lambda: train.GradientDescentOptimizer(0.01),
  ):
    expected = tf1_trajectory(lambda _, make=make: make())
    ours = trajectory(optimizers.resolve(make()))
    assert_allclose(ours, expected, atol=1e-6, rtol=1e-6)
  with pytest.raises(ValueError, match='FtrlOptimizer'):
    optimizers.resolve(train.FtrlOptimizer(0.1))


def steps(optimizer, gradients):
  """What each gradient moves a weight by, in float32."""
  variable = keras.Variable(np.zeros(1, np.float32))
  optimizer.build([variable])
  moved = []
  for gradient in gradients:
    variable.assign(np.zeros(1, np.float32))
    optimizer.apply(
      [keras.ops.convert_to_tensor(np.float32([gradient]))], [variable]
    )
    moved.append(float(keras.ops.convert_to_numpy(variable.value)[0]))
  return np.array(moved)


@pytest.mark.parametrize('centered', [True, False])
@pytest.mark.parametrize('scale,farther', [(0.1, 1.4), (1e-4, 40)])
def test_the_epsilon_of_create_optimizers_rmsprop_is_inside_the_root(
  centered, scale, farther
):
  decay, eps = 0.999, 1.5e-4
  gradients = scale * np.random.default_rng(0).normal(size=50)
  v = m = 0.0
  inside, outside = [], []  # In float64; outside is Flax's of Dopamine 3.2.1.
  for g in gradients:
    v = decay * v + (1 - decay) * g**2
    m = (decay * m + (1 - decay) * g) * centered
    inside.append(-0.01 * g / np.sqrt(v - m**2 + eps))
    outside.append(-0.01 * g / (np.sqrt(v - m**2) + eps))
  ours = optimizers.create_optimizer('rmsprop', 0.01, centered=centered)
  assert_allclose(steps(ours, gradients), inside, rtol=1e-4)
  assert np.abs(outside).sum() > farther * np.abs(inside).sum()


def test_the_two_adams_add_epsilon_on_either_side_of_the_bias_correction():
  lr, beta1, beta2, eps = 0.01, 0.9, 0.999, 1.5e-4
  gradients = 1e-3 * np.random.default_rng(0).normal(size=50)
  m = v = 0.0
  after, before = [], []  # In float64.
  for t, g in enumerate(gradients, 1):
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    after.append(-lr * m_hat / (np.sqrt(v_hat) + eps))
    rate = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    before.append(-rate * m / (np.sqrt(v) + eps))
  ours = optimizers.create_optimizer('adam', lr)
  assert_allclose(steps(ours, gradients), after, rtol=1e-4, atol=1e-8)
  tf1s = keras.optimizers.Adam(lr, beta1, beta2, eps)
  assert_allclose(steps(tf1s, gradients), before, rtol=1e-4, atol=1e-8)
  assert np.abs(after).sum() > 2 * np.abs(before).sum()
