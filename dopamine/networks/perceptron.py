"""The trunk of observation vectors: a perceptron."""

import gin
import keras
from keras import layers
from keras import ops
import numpy as np

from dopamine.networks import parts
from dopamine.settings import checks
from dopamine.settings import errors


def rescale(values, min_vals, max_vals):
  """Maps [min_vals, max_vals] to [-1, 1], element by element.

  A range that is empty, infinite, or 1e6 and more says nothing: such elements
  stay as they are.
  """
  width = np.subtract(max_vals, min_vals, dtype=np.float64)
  is_range = (width > 0) & (width < 1e6)
  low = np.where(is_range, min_vals, -1.0).astype(np.float32)
  high = np.where(is_range, max_vals, 1.0).astype(np.float32)
  scaled = 2.0 * (values - low) / (high - low) - 1.0
  return scaled if is_range.all() else ops.where(is_range, scaled, values)


def rescale_stack(x, min_vals, max_vals):
  """`rescale` of a flattened stack of observations.

  Args:
    x: `[..., D * stack]`, the stack last.
    min_vals: `[D]` of one observation, or a number.
    max_vals: likewise.
  """
  return rescale(x, *(_stacked(vals, x) for vals in (min_vals, max_vals)))


def _stacked(vals, x):
  if x.shape[-1] % np.size(vals):
    raise errors.SettingError(
      f'states of {x.shape[-1]} numbers do not fit the {np.size(vals)} of '
      "min_vals and max_vals: set the agent's observation_shape, or these, to "
      'what the environment gives'
    )
  return np.repeat(vals, x.shape[-1] // np.size(vals))


def listed(vals):
  """Ranges as JSON has them."""
  return None if vals is None else np.asarray(vals).tolist()


@gin.configurable(module='dopamine.discrete_domains.gym_lib')
@parts.saved
class BasicDiscreteDomainNetwork(parts.Network):
  """Two hidden layers of 512 units for small observation vectors.

  Args:
    min_vals: smallest value of each number observed; None does not rescale.
    max_vals: largest value of each; the input goes through `rescale`.
    num_actions: A; None ends the network after the hidden layers.
    num_atoms: outputs per action, or None for one.
    name: of the model.
    activation_fn: of the hidden layers.
    num_layers: hidden layers.
    hidden_units: units of each.
    inputs_preprocessed: True if states must not be rescaled.
  """

  SETTINGS = {
    'num_layers': checks.integer(0),
    'hidden_units': checks.integer(1),
  }

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
    super().__init__(num_actions, name=name)
    self.num_atoms = num_atoms
    self.num_layers, self.hidden_units = num_layers, hidden_units
    checks.check(self)
    if isinstance(activation_fn, dict):  # As Keras wrote a function.
      activation_fn = keras.saving.deserialize_keras_object(activation_fn)
    self._activation_fn = activation_fn
    try:
      keras.activations.get(activation_fn)(ops.zeros((1, 1)))
    except (TypeError, ValueError):
      checks.fail(
        self,
        'activation_fn',
        activation_fn,
        "one of Keras, as 'relu', or a function of one array",
      )
    self._inputs_preprocessed = inputs_preprocessed
    self._rescales = min_vals is not None and not inputs_preprocessed
    self._min_vals, self._max_vals = min_vals, max_vals
    if self._rescales:
      checks.array(self, 'min_vals', min_vals)
      checks.array(self, 'max_vals', max_vals)
    self.flatten = parts.Flatten()
    self.hidden = [
      parts.Dense(
        self.hidden_units, activation=activation_fn, name='fully_connected'
      )
      for _ in range(self.num_layers)
    ]
    self.last_layer = layers.Identity(dtype='float32')
    if num_actions is not None:
      self.last_layer = parts.Dense(
        num_actions * (num_atoms or 1), name='fully_connected'
      )

  def call(self, state):
    """Returns `[B, A]`, `[B, A * num_atoms]` or `[B, hidden_units]`."""
    x = self.flatten(ops.cast(state, 'float32'))
    if self._rescales:
      x = rescale_stack(x, self._min_vals, self._max_vals)
    for layer in self.hidden:
      x = layer(x)
    return self.last_layer(x)

  def arguments(self):
    """See `parts.Saved`."""
    return super().arguments() | {
      'min_vals': listed(self._min_vals),
      'max_vals': listed(self._max_vals),
      'num_atoms': self.num_atoms,
      'activation_fn': self._activation_fn,
      'num_layers': self.num_layers,
      'hidden_units': self.hidden_units,
      'inputs_preprocessed': self._inputs_preprocessed,
    }
