"""A run that is killed at any moment ends as one that never was, bit by bit.

`resume_test` stops runs in this process; here processes get a SIGKILL, disks
fill up, and files are damaged.
"""

import contextlib
import functools
import itertools
import json
import multiprocessing
import os
import pathlib
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from dopamine.discrete_domains import run_experiment
from tests.dopamine.discrete_domains import resume_test

ROOT = pathlib.Path(__file__).parents[3]
MODULE = 'tests.dopamine.discrete_domains.kill_test'

# Of each slow test under each backend, spread over agents and environments.
NUM_KILLED, NUM_FULL_DISKS, NUM_DAMAGED = 100, 30, 100

# Seconds of training, and some checkpoints in each.
SETTINGS = dict(training_steps=900, evaluation_steps=200)
CHECKPOINT_MINUTES = 0.2 / 60
COMBINATIONS = list(
  itertools.product(resume_test.CASES, resume_test.ENVIRONMENTS)
)


def main(settings):
  """Runs to the end, and leaves the figures beside the `base_dir`.

  Args:
    settings: `{'base_dir': ..., 'environment': ..., 'case': ...}`.
  """
  runner = resume_test.make_runner(
    settings['base_dir'],
    settings['environment'],
    resume_test.CASES[settings['case']],
    checkpoint_minutes=CHECKPOINT_MINUTES,
    **SETTINGS,
  )
  runner.run_experiment()
  with open(settings['base_dir'] + '.figures', 'wb') as file:
    pickle.dump(resume_test.figures(runner), file)


@functools.cache
def uninterrupted(case, environment):
  """The figures of a run in this process, which saves nothing in between."""
  with tempfile.TemporaryDirectory() as folder:
    runner = resume_test.make_runner(
      folder,
      environment,
      resume_test.CASES[case],
      checkpoint_minutes=None,
      **SETTINGS,
    )
    runner.run_experiment()
    return resume_test.figures(runner)


# Processes --------------------------------------------------------------------


class Command:
  """A run as a process; all that it prints goes to `output`."""

  def __init__(self, settings, output):
    with open(output, 'ab') as file:
      self._process = subprocess.Popen(
        [sys.executable, '-m', MODULE, json.dumps(settings)],
        cwd=ROOT,
        stdout=file,
        stderr=file,
      )
    self.pid = self._process.pid
    self.exit_code = self._process.poll
    self.wait = self._process.wait


class Fork:
  """The same, forked from a process that has imported everything: 5 s less."""

  def __init__(self, settings, output):
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([MODULE])
    self._process = context.Process(
      target=self._run, args=(settings, str(output))
    )
    self._process.start()
    self.pid = self._process.pid
    self.wait = self._process.join

  def exit_code(self):
    return self._process.exitcode

  @staticmethod
  def _run(settings, output):
    with open(output, 'ab') as file:
      for stream in (sys.stdout, sys.stderr):
        os.dup2(file.fileno(), stream.fileno())
    main(settings)


class Run:
  """A run that can be killed, and started again by the same command.

  Attributes:
    base_dir: of the run.
    num_killed: how often it was.
  """

  def __init__(self, folder, case, environment, base_dir=None, start=Fork):
    folder.mkdir(exist_ok=True)
    self.process = None
    self.base_dir = base_dir or folder / 'run'
    self.num_killed = 0
    self._case, self._environment = case, environment
    self._settings = {
      'base_dir': str(self.base_dir),
      'case': case,
      'environment': environment,
    }
    self._output = folder / 'output.txt'
    self._output.touch()
    self._start = start

  @property
  def output(self):
    """What it has printed, with what it did before it was killed."""
    return self._output.read_text(errors='replace')

  def start(self):
    self.process = self._start(self._settings, self._output)

  def is_running(self):
    code = self.process.exit_code()
    assert code in (None, 0), self.output
    return code is None

  def wait_for(self, condition, seconds=120.0):
    """Whether the condition came true while the run went on."""
    end = time.monotonic() + seconds
    while self.is_running():
      if condition():
        return True
      assert time.monotonic() < end, self.output
      time.sleep(0.0002)
    return False

  def wait(self, seconds):
    """Whether the run goes on after some seconds."""
    end = time.monotonic() + seconds
    return self.wait_for(lambda: time.monotonic() >= end)

  def kill(self):
    with contextlib.suppress(ProcessLookupError):
      os.kill(self.process.pid, signal.SIGKILL)
    self.process.wait()
    self.num_killed += 1

  def kill_while_writing(self):
    """Kills it while a file of a checkpoint is half there.

    Returns:
      Whether there was such a moment before its end.
    """

    def is_writing():
      if not self.temporary_files():
        return False
      # Stopped, it cannot finish the file before it is killed.
      os.kill(self.process.pid, signal.SIGSTOP)
      time.sleep(0.002)
      if self.temporary_files():
        return True
      os.kill(self.process.pid, signal.SIGCONT)
      return False

    if not self.wait_for(is_writing):
      return False
    self.kill()
    assert self.temporary_files()
    return True

  def temporary_files(self):
    return list(self.base_dir.glob('checkpoints/**/*.tmp'))

  def sentinels(self):
    return list(self.base_dir.glob('checkpoints/**/sentinel_*_complete.*[0-9]'))

  def finish(self):
    """Lets it end, which must be as if nothing had happened."""
    self.wait_for(lambda: False)
    with open(f'{self.base_dir}.figures', 'rb') as file:
      found = pickle.load(file)
    try:
      resume_test.assert_equal(
        found, uninterrupted(self._case, self._environment)
      )
    except AssertionError as error:
      error.add_note(f'{self._case} on {self._environment}: {self.output}')
      raise


@pytest.fixture
def new_run():
  """Makes a Run, none of which outlives the test."""
  made = []

  def new_run(*args, **kwargs):
    made.append(Run(*args, **kwargs))
    return made[-1]

  yield new_run
  for run in made:
    if run.process is not None and run.process.exit_code() is None:
      run.kill()


def test_a_run_that_is_killed_within_an_iteration(new_run, tmp_path):
  run = new_run(tmp_path, 'c51', 'breakout', start=Command)
  run.start()
  within = 'checkpoints/mid_iteration/sentinel_checkpoint_complete.*[0-9]'
  # The fourth of the first iteration, or any of the second.
  assert run.wait_for(
    lambda: any(int(p.suffix[1:]) >= 4 for p in run.base_dir.glob(within))
  )
  run.kill()
  assert list(run.base_dir.glob(within))
  last = run.base_dir / 'checkpoints' / 'sentinel_checkpoint_complete.1'
  assert not last.exists()
  run.start()
  run.finish()
  assert re.search('Continues: +iteration [01] at step [1-9]', run.output)


def test_a_run_that_is_killed_while_a_checkpoint_is_written(new_run, tmp_path):
  run = new_run(tmp_path, 'dqn', 'cartpole', start=Command)
  run.start()
  assert run.wait_for(run.sentinels)
  assert run.kill_while_writing()
  run.start()
  run.finish()
  assert re.search('Continues: +iteration [01] at ', run.output)
  assert not run.temporary_files()


# Damage -----------------------------------------------------------------------


def newest(base_dir):
  """The newest checkpoint's own files, and those that it shares."""

  def place(manifest):
    number = int(re.search(r'\.(\d+)\.json', manifest.name)[1])
    is_within = manifest.parent.name == 'mid_iteration'
    return divmod(number, 1_000_000) if is_within else (number + 1, 0)

  manifests = [
    path
    for path in base_dir.glob('checkpoints/**/manifest_ckpt.*.json')
    if path.with_name(
      f'sentinel_checkpoint_complete.{path.name.split(".")[1]}'
    ).exists()
  ]
  manifest = max(manifests, key=place)
  content = json.loads(manifest.read_bytes().split(b'\n')[0])
  own = [manifest] + [manifest.parent / name for name in content['files']]
  shared = [(manifest.parent / name).resolve() for name in content['shared']]
  return own, shared


def flip(path, position):
  """Changes one bit of one byte."""
  content = bytearray(path.read_bytes())
  content[position % len(content)] ^= 1
  path.write_bytes(content)


STOPS = (60, 100)  # Agent steps, in the first iteration of 120.


@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
  """A `base_dir` with two checkpoints within an iteration."""
  base_dir = tmp_path_factory.mktemp('stopped')
  for steps in STOPS:
    runner = stop(base_dir, steps)
  assert runner._state.phase == 'train'
  return base_dir


def stop(base_dir, steps):
  """Runs, and stops as soon as possible after some agent steps."""

  class Stopping(resume_test.Interrupted):
    def _run_one_step(self, action):
      if self._agent.training_steps >= steps:
        self.request_stop()
      return run_experiment.Runner._run_one_step(self, action)

  runner = resume(base_dir, Stopping)
  with pytest.raises(run_experiment.Stopped, match='checkpoint is complete'):
    runner.run_experiment()
  return runner


def resume(base_dir, cls=run_experiment.Runner):
  case = resume_test.CASES['dqn']
  return resume_test.make_runner(base_dir, 'cartpole', case, cls)


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
  runner = resume(tmp_path_factory.mktemp('straight'))
  runner.run_experiment()
  return resume_test.figures(runner)


def copy(base_dir, to):
  return pathlib.Path(shutil.copytree(base_dir, to))


def contents(base_dir):
  files = (path for path in base_dir.rglob('*') if path.is_file())
  return {p: p.read_bytes() for p in files if p.name != 'lock'}


def test_a_damaged_file_of_the_newest_checkpoint(
  stopped, straight, tmp_path, capfd
):
  own, shared = newest(stopped)
  names = {path.name.split('.')[0] for path in own}
  assert names == {'manifest_ckpt', 'ckpt', 'weights_ckpt', 'replay_ckpt'}
  assert len(shared) == 2  # The older checkpoint has the first, too.
  for i, file in enumerate([*own, *shared, shared[-1]]):
    base_dir = copy(stopped, tmp_path / str(i))
    path = base_dir / file.relative_to(stopped)
    before = path.read_bytes()
    flip(path, len(before) // 2)
    is_beyond_repair = i == len(own) + len(shared)
    if is_beyond_repair:
      flip(path, 0)
    capfd.readouterr()
    runner = resume(base_dir)
    output, _ = capfd.readouterr()
    if file in own or is_beyond_repair:
      assert re.search(f'Skipping checkpoint .*{path.name}', output)
    else:
      assert 'Skipping' not in output
      assert path.read_bytes() == before
    runner.run_experiment()
    resume_test.assert_equal(resume_test.figures(runner), straight)


def test_no_checkpoint_is_whole(stopped, tmp_path):
  # Each its own file, then the one that they share.
  for i, pattern in enumerate(('ckpt.[0-9]*', 'replay_ckpt.*', '0-*.zst')):
    base_dir = copy(stopped, tmp_path / str(i))
    paths = list(base_dir.glob(f'checkpoints/*/{pattern}'))
    assert len(paths) == (1 if 'zst' in pattern else 2)
    for path in paths:
      flip(path, 0)
      flip(path, -1)
    before = contents(base_dir)
    with pytest.raises(ValueError, match='no checkpoint of it is whole') as e:
      resume(base_dir)
    assert all(str(path) in str(e.value) for path in paths)
    assert contents(base_dir) == before


# Many runs -------------------------------------------------------------------


def runs(folder, count, seed):
  """Yields each run's folder, case, environment and random generator."""
  for i, names in zip(range(count), itertools.cycle(COMBINATIONS)):
    yield folder / f'{i}-{"-".join(names)}', *names, random.Random(seed + i)


@pytest.mark.slow
def test_a_hundred_runs_that_are_killed_again_and_again(new_run, tmp_path):
  num_killed = 0
  for folder, case, environment, rng in runs(tmp_path, NUM_KILLED, 1000):
    run = new_run(folder, case, environment)
    # The first is certain: no run ends before it has written a checkpoint.
    moments = ['writing'] + rng.choices(['writing', 'any'], k=rng.randint(0, 3))
    rng.shuffle(moments)
    for moment in moments:
      run.start()
      if moment == 'any':
        if not run.wait(rng.uniform(0, 4)):
          break
        run.kill()
      else:
        # Of the first checkpoint, or of a later one.
        run.wait(rng.choice([0, rng.uniform(0, 3)]))
        if not run.kill_while_writing():
          break
    else:
      run.start()
    run.finish()
    assert run.num_killed or len(moments) > 1
    num_killed += run.num_killed
    shutil.rmtree(folder)
  print(f'{NUM_KILLED} runs were killed {num_killed} times')
  assert num_killed >= NUM_KILLED


@pytest.mark.slow
def test_runs_with_a_damaged_newest_checkpoint(new_run, tmp_path):
  num_skipped = 0
  for folder, case, environment, rng in runs(tmp_path, NUM_DAMAGED, 2000):
    run = new_run(folder, case, environment)
    run.start()
    assert run.wait_for(lambda run=run: len(run.sentinels()) >= 2)
    run.wait(rng.uniform(0, 2))
    run.kill()
    own, shared = newest(run.base_dir)
    path = rng.choice(own + shared)
    size = path.stat().st_size
    if rng.random() < 0.7:
      flip(path, rng.randrange(size))
    else:
      # What is beyond repair in a file that all share, is lost to all.
      os.truncate(path, rng.randrange(size) if path in own else size - 1)
    run.start()
    run.finish()
    sign = 'Skipping' if path in own else 'repaired'
    lines = [line for line in run.output.splitlines() if sign in line]
    assert lines and all(path.name in line for line in lines), run.output
    num_skipped += path in own
    shutil.rmtree(folder)
  assert 0 < num_skipped < NUM_DAMAGED


@pytest.fixture
def small_disk(tmp_path):
  """A disk of 2 MB."""
  folder = tmp_path / 'disk'
  folder.mkdir()
  command = ['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', str(folder)]
  mounted = subprocess.run(command, capture_output=True, text=True, check=False)
  if mounted.returncode:
    pytest.skip(f'no small disk can be mounted: {mounted.stderr.strip()}')
  yield folder
  subprocess.run(['umount', '-l', str(folder)], check=True)


def fill(disk, left):
  """Leaves so many bytes of a disk free; returns the file that takes them."""
  dummy = disk / 'dummy'
  with open(dummy, 'ab') as file, contextlib.suppress(OSError):
    while (free := _free(disk) - left) > 0:
      os.write(file.fileno(), bytes(min(free, 4096)))
  return dummy


def _free(disk):
  status = os.statvfs(disk)
  return status.f_bavail * status.f_frsize


@pytest.mark.slow
def test_runs_whose_disk_fills_up(new_run, small_disk, tmp_path):
  message = 'A checkpoint could not be written'
  for folder, case, environment, rng in runs(tmp_path, NUM_FULL_DISKS, 3000):
    run = new_run(folder, case, environment, base_dir=small_disk / folder.name)
    # From the start, with room for what a run begins with, or later.
    is_full_at_start = rng.random() < 0.5
    if is_full_at_start:
      dummy = fill(small_disk, left=16384)
    run.start()
    if not is_full_at_start:
      assert run.wait_for(run.sentinels)
      dummy = fill(small_disk, left=rng.choice([0, 4096, 8192]))
    assert run.wait_for(lambda run=run: run.output.count(message) >= 2)
    if rng.random() < 0.7:
      before = set(run.sentinels())
      dummy.unlink()
      # One is complete again.
      run.wait_for(lambda run=run, seen=before: set(run.sentinels()) - seen)
      run.wait(rng.choice([0, rng.uniform(0, 1)]))
    run.kill()
    dummy.unlink(missing_ok=True)
    run.start()
    run.finish()
    assert 'Skipping' not in run.output
    shutil.rmtree(folder)
    shutil.rmtree(run.base_dir)
    pathlib.Path(f'{run.base_dir}.figures').unlink()


if __name__ == '__main__':
  main(json.loads(sys.argv[1]))
