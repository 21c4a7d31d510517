"""The networks of the agents, each a `keras.Model`.

`B` is the batch, `A` the actions. A network is built once per agent as
`network(num_actions, name='Online')` and called with a batch of stacked
observations; it returns a named tuple of the type its agent expects.
"""

from typing import NamedTuple

import gin
import keras
from keras import layers
from keras import ops
import numpy as np

from dopamine.discrete_domains import gym_lib


class DQNNetworkType(NamedTuple):
  """What a DQN network returns."""

  q_values: keras.KerasTensor  # [B, A]


def scale_pixels(state):
  """Pixels 0..255 of any integer or float dtype, as float32 in [0, 1]."""
  return ops.cast(state, 'float32') / 255.0


def rescale(values, min_vals, max_vals):
  """Maps [min_vals, max_vals] to [-1, 1], element by element."""
  low = np.asarray(min_vals, np.float32)
  high = np.asarray(max_vals, np.float32)
  return 2.0 * (values - low) / (high - low) - 1.0


# Atari ------------------------------------------------------------------------


class NatureTrunk(keras.Model):
  """The three convolutions and the hidden layer of Mnih et al. (2015).

  Differs from the paper in the padding, which is 'same' as in Dopamine 3.2.1:
  the last feature map is 11 x 11 instead of 7 x 7.

  Args:
    num_outputs: units of the linear output layer.
    kernel_initializer: of every layer, as Keras takes it.
    inputs_preprocessed: True if states arrive as floats that need no scaling.
    name: of the model.
  """

  def __init__(
    self,
    num_outputs,
    kernel_initializer='glorot_uniform',
    inputs_preprocessed=False,
    name=None,
  ):
    super().__init__(name=name)
    self._inputs_preprocessed = inputs_preprocessed

    def convolution(filters, size, stride):
      return layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding='same',
        activation='relu',
        kernel_initializer=kernel_initializer,
        name='Conv',
      )

    def dense(units, activation):
      return layers.Dense(
        units,
        activation=activation,
        kernel_initializer=kernel_initializer,
        name='fully_connected',
      )

    self.conv1 = convolution(32, 8, 4)
    self.conv2 = convolution(64, 4, 2)
    self.conv3 = convolution(64, 3, 1)
    self.flatten = layers.Flatten()
    self.dense1 = dense(512, 'relu')
    self.dense2 = dense(num_outputs, None)

  def outputs(self, state):
    """`[B, num_outputs]` of `state`, `[B, 84, 84, 4]` pixels."""
    x = state if self._inputs_preprocessed else scale_pixels(state)
    x = self.conv3(self.conv2(self.conv1(x)))  # [B, 11, 11, 64]
    return self.dense2(self.dense1(self.flatten(x)))


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


# Classic control --------------------------------------------------------------


@gin.configurable(module='dopamine.discrete_domains.gym_lib')
class BasicDiscreteDomainNetwork(keras.Model):
  """Two hidden layers of 512 units for small observation vectors.

  Args:
    min_vals: smallest value of each observation, or None not to rescale.
    max_vals: largest value of each; the input is mapped to [-1, 1].
    num_actions: A.
    num_atoms: outputs per action, or None for one.
    name: of the model.
    activation_fn: of the hidden layers.
  """

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
    super().__init__(name=name)
    self.num_actions = num_actions
    self._rescales = min_vals is not None and not inputs_preprocessed
    self._min_vals, self._max_vals = min_vals, max_vals
    self.flatten = layers.Flatten()
    self.hidden = [
      layers.Dense(
        hidden_units, activation=activation_fn, name='fully_connected'
      )
      for _ in range(num_layers)
    ]
    self.last_layer = layers.Dense(
      num_actions * (num_atoms or 1), name='fully_connected'
    )

  def call(self, state):
    """Returns `[B, A]`, or `[B, A * num_atoms]`."""
    x = self.flatten(ops.cast(state, 'float32'))
    if self._rescales:
      x = rescale(x, self._min_vals, self._max_vals)
    for layer in self.hidden:
      x = layer(x)
    return self.last_layer(x)


class _ClassicDQNNetwork(keras.Model):
  """Action values of a classic-control task with known observation ranges."""

  min_vals: np.ndarray | None = None
  max_vals: np.ndarray | None = None

  def __init__(self, num_actions, name=None):
    super().__init__(name=name)
    self.num_actions = num_actions
    self.net = BasicDiscreteDomainNetwork(
      self.min_vals, self.max_vals, num_actions
    )

  def call(self, state):
    """Returns `q_values` `[B, A]` of the stacked observations `state`."""
    return DQNNetworkType(self.net(state))


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


@gin.configurable(module='dopamine.jax.networks')
class ClassicControlDQNNetwork(keras.Model):
  """Action values from a perceptron whose shape and ranges gin decides.

  Args:
    num_actions: A.
    num_layers: hidden layers.
    hidden_units: units of each.
    min_vals: smallest value of each observation, or None not to rescale.
    max_vals: largest value of each.
    inputs_preprocessed: True if states must not be rescaled.
    name: of the model.
  """

  def __init__(
    self,
    num_actions,
    num_layers=2,
    hidden_units=512,
    min_vals=None,
    max_vals=None,
    inputs_preprocessed=False,
    name=None,
  ):
    super().__init__(name=name)
    self.num_actions = num_actions
    self.net = BasicDiscreteDomainNetwork(
      min_vals,
      max_vals,
      num_actions,
      num_layers=num_layers,
      hidden_units=hidden_units,
      inputs_preprocessed=inputs_preprocessed,
    )

  def call(self, state):
    """Returns `q_values` `[B, A]` of the stacked observations `state`."""
    return DQNNetworkType(self.net(state))
