"""Where a process computes: placing, preparing and describing devices.

What differs between the backends is in `tf_devices` and `jax_devices`.
"""

import contextlib
import functools
import importlib
import os
import sys

from absl import logging
import keras

from dopamine import backend
from dopamine.settings import errors


def backend_module(what: str):
  """The module of the process's backend for `what`, 'learner' or 'devices'."""
  name = {'tensorflow': 'tf', 'jax': 'jax'}.get(keras.config.backend())
  if name is None:
    raise errors.StateError(
      f'KERAS_BACKEND={keras.config.backend()} is not supported: set it to '
      'tensorflow or jax before Python starts'
    )
  return importlib.import_module(f'dopamine.learners.{name}_{what}')


def on_device(device: str | None) -> contextlib.AbstractContextManager:
  """Places what is built inside on `device`, e.g. '/gpu:0', where it exists.

  None leaves the choice to the backend. '/cpu:*' means the CPU; a GPU that is
  not there means the CPU, as TensorFlow's soft placement has it.
  """
  return backend_module('devices').on_device(device)


def prepare() -> None:
  """Makes the process ready to compute.

  With TensorFlow: GPU memory as it is needed; and eager mode where a script
  called `tf.compat.v1.disable_v2_behavior()`, if no graph was made since.
  """
  if keras.config.backend() == 'tensorflow':
    backend_module('devices').prepare()


def eagerly() -> contextlib.AbstractContextManager:
  """Makes variables outside of a script's graph or session of TensorFlow 1."""
  if keras.config.backend() == 'tensorflow':
    return backend_module('devices').eagerly()
  return contextlib.nullcontext()


def trace() -> object:
  """What is traced here: a loop in a function, for example, has another.

  What is computed in one cannot be used in another.
  """
  return backend_module('devices').trace()


def describe_device(device: str | None = None) -> str:
  """One line on the backend, its version and the device it computes on."""
  return backend_module('devices').describe_device(device)


@functools.cache
def warn_of_idle_gpu(device: str | None) -> None:
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


def num_cpus() -> int:
  """How many CPUs this process may use: as many threads compute on them."""
  if sys.platform == 'linux':
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
