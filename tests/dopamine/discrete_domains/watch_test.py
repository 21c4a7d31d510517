"""Tests of the film of a run, through the command's `main`."""

import itertools
import re
import sys

from absl import flags
import gin
import gymnasium
import numpy as np
import pytest

from dopamine.agents.dqn import dqn_agent
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from dopamine.discrete_domains import watch
from dopamine.utils import panel
from tests.support import commands
from tests.support import films

CARTPOLE = 'dopamine/agents/rainbow/configs/rainbow_cartpole.gin'
PONG = 'dopamine/agents/implicit_quantile/configs/implicit_quantile.gin'
pytestmark = pytest.mark.usefixtures('at_the_root', 'watching_flags')


@pytest.fixture
def watching_flags():
  with films.watching_flags():
    yield


def train(base_dir, gin_file, *bindings):
  gin.clear_config()
  run_experiment.load_gin_configs(
    [str(commands.ROOT / gin_file)],
    [
      'Runner.num_iterations = 2',
      'Runner.training_steps = 20',
      'Runner.evaluation_steps = 0',
      'Runner.max_steps_per_episode = 9',
      'Runner.seed = 1',
      'WrappedReplayBuffer.replay_capacity = 1000',
      'WrappedPrioritizedReplayBuffer.replay_capacity = 1000',
      *bindings,
    ],
  )
  with run_experiment.create_runner(str(base_dir)) as runner:
    runner.run_experiment()
  return base_dir


@pytest.fixture(scope='module')
def cartpole(tmp_path_factory):
  """A run of CartPole."""
  return train(tmp_path_factory.mktemp('cartpole'), CARTPOLE)


@pytest.fixture(scope='module')
def pong(tmp_path_factory):
  """A run of Pong."""
  return train(
    tmp_path_factory.mktemp('pong'),
    PONG,
    'Runner.num_iterations = 1',
    'Runner.max_steps_per_episode = 60',
  )


def run(capsys, base_dir, *more):
  """Films it; returns the path, what the last line says, and the returns."""
  capsys.readouterr()
  films.watch_run(base_dir, *more)
  *_, returns, _, last = capsys.readouterr().out.splitlines()
  path, frames, fps = re.fullmatch(
    r'(.*): (\d+) frames, ([\d.]+) a second \(.* s\)', last
  ).groups()
  return path, int(frames), float(fps), [float(r) for r in returns.split()]


def moving(frames):
  """The share of frames whose game differs from the one before."""
  game = frames[:, :, : -panel.WIDTH].astype(int)
  return np.mean(
    [np.abs(a - b).max() > 30 for a, b in itertools.pairwise(game)]
  )


def test_a_film_of_cartpole_has_a_frame_for_each_state(cartpole, capsys):
  path, count, fps, returns = run(capsys, cartpole, '--episodes=3')
  assert path == str(cartpole / 'videos' / 'weights_ckpt.1_seed_3.mp4')
  # The steps of an episode, and where it ended.
  assert count == sum(returns) + 3 and len(returns) == 3
  assert max(returns) == 9
  frames, found_fps = films.read(path)
  assert frames.shape == (count, 400, 600 + panel.WIDTH, 3)
  assert fps == found_fps == 50  # CartPole's own.
  assert moving(frames) > 0.8
  # One colour, for the action that is taken, but not where it is over.
  ends = np.cumsum(np.array(returns, int) + 1) - 1
  orange = np.abs(frames.astype(int) - panel._TAKEN).max(-1) < 30
  # The codec leaves traces of a letter.
  is_over = orange.sum((1, 2)) < 20
  assert np.flatnonzero(is_over).tolist() == ends.tolist()
  assert [file.name for file in (cartpole / 'videos').iterdir()] == [
    'weights_ckpt.1_seed_3.mp4'
  ]


@pytest.mark.no_backend
def test_a_film_of_an_atari_game_has_a_frame_for_each_decision(pong, capsys):
  path, count, fps, _ = run(capsys, pong)
  frames, found_fps = films.read(path)
  assert frames.shape == (61, 420, 320 + panel.WIDTH, 3) and count == 61
  assert fps == found_fps == 15
  assert moving(frames[25:]) > 0.8  # The ball is served.


@pytest.mark.no_backend
def test_every_frame_of_an_atari_game_is_shown_if_asked(pong, capsys, tmp_path):
  file = tmp_path / 'a' / 'film.mp4'
  path, count, fps, _ = run(capsys, pong, '--every_frame', f'--video={file}')
  frames, found_fps = films.read(path)
  assert path == str(file) and len(frames) == count == 4 * 60 + 1
  assert fps == found_fps == 60
  assert moving(frames[100:]) > 0.5


@pytest.fixture
def shown(monkeypatch):
  """What panels are given, picture by picture."""
  found, draw = [], panel.panel
  monkeypatch.setattr(
    panel, 'panel', lambda height, **k: found.append(k) or draw(height, **k)
  )
  return found


@pytest.mark.no_backend
def test_a_lost_life_ends_no_episode_of_a_film(
  tmp_path, capsys, monkeypatch, shown
):
  train(
    tmp_path,
    'dopamine/agents/quantile/configs/quantile.gin',
    "create_atari_environment.game_name = 'Breakout'",
    'AtariPreprocessing.terminal_on_life_loss = True',
    "create_runner.schedule = 'continuous_train'",
    'Runner.num_iterations = 1',
    'Runner.max_steps_per_episode = 120',
  )
  step, ends = atari_lib.AtariPreprocessing.step, []

  def noting(self, action):
    result = step(self, action)
    ends.append((result[2], self.game_over))
    return result

  monkeypatch.setattr(atari_lib.AtariPreprocessing, 'step', noting)
  _, count, _, returns = run(
    capsys,
    tmp_path,
    '--episodes=2',
    f'--video={tmp_path}/film.mp4',
    '--gin_bindings=QuantileAgent.epsilon_eval = 1.0',
  )
  assert count == len(shown) == 2 * 121
  assert ends.count((True, False)) > 1  # Lives.
  for episode, total in enumerate(returns):
    part = shown[121 * episode :][:121]
    assert [thought['step'] for thought in part] == [*range(121)]
    so_far = [thought['episode_return'] for thought in part]
    assert so_far == sorted(so_far) and so_far[0] == 0
    assert so_far[-1] == total
  assert sum(returns) > 0


@pytest.mark.no_backend
def test_an_older_checkpoint_is_named_by_its_number(cartpole, capsys, tmp_path):
  file = tmp_path / 'film.mp4'
  gin.clear_config()
  flags.FLAGS(['watch', f'--base_dir={cartpole}', '--checkpoint=0', '--seed=3'])
  capsys.readouterr()
  flags.FLAGS.video = str(file)
  watch.main([])
  assert 'weights_ckpt.0.npz' in capsys.readouterr().out and file.exists()
  gin.clear_config()
  flags.FLAGS(['watch', f'--base_dir={cartpole}', '--checkpoint=9'])
  with pytest.raises(SystemExit, match='has no weights'):
    watch.main([])


def test_the_panel_shows_what_the_agent_thinks_of_the_state(
  cartpole, capsys, monkeypatch, tmp_path, shown
):
  states = []
  think = dqn_agent.DQNAgent.predict_q_values

  def predict(self, state):
    states.append((self, state.copy()))
    return think(self, state)

  monkeypatch.setattr(dqn_agent.DQNAgent, 'predict_q_values', predict)
  _, count, _, returns = run(
    capsys,
    cartpole,
    f'--video={tmp_path}/film.mp4',
    '--gin_bindings=RainbowAgent.epsilon_eval = 0.0',
  )
  assert len(shown) == count and len(states) == count - 1
  for t, (thought, (agent, state)) in enumerate(
    zip(shown[:-1], states, strict=True)
  ):
    q_values = think(agent, state)[0]
    np.testing.assert_array_equal(thought['q_values'], q_values)
    assert thought['action'] == q_values.argmax()
    assert thought['episode_return'] == thought['step'] == t
    values, masses = thought['distribution']
    np.testing.assert_allclose(masses.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose((values * masses).sum(-1), q_values, atol=1e-4)
  assert any((a[1] != states[0][1]).any() for a in states[1:])
  assert shown[-1]['action'] is None
  assert shown[-1]['episode_return'] == returns[0]


@pytest.mark.no_backend
def test_a_film_that_fails_leaves_no_file(cartpole, capsys, monkeypatch):
  step, calls = gym_lib.GymPreprocessing.step, []

  def failing(self, action):
    calls.append(1)
    if len(calls) == 5:
      raise RuntimeError('broken')
    return step(self, action)

  monkeypatch.setattr(gym_lib.GymPreprocessing, 'step', failing)

  def files():
    return sorted(path for path in cartpole.rglob('*') if path.is_file())

  before = files()
  with pytest.raises(RuntimeError, match='broken'):
    run(capsys, cartpole, '--seed=8')
  assert files() == before


class Unseen(gymnasium.Env):
  """A task that renders nothing."""

  observation_space = gymnasium.spaces.Box(-1, 1, (4,), np.float64)
  action_space = gymnasium.spaces.Discrete(2)

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    return np.zeros(4), {}

  def step(self, action):
    return np.zeros(4), 1.0, False, False, {}


class Taciturn(Unseen):
  """One that has the argument, and returns nothing."""

  metadata = {'render_modes': ['rgb_array']}

  def __init__(self, render_mode=None):
    self.render_mode = render_mode

  def render(self):
    return None


@pytest.mark.no_backend
@pytest.mark.parametrize('task', [Unseen, Taciturn])
def test_a_task_without_pictures_is_refused(task, tmp_path, capsys):
  gymnasium.register(f'{task.__name__}-v0', task)
  try:
    train(
      tmp_path,
      'dopamine/agents/dqn/configs/dqn_cartpole.gin',
      f"create_gym_environment.environment_name = '{task.__name__}'",
    )
    with pytest.raises(SystemExit, match='cannot be watched'):
      run(capsys, tmp_path)
  finally:
    del gymnasium.registry[f'{task.__name__}-v0']
  assert not list(tmp_path.rglob('*.mp4*'))


@pytest.mark.no_backend
def test_only_atari_games_have_frames_in_between(cartpole, capsys):
  with pytest.raises(SystemExit, match='--every_frame is for Atari games'):
    run(capsys, cartpole, '--every_frame')


@pytest.mark.no_backend
def test_no_ffmpeg_is_told_before_anything_is_played(
  cartpole, capsys, monkeypatch
):
  monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
  capsys.readouterr()
  with pytest.raises(SystemExit, match=r'\[viz\]'):
    run(capsys, cartpole)
  assert 'Evaluating' not in capsys.readouterr().out


@pytest.mark.no_backend
def test_a_folder_of_no_run_is_refused(tmp_path, capsys):
  with pytest.raises(SystemExit, match='holds no settings'):
    run(capsys, tmp_path)
