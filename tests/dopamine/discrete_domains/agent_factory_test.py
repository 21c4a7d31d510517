"""Agents are made to fit their environment, but for what gin binds."""

import re

import gin
from gymnasium import spaces
import keras
import numpy as np
import pytest

from dopamine import networks
from dopamine.agents.dqn import dqn_agent
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from tests.support import agents
from tests.support import inside
from tests.support import small

VECTOR = spaces.Box(*np.array([[0, -np.inf], [4, np.inf]], np.float32))
IMAGE = spaces.Box(0, 255, (32, 40, 3), np.uint8)
NAMES = ['dqn', 'rainbow', 'quantile', 'implicit_quantile', 'full_rainbow']
if keras.config.backend() == 'jax':
  NAMES += [f'jax_{name}' for name in NAMES]


class OldEnvironment:
  """Old Gym's interface, with observations of a space of choice."""

  action_space = spaces.Discrete(3)

  def __init__(self, observation_space=None):
    if observation_space is not None:
      self.observation_space = observation_space

  def reset(self):
    return self.observation_space.sample()

  def step(self, action):
    return self.observation_space.sample(), 1.0, action == 2, {}


def fitted(space, *bindings, agent_name='dqn'):
  run_experiment.load_gin_configs(
    [], ['WrappedReplayBuffer.replay_capacity = 50', *bindings]
  )
  environment = gym_lib.GymPreprocessing(OldEnvironment(space))
  return run_experiment.create_agent(
    None, environment, agent_name, fit_to_environment=True
  )


def plays(agent, space):
  """Whether it takes an episode of such observations, and acts on them."""
  agent.begin_episode(space.sample())
  agent.step(1.0, space.sample())
  agent.end_episode(1.0)
  agent.eval_mode, agent.epsilon_eval = True, -1.0
  return agent.begin_episode(space.sample()) in range(3)


@pytest.mark.parametrize('agent_name', NAMES)
def test_every_agent_fits_vectors(agent_name):
  agent = fitted(VECTOR, agent_name=agent_name)
  assert agent.state.shape == (1, 2, 4)
  assert agent.state.dtype == inside.memory(agent)._observation_dtype
  assert agent.state.dtype == np.float32
  network = type(agent.online_convnet).__name__
  family = type(agent).__name__.removeprefix('Jax').removesuffix('Agent')
  assert network == f'ClassicControl{family}Network'
  assert plays(agent, VECTOR)


@pytest.mark.parametrize('agent_name', NAMES)
def test_every_agent_fits_images(agent_name):
  agent = fitted(IMAGE, 'DQNAgent.stack_size = 2', agent_name=agent_name)
  assert agent.state.shape == (1, 32, 40, 3, 2) and agent.state.dtype == 'uint8'
  assert isinstance(agent.online_convnet, networks.NatureTrunk)
  assert agent.online_convnet.conv1.kernel.shape == (8, 8, 6, 32)
  assert plays(agent, IMAGE)


@pytest.mark.no_backend
def test_what_gin_binds_wins_over_the_environment():
  """Whether for the class or for a parent; the rest still fits."""
  agent = fitted(
    VECTOR,
    'DQNAgent.observation_shape = (2, 1)',
    'RainbowAgent.network = @gym_lib.CartpoleRainbowNetwork',
    'CartpoleRainbowNetwork.min_vals = (0.0, 0.0)',
    'CartpoleRainbowNetwork.max_vals = (1.0, 1.0)',
    agent_name='rainbow',
  )
  assert agent.state.shape == (1, 2, 1, 4) and agent.state.dtype == np.float32
  assert type(agent.online_convnet) is networks.CartpoleRainbowNetwork
  gin.clear_config()
  agent = fitted(VECTOR, 'DQNAgent.observation_dtype = %tf.float64')
  assert agent.state.shape == (1, 2, 4) and agent.state.dtype == np.float64
  assert type(agent.online_convnet) is networks.ClassicControlDQNNetwork


@pytest.mark.no_backend
def test_a_binding_of_another_agent_is_no_binding_of_this_one():
  agent = fitted(VECTOR, 'QuantileAgent.network = @networks.QuantileNetwork')
  assert type(agent.online_convnet) is networks.ClassicControlDQNNetwork


def test_an_agent_class_of_ones_own_takes_what_it_can_of_what_fits():
  class Own(dqn_agent.DQNAgent):
    def __init__(self, *args, network=small.Perceptron, **kwargs):
      super().__init__(*args, network=network, **kwargs)

  class Scratch:
    def __init__(self, sess, num_actions, summary_writer, observation_shape):
      self.taken = (sess, num_actions, summary_writer, observation_shape)

  agent = fitted(VECTOR, agent_name=Own)
  assert agent.state.shape == (1, 2, 4)
  assert type(agent.online_convnet) is small.Perceptron
  gin.clear_config()
  assert fitted(VECTOR, agent_name=Scratch).taken == (None, 3, None, (2,))


@pytest.mark.no_backend
def test_bindings_of_an_agent_under_another_name_win_too():
  @gin.configurable('SomeoneElse', module='elsewhere')
  class Renamed(dqn_agent.DQNAgent):
    pass

  agent = fitted(
    VECTOR,
    'SomeoneElse.observation_shape = (2, 1)',
    agent_name=Renamed,
  )
  assert agent.state.shape == (1, 2, 1, 4)
  assert type(agent.online_convnet) is networks.ClassicControlDQNNetwork


@pytest.mark.no_backend
def test_a_binding_that_the_agent_overrides_does_not_stop_the_fitting():
  agent = fitted(
    VECTOR, 'DQNAgent.network = @NatureDQNNetwork', agent_name='rainbow'
  )
  assert type(agent.online_convnet) is networks.ClassicControlRainbowNetwork


@pytest.mark.no_backend
def test_an_agent_that_takes_nothing_of_the_environment_fits_any():
  class Slim:
    def __init__(self, num_actions):
      self.taken = num_actions

  class Needy:
    def __init__(self, num_actions, network):
      self.taken = num_actions, network

  assert fitted(spaces.Discrete(3), agent_name=Slim).taken == 3
  gin.clear_config()
  with pytest.raises(TypeError, match="'network'"):
    fitted(VECTOR, agent_name=Needy)


@pytest.mark.no_backend
def test_what_is_no_class_is_no_agent():
  for agent_name in (dqn_agent.linearly_decaying_epsilon, object()):
    with pytest.raises(ValueError, match='not a class.*@MyAgent without'):
      run_experiment.create_agent(None, OldEnvironment(), agent_name)


@pytest.mark.no_backend
@pytest.mark.parametrize(
  ('space', 'words'),
  [
    (spaces.Discrete(3, start=5), 'numbers its actions from 5'),
    (spaces.MultiBinary(4), 'does not number its actions'),
  ],
)
def test_actions_that_are_not_0_1_2_are_refused(space, words):
  environment = OldEnvironment()
  environment.action_space = space
  with pytest.raises(ValueError, match=words):
    run_experiment.create_agent(None, environment, 'dqn')


@pytest.mark.no_backend
@pytest.mark.parametrize('space', [None, spaces.Discrete(3)])
def test_observations_that_nothing_fits_are_told_with_the_way_out(space):
  with pytest.raises(
    ValueError, match=rf'={re.escape(str(space))} of.*flatten = True'
  ):
    fitted(space)


@pytest.mark.no_backend
def test_continuous_actions_are_told_with_the_way_out():
  environment = OldEnvironment()
  environment.action_space = spaces.Box(-1, 1, (2,))
  with pytest.raises(ValueError, match=r'=Box\(-1.0.*Discrete\(n\)'):
    run_experiment.create_agent(None, environment, 'dqn')


@pytest.mark.no_backend
@pytest.mark.parametrize(
  'name,size', [('CartPole', 4), ('FrozenLake', 16), ('Blackjack', 45)]
)
def test_one_gin_file_trains_on_any_task(name, size, tmp_path):
  run_experiment.load_gin_configs(
    ['dopamine/agents/dqn/configs/dqn_gym.gin'],
    [
      f"create_gym_environment.environment_name = '{name}'",
      'DQNAgent.min_replay_history = 20',
      'Runner.num_iterations = 1',
      'Runner.training_steps = 60',
      'Runner.evaluation_steps = 20',
      'WrappedReplayBuffer.replay_capacity = 100',
    ],
  )
  runner = run_experiment.create_runner(str(tmp_path))
  before = inside.agent(runner).online_convnet.get_weights()
  runner.run_experiment()
  assert inside.agent(runner).state.shape == (1, size, 1)
  after = inside.agent(runner).online_convnet.get_weights()
  assert any((a != b).any() for a, b in zip(before, after, strict=True))


@pytest.mark.no_backend
def test_debug_mode_hands_the_writer_on():
  writer = agents.Recorder()
  run_experiment.load_gin_configs(
    ['dopamine/agents/dqn/configs/dqn_cartpole.gin'], []
  )
  environment = small.Countdown()
  agent = run_experiment.create_agent(None, environment, summary_writer=writer)
  assert agent.summary_writer is None
  agent = run_experiment.create_agent(
    None, environment, summary_writer=writer, debug_mode=True
  )
  assert agent.summary_writer is writer
