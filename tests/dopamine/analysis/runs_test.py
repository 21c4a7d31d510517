"""What is read of folders of runs and of published curves, and how labelled."""

import json
import pickle

import numpy as np
from numpy.testing import assert_allclose
from numpy.testing import assert_array_equal
import pytest

from dopamine import analysis
from dopamine import safe_pickle
from dopamine.analysis import runs as runs_lib
from tests.support import run_folders

pytestmark = pytest.mark.no_backend

write_run = run_folders.write_run


def test_a_run_says_what_it_is(tmp_path):
  path = write_run(
    tmp_path / 'a',
    [[1, 3], [4]],
    agent_name='quantile',
    seed=7,
    evaluated=[5.0],
  )
  (run,) = analysis.read_runs([str(path)])
  assert run.agent == 'QR-DQN' and run.agent_name == 'quantile'
  assert (run.task, run.seed, run.path) == ('Pong', 7, str(path))
  assert_allclose(run.train, [2, 4])
  assert_allclose(run.eval, [5, np.nan])
  assert_allclose(run.agent_steps, [250_000, 500_000])
  assert not run.is_published


def test_an_iteration_in_which_no_episode_ended_has_no_return(tmp_path):
  """Dopamine wrote 0 for its average, which is no return that anybody had."""
  write_run(tmp_path / 'a', [3.0, None, 5.0])
  (run,) = analysis.read_runs(str(tmp_path))
  assert_allclose(run.train, [3, np.nan, 5])
  assert run.agent_steps[-1] == 500_000


def test_folders_above_are_searched_and_each_run_is_read_once(tmp_path):
  for seed in range(3):
    write_run(tmp_path / f'deep/er/seed_{seed}', [1.0], seed=seed)
  write_run(tmp_path / 'other', [1.0], agent_name='rainbow')
  (tmp_path / 'link').symlink_to(tmp_path / 'other')
  words = [
    tmp_path,
    tmp_path / 'deep',
    tmp_path / 'link',
    tmp_path / 'other/logs',
  ]
  runs = analysis.read_runs(words)
  assert [run.seed for run in runs if run.agent == 'DQN'] == [0, 1, 2]
  assert len(runs) == 4


@pytest.mark.parametrize(
  'agent_name, more, label, name',
  [
    ('rainbow', '', 'Rainbow', 'rainbow'),
    (
      'rainbow',
      "RainbowAgent.update_horizon = 1\nRainbowAgent.replay_scheme = 'uniform'",
      *('C51', 'c51'),
    ),
    (
      'jax_rainbow',
      'JaxDQNAgent.update_horizon = 1\n'
      "JaxRainbowAgent.replay_scheme = 'uniform'",
      *('C51 (JAX)', 'jax_c51'),
    ),
    ('jax_quantile', '', 'QR-DQN (JAX)', 'jax_quantile'),
    ('full_rainbow', '', 'Full Rainbow', 'full_rainbow'),
  ],
)
def test_agents_have_their_names(tmp_path, agent_name, more, label, name):
  write_run(tmp_path / 'a', [1.0], agent_name=agent_name, more=more)
  (run,) = analysis.read_runs(str(tmp_path))
  assert (run.agent, run.agent_name) == (label, name)


@pytest.mark.parametrize(
  'line',
  [
    'create_agent.agent_name = @double_dqn.DoubleDQNAgent',
    'create_agent.agent_name = @DoubleDQNAgent',
    'Runner.create_agent_fn = @mine.DoubleDQNAgent',
  ],
)
def test_an_agent_of_ones_own_is_called_as_it_is(tmp_path, line):
  config = run_folders.ATARI.replace(
    'create_agent.agent_name = {agent_name!r}', line
  )
  write_run(tmp_path / 'a', [1.0], config=config)
  (run,) = analysis.read_runs(str(tmp_path))
  assert run.agent == 'DoubleDQNAgent'


@pytest.mark.parametrize(
  'config, task, expected',
  [
    (run_folders.ATARI, 'space_invaders', 'SpaceInvaders'),
    (run_folders.ATARI, 'Tetris', 'Tetris'),
    (run_folders.GYM, 'CartPole', 'CartPole-v0'),
    (run_folders.GYM, 'Acrobot-v1', 'Acrobot-v1'),
    (
      run_folders.ATARI + 'Runner.create_environment_fn = @mine.make_maze',
      *('Pong', 'make_maze'),
    ),
    (
      run_folders.ATARI + 'Runner.create_environment_fn = '
      '@atari_lib.create_atari_environment',
      *('Pong', 'Pong'),
    ),
  ],
)
def test_tasks_have_their_names(tmp_path, config, task, expected):
  write_run(tmp_path / 'a', [1.0], config=config, task=task)
  (run,) = analysis.read_runs(str(tmp_path))
  assert run.task == expected


# Labels -----------------------------------------------------------------------


def labels(tmp_path, phase='train', **settings):
  for name, more in settings.items():
    write_run(tmp_path / name, [1.0], more=more, evaluated=[2.0])
  runs = analysis.read_runs(str(tmp_path), phase=phase)
  return {run.path.rpartition('/')[-1]: run.agent for run in runs}


def test_runs_of_other_settings_are_no_runs_of_one_agent(tmp_path):
  found = labels(
    tmp_path,
    a='DQNAgent.gamma = 0.99\nAdamOptimizer.learning_rate = 0.1',
    b='DQNAgent.gamma = 0.99\nAdamOptimizer.learning_rate = 0.2',
    c='DQNAgent.gamma = 0.99\nAdamOptimizer.learning_rate = 0.1',
  )
  assert found == {
    'a': 'DQN, learning_rate=0.1',
    'b': 'DQN, learning_rate=0.2',
    'c': 'DQN, learning_rate=0.1',
  }


def test_what_takes_the_place_of_a_default_is_in_the_label(tmp_path):
  """A configuration leaves out defaults that are functions and classes."""
  found = labels(
    tmp_path,
    a='DQNAgent.gamma = 0.99',
    b='DQNAgent.gamma = 0.99\nDQNAgent.network = @mine.DuelingNetwork',
    c='DQNAgent.gamma = 0.99\nDQNAgent.of_a_later_release = False',
  )
  assert found == {
    'a': 'DQN, network=default',
    'b': 'DQN, network=@mine.DuelingNetwork',
    'c': 'DQN, network=default',
  }


def test_runs_whose_settings_nobody_knows_are_apart_from_others(tmp_path):
  write_run(tmp_path / 'dqn/Pong/1', [1.0], config='')
  write_run(tmp_path / 'b', [1.0])
  runs = analysis.read_runs(str(tmp_path))
  assert {run.agent for run in runs} == {'DQN', 'DQN, settings unknown'}


def test_settings_of_ones_own_that_sound_like_others_matter(tmp_path):
  found = labels(tmp_path, a='MyNetwork.version = 1', b='MyNetwork.version = 2')
  assert len(set(found.values())) == 2


def test_what_does_not_matter_is_in_no_label(tmp_path):
  found = labels(
    tmp_path,
    a="Runner.log_every_n = 1\nDQNAgent.tf_device = '/gpu:0'",
    b="Runner.log_every_n = 2\nDQNAgent.tf_device = '/cpu:*'",
    c='DQNAgent.epsilon_eval = 0.5',
    d='DQNAgent.epsilon_eval = 0.1\nDQNAgent.gamma = 0.99',
  )
  assert set(found.values()) == {'DQN'}


def test_what_only_evaluation_knows_matters_to_it(tmp_path):
  found = labels(
    tmp_path,
    'eval',
    c='DQNAgent.epsilon_eval = 0.5',
    d='DQNAgent.epsilon_eval = 0.1',
  )
  assert set(found.values()) == {
    'DQN, epsilon_eval=0.5',
    'DQN, epsilon_eval=0.1',
  }


def test_parameters_of_one_name_are_told_apart(tmp_path):
  found = labels(tmp_path, a='A.x = 1\nB.x = 1', b='A.x = 2\nB.x = 3')
  assert found['a'] == 'DQN, A.x=1, B.x=1'


def test_the_two_backends_are_told_apart(tmp_path):
  for name, device in (('a', 'tensorflow 2.21.0 on cpu'), ('b', 'jax 0.10 on')):
    path = write_run(tmp_path / name, [1.0])
    (path / 'run.json').write_text(json.dumps({'device': device}))
  runs = analysis.read_runs(str(tmp_path))
  assert [run.agent for run in runs] == [
    *('DQN, backend=tensorflow', 'DQN, backend=jax')
  ]


def test_a_label_over_several_agents_keeps_them_apart(tmp_path):
  for name in ('dqn', 'quantile'):
    more = f"A.of_{name} = 1\nA.a = '{name}'\n"
    write_run(tmp_path / name, [1.0], agent_name=name, more=more)
  runs = analysis.read_runs([f'mine={tmp_path}'])
  assert [run.agent for run in runs] == ['mine DQN', 'mine QR-DQN']


def test_a_label_is_short_where_that_tells_all_apart(tmp_path):
  settings = {n: '\n'.join(f'A.{key} = {n}' for key in 'abcde') for n in (1, 2)}
  found = labels(tmp_path, x=settings[1], y=settings[2])
  assert found['x'] == 'DQN, a=1, b=1, c=1, 2 more'
  found = labels(tmp_path / 'more', z=settings[1].replace('e = 1', 'e = 3'))
  runs = analysis.read_runs(str(tmp_path))
  assert len({run.agent for run in runs}) == 3


def test_settings_that_belong_to_a_task_are_in_no_label(tmp_path):
  write_run(tmp_path / 'a', [1.0], task='Pong', more='DQNAgent.gamma = 0.9')
  write_run(tmp_path / 'b', [1.0], task='Qbert', more='DQNAgent.gamma = 0.8')
  runs = analysis.read_runs(str(tmp_path))
  assert {run.agent for run in runs} == {'DQN'}


# Runs that say nothing --------------------------------------------------------


def test_a_run_of_dopamine_3_is_named_by_who_gives_it(tmp_path):
  path = write_run(tmp_path / 'x', [1.0], config='')
  (run,) = analysis.read_runs([f'Rainbow/space_invaders={path}'])
  assert (run.agent, run.agent_name) == ('Rainbow', 'rainbow')
  assert (run.task, run.seed) == ('SpaceInvaders', None)
  (run,) = analysis.read_runs([f'my agent/Maze={path}'])
  assert (run.agent, run.agent_name, run.task) == ('my agent', '', 'Maze')


@pytest.mark.parametrize(
  'folder, agent, name',
  [
    ('rainbow/Pong/1', 'Rainbow', 'rainbow'),
    ('dqn_pong_2', 'DQN', 'dqn'),
    ('my-own_agent/pong/seed_3', 'my_own_agent', ''),
    ('dqn/Pong/run1', 'DQN', 'dqn'),
    ('dqn_Pong_s0', 'DQN', 'dqn'),
    ('dqn/Pong-v5/seed1', 'DQN', 'dqn'),
  ],
)
def test_a_path_tells_game_and_agent_where_nothing_else_does(
  tmp_path, folder, agent, name
):
  path = write_run(tmp_path / folder, [1.0], config='')
  (run,) = analysis.read_runs([str(path)])
  assert (run.task, run.agent, run.agent_name) == ('Pong', agent, name)


def test_a_game_of_several_words_is_found_in_a_path(tmp_path):
  path = write_run(tmp_path / 'dqn_space_invaders_1', [1.0], config='')
  (run,) = analysis.read_runs([str(path)])
  assert (run.task, run.agent) == ('SpaceInvaders', 'DQN')


def test_a_label_may_hold_what_parts_words(tmp_path):
  path = write_run(tmp_path / 'a', [1.0])
  for words in ([f'lr=1e-4={path}'], [str(tmp_path), f'lr=1e-4={path}']):
    (run,) = analysis.read_runs(words)
    assert run.agent == 'lr=1e-4'


def test_a_run_without_a_finished_iteration_is_named(tmp_path, caplog):
  write_run(tmp_path / 'a', [1.0])
  path = write_run(tmp_path / 'b', [1.0])
  (path / 'logs' / 'log_0').unlink()
  with caplog.at_level('WARNING', 'absl'):
    assert len(analysis.read_runs(str(tmp_path))) == 1
  assert str(path) in caplog.text


def test_a_log_that_lacks_its_beginning_keeps_its_place(tmp_path):
  """As Dopamine left it where a log was lost before a run was resumed."""
  path = write_run(tmp_path / 'a', [1.0, 2.0, 3.0])
  file = path / 'logs' / 'log_2'
  data = pickle.loads(file.read_bytes())
  del data['iteration_0']
  file.write_bytes(pickle.dumps(data))
  (run,) = analysis.read_runs([str(path)])
  assert_allclose(run.agent_steps, [250_000, 500_000, 750_000])
  assert_allclose(run.train, [np.nan, 2, 3])


def test_a_damaged_log_is_named_with_what_to_do(tmp_path):
  path = write_run(tmp_path / 'a', [1.0])
  (path / 'logs' / 'log_1').write_bytes(b'')
  with pytest.raises(ValueError, match='log_1 is damaged.*remove this file'):
    analysis.read_runs([str(path)])
  (path / 'logs' / 'log_1').unlink()
  assert len(analysis.read_runs([str(path)])) == 1


def test_a_return_that_is_infinite_is_none(tmp_path):
  path = write_run(tmp_path / 'a', [1.0, float('inf')])
  (run,) = analysis.read_runs([str(path)])
  assert_allclose(run.train, [1, np.nan])


def test_what_nobody_names_is_refused_with_the_word_to_give(tmp_path):
  path = write_run(tmp_path / 'x', [1.0], config='')
  with pytest.raises(ValueError, match=f"'DQN/Pong={path}'"):
    analysis.read_runs([str(path)])


@pytest.mark.parametrize('is_there', [True, False])
def test_where_there_is_no_run_it_is_said(tmp_path, is_there):
  path = tmp_path if is_there else tmp_path / 'none'
  with pytest.raises(ValueError, match='there is no'):
    analysis.read_runs([str(path)])


def test_a_log_that_runs_code_is_refused(tmp_path):
  path = write_run(tmp_path / 'a', [1.0])
  (path / 'logs' / 'log_0').write_bytes(pickle.dumps(print))
  with pytest.raises(safe_pickle.RefusedError, match='log_0.*print'):
    analysis.read_runs([str(path)])


def test_a_phase_is_one_of_two(tmp_path):
  with pytest.raises(ValueError, match="'test'"):
    analysis.read_runs([str(write_run(tmp_path / 'a', [1.0]))], phase='test')


# Published curves -------------------------------------------------------------


def write_published(folder):
  points = []
  for agent, first in (('DQN', 0.0), ('IQN', 100.0)):
    for run, length in enumerate((3, 2)):
      for i in range(length):
        value = first + 10 * run + i
        points.append({'Iteration': i, 'Value': value, 'Agent': agent})
  folder.mkdir(parents=True)
  (folder / 'spaceinvaders.json').write_text(json.dumps(points))
  (folder / 'spaceinvaders.vg.json').write_text('{}')


def test_published_curves_are_runs(tmp_path):
  write_published(tmp_path / 'data')
  for word in ('data', 'data/spaceinvaders.json'):
    runs = analysis.read_runs([str(tmp_path / word)])
    assert [run.agent for run in runs] == [
      *['DQN, published'] * 2,
      *['IQN, published'] * 2,
    ]
    assert all(run.task == 'SpaceInvaders' and run.is_published for run in runs)
    assert_array_equal(runs[0].train, [0, 1, 2])
    assert_array_equal(runs[1].train, [10, 11])
    assert_array_equal(runs[3].train, [110, 111])
    assert_array_equal(runs[0].agent_steps, [250_000, 500_000, 750_000])


def test_published_curves_are_read_once_and_beside_runs(tmp_path):
  write_published(tmp_path / 'x' / 'data')
  write_run(tmp_path / 'x' / 'run', [1.0])
  words = [
    tmp_path,
    tmp_path / 'x/data',
    tmp_path / 'x/data/spaceinvaders.json',
  ]
  assert len(analysis.read_runs(words)) == 5


def test_a_label_of_published_curves_keeps_their_agents(tmp_path):
  write_published(tmp_path / 'data')
  runs = analysis.read_runs([f'old={tmp_path}/data'])
  assert {run.agent for run in runs} == {'old DQN', 'old IQN'}


def test_published_curves_of_no_game_are_refused(tmp_path):
  (tmp_path / 'nothing.json').write_text('[]')
  with pytest.raises(ValueError, match="no published game 'nothing'"):
    analysis.read_runs([str(tmp_path / 'nothing.json')])


# A table ----------------------------------------------------------------------


def test_the_table_has_a_row_for_each_iteration(tmp_path):
  write_run(tmp_path / 'a', [1.0, None], seed=3, evaluated=[4.0, 5.0])
  write_run(tmp_path / 'b', [2.0], agent_name='rainbow')
  table = analysis.curves(analysis.read_runs(str(tmp_path)))
  assert table.agent.tolist() == ['DQN', 'DQN', 'Rainbow']
  assert table.iteration.tolist() == [0, 1, 0]
  assert_allclose(table.train_return, [1, np.nan, 2])
  assert_allclose(table.eval_return, [4, 5, np.nan])
  assert table.seed.tolist() == [3, 3, 0]


def test_more_processes_read_the_same(tmp_path, monkeypatch):
  for seed in range(4):
    write_run(tmp_path / f'{seed}', [float(seed)], seed=seed)
  monkeypatch.setattr(runs_lib, '_MANY', 2)
  alone, together = (
    analysis.curves(analysis.read_runs(str(tmp_path), processes=n))
    for n in (1, 2)
  )
  assert alone.equals(together)
