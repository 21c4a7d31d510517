"""Replay memories in Dopamine's public format, `$store$_action_ckpt.7.gz`.

A file for each array, gzipped as NumPy saves it; what else there is is pickled.
Functions of folders and of arrays by name: they know no replay memory.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
import contextlib
import gzip
import io
import math
import os
from typing import IO, Any, cast

import numpy as np

from dopamine import memory
from dopamine import seams
from dopamine.files import arrays
from dopamine.files import atomic
from dopamine.files import safe_pickle
from dopamine.replay_memory import elements as replay_elements
from dopamine.settings import errors

STORE_FILENAME_PREFIX = replay_elements.STORE_FILENAME_PREFIX
CHECKPOINT_DURATION = replay_elements.CHECKPOINT_DURATION
MARKERS_NAME = replay_elements.MARKERS_NAME
NotFoundError = replay_elements.NotFoundError

Folder = str | os.PathLike


def filename(folder: Folder, name: str, suffix: int | str) -> str:
  """Returns the path of the file of one array."""
  return os.path.join(folder, f'{name}_ckpt.{suffix}.gz')


# Where a file is: `filename`, or what a memory says in its place.
Naming = Callable[[Folder, str, int | str], str]


def save(
  folder: Folder,
  number: int,
  elements: Mapping[str, Any],
  naming: Naming = filename,
) -> None:
  """Writes a file for each element, and removes those that are too old."""
  for name, value in elements.items():
    _write(naming(folder, name, number), value)
    stale = naming(folder, name, number - CHECKPOINT_DURATION)
    if os.path.exists(stale):
      os.remove(stale)


def find(
  folder: Folder,
  suffix: int | str,
  names: Collection[str],
  optional: Collection[str] = (),
  naming: Naming = filename,
) -> dict[str, str]:
  """Returns the files by name, without those `optional` ones that are missing.

  Raises:
    NotFoundError: naming the others that are.
  """
  files = {name: naming(folder, name, suffix) for name in names}
  missing = {n: file for n, file in files.items() if not os.path.exists(file)}
  if missing.keys() - optional:
    needed = (file for n, file in missing.items() if n not in optional)
    raise NotFoundError(f'Missing files: {", ".join(needed)}')
  return {n: file for n, file in files.items() if n not in missing}


def read_small(files: Mapping[str, str]) -> dict[str, Any]:
  """Returns what is not of each transition, by name.

  Raises:
    atomic.DamagedError: naming the file that is, or has no number of
      transitions.
  """
  small = {
    name: read(file)
    for name, file in files.items()
    if not name.startswith(STORE_FILENAME_PREFIX)
  }
  count = np.asarray(small.get('add_count', 0))  # A subclass may leave it out.
  if count.dtype.kind not in 'iu' or (count < 0).any():
    raise atomic.DamagedError(
      f'{files["add_count"]} holds {count}, which is no number of transitions'
    )
  return small


def check_shapes(
  folder: Folder,
  suffix: int | str,
  expected: Mapping[str, tuple[tuple[int, ...], np.dtype]],
  naming: Naming = filename,
) -> None:
  """Raises ValueError if arrays do not fit; reads only their headers.

  Args:
    folder: where the files are; those that are missing are passed over.
    suffix: of the checkpoint.
    expected: shape and dtype of each array.
    naming: where the files are in the folder.
  """
  for name, fitting in expected.items():
    file = naming(folder, name, suffix)
    if not os.path.exists(file):
      continue
    found = _read_header(file)
    if found != fitting:
      raise misfit(file, name, found, fitting)


def misfit(
  file: str, name: str, found: tuple[Any, Any], fitting: tuple[Any, Any]
) -> errors.UsageError:
  """The error of an array that has another shape and dtype than the buffer."""
  return errors.SettingError(
    f'{file} holds {name} of shape {found[0]} and dtype {found[1]}, but this '
    f'buffer was built for shape {fitting[0]} and dtype {fitting[1]}. Build it '
    'as the saved one was (replay_capacity is the first number of the shape), '
    'or start in an empty directory.'
  )


# Where episodes start and end -------------------------------------------------


def markers_record(markers: np.ndarray, next_is_start: bool) -> np.ndarray:
  """Returns markers, and whether the next step starts an episode, as saved."""
  return np.array(
    (markers, next_is_start),
    dtype=[
      ('markers', np.uint8, markers.shape),
      ('next_is_episode_start', np.bool_),
    ],
  )


def read_markers(
  folder: Folder,
  suffix: int | str,
  capacity: int,
  naming: Naming = filename,
) -> tuple[np.ndarray, bool]:
  """Returns markers, and whether the next step starts an episode.

  Without a file, as in Dopamine's data sets, there are none, and it does.
  """
  file = naming(folder, MARKERS_NAME, suffix)
  markers = np.zeros(capacity, np.uint8)
  if not os.path.exists(file):
    return markers, True
  saved = read(file)
  try:
    next_is_start = bool(saved['next_is_episode_start'])
    markers[:] = saved['markers']
  except (IndexError, KeyError, TypeError, ValueError) as error:
    raise atomic.DamagedError(
      f'{file} does not fit replay_capacity={capacity} ({error})'
    ) from error
  return markers, next_is_start


# Trees of priorities ----------------------------------------------------------


def tree_record(priorities: np.ndarray, largest: float) -> np.ndarray:
  """Returns a sum tree as saved: what the rest of it follows from.

  An array of no dimensions, with the fields `priorities`, one per slot, and
  `max_recorded_priority`. Dopamine 3 pickled its tree.
  """
  return np.array((priorities, largest), _tree_dtype(priorities.shape))


def fitting_tree(saved: Any, capacity: int) -> np.ndarray:
  """Returns the record of what was read as a tree, of Dopamine 3 or not.

  Raises:
    ValueError: it is no tree of this capacity.
  """
  tree = _as_record(saved, capacity)
  _check_tree(_dtype_of(tree), capacity, 'sum_tree')
  return tree


def check_tree(
  folder: Folder,
  suffix: int | str,
  capacity: int,
  naming: Naming = filename,
) -> None:
  """Raises ValueError if there is a tree that does not fit."""
  file = naming(folder, 'sum_tree', suffix)
  if not os.path.exists(file):
    return
  dtype: np.dtype | None
  try:
    _, dtype = _read_header(file)
  except ValueError:  # No array: Dopamine 3 pickled its tree.
    dtype = _dtype_of(_as_record(read(file), capacity))
  _check_tree(dtype, capacity, file)


def _dtype_of(tree: Any) -> np.dtype | None:
  """That of an array; None of whatever else a file may hold."""
  return tree.dtype if isinstance(tree, (np.ndarray, np.void)) else None


def _tree_dtype(shape: tuple[int, ...]) -> np.dtype:
  return np.dtype(
    [
      ('priorities', np.float64, shape),
      ('max_recorded_priority', np.float64),
    ]
  )


def _as_record(tree: Any, capacity: int) -> Any:
  """Returns a tree of Dopamine 3 as a record, and anything else as it is."""
  old = seams.compat('old_records')
  found = old and old.sum_tree(tree, capacity)
  return tree_record(*found) if found else tree


def _check_tree(dtype: np.dtype | None, capacity: int, name: str) -> None:
  expected = _tree_dtype((capacity,))
  if dtype == expected:
    return
  found = 'no tree that was saved here'
  if dtype is not None and dtype.names == expected.names:
    found = f'{math.prod(dtype["priorities"].shape)} priorities'
  raise errors.SettingError(
    f'{name} holds {found}, but this buffer was built for '
    f'replay_capacity={capacity}. Build it as the saved one was, or start in '
    'an empty directory.'
  )


# Single files -----------------------------------------------------------------


def _write(path: str, value: Any) -> None:
  """Writes one gzipped file that is there only when it is complete."""

  def write(file: IO[bytes]) -> None:
    with gzip.GzipFile('', 'wb', compresslevel=1, fileobj=file) as zipped:
      if isinstance(value, np.ndarray):
        # Into a file that is not the system's, NumPy writes 16 MB at a time.
        np.save(zipped, value, allow_pickle=False)
      else:
        zipped.write(safe_pickle.dumps(value))

  atomic.write_file(path, write)


@contextlib.contextmanager
def _open_zipped(path: str) -> Iterator[gzip.GzipFile]:
  """Opens a gzipped file; what it raises if it is damaged names it."""
  try:
    with gzip.open(path, 'rb') as file:
      yield file
  except safe_pickle.RefusedError as error:
    raise safe_pickle.RefusedError(f'{path}: {error}') from error
  except Exception as error:  # What a broken file raises is anything.
    is_of_the_disk = isinstance(error, OSError | atomic.DamagedError)
    if is_of_the_disk and not isinstance(error, gzip.BadGzipFile):
      raise
    raise atomic.DamagedError(f'{path} is damaged ({error!r})') from error


def read(path: str, into: np.ndarray | None = None) -> Any:
  """Returns the array or the pickled value in a gzipped file.

  Args:
    path: of the file.
    into: gets the values of an array of its shape and dtype, and is returned.
  """
  with _open_zipped(path) as file:
    if file.peek(6)[:6] != np.lib.format.MAGIC_PREFIX:
      # What is zipped may be a thousand times as large, and built from it more.
      limit = int(min(memory.of_the_machine() / 50, 2**40))
      content = io.BytesIO(file.read(limit))
      if file.read(1):
        raise ValueError(f'it holds a pickle of more than {limit / 1e6:.0f} MB')
      value = safe_pickle.load(content)
      file = cast(gzip.GzipFile, content)
    elif (
      (header := arrays.read_array_header(cast(IO[bytes], file)))
      and into is not None
      and header == (into.shape, False, into.dtype)
    ):
      value = into
      view = memoryview(into.reshape(-1).view(np.uint8))  # type: ignore
      while count := file.readinto(view[: 2**20]):
        view = view[count:]
      if len(view):
        raise EOFError('it ends before the array does')
    else:
      file.seek(0)
      # In Fortran's order, an array is of no use to `checkpoint`.
      value = np.asarray(np.load(file, allow_pickle=False), order='C')
    if into is not None and not isinstance(value, np.ndarray):
      raise ValueError(f'it holds no array, but {type(value).__name__}')
    if file.read(1):  # Else the checksum at the end would not be looked at.
      raise EOFError('there is more in it than an array')
    return value


def _read_header(path: str) -> tuple[tuple[int, ...], np.dtype]:
  """Returns shape and dtype of the array in a gzipped file."""
  with _open_zipped(path) as file:
    shape, _, dtype = arrays.read_array_header(cast(IO[bytes], file))
    return shape, dtype
