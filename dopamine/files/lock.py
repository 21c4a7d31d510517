"""One process per folder."""

import contextlib
import json
import os
import socket
from typing import IO, ClassVar
import weakref

from dopamine import signals
from dopamine.files import atomic
from dopamine.settings import errors

try:
  import fcntl
except ImportError:  # Windows.
  fcntl = None  # type: ignore[assignment]


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
    holder = atomic.json_object(file.read(4096), path)
  except atomic.DamagedError:  # Empty: of a run that ended.
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
