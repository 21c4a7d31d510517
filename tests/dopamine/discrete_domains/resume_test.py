"""A run that is interrupted anywhere ends as one that never was, bit by bit."""

import collections
import contextlib
import itertools
import json
import os
import sys

import gin
import numpy as np
from numpy.testing import assert_array_equal
import pytest

from dopamine import backend
from dopamine import memory
from dopamine.agents.dqn import dqn_agent
from dopamine.discrete_domains import run_experiment
from dopamine.runs import saver
from tests.support import inside
from tests.support import runs
from tests.support import small


def finish(
  base_dir, environment, case, cls=runs.Interrupted, stops=(), **kwargs
):
  """Runs to the end; a stopped run is started again by the same command."""

  class Stopping(cls):
    pass

  Stopping.stops, Stopping.steps = stops, 0
  num_stops = 0
  while True:
    runner = runs.make_runner(base_dir, environment, case, Stopping, **kwargs)
    try:
      runner.run_experiment()
    except run_experiment.Stopped as stopped:
      assert stopped.is_saved
      num_stops += 1
      continue
    # CartPole is saved between its episodes: two stops may become one.
    assert len(stops) - 1 <= num_stops <= len(stops)
    return runner


# Of 2 x (120 + 40) steps: in both phases of both iterations, the first before
# learning starts.
STOPS = (7, 64, 171, 301)


# Every agent under both backends, in the other of the two environments.
PAIRS = [
  *itertools.product(('dqn', 'quantile', 'full'), ['breakout']),
  *itertools.product(('c51', 'iqn'), ['cartpole']),
]
if backend.current() == 'jax':
  other = {'breakout': 'cartpole', 'cartpole': 'breakout'}
  PAIRS = [(algorithm, other[name]) for algorithm, name in PAIRS]


@pytest.mark.parametrize(('algorithm', 'environment'), PAIRS)
def test_a_run_that_is_stopped_four_times_ends_the_same(
  algorithm, environment, tmp_path
):
  straight = finish(tmp_path / 'straight', environment, runs.CASES[algorithm])
  expected = runs.figures(straight)
  assert expected['steps'] > 240 and expected['add_count'] > 200
  assert len(expected['tensorboard/Train/NumEpisodes']) == 4
  stopped = finish(
    tmp_path / 'stopped', environment, runs.CASES[algorithm], stops=STOPS
  )
  runs.assert_equal(runs.figures(stopped), expected)


# What is saved beside that ----------------------------------------------------


class Counting(dqn_agent.DQNAgent):
  """A subclass with a state of its own, of which it saves nothing itself."""

  def __init__(self, *args, bonus=0.5, **kwargs):
    super().__init__(*args, **kwargs)
    self.bonus = bonus
    self.counts = np.zeros(4, np.int64)
    self.recent = collections.deque(maxlen=5)
    self.noise = np.random.default_rng(7)
    self.function = len

  def step(self, reward, observation):
    self.counts[self.action] += 1
    self.recent.append(float(self.noise.random()))
    return super().step(reward, observation)


def counting_runner(base_dir, bonus, stop_at=None):
  _, settings = runs.ENVIRONMENTS['breakout']

  def create_agent(sess, environment, summary_writer=None):
    gin.bind_parameter('OutOfGraphReplayBuffer.replay_capacity', 200)
    gin.bind_parameter('WrappedReplayBuffer.replay_capacity', 200)
    return Counting(
      network=small.Perceptron, bonus=bonus, min_replay_history=30, **settings
    )

  runner = runs.Interrupted(
    str(base_dir),
    create_agent,
    runs.ENVIRONMENTS['breakout'][0],
    num_iterations=1,
    training_steps=80,
    evaluation_steps=0,
    max_steps_per_episode=35,
    seed=4,
  )
  type(runner).steps, runner.stops = 0, (stop_at,)
  return runner


def test_what_a_subclass_counts_is_saved_and_its_settings_are_not(tmp_path):
  straight = counting_runner(tmp_path / 'straight', bonus=0.5)
  straight.run_experiment()
  with pytest.raises(run_experiment.Stopped):
    counting_runner(
      tmp_path / 'stopped', bonus=0.5, stop_at=20
    ).run_experiment()
  resumed = counting_runner(tmp_path / 'stopped', bonus=0.75)
  agent, expected = inside.agent(resumed), inside.agent(straight)
  assert agent.counts.sum() == 20 and len(agent.recent) == 5
  resumed.run_experiment()
  assert_array_equal(agent.counts, expected.counts)
  assert agent.recent == expected.recent
  assert agent.noise.random() == expected.noise.random()
  assert agent.bonus == 0.75


class Scripted:
  """Episodes of `length` steps; saves nothing."""

  saves_mid_episode = False

  def __init__(self, length):
    self._length, self.game_over = length, False
    self.action_space = type('Space', (), {'n': 2})

  def reset(self):
    self._left, self.game_over = self._length, False
    return np.zeros(1)

  def step(self, action):
    self._left -= 1
    self.game_over = self._left == 0
    return np.zeros(1), 1.0, self.game_over, {}


class Plain:
  """The least that an agent is; counts its steps, and saves the count."""

  eval_mode = False
  count = 0

  def begin_episode(self, observation):
    return 0

  def step(self, reward, observation):
    self.count += 1
    return 0

  def end_episode(self, reward):
    self.count += 1

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    return {'count': self.count}

  def unbundle(self, checkpoint_dir, iteration_number, data):
    self.count = data['count']
    return True


def plain_runner(base_dir, length=10, cls=run_experiment.Runner, **kwargs):
  settings = dict(num_iterations=2, training_steps=60, evaluation_steps=20)
  return cls(
    str(base_dir),
    lambda sess, environment, summary_writer=None: Plain(),
    lambda: Scripted(length),
    **(settings | kwargs),
  )


def test_what_cannot_be_saved_within_an_episode_is_saved_at_its_end(
  tmp_path, capsys
):
  class Stopping(runs.Interrupted):
    stops, steps = (33,), 0

  with pytest.raises(
    run_experiment.Stopped, match='iteration 0, step 40 of the train phase'
  ):
    plain_runner(tmp_path, cls=Stopping).run_experiment()
  resumed = plain_runner(tmp_path)
  assert 'iteration 0 at step 40 of its train phase' in capsys.readouterr().out
  assert inside.agent(resumed).count == 40
  resumed.run_experiment()
  assert inside.agent(resumed).count == 160
  logs = inside.logs(resumed)
  assert logs['iteration_0']['train_episode_lengths'] == [10] * 6
  assert logs['iteration_0']['eval_episode_returns'] == [10.0] * 2


def test_an_episode_without_end_does_not_hold_up_a_stop(tmp_path, monkeypatch):
  monkeypatch.setattr(saver, 'STOP_SECONDS', 0.05)

  class Stopping(runs.Interrupted):
    stops, steps = (33,), 0

  runner = plain_runner(
    tmp_path, length=10**9, cls=Stopping, max_steps_per_episode=10**9
  )
  with pytest.raises(run_experiment.Stopped, match='could not be saved') as end:
    runner.run_experiment()
  assert not end.value.is_saved


def test_a_stop_after_the_last_step_of_an_iteration_loses_nothing(tmp_path):
  class Stopping(runs.Interrupted):
    stops, steps = (80,), 0  # 60 of training, 20 of evaluation.

  with pytest.raises(
    run_experiment.Stopped, match='the end of iteration 0. .* complete'
  ) as end:
    plain_runner(tmp_path, cls=Stopping).run_experiment()
  assert end.value.is_saved
  resumed = plain_runner(tmp_path)
  assert inside.start_iteration(resumed) == 1
  assert inside.agent(resumed).count == 80
  resumed.run_experiment()
  assert inside.agent(resumed).count == 160


def test_hooks_of_old_runners_still_work(tmp_path):
  class Own(run_experiment.Runner):
    """Overrides what Dopamine's users do, without what is new here."""

    def _run_one_phase(self, min_steps, statistics, run_mode_str):
      steps = 0
      while steps < min_steps:
        length, episode_return = self._run_one_episode()
        steps += length
      return steps, 0.0, 1

    def _run_one_iteration(self, iteration):
      self._run_train_phase(Statistics())
      return {'own': [iteration]}

  class Statistics:
    def append(self, figures):
      pass

  runner = plain_runner(tmp_path, cls=Own, checkpoint_minutes=1e-9)
  runner.run_experiment()
  assert inside.logs(runner)['iteration_1'] == {'own': [1]}
  assert inside.start_iteration(plain_runner(tmp_path, cls=Own)) == 2


def test_checkpoints_are_taken_by_the_clock(tmp_path):
  class Waiting(run_experiment.Runner):
    def _run_one_step(self, action):
      inside.checkpoints(self).wait()
      return super()._run_one_step(action)

  runner = plain_runner(
    tmp_path, cls=Waiting, num_iterations=1, checkpoint_minutes=1e-9
  )
  runner.run_experiment()
  within = tmp_path / 'checkpoints' / 'mid_iteration'
  assert len(list(within.glob('sentinel*'))) == 2  # The newest two stay.
  other = plain_runner(
    tmp_path / 'none', num_iterations=1, checkpoint_minutes=None
  )
  other.run_experiment()
  assert not (tmp_path / 'none' / 'checkpoints' / 'mid_iteration').exists()


# A full disk ------------------------------------------------------------------


def test_a_full_disk_does_not_end_the_run(tmp_path, monkeypatch, capsys):
  """From the second iteration on nothing can be written, until the fourth."""
  fsync, fails = os.fsync, []

  class Watched(run_experiment.Runner):
    def _run_one_iteration(self, iteration):
      inside.checkpoints(self).wait()
      fails[:] = [True] * (iteration in (1, 2))
      return super()._run_one_iteration(iteration)

  def full(descriptor):
    if fails:
      raise OSError(28, 'No space left on device')
    fsync(descriptor)

  monkeypatch.setattr(os, 'fsync', full)
  runner = plain_runner(tmp_path, cls=Watched, num_iterations=4)
  runner.run_experiment()
  assert 'A checkpoint could not be written: [Errno 28]' in (
    capsys.readouterr().out
  )
  resumed = plain_runner(tmp_path, num_iterations=4)
  assert inside.start_iteration(resumed) == 4
  assert inside.agent(resumed).count == 320
  assert sorted(inside.logs(resumed)) == [f'iteration_{i}' for i in range(4)]
  files = [path.name for path in tmp_path.rglob('*') if path.is_file()]
  assert not [name for name in files if name.endswith('.tmp')]
  done = [name for name in files if name.startswith('sentinel_')]
  assert sorted(name[-1] for name in done) == ['0', '3']


# What has changed -------------------------------------------------------------


def test_changed_settings_are_shown(tmp_path, capsys):
  gin.bind_parameter('Runner.training_steps', 50)

  def create():
    return run_experiment.Runner(
      str(tmp_path),
      lambda sess, environment, summary_writer=None: Plain(),
      lambda: Scripted(10),
      num_iterations=1,
      evaluation_steps=0,
      seed=1,
    )

  create().run_experiment()
  capsys.readouterr()
  create()
  assert 'Changed since' not in capsys.readouterr().out
  gin.bind_parameter('Runner.training_steps', 70)
  create()
  assert '  Runner.training_steps from 50 to 70\n' in capsys.readouterr().out


def test_another_number_of_threads_is_told(tmp_path, capsys, monkeypatch):
  finish(tmp_path, 'cartpole', runs.CASES['dqn'], num_iterations=1)
  cls = dqn_agent.DQNAgent
  monkeypatch.setattr(cls, 'describe_device', lambda agent: '64 threads')
  capsys.readouterr()
  runs.make_runner(tmp_path, 'cartpole', runs.CASES['dqn'])
  out = capsys.readouterr().out
  assert 'threads), and this process computes by 64 threads: ' in out


def test_a_run_that_does_not_fit_the_memory_is_refused(tmp_path, monkeypatch):
  limit = memory.Limit(1e9, 'this machine has')
  monkeypatch.setattr(memory, 'tightest', lambda allocated: limit)
  monkeypatch.setattr(memory, 'resident', lambda: 600_000_000)
  with pytest.raises(ValueError, match='about 1.1 GB.*has 1.0 GB: lower'):
    plain_runner(tmp_path)


# Overrides --------------------------------------------------------------------


def test_an_override_of_the_checkpoint_saves_its_files_with_it(tmp_path):
  class Old(run_experiment.Runner):
    """Saves as Dopamine 3's Runner does."""

    def _checkpoint_experiment(self, iteration):
      data = self._agent.bundle_and_checkpoint(self._checkpoint_dir, iteration)
      data['current_iteration'] = iteration
      data['logs'] = self._logger.data
      self._checkpointer.save_checkpoint(iteration, data)

  old = dict(cls=Old, checkpoint_minutes=1e-3)
  runs.make_runner(
    tmp_path / 'old', 'breakout', runs.CASES['c51'], num_iterations=1, **old
  ).run_experiment()
  folder = tmp_path / 'old' / 'checkpoints'
  manifest = json.loads(
    (folder / 'manifest_ckpt.0.json').read_text().splitlines()[0]
  )
  assert {'weights_ckpt.0.npz', 'replay_ckpt.0.npz', 'ckpt.0'} == {
    *manifest['files']
  }
  assert all(name.startswith('replay/') for name in manifest['shared'])
  resumed = runs.make_runner(
    tmp_path / 'old', 'breakout', runs.CASES['c51'], **old
  )
  assert inside.start_iteration(resumed) == 1
  assert inside.agent(resumed).training_steps > 100
  assert inside.memory(inside.agent(resumed)).add_count > 100


class OwnBundle(dqn_agent.DQNAgent):
  """Saves its weights and nothing of an episode."""

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    bundle = super().bundle_and_checkpoint(checkpoint_dir, iteration_number)
    return {'steps': bundle['training_steps']}

  def unbundle(self, checkpoint_dir, iteration_number, data):
    self.training_steps = data['steps']
    return True


def test_an_agent_that_saves_no_episode_is_saved_between_them(tmp_path):
  def create_agent(sess, environment, summary_writer=None):
    gin.bind_parameter('WrappedReplayBuffer.replay_capacity', 200)
    return OwnBundle(
      network=small.Perceptron, min_replay_history=1000, **settings
    )

  create_environment, settings = runs.ENVIRONMENTS['breakout']
  runner = runs.Interrupted(
    str(tmp_path), create_agent, create_environment, training_steps=80
  )
  type(runner).steps, runner.stops = 0, (20,)
  with pytest.raises(run_experiment.Stopped) as end:
    runner.run_experiment()
  assert end.value.is_saved
  assert not runner._state.in_episode and runner.steps > 20


def test_a_stop_where_nothing_could_be_saved_says_so(tmp_path, monkeypatch):
  class Stopping(runs.Interrupted):
    stops, steps = (80,), 0

    def _checkpoint_experiment(self, iteration):
      raise OSError(28, 'No space left on device')

  with pytest.raises(run_experiment.Stopped, match='could not') as end:
    plain_runner(tmp_path, cls=Stopping).run_experiment()
  assert not end.value.is_saved


def test_failed_checkpoints_leave_nothing(tmp_path, monkeypatch):
  fsync = os.fsync
  runner = runs.make_runner(
    tmp_path,
    'breakout',
    runs.CASES['dqn'],
    num_iterations=1,
    checkpoint_minutes=1e-3,
  )

  def full(descriptor):
    name = os.readlink(f'/proc/self/fd/{descriptor}')
    if 'mid_iteration/ckpt' in name:  # The last before the manifest.
      raise OSError(28, 'No space left on device')
    fsync(descriptor)

  monkeypatch.setattr(os, 'fsync', full)
  runner.run_experiment()
  assert not list((tmp_path / 'checkpoints' / 'mid_iteration').iterdir())


def test_an_older_checkpoint_can_be_chosen(tmp_path):
  name = 'get_latest_checkpoint_number.override_number'
  plain_runner(tmp_path, num_iterations=3).run_experiment()
  for number, start in ((1, 2), (2, 3), (-1, 0)):
    gin.bind_parameter(name, number)
    runner = plain_runner(tmp_path, num_iterations=4)
    assert inside.start_iteration(runner) == start
    assert inside.agent(runner).count == 80 * start


def test_files_without_a_sentinel_are_told(tmp_path, capsys):
  plain_runner(tmp_path, num_iterations=1).run_experiment()
  (tmp_path / 'checkpoints' / 'sentinel_checkpoint_complete.0').unlink()
  capsys.readouterr()
  assert inside.start_iteration(plain_runner(tmp_path)) == 0
  assert 'files of checkpoint 0, but no sentinel' in capsys.readouterr().out


def test_a_generator_made_during_the_run_is_restored(tmp_path):
  class Lazy(dqn_agent.DQNAgent):
    mine = None

  def make():
    gin.bind_parameter('WrappedReplayBuffer.replay_capacity', 200)
    agent = Lazy(network=small.Perceptron, **runs.ENVIRONMENTS['cartpole'][1])
    agent.remember_settings()
    return agent

  agent = make()
  agent.mine = np.random.default_rng(3)
  agent.mine.random(5)
  bundle = agent.bundle_and_checkpoint(str(tmp_path), 0)
  other = make()
  assert other.unbundle(str(tmp_path), 0, bundle)
  assert other.mine.random() == agent.mine.random()


def test_a_damaged_checkpoint_does_not_push_out_a_good_one(tmp_path):
  """Two of those within an iteration are kept: two that are whole."""

  def stop_at(step):
    class Stopping(runs.Interrupted):
      stops, steps = (step,), 0

    with pytest.raises(run_experiment.Stopped):
      plain_runner(tmp_path, cls=Stopping).run_experiment()

  def damage():
    within = tmp_path / 'checkpoints' / 'mid_iteration'
    newest = max(
      within.glob('ckpt.*'), key=lambda path: path.stat().st_mtime_ns
    )
    content = bytearray(newest.read_bytes())
    content[20] ^= 1
    newest.write_bytes(content)

  stop_at(5)
  stop_at(5)
  damage()
  assert inside.agent(plain_runner(tmp_path)).count == 10
  stop_at(5)
  damage()
  assert inside.agent(plain_runner(tmp_path)).count == 10


def test_a_stop_after_the_last_step_of_the_run_is_no_stop(tmp_path):
  class Stopping(runs.Interrupted):
    stops, steps = (160,), 0

  runner = plain_runner(tmp_path, cls=Stopping)
  runner.run_experiment()
  assert inside.agent(runner).count == 160


def test_what_nobody_can_read_ends_no_run(tmp_path, monkeypatch):
  """stdout is on the full disk, or its reader is gone."""
  with open('/dev/full', 'w') as full:
    monkeypatch.setattr(sys, 'stdout', full)
    runner = plain_runner(tmp_path)
    runner.run_experiment()
    monkeypatch.undo()
    assert inside.agent(runner).count == 160
    with contextlib.suppress(OSError):
      full.close()


def test_a_log_that_fails_at_the_end_takes_no_checkpoint_with_it(tmp_path):
  class Failing(run_experiment.Runner):
    def _log_experiment(self, iteration, statistics):
      if iteration == 1:
        raise OSError(28, 'No space left on device')
      super()._log_experiment(iteration, statistics)

    def _checkpoint_experiment(self, iteration):
      saved.append(iteration)
      super()._checkpoint_experiment(iteration)

  saved = []
  with pytest.raises(OSError, match='iteration 1 could not be saved'):
    plain_runner(tmp_path, cls=Failing).run_experiment()
  assert saved == [0, 1]
  assert inside.start_iteration(plain_runner(tmp_path)) == 2


def test_weights_alone_are_enough_where_that_is_allowed(tmp_path):
  """Whatever else is damaged or missing."""
  create_environment, settings = runs.ENVIRONMENTS['cartpole']

  def make(**kwargs):
    return run_experiment.Runner(
      str(tmp_path),
      lambda sess, environment, summary_writer=None: dqn_agent.DQNAgent(
        network=small.Perceptron, **settings, **kwargs
      ),
      create_environment,
      num_iterations=3,
      training_steps=20,
      evaluation_steps=0,
    )

  gin.bind_parameter('WrappedReplayBuffer.replay_capacity', 200)
  runner = make()
  runner.run_experiment()
  weights = inside.agent(runner).online_convnet.get_weights()
  folder = tmp_path / 'checkpoints'
  for path in folder.glob('sentinel*.[01]'):
    path.unlink()
  for name in ('replay_ckpt.2.npz', 'ckpt.2', 'manifest_ckpt.2.json'):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
  with pytest.raises(ValueError, match='allow_partial_reload = True'):
    make()
  partial = make(allow_partial_reload=True)
  assert inside.start_iteration(partial) == 3
  for found, value in zip(
    inside.agent(partial).online_convnet.get_weights(), weights, strict=True
  ):
    assert_array_equal(found, value)


def test_another_network_of_the_same_shape_is_refused(tmp_path):
  class Other(small.Perceptron):
    pass

  create_environment, settings = runs.ENVIRONMENTS['cartpole']

  def make(network, **kwargs):
    return run_experiment.Runner(
      str(tmp_path),
      lambda sess, environment, summary_writer=None: dqn_agent.DQNAgent(
        network=network, **settings
      ),
      create_environment,
      num_iterations=1,
      training_steps=20,
      evaluation_steps=0,
      **kwargs,
    )

  gin.bind_parameter('WrappedReplayBuffer.replay_capacity', 200)
  make(small.Perceptron).run_experiment()
  with pytest.raises(ValueError, match='network is Perceptron, .* is Other'):
    make(Other)
  assert inside.start_iteration(make(Other, allow_changes=True)) == 1


def test_a_checkpoint_that_is_asked_for_is_taken_at_the_next_step(tmp_path):
  taken = []

  class Asking(run_experiment.Runner):
    saves_mid_episode = True

    def _run_one_step(self, action):
      if self._state.steps == 25:
        self.request_checkpoint()
      return super()._run_one_step(action)

    def _bundle(self, place):
      taken.append((place.iteration, place.nth, self._state.steps))
      return super()._bundle(place)

  settings = dict(num_iterations=1, checkpoint_minutes=None)
  plain_runner(tmp_path, cls=Asking, **settings).run_experiment()
  # Between episodes of 10 steps: `Scripted` cannot be saved within one.
  assert taken == [(0, 1, 30), (1, 0, 20)]


def test_what_could_not_be_written_is_not_tried_again_at_each_step(
  tmp_path, capsys
):
  class Asking(run_experiment.Runner):
    def _initialize_episode(self):
      if self._state.phase == 'train' and self._state.steps == 0:
        self.request_checkpoint()
      return super()._initialize_episode()

    def _bundle(self, place):
      if place.nth:
        raise OSError(28, 'No space left on device')
      return super()._bundle(place)

  plain_runner(tmp_path, cls=Asking, num_iterations=1).run_experiment()
  assert capsys.readouterr().out.count('could not be written') == 1
