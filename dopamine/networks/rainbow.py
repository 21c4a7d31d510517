"""The noisy, dueling head of full Rainbow, and its network of pixels."""

import functools

import gin
import keras
from keras import layers
from keras import ops
import numpy as np

from dopamine.networks import atari
from dopamine.networks import distributional
from dopamine.networks import parts


@parts.saved
class NoisyDense(parts.Saved, layers.Layer):
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

  def arguments(self):
    """See `parts.Saved`."""
    return {
      'features': self.features,
      'activation': keras.activations.serialize(self.activation),
    }


def dueling(advantages, values):
  """V + A - mean_a A, per atom: `[..., A, N]` (Wang et al., 2016, eq. (9)).

  Args:
    advantages: `[..., A, N]`.
    values: `[..., N]`.
  """
  centred = advantages - ops.mean(advantages, axis=-2, keepdims=True)
  return centred + values[..., None, :]


@parts.saved
class RainbowHead(parts.Saved, layers.Layer):
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
    name: of the layer.
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
  ):
    super().__init__(name=name, dtype='float32')
    self._shape = (-1, num_actions, num_atoms)
    self._support = np.asarray(support, np.float32)
    self._noisy, self._dueling = noisy, dueling
    self._distributional, self._hidden_units = distributional, hidden_units
    dense = NoisyDense if noisy else parts.Dense
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
    return sum(layer.num_noise for layer in self._dense) if self._noisy else 0

  def call(self, x, noise=None):
    """Returns a `RainbowNetworkType`, or a `DQNNetworkType`, of `[B, D]`."""
    hidden, advantage, *value = self._with_noise(noise)
    x = hidden(x)
    logits = ops.reshape(advantage(x), self._shape)  # [B, A, N]
    if value:
      logits = dueling(logits, value[0](x))
    if not self._distributional:
      return parts.DQNNetworkType(ops.sum(logits, axis=-1))
    _, num_actions, num_atoms = self._shape
    flat = ops.reshape(logits, (-1, num_actions * num_atoms))
    return distributional.categorical(flat, num_actions, self._support)

  def _with_noise(self, noise):
    """The layers as functions, each with its part of the noise vector."""
    if noise is None or not self.num_noise:
      return self._dense
    ends = np.cumsum([layer.num_noise for layer in self._dense])
    noises = ops.split(noise, ends[:-1].tolist(), axis=-1)
    return [
      functools.partial(layer, noise=part)
      for layer, part in zip(self._dense, noises, strict=True)
    ]

  def arguments(self):
    """See `parts.Saved`."""
    _, num_actions, num_atoms = self._shape
    return {
      'num_actions': num_actions,
      'num_atoms': num_atoms,
      'support': self._support.tolist(),
      'noisy': self._noisy,
      'dueling': self._dueling,
      'distributional': self._distributional,
      'hidden_units': self._hidden_units,
    }


class Rainbow:
  """The head of full Rainbow, as a network has it."""

  @property
  def num_noise(self):
    """The length of the noise vector that `call` takes."""
    return self.head.num_noise

  def call(self, state, noise=None):
    """Returns a `RainbowNetworkType`, or a `DQNNetworkType`, of `state`.

    Args:
      state: `[B, ...]` what the network takes.
      noise: `[num_noise]` standard normal numbers; None acts without noise.
    """
    return self.head(self.features(state), noise=noise)

  def arguments(self):
    """See `parts.Saved`."""
    return self.head.arguments() | super().arguments()


@gin.configurable(module='dopamine.jax.networks')
@parts.saved
class FullRainbowNetwork(Rainbow, atari.NatureTrunk):
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
    super().__init__(
      None,
      inputs_preprocessed=inputs_preprocessed,
      name=name,
      num_actions=num_actions,
    )
    self.num_atoms = num_atoms
    self.head = RainbowHead(
      num_actions,
      num_atoms,
      support,
      noisy=noisy,
      dueling=dueling,
      distributional=distributional,
    )
