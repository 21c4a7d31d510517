"""Files repair themselves."""

import os

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from dopamine.files import atomic
from dopamine.files import parity

pytestmark = pytest.mark.no_backend


@hypothesis.given(
  payload=st.binary(max_size=300), data=st.data(), mask=st.integers(1, 255)
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_any_one_byte_is_repaired(tmp_path_factory, payload, data, mask):
  path = str(tmp_path_factory.mktemp('shared') / 'file')
  checksums = parity.write_shared(path, payload)
  with open(path, 'rb') as file:
    content = bytearray(file.read())
  position = data.draw(st.integers(0, len(content) - 1))
  content[position] ^= mask
  with open(path, 'wb') as file:
    file.write(content)
  assert parity.read_shared(path, len(payload), checksums) == payload
  # It was put right on the disk too.
  content[position] ^= mask
  with open(path, 'rb') as file:
    assert file.read() == content


def test_parity_takes_a_thirty_second(tmp_path):
  path = str(tmp_path / 'file')
  payload = np.random.default_rng(0).bytes(32 * 1000)
  parity.write_shared(path, payload)
  assert os.path.getsize(path) == 33 * 1000


@pytest.mark.parametrize('damage', ['two blocks', 'half', 'longer', 'missing'])
def test_more_damage_is_named(tmp_path, damage):
  path = str(tmp_path / 'file')
  payload = np.random.default_rng(0).bytes(3200)
  checksums = parity.write_shared(path, payload)
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
    assert parity.read_shared(path, 3200, checksums) == payload
    return
  with pytest.raises(atomic.DamagedError, match='file'):
    parity.read_shared(path, 3200, checksums)
