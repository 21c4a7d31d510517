"""`run_experiment` called again on the same Runner, as in a notebook."""

import fcntl
import os
import subprocess
import sys
import threading

import gin
import numpy as np
from numpy.testing import assert_array_equal
import pytest
from tensorboard.backend.event_processing import event_accumulator

from dopamine.discrete_domains import run_experiment
from dopamine.files import atomic
from dopamine.runs import checkpoints
from tests.support import plain

pytestmark = pytest.mark.no_backend


@pytest.fixture
def environment():
  """A class of its own, whose steps are counted from 0."""

  class Environment(plain.Environment):
    at, steps = {}, 0

  return Environment


def fail():
  raise RuntimeError('a bug in the environment')


def interrupt():
  raise KeyboardInterrupt


def outcome(runner):
  """What must not differ from an uninterrupted run."""
  logs = {
    iteration: {k: v for k, v in figures.items() if 'second' not in k}
    for iteration, figures in runner._logger.data.items()
  }
  accumulator = event_accumulator.EventAccumulator(runner._base_dir)
  accumulator.Reload()
  returns = [
    (e.step, e.value) for e in accumulator.Scalars('Train/AverageReturns')
  ]
  return runner._agent.total, runner._agent.ends, logs, returns


def files(folder):
  """Path -> content of all files."""
  return {p: p.read_bytes() for p in folder.rglob('*') if p.is_file()}


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
  """The outcome of a run that nobody interrupts."""
  runner = plain.make_runner(tmp_path_factory.mktemp('straight'))
  runner.run_experiment()
  return outcome(runner)


@pytest.mark.parametrize('how', [fail, interrupt])
@pytest.mark.parametrize(
  'step,place',
  [
    (5, 'to the beginning: there is no checkpoint'),
    (50, 'to the last checkpoint: iteration 1 at its beginning'),
    (95, 'to the last checkpoint: iteration 2 at its beginning'),
  ],
)
def test_an_interrupted_run_does_not_begin_with_the_trained_agent(
  tmp_path, environment, capsys, straight, step, place, how
):
  environment.at = {step: how}
  runner = plain.make_runner(tmp_path, environment)
  with pytest.raises((RuntimeError, KeyboardInterrupt)):
    runner.run_experiment()
  capsys.readouterr()
  runner.run_experiment()
  assert f'Going back {place}' in capsys.readouterr().out
  assert outcome(runner) == straight


def test_a_stopped_run_goes_on_from_where_it_stopped(
  tmp_path, environment, capsys, straight
):
  runner = plain.make_runner(tmp_path, environment)
  environment.at = {50: lambda: runner.request_stop()}
  with pytest.raises(run_experiment.Stopped):
    runner.run_experiment()
  runner.run_experiment()
  assert 'iteration 1 at step 15 of its train phase' in capsys.readouterr().out
  assert outcome(runner) == straight


@pytest.mark.parametrize(
  'cls', [run_experiment.Runner, run_experiment.TrainRunner]
)
def test_a_finished_run_goes_on_when_its_end_is_raised(tmp_path, cls):
  straight = plain.make_runner(tmp_path / 'a', cls=cls, num_iterations=4)
  straight.run_experiment()
  runner = plain.make_runner(tmp_path / 'b', cls=cls, num_iterations=2)
  runner.run_experiment()
  runner.num_iterations = 4
  assert runner._num_iterations == 4
  runner.run_experiment()
  assert outcome(runner) == outcome(straight)
  with pytest.raises(ValueError, match=r'Runner.num_iterations = 2.5'):
    runner.num_iterations = 2.5


def test_a_finished_run_that_is_called_again_changes_nothing(tmp_path):
  runner = plain.make_runner(tmp_path)
  runner.run_experiment()
  before, agent = files(tmp_path), runner._agent
  runner.run_experiment()
  assert runner._agent is agent and files(tmp_path) == before


def test_the_lock_is_taken_again(tmp_path, environment):
  runner = plain.make_runner(tmp_path, environment, num_iterations=1)
  blocked = []

  def try_to_lock():
    with open(tmp_path / 'lock') as file, pytest.raises(BlockingIOError):
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    blocked.append(True)

  environment.at = {5: try_to_lock, 40: try_to_lock}
  runner.run_experiment()
  runner.num_iterations = 2
  runner.run_experiment()
  assert len(blocked) == 2
  # Another process has it meanwhile.
  runner.num_iterations, agent = 3, runner._agent
  with open(tmp_path / 'lock') as file:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest.raises(ValueError, match='is in use by process'):
      runner.run_experiment()
    assert runner._agent is agent
  runner.run_experiment()
  assert runner._logger.data.keys() == {f'iteration_{i}' for i in range(3)}


def test_a_set_up_that_fails_may_be_tried_again(
  tmp_path, environment, straight
):
  environment.at = {50: fail}
  broken = []

  def create():
    if broken:
      raise RuntimeError(broken.pop())
    return environment()

  runner = plain.make_runner(tmp_path, create)
  with pytest.raises(RuntimeError, match='a bug'):
    runner.run_experiment()
  broken.append('no display')
  with pytest.raises(RuntimeError, match='no display'):
    runner.run_experiment()
  runner.run_experiment()
  assert outcome(runner) == straight


def test_an_interrupted_dqn_ends_bit_equal(tmp_path):
  from dopamine.agents.dqn import dqn_agent  # Loads Keras.
  from tests.support import small

  gin.bind_parameter('WrappedReplayBuffer.replay_capacity', 100)
  gin.bind_parameter('WrappedReplayBuffer.batch_size', 8)

  class Environment(plain.Environment):
    at, steps = {}, 0

    def step(self, action):
      observation, *rest = super().step(action)
      return observation / 100, *rest

    def reset(self):
      return super().reset() / 100

  def run(name, step=None):
    Environment.at = {} if step is None else {step: interrupt}
    Environment.steps = 0
    runner = plain.make_runner(
      tmp_path / name,
      Environment,
      lambda: dqn_agent.DQNAgent(
        num_actions=2,
        observation_shape=(1,),
        observation_dtype=np.float32,
        network=small.Perceptron,
        min_replay_history=10,
        update_period=1,
        target_update_period=9,
        epsilon_decay_period=30,
      ),
      num_iterations=2,
    )
    if step is not None:
      with pytest.raises(KeyboardInterrupt):
        runner.run_experiment()
    runner.run_experiment()
    memory = runner._agent._replay.memory
    return (
      runner._agent._learner.state()
      | {name: array.copy() for name, array in memory._store.items()}
      | {'draw': runner._agent._rng.random(), 'count': memory.add_count}
    )

  straight, rerun = run('a'), run('b', step=50)
  assert straight.keys() == rerun.keys()
  for name, values in straight.items():
    assert_array_equal(values, rerun[name], name)
  assert os.path.exists(tmp_path / 'b' / 'checkpoints' / 'ckpt.1')


def test_the_folder_is_kept_while_a_checkpoint_is_being_written(
  tmp_path, monkeypatch
):
  """Ctrl-C may end the wait for it, twice."""
  gate, write_file = threading.Event(), atomic.write_file
  wait = checkpoints.RunCheckpoints.wait

  def write_late(path, write):
    if path.endswith('manifest_ckpt.0.json'):
      gate.wait(60)
    return write_file(path, write)

  def interrupted(self):
    if self.is_writing:
      raise KeyboardInterrupt
    return wait(self)

  def another_process_takes_it():
    code = f'from dopamine.files import lock; lock.Lock({str(tmp_path)!r})'
    command = [sys.executable, '-c', code]
    return not subprocess.run(command, capture_output=True).returncode

  monkeypatch.setattr(atomic, 'write_file', write_late)
  monkeypatch.setattr(checkpoints.RunCheckpoints, 'wait', interrupted)
  runner = plain.make_runner(tmp_path, num_iterations=1)
  with pytest.raises(KeyboardInterrupt):
    runner.run_experiment()
  assert not another_process_takes_it()
  gate.set()
  monkeypatch.undo()
  runner.close()
  assert another_process_takes_it()
  assert (tmp_path / 'checkpoints' / 'sentinel_checkpoint_complete.0').exists()
