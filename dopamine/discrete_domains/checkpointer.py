"""Checkpoints of a run, each complete once its sentinel file is there.

Iteration N is saved as the pickle `ckpt.N` of a dict of built-ins and NumPy
values, beside what the agent puts there, `NAME_ckpt.N.EXT`; then as
`manifest_ckpt.N.json`, the checksums of all this; and then as
`sentinel_checkpoint_complete.N`. Files of other names are left alone, whoever
names them.
"""

from collections.abc import Callable, Iterator
from concurrent import futures
import contextlib
import functools
import json
import os
import re
import threading
from typing import Any, NamedTuple
import zlib

from absl import logging
import gin

from dopamine import safe_pickle
from dopamine import storage
from dopamine.settings import errors

CHECKPOINT_DURATION = 4

# The version of the manifest, and of what a Runner puts in `ckpt.N`. What has
# none was written before there was a second to tell it from.
FORMAT = 1

# A number as it is written.
_NUMBER = '(0|[1-9][0-9]*)'


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
    rf'sentinel_{re.escape(sentinel_file_identifier)}_complete\.{_NUMBER}'
  )
  matches = map(pattern.fullmatch, os.listdir(directory))
  return sorted(int(match[1]) for match in matches if match)


def check_format(version: Any, path: str) -> None:
  """Refuses what a later release wrote, which must not be taken for damage.

  Args:
    version: the `format` that is written in a file, None if there is none.
    path: of the file.

  Raises:
    ValueError: it is newer than what is known here.
    storage.DamagedError: it is no version at all.
  """
  if version is None:
    return
  if not isinstance(version, int) or isinstance(version, bool) or version < 1:
    raise storage.DamagedError(f'{path} is damaged: its format is {version!r}')
  if version > FORMAT:
    raise errors.SettingError(
      f'{path} was written by a later release (format {version}; this one '
      f'knows up to {FORMAT}). Nothing was changed: go on with that release, '
      'or give another base_dir'
    )


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
      shared_directory: of files that several checkpoints share,
        `base_directory` (the default) or `replay` in it or beside it. Who gives
        one removes what no `shared_files` names.

    Raises:
      ValueError: no directory is given, or it cannot be made.
    """
    if not base_directory:
      raise errors.SettingError('No path provided to Checkpointer.')
    self._checkpoint_file_prefix = checkpoint_file_prefix
    self._sentinel_file_identifier = sentinel_file_identifier
    self._sentinel_prefix = f'sentinel_{sentinel_file_identifier}_complete'
    self._checkpoint_frequency = checkpoint_frequency
    # An environment may change the working folder.
    self._base_directory = os.path.abspath(base_directory)
    self.keep = keep
    self._shared_directory = os.path.abspath(shared_directory or base_directory)
    prefix = re.escape(checkpoint_file_prefix)
    # Of a number's own files, and of those that agents add.
    self._own_file = re.compile(
      rf'(?:[^/\\]+_ckpt|manifest_{prefix})\.{_NUMBER}\.[^/\\]+'
      rf'|{prefix}\.{_NUMBER}'
    )
    try:
      os.makedirs(self._base_directory, exist_ok=True)
    except OSError as error:
      raise errors.SettingError(
        f'Unable to create checkpoint path: {base_directory} '
        f'({error.strerror}).'
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

  def _number_of(self, name: str) -> int | None:
    """Of which checkpoint a file is by its name; None if of none."""
    match = self._own_file.fullmatch(name)
    return int(match[1] or match[2]) if match else None

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
      ValueError: an agent put a file elsewhere, or under another name, than
        what is removed with the checkpoint.
    """
    for path in collection.files:
      folder, name = os.path.split(path)
      is_here = os.path.realpath(folder) == os.path.realpath(
        self._base_directory
      )
      if not is_here or self._number_of(name) != iteration_number:
        collection.close()
        raise errors.SettingError(
          f'a file of checkpoint {iteration_number} was put at {path}: give '
          f'storage.put a path {self._base_directory}/NAME_ckpt.'
          f'{iteration_number}.EXT, of the folder and the number that '
          'bundle_and_checkpoint was called with'
        )
    try:
      self._save_collected(iteration_number, pickled, collection)
    except BaseException:
      if iteration_number not in self.numbers():
        self._remove_files(iteration_number)
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
        'format': FORMAT,
        'files': {
          os.path.basename(file): [
            os.path.getsize(file),
            storage.checksum(file),
          ]
          for file in (*collection.files, path)
        },
        'shared': [
          self._shared_name(os.path.basename(file))
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
          try:
            self.remove(stale)
          except OSError as error:  # It is one too many, and no more.
            logging.warning('Checkpoint %d stays: %s', stale, error)

  def _shared_name(self, name: str) -> str:
    """What the manifest calls the shared file `name`."""
    path = os.path.join(self._shared_directory, name)
    return os.path.relpath(path, self._base_directory)

  def remove(self, iteration_number: int) -> None:
    """Removes a checkpoint, its sentinel first and its manifest last.

    Raises:
      ValueError: a later release wrote it. Nothing was removed.
    """
    with contextlib.suppress(storage.DamagedError):
      self._manifest(iteration_number)
    self.discard(iteration_number)
    self._remove_files(iteration_number)

  def _remove_files(self, iteration_number: int) -> None:
    """Removes what has no sentinel any more."""
    manifest = os.path.basename(self._manifest_path(iteration_number))
    names = [
      name
      for name in os.listdir(self._base_directory)
      if self._number_of(name) == iteration_number and name != manifest
    ]
    for name in (*names, manifest):
      with contextlib.suppress(OSError):  # What stays does no harm.
        os.remove(os.path.join(self._base_directory, name))

  def incomplete(self) -> list[int]:
    """Returns the numbers of which there are files, but no sentinel."""
    names = os.listdir(self._base_directory)
    found = {self._number_of(n) for n in names if not n.endswith('.tmp')}
    return sorted(n for n in found - set(self.numbers()) if n is not None)

  def check_formats(self) -> None:
    """Refuses a folder that a later release wrote to.

    Raises:
      ValueError: it did.
    """
    for name in os.listdir(self._base_directory):
      if re.fullmatch(rf'manifest_[\w-]+\.{_NUMBER}\.json', name):
        with contextlib.suppress(storage.DamagedError):
          _read_manifest(os.path.join(self._base_directory, name))

  def remove_unfinished(self) -> None:
    """Removes what a process that was killed had begun to write."""
    sentinel = re.compile(rf'{re.escape(self._sentinel_prefix)}\.{_NUMBER}')
    for name in os.listdir(self._base_directory):
      stem = name.removesuffix('.tmp')
      is_ours = self._number_of(stem) is not None or sentinel.fullmatch(stem)
      if stem != name and is_ours:
        with contextlib.suppress(OSError):
          os.remove(os.path.join(self._base_directory, name))

  def remove_leftovers(self) -> None:
    """Removes what is left of older checkpoints that were removed half.

    A newer one that has no sentinel may be somebody's who goes back, and one
    without a manifest somebody's who put it there.
    """
    numbers = self.numbers()
    for number in self.incomplete():
      has_manifest = os.path.exists(self._manifest_path(number))
      if has_manifest and numbers and number < numbers[-1]:
        self.remove(number)

  def shared_files(self) -> set[str]:
    """Returns the names of what checkpoints share, by all that name them.

    Raises:
      storage.DamagedError: what a complete one shares is not known.
    """
    names: set[str] = set()
    for number in self.incomplete():
      with contextlib.suppress(storage.DamagedError):
        names.update(self._manifest(number).get('shared', ()))
    for number in self.numbers():
      manifest = self._manifest(number)
      record = os.path.join(self._base_directory, f'replay_ckpt.{number}.npz')
      if not manifest and os.path.exists(record):
        raise storage.DamagedError(f'the manifest of {record} is missing')
      names.update(manifest.get('shared', ()))
    return set(map(os.path.basename, names))

  # Loading --------------------------------------------------------------------

  def _manifest(self, iteration_number: int) -> dict[str, Any]:
    """What belongs to a checkpoint; of one without manifest, nothing is known.

    Raises:
      storage.DamagedError: the manifest is not what was written, or names a
        file that is none of this checkpoint.
      ValueError: a later release wrote it.
    """
    path = self._manifest_path(iteration_number)
    if not os.path.lexists(path):
      return {}
    manifest = _read_manifest(path)
    files, shared = manifest.get('files', {}), manifest.get('shared', [])
    if not isinstance(files, dict) or not isinstance(shared, list):
      raise storage.DamagedError(f'{path} is damaged: it has no list of files')
    for name, described in files.items():
      if self._number_of(name) != iteration_number or not (
        isinstance(described, list)
        and [type(x) for x in described] == [int, int]
      ):
        raise storage.DamagedError(
          f'{path} is damaged: {name!r} is no file of this checkpoint'
        )
    for name in shared:
      file = os.path.basename(name) if isinstance(name, str) else ''
      is_ours = re.fullmatch(storage.SHARED_FILE, file)
      if not is_ours or name != self._shared_name(file):
        raise storage.DamagedError(
          f'{path} is damaged: {name!r} is no file that checkpoints share'
        )
    return manifest

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
      ValueError: a later release wrote it.
    """
    manifest = self._manifest(iteration_number)
    for name, (size, checksum) in manifest.get('files', {}).items():
      path = os.path.join(self._base_directory, name)
      if not os.path.isfile(path):
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

# A file that checkpoints share, or what a process that was killed had of it.
_SHARED_FILE = re.compile(storage.SHARED_FILE + r'(\.tmp)?')


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
    directory = os.path.abspath(directory)
    self._prefix = prefix
    self._shared = os.path.join(directory, 'replay')
    # Files of a complete iteration stay as long as `keep` says, of those within
    # iterations the newest two.
    self.complete = Checkpointer(
      directory, prefix, shared_directory=self._shared
    )
    self._within_directory = os.path.join(directory, 'mid_iteration')
    self._part = max((p.part for p in self.places()), default=0)
    self._pending: futures.Future | None = None
    # Names that this run's manifests have had.
    self._known: set[str] = set()
    for checkpointer in self._checkpointers():
      checkpointer.check_formats()

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

    future: futures.Future = futures.Future()
    future.add_done_callback(done)

    def work() -> None:
      try:
        self._write(place, pickled, collection)
      except BaseException as error:
        future.set_exception(error)
      else:
        future.set_result(None)

    # Before the thread is started, where Ctrl-C may come in.
    self._pending = future
    # Of no pool: it would take nothing from a run that is in a thread, once the
    # script has come to its end.
    try:
      threading.Thread(target=work, name='checkpoint').start()
    except RuntimeError as error:  # The system has no more of them.
      collection.close()
      future.set_exception(OSError(f'it takes a thread ({error})'))

  def _write(
    self, place: Place, pickled: bytes, collection: storage.Collection
  ) -> None:
    try:
      place.checkpointer.save_collected(place.number, pickled, collection)
    finally:
      collection.close()
    self.remove_unneeded()

  def sweep(self) -> None:
    """Removes what processes left that were killed. Nothing may be written."""
    for saver in self._checkpointers():
      saver.remove_unfinished()
    for saver in self._checkpointers()[1:]:
      for number in saver.incomplete():
        saver.remove(number)
    self.complete.remove_leftovers()
    self.remove_unneeded()

  def remove_unneeded(self) -> None:
    """Removes what no checkpoint needs any more. Nothing may be written.

    That is checkpoints within an iteration, once there are two complete ones
    that are newer; and what no checkpoint shares.
    """
    newer = [number + 1 for number in self.complete.numbers()[-2:]]
    for saver in self._checkpointers()[1:]:
      for number in saver.numbers():
        if len(newer) == 2 and number // _PARTS < newer[0]:
          saver.remove(number)
    try:
      needed = {
        name for saver in self._checkpointers() for name in saver.shared_files()
      }
      stale = set(os.listdir(self._shared)) - needed
    except (OSError, storage.DamagedError):
      return
    home = os.path.realpath(self.complete.directory)
    if not os.path.realpath(self._shared).startswith(home + os.sep):
      stale &= self._known  # By a link: others may share what is there.
    self._known |= needed
    for name in stale:
      if _SHARED_FILE.fullmatch(name):
        with contextlib.suppress(OSError):
          os.remove(os.path.join(self._shared, name))

  def wait(self) -> OSError | None:
    """Returns when nothing is being written, with what went wrong, if any."""
    if self._pending is None:
      return None
    error = self._pending.exception()
    self._pending = None  # Not before: Ctrl-C may end the wait.
    if error is None or isinstance(error, OSError):
      return error
    raise error


def _read_manifest(path: str) -> dict[str, Any]:
  """What is in a manifest, before it is looked at closely.

  Raises:
    storage.DamagedError: it is not what was written.
    ValueError: a later release wrote it.
  """
  content, _, rest = storage.read_file(path, 2**24).partition(b'\n')
  if rest != b'%d\n' % zlib.crc32(content):
    raise storage.DamagedError(f'{path} is damaged')
  manifest = storage.json_object(content, path)
  check_format(manifest.get('format'), path)
  return manifest


def _write(file, content: bytes) -> None:
  file.write(content)
