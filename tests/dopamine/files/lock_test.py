"""The lock of a folder: where there is none, and who lets go of it when."""

import errno
import gc
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import pytest

from dopamine.discrete_domains import run_experiment
from dopamine.files import lock as files_lock

pytestmark = pytest.mark.no_backend

ROOT = pathlib.Path(__file__).parents[3]

RUNNER = """
import sys, threading
import types
from dopamine.discrete_domains import run_experiment


class Environment:
  action_space = types.SimpleNamespace(n=2)
  game_over = True

  def reset(self):
    return 0

  def step(self, action):
    return 0, 1.0, True, {}


class Agent:
  eval_mode = False

  def begin_episode(self, observation):
    return 1

  def step(self, reward, observation):
    return 1

  def end_episode(self, reward):
    pass

  def bundle_and_checkpoint(self, directory, iteration):
    return {'x': 1}

  def unbundle(self, directory, iteration, data):
    return True


runner = run_experiment.Runner(
  sys.argv[1],
  lambda sess, environment, summary_writer: Agent(),
  Environment,
  num_iterations=3,
  training_steps=1000,
  evaluation_steps=0,
)
"""


HOLD = """
import sys
from dopamine.files import lock
lock = lock.Lock(sys.argv[1])
print('held', flush=True)
sys.stdin.read()
"""


def script(code, *arguments):
  """A process that runs some code."""
  return subprocess.run(
    [sys.executable, '-c', code, *map(str, arguments)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.fixture(params=['no module', errno.ENOLCK, errno.EOPNOTSUPP])
def no_locks(request, monkeypatch):
  """A system, or a file system, without flock; no process may be signalled."""

  class Fcntl:
    LOCK_EX, LOCK_NB = 2, 4

    @staticmethod
    def flock(file, operation):
      raise OSError(request.param, os.strerror(request.param))

  is_windows = request.param == 'no module'
  monkeypatch.setattr(files_lock, 'fcntl', None if is_windows else Fcntl)

  def kill(pid, number):
    raise AssertionError('signal 0 is Ctrl-C on Windows')

  monkeypatch.setattr(os, 'kill', kill)


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path):
  process = subprocess.Popen(
    [sys.executable, '-c', HOLD, str(tmp_path)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  assert process.stdout.readline() == 'held\n'
  with pytest.raises(ValueError, match=f'in use by process {process.pid} on '):
    files_lock.Lock(str(tmp_path))
  process.kill()
  process.wait()
  lock = files_lock.Lock(str(tmp_path))
  holder = json.loads((tmp_path / 'lock').read_text())
  assert holder['pid'] == os.getpid()
  again = files_lock.Lock(str(tmp_path))  # One process may.
  lock.release()
  lock.release()
  assert json.loads((tmp_path / 'lock').read_text()) == holder
  again.release()
  assert (tmp_path / 'lock').read_text() == ''


# Where there are no locks -----------------------------------------------------


@pytest.mark.usefixtures('no_locks')
def test_where_there_are_no_locks_the_file_decides_and_nobody_is_signalled(
  tmp_path,
):
  path = tmp_path / 'lock'
  host = socket.gethostname()
  path.write_text(json.dumps({'pid': 2**22 + 1, 'host': host}))
  for _ in range(2):  # It is not ours to take, however often.
    with pytest.raises(
      ValueError, match=f'by process {2**22 + 1} on {host}: .*delete {path}'
    ):
      files_lock.Lock(str(tmp_path))
  path.unlink()
  files_lock.Lock(str(tmp_path)).release()


@pytest.mark.usefixtures('no_locks')
def test_where_there_are_no_locks_the_holder_is_on_the_disk_until_it_lets_go(
  tmp_path,
):
  lock = files_lock.Lock(str(tmp_path))
  holder = json.loads((tmp_path / 'lock').read_text())
  assert holder['pid'] == os.getpid() and holder['host']
  files_lock.Lock(str(tmp_path)).release()  # One process may.
  assert json.loads((tmp_path / 'lock').read_text()) == holder
  lock.release()
  assert (tmp_path / 'lock').read_text() == ''
  files_lock.Lock(str(tmp_path)).release()


@pytest.mark.usefixtures('no_locks')
@pytest.mark.parametrize('content', ['', '{"pid"', '[]', '\0' * 9, '[' * 9999])
def test_a_lock_file_that_names_nobody_is_free(tmp_path, content):
  (tmp_path / 'lock').write_text(content)
  files_lock.Lock(str(tmp_path)).release()


def test_where_there_are_no_locks_a_killed_process_leaves_its_name(
  tmp_path, monkeypatch
):
  code = (
    'import os, sys\nfrom dopamine.files import lock\nlock.fcntl = None\n'
    'lock = lock.Lock(sys.argv[1])\n'
  )
  script(code + 'os.kill(os.getpid(), 9)', tmp_path)
  monkeypatch.setattr(files_lock, 'fcntl', None)
  with pytest.raises(ValueError, match=f'delete {tmp_path / "lock"}'):
    files_lock.Lock(str(tmp_path))
  (tmp_path / 'lock').unlink()
  # One that comes to its end lets go, although it never said so.
  assert script(code, tmp_path).stderr == ''
  files_lock.Lock(str(tmp_path)).release()


# Who lets go ------------------------------------------------------------------


@pytest.mark.parametrize(
  'more',
  [
    'sys.kept = runner',
    'runner.run_experiment()\nsys.kept = runner',
    'runner.itself = runner',
    'del runner',
  ],
)
def test_a_runner_in_a_global_ends_without_a_word(more, tmp_path):
  result = script(RUNNER + more, tmp_path)
  assert result.returncode == 0
  # What absl logs, and nothing of the interpreter.
  lines = result.stderr.splitlines()
  assert [x for x in lines if not re.match(r'[IW]\d{4} ', x)] == []
  assert (tmp_path / 'lock').read_text() == ''


def test_a_run_in_a_thread_outlives_its_script(tmp_path):
  thread = 'threading.Thread(target=runner.run_experiment).start()'
  result = script(RUNNER + thread, tmp_path)
  assert 'Traceback' not in result.stderr
  assert (tmp_path / 'checkpoints/sentinel_checkpoint_complete.2').exists()


def test_a_lock_that_is_forgotten_is_free(tmp_path):
  lock = files_lock.Lock(str(tmp_path))
  code = 'import sys\nfrom dopamine.files import lock\nlock.Lock(sys.argv[1])'
  assert f'by process {os.getpid()} on' in script(code, tmp_path).stderr
  del lock
  gc.collect()
  assert script(code, tmp_path).stderr == ''


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_a_child_process_does_not_let_go_of_the_lock_of_its_parent(tmp_path):
  code = (
    'import os, sys\nfrom dopamine.files import lock\n'
    'lock = lock.Lock(sys.argv[1])\n'
    'if not os.fork():\n  lock.release()\n  sys.exit()\n'
    'assert not os.wait()[1]\n'
    'assert open(lock_path := sys.argv[1] + "/lock").read(), lock_path\n'
  )
  result = script(code, tmp_path)
  assert result.returncode == 0, result.stderr


# A full disk ------------------------------------------------------------------


@pytest.fixture
def full_disk(tmp_path):
  """A disk without room for one more byte."""
  folder = tmp_path / 'disk'
  folder.mkdir()
  command = ['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', str(folder)]
  try:
    subprocess.run(command, capture_output=True, check=True)
  except (OSError, subprocess.CalledProcessError) as error:
    pytest.skip(f'no small disk can be mounted: {error}')
  with open(folder / 'dummy', 'wb', buffering=0) as file:
    with pytest.raises(OSError, match='No space'):
      while True:
        file.write(bytes(4096))
  yield folder
  subprocess.run(['umount', '-l', str(folder)], check=True)


def test_a_full_disk_at_the_first_start_is_named(full_disk):
  with pytest.raises(ValueError, match='No space left on device') as error:
    run_experiment.Runner(str(full_disk), lambda *_, **__: None, lambda: None)
  message = str(error.value).split('\n')[0]
  assert message.startswith(f'base_dir={full_disk} cannot be written (')
  assert message.endswith('give a folder that can, or make room')
  # Nothing holds the folder: with room, the next start is not refused.
  assert not files_lock._open_locks
  files_lock.Lock(str(full_disk)).release()


LIMITED = """
import resource, signal, sys
from dopamine.discrete_domains import run_experiment
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # No file may grow.
run_experiment.Runner(sys.argv[1], lambda *_, **__: None, lambda: None)
"""


@pytest.mark.skipif(not hasattr(signal, 'SIGXFSZ'), reason='no limits here')
def test_what_cannot_be_written_at_the_first_start_is_named(tmp_path):
  result = script(LIMITED, tmp_path)
  assert (
    f'base_dir={tmp_path} cannot be written ({tmp_path / "seed.json"}: '
    'File too large)'
  ) in result.stderr
  assert 'release' not in result.stderr and 'gnored' not in result.stderr


def test_a_lock_of_somebody_else_is_named(tmp_path):
  (tmp_path / 'lock').mkdir()  # What root, too, cannot write.
  (tmp_path / 'logs').mkdir()
  with pytest.raises(ValueError, match=f'{tmp_path / "lock"}: Is a directory'):
    run_experiment.Runner(str(tmp_path), lambda *_, **__: None, lambda: None)
