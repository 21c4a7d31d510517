"""Reads what TensorFlow's `Saver` saved, whichever the backend is."""

import contextlib

import keras
import numpy as np
import tensorflow as tf


def read(prefix):
  """The variables of `PREFIX.index` and `PREFIX.data-*` by name."""
  if keras.config.backend() != 'tensorflow':
    with contextlib.suppress(RuntimeError):  # It has taken the GPUs already.
      tf.config.set_visible_devices([], 'GPU')
  try:
    reader = tf.train.load_checkpoint(prefix)
    return {
      name: np.asarray(reader.get_tensor(name))
      for name in sorted(reader.get_variable_to_shape_map())
    }
  except Exception as error:  # What a damaged file raises is anything.
    raise ValueError(f'{prefix} is damaged ({error})') from error
