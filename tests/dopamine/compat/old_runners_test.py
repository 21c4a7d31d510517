"""Runners that override every hook, with all of what 3.2.1 did in it.

They train two iterations, are killed in the third, and go on bit by bit.
"""

import functools
import os
import sys
import time

from absl import logging
import keras
import numpy as np
import pytest

from dopamine.agents.dqn import dqn_agent
from dopamine.discrete_domains import checkpointer
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import iteration_statistics
from dopamine.discrete_domains import run_experiment
from dopamine.files import lock
from tests.support import inside
from tests.support import plain
from tests.support import research_code
from tests.support import runs
from tests.support import small

tf = pytest.importorskip('tensorflow')  # Old code makes its summaries.
pytestmark = pytest.mark.usefixtures('small_replay')

AGENT = dqn_agent.DQNAgent
if keras.config.backend() == 'jax':
  from dopamine.jax.agents.dqn import dqn_agent as jax_dqn_agent

  AGENT = jax_dqn_agent.JaxDQNAgent


class Killed(BaseException):
  """In the place of a signal."""


class OldLoop(run_experiment.Runner):
  """A loop of its own, and figures of its own."""

  dies_at = None
  steps = 0

  def _run_one_step(self, action):
    self.steps += 1
    if self.steps == self.dies_at:
      raise Killed
    return super()._run_one_step(action)

  def _save_tensorboard_summaries(
    self,
    iteration,
    num_episodes_train,
    average_reward_train,
    num_episodes_eval,
    average_reward_eval,
    average_steps_per_second,
  ):
    value = tf.compat.v1.Summary.Value
    summary = tf.compat.v1.Summary(
      value=[
        value(tag='Train/NumEpisodes', simple_value=num_episodes_train),
        value(tag='Train/AverageReturns', simple_value=average_reward_train),
        value(tag='Eval/NumEpisodes', simple_value=num_episodes_eval),
        value(tag='Eval/AverageReturns', simple_value=average_reward_eval),
      ]
    )
    self._summary_writer.add_summary(summary, iteration)

  def run_experiment(self):
    logging.info('Beginning training...')
    if self._num_iterations <= self._start_iteration:
      logging.warning('Nothing is left to run.')
      return
    for iteration in range(self._start_iteration, self._num_iterations):
      statistics = self._run_one_iteration(iteration)
      self._log_experiment(iteration, statistics)
      self._checkpoint_experiment(iteration)
    self._summary_writer.flush()


class Stopping(OldLoop):
  at = None

  def _run_one_step(self, action):
    if self.steps == self.at:
      self.request_stop()
    return super()._run_one_step(action)


class OldRunner(OldLoop):
  """All hooks."""

  def _initialize_checkpointer_and_maybe_resume(self, checkpoint_file_prefix):
    self._checkpointer = checkpointer.Checkpointer(
      self._checkpoint_dir, checkpoint_file_prefix
    )
    self._start_iteration = 0
    latest = checkpointer.get_latest_checkpoint_number(self._checkpoint_dir)
    if latest < 0:
      return
    data = self._checkpointer.load_checkpoint(latest)
    if self._agent.unbundle(self._checkpoint_dir, latest, data):
      if data is not None:
        assert 'logs' in data
        assert 'current_iteration' in data
        self._logger.data = data['logs']
        self._start_iteration = data['current_iteration'] + 1

  def _initialize_episode(self):
    return self._agent.begin_episode(self._environment.reset())

  def _run_one_step(self, action):
    self.steps += 1
    if self.steps == self.dies_at:
      raise Killed
    observation, reward, is_terminal, _ = self._environment.step(action)
    return observation, reward, is_terminal

  def _end_episode(self, reward, terminal=True):
    if isinstance(self._agent, AGENT) and 'Jax' in AGENT.__name__:
      self._agent.end_episode(reward, terminal)
    else:
      self._agent.end_episode(reward)

  def _run_one_episode(self):
    step_number, total_reward = 0, 0.0
    action = self._initialize_episode()
    is_terminal = False
    while True:
      observation, reward, is_terminal = self._run_one_step(action)
      total_reward += reward
      step_number += 1
      if self._clip_rewards:
        reward = np.clip(reward, -1, 1)
      if (
        self._environment.game_over
        or step_number == self._max_steps_per_episode
      ):
        break
      elif is_terminal:
        self._end_episode(reward, is_terminal)
        action = self._agent.begin_episode(observation)
      else:
        action = self._agent.step(reward, observation)
    self._end_episode(reward, is_terminal)
    return step_number, total_reward

  def _run_one_phase(self, min_steps, statistics, run_mode_str):
    step_count, num_episodes, sum_returns = 0, 0, 0.0
    while step_count < min_steps:
      length, episode_return = self._run_one_episode()
      statistics.append(
        {
          f'{run_mode_str}_episode_lengths': length,
          f'{run_mode_str}_episode_returns': episode_return,
        }
      )
      step_count += length
      sum_returns += episode_return
      num_episodes += 1
      sys.stdout.write(f'Steps executed: {step_count} Return: {sum_returns}\r')
      sys.stdout.flush()
    return step_count, sum_returns, num_episodes

  def _run_train_phase(self, statistics):
    self._agent.eval_mode = False
    start = time.time()
    steps, sum_returns, num_episodes = self._run_one_phase(
      self._training_steps, statistics, 'train'
    )
    average = sum_returns / num_episodes if num_episodes > 0 else 0.0
    statistics.append({'train_average_return': average})
    rate = steps / (time.time() - start)
    statistics.append({'train_average_steps_per_second': rate})
    return num_episodes, average, rate

  def _run_eval_phase(self, statistics):
    self._agent.eval_mode = True
    _, sum_returns, num_episodes = self._run_one_phase(
      self._evaluation_steps, statistics, 'eval'
    )
    average = sum_returns / num_episodes if num_episodes > 0 else 0.0
    statistics.append({'eval_average_return': average})
    return num_episodes, average

  def _run_one_iteration(self, iteration):
    statistics = iteration_statistics.IterationStatistics()
    train = self._run_train_phase(statistics)
    evaluation = self._run_eval_phase(statistics)
    self._save_tensorboard_summaries(
      iteration, *train[:2], *evaluation, train[2]
    )
    return statistics.data_lists

  def _log_experiment(self, iteration, statistics):
    self._logger[f'iteration_{iteration:d}'] = statistics
    if iteration % self._log_every_n == 0:
      self._logger.log_to_file(self._logging_file_prefix, iteration)

  def _checkpoint_experiment(self, iteration):
    data = self._agent.bundle_and_checkpoint(self._checkpoint_dir, iteration)
    if data:
      data['current_iteration'] = iteration
      data['logs'] = self._logger.data
      self._checkpointer.save_checkpoint(iteration, data)


def create(sess, environment, summary_writer=None):
  return AGENT(
    **dict(num_actions=2, seed=3, network=small.Perceptron),
    **research_code.CARTPOLE,
    target_update_period=30,
    summary_writer=summary_writer,
  )


def create_plain(sess, environment, summary_writer=None):
  return plain.Agent()


def start(base_dir, cls, create=create, **kwargs):
  settings = dict(
    seed=5,
    num_iterations=3,
    training_steps=30,
    evaluation_steps=10,
    max_steps_per_episode=12,
    checkpoint_minutes=None,
  )
  return cls(
    str(base_dir),
    create,
    functools.partial(gym_lib.create_gym_environment, 'CartPole'),
    **settings | kwargs,
  )


def assert_is_over(runner, base_dir, last):
  """Nothing is half-written, and the folder is free."""
  names = os.listdir(base_dir / 'checkpoints')
  assert f'sentinel_checkpoint_complete.{last}' in names
  assert not any(name.endswith('.tmp') for name in names)
  assert inside.checkpoints(runner).complete.manifest(last)['files']
  free = lock.Lock(str(base_dir))
  assert free.is_alone
  free.release()


@pytest.mark.parametrize('cls', [OldLoop, OldRunner])
def test_it_is_killed_and_goes_on_bit_by_bit(tmp_path, cls):
  whole = start(tmp_path / 'whole', cls)
  whole.run_experiment()
  assert_is_over(whole, tmp_path / 'whole', 2)
  expected = runs.figures(whole)
  dying = start(tmp_path / 'killed', cls)
  dying.dies_at = whole.steps - 8
  with pytest.raises(Killed):
    dying.run_experiment()
  assert_is_over(dying, tmp_path / 'killed', 1)
  again = start(tmp_path / 'killed', cls)
  assert inside.start_iteration(again) == 2
  again.run_experiment()
  assert_is_over(again, tmp_path / 'killed', 2)
  runs.assert_equal(runs.figures(again), expected)
  if cls is OldLoop:  # The hooks below it save within iterations.
    Stopping.at = whole.steps // 2
    stopped = start(tmp_path / 'stopped', Stopping)
    with pytest.raises(run_experiment.Stopped, match='iteration 1, step'):
      stopped.run_experiment()
    again = start(tmp_path / 'stopped', OldLoop)
    again.run_experiment()
    runs.assert_equal(runs.figures(again), expected)
  assert expected['tensorboard/Eval/AverageReturns'][:3] == [0, 1, 2]


def test_it_may_be_called_again(tmp_path):
  runner = start(tmp_path, OldRunner, create_plain, num_iterations=1)
  runner.run_experiment()
  ends, agent = inside.agent(runner).ends, inside.agent(runner)
  runner.run_experiment()  # Nothing is left.
  assert inside.agent(runner) is agent
  runner.num_iterations = 2
  runner.run_experiment()
  assert inside.agent(runner).ends > ends > 1
  assert sorted(inside.logs(runner)) == ['iteration_0', 'iteration_1']
  assert_is_over(runner, tmp_path, 1)


def test_it_stops_where_that_is_asked_for(tmp_path):
  class StopsAtTheEnd(OldLoop):
    def _log_experiment(self, iteration, statistics):
      super()._log_experiment(iteration, statistics)
      self.request_stop()

  runner = start(tmp_path, StopsAtTheEnd, create_plain)
  with pytest.raises(
    run_experiment.Stopped, match='end of iteration 0'
  ) as stop:
    runner.run_experiment()
  assert stop.value.is_saved
  assert_is_over(runner, tmp_path, 0)


def test_a_loop_that_calls_ours_is_left_as_it_is(tmp_path):
  class Around(run_experiment.Runner):
    def run_experiment(self):
      super().run_experiment()
      self._summary_writer.flush()

  assert not hasattr(vars(Around)['run_experiment'], '__wrapped__')
  runner = start(tmp_path, Around, create_plain, num_iterations=1)
  runner.run_experiment()
  assert_is_over(runner, tmp_path, 0)


def test_a_last_checkpoint_that_fails_is_an_error(tmp_path, monkeypatch):
  runner = start(tmp_path, OldLoop, create_plain, num_iterations=1)

  def fail(*args, **kwargs):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(time, 'sleep', lambda seconds: None)
  monkeypatch.setattr(checkpointer.Checkpointer, 'write', fail)
  with pytest.raises(OSError, match='iteration 0 could not be saved'):
    runner.run_experiment()


class OldHooks:
  """The hooks that something is put round, in no Runner."""

  run_experiment = vars(OldLoop)['run_experiment'].__wrapped__
  _checkpoint_experiment = vars(OldRunner)['_checkpoint_experiment'].__wrapped__
  _initialize_checkpointer_and_maybe_resume = vars(OldRunner)[
    '_initialize_checkpointer_and_maybe_resume'
  ].__wrapped__


class Mixed(OldHooks, run_experiment.Runner):
  dies_at, steps = None, 0

  def _run_one_step(self, action):
    self.steps += 1
    if self.steps == self.dies_at:
      raise Killed
    return super()._run_one_step(action)


class Borrowing(run_experiment.Runner):
  """Of another Runner, round which something was put already."""

  dies_at, steps = None, 0

  def _run_one_step(self, action):
    self.steps += 1
    if self.steps == self.dies_at:
      raise Killed
    return super()._run_one_step(action)

  run_experiment = OldLoop.run_experiment
  _checkpoint_experiment = OldRunner._checkpoint_experiment


@pytest.mark.parametrize('cls', [Mixed, Borrowing])
def test_hooks_of_others_go_on_bit_by_bit_too(tmp_path, cls):
  whole = start(tmp_path / 'whole', cls, create_plain)
  whole.run_experiment()
  dying = start(tmp_path / 'killed', cls, create_plain)
  dying.dies_at = whole.steps - 8
  with pytest.raises(Killed):
    dying.run_experiment()
  again = start(tmp_path / 'killed', cls, create_plain)
  again.run_experiment()
  assert_is_over(again, tmp_path / 'killed', 2)
  for runner in (again, whole):
    for statistics in inside.logs(runner).values():
      statistics.pop('train_average_steps_per_second', None)
  assert inside.logs(again) == inside.logs(whole)


def test_a_hook_in_a_decorator_of_no_name_is_left_as_it_is():
  def announced(hook):
    return lambda self: (logging.info('Now'), hook(self))

  class Around(run_experiment.Runner):
    @announced
    def run_experiment(self):
      super().run_experiment()

  assert not hasattr(vars(Around)['run_experiment'], '__wrapped__')


def test_it_makes_no_checkpointer_and_only_evaluates(tmp_path):
  class Evaluating(run_experiment.Runner):
    def _initialize_checkpointer_and_maybe_resume(self, checkpoint_file_prefix):
      self._start_iteration = 0

    def run_experiment(self):
      statistics = iteration_statistics.IterationStatistics()
      self.found = self._run_eval_phase(statistics)

  runner = start(tmp_path, Evaluating, create_plain)
  runner.run_experiment()
  assert runner.found[0] > 0


class Keeper:
  """A checkpointer of nobody's."""

  def __init__(self):
    self.saved = {}

  def save_checkpoint(self, iteration_number, data):
    self.saved[iteration_number] = data

  def load_checkpoint(self, iteration_number):
    return self.saved.get(iteration_number)


def test_a_checkpointer_and_a_writer_of_its_own(tmp_path):
  class Own(run_experiment.Runner):
    def __init__(self, *args, **kwargs):
      super().__init__(*args, **kwargs)
      self._summary_writer = tf.summary.create_file_writer(
        str(tmp_path / 'figures')
      )

    def _initialize_checkpointer_and_maybe_resume(self, checkpoint_file_prefix):
      self._checkpointer = Keeper()
      self._start_iteration = 0

    def _save_tensorboard_summaries(self, iteration, *figures):
      with self._summary_writer.as_default():
        tf.summary.scalar('Figures', float(figures[1]), step=iteration)
      self._summary_writer.flush()

  with pytest.raises(TypeError, match='a Keeper, whose save_checkpoint'):
    start(tmp_path / 'refused', Own, create_plain)

  class Saving(Own):
    def _checkpoint_experiment(self, iteration):
      self._checkpointer.save_checkpoint(iteration, {'iteration': iteration})

  runner = start(tmp_path / 'run', Saving, create_plain, num_iterations=2)
  keeper = runner._checkpointer
  runner.run_experiment()
  assert sorted(keeper.saved) == [0, 1]
  assert list((tmp_path / 'figures').iterdir())


def test_a_second_call_begins_where_the_first_ended(tmp_path):
  runner = start(tmp_path, OldLoop, create_plain, num_iterations=1)
  runner.run_experiment()
  steps = runner.steps
  runner.run_experiment()
  assert runner.steps == steps


class OldBundle(AGENT):
  """Saves as 3.2.1's agents did, with nothing of `super()`."""

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    self._replay.save(checkpoint_dir, iteration_number)
    return {'state': self.state, 'training_steps': self.training_steps}

  def unbundle(self, checkpoint_dir, iteration_number, bundle_dictionary):
    self._replay.load(checkpoint_dir, iteration_number)
    for key in self.__dict__:
      if key in bundle_dictionary:
        self.__dict__[key] = bundle_dictionary[key]
    return True


def test_an_agent_that_bundles_all_by_itself_keeps_its_weights(tmp_path):
  def create_old(sess, environment, summary_writer=None):
    return OldBundle(
      **dict(num_actions=2, seed=3, network=small.Perceptron),
      **research_code.CARTPOLE,
    )

  whole = start(tmp_path / 'whole', OldLoop, create_old)
  whole.run_experiment()
  dying = start(tmp_path / 'killed', OldLoop, create_old)
  dying.dies_at = whole.steps - 8
  with pytest.raises(Killed):
    dying.run_experiment()
  again = start(tmp_path / 'killed', OldLoop, create_old)
  assert inside.start_iteration(again) == 2
  again.run_experiment()
  runs.assert_equal(runs.figures(again), runs.figures(whole))
