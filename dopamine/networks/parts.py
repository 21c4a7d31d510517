"""What the networks of all agents are made of."""

import functools
from typing import NamedTuple

import keras
from keras import layers
from keras import ops

from dopamine import seams
from dopamine.settings import gin_files


class DQNNetworkType(NamedTuple):
  """What a DQN network returns."""

  q_values: keras.KerasTensor  # [B, A]


# What Keras would otherwise take from a user's keras.json or a global policy.
Dense = functools.partial(layers.Dense, dtype='float32')
Conv2D = functools.partial(
  layers.Conv2D, data_format='channels_last', dtype='float32'
)
Flatten = functools.partial(
  layers.Flatten, data_format='channels_last', dtype='float32'
)

# Registers a class or function as `dopamine>NAME`: files name it so.
saved = keras.saving.register_keras_serializable(package='dopamine')


@saved
def scale_pixels(state):
  """Pixels 0..255 of any integer or float dtype, as float32 in [0, 1]."""
  return ops.cast(state, 'float32') / 255.0


class Saved:
  """What Keras makes again of the constructor's arguments.

  `arguments` says all of them but the name, as JSON has them, so that what gin
  binds by then is not asked.
  """

  def __new__(cls, *args, **kwargs):
    """Notes the keywords, which may be of a subclass without `get_config`."""
    made = super().__new__(cls, *args, **kwargs)
    object.__setattr__(made, '_given', kwargs)  # Keras would track its layers.
    return made

  def get_config(self):
    """What `arguments` says, and what Keras knows; a user's class adds its."""
    return self._given | super().get_config() | self.arguments()

  @classmethod
  def from_config(cls, config):
    """Makes one of what `get_config` returned."""
    arguments = {k: v for k, v in config.items() if k != 'dtype'}
    trainable = arguments.pop('trainable', True)
    names, takes_others = gin_files.parameters(cls)
    if not takes_others:
      arguments = {k: v for k, v in arguments.items() if k in names}
    made = cls(**arguments)
    made.trainable = trainable
    return made

  def __deepcopy__(self, memo):
    """A copy with variables of its own; Keras's is of registered classes."""
    copied = self.from_config(self.get_config())
    if self.built:
      copied.build_from_config(self.get_build_config())
    for ours, theirs in zip(copied.variables, self.variables, strict=True):
      ours.assign(theirs)
    return copied


class Network(Saved, keras.Model):
  """A model in float32 that knows its number of actions."""

  def __init__(self, num_actions=None, **kwargs):
    seams.check_code(self)
    super().__init__(dtype='float32', **kwargs)
    self.num_actions = num_actions

  def arguments(self):
    """See `Saved`."""
    return {'num_actions': self.num_actions}

  def build_from_config(self, config):
    """Makes the weights as an agent does, by a call."""
    shape = config.get('input_shape') or config['shapes_dict']['state_shape']
    self(ops.zeros((1, *shape[1:])), **self.asked)

  # What a call asks for beside the states.
  asked = {}


class Scalar:
  """The head of DQN: the outputs are the action values."""

  def call(self, state):
    """Returns `q_values` `[B, A]` of the stacked observations `state`."""
    return DQNNetworkType(self.outputs(state))
