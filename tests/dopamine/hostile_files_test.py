"""Files that were made to harm: what reads them names them, and goes on."""

import json

import pytest

from dopamine import storage

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
  with pytest.raises(storage.DamagedError, match='some/file is damaged') as e:
    storage.json_object(content, 'some/file')
  assert len(str(e.value)) < 200


def test_json_that_was_written_is_read():
  value = {'a': [{'b': [1, 2.5, None, 'x']}] * 3, 'c': {}}
  assert storage.json_object(json.dumps(value), 'x') == value
  assert storage.json_object(json.dumps(value).encode(), 'x') == value
