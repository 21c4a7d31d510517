"""What is written, believed and removed in the folder of checkpoints."""

import os
import pathlib
import zlib

import pytest

from dopamine import storage
from dopamine.discrete_domains import checkpointer
from dopamine.files import atomic
from dopamine.files import parity
from dopamine.runs import going_on
from tests.support import checkpointed

pytestmark = pytest.mark.no_backend


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
  checkpointed.rewrite(
    directory / 'manifest_ckpt.0.json',
    lambda manifest: manifest['files'].update({name: [400, 7]}),
  )
  with pytest.raises(atomic.DamagedError, match='manifest_ckpt.0.json'):
    going_on.check_files(saver, 0)
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
  checkpointed.stop(tmp_path / 'run', 10)
  folder = tmp_path / 'run' / 'checkpoints' / 'mid_iteration'
  (number,) = (int(p.suffix[1:]) for p in folder.glob('ckpt.*'))
  checkpointed.rewrite(
    folder / f'manifest_ckpt.{number}.json',
    lambda manifest: manifest['files'].update({str(victim): [400, 7]}),
  )
  (folder / f'sentinel_checkpoint_complete.{number}').unlink()
  checkpointed.make_runner(tmp_path / 'run')
  assert not list(folder.glob(f'*.{number}*'))


@pytest.mark.parametrize('shared', ['{victim}', '../{name}', 'replay/x', 3])
def test_a_manifest_that_shares_other_files_is_damaged(
  tmp_path, victim, shared, capsys
):
  checkpointed.run(tmp_path / 'run')
  if isinstance(shared, str):
    shared = shared.format(victim=victim, name=victim.name)
  folder = tmp_path / 'run' / 'checkpoints'
  checkpointed.rewrite(
    folder / 'manifest_ckpt.2.json',
    lambda manifest: manifest['shared'].append(shared),
  )
  runner = checkpointed.run(tmp_path / 'run')
  assert 'Skipping checkpoint 2' in capsys.readouterr().out
  assert runner._agent.steps == 63


@pytest.mark.parametrize('content', ['[' * 9999, '[]', '7', '{"files": 3}'])
def test_a_manifest_that_is_none_is_skipped_by_name(tmp_path, capsys, content):
  checkpointed.run(tmp_path)
  path = tmp_path / 'checkpoints' / 'manifest_ckpt.2.json'
  content = content.encode()
  path.write_bytes(content + b'\n%d\n' % zlib.crc32(content))
  checkpointed.run(tmp_path)
  assert f'{path} is damaged' in capsys.readouterr().out


@pytest.mark.parametrize('name', ['{victim}', '../../{name}', 'thesis.txt'])
def test_a_replay_record_that_names_another_file_repairs_none(
  tmp_path, victim, name
):
  memory = checkpointed.Agent().memory
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

  checkpointed.rewrite_record(folder / 'replay_ckpt.1.npz', change)
  with pytest.raises(atomic.DamagedError, match='replay_ckpt.1.npz'):
    checkpointed.Agent().memory.restore(folder, 1)


@pytest.mark.parametrize('place', ['{folder}', '..', 'replay/..', 'other'])
def test_a_replay_record_that_names_another_folder_is_damaged(tmp_path, place):
  memory = checkpointed.Agent().memory
  memory.add([0], 0, 0.0, False)
  folder = tmp_path / 'checkpoints'
  folder.mkdir()
  memory.checkpoint(folder, 1)
  checkpointed.rewrite_record(
    folder / 'replay_ckpt.1.npz',
    lambda record: record.update(folder=place.format(folder=folder)),
  )
  with pytest.raises(atomic.DamagedError, match='is no folder'):
    checkpointed.Agent().memory.restore(folder, 1)


# Links ------------------------------------------------------------------------


def test_links_are_read_and_never_written_through(tmp_path, victim):
  checkpointed.run(tmp_path / 'run')
  folder = tmp_path / 'run' / 'checkpoints'
  moved = tmp_path / 'moved'
  moved.mkdir()
  for path in (*folder.glob('*.2*'), *(folder / 'replay').iterdir()):
    os.rename(path, moved / path.name)
    path.symlink_to(moved / path.name)
  before = checkpointed.contents(moved)
  # Names that the next checkpoints write.
  for name in ('ckpt.3', 'ckpt.3.tmp', 'steps_ckpt.4.txt.tmp', 'ckpt.4'):
    (folder / name).symlink_to(victim)
  (tmp_path / 'run' / 'logs' / 'log_3.tmp').symlink_to(victim)
  runner = checkpointed.run(tmp_path / 'run', num_iterations=9)
  assert runner._agent.steps == 9 * 21
  assert checkpointed.contents(moved) == before
  assert not [p for p in folder.rglob('*') if p.is_symlink()]


def test_what_event_files_and_the_lock_lead_to_is_left(tmp_path, victim):
  checkpointed.run(tmp_path / 'run', num_iterations=2)
  (path,) = (tmp_path / 'run').glob('events.out.tfevents.*')
  moved = tmp_path / path.name
  os.rename(path, moved)
  path.symlink_to(moved)
  (tmp_path / 'run' / 'lock').unlink()
  (tmp_path / 'run' / 'lock').symlink_to(victim)
  with open(moved, 'ab') as file:
    file.write(b'points that came later')
  before = moved.read_bytes()
  checkpointed.run(tmp_path / 'run', num_iterations=3)
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
  checkpointed.run(tmp_path / 'run')
  runner = checkpointed.run(tmp_path / 'run', num_iterations=6)
  assert runner._agent.memory.add_count == 6 * 21
  assert (tmp_path / 'large_disk' / '1-2.zst').exists()
  assert link.is_symlink()


def test_a_link_to_the_folder_of_another_run_empties_it_not(tmp_path):
  checkpointed.run(tmp_path / 'other')
  folder = tmp_path / 'other' / 'checkpoints' / 'replay'
  before = checkpointed.contents(folder)
  (tmp_path / 'run' / 'checkpoints').mkdir(parents=True)
  (tmp_path / 'run' / 'checkpoints' / 'replay').symlink_to(folder)
  checkpointed.run(tmp_path / 'run', num_iterations=7)
  assert before.items() <= checkpointed.contents(folder).items()
  # Its own go as ever: of 7 checkpoints, 3 memories of 60 at 21 an iteration.
  assert len(checkpointed.contents(folder)) < len(before) + 7


@pytest.mark.parametrize('kind', ['pipe', 'folder'])
def test_a_checkpoint_that_is_no_file_is_skipped(tmp_path, capsys, kind):
  checkpointed.run(tmp_path)
  path = tmp_path / 'checkpoints' / 'ckpt.2'
  path.unlink()
  os.mkfifo(path) if kind == 'pipe' else path.mkdir()
  checkpointed.rewrite(
    tmp_path / 'checkpoints' / 'manifest_ckpt.2.json',
    lambda manifest: manifest['files'].clear(),
  )
  checkpointed.make_runner(tmp_path)
  assert f'{path} is no file' in capsys.readouterr().out


def test_a_manifest_that_is_missing_costs_no_other_checkpoint(tmp_path):
  checkpointed.run(tmp_path)
  folder = tmp_path / 'checkpoints'
  path = folder / 'manifest_ckpt.2.json'
  content = path.read_bytes()
  path.unlink()
  before = checkpointed.contents(folder)
  checkpointed.make_runner(tmp_path)
  assert checkpointed.contents(folder) == before
  path.write_bytes(content)
  assert checkpointed.make_runner(tmp_path)._agent.steps == 63


def test_what_is_no_file_does_not_stop_the_start(tmp_path, capsys):
  checkpointed.run(tmp_path)
  folder = tmp_path / 'checkpoints'
  path = folder / 'steps_ckpt.2.txt'
  path.unlink()
  os.mkfifo(path)
  checkpointed.rewrite(
    folder / 'manifest_ckpt.2.json',
    lambda manifest: manifest['files'].update({path.name: [0, 0]}),
  )
  checkpointed.run(tmp_path)
  assert f'{path} is missing' in capsys.readouterr().out


# What agents put there --------------------------------------------------------


class Elsewhere(checkpointed.Agent):
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
    checkpointed.run(tmp_path, agent=Elsewhere)


def test_files_of_agents_go_with_their_checkpoint(tmp_path):
  class Writing(checkpointed.Agent):
    def bundle_and_checkpoint(self, checkpoint_dir, iteration):
      path = os.path.join(checkpoint_dir, f'my own_ckpt.{iteration}.npz')
      pathlib.Path(path).write_text('')  # By its own hand.
      return super().bundle_and_checkpoint(checkpoint_dir, iteration)

  checkpointed.run(tmp_path, agent=Writing, num_iterations=6)
  folder = tmp_path / 'checkpoints'
  for pattern in ('my own_ckpt.{}.npz', 'steps_ckpt.{}.txt'):
    left = {p.name for p in folder.glob(pattern.format('*'))}
    assert left == {pattern.format(i) for i in (2, 3, 4, 5)}
