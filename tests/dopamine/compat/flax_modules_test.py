"""The Flax modules of `dopamine.jax.networks`, and their Keras twins."""

import functools

import gin
import keras
import numpy as np
from numpy.testing import assert_allclose
from numpy.testing import assert_array_equal
import pytest

if keras.config.backend() != 'jax':
  pytest.skip('dopamine.jax needs JAX', allow_module_level=True)

from flax import linen as nn
import jax
import jax.numpy as jnp

from dopamine import networks
from dopamine.compat import flax_modules
from dopamine.compat import flax_networks
from dopamine.jax import networks as jax_networks
from dopamine.jax.agents.dqn import dqn_agent as jax_dqn_agent
from dopamine.jax.agents.full_rainbow import full_rainbow_agent
from dopamine.jax.agents.rainbow import rainbow_agent
from tests.support import inside

A, N = 3, 5
SUPPORT = np.linspace(-1, 2, N, dtype=np.float32)
KEY = jax.random.PRNGKey(3)
PIXELS, COLOURS, VECTOR = (8, 8, 2), (8, 8, 3, 2), (4, 2)
LOW, HIGH = (-2.0, -3.0, -np.inf, 1.0), (2.0, 5.0, np.inf, 9.0)
RANGES = {'min_vals': LOW, 'max_vals': HIGH}

# Name, fields, the shape of a state, what follows it in a call, and what the
# Keras twin is made with after its fields.
CASES = [
  ('NatureDQNNetwork', {}, PIXELS, (), ()),
  ('NatureDQNNetwork', {}, COLOURS, (), ()),
  ('RainbowNetwork', {'num_atoms': N}, PIXELS, (SUPPORT,), (SUPPORT,)),
  ('QuantileNetwork', {'num_atoms': N}, PIXELS, (), ()),
  (
    'ImplicitQuantileNetwork',
    {'quantile_embedding_dim': 6},
    PIXELS,
    (4, KEY),
    (),
  ),
  *(
    (
      'FullRainbowNetwork',
      {'num_atoms': N, **dict.fromkeys(off, False)},
      PIXELS,
      (SUPPORT, True),
      (SUPPORT,),
    )
    for off in ([], ['noisy'], ['dueling', 'noisy'], ['distributional'])
  ),
  ('ClassicControlDQNNetwork', {'hidden_units': 40}, VECTOR, (), ()),
  (
    'ClassicControlDQNNetwork',
    {'num_layers': 12, 'hidden_units': 3, **RANGES},
    VECTOR,
    (),
    (),
  ),
  (
    'ClassicControlRainbowNetwork',
    {'num_atoms': N, 'hidden_units': 40, **RANGES},
    VECTOR,
    (SUPPORT,),
    (SUPPORT,),
  ),
]


def module_of(case, preprocessed=False):
  name, fields, *_ = case
  if preprocessed:
    fields = fields | {'inputs_preprocessed': True}
  return getattr(jax_networks, name)(num_actions=A, **fields)


def network_of(case, preprocessed=False):
  """The Keras twin, with weights."""
  name, fields, shape, _, arguments = case
  fields = fields | ({'support': arguments[0]} if arguments else {})
  if preprocessed:
    fields = fields | {'inputs_preprocessed': True}
  network = getattr(networks, name)(num_actions=A, **fields)
  keras.utils.set_random_seed(5)
  is_asked = name.startswith('Implicit')
  network(np.zeros((1, *shape)), **({'num_quantiles': 1} if is_asked else {}))
  return network


@functools.cache
def params_of(index):
  """The parameters of a case."""
  _, _, shape, after, _ = CASES[index]
  return module_of(CASES[index]).init(KEY, np.ones(shape), *after)


each_case = pytest.mark.parametrize(
  'index', range(len(CASES)), ids=lambda i: f'{i}-{CASES[i][0]}'
)


@pytest.mark.parametrize('preprocessed', [False, True])
@each_case
def test_a_network_and_its_twin_say_the_same(index, preprocessed):
  name, _, shape, after, _ = case = CASES[index]
  module = module_of(case, preprocessed)
  network = network_of(case, preprocessed)
  params = jax.tree_util.tree_map(  # Biases start at 0.
    lambda x: x + 0.01 * np.arange(x.shape[-1]) / x.shape[-1], params_of(index)
  )
  flax_modules.to_keras(params, network)
  state = np.random.default_rng(0).integers(0, 256, shape)
  if preprocessed:
    state = (state / 255.0).astype(np.float32)
  ours = module.apply(params, state, *after)
  if name.startswith('Implicit'):
    levels = ours.quantiles.reshape(1, -1)
    assert len(np.unique(levels)) == 4
    theirs = network(state[None], num_quantiles=4, quantiles=levels)
  else:
    theirs = jax.tree_util.tree_map(lambda x: x[0], network(state[None]))
  assert type(ours) is type(theirs)
  jax.tree_util.tree_map(
    functools.partial(assert_allclose, rtol=1e-6, atol=1e-6), ours, theirs
  )
  assert np.ptp(ours[0]) > 1e-3  # It says something.
  back = flax_modules.from_keras(network, params_of(index))
  jax.tree_util.tree_map(assert_array_equal, back, params)


@each_case
def test_weights_start_as_those_of_the_twin(index):
  params, network = params_of(index), network_of(CASES[index])
  theirs = flax_modules.from_keras(network, params)
  leaves = map(jax.tree_util.tree_leaves, (params, theirs))
  for a, b in zip(*leaves, strict=True):
    assert a.dtype == b.dtype == np.float32
    if np.ptp(a) == 0:  # Zeros, and the deviations of noise.
      assert_allclose(a, b, rtol=1e-6)
    elif a.size >= 300:  # All are uniform.
      assert_allclose(np.abs(a).max(), np.abs(b).max(), rtol=0.03)
      assert_allclose(np.std(a), np.std(b), rtol=0.2)
      assert (a != b).any()


def test_the_parameters_have_the_names_of_old_checkpoints():
  convolutions = {'Conv_0', 'Conv_1', 'Conv_2'}
  assert set(params_of(0)['params']) == convolutions | {'Dense_0', 'Dense_1'}
  names = set(params_of(len(CASES) - 1)['params'])
  assert names == {'layers_0', 'layers_1', 'final_layer'}


def test_parameters_of_another_network_are_refused():
  params = params_of(len(CASES) - 1)
  with pytest.raises(ValueError, match='does not fit NatureDQNNetwork'):
    flax_modules.to_keras(params, network_of(CASES[0]))


# gin --------------------------------------------------------------------------


def test_what_gin_binds_reaches_a_module_that_is_made_directly():
  gin.parse_config("""
    networks.ClassicControlDQNNetwork.hidden_units = 7
    dopamine.jax.networks.ClassicControlDQNNetwork.num_layers = 1
    ClassicControlDQNNetwork.min_vals = %jax_networks.CARTPOLE_MIN_VALS
    ClassicControlDQNNetwork.max_vals = [1, 2, 3, 4]
    of_target/ClassicControlDQNNetwork.hidden_units = 9
    RainbowNetwork.num_atoms = 11
  """)
  module = jax_networks.ClassicControlDQNNetwork(2)
  assert (module.hidden_units, module.num_layers) == (7, 1)
  assert module.min_vals[0] == np.float32(-2.4) or module.min_vals[0] == -2.4
  assert module.max_vals == (1, 2, 3, 4)
  assert jax_networks.ClassicControlDQNNetwork(2, 3).num_layers == 3
  made = jax_networks.ClassicControlDQNNetwork(2, hidden_units=5, min_vals=None)
  assert made.hidden_units == 5 and made.min_vals is None
  assert module.clone(hidden_units=4).hidden_units == 4
  with gin.config_scope('of_target'):
    assert jax_networks.ClassicControlDQNNetwork(2).hidden_units == 9
  assert jax_networks.RainbowNetwork(2).num_atoms == 11
  assert 'RainbowNetwork.num_atoms = 11' in gin.operative_config_str()


def test_arrays_as_ranges_are_no_hindrance_to_compiling():
  low, high = map(np.array, (LOW, HIGH))
  module = jax_networks.ClassicControlDQNNetwork(
    2, min_vals=low, max_vals=high, hidden_units=3
  )
  other = jax_networks.ClassicControlDQNNetwork(2, 2, 3, LOW, HIGH)
  assert module == other and hash(module) == hash(other)


# Noise ------------------------------------------------------------------------


def noisy(**fields):
  module = jax_networks.FullRainbowNetwork(A, N, **fields)
  state = np.ones(PIXELS, np.uint8)
  return module, state, module.init(KEY, x=state, support=SUPPORT)


def test_noise_is_the_keys():
  module, state, params = noisy()
  apply = functools.partial(module.apply, params, state, SUPPORT)
  first = apply(key=KEY).q_values
  assert_array_equal(apply(key=KEY).q_values, first)
  assert (apply(key=jax.random.PRNGKey(4)).q_values != first).any()
  still = apply(eval_mode=True).q_values
  assert (still != first).any()
  assert_array_equal(apply(eval_mode=True, key=KEY).q_values, still)
  with pytest.raises(ValueError, match='got no key'):
    apply()


def test_without_noisy_layers_no_key_is_asked_for():
  module, state, params = noisy(noisy=False)
  assert 'Dense_2' in params['params']
  module.apply(params, state, SUPPORT)


class Two(nn.Module):
  """Two layers of the same sizes, as a subclass might make them."""

  eval_mode: bool = False

  @nn.compact
  def __call__(self, x, key):
    net = jax_networks.feature_layer(key, noisy=True, eval_mode=self.eval_mode)
    return net(x, features=4), net(x, features=4)


def test_the_noise_of_a_layer_is_not_that_of_another():
  x = jnp.arange(3.0)
  params = Two().init(KEY, x, None)
  only_sigma = jax.tree_util.tree_map_with_path(
    lambda path, w: w * ('sigma' in str(path[-1])), params
  )
  a, b = Two().apply(only_sigma, x, KEY)
  assert (a != b).all() and a.all()
  for outputs in Two(eval_mode=True).apply(only_sigma, x, None):
    assert not outputs.any()


def test_a_noisy_layer_is_that_of_keras_with_the_noise_of_its_key():
  x = np.array([1.0, -2.0, 0.5], np.float32)
  layer = jax_networks.NoisyNetwork(rng_key=KEY)
  params = layer.init(KEY, x, 4)
  twin = networks.NoisyDense(4)
  twin(x[None])
  twin.set_weights(
    [
      params['params'][name]
      for name in ('kernel_mu', 'kernel_sigma', 'bias_mu', 'bias_sigma')
    ]
  )
  noise = jax_networks.NoisyNetwork.sample_noise(KEY, (7,))
  assert_allclose(layer.apply(params, x, 4), twin(x[None], noise)[0], rtol=1e-5)
  assert_allclose(jax_networks.NoisyNetwork.f(jnp.array([-4.0, 9.0])), [-2, 3])


def test_a_noisy_layer_without_a_bias_and_with_weights_of_its_own():
  layer = jax_networks.NoisyNetwork(rng_key=KEY)
  params = layer.init(KEY, jnp.ones(3), 4, False, nn.initializers.ones)
  assert set(params['params']) == {'kernel_mu', 'kernel_sigma'}
  assert_array_equal(params['params']['kernel_mu'], np.ones((3, 4)))


def test_plain_feature_layers():
  class Plain(nn.Module):
    @nn.compact
    def __call__(self, x):
      return jax_networks.feature_layer(None, noisy=False)(x, features=2)

  params = Plain().init(KEY, jnp.ones(3))
  assert params['params']['Dense_0']['kernel'].shape == (3, 2)


# Agents -----------------------------------------------------------------------


def make_agent(cls, network, **settings):
  return cls(
    num_actions=A,
    observation_shape=(4,),
    observation_dtype=np.float32,
    stack_size=1,
    network=network,
    seed=1,
    **settings,
  )


@pytest.mark.usefixtures('small_replay')
def test_an_agent_of_hooks_makes_the_twin_of_a_class():
  gin.parse_config('ClassicControlDQNNetwork.hidden_units = 6')
  cls = jax_dqn_agent.JaxDQNAgent
  agent = make_agent(cls, jax_networks.ClassicControlDQNNetwork)
  plain = make_agent(cls, networks.ClassicControlDQNNetwork)
  assert type(agent.online_convnet) is networks.ClassicControlDQNNetwork
  assert agent.identity() == plain.identity()
  for a, b in zip(
    agent.online_convnet.get_weights(),
    plain.online_convnet.get_weights(),
    strict=True,
  ):
    assert_array_equal(a, b)
  agent = make_agent(
    cls,
    jax_networks.ClassicControlDQNNetwork,
    preprocess_fn=jax_networks.identity_preprocess_fn,
  )
  network = networks.unwrapped(agent.online_convnet)
  assert type(network) is networks.ClassicControlDQNNetwork


@pytest.mark.usefixtures('small_replay')
def test_a_subclass_and_a_partial_go_through_the_adapter():
  class Deeper(jax_networks.ClassicControlRainbowNetwork):
    num_layers: int = 3

  partial = functools.partial(Deeper, hidden_units=6)
  agent = make_agent(rainbow_agent.JaxRainbowAgent, partial, num_atoms=N)
  assert isinstance(agent.online_convnet, flax_networks.FlaxNetwork)
  assert len(agent.online_params['params']) == 4
  agent = make_agent(
    jax_dqn_agent.JaxDQNAgent,
    functools.partial(jax_networks.ClassicControlDQNNetwork, hidden_units=6),
  )
  assert set(agent.online_params['params']) == {
    *('layers_0', 'layers_1', 'final_layer')
  }


class OfVectors(nn.Module):
  """Full Rainbow on a vector, as a subclass might write it."""

  num_actions: int
  num_atoms: int
  noisy: bool = True

  @nn.compact
  def __call__(self, x, support, eval_mode=False, key=None):
    net = jax_networks.feature_layer(key, self.noisy, eval_mode=eval_mode)
    x = nn.relu(net(x.reshape(-1), features=8))
    logits = net(x, features=self.num_actions * self.num_atoms)
    logits = logits.reshape(self.num_actions, self.num_atoms)
    p = nn.softmax(logits)
    return networks.RainbowNetworkType(p @ support, logits, p)


class Deaf(OfVectors):
  def __call__(self, x, support):
    return super().__call__(x, support, eval_mode=True)


@pytest.mark.usefixtures('small_replay')
def test_full_rainbow_with_a_flax_network_of_ones_own():
  cls = full_rainbow_agent.JaxFullRainbowAgent
  agent = make_agent(cls, OfVectors, num_atoms=N)
  network, state = agent.online_convnet, np.ones((2, 4, 1), np.float32)
  params, support = network.params, agent._support

  def wanted(**how):
    return agent.online_convnet.module.apply(params, state[0], support, **how)

  still, noise = np.zeros(2, np.float32), np.float32([0.5, -1.5])
  noisy = wanted(key=noise.view(np.uint32)).logits
  # Of one noise for all; of one each; and none, as in evaluation.
  for row in network(state, noise=noise).logits:
    assert_allclose(row, noisy, rtol=1e-5)
  rows = network(state, noise=np.stack([noise, still])).logits
  assert_allclose(rows[0], noisy, rtol=1e-5)
  assert_allclose(rows[1], wanted(eval_mode=True).logits, rtol=1e-5)
  assert_allclose(network(state).logits[0], rows[1], rtol=1e-5)
  assert np.abs(rows[0] - rows[1]).max() > 1e-3

  before = jax.tree_util.tree_map(np.array, params)
  batches = agent._sample_batches
  for i in range(20):
    agent._store_transition(np.ones(4), i % A, 1.0, i % 5 == 4)
  inside.learner(agent).update(batches(1))
  after = agent.online_params['params']['NoisyNetwork_0']['kernel_sigma']
  first = before['params']['NoisyNetwork_0']['kernel_sigma']
  assert np.abs(after - first).max() > 1e-6  # It learns where to explore.

  with pytest.raises(ValueError, match='Deaf has no noise.*noisy = False'):
    make_agent(cls, Deaf, num_atoms=N)
  quiet = make_agent(cls, Deaf, num_atoms=N, noisy=False)
  assert quiet.online_convnet.num_noise == 0


def test_the_table_of_twins_goes_both_ways():
  for name in {name for name, *_ in CASES}:
    module, network = getattr(jax_networks, name), getattr(networks, name)
    assert flax_modules.TWINS[module] is network
    assert flax_modules.TWINS[network] is module
