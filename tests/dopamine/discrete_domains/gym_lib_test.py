"""Tests for dopamine.discrete_domains.gym_lib."""

import subprocess
import sys

import gin
import gymnasium
import numpy as np
import pytest

from dopamine import seeding
from dopamine.discrete_domains import gym_lib

pytestmark = pytest.mark.no_backend


@gin.configurable(module='gym_lib_test')
def identity(value=None):
  return value


class OldEnvironment:
  """Gym's old API: bare reset, four values; the observation counts steps."""

  observation_space = gymnasium.spaces.Box(0, 100, (1,))
  action_space = gymnasium.spaces.Discrete(2)

  def __init__(self, done_at=3, done_info=None):
    self.done_at = done_at
    self.done_info = done_info or {}
    self.time = 0
    self.seeds = []

  def seed(self, seed):
    self.seeds.append(seed)

  def reset(self):
    self.time = 0
    return np.array([0.0])

  def step(self, action):
    del action
    self.time += 1
    done = self.time == self.done_at
    info = self.done_info if done else {}
    return np.array([self.time]), 0.5, done, info

  def render(self, mode='human'):
    return f'rendered {mode}'


class ScriptedEnvironment(gymnasium.Env):
  """Gymnasium's API; a step's ends are its script's."""

  observation_space = gymnasium.spaces.Box(0, 100, (1,))
  action_space = gymnasium.spaces.Discrete(2)

  def __init__(self, ends):
    self.ends = ends

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.time = 0
    return np.zeros(1, np.float32), {}

  def step(self, action):
    terminated, truncated = self.ends[self.time]
    self.time += 1
    observation = np.full(1, self.time, np.float32)
    return observation, 0.5, terminated, truncated, {'a': self.time}


def random_episode(environment, num_steps=5, seed=0):
  rng = np.random.default_rng(seed)
  observations = [environment.reset()]
  for _ in range(num_steps):
    action = rng.integers(environment.action_space.n)
    observations.append(environment.step(action)[0])
  return np.array(observations)


# Creating ---------------------------------------------------------------------


@pytest.mark.parametrize(
  'name, version, environment_id, shape, num_actions',
  [
    ('CartPole', 'v0', 'CartPole-v0', gym_lib.CARTPOLE_OBSERVATION_SHAPE, 2),
    ('CartPole', 'v1', 'CartPole-v1', gym_lib.CARTPOLE_OBSERVATION_SHAPE, 2),
    ('CartPole-v1', 'v0', 'CartPole-v1', (4, 1), 2),
    ('Acrobot', 'v1', 'Acrobot-v1', gym_lib.ACROBOT_OBSERVATION_SHAPE, 3),
    ('MountainCar', 'v0', 'MountainCar-v0', (2, 1), 3),
  ],
)
def test_environments(name, version, environment_id, shape, num_actions):
  environment = gym_lib.create_gym_environment(name, version, seed=1)
  assert environment.environment.spec.id == environment_id
  assert environment.observation_space.shape == shape[:1]
  assert environment.action_space.n == num_actions
  assert environment.reset().shape == shape[:1]
  observation, reward, is_terminal, info = environment.step(0)
  assert observation.shape == shape[:1]
  assert np.isscalar(reward)
  assert (is_terminal, environment.game_over, info) == (False, False, {})
  assert environment.reward_range == (-np.inf, np.inf)
  assert 'rgb_array' in environment.metadata['render_modes']
  environment.close()


def test_lunar_lander_v2_is_v3():
  pytest.importorskip('Box2D')
  environment = gym_lib.create_gym_environment('LunarLander', 'v2', seed=1)
  assert environment.environment.spec.id == 'LunarLander-v3'
  assert environment.reset().shape == gym_lib.LUNAR_OBSERVATION_SHAPE[:1]
  assert environment.action_space.n == 4
  environment.close()


def test_lunar_lander_v3_is_said_once():
  pytest.importorskip('Box2D')
  code = (
    'from dopamine.discrete_domains import gym_lib\n'
    "gym_lib.create_gym_environment('LunarLander', 'v2')\n"
    "gym_lib.create_gym_environment('LunarLander-v2')\n"
  )
  result = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert result.stderr.count('using LunarLander-v3') == 1


def test_missing_box2d_names_the_extra(monkeypatch):
  for name in list(sys.modules):
    if name.startswith('gymnasium.envs.box2d'):
      monkeypatch.delitem(sys.modules, name)
  monkeypatch.setitem(sys.modules, 'Box2D', None)
  with pytest.raises(
    gymnasium.error.DependencyNotInstalled,
    match=r"pip install -e '.*\[box2d\]'",
  ):
    gym_lib.create_gym_environment('LunarLander', 'v3')


def test_time_limit_is_removed():
  environment = gym_lib.create_gym_environment('MountainCar', 'v0')
  environment.reset()
  for _ in range(250):  # Gymnasium's limit is 200.
    environment.step(1)
    assert not environment.game_over


def test_time_limit_is_kept_if_asked_for():
  environment = gym_lib.create_gym_environment(
    'MountainCar', 'v0', keep_time_limit=True
  )
  environment.reset()
  ends = [environment.step(1)[2] for _ in range(199)]
  assert not environment.game_over
  ends.append(environment.step(1)[2])
  assert environment.game_over
  assert not any(ends), 'a time-out is no terminal'


@pytest.mark.parametrize('name', ['CartPole', 'Taxi'])
def test_without_a_version_the_newest_comes_without_noise(name, recwarn):
  environment = gym_lib.create_gym_environment(name, None)
  newest = max(
    (s for s in gymnasium.registry.values() if s.name == name),
    key=lambda s: s.version,
  )
  assert environment.environment.spec.id == newest.id
  assert not recwarn.list


def test_a_category_is_flattened_to_one_hot():
  environment = gym_lib.create_gym_environment('FrozenLake', None, flatten=True)
  assert environment.observation_space.shape == (16,)
  np.testing.assert_array_equal(environment.reset(), np.eye(16)[0])
  observation, *_ = environment.step(1)
  place = environment.environment.unwrapped.s
  np.testing.assert_array_equal(observation, np.eye(16)[place])


def test_a_tuple_is_flattened_part_by_part():
  environment = gym_lib.create_gym_environment('Blackjack', None, flatten=True)
  mine, dealer, ace = (
    np.flatnonzero(part)
    for part in np.split(environment.reset(), [32, 32 + 11])
  )
  expected = environment.environment.unwrapped._get_obs()
  assert (*mine, *dealer, *ace) == expected


def test_arrays_are_not_flattened():
  environment = gym_lib.create_gym_environment('CartPole', flatten=True)
  assert 'Flatten' not in repr(environment)
  environment = gym_lib.create_gym_environment('FrozenLake', None)
  assert environment.reset() == 0


def test_further_arguments_are_those_of_the_environment():
  environment = gym_lib.create_gym_environment(
    'FrozenLake', None, map_name='8x8'
  )
  assert environment.observation_space.n == 64
  with gin.unlock_config():
    gin.parse_config("create_gym_environment.map_name = '8x8'")
  try:
    environment = gym_lib.create_gym_environment('FrozenLake', None)
  finally:
    gin.clear_config()
  assert environment.observation_space.n == 64


def test_unversioned_environment():
  gymnasium.register('Unversioned', lambda: ScriptedEnvironment([]))
  try:
    environment = gym_lib.create_gym_environment('Unversioned', version=None)
  finally:
    del gymnasium.registry['Unversioned']
  assert environment.reset() == 0.0


@pytest.mark.parametrize(
  'name, version, nearest',
  [
    ('CartPol', 'v0', 'CartPole-v0'),
    ('CartPole', 'v9', 'CartPole-v1'),
    ('Acrobot', 'v0', 'Acrobot-v1'),
    ('acrobot-v1', None, 'Acrobot-v1'),
  ],
)
def test_unknown_environment_names_its_neighbours(name, version, nearest):
  with pytest.raises(ValueError, match=f'{name}.*{nearest}.*registry'):
    gym_lib.create_gym_environment(name, version)


def test_an_environment_written_otherwise_is_the_only_neighbour():
  for name in ('mountaincar', 'Mountain Car', 'mountain_car-v1'):
    with pytest.raises(ValueError, match=r"Nearest: \['MountainCar-v0'\]; "):
      gym_lib.create_gym_environment(name)
  with pytest.raises(ValueError, match="no environment 'zz'; `gymnasium.reg"):
    gym_lib.create_gym_environment('zz', None)


def test_ids_with_a_version_or_a_package_are_taken_whole():
  for name in ('CartPole-v1', 'gymnasium:CartPole-v1', 'gymnasium:CartPole'):
    environment = gym_lib.create_gym_environment(name, 'v1')
    assert gym_lib.name_of(environment) == 'CartPole-v1'


def test_an_atari_game_of_gymnasium_says_how_dopamine_plays_it(caplog):
  pytest.importorskip('ale_py')
  gym_lib._say_how_atari_is_played.cache_clear()
  with caplog.at_level('WARNING', logger='absl'):
    gym_lib.create_gym_environment('ALE/Pong-v5')
  assert '@atari_lib.create_atari_environment' in caplog.text


@pytest.mark.parametrize('name', [None, ''])
def test_missing_name(name):
  with pytest.raises(ValueError, match='environment_name is not set'):
    gym_lib.create_gym_environment(name)


def test_cartpole_v0_makes_no_noise(recwarn):
  gym_lib.create_gym_environment('CartPole', 'v0')
  assert not recwarn.list


# Ends -------------------------------------------------------------------------


@pytest.mark.parametrize(
  'terminated, truncated',
  [(False, False), (True, False), (False, True), (True, True)],
)
def test_ends_of_gymnasium(terminated, truncated):
  environment = gym_lib.GymPreprocessing(
    ScriptedEnvironment([(False, False), (np.bool_(terminated), truncated)])
  )
  assert environment.reset() == 0.0
  environment.step(0)
  assert not environment.game_over
  observation, reward, is_terminal, info = environment.step(0)
  assert (observation, reward, info) == ([2], 0.5, {'a': 2})
  assert is_terminal is terminated
  assert environment.game_over is (terminated or truncated)
  environment.reset()
  assert environment.game_over is False


@pytest.mark.parametrize('truncated', [None, False, True])
def test_ends_of_an_old_environment(truncated):
  info = {} if truncated is None else {'TimeLimit.truncated': truncated}
  environment = gym_lib.GymPreprocessing(OldEnvironment(2, info))
  assert environment.reset() == 0.0
  assert environment.step(0)[1:] == (0.5, False, {})
  assert environment.game_over is False
  assert environment.step(0)[1:] == (0.5, not truncated, info)
  assert environment.game_over is True
  assert environment.reset() == 0.0
  assert environment.game_over is False


def test_time_limit_of_a_handed_in_environment():
  environment = gym_lib.GymPreprocessing(
    gymnasium.make('MountainCar-v0', max_episode_steps=2)
  )
  environment.reset()
  environment.step(0)
  assert not environment.game_over
  assert environment.step(0)[2] is False
  assert environment.game_over


def test_observations_that_are_tuples_are_not_taken_apart():
  environment = OldEnvironment()
  environment.reset = lambda: (1, 2)
  assert gym_lib.GymPreprocessing(environment).reset() == (1, 2)


# Seeds and states -------------------------------------------------------------


def test_seed_decides_the_episodes():
  def episodes(seed):
    environment = gym_lib.create_gym_environment('CartPole', seed=seed)
    return np.stack([random_episode(environment) for _ in range(2)])

  np.testing.assert_array_equal(episodes(1), episodes(1))
  assert not np.allclose(episodes(1), episodes(2))
  # Only the first reset is seeded: the second episode is another.
  assert not np.allclose(*episodes(1))
  with seeding.run_seed(1):
    np.testing.assert_array_equal(episodes(None), episodes(1))


def test_seed_can_be_bound_on_either():
  def first(binding):
    with gin.unlock_config():
      gin.parse_config(binding)
    try:
      return gym_lib.create_gym_environment('CartPole').reset()
    finally:
      gin.clear_config()

  expected = gym_lib.create_gym_environment('CartPole', seed=5).reset()
  np.testing.assert_array_equal(
    first('create_gym_environment.seed = 5'), expected
  )
  np.testing.assert_array_equal(first('GymPreprocessing.seed = 5'), expected)


def test_old_environment_is_seeded_by_its_method():
  environment = OldEnvironment()
  gym_lib.GymPreprocessing(environment, seed=5)
  assert environment.seeds == [seeding.integer(5, 'environment')]


def test_environment_that_knows_no_seed():
  environment = gym_lib.GymPreprocessing(OldEnvironment(), seed=5)
  assert environment.reset() == 0.0


@pytest.mark.parametrize('inner', [OldEnvironment(), ScriptedEnvironment([])])
def test_wrapper_does_not_decide_whether_reset_takes_a_seed(inner):
  class Wrapper(OldEnvironment):
    unwrapped = inner

    def reset(self, **kwargs):
      self.given = kwargs
      return inner.reset(**kwargs)

  class ModernWrapper(Wrapper):
    def reset(self, seed=None):
      return super().reset(**({} if seed is None else {'seed': seed}))

  takes_seed = isinstance(inner, gymnasium.Env)
  expected = {'seed': seeding.integer(5, 'environment')} if takes_seed else {}
  for wrapper in (Wrapper(), ModernWrapper()):
    assert gym_lib.GymPreprocessing(wrapper, seed=5).reset() == 0.0
    assert wrapper.given == expected


@pytest.mark.parametrize('num_episodes', [0, 1, 3])
def test_state_continues_with_the_same_episodes(num_episodes):
  environment = gym_lib.create_gym_environment('CartPole', seed=1)
  for _ in range(num_episodes):
    random_episode(environment)
  state = environment.get_state()
  expected = [random_episode(environment) for _ in range(2)]
  other = gym_lib.create_gym_environment('CartPole', seed=2)
  other.set_state(state)
  np.testing.assert_array_equal(
    [random_episode(other) for _ in range(2)], expected
  )


def test_state_of_an_environment_without_a_generator():
  environment = gym_lib.GymPreprocessing(OldEnvironment())
  with pytest.raises(NotImplementedError, match='OldEnvironment.*np_random'):
    environment.get_state()


# Rendering --------------------------------------------------------------------


def test_render():
  pytest.importorskip('pygame')
  environment = gym_lib.create_gym_environment(
    'CartPole', render_mode='rgb_array'
  )
  environment.reset()
  assert environment.render().shape == (400, 600, 3)
  environment.close()


def test_render_without_a_render_mode_says_what_to_do():
  environment = gym_lib.create_gym_environment('CartPole')
  environment.reset()
  with pytest.raises(ValueError, match="create it with render_mode='rgb_arr"):
    environment.render()


def test_render_of_an_old_environment_gets_the_mode():
  environment = gym_lib.GymPreprocessing(OldEnvironment())
  assert environment.render('human') == 'rendered human'


# The module -------------------------------------------------------------------


def test_ranges():
  np.testing.assert_allclose(
    gym_lib.CARTPOLE_MAX_VALS, [2.4, 5.0, 0.2617993878, 6.2831853072]
  )
  np.testing.assert_allclose(gym_lib.ACROBOT_MAX_VALS, [1, 1, 1, 1, 5, 5])
  np.testing.assert_array_equal(
    gym_lib.CARTPOLE_MIN_VALS, -gym_lib.CARTPOLE_MAX_VALS
  )
  np.testing.assert_array_equal(
    gym_lib.ACROBOT_MIN_VALS, -gym_lib.ACROBOT_MAX_VALS
  )
  np.testing.assert_allclose(gym_lib.MOUNTAINCAR_MIN_VALS, [-1.2, -0.07])
  np.testing.assert_allclose(gym_lib.MOUNTAINCAR_MAX_VALS, [0.6, 0.07])


@pytest.mark.parametrize(
  'domain, size',
  [('CARTPOLE', 4), ('ACROBOT', 6), ('LUNAR', 8), ('MOUNTAINCAR', 2)],
)
def test_gin_constants(domain, size):
  expected = {
    'OBSERVATION_SHAPE': (size, 1),
    'OBSERVATION_DTYPE': np.float64,
    'STACK_SIZE': 1,
  }
  for field, value in expected.items():
    assert getattr(gym_lib, f'{domain}_{field}') == value
    with gin.unlock_config():
      gin.parse_config(f'identity.value = %gym_lib.{domain}_{field}')
    try:
      assert identity() == value
    finally:
      gin.clear_config()


def test_unknown_attribute():
  with pytest.raises(AttributeError, match='no attribute .CartpoleNetwork.$'):
    _ = gym_lib.CartpoleNetwork


def test_networks_are_served():
  from dopamine import networks

  for name in ('CartpoleDQNNetwork', 'BasicDiscreteDomainNetwork'):
    assert getattr(gym_lib, name) is getattr(networks, name)
