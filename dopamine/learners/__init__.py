"""Learners differentiate an agent's hooks and apply its optimizer.

A learner never sees a reward, a discount or a network's output: it takes
functions of a batch, compiles them once and runs them. Two exist,
`tf_learner` and `jax_learner`; `create` picks the one of the process's
backend. They are the only modules that import a framework.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import functools
import importlib
import json
import os
from typing import Any, NamedTuple

from absl import logging
import keras
from keras import ops
import numpy as np

from dopamine import backend
from dopamine.settings import errors


class Hooks(NamedTuple):
  """What an agent gives its learner. Every function is traced once.

  Attributes:
    modules: everything that holds variables (layers, networks, variables), by
      the name its weights are saved under.
    trainable: the variables that the optimizer moves.
    optimizer: a Keras optimizer.
    loss: batch -> the loss per transition `[B]`, or `(loss, extras)` with named
      figures to log.
    loss_weights: batch -> `[B]` weights of the losses in the mean, or None.
    priorities: batch, loss -> the new replay priorities `[B]`, or None.
    sync: () -> None; assigns the target network's variables.
    predict: states (and whatever else acting draws) -> what acting needs.
  """

  modules: Mapping[str, Any]
  trainable: Sequence[keras.Variable]
  optimizer: keras.optimizers.Optimizer
  loss: Callable
  loss_weights: Callable
  priorities: Callable
  sync: Callable
  predict: Callable


class Update(NamedTuple):
  """What K updates report, as arrays of the backend; `np.asarray` fetches one.

  Attributes:
    loss: `[K, B]`, unweighted.
    objective: `[K]`, the weighted mean that was minimised.
    priorities: `[K, B]`, or None without prioritised replay.
    extras: `{name: [K, ...]}`, what the loss hook returned to log.
  """

  loss: Any
  objective: Any
  priorities: Any
  extras: dict[str, Any]


class Learner:
  """What both learners share: the objective, and the state as NumPy arrays.

  Attributes:
    optimizer: what moves the weights.
  """

  def __init__(self, hooks: Hooks, device: str | None = None):
    self._hooks, self._device = hooks, device
    self.optimizer = hooks.optimizer
    saved = [v for m in hooks.modules.values() for v in _variables(m)]
    check_values([*saved, *hooks.optimizer.variables])
    known = set(map(id, saved))
    lost = [v.path for v in hooks.trainable if id(v) not in known]
    if lost or not hooks.trainable:
      raise errors.SettingError(
        f'of the trainable variables {lost} belong to no module that is saved, '
        f'which are {sorted(hooks.modules)}'
        if lost
        else 'there are no trainable variables: networks get theirs by being '
        'called once, before the learner is made'
      )
    hooks.optimizer.build(list(hooks.trainable))

  def update(self, batches) -> Update:
    """Runs K updates in one compiled call.

    Args:
      batches: a structure of NumPy arrays `[K, B, ...]`.
    """
    raise NotImplementedError

  def predict(self, *arrays):
    """The predict hook's outputs for `arrays`, in NumPy."""
    raise NotImplementedError

  def sync_target(self) -> None:
    """Runs the sync hook."""
    raise NotImplementedError

  def graph_def(self) -> bytes | None:
    """The compiled update as a serialised TensorFlow graph, if there is one."""
    return None

  def _objective(self, batch):
    """mean(weights * loss) as `[]`, and the update's report."""
    loss, extras = self._hooks.loss(batch), {}
    if isinstance(loss, tuple):
      loss, extras = loss
    if len(loss.shape) != 1:
      raise errors.SettingError(
        f'_loss must return one loss per transition, [B]; got {loss.shape}'
      )
    weights = self._hooks.loss_weights(batch)
    priorities = self._hooks.priorities(batch, ops.stop_gradient(loss))
    for name, values in (
      ('_loss_weights', weights),
      ('_priorities', priorities),
    ):
      if values is not None and tuple(values.shape) != tuple(loss.shape):
        raise errors.SettingError(
          f'{name} must return one value per transition, {loss.shape}; got '
          f'{values.shape}'
        )
    objective = ops.mean(loss if weights is None else weights * loss)
    return objective, Update(loss, objective, priorities, extras)

  # State ----------------------------------------------------------------------

  def _named_variables(self) -> dict[str, keras.Variable]:
    named = {}
    for name, module in self._hooks.modules.items():
      for i, variable in enumerate(_variables(module)):
        named[f'{name}/{i}'] = variable
    for i, variable in enumerate(self._hooks.optimizer.variables):
      # The learning rate is a setting: a resumed run may be given a new one.
      if variable.name != 'learning_rate':
        named[f'optimizer/{i}'] = variable
    return named

  def state(self) -> dict[str, np.ndarray]:
    """Every variable by name: weights, target, optimizer slots, seeds."""
    return {
      name: np.array(ops.convert_to_numpy(variable.value))
      for name, variable in self._named_variables().items()
    }

  def set_state(self, state: Mapping[str, np.ndarray]) -> None:
    """Assigns what `state()` returned, under this or the other backend.

    Raises:
      ValueError: a name is missing or a shape differs; nothing is assigned.
    """
    named = self._named_variables()
    for name, variable in named.items():
      if name not in state:
        raise errors.SettingError(
          f'{name} ({variable.path}) is not in the checkpoint'
        )
      if tuple(state[name].shape) != tuple(variable.shape):
        raise errors.SettingError(
          f'{name} ({variable.path}) has shape {tuple(variable.shape)} here, '
          f'{tuple(state[name].shape)} in the checkpoint'
        )
    for name, variable in named.items():
      variable.assign(np.asarray(state[name]).astype(variable.dtype))

  def set_weights(self, state: Mapping[str, np.ndarray]) -> None:
    """As `set_state`, of all but the optimizer: enough to act, not to go on."""
    optimizer = {
      name: np.asarray(ops.convert_to_numpy(variable.value))
      for name, variable in self._named_variables().items()
      if name.startswith('optimizer/')
    }
    self.set_state({**state, **optimizer})


def _variables(module) -> list[keras.Variable]:
  if isinstance(module, keras.Variable):
    return [module]
  return list(module.variables)


def _backend_module():
  name = {'tensorflow': 'tf', 'jax': 'jax'}.get(keras.config.backend())
  if name is None:
    raise errors.StateError(
      f'KERAS_BACKEND={keras.config.backend()} is not supported: set it to '
      'tensorflow or jax before Python starts'
    )
  return importlib.import_module(f'dopamine.learners.{name}_learner')


def create(hooks: Hooks, device: str | None = None) -> Learner:
  """Returns the learner of the process's backend."""
  _warn_of_idle_gpu(device)
  return _backend_module().Learner(hooks, device)


@functools.cache
def _warn_of_idle_gpu(device: str | None) -> None:
  """Says so where the CPU computes though there is a GPU."""
  is_chosen = device is not None and parse_device(device)[0] == 'cpu'
  if keras.config.backend() == 'jax':
    names = 'JAX_PLATFORMS', 'JAX_PLATFORM_NAME'
    is_chosen = is_chosen or 'cpu' in map(os.environ.get, names)
  text = describe_device(device)
  if not is_chosen and ' on cpu' in text and backend.has_gpu():
    logging.warning(
      'This machine has a GPU, but this run computes with %s: %s',
      text,
      backend.why_no_gpu(keras.config.backend()),
    )


def prepare() -> None:
  """Makes the process ready to compute.

  With TensorFlow: GPU memory as it is needed; and eager mode where a script
  called `tf.compat.v1.disable_v2_behavior()`, if no graph was made since.
  """
  if keras.config.backend() == 'tensorflow':
    _backend_module().prepare()


def eagerly() -> contextlib.AbstractContextManager:
  """Makes variables outside of a script's graph or session of TensorFlow 1."""
  if keras.config.backend() == 'tensorflow':
    return _backend_module().eagerly()
  return contextlib.nullcontext()


def on_device(device: str | None) -> contextlib.AbstractContextManager:
  """Places what is built inside on `device`, e.g. '/gpu:0', where it exists.

  None leaves the choice to the backend. '/cpu:*' means the CPU; a GPU that is
  not there means the CPU, as TensorFlow's soft placement has it.
  """
  return _backend_module().on_device(device)


def check_values(variables) -> None:
  """Refuses variables that were made in a graph of TensorFlow 1.

  Raises:
    ValueError: names one.
  """
  for variable in variables:
    if hasattr(variable.value, 'graph'):  # As of no eager tensor, no array.
      raise errors.SettingError(
        f'{variable.path} was made in a graph or session of TensorFlow 1, and '
        'has no value outside of it: make it before that, or in a function '
        'that the agent is given (optimizer = lambda: '
        'keras.optimizers.Adam(0.001)); see the row of sess in '
        'docs/migrating.md'
      )


# What a layer, an optimizer or an op takes where its caller does not say.
_KERAS_DEFAULTS = {
  'floatx': 'float32',
  'image_data_format': 'channels_last',
  'dtype_policy': 'float32',
}


@contextlib.contextmanager
def keras_defaults() -> Iterator[None]:
  """Keras's settings as it ships them, so that no keras.json decides a result.

  Agents are built and their hooks traced inside. What a script set on purpose,
  `check_settings` refuses.
  """
  before = {name: getattr(keras.config, name)() for name in _KERAS_DEFAULTS}
  changed = {
    name: value
    for name, value in before.items()
    if getattr(value, 'name', value) != _KERAS_DEFAULTS[name]
  }
  for name in changed:
    getattr(keras.config, f'set_{name}')(_KERAS_DEFAULTS[name])
  try:
    with eagerly():
      yield
  finally:
    for name, value in changed.items():
      getattr(keras.config, f'set_{name}')(value)


def check_settings() -> None:
  """Refuses what a script asks of Keras for all and agents do not follow.

  Raises:
    ValueError: names the setting.
  """
  # Where Keras finds it.
  home = os.path.expanduser('~')
  home = home if os.access(home, os.W_OK) else '/tmp'
  folder = os.environ.get('KERAS_HOME', os.path.join(home, '.keras'))
  path = os.path.expanduser(os.path.join(folder, 'keras.json'))
  configured: dict[str, Any] = {}
  with contextlib.suppress(OSError, ValueError):
    with open(path, encoding='utf-8') as file:
      configured = dict(json.load(file))
  # The policy of a process that sets none is its floatx.
  configured['dtype_policy'] = configured.get('floatx')
  for name, default in _KERAS_DEFAULTS.items():
    value = getattr(keras.config, name)()
    value = getattr(value, 'name', value)
    if value not in (default, configured.get(name)):
      raise errors.SettingError(
        f'keras.config.{name}() is {value!r}, but agents compute with '
        f'{default!r}: leave keras.config.set_{name} out. Layers of your own '
        'networks can be given what they need by their arguments'
      )


def describe_device(device: str | None = None) -> str:
  """One line on the backend, its version and the device it computes on."""
  return _backend_module().describe_device(device)


def read_tf_checkpoint(prefix: str) -> dict[str, np.ndarray]:
  """Returns the variables that TensorFlow's `Saver` saved, by name.

  Needs TensorFlow, whichever the backend is.

  Args:
    prefix: of the files `PREFIX.index` and `PREFIX.data-*`.

  Raises:
    ImportError: TensorFlow is not installed.
    ValueError: the files are not what was written.
  """
  try:
    tf_learner = importlib.import_module('dopamine.learners.tf_learner')
  except ImportError as error:
    raise errors.NotInstalledError(
      f'{prefix} is a checkpoint of TensorFlow, which is needed to read it: '
      f'{backend.how_to_install("")}'
    ) from error
  return tf_learner.read_checkpoint(prefix)


def num_cpus() -> int:
  """How many CPUs this process may use: as many threads compute on them."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def parse_device(device: str) -> tuple[str, int]:
  """('gpu', 1) of '/gpu:1', 'GPU:1' or '/device:GPU:1'; '*' reads as 0.

  Raises:
    ValueError: the text names no device.
  """
  kind, _, index = (
    device.lower().split('/')[-1].removeprefix('device:').partition(':')
  )
  if kind not in ('cpu', 'gpu', 'tpu') or not (
    index in ('', '*') or index.isdigit()
  ):
    raise errors.SettingError(
      f"tf_device={device!r} names no device; write '/cpu:*' or '/gpu:0'"
    )
  return kind, int(index) if index.isdigit() else 0
