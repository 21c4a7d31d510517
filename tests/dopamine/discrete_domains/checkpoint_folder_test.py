"""What is written, believed and removed in the folder of checkpoints."""

import json
import os
import pathlib
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

from dopamine import storage
from dopamine.discrete_domains import checkpointer
from dopamine.discrete_domains import run_experiment
from dopamine.files import atomic
from dopamine.files import parity
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import ring_files
from dopamine.runs import checkpoints
from tests.support import plain

pytestmark = pytest.mark.no_backend


class Agent:
  """Stores what it sees, and counts; its checkpoints are as those of others."""

  saves_mid_episode = True
  eval_mode = False

  def __init__(self, capacity=60):
    self.memory = circular_replay_buffer.OutOfGraphReplayBuffer(
      (1,), 1, capacity, 4, observation_dtype=np.float32, seed=0
    )
    self.steps = 0
    self._observation = None

  def begin_episode(self, observation):
    self._observation = observation
    return 0

  def step(self, reward, observation):
    if not self.eval_mode:
      self.memory.add(self._observation, 0, reward, False)
      self.steps += 1
    self._observation = observation
    return self.steps % 2

  def end_episode(self, reward, terminal=True):
    if not self.eval_mode:
      self.memory.add(self._observation, 0, reward, terminal)
      self.steps += 1

  def bundle_and_checkpoint(self, checkpoint_dir, iteration):
    steps = b'%d' % self.steps
    path = os.path.join(checkpoint_dir, f'steps_ckpt.{iteration}.txt')
    storage.put(path, lambda file: file.write(steps))
    self.memory.checkpoint(checkpoint_dir, iteration)
    return {'steps': self.steps, 'observation': self._observation}

  def unbundle(self, checkpoint_dir, iteration, bundle):
    self.memory.restore(checkpoint_dir, iteration)
    self.steps, self._observation = bundle['steps'], bundle['observation']
    return True


def make_runner(base_dir, agent=Agent, **kwargs):
  """A Runner of `Agent` that trains, in episodes of 7 steps."""
  settings = dict(evaluation_steps=0) | kwargs
  return plain.make_runner(base_dir, agent=agent, **settings)


def rewrite(path, change):
  """Changes a manifest as somebody would who knows its checksum."""
  manifest = json.loads(path.read_bytes().partition(b'\n')[0])
  change(manifest)
  content = json.dumps(manifest).encode()
  path.write_bytes(content + b'\n%d\n' % zlib.crc32(content))


def rewrite_record(path, change):
  """Changes the record of a replay memory."""
  with np.load(path) as file:
    arrays = dict(file)
  record = json.loads(arrays['record'].tobytes())
  change(record)
  arrays['record'] = np.frombuffer(json.dumps(record).encode(), np.uint8)
  np.savez(path, **arrays)


def contents(folder):
  """Every file below a folder, and where each link leads."""
  return {
    str(path.relative_to(folder)): os.readlink(path)
    if path.is_symlink()
    else path.read_bytes()
    for path in sorted(pathlib.Path(folder).rglob('*'))
    if path.is_file() or path.is_symlink()
  }


def run(base_dir, **kwargs):
  runner = make_runner(base_dir, **kwargs)
  runner.run_experiment()
  return runner


def stop(base_dir, at_step, **kwargs):
  """Runs up to a step, where a checkpoint is taken within an iteration."""

  class Stopping(run_experiment.Runner):
    saves_mid_episode = True

    def _run_one_step(self, action):
      if self._agent.steps == at_step:
        self.request_stop()
      return super()._run_one_step(action)

  with pytest.raises(run_experiment.Stopped):
    run(base_dir, cls=Stopping, **kwargs)


@pytest.fixture
def victim(tmp_path):
  """A file that belongs to somebody else."""
  path = tmp_path / 'thesis.txt'
  path.write_bytes(b'x' * 400)
  yield path
  assert path.read_bytes() == b'x' * 400


# Names that are read from files -----------------------------------------------

LAWLESS = (
  '{victim}',
  '../{name}',
  '../../{name}',
  './steps_ckpt.0.txt',
  'sub/steps_ckpt.0.txt',
  'sentinel_checkpoint_complete.1',
  'ckpt.1',
  'steps_ckpt.1.txt',
  'steps_ckpt.00.txt',
  'notes.txt',
)


@pytest.mark.parametrize('name', LAWLESS)
def test_a_manifest_that_names_other_files_removes_none(tmp_path, victim, name):
  directory = tmp_path / 'run'
  saver = checkpointer.Checkpointer(str(directory), keep=1)
  saver.save_checkpoint(0, {})
  for other in ('notes.txt', 'steps_ckpt.1.txt', 'steps_ckpt.00.txt', 'ckpt.1'):
    (directory / other).write_text('mine')
  name = name.format(victim=victim, name=victim.name)
  rewrite(
    directory / 'manifest_ckpt.0.json',
    lambda manifest: manifest['files'].update({name: [400, 7]}),
  )
  with pytest.raises(atomic.DamagedError, match='manifest_ckpt.0.json'):
    saver.check(0)
  saver.remove(0)
  assert set(os.listdir(directory)) == {
    'notes.txt',
    'steps_ckpt.1.txt',
    'steps_ckpt.00.txt',
    'ckpt.1',
  }


def test_an_incomplete_checkpoint_that_names_other_files_removes_none(
  tmp_path, victim
):
  stop(tmp_path / 'run', 10)
  folder = tmp_path / 'run' / 'checkpoints' / 'mid_iteration'
  (number,) = (int(p.suffix[1:]) for p in folder.glob('ckpt.*'))
  rewrite(
    folder / f'manifest_ckpt.{number}.json',
    lambda manifest: manifest['files'].update({str(victim): [400, 7]}),
  )
  (folder / f'sentinel_checkpoint_complete.{number}').unlink()
  make_runner(tmp_path / 'run')
  assert not list(folder.glob(f'*.{number}*'))


@pytest.mark.parametrize('shared', ['{victim}', '../{name}', 'replay/x', 3])
def test_a_manifest_that_shares_other_files_is_damaged(
  tmp_path, victim, shared, capsys
):
  run(tmp_path / 'run')
  if isinstance(shared, str):
    shared = shared.format(victim=victim, name=victim.name)
  folder = tmp_path / 'run' / 'checkpoints'
  rewrite(
    folder / 'manifest_ckpt.2.json',
    lambda manifest: manifest['shared'].append(shared),
  )
  runner = run(tmp_path / 'run')
  assert 'Skipping checkpoint 2' in capsys.readouterr().out
  assert runner._agent.steps == 63


@pytest.mark.parametrize('content', ['[' * 9999, '[]', '7', '{"files": 3}'])
def test_a_manifest_that_is_none_is_skipped_by_name(tmp_path, capsys, content):
  run(tmp_path)
  path = tmp_path / 'checkpoints' / 'manifest_ckpt.2.json'
  content = content.encode()
  path.write_bytes(content + b'\n%d\n' % zlib.crc32(content))
  run(tmp_path)
  assert f'{path} is damaged' in capsys.readouterr().out


@pytest.mark.parametrize('name', ['{victim}', '../../{name}', 'thesis.txt'])
def test_a_replay_record_that_names_another_file_repairs_none(
  tmp_path, victim, name
):
  memory = Agent().memory
  for i in range(9):
    memory.add([i], 0, 0.0, False)
  folder = tmp_path / 'checkpoints'
  folder.mkdir()
  memory.checkpoint(folder, 1)
  (folder / 'thesis.txt').symlink_to(victim)
  name = name.format(victim=victim, name=victim.name)
  # Of a file of one byte, 0: its blocks, and what is their exclusive or.
  checksum = zlib.crc32(b'\0')

  def change(record):
    record['segments'][0] |= {
      'file': name,
      'size': 1,
      'checksums': [checksum] * 33,
    }

  rewrite_record(folder / 'replay_ckpt.1.npz', change)
  with pytest.raises(atomic.DamagedError, match='replay_ckpt.1.npz'):
    Agent().memory.restore(folder, 1)


@pytest.mark.parametrize('place', ['{folder}', '..', 'replay/..', 'other'])
def test_a_replay_record_that_names_another_folder_is_damaged(tmp_path, place):
  memory = Agent().memory
  memory.add([0], 0, 0.0, False)
  folder = tmp_path / 'checkpoints'
  folder.mkdir()
  memory.checkpoint(folder, 1)
  rewrite_record(
    folder / 'replay_ckpt.1.npz',
    lambda record: record.update(folder=place.format(folder=folder)),
  )
  with pytest.raises(atomic.DamagedError, match='is no folder'):
    Agent().memory.restore(folder, 1)


# Links ------------------------------------------------------------------------


def test_links_are_read_and_never_written_through(tmp_path, victim):
  run(tmp_path / 'run')
  folder = tmp_path / 'run' / 'checkpoints'
  moved = tmp_path / 'moved'
  moved.mkdir()
  for path in (*folder.glob('*.2*'), *(folder / 'replay').iterdir()):
    os.rename(path, moved / path.name)
    path.symlink_to(moved / path.name)
  before = contents(moved)
  # Names that the next checkpoints write.
  for name in ('ckpt.3', 'ckpt.3.tmp', 'steps_ckpt.4.txt.tmp', 'ckpt.4'):
    (folder / name).symlink_to(victim)
  (tmp_path / 'run' / 'logs' / 'log_3.tmp').symlink_to(victim)
  runner = run(tmp_path / 'run', num_iterations=9)
  assert runner._agent.steps == 9 * 21
  assert contents(moved) == before
  assert not [p for p in folder.rglob('*') if p.is_symlink()]


def test_what_event_files_and_the_lock_lead_to_is_left(tmp_path, victim):
  run(tmp_path / 'run', num_iterations=2)
  (path,) = (tmp_path / 'run').glob('events.out.tfevents.*')
  moved = tmp_path / path.name
  os.rename(path, moved)
  path.symlink_to(moved)
  (tmp_path / 'run' / 'lock').unlink()
  (tmp_path / 'run' / 'lock').symlink_to(victim)
  with open(moved, 'ab') as file:
    file.write(b'points that came later')
  before = moved.read_bytes()
  run(tmp_path / 'run', num_iterations=3)
  assert moved.read_bytes() == before
  assert not path.is_symlink() and path.stat().st_size < len(before)


def test_a_damaged_file_behind_a_link_is_repaired_beside_it(tmp_path):
  path, link = str(tmp_path / 'behind'), str(tmp_path / 'link')
  payload = bytes(range(100)) * 10
  checksums = parity.write_shared(path, payload)
  content = bytearray(pathlib.Path(path).read_bytes())
  content[500] ^= 1
  pathlib.Path(path).write_bytes(content)
  os.symlink(path, link)
  assert parity.read_shared(link, len(payload), checksums) == payload
  assert pathlib.Path(path).read_bytes() == content
  assert not os.path.islink(link)


def test_the_shared_folder_may_be_a_link(tmp_path):
  (tmp_path / 'run' / 'checkpoints').mkdir(parents=True)
  (tmp_path / 'large_disk').mkdir()
  (tmp_path / 'large_disk' / '1-2.zst').write_text('mine')
  link = tmp_path / 'run' / 'checkpoints' / 'replay'
  link.symlink_to(tmp_path / 'large_disk')
  run(tmp_path / 'run')
  runner = run(tmp_path / 'run', num_iterations=6)
  assert runner._agent.memory.add_count == 6 * 21
  assert (tmp_path / 'large_disk' / '1-2.zst').exists()
  assert link.is_symlink()


def test_a_link_to_the_folder_of_another_run_empties_it_not(tmp_path):
  run(tmp_path / 'other')
  folder = tmp_path / 'other' / 'checkpoints' / 'replay'
  before = contents(folder)
  (tmp_path / 'run' / 'checkpoints').mkdir(parents=True)
  (tmp_path / 'run' / 'checkpoints' / 'replay').symlink_to(folder)
  run(tmp_path / 'run', num_iterations=7)
  assert before.items() <= contents(folder).items()
  # Its own go as ever: of 7 checkpoints, 3 memories of 60 at 21 an iteration.
  assert len(contents(folder)) < len(before) + 7


@pytest.mark.parametrize('kind', ['pipe', 'folder'])
def test_a_checkpoint_that_is_no_file_is_skipped(tmp_path, capsys, kind):
  run(tmp_path)
  path = tmp_path / 'checkpoints' / 'ckpt.2'
  path.unlink()
  os.mkfifo(path) if kind == 'pipe' else path.mkdir()
  rewrite(
    tmp_path / 'checkpoints' / 'manifest_ckpt.2.json',
    lambda manifest: manifest['files'].clear(),
  )
  make_runner(tmp_path)
  assert f'{path} is no file' in capsys.readouterr().out


def test_a_manifest_that_is_missing_costs_no_other_checkpoint(tmp_path):
  run(tmp_path)
  folder = tmp_path / 'checkpoints'
  path = folder / 'manifest_ckpt.2.json'
  content = path.read_bytes()
  path.unlink()
  before = contents(folder)
  make_runner(tmp_path)
  assert contents(folder) == before
  path.write_bytes(content)
  assert make_runner(tmp_path)._agent.steps == 63


def test_what_is_no_file_does_not_stop_the_start(tmp_path, capsys):
  run(tmp_path)
  folder = tmp_path / 'checkpoints'
  path = folder / 'steps_ckpt.2.txt'
  path.unlink()
  os.mkfifo(path)
  rewrite(
    folder / 'manifest_ckpt.2.json',
    lambda manifest: manifest['files'].update({path.name: [0, 0]}),
  )
  run(tmp_path)
  assert f'{path} is missing' in capsys.readouterr().out


# What agents put there --------------------------------------------------------


class Elsewhere(Agent):
  """Puts a file where it is not removed with its checkpoint."""

  name = '../mine_ckpt.{}.txt'

  def bundle_and_checkpoint(self, checkpoint_dir, iteration):
    path = os.path.join(checkpoint_dir, self.name.format(iteration))
    storage.put(path, lambda file: file.write(b''))
    return super().bundle_and_checkpoint(checkpoint_dir, iteration)


@pytest.mark.parametrize('name', [Elsewhere.name, 'mine.{}', 'mine_ckpt.9{}.x'])
def test_a_file_that_no_checkpoint_removes_is_refused(
  tmp_path, monkeypatch, name
):
  monkeypatch.setattr(Elsewhere, 'name', name)
  with pytest.raises(ValueError, match=r'NAME_ckpt\.0\.EXT'):
    run(tmp_path, agent=Elsewhere)


def test_files_of_agents_go_with_their_checkpoint(tmp_path):
  class Writing(Agent):
    def bundle_and_checkpoint(self, checkpoint_dir, iteration):
      path = os.path.join(checkpoint_dir, f'my own_ckpt.{iteration}.npz')
      pathlib.Path(path).write_text('')  # By its own hand.
      return super().bundle_and_checkpoint(checkpoint_dir, iteration)

  run(tmp_path, agent=Writing, num_iterations=6)
  folder = tmp_path / 'checkpoints'
  for pattern in ('my own_ckpt.{}.npz', 'steps_ckpt.{}.txt'):
    left = {p.name for p in folder.glob(pattern.format('*'))}
    assert left == {pattern.format(i) for i in (2, 3, 4, 5)}


# Versions ---------------------------------------------------------------------


def later(manifest):
  manifest['format'] = checkpointer.FORMAT + 1


def test_a_later_checkpoint_of_another_prefix_is_refused(tmp_path):
  run(tmp_path)
  rewrite(tmp_path / 'checkpoints' / 'manifest_ckpt.0.json', later)
  with pytest.raises(ValueError, match='later release'):
    make_runner(tmp_path, checkpoint_file_prefix='mine')


@pytest.mark.parametrize('number', [0, 2])
def test_what_a_later_release_wrote_is_refused_and_left(tmp_path, number):
  run(tmp_path)
  path = tmp_path / 'checkpoints' / f'manifest_ckpt.{number}.json'
  rewrite(path, later)
  before = contents(tmp_path / 'checkpoints')
  with pytest.raises(ValueError, match='later release') as caught:
    make_runner(tmp_path, num_iterations=9)
  assert not isinstance(caught.value, atomic.DamagedError)
  assert str(path) in str(caught.value)
  assert contents(tmp_path / 'checkpoints') == before


def test_a_later_checkpoint_without_manifest_is_refused_too(tmp_path):
  class Later(run_experiment.Runner):
    def _bundle(self, place):
      monkeypatch.setattr(checkpointer, 'FORMAT', checkpointer.FORMAT + 1)
      data = super()._bundle(place)
      monkeypatch.undo()
      return data

  monkeypatch = pytest.MonkeyPatch()
  run(tmp_path, cls=Later)
  with pytest.raises(ValueError, match=r'ckpt\.2 was written by a later'):
    make_runner(tmp_path)


def test_a_checkpoint_that_names_no_format_is_of_today(tmp_path):
  run(tmp_path)
  for i in range(3):
    rewrite(
      tmp_path / 'checkpoints' / f'manifest_ckpt.{i}.json',
      lambda manifest: manifest.pop('format'),
    )
  assert run(tmp_path, num_iterations=4)._agent.steps == 84


@pytest.mark.parametrize('version', ['2', 1.5, True, 0, [], {}])
def test_a_format_that_is_no_number_is_damage(tmp_path, version, capsys):
  run(tmp_path)
  rewrite(
    tmp_path / 'checkpoints' / 'manifest_ckpt.2.json',
    lambda manifest: manifest.update(format=version),
  )
  run(tmp_path)
  assert 'Skipping checkpoint 2' in capsys.readouterr().out


# What vanishes during a run ---------------------------------------------------


def stored(memory):
  return np.ravel(memory._store['observation']), int(memory.add_count)


@pytest.mark.parametrize('gone', [[0], [1], [0, 2], [0, 1, 2, 3]])
@pytest.mark.parametrize('size', [None, 5])
def test_a_shared_file_that_vanished_is_written_anew(tmp_path, gone, size):
  memory = Agent().memory
  for number in range(4):
    for i in range(20):
      memory.add([100 * number + i], 0, 0.0, i == 19)
    memory.checkpoint(tmp_path, number)
  files = sorted(
    tmp_path.glob('*.zst'), key=lambda p: int(p.name.split('-')[0])
  )
  for i in gone:
    if size is None:
      files[i].unlink()
    else:
      os.truncate(files[i], size)
  for i in range(3):
    memory.add([400 + i], 0, 0.0, False)
  memory.checkpoint(tmp_path, 9)
  restored = Agent().memory
  restored.restore(tmp_path, 9)
  np.testing.assert_equal(stored(restored), stored(memory))


def test_a_run_whose_shared_files_vanish_goes_on_from_where_it_was(tmp_path):
  class Cleaned(run_experiment.Runner):
    def _run_one_iteration(self, iteration):
      for path in (tmp_path / 'checkpoints').rglob('*.zst'):
        path.unlink()
      return super()._run_one_iteration(iteration)

  runner = run(tmp_path, cls=Cleaned)
  again = make_runner(tmp_path, num_iterations=3)
  np.testing.assert_equal(
    stored(again._agent.memory), stored(runner._agent.memory)
  )


def test_a_shared_file_that_vanishes_while_others_are_written(
  tmp_path, monkeypatch
):
  write_shared, cleaned = parity.write_shared, []

  def write_and_clean(path, payload):
    if path.rpartition('/')[2].startswith('0-42-'):
      for other in (tmp_path / 'checkpoints' / 'replay').iterdir():
        cleaned.append(other.unlink())
    return write_shared(path, payload)

  monkeypatch.setattr(parity, 'write_shared', write_and_clean)
  runner = run(tmp_path)
  assert cleaned
  again = make_runner(tmp_path)
  np.testing.assert_equal(
    stored(again._agent.memory), stored(runner._agent.memory)
  )


def test_an_event_file_that_vanished_is_made_anew(tmp_path):
  class Cleaned(run_experiment.Runner):
    def _run_one_iteration(self, iteration):
      if iteration == 1:
        for path in tmp_path.glob('events*'):
          path.unlink()
      return super()._run_one_iteration(iteration)

  run(tmp_path, cls=Cleaned)
  events = event_accumulator.EventAccumulator(str(tmp_path))
  events.Reload()
  points = events.Scalars('Train/NumEpisodes')
  assert [point.step for point in points] == [1, 2]


def test_the_folder_of_logs_may_vanish_too(tmp_path):
  class Cleaned(run_experiment.Runner):
    def _run_one_iteration(self, iteration):
      for path in (tmp_path / 'logs').iterdir():
        path.unlink()
      (tmp_path / 'logs').rmdir()
      return super()._run_one_iteration(iteration)

  run(tmp_path, cls=Cleaned)
  assert [p.name for p in (tmp_path / 'logs').iterdir()] == ['log_2']


# What a killed process leaves -------------------------------------------------


def test_what_a_kill_left_of_an_older_checkpoint_is_swept(tmp_path):
  run(tmp_path, num_iterations=6)
  folder = tmp_path / 'checkpoints'
  (folder / 'sentinel_checkpoint_complete.3').unlink()
  (folder / 'steps_ckpt.4.txt.tmp').write_text('half')
  (folder / 'replay' / '0-9-01234567.zst').write_text('of nobody')
  (folder / 'replay' / '0-9-01234567.zst.tmp').write_text('half')
  kept = [folder / 'notes.tmp', folder / 'replay' / 'mine.zst']
  kept += [folder / 'data_ckpt.1.gz', folder / 'ckpt.0']  # No manifest: older.
  for path in kept:
    path.write_text('mine')
  make_runner(tmp_path)
  left = contents(folder)
  assert not [n for n in left if '.3.' in n or n.endswith('.3')]
  assert not [n for n in left if '01234567' in n or n == 'steps_ckpt.4.txt.tmp']
  assert all(path.exists() for path in kept)


def test_a_second_runner_removes_nothing_that_the_first_is_writing(
  tmp_path, monkeypatch
):
  write_file, made = atomic.write_file, []

  def write_and_look(path, write):
    if path.endswith('manifest_ckpt.1.json'):
      made.append(make_runner(tmp_path))
    return write_file(path, write)

  monkeypatch.setattr(atomic, 'write_file', write_and_look)
  run(tmp_path, num_iterations=2)
  assert made
  assert make_runner(tmp_path)._agent.steps == 42


def test_a_checkpoint_that_cannot_be_removed_is_one_too_many(tmp_path):
  class Stuck(run_experiment.Runner):
    def _run_one_iteration(self, iteration):
      path = tmp_path / 'checkpoints' / 'sentinel_checkpoint_complete.0'
      if iteration == 2:
        path.unlink()
        path.mkdir()
      return super()._run_one_iteration(iteration)

  run(tmp_path, cls=Stuck, num_iterations=7)
  numbers = {p.name for p in (tmp_path / 'checkpoints').glob('ckpt.*')}
  assert numbers == {'ckpt.0', 'ckpt.3', 'ckpt.4', 'ckpt.5', 'ckpt.6'}


def test_a_newer_checkpoint_without_sentinel_stays(tmp_path):
  run(tmp_path)
  folder = tmp_path / 'checkpoints'
  (folder / 'sentinel_checkpoint_complete.2').unlink()
  before = contents(folder)
  make_runner(tmp_path)
  assert contents(folder) == before


def test_old_checkpoints_within_iterations_go(tmp_path):
  stop(tmp_path, 25)
  folder = tmp_path / 'checkpoints'
  assert (folder / 'mid_iteration' / 'ckpt.0').exists()
  run(tmp_path, num_iterations=2)
  assert (folder / 'mid_iteration' / 'ckpt.0').exists()  # One is newer.
  run(tmp_path, num_iterations=3)
  assert not list((folder / 'mid_iteration').iterdir())
  needed = {
    segment['file']
    for i in range(3)
    for segment in ring_files.read(folder, i).record['segments']
  }
  assert {p.name for p in (folder / 'replay').iterdir()} == needed


# Format 1 ---------------------------------------------------------------------


def number_as_before(folder):
  """Gives checkpoints within iterations the numbers that format 1 had."""
  for sentinel in list(folder.glob('sentinel_checkpoint_complete.[012]')):
    old = sentinel.suffix[1:]
    path = folder / f'manifest_ckpt.{old}.json'
    manifest = json.loads(path.read_bytes().partition(b'\n')[0])
    iteration, part = manifest['place']
    new = str(iteration * 1_000_000 + part)

    def change(manifest, old=old, new=new):
      del manifest['place']
      manifest['format'] = 1
      manifest['files'] = {
        name.replace(f'ckpt.{old}', f'ckpt.{new}'): described
        for name, described in manifest['files'].items()
      }

    rewrite(path, change)
    for file in list(folder.iterdir()):
      name = file.name.replace(f'ckpt.{old}', f'ckpt.{new}')
      name = name.replace(f'complete.{old}', f'complete.{new}')
      file.rename(folder / name)


@pytest.mark.parametrize('stops', [[5], [5, 11], [25], [25, 30], [44, 55]])
def test_a_run_within_an_iteration_of_format_1_goes_on(tmp_path, stops):
  for at_step in stops:
    stop(tmp_path, at_step)
  folder = tmp_path / 'checkpoints' / 'mid_iteration'
  number_as_before(folder)
  numbers = {int(path.suffix[1:]) for path in folder.glob('ckpt.*')}
  assert {n // 1_000_000 for n in numbers} == {n // 21 for n in stops}
  # The next ones are in slots, and of all that are there the newest two stay.
  for at_step in (stops[-1] + 1, stops[-1] + 2):
    with make_runner(tmp_path) as runner:
      assert runner._agent.steps == at_step
    stop(tmp_path, at_step)
  assert len([*folder.glob('ckpt.[012]')]) == len([*folder.glob('ckpt.*')]) == 2
  assert run(tmp_path)._agent.steps == 63


def test_slots_take_turns_and_two_are_whole_at_any_time(tmp_path):
  folder = tmp_path / 'checkpoints' / 'mid_iteration'

  class Watching(Agent):
    def bundle_and_checkpoint(self, checkpoint_dir, iteration):
      if checkpoint_dir == str(folder):
        whole = {int(p.suffix[1:]) for p in folder.glob('sentinel_*')}
        seen.append((iteration, whole))
      return super().bundle_and_checkpoint(checkpoint_dir, iteration)

  seen = []
  for at_step in (5, 9, 13, 17):
    stop(tmp_path, at_step, agent=Watching)
    with make_runner(tmp_path, agent=Watching) as runner:
      assert runner._agent.steps == at_step + 1
  assert seen == [(0, set()), (1, {0}), (2, {0, 1}), (0, {1, 2})]
  assert {p.name for p in folder.glob('ckpt.*')} == {'ckpt.0', 'ckpt.2'}


@pytest.mark.parametrize('place', [3, [], [1], ['1', 2], {'a': 1}, None])
@pytest.mark.parametrize('slot', [0, 1])
def test_a_slot_that_does_not_say_where_it_was_taken_is_skipped(
  tmp_path, capsys, slot, place
):
  stop(tmp_path, 5)
  stop(tmp_path, 9)
  rewrite(
    tmp_path / f'checkpoints/mid_iteration/manifest_ckpt.{slot}.json',
    lambda manifest: manifest.update(place=place),
  )
  capsys.readouterr()
  assert make_runner(tmp_path)._agent.steps == (10 if slot == 0 else 6)
  assert f'manifest_ckpt.{slot}.json is damaged' in capsys.readouterr().out


# Damage, full disks and stops within an iteration -----------------------------


def damage(path):
  content = bytearray(path.read_bytes())
  content[3] ^= 1
  path.write_bytes(content)


class Partial(Agent):
  """Goes on from whatever is left."""

  allow_partial_reload = True

  def unbundle(self, checkpoint_dir, iteration, bundle):
    return bundle is None or super().unbundle(checkpoint_dir, iteration, bundle)


def test_a_slot_that_is_damaged_is_no_iteration_of_its_own(tmp_path):
  run(tmp_path, num_iterations=1)
  stop(tmp_path, 25)
  damage(tmp_path / 'checkpoints' / 'mid_iteration' / 'manifest_ckpt.0.json')
  runner = make_runner(tmp_path, agent=Partial)
  assert runner._start_iteration == 1
  runner.run_experiment()
  assert runner._next_iteration == 3


@pytest.mark.parametrize('slot', [0, 1])
def test_a_damaged_slot_is_the_first_to_go(tmp_path, slot):
  stop(tmp_path, 5)
  stop(tmp_path, 9)
  folder = tmp_path / 'checkpoints' / 'mid_iteration'
  damage(folder / f'manifest_ckpt.{slot}.json')
  of_run = checkpoints.RunCheckpoints(str(tmp_path / 'checkpoints'))
  assert of_run.within(0).number == slot
  assert (folder / f'sentinel_checkpoint_complete.{1 - slot}').exists()


def test_a_disk_that_has_no_room_for_a_folder_ends_no_run(
  tmp_path, monkeypatch, capsys
):
  makedirs = os.makedirs

  def full(path, *args, **kwargs):
    if 'mid_iteration' in str(path):
      raise OSError(28, 'No space left on device', path)
    makedirs(path, *args, **kwargs)

  monkeypatch.setattr(os, 'makedirs', full)
  assert run(tmp_path, checkpoint_minutes=1e-9)._agent.steps == 63
  assert 'could not be written: [Errno 28]' in capsys.readouterr().out


class OwnFolder(run_experiment.Runner):
  """Has a checkpointer of its own, as some did for Dopamine 3."""

  def _initialize_checkpointer_and_maybe_resume(self, checkpoint_file_prefix):
    self._checkpointer = checkpointer.Checkpointer(
      os.path.join(self._base_dir, 'own'), checkpoint_file_prefix
    )
    self._start_iteration = 0

  def _checkpoint_experiment(self, iteration):
    data = self._agent.bundle_and_checkpoint(
      self._checkpointer.directory, iteration
    )
    self._checkpointer.save_checkpoint(iteration, data)
    self.request_stop()


def test_a_checkpointer_of_a_runners_own_has_all_of_a_checkpoint(tmp_path):
  with pytest.raises(run_experiment.Stopped, match='is complete'):
    run(tmp_path, cls=OwnFolder)
  manifest = json.loads(
    (tmp_path / 'own/manifest_ckpt.0.json').read_bytes().partition(b'\n')[0]
  )
  assert {*manifest['files']} == {
    *('ckpt.0', 'replay_ckpt.0.npz', 'steps_ckpt.0.txt')
  }
  assert manifest['shared']


class Preparing(run_experiment.Runner):
  def _create_directories(self):
    self.prepared.append(self._base_dir)
    super()._create_directories()


def test_a_folder_that_is_in_use_is_left_to_its_process(tmp_path):
  holder = subprocess.Popen(
    [
      *(sys.executable, '-c'),
      'import sys; from dopamine.files import lock; '
      f'held = lock.Lock({str(tmp_path)!r}); print(flush=True); '
      'sys.stdin.read()',
    ],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
  )
  Preparing.prepared = []
  try:
    assert holder.stdout.readline() == b'\n'
    with pytest.raises(ValueError, match='in use by process'):
      make_runner(tmp_path, cls=Preparing)
  finally:
    holder.kill()
    holder.communicate()
  assert not Preparing.prepared
  make_runner(tmp_path, cls=Preparing)
  assert Preparing.prepared == [str(tmp_path)]


def test_two_savers_of_a_folder_leave_each_other_its_files(
  tmp_path, monkeypatch
):
  memory = Agent().memory
  for i in range(90):
    memory.add([i], 0, 0.0, False)
  first, second = (checkpoints.RunCheckpoints(str(tmp_path)) for _ in 'ab')
  write_file = atomic.write_file

  def write_and_save(path, write):
    if path.endswith('replay_ckpt.5.npz') and not second.complete.numbers():
      place = second.after(3)
      with place.checkpointer.collect() as checkpoint:
        pass
      second.write(place, b'', checkpoint, pytest.fail)
      assert second.wait() is None
    write_file(path, write)

  monkeypatch.setattr(atomic, 'write_file', write_and_save)
  place = first.after(5)
  with place.checkpointer.collect() as checkpoint:
    memory.checkpoint(place.checkpointer.directory, 5)
  first.write(place, b'', checkpoint, pytest.fail)
  assert first.wait() is None
  assert first.complete.numbers() == [3, 5]
  restored = Agent().memory
  restored.restore(tmp_path, 5)
  np.testing.assert_equal(stored(restored), stored(memory))


@pytest.mark.parametrize('has_begun', [False, True])
def test_ctrl_c_where_a_thread_starts_blocks_nothing(
  tmp_path, monkeypatch, has_begun
):
  memory = Agent().memory
  for i in range(90):
    memory.add([i], 0, 0.0, False)
  of_run = checkpoints.RunCheckpoints(str(tmp_path))
  start = threading.Thread.start

  def interrupted(thread):
    if has_begun:
      start(thread)
    raise KeyboardInterrupt

  place = of_run.after(0)
  with place.checkpointer.collect() as checkpoint:
    memory.checkpoint(place.checkpointer.directory, 0)
  with monkeypatch.context() as patch:
    patch.setattr(threading.Thread, 'start', interrupted)
    with pytest.raises(KeyboardInterrupt):
      of_run.write(place, b'', checkpoint, pytest.fail)
  assert of_run.wait() is None
  assert not memory._ring._unwritten
  assert of_run.complete.numbers() in ([], [0])


def test_a_system_without_threads_is_an_error_of_the_checkpoint(
  tmp_path, monkeypatch
):
  def refuse(thread):
    raise RuntimeError("can't start new thread")

  of_run = checkpoints.RunCheckpoints(str(tmp_path))
  place, told = of_run.after(0), []
  with place.checkpointer.collect() as checkpoint:
    pass
  monkeypatch.setattr(threading.Thread, 'start', refuse)
  of_run.write(place, b'', checkpoint, told.append)
  assert "can't start new thread" in str(told[0])
  assert isinstance(of_run.wait(), OSError)
