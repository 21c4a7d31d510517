"""Settings that are smaller when a run goes on than when it was stopped."""

import os

import pytest

from dopamine.discrete_domains import logger
from dopamine.discrete_domains import run_experiment
from tests.support import plain

pytestmark = pytest.mark.no_backend


class Agent(plain.Agent):
  """Knows how its episodes ended."""

  def __init__(self):
    super().__init__()
    self.ended = []

  def end_episode(self, reward, terminal=True):
    super().end_episode(reward, terminal)
    self.ended.append(terminal)


def stop(tmp_path, step, length, **kwargs):
  """A run that is stopped and saved after that step, within an episode."""

  class Environment(plain.Environment):
    steps = 0

  Environment.length = length
  runner = plain.make_runner(tmp_path, Environment, **kwargs)
  Environment.at = {step: runner.request_stop}
  with pytest.raises(run_experiment.Stopped) as stopped:
    runner.run_experiment()
  assert stopped.value.is_saved


class Bounded(plain.Environment):
  """Fails where an episode does not end."""

  length, steps = None, 0

  def reset(self):
    self.played = 0
    return super().reset()

  def step(self, action):
    self.played = getattr(self, 'played', 0) + 1
    assert self.played < 40
    return super().step(action)


@pytest.mark.parametrize('limit', [1, 19, 20, 21, 25])
@pytest.mark.parametrize('phase', ['train', 'eval'])
def test_an_episode_beyond_the_limit_ends_with_its_next_step(
  tmp_path, limit, phase
):
  """It was stopped after 20 steps; the action of the next was selected."""
  is_train = phase == 'train'
  steps = dict(training_steps=50 * is_train, evaluation_steps=50)
  stop(tmp_path, 20, None, **steps)
  runner = plain.make_runner(
    tmp_path, Bounded, Agent, max_steps_per_episode=limit, **steps
  )
  assert f'step 20 of its {phase} phase' in str(runner._restored)
  runner.run_experiment()
  lengths = runner._logger.data['iteration_0'][f'{phase}_episode_lengths']
  assert lengths[0] == max(limit, 21)
  assert set(lengths[1:]) == {limit}
  assert not any(runner._agent.ended)  # Time-outs, all of them.


@pytest.mark.parametrize('training_steps', [0, 1, 14, 19, 20])
def test_a_phase_that_has_its_steps_ends_with_its_episode(
  tmp_path, training_steps
):
  """Two episodes of 7 steps, and 5 steps of the third: none is lost."""
  stop(tmp_path, 19, 7, training_steps=70)
  runner = plain.make_runner(
    tmp_path, agent=Agent, training_steps=training_steps
  )
  runner.run_experiment()
  figures = runner._logger.data
  assert figures['iteration_0']['train_episode_lengths'] == [7, 7, 7]
  steps = sum(figures['iteration_1'].get('train_episode_lengths', ()))
  assert steps in range(training_steps, training_steps + 7)
  assert all(runner._agent.ended)


def test_fewer_iterations_than_were_begun_leave_nothing_to_run(tmp_path):
  stop(tmp_path, 80, 7)
  for num_iterations in (0, 1, 2):
    runner = plain.make_runner(tmp_path, num_iterations=num_iterations)
    runner.run_experiment()
    assert runner._agent.ends == 11
  runner = plain.make_runner(tmp_path, num_iterations=3)
  runner.run_experiment()
  assert len(runner._logger.data) == 3


def test_fewer_logs_are_kept_from_the_next_on(tmp_path):
  log = logger.Logger(str(tmp_path))
  for i in range(8):
    log.log_to_file('log', i)
  log.keep = 2
  log.log_to_file('log', 8)
  assert sorted(os.listdir(tmp_path)) == ['log_7', 'log_8']
