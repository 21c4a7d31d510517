"""Tests of what reads logs and baselines."""

import json
import math
import os
import pickle

import numpy as np
import pytest

from dopamine.colab import utils
from dopamine.files import atomic
from dopamine.files import safe_pickle

pytestmark = pytest.mark.no_backend


def write_log(folder, number, data, protocol=pickle.HIGHEST_PROTOCOL):
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / f'log_{number}'
  path.write_bytes(pickle.dumps(data, protocol))


DATA = {
  'iteration_0': {
    'train_episode_returns': [1.0, 2.0],
    'train_average_return': [1.5],
  },
  'iteration_1': {'train_episode_returns': [4.0], 'eval_episode_returns': []},
  'iteration_2': {'train_episode_returns': [], 'eval_episode_returns': [7]},
}


def test_the_newest_log_is_found(tmp_path):
  assert utils.get_latest_file(str(tmp_path)) is None
  assert utils.get_latest_file(str(tmp_path / 'no')) is None
  with pytest.raises(ValueError, match='give the folder `logs`'):
    utils.get_latest_iteration(str(tmp_path))
  for number in (9, 10, 2):
    write_log(tmp_path, number, {})
  (tmp_path / 'log_11.tmp').touch()
  (tmp_path / 'log_x').touch()
  assert utils.get_latest_iteration(str(tmp_path)) == 10
  assert utils.get_latest_file(str(tmp_path)) == str(tmp_path / 'log_10')


def test_statistics_are_loaded(tmp_path, capsys):
  write_log(tmp_path, 1, {'iteration_0': {}})
  write_log(tmp_path, 2, DATA)
  assert utils.load_statistics(str(tmp_path)) == (DATA, 2)
  assert str(tmp_path / 'log_2') in capsys.readouterr().out
  data, number = utils.load_statistics(str(tmp_path), 1, verbose=False)
  assert data == {'iteration_0': {}} and number == 1
  assert not capsys.readouterr().out
  with pytest.raises(FileNotFoundError, match='log_7'):
    utils.load_statistics(str(tmp_path), 7)


def test_logs_of_python_2_are_loaded(tmp_path):
  # {'iteration_0': {'x': [numpy.float64(0.5)]}}, by protocol 2 of Python 2,
  # whose texts are bytes.
  number = np.float64(0.5).tobytes()
  text = b'U%c%s'
  pickled = (
    b'\x80\x02}'
    + text % (11, b'iteration_0')
    + b'}'
    + text % (1, b'x')
    + b']cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n'
    + (text % (2, b'f8') + b'K\x00K\x01\x87R')
    + b'(K\x03'
    + text % (1, b'<')
    + b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
    + text % (8, number)
    + b'\x86Rass.'
  )
  (tmp_path / 'log_0').write_bytes(pickled)
  data, _ = utils.load_statistics(str(tmp_path))
  assert data == {'iteration_0': {'x': [0.5]}}


def test_a_log_that_is_damaged_or_malicious_is_named(tmp_path):
  write_log(tmp_path, 0, DATA)
  content = (tmp_path / 'log_0').read_bytes()
  (tmp_path / 'log_0').write_bytes(content[:-20])
  with pytest.raises(atomic.DamagedError, match='log_0 is damaged'):
    utils.load_statistics(str(tmp_path))

  class Attack:
    def __reduce__(self):
      return os.mkdir, (str(tmp_path / 'ran'),)

  write_log(tmp_path, 0, {'iteration_0': Attack()})
  with pytest.raises(safe_pickle.RefusedError, match='mkdir'):
    utils.load_statistics(str(tmp_path))
  assert not (tmp_path / 'ran').exists()


def test_means_are_repeated_where_there_is_nothing():
  keys = ['train_episode_returns', 'eval_episode_returns', 'x']
  summary = utils.summarize_data(DATA, keys)
  assert summary['train_episode_returns'] == [1.5, 4.0, 4.0]
  evaluated = summary['eval_episode_returns']
  assert evaluated[2] == 7.0 and all(map(math.isnan, evaluated[:2]))
  assert all(map(math.isnan, summary['x'])) and len(summary['x']) == 3
  # A gap is an iteration too.
  gap = {name: DATA[name] for name in ('iteration_0', 'iteration_2')}
  assert utils.summarize_data(gap, keys[:1]) == {keys[0]: [1.5, 1.5, 1.5]}
  assert utils.summarize_data({}, keys[:1]) == {keys[0]: []}


def test_a_sweep_is_one_table(tmp_path):
  for rate in (0.1, 0.2):
    for seed in (1, 2):
      data = {
        f'iteration_{i}': {'train_episode_returns': [rate, i, seed]}
        for i in range(300 if seed == 2 else 3)
      }
      write_log(tmp_path / f'{rate}/{seed}' / 'logs', 2, data)
  table = utils.read_experiment(
    str(tmp_path), {'rate': [0.1, 0.2], 'seed': [1, 2]}, '{}/{}'
  )
  # No column for evaluation, which these runs have not, and no 200 rows.
  assert list(table.columns) == [
    *('rate', 'seed', 'iteration', 'train_episode_returns')
  ]
  assert len(table) == 2 * (3 + 300)
  row = table[
    (table.rate == 0.2) & (table.seed == 2) & (table.iteration == 250)
  ]
  np.testing.assert_allclose(row.train_episode_returns, [(0.2 + 250 + 2) / 3])


def test_one_run_and_names_of_settings(tmp_path):
  write_log(tmp_path / 'logs', 2, DATA)
  write_log(tmp_path / 'rate_0.5-seed_3' / 'logs', 2, DATA)
  table = utils.read_experiment(str(tmp_path))
  assert table.train_episode_returns.tolist() == [1.5, 4.0, 4.0]
  assert table.eval_episode_returns.tolist()[2] == 7.0
  named = utils.read_experiment(
    str(tmp_path), {'rate': [0.5], 'seed': [3]}, None, summary_keys=('x',)
  )
  assert list(named.columns) == ['rate', 'seed', 'iteration']
  assert named.iteration.tolist() == [0, 1, 2]


def test_baselines_are_told_apart_by_run(tmp_path, capsys):
  points = [
    {'Iteration': i, 'Value': 10.0 * run + i, 'Agent': agent}
    for agent in ('DQN', 'C51')
    for run in (1, 2)
    for i in range(3)
  ]
  (tmp_path / 'pong.json').write_text(json.dumps(points))
  (tables,) = [utils.load_baselines(str(tmp_path), verbose=True)]
  assert list(tables) == ['Pong']
  assert 'no baselines for Breakout' in capsys.readouterr().out
  table = tables['Pong']
  second = table[(table.agent == 'C51') & (table.run_number == 2)]
  assert second.train_episode_returns.tolist() == [20.0, 21.0, 22.0]
  (tmp_path / 'pong.json').write_text('[{"Iteration": 0}]')
  with pytest.raises(atomic.DamagedError, match='pong.json is no list'):
    utils.load_baselines(str(tmp_path))
  with pytest.raises(ValueError, match='no GAME.json'):
    utils.load_baselines(str(tmp_path / 'empty'))


def test_the_games_of_the_baselines():
  assert len(utils.ALL_GAMES) == len(set(utils.ALL_GAMES)) == 60
  assert utils.ALL_GAMES[0] == 'AirRaid' and utils.ALL_GAMES[-1] == 'Zaxxon'
  assert list(utils.ALL_GAMES) == sorted(utils.ALL_GAMES)
