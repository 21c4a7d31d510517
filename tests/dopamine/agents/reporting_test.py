"""What agents say of a state: the same each time, and nothing is drawn."""

import gin
import numpy as np
import pytest

from dopamine.discrete_domains import run_experiment

NAMES = 'dqn', 'rainbow', 'quantile', 'implicit_quantile', 'full_rainbow'


@pytest.fixture
def make():
  from dopamine.discrete_domains import gym_lib

  def make(name, *bindings):
    gin.clear_config()
    run_experiment.load_gin_configs(
      [],
      [
        f'create_agent.agent_name = "{name}"',
        'create_agent.fit_to_environment = True',
        'DQNAgent.stack_size = 1',
        'WrappedReplayBuffer.replay_capacity = 1000',
        'WrappedPrioritizedReplayBuffer.replay_capacity = 1000',
        *bindings,
      ],
    )
    environment = gym_lib.create_gym_environment('CartPole', 'v1')
    return run_experiment.create_agent(None, environment)

  yield make
  gin.clear_config()


def states(count):
  return np.random.default_rng(1).normal(size=(count, 4, 1))


@pytest.mark.parametrize('name', NAMES)
def test_a_state_has_the_same_values_each_time_and_nothing_is_drawn(name, make):
  agent = make(name)
  before = agent._rng.bit_generator.state
  first = agent.predict_q_values(states(3))
  assert first.shape == (3, 2)
  np.testing.assert_array_equal(agent.predict_q_values(states(3)), first)
  assert agent._rng.bit_generator.state == before
  assert not agent.eval_mode


@pytest.mark.parametrize('name', NAMES)
def test_the_mean_of_the_return_distribution_is_the_value(name, make):
  agent = make(name)
  found = agent.predict_distribution(states(3))
  if name == 'dqn':
    assert found is None
    return
  values, probabilities = found
  assert values.shape == probabilities.shape == (3, 2, values.shape[-1])
  np.testing.assert_allclose(probabilities.sum(axis=-1), 1.0, rtol=1e-5)
  np.testing.assert_allclose(
    (values * probabilities).sum(axis=-1),
    agent.predict_q_values(states(3)),
    atol=1e-5,
  )


def test_c51_has_its_atoms_and_a_network_that_is_not_distributional_none(make):
  values, _ = make('rainbow').predict_distribution(states(2))
  np.testing.assert_allclose(
    values, np.broadcast_to(np.linspace(-10, 10, 51), (2, 2, 51)), rtol=1e-6
  )
  plain = make('full_rainbow', 'FullRainbowAgent.distributional = False')
  assert plain.predict_distribution(states(2)) is None


def test_the_levels_of_iqn_are_the_middles_of_equal_parts(make):
  agent = make(
    'implicit_quantile', 'ImplicitQuantileAgent.num_quantile_samples = 4'
  )
  (levels,) = agent._steady_draws(2)
  np.testing.assert_array_equal(levels, [[0.125, 0.375, 0.625, 0.875]] * 2)
