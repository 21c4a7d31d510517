"""Tests of `storage`: files are whole or not there, and repair themselves."""

import json
import os
import subprocess
import sys

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from dopamine import storage

pytestmark = pytest.mark.no_backend


def write(content):
  return lambda file: file.write(content)


def test_a_file_is_replaced_when_the_new_one_is_complete(tmp_path):
  path = str(tmp_path / 'file')
  storage.write_file(path, write(b'old'))

  def fail(file):
    file.write(b'half')
    raise OSError(28, 'No space left on device')

  with pytest.raises(OSError, match='No space left'):
    storage.write_file(path, fail)
  assert os.listdir(tmp_path) == ['file']
  with open(path, 'rb') as file:
    assert file.read() == b'old'
  storage.write_file(path, write(b'new'))
  with open(path, 'rb') as file:
    assert file.read() == b'new'


def test_what_is_put_is_written_at_once_or_when_the_collection_is(tmp_path):
  first, second = str(tmp_path / 'first'), str(tmp_path / 'second')
  storage.put(first, write(b'1'))
  assert os.listdir(tmp_path) == ['first']
  ended = []
  with storage.collect(storage.Collection(str(tmp_path))) as collection:
    storage.put(second, write(b'2'))
    collection.at_end.append(lambda: ended.append(True))
  assert os.listdir(tmp_path) == ['first'] and collection.files == [second]
  collection.write()
  assert sorted(os.listdir(tmp_path)) == ['first', 'second'] and not ended
  collection.close()
  collection.close()
  assert ended == [True]


def test_a_collection_that_fails_is_closed(tmp_path):
  ended = []
  collection = storage.Collection(str(tmp_path))
  with pytest.raises(KeyError):
    with storage.collect(collection):
      collection.at_end.append(lambda: ended.append(True))
      raise KeyError
  assert ended == [True]


# Files that repair themselves -------------------------------------------------


@hypothesis.given(
  payload=st.binary(max_size=300), data=st.data(), mask=st.integers(1, 255)
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_any_one_byte_is_repaired(tmp_path_factory, payload, data, mask):
  path = str(tmp_path_factory.mktemp('shared') / 'file')
  checksums = storage.write_shared(path, payload)
  with open(path, 'rb') as file:
    content = bytearray(file.read())
  position = data.draw(st.integers(0, len(content) - 1))
  content[position] ^= mask
  with open(path, 'wb') as file:
    file.write(content)
  assert storage.read_shared(path, len(payload), checksums) == payload
  # It was put right on the disk too.
  content[position] ^= mask
  with open(path, 'rb') as file:
    assert file.read() == content


def test_parity_takes_a_thirty_second(tmp_path):
  path = str(tmp_path / 'file')
  payload = np.random.default_rng(0).bytes(32 * 1000)
  storage.write_shared(path, payload)
  assert os.path.getsize(path) == 33 * 1000


@pytest.mark.parametrize('damage', ['two blocks', 'half', 'longer', 'missing'])
def test_more_damage_is_named(tmp_path, damage):
  path = str(tmp_path / 'file')
  payload = np.random.default_rng(0).bytes(3200)
  checksums = storage.write_shared(path, payload)
  content = bytearray((tmp_path / 'file').read_bytes())
  if damage == 'two blocks':
    content[0] ^= 1
    content[1000] ^= 1
  elif damage == 'half':
    del content[1600:]
  elif damage == 'longer':
    content += b'0'
  (tmp_path / 'file').write_bytes(content)
  if damage == 'missing':
    os.remove(path)
  if damage == 'longer':  # The payload is there: nothing is lost.
    assert storage.read_shared(path, 3200, checksums) == payload
    return
  with pytest.raises(storage.DamagedError, match='file'):
    storage.read_shared(path, 3200, checksums)


# One process per folder -------------------------------------------------------


HOLD = """
import sys
from dopamine import storage
lock = storage.Lock(sys.argv[1])
print('held', flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path):
  process = subprocess.Popen(
    [sys.executable, '-c', HOLD, str(tmp_path)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  assert process.stdout.readline() == 'held\n'
  with pytest.raises(ValueError, match=f'in use by process {process.pid} on '):
    storage.Lock(str(tmp_path))
  process.kill()
  process.wait()
  lock = storage.Lock(str(tmp_path))
  holder = json.loads((tmp_path / 'lock').read_text())
  assert holder['pid'] == os.getpid()
  again = storage.Lock(str(tmp_path))  # One process may.
  lock.release()
  lock.release()
  assert json.loads((tmp_path / 'lock').read_text()) == holder
  again.release()
  assert (tmp_path / 'lock').read_text() == ''
