"""Tests of `Logger`."""

import os
import pickle

import pytest

from dopamine.discrete_domains import logger

pytestmark = pytest.mark.no_backend


def test_all_data_goes_to_each_file(tmp_path):
  log = logger.Logger(str(tmp_path / 'logs'))
  assert log.is_logging_enabled()
  for i in range(6):
    log[f'iteration_{i}'] = {'x': [i]}
    log.log_to_file('log', i)
  assert sorted(os.listdir(tmp_path / 'logs')) == [
    'log_2',
    'log_3',
    'log_4',
    'log_5',
  ]
  with open(tmp_path / 'logs' / 'log_4', 'rb') as file:
    assert pickle.load(file) == {f'iteration_{i}': {'x': [i]} for i in range(5)}


def test_a_directory_that_cannot_be_made_disables_logging(tmp_path):
  (tmp_path / 'file').write_text('')
  for directory in ('', None, str(tmp_path / 'file' / 'logs')):
    log = logger.Logger(directory)
    assert not log.is_logging_enabled()
    log['a'] = 1
    log.log_to_file('log', 0)
    assert log.data == {}
