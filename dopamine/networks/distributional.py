"""The heads of C51, QR-DQN and IQN, and their networks of pixels."""

from typing import NamedTuple

import gin
import keras
from keras import layers
from keras import ops
import numpy as np

from dopamine.networks import atari
from dopamine.networks import parts


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


# Uniform in [-sqrt(sqrt(3) / fan_in), +...]: distributional agents start there.
_VARIANCE_SCALING = {
  'class_name': 'VarianceScaling',
  'config': {
    'scale': 1.0 / np.sqrt(3.0),
    'mode': 'fan_in',
    'distribution': 'uniform',
  },
}


# Atoms ------------------------------------------------------------------------


def categorical(outputs, num_actions, support):
  """The `RainbowNetworkType` of `outputs` `[B, A * N]`, logits of the atoms.

  Bellemare et al. (2017): Q(s, a) = sum_i z_i p_i(s, a), z the `support` `[N]`.
  """
  logits = ops.reshape(outputs, (-1, num_actions, support.shape[0]))
  probabilities = ops.softmax(logits, axis=-1)
  q_values = ops.sum(support * probabilities, axis=-1)
  return RainbowNetworkType(q_values, logits, probabilities)


class Categorical:
  """The head of C51: the outputs are logits of the atoms of `support`."""

  def call(self, state):
    """Returns a `RainbowNetworkType` of the stacked observations `state`."""
    return categorical(self.outputs(state), self.num_actions, self.support)

  def arguments(self):
    """See `parts.Saved`."""
    return super().arguments() | {
      'num_atoms': self.num_atoms,
      'support': self.support.tolist(),
    }


@gin.configurable(module='dopamine.jax.networks')
@parts.saved
class RainbowNetwork(Categorical, atari.NatureTrunk):
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
      num_actions * num_atoms,
      _VARIANCE_SCALING,
      inputs_preprocessed,
      name,
      num_actions,
    )
    self.num_atoms = num_atoms
    self.support = np.asarray(support, np.float32)


# Quantiles --------------------------------------------------------------------


def quantiles(outputs, num_actions, num_atoms):
  """The `RainbowNetworkType` of `outputs` `[B, A * N]`, values of quantiles.

  Dabney et al. (2018b): each of the N quantiles has the mass 1 / N.
  """
  values = ops.reshape(outputs, (-1, num_actions, num_atoms))
  q_values = ops.mean(values, axis=-1)
  return RainbowNetworkType(
    q_values, values, ops.full_like(values, 1.0 / num_atoms)
  )


class Quantiles:
  """The head of QR-DQN: the outputs are the values of the quantiles."""

  def call(self, state):
    """Returns a `RainbowNetworkType` of the stacked observations `state`."""
    return quantiles(self.outputs(state), self.num_actions, self.num_atoms)

  def arguments(self):
    """See `parts.Saved`."""
    return super().arguments() | {'num_atoms': self.num_atoms}


@gin.configurable(module='dopamine.jax.networks')
@parts.saved
class QuantileNetwork(Quantiles, atari.NatureTrunk):
  """The values of N quantiles, `num_atoms`, for every action."""

  def __init__(
    self, num_actions, num_atoms, name=None, inputs_preprocessed=False
  ):
    super().__init__(
      num_actions * num_atoms,
      _VARIANCE_SCALING,
      inputs_preprocessed,
      name,
      num_actions,
    )
    self.num_atoms = num_atoms


# Sampled quantiles ------------------------------------------------------------


@parts.saved
class QuantileEmbedding(parts.Saved, layers.Layer):
  """psi(s) * phi(tau): quantile levels joined to the features of a state.

  Dabney et al. (2018a), eq. (4): phi_j(tau) = ReLU(sum_i cos(pi i tau) w_ij +
  b_j). Differs from the paper in i, which is 1..n as in Dopamine 3.2.1, not
  0..n - 1.

  Args:
    dimension: n, the number of cosines.
    initializer: of the dense layer's kernel, as Keras names it.
    name: of the layer.
  """

  def __init__(self, dimension, initializer='glorot_uniform', name=None):
    super().__init__(name=name, dtype='float32')
    self._dimension, self._initializer = dimension, initializer

  def build(self, features_shape, quantiles_shape):
    """Makes the layer as wide as the features."""
    del quantiles_shape
    self.dense = parts.Dense(
      features_shape[-1],
      activation='relu',
      kernel_initializer=self._initializer,
    )
    self.dense.build((None, self._dimension))

  def call(self, features, quantiles):
    """Returns `[N * B, D]`, row n * B + b, of `[B, D]` and `[B, N]`."""
    i = np.pi * np.arange(1, self._dimension + 1, dtype=np.float32)
    cosines = ops.cos(i * ops.transpose(quantiles)[..., None])  # [N, B, n]
    joined = features * self.dense(cosines)  # [N, B, D]
    return ops.reshape(joined, (-1, features.shape[-1]))

  def arguments(self):
    """See `parts.Saved`."""
    return {
      'dimension': self._dimension,
      'initializer': self._initializer,
    }


class ImplicitQuantiles:
  """The head of IQN: features, quantile levels, two dense layers."""

  asked = {'num_quantiles': 1}

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

  def arguments(self):
    """See `parts.Saved`."""
    return super().arguments() | {
      'quantile_embedding_dim': self.quantile_embedding_dim
    }


@parts.saved
class ImplicitQuantileNetwork(ImplicitQuantiles, atari.NatureTrunk):
  """The values of sampled quantiles for every action, from pixels."""

  def __init__(
    self,
    num_actions,
    quantile_embedding_dim,
    name=None,
    inputs_preprocessed=False,
  ):
    super().__init__(
      num_actions, _VARIANCE_SCALING, inputs_preprocessed, name, num_actions
    )
    self.quantile_embedding_dim = quantile_embedding_dim
    self.embedding = QuantileEmbedding(
      quantile_embedding_dim, _VARIANCE_SCALING
    )
    self.seed_generator = keras.random.SeedGenerator()
