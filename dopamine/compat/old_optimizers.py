"""Optimizers of TensorFlow 1, which old agents pass as objects."""

import keras

from dopamine import optimizers
from dopamine.settings import errors

adam = optimizers.tf1_adam  # Which `create_optimizer('adam')` is not.


def knows(optimizer):
  """Whether it is one of TensorFlow's own."""
  return type(optimizer).__module__.startswith('tensorflow.')


def convert(optimizer):
  """The Keras twin of a `tf.compat.v1.train` optimizer, from its settings.

  Raises:
    ValueError: it is of a kind that has none.
  """
  kind = type(optimizer).__name__
  if kind == 'RMSPropOptimizer':
    return optimizers.RMSProp(
      optimizer._learning_rate,
      decay=optimizer._decay,
      momentum=optimizer._momentum,
      epsilon=optimizer._epsilon,
      centered=optimizer._centered,
    )
  if kind == 'AdamOptimizer':
    return keras.optimizers.Adam(
      optimizer._lr, optimizer._beta1, optimizer._beta2, optimizer._epsilon
    )
  if kind == 'GradientDescentOptimizer':
    return keras.optimizers.SGD(optimizer._learning_rate)
  if kind == 'MomentumOptimizer':
    return keras.optimizers.SGD(
      optimizer._learning_rate, optimizer._momentum, optimizer._use_nesterov
    )
  raise errors.SettingError(
    f'optimizer={optimizer!r}: of the tf.compat.v1.train optimizers, RMSProp, '
    'Adam, GradientDescent and Momentum are understood; use one of '
    'keras.optimizers'
  )
