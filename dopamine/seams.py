"""Where the wing `compat` is joined: what exists for something older.

Nothing of the core needs it. Where `dopamine.compat` is missing, old files, old
code and what speaks another interface are refused, and the rest works.
"""

import importlib
from typing import Any

import numpy as np


def compat(name: str) -> Any:
  """Returns the module `dopamine.compat.NAME`, None if there is none."""
  try:
    return importlib.import_module(f'dopamine.compat.{name}')
  except ModuleNotFoundError as error:
    if not (error.name or '').startswith('dopamine.compat'):
      raise
    return None


def dtype(kind: Any) -> Any:
  """Returns a NumPy dtype, with compat one that answers as TensorFlow's do."""
  dtypes = compat('dtypes')
  return np.dtype(kind) if dtypes is None else dtypes.DType(kind)
