"""The networks of the agents, each a `keras.Model`.

`B` is the batch, `A` the actions. A network is built once per agent as
`network(num_actions, name='Online')` and called with a batch of stacked
observations; it returns a named tuple of the type its agent expects. `N` are
the atoms of a distribution, or its quantiles.
"""

import functools
import inspect
import itertools
from typing import NamedTuple

import gin
import keras
from keras import layers
from keras import ops
import numpy as np

from dopamine.discrete_domains import gym_lib
from dopamine.settings import checks
from dopamine.settings import errors
from dopamine.settings import gin_files


class DQNNetworkType(NamedTuple):
  """What a DQN network returns."""

  q_values: keras.KerasTensor  # [B, A]


class RainbowNetworkType(NamedTuple):
  """What a network of N atoms or quantiles per action returns.

  Atoms: the logits of a categorical distribution and its probabilities.
  Quantiles: `logits` are their values, `probabilities` 1 / N each.
  """

  q_values: keras.KerasTensor  # [B, A]
  logits: keras.KerasTensor  # [B, A, N]
  probabilities: keras.KerasTensor  # [B, A, N]


class ImplicitQuantileNetworkType(NamedTuple):
  """What a network of N sampled quantiles returns, row n * B + b."""

  quantile_values: keras.KerasTensor  # [N * B, A]
  quantiles: keras.KerasTensor  # [N * B, 1]


# What Keras would otherwise take from a user's keras.json or a global policy.
Dense = functools.partial(layers.Dense, dtype='float32')
Conv2D = functools.partial(
  layers.Conv2D, data_format='channels_last', dtype='float32'
)
Flatten = functools.partial(
  layers.Flatten, data_format='channels_last', dtype='float32'
)


def scale_pixels(state):
  """Pixels 0..255 of any integer or float dtype, as float32 in [0, 1]."""
  return ops.cast(state, 'float32') / 255.0


def rescale(values, min_vals, max_vals):
  """Maps [min_vals, max_vals] to [-1, 1], element by element.

  A range that is empty, infinite, or 1e6 and more says nothing: such elements
  stay as they are.
  """
  width = np.subtract(max_vals, min_vals, dtype=np.float64)
  is_range = (width > 0) & (width < 1e6)
  low = np.where(is_range, min_vals, -1.0).astype(np.float32)
  high = np.where(is_range, max_vals, 1.0).astype(np.float32)
  scaled = 2.0 * (values - low) / (high - low) - 1.0
  return scaled if is_range.all() else ops.where(is_range, scaled, values)


def categorical(outputs, num_actions, support):
  """The `RainbowNetworkType` of `outputs` `[B, A * N]`, logits of the atoms.

  Bellemare et al. (2017): Q(s, a) = sum_i z_i p_i(s, a), z the `support` `[N]`.
  """
  logits = ops.reshape(outputs, (-1, num_actions, support.shape[0]))
  probabilities = ops.softmax(logits, axis=-1)
  q_values = ops.sum(support * probabilities, axis=-1)
  return RainbowNetworkType(q_values, logits, probabilities)


def quantiles(outputs, num_actions, num_atoms):
  """The `RainbowNetworkType` of `outputs` `[B, A * N]`, values of quantiles.

  Dabney et al. (2018b): each of the N quantiles has the mass 1 / N.
  """
  values = ops.reshape(outputs, (-1, num_actions, num_atoms))
  q_values = ops.mean(values, axis=-1)
  return RainbowNetworkType(
    q_values, values, ops.full_like(values, 1.0 / num_atoms)
  )


class QuantileEmbedding(layers.Layer):
  """psi(s) * phi(tau): quantile levels joined to the features of a state.

  Dabney et al. (2018a), eq. (4): phi_j(tau) = ReLU(sum_i cos(pi i tau) w_ij +
  b_j). Differs from the paper in i, which is 1..n as in Dopamine 3.2.1, not
  0..n - 1.

  Args:
    dimension: n, the number of cosines.
    make_initializer: `()` -> the initializer of the dense layer.
  """

  def __init__(
    self, dimension, make_initializer=keras.initializers.GlorotUniform
  ):
    super().__init__(dtype='float32')
    self._dimension, self._make_initializer = dimension, make_initializer

  def build(self, features_shape, quantiles_shape):
    """Makes the layer as wide as the features."""
    del quantiles_shape
    self.dense = Dense(
      features_shape[-1],
      activation='relu',
      kernel_initializer=self._make_initializer(),
    )
    self.dense.build((None, self._dimension))

  def call(self, features, quantiles):
    """Returns `[N * B, D]`, row n * B + b, of `[B, D]` and `[B, N]`."""
    i = np.pi * np.arange(1, self._dimension + 1, dtype=np.float32)
    cosines = ops.cos(i * ops.transpose(quantiles)[..., None])  # [N, B, n]
    joined = features * self.dense(cosines)  # [N, B, D]
    return ops.reshape(joined, (-1, features.shape[-1]))


class NoisyDense(layers.Layer):
  """A dense layer with factorised noise in its weights.

  Fortunato et al. (2018), eqs. (9) to (11): w = mu + sigma * f(e_in) f(e_out)
  with f(x) = sign(x) sqrt|x|, and likewise the bias with f(e_out). Differs from
  the paper in sigma's start, 0.1 / sqrt(inputs) as in Dopamine 3.2.1 instead of
  0.5 / sqrt(inputs).

  Args:
    features: units.
    activation: as Keras takes it.
    name: of the layer.
  """

  def __init__(self, features, activation=None, name=None):
    super().__init__(name=name, dtype='float32')
    self.features = features
    self.activation = keras.activations.get(activation)

  def build(self, x_shape, noise_shape=None):
    """Makes means and deviations."""
    del noise_shape
    inputs = x_shape[-1]
    self.num_noise = inputs + self.features  # Standard normal numbers.
    bound = 1.0 / np.sqrt(inputs)

    def pair(name, shape):
      mu = keras.initializers.RandomUniform(-bound, bound)
      sigma = keras.initializers.Constant(0.1 * bound)
      return (
        self.add_weight(shape, mu, name=f'{name}_mu'),
        self.add_weight(shape, sigma, name=f'{name}_sigma'),
      )

    self.kernel_mu, self.kernel_sigma = pair('kernel', (inputs, self.features))
    self.bias_mu, self.bias_sigma = pair('bias', (self.features,))

  def call(self, x, noise=None):
    """Returns `[B, features]`; without noise, what the means give.

    Args:
      x: `[B, inputs]`.
      noise: `[num_noise]` or `[B, num_noise]` standard normal numbers: first
        those of the inputs, then those of the outputs.
    """
    y = ops.matmul(x, self.kernel_mu) + self.bias_mu
    if noise is not None:
      noise = ops.sign(noise) * ops.sqrt(ops.abs(noise))
      inputs = self.kernel_mu.shape[0]
      e_in, e_out = noise[..., :inputs], noise[..., inputs:]
      # The noisy weights are never written out: with 4 million of them that
      # costs more than a second product.
      y += e_out * (ops.matmul(x * e_in, self.kernel_sigma) + self.bias_sigma)
    return self.activation(y)


class RainbowHead(layers.Layer):
  """From features to a distribution: dueling and noisy, each if asked for.

  A hidden layer of 512 units, then, with `dueling` (Wang et al., 2016, eq.
  (9), per atom as in Hessel et al., 2018), logits = V + A - mean_a A.
  Differs from Hessel et al. in the hidden layer, which both streams share as
  in Dopamine 3.2.1.

  Args:
    num_actions: A.
    num_atoms: N.
    support: `[N]` the atoms.
    noisy: whether all its layers are `NoisyDense`.
    dueling: whether value and advantages are separate.
    distributional: whether the outputs are logits; otherwise their sum over
      the atoms is Q.
    hidden_units: of the hidden layer.
  """

  def __init__(
    self,
    num_actions,
    num_atoms,
    support,
    noisy=True,
    dueling=True,
    distributional=True,
    hidden_units=512,
  ):
    super().__init__(dtype='float32')
    self._shape = (-1, num_actions, num_atoms)
    self._support, self._distributional = support, distributional
    self._hidden_units = hidden_units
    dense = NoisyDense if noisy else Dense
    self._dense = [
      dense(hidden_units, activation='relu'),
      dense(num_actions * num_atoms),
    ]
    if dueling:
      self._dense.append(dense(num_atoms))

  def build(self, x_shape, noise_shape=None):
    """Builds the layers, so that `num_noise` is known."""
    del noise_shape
    hidden, *streams = self._dense
    hidden.build(x_shape)
    for layer in streams:
      layer.build((x_shape[0], self._hidden_units))

  @property
  def num_noise(self):
    """The length of the noise vector; 0 without noisy layers."""
    return sum(getattr(layer, 'num_noise', 0) for layer in self._dense)

  def call(self, x, noise=None):
    """Returns a `RainbowNetworkType`, or a `DQNNetworkType`, of `[B, D]`."""
    hidden, advantage, *value = self._with_noise(noise)
    x = hidden(x)
    logits = ops.reshape(advantage(x), self._shape)  # [B, A, N]
    if value:
      logits -= ops.mean(logits, axis=1, keepdims=True)
      logits += value[0](x)[:, None, :]
    if not self._distributional:
      return DQNNetworkType(ops.sum(logits, axis=-1))
    _, num_actions, num_atoms = self._shape
    flat = ops.reshape(logits, (-1, num_actions * num_atoms))
    return categorical(flat, num_actions, self._support)

  def _with_noise(self, noise):
    """The layers as functions, each with its part of the noise vector."""
    if noise is None or not self.num_noise:
      return self._dense
    ends = np.cumsum([layer.num_noise for layer in self._dense])
    parts = ops.split(noise, ends[:-1].tolist(), axis=-1)
    return [
      functools.partial(layer, noise=part)
      for layer, part in zip(self._dense, parts, strict=True)
    ]


def unwrapped(network):
  """The network itself, where an agent put a preprocessing before it."""
  return getattr(network, 'wrapped', network)


# Atari ------------------------------------------------------------------------


# Uniform in [-sqrt(sqrt(3) / fan_in), +...]: distributional agents start there.
_VARIANCE_SCALING = functools.partial(
  keras.initializers.VarianceScaling,
  scale=1.0 / np.sqrt(3.0),
  mode='fan_in',
  distribution='uniform',
)


class NatureTrunk(keras.Model):
  """The three convolutions and the hidden layer of Mnih et al. (2015).

  Differs from the paper in the padding, which is 'same' as in Dopamine 3.2.1:
  the last feature map is 11 x 11 instead of 7 x 7.

  Args:
    num_outputs: units of the linear output layer; None ends the network after
      the convolutions.
    make_initializer: `()` -> the initializer of one layer's kernel; layers that
      share one draw the same numbers.
    inputs_preprocessed: True if states arrive as floats that need no scaling.
    name: of the model.
  """

  def __init__(
    self,
    num_outputs,
    make_initializer=keras.initializers.GlorotUniform,
    inputs_preprocessed=False,
    name=None,
  ):
    super().__init__(name=name, dtype='float32')
    self._inputs_preprocessed = inputs_preprocessed

    def convolution(filters, size, stride):
      return Conv2D(
        filters,
        size,
        strides=stride,
        padding='same',
        activation='relu',
        kernel_initializer=make_initializer(),
        name='Conv',
      )

    def dense(units, activation):
      return Dense(
        units,
        activation=activation,
        kernel_initializer=make_initializer(),
        name='fully_connected',
      )

    self.conv1 = convolution(32, 8, 4)
    self.conv2 = convolution(64, 4, 2)
    self.conv3 = convolution(64, 3, 1)
    self.flatten = Flatten()
    if num_outputs is not None:
      self.dense1 = dense(512, 'relu')
      self.dense2 = dense(num_outputs, None)

  def features(self, state):
    """`[B, 7744]` of `state`, `[B, 84, 84, 4]` pixels.

    Images in colour come as `[B, H, W, C, stack]`.
    """
    x = state if self._inputs_preprocessed else scale_pixels(state)
    if len(x.shape) == 5:
      x = ops.reshape(x, (-1, *x.shape[1:3], x.shape[3] * x.shape[4]))
    x = self.conv3(self.conv2(self.conv1(x)))  # [B, 11, 11, 64]
    return self.flatten(x)

  def outputs(self, state):
    """`[B, num_outputs]` of `state`, `[B, 84, 84, 4]` pixels."""
    return self.dense2(self.dense1(self.features(state)))


@gin.configurable(module='dopamine.jax.networks')
class NatureDQNNetwork(NatureTrunk):
  """Action values from the network of Mnih et al. (2015), see `NatureTrunk`."""

  def __init__(self, num_actions, name=None, inputs_preprocessed=False):
    super().__init__(
      num_actions, inputs_preprocessed=inputs_preprocessed, name=name
    )
    self.num_actions = num_actions

  def call(self, state):
    """Returns `q_values` `[B, A]` of `state`, `[B, 84, 84, 4]` pixels."""
    return DQNNetworkType(self.outputs(state))


@gin.configurable(module='dopamine.jax.networks')
class RainbowNetwork(NatureTrunk):
  """A categorical distribution over `support` `[N]` for every action."""

  def __init__(
    self,
    num_actions,
    num_atoms,
    support,
    name=None,
    inputs_preprocessed=False,
  ):
    super().__init__(
      num_actions * num_atoms, _VARIANCE_SCALING, inputs_preprocessed, name
    )
    self.num_actions, self.num_atoms = num_actions, num_atoms
    self.support = np.asarray(support, np.float32)

  def call(self, state):
    """Returns a `RainbowNetworkType` of `state`, `[B, 84, 84, 4]` pixels."""
    return categorical(self.outputs(state), self.num_actions, self.support)


@gin.configurable(module='dopamine.jax.networks')
class QuantileNetwork(NatureTrunk):
  """The values of N quantiles, `num_atoms`, for every action."""

  def __init__(
    self, num_actions, num_atoms, name=None, inputs_preprocessed=False
  ):
    super().__init__(
      num_actions * num_atoms, _VARIANCE_SCALING, inputs_preprocessed, name
    )
    self.num_actions, self.num_atoms = num_actions, num_atoms

  def call(self, state):
    """Returns a `RainbowNetworkType` of `state`, `[B, 84, 84, 4]` pixels."""
    return quantiles(self.outputs(state), self.num_actions, self.num_atoms)


class _ImplicitQuantiles:
  """The forward pass of IQN: features, quantile levels, two dense layers."""

  def call(self, state, num_quantiles, quantiles=None):
    """Returns an `ImplicitQuantileNetworkType` (Dabney et al., 2018a, s. 3).

    Args:
      state: `[B, ...]` what the network takes.
      num_quantiles: N.
      quantiles: `[B, N]` levels in [0, 1]; drawn here if None.
    """
    features = self.features(state)  # [B, D]
    if quantiles is None:
      shape = (ops.shape(features)[0], num_quantiles)
      quantiles = keras.random.uniform(
        shape, dtype='float32', seed=self.seed_generator
      )
    x = self.embedding(features, quantiles)  # [N * B, D]
    return ImplicitQuantileNetworkType(
      self.dense2(self.dense1(x)),
      ops.reshape(ops.transpose(quantiles), (-1, 1)),
    )


class ImplicitQuantileNetwork(_ImplicitQuantiles, NatureTrunk):
  """The values of sampled quantiles for every action, from pixels."""

  def __init__(
    self,
    num_actions,
    quantile_embedding_dim,
    name=None,
    inputs_preprocessed=False,
  ):
    super().__init__(num_actions, _VARIANCE_SCALING, inputs_preprocessed, name)
    self.num_actions = num_actions
    self.quantile_embedding_dim = quantile_embedding_dim
    self.embedding = QuantileEmbedding(
      quantile_embedding_dim, _VARIANCE_SCALING
    )
    self.seed_generator = keras.random.SeedGenerator()


@gin.configurable(module='dopamine.jax.networks')
class FullRainbowNetwork(NatureTrunk):
  """The network of Hessel et al. (2018), see `RainbowHead`."""

  def __init__(
    self,
    num_actions,
    num_atoms,
    support,
    noisy=True,
    dueling=True,
    distributional=True,
    inputs_preprocessed=False,
    name=None,
  ):
    super().__init__(None, inputs_preprocessed=inputs_preprocessed, name=name)
    self.num_actions, self.num_atoms = num_actions, num_atoms
    self.head = RainbowHead(
      num_actions,
      num_atoms,
      np.asarray(support, np.float32),
      noisy=noisy,
      dueling=dueling,
      distributional=distributional,
    )

  @property
  def num_noise(self):
    """The length of the noise vector that `call` takes."""
    return self.head.num_noise

  def call(self, state, noise=None):
    """Returns a `RainbowNetworkType`, or a `DQNNetworkType`, of pixels.

    Args:
      state: `[B, 84, 84, 4]` pixels.
      noise: `[num_noise]` standard normal numbers; None acts without noise.
    """
    return self.head(self.features(state), noise=noise)


# Classic control --------------------------------------------------------------


@gin.configurable(module='dopamine.discrete_domains.gym_lib')
class BasicDiscreteDomainNetwork(keras.Model):
  """Two hidden layers of 512 units for small observation vectors.

  Args:
    min_vals: smallest value of each number observed; None does not rescale.
    max_vals: largest value of each; the input goes through `rescale`.
    num_actions: A; None ends the network after the hidden layers.
    num_atoms: outputs per action, or None for one.
    name: of the model.
    activation_fn: of the hidden layers.
    num_layers: hidden layers.
    hidden_units: units of each.
    inputs_preprocessed: True if states must not be rescaled.
  """

  SETTINGS = {
    'num_layers': checks.integer(0),
    'hidden_units': checks.integer(1),
  }

  def __init__(
    self,
    min_vals,
    max_vals,
    num_actions,
    num_atoms=None,
    name=None,
    activation_fn='relu',
    num_layers=2,
    hidden_units=512,
    inputs_preprocessed=False,
  ):
    super().__init__(name=name, dtype='float32')
    self.num_actions = num_actions
    self.num_layers, self.hidden_units = num_layers, hidden_units
    checks.check(self)
    try:
      inspect.signature(keras.activations.get(activation_fn)).bind(0)
    except (TypeError, ValueError):
      checks.fail(
        self,
        'activation_fn',
        activation_fn,
        "one of Keras, as 'relu', or a function of one array",
      )
    self._rescales = min_vals is not None and not inputs_preprocessed
    self._min_vals, self._max_vals = min_vals, max_vals
    if self._rescales:
      checks.array(self, 'min_vals', min_vals)
      checks.array(self, 'max_vals', max_vals)
    self.flatten = Flatten()
    self.hidden = [
      Dense(self.hidden_units, activation=activation_fn, name='fully_connected')
      for _ in range(self.num_layers)
    ]
    self.last_layer = layers.Identity(dtype='float32')
    if num_actions is not None:
      self.last_layer = Dense(
        num_actions * (num_atoms or 1), name='fully_connected'
      )

  def call(self, state):
    """Returns `[B, A]`, `[B, A * num_atoms]` or `[B, hidden_units]`."""
    x = self.flatten(ops.cast(state, 'float32'))
    if self._rescales:
      x = rescale(
        x, *(_stacked(v, x) for v in (self._min_vals, self._max_vals))
      )
    for layer in self.hidden:
      x = layer(x)
    return self.last_layer(x)


def _stacked(vals, x):
  """`vals` of one observation for each number of `x`, a flattened stack."""
  if x.shape[-1] % np.size(vals):
    raise errors.SettingError(
      f'states of {x.shape[-1]} numbers do not fit the {np.size(vals)} of '
      "min_vals and max_vals: set the agent's observation_shape, or these, to "
      'what the environment gives'
    )
  return np.repeat(vals, x.shape[-1] // np.size(vals))


class _Classic(keras.Model):
  """A `BasicDiscreteDomainNetwork` with the observation ranges of a task.

  Args:
    num_actions: A.
    num_atoms: outputs per action, or None for one.
    name: of the model.
    **kwargs: of `BasicDiscreteDomainNetwork`: other ranges, another shape.
  """

  min_vals: np.ndarray | None = None
  max_vals: np.ndarray | None = None

  def __init__(self, num_actions, num_atoms=None, name=None, **kwargs):
    super().__init__(name=name, dtype='float32')
    self.num_actions, self.num_atoms = num_actions, num_atoms
    ranges = {'min_vals': self.min_vals, 'max_vals': self.max_vals}
    self.net = BasicDiscreteDomainNetwork(
      **(ranges | kwargs), num_actions=num_actions, num_atoms=num_atoms
    )


class _ClassicDQNNetwork(_Classic):
  """Action values of a classic-control task."""

  def __init__(self, num_actions, name=None, **kwargs):
    super().__init__(num_actions, name=name, **kwargs)

  def call(self, state):
    """Returns `q_values` `[B, A]` of the stacked observations `state`."""
    return DQNNetworkType(self.net(state))


class _ClassicRainbowNetwork(_Classic):
  """A distribution over `support` `[N]` for every action of such a task."""

  def __init__(self, num_actions, num_atoms, support, name=None, **kwargs):
    super().__init__(num_actions, num_atoms, name, **kwargs)
    self.support = np.asarray(support, np.float32)

  def call(self, state):
    """Returns a `RainbowNetworkType` of the stacked observations `state`."""
    return categorical(self.net(state), self.num_actions, self.support)


@gin.configurable(module='dopamine.discrete_domains.gym_lib')
class CartpoleDQNNetwork(_ClassicDQNNetwork):
  """Action values for CartPole."""

  min_vals = gym_lib.CARTPOLE_MIN_VALS
  max_vals = gym_lib.CARTPOLE_MAX_VALS


@gin.configurable(module='dopamine.discrete_domains.gym_lib')
class AcrobotDQNNetwork(_ClassicDQNNetwork):
  """Action values for Acrobot."""

  min_vals = gym_lib.ACROBOT_MIN_VALS
  max_vals = gym_lib.ACROBOT_MAX_VALS


@gin.configurable(module='dopamine.discrete_domains.gym_lib')
class MountainCarDQNNetwork(_ClassicDQNNetwork):
  """Action values for MountainCar."""

  min_vals = gym_lib.MOUNTAINCAR_MIN_VALS
  max_vals = gym_lib.MOUNTAINCAR_MAX_VALS


@gin.configurable(module='dopamine.discrete_domains.gym_lib')
class LunarLanderDQNNetwork(_ClassicDQNNetwork):
  """Action values for LunarLander, whose observations are not rescaled."""


@gin.configurable(module='dopamine.discrete_domains.gym_lib')
class CartpoleRainbowNetwork(_ClassicRainbowNetwork):
  """A distribution over `support` for every action of CartPole."""

  min_vals = gym_lib.CARTPOLE_MIN_VALS
  max_vals = gym_lib.CARTPOLE_MAX_VALS


@gin.configurable(module='dopamine.discrete_domains.gym_lib')
class AcrobotRainbowNetwork(_ClassicRainbowNetwork):
  """A distribution over `support` for every action of Acrobot."""

  min_vals = gym_lib.ACROBOT_MIN_VALS
  max_vals = gym_lib.ACROBOT_MAX_VALS


# Classic control: linear in the cosines of the observation --------------------


class FourierBasis:
  """The cosines of a vector x in [0, 1]^n: cos(pi c . x) for all vectors c.

  Konidaris et al. (2011), s. 3.1. Differs from the paper in c = 0, the
  constant, which is left out.

  Args:
    nvars: n.
    min_vals: what maps to 0, `[n]` or a number.
    max_vals: what maps to 1; None does not divide by the range.
    order: each element of c is one of 0..order.
  """

  def __init__(self, nvars, min_vals=0, max_vals=None, order=3):
    self.order, self.min_vals, self.max_vals = order, min_vals, max_vals
    c = list(itertools.product(range(order + 1), repeat=nvars))
    self.multipliers = np.array(c[1:], np.float32)  # [(order + 1)^n - 1, n]

  def scale(self, values):
    """Maps [min_vals, max_vals] to [0, 1], element by element."""
    low = np.asarray(self.min_vals, np.float32)
    if self.max_vals is None:
      return values - low
    return (values - low) / (np.asarray(self.max_vals, np.float32) - low)

  def compute_features(self, features):
    """Returns `[B, (order + 1)^n - 1]` of `[B, n]`."""
    return ops.cos(np.pi * (self.scale(features) @ self.multipliers.T))


@gin.configurable(module='dopamine.discrete_domains.gym_lib')
class FourierDQNNetwork(keras.Model):
  """Action values that are linear in the `FourierBasis` of the observation.

  Args:
    min_vals: smallest value of each number observed.
    max_vals: largest value of each.
    num_actions: A.
    fourier_basis_order: see `FourierBasis`.
    name: of the model.
  """

  def __init__(
    self, min_vals, max_vals, num_actions, fourier_basis_order=3, name=None
  ):
    super().__init__(name=name, dtype='float32')
    self.num_actions = num_actions
    self.flatten = Flatten()
    self._basis = FourierBasis(
      len(min_vals), min_vals, max_vals, fourier_basis_order
    )
    self.last_layer = Dense(num_actions, use_bias=False)

  def call(self, state):
    """Returns `[B, A]` of the observations `state`, which are not stacked."""
    x = self.flatten(ops.cast(state, 'float32'))
    return self.last_layer(self._basis.compute_features(x))


class _ClassicFourierDQNNetwork(keras.Model):
  """A `FourierDQNNetwork` with the observation ranges of a task."""

  def __init__(self, num_actions, name=None, **kwargs):
    super().__init__(name=name, dtype='float32')
    self.num_actions = num_actions
    self.net = FourierDQNNetwork(
      self.min_vals, self.max_vals, num_actions, **kwargs
    )

  call = _ClassicDQNNetwork.call


@gin.configurable(module='dopamine.discrete_domains.gym_lib')
class CartpoleFourierDQNNetwork(_ClassicFourierDQNNetwork):
  """Action values for CartPole, linear in 255 cosines."""

  min_vals = gym_lib.CARTPOLE_MIN_VALS
  max_vals = gym_lib.CARTPOLE_MAX_VALS


@gin.configurable(module='dopamine.discrete_domains.gym_lib')
class AcrobotFourierDQNNetwork(_ClassicFourierDQNNetwork):
  """Action values for Acrobot, linear in 4095 cosines."""

  min_vals = gym_lib.ACROBOT_MIN_VALS
  max_vals = gym_lib.ACROBOT_MAX_VALS


# Vectors of any task: gin decides shape and ranges ----------------------------


@gin.configurable(module='dopamine.jax.networks')
class ClassicControlDQNNetwork(_ClassicDQNNetwork):
  """Action values from a perceptron whose shape and ranges gin decides.

  These, and all other arguments but `num_actions`, are keywords of
  `BasicDiscreteDomainNetwork`: `min_vals`, `max_vals`, `num_layers`,
  `hidden_units`, `inputs_preprocessed`.
  """


@gin.configurable(module='dopamine.jax.networks')
class ClassicControlRainbowNetwork(_ClassicRainbowNetwork):
  """`RainbowNetwork` for vectors; see `ClassicControlDQNNetwork`."""


@gin.configurable(module='dopamine.jax.networks')
class ClassicControlQuantileNetwork(_Classic):
  """`QuantileNetwork` for vectors; see `ClassicControlDQNNetwork`."""

  def call(self, state):
    """Returns a `RainbowNetworkType` of the stacked observations `state`."""
    return quantiles(self.net(state), self.num_actions, self.num_atoms)


@gin.configurable(module='dopamine.jax.networks')
class ClassicControlImplicitQuantileNetwork(_ImplicitQuantiles, keras.Model):
  """`ImplicitQuantileNetwork` for vectors; see `ClassicControlDQNNetwork`.

  The quantile levels join after the first of two hidden layers.
  """

  def __init__(
    self,
    num_actions,
    quantile_embedding_dim,
    name=None,
    hidden_units=512,
    **kwargs,
  ):
    super().__init__(name=name, dtype='float32')
    self.num_actions = num_actions
    self.quantile_embedding_dim = quantile_embedding_dim
    self.features = BasicDiscreteDomainNetwork(
      **({'min_vals': None, 'max_vals': None} | kwargs),
      num_actions=None,
      num_layers=1,
      hidden_units=hidden_units,
    )
    self.embedding = QuantileEmbedding(quantile_embedding_dim)
    self.dense1 = Dense(hidden_units, activation='relu')
    self.dense2 = Dense(num_actions)
    self.seed_generator = keras.random.SeedGenerator()


@gin.configurable(module='dopamine.jax.networks')
class ClassicControlFullRainbowNetwork(keras.Model):
  """`FullRainbowNetwork` for vectors; see `ClassicControlDQNNetwork`.

  One plain hidden layer comes before those of `RainbowHead`.
  """

  def __init__(
    self,
    num_actions,
    num_atoms,
    support,
    noisy=True,
    dueling=True,
    distributional=True,
    hidden_units=512,
    name=None,
    **kwargs,
  ):
    super().__init__(name=name, dtype='float32')
    self.num_actions, self.num_atoms = num_actions, num_atoms
    self.features = BasicDiscreteDomainNetwork(
      **({'min_vals': None, 'max_vals': None} | kwargs),
      num_actions=None,
      num_layers=1,
      hidden_units=hidden_units,
    )
    self.head = RainbowHead(
      num_actions,
      num_atoms,
      np.asarray(support, np.float32),
      noisy=noisy,
      dueling=dueling,
      distributional=distributional,
      hidden_units=hidden_units,
    )

  num_noise = FullRainbowNetwork.num_noise
  call = FullRainbowNetwork.call


# Any task ---------------------------------------------------------------------


_OF_VECTORS = {
  NatureDQNNetwork: ClassicControlDQNNetwork,
  RainbowNetwork: ClassicControlRainbowNetwork,
  QuantileNetwork: ClassicControlQuantileNetwork,
  ImplicitQuantileNetwork: ClassicControlImplicitQuantileNetwork,
  FullRainbowNetwork: ClassicControlFullRainbowNetwork,
}


def fitting(network, space):
  """`network` if `space` is one of images, else the same for its vectors.

  Args:
    network: what an agent has for Atari, e.g. `NatureDQNNetwork`; any other is
      its author's to fit.
    space: a Gymnasium `Box`. Images are `[H, W]` or `[H, W, C]` of uint8, 32 by
      32 pixels or more; all else is a vector, which goes through `rescale`.

  Returns:
    What makes a network, as the agents' `network` does.
  """
  if space.dtype == np.uint8 and len(space.shape) in (2, 3):
    if min(space.shape[:2]) >= 32:
      return network
  if network not in _OF_VECTORS:
    return network
  network = _OF_VECTORS[network]
  bound = gin_files.bound_parameters(network)
  ranges = {
    name: np.ravel(vals)
    for name, vals in (('min_vals', space.low), ('max_vals', space.high))
    if name not in bound
  }
  return functools.partial(network, **ranges)
