"""A replay memory in the checkpoints of a run: the segments that are new.

The ring is cut into 64 segments, each in a file of its own. A checkpoint writes
whole, under new names, those that something was added to since the one before,
and shares the others with it. While they are written the memory goes on: what
it overwrites in the segment in use is copied before, and `before_adding` waits
at the beginning of one that is not written yet.
"""

from collections.abc import Mapping
import contextlib
import json
import os
import threading
from typing import IO, Any, NamedTuple
import uuid

import numpy as np
import zstandard

from dopamine.files import atomic
from dopamine.files import parity
from dopamine.files import pending
from dopamine.files import safe_pickle

# Of 64 segments, four checkpoints with hardly anything new between them hold
# three to six more than the ring, and the copy of one in use is a hundredth.
SEGMENTS = 64

# Bytes of a segment, at least: a block of a disk.
SMALLEST = 2**12

# What the arrays of a `replay_ckpt.N.npz` are called, beside its record.
ELEMENT = 'element/'

Store = Mapping[str, np.ndarray]  # Name -> what every slot holds, by slot.


class RingFiles:
  """The segments of a ring, and the files that they were saved in last.

  Attributes:
    length: slots of a segment.
  """

  def __init__(self, store: Store, length: int | None = None):
    """Starts with no files; segments are a 64th of the ring, or 4 kB."""
    self._capacity = len(next(iter(store.values())))
    slot = sum(array.nbytes for array in store.values()) // self._capacity
    least = max(-(-self._capacity // SEGMENTS), SMALLEST // max(slot, 1), 1)
    self.length = min(length or least, self._capacity)
    self._unwritten = _Parts()
    self.forget()

  def forget(self) -> None:
    """Has the next checkpoint write every segment anew."""
    self._files = _Files('', 0, {})

  def before_adding(self, slot: int) -> None:
    """Waits until a slot may be overwritten. To be called for each in turn."""
    parts = self._unwritten
    if slot % self.length or not parts:
      return
    index = slot // self.length
    with parts.progress:
      parts.progress.wait_for(lambda: all(index not in p.left for p in parts))

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
    if checkpoint and any(part in checkpoint.parts for part in self._unwritten):
      return  # Of two agents that have it in common, the first saved it.
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
      ELEMENT + name: np.frombuffer(safe_pickle.dumps(value), np.uint8)
      if name in pickled
      else value.copy()
      for name, value in elements.items()
    }
    path = record_path(checkpoint_dir, number)
    part = _Part(self, store, path, *self._plan(folder, count), about, arrays)
    try:
      self._unwritten.append(part)
      pending.add(checkpoint_dir, part)
    except BaseException:
      part.close()
      raise

  def _plan(self, folder: str, count: int) -> tuple['_Files', list[int]]:
    """The files of a checkpoint, and the segments that are to be written."""
    # In the order in which they will be overwritten. Of what comes first a copy
    # is taken: so the one in use is the last.
    number = -(-min(count, self._capacity) // self.length)
    after = count % self._capacity // self.length + 1
    files, order = _Files(folder, count, {}), []
    for index in (*range(after, number), *range(min(after, number))):
      first, end = self.slots(index, count)
      if self._is_saved(index, folder, count):
        files.segments[index] = self._files.segments[index]
      else:
        # No checkpoint of another process, a damaged one say, has this name.
        name = f'{first}-{end}-{uuid.uuid4().hex[:8]}.zst'
        files.segments[index] = {'first': first, 'end': end, 'file': name}
        order.append(index)
    return files, order

  def _is_saved(self, index: int, folder: str, count: int) -> bool:
    """Whether the last checkpoint has a file of what a segment holds now."""
    segment = self._files.segments.get(index)
    first, end = self.slots(index, count)
    newest = (count - 1) % self._capacity
    last = newest if first <= newest < end else end - 1
    added = count - (newest - last) % self._capacity  # Up to that slot.
    return (
      segment is not None
      and added <= self._files.added <= count
      and self._files.folder == folder
      and parity.has_shared(
        os.path.join(folder, segment['file']), segment['size']
      )
    )

  def slots(self, index: int, count: int) -> tuple[int, int]:
    """The first slot of a segment, and the end of what is filled of it."""
    first = index * self.length
    return first, min(first + self.length, self._capacity, count)

  # Restoring ------------------------------------------------------------------

  def restore(self, saved: Any, store: Store) -> None:
    """Reads the segments of a checkpoint into a store of zeros.

    Raises:
      DamagedError: naming the file. The store holds a part of them.
    """
    # A new run needs none.
    from dopamine.replay_memory import ring_reader

    ring_reader.read_segments(saved, store)
    segments = {s['first'] // self.length: s for s in saved.record['segments']}
    count = int(saved.elements['add_count'])
    for index, segment in segments.items():
      if (segment['first'], segment['end']) != self.slots(index, count):
        return self.forget()  # It was cut in another way.
    self._files = _Files(saved.folder, count, segments)


class _Files(NamedTuple):
  """Of a checkpoint."""

  folder: str  # where they are
  added: int  # how many slots had been added when it was taken
  segments: dict[int, dict[str, Any]]  # what its record says of each


class _Parts(list['_Part']):
  """What is being written of a ring; of a copy of it, nothing."""

  def __init__(self) -> None:
    self.progress = threading.Condition()

  def __reduce__(self) -> Any:
    return _Parts, ()


class _Part(pending.Part):
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
    order: list[int],
    about: dict[str, Any],
    arrays: dict[str, np.ndarray],
  ):
    """Copies what may be overwritten before it is written."""
    names = (segment['file'] for segment in files.segments.values())
    super().__init__([path], [os.path.join(files.folder, n) for n in names])
    self._ring, self._before, self._store = ring, ring._files, store
    self._saved, self._order = files, order
    self._about, self._arrays = about, arrays
    self._written: list[str] = []
    self._is_complete = False
    self.left = set(order)
    # By segment: the slot from which on there is a copy, and the copy.
    self._copies: dict[int, tuple[int, list[np.ndarray]]] = {}
    # What the segment in use held before; where hardly anything is left of it,
    # the next one too.
    capacity = about['replay_capacity']
    cursor = files.added % capacity
    in_use = cursor // ring.length
    self._copy(in_use, cursor)
    end = min((in_use + 1) * ring.length, capacity)
    if end - cursor < ring.length // 4:
      self._copy(end % capacity // ring.length, end % capacity)

  def _copy(self, index: int, start: int) -> None:
    if index in self.left:
      segment = self._saved.segments[index]
      arrays = self._store.values()
      copies = [array[start : segment['end']].copy() for array in arrays]
      self._copies[index] = start, copies
      if start == segment['first']:
        self.left.remove(index)

  def write(self) -> None:
    segments = self._saved.segments
    for index in self._order:
      self._write_segment(index)
    for path, segment in zip(self.shared, segments.values(), strict=True):
      if not parity.has_shared(path, segment['size']):
        raise FileNotFoundError(f'{path} has vanished')
    record = self._about | {
      'segments': [s for _, s in sorted(segments.items())]
    }
    text = np.frombuffer(json.dumps(record).encode(), np.uint8)

    def write(file: IO[bytes]) -> None:
      np.savez_compressed(file, record=text, **self._arrays)  # type: ignore

    atomic.write_file(self.files[0], write)
    self._is_complete = True

  def _write_segment(self, index: int) -> None:
    segment = self._saved.segments[index]
    start, copies = self._copies.pop(index, (segment['end'], []))
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    content = bytearray()
    for i, array in enumerate(self._store.values()):
      for part in (array[segment['first'] : start], *copies[i : i + 1]):
        content += compressor.compress(bytes_of(part))
    content += compressor.flush()
    progress = self._ring._unwritten.progress
    with progress:  # It is read, if not yet on the disk.
      self.left.discard(index)
      progress.notify_all()
    path = os.path.join(self._saved.folder, segment['file'])
    self._written.append(path)
    segment['checksums'] = parity.write_shared(path, content)
    segment['size'] = len(content)

  def close(self) -> None:
    ring, parts = self._ring, self._ring._unwritten
    with parts.progress:
      if self not in parts:
        return  # It is closed.
      parts.remove(self)
      parts.progress.notify_all()
    if not self._is_complete:
      for path in self._written:
        with contextlib.suppress(OSError):
          os.remove(path)
    elif ring._files is self._before:  # Nobody asked for all to be written.
      ring._files = self._saved


def bytes_of(array: np.ndarray) -> memoryview:
  """The bytes of a contiguous array, not copied."""
  return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


# Records ----------------------------------------------------------------------


def described(store: Store) -> dict[str, Any]:
  """Name -> shape and dtype of the arrays of a store, as JSON."""
  return {
    name: [list(array.shape), np.lib.format.dtype_to_descr(array.dtype)]
    for name, array in store.items()
  }


def record_path(checkpoint_dir: str | os.PathLike, number: int) -> str:
  """Where the record of a checkpoint is."""
  return os.path.join(checkpoint_dir, f'replay_ckpt.{number}.npz')
