"""Networks are copied, saved and loaded by Keras's own means."""

import copy
import functools
import json
import pickle
import subprocess
import sys

import gin
import keras
from keras import layers
import numpy as np
from numpy.testing import assert_array_equal
import pytest

from dopamine import networks
from dopamine import optimizers
from dopamine.agents.dqn import dqn_agent
from dopamine.agents.full_rainbow import full_rainbow_agent
from dopamine.agents.implicit_quantile import implicit_quantile_agent
from dopamine.agents.quantile import quantile_agent
from dopamine.agents.rainbow import rainbow_agent
from dopamine.settings import gin_files
from tests.support import networks as kinds

ATOMS = [-1.0, 0.0, 3.0]
RANGES = {
  'min_vals': np.float32([-2, -np.inf, 0, 0]),
  'max_vals': (2.0, np.inf, 1, 9),
}
TASKS = {
  'Cartpole': ('DQN', 'Rainbow', 'FourierDQN'),
  'Acrobot': ('DQN', 'Rainbow', 'FourierDQN'),
  'MountainCar': ('DQN',),
  'LunarLander': ('DQN',),
}
SIZES = {'Cartpole': 4, 'Acrobot': 6, 'MountainCar': 2, 'LunarLander': 8}
MAKE = {f'pixels {name}': make for name, make in kinds.MAKE.items()}
MAKE |= {f'vectors {name}': make for name, make in kinds.CLASSIC.items()}
MAKE |= {
  f'ranges {name}': functools.partial(make, hidden_units=7, **RANGES)
  for name, make in kinds.CLASSIC.items()
}
MAKE |= {
  f'{task} {kind}': functools.partial(
    getattr(networks, f'{task}{kind}Network'),
    2,
    **({'num_atoms': 3, 'support': ATOMS} if kind == 'Rainbow' else {}),
  )
  for task, of_task in TASKS.items()
  for kind in of_task
}
MAKE |= {
  'basic': functools.partial(
    networks.BasicDiscreteDomainNetwork, *RANGES.values(), 2, 3, num_layers=1
  ),
  'fourier': functools.partial(
    networks.FourierDQNNetwork, [0.0] * 4, (1.0,) * 4, 2, 2
  ),
  'preprocessed': lambda name: networks.Preprocessed(
    networks.NatureDQNNetwork(2, name=name, inputs_preprocessed=True),
    networks.scale_pixels,
  ),
}


def state_of(name):
  if name.startswith(('pixels', 'preprocessed')):
    return kinds.pixels()
  rng = np.random.default_rng(0)
  return rng.normal(size=(2, SIZES.get(name.partition(' ')[0], 4), 1))


def assert_same(a, b, state):
  """Whether two networks are of a kind and return the same."""
  assert type(a) is type(b) and a is not b and a.name == b.name
  asked = {}
  if 'Implicit' in type(a).__name__:
    levels = np.full((2, 3), 0.3, np.float32)
    asked = {'num_quantiles': 3, 'quantiles': levels}
  for ours, theirs in zip(
    keras.tree.flatten(a(state, **asked)),
    keras.tree.flatten(b(state, **asked)),
    strict=True,
  ):
    assert_array_equal(ours, theirs)


@functools.cache
def network_of(name):
  network = MAKE[name](name='Online')
  kinds.outputs_of(network, state_of(name))
  return network


def saved_and_loaded(network, folder):
  network.save(folder / 'x.keras')
  return keras.models.load_model(folder / 'x.keras')


@pytest.mark.parametrize('name', MAKE)
def test_a_network_is_copied_saved_and_loaded(name, tmp_path):
  network, state = network_of(name), state_of(name)
  copied = copy.deepcopy(network)
  assert_same(network, copied, state)
  assert_same(network, saved_and_loaded(network, tmp_path), state)
  # The copy is independent.
  before = [w.copy() for w in network.get_weights()]
  copied.set_weights([w + 1 for w in copied.get_weights()])
  for ours, old in zip(network.get_weights(), before, strict=True):
    assert_array_equal(ours, old)


@pytest.mark.parametrize('name', [n for n in MAKE if n != 'preprocessed'])
def test_a_config_is_text_and_has_every_argument(name):
  """So gin has nothing to add when a network is made of it."""
  network, state = network_of(name), state_of(name)
  config = json.loads(json.dumps(network.get_config()))
  names, _ = gin_files.parameters(type(network))
  assert names - {'self'} <= config.keys()
  again = type(network).from_config(config)
  assert again.get_config() == network.get_config()
  clone = keras.models.clone_model(network)
  for other in (again, clone):
    kinds.outputs_of(other, state)
    other.set_weights(network.get_weights())
    assert_same(network, other, state)


@pytest.mark.parametrize('name', ['pixels rainbow', 'ranges full_rainbow'])
def test_a_network_is_pickled(name):
  network = network_of(name)
  assert_same(network, pickle.loads(pickle.dumps(network)), state_of(name))


def test_what_gin_binds_stays_in_a_file(tmp_path):
  bound = (
    'BasicDiscreteDomainNetwork.hidden_units = {0}\n'
    'CartpoleRainbowNetwork.num_layers = {0}\n'
    'BasicDiscreteDomainNetwork.activation_fn = "{1}"\n'
  )
  state = state_of('Cartpole')
  try:
    gin.parse_config(bound.format(3, 'tanh'))
    network = networks.CartpoleRainbowNetwork(2, 3, ATOMS, name='Online')
    network(state)
    gin.parse_config(bound.format(5, 'relu'))
    for other in (
      copy.deepcopy(network),
      saved_and_loaded(network, tmp_path),
    ):
      assert len(other.net.hidden) == 3 and other.net.hidden[0].units == 3
      assert_same(network, other, state)
  finally:
    gin.clear_config()


def test_a_file_needs_the_import_of_the_networks_alone(tmp_path):
  """And names nothing that moves: no module of ours is in it."""
  network = network_of('ranges quantile')
  path = tmp_path / 'x.keras'
  network.save(path)
  code = (
    'import keras, dopamine.networks\n'
    f'print(keras.models.load_model({str(path)!r}).get_weights()[0].sum())'
  )
  result = subprocess.run(
    [sys.executable, '-W', 'ignore', '-c', code],
    capture_output=True,
    text=True,
    check=True,
  )
  assert result.stdout.strip() == str(network.get_weights()[0].sum())
  for name, cls in vars(networks).items():
    if isinstance(cls, type) and issubclass(cls, keras.Layer):
      if name not in ('NatureTrunk', 'Network'):
        registered = keras.saving.get_registered_name(cls)
        assert registered == f'dopamine>{name}'


def test_trainable_stays():
  network = networks.CartpoleDQNNetwork(2)
  network.trainable = False
  assert not copy.deepcopy(network).trainable


def test_drawn_levels_are_drawn_again_by_a_copy():
  network = network_of('ranges implicit_quantile')
  copied = copy.deepcopy(network)
  state = state_of('ranges implicit_quantile')
  first = network(state, num_quantiles=9).quantiles
  assert_array_equal(first, copied(state, num_quantiles=9).quantiles)


# Agents -----------------------------------------------------------------------


@pytest.mark.parametrize(
  'agent,network',
  [
    (dqn_agent.DQNAgent, networks.ClassicControlDQNNetwork),
    (rainbow_agent.RainbowAgent, networks.ClassicControlRainbowNetwork),
    (quantile_agent.QuantileAgent, networks.ClassicControlQuantileNetwork),
    (
      implicit_quantile_agent.ImplicitQuantileAgent,
      networks.ClassicControlImplicitQuantileNetwork,
    ),
    (
      full_rainbow_agent.FullRainbowAgent,
      networks.ClassicControlFullRainbowNetwork,
    ),
  ],
)
def test_an_agent_acts_with_a_copy(agent, network, tmp_path):
  gin.parse_config('OutOfGraphReplayBuffer.replay_capacity = 100')
  try:
    make = functools.partial(
      agent,
      num_actions=3,
      observation_shape=(4,),
      observation_dtype=np.float64,
      stack_size=1,
      network=functools.partial(network, hidden_units=8),
      seed=1,
    )
    one, other = make(), make()
  finally:
    gin.clear_config()
  copied = copy.deepcopy(one.online_convnet)
  loaded = saved_and_loaded(one.online_convnet, tmp_path)
  for network in (copied, loaded):
    for a, b in zip(
      one.online_convnet.get_weights(), network.get_weights(), strict=True
    ):
      assert_array_equal(a, b)
  other.online_convnet = copied
  one.eval_mode = other.eval_mode = True
  observations = np.random.default_rng(0).normal(size=(9, 4))
  actions = [
    [each.begin_episode(o) for o in observations] for each in (one, other)
  ]
  assert actions[0] == actions[1]


# What users write -------------------------------------------------------------


class Extra(networks.NatureDQNNetwork):
  """One more layer, and fewer arguments."""

  def __init__(self, num_actions, name=None):
    super().__init__(num_actions, name)
    self.extra = layers.Dense(num_actions)

  def call(self, state):
    return networks.DQNNetworkType(self.extra(self.outputs(state)))


@gin.configurable
class Wide(networks.ClassicControlDQNNetwork):
  """An argument more, that gin may bind."""

  def __init__(self, num_actions, name=None, width=3, **kwargs):
    super().__init__(num_actions, name=name, **kwargs)
    self.extra, self.last = layers.Dense(width), layers.Dense(num_actions)

  def call(self, state):
    return networks.DQNNetworkType(self.last(self.extra(self.net(state))))


@keras.saving.register_keras_serializable('research')
class Registered(Wide):
  """What is to be in a file, too."""

  def __init__(self, num_actions, width=3, **kwargs):
    super().__init__(num_actions, width=width, **kwargs)
    self.width = width

  def get_config(self):
    return super().get_config() | {'width': self.width}


def test_networks_of_users_are_copied(tmp_path):
  extra = Extra(3, 'Online')
  extra(kinds.pixels())
  assert_same(extra, copy.deepcopy(extra), kinds.pixels())
  state = state_of('')
  gin.parse_config('Wide.width = 9\nWide.hidden_units = 5')
  try:
    for make, width in (
      (Wide, 9),
      (functools.partial(Wide, width=11), 11),
      (functools.partial(Registered, width=11), 11),
    ):
      wide = make(3, name='Online')
      wide(state)
      copied = copy.deepcopy(wide)
      assert copied.extra.units == width and copied.net.hidden_units == 5
      assert_same(wide, copied, state)
    loaded = saved_and_loaded(wide, tmp_path)
    assert loaded.extra.units == 11
    assert_same(wide, loaded, state)
  finally:
    gin.clear_config()


def test_activations_of_users(tmp_path):
  def twice(x):
    return 2 * keras.ops.relu(x)

  state = state_of('')
  network = networks.CartpoleDQNNetwork(2, activation_fn=twice)
  network(state)
  assert_same(network, copy.deepcopy(network), state)
  with pytest.raises(TypeError, match='register_keras_serializable'):
    saved_and_loaded(network, tmp_path)
  keras.saving.register_keras_serializable('research', 'twice')(twice)
  assert_same(network, saved_and_loaded(network, tmp_path), state)


def test_layers_in_models_of_users(tmp_path):
  x = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
  model = keras.Sequential([networks.NoisyDense(5, 'relu'), layers.Dense(2)])
  inputs = keras.Input((4,))
  outputs = networks.RainbowHead(2, 3, ATOMS, hidden_units=4, name='head')(
    networks.NoisyDense(3, name='noisy')(inputs)
  )
  for made in (model, keras.Model(inputs, outputs.q_values)):
    made(x)
    for other in (copy.deepcopy(made), saved_and_loaded(made, tmp_path)):
      assert_same(made, other, x)
  embedding = networks.QuantileEmbedding(3)
  embedding(x, x)
  assert_array_equal(copy.deepcopy(embedding)(x, x), embedding(x, x))


@pytest.mark.parametrize(
  'make',
  [
    lambda: optimizers.RMSProp(0.1, momentum=0.5),
    lambda: optimizers.RMSProp(
      keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5), centered=False
    ),
    lambda: optimizers.Adam(0.1),
  ],
)
def test_optimizers_are_saved_with_a_compiled_model(make, tmp_path):
  optimizer = make()
  model = keras.Sequential([layers.Dense(2)])
  model.compile(optimizer=optimizer, loss='mse')
  model.fit(np.ones((2, 4)), np.zeros((2, 2)), verbose=0)
  for other in (copy.deepcopy(model), saved_and_loaded(model, tmp_path)):
    assert type(other.optimizer) is type(optimizer)
    assert other.optimizer.get_config() == optimizer.get_config()
    for ours, theirs in zip(
      optimizer.variables, other.optimizer.variables, strict=True
    ):
      assert_array_equal(ours, theirs)
