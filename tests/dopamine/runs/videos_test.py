"""Videos while a run trains: what they show, and that it does not know."""

import collections
import os
import pathlib
import random
import signal
import subprocess
import sys

import gin
import gymnasium
import numpy as np
from numpy.testing import assert_array_equal
import pytest

from dopamine import backend
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from dopamine.runs import trained
from dopamine.settings import errors
from dopamine.utils import panel
from tests.support import commands
from tests.support import films
from tests.support import inside
from tests.support import plain
from tests.support import runs

# Draws in acting, noisy networks, priorities; quantile levels, a game.
CASES = [
  ('full', 'cartpole'),
  {'tensorflow': ('iqn', 'cartpole'), 'jax': ('c51', 'breakout')}[
    backend.current()
  ],
]


def run(folder, name='dqn', environment='cartpole', **kwargs):
  """Runs it; returns all that it ends with."""
  with runs.make_runner(
    folder, environment, runs.CASES[name], **kwargs
  ) as made:
    made.run_experiment()
    agent = inside.agent(made)
    own = {
      name: value
      for name, value in vars(agent).items()
      if isinstance(value, bool | int | float | np.ndarray)
      and name != 'seconds_updating'
    }
    return runs.figures(made) | own | {'global': str(np.random.get_state())}


def names(folder):
  path = pathlib.Path(folder, 'videos')
  return sorted(os.listdir(path)) if path.exists() else []


# Training does not know of it -------------------------------------------------


@pytest.mark.parametrize(('name', 'environment'), CASES)
def test_training_is_the_same_with_and_without(name, environment, tmp_path):
  settings = dict(num_iterations=3)
  hidden = run(tmp_path / 'off', name, environment, **settings)
  settings['record_video_every'] = 1
  shown = run(tmp_path / 'on', name, environment, **settings)
  assert names(tmp_path / 'on') == [f'iteration_{i}.mp4' for i in range(3)]
  runs.assert_equal(shown, hidden)
  # And where it stops after the second training phase has begun.
  cls = type('Once', (runs.Interrupted,), {'stops': (240,), 'steps': 0})
  with pytest.raises(run_experiment.Stopped):
    run(tmp_path / 'cut', name, environment, cls=cls, **settings)
  assert names(tmp_path / 'cut') == ['iteration_0.mp4']
  again = run(tmp_path / 'cut', name, environment, cls=cls, **settings)
  runs.assert_equal(again, hidden)
  for video in names(tmp_path / 'on'):  # Which repeats, bit by bit.
    found = [
      (tmp_path / folder / 'videos' / video).read_bytes()
      for folder in ('on', 'cut')
    ]
    assert found[0] == found[1]


@pytest.mark.no_backend
def test_a_run_that_only_trains_is_filmed_too(tmp_path):
  cls = run_experiment.TrainRunner
  hidden = run(tmp_path / 'off', cls=cls)
  shown = run(tmp_path / 'on', cls=cls, record_video_every=1)
  assert names(tmp_path / 'on') == ['iteration_0.mp4', 'iteration_1.mp4']
  runs.assert_equal(shown, hidden)


class Counting(gymnasium.Env):
  """A task whose episodes have 5 steps, each 10 lines of its picture."""

  observation_space = gymnasium.spaces.Box(-1, 1, (4,), np.float64)
  action_space = gymnasium.spaces.Discrete(2)
  metadata = {'render_modes': ['rgb_array']}

  def __init__(self, render_mode=None):
    self.render_mode, self.steps = render_mode, 0

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.steps = 0
    return self._draw(), {}

  def _draw(self):
    return np.array([*self.np_random.random(3), self.steps / 5])

  def step(self, action):
    self.steps += 1
    return self._draw(), 2.0, self.steps == 5, False, {}

  def render(self):
    picture = np.zeros((60, 40, 3), np.uint8)
    picture[: 10 * self.steps + 1] = 255
    return picture


@pytest.fixture
def task(monkeypatch):
  """Registers a class, and has `runs` know it as 'task'."""

  def register(cls):
    gymnasium.register('Task-v0', cls)
    settings = runs.ENVIRONMENTS['cartpole'][1]
    create = lambda: gym_lib.create_gym_environment('Task')  # noqa: E731
    monkeypatch.setitem(runs.ENVIRONMENTS, 'task', (create, settings))

  yield register
  del gymnasium.registry['Task-v0']


class Drawing(Counting):
  """Draws from generators that are everybody's."""

  def _draw(self):
    drawn = random.random(), np.random.random(), self.np_random.random()
    return np.array([*drawn, self.steps / 5])


@pytest.mark.no_backend
def test_generators_that_others_draw_from_are_put_back(tmp_path, task):
  task(Drawing)
  found = []
  for every in (None, 1):
    random.seed(7)
    np.random.seed(7)
    found.append(
      run(tmp_path / str(every), 'dqn', 'task', record_video_every=every)
      | {'python': str(random.getstate())}
    )
  runs.assert_equal(*found)


def test_what_a_subclass_keeps_is_put_back():
  from tests.support import agents

  agent = agents.make_agent(min_replay_history=3)
  own = type(agent)

  class Keeping(own):
    def begin_episode(self, observation):
      self.episodes = 1
      return super().begin_episode(observation)

    def _select_action(self):
      self.seen.append(self.private.random())
      self.counts['actions'] += 1
      self.alias.random()
      return super()._select_action()

  agent.__class__ = Keeping
  agent.private, agent.alias = np.random.default_rng(5), agent._rng
  agent.seen, agent.counts = [], {'actions': 0}
  seen, state, generator = agent.seen, agent.state, agent._generator
  observation = np.ones(agent.observation_shape, agent.observation_dtype)
  agent.eval_mode = False

  def everything():
    return {
      name: str(value.bit_generator.state)
      if isinstance(value, np.random.Generator)
      else repr(value)
      for name, value in vars(agent).items()
    } | inside.learner(agent).state()

  before = everything()
  for broken in (False, True):
    try:
      with agent.set_aside(3):
        assert agent.eval_mode and agent._generator is not generator
        agent.begin_episode(observation)
        agent.step(1.0, observation)
        agent.end_episode(1.0)
        assert agent.counts == {'actions': 2} and len(agent.seen) == 2
        assert agent.episodes == 1 and (agent.state[..., -1] == 1).all()
        if broken:
          raise ZeroDivisionError
    except ZeroDivisionError:
      pass
    runs.assert_equal(everything(), before)
    # Others may hold them too.
    assert agent.state is state and agent._generator is generator
    assert agent.alias is generator
    assert agent.seen is seen and seen == []


class _Sharing:
  """An object of a user's own, which holds what the agent holds."""

  def __init__(self, **shared):
    self.__dict__.update(shared)


def test_what_others_share_is_put_back_in_place():
  import keras

  from tests.support import agents

  agent = agents.make_agent()
  counts, history = np.zeros(2), [1]
  read_only = np.ones(2)
  read_only.flags.writeable = False
  shared = {
    'counts': counts,
    'history': history,
    'recent': collections.deque([1, 2], maxlen=2),
    'tallies': collections.Counter('aab'),
    'known': {3},
    'nested': ({'counts': [counts, history]}, read_only),
    'numpy': np.random.default_rng(1),
    'old_numpy': np.random.RandomState(1),
    'python': random.Random(1),
    'keras': keras.random.SeedGenerator(1),
  }
  vars(agent).update(shared)
  other = _Sharing(**shared)

  def everything():
    return repr(
      (
        counts.tolist(),
        *(history, other.recent, other.tallies, other.known, other.nested),
        *(other.numpy.bit_generator.state, other.old_numpy.get_state()),
        *(
          other.python.getstate(),
          keras.ops.convert_to_numpy(other.keras.state),
        ),
      )
    )

  before = everything()
  with agent.set_aside(3):
    counts += 1
    history.append(2)
    agent.recent.append(3)
    agent.tallies.update('b')
    agent.known.clear()
    agent.nested[0]['counts'].pop()
    agent.nested[0]['more'] = 1
    agent.numpy.random(), agent.old_numpy.rand(), agent.python.random()
    keras.random.uniform((), seed=agent.keras)
    agent.history, agent.new = [], 1
  assert everything() == before and not hasattr(agent, 'new')
  for name, value in shared.items():
    assert getattr(agent, name) is value
  assert other.nested[0]['counts'][0] is counts
  assert other.nested[0]['counts'][1] is history


def test_a_layer_that_draws_goes_on_where_it_was():
  import keras

  from tests.support import agents

  class Drawing(agents.SmallReplayAgent):
    def _build_networks(self):
      super()._build_networks()
      self.dropout = keras.layers.Dropout(0.5, seed=1)

  agent = agents.make_agent(Drawing)
  seeds = agent.dropout.seed_generator.state
  values = lambda: np.copy(keras.ops.convert_to_numpy(seeds))  # noqa: E731
  before = values()
  with agent.set_aside(3):
    agent.dropout(np.ones((2, 3), np.float32), training=True)
    assert (values() != before).any()
  assert_array_equal(values(), before)


# What there is to see ---------------------------------------------------------


@pytest.mark.no_backend
def test_a_video_shows_the_whole_episode_at_its_speed(tmp_path, task):
  task(Counting)
  run(tmp_path, 'dqn', 'task', record_video_every=1, num_iterations=1)
  frames, fps = films.read(tmp_path / 'videos' / 'iteration_0.mp4')
  # Five steps and where they ended; the game is enlarged seven times.
  assert frames.shape == (6, 420, 280 + panel.WIDTH, 3) and fps == 30
  heights = [(frame[:, 20, 0] > 128).sum() for frame in frames]
  assert np.abs(np.array(heights) - [7, 77, 147, 217, 287, 357]).max() <= 2


@pytest.mark.no_backend
def test_the_agent_plays_and_thinks_as_in_evaluation(
  tmp_path, task, monkeypatch
):
  task(Counting)
  shown, draw = [], panel.panel
  monkeypatch.setattr(
    panel, 'panel', lambda height, **k: shown.append(k) or draw(height, **k)
  )
  settings = dict(record_video_every=1, num_iterations=1, evaluation_steps=0)
  with runs.make_runner(
    tmp_path, 'task', runs.CASES['dqn'], **settings
  ) as made:
    agent = inside.agent(made)
    agent.epsilon_eval = 0.0
    made.run_experiment()
  assert [k['episode_return'] for k in shown] == [0, 2, 4, 6, 8, 10]
  assert [k['action'] for k in shown[:-1]] == [
    k['q_values'].argmax() for k in shown[:-1]
  ]
  assert shown[-1]['action'] is None


@pytest.mark.no_backend
def test_every_third_iteration_is_filmed_and_the_newest_are_kept(
  tmp_path, task
):
  task(Counting)
  settings = dict(record_video_every=3, training_steps=5, evaluation_steps=0)
  (tmp_path / 'checkpoints').mkdir()
  (tmp_path / 'videos').mkdir()
  others = ['iteration_x.mp4', 'my_iteration_0.mp4', 'weights_ckpt.0.mp4']
  others += ['iteration_007.mp4', 'iteration_٣.mp4']
  for name in others:
    (tmp_path / 'videos' / name).touch()
  run(tmp_path, 'dqn', 'task', num_iterations=8, **settings)
  assert names(tmp_path) == sorted(
    [*others, *(f'iteration_{i}.mp4' for i in (0, 3, 6))]
  )
  settings |= dict(num_iterations=13, keep_videos=2)
  run(tmp_path, 'dqn', 'task', **settings)
  assert names(tmp_path) == sorted(
    [*others, 'iteration_12.mp4', 'iteration_9.mp4']
  )
  # A run that goes back keeps those that it comes by.
  (tmp_path / 'videos' / 'iteration_90.mp4').touch()
  run(tmp_path, 'dqn', 'task', **settings | dict(num_iterations=16))
  assert names(tmp_path) == sorted(
    [*others, 'iteration_12.mp4', 'iteration_15.mp4']
  )


# What can go wrong ------------------------------------------------------------


@pytest.mark.no_backend
def test_a_recording_that_fails_does_not_end_training(
  tmp_path, task, capsys, monkeypatch
):
  class Failing(Counting):
    broken = False

    def step(self, action):
      if self.broken and self.render_mode and self.steps == 2:
        raise RuntimeError('no more light')
      return super().step(action)

  task(Failing)
  hidden = run(tmp_path / 'off', 'dqn', 'task')
  monkeypatch.setattr(Failing, 'broken', True)
  shown = run(tmp_path / 'on', 'dqn', 'task', record_video_every=1)
  runs.assert_equal(shown, hidden)
  assert capsys.readouterr().out.count('could not be made: no more light') == 2
  assert names(tmp_path / 'on') == []


class Unseen(Counting):
  def __init__(self):
    super().__init__()


class Taciturn(Counting):
  def render(self):
    return None


@pytest.mark.no_backend
@pytest.mark.parametrize('cls', [Unseen, Taciturn])
def test_a_task_that_is_not_seen_is_refused_at_once(cls, tmp_path, task):
  task(cls)
  with pytest.raises(errors.SettingError, match='record_video_every') as found:
    run(tmp_path, 'dqn', 'task', record_video_every=5)
  assert 'render' in str(found.value) and 'set it to None' in str(found.value)
  assert not list(tmp_path.glob('checkpoints/sentinel*'))
  run(tmp_path, 'dqn', 'task')  # The folder was let go of.


@pytest.mark.no_backend
def test_no_ffmpeg_is_told_at_once(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
  with pytest.raises(errors.SettingError, match=r'\[viz\]'):
    run(tmp_path, record_video_every=5)


@pytest.mark.no_backend
def test_an_environment_that_is_not_made_anew_is_refused(tmp_path, monkeypatch):
  create, settings = runs.ENVIRONMENTS['breakout']
  only = create()
  monkeypatch.setitem(runs.ENVIRONMENTS, 'breakout', (lambda: only, settings))
  with pytest.raises(errors.SettingError, match='returned .* twice'):
    run(tmp_path, 'dqn', 'breakout', record_video_every=5)


@pytest.mark.no_backend
def test_a_foreign_agent_is_filmed_if_it_can_be_set_aside(tmp_path):
  def run(agent, folder, **kwargs):
    with run_experiment.Runner(
      str(tmp_path / folder),
      lambda *unused, **unused_too: agent,
      plain.Rendering,
      num_iterations=2,
      training_steps=20,
      evaluation_steps=5,
      seed=1,
      **kwargs,
    ) as runner:
      runner.run_experiment()
    return agent.total, agent.ends

  with pytest.raises(errors.SettingError, match=r'has no set_aside\(seed\)'):
    run(plain.Agent(), 'refused', record_video_every=1)
  expected = run(plain.Agent(), 'off')
  assert run(plain.Aside(), 'on', record_video_every=1) == expected
  frames, _ = films.read(tmp_path / 'on' / 'videos' / 'iteration_1.mp4')
  assert len(frames) == 8


@pytest.mark.no_backend
def test_the_agent_that_a_subclass_put_in_plays(tmp_path, task):
  class Replacing(run_experiment.Runner):
    def __init__(self, *args, **kwargs):
      super().__init__(*args, **kwargs)
      self.first, self._agent = (
        self._agent,
        self._create_agent_fn(None, self._environment),
      )

  task(Counting)
  seen = []
  with runs.make_runner(
    tmp_path, 'task', runs.CASES['dqn'], cls=Replacing, record_video_every=1
  ) as made:
    for agent in (made.first, inside.agent(made)):
      begin = agent.begin_episode
      agent.begin_episode = lambda observation, agent=agent, begin=begin: (
        seen.append((agent, agent.eval_mode)) or begin(observation)
      )
    made.run_experiment()
  assert {id(agent) for agent, _ in seen} == {id(inside.agent(made))}
  assert names(tmp_path) == ['iteration_0.mp4', 'iteration_1.mp4']


@pytest.mark.no_backend
def test_an_environment_that_a_subclass_put_in_is_not_filmed(tmp_path, capsys):
  class Wrapping(run_experiment.Runner):
    def __init__(self, *args, **kwargs):
      super().__init__(*args, **kwargs)
      self._environment = Other()

  class Other(plain.Rendering):
    pass

  for cls, count in ((run_experiment.Runner, 1), (Wrapping, 0)):
    with cls(
      str(tmp_path / cls.__name__),
      lambda *unused, **unused_too: plain.Aside(),
      plain.Rendering,
      num_iterations=1,
      training_steps=20,
      evaluation_steps=5,
      record_video_every=1,
    ) as runner:
      runner.run_experiment()
    assert len(names(tmp_path / cls.__name__)) == count
  said = capsys.readouterr().out
  assert 'iteration 0 could not be made' in said and 'Other object' in said
  assert 'create_environment_fn' in said and 'Training goes on' in said


@pytest.mark.no_backend
def test_a_stop_ends_the_recording_and_then_the_run(tmp_path, task, capsys):
  class Stopping(Counting):
    runner, pictures = None, 0

    def render(self):
      Stopping.pictures += 1
      if Stopping.pictures == 4:
        self.runner.request_stop()
      return super().render()

  task(Stopping)
  settings = dict(record_video_every=1, num_iterations=2)
  hidden = run(tmp_path / 'off', 'dqn', 'task', num_iterations=2)
  with runs.make_runner(
    tmp_path / 'on', 'task', runs.CASES['dqn'], **settings
  ) as made:
    Stopping.runner = made
    with pytest.raises(run_experiment.Stopped, match='end of iteration 0') as e:
      made.run_experiment()
  assert e.value.is_saved and Stopping.pictures == 4
  assert 'could not be made' not in capsys.readouterr().out
  assert names(tmp_path / 'on') == []
  runs.assert_equal(run(tmp_path / 'on', 'dqn', 'task', **settings), hidden)
  # One that was given up is not made up for.
  assert names(tmp_path / 'on') == ['iteration_1.mp4']


# Of an agent that needs no framework: those are 5 s to load.
PROCESS = """
import os, signal, sys
from dopamine.runs import filming
from tests.support import plain

base_dir, last = sys.argv[1], int(sys.argv[2])
take, pictures = filming.Filmed._take_picture, []

def taking(self):
  take(self)
  pictures.append(1)
  if len(pictures) == last:
    os.kill(os.getpid(), signal.SIGKILL)

filming.Filmed._take_picture = taking
settings = dict(environment=plain.Rendering, agent=plain.Aside)
with plain.make_runner(base_dir, record_video_every=1, **settings) as runner:
  print('' if last else os.listdir(base_dir + '/videos'), file=sys.stderr)
  runner.run_experiment()
  print(runner._agent.total, runner._agent.ends)
"""


def start(base_dir, last):
  """Films in a process of its own, which is killed at its last picture."""
  command = [sys.executable, '-c', PROCESS, str(base_dir), str(last)]
  return subprocess.run(
    command, cwd=commands.ROOT, capture_output=True, text=True
  )


@pytest.mark.no_backend
def test_a_recording_that_is_killed_leaves_nothing_that_counts(tmp_path):
  settings = dict(environment=plain.Rendering, agent=plain.Aside)
  with plain.make_runner(str(tmp_path / 'off'), **settings) as runner:
    runner.run_experiment()
  expected = inside.agent(runner)
  done = start(tmp_path / 'on', 5)
  assert done.returncode == -signal.SIGKILL, done.stderr
  (left,) = names(tmp_path / 'on')
  assert left.endswith('.partial')
  # In a container, the number of a killed process may be another's by now.
  (tmp_path / 'on' / 'videos' / '.iteration_0.mp4.1.x.partial').mkdir()
  done = start(tmp_path / 'on', 0)
  assert done.returncode == 0, done.stderr
  assert done.stderr.startswith('[]\n')  # Swept, before anything is run.
  assert 'iteration_1.mp4' in names(tmp_path / 'on')
  assert done.stdout.endswith(f'\n{expected.total} {expected.ends}\n')


# gin --------------------------------------------------------------------------


@pytest.mark.no_backend
def test_gin_has_its_settings_back(tmp_path, monkeypatch):
  texts = {}
  for every in (None, 1):
    folder = tmp_path / str(every)
    gin.clear_config()
    run_experiment.load_gin_configs(
      ['dopamine/agents/dqn/configs/dqn_cartpole.gin'],
      [
        'Runner.num_iterations = 2',
        'Runner.training_steps = 20',
        'Runner.evaluation_steps = 0',
        'Runner.max_steps_per_episode = 9',
        'Runner.seed = 1',
        'WrappedReplayBuffer.replay_capacity = 1000',
        f'Runner.record_video_every = {every}',
      ],
    )
    with run_experiment.create_runner(str(folder)) as runner:
      runner.run_experiment()
    assert gin.config_is_locked()
    texts[every] = [
      (folder / 'operative_config.gin').read_text(),
      gin.operative_config_str(),
      gin.config_str(),
    ]
  assert 'record_video_every = 1' in texts[1][0]
  assert 'render_mode = None' in texts[1][0]
  assert texts[1] == [
    text.replace('record_video_every = None', 'record_video_every = 1')
    for text in texts[None]
  ]
  assert names(tmp_path / '1') == ['iteration_0.mp4', 'iteration_1.mp4']
  # What only evaluates films nothing by itself, and needs nothing for it.
  monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
  trained.load_agent(tmp_path / '1')
  assert len(names(tmp_path / '1')) == 2
