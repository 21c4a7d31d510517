"""Files are whole or not there."""

import os

import pytest

from dopamine.files import atomic

pytestmark = pytest.mark.no_backend


def write(content):
  return lambda file: file.write(content)


def test_a_file_is_replaced_when_the_new_one_is_complete(tmp_path):
  path = str(tmp_path / 'file')
  atomic.write_file(path, write(b'old'))

  def fail(file):
    file.write(b'half')
    raise OSError(28, 'No space left on device')

  with pytest.raises(OSError, match='No space left'):
    atomic.write_file(path, fail)
  assert os.listdir(tmp_path) == ['file']
  with open(path, 'rb') as file:
    assert file.read() == b'old'
  atomic.write_file(path, write(b'new'))
  with open(path, 'rb') as file:
    assert file.read() == b'new'
