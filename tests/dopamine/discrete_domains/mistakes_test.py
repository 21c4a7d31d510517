"""Mistakes made on purpose at the command line, and what they are told.

All but the last few run in this process: starting one takes seconds. Each must
end in one paragraph that names the value and the way out, before any training.
"""

import json
import os
import pathlib
import signal
import subprocess
import time

import keras
import pytest

from dopamine import backend
from dopamine.discrete_domains import train
from tests.support import commands

CARTPOLE = 'dopamine/agents/dqn/configs/dqn_cartpole.gin'
ATARI = 'dopamine/agents/dqn/configs/dqn.gin'
RAINBOW = 'dopamine/agents/rainbow/configs/rainbow_cartpole.gin'
# One iteration of an episode or two, and one more.
ONE = (
  'Runner.training_steps = 20',
  'Runner.evaluation_steps = 0',
  'Runner.num_iterations = 1',
)
TWO = (*ONE, 'Runner.num_iterations = 2')
OTHER_BACKEND = {'tensorflow': 'jax', 'jax': 'tensorflow'}
pytestmark = pytest.mark.usefixtures('at_the_root')


def run(base_dir, *bindings, gin_files=(CARTPOLE,), seed=1):
  """Runs `train` as its command line does; returns what it ends with."""
  arguments = [f'--base_dir={base_dir}', f'--seed={seed}']
  arguments += [f'--gin_files={file}' for file in gin_files]
  arguments += [f'--gin_bindings={binding}' for binding in bindings]
  commands.set_flags(*arguments)
  with pytest.raises(SystemExit) as end:
    train.main([])
  return str(end.value.code)


# What is bound, and words that the answer must have.
MISTAKES = [
  # Names.
  ('DQNAgent.gama = 0.9', ["parameter named 'gama'", "'gamma'"]),
  ('DQNAgnt.gamma = 0.9', ["No configurable matching 'DQNAgnt'", "'DQNAgent'"]),
  (
    'RainbowAgent.num_atom = 51',  # gin lets it through: **kwargs.
    ["RainbowAgent doesn't have a parameter named 'num_atom'", "'num_atoms'"],
  ),
  (
    'DQNAgent.network = @gym_lib.CartPoleDQNNetwork',
    ["'@gym_lib.CartPoleDQNNetwork'", "did you mean 'CartpoleDQNNetwork'?"],
  ),
  (
    'DQNAgent.stack_size = %gym_lib.CARTPOLE_STACKSIZE',
    ['neither a macro nor a constant', "'gym_lib.CARTPOLE_STACK_SIZE'"],
  ),
  (
    'create_gym_environment.environment_name = Acrobot',
    ['cannot read the value Acrobot', "quotes, 'Acrobot'"],
  ),
  ('DQNAgent.network = @CartpoleDQNNetwork(', ["Expected ')'"]),
  (
    'DQNAgent.optimizer = @tf.train.RMSPropOptimizer()',
    ['RMSPropOptimizer() missing', "'learning_rate'"],
  ),
  ('DQNAgent.double_dqn = true', ['in gin it is written True']),
  ("create_agent.agent_name = 'dqm'", ["dqm (did you mean 'dqn'?)"]),
  (
    "create_runner.schedule = 'train'",
    ['Unknown schedule: train', 'continuous_train_and_eval'],
  ),
  ('DQNAgent.gamma = ', ['DQNAgent.gamma']),
  (
    "create_gym_environment.environment_name = 'CartPol'",
    ["'CartPol-v0'", 'CartPole-v0'],
  ),
  (
    'import no_such_module',
    ["'no_such_module'", 'line 1\n    import no_such_module', 'PYTHONPATH'],
  ),
  ('from dopamine import nothing_here', ["'dopamine.nothing_here'"]),
  ("include 'dqn_cartpol.gin'", ["'dqn_cartpol.gin'", 'dqn_cartpole.gin']),
  ('DQNAgent.gamma = {[]: 1}', ["unhashable type: 'list'"]),
  (
    'WrappedReplayBuffer.nope = 5',
    ['OutOfGraphReplayBuffer.__init__() got an'],
  ),
  # Numbers.
  ('DQNAgent.gamma = 1.5', ['DQNAgent.gamma = 1.5', 'between 0 and 1']),
  ("DQNAgent.gamma = '0.9'", ["DQNAgent.gamma = '0.9'", 'between 0 and 1']),
  ('DQNAgent.update_period = 0', ['DQNAgent.update_period = 0', 'at least 1']),
  ('DQNAgent.target_update_period = -5', ['target_update_period = -5']),
  ('DQNAgent.epsilon_train = 10', ['DQNAgent.epsilon_train = 10']),
  ('DQNAgent.stack_size = 0', ['DQNAgent.stack_size = 0']),
  ('DQNAgent.update_horizon = 1.5', ['DQNAgent.update_horizon = 1.5']),
  ('DQNAgent.min_replay_history = -1', ['min_replay_history = -1']),
  ("DQNAgent.double_dqn = 'no'", ["double_dqn = 'no'", 'True or False']),
  ('WrappedReplayBuffer.batch_size = 0', ['batch_size = 0', 'at least 1']),
  ('Runner.training_steps = -1', ['Runner.training_steps = -1']),
  ('Runner.max_steps_per_episode = 0', ['max_steps_per_episode = 0']),
  ('Runner.num_iterations = 2.5', ['Runner.num_iterations = 2.5']),
  ("tf.train.AdamOptimizer.learning_rate = 'x'", ["learning_rate = 'x'"]),
  ('tf.train.AdamOptimizer.epsilon = -1', ['epsilon = -1', 'at least 0']),
  ('tf.train.AdamOptimizer.beta1 = 1.0', ['beta1 = 1.0', 'less than 1']),
  ("Runner.checkpoint_file_prefix = '/etc/x'", ["prefix = '/etc/x'"]),
  ("Runner.logging_file_prefix = 'a/b'", ["prefix = 'a/b'"]),
  ("Runner.checkpoint_file_prefix = 'weights_ckpt'", ["'weights_ckpt'"]),
  ("create_agent.debug_mode = 'yes'", ["debug_mode = 'yes'", 'True or']),
  ("create_gym_environment.flatten = 'no'", ["flatten = 'no'", 'True or']),
  (
    "create_gym_environment.environment_name = 'nomodule:Foo-v0'",
    ['nomodule:Foo-v0 needs what is not installed'],
  ),
  (
    'BasicDiscreteDomainNetwork.activation_fn = @dqn_agent.identity_epsilon',
    ['BasicDiscreteDomainNetwork.activation_fn = ', 'function of one array'],
  ),
  ("DQNAgent.tf_device = '/gpux'", ["tf_device='/gpux'", '/gpu:0']),
  # Sizes.
  (
    'WrappedReplayBuffer.replay_capacity = 1000000000000',
    ['replay_capacity=1000000000000', 'GB', 'WrappedReplayBuffer'],
  ),
  (
    'WrappedReplayBuffer.replay_capacity = 1',
    ['Update horizon (1)', 'replay capacity (1)'],
  ),
  # Shapes and types.
  (
    'DQNAgent.observation_shape = (3, 1)',
    ['states of 3 numbers', '4 of min_vals and max_vals', 'observation_shape'],
  ),
  ('DQNAgent.observation_shape = 4', ['observation_shape = 4', 'a tuple']),
  (
    'DQNAgent.observation_shape = (8, 1)',
    ['observation_shape is (8, 1)', 'observation of shape (4,)'],
  ),
  (
    "DQNAgent.observation_dtype = 'uint8'",
    ['observation_dtype = uint8', 'an observation of float32'],
  ),
  ("DQNAgent.observation_dtype = 'pixel'", ["= 'pixel'", 'NumPy dtype']),
  ('DQNAgent.network = @gym_lib.CartpoleRainbowNetwork', ['num_atoms']),
  ("DQNAgent.network = 'CartpoleDQNNetwork'", ['in gin @name']),
  ('DQNAgent.optimizer = 0.001', ['optimizer=0.001', 'neither an optimizer']),
  ("DQNAgent.replay_scheme = 'priority'", ['priority', "'prioritized'"]),
  ('Runner.create_environment_fn = 3', ['create_environment_fn = 3']),
]


@pytest.mark.parametrize(('binding', 'words'), MISTAKES)
def test_a_mistake_is_explained(binding, words, tmp_path):
  message = run(tmp_path / 'run', binding)
  assert message.startswith('\nError: ')
  for word in words:
    assert word in message, message
  assert 'Traceback' not in message and '\n\n' not in message.strip()
  assert not list(tmp_path.glob('run/checkpoints/*'))
  assert not list(tmp_path.glob('run/logs/*'))


@pytest.mark.parametrize(
  ('gin_file', 'binding', 'words'),
  [
    ('nowhere/dqn.gin', '', ['nowhere/dqn.gin', str(commands.ROOT)]),
    (
      ATARI,
      "create_atari_environment.game_name = 'Pnog'",
      ["'Pnog'", 'Pong', 'game_names()'],
    ),
    (ATARI, 'AtariPreprocessing.frame_skip = 0', ['Frame skip', 'got 0']),
    (RAINBOW, 'RainbowAgent.vmin = 20', ['RainbowAgent.vmin = 20', 'vmax']),
    (RAINBOW, 'RainbowAgent.num_atoms = 1', ['num_atoms = 1', 'at least 2']),
    (RAINBOW, 'RainbowAgent.vmax = 1e300', ['vmax = 1e+300', 'number']),
    (
      ATARI,
      "create_atari_environment.sticky_actions = 'no'",
      ["sticky_actions = 'no'", 'True or False'],
    ),
    (
      ATARI,
      "AtariPreprocessing.terminal_on_life_loss = 'no'",
      ["terminal_on_life_loss = 'no'", 'True or False'],
    ),
  ],
)
def test_a_mistake_in_another_file_is_explained(
  gin_file, binding, words, tmp_path
):
  message = run(tmp_path, *filter(None, [binding]), gin_files=[gin_file])
  assert message.startswith('\nError: ')
  for word in words:
    assert word in message, message


@pytest.mark.no_backend
def test_no_gin_file(tmp_path):
  commands.set_flags(f'--base_dir={tmp_path}')
  with pytest.raises(SystemExit, match='no gin file .* --gin_files='):
    train.main([])


@pytest.mark.no_backend
def test_a_base_dir_that_cannot_be_used(tmp_path):
  (tmp_path / 'file').write_text('notes')
  assert 'is a file' in run(tmp_path / 'file')
  assert 'cannot be written' in run('/proc/run')
  (tmp_path / 'thesis').mkdir()
  message = run(tmp_path)
  assert 'holds something else than a run: thesis' in message
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run' / 'checkpoints').write_text('')
  assert 'checkpoints is a file' in run(tmp_path / 'run')
  # Notes beside a run are none of our business.
  (tmp_path / 'new').mkdir()
  (tmp_path / 'new' / 'out.txt').write_text('notes')
  assert 'gamma' in run(tmp_path / 'new', 'DQNAgent.gamma = 2')


@pytest.mark.no_backend
def test_an_address_is_no_base_dir(tmp_path, monkeypatch):
  assert 'is an address' in run('gs://bucket/run')
  assert not pathlib.Path('gs:').exists()
  monkeypatch.setenv('HOME', str(tmp_path))
  assert 'gamma' in run('~/run', 'DQNAgent.gamma = 2')
  assert (tmp_path / 'run' / 'seed.json').exists()
  assert not pathlib.Path('~').exists()


@pytest.mark.no_backend
def test_gin_files_that_cannot_be_read(tmp_path):
  def answer(name):
    return run(tmp_path / 'run', gin_files=[str(tmp_path / name)])

  (tmp_path / 'latin.gin').write_bytes('# f\xfcr\n'.encode('latin-1'))
  assert 'latin.gin is not UTF-8' in answer('latin.gin')
  # A byte-order mark is no mistake; what follows it is read.
  (tmp_path / 'mark.gin').write_bytes(b'\xef\xbb\xbfDQNAgent.gama = 1\n')
  assert "parameter named 'gama'" in answer('mark.gin')
  ours = "did you mean 'dopamine/agents/dqn/configs/dqn_cartpole.gin'?"
  for name in ('dqn_cartpole.gin', 'configs/dqn_cartpol.gin'):
    message = answer(name)
    assert 'There is no gin file' in message and ours in message
  assert 'did you mean' not in answer('zzz')
  for name, other in (('a.gin', 'b.gin'), ('b.gin', 'a.gin')):
    (tmp_path / name).write_text(f"include '{tmp_path / other}'\n")
  message = answer('a.gin')
  assert 'a.gin includes itself, by ' in message and 'b.gin' in message


@pytest.mark.no_backend
def test_a_checkpoint_that_the_agent_does_not_take_is_not_overwritten(tmp_path):
  run_to_its_end(tmp_path, *ONE)
  weights = tmp_path / 'checkpoints' / 'weights_ckpt.0.npz'
  before = weights.read_bytes()
  message = run(tmp_path, *TWO, "DQNAgent.replay_scheme = 'prioritized'")
  assert (
    'whose replay_scheme is uniform, and this one is prioritized' in message
  )
  message = run(
    tmp_path,
    *TWO,
    "DQNAgent.replay_scheme = 'prioritized'",
    'Runner.allow_changes = True',
  )
  assert 'was saved by another kind of replay memory' in message
  (tmp_path / 'checkpoints' / 'replay_ckpt.0.npz').rename(tmp_path / 'aside')
  message = run(tmp_path, *TWO)
  assert 'replay_ckpt.0.npz is missing' in message
  assert 'allow_partial_reload = True' in message
  assert weights.read_bytes() == before
  run_to_its_end(tmp_path, *TWO, 'DQNAgent.allow_partial_reload = True')
  assert (tmp_path / 'checkpoints' / 'weights_ckpt.1.npz').exists()


@pytest.mark.no_backend
def test_a_full_disk_is_told_and_loses_nothing(tmp_path, monkeypatch):
  def full(*args):
    raise OSError(28, 'No space left on device')

  run_to_its_end(tmp_path, *ONE)
  with monkeypatch.context() as patch:
    patch.setattr(os, 'fsync', full)
    message = run(tmp_path, *TWO)
  assert 'iteration 1 could not be saved: [Errno 28] No space left' in message
  run_to_its_end(tmp_path, *TWO)
  assert (tmp_path / 'checkpoints' / 'weights_ckpt.1.npz').exists()


@pytest.mark.no_backend
def test_a_base_dir_of_another_run(tmp_path):
  run_to_its_end(tmp_path, *ONE)
  before = sorted(path.name for path in tmp_path.rglob('*'))
  message = run(tmp_path, *TWO, "create_agent.agent_name = 'quantile'")
  assert 'whose agent is DQNAgent, and this one is QuantileAgent' in message
  message = run(tmp_path, *TWO, "create_gym_environment.version = 'v1'")
  assert 'environment is CartPole-v0, and this one is CartPole-v1' in message
  message = run(tmp_path, *TWO, 'WrappedReplayBuffer.replay_capacity = 20000')
  assert '(20000, 4, 1)' in message and '(50000, 4, 1)' in message
  message = run(tmp_path, *TWO, seed=2)
  assert 'a run whose seed is 1, and this one is 2: give another' in message
  assert json.loads((tmp_path / 'seed.json').read_text()) == 1
  assert sorted(path.name for path in tmp_path.rglob('*')) == before
  run_to_its_end(tmp_path, *TWO)


def run_to_its_end(base_dir, *bindings):
  arguments = [f'--base_dir={base_dir}', '--seed=1', f'--gin_files={CARTPOLE}']
  arguments += [f'--gin_bindings={binding}' for binding in bindings]
  commands.set_flags(*arguments)
  train.main([])


def test_a_jax_file_without_jax_or_on_tensorflow(tmp_path, monkeypatch):
  gin_file = 'dopamine/jax/agents/dqn/configs/dqn_cartpole.gin'
  if keras.config.backend() == 'tensorflow':
    assert 'KERAS_BACKEND=jax' in run(tmp_path, gin_files=[gin_file])
  else:
    monkeypatch.setattr(backend, '_installed', lambda name: name != 'jax')
    with pytest.raises(ImportError, match=r"pip install -e '.*\[jax\]'"):
      backend.require('jax', 'dopamine.jax')


def test_numbers_that_are_none_stop_the_run_and_lose_nothing(tmp_path):
  """Through the command line: a learning rate that makes the loss NaN."""
  bindings = (
    'Runner.training_steps = 600',
    'Runner.evaluation_steps = 0',
    'Runner.num_iterations = 1',
  )
  run_to_its_end(tmp_path, *bindings)
  first = (tmp_path / 'checkpoints' / 'weights_ckpt.0.npz').read_bytes()
  message = run(
    tmp_path,
    *bindings,
    'Runner.num_iterations = 3',
    'tf.train.AdamOptimizer.learning_rate = 1e30',
  )
  assert 'the loss was ' in message and 'agent step ' in message
  names = [path.name for path in (tmp_path / 'checkpoints').iterdir()]
  assert 'sentinel_checkpoint_complete.0' in names
  assert not [name for name in names if name.endswith('.1')]
  assert (tmp_path / 'checkpoints/weights_ckpt.0.npz').read_bytes() == first


# As a process ----------------------------------------------------------------


@pytest.mark.no_backend
def test_the_process_ends_with_one_paragraph(tmp_path):
  result = commands.train(
    tmp_path, CARTPOLE, ['DQNAgent.gama = 0.9'], check=False
  )
  assert result.returncode == 1
  assert (
    "Error: Configurable 'DQNAgent' doesn't have a parameter named 'gama'"
    in (result.stderr)
  )
  assert 'Traceback' not in result.stderr


@pytest.mark.no_backend
def test_an_error_in_the_users_code_keeps_its_traceback(tmp_path):
  (tmp_path / 'mine.py').write_text(
    'import gin\n@gin.configurable\n'
    'def broken(num_actions, name=None):\n  raise ValueError("my own")\n'
  )
  bindings = ['import mine\nDQNAgent.network = @broken']
  paths = f'{commands.ROOT}{os.pathsep}{tmp_path}'
  result = subprocess.run(
    commands.train_command(tmp_path / 'run', CARTPOLE, bindings),
    env=commands.environment(PYTHONPATH=paths),
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 1
  assert 'Traceback' in result.stderr and 'mine.py", line 4' in result.stderr


@pytest.mark.parametrize(
  'number',
  [pytest.param(signal.SIGINT, marks=pytest.mark.no_backend), signal.SIGTERM],
)
def test_a_signal_ends_with_a_checkpoint(tmp_path, number):
  bindings = ['Runner.evaluation_steps = 0']
  process = subprocess.Popen(
    commands.train_command(tmp_path, CARTPOLE, bindings),
    env=commands.environment(),
    cwd=commands.ROOT,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
    # Where the tests themselves run in the background, it is ignored.
    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
  )
  done = tmp_path / 'checkpoints' / 'sentinel_checkpoint_complete.0'
  while not done.exists():
    assert process.poll() is None
    time.sleep(0.05)
  assert f'in use by process {process.pid} on ' in run(tmp_path)
  process.send_signal(number)
  _, stderr = process.communicate(timeout=300)
  assert process.returncode == train.STOPPED == 75
  assert 'The checkpoint is complete: the same command goes on' in stderr
  assert 'Traceback' not in stderr
  assert json.loads((tmp_path / 'seed.json').read_text()) >= 0
