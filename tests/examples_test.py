"""The examples do what they say, by the commands that they give."""

import ast
import pathlib
import pickle
import shlex
import textwrap

import gin
from keras import ops
import numpy as np
from numpy.testing import assert_allclose
import pytest

from dopamine.agents.dqn import dqn_agent
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from examples import catch
from examples import double_dqn
from examples import dueling_network
from examples import q_learning
from tests.support import agents
from tests.support import inside
from tests.support import small

ROOT = pathlib.Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures('at_the_root')
SHORT = (
  'Runner.num_iterations = 2',
  'Runner.training_steps = 60',
  'Runner.evaluation_steps = 20',
  'DQNAgent.min_replay_history = 30',
  'WrappedReplayBuffer.replay_capacity = 500',
  'WrappedReplayBuffer.batch_size = 8',
)


def command(module):
  """The gin files and bindings of the command in a module's docstring."""
  block = module.__doc__.split('    python -m ')[1].split('\n\n')[0]
  words = shlex.split(block.replace('\\\n', ' '))
  assert words[0] == 'dopamine.discrete_domains.train'
  options = [word.removeprefix('--').split('=', 1) for word in words[1:]]
  assert {name for name, _ in options} <= {
    *('base_dir', 'gin_files', 'gin_bindings')
  }
  return [
    [value for name, value in options if name == wanted]
    for wanted in ('gin_files', 'gin_bindings')
  ]


def run(module, base_dir, *bindings):
  """Runs the command with further bindings; returns the Runner."""
  gin.clear_config()
  gin_files, own_bindings = command(module)
  run_experiment.load_gin_configs(
    gin_files, [*own_bindings, *bindings, 'Runner.seed = 1']
  )
  runner = run_experiment.create_runner(str(base_dir))
  runner.run_experiment()
  return runner


def test_every_example_is_tested():
  files = {path.stem for path in (ROOT / 'examples').glob('*.py')}
  modules = (catch, double_dqn, dueling_network, q_learning)
  assert files == {module.__name__.split('.')[-1] for module in modules}


@pytest.mark.parametrize(
  'module', [catch, double_dqn, dueling_network, q_learning]
)
def test_the_page_has_the_same_command(module):
  page = (ROOT / 'docs' / 'extending.md').read_text()
  command = textwrap.dedent(module.__doc__.split('\n\n')[1])
  assert command.startswith('python -m ') and command in page


@pytest.mark.parametrize(
  ('module', 'is_run'),
  [
    (
      catch,
      lambda runner: gym_lib.name_of(inside.environment(runner)) == 'Catch-v0',
    ),
    (
      double_dqn,
      lambda runner: type(inside.agent(runner)) is double_dqn.DoubleDQNAgent,
    ),
    (
      dueling_network,
      lambda runner: (
        type(inside.agent(runner).online_convnet)
        is type(inside.agent(runner).target_convnet)
        is dueling_network.DuelingNetwork
      ),
    ),
  ],
)
def test_the_command_trains_and_resumes(module, is_run, tmp_path):
  runner = run(module, tmp_path, *SHORT)
  agent = inside.agent(runner)
  assert is_run(runner)
  assert agent.training_steps >= 120
  assert inside.learner(agent).state()['optimizer/0'] > 20  # Updates.
  again = run(module, tmp_path, *SHORT, 'Runner.num_iterations = 3')
  assert inside.start_iteration(again) == 2
  assert inside.agent(again).training_steps >= 180


# Double DQN -------------------------------------------------------------------


def test_double_dqn_is_three_lines_and_the_switch_of_every_agent():
  path = ROOT / 'examples' / 'double_dqn.py'
  cls = ast.parse(path.read_text()).body[-1]
  hook = cls.body[-1]
  assert hook.name == '_build_target_q_op' and len(hook.body) == 3
  batch = small.Batch(*(x[0] for x in small.batches()))
  targets = []
  for make, switch in (
    (double_dqn.DoubleDQNAgent, False),
    (dqn_agent.DQNAgent, True),
    (dqn_agent.DQNAgent, False),
  ):
    agent = agents.make_agent(make, double_dqn=switch)
    # The two networks must not agree on the best action.
    agent.target_convnet.set_weights(
      [-w for w in agent.online_convnet.get_weights()]
    )
    targets.append(ops.convert_to_numpy(agent._build_target_q_op(batch)))
  assert_allclose(targets[0], targets[1], rtol=1e-6)
  assert not np.allclose(targets[0], targets[2])


# Q-learning -------------------------------------------------------------------


def test_q_learning_by_hand():
  agent = q_learning.QLearningAgent(
    num_actions=2, num_states=3, learning_rate=0.5, gamma=0.9, epsilon=0.0
  )
  agent.q[:] = [[1, 0], [0, 2], [4, 0]]
  assert agent.begin_episode(0) == 0
  # Q(0, 0) = 1 + 0.5 (1 + 0.9 * 2 - 1)
  assert agent.step(1.0, 1) == 1
  assert_allclose(agent.q[0, 0], 1.9)
  # A time-out in state 2: Q(1, 1) = 2 + 0.5 (1 + 0.9 * 4 - 2)
  agent.end_episode(1.0, terminal=False, observation=2)
  assert_allclose(agent.q[1, 1], 3.3)
  # A true end: Q(2, 0) = 4 + 0.5 (1 - 4)
  agent.begin_episode(2)
  agent.end_episode(1.0, terminal=True, observation=2)
  assert_allclose(agent.q[2, 0], 2.5)
  agent.eval_mode = True
  before = agent.q.copy()
  agent.begin_episode(2)
  agent.end_episode(1.0)
  assert_allclose(agent.q, before)


def test_q_learning_reaches_the_goal_and_resumes_exactly(tmp_path):
  runner = run(q_learning, tmp_path / 'whole')
  with open(tmp_path / 'whole' / 'logs' / 'log_9', 'rb') as file:
    logs = pickle.load(file)
  assert logs['iteration_9']['eval_average_return'] == [1.0]
  # Six steps to the goal: gamma^5 and so on.
  assert_allclose(inside.agent(runner).q[0].max(), 0.9**5, rtol=1e-3)
  assert_allclose(inside.agent(runner).q[14].max(), 1.0, rtol=1e-3)

  run(q_learning, tmp_path / 'parts', 'Runner.num_iterations = 4')
  resumed = run(q_learning, tmp_path / 'parts')
  assert inside.start_iteration(resumed) == 4
  np.testing.assert_array_equal(inside.agent(resumed).q, inside.agent(runner).q)


# The dueling network ----------------------------------------------------------


def test_the_advantages_of_the_dueling_network_average_to_zero():
  network = dueling_network.DuelingNetwork(3, name='Online', hidden_units=50)
  state = np.random.default_rng(0).standard_normal((2, 4, 1))
  q = ops.convert_to_numpy(network(ops.convert_to_tensor(state)).q_values)

  def stream(hidden, last):
    kernels = (ops.convert_to_numpy(layer.kernel) for layer in (hidden, last))
    first, second = kernels  # The biases are 0 at the start.
    return np.maximum(x @ first, 0) @ second

  x = np.maximum(
    state.reshape(2, 4) @ ops.convert_to_numpy(network.features.kernel), 0
  )
  value = stream(network.value_hidden, network.value)
  advantage = stream(network.advantage_hidden, network.advantage)
  assert q.shape == (2, 3)
  assert_allclose(q.mean(axis=1), value[:, 0], rtol=1e-4, atol=1e-6)
  centred = advantage - advantage.mean(axis=1, keepdims=True)
  assert_allclose(q - value, centred, rtol=1e-4, atol=1e-6)


# Catch ------------------------------------------------------------------------


def test_catch_is_won_by_following_the_ball():
  environment = catch.Catch()
  for seed in range(10):
    board, _ = environment.reset(seed=seed)
    assert board.shape == (10, 5) and board.sum() == 2
    steps, is_down = 0, False
    while not is_down:
      ball = np.argwhere(board[:-1])[0, 1]
      paddle = np.flatnonzero(board[-1])[0]
      action = 1 + np.sign(ball - paddle)
      board, reward, is_down, is_cut, _ = environment.step(action)
      assert not is_cut
      steps += 1
      assert environment.observation_space.contains(board)
    assert (steps, reward) == (9, 1.0)


def test_catch_is_lost_by_running_away():
  environment = catch.Catch()
  rewards, columns = set(), []
  for seed in [*range(30), *range(30)]:
    environment.reset(seed=seed)
    columns.append(environment._ball[1])
    action = 2 if environment._ball[1] < 2 else 0
    for _ in range(9):
      reward = environment.step(action)[1]
    rewards.add(reward)
  assert rewards == {-1.0}
  # Balls follow from the seed.
  assert columns[:30] == columns[30:] and set(columns) == set(range(5))
