"""What belongs to a checkpoint, until it is written."""

import os

import pytest

from dopamine import storage
from dopamine.files import pending

pytestmark = pytest.mark.no_backend


class Part:
  files = shared = ()

  def __init__(self):
    self.calls = []

  def write(self):
    self.calls.append('write')

  def close(self):
    self.calls.append('close')


def write(content):
  return lambda file: file.write(content)


@pytest.fixture
def checkpoint(tmp_path):
  folder = tmp_path / 'checkpoints'
  folder.mkdir()
  return pending.Checkpoint(str(folder), str(folder / 'shared'))


def test_what_is_put_is_written_at_once_or_with_the_checkpoint(checkpoint):
  folder = checkpoint.folder
  first, second, third = (os.path.join(folder, n) for n in '123')
  storage.put(first, write(b'1'))
  assert os.listdir(folder) == ['1']
  part = Part()
  with checkpoint.open():
    storage.put(second, write(b'2'))
    pending.add(folder, part)
  storage.put(path=third, write=write(b'3'))
  assert sorted(os.listdir(folder)) == ['1', '3'] and not part.calls
  assert [f for p in checkpoint.parts for f in p.files] == [second]
  checkpoint.write()
  assert sorted(os.listdir(folder)) == ['1', '2', '3']
  checkpoint.close()
  checkpoint.close()
  assert part.calls == ['write', 'close']


def test_what_is_put_elsewhere_is_written_at_once(checkpoint, tmp_path):
  with checkpoint.open():
    storage.put(str(tmp_path / 'mine'), write(b'1'))
    pending.add(tmp_path, part := Part())
  assert (tmp_path / 'mine').exists() and not checkpoint.parts
  assert part.calls == ['write', 'close']


def test_a_folder_is_known_by_any_of_its_names(
  checkpoint, tmp_path, monkeypatch
):
  (tmp_path / 'link').symlink_to(checkpoint.folder)
  monkeypatch.chdir(tmp_path)
  with checkpoint.open():
    for name in ('link', 'checkpoints', str(tmp_path / '.' / 'checkpoints')):
      storage.put(os.path.join(name, 'file'), write(b''))
  assert len(checkpoint.parts) == 3 and not os.listdir(checkpoint.folder)


def test_of_two_checkpoints_of_a_folder_the_inner_one_takes(checkpoint):
  inner = pending.Checkpoint(checkpoint.folder, checkpoint.folder)
  with checkpoint.open(), inner.open():
    pending.add(checkpoint.folder, part := Part())
  assert inner.parts == [part] and not checkpoint.parts


def test_a_checkpoint_that_fails_is_closed(checkpoint):
  part = Part()
  with pytest.raises(KeyError):
    with checkpoint.open():
      pending.add(checkpoint.folder, part)
      raise KeyError
  assert part.calls == ['close']
  assert pending.checkpoint_in(checkpoint.folder) is None
