"""A replay memory in the checkpoints of a run: the segments that are new.

The ring is cut into 64 segments, each in a file of its own. A checkpoint writes
whole, under new names, those that something was added to since the one before,
and shares the others with it. While they are written the memory goes on: what
it overwrites in the segment in use is copied before, and `before_adding` waits
at the beginning of one that is not written yet.
"""

from collections.abc import Mapping, Sequence
import contextlib
import json
import os
import re
import threading
from typing import IO, Any, NamedTuple
import uuid

import numpy as np
import zstandard

from dopamine.compat import old_records
from dopamine.files import atomic
from dopamine.files import parity
from dopamine.files import pending
from dopamine.files import safe_pickle
from dopamine.replay_memory import data_set
from dopamine.settings import errors

# Of 64 segments, four checkpoints with hardly anything new between them hold
# three to six more than the ring, and the copy of one in use is a hundredth.
SEGMENTS = 64

# Bytes of a segment, at least: smaller files would cost more than they spare.
SMALLEST = 2**13

# Where the files are that a record names, as seen from it.
_FOLDERS = ('.', 'replay', os.path.join('..', 'replay'))

# What the arrays of a `replay_ckpt.N.npz` are called, beside its record.
_ELEMENT = 'element/'

Store = Mapping[str, np.ndarray]  # Name -> what every slot holds, by slot.


class Saved(NamedTuple):
  """What is read of a checkpoint before its segments are.

  Attributes:
    path: of its `replay_ckpt.N.npz`.
    record: what it says of the ring.
    elements: what else was saved, by name.
  """

  path: str
  record: dict[str, Any]
  elements: dict[str, Any]

  @property
  def folder(self) -> str:
    """Where its segments are."""
    folder = os.path.join(os.path.dirname(self.path), self.record['folder'])
    return os.path.normpath(folder)


class RingFiles:
  """The segments of a ring, and the files that they were saved in last.

  Attributes:
    length: slots of a segment.
  """

  def __init__(self, store: Store, length: int | None = None):
    """Starts with no files.

    Args:
      store: of the ring.
      length: by default a 64th of the capacity, or what makes 8 kB.
    """
    self._capacity = len(next(iter(store.values())))
    slot = sum(array.nbytes for array in store.values()) // self._capacity
    least = max(-(-self._capacity // SEGMENTS), SMALLEST // max(slot, 1), 1)
    self.length = min(length or least, self._capacity)
    self._expect_none()
    self.forget()

  def _expect_none(self) -> None:
    self._progress = threading.Condition()
    self._unwritten: list[_Part] = []

  def __getstate__(self) -> dict[str, Any]:
    """What a copy has: what is being written is not the copy's."""
    own = '_progress', '_unwritten'
    return {n: value for n, value in vars(self).items() if n not in own}

  def __setstate__(self, state: dict[str, Any]) -> None:
    vars(self).update(state)
    self._expect_none()

  def forget(self) -> None:
    """Has the next checkpoint write every segment anew."""
    self._files = _Files('', 0, {})

  def before_adding(self, slot: int) -> None:
    """Waits until a slot may be overwritten. To be called for each in turn."""
    if slot % self.length or not self._unwritten:
      return
    index = slot // self.length
    with self._progress:
      self._progress.wait_for(
        lambda: all(index not in part.left for part in self._unwritten)
      )

  # Saving ---------------------------------------------------------------------

  def save(
    self,
    checkpoint_dir: str | os.PathLike,
    number: int,
    store: Store,
    count: int,
    elements: Mapping[str, Any],
    **about: Any,
  ) -> None:
    """Puts `replay_ckpt.N.npz` and the segments that are new in a checkpoint.

    Args:
      checkpoint_dir: an existing folder.
      number: N.
      store: of the ring.
      count: how many slots were ever added.
      elements: what else is to be saved, by name.
      **about: for the record, as JSON.
    """
    checkpoint = pending.checkpoint_in(checkpoint_dir)
    folder = checkpoint.shared_folder if checkpoint else checkpoint_dir
    folder = os.path.normpath(folder)
    pickled = [n for n, v in elements.items() if not isinstance(v, np.ndarray)]
    about |= {
      'replay_capacity': self._capacity,
      'elements': list(elements),
      'pickled': pickled,
      'buffer': described(store),
      'folder': os.path.relpath(folder, checkpoint_dir),
    }
    arrays = {
      _ELEMENT + name: np.frombuffer(safe_pickle.dumps(value), np.uint8)
      if name in pickled
      else value.copy()
      for name, value in elements.items()
    }
    path = record_path(checkpoint_dir, number)
    part = _Part(self, store, path, _Files(folder, count, {}), about, arrays)
    self._unwritten.append(part)
    pending.add(checkpoint_dir, part)

  def slots(self, index: int, count: int) -> tuple[int, int]:
    """The first slot of a segment, and the end of what is filled of it."""
    first = index * self.length
    return first, min(first + self.length, self._capacity, count)

  def is_saved(self, index: int, folder: str, count: int) -> bool:
    """Whether the last checkpoint has a file of what a segment holds now."""
    segment = self._files.segments.get(index)
    if segment is None or self._files.folder != folder:
      return False
    first, end = self.slots(index, count)
    newest = (count - 1) % self._capacity
    slot = newest if first <= newest < end else end - 1
    added = count - (newest - slot) % self._capacity  # Up to that slot.
    return added <= self._files.added <= count and _is_there(folder, segment)

  # Restoring ------------------------------------------------------------------

  def restore(self, saved: Saved, store: Store) -> None:
    """Reads the segments of a checkpoint into a store of zeros.

    Raises:
      DamagedError: naming the file. The store holds a part of them.
    """
    for segment in saved.record['segments']:
      _read_segment(saved.folder, segment, store)
    segments = {s['first'] // self.length: s for s in saved.record['segments']}
    count = int(saved.elements['add_count'])
    for index, segment in segments.items():
      if (segment['first'], segment['end']) != self.slots(index, count):
        return self.forget()  # It was cut in another way.
    self._files = _Files(saved.folder, count, segments)


class _Files(NamedTuple):
  """Of a checkpoint.

  Attributes:
    folder: where they are.
    added: how many slots had been added when it was taken.
    segments: what its record says of each, by segment.
  """

  folder: str
  added: int
  segments: dict[int, dict[str, Any]]


class _Part:
  """The part of a checkpoint that a ring is.

  Attributes:
    left: the segments that are still to be read from the store.
  """

  def __init__(
    self,
    ring: RingFiles,
    store: Store,
    path: str,
    files: _Files,
    about: dict[str, Any],
    arrays: dict[str, np.ndarray],
  ):
    """Notes what is to be written, and copies what is overwritten soonest.

    That is of the segment in use what the ring held there before.
    """
    self._ring, self._before = ring, ring._files
    self._store, self._path, self._files = store, path, files
    self._about, self._arrays = about, arrays
    self._written: list[str] = []
    self._is_complete = False
    capacity = about['replay_capacity']
    self._cursor = files.added % capacity
    self._in_use = self._cursor // ring.length
    number = -(-min(files.added, capacity) // ring.length)
    self._order = []
    # The one in use first, then those that come to be overwritten after it.
    for index in (*range(self._in_use, number), *range(self._in_use)):
      if ring.is_saved(index, files.folder, files.added):
        files.segments[index] = self._before.segments[index]
      else:
        self._order.append(index)
        first, end = ring.slots(index, files.added)
        # No checkpoint of another process, a damaged one say, has this name.
        name = f'{first}-{end}-{uuid.uuid4().hex[:8]}.zst'
        files.segments[index] = {'first': first, 'end': end, 'file': name}
    self.left = set(self._order)
    self._copy: list[np.ndarray] = []
    if self._in_use in self.left:
      first, end = ring.slots(self._in_use, files.added)
      self._copy = [a[self._cursor : end].copy() for a in store.values()]
      if self._cursor == first:
        self.left.remove(self._in_use)

  @property
  def files(self) -> Sequence[str]:
    return [self._path]

  @property
  def shared(self) -> Sequence[str]:
    folder = self._files.folder
    return [os.path.join(folder, s['file']) for s in self._sorted()]

  def _sorted(self) -> list[dict[str, Any]]:
    return [s for _, s in sorted(self._files.segments.items())]

  def write(self) -> None:
    for index in self._order:
      self._write_segment(index)
      with self._ring._progress:
        self.left.discard(index)
        self._ring._progress.notify_all()
    for segment in self._sorted():
      if not _is_there(self._files.folder, segment):
        raise FileNotFoundError(f'{segment["file"]} has vanished')
    atomic.write_file(self._path, self._write_record)
    self._is_complete = True

  def _write_segment(self, index: int) -> None:
    segment = self._files.segments[index]
    slots = slice(segment['first'], segment['end'])
    arrays = [array[slots] for array in self._store.values()]
    if index == self._in_use:
      kept = self._cursor - segment['first']
      parts = zip(arrays, self._copy, strict=True)
      arrays = [part for array, copy in parts for part in (array[:kept], copy)]
      self._copy = []
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    payload = [compressor.compress(_bytes(array)) for array in arrays]
    content = b''.join([*payload, compressor.flush()])
    path = os.path.join(self._files.folder, segment['file'])
    self._written.append(path)
    segment['checksums'] = parity.write_shared(path, content)
    segment['size'] = len(content)

  def _write_record(self, file: IO[bytes]) -> None:
    record = json.dumps(self._about | {'segments': self._sorted()}).encode()
    text = np.frombuffer(record, np.uint8)
    np.savez_compressed(file, record=text, **self._arrays)  # type: ignore

  def close(self) -> None:
    ring = self._ring
    with ring._progress:
      ring._unwritten.remove(self)
      ring._progress.notify_all()
    if not self._is_complete:
      for path in self._written:
        with contextlib.suppress(OSError):
          os.remove(path)
    elif ring._files is self._before:  # Nobody asked for all to be written.
      ring._files = self._files


def _is_there(folder: str, segment: Mapping[str, Any]) -> bool:
  path = os.path.join(folder, segment['file'])
  return parity.has_shared(path, segment['size'])


def _bytes(array: np.ndarray) -> memoryview:
  """The bytes of a contiguous array, not copied."""
  return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def _read_segment(
  folder: str, segment: Mapping[str, Any], store: Store
) -> None:
  path = os.path.join(folder, segment['file'])
  content = parity.read_shared(path, segment['size'], segment['checksums'])
  # Of a window that a few bytes ask for; ours has half a megabyte.
  decompressor = zstandard.ZstdDecompressor(max_window_size=2**23)
  reader = decompressor.stream_reader(content)
  for array in store.values():
    for slots in old_records.spans(
      segment['first'], segment['end'], len(array)
    ):
      view = _bytes(array[slots])
      while len(view):
        try:
          count = reader.readinto(view)
        except zstandard.ZstdError as error:
          raise atomic.DamagedError(f'{path} is damaged: {error}') from None
        if not count:
          raise atomic.DamagedError(f'{path} is damaged: it is too short')
        view = view[count:]


# Records ----------------------------------------------------------------------


def described(store: Store) -> dict[str, Any]:
  """Name -> shape and dtype of the arrays of a store, as JSON."""
  return {
    name: [list(array.shape), np.lib.format.dtype_to_descr(array.dtype)]
    for name, array in store.items()
  }


def check_fit(saved: Saved, store: Store) -> None:
  """Raises ValueError, naming the array, if a checkpoint is of another ring."""
  found = saved.record['buffer']
  for name, expected in json.loads(json.dumps(described(store))).items():
    if found.get(name) != expected:
      shape, dtype = found.get(name, (None, None))
      raise errors.SettingError(
        f'{saved.path} holds {data_set.STORE_FILENAME_PREFIX}{name} of shape '
        f'{shape and tuple(shape)} and dtype {dtype}, but this buffer was '
        f'built for shape {tuple(expected[0])} and dtype {expected[1]}. '
        'Build it as the saved one was (replay_capacity is the first number '
        'of the shape), or start in an empty directory.'
      )


def record_path(checkpoint_dir: str | os.PathLike, number: int) -> str:
  """Where the record of a checkpoint is."""
  return os.path.join(checkpoint_dir, f'replay_ckpt.{number}.npz')


def read(checkpoint_dir: str | os.PathLike, number: int) -> Saved:
  """Returns what a checkpoint says of the ring that was saved.

  Raises:
    NotFoundError: there is no such checkpoint.
    DamagedError: naming the file.
  """
  path = record_path(checkpoint_dir, number)
  if not os.path.exists(path):
    raise data_set.NotFoundError(f'Missing files: {path}')
  elements: dict[str, Any] = {
    name.removeprefix(_ELEMENT): value
    for name, value in atomic.read_npz(path).items()
  }
  try:
    record = atomic.json_object(elements.pop('record').tobytes(), path)
    for name in record['pickled']:
      elements[name] = safe_pickle.loads(elements[name].tobytes())
    _check(record, elements)
  except safe_pickle.RefusedError as error:
    raise safe_pickle.RefusedError(f'{path}: {error}') from error
  except Exception as error:  # What a broken record raises is anything.
    raise atomic.DamagedError(f'{path} is damaged ({error!r})') from error
  return Saved(path, record, elements)


def _check(record: dict[str, Any], elements: dict[str, Any]) -> None:
  """Raises an error of any kind if a record is not of the form that is written.

  What it says of the buffer is compared with the buffer that is to be restored.
  """
  count = elements['add_count']
  if count.shape or count.dtype.kind not in 'iu' or count < 0:
    raise ValueError(f'add_count is {count}')
  if record['folder'] not in _FOLDERS:
    raise ValueError(f'{record["folder"]!r} is no folder of a checkpoint')
  is_old = 'segments' not in record
  segments = record['chunks'] if is_old else record['segments']
  for segment in segments:
    if not re.fullmatch(parity.SHARED_FILE, segment['file']):
      raise ValueError(f'{segment["file"]!r} is no file of a checkpoint')
    numbers = (
      *(segment[n] for n in ('first', 'end', 'size')),
      *segment['checksums'],
    )
    if {type(number) for number in numbers} != {int} or min(numbers) < 0:
      raise ValueError(f'{segment["file"]} is described by no integers')
  if is_old:
    record['segments'] = old_records.checked(segments, int(count), record)
  else:
    covered = 0
    for segment in segments:
      if not segment['first'] == covered < segment['end']:
        raise ValueError(f'slots are missing before {segment["file"]}')
      covered = segment['end']
    if covered != min(count, record['replay_capacity']):
      raise ValueError('slots are missing')
  for shape, _ in record['buffer'].values():
    if {type(n) for n in shape} != {int}:
      raise ValueError(f'{shape} is no shape')
