"""Files that are whole or not there, and what they hold.

A file is written beside its place and moved there when all of it is on the
disk. What is read may be damaged, or of somebody who means harm.
"""

from collections.abc import Callable
import contextlib
import errno
import json
import os
from typing import IO, Any
import zlib

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
