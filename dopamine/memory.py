"""What memory a process has, and may have."""

from collections.abc import Iterator
import contextlib
import math
import os
import re
from typing import NamedTuple

from dopamine.settings import errors

try:
  import resource
except ImportError:  # Windows.
  resource = None  # type: ignore[assignment]


class Limit(NamedTuple):
  """How many bytes may become `resident`, and who says so, as 'X has'."""

  size: float
  owner: str


def of_the_machine() -> float:
  """Bytes that this process may use; infinite if nobody says."""
  return tightest().size


def tightest(allocated: int = 0, root: str = '/') -> Limit:
  """The lowest of all limits.

  Args:
    allocated: bytes, of those that are yet to be filled, that the process has
      addresses for already: they count for `ulimit -v` now.
    root: where `proc` and `sys` are.
  """
  limits = [Limit(math.inf, 'this machine has')]
  with contextlib.suppress(AttributeError, OSError, ValueError):  # Windows.
    pages = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    limits.append(Limit(pages, 'this machine has'))
  limits += _cgroups(root)
  limits += _ulimits(allocated)
  return min(limits)


def check_room(capacity: int, slot: int, settings: str) -> None:
  """Refuses a replay memory that could not be filled.

  Args:
    capacity: in slots.
    slot: its bytes.
    settings: what can be lowered.

  Raises:
    ValueError: the machine has less.
  """
  needed, used, limit = capacity * slot, resident(), tightest()
  available = max(limit.size - used, 0)
  if needed > available:
    raise errors.SettingError(
      f'a replay memory of replay_capacity={capacity} transitions needs '
      f'{needed / 1e9:.1f} GB when it is full, beside the {used / 1e9:.1f} GB '
      f'that are in use, and {limit.owner} {limit.size / 1e9:.1f} GB, enough '
      f'for at most {int(available // slot)}: lower {settings}'
    )


def _ulimits(allocated: int) -> Iterator[Limit]:
  """What is left of addresses (-v) and of private ones (-d)."""
  # They count what is reserved, which frameworks do by the gigabyte, and not
  # what is resident.
  if resource is None:
    return
  options = ('v', resource.RLIMIT_AS, 0), ('d', resource.RLIMIT_DATA, 5)
  for option, number, field in options:
    limit = resource.getrlimit(number)[0]
    if limit != resource.RLIM_INFINITY:
      left = max(limit - _statm(field), 0)
      yield Limit(left + allocated + resident(), f'ulimit -{option} leaves')


def _cgroups(root: str) -> Iterator[Limit]:
  """Those of the group that this process is in, and of the groups above it."""
  # `memory.high` is none: a process that passes it is slowed down, and lives.
  # Version 2 has one tree; of version 1, memory has one of its own.
  groups = {'cgroup2': '/', 'cgroup': '/'}
  for controllers, path in re.findall(
    r'^\d+:([^:]*):(.*)$', _read(root, 'proc/self/cgroup'), re.MULTILINE
  ):
    if controllers == '':
      groups['cgroup2'] = path
    elif 'memory' in controllers.split(','):
      groups['cgroup'] = path
  mounts = re.findall(
    r'^\S+ \S+ \S+ (\S+) (\S+) .* - (cgroup2?) .*?(\S+)$',
    _read(root, 'proc/self/mountinfo'),
    re.MULTILINE,
  )
  for top, mount, version, options in mounts or (
    ('/', '/sys/fs/cgroup', 'cgroup2', ''),
    ('/', '/sys/fs/cgroup/memory', 'cgroup', 'memory'),
  ):
    if version == 'cgroup' and 'memory' not in options.split(','):
      continue
    # A container may see of the tree no more than its own group.
    path = os.path.relpath(groups[version], top)
    is_below = path != '.' and path.split('/')[0] != '..'
    below = path.split('/') if is_below else []
    # A blank in it is written as \\040, and the like.
    mount = re.sub(r'\\([0-7]{3})', lambda m: chr(int(m[1], 8)), mount)
    file = 'memory.max' if version == 'cgroup2' else 'memory.limit_in_bytes'
    for depth in range(len(below) + 1):
      group = '/'.join((mount, *below[:depth]))
      with contextlib.suppress(ValueError):  # 'max', or no such file.
        size = int(_read(root, group, file))
        yield Limit(size, f'the cgroup {group} has')


def _read(root: str, *path: str) -> str:
  """What is in a file; nothing if there is no such file."""
  with contextlib.suppress(OSError, ValueError):
    with open('/'.join((root, *path)), encoding='utf-8') as file:
      return file.read()
  return ''


def resident() -> int:
  """Bytes that this process has in memory now; 0 if nobody says."""
  return _statm(1)


def _statm(field: int) -> int:
  """Bytes of addresses (0), resident (1), of private addresses (5)."""
  with contextlib.suppress(AttributeError, OSError, ValueError, IndexError):
    with open('/proc/self/statm', encoding='utf-8') as file:
      return int(file.read().split()[field]) * os.sysconf('SC_PAGE_SIZE')
  return 0
