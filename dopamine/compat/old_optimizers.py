"""Optimizers of TensorFlow 1 and Optax, which old agents have as objects."""

import functools
from typing import Any

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


def _refuse_flax_optim(*unused: Any) -> None:
  """`create(params)`, by which an optimizer of flax.optim held them."""
  from dopamine.compat.functional import updates

  raise errors.InterfaceError(updates.FLAX_OPTIM)


def give_optax(made, name, learning_rate, beta1, beta2, eps, centered) -> None:
  """Gives a Keras optimizer the `init` and `update` of its twin in Optax.

  Args:
    made: by `create_optimizer`.
    name: as all that follow, of `create_optimizer`.
    learning_rate: see there.
    beta1: see there.
    beta2: see there.
    eps: see there.
    centered: see there.
  """

  @functools.cache
  def twin():
    import optax  # Agents of hooks do without.

    if name == 'adam':
      return optax.adam(learning_rate, b1=beta1, b2=beta2, eps=eps)
    if name == 'rmsprop':
      return optax.rmsprop(
        learning_rate, decay=beta2, eps=eps, centered=centered
      )
    return optax.sgd(learning_rate)

  made.create = _refuse_flax_optim
  made.init = lambda params: twin().init(params)
  made.update = lambda updates, state, params=None: twin().update(
    updates, state, params
  )
