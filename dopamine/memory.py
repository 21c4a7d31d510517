"""What memory a process has, and may have."""

import contextlib
import math
import os


def of_the_machine() -> float:
  """Bytes that this process may use; infinite if nobody says."""
  sizes = [math.inf]
  with contextlib.suppress(AttributeError, OSError, ValueError):  # Windows.
    sizes.append(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))
  for limit in (
    '/sys/fs/cgroup/memory.max',
    '/sys/fs/cgroup/memory/memory.limit_in_bytes',
  ):
    with contextlib.suppress(OSError, ValueError), open(limit) as file:
      sizes.append(int(file.read()))  # ValueError: 'max'.
  return min(sizes)


def resident() -> int:
  """Bytes that this process has in memory now; 0 if nobody says."""
  with contextlib.suppress(AttributeError, OSError, ValueError, IndexError):
    with open('/proc/self/statm') as file:
      return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
  return 0
