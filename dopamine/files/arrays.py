"""Reads arrays of files that may be damaged, or of somebody who means harm."""

import math
import os
from typing import IO
import zipfile

import numpy as np

from dopamine import memory
from dopamine.files import atomic


def read_npz(path: str) -> dict[str, np.ndarray]:
  """Returns the arrays of an `.npz` file.

  Raises:
    atomic.DamagedError: the file is not what was written, or the machine cannot
      hold what it declares.
  """
  if not os.path.isfile(path):
    raise atomic.DamagedError(f'{path} is missing')
  arrays: dict[str, np.ndarray] = {}
  try:
    with zipfile.ZipFile(path) as archive:
      for member in archive.infolist():
        # Others can have their decompressor ask for gigabytes.
        if member.compress_type not in (
          zipfile.ZIP_STORED,
          zipfile.ZIP_DEFLATED,
        ):
          raise ValueError(f'{member.filename} is compressed in another way')
        with archive.open(member) as file:
          read_array_header(file, sum(a.nbytes for a in arrays.values()))
        with archive.open(member) as file:
          array = np.lib.format.read_array(file, allow_pickle=False)
          if file.read(1):  # Else its checksum would not be looked at.
            raise ValueError(f'{member.filename} has more in it than an array')
        arrays[member.filename.removesuffix('.npy')] = array
  except Exception as error:  # What a broken archive raises is anything.
    raise atomic.DamagedError(f'{path} is damaged ({error!r})') from error
  return arrays


def read_array_header(
  file: IO[bytes], others: int = 0
) -> tuple[tuple[int, ...], bool, np.dtype]:
  """Returns shape, whether it is in Fortran's order, and dtype of an array.

  Args:
    file: of NumPy's format, at its beginning.
    others: bytes that other arrays of the same file take.

  Raises:
    ValueError: the machine cannot hold it, or it is none.
  """
  version = np.lib.format.read_magic(file)
  if version == (1, 0):
    header = np.lib.format.read_array_header_1_0(file)
  elif version == (2, 0):
    header = np.lib.format.read_array_header_2_0(file)
  else:
    raise ValueError(f'no array of version {version} is read here')
  shape, _, dtype = header
  if dtype.hasobject or any(n < 0 for n in shape):
    raise ValueError(
      f'an array of shape {shape} and dtype {dtype} is not read here '
      '(allow_pickle=False)'
    )
  size = math.prod(shape) * dtype.itemsize + others
  available = memory.of_the_machine()
  if size > available:
    raise ValueError(
      f'it declares an array of shape {shape} and dtype {dtype}: '
      f'{size / 1e9:.1f} GB, where {available / 1e9:.1f} GB can be had'
    )
  return header
