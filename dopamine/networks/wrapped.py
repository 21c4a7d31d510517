"""A network behind a function of its states."""

import copy

import keras

from dopamine.networks import parts


@parts.saved
class Preprocessed(keras.Model):
  """A network behind a function of its states.

  Args:
    network: what acts and learns.
    preprocess_fn: of the states. For a file, it is to be registered with
      `keras.saving.register_keras_serializable`.
  """

  def __init__(self, network, preprocess_fn):
    super().__init__(name=network.name)
    self.wrapped, self._preprocess_fn = network, preprocess_fn
    self.built = True  # Its weights are those of `wrapped`.

  # Not `call`, where Keras takes no tensors beside numbers in `**kwargs`.
  def __call__(self, state, **kwargs):
    return self.wrapped(self._preprocess_fn(state), **kwargs)

  def get_config(self):
    """Network and function, as Keras writes them."""
    made_of = {'network': self.wrapped, 'preprocess_fn': self._preprocess_fn}
    return {
      name: keras.saving.serialize_keras_object(value)
      for name, value in made_of.items()
    }

  def __deepcopy__(self, memo):
    return type(self)(copy.deepcopy(self.wrapped), self._preprocess_fn)

  @classmethod
  def from_config(cls, config):
    """Makes one of what `get_config` returned."""
    return cls(**keras.saving.deserialize_keras_object(config))


def unwrapped(network):
  """The network itself, where an agent put a preprocessing before it."""
  return network.wrapped if isinstance(network, Preprocessed) else network
