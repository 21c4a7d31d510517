"""The trunk of pixels, of Mnih et al. (2015), and the network of DQN."""

import gin
from keras import ops

from dopamine.networks import parts


class NatureTrunk(parts.Network):
  """The three convolutions and the hidden layer of Mnih et al. (2015).

  Differs from the paper in the padding, which is 'same' as in Dopamine 3.2.1:
  the last feature map is 11 x 11 instead of 7 x 7.

  Args:
    num_outputs: units of the linear output layer; None ends the network after
      the convolutions.
    initializer: of the kernels, as Keras names it: each layer gets one of its
      own, as layers that share one draw the same numbers.
    inputs_preprocessed: True if states arrive as floats that need no scaling.
    name: of the model.
    num_actions: A.
  """

  def __init__(
    self,
    num_outputs,
    initializer='glorot_uniform',
    inputs_preprocessed=False,
    name=None,
    num_actions=None,
  ):
    super().__init__(num_actions, name=name)
    self._inputs_preprocessed = inputs_preprocessed

    def convolution(filters, size, stride):
      return parts.Conv2D(
        filters,
        size,
        strides=stride,
        padding='same',
        activation='relu',
        kernel_initializer=initializer,
        name='Conv',
      )

    def dense(units, activation):
      return parts.Dense(
        units,
        activation=activation,
        kernel_initializer=initializer,
        name='fully_connected',
      )

    self.conv1 = convolution(32, 8, 4)
    self.conv2 = convolution(64, 4, 2)
    self.conv3 = convolution(64, 3, 1)
    self.flatten = parts.Flatten()
    if num_outputs is not None:
      self.dense1 = dense(512, 'relu')
      self.dense2 = dense(num_outputs, None)

  def features(self, state):
    """`[B, 7744]` of `state`, `[B, 84, 84, 4]` pixels.

    Images in colour come as `[B, H, W, C, stack]`.
    """
    x = state if self._inputs_preprocessed else parts.scale_pixels(state)
    if len(x.shape) == 5:
      x = ops.reshape(x, (-1, *x.shape[1:3], x.shape[3] * x.shape[4]))
    x = self.conv3(self.conv2(self.conv1(x)))  # [B, 11, 11, 64]
    return self.flatten(x)

  def outputs(self, state):
    """`[B, num_outputs]` of `state`, `[B, 84, 84, 4]` pixels."""
    return self.dense2(self.dense1(self.features(state)))

  def arguments(self):
    """See `parts.Saved`."""
    return super().arguments() | {
      'inputs_preprocessed': self._inputs_preprocessed
    }


@gin.configurable(module='dopamine.jax.networks')
@parts.saved
class NatureDQNNetwork(parts.Scalar, NatureTrunk):
  """Action values from the network of Mnih et al. (2015), see `NatureTrunk`."""

  def __init__(self, num_actions, name=None, inputs_preprocessed=False):
    super().__init__(
      num_actions,
      inputs_preprocessed=inputs_preprocessed,
      name=name,
      num_actions=num_actions,
    )
