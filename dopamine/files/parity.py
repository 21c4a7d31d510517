"""Files that repair themselves, which several checkpoints share."""

from collections.abc import Sequence
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


def write_shared(path: str, payload: bytes) -> list[int]:
  """Writes `payload` and its parity; returns what `read_shared` needs."""
  blocks = _blocks(payload)
  parity = np.bitwise_xor.reduce(blocks, axis=0)

  def write(file: IO[bytes]) -> None:
    file.write(payload)
    file.write(parity.tobytes())

  atomic.write_file(path, write)
  return [zlib.crc32(block) for block in (*blocks, parity)]


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
  blocks = _blocks(payload.ljust(size, b'\0'))
  parity = np.frombuffer(content[size:][:width].ljust(width, b'\0'), np.uint8)
  rows = np.concatenate((blocks, parity[None]))
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


def _blocks(payload: bytes) -> np.ndarray:
  """The payload as `[_BLOCKS, width]` bytes, with zeros at its end."""
  width = _block_size(len(payload))
  padded = np.zeros(_BLOCKS * width, np.uint8)
  padded[: len(payload)] = np.frombuffer(payload, np.uint8)
  return padded.reshape(_BLOCKS, width)
