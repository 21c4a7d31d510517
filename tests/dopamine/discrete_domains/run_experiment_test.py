"""Tests of the Runner with a scripted agent, and with DQN."""

import os
import pathlib
import pickle
from unittest import mock

import gymnasium
import numpy as np
from numpy.testing import assert_array_equal
import pytest
from tensorboard.backend.event_processing import event_accumulator

from dopamine import seeding
from dopamine.discrete_domains import checkpointer
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from tests.support import agents
from tests.support import inside
from tests.support import small


class Scribe:
  """Writes down every call; saves a counter."""

  def __init__(self):
    self.eval_mode = False
    self.calls = []
    self.count = 0

  def begin_episode(self, observation):
    self.calls.append(('begin', float(observation[0])))
    return 0

  def step(self, reward, observation):
    self.count += 1
    self.calls.append(('step', reward, float(observation[0])))
    return 0

  def end_episode(self, reward, terminal=True, observation=None):
    observation = None if observation is None else float(observation[0])
    self.calls.append(('end', reward, terminal, observation))

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    return {'count': self.count}

  def unbundle(self, checkpoint_dir, iteration_number, data):
    self.count = data['count']
    return True


class OldScribe(Scribe):
  def end_episode(self, reward):
    self.calls.append(('end', reward))


class JaxScribe(Scribe):
  def end_episode(self, reward, terminal=True):
    self.calls.append(('end', reward, terminal))


class RenamedScribe(Scribe):
  def end_episode(self, reward, is_terminal):
    self.calls.append(('end', reward, is_terminal))


class AnyScribe(Scribe):
  def end_episode(self, reward, **kwargs):
    self.calls.append(('end', reward, sorted(kwargs)))


class Scripted:
  """Steps of (observation, reward, is_terminal, game_over), again and again."""

  def __init__(self, script):
    self.script, self.game_over = script, False
    self.action_space = type('Space', (), {'n': 2})

  def reset(self):
    self._left, self.game_over = list(self.script), False
    return np.array([0.0])

  def step(self, action):
    observation, reward, is_terminal, self.game_over = self._left.pop(0)
    return np.array([observation]), reward, is_terminal, {}


def make_runner(tmp_path, environment, agent=None, cls=None, **kwargs):
  settings = dict(
    num_iterations=1,
    training_steps=1,
    evaluation_steps=0,
    max_steps_per_episode=100,
  )
  agent = agent or Scribe()
  return (cls or run_experiment.Runner)(
    str(tmp_path),
    lambda sess, environment, summary_writer=None: agent,
    lambda: environment,
    **(settings | kwargs),
  ), agent


# The episode ------------------------------------------------------------------


def test_an_episode_step_by_step(tmp_path):
  environment = Scripted(
    [(1, 0.5, False, False), (2, 7.0, False, False), (3, -9.0, True, True)]
  )
  runner, agent = make_runner(tmp_path, environment)
  runner.run_experiment()
  assert agent.calls == [
    ('begin', 0.0),
    ('step', 0.5, 1.0),
    ('step', 1.0, 2.0),  # Clipped from 7.
    ('end', -1.0, True, 3.0),
  ]


def test_returns_are_not_clipped_and_rewards_need_not_be(tmp_path):
  environment = Scripted([(1, 7.0, False, False), (2, 0.25, True, True)])
  runner, agent = make_runner(tmp_path, environment, clip_rewards=False)
  runner.run_experiment()
  assert agent.calls[1:] == [('step', 7.0, 1.0), ('end', 0.25, True, 2.0)]
  statistics = inside.logs(runner)['iteration_0']
  assert statistics['train_episode_returns'] == [7.25]
  assert statistics['train_episode_lengths'] == [2]


def test_a_lost_life_ends_the_episode_for_the_agent_alone(tmp_path):
  environment = Scripted(
    [(1, 0.0, False, False), (2, 1.0, True, False), (3, 0.5, True, True)]
  )
  runner, agent = make_runner(tmp_path, environment)
  runner.run_experiment()
  assert agent.calls == [
    ('begin', 0.0),
    ('step', 0.0, 1.0),
    ('end', 1.0, True, 2.0),
    ('begin', 2.0),
    ('end', 0.5, True, 3.0),
  ]
  assert inside.logs(runner)['iteration_0']['train_episode_lengths'] == [3]


@pytest.mark.parametrize(
  'agent,expected',
  [
    (Scribe(), ('end', 1.0, False, 2.0)),
    (JaxScribe(), ('end', 1.0, False)),
    (OldScribe(), ('end', 1.0)),
    (AnyScribe(), ('end', 1.0, ['observation', 'terminal'])),
    (RenamedScribe(), ('end', 1.0, False)),
  ],
)
def test_a_time_limit_is_told_as_far_as_the_agent_listens(
  tmp_path, agent, expected
):
  environment = Scripted([(1, 1.0, False, False), (2, 1.0, False, False)] * 5)
  runner, _ = make_runner(tmp_path, environment, agent, max_steps_per_episode=2)
  runner.run_experiment()
  assert agent.calls[-1] == expected
  assert len(agent.calls) == 3


def test_timeouts_are_terminal_where_that_is_asked_for(tmp_path):
  environment = Scripted([(1, 1.0, False, False), (2, 1.0, False, False)])
  runner, agent = make_runner(
    tmp_path, environment, max_steps_per_episode=2, timeouts_are_terminal=True
  )
  runner.run_experiment()
  assert agent.calls[-1] == ('end', 1.0, True, 2.0)


def test_an_environment_that_truncates_itself_is_a_time_limit(tmp_path):
  environment = Scripted([(1, 1.0, False, False), (2, 1.0, False, True)])
  runner, agent = make_runner(tmp_path, environment)
  runner.run_experiment()
  assert agent.calls[-1] == ('end', 1.0, False, 2.0)


def test_an_override_of_the_episode_is_counted(tmp_path):
  class TwoSteps(run_experiment.Runner):
    def _run_one_episode(self):
      return 2, 5.0

  environment = Scripted([])
  runner, _ = make_runner(tmp_path, environment, cls=TwoSteps, training_steps=3)
  runner.run_experiment()
  statistics = inside.logs(runner)['iteration_0']
  assert statistics['train_episode_lengths'] == [2, 2]
  assert statistics['train_average_return'] == [5.0]


def test_one_episode_can_be_run_alone(tmp_path):
  environment = Scripted([(1, 7.0, True, True)])
  runner, _ = make_runner(tmp_path, environment)
  assert runner._run_one_episode() == (1, 7.0)


def test_rewards_may_be_arrays(tmp_path):
  environment = Scripted([(1, np.array([7.0, -0.5]), True, True)])
  runner, agent = make_runner(tmp_path, environment)
  runner._run_one_episode()
  assert_array_equal(agent.calls[-1][1], [1.0, -0.5])


# Phases and iterations --------------------------------------------------------


def test_a_phase_is_whole_episodes_of_at_least_its_steps(tmp_path):
  environment = Scripted([(1, 1.0, False, False), (2, 1.0, True, True)])
  runner, _ = make_runner(
    tmp_path, environment, training_steps=5, evaluation_steps=3
  )
  runner.run_experiment()
  statistics = inside.logs(runner)['iteration_0']
  rate = statistics.pop('train_average_steps_per_second')
  assert len(rate) == 1 and rate[0] > 0
  assert statistics == {
    'train_episode_lengths': [2, 2, 2],
    'train_episode_returns': [2.0, 2.0, 2.0],
    'train_average_return': [2.0],
    'eval_episode_lengths': [2, 2],
    'eval_episode_returns': [2.0, 2.0],
    'eval_average_return': [2.0],
  }


def test_eval_mode_follows_the_phase(tmp_path):
  modes = []

  class Watched(Scribe):
    def begin_episode(self, observation):
      modes.append(self.eval_mode)
      return super().begin_episode(observation)

  environment = Scripted([(1, 1.0, True, True)])
  runner, _ = make_runner(
    tmp_path,
    environment,
    Watched(),
    training_steps=2,
    evaluation_steps=1,
    num_iterations=2,
  )
  runner.run_experiment()
  assert modes == [False, False, True] * 2


def read_events(path):
  accumulator = event_accumulator.EventAccumulator(str(path))
  accumulator.Reload()
  return accumulator


def scalars(path):
  events = read_events(path)
  return {
    tag: [(e.step, e.value) for e in events.Scalars(tag)]
    for tag in events.Tags()['scalars']
  }


def test_tensorboard_reads_the_original_tags(tmp_path):
  environment = Scripted([(1, 1.0, False, False), (2, 1.0, True, True)])
  runner, _ = make_runner(
    tmp_path,
    environment,
    training_steps=4,
    evaluation_steps=1,
    num_iterations=2,
  )
  runner.run_experiment()
  found = scalars(tmp_path)
  rates = found.pop('Train/AverageStepsPerSecond')
  assert [step for step, _ in rates] == [0, 1]
  assert found == {
    'Train/NumEpisodes': [(0, 2.0), (1, 2.0)],
    'Train/AverageReturns': [(0, 2.0), (1, 2.0)],
    'Eval/NumEpisodes': [(0, 1.0), (1, 1.0)],
    'Eval/AverageReturns': [(0, 2.0), (1, 2.0)],
  }


def test_train_runner_only_trains(tmp_path):
  environment = Scripted([(1, 1.0, True, True)])
  runner, agent = make_runner(
    tmp_path,
    environment,
    cls=run_experiment.TrainRunner,
    evaluation_steps=5,
  )
  runner.run_experiment()
  assert len(agent.calls) == 2
  assert set(inside.logs(runner)['iteration_0']) == {
    'train_episode_lengths',
    'train_episode_returns',
    'train_average_return',
    'train_average_steps_per_second',
  }
  assert set(scalars(tmp_path)) == {
    'Train/NumEpisodes',
    'Train/AverageReturns',
    'Train/AverageStepsPerSecond',
  }


def test_a_gym_file_may_train_only(tmp_path):
  run_experiment.load_gin_configs(
    ['dopamine/agents/dqn/configs/dqn_cartpole.gin'],
    ["create_runner.schedule = 'continuous_train'"],
  )
  runner = run_experiment.create_runner(str(tmp_path))
  assert isinstance(runner, run_experiment.TrainRunner)
  assert gym_lib.name_of(inside.environment(runner)) == 'CartPole-v0'


def test_the_line_of_a_phase(tmp_path, capsys):
  environment = Scripted([(1, 1.0, False, False), (2, 2.0, True, True)])
  runner, _ = make_runner(tmp_path, environment, training_steps=4)
  runner.run_experiment()
  line = capsys.readouterr().out.splitlines()[-1]
  assert line.startswith(
    'train 0/0 Steps executed: 4 Episode length: 2 Return: 3.0 [100%, '
  )
  assert 'steps/s' in line and 'left' in line and '\r' not in line


# Logs, checkpoints, resuming --------------------------------------------------


def test_logs_are_pickles_by_iteration(tmp_path):
  environment = Scripted([(1, 1.0, True, True)])
  runner, _ = make_runner(tmp_path, environment, num_iterations=6)
  runner.run_experiment()
  assert sorted(os.listdir(tmp_path / 'logs')) == [
    f'log_{i}' for i in (2, 3, 4, 5)
  ]
  with open(tmp_path / 'logs' / 'log_5', 'rb') as file:
    data = pickle.load(file)
  assert sorted(data) == [f'iteration_{i}' for i in range(6)]
  names = set(os.listdir(tmp_path / 'checkpoints'))
  for i in (2, 3, 4, 5):
    assert {f'ckpt.{i}', f'sentinel_checkpoint_complete.{i}'} <= names
  assert 'ckpt.1' not in names


@pytest.mark.parametrize(
  'keep,kept', [(4, 4), (1, 2), (3, 3), (0, 6), (None, 6)]
)
def test_one_setting_says_how_much_is_kept(tmp_path, keep, kept):
  agent = Scribe()
  agent.max_tf_checkpoints_to_keep = keep
  environment = Scripted([(1, 1.0, True, True)])
  make_runner(tmp_path, environment, agent, num_iterations=6)[
    0
  ].run_experiment()
  assert len(os.listdir(tmp_path / 'logs')) == kept
  for prefix in ('ckpt.', 'manifest_', 'sentinel_'):
    found = (tmp_path / 'checkpoints').glob(prefix + '*')
    assert len(list(found)) == kept


def test_a_runner_continues_after_the_last_complete_iteration(tmp_path):
  environment = Scripted([(1, 1.0, False, False), (2, 1.0, True, True)])
  first, agent = make_runner(tmp_path, environment, num_iterations=2)
  first.run_experiment()
  assert agent.count == 2
  os.remove(tmp_path / 'checkpoints' / 'sentinel_checkpoint_complete.1')
  second, agent = make_runner(tmp_path, environment, num_iterations=3)
  assert inside.start_iteration(second) == 1
  assert agent.count == 1
  assert sorted(inside.logs(second)) == ['iteration_0']
  second.run_experiment()
  assert sorted(inside.logs(second)) == [f'iteration_{i}' for i in range(3)]
  steps = [s for s, _ in scalars(tmp_path)['Train/NumEpisodes']]
  assert steps == [0, 1, 2]


def test_a_finished_run_runs_nothing(tmp_path):
  environment = Scripted([(1, 1.0, True, True)])
  make_runner(tmp_path, environment)[0].run_experiment()
  runner, agent = make_runner(tmp_path, environment)
  runner.run_experiment()
  assert agent.calls == []


def test_an_agent_that_declines_is_not_checkpointed(tmp_path):
  class Forgetful(Scribe):
    def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
      return None

  environment = Scripted([(1, 1.0, True, True)])
  runner, _ = make_runner(tmp_path, environment, Forgetful())
  runner.run_experiment()
  latest = checkpointer.get_latest_checkpoint_number(
    str(tmp_path / 'checkpoints')
  )
  assert latest == -1


def test_what_could_not_be_read_again_is_not_written(tmp_path):
  class Odd(Scribe):
    def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
      return {'count': pathlib.PurePosixPath('x')}

  environment = Scripted([(1, 1.0, True, True)])
  runner, _ = make_runner(tmp_path, environment, Odd())
  with pytest.raises(pickle.UnpicklingError, match='PurePosixPath'):
    runner.run_experiment()
  assert not [p for p in (tmp_path / 'checkpoints').rglob('*') if p.is_file()]


def test_a_minimal_environment_and_a_mock_agent_are_enough(tmp_path):
  class Minimal:
    game_over = True

    def reset(self):
      return np.zeros(1)

    def step(self, action):
      return np.zeros(1), 1.0, True, {}

  agent = mock.Mock()
  agent.unbundle.return_value = False
  agent.bundle_and_checkpoint.return_value = {'x': 1}
  runner, _ = make_runner(tmp_path, Minimal(), agent)
  runner.run_experiment()
  agent.end_episode.assert_called_once_with(1.0)


@pytest.mark.parametrize('state', [pathlib.PurePosixPath('x'), None])
def test_an_environment_with_a_state_of_its_own_kind_ends_no_run(
  tmp_path, state
):
  class Odd(Scripted):
    def get_state(self):
      if state is None:
        raise TypeError('get_state takes a name')
      return state

    def set_state(self, state):
      raise AssertionError('nothing was saved')

  environment = Odd([(1, 1.0, True, True)])
  for iterations in (1, 2):
    runner, _ = make_runner(tmp_path, environment, num_iterations=iterations)
    runner.run_experiment()
  assert inside.start_iteration(runner) == 1


def test_an_environment_that_cannot_be_saved_goes_on_with_new_draws(tmp_path):
  class Random(Scripted):
    def __init__(self):
      super().__init__([(1, 1.0, True, True)])
      self.first = seeding.generator(seeding.resolve(None), 'environment')
      self.first = self.first.integers(2**60)

  firsts = []
  for num_iterations in (1, 2):
    runner = run_experiment.Runner(
      str(tmp_path),
      lambda *_, summary_writer=None: Scribe(),
      Random,
      num_iterations=num_iterations,
      training_steps=1,
      evaluation_steps=0,
      seed=3,
    )
    runner.run_experiment()
    firsts.append(inside.environment(runner).first)
  assert firsts[0] != firsts[1]


# Seeds ------------------------------------------------------------------------


def dqn_runner(tmp_path, num_iterations, seed=5):
  settings = dict(min_replay_history=20, update_period=2, seed=None)
  return run_experiment.Runner(
    str(tmp_path),
    lambda sess, environment, summary_writer=None: agents.make_agent(
      **settings
    ),
    lambda: small.FourCountdown(7),
    num_iterations=num_iterations,
    training_steps=40,
    evaluation_steps=10,
    seed=seed,
  )


def test_the_runs_seed_reaches_agents_that_know_nothing_of_it(tmp_path):
  weights = []
  for name, seed in (('a', 5), ('b', 5), ('c', 6)):
    runner = dqn_runner(tmp_path / name, 1, seed)
    runner.run_experiment()
    weights.append(agents.weights(inside.agent(runner).online_convnet))
  for a, b in zip(weights[0], weights[1], strict=True):
    assert_array_equal(a, b)
  assert (weights[0][0] != weights[2][0]).any()


def test_a_fresh_seed_is_printed_saved_and_used_again(tmp_path, capsys):
  environment = Scripted([(1, 1.0, True, True)])
  first, _ = make_runner(tmp_path, environment)
  assert f'Seed:        {first._seed}' in capsys.readouterr().out
  second, _ = make_runner(tmp_path, environment)
  assert second._seed == first._seed
  other, _ = make_runner(tmp_path / 'other', environment)
  assert other._seed != first._seed


def test_two_iterations_and_two_after_a_stop_equal_four(tmp_path):
  straight = dqn_runner(tmp_path / 'straight', 4)
  straight.run_experiment()
  dqn_runner(tmp_path / 'stopped', 2).run_experiment()
  resumed = dqn_runner(tmp_path / 'stopped', 4)
  assert inside.start_iteration(resumed) == 2
  resumed.run_experiment()
  for a, b in zip(
    agents.weights(inside.agent(resumed).online_convnet),
    agents.weights(inside.agent(straight).online_convnet),
    strict=True,
  ):
    assert_array_equal(a, b)
  assert (
    inside.agent(resumed).training_steps
    == inside.agent(straight).training_steps
  )


# What cannot be made ----------------------------------------------------------


def test_unknown_names_are_told_with_the_nearest(tmp_path):
  environment = small.Countdown()
  with pytest.raises(ValueError, match="Unknown agent: dnq.*mean 'dqn'"):
    run_experiment.create_agent(None, environment, 'dnq')
  with pytest.raises(SyntaxError, match='a bracket or quote is open'):
    run_experiment.load_gin_configs([], ['DQNAgent.network = @f('])
  with pytest.raises(ValueError, match='Unknown schedule: forever'):
    run_experiment.create_runner(str(tmp_path), 'forever')
  with pytest.raises(ValueError, match='base_dir'):
    run_experiment.create_runner('')


def test_a_bare_gymnasium_environment_is_told_what_it_lacks(tmp_path):
  with pytest.raises(ValueError, match=r'game_over: return gym_lib.GymPrepro'):
    make_runner(tmp_path, gymnasium.make('CartPole-v1'))
  with pytest.raises(
    ValueError, match='returned None, which lacks reset, step'
  ):
    make_runner(tmp_path, None)


@pytest.mark.parametrize('reward', [None, 'much'])
def test_a_reward_that_is_no_number_is_told_with_its_step(reward, tmp_path):
  runner, _ = make_runner(tmp_path, Scripted([(0.0, reward, False, False)]))
  with pytest.raises(FloatingPointError, match=f'reward {reward} at step 1'):
    runner.run_experiment()


def test_an_agent_that_lacks_a_verb_is_told_which_at_the_start(tmp_path):
  class Mute(Scribe):
    unbundle = end_episode = None

  with pytest.raises(TypeError, match='Mute has no end_episode, unbundle'):
    make_runner(tmp_path, Scripted([(0.0, 1.0, True, True)]), Mute())


def test_a_bundle_is_a_dict(tmp_path):
  class Listing(Scribe):
    def bundle_and_checkpoint(self, checkpoint_dir, iteration):
      return [1]

  script = Scripted([(0.0, 1.0, True, True)])
  runner, _ = make_runner(tmp_path, script, Listing())
  with pytest.raises(
    TypeError, match=r'Listing returned \[1\]: it must return'
  ):
    runner.run_experiment()


@pytest.mark.parametrize('text', ['', '{"a": 1}', '-3', '"x"'])
def test_a_seed_file_that_is_none_is_named(text, tmp_path):
  (tmp_path / 'seed.json').write_text(text)
  with pytest.raises(ValueError, match='seed.json does not hold the seed'):
    make_runner(tmp_path, Scripted([[(0.0, True)]]))
