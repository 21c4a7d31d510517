"""Keras's settings: agents compute with those that it ships."""

from collections.abc import Iterator
import contextlib
import json
import os
from typing import Any

import keras

from dopamine.learners import devices
from dopamine.settings import errors

# What a layer, an optimizer or an op takes where its caller does not say: what
# tells it, what sets it, and what it is as Keras ships it.
_SETTINGS = {
  'floatx': (keras.config.floatx, keras.config.set_floatx, 'float32'),
  'image_data_format': (
    keras.config.image_data_format,
    keras.config.set_image_data_format,
    'channels_last',
  ),
  'dtype_policy': (
    keras.config.dtype_policy,
    keras.config.set_dtype_policy,
    'float32',
  ),
}


def _name(value: Any) -> str:
  """Of a setting's value; a policy is an object."""
  return value if isinstance(value, str) else value.name


@contextlib.contextmanager
def keras_defaults() -> Iterator[None]:
  """Keras's settings as it ships them, so that no keras.json decides a result.

  Agents are built and their hooks traced inside. What a script set on purpose,
  `check_settings` refuses.
  """
  found = [(get(), set_to, ours) for get, set_to, ours in _SETTINGS.values()]
  changed = [x for x in found if _name(x[0]) != x[2]]
  for _, set_to, ours in changed:
    set_to(ours)
  try:
    with devices.eagerly():
      yield
  finally:
    for before, set_to, _ in changed:
      set_to(before)


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
  for name, (get, _, default) in _SETTINGS.items():
    value = _name(get())
    if value not in (default, configured.get(name)):
      raise errors.SettingError(
        f'keras.config.{name}() is {value!r}, but agents compute with '
        f'{default!r}: leave keras.config.set_{name} out. Layers of your own '
        'networks can be given what they need by their arguments'
      )


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
