"""What a checkpoint is made of, and the files of `dopamine.files`.

What is put inside of `collect` is written later, by whoever collects: a Runner
does so beside training.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import contextvars
import os
from typing import IO

from dopamine.files import atomic
from dopamine.files import lock
from dopamine.files import parity

DamagedError = atomic.DamagedError
write_file = atomic.write_file
sync_folder = atomic.sync_folder
checksum = atomic.checksum
read_file = atomic.read_file
read_pickle = atomic.read_pickle
read_npz = atomic.read_npz
read_array_header = atomic.read_array_header
json_object = atomic.json_object
SHARED_FILE = parity.SHARED_FILE
write_shared = parity.write_shared
has_shared = parity.has_shared
read_shared = parity.read_shared
Lock = lock.Lock


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
