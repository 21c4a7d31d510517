"""Files that were made to harm: what reads them names them, and goes on."""

import gzip
import json
import pickle

import numpy as np
import pytest

from dopamine.files import atomic
from dopamine.replay_memory import prioritized_replay_buffer
from tests.support import fuzz

pytestmark = pytest.mark.no_backend

_DEEP = '[' * 100_000 + ']' * 100_000


@pytest.mark.parametrize(
  'content',
  [
    *('', '{', b'\xff\xfe\xff', b'{"a": "\xff"}', '[]', '1', 'null', 'NaN'),
    *(_DEEP, '[' * 100_000, '{"a":' * 100_000),
    f'{{"a": {_DEEP}}}',
    '{"a": ' + '[' * 200 + ']' * 200 + '}',
    '{"a": ' + '9' * 5000 + '}',
  ],
  ids=lambda x: repr(x[:12]),
)
def test_json_that_is_deep_or_no_object_is_damaged_and_named(content):
  with pytest.raises(atomic.DamagedError, match='some/file is damaged') as e:
    atomic.json_object(content, 'some/file')
  assert len(str(e.value)) < 200


def test_json_that_was_written_is_read():
  value = {'a': [{'b': [1, 2.5, None, 'x']}] * 3, 'c': {}}
  assert atomic.json_object(json.dumps(value), 'x') == value
  assert atomic.json_object(json.dumps(value).encode(), 'x') == value


@pytest.mark.parametrize('count', [np.arange(30), -1, 1.5, 'x'])
def test_an_add_count_that_is_no_count_is_damage(tmp_path, count):
  cls = prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer
  fuzz.memory(cls).save(tmp_path, 3)
  with gzip.open(tmp_path / 'add_count_ckpt.3.gz', 'wb') as file:
    np.save(file, np.asarray(count))
  with pytest.raises(atomic.DamagedError, match='add_count'):
    fuzz.memory(cls).load(tmp_path, 3)


@pytest.mark.parametrize('value', [{}, {'markers': 1}, 'x', np.uint8])
@pytest.mark.parametrize('name', ['episode_markers', 'sum_tree'])
def test_a_pickle_in_place_of_an_array_is_refused(tmp_path, name, value):
  cls = prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer
  fuzz.memory(cls).save(tmp_path, 3)
  with gzip.open(tmp_path / f'{name}_ckpt.3.gz', 'wb') as file:
    pickle.dump(value, file)
  for read in ('load', 'check_shapes'):
    if name == 'sum_tree' or read == 'load':
      with pytest.raises(ValueError, match=name):
        getattr(fuzz.memory(cls), read)(tmp_path, 3)
