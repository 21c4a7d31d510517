"""Checkpoints of other versions, those that vanish, and what a kill leaves."""

import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

from dopamine.discrete_domains import checkpointer
from dopamine.discrete_domains import run_experiment
from dopamine.files import atomic
from dopamine.files import parity
from dopamine.replay_memory import ring_reader
from dopamine.runs import checkpoints
from tests.support import checkpointed

pytestmark = pytest.mark.no_backend


def later(manifest):
  manifest['format'] = checkpointer.FORMAT + 1


def test_a_later_checkpoint_of_another_prefix_is_refused(tmp_path):
  checkpointed.run(tmp_path)
  checkpointed.rewrite(tmp_path / 'checkpoints' / 'manifest_ckpt.0.json', later)
  with pytest.raises(ValueError, match='later release'):
    checkpointed.make_runner(tmp_path, checkpoint_file_prefix='mine')


@pytest.mark.parametrize('number', [0, 2])
def test_what_a_later_release_wrote_is_refused_and_left(tmp_path, number):
  checkpointed.run(tmp_path)
  path = tmp_path / 'checkpoints' / f'manifest_ckpt.{number}.json'
  checkpointed.rewrite(path, later)
  before = checkpointed.contents(tmp_path / 'checkpoints')
  with pytest.raises(ValueError, match='later release') as caught:
    checkpointed.make_runner(tmp_path, num_iterations=9)
  assert not isinstance(caught.value, atomic.DamagedError)
  assert str(path) in str(caught.value)
  assert checkpointed.contents(tmp_path / 'checkpoints') == before


def test_a_later_checkpoint_without_manifest_is_refused_too(tmp_path):
  class Later(run_experiment.Runner):
    def _bundle(self, place):
      monkeypatch.setattr(checkpointer, 'FORMAT', checkpointer.FORMAT + 1)
      data = super()._bundle(place)
      monkeypatch.undo()
      return data

  monkeypatch = pytest.MonkeyPatch()
  checkpointed.run(tmp_path, cls=Later)
  with pytest.raises(ValueError, match=r'ckpt\.2 was written by a later'):
    checkpointed.make_runner(tmp_path)


def test_a_checkpoint_that_names_no_format_is_of_today(tmp_path):
  checkpointed.run(tmp_path)
  for i in range(3):
    checkpointed.rewrite(
      tmp_path / 'checkpoints' / f'manifest_ckpt.{i}.json',
      lambda manifest: manifest.pop('format'),
    )
  assert checkpointed.run(tmp_path, num_iterations=4)._agent.steps == 84


@pytest.mark.parametrize('version', ['2', 1.5, True, 0, [], {}])
def test_a_format_that_is_no_number_is_damage(tmp_path, version, capsys):
  checkpointed.run(tmp_path)
  checkpointed.rewrite(
    tmp_path / 'checkpoints' / 'manifest_ckpt.2.json',
    lambda manifest: manifest.update(format=version),
  )
  checkpointed.run(tmp_path)
  assert 'Skipping checkpoint 2' in capsys.readouterr().out


# What vanishes during a run ---------------------------------------------------


@pytest.mark.parametrize('gone', [[0], [1], [0, 2], [0, 1, 2, 3]])
@pytest.mark.parametrize('size', [None, 5])
def test_a_shared_file_that_vanished_is_written_anew(tmp_path, gone, size):
  memory = checkpointed.Agent().memory
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
  restored = checkpointed.Agent().memory
  restored.restore(tmp_path, 9)
  np.testing.assert_equal(
    checkpointed.stored(restored), checkpointed.stored(memory)
  )


def test_a_run_whose_shared_files_vanish_goes_on_from_where_it_was(tmp_path):
  class Cleaned(run_experiment.Runner):
    def _run_one_iteration(self, iteration):
      for path in (tmp_path / 'checkpoints').rglob('*.zst'):
        path.unlink()
      return super()._run_one_iteration(iteration)

  runner = checkpointed.run(tmp_path, cls=Cleaned)
  again = checkpointed.make_runner(tmp_path, num_iterations=3)
  np.testing.assert_equal(
    checkpointed.stored(again._agent.memory),
    checkpointed.stored(runner._agent.memory),
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
  runner = checkpointed.run(tmp_path)
  assert cleaned
  again = checkpointed.make_runner(tmp_path)
  np.testing.assert_equal(
    checkpointed.stored(again._agent.memory),
    checkpointed.stored(runner._agent.memory),
  )


def test_an_event_file_that_vanished_is_made_anew(tmp_path):
  class Cleaned(run_experiment.Runner):
    def _run_one_iteration(self, iteration):
      if iteration == 1:
        for path in tmp_path.glob('events*'):
          path.unlink()
      return super()._run_one_iteration(iteration)

  checkpointed.run(tmp_path, cls=Cleaned)
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

  checkpointed.run(tmp_path, cls=Cleaned)
  assert [p.name for p in (tmp_path / 'logs').iterdir()] == ['log_2']


# What a killed process leaves -------------------------------------------------


def test_what_a_kill_left_of_an_older_checkpoint_is_swept(tmp_path):
  checkpointed.run(tmp_path, num_iterations=6)
  folder = tmp_path / 'checkpoints'
  (folder / 'sentinel_checkpoint_complete.3').unlink()
  (folder / 'steps_ckpt.4.txt.tmp').write_text('half')
  (folder / 'replay' / '0-9-01234567.zst').write_text('of nobody')
  (folder / 'replay' / '0-9-01234567.zst.tmp').write_text('half')
  kept = [folder / 'notes.tmp', folder / 'replay' / 'mine.zst']
  kept += [folder / 'data_ckpt.1.gz', folder / 'ckpt.0']  # No manifest: older.
  for path in kept:
    path.write_text('mine')
  checkpointed.make_runner(tmp_path)
  left = checkpointed.contents(folder)
  assert not [n for n in left if '.3.' in n or n.endswith('.3')]
  assert not [n for n in left if '01234567' in n or n == 'steps_ckpt.4.txt.tmp']
  assert all(path.exists() for path in kept)


def test_a_second_runner_removes_nothing_that_the_first_is_writing(
  tmp_path, monkeypatch
):
  write_file, made = atomic.write_file, []

  def write_and_look(path, write):
    if path.endswith('manifest_ckpt.1.json'):
      made.append(checkpointed.make_runner(tmp_path))
    return write_file(path, write)

  monkeypatch.setattr(atomic, 'write_file', write_and_look)
  checkpointed.run(tmp_path, num_iterations=2)
  assert made
  assert checkpointed.make_runner(tmp_path)._agent.steps == 42


def test_a_checkpoint_that_cannot_be_removed_is_one_too_many(tmp_path):
  class Stuck(run_experiment.Runner):
    def _run_one_iteration(self, iteration):
      path = tmp_path / 'checkpoints' / 'sentinel_checkpoint_complete.0'
      if iteration == 2:
        path.unlink()
        path.mkdir()
      return super()._run_one_iteration(iteration)

  checkpointed.run(tmp_path, cls=Stuck, num_iterations=7)
  numbers = {p.name for p in (tmp_path / 'checkpoints').glob('ckpt.*')}
  assert numbers == {'ckpt.0', 'ckpt.3', 'ckpt.4', 'ckpt.5', 'ckpt.6'}


def test_a_newer_checkpoint_without_sentinel_stays(tmp_path):
  checkpointed.run(tmp_path)
  folder = tmp_path / 'checkpoints'
  (folder / 'sentinel_checkpoint_complete.2').unlink()
  before = checkpointed.contents(folder)
  checkpointed.make_runner(tmp_path)
  assert checkpointed.contents(folder) == before


def test_old_checkpoints_within_iterations_go(tmp_path):
  checkpointed.stop(tmp_path, 25)
  folder = tmp_path / 'checkpoints'
  assert (folder / 'mid_iteration' / 'ckpt.0').exists()
  checkpointed.run(tmp_path, num_iterations=2)
  assert (folder / 'mid_iteration' / 'ckpt.0').exists()  # One is newer.
  checkpointed.run(tmp_path, num_iterations=3)
  assert not list((folder / 'mid_iteration').iterdir())
  needed = {
    segment['file']
    for i in range(3)
    for segment in ring_reader.read(folder, i).record['segments']
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

    checkpointed.rewrite(path, change)
    for file in list(folder.iterdir()):
      name = file.name.replace(f'ckpt.{old}', f'ckpt.{new}')
      name = name.replace(f'complete.{old}', f'complete.{new}')
      file.rename(folder / name)


@pytest.mark.parametrize('stops', [[5], [5, 11], [25], [25, 30], [44, 55]])
def test_a_run_within_an_iteration_of_format_1_goes_on(tmp_path, stops):
  for at_step in stops:
    checkpointed.stop(tmp_path, at_step)
  folder = tmp_path / 'checkpoints' / 'mid_iteration'
  number_as_before(folder)
  numbers = {int(path.suffix[1:]) for path in folder.glob('ckpt.*')}
  assert {n // 1_000_000 for n in numbers} == {n // 21 for n in stops}
  # The next ones are in slots, and of all that are there the newest two stay.
  for at_step in (stops[-1] + 1, stops[-1] + 2):
    with checkpointed.make_runner(tmp_path) as runner:
      assert runner._agent.steps == at_step
    checkpointed.stop(tmp_path, at_step)
  assert len([*folder.glob('ckpt.[012]')]) == len([*folder.glob('ckpt.*')]) == 2
  assert checkpointed.run(tmp_path)._agent.steps == 63


def test_slots_take_turns_and_two_are_whole_at_any_time(tmp_path):
  folder = tmp_path / 'checkpoints' / 'mid_iteration'

  class Watching(checkpointed.Agent):
    def bundle_and_checkpoint(self, checkpoint_dir, iteration):
      if checkpoint_dir == str(folder):
        whole = {int(p.suffix[1:]) for p in folder.glob('sentinel_*')}
        seen.append((iteration, whole))
      return super().bundle_and_checkpoint(checkpoint_dir, iteration)

  seen = []
  for at_step in (5, 9, 13, 17):
    checkpointed.stop(tmp_path, at_step, agent=Watching)
    with checkpointed.make_runner(tmp_path, agent=Watching) as runner:
      assert runner._agent.steps == at_step + 1
  assert seen == [(0, set()), (1, {0}), (2, {0, 1}), (0, {1, 2})]
  assert {p.name for p in folder.glob('ckpt.*')} == {'ckpt.0', 'ckpt.2'}


@pytest.mark.parametrize('place', [3, [], [1], ['1', 2], {'a': 1}, None])
@pytest.mark.parametrize('slot', [0, 1])
def test_a_slot_that_does_not_say_where_it_was_taken_is_skipped(
  tmp_path, capsys, slot, place
):
  checkpointed.stop(tmp_path, 5)
  checkpointed.stop(tmp_path, 9)
  checkpointed.rewrite(
    tmp_path / f'checkpoints/mid_iteration/manifest_ckpt.{slot}.json',
    lambda manifest: manifest.update(place=place),
  )
  capsys.readouterr()
  assert checkpointed.make_runner(tmp_path)._agent.steps == (
    10 if slot == 0 else 6
  )
  assert f'manifest_ckpt.{slot}.json is damaged' in capsys.readouterr().out


# Damage, full disks and stops within an iteration -----------------------------


def damage(path):
  content = bytearray(path.read_bytes())
  content[3] ^= 1
  path.write_bytes(content)


class Partial(checkpointed.Agent):
  """Goes on from whatever is left."""

  allow_partial_reload = True

  def unbundle(self, checkpoint_dir, iteration, bundle):
    return bundle is None or super().unbundle(checkpoint_dir, iteration, bundle)


def test_a_slot_that_is_damaged_is_no_iteration_of_its_own(tmp_path):
  checkpointed.run(tmp_path, num_iterations=1)
  checkpointed.stop(tmp_path, 25)
  damage(tmp_path / 'checkpoints' / 'mid_iteration' / 'manifest_ckpt.0.json')
  runner = checkpointed.make_runner(tmp_path, agent=Partial)
  assert runner._start_iteration == 1
  runner.run_experiment()
  assert runner._next_iteration == 3


@pytest.mark.parametrize('slot', [0, 1])
def test_a_damaged_slot_is_the_first_to_go(tmp_path, slot):
  checkpointed.stop(tmp_path, 5)
  checkpointed.stop(tmp_path, 9)
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
  assert checkpointed.run(tmp_path, checkpoint_minutes=1e-9)._agent.steps == 63
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
    checkpointed.run(tmp_path, cls=OwnFolder)
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
      checkpointed.make_runner(tmp_path, cls=Preparing)
  finally:
    holder.kill()
    holder.communicate()
  assert not Preparing.prepared
  checkpointed.make_runner(tmp_path, cls=Preparing)
  assert Preparing.prepared == [str(tmp_path)]


def test_two_savers_of_a_folder_leave_each_other_its_files(
  tmp_path, monkeypatch
):
  memory = checkpointed.Agent().memory
  for i in range(90):
    memory.add([i], 0, 0.0, False)
  first, second = (checkpoints.RunCheckpoints(str(tmp_path)) for _ in 'ab')
  write_file = atomic.write_file

  def write_and_save(path, write):
    if path.endswith('replay_ckpt.5.npz') and not second.complete.numbers():
      place = second.at_end_of(3)
      with place.checkpointer.collect() as checkpoint:
        pass
      second.write(place, b'', checkpoint, pytest.fail)
      assert second.wait() is None
    write_file(path, write)

  monkeypatch.setattr(atomic, 'write_file', write_and_save)
  place = first.at_end_of(5)
  with place.checkpointer.collect() as checkpoint:
    memory.checkpoint(place.checkpointer.directory, 5)
  first.write(place, b'', checkpoint, pytest.fail)
  assert first.wait() is None
  assert first.complete.numbers() == [3, 5]
  restored = checkpointed.Agent().memory
  restored.restore(tmp_path, 5)
  np.testing.assert_equal(
    checkpointed.stored(restored), checkpointed.stored(memory)
  )


@pytest.mark.parametrize('has_begun', [False, True])
def test_ctrl_c_where_a_thread_starts_blocks_nothing(
  tmp_path, monkeypatch, has_begun
):
  memory = checkpointed.Agent().memory
  for i in range(90):
    memory.add([i], 0, 0.0, False)
  of_run = checkpoints.RunCheckpoints(str(tmp_path))
  start = threading.Thread.start

  def interrupted(thread):
    if has_begun:
      start(thread)
    raise KeyboardInterrupt

  place = of_run.at_end_of(0)
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
  place, told = of_run.at_end_of(0), []
  with place.checkpointer.collect() as checkpoint:
    pass
  monkeypatch.setattr(threading.Thread, 'start', refuse)
  of_run.write(place, b'', checkpoint, told.append)
  assert "can't start new thread" in str(told[0])
  assert isinstance(of_run.wait(), OSError)
