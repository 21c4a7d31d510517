"""Files that are whole or not there, and what they hold.

A file is written beside its place and moved there when all of it is on the
disk. What is read may be damaged, or of somebody who means harm.
"""

from collections.abc import Callable
import contextlib
import errno
import json
import math
import os
from typing import IO, Any
import zipfile
import zlib

import numpy as np

from dopamine import memory
from dopamine.files import safe_pickle
from dopamine.settings import errors


class DamagedError(errors.SettingError):
  """A file is not what was written, or a part of a checkpoint is missing."""


def write_file(path: str, write: Callable[[IO[bytes]], object]) -> None:
  """Writes one file that is there only when it is complete and on the disk.

  Raises:
    OSError: it could not be written, with its name; what was at `path` still
      is.
  """
  temporary = path + '.tmp'
  try:
    with contextlib.suppress(FileNotFoundError):
      os.remove(temporary)  # Of a process that was killed, or a link.
    with open(temporary, 'xb') as file:
      write(file)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except OSError as error:  # Of a full disk, it does not say where.
    if error.errno is not None:
      error.filename = error.filename or path
    raise
  finally:
    with contextlib.suppress(OSError):
      os.remove(temporary)


def sync_folder(folder: str) -> None:
  """Makes the names in a folder as lasting as its files."""
  with contextlib.suppress(OSError):  # Windows opens no folders.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
      os.fsync(descriptor)
    finally:
      os.close(descriptor)


def checksum(path: str) -> int:
  """Returns the CRC-32 of a file."""
  value = 0
  with open(path, 'rb') as file:
    while block := file.read(2**20):
      value = zlib.crc32(block, value)
  return value


def read_file(path: str, limit: int | None = None) -> bytes:
  """Returns what is in a regular file, or in one that a link leads to.

  Args:
    path: of the file.
    limit: bytes that are read at most; None reads all.

  Raises:
    DamagedError: it is missing or cannot be read.
  """
  if not os.path.isfile(path):  # To open a pipe would wait for its other end.
    is_there = os.path.lexists(path)
    raise DamagedError(f'{path} is {"no file" if is_there else "missing"}')
  try:
    with open(path, 'rb') as file:
      size = os.path.getsize(path)
      return file.read(size if limit is None else min(size, limit))
  except OSError as error:
    raise DamagedError(f'{path} cannot be read ({error.strerror})') from None


def read_pickle(path: str) -> Any:
  """Returns what is pickled in a file.

  Raises:
    FileNotFoundError: there is none.
    safe_pickle.RefusedError: it is more than built-ins and NumPy values.
    DamagedError: the file is no pickle, or no file.
  """
  if not os.path.lexists(path):
    raise errors.MissingFileError(errno.ENOENT, os.strerror(errno.ENOENT), path)
  content = read_file(path)
  try:
    return safe_pickle.loads(content)
  except safe_pickle.RefusedError as error:
    raise safe_pickle.RefusedError(f'{path}: {error}') from error
  except Exception as error:  # What a broken pickle raises is anything.
    raise DamagedError(f'{path} is damaged ({error!r})') from error


def read_npz(path: str) -> dict[str, np.ndarray]:
  """Returns the arrays of an `.npz` file.

  Raises:
    DamagedError: the file is not what was written, or the machine cannot hold
      what it declares.
  """
  if not os.path.isfile(path):
    raise DamagedError(f'{path} is missing')
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
    raise DamagedError(f'{path} is damaged ({error!r})') from error
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


def json_object(content: bytes | str, path: str) -> dict[str, Any]:
  """Returns the object that is all of a file of JSON.

  Args:
    content: of the file.
    path: of the file, to name it.

  Raises:
    DamagedError: it is no JSON, or no object, or too deep.
  """
  try:
    found = json.loads(content)
  except (ValueError, RecursionError) as error:
    raise DamagedError(f'{path} is damaged (JSON: {error})') from error
  if not isinstance(found, dict):
    raise DamagedError(f'{path} is damaged (JSON, but no object)')
  level: list[Any] = [found]
  for _ in range(safe_pickle.MAX_DEPTH):
    children = (x.values() if isinstance(x, dict) else x for x in level)
    level = [y for x in children for y in x if isinstance(y, dict | list)]
    if not level:
      return found
  raise DamagedError(f'{path} is damaged (JSON that is too deep)')
