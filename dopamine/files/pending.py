"""What a checkpoint consists of, between the moment it is taken and written.

A saver opens a folder for one checkpoint. What is put in that folder meanwhile
belongs to the checkpoint, and is written with it, beside training; in a folder
that nobody has opened, it is written at once.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import os
from typing import IO

from dopamine.files import atomic
from dopamine.settings import errors


class Part:
  """A part of a checkpoint, which subclasses write.

  Attributes:
    files: paths of what belongs to this checkpoint alone.
    shared: paths of what it shares with others.
  """

  def __init__(self, files: Sequence[str], shared: Sequence[str] = ()):
    self.files, self.shared = files, shared

  def write(self) -> None:
    """Writes it."""
    raise NotImplementedError

  def close(self) -> None:
    """Lets go of what it holds, also if it was never written."""


class File(Part):
  """A part that is one file.

  Args:
    path: where it goes.
    content: is given the open file; what it writes must not change meanwhile.
  """

  def __init__(self, path: str, content: Callable[[IO[bytes]], object]):
    super().__init__([path])
    self._content = content

  def write(self) -> None:
    """Writes the file."""
    atomic.write_file(self.files[0], self._content)


class Checkpoint:
  """The parts of one checkpoint; as a context, what is put there is its.

  Attributes:
    folder: where the files go that are its alone.
    shared_folder: where those go that several checkpoints share.
    parts: in the order in which they are written.
  """

  def __init__(self, folder: str, shared_folder: str):
    self.folder, self.shared_folder = folder, shared_folder
    self.parts: list[Part] = []

  @contextlib.contextmanager
  def open(self) -> Iterator[None]:
    """Takes what is put in the folder meanwhile."""
    try:
      _open.append(self)
      yield
    except BaseException:
      self.close()
      raise
    finally:
      while self in _open:
        _open.remove(self)

  def takes(self, folder: str) -> bool:
    """Whether what is put in a folder belongs to it, be it in a wrong place."""
    return os.path.abspath(folder) == self.folder or (
      folder.startswith(self.folder + os.sep)
      or os.path.realpath(folder) == os.path.realpath(self.folder)
    )

  def write(self) -> None:
    """Writes every part; the first that fails is the last that is tried."""
    for part in self.parts:
      part.write()

  def close(self) -> None:
    """Lets go of what the parts hold. May be called twice."""
    parts, self.parts = self.parts, []
    for part in parts:
      part.close()


_open: list[Checkpoint] = []


def checkpoint_in(folder: str | os.PathLike) -> Checkpoint | None:
  """Returns the checkpoint that a folder is open for, if it is."""
  for checkpoint in reversed(_open):
    if checkpoint.takes(os.fspath(folder)):
      return checkpoint
  return None


def add(folder: str | os.PathLike, part: Part) -> None:
  """Adds a part to the checkpoint that a folder is open for, or writes it.

  Raises:
    InterfaceError: a file of it belongs to another part already.
  """
  checkpoint = checkpoint_in(folder)
  if checkpoint is not None:
    files = {path for other in checkpoint.parts for path in other.files}
    for path in files.intersection(part.files):
      raise errors.InterfaceError(
        f'two agents, or two replay memories, write {os.path.basename(path)}, '
        'the second over the first: of one of them, put what is to be saved '
        'in the bundle'
      )
    checkpoint.parts.append(part)
    return
  try:
    part.write()
  finally:
    part.close()


def put(path: str, write: Callable[[IO[bytes]], object]) -> None:
  """Writes a file, with the checkpoint that its folder is open for if it is.

  Args:
    path: where it goes.
    write: is given the open file. What it writes must not change meanwhile.
  """
  add(os.path.dirname(path), File(path, write))
