"""Whole runs through the command line, on real games."""

import os
import pickle
import re
import subprocess
import time

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

from dopamine import safe_pickle
from tests.support import commands


def scalars(path):
  """`{tag: [(step, value)]}` of all event files, as TensorBoard reads them."""
  accumulator = event_accumulator.EventAccumulator(str(path))
  accumulator.Reload()
  tags = accumulator.Tags()
  return tags['graph'], {
    tag: [(e.step, e.value) for e in accumulator.Scalars(tag)]
    for tag in tags['scalars']
  }


GAMES = {'tensorflow': 'Seaquest', 'jax': 'Pong'}


@pytest.mark.parametrize('game', [GAMES[keras.config.backend()]])
def test_dqn_trains_stops_and_resumes(game, tmp_path):
  bindings = [
    f"create_atari_environment.game_name = '{game}'",
    'create_agent.debug_mode = True',
    'Runner.training_steps = 600',
    'Runner.evaluation_steps = 300',
    'DQNAgent.min_replay_history = 100',
    'DQNAgent.summary_writing_frequency = 100',
    'WrappedReplayBuffer.replay_capacity = 3000',
    'WrappedReplayBuffer.batch_size = 8',  # A quarter of the time.
  ]
  if game == 'Pong':  # Whose games are long; Seaquest's end by themselves.
    bindings.append('Runner.max_steps_per_episode = 400')
  first = commands.train(
    tmp_path,
    bindings=[*bindings, 'Runner.num_iterations = 2'],
    arguments=['--seed=7'],
  )
  assert f'AleEnvironment({game}, repeat_action_prob' in first.stdout
  assert 'Average undiscounted return per training episode' in first.stderr
  assert 'Steps executed: ' in first.stdout and '\r' not in first.stdout
  # No word of what a framework looked for and did not find.
  assert not re.findall('cuda|oneDNN|tpu', first.stderr, re.IGNORECASE)

  second = commands.train(
    tmp_path, bindings=[*bindings, 'Runner.num_iterations = 3']
  )
  assert 'will start from iteration 2' in second.stderr
  assert 'Seed:        7' in second.stdout

  with open(tmp_path / 'logs' / 'log_2', 'rb') as file:
    logs = pickle.load(file)
  assert sorted(logs) == ['iteration_0', 'iteration_1', 'iteration_2']
  for statistics in logs.values():
    assert sum(statistics['train_episode_lengths']) >= 600
    assert sum(statistics['eval_episode_lengths']) >= 300
    assert len(statistics['train_average_return']) == 1
    if game == 'Pong':
      assert all(-21 <= r <= 21 for r in statistics['train_episode_returns'])

  names = set(os.listdir(tmp_path / 'checkpoints'))
  for i in range(3):
    assert {
      f'ckpt.{i}',
      f'sentinel_checkpoint_complete.{i}',
      f'weights_ckpt.{i}.npz',
      f'manifest_ckpt.{i}.json',
      f'replay_ckpt.{i}.npz',
    } <= names
  with open(tmp_path / 'checkpoints' / 'ckpt.2', 'rb') as file:
    bundle = safe_pickle.load(file)
  steps = sum(sum(s['train_episode_lengths']) for s in logs.values())
  assert bundle['training_steps'] == steps
  assert bundle['current_iteration'] == 2

  with (
    np.load(tmp_path / 'checkpoints' / 'weights_ckpt.0.npz') as before,
    np.load(tmp_path / 'checkpoints' / 'weights_ckpt.2.npz') as after,
  ):
    assert before['optimizer/0'] < after['optimizer/0']
    assert (before['online_convnet/0'] != after['online_convnet/0']).any()
    assert all(np.isfinite(after[name]).all() for name in after)

  has_graph, found = scalars(tmp_path)
  assert has_graph == (keras.config.backend() == 'tensorflow')
  for tag in (
    'Train/NumEpisodes',
    'Train/AverageReturns',
    'Train/AverageStepsPerSecond',
    'Eval/NumEpisodes',
    'Eval/AverageReturns',
  ):
    assert [step for step, _ in found[tag]] == [0, 1, 2]
  returns = [s['train_average_return'][0] for s in logs.values()]
  assert np.allclose([v for _, v in found['Train/AverageReturns']], returns)
  losses = found['Losses/HuberLoss']
  assert [step for step, _ in losses] == list(range(100, steps, 100))
  assert len(losses) >= 10


def test_the_same_seed_gives_the_same_run_in_another_process(tmp_path):
  """Bit for bit: weights, replay and logs, but for the clock.

  That another seed gives another run, `run_experiment_test` has.
  """
  bindings = [
    'Runner.num_iterations = 1',
    'Runner.training_steps = 300',
    'Runner.evaluation_steps = 100',
    'Runner.max_steps_per_episode = 150',
    'DQNAgent.min_replay_history = 100',
    'WrappedReplayBuffer.replay_capacity = 1000',
    'WrappedReplayBuffer.batch_size = 8',
  ]
  states = []
  for name in 'ab':
    commands.train(tmp_path / name, bindings=bindings, arguments=['--seed=3'])
    with np.load(tmp_path / name / 'checkpoints/weights_ckpt.0.npz') as file:
      weights = dict(file)
    with open(tmp_path / name / 'checkpoints/ckpt.0', 'rb') as file:
      bundle = safe_pickle.load(file)
    del bundle['logs']['iteration_0']['train_average_steps_per_second']
    del bundle['run']['event_files']  # Named by the time.
    states.append((weights, bundle))
  (weights_a, bundle_a), (weights_b, bundle_b) = states
  for key in weights_a:
    assert (weights_a[key] == weights_b[key]).all(), key
  assert repr(bundle_a) == repr(bundle_b)
  assert (bundle_a['state'] == bundle_b['state']).all()


@pytest.mark.skipif(
  keras.config.backend() != 'jax', reason='a file for the JAX backend'
)
def test_a_jax_gin_file_trains(tmp_path):
  commands.train(
    tmp_path,
    gin_file='dopamine/jax/agents/dqn/configs/dqn.gin',
    bindings=[
      'Runner.num_iterations = 1',
      'Runner.training_steps = 300',
      'Runner.max_steps_per_episode = 150',
      'JaxDQNAgent.min_replay_history = 100',
      'OutOfGraphReplayBuffer.replay_capacity = 1000',
      'JaxDQNAgent.summary_writing_frequency = 100',
    ],
  )
  _, found = scalars(tmp_path)
  assert [step for step, _ in found['HuberLoss']] == [100, 200]
  assert 'Eval/AverageReturns' not in found


def family():
  """The Atari files of every agent but DQN, and the class that each binds."""
  agents = {
    'rainbow': ('RainbowAgent', ('c51', 'rainbow')),
    'implicit_quantile': ('RainbowAgent', ('implicit_quantile',)),
    'quantile': ('QuantileAgent', ('quantile',)),
    'full_rainbow': ('FullRainbowAgent', ('full_rainbow',)),
  }
  jax_classes = {
    'implicit_quantile': 'JaxImplicitQuantileAgent',
    'full_rainbow': 'JaxDQNAgent',
  }
  for folder, (cls, files) in agents.items():
    for file in files:
      path = f'agents/{folder}/configs/{file}.gin'
      yield f'dopamine/{path}', cls
      if keras.config.backend() == 'jax':
        yield f'dopamine/jax/{path}', jax_classes.get(folder, f'Jax{cls}')


def train_kill_and_resume(base_dir, gin_file, cls, game, steps):
  """Kills a run in its second iteration, continues it, and checks both.

  The first iteration has `steps` agent steps of training, the second a fifth.
  """
  bindings = [
    f"create_atari_environment.game_name = '{game}'",
    'create_agent.debug_mode = True',
    "create_runner.schedule = 'continuous_train_and_eval'",
    'Runner.num_iterations = 2',
    f'Runner.training_steps = {steps}',
    f'Runner.evaluation_steps = {steps // 2}',
    f'Runner.max_steps_per_episode = {steps // 4}',
    f'{cls}.min_replay_history = {steps // 4}',
    'OutOfGraphReplayBuffer.replay_capacity = 3000',
    'OutOfGraphPrioritizedReplayBuffer.replay_capacity = 3000',
    'WrappedPrioritizedReplayBuffer.replay_capacity = 3000',
  ]
  process = subprocess.Popen(
    commands.train_command(base_dir, gin_file, bindings, ['--seed=3']),
    env=commands.environment(),
    cwd=commands.ROOT,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  done = base_dir / 'checkpoints' / 'sentinel_checkpoint_complete.0'
  while not done.exists():
    assert process.poll() is None, 'the run ended before its first checkpoint'
    time.sleep(0.05)
  process.kill()
  process.wait()
  assert not (base_dir / 'logs' / 'log_1').exists()

  bindings += [
    f'Runner.training_steps = {steps // 5}',
    f'Runner.evaluation_steps = {steps // 10}',
  ]
  resumed = commands.train(base_dir, gin_file, bindings)
  assert 'will start from iteration 1' in resumed.stderr
  logs = pickle.loads((base_dir / 'logs' / 'log_1').read_bytes())
  assert sorted(logs) == ['iteration_0', 'iteration_1']
  for part, statistics in zip((1, 5), logs.values(), strict=True):
    assert sum(statistics['train_episode_lengths']) >= steps // part
    assert sum(statistics['eval_episode_lengths']) >= steps // 2 // part
  with (
    np.load(base_dir / 'checkpoints' / 'weights_ckpt.0.npz') as before,
    np.load(base_dir / 'checkpoints' / 'weights_ckpt.1.npz') as after,
  ):
    assert 0 < before['optimizer/0'] < after['optimizer/0']
    # IQN's networks hold seeds too, which stay: the agent draws its quantiles.
    weights = [n for n in after if n.startswith('online_convnet/')]
    changed = [(before[n] != after[n]).any() for n in weights]
    assert sum(changed) >= len(weights) - 1
    assert all(np.isfinite(after[name]).all() for name in after)
  _, found = scalars(base_dir)
  losses = [t for t in found if t.endswith('Loss') and t != 'Learning/Loss']
  assert len(losses) == 1 and np.isfinite(found[losses[0]]).all()


def test_rainbow_is_killed_and_resumes(tmp_path):
  train_kill_and_resume(
    tmp_path,
    'dopamine/agents/rainbow/configs/rainbow.gin',
    'RainbowAgent',
    'Seaquest',
    steps=600,
  )


@pytest.mark.slow
@pytest.mark.parametrize('game', ['Pong', 'Seaquest'])
@pytest.mark.parametrize(('gin_file', 'cls'), family())
def test_every_agent_is_killed_and_resumes(gin_file, cls, game, tmp_path):
  train_kill_and_resume(tmp_path, gin_file, cls, game, steps=2000)


@pytest.mark.slow
def test_dqn_balances_the_pole(tmp_path):
  """Three seeds; `docs/results/dqn_cartpole.py` has the curves of more."""
  returns = []
  for seed in (1, 2, 3):
    commands.train(
      tmp_path / str(seed),
      gin_file='dopamine/agents/dqn/configs/dqn_cartpole.gin',
      bindings=['Runner.num_iterations = 30'],
      arguments=[f'--seed={seed}'],
    )
    with open(tmp_path / str(seed) / 'logs' / 'log_29', 'rb') as file:
      logs = pickle.load(file)
    returns += [s['eval_average_return'][0] for s in logs.values()]
  assert len(returns) == 90
  # Over ten seeds a run averages 140 with a deviation of 27; acting at random
  # reaches 22, and a policy that always takes one action 9.
  assert np.mean(returns) > 95
