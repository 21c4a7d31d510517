"""Learners differentiate an agent's hooks and apply its optimizer.

A learner never sees a reward, a discount or a network's output: it takes
functions of a batch, compiles them once and runs them. Two exist,
`tf_learner` and `jax_learner`; `create` picks the one of the process's
backend. Only modules here import a framework.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops
import numpy as np

from dopamine.learners import devices
from dopamine.learners import keras_settings
from dopamine.settings import errors

check_settings = keras_settings.check_settings
check_values = keras_settings.check_values
describe_device = devices.describe_device
eagerly = devices.eagerly
keras_defaults = keras_settings.keras_defaults
num_cpus = devices.num_cpus
on_device = devices.on_device
parse_device = devices.parse_device
prepare = devices.prepare
trace = devices.trace


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
    noted: () -> what the loss hook noted of its batch to show, by name; and
      forgets it.
  """

  modules: Mapping[str, Any]
  trainable: Sequence[keras.Variable]
  optimizer: keras.optimizers.Optimizer
  loss: Callable
  loss_weights: Callable
  priorities: Callable
  sync: Callable
  predict: Callable
  noted: Callable[[], dict[str, Any]] = dict


class Update(NamedTuple):
  """What K updates report, as arrays of the backend; `np.asarray` fetches one.

  Attributes:
    loss: `[K, B]`, unweighted.
    objective: `[K]`, the weighted mean that was minimised.
    priorities: `[K, B]`, or None without prioritised replay.
    extras: `{name: [K, ...]}`, what the loss hook returned to log.
    figures: `{name: [K]}`, the norm of the gradient, and the means over the
      batch of what the loss hook noted.
  """

  loss: Any
  objective: Any
  priorities: Any
  extras: dict[str, Any]
  figures: dict[str, Any]


class Learner:
  """What both learners share: the objective, and the state as NumPy arrays.

  Attributes:
    optimizer: what moves the weights.
  """

  def __init__(self, hooks: Hooks, device: str | None = None):
    self._hooks, self._device = hooks, device
    self.optimizer = hooks.optimizer
    saved = [v for m in hooks.modules.values() for v in _variables(m)]
    keras_settings.check_values([*saved, *hooks.optimizer.variables])
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

  @property
  def learning_rate(self) -> float:
    """Of the next update."""
    with devices.eagerly():
      return float(ops.convert_to_numpy(self.optimizer.learning_rate))

  def graph_def(self) -> bytes | None:
    """The compiled update as a serialised TensorFlow graph, if there is one."""
    return None

  def _objective(self, batch):
    """mean(weights * loss) as `[]`, and the update's report."""
    self._hooks.noted()  # What was noted outside.
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
    figures = {k: ops.mean(v) for k, v in self._hooks.noted().items()}
    return objective, Update(loss, objective, priorities, extras, figures)

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


def create(hooks: Hooks, device: str | None = None) -> Learner:
  """Returns the learner of the process's backend."""
  devices.warn_of_idle_gpu(device)
  return devices.backend_module('learner').Learner(hooks, device)
