"""The optimizers of the published results, exact to their last epsilon.

Keras's own differ from them: its RMSprop starts the mean square at 0 instead
of 1 (with the settings of `dqn.gin` the first step is 254 times larger), and
its Adam, like TF1's, adds epsilon before the bias correction, Optax's after it.
"""

import gin
import keras
from keras import ops

from dopamine import learners
from dopamine import seams
from dopamine.settings import checks
from dopamine.settings import errors

# Of the optimizers here and of those of `compat.gin_tf`.
SETTINGS = {
  'learning_rate': checks.rate,
  'eps': checks.rate,
  'epsilon': checks.rate,
  'beta1': checks.share,
  'beta2': checks.share,
  'decay': checks.share,
  'momentum': checks.share,
  'centered': checks.switch,
}


def as_rate(learning_rate):
  """`learning_rate` as Keras takes it: no integer, but a schedule."""
  is_number = checks.is_number(learning_rate)
  return float(learning_rate) if is_number else learning_rate


def make(kind, learning_rate, *args, **kwargs):
  """`kind(learning_rate, ...)`, whose rate is float32 whatever Keras's floatx.

  Args:
    kind: a class of Keras optimizers.
    learning_rate: a number or a schedule.
    *args: what `kind` takes after it.
    **kwargs: likewise.
  """
  with learners.keras_defaults():
    return kind(as_rate(learning_rate), *args, **kwargs)


@keras.saving.register_keras_serializable(package='dopamine')
class RMSProp(keras.optimizers.Optimizer):
  """RMSProp with epsilon inside the root (Tieleman & Hinton, 2012).

      s <- decay s + (1 - decay) g^2
      m <- decay m + (1 - decay) g                          (centered only)
      v <- momentum v + learning_rate g / sqrt(s - m^2 + epsilon)
      w <- w - v

  Args:
    learning_rate: a float or a Keras schedule (of updates).
    decay: of the moving averages.
    momentum: of the step.
    epsilon: added to the mean square.
    centered: divide by the standard deviation instead of the root mean square.
    initial_mean_square: where s starts: 1 in TF1, 0 in Optax.
    **kwargs: of `keras.optimizers.Optimizer`, e.g. `clipnorm`.
  """

  def __init__(
    self,
    learning_rate=0.00025,
    decay=0.95,
    momentum=0.0,
    epsilon=1e-5,
    centered=True,
    initial_mean_square=1.0,
    name='rmsprop',
    **kwargs,
  ):
    with learners.keras_defaults():
      super().__init__(as_rate(learning_rate), name=name, **kwargs)
    self.decay, self.momentum, self.epsilon = decay, momentum, epsilon
    self.centered, self.initial_mean_square = centered, initial_mean_square

  def build(self, variables):
    """Makes the slots of `variables`."""
    if self.built:
      return
    super().build(variables)
    self._mean_squares = self.add_optimizer_variables(
      variables,
      'mean_square',
      initializer=keras.initializers.Constant(self.initial_mean_square),
    )
    self._means = (
      self.add_optimizer_variables(variables, 'mean') if self.centered else None
    )
    self._velocities = (
      self.add_optimizer_variables(variables, 'velocity')
      if self.momentum
      else None
    )

  def update_step(self, gradient, variable, learning_rate):
    """Moves one variable."""
    index = self._get_variable_index(variable)
    rate = ops.cast(learning_rate, variable.dtype)
    g = ops.cast(gradient, variable.dtype)
    mean_square = self._mean_squares[index]
    s = self.decay * mean_square + (1 - self.decay) * ops.square(g)
    self.assign(mean_square, s)
    if self._means is not None:
      m = self.decay * self._means[index] + (1 - self.decay) * g
      self.assign(self._means[index], m)
      s = s - ops.square(m)
    step = rate * g / ops.sqrt(s + self.epsilon)
    if self._velocities is not None:
      step = self.momentum * self._velocities[index] + step
      self.assign(self._velocities[index], step)
    self.assign_sub(variable, step)

  def get_config(self):
    """The constructor's arguments."""
    return super().get_config() | dict(
      decay=self.decay,
      momentum=self.momentum,
      epsilon=self.epsilon,
      centered=self.centered,
      initial_mean_square=self.initial_mean_square,
    )


@keras.saving.register_keras_serializable(package='dopamine')
class Adam(keras.optimizers.Adam):
  """Adam with epsilon after the bias correction (Kingma & Ba, 2015, Alg. 1).

      w <- w - learning_rate m_hat / (sqrt(v_hat) + epsilon)

  Differs from `keras.optimizers.Adam` and TF1's (Kingma & Ba's "epsilon hat"),
  which add epsilon to sqrt(v), not sqrt(v_hat): there, early steps are smaller
  when gradients are. This one is Flax's and Optax's, and what the JAX
  configurations mean.
  """

  def __init__(self, *args, **kwargs):
    with learners.keras_defaults():
      super().__init__(*args, **kwargs)
    if self.amsgrad:
      raise errors.SettingError(
        'amsgrad=True is not supported: use keras.optimizers.Adam'
      )

  def update_step(self, gradient, variable, learning_rate):
    """Moves one variable."""
    index = self._get_variable_index(variable)
    rate = ops.cast(learning_rate, variable.dtype)
    g = ops.cast(gradient, variable.dtype)
    step = ops.cast(self.iterations + 1, variable.dtype)
    m = self._momentums[index] * self.beta_1 + (1 - self.beta_1) * g
    v = self._velocities[index] * self.beta_2 + (1 - self.beta_2) * ops.square(
      g
    )
    self.assign(self._momentums[index], m)
    self.assign(self._velocities[index], v)
    m_hat = m / (1 - ops.power(ops.cast(self.beta_1, variable.dtype), step))
    v_hat = v / (1 - ops.power(ops.cast(self.beta_2, variable.dtype), step))
    self.assign_sub(variable, rate * m_hat / (ops.sqrt(v_hat) + self.epsilon))


def rmsprop():
  """The RMSProp of DQN's TensorFlow agent: 2.5e-4, 0.95, 1e-5, centred."""
  return RMSProp()


def tf1_adam():
  """The Adam of Dopamine's distributional TensorFlow agents: 2.5e-4, 3.125e-4.

  TensorFlow 1's formulas, with epsilon before the bias correction.
  """
  return make(keras.optimizers.Adam, 2.5e-4, epsilon=3.125e-4)


@gin.configurable(module='dopamine.jax.agents.dqn.dqn_agent')
def create_optimizer(
  name='adam',
  learning_rate=6.25e-5,
  beta1=0.9,
  beta2=0.999,
  eps=1.5e-4,
  centered=False,
):
  """The optimizers of Dopamine's JAX agents, with Optax's formulas.

  What it returns has Optax's `init` and `update` too, for code that updates
  parameters itself.

  Args:
    name: 'adam', 'rmsprop' or 'sgd'.
    learning_rate: step size.
    beta1: Adam's decay of the mean.
    beta2: Adam's decay of the mean square; RMSProp's decay.
    eps: Adam's, after the bias correction; RMSProp's, inside the root.
    centered: for RMSProp, see `RMSProp`.
  """
  settings = locals()
  checks.check_arguments('create_optimizer', SETTINGS, settings)
  if name == 'adam':
    made = Adam(as_rate(learning_rate), beta1, beta2, eps)
  elif name == 'rmsprop':
    made = RMSProp(
      learning_rate,
      decay=beta2,
      epsilon=eps,
      centered=centered,
      initial_mean_square=0.0,
    )
  elif name == 'sgd':
    made = make(keras.optimizers.SGD, learning_rate)
  else:
    raise errors.SettingError(
      f"Unsupported optimizer {name}: create_optimizer knows 'adam', 'rmsprop' "
      "and 'sgd'"
    )
  if old_optimizers := seams.compat('old_optimizers'):
    old_optimizers.give_optax(made, **settings)
  return made


def resolve(optimizer):
  """A fresh Keras optimizer from whatever an agent was given.

  Args:
    optimizer: a factory without required arguments (`optimizers.rmsprop`), a
      name that `create_optimizer` knows, a Keras optimizer (one that another
      agent has built already is copied by its settings, so that no two share
      slots), or a `tf.compat.v1.train` optimizer, which is converted by its
      settings.
  """
  if isinstance(optimizer, str):
    return create_optimizer(optimizer)
  if isinstance(optimizer, keras.optimizers.Optimizer):
    for variable in optimizer.variables:
      if variable.name == 'learning_rate' and variable.dtype.endswith('16'):
        raise errors.SettingError(
          f'optimizer={optimizer!r} keeps its learning rate in '
          f'{variable.dtype}, what keras.config.floatx() was when it was made: '
          'give a factory, as lambda: keras.optimizers.Adam(0.001)'
        )
    if not optimizer.built:
      return optimizer
    return type(optimizer).from_config(optimizer.get_config())
  old_optimizers = seams.compat('old_optimizers')
  if old_optimizers and old_optimizers.knows(optimizer):
    return old_optimizers.convert(optimizer)
  if callable(optimizer):
    return resolve(optimizer())
  raise errors.SettingError(
    f'optimizer={optimizer!r} is neither an optimizer nor a factory of one'
  )


def __getattr__(name):
  """Serves what the functions here were called before."""
  return seams.old_name(__name__, name)
