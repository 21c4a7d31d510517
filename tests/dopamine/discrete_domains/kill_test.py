"""A run that is killed at any moment ends as one that never was, bit by bit.

`resume_test` stops runs in this process; here processes get a SIGKILL, disks
fill up, and files are damaged.
"""

import contextlib
import copy
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
from dopamine.replay_memory import ring_files
from dopamine.runs import checkpoints
from tests.support import commands
from tests.support import runs

# What is in the files is an agent's: resume_test has them, under each backend.
pytestmark = [pytest.mark.xla, pytest.mark.no_backend]

MODULE = 'tests.dopamine.discrete_domains.kill_test'

# Under each backend, spread over agents and environments: twice as many in all.
NUM_KILLED, NUM_DAMAGED, NUM_FULL_DISKS = 50, 50, 15

# Seconds of training, with some checkpoints in each.
SETTINGS = dict(training_steps=700, evaluation_steps=150)
CHECKPOINT_MINUTES = 0.2 / 60


def main(base_dir, case, environment, output):
  """Runs to the end, and leaves the figures beside the `base_dir`."""
  with open(output, 'ab') as file:
    for descriptor in (1, 2):
      os.dup2(file.fileno(), descriptor)
  runner = make_runner(base_dir, case, environment, CHECKPOINT_MINUTES)
  runner.run_experiment()
  with open(f'{base_dir}.figures', 'wb') as file:
    pickle.dump(runs.figures(runner), file)


def make_runner(base_dir, case, environment, checkpoint_minutes):
  return runs.make_runner(
    base_dir,
    environment,
    runs.CASES[case],
    checkpoint_minutes=checkpoint_minutes,
    **SETTINGS,
  )


@functools.cache
def uninterrupted(case, environment):
  """The figures of a run in this process, which saves nothing in between."""
  with tempfile.TemporaryDirectory() as folder:
    runner = make_runner(folder, case, environment, None)
    runner.run_experiment()
    return runs.figures(runner)


# Processes --------------------------------------------------------------------


def command(settings):
  """Starts a run as one does at a prompt."""
  arguments = [sys.executable, '-m', MODULE, json.dumps(settings)]
  return subprocess.Popen(arguments, cwd=commands.ROOT)


def fork(settings):
  """The same, from a process that has imported everything: 5 s less."""
  context = multiprocessing.get_context('forkserver')
  context.set_forkserver_preload([MODULE])
  process = context.Process(target=main, kwargs=settings)
  process.start()
  process.poll, process.wait = lambda: process.exitcode, process.join
  return process


class Run:
  """A run that can be killed, and started again by the same command.

  Attributes:
    base_dir: of the run.
    num_killed: how often it was.
  """

  def __init__(self, folder, case, environment, base_dir=None, start=fork):
    folder.mkdir(exist_ok=True)
    self.base_dir = base_dir or folder / 'run'
    self.num_killed = 0
    self._names = dict(case=case, environment=environment)
    self._output = folder / 'output.txt'
    self._output.touch()
    self._start, self._process = start, None

  @property
  def output(self):
    """What it has printed, with what it did before it was killed."""
    return self._output.read_text(errors='replace')

  def start(self):
    files = dict(base_dir=str(self.base_dir), output=str(self._output))
    self._process = self._start(self._names | files)

  def is_running(self):
    code = self._process.poll()
    assert code in (None, 0), self.output
    return code is None

  def wait_for(self, condition, pause=0.005):
    """Whether the condition came true while the run went on."""
    end = time.monotonic() + 120
    while self.is_running():
      if condition():
        return True
      assert time.monotonic() < end, self.output
      time.sleep(pause)
    return False

  def wait(self, seconds):
    """Whether the run goes on after some seconds."""
    end = time.monotonic() + seconds
    return self.wait_for(lambda: time.monotonic() >= end)

  def kill(self):
    if self._process is not None and self._process.poll() is None:
      self._process.kill()
      self._process.wait()
      self.num_killed += 1

  def kill_while_writing(self):
    """Kills it while a file of a checkpoint is half there, if it ever is."""

    def is_writing():
      if not self.temporary_files():
        return False
      # Stopped, it cannot finish the file before it is killed.
      os.kill(self._process.pid, signal.SIGSTOP)
      time.sleep(0.002)
      if self.temporary_files():
        return True
      os.kill(self._process.pid, signal.SIGCONT)
      return False

    if not self.wait_for(is_writing, pause=0.0002):
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
      runs.assert_equal(found, uninterrupted(**self._names))
    except AssertionError as error:
      error.add_note(f'{self._names}: {self.output}')
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
    run.kill()


def test_a_run_that_is_killed_within_an_iteration(new_run, tmp_path):
  run = new_run(tmp_path, 'c51', 'breakout', start=command)
  run.start()
  within = 'checkpoints/mid_iteration/sentinel_checkpoint_complete.*[0-9]'
  # The second, in whichever iteration: a busy disk takes seconds for each.
  assert run.wait_for(lambda: len([*run.base_dir.glob(within)]) == 2)
  run.kill()
  assert list(run.base_dir.glob(within))
  assert not list(run.base_dir.glob('checkpoints/sentinel_*.1'))
  run.start()
  run.finish()
  assert re.search('Continues: +iteration [01] at step [1-9]', run.output)


def test_a_run_that_is_killed_while_a_checkpoint_is_written(new_run, tmp_path):
  run = new_run(tmp_path, 'dqn', 'cartpole', start=command)
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
  of_run = checkpoints.RunCheckpoints(str(base_dir / 'checkpoints'))
  _, _, saver, number = of_run.places()[-1]
  manifest = pathlib.Path(saver.directory) / f'manifest_ckpt.{number}.json'
  files = json.loads(manifest.read_bytes().split(b'\n')[0])
  own = [manifest] + [manifest.parent / name for name in files['files']]
  return own, [(manifest.parent / name).resolve() for name in files['shared']]


def flip(path, position):
  """Changes one bit of one byte."""
  content = bytearray(path.read_bytes())
  content[position % len(content)] ^= 1
  path.write_bytes(content)


class Stopping(runs.Interrupted):
  # Of the first training phase, which has 120 steps.
  stops, steps = (60, 100), 0


@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
  """A `base_dir` with two checkpoints within an iteration."""
  base_dir = tmp_path_factory.mktemp('stopped')
  for _ in Stopping.stops:
    runner = resume(base_dir, Stopping)
    with pytest.raises(run_experiment.Stopped, match='checkpoint is complete'):
      runner.run_experiment()
  return base_dir


def resume(base_dir, cls=run_experiment.Runner):
  case = runs.CASES['dqn']
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(ring_files, 'SMALLEST', 1500)  # Bytes, of 60 slots.
    return runs.make_runner(base_dir, 'cartpole', case, cls)


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
  runner = resume(tmp_path_factory.mktemp('straight'))
  runner.run_experiment()
  return runs.figures(runner)


def test_a_damaged_file_of_the_newest_checkpoint(
  stopped, straight, tmp_path, capfd
):
  own, shared = newest(stopped)
  names = {path.name.split('.')[0] for path in own}
  assert names == {'manifest_ckpt', 'ckpt', 'weights_ckpt', 'replay_ckpt'}
  assert len(shared) == 2  # The older checkpoint has the first, too.
  begun = {}  # From the older checkpoint, or from the newest.
  for i, file in enumerate([*own, *shared, shared[-1]]):
    base_dir = shutil.copytree(stopped, tmp_path / str(i))
    path = base_dir / file.relative_to(stopped)
    before = path.read_bytes()
    flip(path, len(before) // 2)
    is_beyond_repair = i == len(own) + len(shared)
    if is_beyond_repair:
      flip(path, 0)
    capfd.readouterr()
    runner = resume(base_dir)
    output, _ = capfd.readouterr()
    is_older = file in own or is_beyond_repair
    if is_older:
      assert re.search(f'Skipping checkpoint .*{path.name}', output)
    else:
      assert 'Skipping' not in output
      assert path.read_bytes() == before
    found = copy.deepcopy(runs.figures(runner))
    if is_older in begun:
      runs.assert_equal(found, begun[is_older])
      continue
    begun[is_older] = found
    runner.run_experiment()
    runs.assert_equal(runs.figures(runner), straight)
  assert begun[True]['steps'] < begun[False]['steps']


def test_no_checkpoint_is_whole(stopped, tmp_path):
  # Each its own file, then the one that they share.
  for i, pattern in enumerate(('ckpt.[0-9]*', 'replay_ckpt.*', '0-*.zst')):
    base_dir = shutil.copytree(stopped, tmp_path / str(i))
    paths = list(base_dir.glob(f'checkpoints/*/{pattern}'))
    assert len(paths) == (1 if 'zst' in pattern else 2)
    for path in paths:
      flip(path, 0)
      flip(path, -1)
    before = {p: p.is_file() and p.read_bytes() for p in base_dir.rglob('*')}
    with pytest.raises(ValueError, match='no checkpoint of it is whole') as e:
      resume(base_dir)
    assert all(str(path) in str(e.value) for path in paths)
    after = {p: p.is_file() and p.read_bytes() for p in base_dir.rglob('*')}
    assert after == before


# Many runs -------------------------------------------------------------------


def drawn_runs(folder, count, seed):
  """Yields folder, case, environment and random generator of each."""
  pairs = itertools.product(runs.CASES, runs.ENVIRONMENTS)
  for i, names in zip(range(count), itertools.cycle(pairs)):
    yield folder / f'{i}-{"-".join(names)}', *names, random.Random(seed + i)


@pytest.mark.slow
def test_runs_that_are_killed_again_and_again(new_run, tmp_path):
  num_killed = 0
  for folder, case, environment, rng in drawn_runs(tmp_path, NUM_KILLED, 1000):
    run = new_run(folder, case, environment)
    for i in range(rng.randint(1, 4)):
      run.start()
      goes_on = run.wait(rng.uniform(0, 4 if i else 1.5))
      if rng.random() < 0.5:
        goes_on = run.kill_while_writing()
      else:
        run.kill()
      if not goes_on:
        break
    else:
      run.start()
    run.finish()
    num_killed += run.num_killed
    shutil.rmtree(folder)
  print(f'{NUM_KILLED} runs were killed {num_killed} times')
  assert num_killed >= NUM_KILLED


@pytest.mark.slow
def test_runs_with_a_damaged_newest_checkpoint(new_run, tmp_path):
  num_skipped = 0
  for folder, case, environment, rng in drawn_runs(tmp_path, NUM_DAMAGED, 2000):
    run = new_run(folder, case, environment)
    run.start()
    run.wait_for(lambda run=run: len(run.sentinels()) >= 2)
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
  print(f'{num_skipped} of {NUM_DAMAGED} went on from the one before')


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
  with open(dummy, 'wb', buffering=0) as file, contextlib.suppress(OSError):
    while shutil.disk_usage(disk).free > left:
      file.write(bytes(4096))
  return dummy


@pytest.mark.slow
def test_runs_whose_disk_fills_up(small_disk, new_run, tmp_path):
  message = 'A checkpoint could not be written'
  for folder, case, environment, rng in drawn_runs(
    tmp_path, NUM_FULL_DISKS, 3000
  ):
    run = new_run(folder, case, environment, base_dir=small_disk / folder.name)
    # From the start, with room for what a run begins with, or later.
    is_full_at_start = rng.random() < 0.5
    if is_full_at_start:
      dummy = fill(small_disk, left=16384)
    run.start()
    if not is_full_at_start:
      assert run.wait_for(run.sentinels)
      dummy = fill(small_disk, left=rng.choice([0, 4096, 8192]))
    has_ended = False
    try:
      assert run.wait_for(lambda run=run: run.output.count(message) >= 2)
    except AssertionError:
      # A fast run is at its end before, which must be saved.
      assert 'iteration 1 could not be saved' in run.output
      has_ended = True
    if rng.random() < 0.7 and not has_ended:
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
  main(**json.loads(sys.argv[1]))
