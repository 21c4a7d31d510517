"""Files that are whole or not there, and what a checkpoint is made of.

A file is written beside its place and moved there when all of it is on the
disk. What is put inside of `collect` is written later, by whoever collects: a
Runner does so beside training.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import contextvars
import errno
import json
import math
import os
import socket
from typing import IO, Any, ClassVar
import weakref
import zipfile
import zlib

from absl import logging
import numpy as np

from dopamine import bounded_pickle
from dopamine import memory
from dopamine import safe_pickle
from dopamine import signals
from dopamine.settings import errors

try:
  import fcntl
except ImportError:  # Windows.
  fcntl = None  # type: ignore[assignment]

# A file that several checkpoints share is cut into so many blocks, and one that
# is their exclusive or is added: any single one can be rebuilt from the others.
_BLOCKS = 32


class DamagedError(errors.SettingError):
  """A file is not what was written, or a part of a checkpoint is missing."""


class Collection:
  """What a checkpoint consists of, until it is written.

  Attributes:
    shared_dir: where the files go that several checkpoints share.
    writes: functions that write a part each, in this order.
    files: paths of what belongs to this checkpoint alone.
    shared: returns the paths of what it shares with others, once written.
    at_end: functions to call afterwards, also if it was never written.
  """

  def __init__(self, shared_dir: str):
    self.shared_dir = shared_dir
    self.writes: list[Callable[[], None]] = []
    self.files: list[str] = []
    self.shared: list[Callable[[], Sequence[str]]] = []
    self.at_end: list[Callable[[], None]] = []

  def write(self) -> None:
    """Writes every part; the first that fails is the last that is tried."""
    for function in self.writes:
      function()

  def close(self) -> None:
    """Lets go of what the parts hold. May be called twice."""
    functions, self.at_end, self.writes = self.at_end, [], []
    for function in functions:
      function()


_collection: contextvars.ContextVar[Collection | None] = contextvars.ContextVar(
  'collection', default=None
)


def current() -> Collection | None:
  """Returns the collection that is open, if one is."""
  return _collection.get()


@contextlib.contextmanager
def collect(collection: Collection) -> Iterator[Collection]:
  """Puts off what is written inside; closes the collection if that fails."""
  token = _collection.set(collection)
  try:
    yield collection
  except BaseException:
    collection.close()
    raise
  finally:
    _collection.reset(token)


@contextlib.contextmanager
def collected(folder: str | os.PathLike) -> Iterator[Collection]:
  """Yields the collection that is open, or one that is written at the end."""
  collection = _collection.get()
  if collection is not None:
    yield collection
    return
  collection = Collection(os.fspath(folder))
  try:
    with collect(collection):
      yield collection
    collection.write()
  finally:
    collection.close()


def put(path: str, write: Callable[[IO[bytes]], object]) -> None:
  """Writes a file of the checkpoint that is collected, or at once.

  Args:
    path: where it goes.
    write: is given the open file. What it writes must not change meanwhile.
  """
  with collected(os.path.dirname(path)) as collection:
    collection.files.append(path)
    collection.writes.append(lambda: write_file(path, write))


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
  for _ in range(bounded_pickle.MAX_DEPTH):
    children = (x.values() if isinstance(x, dict) else x for x in level)
    level = [y for x in children for y in x if isinstance(y, dict | list)]
    if not level:
      return found
  raise DamagedError(f'{path} is damaged (JSON that is too deep)')


# Files that repair themselves -------------------------------------------------


# Their names: FIRST-END-ID.zst, of what was added to a replay memory.
SHARED_FILE = r'[0-9]+-[0-9]+-[0-9a-f]{8}\.zst'


def write_shared(path: str, payload: bytes) -> list[int]:
  """Writes `payload` and its parity; returns what `read_shared` needs."""
  blocks = _blocks(payload)
  parity = np.bitwise_xor.reduce(blocks, axis=0)

  def write(file: IO[bytes]) -> None:
    file.write(payload)
    file.write(parity.tobytes())

  write_file(path, write)
  return [zlib.crc32(block) for block in (*blocks, parity)]


def has_shared(path: str, size: int) -> bool:
  """Whether `write_shared` can have written this file, by its size.

  Args:
    path: of the file.
    size: of the payload, in bytes.
  """
  try:
    return os.path.isfile(path) and (
      os.path.getsize(path) == size + _block_size(size)
    )
  except OSError:
    return False


def read_shared(path: str, size: int, checksums: Sequence[int]) -> bytes:
  """Returns the payload; one damaged block is repaired, on the disk too.

  Args:
    path: of the file.
    size: of the payload, in bytes.
    checksums: what `write_shared` returned.

  Raises:
    DamagedError: the file is missing, or more than one block is damaged.
  """
  width = _block_size(size)
  content = read_file(path, size + width + 1)
  # Before anything of that size is made: it lacks more than can be repaired.
  if len(content) < size - width or len(checksums) != _BLOCKS + 1:
    raise DamagedError(f'{path} is damaged')
  payload = content[:size]
  blocks = _blocks(payload.ljust(size, b'\0'))
  parity = np.frombuffer(content[size:][:width].ljust(width, b'\0'), np.uint8)
  rows = np.concatenate((blocks, parity[None]))
  bad = [i for i, row in enumerate(rows) if zlib.crc32(row) != checksums[i]]
  if not bad and len(content) == size + width:
    return payload
  if len(bad) <= 1:
    i = bad[0] if bad else 0
    rows[i] = np.bitwise_xor.reduce(np.delete(rows, i, axis=0), axis=0)
    if zlib.crc32(rows[i]) == checksums[i]:
      payload = rows[:-1].tobytes()[:size]
      logging.warning('%s was damaged in one place, which was repaired', path)
      with contextlib.suppress(OSError):
        write_shared(path, payload)
      return payload
  raise DamagedError(f'{path} is damaged')


def _block_size(size: int) -> int:
  return max(1, -(-size // _BLOCKS))


def _blocks(payload: bytes) -> np.ndarray:
  """The payload as `[_BLOCKS, width]` bytes, with zeros at its end."""
  width = _block_size(len(payload))
  padded = np.zeros(_BLOCKS * width, np.uint8)
  padded[: len(payload)] = np.frombuffer(payload, np.uint8)
  return padded.reshape(_BLOCKS, width)


# One process per folder -------------------------------------------------------


class Lock:
  """Keeps a second process out of a folder, while this one lives.

  The system lets go of the lock when its holder ends, however it ends. Where a
  file system has no such locks, the file says who holds it, and nobody asks
  whether that process lives: it must be deleted after one that was killed. In
  one process any number may hold it; one that is forgotten lets go.
  """

  _held: ClassVar[dict[str, int]] = {}

  def __init__(self, folder: str):
    """Takes the lock.

    Raises:
      ValueError: another process holds it; says which.
    """
    path = self._path = os.path.join(os.path.realpath(folder), 'lock')
    if not self._held.get(path):
      if os.path.islink(path):  # What it leads to is not ours to write.
        os.remove(path)
      # Unbuffered: what a full disk does not take must not come up later.
      file = open(path, 'ab+', buffering=0)
      try:
        _take(file, path, folder)
        holder = json.dumps({'pid': os.getpid(), 'host': _HOST})
        with contextlib.suppress(OSError):  # A full disk: it locks as well.
          file.truncate(0)
          file.write(holder.encode())
          os.fsync(file.fileno())
      except BaseException:
        file.close()
        raise
      _open_locks[path], self._held[path] = file, 0
    self._held[path] += 1
    # At the end of the process too, while what it needs is still there.
    self._release = weakref.finalize(self, _release, path, _open_locks[path])

  @property
  def is_alone(self) -> bool:
    """Whether nobody else of this process holds it."""
    return self._held.get(self._path) == 1

  def release(self) -> None:
    """Lets go. May be called twice."""
    self._release()


def _take(file: IO[bytes], path: str, folder: str) -> None:
  """Locks the file, or refuses; where there are no locks, by what it says."""
  file.seek(0)
  try:
    holder = json_object(file.read(4096), path)
  except DamagedError:  # Empty: of a run that ended.
    holder = {}
  try:
    if fcntl is None:
      raise OSError('no locks here')
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return
  except BlockingIOError:
    pass
  except OSError:
    if not holder:
      return
  raise errors.SettingError(
    f'base_dir={folder} is in use by process {holder.get("pid", "?")} on '
    f'{holder.get("host", "?")}: two runs would overwrite each other. Give '
    'another base_dir, or end that process first (if there is none any more, '
    f'delete {path})'
  )


def _release(path: str, file: IO[bytes]) -> None:
  """Counts one holder less; the last one empties the file and unlocks it."""
  if _open_locks.get(path) is not file:
    return  # This is a child of the process that took it.
  Lock._held[path] -= 1
  if not Lock._held[path]:
    del _open_locks[path]
    with contextlib.suppress(OSError):
      file.truncate(0)
    with contextlib.suppress(OSError):
      file.close()


_HOST = socket.gethostname()
_open_locks: dict[str, IO[bytes]] = {}


def _free_locks() -> None:
  """Of a process that ends at once: a file would say that it holds them."""
  for file in _open_locks.values():
    with contextlib.suppress(OSError):
      file.truncate(0)


signals.at_once.append(_free_locks)


def _forget_locks() -> None:
  """In a child process: the lock is the parent's, and ends with it."""
  for file in _open_locks.values():
    file.close()
  _open_locks.clear()
  Lock._held.clear()


if hasattr(os, 'register_at_fork'):
  os.register_at_fork(after_in_child=_forget_locks)
