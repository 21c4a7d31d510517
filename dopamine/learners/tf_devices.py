"""Devices of TensorFlow: see `devices`."""

import contextlib
import functools

from absl import logging
import tensorflow as tf

from dopamine import backend
from dopamine.learners import devices


@functools.cache
def prepare():
  """See `devices.prepare`."""
  if not tf.executing_eagerly():
    _leave_version_1()
  with backend.quiet():
    gpus = tf.config.list_physical_devices('GPU')
  for gpu in gpus:
    try:
      tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:  # The GPU is already in use.
      logging.warning('GPU memory growth could not be set: %s', error)


def _leave_version_1():
  """Enables what a script has disabled, as far as it is not too late."""
  try:
    tf.compat.v1.enable_v2_behavior()
  except ValueError:  # There is a graph already. This networks may rely on:
    tf.compat.v1.enable_v2_tensorshape()
    tf.compat.v1.enable_tensor_equality()
  if tf.executing_eagerly():
    logging.warning(
      'TensorFlow 2 behaviour was disabled (tf.compat.v1.disable_v2_behavior) '
      'and is enabled again: agents need it. The call can be removed.'
    )
  else:
    logging.warning(
      'This program is in a graph or session of TensorFlow 1. Agents compute '
      'outside of it: session, graph, tf.compat.v1.disable_v2_behavior and '
      'global_variables_initializer can be removed, see the row of sess in '
      'docs/migrating.md.'
    )


def eagerly():
  """See `devices.eagerly`."""
  prepare()
  if tf.executing_eagerly():
    return contextlib.nullcontext()
  return tf.__internal__.eager_context.eager_mode()


@functools.cache
def _device_name(device):
  kind, index = devices.parse_device(device)
  if index >= len(tf.config.list_physical_devices(kind.upper())):
    return '/cpu:0'
  return f'/{kind}:{index}'


def on_device(device):
  """See `devices.on_device`."""
  prepare()
  place = tf.device(_device_name(device) if device else None)
  return place if tf.executing_eagerly() else _eagerly_on(place)


@contextlib.contextmanager
def _eagerly_on(place):
  with eagerly(), place:
    yield


def trace():
  """See `devices.trace`."""
  return tf.compat.v1.get_default_graph()


def describe_device(device=None):
  """See `devices.describe_device`."""
  prepare()
  gpus = tf.config.list_physical_devices('GPU')
  name = _device_name(device) if device else ('/gpu:0' if gpus else '/cpu:0')
  if name.startswith('/gpu'):
    details = tf.config.experimental.get_device_details(gpus[int(name[5:])])
    place = f'{name[1:]} ({details.get("device_name", "GPU")})'
  else:
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    place = f'cpu ({threads or devices.num_cpus()} threads)'
    if device and devices.parse_device(device)[0] != 'cpu':
      place += f', as there is no {device}'
  return f'tensorflow {tf.__version__} on {place}'
