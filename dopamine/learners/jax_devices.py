"""Devices of JAX: see `devices`."""

import contextlib
import functools

import jax
import jax.extend.core

from dopamine.learners import devices

_NAME = 'get_opaque_trace_state'
# It has moved; and JAX 0.4.34 had none.
_trace_state = (
  getattr(jax.extend.core, _NAME, None)
  or getattr(jax.core, _NAME, None)
  or (lambda: None)
)


@functools.cache
def _device(device):
  kind, index = devices.parse_device(device)
  try:
    return jax.devices(kind)[index]
  except (RuntimeError, IndexError):  # There is no such device here.
    return jax.devices('cpu')[0]


def on_device(device):
  """See `devices.on_device`."""
  if device is None:
    return contextlib.nullcontext()
  return jax.default_device(_device(device))


def trace():
  """See `devices.trace`."""
  return _trace_state()


def describe_device(device=None):
  """See `devices.describe_device`."""
  found = _device(device) if device else jax.devices()[0]
  place = found.platform
  if place == 'cpu':
    place += f' ({devices.num_cpus()} threads)'
  if found.platform != 'cpu':
    place += f':{found.id} ({found.device_kind})'
  elif device and devices.parse_device(device)[0] != 'cpu':
    place += f', as there is no {device}'
  return f'jax {jax.__version__} on {place}'
