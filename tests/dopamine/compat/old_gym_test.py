"""Tests for dopamine.compat.old_gym."""

import gymnasium
import numpy as np
import pytest

from dopamine import seams
from dopamine.compat import old_gym
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import gym_lib

pytestmark = pytest.mark.no_backend


class Modern(gymnasium.Env):
  observation_space = gymnasium.spaces.Box(0, 100, (2,))
  action_space = gymnasium.spaces.Discrete(2)

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    return np.zeros(2), {}

  def step(self, action):
    return np.ones(2), 0.5, True, False, {}


class Ported(Modern):
  """Old code that was only given Gymnasium's base class."""

  def __init__(self):
    self.seeds = []

  def seed(self, seed):
    self.seeds.append(seed)

  def reset(self):
    return np.zeros(2)

  def step(self, action):
    return np.ones(2), 0.5, True, {'TimeLimit.truncated': True}

  def render(self, mode='human'):
    return f'rendered {mode}'


class Duck:
  """Gymnasium's five values, and its `reset`, but no base class."""

  observation_space, action_space = (
    Modern.observation_space,
    Modern.action_space,
  )
  steps = 0

  def reset(self, seed=None):
    self.given_seed = seed
    return np.zeros(2), {}

  def step(self, action):
    self.steps += 1
    return np.ones(2), 0.5, np.bool_(False), np.bool_(True), {}


def test_what_has_gymnasiums_interface_is_played_as_it_is():
  for environment in (Modern(), gymnasium.make('CartPole-v1')):
    assert old_gym.environment(environment) is environment
    assert gym_lib.GymPreprocessing(environment).environment is environment
  environment = atari_lib.create_atari_environment('Pong')
  assert environment._gymnasium is environment.environment


def test_old_code_below_gymnasiums_base_class():
  ported = Ported()
  environment = gym_lib.GymPreprocessing(ported, seed=5)
  assert environment.environment is ported
  assert len(ported.seeds) == 1
  np.testing.assert_array_equal(environment.reset(), [0, 0])
  observation, reward, is_terminal, _ = environment.step(0)
  assert (observation.tolist(), reward, is_terminal) == ([1, 1], 0.5, False)
  assert environment.game_over is True
  assert environment.render('human') == 'rendered human'


def test_a_duck_with_five_values():
  duck = Duck()
  environment = gym_lib.GymPreprocessing(duck, seed=5)
  np.testing.assert_array_equal(environment.reset(), [0, 0])
  assert duck.given_seed is not None
  np.testing.assert_array_equal(environment.reset(), [0, 0])
  assert duck.given_seed is None
  assert environment.step(0)[2] is False
  assert environment.game_over is True
  assert (duck.steps, environment.metadata, environment.task_name) == (
    *(1, {}),
    None,
  )
  environment.close()


def test_another_environment_may_be_put_in_its_place():
  class Mine(gym_lib.GymPreprocessing):
    def __init__(self, environment):
      super().__init__(environment)
      self.environment = Duck()

  environment = Mine(Modern())
  environment.reset()
  environment.step(0)
  assert environment.environment.steps == 1


@pytest.mark.parametrize(
  'method, returned, expected',
  [
    ('reset', (1, 2, 3), (1, 2, 3)),
    ('reset', 4, 4),
    ('step', (1, 2.0, True, {}), (1, 2.0, True, {})),
    ('step', [1, 2.0, True, False, {}], (1, 2.0, True, {})),
    ('step', (1, 2, 3), None),
    ('step', 3, None),
  ],
)
def test_a_gymnasium_environment_that_returns_as_gym_did(
  method, returned, expected
):
  modern = Modern()
  environment = gym_lib.GymPreprocessing(modern)
  environment.reset()
  if method == 'reset':
    modern.reset = lambda: returned
    assert environment.reset() == expected
    return
  modern.step = lambda action: returned
  if expected is None:
    with pytest.raises(ValueError, match=r'step .* must return \(observation'):
      environment.step(0)
  else:
    assert environment.step(0) == expected


def test_without_compat_the_base_class_is_named(monkeypatch):
  monkeypatch.setattr(seams, 'compat', lambda *_: None)
  with pytest.raises(ValueError, match='no gymnasium.Env: derive'):
    gym_lib.GymPreprocessing(Duck())
  environment = gym_lib.GymPreprocessing(Modern())
  environment.reset()
  assert environment.step(0)[2] is True
  environment = atari_lib.create_atari_environment('Pong')
  environment.reset()
  state = environment.get_state()
  environment.step(0)
  environment.set_state(state)
  del state['start']
  with pytest.raises(ValueError, match="no 'start'.*compat"):
    environment.set_state(state)


def test_names_of_earlier_versions_are_served():
  assert gym_lib.name_of(atari_lib.create_atari_environment('Pong')) == 'pong'
  assert gym_lib.read_step((1, 2.0, True, {})) == (1, 2.0, True, False, {})
  assert gym_lib.unwrapped(3) == 3
