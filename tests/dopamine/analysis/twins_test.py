"""Which runs are held against published ones, and what differs."""

import numpy as np
import pytest

from dopamine import analysis
from dopamine.analysis import published
from tests.support import run_folders

pytestmark = pytest.mark.no_backend


def compare(tmp_path, *, returns=(1.6, 3.0), names=('a',), **kwargs):
  for seed, name in enumerate(names):
    known = {'task': 'Breakout', 'seed': seed} | kwargs
    run_folders.write_run(tmp_path / name, list(returns), **known)
  return analysis.compare_with_published(analysis.read_runs(str(tmp_path)))


def test_runs_of_an_agent_and_game_are_one_mean(tmp_path):
  (found,), refusals = compare(tmp_path, names='abc')
  assert not refusals
  assert (found.agent, found.band.game, found.band.runs) == (
    'DQN',
    'Breakout',
    3,
  )
  assert found.band.millions_of_frames.tolist() == [1, 2]
  # 1.641 +- 2.776 * 0.046 * sqrt(1/3 + 1/5), 3.059 +- ... 0.174.
  assert found.inside.tolist() == [True, True] and found.is_inside


def test_a_run_of_another_mean_is_outside(tmp_path):
  (found,), _ = compare(tmp_path, returns=(1.6, 4.0))
  assert found.inside.tolist() == [True, False] and not found.is_inside


def test_a_run_that_has_gone_on_longer_is_cut(tmp_path):
  run_folders.write_run(tmp_path / 'z', [1.6] * 3, task='Breakout', seed=9)
  (found,), _ = compare(tmp_path)
  assert found.band.runs == 2
  assert found.band.millions_of_frames.tolist() == [1, 2]


DQN = """
DQNAgent.optimizer = @tf.train.RMSPropOptimizer()
DQNAgent.update_horizon = 1
DQNAgent.double_dqn = False
RMSPropOptimizer.learning_rate = 0.00025
WrappedReplayBuffer.batch_size = 32
"""


def differences(tmp_path, more, **kwargs):
  (found,), _ = compare(tmp_path, more=more, **kwargs)
  return [text.partition(':')[0] for text in found.differences]


def test_what_is_as_published_is_not_named(tmp_path):
  # But for what differs in any case.
  assert differences(tmp_path, DQN) == [
    'time-outs were stored as terminals (Runner.timeouts_are_terminal)'
  ]


@pytest.mark.parametrize(
  'old, new, named',
  [
    ('@tf.train.RMSPropOptimizer()', "'adam'", 'optimizer'),
    ('horizon = 1', 'horizon = 3', 'update_horizon'),
    ('dqn = False', 'dqn = True', 'double_dqn'),
    ('rate = 0.00025', 'rate = 0.0005', 'learning_rate'),
    ('batch_size = 32', 'batch_size = 64', 'batch_size'),
    ('DQNAgent.update_horizon', 'DQNAgent.network = @mine.Net\nA.b', 'network'),
  ],
)
def test_a_setting_that_differs_is_named(tmp_path, old, new, named):
  assert old in DQN
  assert differences(tmp_path, DQN.replace(old, new))[1:] == [named]


def test_the_same_number_in_other_words_is_no_difference(tmp_path):
  more = DQN.replace('0.00025', '2.5e-4')
  assert len(differences(tmp_path, more)) == 1


def test_a_rate_that_no_gin_file_sets_is_compared(tmp_path):
  """c51.gin of JAX leaves it to `create_optimizer`: 6.25e-5, and 1.5e-4."""
  more = (
    'JaxDQNAgent.update_horizon = 1\n'
    "JaxRainbowAgent.replay_scheme = 'uniform'\n"
    "JaxDQNAgent.loss_type = 'huber'\n"
    'create_optimizer.learning_rate = {}\ncreate_optimizer.eps = {}\n'
  )
  for i, (rate, eps, named) in enumerate(
    (
      (6.25e-5, 1.5e-4, []),
      (0.1, 1.5e-4, ['learning_rate']),
      (6.25e-5, 0.1, ['epsilon']),
    )
  ):
    found = differences(
      tmp_path / f'{i}', more.format(rate, eps), agent_name='jax_rainbow'
    )
    assert found == [
      'transitions that a time-out cuts off were dropped',
      *named,
    ]


def test_timeouts_as_terminals_are_as_published(tmp_path):
  more = DQN + 'Runner.timeouts_are_terminal = True\n'
  assert differences(tmp_path, more) == []


def test_what_a_run_is_decides_not_what_it_is_called(tmp_path):
  more = 'QuantileAgent.gamma = 0.99\n'
  kwargs = {'agent_name': 'quantile', 'task': 'Breakout', 'more': more}
  path = run_folders.write_run(tmp_path / 'x', [4.5], **kwargs)
  runs = analysis.read_runs([f'Rainbow={path}'])
  (found,), _ = analysis.compare_with_published(runs)
  assert found.agent == 'Rainbow'
  assert found.band.twin.agent == 'Quantile (JAX)'


@pytest.mark.parametrize('kind, named', [('huber', ['loss']), ('mse', [])])
def test_the_loss_is_named_where_it_is_chosen(tmp_path, kind, named):
  more = f"JaxDQNAgent.loss_type = '{kind}'\n"
  found = differences(tmp_path, more, agent_name='jax_dqn')
  assert found == ['transitions that a time-out cuts off were dropped', *named]


def test_a_run_that_says_nothing_has_everything_unknown(tmp_path):
  path = run_folders.write_run(tmp_path / 'x', [1.6], config='')
  runs = analysis.read_runs([f'DQN/Breakout={path}'])
  (found,), _ = analysis.compare_with_published(runs)
  assert 'operative_config' in found.differences[-1]


# What is no comparison --------------------------------------------------------


@pytest.mark.parametrize(
  'kwargs, reason',
  [
    ({'agent_name': 'full_rainbow'}, "published of the agent 'full_rainbow'"),
    ({'agent_name': 'MyAgent'}, "published of the agent 'MyAgent'"),
    ({'task': 'Tetris'}, "published of the game 'Tetris'"),
    ({'steps': 100_000}, 'iteration 0.* 100000 agent steps.*training_steps'),
    ({'steps': 300_000}, 'iteration 0.* 300000 agent steps'),
    ({'more': 'AtariPreprocessing.terminal_on_life_loss = True'}, 'life_loss'),
    ({'more': 'AtariPreprocessing.frame_skip = 1'}, 'frame_skip is 1'),
    ({'more': 'Runner.max_steps_per_episode = 4500'}, 'is 4500.* was 27000'),
  ],
)
def test_another_protocol_is_no_comparison(tmp_path, kwargs, reason):
  found, (refusal,) = compare(tmp_path, **kwargs)
  assert not found
  with pytest.raises(AssertionError, match=reason):
    raise AssertionError(refusal)


def test_games_without_sticky_actions_are_no_comparison(tmp_path):
  config = run_folders.ATARI.replace(
    'sticky_actions = True', 'sticky_actions = False'
  )
  found, (refusal,) = compare(tmp_path, config=config)
  assert not found and 'sticky_actions is False' in refusal


def test_of_tasks_of_gymnasium_nothing_is_said(tmp_path):
  kwargs = {'config': run_folders.GYM, 'task': 'CartPole'}
  assert compare(tmp_path, **kwargs) == ([], [])


def test_one_reason_is_said_once(tmp_path):
  for task in ('Pong', 'Qbert'):
    compare_with = {'agent_name': 'full_rainbow', 'task': task}
    run_folders.write_run(tmp_path / task, [1.0], **compare_with)
  runs = analysis.read_runs(str(tmp_path))
  _, (refusal,) = analysis.compare_with_published(runs)
  assert 'Full Rainbow on Pong; Full Rainbow on Qbert' in refusal


@pytest.mark.parametrize('twin', published.TWINS.values(), ids=str)
def test_the_gin_file_of_a_twin_is_compared(twin):
  """Each is there, and has settings of an algorithm."""
  from dopamine.analysis import twins

  settings = twins._expected(twin.gin_file)
  assert settings['gamma'] == 0.99 and settings['batch_size'] == 32
  assert not settings.keys() & {'game_name', 'seed', 'optimizer', 'agent_name'}


def test_the_last_episode_of_an_iteration_may_end_late(tmp_path):
  (found,), _ = compare(tmp_path, steps=250_000 + 20_000)
  assert np.isfinite(found.mean).all()
