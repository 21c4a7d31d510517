"""Writes files as Dopamine 1 to 3 did, with TensorFlow's savers and Flax.

What a network answers is computed here too, by TensorFlow 1 or Flax, with no
part of the package.
"""

import os

import flax
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

tf = pytest.importorskip('tensorflow')
v1 = tf.compat.v1

A = 3  # Actions.
ATOMS = 5
SHAPE = (12, 12)  # Of an observation: as Atari, but small.
STACK = 4
EMBEDDING = 6
SUPPORT = np.linspace(-10.0, 10.0, ATOMS).astype(np.float32)

# The layers in the order in which they were made: filters, size and stride of a
# convolution, or inputs and units.
_CONVOLUTIONS = [(32, 8, 4), (64, 4, 2), (64, 3, 1)]
_FEATURES = 2 * 2 * 64
LAYERS = {
  'dqn': [*_CONVOLUTIONS, (_FEATURES, 512), (512, A)],
  'rainbow': [*_CONVOLUTIONS, (_FEATURES, 512), (512, A * ATOMS)],
  'quantile': [*_CONVOLUTIONS, (_FEATURES, 512), (512, A * ATOMS)],
  'iqn': [*_CONVOLUTIONS, (EMBEDDING, _FEATURES), (_FEATURES, 512), (512, A)],
  'cartpole': [(4, 512), (512, 512), (512, A)],
  'cartpole_rainbow': [(4, 512), (512, 512), (512, A * ATOMS)],
}
# Where the package has the layers that were made in the order above.
OURS = {'iqn': [0, 1, 2, 4, 5, 3]}

ERAS = ('slim', 'keras', 'keras3')


def layer_names(kind, era, scope):
  """The names of the variables of each layer: `[(kernel, bias), ...]`."""
  count, is_target = len(LAYERS[kind]), scope == 'Target'
  if era == 'keras3':  # No scopes of the layers.
    ends = ['', *(f'_{i}' for i in range(1, count))]
    return [(f'{scope}/kernel{end}', f'{scope}/bias{end}') for end in ends]
  dense = ['fully_connected', *(f'fully_connected_{i}' for i in range(1, 4))]
  if kind.startswith('cartpole'):
    names = dense[:count]
    if era == 'keras':
      net = 'basic_discrete_domain_network' + '_1' * is_target
      names = [f'{net}/{name}' for name in names]
  else:
    names = ['Conv', 'Conv_1', 'Conv_2']
    if kind == 'iqn' and era == 'keras':
      names.append('dense_1' if is_target else 'dense')
    names += dense[: count - len(names)]
  kernel, bias = {'slim': ('weights', 'biases'), 'keras': ('kernel', 'bias')}[
    era
  ]
  return [(f'{scope}/{n}/{kernel}', f'{scope}/{n}/{bias}') for n in names]


def shapes(kind):
  """`[(kernel, bias), ...]` of the layers."""
  found, channels = [], STACK
  for layer in LAYERS[kind]:
    if len(layer) == 3:
      filters, size, _ = layer
      found.append(((size, size, channels, filters), (filters,)))
      channels = filters
    else:
      found.append((layer, layer[1:]))
  return found


def states(kind, count=2, seed=0):
  """`[count, ...]` states that the networks of a kind take."""
  rng = np.random.default_rng(seed)
  if kind.startswith('cartpole'):
    return rng.normal(size=(count, 4, 1))
  return rng.integers(0, 256, (count, *SHAPE, STACK)).astype(np.uint8)


def quantiles(count=2, seed=0):
  """`[count, 7]` quantile levels."""
  return np.random.default_rng(seed).random((count, 7)).astype(np.float32)


CARTPOLE_MAX = np.array([2.4, 5.0, np.pi / 12.0, np.pi * 2.0], np.float32)


def values(kind, layers, xp):
  """Q of `states(kind)`, `[B, A]`; of IQN `[7 * B, A]` at `quantiles()`.

  Args:
    kind: of network.
    layers: a function each of what comes before it.
    xp: `tf` or `jnp`.
  """
  relu = tf.nn.relu if xp is tf else jax.nn.relu
  softmax = tf.nn.softmax if xp is tf else jax.nn.softmax
  total = tf.reduce_sum if xp is tf else jnp.sum
  x = np.asarray(states(kind), np.float32)
  if kind.startswith('cartpole'):
    x = x[..., 0] / CARTPOLE_MAX  # Its range is symmetric.
  else:
    x = x / np.float32(255.0)
    for convolution in layers[:3]:
      x = relu(convolution(x))
    x = xp.reshape(x, (len(states(kind)), _FEATURES))
    layers = layers[3:]
  if kind == 'iqn':
    tau = quantiles().T.reshape(-1, 1)  # [7 * B, 1], B runs faster.
    i = np.arange(1, EMBEDDING + 1, dtype=np.float32)
    embedding = relu(layers[0](np.cos(np.float32(np.pi) * i * tau)))
    x = xp.tile(x, (7, 1)) * embedding
    layers = layers[1:]
  *hidden, last = layers
  for layer in hidden:
    x = relu(layer(x))
  x = last(x)
  if kind == 'quantile':
    x = total(xp.reshape(x, (-1, A, ATOMS)), -1) / ATOMS
  if kind.endswith('rainbow'):
    x = softmax(xp.reshape(x, (-1, A, ATOMS)))
    x = total(x * SUPPORT, -1)
  return x


def optimizer(name):
  """One of TensorFlow 1, as the agents had them."""
  if name == 'adam':
    return v1.train.AdamOptimizer(0.00025, epsilon=0.0003125)
  return v1.train.RMSPropOptimizer(
    0.00025,
    decay=0.95,
    momentum=0.9 if name == 'rmsprop_momentum' else 0.0,
    epsilon=0.00001,
    centered=name == 'rmsprop',
  )


def write_tf(folder, number, kind, era, optimizer_name='rmsprop', seed=1):
  """Writes `tf_ckpt-N` after three updates, and makes a fourth.

  Returns:
    A dict of: the values of the networks 'Online' and 'Target' before the
    fourth update, the weights 'before' and 'after' it by name, and its
    'gradients', a list per layer.
  """
  rng = np.random.default_rng(seed)
  result = {}
  with tf.Graph().as_default(), v1.Session() as session:
    variables, gradients = {}, []
    for scope in ('Online', 'Target'):
      layers = []
      names = layer_names(kind, era, scope)
      for spec, pair, (shape, bias_shape) in zip(
        LAYERS[kind], names, shapes(kind), strict=True
      ):
        scale = 1.0 / np.sqrt(np.prod(shape[:-1]))
        kernel, bias = (
          v1.get_variable(
            name,
            initializer=rng.normal(0.0, scale, s).astype(np.float32),
            use_resource=era != 'slim',
          )
          for name, s in zip(pair, (shape, bias_shape), strict=True)
        )
        variables[scope] = [*variables.get(scope, []), kernel, bias]
        if len(spec) == 3:
          layers.append(
            lambda x, k=kernel, b=bias, s=spec[2]: (
              tf.nn.conv2d(x, k, s, 'SAME') + b
            )
          )
        else:
          layers.append(lambda x, k=kernel, b=bias: tf.matmul(x, k) + b)
      result[scope] = values(kind, layers, tf)
    online = variables['Online']
    gradients = [
      rng.normal(0.0, 0.1, v.shape.as_list()).astype(np.float32) for v in online
    ]
    train = optimizer(optimizer_name).apply_gradients(
      [(tf.constant(g), v) for g, v in zip(gradients, online, strict=True)]
    )
    saver = v1.train.Saver()
    session.run(v1.global_variables_initializer())
    for _ in range(3):
      session.run(train)
    prefix = os.path.join(folder, 'tf_ckpt')
    saver.save(session, prefix, global_step=number)
    result = session.run(result)
    by_name = {v.op.name: v for v in online}
    result['before'] = session.run(by_name)
    session.run(train)
    result['after'] = session.run(by_name)
    result['gradients'] = list(
      zip(gradients[::2], gradients[1::2], strict=True)
    )
  return result


# Flax -------------------------------------------------------------------------


class Network(nn.Module):
  """The networks of the JAX agents, whose layers Flax names."""

  kind: str

  @nn.compact
  def __call__(self):
    layers = []
    for layer in LAYERS[self.kind]:
      if len(layer) == 3:
        filters, size, stride = layer
        module = nn.Conv(filters, (size, size), (stride, stride))
      else:
        module = nn.Dense(layer[1])
      layers.append(module)
    return values(self.kind, layers, jnp)


class ClassicControl(nn.Module):
  """Those for vectors, whose layers are attributes."""

  kind: str

  def setup(self):
    *hidden, last = LAYERS[self.kind]
    self.layers = [nn.Dense(units) for _, units in hidden]
    self.final_layer = nn.Dense(last[1])

  def __call__(self):
    return values(self.kind, [*self.layers, self.final_layer], jnp)


def flax_params(kind, form, seed=1):
  """Parameters as JAX agents saved them, and the values of their network.

  Args:
    kind: of network.
    form: 'linen', FrozenDicts of JAX arrays; 'dict', dicts of NumPy arrays;
      'pre-linen', without the level 'params', layers numbered across types.
    seed: of the parameters.
  """
  network = ClassicControl if kind.startswith('cartpole') else Network
  network = network(kind)
  params = network.init(jax.random.PRNGKey(seed))
  # Biases start at 0, which would not tell them apart.
  params = jax.tree_util.tree_map(
    lambda x: x + 0.01 * jnp.arange(x.shape[-1]) / x.shape[-1], params
  )
  answer = np.asarray(network.apply(params))
  if form == 'linen':
    return flax.core.freeze(params), answer
  params = jax.tree_util.tree_map(np.asarray, flax.core.unfreeze(params))
  if form == 'dict':
    return params, answer
  names = [f'Conv_{i}' for i in range(3)]
  names += [f'Dense_{i}' for i in range(3, len(LAYERS[kind]))]
  new = {f'Dense_{i}': f'Dense_{i + 3}' for i in range(3)}
  params = {new.get(k, k): v for k, v in params['params'].items()}
  assert sorted(params) == sorted(names)
  return params, answer
