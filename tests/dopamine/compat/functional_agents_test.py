"""JAX agents in the functional style train, are killed, and resume exactly."""

import functools

import keras
import numpy as np
import pytest

from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from tests.support import inside
from tests.support import runs

if keras.config.backend() != 'jax':
  pytest.skip('of the JAX backend', allow_module_level=True)

import jax  # noqa: E402

from dopamine.jax import networks  # noqa: E402
from tests.support import functional_code  # noqa: E402
from tests.support import research_code  # noqa: E402

pytestmark = [pytest.mark.usefixtures('small_replay'), pytest.mark.xla]

SETTINGS = dict(
  observation_shape=(4,),
  observation_dtype=np.float32,
  stack_size=1,
  min_replay_history=30,
  update_period=3,
  target_update_period=40,
  epsilon_decay_period=100,
)


NETWORKS = {
  'CallingAgent': networks.ClassicControlDQNNetwork,
  'QuantileAgent': research_code.FlaxQuantileNetwork,
  'ImplicitQuantileAgent': research_code.FlaxIQNNetwork,
  'RainbowAgent': networks.ClassicControlRainbowNetwork,
  'FullRainbowAgent': functional_code.SmallFullRainbowNetwork,
}


class Killed(BaseException):
  pass


class Dying(run_experiment.Runner):
  """A Runner that is killed before a step."""

  dies_at, steps = None, 0

  def _run_one_step(self, action):
    self.steps += 1
    if self.steps == self.dies_at:
      raise Killed
    return super()._run_one_step(action)


def make_runner(base_dir, cls, dies_at=None, **kwargs):
  def create_agent(sess, environment, summary_writer=None):
    return cls(2, summary_writer=summary_writer, **(SETTINGS | kwargs))

  runner = Dying(
    str(base_dir),
    create_agent,
    functools.partial(gym_lib.create_gym_environment, 'CartPole'),
    num_iterations=2,
    training_steps=100,
    evaluation_steps=20,
    max_steps_per_episode=35,
    seed=4,
  )
  runner.dies_at = dies_at
  return runner


@pytest.mark.parametrize('name', functional_code.AGENTS)
def test_an_agent_trains_is_killed_and_resumes(tmp_path, name):
  cls = functional_code.AGENTS[name]
  if name in NETWORKS:
    cls = functools.partial(cls, network=NETWORKS[name])
  straight = make_runner(tmp_path / 'straight', cls)
  fresh = jax.tree_util.tree_map(np.array, inside.agent(straight).online_params)
  straight.run_experiment()
  agent = inside.agent(straight)
  assert isinstance(agent, functional_code.AGENTS[name])
  assert agent.training_steps >= 200
  moved = jax.tree_util.tree_map(
    lambda a, b: float(np.abs(a - b).max()), fresh, agent.online_params
  )
  assert min(jax.tree_util.tree_leaves(moved)) > 0
  with pytest.raises(Killed):
    make_runner(tmp_path / 'killed', cls, dies_at=170).run_experiment()
  resumed = make_runner(tmp_path / 'killed', cls)
  assert inside.start_iteration(resumed) == 1
  resumed.run_experiment()
  runs.assert_equal(runs.figures(resumed), runs.figures(straight))
