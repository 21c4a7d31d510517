"""Checks of settings, before anything is built from them.

A class says in `SETTINGS` what its settings must be, and its subclasses what
theirs must:

    SETTINGS = {'stack_size': checks.integer(1), 'gamma': checks.real(0, 1)}

`check` goes through them. What does not fit is a SettingError of one sentence:
which setting, its value, and what it must be. The name is that of the class and
of the parameter, as gin binds it.
"""

from collections.abc import Callable, Mapping
import math
import numbers
import re
from typing import Any, NoReturn

import numpy as np

from dopamine import seams
from dopamine.settings import errors

# Nobody counts further: it is a mistake that later fails less clearly.
_LARGEST = 10**12

# What a setting must be: `(owner, name, value)` -> the value that is used.
Kind = Callable[[Any, str, Any], Any]


def fail(owner: Any, name: str, value: Any, expected: str) -> NoReturn:
  """Raises the SettingError that all checks raise.

  Args:
    owner: the object whose setting it is, or a name for it.
    name: of the parameter.
    value: what it was given.
    expected: what it must be.
  """
  owner = owner if isinstance(owner, str) else type(owner).__name__
  raise errors.SettingError(
    f'{owner}.{name} = {value!r} must be {expected}: change the gin binding or '
    'the argument'
  )


def check(owner: Any) -> None:
  """Checks the settings that an object has by now; integers become `int`.

  They are attributes with the names of the parameters, or with an underscore
  before them.
  """
  for name, kind in settings(type(owner)).items():
    for attribute in {name, f'_{name}'} & vars(owner).keys():
      value = vars(owner)[attribute]
      used = kind(owner, name, value)
      if used is not value:
        setattr(owner, attribute, used)


def settings(cls: type) -> dict[str, Kind]:
  """The `SETTINGS` of a class and of its parents; of users' classes none.

  What a class outside of this package calls so is its own affair.
  """
  found: dict[str, Kind] = {}
  for base in reversed(cls.__mro__):
    if seams.is_ours(base.__module__):
      found |= vars(base).get('SETTINGS', {})
  return found


def check_arguments(
  owner: str, kinds: Mapping[str, Kind], arguments: Mapping[str, Any]
) -> None:
  """Checks those of a function's arguments that `kinds` names.

  Args:
    owner: the function's name.
    kinds: what each must be.
    arguments: by name, as `locals()` has them.
  """
  for name, kind in kinds.items():
    if name in arguments:
      kind(owner, name, arguments[name])


# Kinds ------------------------------------------------------------------------


def integer(minimum: int) -> Kind:
  """An integer of at least `minimum`, which 1e6 is too: gin files say so."""

  def kind(owner: Any, name: str, value: Any) -> int:
    if not is_number(value) or value != int(value) or value < minimum:
      fail(owner, name, value, f'an integer of at least {minimum}')
    if value > _LARGEST:
      fail(owner, name, value, f'an integer of at most {_LARGEST:.0e}')
    return int(value)

  return kind


def real(low: float, high: float) -> Kind:
  """A finite number in [low, high], which may be infinite themselves."""
  bounds = f' of at least {low:g}' if low > -math.inf else ''
  if high < math.inf:
    bounds = f' between {low:g} and {high:g}'

  def kind(owner: Any, name: str, value: Any) -> Any:
    if not is_number(value) or not low <= value <= high:
      fail(owner, name, value, f'a number{bounds}')
    return value

  return kind


def optional(kind: Kind) -> Kind:
  """What `kind` says, or None."""
  return lambda owner, name, value: (
    None if value is None else kind(owner, name, value)
  )


def rate(owner: Any, name: str, value: Any) -> Any:
  """A number of at least 0, or an object such as a Keras schedule."""
  is_object = callable(value) or hasattr(value, 'get_config')
  is_object = is_object or hasattr(value, 'dtype')  # A tensor, a variable.
  if not (value >= 0 if is_number(value) else is_object):
    fail(owner, name, value, 'a number of at least 0')
  return value


def share(owner: Any, name: str, value: Any) -> Any:
  """A number in [0, 1), or an object as for `rate`."""
  rate(owner, name, value)
  if is_number(value) and value >= 1:
    fail(owner, name, value, 'a number of at least 0 and less than 1')
  return value


def switch(owner: Any, name: str, value: Any) -> Any:
  """True or False (or 1 or 0, as some files have it)."""
  if isinstance(value, str) or value not in (True, False):
    fail(owner, name, value, 'True or False')
  return value


def function(owner: Any, name: str, value: Any) -> Any:
  """A function or class: in gin `@name`, not `@name()`."""
  if not callable(value):
    fail(owner, name, value, 'a function or a class, in gin @name')
  return value


def text(owner: Any, name: str, value: Any) -> Any:
  """A text, or None."""
  if value is not None and not isinstance(value, str):
    fail(owner, name, value, 'a text or None')
  return value


def summary_writer(value: Any) -> None:
  """Refuses what TensorBoard's figures cannot be written with; None is none."""
  if value is not None and not hasattr(value, 'add_scalar'):
    raise errors.SettingError(
      f'summary_writer={value!r} has no add_scalar(tag, value, step), as the '
      "Runner's and tensorboardX.SummaryWriter have: see docs/migrating.md"
    )


def file_name(owner: Any, name: str, value: Any) -> Any:
  """What is a file name in every system."""
  if not isinstance(value, str) or not re.fullmatch(r'[\w-]{1,99}', value):
    fail(owner, name, value, 'a file name of letters and digits')
  return value


def size(owner: Any, name: str, value: Any) -> tuple[int, ...]:
  """A tuple or list of integers above 0, as a tuple."""
  if not isinstance(value, (tuple, list)) or not all(
    is_number(n) and n == int(n) and 0 < n <= _LARGEST for n in value
  ):
    fail(owner, name, value, 'a tuple of integers above 0')
  return tuple(map(int, value))


def array(owner: Any, name: str, value: Any) -> Any:
  """Numbers, one or a sequence; infinite ones are allowed."""
  try:
    values = np.asarray(value, np.float64)
  except (TypeError, ValueError):
    values = np.array(math.nan)
  if not values.size or isinstance(value, str) or np.isnan(values).any():
    fail(owner, name, value, 'a sequence of numbers')
  return value


def dtype(owner: Any, name: str, value: Any) -> np.dtype:
  """A dtype of NumPy or TensorFlow, or its name; as NumPy's."""
  try:
    if value is not None and not isinstance(value, (tuple, list, dict)):
      return numpy_dtype(value)
  except (TypeError, ValueError):
    pass
  fail(owner, name, value, "a NumPy dtype, e.g. 'uint8'")


def numpy_dtype(value: Any) -> np.dtype:
  """Returns the NumPy dtype of anything that names one, tf.DType included."""
  return np.dtype(getattr(value, 'as_numpy_dtype', value))


def is_number(value: Any) -> bool:
  """Whether `value` is a finite real number, NumPy's included, but no bool."""
  if isinstance(value, numbers.Integral):  # Of which some are no floats.
    return not isinstance(value, bool)
  return isinstance(value, numbers.Real) and math.isfinite(value)
