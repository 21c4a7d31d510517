"""Checkpoints of a run, each complete once its sentinel file is there.

Iteration N is saved as the pickle `ckpt.N` of a dict of built-ins and NumPy
values, beside what the agent puts there, `NAME_ckpt.N.EXT`; then as
`manifest_ckpt.N.json`, the checksums of all this; and then as
`sentinel_checkpoint_complete.N`. Files of other names are left alone, whoever
names them.
"""

from collections.abc import Iterator
import contextlib
import json
import os
import re
from typing import Any
import zlib

from absl import logging
import gin

from dopamine.files import atomic
from dopamine.files import parity
from dopamine.files import pending
from dopamine.files import safe_pickle
from dopamine.settings import errors

CHECKPOINT_DURATION = 4

# The version of the manifest, and of what a Runner puts in `ckpt.N`. What has
# none is 1. In 2 the replay memory is in segments, and checkpoints within an
# iteration are in slots.
FORMAT = 2

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
  sentinel = _sentinel(sentinel_file_identifier)
  matches = map(sentinel.fullmatch, os.listdir(directory))
  return sorted(int(match[1]) for match in matches if match)


def _sentinel(identifier: str) -> re.Pattern:
  """What the names of sentinels are like."""
  return re.compile(rf'sentinel_{re.escape(identifier)}_complete\.{_NUMBER}')


def check_format(version: Any, path: str) -> None:
  """Refuses the format in a file that a later release wrote: it is no damage.

  Raises:
    ValueError: it is newer than what is known here.
    atomic.DamagedError: it is no version at all.
  """
  if version is None:
    return
  if not isinstance(version, int) or isinstance(version, bool) or version < 1:
    raise atomic.DamagedError(f'{path} is damaged: its format is {version!r}')
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
    self._prefix = checkpoint_file_prefix
    self._identifier = sentinel_file_identifier
    self._frequency = checkpoint_frequency
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
      text = f'{base_directory} ({error.strerror}).'
      raise errors.SettingError(
        f'Unable to create checkpoint path: {text}'
      ) from error

  @property
  def directory(self) -> str:
    """Where the files are."""
    return self._base_directory

  def _path(self, name: str) -> str:
    return os.path.join(self._base_directory, name)

  def _pickle_path(self, number: int) -> str:
    return self._path(f'{self._prefix}.{number}')

  def _manifest_path(self, number: int) -> str:
    return self._path(f'manifest_{self._prefix}.{number}.json')

  def _sentinel_path(self, number: int) -> str:
    return self._path(f'sentinel_{self._identifier}_complete.{number}')

  def _number_of(self, name: str) -> int | None:
    """Of which checkpoint a file is by its name; None if of none."""
    match = self._own_file.fullmatch(name)
    return int(match[1] or match[2]) if match else None

  def numbers(self) -> list[int]:
    """Returns the numbers of the complete checkpoints, in order."""
    return _complete(self._base_directory, self._identifier)

  # Saving ---------------------------------------------------------------------

  @contextlib.contextmanager
  def collect(self) -> Iterator[pending.Checkpoint]:
    """Collects what is put in `directory`, for `save_checkpoint`."""
    os.makedirs(self._shared_directory, exist_ok=True)
    checkpoint = self._new()
    with checkpoint.open():
      yield checkpoint

  def _new(self) -> pending.Checkpoint:
    return pending.Checkpoint(self._base_directory, self._shared_directory)

  def save_checkpoint(self, iteration_number: int, data: Any) -> None:
    """Saves `data`, then the sentinel; removes all but the newest `keep`.

    What was put in `directory` inside of `collect` belongs to this checkpoint.

    Args:
      iteration_number: ignored unless `checkpoint_frequency` divides it.
      data: a dict of built-ins and NumPy values.

    Raises:
      safe_pickle.RefusedError: `data` holds something else; names it.
    """
    if iteration_number % self._frequency:
      return
    checkpoint = pending.checkpoint_in(self._base_directory) or self._new()
    self.write(iteration_number, safe_pickle.dumps(data), checkpoint)

  def write(
    self,
    iteration_number: int,
    pickled: bytes,
    checkpoint: pending.Checkpoint,
    place: tuple[int, int] | None = None,
  ) -> None:
    """Writes what was collected, the pickle, the manifest and the sentinel.

    Args:
      iteration_number: of the checkpoint.
      pickled: its pickle.
      checkpoint: what else belongs to it; it is closed.
      place: the iteration that it was taken in, and a number that grows.

    Raises:
      OSError: something could not be written. The checkpoints that are there
        are as they were, and what was written of this one is gone.
      ValueError: an agent put a file elsewhere, or under another name, than
        what is removed with the checkpoint.
    """
    try:
      files = [file for part in checkpoint.parts for file in part.files]
      shared = [file for part in checkpoint.parts for file in part.shared]
      self._check_files(iteration_number, files)
      self.discard(iteration_number)  # Of a damaged one: it is replaced now.
      checkpoint.write()
      path = self._pickle_path(iteration_number)
      _write_file(path, pickled)
      self._seal(iteration_number, [*files, path], shared, place)
    except BaseException:
      if iteration_number not in self.numbers():
        self._remove_files(iteration_number)
      raise
    finally:
      checkpoint.close()

  def _check_files(self, iteration_number: int, files: list[str]) -> None:
    home = os.path.realpath(self._base_directory)
    for path in files:
      folder, name = os.path.split(path)
      is_here = os.path.realpath(folder) == home
      if not is_here or self._number_of(name) != iteration_number:
        raise errors.SettingError(
          f'a file of checkpoint {iteration_number} was put at {path}: give '
          f'storage.put a path {self._base_directory}/NAME_ckpt.'
          f'{iteration_number}.EXT, of the folder and the number that '
          'bundle_and_checkpoint was called with'
        )

  def _seal(
    self,
    number: int,
    files: list[str],
    shared: list[str],
    place: tuple[int, int] | None,
  ) -> None:
    """Writes the manifest, then the sentinel; removes what is too old."""
    manifest = {
      'format': FORMAT,
      **({'place': place} if place else {}),
      'files': {
        os.path.basename(file): [os.path.getsize(file), atomic.checksum(file)]
        for file in files
      },
      'shared': [self._shared_name(os.path.basename(file)) for file in shared],
    }
    content = json.dumps(manifest).encode()
    content += b'\n%d\n' % zlib.crc32(content)
    _write_file(self._manifest_path(number), content)
    atomic.sync_folder(self._shared_directory)
    atomic.sync_folder(self._base_directory)
    _write_file(self._sentinel_path(number), b'done')
    atomic.sync_folder(self._base_directory)
    for stale in self.numbers()[: -self.keep] if self.keep else ():
      if stale != number:
        self.try_to_remove(stale)

  def _shared_name(self, name: str) -> str:
    """What the manifest calls the shared file `name`."""
    path = os.path.join(self._shared_directory, name)
    return os.path.relpath(path, self._base_directory)

  def remove(self, iteration_number: int) -> None:
    """Removes a checkpoint, its sentinel first and its manifest last.

    Raises:
      ValueError: a later release wrote it. Nothing was removed.
    """
    with contextlib.suppress(atomic.DamagedError):
      self.manifest(iteration_number)
    self.discard(iteration_number)
    self._remove_files(iteration_number)

  def try_to_remove(self, iteration_number: int) -> None:
    """Removes a checkpoint; one that stays is one too many, and no more."""
    try:
      self.remove(iteration_number)
    except OSError as error:
      logging.warning('Checkpoint %d stays: %s', iteration_number, error)

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
        os.remove(self._path(name))

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
        with contextlib.suppress(atomic.DamagedError):
          _read_manifest(self._path(name))

  def remove_unfinished(self) -> None:
    """Removes what a process that was killed had begun to write."""
    sentinel = _sentinel(self._identifier)
    for name in os.listdir(self._base_directory):
      stem = name.removesuffix('.tmp')
      is_ours = self._number_of(stem) is not None or sentinel.fullmatch(stem)
      if stem != name and is_ours:
        with contextlib.suppress(OSError):
          os.remove(self._path(name))

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
      atomic.DamagedError: what a complete one shares is not known.
    """
    names: set[str] = set()
    for number in self.incomplete():
      with contextlib.suppress(atomic.DamagedError):
        names.update(self.manifest(number).get('shared', ()))
    for number in self.numbers():
      manifest = self.manifest(number)
      record = self._path(f'replay_ckpt.{number}.npz')
      if not manifest and os.path.exists(record):
        raise atomic.DamagedError(f'the manifest of {record} is missing')
      names.update(manifest.get('shared', ()))
    return set(map(os.path.basename, names))

  # Loading --------------------------------------------------------------------

  def manifest(self, iteration_number: int) -> dict[str, Any]:
    """What belongs to a checkpoint; of one without manifest, nothing is known.

    Raises:
      atomic.DamagedError: the manifest is not what was written, or names a
        file that is none of this checkpoint.
      ValueError: a later release wrote it.
    """
    path = self._manifest_path(iteration_number)
    if not os.path.lexists(path):
      return {}
    manifest = _read_manifest(path)
    for fault in self._faults(manifest, iteration_number):
      raise atomic.DamagedError(f'{path} is damaged: {fault}')
    return manifest

  def _faults(self, manifest: dict[str, Any], number: int) -> Iterator[str]:
    """Yields what a manifest says that no checkpoint here has."""
    files, shared = manifest.get('files', {}), manifest.get('shared', [])
    if not isinstance(files, dict) or not isinstance(shared, list):
      yield 'it has no list of files'
    for name, described in files.items():
      if self._number_of(name) != number or not _are_two(described):
        yield f'{name!r} is no file of this checkpoint'
    place = manifest.get('place', [0, 0])
    if not _are_two(place):
      yield f'{place!r} is no place'
    for name in shared:
      file = os.path.basename(name) if isinstance(name, str) else ''
      is_ours = re.fullmatch(parity.SHARED_FILE, file)
      if not is_ours or name != self._shared_name(file):
        yield f'{name!r} is no file that checkpoints share'

  def discard(self, iteration_number: int) -> None:
    """Makes a checkpoint count no more; its other files stay for now."""
    with contextlib.suppress(FileNotFoundError):
      os.remove(self._sentinel_path(iteration_number))

  def load_checkpoint(self, iteration_number: int) -> Any:
    """Returns what was saved, or None if there is no such file.

    Raises:
      safe_pickle.RefusedError: the file holds more than built-ins and
        NumPy values.
      atomic.DamagedError: the file is no pickle.
    """
    path = self._pickle_path(iteration_number)
    return atomic.read_pickle(path) if os.path.exists(path) else None


def _are_two(numbers: Any) -> bool:
  return isinstance(numbers, list) and [*map(type, numbers)] == [int, int]


def _read_manifest(path: str) -> dict[str, Any]:
  """What is in a manifest, before it is looked at closely."""
  content, _, rest = atomic.read_file(path, 2**24).partition(b'\n')
  if rest != b'%d\n' % zlib.crc32(content):
    raise atomic.DamagedError(f'{path} is damaged')
  manifest = atomic.json_object(content, path)
  check_format(manifest.get('format'), path)
  return manifest


def _write_file(path: str, content: bytes) -> None:
  atomic.write_file(path, lambda file: file.write(content))
