"""Dtypes that answer code for TensorFlow 1 and 2."""

from typing import Any

import numpy as np


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
