"""Weights that Dopamine 1 to 3 saved go on giving the values they gave."""

import functools
import os
import pathlib
import pickle
import re

import gin
import jax
import keras
import numpy as np
from numpy.testing import assert_allclose
from numpy.testing import assert_array_equal
import pytest

from dopamine import networks
from dopamine import optimizers
from dopamine.agents.dqn import dqn_agent
from dopamine.agents.implicit_quantile import implicit_quantile_agent
from dopamine.agents.quantile import quantile_agent
from dopamine.agents.rainbow import rainbow_agent
from dopamine.compat import old_weights
from dopamine.files import atomic
from dopamine.files import safe_pickle
from tests.support import inside
from tests.support import old_files
from tests.support import research_code

AGENTS = {
  'dqn': (dqn_agent.DQNAgent, {}),
  'rainbow': (rainbow_agent.RainbowAgent, {'num_atoms': old_files.ATOMS}),
  'quantile': (
    quantile_agent.QuantileAgent,
    {'num_atoms': old_files.ATOMS},
  ),
  'iqn': (
    implicit_quantile_agent.ImplicitQuantileAgent,
    {'quantile_embedding_dim': old_files.EMBEDDING},
  ),
  'cartpole': (
    dqn_agent.DQNAgent,
    {'network': networks.CartpoleDQNNetwork},
  ),
  'cartpole_rainbow': (
    rainbow_agent.RainbowAgent,
    {
      'network': networks.CartpoleRainbowNetwork,
      'num_atoms': old_files.ATOMS,
    },
  ),
}

OPTIMIZERS = {
  'rmsprop': optimizers.rmsprop,
  'rmsprop_momentum': functools.partial(
    optimizers.RMSProp, momentum=0.9, centered=False
  ),
  'rmsprop_plain': functools.partial(optimizers.RMSProp, centered=False),
  'adam': optimizers.tf1_adam,
}


def make_agent(kind, optimizer='rmsprop', **kwargs):
  cls, settings = AGENTS[kind]
  is_vector = kind.startswith('cartpole')
  defaults = dict(
    num_actions=old_files.A,
    observation_shape=(4,) if is_vector else old_files.SHAPE,
    observation_dtype=np.float64 if is_vector else np.uint8,
    stack_size=1 if is_vector else old_files.STACK,
    optimizer=OPTIMIZERS[optimizer],
    seed=5,
  )
  gin.bind_parameter('OutOfGraphReplayBuffer.replay_capacity', 50)
  try:
    return cls(**(defaults | settings | kwargs))
  finally:
    gin.clear_config()


def values(agent, kind):
  """What both networks of an agent say of the states."""
  states, found = old_files.states(kind), []
  for network in (agent.online_convnet, agent.target_convnet):
    if kind == 'iqn':
      outputs = network(
        states, num_quantiles=7, quantiles=old_files.quantiles()
      )
      found.append(np.asarray(outputs.quantile_values))
    else:
      found.append(np.asarray(network(states).q_values))
  return found


def assert_same_values(agent, kind, online, target):
  for found, expected in zip(
    values(agent, kind), (online, target), strict=True
  ):
    assert np.abs(expected).max() > 0.01
    # To 1e-6 of what is summed: float32 has no more.
    largest = old_files.SUPPORT[-1] if 'rainbow' in kind else 1.0
    scale = max(largest, np.abs(expected).max())
    assert_allclose(found, expected, rtol=0, atol=1e-6 * scale)


# TensorFlow's -----------------------------------------------------------------


def under_both(first, *others):
  """What is tested under both backends, and what under one."""
  once = pytest.mark.no_backend
  return [first, *(pytest.param(other, marks=once) for other in others)]


@pytest.mark.parametrize('era', under_both('keras', 'slim', 'keras3'))
@pytest.mark.parametrize('kind', AGENTS)
def test_values_are_those_of_the_file(tmp_path, kind, era):
  old = old_files.write_tf(tmp_path, 199, kind, era)
  agent = make_agent(kind)
  agent.load_weights(tmp_path / 'tf_ckpt-199')
  assert_same_values(agent, kind, old['Online'], old['Target'])


@pytest.mark.parametrize('era', under_both('keras', 'slim'))
@pytest.mark.parametrize(
  'kind, optimizer',
  [
    *(('dqn', name) for name in OPTIMIZERS),
    ('rainbow', 'adam'),
    ('iqn', 'adam'),
    ('cartpole', 'rmsprop'),
  ],
)
def test_training_goes_on(tmp_path, kind, optimizer, era):
  """The next update is the one that the old optimizer would have made."""
  old = old_files.write_tf(tmp_path, 3, kind, era, optimizer)
  agent = make_agent(kind, optimizer, allow_partial_reload=True)
  assert agent.unbundle(tmp_path, 3, None)
  assert_same_values(agent, kind, old['Online'], old['Target'])
  names = old_files.layer_names(kind, era, 'Online')
  order = old_files.OURS.get(kind, range(len(names)))
  names = [name for i in order for name in names[i]]
  gradients = [g for i in order for g in old['gradients'][i]]
  weights = agent.online_convnet.trainable_variables
  for name, variable in zip(names, weights, strict=True):
    assert_array_equal(variable, old['before'][name])
  inside.learner(agent).optimizer.apply(
    [keras.ops.convert_to_tensor(g) for g in gradients], weights
  )
  for name, variable in zip(names, weights, strict=True):
    moved = old['after'][name] - old['before'][name]
    found = np.asarray(variable) - old['before'][name]
    assert np.abs(moved).max() > 1e-5
    assert_allclose(found, moved, rtol=2e-3, atol=1e-7)


@pytest.mark.no_backend
@pytest.mark.parametrize(
  'backup', ['', '.index', '.meta', '.data-00000-of-00001']
)
def test_any_file_of_a_checkpoint_names_it(tmp_path, backup):
  old = old_files.write_tf(tmp_path, 3, 'cartpole', 'keras')
  agent = make_agent('cartpole')
  agent.load_weights(f'{tmp_path}/tf_ckpt-3{backup}')
  assert_same_values(agent, 'cartpole', old['Online'], old['Target'])


@pytest.mark.no_backend
def test_another_optimizer_starts_afresh_and_says_so(tmp_path, caplog):
  old_files.write_tf(tmp_path, 3, 'cartpole', 'keras', 'adam')
  agent = make_agent('cartpole', 'rmsprop', allow_partial_reload=True)
  with caplog.at_level('WARNING'):
    agent.unbundle(tmp_path, 3, None)
  assert re.search(
    r'tf_ckpt-3 has nothing of Online\S+kernel .*RMSProp .*afresh', caplog.text
  )
  assert_array_equal(inside.learner(agent).optimizer._mean_squares[0], 1.0)


@pytest.mark.no_backend
@pytest.mark.parametrize(
  'written, kind, settings, text',
  [
    ('dqn', 'dqn', {'num_actions': 4}, r'd_1/kernel .*512, 3\).*512, 4\)'),
    ('dqn', 'rainbow', {}, r'connected_1/kernel .*512, 3\).*512, 15\)'),
    ('rainbow', 'dqn', {}, r'connected_1/kernel .*512, 15\).*512, 3\)'),
    ('iqn', 'dqn', {}, 'has 6 layers .*Online/dense/kernel.*the network 5'),
    ('dqn', 'iqn', {}, 'has 5 layers .*the network 6 .*quantile_embedding'),
    ('dqn', 'dqn', {'stack_size': 1}, r'Conv/kernel .*8, 4, 32\).*8, 1, 32\)'),
    ('cartpole', 'dqn', {}, 'has 3 layers'),
  ],
)
def test_what_does_not_fit_is_named(tmp_path, written, kind, settings, text):
  old_files.write_tf(tmp_path, 7, written, 'keras')
  agent = make_agent(kind, **settings)
  before = agent.online_convnet.get_weights()
  with pytest.raises(ValueError, match=text) as error:
    agent.load_weights(tmp_path / 'tf_ckpt-7')
  assert 'tf_ckpt-7' in str(error.value)
  for a, b in zip(before, agent.online_convnet.get_weights(), strict=True):
    assert_array_equal(a, b)


@pytest.mark.no_backend
def test_other_variables_are_no_agent(tmp_path):
  tf, v1 = old_files.tf, old_files.v1
  with tf.Graph().as_default(), v1.Session() as session:
    v1.get_variable('policy/kernel', initializer=np.ones(3, np.float32))
    saver = v1.train.Saver()
    session.run(v1.global_variables_initializer())
    saver.save(session, str(tmp_path / 'tf_ckpt'), global_step=1)
  with pytest.raises(atomic.DamagedError, match='Online/.*policy/kernel'):
    old_weights.read(str(tmp_path / 'tf_ckpt-1'))


def test_an_agent_with_a_third_network_says_that_it_has_one(tmp_path):
  class Agent(dqn_agent.DQNAgent):
    def _build_networks(self):
      super()._build_networks()
      self.encoder = keras.layers.Dense(2)
      self.encoder.build((None, 3))

  old_files.write_tf(tmp_path, 3, 'cartpole', 'keras')
  AGENTS['third'] = (Agent, AGENTS['cartpole'][1])
  try:
    agent = make_agent('third', observation_shape=(4,), stack_size=1)
  finally:
    del AGENTS['third']
  with pytest.raises(ValueError, match='Agent has encoder as well'):
    agent.load_weights(tmp_path / 'tf_ckpt-3')


# JAX's ------------------------------------------------------------------------


def write_jax(folder, number, online, target, **others):
  bundle = {'online_params': online, 'target_params': target, **others}
  path = pathlib.Path(folder, f'ckpt.{number}')
  path.write_bytes(pickle.dumps(bundle))
  return path


@pytest.mark.parametrize('form', under_both('linen', 'dict', 'pre-linen'))
@pytest.mark.parametrize('kind', AGENTS)
def test_values_are_those_of_flax(tmp_path, kind, form):
  if form == 'pre-linen' and kind.startswith('cartpole'):
    form = 'dict'
  online, online_values = old_files.flax_params(kind, form, 1)
  target, target_values = old_files.flax_params(kind, form, 2)
  path = write_jax(tmp_path, 199, online, target, state=np.zeros(3))
  agent = make_agent(kind)
  agent.load_weights(path)
  assert_same_values(agent, kind, online_values, target_values)
  agent = make_agent(kind, allow_partial_reload=True)
  state = np.arange(agent.state.size, dtype=np.float64).reshape(
    agent.state.shape[1:]
  )
  data = dict(state=state, training_steps=np.int64(77))
  path = write_jax(tmp_path, 3, online, target, **data)
  assert agent.unbundle(tmp_path, 3, atomic.read_pickle(str(path)))
  assert_same_values(agent, kind, online_values, target_values)
  assert agent.training_steps == 77 and type(agent.training_steps) is int
  assert_array_equal(agent.state[0], state.astype(agent.state.dtype))


@pytest.mark.no_backend
def test_pickles_of_older_jax_and_flax(tmp_path):
  """FrozenDicts by their attributes, arrays by the names of their time."""
  online, online_values = old_files.flax_params('dqn', 'linen')
  modern = write_jax(tmp_path, 1, online, online).read_bytes()
  pickled = pickle.loads(modern)
  assert type(pickled['online_params']).__name__ == 'FrozenDict'

  class FrozenDict:
    __slots__ = ('_dict', '_hash')

    def __reduce__(self):
      return _new, (FrozenDict,), (None, {'_dict': self._dict, '_hash': None})

  FrozenDict.__module__ = 'flax.core.frozen_dict'
  FrozenDict.__qualname__ = 'FrozenDict'
  import copyreg

  import flax.core.frozen_dict as module

  _new = copyreg.__newobj__
  old = FrozenDict()
  old._dict = pickled['online_params'].unfreeze()
  original, module.FrozenDict = module.FrozenDict, FrozenDict
  try:
    data = pickle.dumps({'online_params': old}, 3)
  finally:
    module.FrozenDict = original
  assert b'flax.core.frozen_dict\nFrozenDict\n' in data
  for name in (
    b'jax._src.device_array\nreconstruct_device_array\n',
    b'jax._src.array\n_reconstruct_array\n',
  ):
    path = tmp_path / 'ckpt.2'
    path.write_bytes(
      data.replace(b'jax._src.array\n_reconstruct_array\n', name)
    )
    agent = make_agent('dqn')
    agent.load_weights(path)
    assert_same_values(agent, 'dqn', online_values, online_values)


@pytest.mark.no_backend
def test_what_is_no_checkpoint_of_a_jax_agent_says_so(tmp_path):
  path = tmp_path / 'ckpt.3'
  path.write_bytes(pickle.dumps({'state': np.zeros(3), 'training_steps': 4}))
  agent = make_agent('dqn')
  with pytest.raises(
    atomic.DamagedError, match='ckpt.3 .*no online_params.*state.*tf_ckpt-N'
  ):
    agent.load_weights(path)
  with pytest.raises(FileNotFoundError):
    agent.load_weights(tmp_path / 'ckpt.4')
  params, _ = old_files.flax_params('rainbow', 'linen')
  path = write_jax(tmp_path, 5, params, params)
  with pytest.raises(
    ValueError, match=r'ckpt.5.*\(15,\)|params/Dense_1/\S+ in \S+ckpt.5 has'
  ):
    agent.load_weights(path)


# Networks of one's own --------------------------------------------------------


class Perceptron(keras.Model):
  """Layers of `names` and `sizes`, attributes in another order than calls."""

  def __init__(self, names, sizes, name=None):
    super().__init__(name=name)
    self.first = [
      keras.layers.Dense(size, name=name)
      for name, size in reversed(list(zip(names, sizes, strict=True)))
    ]
    self.flatten = keras.layers.Flatten()

  def call(self, state):
    x = self.flatten(keras.ops.cast(state, 'float32'))
    for layer in reversed(self.first):
      x = keras.ops.relu(layer(x)) if layer is not self.first[0] else layer(x)
    return networks.DQNNetworkType(x)


def own_agent(names, sizes):
  AGENTS['own'] = (
    dqn_agent.DQNAgent,
    {
      'network': lambda num_actions, name: Perceptron(names, sizes, name=name),
      'observation_shape': (4,),
      'observation_dtype': np.float64,
      'stack_size': 1,
    },
  )
  try:
    return make_agent('own')
  finally:
    del AGENTS['own']


def own_file(folder, names, sizes, seed=0):
  """A file of such a network, and what the network says of the states."""
  rng = np.random.default_rng(seed)
  params, width = {}, 4
  x = old_files.states('cartpole')[..., 0].astype(np.float32)
  for name, size in zip(names, sizes, strict=True):
    kernel = rng.normal(size=(width, size)).astype(np.float32)
    bias = rng.normal(size=size).astype(np.float32)
    params[name] = {'kernel': kernel, 'bias': bias}
    x = x @ kernel + bias
    if name != names[-1]:
      x = np.maximum(x, 0)
    width = size
  return write_jax(folder, 1, params, params), x


@pytest.mark.no_backend
def test_layers_of_the_same_names_are_the_same(tmp_path):
  """Whatever their order, and shapes that are alike."""
  names, sizes = ['input', 'encoder', 'body', 'head'], [16, 16, 16, 3]
  path, expected = own_file(tmp_path, names, sizes)
  agent = own_agent(names, sizes)
  agent.load_weights(path)
  found = agent.online_convnet(old_files.states('cartpole')).q_values
  assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.no_backend
def test_layers_of_other_names_are_told_by_their_shapes(tmp_path):
  path, expected = own_file(tmp_path, ['x', 'c', 'a'], [16, 8, 3])
  agent = own_agent(['one', 'two', 'three'], [16, 8, 3])
  agent.load_weights(path)
  found = agent.online_convnet(old_files.states('cartpole')).q_values
  assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.no_backend
@pytest.mark.parametrize(
  'names, sizes, text',
  [
    (['x', 'y', 'z', 'q'], [16, 16, 16, 3], 'which layer .* is .*Name the'),
    (['fc', 'fc', 'fc', 'fc'], [16, 16, 16, 3], 'which layer .* is .*Name the'),
    (['x', 'y', 'z', 'q'], [16, 16, 8, 3], r'no layer .*q/kernel.*\(8, 3\)'),
    (['x', 'y', 'q'], [16, 16, 3], 'which layer|has 4 layers'),
    (['x', 'q'], [16, 3], 'has 4 layers'),
  ],
)
def test_layers_that_cannot_be_told_are_refused(tmp_path, names, sizes, text):
  path, _ = own_file(tmp_path, ['in', 'b', 'a', 'out'], [16, 16, 16, 3])
  with pytest.raises(ValueError, match=text) as error:
    own_agent(names, sizes).load_weights(path)
  assert 'ckpt.1' in str(error.value)


@pytest.mark.skipif(keras.config.backend() != 'jax', reason='of JAX')
def test_a_flax_network_gets_its_parameters_back(tmp_path):
  agent = research_code.flax_agent('dqn', seed=1)
  params = jax.tree_util.tree_map(np.asarray, agent.online_params)
  path = write_jax(tmp_path, 1, params, params)
  other = research_code.flax_agent('dqn', seed=2)
  other.load_weights(path)
  states = old_files.states('cartpole')[..., None]
  assert_array_equal(
    other.online_convnet(states).q_values, agent.online_convnet(states).q_values
  )
  path = write_jax(tmp_path, 2, params['params'], params['params'])
  other = research_code.flax_agent('dqn', seed=2)
  other.load_weights(path)  # Without the level, as before linen: by shape.
  assert_array_equal(
    other.target_convnet(states).q_values, agent.online_convnet(states).q_values
  )


def test_another_name_for_a_network_is_no_third_one(tmp_path):
  class Agent(dqn_agent.DQNAgent):
    def _build_networks(self):
      super()._build_networks()
      self.both = [self.online_convnet, self.target_convnet]

  old = old_files.write_tf(tmp_path, 3, 'cartpole', 'keras')
  AGENTS['alias'] = (Agent, AGENTS['cartpole'][1])
  try:
    agent = make_agent(
      'alias', observation_shape=(4,), stack_size=1, observation_dtype='float64'
    )
  finally:
    del AGENTS['alias']
  agent.load_weights(tmp_path / 'tf_ckpt-3')
  assert_same_values(agent, 'cartpole', old['Online'], old['Target'])


# Damage and malice ------------------------------------------------------------


class Call:
  def __init__(self, path):
    self._path = path

  def __reduce__(self):
    return os.mkdir, (self._path,)


@pytest.mark.no_backend
def test_a_malicious_pickle_runs_nothing(tmp_path):
  made = str(tmp_path / 'made')
  params, _ = old_files.flax_params('cartpole', 'linen')
  agent = make_agent('cartpole')
  nested = {'params': {'layers_0': {'kernel': Call(made)}}}
  for bundle in (
    Call(made),
    {'online_params': Call(made)},
    {'online_params': nested, 'target_params': params},
    {'online_params': params, 'logs': [Call(made)]},
  ):
    path = tmp_path / 'ckpt.1'
    path.write_bytes(pickle.dumps(bundle))
    with pytest.raises(safe_pickle.RefusedError, match='ckpt.1: .*mkdir'):
      agent.load_weights(path)
  assert not os.path.exists(made)


@pytest.mark.no_backend
@pytest.mark.parametrize(
  'online, text',
  [
    (
      {'params': {'log': np.ones(3), 'Dense_0': {'kernel': np.ones((4, 3))}}},
      'not fit',
    ),
    ({'a\nb': {'kernel': np.ones((4, 3))}}, 'not fit'),
    ({'a': {'kernel': [[1.0], [1.0, 2.0]]}}, 'no dicts of arrays'),
    ({'a': {'kernel': ['text']}}, 'a/kernel is of <U4'),
    ({f'x_{"9" * 5000}': {'kernel': np.ones((4, 3))}}, 'not fit'),
  ],
)
def test_parameters_of_any_kind_are_an_error_that_names_the_file(
  tmp_path, online, text
):
  agent = make_agent('cartpole')
  path = write_jax(tmp_path, 1, online, online)
  with pytest.raises(ValueError, match=text) as error:
    agent.load_weights(path)
  assert 'ckpt.1' in str(error.value)


@pytest.mark.no_backend
def test_weights_that_are_not_finite_are_named(tmp_path):
  params, _ = old_files.flax_params('cartpole', 'dict')
  params = jax.tree_util.tree_map(np.array, params)  # That can be written.
  params['params']['layers_1']['bias'][3] = np.nan
  path = write_jax(tmp_path, 1, params, params)
  agent = make_agent('cartpole')
  before = agent.online_convnet.get_weights()
  with pytest.raises(ValueError, match='params/layers_1/bias in .* not finite'):
    agent.load_weights(path)
  for a, b in zip(before, agent.online_convnet.get_weights(), strict=True):
    assert_array_equal(a, b)


@pytest.mark.no_backend
def test_parameters_that_hold_themselves(tmp_path):
  online = {}
  online['again'] = online
  path = write_jax(tmp_path, 1, online, online)
  with pytest.raises(atomic.DamagedError, match='ckpt.1 .*recursion'):
    make_agent('cartpole').load_weights(path)


@pytest.mark.no_backend
def test_the_data_without_the_index(tmp_path):
  old_files.write_tf(tmp_path, 3, 'cartpole', 'keras')
  os.remove(tmp_path / 'tf_ckpt-3.index')
  with pytest.raises(FileNotFoundError, match='tf_ckpt-3.index is missing'):
    make_agent('cartpole').load_weights(
      tmp_path / 'tf_ckpt-3.data-00000-of-00001'
    )


@pytest.mark.no_backend
def test_the_newest_that_is_complete(tmp_path):
  for name in ('ckpt.198', 'ckpt.199', 'ckpt.200', 'tf_ckpt-201.index'):
    (tmp_path / name).touch()
  assert old_weights.latest(str(tmp_path)) == str(tmp_path / 'ckpt.200')
  for number in (197, 198, 199):
    (tmp_path / f'sentinel_checkpoint_complete.{number}').touch()
  assert old_weights.latest(str(tmp_path)) == str(tmp_path / 'ckpt.199')
  (tmp_path / 'tf_ckpt-199.index').touch()
  (tmp_path / 'tf_ckpt-199.data-00000-of-00001').touch()
  assert old_weights.latest(str(tmp_path)) == str(
    tmp_path / 'tf_ckpt-199.index'
  )


@pytest.mark.no_backend
def test_a_generator_of_no_known_kind_is_refused():
  agent = make_agent('cartpole')
  before = np.random.get_state()[1].tolist()
  for kind in ('seed', 'test', 'Generator', 'nothing'):
    state = {'numpy.random.Generator': {'bit_generator': kind}}
    with pytest.raises(atomic.DamagedError, match=kind):
      agent._restore({'attributes': {'own': state}})
  assert np.random.get_state()[1].tolist() == before


@pytest.mark.no_backend
def test_truncated_and_flipped_files_are_damaged(tmp_path):
  """Of each file of a small checkpoint, and every byte of the index's end."""
  old = old_files.write_tf(tmp_path, 3, 'cartpole', 'keras')
  del old
  prefix = str(tmp_path / 'tf_ckpt-3')
  whole = old_weights.read(prefix)
  rng = np.random.default_rng(0)
  num_damaged = 0
  for end in ('.index', '.data-00000-of-00001'):
    path = pathlib.Path(prefix + end)
    content = path.read_bytes()
    size = len(content)
    places = [*rng.integers(0, size, 60)]
    if end == '.index':
      places += range(size - 48, size)
    damaged = [content[: int(n)] for n in (0, 1, size // 2, size - 1)]
    for place in places:
      flipped = bytearray(content)
      flipped[place] ^= 1 << int(rng.integers(8))
      damaged.append(bytes(flipped))
    for other in damaged:
      path.write_bytes(other)
      try:
        found = old_weights.read(prefix)
      except atomic.DamagedError as error:
        assert 'tf_ckpt-3' in str(error)
        num_damaged += 1
        continue
      # A byte that nothing depends on, as the padding of a footer.
      for mine, theirs in zip(found[1:], whole[1:], strict=True):
        assert mine.keys() == theirs.keys()
        for name, array in mine.items():
          assert_array_equal(array, theirs[name])
    path.write_bytes(content)
  assert num_damaged > 100
