"""A run that is interrupted anywhere ends as one that never was, bit by bit."""

import numpy as np
from numpy.testing import assert_array_equal
import pytest
from tensorboard.backend.event_processing import event_accumulator

from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from tests.dopamine.agents import exact_update_test

CASES = {case.algorithm: case for case in exact_update_test.COMPILED}


def atari(screen_size):
  """Sticky Breakout on a small screen; its first games are short."""
  environment = atari_lib.create_atari_environment('Breakout')
  return atari_lib.AtariPreprocessing(
    environment.environment, terminal_on_life_loss=True, screen_size=screen_size
  )


ENVIRONMENTS = {
  'cartpole': (
    lambda: gym_lib.create_gym_environment('CartPole'),
    dict(num_actions=2, observation_shape=(4,), observation_dtype=np.float32),
  ),
  'breakout': (
    lambda: atari(8),
    dict(
      num_actions=4,
      observation_shape=(8, 8),
      observation_dtype=np.uint8,
      stack_size=4,
    ),
  ),
}


class Interrupted(run_experiment.Runner):
  """A Runner that is asked to stop before some of its steps."""

  stops = ()
  steps = 0

  def _run_one_step(self, action):
    type(self).steps += 1
    if self.steps in self.stops:
      self.request_stop()
    return super()._run_one_step(action)


def make_runner(
  base_dir, environment, case, cls=run_experiment.Runner, **kwargs
):
  create_environment, settings = ENVIRONMENTS[environment]

  def create_agent(sess, environment, summary_writer=None):
    return exact_update_test.make_agent(
      case,
      **settings,
      min_replay_history=30,
      update_period=3,
      target_update_period=40,
      epsilon_decay_period=100,
      summary_writer=summary_writer,
      summary_writing_frequency=9,
    )

  return cls(
    str(base_dir),
    create_agent,
    create_environment,
    **(
      dict(
        num_iterations=2,
        training_steps=120,
        evaluation_steps=40,
        max_steps_per_episode=35,
        seed=4,
      )
      | kwargs
    ),
  )


def finish(base_dir, environment, case, cls=Interrupted, stops=(), **kwargs):
  """Runs to the end; a stopped run is started again by the same command."""

  class Stopping(cls):
    pass

  Stopping.stops = stops
  num_stops = 0
  while True:
    runner = make_runner(base_dir, environment, case, Stopping, **kwargs)
    try:
      runner.run_experiment()
    except run_experiment.Stopped as stopped:
      assert stopped.is_saved
      num_stops += 1
      continue
    # CartPole is saved between its episodes: two stops may become one.
    assert len(stops) - 1 <= num_stops <= len(stops)
    return runner


def figures(runner):
  """All that a run ends with, by name, but for what a clock measured."""
  agent, found = runner._agent, {}
  found |= agent._learner.state()
  memory = agent._replay.memory
  found |= {f'store/{name}': array for name, array in memory._store.items()}
  found['markers'] = memory._markers
  found['add_count'] = memory.add_count
  if hasattr(memory, 'sum_tree'):
    found['sum_tree'] = memory.sum_tree._sums
    found['largest'] = memory.sum_tree.max_recorded_priority
  found['generators'] = [
    str(rng.bit_generator.state) for rng in (agent._rng, memory._rng)
  ]
  found['environment'] = str(runner._environment_state())
  found['steps'] = agent.training_steps
  for iteration, statistics in runner._logger.data.items():
    for name, values in statistics.items():
      if not name.endswith('per_second'):
        found[f'{iteration}/{name}'] = values
  accumulator = event_accumulator.EventAccumulator(runner._base_dir)
  accumulator.Reload()
  for tag in accumulator.Tags()['scalars']:
    events = accumulator.Scalars(tag)
    found[f'tensorboard/{tag}'] = [event.step for event in events]
    if not tag.endswith('PerSecond'):
      found[f'tensorboard/{tag}'] += [event.value for event in events]
  return found


def assert_equal(found, expected):
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    assert_array_equal(found[name], value, err_msg=name)


# Of 2 x (120 + 40) steps: in both phases of both iterations, the first before
# learning starts.
STOPS = (7, 64, 171, 301)


@pytest.mark.parametrize('environment', ENVIRONMENTS)
@pytest.mark.parametrize('algorithm', CASES)
def test_a_run_that_is_stopped_four_times_ends_the_same(
  algorithm, environment, tmp_path
):
  straight = finish(tmp_path / 'straight', environment, CASES[algorithm])
  expected = figures(straight)
  assert expected['steps'] > 240 and expected['add_count'] > 200
  assert len(expected['tensorboard/Train/NumEpisodes']) == 4
  stopped = finish(
    tmp_path / 'stopped', environment, CASES[algorithm], stops=STOPS
  )
  assert_equal(figures(stopped), expected)
