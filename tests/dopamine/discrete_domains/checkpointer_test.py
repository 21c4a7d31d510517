"""Tests of `Checkpointer`."""

import os

import numpy as np
from numpy.testing import assert_array_equal
import pytest

from dopamine.discrete_domains import checkpointer

pytestmark = pytest.mark.no_backend


def test_what_is_saved_is_loaded(tmp_path):
  saver = checkpointer.Checkpointer(str(tmp_path))
  saver.save_checkpoint(3, {'a': [1.5], 'b': np.arange(3)})
  data = saver.load_checkpoint(3)
  assert data['a'] == [1.5]
  assert_array_equal(data['b'], [0, 1, 2])
  assert saver.load_checkpoint(4) is None
  assert (tmp_path / 'sentinel_checkpoint_complete.3').read_text() == 'done'


def test_only_checkpoints_with_a_sentinel_count(tmp_path):
  directory = str(tmp_path)
  latest = checkpointer.get_latest_checkpoint_number
  assert latest(directory) == latest(str(tmp_path / 'no')) == -1
  saver = checkpointer.Checkpointer(directory)
  for iteration in (2, 10):
    saver.save_checkpoint(iteration, {})
  (tmp_path / 'ckpt.11').write_bytes(b'')
  (tmp_path / 'sentinel_checkpoint_complete.12.tmp').write_bytes(b'')
  assert latest(directory) == 10
  assert latest(directory, override_number=4) == 4
  assert latest(directory, sentinel_file_identifier='other') == -1


def test_four_checkpoints_stay(tmp_path):
  saver = checkpointer.Checkpointer(str(tmp_path), checkpoint_frequency=2)
  for iteration in range(11):
    saver.save_checkpoint(iteration, {})
  expected = {f'ckpt.{i}' for i in (4, 6, 8, 10)}
  expected |= {f'sentinel_checkpoint_complete.{i}' for i in (4, 6, 8, 10)}
  expected |= {f'manifest_ckpt.{i}.json' for i in (4, 6, 8, 10)}
  assert set(os.listdir(tmp_path)) == expected


def test_directories_that_cannot_be(tmp_path):
  with pytest.raises(ValueError, match='No path provided to Checkpointer'):
    checkpointer.Checkpointer('')
  (tmp_path / 'file').write_text('')
  with pytest.raises(ValueError, match='Unable to create checkpoint path'):
    checkpointer.Checkpointer(str(tmp_path / 'file' / 'below'))
