"""What a transition in a replay memory is made of, and what may be stored."""

import collections
from typing import Any

import numpy as np

from dopamine.settings import checks
from dopamine.settings import errors

ReplayElement = collections.namedtuple(  # type: ignore[name-match]
  'shape_type', ['name', 'shape', 'type']
)

# What is stored of each transition is saved under names that start with this,
# and beside it where episodes start and end.
STORE_FILENAME_PREFIX = '$store$_'
MARKERS_NAME = 'episode_markers'

# How many checkpoints of the public format stay on disk.
CHECKPOINT_DURATION = 4

SCALARS = frozenset((bool, int, float))


class NotFoundError(errors.MissingFileError):
  """Files of a checkpoint are missing."""


numpy_dtype = checks.numpy_dtype


def as_numpy(value: Any) -> Any:
  """Returns a number or an array as it is, and a tensor as NumPy has it."""
  if type(value) in SCALARS or isinstance(value, (np.ndarray, np.generic)):
    return value
  return np.asarray(value)


def as_stored(
  values: Any, dtype: np.dtype, what: str, setting: str
) -> np.ndarray:
  """Returns numbers as an array of `dtype`.

  Floats lose the digits that a narrower float has no room for; nothing else may
  change.

  Args:
    values: one or more.
    dtype: of a kind of numbers.
    what: they are, for the error.
    setting: what `dtype` is called, for the error.

  Raises:
    ValueError: they would change, or are no numbers.
  """
  array = np.asarray(values)
  if array.dtype == object:  # There may be numbers in it.
    array = np.array(array.tolist())
  kind, fits, given = array.dtype.kind, False, str(array.dtype)
  is_wide = kind in 'iu' and array.itemsize == 8  # Of which some are no floats.
  if np.can_cast(array.dtype, dtype) and not (is_wide and dtype.kind in 'fc'):
    return array.astype(dtype, copy=False)  # 1 us; all that follows takes 6.
  with np.errstate(over='ignore', invalid='ignore'):
    if kind in 'fcV' and np.can_cast(array.dtype, dtype, 'same_kind'):
      stored = array.astype(dtype)  # 'V': bfloat16.
      fits = np.isfinite(stored).all()
      fits = fits or (np.isfinite(stored) == np.isfinite(array)).all()
    elif kind in 'biuf':
      stored = array.astype(dtype)
      fits = (stored == array).all()
      if is_wide:
        fits = fits and (stored.astype(array.dtype) == array).all()
  if fits:
    return stored
  if kind in 'biuf':
    given += f' from {array.min()} to {array.max()}'
  raise errors.SettingError(
    f'{what} of {given}, which {setting} = {dtype} cannot hold: set it to one '
    'that can'
  )
