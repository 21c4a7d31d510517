"""Reads the checkpoints of TensorFlow's `Saver`."""

import contextlib

import keras
import numpy as np

from dopamine import backend
from dopamine.settings import errors


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
    import tensorflow as tf
  except ImportError as error:
    raise errors.NotInstalledError(
      f'{prefix} is a checkpoint of TensorFlow, which is needed to read it: '
      f'{backend.how_to_install("")}'
    ) from error
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
