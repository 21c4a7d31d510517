"""The names of `gin.tf`, which gin files of TensorFlow 1 and 2 bind.

Every TensorFlow gin file of Dopamine says `import
gin.tf.external_configurables`, and much research code says `import gin.tf`.
Both fail since TensorFlow dropped `tf.estimator`. `seams.Finder` serves them,
and loads this module, which registers the names that such files bind. Nothing
here loads Keras before an optimizer is really asked for.
"""

import math

import gin
import numpy as np

from dopamine.settings import checks
from dopamine.settings import errors


def _rmsprop(
  learning_rate,
  decay=0.9,
  momentum=0.0,
  epsilon=1e-10,
  use_locking=False,
  centered=False,
  name='RMSProp',
):
  """TF1's RMSProp, see `dopamine.optimizers.RMSProp`."""
  del use_locking, name
  from dopamine import optimizers

  checks.check_arguments('RMSPropOptimizer', optimizers.SETTINGS, locals())
  return optimizers.RMSProp(learning_rate, decay, momentum, epsilon, centered)


def _adam(
  learning_rate=0.001,
  beta1=0.9,
  beta2=0.999,
  epsilon=1e-8,
  use_locking=False,
  name='Adam',
):
  """TF1's Adam, whose epsilon is "epsilon hat" of Kingma & Ba (2015)."""
  del use_locking, name
  import keras

  from dopamine import optimizers

  checks.check_arguments('AdamOptimizer', optimizers.SETTINGS, locals())
  return optimizers.make(
    keras.optimizers.Adam, learning_rate, beta1, beta2, epsilon
  )


def _gradient_descent(learning_rate, use_locking=False, name='GradientDescent'):
  """TF1's gradient descent."""
  del use_locking, name
  import keras

  from dopamine import optimizers

  checks.check_arguments(
    'GradientDescentOptimizer', optimizers.SETTINGS, locals()
  )
  return optimizers.make(keras.optimizers.SGD, learning_rate)


def _momentum(
  learning_rate,
  momentum,
  use_locking=False,
  name='Momentum',
  use_nesterov=False,
):
  """TF1's gradient descent with momentum."""
  # With a schedule it is Keras's: past gradients keep the rate that they had.
  del use_locking, name
  import keras

  from dopamine import optimizers

  checks.check_arguments('MomentumOptimizer', optimizers.SETTINGS, locals())
  return optimizers.make(
    keras.optimizers.SGD, learning_rate, momentum, use_nesterov
  )


def _adagrad(
  learning_rate,
  initial_accumulator_value=0.1,
  use_locking=False,
  name='Adagrad',
):
  """TF1's Adagrad, which has no epsilon."""
  del use_locking, name
  import keras

  from dopamine import optimizers

  checks.check_arguments('AdagradOptimizer', optimizers.SETTINGS, locals())
  return optimizers.make(
    keras.optimizers.Adagrad,
    learning_rate,
    initial_accumulator_value,
    epsilon=0.0,
  )


def _schedule(name):
  """Keras's schedule: of updates, which TF1's `global_step` would count."""
  import keras

  return getattr(keras.optimizers.schedules, name)


def _decay(schedule, rate=lambda decay_rate: decay_rate):
  """One of the decays with a rate, `decay_steps` and perhaps steps."""

  def decay(
    learning_rate,
    global_step=None,
    decay_steps=gin.REQUIRED,
    decay_rate=gin.REQUIRED,
    staircase=False,
    name=None,
  ):
    del global_step, name
    make = _schedule(schedule)
    return make(learning_rate, decay_steps, rate(decay_rate), staircase)

  return decay


def _polynomial_decay(
  learning_rate,
  global_step=None,
  decay_steps=gin.REQUIRED,
  end_learning_rate=0.0001,
  power=1.0,
  cycle=False,
  name=None,
):
  """From learning_rate to end_learning_rate in `decay_steps` updates."""
  del global_step, name
  make = _schedule('PolynomialDecay')
  return make(learning_rate, decay_steps, end_learning_rate, power, cycle)


def _cosine_decay(
  learning_rate,
  global_step=None,
  decay_steps=gin.REQUIRED,
  alpha=0.0,
  name=None,
):
  """From learning_rate to alpha * learning_rate along half a cosine."""
  del global_step, name
  return _schedule('CosineDecay')(learning_rate, decay_steps, alpha)


def _piecewise_constant(
  x=None, boundaries=gin.REQUIRED, values=gin.REQUIRED, name=None
):
  """values[i] until more than boundaries[i] updates were made."""
  del x, name
  make = _schedule('PiecewiseConstantDecay')
  return make(list(boundaries), [float(value) for value in values])


def _global_step():
  """Nothing: schedules count the updates of their optimizer."""


def _unknown_optimizer(name):
  """One that no Dopamine agent came with."""

  def optimizer(**unused_settings):
    raise errors.SettingError(
      f'tf.train.{name} is not known here: use one of @tf.keras.optimizers, '
      f'{", ".join(_KERAS_OPTIMIZERS)}, with arguments of its own'
    )

  return optimizer


# What `gin.tf.external_configurables` registers of `tf.train`.
_TRAIN = {
  'RMSPropOptimizer': _rmsprop,
  'AdamOptimizer': _adam,
  'AdagradOptimizer': _adagrad,
  'GradientDescentOptimizer': _gradient_descent,
  'MomentumOptimizer': _momentum,
  # learning_rate * decay_rate ** (updates / decay_steps), and so on.
  'exponential_decay': _decay('ExponentialDecay'),
  'natural_exp_decay': _decay('ExponentialDecay', lambda rate: math.exp(-rate)),
  'inverse_time_decay': _decay('InverseTimeDecay'),
  'polynomial_decay': _polynomial_decay,
  'cosine_decay': _cosine_decay,
  'piecewise_constant': _piecewise_constant,
  'piecewise_constant_decay': _piecewise_constant,
  'get_global_step': _global_step,
  'get_or_create_global_step': _global_step,
  **{
    name: _unknown_optimizer(name)
    for name in (
      'AdadeltaOptimizer',
      'AdagradDAOptimizer',
      'FtrlOptimizer',
      'ProximalAdagradOptimizer',
      'ProximalGradientDescentOptimizer',
    )
  },
}

_ACTIVATIONS = (
  'elu leaky_relu relu relu6 selu sigmoid silu softmax softplus softsign tanh'
).split()

_DTYPES = (
  'bool float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32'
).split()


# Under the names of Keras, with any arguments of theirs.
_KERAS_OPTIMIZERS = (
  'Adadelta Adagrad Adam Adamax AdamW Ftrl Nadam RMSprop SGD'
).split()


_KERAS_SCHEDULES = (
  'CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay '
  'PiecewiseConstantDecay PolynomialDecay'
).split()


def _keras_optimizer(name, module='optimizers'):
  def optimizer(*args, **kwargs):
    import keras

    from dopamine import learners

    package = keras.optimizers
    if module != 'optimizers':
      package = keras.optimizers.schedules
    try:
      with learners.keras_defaults():
        return getattr(package, name)(*args, **kwargs)
    except (TypeError, ValueError) as error:
      raise errors.SettingError(f'tf.keras.{module}.{name}: {error}') from None

  optimizer.__name__ = optimizer.__qualname__ = name
  optimizer.__doc__ = f'`keras.{module}.{name}`.'
  return optimizer


def _activation(name):
  def activation(features):
    import keras

    return getattr(keras.activations, name)(features)

  activation.__name__ = activation.__qualname__ = name
  activation.__doc__ = f'`keras.activations.{name}`.'
  return activation


def _register() -> None:
  """Has gin know the names; once per process."""
  for name, factory in _TRAIN.items():
    # What a missing argument is told with.
    factory.__name__ = factory.__qualname__ = name
    gin.external_configurable(factory, name, module='tf.train')
  for name in _KERAS_OPTIMIZERS:
    gin.external_configurable(
      _keras_optimizer(name), name, module='tf.keras.optimizers'
    )
  schedules = 'optimizers.schedules'
  for name in _KERAS_SCHEDULES:
    gin.external_configurable(
      _keras_optimizer(name, schedules), name, module=f'tf.keras.{schedules}'
    )
  for name in _ACTIVATIONS:
    gin.external_configurable(_activation(name), name, module='tf.nn')
  for name in _DTYPES:
    gin.constant(f'tf.{name}', np.dtype(name).type)


_register()
