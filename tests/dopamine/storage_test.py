"""Tests of `storage`: what is collected is written later."""

import os

import pytest

from dopamine import storage

pytestmark = pytest.mark.no_backend


def write(content):
  return lambda file: file.write(content)


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
