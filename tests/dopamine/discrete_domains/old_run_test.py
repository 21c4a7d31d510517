"""Runs of Dopamine 3: a `base_dir` goes on, and weights are evaluated."""

import gzip
import os
import pickle
import re

from absl import flags
import gin
import numpy as np
from numpy.testing import assert_array_equal
import pytest

from dopamine.discrete_domains import evaluate
from dopamine.discrete_domains import run_experiment
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import prioritized_replay_buffer
from dopamine.replay_memory import sum_tree
from tests.support import commands
from tests.support import inside
from tests.support import old_files

pytestmark = pytest.mark.usefixtures('at_the_root')
CAPACITY, ADDED = 50, 64

# Agent of the run -> its gin file, kind of network, what gin sizes.
FILES = {
  'dqn': ('dqn/configs/dqn_cartpole.gin', 'cartpole'),
  'rainbow': ('rainbow/configs/rainbow_cartpole.gin', 'cartpole_rainbow'),
}


@pytest.fixture(autouse=True)
def vectors_and_atoms_of_cartpole(monkeypatch):
  monkeypatch.setattr(old_files, 'A', 2)
  monkeypatch.setattr(old_files, 'ATOMS', 51)
  monkeypatch.setattr(
    old_files, 'SUPPORT', np.linspace(-10.0, 10.0, 51, dtype=np.float32)
  )
  monkeypatch.setitem(
    old_files.LAYERS, 'cartpole', [(4, 512), (512, 512), (512, 2)]
  )
  monkeypatch.setitem(
    old_files.LAYERS, 'cartpole_rainbow', [(4, 512), (512, 512), (512, 102)]
  )


class OldSumTree:
  """Pickles as the `SumTree` of Dopamine 3 did: lists of numbers by level."""

  def __init__(self, leaves):
    levels = [np.zeros(64)]
    levels[0][: len(leaves)] = leaves
    while len(levels[0]) > 1:
      levels.insert(0, levels[0].reshape(-1, 2).sum(axis=1))
    self.nodes = [level.tolist() for level in levels]
    self.max_recorded_priority = float(max(leaves))


def pickled_tree(monkeypatch, leaves):
  OldSumTree.__module__, OldSumTree.__qualname__ = sum_tree.__name__, 'SumTree'
  with monkeypatch.context() as patch:
    patch.setattr(sum_tree, 'SumTree', OldSumTree)
    return pickle.dumps(OldSumTree(leaves))


def put(folder, name, content, number=1):
  with gzip.open(folder / f'{name}_ckpt.{number}.gz', 'wb') as file:
    if isinstance(content, bytes):
      file.write(content)
    else:
      np.save(file, content)


def write_replay(folder, number=1, seed=0):
  """A full memory of 50 slots, as of episodes of 10 steps; returns its arrays.

  The next slot is the 14th.
  """
  rng = np.random.default_rng(seed)
  terminal = np.zeros(CAPACITY, np.uint8)
  terminal[3::10] = 1
  arrays = {
    'observation': rng.normal(size=(CAPACITY, 4, 1)),
    'action': rng.integers(0, 2, CAPACITY).astype(np.int32),
    'reward': np.ones(CAPACITY, np.float32),
    'terminal': terminal,
  }
  for name, array in arrays.items():
    put(folder, f'$store$_{name}', array, number)
  put(folder, 'add_count', np.array(ADDED), number)
  cursor = ADDED % CAPACITY
  put(folder, 'invalid_range', np.array([cursor - 1, cursor]), number)
  return arrays


def write_run(base_dir, agent, monkeypatch):
  """The `base_dir` of a run of two iterations; returns what is in it."""
  checkpoints = base_dir / 'checkpoints'
  checkpoints.mkdir(parents=True)
  (base_dir / 'logs').mkdir()
  old = old_files.write_tf(checkpoints, 1, FILES[agent][1], 'keras', 'adam')
  old['replay'] = write_replay(checkpoints)
  old['priorities'] = np.random.default_rng(1).random(CAPACITY) + 0.1
  if agent == 'rainbow':
    tree = pickled_tree(monkeypatch, old['priorities'])
    put(checkpoints, 'sum_tree', tree)
  logs = {
    f'iteration_{i}': {
      'train_episode_lengths': [10, 20 + i],
      'train_episode_returns': [10.0, 20.0 + i],
      'train_average_return': [15.0 + i],
      'train_average_steps_per_second': [99.0],
      'eval_episode_lengths': [9],
      'eval_episode_returns': [9.0],
      'eval_average_return': [9.0],
    }
    for i in range(2)
  }
  bundle = {
    'state': np.arange(4.0).reshape(1, 4, 1, 1),
    'training_steps': 1234,
    'current_iteration': 1,
    'logs': logs,
  }
  (checkpoints / 'ckpt.1').write_bytes(pickle.dumps(bundle))
  (checkpoints / 'sentinel_checkpoint_complete.1').write_text('done')
  (checkpoints / 'checkpoint').write_text('model_checkpoint_path: "tf_ckpt-1"')
  for i in range(2):
    content = {f'iteration_{j}': logs[f'iteration_{j}'] for j in range(i + 1)}
    (base_dir / f'logs/log_{i}').write_bytes(pickle.dumps(content))
  old['logs'] = logs
  return old


def make_runner(base_dir, agent, *bindings):
  gin.clear_config()
  bindings = [
    'Runner.num_iterations = 4',
    'Runner.training_steps = 30',
    'Runner.evaluation_steps = 10',
    'Runner.max_steps_per_episode = 20',
    'Runner.seed = 3',
    f'OutOfGraphReplayBuffer.replay_capacity = {CAPACITY}',
    f'WrappedReplayBuffer.replay_capacity = {CAPACITY}',
    f'WrappedPrioritizedReplayBuffer.replay_capacity = {CAPACITY}',
    'OutOfGraphReplayBuffer.batch_size = 8',
    'WrappedReplayBuffer.batch_size = 8',
    'DQNAgent.min_replay_history = 20',
    'RainbowAgent.min_replay_history = 20',
    'RainbowAgent.update_horizon = 1',
    *bindings,
  ]
  path = str(commands.ROOT / 'dopamine/agents' / FILES[agent][0])
  run_experiment.load_gin_configs([path], bindings)
  return run_experiment.create_runner(str(base_dir))


@pytest.mark.parametrize('agent', FILES)
def test_a_base_dir_goes_on(tmp_path, agent, monkeypatch, capfd):
  old = write_run(tmp_path / 'run', agent, monkeypatch)
  runner = make_runner(tmp_path / 'run', agent)
  assert 'Continues:   iteration 2' in capfd.readouterr().out
  made = inside.agent(runner)
  assert made.training_steps == 1234
  assert_array_equal(made.state, np.arange(4.0).reshape(1, 4, 1, 1))
  names = old_files.layer_names(FILES[agent][1], 'keras', 'Online')
  weights = made.online_convnet.get_weights()
  for name, array in zip(sum(map(list, names), []), weights, strict=True):
    assert_array_equal(array, old['before'][name])
  memory = inside.memory(made)
  for name, array in old['replay'].items():
    assert_array_equal(inside.arrays(memory)[name], array)
  assert memory.add_count == ADDED
  if agent == 'rainbow':
    priorities = memory.get_priority(np.arange(CAPACITY, dtype=np.int32))
    assert_array_equal(priorities, old['priorities'].astype(np.float32))
  assert np.asarray(inside.learner(made).optimizer.iterations) == 3
  runner.run_experiment()
  with open(tmp_path / 'run/logs/log_3', 'rb') as file:
    logs = pickle.load(file)
  assert sorted(logs) == [f'iteration_{i}' for i in range(4)]
  assert {k: logs[k] for k in old['logs']} == old['logs']
  assert made.training_steps >= 1234 + 60
  # And once more, from what was written here.
  again = make_runner(tmp_path / 'run', agent, 'Runner.num_iterations = 5')
  assert inside.start_iteration(again) == 4
  for a, b in zip(
    inside.agent(again).online_convnet.get_weights(),
    made.online_convnet.get_weights(),
    strict=True,
  ):
    assert_array_equal(a, b)


def test_a_base_dir_of_a_jax_agent_goes_on(tmp_path, monkeypatch):
  write_run(tmp_path / 'run', 'dqn', monkeypatch)
  checkpoints = tmp_path / 'run/checkpoints'
  for path in checkpoints.glob('tf_ckpt*'):
    path.unlink()
  with open(checkpoints / 'ckpt.1', 'rb') as file:
    bundle = pickle.load(file)
  online, answer = old_files.flax_params('cartpole', 'linen', 1)
  target, _ = old_files.flax_params('cartpole', 'linen', 2)
  bundle |= {'online_params': online, 'target_params': target}
  bundle['state'] = bundle['state'][0]  # They have no batch axis.
  (checkpoints / 'ckpt.1').write_bytes(pickle.dumps(bundle))
  runner = make_runner(tmp_path / 'run', 'dqn')
  states = old_files.states('cartpole')
  found = inside.agent(runner).online_convnet(states).q_values
  np.testing.assert_allclose(found, answer, rtol=1e-5, atol=1e-6)
  runner.run_experiment()
  assert (checkpoints / 'weights_ckpt.3.npz').exists()


@pytest.mark.parametrize(
  'name, text',
  [
    ('$store$_reward_ckpt.1.gz', r'Missing files: \S*reward_ckpt.1.gz'),
    ('tf_ckpt-1.index', r'weights_ckpt.1.npz is missing'),
    ('tf_ckpt-1.data-00000-of-00001', 'tf_ckpt-1.* is damaged'),
    ('ckpt.1', 'record is missing'),
  ],
)
def test_what_is_missing_is_named(tmp_path, name, text, monkeypatch, caplog):
  write_run(tmp_path, 'dqn', monkeypatch)
  (tmp_path / 'checkpoints' / name).unlink()
  before = {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob('*')}
  with pytest.raises((OSError, ValueError)) as error:
    make_runner(tmp_path, 'dqn')
  assert re.search(text, f'{error.value} {caplog.text}')
  after = {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob('*')}
  assert {p: after[p] for p in before} == before


class Call:
  def __init__(self, path):
    self._path = path

  def __reduce__(self):
    return os.mkdir, (self._path,)


def test_a_malicious_pickle_in_place_of_a_file_runs_nothing(
  tmp_path, monkeypatch
):
  made = str(tmp_path / 'made')
  evil = pickle.dumps({'state': [Call(made)]})
  write_run(tmp_path / 'run', 'rainbow', monkeypatch)
  files = [p for p in (tmp_path / 'run').rglob('*') if p.is_file()]
  names = [p.name for p in files if 'sentinel' not in p.name]
  tried = 0
  for path in files:
    is_zipped = path.suffix == '.gz'
    if not (is_zipped or path.name in ('ckpt.1', 'log_1')):
      continue
    content = path.read_bytes()
    path.write_bytes(gzip.compress(evil) if is_zipped else evil)
    if path.name == 'log_1':
      from dopamine.colab import utils

      with pytest.raises(pickle.UnpicklingError, match='mkdir'):
        utils.load_statistics(str(path.parent), verbose=False)
    else:
      with pytest.raises((pickle.UnpicklingError, ValueError)) as error:
        make_runner(tmp_path / 'run', 'rainbow')
      assert path.name in str(error.value) or 'mkdir' in str(error.value)
    assert not os.path.exists(made)
    path.write_bytes(content)
    tried += 1
  assert tried == 9, names


# Evaluation -------------------------------------------------------------------


def test_old_weights_alone_are_evaluated(
  tmp_path, monkeypatch, capsys, evaluation_flags
):
  """Without sentinel, replay memory or `ckpt.N`; the newest of a folder."""
  folder = tmp_path / 'tf'
  folder.mkdir()
  for number in (9, 10):
    old_files.write_tf(folder, number, 'cartpole', 'slim', seed=number)
  params, _ = old_files.flax_params('cartpole', 'linen', 4)
  jax_file = tmp_path / 'ckpt.199'
  jax_file.write_bytes(pickle.dumps({'online_params': params}))
  returns = {}
  for checkpoint in (
    folder,
    folder / 'tf_ckpt-10',
    folder / 'tf_ckpt-9.index',
    jax_file,
    tmp_path,
  ):
    gin.clear_config()
    flags.FLAGS(
      [
        'evaluate',
        f'--checkpoint={checkpoint}',
        '--episodes=5',
        '--seed=1',
        f'--gin_files=dopamine/agents/{FILES["dqn"][0]}',
        '--gin_bindings=DQNAgent.epsilon_eval = 0.0',
      ]
    )
    evaluate.main([])
    *_, line, summary = capsys.readouterr().out.splitlines()
    assert summary.startswith('Mean return of 5 episodes')
    returns[checkpoint] = line
  assert returns[folder] == returns[folder / 'tf_ckpt-10']
  assert returns[jax_file] == returns[tmp_path]
  assert len(set(returns.values())) > 1


# Data sets --------------------------------------------------------------------


def test_a_data_set_loads_into_both_buffers(tmp_path):
  """As that of DQN: of 50 parts, each as large as the memory."""
  arrays = {i: write_replay(tmp_path, i, seed=i) for i in range(2)}
  for build in (
    circular_replay_buffer.OutOfGraphReplayBuffer,
    prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer,
  ):
    memory = build((4, 1), 1, CAPACITY, 8, observation_dtype=np.float64)
    for i, expected in arrays.items():
      memory.load(tmp_path, i)
      for name, array in expected.items():
        assert_array_equal(inside.arrays(memory)[name], array)
      state, *_, indices = memory.sample_transition_batch()[:8]
      assert_array_equal(state[..., 0], expected['observation'][indices])
