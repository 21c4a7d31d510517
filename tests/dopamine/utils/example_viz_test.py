"""Tests of the visualiser: its pictures, its video, and scripts of before."""

import itertools
import pathlib
import pickle
import re

from absl import flags
import cv2
import gin
import keras
import numpy as np
from numpy.testing import assert_allclose
import pygame
import pytest

from dopamine.agents.dqn import dqn_agent
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import run_experiment
from dopamine.discrete_domains import train as train_command  # Its flags.
from dopamine.utils import agent_visualizer
from dopamine.utils import atari_plotter
from dopamine.utils import bar_plotter
from dopamine.utils import example_viz
from dopamine.utils import example_viz_lib
from dopamine.utils import line_plotter
from dopamine.utils import plotter
from tests.support import commands
from tests.support import films
from tests.support import small

IS_JAX = keras.config.backend() == 'jax'
SCREEN = 373, 420  # Width and height.


def pictures(folder):
  """`[T, h, w, 3]` of a folder's, by name."""
  files = sorted(pathlib.Path(folder).glob('*.png'))
  return np.stack([cv2.imread(str(file))[..., ::-1] for file in files])


# A task of a few numbers ------------------------------------------------------


class Steps:
  """Pays 5 at each step; an episode has three. It shows how many were taken."""

  observation_shape = (4,)
  num_actions = 3

  def __init__(self):
    self.action_space = type('Space', (), {'n': self.num_actions})
    self.game_over = True

  def _observe(self):
    return np.full(self.observation_shape, self._step)

  def reset(self):
    self._step, self.game_over = 0, False
    return self._observe()

  def step(self, action):
    self._step += 1
    self.game_over = self._step == 3
    return self._observe(), 5.0, self.game_over, {}

  def render(self, mode):
    assert mode == 'rgb_array'
    return np.full((210, 160, 3), 50 * self._step, np.uint8)


@gin.configurable(module='example_viz_test')
def create_steps():
  return Steps()


class Pixels(Steps):
  """The same, seen as the networks of `old_files` see."""

  observation_shape = (12, 12)

  def _observe(self):
    return np.full(self.observation_shape, 50 * self._step, np.uint8)


@gin.configurable(module='example_viz_test')
def create_pixels():
  return Pixels()


gin.external_configurable(small.Perceptron, module='example_viz_test')


@pytest.fixture
def steps(tmp_path, small_replay):
  """The weights of a DQN agent for `Steps`."""
  gin.parse_config("""
  Runner.create_environment_fn = @create_steps
  DQNAgent.observation_shape = (4,)
  DQNAgent.observation_dtype = 'float32'
  DQNAgent.stack_size = 1
  DQNAgent.network = @Perceptron
  """)
  return saved(tmp_path, dqn_agent.DQNAgent(num_actions=3))


def saved(folder, agent):
  """The file of its weights."""
  agent.bundle_and_checkpoint(str(folder), 7)
  return str(folder / 'weights_ckpt.7.npz')


def test_pictures_show_the_states_and_rewards_and_values_of_them(
  steps, tmp_path
):
  runner = example_viz_lib.create_runner(str(tmp_path / 'no'), steps)
  path = runner.visualize(str(tmp_path / 'images'), num_global_steps=8)
  assert not (tmp_path / 'no').exists()
  agent = runner._agent
  # 5 is not clipped, and that of the last step of an episode is there.
  assert agent.get_rewards()[0].tolist() == [5 * t for t in range(1, 9)]
  seen = np.arange(8) % 3  # [0, 1, 2, 0, ...]
  states = np.tile(seen[:, None, None], (1, 4, 1)).astype(np.float32)
  assert_allclose(
    np.transpose(agent.get_q_values()),
    agent.predict_q_values(states),
    rtol=1e-4,
    atol=1e-6,
  )
  found = pictures(tmp_path / 'images')
  assert found.shape == (8, *SCREEN[::-1], 3)
  assert found[:, 100, 80, 0].tolist() == (50 * seen).tolist()
  # The curves grow, and those of the values are below the game.
  changes = [np.abs(a - b.astype(int)) for a, b in itertools.pairwise(found)]
  assert all(c[:210, 160:].max() > 50 for c in changes)
  assert all(c[210:].max() > 50 for c in changes)
  video, fps = films.read(path)
  assert pathlib.Path(path) == tmp_path / 'images' / 'video.mp4'
  assert len(video) == 8 and fps == 30
  assert video.shape[2] / video.shape[1] == pytest.approx(373 / 420, 0.01)


@pytest.mark.no_backend
def test_a_script_goes_on_where_it_was(steps, tmp_path):
  runner = example_viz_lib.create_runner('', steps)
  limit = runner._max_steps_per_episode
  for name in 'ab':
    runner.visualize(str(tmp_path / name), num_global_steps=2)
  assert len(runner._agent.rewards) == 4
  assert runner._max_steps_per_episode == limit
  assert runner.run(2) == [15, 15]  # Without pictures.
  assert len(pictures(tmp_path / 'b')) == 2


@pytest.mark.no_backend
def test_a_limit_of_the_episodes_counts(steps, tmp_path):
  gin.bind_parameter('Runner.max_steps_per_episode', 2)
  runner = example_viz_lib.create_runner('', steps)
  runner.visualize(str(tmp_path / 'a'), num_global_steps=5)
  found = pictures(tmp_path / 'a')[:, 100, 80, 0]
  assert found.tolist() == [0, 50, 0, 50, 0]


# Agents -----------------------------------------------------------------------

ALIASES = {'c51': 'rainbow', 'iqn': 'implicit_quantile', 'qrdqn': 'quantile'}
LINES = {'dqn', 'iqn', 'qrdqn'}  # The others have bars.
NAMES = ['dqn', 'c51', 'iqn', 'qrdqn', 'full_rainbow']
JAX_NAMES = ['jax_dqn', 'jax_c51', 'jax_iqn'][: 3 * IS_JAX]
ONCE = [pytest.param(name, marks=pytest.mark.no_backend) for name in NAMES]


@pytest.mark.parametrize('prefix', ['', 'jax_'][: 1 + IS_JAX])
@pytest.mark.parametrize('short,name', ALIASES.items())
def test_agents_have_the_names_of_the_papers_too(prefix, short, name):
  found = run_experiment.find_agent_class(prefix + name)
  assert example_viz_lib._find_class(prefix + name) is found
  assert example_viz_lib._find_class(prefix + short) is found
  assert issubclass(example_viz_lib.recording(found), found)


@pytest.mark.parametrize('name', ONCE + JAX_NAMES)
def test_each_agent_has_the_plot_of_what_it_learns(
  name, tmp_path, small_replay
):
  gin.bind_parameter('WrappedPrioritizedReplayBuffer.replay_capacity', 200)
  gin.bind_parameter('create_atari_environment.game_name', 'Breakout')
  kind = name.removeprefix('jax_')
  ours = name.removesuffix(kind) + ALIASES.get(kind, kind)
  agent = run_experiment.create_agent(
    None, atari_lib.create_atari_environment(), ours
  )
  runner = example_viz_lib.create_runner('', saved(tmp_path, agent), name)
  assert isinstance(runner._agent, type(agent))
  last = runner._make_visualizer(str(tmp_path)).plotters[-1]
  action = runner._initialize_episode()
  observation, reward, _ = runner._run_one_step(action)
  runner._agent.step(reward, observation)
  last.draw()
  state = runner._agent.state
  if kind in LINES:
    lines = np.array([line.get_ydata() for line in last.plot.lines])
    assert lines.shape == (4, 2)
    assert_allclose(
      lines[:, 1],
      runner._agent.predict_q_values(state)[0],
      rtol=1e-4,
      atol=1e-6,
    )
  else:
    heights = np.array([bar.get_height() for bar in last.plot.patches])
    _, masses = agent_distribution(runner._agent, state)
    assert_allclose(heights.reshape(4, 51), masses, rtol=1e-4, atol=1e-6)
    ticks = [label.get_text() for label in last.plot.get_xticklabels()]
    assert (ticks[0], ticks[-1]) == ('-10', '10')
  names = [text.get_text() for text in last.plot.texts]
  assert names == ['NOOP', 'FIRE', 'RIGHT', 'LEFT']


def agent_distribution(agent, state):
  values, probabilities = agent.predict_distribution(state)
  return values[0], probabilities[0]


@pytest.mark.no_backend
def test_a_full_rainbow_without_a_distribution_has_lines(small_replay):
  full_rainbow = run_experiment.find_agent_class('full_rainbow')
  gin.bind_parameter(f'{full_rainbow.__name__}.replay_scheme', 'uniform')
  cls = example_viz_lib.recording(full_rainbow)
  agent = cls(num_actions=4, distributional=False)
  assert example_viz_lib._support_of(agent) is None


class Doubling(dqn_agent.DQNAgent):
  """An agent of one's own, of which nobody knows here."""

  def _q_values(self, state):
    return 2 * super()._q_values(state)


def test_an_agent_of_ones_own_is_shown(steps, tmp_path):
  with example_viz_lib.create_runner('', steps, Doubling) as runner:
    runner.visualize(str(tmp_path / 'a'), 2)
    own = np.transpose(runner._agent.get_q_values())
  with example_viz_lib.create_runner('', steps) as runner:
    runner.visualize(str(tmp_path / 'b'), 2)
    assert_allclose(own, 2 * np.transpose(runner._agent.get_q_values()))


@pytest.mark.no_backend
def test_an_unknown_agent_is_refused(steps):
  with pytest.raises(ValueError, match='Unknown agent: raimbow'):
    example_viz_lib.create_runner('', steps, 'raimbow')


# Files of before --------------------------------------------------------------


def pixels(name):
  """The settings of the networks of `old_files`, of an agent."""
  cls = run_experiment.find_agent_class(name).__name__
  gin.parse_config(f"""
  Runner.create_environment_fn = @create_pixels
  DQNAgent.observation_shape = (12, 12)
  {'RainbowAgent.num_atoms = 5' if cls == 'RainbowAgent' else ''}
  """)


@pytest.mark.parametrize('era', ['slim', 'keras'])
@pytest.mark.parametrize('name', ['dqn', 'rainbow'])
def test_a_published_tf_ckpt_is_shown(name, era, tmp_path, small_replay):
  from tests.support import old_files

  old = old_files.write_tf(tmp_path, 199, name, era)
  pixels(name)
  runner = example_viz_lib.create_runner(
    '', f'{tmp_path}/tf_ckpt-199', name, use_legacy_checkpoint=era == 'slim'
  )
  found = runner._agent.predict_q_values(old_files.states(name))
  assert_allclose(found, old['Online'], rtol=1e-4, atol=1e-5)


def test_a_ckpt_of_a_jax_agent_is_shown(tmp_path, small_replay):
  from tests.support import old_files

  online, answer = old_files.flax_params('dqn', 'linen', 1)
  bundle = {'online_params': online, 'target_params': online}
  path = tmp_path / 'ckpt.199'
  path.write_bytes(pickle.dumps(bundle))
  name = 'jax_dqn' if IS_JAX else 'dqn'
  pixels(name)
  if IS_JAX:
    gin.bind_parameter('JaxDQNAgent.observation_shape', (12, 12))
  runner = example_viz_lib.create_runner('', str(path), name)
  found = runner._agent.predict_q_values(old_files.states('dqn'))
  assert_allclose(found, answer, rtol=1e-4, atol=1e-5)


@pytest.mark.no_backend
def test_weights_that_do_not_fit_are_refused(tmp_path, small_replay):
  from tests.support import old_files

  old_files.write_tf(tmp_path, 199, 'dqn', 'slim')
  pixels('rainbow')
  with pytest.raises(ValueError, match='fully_connected_1/weights .* shape'):
    example_viz_lib.create_runner('', f'{tmp_path}/tf_ckpt-199', 'rainbow')


# Scripts of Dopamine 3.2.1 ----------------------------------------------------


class MyAgent(example_viz_lib.MyDQNAgent):
  """As of a notebook."""

  def __init__(self, sess, num_actions, summary_writer=None):
    super().__init__(sess, num_actions, summary_writer=summary_writer)
    self.num_steps = 0

  def step(self, reward, observation):
    self.num_steps += 1
    return super().step(reward, observation)

  def get_best(self):
    return [[max(q) for q in zip(*self.get_q_values(), strict=True)]]


def create_my_agent(sess, environment, summary_writer=None):
  return MyAgent(
    sess,
    num_actions=environment.action_space.n,
    summary_writer=summary_writer,
  )


class StepPlotter(plotter.Plotter):
  """A picture that is pygame's."""

  _defaults = {'width': 40, 'height': 10, 'color': (250, 20, 20)}

  def __init__(self, parameter_dict=None):
    super().__init__(parameter_dict)
    if 'get_step_fn' not in self.parameters:
      raise ValueError('StepPlotter needs get_step_fn')
    pygame.init()
    self.screen = pygame.Surface(
      (self.parameters['width'], self.parameters['height'])
    )

  def draw(self):
    self.screen.fill((0, 0, 0))
    left = 2 * self.parameters['get_step_fn']()
    pygame.draw.rect(
      self.screen, self.parameters['color'], pygame.Rect(left, 0, 6, 10)
    )
    return self.screen


class BestPlotter(line_plotter.LinePlotter):
  """A plot with limits of its own."""

  _defaults = {**line_plotter.LinePlotter._defaults, 'top': 1.0}

  def _setup_plot(self):
    super()._setup_plot()
    self.plot.set_ylim(-self.parameters['top'], self.parameters['top'])


class MyOwnRunner(example_viz_lib.MyRunner):
  """Its loop is written out, as the original's was."""

  def visualize(self, record_path, num_global_steps=500):
    self._agent.eval_mode = True
    game = atari_plotter.AtariPlotter(
      parameter_dict={'environment': self._environment}
    )
    best = BestPlotter(
      parameter_dict={
        'x': game.parameters['width'],
        'get_line_data_fn': self._agent.get_best,
        'title': 'Best',
        'legend': ['Q'],
      }
    )
    step = StepPlotter(
      parameter_dict={
        'y': game.parameters['height'],
        'get_step_fn': lambda: self._agent.num_steps,
      }
    )
    self.plotters = [game, best, step]
    visualizer = agent_visualizer.AgentVisualizer(
      record_path=record_path,
      plotters=self.plotters,
      screen_width=game.parameters['width'] + best.parameters['width'],
      screen_height=game.parameters['height'] + step.parameters['height'],
    )
    global_step = 0
    while global_step < num_global_steps:
      action = self._initialize_episode()
      while True:
        observation, reward, is_terminal = self._run_one_step(action)
        global_step += 1
        visualizer.visualize()
        if self._environment.game_over or global_step >= num_global_steps:
          break
        elif is_terminal:
          self._agent.end_episode(reward)
          action = self._agent.begin_episode(observation)
        else:
          action = self._agent.step(reward, observation)
      self._end_episode(reward)
    visualizer.generate_video()


@pytest.mark.no_backend
def test_a_script_of_before_runs(steps, tmp_path):
  gin.parse_config("""
  import dopamine.utils.agent_visualizer
  agent_visualizer.AgentVisualizer.filename_format = 'step_{:03d}'
  AgentVisualizer.file_types = ('png', 'jpg')
  """)
  runner = MyOwnRunner(str(tmp_path), steps, create_my_agent)
  record_path = str(tmp_path / 'images')
  runner.visualize(record_path, num_global_steps=5)
  images = tmp_path / 'images'
  assert sorted(file.name for file in images.glob('step*')) == [
    f'step_{t:03d}.{end}' for t in range(5) for end in ('jpg', 'png')
  ]
  found = pictures(images)
  assert found.shape == (5, 220, 373, 3)
  # A picture follows the step: 1, 2, 3, and the next episode.
  assert found[:, 100, 80, 0].tolist() == [50, 100, 150, 50, 100]
  reds = [np.flatnonzero(picture[215, :60, 0] > 200) for picture in found]
  # Two of three steps of an episode are followed by another.
  assert [int(red.min()) for red in reds] == [0, 2, 4, 4, 6]
  _, best, _ = runner.plotters
  assert best.plot.get_ylim() == (-1, 1)
  assert len(best.plot.lines[0].get_xdata()) == 5
  video, _ = films.read(images / 'video.mp4')
  assert len(video) == 5


@pytest.mark.no_backend
def test_the_example_of_the_documents_runs(steps, tmp_path):
  text = (commands.ROOT / 'docs' / 'watching.md').read_text()
  (code,) = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
  images = tmp_path / 'images'
  assert "'/tmp/images'" in code and '=500' in code
  code = code.replace('/tmp/images', str(images)).replace('=500', '=3')
  exec(code, {'weights': steps})
  assert pictures(images).shape == (3, 210, 373, 3)


class ForeignAgent(dqn_agent.DQNAgent):
  """Records by itself, as the agents of the JAX notebook did."""

  def reload_checkpoint(self, checkpoint_path, use_legacy_checkpoint=False):
    self.load_weights(checkpoint_path)
    self.loaded = checkpoint_path, use_legacy_checkpoint

  def get_q_values(self):
    return [[0, 1], [1, 0], [2, 2]]

  def get_probabilities(self):
    return np.eye(3, 7)

  def get_rewards(self):
    return [[0, 1]]


class MyNoisyDQN(ForeignAgent):
  pass


class MyCategoricalAgent(ForeignAgent):
  pass


@pytest.mark.no_backend
@pytest.mark.parametrize(
  'cls,kind',
  [
    (MyNoisyDQN, line_plotter.LinePlotter),
    (MyCategoricalAgent, bar_plotter.BarPlotter),
  ],
)
def test_the_name_of_an_agent_that_records_by_itself_decides(
  cls, kind, steps, tmp_path
):
  runner = example_viz_lib.MyRunner(
    '', steps, lambda sess, environment, summary_writer: cls(sess, 3), True
  )
  assert runner._agent.loaded == (steps, True)
  *_, last = runner._make_visualizer(str(tmp_path)).plotters
  assert isinstance(last, kind)
  assert last.draw().shape == (210, 373, 3)


# The command ------------------------------------------------------------------


def weights_of_breakout(folder, cls=dqn_agent.DQNAgent):
  folder.mkdir()
  return saved(folder, cls(num_actions=4))


@pytest.fixture
def own_flags():
  """Those that the command has where it is a process of its own."""
  before = {*flags.FLAGS, *train_command.FLAGS}
  example_viz.define_flags()
  yield
  for name in set(flags.FLAGS) - before:
    delattr(flags.FLAGS, name)
  flags.FLAGS.seed = None
  flags.FLAGS.gin_files, flags.FLAGS.gin_bindings = [], []


def command(*arguments):
  gin.clear_config()
  flags.FLAGS(['example_viz', *arguments])
  example_viz.main([])


@pytest.mark.no_backend
def test_run_shows_a_game_and_leaves_gin_alone(tmp_path, small_replay):
  weights = weights_of_breakout(tmp_path / 'w')
  gin.parse_config("""
  DQNAgent.epsilon_eval = 1.0  # The paddle moves.
  Runner.seed = 1
  AgentVisualizer.render_rate = 2
  """)
  before = gin.config_str()
  path = example_viz_lib.run('dqn', 'Breakout', 40, str(tmp_path), weights)
  assert gin.config_str() == before
  images = tmp_path / 'agent_viz' / 'Breakout' / 'dqn' / 'images'
  assert pathlib.Path(path) == images / 'video.mp4'
  found = pictures(images)
  assert found.shape == (20, *SCREEN[::-1], 3)
  games = found[:, 100:210, :160].astype(int)
  moves = [np.abs(a - b).max() > 50 for a, b in itertools.pairwise(games)]
  assert np.mean(moves) > 0.5
  assert (found[0, 60:90, 20:140].max(-1) > 60).mean() > 0.9  # The bricks.
  assert len(films.read(path)[0]) == 20


@pytest.mark.parametrize(
  'name',
  [
    pytest.param('rainbow', marks=pytest.mark.no_backend),
    *['jax_dqn'][:IS_JAX],
  ],
)
def test_the_command_says_where_the_video_is(name, tmp_path, small_replay):
  gin.bind_parameter('WrappedPrioritizedReplayBuffer.replay_capacity', 200)
  cls = run_experiment.find_agent_class(name)
  weights = weights_of_breakout(tmp_path / 'w', cls)
  gin_file = tmp_path / 'look.gin'
  gin_file.write_text("AgentVisualizer.filename_format = 'look_{:02d}'\n")
  result = commands.run(
    *('-m', 'dopamine.utils.example_viz', '--agent', name),
    *('--game', 'Breakout', '--restore_checkpoint', weights),
    *('--root_dir', str(tmp_path), '--num_steps', '6', '--seed=1'),
    f'--gin_files={gin_file}',
  )
  assert result.returncode == 0, result.stderr[-3000:]
  path = re.search(r'^The video is (.*)$', result.stdout, re.MULTILINE)[1]
  images = tmp_path / 'agent_viz' / 'Breakout' / name / 'images'
  assert pathlib.Path(path) == images / 'video.mp4'
  assert sorted(file.name for file in images.iterdir()) == [
    *(f'look_{t:02d}.png' for t in range(6)),
    'video.mp4',
  ]
  assert len(films.read(path)[0]) == 6


@pytest.mark.no_backend
@pytest.mark.parametrize(
  'arguments,text',
  [
    ([], '--restore_checkpoint is missing'),
    (['--restore_checkpoint=no.npz'], "'no.npz' has no weights"),
    (['--restore_checkpoint={weights}', '--game=Brekout'], 'Breakout'),
    (['--restore_checkpoint={weights}', '--agent=dqm'], "did you mean 'dqn'"),
    (['--restore_checkpoint={weights}', '--agent=rainbow'], 'has shape'),
    (
      ['--restore_checkpoint={weights}', '--gin_bindings=LinePloter.x = 1'],
      "did you mean 'LinePlotter'",
    ),
  ],
)
def test_mistakes_end_in_a_paragraph(
  arguments, text, tmp_path, own_flags, small_replay
):
  weights = weights_of_breakout(tmp_path / 'w')
  arguments = [argument.format(weights=weights) for argument in arguments]
  with pytest.raises(SystemExit) as error:
    command(f'--root_dir={tmp_path}', *arguments)
  message = str(error.value)
  assert message.startswith('\nError: ') and text in message
  assert not (tmp_path / 'agent_viz').exists()
