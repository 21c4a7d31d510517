"""Which of the limits of memory counts: of the machine, cgroups and ulimit."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys

import pytest

from dopamine import memory

pytestmark = pytest.mark.no_backend

ROOT = pathlib.Path(__file__).parents[2]

V2 = '30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n'
V1 = (
  '25 23 0:24 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n'
  '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n'
)
# One that has no name, and one whose source says cgroup.
OTHERS = '22 1 8:1 / / rw - ext4  rw\n23 1 8:2 / /a rw - tmpfs cgroup rw\n'


def tree(root, cgroup, mounts, **limits):
  """A machine: what /proc says of groups, and their limits."""
  files = {'proc/self/cgroup': cgroup, 'proc/self/mountinfo': OTHERS + mounts}
  for path, text in (files | limits).items():
    file = root / path.lstrip('/')
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
  return str(root)


@pytest.mark.parametrize(
  'where', ['', '/slurm', '/slurm/job_7', '/slurm/job_7/x']
)
@pytest.mark.parametrize('version', [1, 2])
def test_the_group_of_the_process_and_all_above_it_count(
  where, version, tmp_path
):
  mount, file, no_limit, line = {
    1: (
      '/sys/fs/cgroup/memory',
      'memory.limit_in_bytes',
      str(2**63 - 4096),
      V1,
    ),
    2: ('/sys/fs/cgroup', 'memory.max', 'max', V2),
  }[version]
  cgroup = {1: '9:memory:', 2: '0::'}[version] + '/slurm/job_7/x\n1:cpu:/\n'
  limits = {
    f'{mount}{group}/{file}': no_limit + '\n'
    for group in ('', '/slurm', '/slurm/job_7', '/slurm/job_7/x')
  }
  # A group beside it is none of ours.
  limits[f'{mount}/slurm/job_8/{file}'] = '1000\n'
  limits[f'{mount}{where}/{file}'] = '2000000\n'
  root = tree(tmp_path, cgroup, line, **limits)
  owner = f'the cgroup {mount}{where} has'
  assert memory.tightest(root=root) == (2_000_000, owner)


@pytest.mark.parametrize(
  ('cgroup', 'mounts', 'file'),
  [
    # Mounted elsewhere.
    ('0::/a\n', V2.replace('/sys/fs/', '/run/'), '/run/cgroup/a/memory.max'),
    # Both versions, memory by the first.
    (
      '4:memory,hugetlb:/a\n0::/b\n',
      V1 + V2.replace('/cgroup ', '/cgroup/unified '),
      '/sys/fs/cgroup/memory/a/memory.limit_in_bytes',
    ),
    # A container that has a namespace of its own,
    ('0::/\n', V2, '/sys/fs/cgroup/memory.max'),
    # one that names its group from the root of the machine,
    (
      '9:memory:/docker/1f\n',
      V1.replace('/ /sys', '/docker/1f /sys'),
      '/sys/fs/cgroup/memory/memory.limit_in_bytes',
    ),
    (
      '0::/docker/1f/inner\n',
      V2.replace('/ /sys', '/docker/1f /sys'),
      '/sys/fs/cgroup/inner/memory.max',
    ),
    # and one that sees another part of the tree.
    ('0::/../elsewhere\n', V2, '/sys/fs/cgroup/memory.max'),
    ('0::/docker/1f\n', V2, '/sys/fs/cgroup/memory.max'),
    ('0::/c\n', V2.replace('/ /sys', '/a/b /sys'), '/sys/fs/cgroup/memory.max'),
    # Where /proc tells nothing.
    ('', '', '/sys/fs/cgroup/memory.max'),
    ('', '', '/sys/fs/cgroup/memory/memory.limit_in_bytes'),
  ],
)
def test_a_group_is_found_wherever_it_is_mounted(
  cgroup, mounts, file, tmp_path
):
  root = tree(tmp_path, cgroup, mounts, **{file: '3000\n'})
  assert memory.tightest(root=root).size == 3000
  assert os.path.dirname(file) in memory.tightest(root=root).owner


def test_a_group_that_has_no_limit_leaves_the_machine(tmp_path):
  empty = memory.tightest(root=str(tmp_path))
  assert empty.owner == 'this machine has' and empty.size > 1e8
  path = '/sys/fs/cgroup/memory.max'
  root = tree(tmp_path, '0::/\n', V2, **{path: 'max\n'})
  assert memory.tightest(root=root) == empty
  # Passing this one slows a process down; it lives.
  path = '/sys/fs/cgroup/memory.high'
  root = tree(tmp_path, '0::/\n', V2, **{path: '1000\n'})
  assert memory.tightest(root=root) == empty


# Real ones --------------------------------------------------------------------


def script(code, *arguments, **kwargs):
  result = subprocess.run(
    [sys.executable, '-c', code, *map(str, arguments)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    **kwargs,
  )
  return result.stdout + result.stderr


@pytest.fixture
def groups():
  """A new group that may have 1 GiB, and one in it."""
  for mount, file in (
    ('/sys/fs/cgroup/memory', 'memory.limit_in_bytes'),
    ('/sys/fs/cgroup', 'memory.max'),
  ):
    outer = pathlib.Path(mount, f'dopamine_{os.getpid()}')
    if not (outer.parent / 'cgroup.procs').exists():
      continue
    try:
      outer.mkdir()
      (outer / 'inner').mkdir()
      (outer / file).write_text(str(2**30))
      yield outer, outer / 'inner'
      return
    except OSError:
      pass
    finally:
      for folder in (outer / 'inner', outer):
        with contextlib.suppress(OSError):
          folder.rmdir()
  pytest.skip('no cgroup can be made')


def test_the_limit_above_the_group_of_a_real_process(groups):
  code = (
    'import os, sys\nopen(sys.argv[1], "w").write(str(os.getpid()))\n'
    'from dopamine import memory\nprint(*memory.tightest())\n'
    'print(memory.of_the_machine())'
  )
  outer, inner = groups
  output = script(code, inner / 'cgroup.procs').splitlines()
  assert output == [f'{2**30} the cgroup {outer} has', str(2**30)]


LIMITED = """
import resource, sys
from dopamine import memory
from dopamine.runs import run_checks
from dopamine.replay_memory import circular_replay_buffer as buffers
reserve, option, left, capacity = map(int, sys.argv[1:])
# As a framework does: addresses that nothing is ever written to.
import mmap
reserved = mmap.mmap(-1, reserve, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
limit = (resource.RLIMIT_AS, resource.RLIMIT_DATA)[option]
used = memory._statm((0, 5)[option])
resource.setrlimit(limit, (used + left, resource.getrlimit(limit)[1]))
class Agent:
  try:
    replay = buffers.OutOfGraphReplayBuffer((1000, 100), 1, capacity, 1)
    replay_nbytes = replay.nbytes
  except ValueError as error:
    sys.exit(f'Buffer: {error}')
try:
  print(run_checks.check_memory(Agent()))
except ValueError as error:
  sys.exit(f'Run: {error}')
"""


@pytest.mark.skipif(
  not sys.platform.startswith('linux'), reason='/proc tells what is reserved'
)
@pytest.mark.parametrize('reserve', [2**20, 6 * 2**30])
@pytest.mark.parametrize(
  ('option', 'name'), [(0, 'ulimit -v'), (1, 'ulimit -d')]
)
@pytest.mark.parametrize(
  ('left', 'capacity', 'found'),
  [
    # A slot is 100 kB; a run takes 0.5 GB beside them. It fits:
    (2.2e9, 15000, r'about 2\.\d GB at the peak, 1.5 GB of them'),
    # The replay memory does, but the run does not:
    (
      1.8e9,
      15000,
      r'Run: .* about 2\.\d GB of memory, .* {} leaves 1\.\d GB: ',
    ),
    # Nor does the replay memory:
    (1.4e9, 15000, r'Buffer: .* 1\.5 GB when .* {} leaves 1\.\d GB, .* 13[89]'),
  ],
)
def test_ulimits_count_what_is_reserved(
  reserve, option, name, left, capacity, found
):
  output = script(LIMITED, reserve, option, int(left), capacity)
  assert re.search(found.format(name), output), output
