"""Lets gin files written for TensorFlow 1 and 2 parse on today's TensorFlow.

Every TensorFlow gin file of Dopamine says `import
gin.tf.external_configurables`, and much research code says `import gin.tf`.
Both fail since TensorFlow dropped `tf.estimator`. `install` puts stand-ins in
their place and registers the names that such files bind; nothing here loads
Keras before an optimizer is really asked for.
"""

import sys
import types

import gin
import numpy as np

from dopamine import checks


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
  checks.rates(
    'RMSPropOptimizer',
    learning_rate=learning_rate,
    decay=decay,
    momentum=momentum,
    epsilon=epsilon,
  )
  from dopamine import optimizers

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
  checks.rates(
    'AdamOptimizer',
    learning_rate=learning_rate,
    beta1=beta1,
    beta2=beta2,
    epsilon=epsilon,
  )
  import keras

  from dopamine import optimizers

  learning_rate = optimizers.as_rate(learning_rate)
  return keras.optimizers.Adam(learning_rate, beta1, beta2, epsilon)


def _gradient_descent(learning_rate, use_locking=False, name='GradientDescent'):
  """TF1's gradient descent."""
  del use_locking, name
  checks.rates('GradientDescentOptimizer', learning_rate=learning_rate)
  import keras

  from dopamine import optimizers

  learning_rate = optimizers.as_rate(learning_rate)
  return keras.optimizers.SGD(learning_rate)


def _momentum(
  learning_rate,
  momentum,
  use_locking=False,
  name='Momentum',
  use_nesterov=False,
):
  """TF1's gradient descent with momentum."""
  del use_locking, name
  checks.rates(
    'MomentumOptimizer', learning_rate=learning_rate, momentum=momentum
  )
  import keras

  from dopamine import optimizers

  learning_rate = optimizers.as_rate(learning_rate)
  return keras.optimizers.SGD(learning_rate, momentum, use_nesterov)


_OPTIMIZERS = {
  'RMSPropOptimizer': _rmsprop,
  'AdamOptimizer': _adam,
  'GradientDescentOptimizer': _gradient_descent,
  'MomentumOptimizer': _momentum,
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


def _keras_optimizer(name):
  def optimizer(*args, **kwargs):
    import keras

    try:
      return getattr(keras.optimizers, name)(*args, **kwargs)
    except (TypeError, ValueError) as error:
      raise ValueError(f'tf.keras.optimizers.{name}: {error}') from None

  optimizer.__name__ = optimizer.__qualname__ = name
  optimizer.__doc__ = f'`keras.optimizers.{name}`.'
  return optimizer


def _activation(name):
  def activation(features):
    import keras

    return getattr(keras.activations, name)(features)

  activation.__name__ = activation.__qualname__ = name
  activation.__doc__ = f'`keras.activations.{name}`.'
  return activation


def is_bound(parameter: str) -> bool:
  """Whether gin has a value for a parameter, 'DQNAgent.network' or the like."""
  try:
    gin.query_parameter(parameter)
  except ValueError:  # Also where there is no such configurable.
    return False
  return True


def install() -> None:
  """Makes `gin.tf` importable and registers its names; once per process."""
  if 'gin.tf' in sys.modules:
    return
  package = types.ModuleType('gin.tf', 'A stand-in for gin.tf.')
  package.__path__ = []
  sys.modules['gin.tf'] = package
  gin.tf = package
  for name in ('external_configurables', 'utils'):
    module = types.ModuleType(
      f'gin.tf.{name}', f'A stand-in for gin.tf.{name}.'
    )
    sys.modules[f'gin.tf.{name}'] = module
    setattr(package, name, module)
  for name, factory in _OPTIMIZERS.items():
    gin.external_configurable(factory, name, module='tf.train')
  for name in _KERAS_OPTIMIZERS:
    gin.external_configurable(
      _keras_optimizer(name), name, module='tf.keras.optimizers'
    )
  for name in _ACTIVATIONS:
    gin.external_configurable(_activation(name), name, module='tf.nn')
  for name in _DTYPES:
    gin.constant(f'tf.{name}', np.dtype(name).type)
