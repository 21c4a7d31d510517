"""The networks of vectors."""

import functools
import itertools

import gin
from gymnasium import spaces
import keras
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
from dopamine.discrete_domains import gym_lib
from tests.support import networks as kinds


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
  'name', [n for n in kinds.CLASSIC if n != 'full_rainbow']
)
def test_the_networks_of_vectors_start_with_glorot_uniform(name):
  for weight in kinds.classic(name)[0].get_weights():
    if weight.ndim == 2:
      kinds.assert_uniform(weight, kinds.glorot(*weight.shape))
    else:
      assert not weight.any()


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


def test_the_implicit_quantile_network_for_vectors_by_hand():
  network = networks.ClassicControlImplicitQuantileNetwork(
    3, 6, hidden_units=5, min_vals=(-2.0,) * 4, max_vals=(2.0,) * 4
  )
  rng = np.random.default_rng(0)
  state = rng.uniform(-2, 2, (3, 4, 1))
  tau = rng.random((3, 7)).astype(np.float32)
  network(state, num_quantiles=7, quantiles=tau)
  by_layer = [
    kinds.randomize(layer, seed)
    for seed, layer in enumerate(
      (network.features, network.embedding, network.dense1, network.dense2)
    )
  ]
  (w, b), embedding, (w1, b1), (w2, b2) = by_layer
  values, levels = network(state, num_quantiles=7, quantiles=tau)
  features = np.maximum(state[..., 0] / 2 @ w + b, 0)
  joined = kinds.embed(features, tau, *embedding)
  assert_allclose(
    values, np.maximum(joined @ w1 + b1, 0) @ w2 + b2, rtol=1e-3, atol=1e-3
  )
  # Row n * B + b.
  assert_allclose(
    levels, [[tau[b, n]] for n in range(7) for b in range(3)], rtol=1e-6
  )


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


@pytest.mark.parametrize('is_noisy', [True, False])
def test_the_full_network_passes_its_noise_to_the_head(is_noisy):
  network = networks.ClassicControlFullRainbowNetwork(
    2, 3, kinds.HEAD_SUPPORT, hidden_units=4, noisy=is_noisy
  )
  state = np.random.default_rng(0).normal(size=(6, 5, 1))
  network(state)
  kinds.randomize(network)
  assert network.num_noise == network.head.num_noise == 25 * is_noisy
  if not is_noisy:
    return
  noise = np.random.default_rng(1).normal(size=25).astype(np.float32)
  features = network.features(state)
  found = network(state, noise=noise).logits
  assert_allclose(found, network.head(features, noise=noise).logits, rtol=1e-5)
  assert not np.allclose(found, network(state).logits)


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
    arguments['support'] = kinds.HEAD_SUPPORT
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
    assert_allclose(q, np.asarray(p) @ kinds.HEAD_SUPPORT, atol=1e-5)
  else:
    assert_allclose(p, np.full((6, 2, 3), 1 / 3), rtol=1e-6)
    assert_allclose(q, np.asarray(logits).mean(axis=-1), atol=1e-6)
  assert made.num_actions == 2 and made.num_atoms == 3


@pytest.mark.parametrize('name', kinds.CLASSIC)
def test_networks_for_vectors_know_their_actions_and_their_name(name):
  network, _ = kinds.classic(name)
  assert network.num_actions == 2 and network.name == 'Target'


@pytest.mark.parametrize(
  'make',
  [
    functools.partial(
      networks.ClassicControlRainbowNetwork, 2, 51, kinds.SUPPORT
    ),
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


@pytest.mark.parametrize('name', kinds.CLASSIC)
def test_preprocessed_inputs_are_not_rescaled(name):
  if name == 'cartpole_rainbow':
    ranges = {}  # It has its own.
  else:
    ranges = {'min_vals': (-2.0,) * 4, 'max_vals': (2.0,) * 4}
  plain = kinds.CLASSIC[name](**ranges)
  ready = kinds.CLASSIC[name](**ranges, inputs_preprocessed=True)
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
  assert type(outputs) is kinds.DQN
  (weights,) = network.get_weights()
  assert len(weights) == {4: 255, 6: 4095}[len(low)]
  c = np.array(list(itertools.product(range(4), repeat=len(low))))[1:]
  x = (state - low) / (high - low)
  assert_allclose(
    outputs.q_values, np.cos(np.pi * x @ c.T) @ weights, atol=1e-4
  )


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
  of_pixels = kinds.MAKE[name].func
  assert networks.fitting(of_pixels, IMAGE) is of_pixels
  space = spaces.Box(*np.array([[0, -np.inf], [4, np.inf]], np.float32))
  make = networks.fitting(of_pixels, space)
  network = make(*kinds.MAKE[name].args)
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


needs_jax = pytest.mark.skipif(
  keras.config.backend() != 'jax', reason='dopamine.jax needs JAX'
)


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
