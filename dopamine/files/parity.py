"""Files that repair themselves, which several checkpoints share."""

from collections.abc import Iterator, Sequence
import contextlib
import os
from typing import IO
import zlib

from absl import logging
import numpy as np

from dopamine.files import atomic

# A file is cut into so many blocks, and their exclusive or is one more:
# any single one can be rebuilt from the others.
_BLOCKS = 32

# Their names: FIRST-END-ID.zst, of what was added to a replay memory.
SHARED_FILE = r'[0-9]+-[0-9]+-[0-9a-f]{8}\.zst'


def write_shared(path: str, payload: bytes | bytearray) -> list[int]:
  """Writes `payload` and its parity; returns what `read_shared` needs."""
  rows = np.zeros(_block_size(len(payload)), np.uint8)
  for block in _blocks(payload):
    rows ^= np.frombuffer(block, np.uint8)
  parity = rows.tobytes()

  def write(file: IO[bytes]) -> None:
    file.write(payload)
    file.write(parity)

  atomic.write_file(path, write)
  return [zlib.crc32(block) for block in (*_blocks(payload), parity)]


def has_shared(path: str, size: int) -> bool:
  """Whether `write_shared` can have written this file, by its size.

  Args:
    path: of the file.
    size: of the payload, in bytes.
  """
  try:
    return os.path.isfile(path) and (
      os.path.getsize(path) == size + _block_size(size)
    )
  except OSError:
    return False


def read_shared(path: str, size: int, checksums: Sequence[int]) -> bytes:
  """Returns the payload; one damaged block is repaired, on the disk too.

  Args:
    path: of the file.
    size: of the payload, in bytes.
    checksums: what `write_shared` returned.

  Raises:
    atomic.DamagedError: the file is missing, or more than one block is damaged.
  """
  width = _block_size(size)
  content = atomic.read_file(path, size + width + 1)
  # Before anything of that size is made: it lacks more than can be repaired.
  if len(content) < size - width or len(checksums) != _BLOCKS + 1:
    raise atomic.DamagedError(f'{path} is damaged')
  payload = content[:size]
  blocks = *_blocks(payload.ljust(size, b'\0')), content[size:][:width]
  rows = np.stack(
    [np.frombuffer(b.ljust(width, b'\0'), np.uint8) for b in blocks]
  )
  bad = [i for i, row in enumerate(rows) if zlib.crc32(row) != checksums[i]]
  if not bad and len(content) == size + width:
    return payload
  if len(bad) <= 1:
    i = bad[0] if bad else 0
    rows[i] = np.bitwise_xor.reduce(np.delete(rows, i, axis=0), axis=0)
    if zlib.crc32(rows[i]) == checksums[i]:
      payload = rows[:-1].tobytes()[:size]
      logging.warning('%s was damaged in one place, which was repaired', path)
      with contextlib.suppress(OSError):
        write_shared(path, payload)
      return payload
  raise atomic.DamagedError(f'{path} is damaged')


def _block_size(size: int) -> int:
  return max(1, -(-size // _BLOCKS))


def _blocks(payload: bytes | bytearray) -> Iterator[bytes]:
  """The payload in `_BLOCKS` parts, with zeros at the end of the last."""
  width = _block_size(len(payload))
  for i in range(_BLOCKS):
    yield bytes(payload[i * width : (i + 1) * width]).ljust(width, b'\0')
