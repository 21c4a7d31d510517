"""Tests for dopamine.discrete_domains.atari_lib."""

import hashlib
import subprocess
import sys

import ale_py
from ale_py import roms
import cv2
import gin
import gymnasium
import numpy as np
import pytest

from dopamine import seeding
from dopamine.discrete_domains import atari_lib
from tests.support import atari

pytestmark = pytest.mark.no_backend

NEVER = 10**6


class ScriptedAle:
  """Its screen in frame t is [[t, 100 - t], [t, 100 - t]]."""

  def __init__(self, lives_lost_at=()):
    self.frame = 0
    self.lives_lost_at = lives_lost_at

  def getScreenGrayscale(self, buffer):  # noqa: N802
    buffer[:, 0] = self.frame
    buffer[:, 1] = 100 - self.frame

  def lives(self):
    return 3 - sum(self.frame >= t for t in self.lives_lost_at)


class ScriptedEnvironment:
  """An environment of the old Gym API, whose reward in frame t is t.

  As in the mocks that Dopamine's users have, the observation space is an array.
  """

  def __init__(self, over_at=NEVER, lives_lost_at=(), done_info=0):
    self.ale = ScriptedAle(lives_lost_at)
    self.observation_space = np.zeros((2, 2))
    self.action_space = gymnasium.spaces.Discrete(2)
    self.over_at = over_at
    self.done_info = done_info
    self.game_over = False

  def reset(self):
    self.ale.frame = 0
    return 'not used'

  def step(self, action):
    del action
    self.ale.frame += 1
    self.game_over = self.ale.frame >= self.over_at
    info = self.done_info if self.game_over else 0
    return 'not used', self.ale.frame, self.game_over, info


def preprocess(environment, frame_skip=4, terminal_on_life_loss=False):
  return atari_lib.AtariPreprocessing(
    environment, frame_skip, terminal_on_life_loss, screen_size=2
  )


def picture(observation):
  """Returns the pair (left, right) that fills an observation's columns."""
  assert observation.shape == (2, 2, 1)
  assert observation.dtype == np.uint8
  np.testing.assert_array_equal(observation[0], observation[1])
  return tuple(observation[0, :, 0].tolist())


def bare_ale(game, repeat_action_probability=0.0, seed=0):
  ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
  ale = ale_py.ALEInterface()
  ale.setInt('random_seed', seed)
  ale.setFloat('repeat_action_probability', repeat_action_probability)
  ale.loadROM(roms.get_rom_path(game))
  ale.reset_game()
  return ale


# Preprocessing, on a script ---------------------------------------------------


def test_reset_shows_the_first_screen():
  environment = preprocess(ScriptedEnvironment())
  assert picture(environment.reset()) == (0, 100)
  assert not environment.game_over
  assert environment.lives == 3


# After frame n the last two screens are (n-1, 101-n) and (n, 100-n), and their
# maximum is (n, 101-n). With frame_skip=1 there is one screen, (n, 100-n):
# 3.2.1 kept showing (0, 100) there.
@pytest.mark.parametrize(
  'frame_skip, pictures',
  [
    (1, [(1, 99), (2, 98), (3, 97)]),
    (2, [(2, 99), (4, 97), (6, 95)]),
    (3, [(3, 98), (6, 95), (9, 92)]),
    (4, [(4, 97), (8, 93), (12, 89)]),
  ],
)
def test_picture_is_the_maximum_of_the_last_two_screens(frame_skip, pictures):
  environment = preprocess(ScriptedEnvironment(), frame_skip)
  environment.reset()
  assert [picture(environment.step(0)[0]) for _ in range(3)] == pictures


def test_rewards_of_a_skip_are_summed():
  environment = preprocess(ScriptedEnvironment())
  environment.reset()
  assert environment.step(0)[1] == 1 + 2 + 3 + 4
  assert environment.step(0)[1] == 5 + 6 + 7 + 8


def test_skipped_screens_are_not_fetched():
  scripted = ScriptedEnvironment()
  fetched = []
  scripted.ale.getScreenGrayscale = lambda buffer: fetched.append(
    scripted.ale.frame
  )
  environment = preprocess(scripted)
  environment.reset()
  environment.step(0)
  environment.step(0)
  assert fetched == [0, 3, 4, 7, 8]


# The step plays frames 5 to 8. Before it the buffers hold the maximum (4, 97)
# and the screen of frame 4, (4, 96).
@pytest.mark.parametrize(
  'over_at, shown, reward',
  [
    (5, (4, 97), 5),  # Nothing fetched.
    (6, (4, 97), 5 + 6),
    (7, (4, 97), 5 + 6 + 7),
    (8, (7, 96), 5 + 6 + 7 + 8),  # 7 is fetched, (7, 93), and 8 is not.
  ],
)
def test_end_inside_a_skip_leaves_the_picture_stale(over_at, shown, reward):
  environment = preprocess(ScriptedEnvironment(over_at))
  environment.reset()
  environment.step(0)
  assert not environment.game_over
  observation, total, is_terminal, _ = environment.step(0)
  assert (picture(observation), total) == (shown, reward)
  assert is_terminal is True
  assert environment.game_over
  assert picture(environment.reset()) == (0, 100)
  assert not environment.game_over


def test_life_loss_is_ignored_unless_asked_for():
  environment = preprocess(ScriptedEnvironment(lives_lost_at=[6]))
  environment.reset()
  for _ in range(3):
    _, reward, is_terminal, _ = environment.step(0)
    assert is_terminal is False
  assert reward == 9 + 10 + 11 + 12


def test_life_loss_ends_the_step_but_not_the_game():
  environment = preprocess(
    ScriptedEnvironment(lives_lost_at=[6, 10]), terminal_on_life_loss=True
  )
  environment.reset()
  assert environment.step(0)[2] is False
  observation, reward, is_terminal, _ = environment.step(0)
  # Frame 6 is the second of its step: no screen was fetched.
  assert (picture(observation), reward, is_terminal) == ((4, 97), 5 + 6, True)
  assert not environment.game_over
  assert environment.lives == 2
  # The game goes on with frames 7 to 10, where the next life is lost: only
  # frame 9, (9, 91), is fetched, over the 97 of old.
  observation, reward, is_terminal, _ = environment.step(0)
  assert reward == 7 + 8 + 9 + 10
  assert (picture(observation), is_terminal) == ((9, 96), True)
  assert environment.lives == 1
  assert environment.step(0)[2] is False


@pytest.mark.parametrize('lives_lost_at', [[], [2]])
def test_game_over_is_terminal_with_or_without_a_life_lost(lives_lost_at):
  environment = preprocess(
    ScriptedEnvironment(2, lives_lost_at), terminal_on_life_loss=True
  )
  environment.reset()
  assert environment.step(0)[2] is True
  assert environment.game_over


def test_time_limit_of_an_old_environment_is_not_terminal():
  environment = preprocess(
    ScriptedEnvironment(over_at=6, done_info={'TimeLimit.truncated': True})
  )
  environment.reset()
  environment.step(0)
  _, reward, is_terminal, info = environment.step(0)
  assert (reward, is_terminal) == (5 + 6, False)
  assert environment.game_over
  assert info == {'TimeLimit.truncated': True}


def test_observations_are_new_arrays():
  environment = preprocess(ScriptedEnvironment())
  kept = [environment.reset(), environment.step(0)[0], environment.step(0)[0]]
  assert [picture(each) for each in kept] == [(0, 100), (4, 97), (8, 93)]


def test_resizing_averages_areas():
  environment = ScriptedEnvironment()
  screen = np.array(
    [[0, 2, 10, 10], [4, 6, 10, 50], [0, 0, 1, 1], [0, 0, 1, 1]], np.uint8
  )
  environment.observation_space = np.zeros((4, 4, 3))
  environment.ale.getScreenGrayscale = lambda buffer: np.copyto(buffer, screen)
  observation = preprocess(environment).reset()
  # (0 + 2 + 4 + 6) / 4 = 3; (10 + 10 + 10 + 50) / 4 = 20.
  np.testing.assert_array_equal(observation[..., 0], [[3, 20], [0, 1]])


@pytest.mark.parametrize('value', [0, -1])
def test_sizes_must_be_positive(value):
  environment = ScriptedEnvironment()
  with pytest.raises(ValueError, match='^Frame skip should be strictly posi'):
    atari_lib.AtariPreprocessing(environment, frame_skip=value)
  with pytest.raises(ValueError, match='^Target screen size should be strict'):
    atari_lib.AtariPreprocessing(environment, screen_size=value)


def test_spaces_and_other_properties():
  environment = atari_lib.AtariPreprocessing(ScriptedEnvironment())
  space = environment.observation_space
  assert (space.shape, space.dtype) == ((84, 84, 1), np.uint8)
  assert (space.low.min(), space.high.max()) == (0, 255)
  assert environment.action_space.n == 2
  # The mock has neither of these.
  assert environment.reward_range == (-np.inf, np.inf)
  assert environment.metadata == {}
  environment.close()
  environment.environment.metadata = {'a': 1}
  environment.environment.reward_range = (0, 1)
  assert environment.metadata == {'a': 1}
  assert environment.reward_range == (0, 1)


def test_state_of_a_mock_cannot_be_saved():
  environment = preprocess(ScriptedEnvironment())
  with pytest.raises(NotImplementedError, match='ALEInterface'):
    environment.get_state()


def test_environment_without_an_emulator_is_refused():
  with pytest.raises(ValueError, match='is not an Atari environment'):
    atari_lib.AtariPreprocessing(gymnasium.make('CartPole-v1'))


# Games ------------------------------------------------------------------------


@pytest.mark.parametrize(
  'name, height',
  [
    ('Pong', 210),
    ('UpNDown', 210),
    ('Pacman', 250),
    ('JourneyEscape', 230),
    ('Carnival', 214),
    ('Pooyan', 220),
  ],
)
def test_games_load_with_their_true_screens(name, height):
  environment = atari_lib.create_atari_environment(name)
  assert environment.reset().shape == (84, 84, 1)
  last_action = environment.action_space.n - 1
  observation, _, is_terminal, info = environment.step(last_action)
  assert observation.shape == (84, 84, 1)
  assert observation.any()
  assert (is_terminal, info) == (False, {})
  game = environment.environment
  assert game.observation_space.shape == (height, 160, 3)
  assert game.render().shape == (height, 160, 3)


def test_actions_are_the_minimal_set():
  environment = atari_lib.create_atari_environment('Breakout')
  assert environment.action_space.n == 4
  environment.reset()
  for action in (-1, 4):
    with pytest.raises(ValueError, match=f'action={action} is outside 0..3'):
      environment.step(action)
  environment.step(np.int64(3))


# Frames -----------------------------------------------------------------------


# Starts of the SHA-256 of the grayscale screens after a reset and after 60
# steps, of which step i plays action i % num_actions, with ale-py 0.12.1.
SCREENS = {
  'Pong': ['c14852ce54875aa9', 'b3fdf855d4d8f090'],
  'Breakout': ['fc0422c7624d5ccd', 'a072faa432f42d8f'],
  'SpaceInvaders': ['3250b3bd9a5111e0', '5aa5e53d206926f6'],
  'Seaquest': ['50d9ad9372260df4', '45df4f19a9d1d950'],
  'MsPacman': ['623ae841cf62ef87', 'bd037d530fddd391'],
}


@pytest.mark.parametrize('name', SCREENS)
def test_screens_of_real_games(name):
  environment = atari_lib.create_atari_environment(
    name, sticky_actions=False, seed=0
  )
  environment.reset()
  hashes = [hashlib.sha256(environment.screen_buffer[0]).hexdigest()[:16]]
  for i in range(60):
    environment.step(i % environment.action_space.n)
  hashes.append(hashlib.sha256(environment.screen_buffer[0]).hexdigest()[:16])
  assert hashes == SCREENS[name]


def area_weights(size, new_size):
  """Returns [new_size, size]: how much of each old pixel a new one covers."""
  edges = np.linspace(0, size, new_size + 1)
  pixels = np.arange(size)
  first = np.maximum(edges[:-1, None], pixels)
  last = np.minimum(edges[1:, None], pixels + 1)
  return np.maximum(last - first, 0) * new_size / size


@pytest.mark.parametrize('game', ['breakout', 'seaquest'])
@pytest.mark.parametrize('frame_skip', [1, 2, 4])
def test_observations_equal_a_bare_emulator_loop(game, frame_skip):
  ale = bare_ale(game)
  actions = ale.getMinimalActionSet()
  environment = atari_lib.AtariPreprocessing(
    atari_lib.AleEnvironment(game, repeat_action_probability=0.0, seed=0),
    frame_skip=frame_skip,
  )
  environment.reset()
  rows, columns = area_weights(210, 84), area_weights(160, 84)
  for i in range(40):
    observation, reward, _, _ = environment.step(i % len(actions))
    screens, rewards = [], []
    for _ in range(frame_skip):
      rewards.append(ale.act(actions[i % len(actions)]))
      screens.append(ale.getScreenGrayscale())
    screen = np.max(screens[-2:], axis=0)
    resized = cv2.resize(screen, (84, 84), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(observation[..., 0], resized)
    assert reward == sum(rewards)
    # OpenCV rounds, and may round a tie the other way.
    area = rows @ screen @ columns.T
    np.testing.assert_allclose(observation[..., 0], area, atol=0.51)


def test_seed_decides_sticky_actions():
  def digest(seed, sticky_actions=True):
    environment = atari_lib.create_atari_environment(
      'Breakout', sticky_actions, seed
    )
    environment.reset()
    return atari.play(environment, 100)

  assert digest(1) == digest(1)
  assert digest(1) != digest(2)
  assert digest(1) != digest(1, sticky_actions=False)
  with seeding.run_seed(1):
    assert digest(None) == digest(1)
    assert digest(2) == digest(2)


def test_sticky_actions_repeat_the_previous_action_in_a_quarter_of_frames():
  environment = atari_lib.create_atari_environment('Pong')
  game = environment.environment
  assert game.ale.getFloat('repeat_action_probability') == 0.25
  environment = atari_lib.create_atari_environment('Pong', sticky_actions=False)
  game = environment.environment
  assert game.ale.getFloat('repeat_action_probability') == 0.0


def test_gin_names():
  with gin.unlock_config():
    gin.parse_config("""
      import dopamine.discrete_domains.atari_lib
      atari_lib.create_atari_environment.game_name = 'Breakout'
      atari_lib.create_atari_environment.sticky_actions = False
      AtariPreprocessing.frame_skip = 2
      dopamine.discrete_domains.atari_lib.AtariPreprocessing.screen_size = 42
    """)
  try:
    environment = atari_lib.create_atari_environment()
  finally:
    gin.clear_config()
  assert environment.action_space.n == 4
  assert environment.frame_skip == 2
  assert environment.reset().shape == (42, 42, 1)


def test_render():
  environment = atari_lib.create_atari_environment('Pong')
  environment.reset()
  picture_now = environment.render('rgb_array')
  assert (picture_now.shape, picture_now.dtype) == ((210, 160, 3), np.uint8)
  np.testing.assert_array_equal(
    picture_now, environment.environment.ale.getScreenRGB()
  )
  np.testing.assert_array_equal(picture_now, environment.render())
  with pytest.raises(ValueError, match="mode='human'"):
    environment.render('human')
  environment.close()


def test_render_of_an_old_environment_gets_the_mode():
  environment = ScriptedEnvironment()
  environment.render = lambda mode='human': f'rendered {mode}'
  assert preprocess(environment).render('human') == 'rendered human'
  assert preprocess(environment).render() == 'rendered rgb_array'


# Handed-in Gymnasium environments ---------------------------------------------


def make_ale(**kwargs):
  gymnasium.register_envs(ale_py)
  kwargs = {'frameskip': 1, 'repeat_action_probability': 0.0, **kwargs}
  return gymnasium.make('ALE/Breakout-v5', **kwargs)


@pytest.mark.parametrize('terminal_on_life_loss', [False, True])
def test_gymnasium_environment_gives_the_same_frames(terminal_on_life_loss):
  theirs = atari_lib.AtariPreprocessing(
    make_ale(), terminal_on_life_loss=terminal_on_life_loss
  )
  ours = atari_lib.AtariPreprocessing(
    atari_lib.AleEnvironment('Breakout', 0.0, seed=0),
    terminal_on_life_loss=terminal_on_life_loss,
  )
  np.testing.assert_array_equal(theirs.reset(), ours.reset())
  assert atari.play(theirs, 300) == atari.play(ours, 300)
  np.testing.assert_array_equal(theirs.render(), ours.render())
  assert theirs.action_space.n == ours.action_space.n


def test_gymnasium_environment_behind_a_wrapper_that_resizes():
  environment = make_ale()
  environment = gymnasium.wrappers.ResizeObservation(environment, (50, 50))
  environment = atari_lib.AtariPreprocessing(environment)
  ours = atari_lib.create_atari_environment('Breakout', sticky_actions=False)
  np.testing.assert_array_equal(environment.reset(), ours.reset())


def test_time_limit_of_gymnasium_ends_the_episode_without_a_terminal():
  environment = atari_lib.AtariPreprocessing(make_ale(max_episode_steps=6))
  environment.reset()
  assert environment.step(0)[2] is False
  assert not environment.game_over
  assert environment.step(0)[2] is False
  assert environment.game_over
  environment.reset()
  assert not environment.game_over


def test_gymnasium_environment_restores():
  environment = atari_lib.AtariPreprocessing(
    make_ale(repeat_action_probability=0.25)
  )
  environment.reset()
  atari.play(environment, 30)
  state = environment.get_state()
  # Not even reset yet, which Gymnasium would complain of.
  other = atari_lib.AtariPreprocessing(make_ale(repeat_action_probability=0.25))
  other.set_state(state)
  assert atari.play(other, 600) == atari.play(environment, 600)


def test_wrapper_with_state_of_its_own_cannot_be_saved():
  environment = atari_lib.AtariPreprocessing(make_ale(max_episode_steps=6))
  with pytest.raises(NotImplementedError, match='TimeLimit'):
    environment.get_state()


def test_own_frame_skip_is_warned_of():
  with pytest.warns(UserWarning, match='skips 4 frames.*frameskip=1'):
    atari_lib.AtariPreprocessing(make_ale(frameskip=4))


def test_frame_skip_of_one_is_not_warned_of(recwarn):
  atari_lib.AtariPreprocessing(make_ale())
  assert not recwarn.list


def test_render_mode_of_gymnasium_is_respected():
  environment = make_ale(render_mode='rgb_array')
  environment = atari_lib.AtariPreprocessing(environment)
  environment.reset()
  assert environment.render().shape == (210, 160, 3)
  with pytest.raises(ValueError, match="render_mode='human'"):
    environment.render('human')


# The module -------------------------------------------------------------------


def test_constants():
  assert atari_lib.NATURE_DQN_OBSERVATION_SHAPE == (84, 84)
  assert atari_lib.NATURE_DQN_DTYPE == np.uint8
  assert np.zeros(2, atari_lib.NATURE_DQN_DTYPE).dtype == np.uint8
  assert atari_lib.NATURE_DQN_DTYPE.as_numpy_dtype is np.uint8
  assert atari_lib.NATURE_DQN_STACK_SIZE == 4


def test_importing_loads_no_framework():
  code = (
    'import sys\n'
    'from dopamine.discrete_domains import atari_lib, gym_lib\n'
    "print([m for m in ('keras', 'tensorflow', 'jax') if m in sys.modules])"
  )
  result = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert result.stdout.strip() == '[]'


def test_unknown_attribute():
  with pytest.raises(AttributeError, match='no attribute .NatureDQN.$'):
    _ = atari_lib.NatureDQN


def test_networks_are_served():
  from dopamine import networks

  for name in ('NatureDQNNetwork', 'DQNNetworkType'):
    assert getattr(atari_lib, name) is getattr(networks, name)
