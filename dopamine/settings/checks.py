"""Checks of settings, before anything is built from them.

Each raises a ValueError of one sentence: which setting, its value, and what it
must be. The name is that of the class and of the parameter, as gin binds it.
"""

import math
import numbers
from typing import Any, NoReturn

import numpy as np

from dopamine.settings import errors

# Nobody counts further: it is a mistake that later fails less clearly.
_LARGEST = 10**12


def fail(owner: Any, name: str, value: Any, expected: str) -> NoReturn:
  """Raises the ValueError that all checks raise.

  Args:
    owner: the object whose setting it is, or a name for it.
    name: of the parameter; underscores before it are dropped.
    value: what it was given.
    expected: what it must be.
  """
  owner = owner if isinstance(owner, str) else type(owner).__name__
  name = name.lstrip('_')
  raise errors.SettingError(
    f'{owner}.{name} = {value!r} must be {expected}: change the gin binding or '
    'the argument'
  )


def integers(owner: Any, minimum: int, *names: str) -> None:
  """Requires integers of at least `minimum`, and stores them as `int`.

  Integral floats are taken: gin files write 1e6.

  Args:
    owner: the object that has the attributes.
    minimum: the smallest that is allowed.
    *names: of the attributes.
  """
  for name in names:
    value = getattr(owner, name)
    if not is_number(value) or value != int(value) or value < minimum:
      fail(owner, name, value, f'an integer of at least {minimum}')
    if value > _LARGEST:
      fail(owner, name, value, f'an integer of at most {_LARGEST:.0e}')
    setattr(owner, name, int(value))


def reals(owner: Any, low: float, high: float, *names: str) -> None:
  """Requires finite numbers in [low, high].

  Args:
    owner: the object that has the attributes.
    low: the smallest that is allowed, or -inf.
    high: the largest, or inf.
    *names: of the attributes.
  """
  for name in names:
    value = getattr(owner, name)
    if not is_number(value) or not low <= value <= high:
      bounds = f' of at least {low:g}' if low > -math.inf else ''
      if high < math.inf:
        bounds = f' between {low:g} and {high:g}'
      fail(owner, name, value, f'a number{bounds}')


def rates(owner: Any, **values: Any) -> None:
  """Requires numbers of at least 0, or objects such as a Keras schedule."""
  for name, value in values.items():
    is_object = callable(value) or hasattr(value, 'get_config')
    is_object = is_object or hasattr(value, 'dtype')  # A tensor, a variable.
    if not (value >= 0 if is_number(value) else is_object):
      fail(owner, name, value, 'a number of at least 0')


def shares(owner: Any, **values: Any) -> None:
  """Requires numbers in [0, 1), as `rates` does for those of at least 0."""
  rates(owner, **values)
  for name, value in values.items():
    if is_number(value) and value >= 1:
      fail(owner, name, value, 'a number of at least 0 and less than 1')


def switches(owner: Any, *names: str, **values: Any) -> None:
  """Requires True or False (or 1 or 0, as some files have it).

  Args:
    owner: the object that has the attributes, or a name for it.
    *names: of the attributes.
    **values: of parameters, by their names.
  """
  for name, value in ({n: getattr(owner, n) for n in names} | values).items():
    if isinstance(value, str) or value not in (True, False):
      fail(owner, name, value, 'True or False')


def functions(owner: Any, *names: str) -> None:
  """Requires functions or classes: in gin `@name`, not `@name()`."""
  for name in names:
    value = getattr(owner, name)
    if not callable(value):
      fail(owner, name, value, 'a function or a class, in gin @name')


def texts(owner: Any, *names: str) -> None:
  """Requires texts, or None."""
  for name in names:
    value = getattr(owner, name)
    if value is not None and not isinstance(value, str):
      fail(owner, name, value, 'a text or None')


def sizes(owner: Any, *names: str) -> None:
  """Requires tuples or lists of integers above 0, and stores them as tuples."""
  for name in names:
    value = getattr(owner, name)
    if not isinstance(value, (tuple, list)) or not all(
      is_number(size) and size == int(size) and 0 < size <= _LARGEST
      for size in value
    ):
      fail(owner, name, value, 'a tuple of integers above 0')
    setattr(owner, name, tuple(map(int, value)))


def arrays(owner: Any, *names: str) -> None:
  """Requires numbers, one or a sequence; infinite ones are allowed."""
  for name in names:
    value = getattr(owner, name)
    try:
      values = np.asarray(value, np.float64)
    except (TypeError, ValueError):
      values = np.array(math.nan)
    if not values.size or isinstance(value, str) or np.isnan(values).any():
      fail(owner, name, value, 'a sequence of numbers')


class DType:
  """A NumPy dtype, which also answers as TensorFlow's do.

  Code of Dopamine 3 asks the constants and the agent for `as_numpy_dtype`.
  """

  def __init__(self, dtype: Any):
    self.dtype = np.dtype(dtype)

  def __getattr__(self, name: str) -> Any:
    if name == 'dtype':  # It is being copied, and not yet there.
      raise AttributeError(name)
    return getattr(self.dtype, name)

  def __call__(self, value: Any) -> Any:
    return self.dtype.type(value)

  def __eq__(self, other: Any) -> bool:
    other = other.dtype if isinstance(other, DType) else other
    return other is not None and self.dtype == other  # NumPy: None is float64.

  def __hash__(self) -> int:
    return hash(self.dtype)

  def __repr__(self) -> str:
    return str(self.dtype)

  @property
  def as_numpy_dtype(self) -> type:
    """The type of its scalars."""
    return self.dtype.type


def dtype(owner: Any, name: str) -> np.dtype:
  """Returns the NumPy dtype that a dtype, tf.DType or name stands for."""
  value = getattr(owner, name)
  if value is None or isinstance(value, (tuple, list, dict)):
    fail(owner, name, value, "a NumPy dtype, e.g. 'uint8'")
  try:
    return np.dtype(getattr(value, 'as_numpy_dtype', value))
  except (TypeError, ValueError):
    fail(owner, name, value, "a NumPy dtype, e.g. 'uint8'")


def is_number(value: Any) -> bool:
  """Whether `value` is a finite real number, NumPy's included, but no bool."""
  if isinstance(value, numbers.Integral):  # Of which some are no floats.
    return not isinstance(value, bool)
  return isinstance(value, numbers.Real) and math.isfinite(value)
