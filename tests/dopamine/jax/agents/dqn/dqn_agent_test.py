"""Tests of `JaxDQNAgent`."""

import gin
import keras
import numpy as np
from numpy.testing import assert_allclose
import pytest

from dopamine.discrete_domains import run_experiment
from tests.support import agents
from tests.support import inside
from tests.support import small

if keras.config.backend() != 'jax':
  pytest.skip('JaxDQNAgent needs JAX', allow_module_level=True)

from dopamine import networks
from dopamine import optimizers
from dopamine.agents.dqn import dqn_agent
from dopamine.jax import networks as jax_networks
from dopamine.jax.agents.dqn import dqn_agent as jax_dqn_agent


class SmallReplayAgent(jax_dqn_agent.JaxDQNAgent, agents.SmallReplayAgent):
  """An empty body: the JAX defaults over another agent's algorithm."""


def make_agent(cls=SmallReplayAgent, **kwargs):
  return agents.make_agent(cls, **kwargs)


def test_num_actions_is_the_first_argument():
  agent = SmallReplayAgent(
    3, observation_shape=(4,), stack_size=1, network=small.Perceptron
  )
  assert agent.num_actions == 3
  assert isinstance(agent, dqn_agent.DQNAgent)


def test_defaults_are_those_of_the_jax_agents():
  optimizer = inside.optimizer(make_agent())
  assert type(optimizer) is optimizers.Adam
  assert float(optimizer.learning_rate) == pytest.approx(6.25e-5)
  assert optimizer.epsilon == 1.5e-4


@pytest.mark.parametrize('loss_type', ['huber', 'mse'])
def test_the_type_of_the_loss(loss_type):
  agent = make_agent(loss_type=loss_type)
  batches = small.batches()
  zeros = np.zeros_like(batches.discount)
  update = inside.learner(agent).update(batches._replace(discount=zeros))
  fresh = make_agent(loss_type=loss_type)
  q = np.stack(
    [inside.learner(fresh).predict(s[None])[0] for s in batches.state[0]]
  )
  u = batches.reward[0] - q[np.arange(6), batches.action[0]]
  huber = np.where(np.abs(u) <= 1, 0.5 * u**2, np.abs(u) - 0.5)
  expected = huber if loss_type == 'huber' else u**2
  assert_allclose(np.asarray(update.loss)[0], expected, rtol=1e-5)


def test_an_unknown_loss_is_refused():
  with pytest.raises(ValueError, match="loss_type='l1'.*'huber' or 'mse'"):
    make_agent(loss_type='l1')


def test_preprocess_fn_replaces_the_networks_own():
  settings = dict(
    observation_shape=(84, 84),
    observation_dtype=np.uint8,
    stack_size=4,
    network=networks.NatureDQNNetwork,
  )
  plain = make_agent(**settings)
  other = make_agent(
    **settings, preprocess_fn=jax_networks.preprocess_atari_inputs
  )
  other.online_convnet.set_weights(plain.online_convnet.get_weights())
  state = np.random.default_rng(0).integers(0, 256, (1, 84, 84, 4))
  state = state.astype(np.uint8)
  assert_allclose(
    inside.learner(other).predict(state),
    inside.learner(plain).predict(state),
    rtol=1e-5,
  )
  inside.learner(other).update(
    small.batches(batch_size=2)._replace(
      state=np.stack([[state[0]] * 2]), next_state=np.stack([[state[0]] * 2])
    )
  )


def test_losses_are_logged_without_a_prefix():
  recorder = agents.Recorder()
  agent = make_agent(
    summary_writer=recorder,
    summary_writing_frequency=10,
    min_replay_history=10,
    update_period=2,
  )
  small.run(agent, small.FourCountdown(5), 40)
  assert {tag for tag, _, _ in recorder.scalars} == {'HuberLoss'}


@pytest.mark.parametrize(
  'name', ['dqn', 'dqn_acrobot', 'dqn_cartpole', 'dqn_mountaincar']
)
def test_the_gin_files_make_their_agents(name):
  try:
    run_experiment.load_gin_configs(
      [f'dopamine/jax/agents/dqn/configs/{name}.gin'],
      ['OutOfGraphReplayBuffer.replay_capacity = 500'],
    )
    environment = type('E', (), {'action_space': type('S', (), {'n': 3})})
    agent = run_experiment.create_agent(None, environment)
  finally:
    gin.clear_config()
  assert type(agent) is jax_dqn_agent.JaxDQNAgent
  assert inside.capacity(inside.memory(agent)) == 500
  assert inside.replay(agent).batch_size == (32 if name == 'dqn' else 128)
  assert inside.replay(agent).add_count == 0
