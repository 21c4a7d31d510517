"""Returns keep their digits, whatever rewards are; rewards may be tensors."""

import collections
import pickle

import numpy as np
from numpy.testing import assert_array_equal
import pytest

from dopamine.colab import utils
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import evaluate
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from dopamine.runs import run_state

pytestmark = pytest.mark.no_backend


class DType:
  """What a dtype of another framework is: nothing that NumPy's is."""


class Tensor:
  """An array of another framework, as NumPy sees it."""

  dtype = DType()

  def __init__(self, values, dtype=np.float32):
    self._values = np.asarray(values, dtype)

  def __array__(self, dtype=None):
    return self._values

  def __float__(self):
    return float(self._values)

  def item(self):
    return self._values.item()


class Scalar:
  """A number of another framework that NumPy knows nothing of."""

  dtype = DType()

  def __init__(self, value):
    self._value = value

  def __float__(self):
    return float(self._value)


class Rewarding:
  """Three steps, each with the reward `make(step)`; it keeps the actions."""

  def __init__(self, make):
    self.action_space = collections.namedtuple('Space', 'n')(2)
    self.game_over = True
    self._make = make
    self.actions = []

  def reset(self):
    self._steps, self.game_over = 0, False
    return Tensor([0.0])

  def step(self, action):
    self.actions.append(action)
    self._steps += 1
    self.game_over = self._steps == 3
    return Tensor([self._steps]), self._make(self._steps), self.game_over, {}


class Listener:
  """An agent that keeps the rewards that it is given."""

  eval_mode = False

  def __init__(self, action=0):
    self.rewards, self._action = [], action

  def begin_episode(self, observation):
    return self._action

  def step(self, reward, observation):
    self.rewards.append(reward)
    return self._action

  def end_episode(self, reward):
    self.rewards.append(reward)

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    return {'rewards': len(self.rewards)}

  def unbundle(self, checkpoint_dir, iteration_number, data):
    return True


def run(base_dir, make, cls=run_experiment.TrainRunner, **kwargs):
  """One iteration of two episodes; returns the agent and the statistics."""
  agent = Listener()
  runner = cls(
    str(base_dir),
    lambda *args, **kwargs: agent,
    create_environment_fn=lambda: Rewarding(make),
    num_iterations=1,
    training_steps=4,
    **kwargs,
  )
  runner.run_experiment()
  log = pickle.loads((base_dir / 'logs' / 'log_0').read_bytes())
  return agent, log['iteration_0']


# 2^24 + 1 is no float32 and 2049 no float16, so the ones after the first reward
# would be lost.
@pytest.mark.parametrize(
  'first, make',
  [
    (2**24, np.float32),
    (2**24, lambda x: np.array(x, np.float32)),
    (2**24, Tensor),
    (2**24, Scalar),
    (2048, np.float16),
    (254, np.uint8),
    (2**24, np.float64),
    (5, int),
  ],
)
def test_a_return_is_not_summed_in_the_dtype_of_the_rewards(
  tmp_path, capsys, first, make
):
  _, statistics = run(tmp_path, lambda step: make(first if step == 1 else 1))
  expected = float(first + 2)
  returns = statistics['train_episode_returns']
  returns = returns + statistics['train_average_return']
  assert returns == [expected] * 3
  assert [type(value) for value in returns] == [float] * 3
  assert f'Return: {expected}' in capsys.readouterr().out


@pytest.mark.parametrize('make', [bool, np.bool_])
def test_rewards_of_true_and_false_are_counted(tmp_path, make):
  _, statistics = run(tmp_path, lambda step: make(step > 1))
  returns = statistics['train_episode_returns']
  assert returns == [2.0, 2.0]
  assert [type(value) for value in returns] == [float] * 2


@pytest.mark.parametrize('dtype', ['float16', 'float32', 'uint8', 'int64'])
def test_returns_of_array_rewards_are_float64(tmp_path, dtype):
  rewards = {1: [200, 0], 2: [100, 1], 3: [100, 0]}
  agent, statistics = run(tmp_path, lambda step: np.array(rewards[step], dtype))
  for value in (
    *statistics['train_episode_returns'],
    *statistics['train_average_return'],
  ):
    assert value.dtype == np.float64
    assert_array_equal(value, [400, 1])
  assert_array_equal(agent.rewards[0], [1, 0])
  assert_array_equal(agent.rewards[1], [1, 1])


def test_an_episode_of_a_runner_of_ones_own_is_counted_in_float64(tmp_path):
  class OwnRunner(run_experiment.TrainRunner):
    def _run_one_episode(self):
      return 1, np.float32(2**24 if not self._state.phase_steps else 1)

  _, statistics = run(tmp_path, lambda step: 1.0, OwnRunner)
  assert statistics['train_episode_returns'] == [2.0**24, 1.0, 1.0, 1.0]
  assert type(statistics['train_episode_returns'][0]) is float
  assert statistics['train_average_return'] == [(2**24 + 3) / 4]


@pytest.mark.parametrize('make', [Tensor, Scalar])
@pytest.mark.parametrize('clip_rewards', [True, False])
def test_rewards_that_are_tensors_reach_the_agent_as_numbers(
  tmp_path, make, clip_rewards
):
  agent, _ = run(
    tmp_path, lambda step: make(step / 2 - 3), clip_rewards=clip_rewards
  )
  expected = [-1.0, -1.0, -1.0] if clip_rewards else [-2.5, -2.0, -1.5]
  assert agent.rewards == 2 * expected
  assert all(isinstance(r, (float, np.floating)) for r in agent.rewards)


@pytest.mark.parametrize(
  'make', [Tensor, Scalar, lambda x: Tensor([1.0, x]), lambda x: [1.0, x]]
)
def test_a_tensor_that_is_no_number_is_refused(tmp_path, make):
  with pytest.raises(FloatingPointError, match='reward .*nan'):
    run(tmp_path, lambda step: make(np.nan))


def test_an_observation_that_is_a_tensor_is_looked_at(tmp_path):
  class Broken(Rewarding):
    def reset(self):
      super().reset()
      return Tensor([np.nan])

  with pytest.raises(FloatingPointError, match='observation'):
    run_experiment.TrainRunner(
      str(tmp_path),
      lambda *args, **kwargs: Listener(),
      create_environment_fn=lambda: Broken(float),
      num_iterations=1,
      training_steps=4,
    ).run_experiment()


def test_observations_of_no_one_shape_are_the_agents_business(tmp_path):
  class Tuples(Rewarding):
    def reset(self):
      super().reset()
      return np.zeros((2, 2)), np.zeros(3)

  run_experiment.TrainRunner(
    str(tmp_path),
    lambda *args, **kwargs: Listener(),
    create_environment_fn=lambda: Tuples(float),
    num_iterations=1,
    training_steps=4,
  ).run_experiment()


def test_a_phase_sums_in_float64():
  phase = run_state.Phase()
  phase.count(3, np.float32(2**24))
  phase.count(4, np.float32(1))
  assert phase.total_return == 2**24 + 1
  assert phase.returns == [2.0**24, 1.0]
  assert {type(x) for x in (phase.total_return, *phase.returns)} == {float}


def test_returns_of_an_old_checkpoint_are_summed_on_in_float64():
  saved = {
    **run_state.RunState(iteration=3, phase='eval').saved(),
    'in_episode': True,
    'episode_steps': 5,
    'episode_return': np.float32(2**24),
    'phases': {
      'train': dict(
        steps=7,
        total_return=np.float32(2**24),
        lengths=[3, 4],
        returns=[np.float32(2**24), np.float32(1)],
        seconds=2.5,
      )
    },
  }
  state = run_state.RunState.restored(saved)
  state.episode_return += 1.0
  assert state.episode_return == 2**24 + 1
  phase = state.phases['train']
  assert (phase.steps, phase.lengths, phase.seconds) == (7, [3, 4], 2.5)
  assert phase.total_return == 2**24 + 1
  assert {type(x) for x in (phase.total_return, *phase.returns)} == {float}


def test_an_action_that_is_a_tensor_is_saved():
  state = run_state.RunState(action=Tensor(1, np.int32), in_episode=True)
  action = state.saved()['action']
  assert action == 1 and type(action) is np.int32
  assert run_state.RunState(action=(0, 1)).saved()['action'] == (0, 1)
  assert run_state.RunState().saved()['action'] is None


def test_the_rewards_of_skipped_frames_are_summed_in_float64():
  class Float32(atari_lib.AleEnvironment):
    def step(self, action):
      observation, _, *rest = super().step(action)
      self.frame = getattr(self, 'frame', 0) + 1
      reward = np.float32(2**24 if self.frame == 1 else 1)
      return observation, reward, *rest

  environment = atari_lib.AtariPreprocessing(Float32('Pong', 0.0, 1))
  environment.reset()
  _, reward, _, _ = environment.step(0)
  assert reward == 2**24 + 3
  assert type(reward) is float


def test_means_of_old_logs_are_taken_in_float64():
  values = [np.float32(2**24)] + 7 * [np.float32(1)]
  data = {'iteration_0': {'train_episode_returns': values}}
  summary = utils.summarize_data(data, ['train_episode_returns'])
  assert summary == {'train_episode_returns': [(2**24 + 7) / 8]}
  assert f'{(2**24 + 7) / 8:.2f}' in evaluate.describe(values)


def test_a_number_or_an_array_as_float64():
  for value in (True, 3, np.float16(3), Tensor(3), np.array(3), Scalar(3)):
    assert type(gym_lib.as_float64(value)) is float
  for value in ([3], np.float16([3]), Tensor([3])):
    assert gym_lib.as_float64(value).dtype == np.float64
  reward = np.ones(2)
  assert gym_lib.as_float64(reward) is not reward


@pytest.mark.parametrize('make', [np.float32, lambda x: np.float32([x, 1])])
def test_an_evaluation_returns_floats_or_arrays_of_float64(tmp_path, make):
  class WithoutWeights(evaluate.Evaluation):
    def __init__(self):
      self.path = ''
      run_experiment.Runner.__init__(
        self,
        str(tmp_path),
        lambda *args, **kwargs: Loading(),
        lambda: Rewarding(lambda step: make(2**24 if step == 1 else 1)),
      )

  class Loading(Listener):
    def load_weights(self, path):
      pass

  returns = WithoutWeights().run(2)
  expected = 2**24 + 2 if np.ndim(make(0)) == 0 else [2**24 + 2, 3]
  assert_array_equal(returns, [expected, expected])
  assert type(returns[0]) is float or returns[0].dtype == np.float64
