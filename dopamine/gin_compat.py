"""Parses gin files: those written for TensorFlow 1 and 2, and those with typos.

Every TensorFlow gin file of Dopamine says `import
gin.tf.external_configurables`, and much research code says `import gin.tf`.
Both fail since TensorFlow dropped `tf.estimator`. `install` puts stand-ins in
their place and registers the names that such files bind; nothing here loads
Keras before an optimizer is really asked for.

`parse` says of a name that gin does not know which one is near, and refuses
parameters that gin lets through and a constructor would not.
"""

from collections.abc import Iterable, Sequence
import difflib
import inspect
import math
import re
import sys
import tokenize
import traceback
import types
from typing import Any

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
    epsilon=epsilon,
  )
  checks.shares('RMSPropOptimizer', decay=decay, momentum=momentum)
  checks.switches('RMSPropOptimizer', centered=centered)
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
    epsilon=epsilon,
  )
  checks.shares('AdamOptimizer', beta1=beta1, beta2=beta2)
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
  checks.rates('MomentumOptimizer', learning_rate=learning_rate)
  checks.shares('MomentumOptimizer', momentum=momentum)
  import keras

  from dopamine import optimizers

  learning_rate = optimizers.as_rate(learning_rate)
  return keras.optimizers.SGD(learning_rate, momentum, use_nesterov)


def _adagrad(
  learning_rate,
  initial_accumulator_value=0.1,
  use_locking=False,
  name='Adagrad',
):
  """TF1's Adagrad, which has no epsilon."""
  del use_locking, name
  checks.rates('AdagradOptimizer', learning_rate=learning_rate)
  import keras

  from dopamine import optimizers

  learning_rate = optimizers.as_rate(learning_rate)
  return keras.optimizers.Adagrad(
    learning_rate, initial_accumulator_value, epsilon=0.0
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
    raise ValueError(
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

    package = keras.optimizers
    if module != 'optimizers':
      package = keras.optimizers.schedules
    try:
      return getattr(package, name)(*args, **kwargs)
    except (TypeError, ValueError) as error:
      raise ValueError(f'tf.keras.{module}.{name}: {error}') from None

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


# Parsing ----------------------------------------------------------------------

# What a line of a gin file for Dopamine 4 says, and what it says here. A class
# of this name may be the user's own, in a module of another name.
_REPLAY_BUFFER_4 = r'(?:(?:dopamine\.[\w.]*)?\breplay_buffer\.)?ReplayBuffer'
_DOPAMINE_4 = (
  (
    r'import dopamine\.jax\.replay_memory\.\S+',
    'import dopamine.replay_memory.circular_replay_buffer',
  ),
  (r'(.*)\bdopamine\.tf\.(.*)', r'\1dopamine.\2'),
  (
    _REPLAY_BUFFER_4 + r'\.max_capacity(\s*=.*)',
    r'OutOfGraphReplayBuffer.replay_capacity\1',
  ),
  (
    _REPLAY_BUFFER_4 + r'\.(batch_size\s*=.*)',
    r'OutOfGraphReplayBuffer.\1',
  ),
)


def check_version(texts: Iterable[str]) -> None:
  """Refuses lines that only Dopamine 4 understands.

  Args:
    texts: of gin files, and bindings.

  Raises:
    ValueError: with the lines, and what to write instead.
  """
  found = []
  for text in texts:
    for line in text.splitlines():
      for pattern, new in _DOPAMINE_4:
        if match := re.fullmatch(pattern, line.split('#')[0].strip()):
          found.append(f'  {match[0]}\n  ->  {match.expand(new)}')
          break
  if found:
    raise ValueError(
      'These lines are for Dopamine 4; write here what is behind the arrow:\n'
      + '\n'.join(found)
    )


def parse(gin_files: Sequence[str], gin_bindings: Sequence[str]) -> None:
  """Parses files and bindings; unknown names are errors.

  Raises:
    SyntaxError: something is no statement of gin.
    ValueError: a name is not known; the message has the nearest that is.
  """
  if gin.config_is_locked():
    raise RuntimeError(
      'gin has the settings of an earlier run of this process: call '
      'gin.clear_config() before the next'
    )
  try:
    gin.parse_config_files_and_bindings(
      gin_files,
      bindings=gin_bindings,
      skip_unknown=False,
      finalize_config=False,
    )
    _check_parameters()
    gin.finalize()
  except (SyntaxError, ValueError) as error:
    if _is_of_a_module(error):  # That gin imports: its traceback is wanted.
      raise
    if isinstance(error, SyntaxError):
      raise SyntaxError(_syntax_message(error)) from None
    raise ValueError(_with_nearest_name(str(error))) from None
  except tokenize.TokenError as error:
    raise SyntaxError(
      f'a statement does not end ({error.args[0]}): a bracket or quote is '
      'open in the bindings or the files'
    ) from None


def _is_of_a_module(error: Exception) -> bool:
  """Whether it is an error of Python code, not of gin's."""
  if isinstance(error, SyntaxError):
    return str(error.filename).endswith('.py')
  frame, _ = list(traceback.walk_tb(error.__traceback__))[-1]
  package = frame.f_globals.get('__name__', '').split('.')[0]
  return package not in ('ast', 'dopamine', 'gin')


def _syntax_message(error: SyntaxError) -> str:
  """gin's message, with the statement and where it is."""
  message, text = error.msg, (error.text or '').strip()
  if not text:
    return f'{message} Put quotes around each binding, so that it stays whole'
  unquoted = re.search(r"Failed to parse token '(\w+)'", message)
  if unquoted:
    name = unquoted[1]
    words = {'true': 'True', 'false': 'False', 'null': 'None', 'none': 'None'}
    meant = f"a text needs quotes, '{name}', and the name of a function @, in"
    if name.lower() in words:
      meant = f'in gin it is written {words[name.lower()]}, in'
    message = f'cannot read the value {name}: {meant}'
  place = 'the bindings'
  if error.filename:
    place = f'line {error.lineno} of {error.filename}'
  return f'{message} {text!r} in {place}'


def _with_nearest_name(message: str) -> str:
  """gin's message on a name that it does not know, and the nearest it does."""
  registry = gin.config._REGISTRY  # gin offers no list of what it knows.
  near = ''
  if found := re.search(
    r"^No configurable matching (?:reference )?'@?([\w./]+)", message
  ):
    names = {s.split('.')[-1] for s in registry._selector_map}
    near = hint(found[1].split('.')[-1], names)
  elif found := re.search(
    r"^Configurable '([\w./]+)' doesn't have a parameter named '(\w+)'", message
  ):
    near = hint(found[2], _parameters(registry.get_match(found[1]).wrapped)[0])
  elif found := re.search(
    r"^No bindings specified for '([\w./]+)/gin.macro'", message
  ):
    known = {scope for scope, name in gin.config._CONFIG if name == 'gin.macro'}
    known |= set(gin.config._CONSTANTS._selector_map)
    message = f'%{found[1]} is neither a macro nor a constant'  # gin's: a page.
    near = hint(found[1], known)
  first, *rest = message.split('\n')
  return '\n'.join([first + near, *rest])


def hint(name: str, known: Iterable[str]) -> str:
  """The part of a message that names what is nearest to `name`, if any is."""
  lower = {candidate.lower(): candidate for candidate in known}
  close = difflib.get_close_matches(name.lower(), lower, n=1)
  return f' (did you mean {lower[close[0]]!r}?)' if close else ''


def _parameters(target: Any) -> tuple[set[str], bool]:
  """The parameters of a function or class, and whether it takes any others.

  A constructor of ours that passes keywords on takes those of its parents too;
  what others do with theirs, nobody knows.
  """
  functions = [target]
  if inspect.isclass(target):
    constructors = (vars(c).get('__init__') for c in target.__mro__)
    functions = [c for c in constructors if c]
  names: set[str] = set()
  for function in functions:
    parameters = inspect.signature(function).parameters.values()
    names |= {
      p.name
      for p in parameters
      if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }
    if not any(p.kind == p.VAR_KEYWORD for p in parameters):
      return names, False
    if not getattr(function, '__module__', '').startswith('dopamine.'):
      break
  return names, True


def _check_parameters() -> None:
  """Refuses bindings that a class would only refuse once it is made.

  gin lets any name through where a constructor has `**kwargs`.
  """
  for (_, selector), bindings in gin.config._CONFIG.items():
    configurable = gin.config._REGISTRY.get(selector)
    if configurable is None or not inspect.isclass(configurable.wrapped):
      continue
    known, takes_others = _parameters(configurable.wrapped)
    for name in () if takes_others else bindings:
      if name not in known:
        owner = selector.split('.')[-1]
        raise ValueError(
          f"{owner} doesn't have a parameter named {name!r}, which gin binds"
          f'{hint(name, known - {"self"})}'
        )


def bound_values(target: Any) -> dict[str, Any]:
  """What gin has bound to the parameters of a function or class, by name."""
  registry = gin.config._REGISTRY
  found: dict[str, Any] = {}
  for (_, selector), bindings in gin.config._CONFIG.items():
    configurable = registry.get(selector)
    # Of a function, what is imported is gin's wrapper.
    if target in (
      getattr(configurable, 'wrapped', None),
      getattr(configurable, 'wrapper', None),
    ):
      found |= bindings
  return found


def bound_parameters(target: Any) -> set[str]:
  """The parameters of a function or class that gin has values for."""
  return set(bound_values(target))


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
