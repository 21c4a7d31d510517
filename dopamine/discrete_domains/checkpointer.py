"""Checkpoints of a run, each complete once its sentinel file is there.

Iteration N is saved as the pickle `ckpt.N` of a dict of built-ins and NumPy
values, beside what the agent puts there; then as `manifest_ckpt.N.json`, the
checksums of all this; and then as `sentinel_checkpoint_complete.N`.
"""

from collections.abc import Callable, Iterator
from concurrent import futures
import contextlib
import functools
import glob
import json
import os
import re
from typing import Any, NamedTuple
import zlib

import gin

from dopamine import safe_pickle
from dopamine import storage

CHECKPOINT_DURATION = 4


@gin.configurable
def get_latest_checkpoint_number(
  base_directory: str,
  override_number: int | None = None,
  sentinel_file_identifier: str = 'checkpoint',
) -> int:
  """Returns the newest complete iteration, -1 if there is none.

  Args:
    base_directory: where the checkpoints are.
    override_number: returned instead, if given.
    sentinel_file_identifier: as given to the Checkpointer.
  """
  if override_number is not None:
    return override_number
  numbers = _complete(base_directory, sentinel_file_identifier)
  return max(numbers, default=-1)


def _complete(directory: str, sentinel_file_identifier: str) -> list[int]:
  """The numbers of the checkpoints that have a sentinel, in order."""
  if not os.path.isdir(directory):
    return []
  pattern = re.compile(
    rf'sentinel_{re.escape(sentinel_file_identifier)}_complete\.(\d+)'
  )
  matches = map(pattern.fullmatch, os.listdir(directory))
  return sorted(int(match[1]) for match in matches if match)


class Checkpointer:
  """Saves and loads the dicts of a run, and what belongs to them.

  Attributes:
    keep: how many checkpoints stay on disk; None or 0 keeps all.
  """

  def __init__(
    self,
    base_directory: str,
    checkpoint_file_prefix: str = 'ckpt',
    sentinel_file_identifier: str = 'checkpoint',
    checkpoint_frequency: int = 1,
    keep: int | None = CHECKPOINT_DURATION,
    shared_directory: str | None = None,
  ):
    """Makes `base_directory`.

    Args:
      base_directory: where the files go.
      checkpoint_file_prefix: of the pickles.
      sentinel_file_identifier: part of the sentinels' names.
      checkpoint_frequency: iterations from one checkpoint to the next.
      keep: see above.
      shared_directory: of files that several checkpoints share; by default
        `base_directory`. Who gives one removes what no `shared_files` names.

    Raises:
      ValueError: no directory is given, or it cannot be made.
    """
    if not base_directory:
      raise ValueError('No path provided to Checkpointer.')
    self._checkpoint_file_prefix = checkpoint_file_prefix
    self._sentinel_file_identifier = sentinel_file_identifier
    self._sentinel_prefix = f'sentinel_{sentinel_file_identifier}_complete'
    self._checkpoint_frequency = checkpoint_frequency
    self._base_directory = base_directory
    self.keep = keep
    self._shared_directory = shared_directory or base_directory
    try:
      os.makedirs(base_directory, exist_ok=True)
    except OSError as error:
      raise ValueError(
        f'Unable to create checkpoint path: {base_directory}.'
      ) from error

  @property
  def directory(self) -> str:
    """Where the files are."""
    return self._base_directory

  def _path(self, prefix: str, iteration_number: int) -> str:
    return os.path.join(self._base_directory, f'{prefix}.{iteration_number}')

  def _manifest_path(self, iteration_number: int) -> str:
    name = f'manifest_{self._checkpoint_file_prefix}.{iteration_number}.json'
    return os.path.join(self._base_directory, name)

  def numbers(self) -> list[int]:
    """Returns the numbers of the complete checkpoints, in order."""
    return _complete(self._base_directory, self._sentinel_file_identifier)

  # Saving ---------------------------------------------------------------------

  @contextlib.contextmanager
  def collect(self) -> Iterator[storage.Collection]:
    """Collects what agents put in a checkpoint, for `save_checkpoint`."""
    os.makedirs(self._shared_directory, exist_ok=True)
    collection = storage.Collection(self._shared_directory)
    with storage.collect(collection):
      yield collection

  def save_checkpoint(self, iteration_number: int, data: Any) -> None:
    """Saves `data`, then the sentinel; removes all but the newest `keep`.

    Args:
      iteration_number: ignored unless `checkpoint_frequency` divides it.
      data: a dict of built-ins and NumPy values.

    Raises:
      safe_pickle.RefusedError: `data` holds something else; names it.
    """
    if iteration_number % self._checkpoint_frequency:
      return
    # What an agent put in a collection that is open belongs to this checkpoint.
    collection = storage.current()
    if collection is None:
      collection = storage.Collection(self._shared_directory)
    self.save_collected(iteration_number, safe_pickle.dumps(data), collection)

  def save_collected(
    self, iteration_number: int, pickled: bytes, collection: storage.Collection
  ) -> None:
    """Writes what was collected, the pickle, the manifest and the sentinel.

    Raises:
      OSError: something could not be written. The checkpoints that are there
        are as they were, and what was written of this one is gone.
    """
    try:
      self._save_collected(iteration_number, pickled, collection)
    except BaseException:
      if iteration_number not in self.numbers():
        self._remove_files(iteration_number, collection.files)
      raise

  def _save_collected(
    self, iteration_number: int, pickled: bytes, collection: storage.Collection
  ) -> None:
    sentinel = self._path(self._sentinel_prefix, iteration_number)
    path = self._path(self._checkpoint_file_prefix, iteration_number)
    try:
      with contextlib.suppress(FileNotFoundError):
        os.remove(sentinel)  # Of a damaged one, whose files are replaced now.
      collection.write()
      storage.write_file(path, lambda file: _write(file, pickled))
      manifest = {
        'files': {
          os.path.relpath(file, self._base_directory): [
            os.path.getsize(file),
            storage.checksum(file),
          ]
          for file in (*collection.files, path)
        },
        'shared': [
          os.path.relpath(file, self._base_directory)
          for shared in collection.shared
          for file in shared()
        ],
      }
    finally:
      collection.close()
    content = json.dumps(manifest).encode()
    content += b'\n%d\n' % zlib.crc32(content)
    storage.write_file(
      self._manifest_path(iteration_number), lambda file: _write(file, content)
    )
    storage.sync_folder(self._shared_directory)
    storage.sync_folder(self._base_directory)
    storage.write_file(sentinel, lambda file: _write(file, b'done'))
    storage.sync_folder(self._base_directory)
    if self.keep:
      for stale in self.numbers()[: -self.keep]:
        if stale != iteration_number:
          self.remove(stale)

  def remove(self, iteration_number: int) -> None:
    """Removes a checkpoint, its sentinel first."""
    self.discard(iteration_number)
    files = []
    with contextlib.suppress(storage.DamagedError):
      files = list(self._manifest(iteration_number).get('files', ()))
    self._remove_files(
      iteration_number,
      [
        os.path.join(self._base_directory, file)
        for file in files
        if '..' not in file.split(os.sep)
      ],
    )

  def _remove_files(self, iteration_number: int, paths: list[str]) -> None:
    """Removes what has no sentinel any more, the manifest last."""
    # What no manifest names: Dopamine 3 wrote it, or an agent of the user's.
    own = glob.escape(self._base_directory)
    manifest = self._manifest_path(iteration_number)
    others = glob.glob(f'{own}/*_ckpt.{iteration_number}.*')
    for path in (
      *paths,
      *(path for path in others if path != manifest),
      self._path(self._checkpoint_file_prefix, iteration_number),
      manifest,
    ):
      with contextlib.suppress(OSError):  # What stays does no harm.
        os.remove(path)

  def incomplete(self) -> list[int]:
    """Returns the numbers of which there are files, but no sentinel."""
    prefix = re.escape(self._checkpoint_file_prefix)
    pattern = re.compile(rf'(?:.*_ckpt|{prefix})\.(\d+)(?:\..*)?')
    names = os.listdir(self._base_directory)
    found = {int(m[1]) for m in map(pattern.fullmatch, names) if m}
    return sorted(found - set(self.numbers()))

  def shared_files(self) -> set[str]:
    """Returns the paths of what the complete checkpoints share."""
    paths = set()
    for number in self.numbers():
      with contextlib.suppress(storage.DamagedError):
        for name in self._manifest(number).get('shared', ()):
          path = os.path.join(self._base_directory, name)
          paths.add(os.path.normpath(path))
    return paths

  # Loading --------------------------------------------------------------------

  def _manifest(self, iteration_number: int) -> dict[str, Any]:
    """What belongs to a checkpoint; of one without manifest, nothing is known.

    Raises:
      storage.DamagedError: the manifest is not what was written.
    """
    path = self._manifest_path(iteration_number)
    try:
      with open(path, 'rb') as file:
        content, _, rest = file.read().partition(b'\n')
    except FileNotFoundError:
      return {}
    except OSError as error:
      raise storage.DamagedError(f'{path} cannot be read: {error}') from None
    if rest != b'%d\n' % zlib.crc32(content):
      raise storage.DamagedError(f'{path} is damaged')
    return json.loads(content)

  def discard(self, iteration_number: int) -> None:
    """Makes a checkpoint count no more; its other files stay for now."""
    with contextlib.suppress(FileNotFoundError):
      os.remove(self._path(self._sentinel_prefix, iteration_number))

  def check(self, iteration_number: int) -> bool:
    """Compares the files of a checkpoint with its manifest, if it has one.

    What it shares with others is checked when it is read.

    Args:
      iteration_number: of the checkpoint.

    Returns:
      Whether it has a manifest; what Dopamine 3 wrote has none.

    Raises:
      storage.DamagedError: naming the file that is missing or damaged.
    """
    manifest = self._manifest(iteration_number)
    for name, (size, checksum) in manifest.get('files', {}).items():
      path = os.path.join(self._base_directory, name)
      if not os.path.exists(path):
        raise storage.DamagedError(f'{path} is missing')
      if os.path.getsize(path) != size:
        raise storage.DamagedError(
          f'{path} is damaged: it has {os.path.getsize(path)} bytes, not {size}'
        )
      try:
        found = storage.checksum(path)
      except OSError as error:
        raise storage.DamagedError(f'{path} cannot be read: {error}') from None
      if found != checksum:
        raise storage.DamagedError(f'{path} is damaged: its checksum is wrong')
    return bool(manifest)

  def load_checkpoint(self, iteration_number: int) -> Any:
    """Returns what was saved, or None if there is no such file.

    Raises:
      safe_pickle.RefusedError: the file holds more than built-ins and
        NumPy values.
      storage.DamagedError: the file is no pickle.
    """
    path = self._path(self._checkpoint_file_prefix, iteration_number)
    if not os.path.exists(path):
      return None
    return storage.read_pickle(path)


class Place(NamedTuple):
  """Where a checkpoint was taken, and where it is. Later ones are larger.

  Attributes:
    iteration: of which it is the first or a later step that comes next.
    part: 0 at the beginning of that iteration; 1, 2, ... within it.
    checkpointer: has it.
    number: its number there.
  """

  iteration: int
  part: int
  checkpointer: Checkpointer
  number: int

  def __str__(self) -> str:
    return f'checkpoint {self.number} in {self.checkpointer.directory}'


# Numbers of checkpoints within iteration N are N times this, plus 1, 2, ...
_PARTS = 1_000_000


class RunCheckpoints:
  """The checkpoints of a run, written one after the other beside training.

  Those of complete iterations are in `directory`, those within an iteration in
  `mid_iteration` below it, and what they share in `replay`.
  """

  def __init__(self, directory: str, prefix: str = 'ckpt'):
    """Takes what is there.

    Args:
      directory: of the checkpoints.
      prefix: of the pickles' names.
    """
    self._prefix = prefix
    self._shared = os.path.join(directory, 'replay')
    # Files of a complete iteration stay as long as `keep` says, of those within
    # iterations the newest two.
    self.complete = Checkpointer(
      directory, prefix, shared_directory=self._shared
    )
    self._within_directory = os.path.join(directory, 'mid_iteration')
    self._part = max((p.part for p in self.places()), default=0)
    self._writer = futures.ThreadPoolExecutor(1, 'checkpoint')
    self._pending: futures.Future | None = None
    for folder in (directory, self._within_directory, self._shared):
      for path in glob.glob(f'{glob.escape(folder)}/*.tmp'):
        if os.path.isfile(path):
          os.remove(path)  # Of a process that was killed.
    for checkpointer in self._checkpointers()[1:]:
      for number in checkpointer.incomplete():
        checkpointer.remove(number)  # Likewise.

  @functools.cached_property
  def _within(self) -> Checkpointer:
    return Checkpointer(
      self._within_directory,
      self._prefix,
      keep=2,
      shared_directory=self._shared,
    )

  def _checkpointers(self) -> list[Checkpointer]:
    """Those that have a folder."""
    has_parts = os.path.isdir(self._within_directory)
    return [self.complete] + ([self._within] if has_parts else [])

  def places(self) -> list[Place]:
    """Returns where there are checkpoints, damaged ones included, in order."""
    complete, *within = self._checkpointers()
    found = [self.after(number) for number in complete.numbers()]
    for saver in within:
      found += [Place(*divmod(n, _PARTS), saver, n) for n in saver.numbers()]
    return sorted(found, key=lambda place: place[:2])

  def after(self, iteration: int) -> Place:
    """The place of the checkpoint of a complete iteration."""
    return Place(iteration + 1, 0, self.complete, iteration)

  def within(self, iteration: int) -> Place:
    """The place of a new checkpoint within an iteration.

    Raises:
      OSError: its folder cannot be made.
    """
    self._part += 1
    os.makedirs(self._within_directory, exist_ok=True)
    number = iteration * _PARTS + self._part
    return Place(iteration, self._part, self._within, number)

  # Writing --------------------------------------------------------------------

  @property
  def is_writing(self) -> bool:
    """Whether a checkpoint is being written."""
    return self._pending is not None and not self._pending.done()

  def write(
    self,
    place: Place,
    pickled: bytes,
    collection: storage.Collection,
    on_error: Callable[[OSError], None],
  ) -> None:
    """Starts writing; `wait` for the one before has returned.

    Args:
      place: of the checkpoint.
      pickled: what its pickle is.
      collection: what else belongs to it.
      on_error: called beside training if it cannot be written.
    """

    def done(future: futures.Future) -> None:
      if isinstance(future.exception(), OSError):
        on_error(future.exception())  # type: ignore[arg-type]

    self._pending = self._writer.submit(self._write, place, pickled, collection)
    self._pending.add_done_callback(done)

  def _write(
    self, place: Place, pickled: bytes, collection: storage.Collection
  ) -> None:
    try:
      place.checkpointer.save_collected(place.number, pickled, collection)
    finally:
      collection.close()
    self.remove_unneeded()

  def remove_unneeded(self) -> None:
    """Removes what no checkpoint shares any more. Nothing may be written."""
    needed = {
      f for saver in self._checkpointers() for f in saver.shared_files()
    }
    if not os.path.isdir(self._shared):
      return
    with os.scandir(self._shared) as entries:
      stale = [
        e.path
        for e in entries
        if e.is_file() and os.path.normpath(e.path) not in needed
      ]
    for path in stale:
      with contextlib.suppress(OSError):
        os.remove(path)

  def wait(self) -> OSError | None:
    """Returns when nothing is being written, with what went wrong, if any."""
    if self._pending is None:
      return None
    error = self._pending.exception()
    self._pending = None  # Not before: Ctrl-C may end the wait.
    if error is None or isinstance(error, OSError):
      return error
    raise error


def _write(file, content: bytes) -> None:
  file.write(content)
