"""Reads and checks what `ring_files` saved, for a run that goes on."""

from collections.abc import Mapping
import json
import os
import re
from typing import Any, NamedTuple

import zstandard

from dopamine import seams
from dopamine.files import arrays
from dopamine.files import atomic
from dopamine.files import parity
from dopamine.files import safe_pickle
from dopamine.replay_memory import data_set
from dopamine.replay_memory import elements as replay_elements
from dopamine.replay_memory import ring_files

# Where the files are that a record names, as seen from it.
_FOLDERS = ('.', 'replay', os.path.join('..', 'replay'))


class Saved(NamedTuple):
  """What is read of a checkpoint before its segments are."""

  path: str  # of its `replay_ckpt.N.npz`
  record: dict[str, Any]  # what it says of the ring
  elements: dict[str, Any]  # what else was saved, by name

  @property
  def folder(self) -> str:
    """Where its segments are."""
    folder = os.path.join(os.path.dirname(self.path), self.record['folder'])
    return os.path.normpath(folder)


def read(checkpoint_dir: str | os.PathLike, number: int) -> Saved:
  """Returns what a checkpoint says of the ring that was saved.

  Raises:
    NotFoundError: there is no such checkpoint.
    DamagedError: naming the file.
  """
  path = ring_files.record_path(checkpoint_dir, number)
  if not os.path.exists(path):
    raise replay_elements.NotFoundError(f'Missing files: {path}')
  saved = arrays.read_npz(path)
  try:
    record = atomic.json_object(saved.pop('record').tobytes(), path)
    elements: dict[str, Any] = {
      name.removeprefix(ring_files.ELEMENT): value
      for name, value in saved.items()
    }
    for name in record['pickled']:
      elements[name] = safe_pickle.loads(elements[name].tobytes())
    _check(record, elements)
  except safe_pickle.RefusedError as error:
    raise safe_pickle.RefusedError(f'{path}: {error}') from error
  except Exception as error:  # What a broken record raises is anything.
    raise atomic.DamagedError(f'{path} is damaged ({error!r})') from error
  return Saved(path, record, elements)


def _check(record: dict[str, Any], elements: dict[str, Any]) -> None:
  """Raises an error of any kind if a record is not of the form it has here."""
  count = elements['add_count']
  if count.shape or count.dtype.kind not in 'iu' or count < 0:
    raise ValueError(f'add_count is {count}')
  if record['folder'] not in _FOLDERS:
    raise ValueError(f'{record["folder"]!r} is no folder of a checkpoint')
  covered = 0
  old = seams.compat('old_records') if 'segments' not in record else None
  if old:
    record['segments'] = old.segments(record, int(count))
  for segment in record['segments']:
    if not re.fullmatch(parity.SHARED_FILE, segment['file']):
      raise ValueError(f'{segment["file"]!r} is no file of a checkpoint')
    numbers = (
      *(segment[n] for n in ('first', 'end', 'size')),
      *segment['checksums'],
    )
    if {type(number) for number in numbers} != {int} or min(numbers) < 0:
      raise ValueError(f'{segment["file"]} is described by no integers')
    if not old and not segment['first'] == covered < segment['end']:
      raise ValueError(f'slots are missing before {segment["file"]}')
    covered = segment['end']
  if not old and covered != min(count, record['replay_capacity']):
    raise ValueError('slots are missing')
  for shape, _ in record['buffer'].values():
    if {type(n) for n in shape} != {int}:
      raise ValueError(f'{shape} is no shape')


def check_fit(saved: Saved, store: ring_files.Store) -> None:
  """Raises ValueError, naming the array, if a checkpoint is of another ring."""
  found = saved.record['buffer']
  for name, expected in json.loads(
    json.dumps(ring_files.described(store))
  ).items():
    if found.get(name) != expected:
      shape, dtype = found.get(name, (None, None))
      raise data_set.misfit(
        saved.path,
        replay_elements.STORE_FILENAME_PREFIX + name,
        (shape and tuple(shape), dtype),
        (tuple(expected[0]), expected[1]),
      )


def read_segments(saved: Saved, store: ring_files.Store) -> None:
  """Reads what a checkpoint has of the store into one of zeros.

  Raises:
    DamagedError: naming the file. The store holds a part of them.
  """
  for segment in saved.record['segments']:
    _read_segment(saved.folder, segment, store)


def _read_segment(
  folder: str, segment: Mapping[str, Any], store: ring_files.Store
) -> None:
  path = os.path.join(folder, segment['file'])
  content = parity.read_shared(path, segment['size'], segment['checksums'])
  # Of a window that a few bytes ask for; ours has half a megabyte.
  decompressor = zstandard.ZstdDecompressor(max_window_size=2**23)
  reader = decompressor.stream_reader(content)
  first, end = segment['first'], segment['end']
  capacity = len(next(iter(store.values())))
  old = seams.compat('old_records') if end > capacity else None
  spans = old.spans(first, end, capacity) if old else [slice(first, end)]
  for array in store.values():
    for slots in spans:
      view = ring_files.bytes_of(array[slots])
      while len(view):
        try:
          count = reader.readinto(view)
        except zstandard.ZstdError as error:
          raise atomic.DamagedError(f'{path} is damaged: {error}') from None
        if not count:
          raise atomic.DamagedError(f'{path} is damaged: it is too short')
        view = view[count:]
