"""Short runs of every agent, and all that they end with."""

import numpy as np
from numpy.testing import assert_array_equal
from tensorboard.backend.event_processing import event_accumulator

from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from dopamine.runs import bundles
from tests.support import inside
from tests.support import updates

CASES = {case.algorithm: case for case in updates.COMPILED}


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

  saves_mid_episode = True
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
    return updates.make_agent(
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


def figures(runner):
  """All that a run ends with, by name, but for what a clock measured."""
  agent, found = inside.agent(runner), {}
  found |= inside.learner(agent).state()
  memory = inside.memory(agent)
  found |= {
    f'store/{name}': array for name, array in inside.arrays(memory).items()
  }
  found['markers'] = memory._markers
  found['add_count'] = memory.add_count
  if hasattr(memory, 'sum_tree'):
    found['sum_tree'] = memory.sum_tree._sums
    found['largest'] = memory.sum_tree.max_recorded_priority
  found['generators'] = [
    str(rng.bit_generator.state)
    for rng in (inside.generator(agent), inside.generator(memory))
  ]
  found['environment'] = str(
    bundles.environment_state(inside.environment(runner))
  )
  found['steps'] = agent.training_steps
  for iteration, statistics in inside.logs(runner).items():
    for name, values in statistics.items():
      if not name.endswith('per_second'):
        found[f'{iteration}/{name}'] = values
  accumulator = event_accumulator.EventAccumulator(runner._base_dir)
  accumulator.Reload()
  for tag in accumulator.Tags()['scalars']:
    events = accumulator.Scalars(tag)
    found[f'tensorboard/{tag}'] = [event.step for event in events]
    if not tag.endswith('PerSecond') and not tag.startswith('Speed/'):
      found[f'tensorboard/{tag}'] += [event.value for event in events]
  return found


def assert_equal(found, expected):
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    assert_array_equal(found[name], value, err_msg=name)
