"""What `import dopamine` loads, and what works without `dopamine.compat`."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.no_backend

DQN = 'dopamine/agents/dqn/configs/dqn.gin'
CARTPOLE = 'dopamine/jax/agents/dqn/configs/dqn_cartpole.gin'

WITHOUT_COMPAT = """
import sys

class Without:
  def find_spec(self, name, path=None, target=None):
    if name.startswith('dopamine.compat'):
      raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Without())
"""


def python(code, *arguments, **variables):
  return subprocess.run(
    [sys.executable, '-c', code, *map(str, arguments)],
    env=os.environ | {'KERAS_BACKEND': 'jax'} | variables,
    capture_output=True,
    text=True,
    check=False,
  )


def train_without_compat(*arguments):
  code = WITHOUT_COMPAT + (
    'import runpy\nfrom dopamine import signals\n'
    'runpy.run_module("dopamine.discrete_domains.train", run_name="__main__")'
  )
  return python(code, *arguments)


def words(code, **variables):
  result = python(code, **variables)
  assert result.returncode == 0, result.stderr
  return result.stdout.split()


def test_the_package_loads_a_finder():
  code = """
import sys
import dopamine
print(*[m for m in sys.modules if m.split('.')[0] in ('dopamine', 'gin')])
"""
  assert sorted(words(code)) == ['dopamine', 'dopamine.seams']


@pytest.mark.parametrize(
  'first',
  [
    'import gin.tf',
    'import gin.tf.utils, gin.tf.external_configurables',
    # Files name what they do not import.
    'import dopamine.agents.dqn.dqn_agent',
    'import dopamine.losses',
    'from dopamine import optimizers',
    'import dopamine.replay_memory.windows',
  ],
)
def test_gin_knows_the_names_of_gin_tf(first):
  code = f"""
import dopamine
{first}
import gin
gin.parse_config('''
tf.train.RMSPropOptimizer.decay = 0.5
tf.keras.optimizers.Adam.beta_1 = 0.25
a = @tf.nn.relu
b = %tf.uint8
''')
print(gin.query_parameter('tf.train.RMSPropOptimizer.decay'),
      gin.query_parameter('Adam.beta_1'), gin.tf.__name__)
"""
  assert words(code) == ['0.5', '0.25', 'gin.tf']


def test_a_module_below_is_enough_to_parse_a_published_file():
  code = f"""
import dopamine.agents.dqn.dqn_agent
import gin
gin.parse_config_file('{DQN}')
print(gin.query_parameter('tf.train.RMSPropOptimizer.decay'))
print(gin.query_parameter('WrappedReplayBuffer.batch_size'))
"""
  assert words(code) == ['0.95', '32']


def test_a_gin_tf_that_is_there_already_stays():
  code = """
import sys, types
sys.modules['gin.tf'] = types.ModuleType('gin.tf')
import dopamine.losses
import gin
gin.parse_config('tf.train.AdamOptimizer.beta1 = 1', skip_unknown=True)
print(gin.config._CONFIG)
"""
  assert words(code) == ['{}']


def test_a_module_below_has_gin_read_utf8(tmp_path):
  path = tmp_path / 'a.gin'
  path.write_bytes('word = "Käse"\n'.encode())
  code = f"""
import dopamine.losses
import gin
gin.parse_config_file({str(path)!r})
print(ascii(gin.query_parameter('%word')))
"""
  environment = {'LC_ALL': 'C', 'PYTHONCOERCECLOCALE': '0', 'PYTHONUTF8': '0'}
  assert words(code, **environment) == [ascii('Käse')]


def test_a_module_below_settles_jax_where_it_is_alone():
  code = """
import importlib.util, os
find = importlib.util.find_spec
importlib.util.find_spec = lambda n: None if n == 'tensorflow' else find(n)
import dopamine
print('KERAS_BACKEND' in os.environ and os.environ['KERAS_BACKEND'])
import dopamine.shapes
print(os.environ['KERAS_BACKEND'])
"""
  assert words(code, KERAS_BACKEND='') == ['jax']


def test_what_no_file_has_named_is_there_after_it_was_parsed():
  code = f"""
import gin
from dopamine.discrete_domains import run_experiment
run_experiment.load_gin_configs(['{DQN}'], [])
from dopamine.agents.implicit_quantile import implicit_quantile_agent
from dopamine.discrete_domains import gym_lib, legacy_networks
with gin.unlock_config():
  gin.bind_parameter('ImplicitQuantileAgent.kappa', 0.5)
print(gin.query_parameter('ImplicitQuantileAgent.kappa'))
print(gin.config_is_locked())
"""
  assert words(code, KERAS_BACKEND='') == ['0.5', 'True']


@pytest.mark.parametrize(
  'binding, value',
  [
    ('RainbowAgent.vmax = 3', '3'),
    (
      'DQNAgent.stack_size = %gym_lib.CARTPOLE_STACK_SIZE',
      '%gym_lib.CARTPOLE_STACK_SIZE',
    ),
    ('OutOfGraphPrioritizedReplayBuffer.batch_size = 8', '8'),
  ],
)
def test_names_need_no_import(binding, value):
  code = f"""
import gin
from dopamine.discrete_domains import run_experiment
run_experiment.load_gin_configs([], [{binding!r}])
name = {binding!r}.split(' ')[0]
print(gin.query_parameter(name))
"""
  assert words(code) == [value]


# What a process that trains loads: the share of the package's lines.
MAX_LOADED = 0.69


def test_a_run_loads_a_part_of_the_package(tmp_path):
  code = f"""
import pathlib, sys
from dopamine.discrete_domains import run_experiment
run_experiment.load_gin_configs(['{DQN}'], [
  'Runner.num_iterations = 1',
  'Runner.training_steps = 20',
  'Runner.evaluation_steps = 5',
  'Runner.max_steps_per_episode = 10',
  'WrappedReplayBuffer.replay_capacity = 1000',
  'WrappedReplayBuffer.batch_size = 4',
  'DQNAgent.min_replay_history = 8',
])
with run_experiment.create_runner({str(tmp_path)!r}) as runner:
  runner.run_experiment()
root = pathlib.Path(sys.modules['dopamine'].__file__).parent
print()
for path in root.rglob('*.py'):
  module = '.'.join(path.relative_to(root.parent).with_suffix('').parts)
  is_loaded = module.removesuffix('.__init__') in sys.modules
  print('LINES', len(path.read_text().splitlines()), int(is_loaded), module)
"""
  result = python(code, KERAS_BACKEND='tensorflow')
  assert result.returncode == 0, result.stderr
  lines = [x.split() for x in result.stdout.splitlines() if 'LINES ' in x]
  total = sum(int(count) for _, count, _, _ in lines)
  loaded = {name: int(n) for _, n, is_loaded, name in lines if is_loaded == '1'}
  assert 'dopamine.agents.dqn.dqn_agent' in loaded
  share = sum(loaded.values()) / total
  assert share <= MAX_LOADED, f'{share:.3f}: {loaded}'


# Without compat ---------------------------------------------------------------


def test_a_file_that_names_nothing_old_trains_without_compat(tmp_path):
  result = train_without_compat(
    f'--base_dir={tmp_path}',
    f'--gin_files={CARTPOLE}',
    '--gin_bindings=Runner.num_iterations = 1',
    '--gin_bindings=Runner.training_steps = 30',
    '--gin_bindings=JaxDQNAgent.min_replay_history = 10',
    '--gin_bindings=OutOfGraphReplayBuffer.batch_size = 4',
  )
  assert result.returncode == 0, result.stderr[-3000:]
  assert (tmp_path / 'checkpoints' / 'sentinel_checkpoint_complete.0').exists()


def test_a_file_of_gin_tf_says_what_it_needs(tmp_path):
  result = train_without_compat(f'--base_dir={tmp_path}', f'--gin_files={DQN}')
  assert result.returncode == 1
  assert 'Traceback' not in result.stderr
  error = result.stderr.partition('\nError: ')[2]
  assert 'is served by dopamine.compat, which is not here' in error
  assert len(error.strip().split('\n\n')) == 1, error


def test_an_agent_trains_saves_and_goes_on_without_compat(tmp_path):
  code = WITHOUT_COMPAT + (
    f"""
import numpy as np
from dopamine import networks, optimizers
from dopamine.agents.dqn import dqn_agent
import gin
gin.parse_config('''
WrappedReplayBuffer.replay_capacity = 100
WrappedReplayBuffer.batch_size = 4
''')
agent = dqn_agent.DQNAgent(
  num_actions=2, observation_shape=(4,), observation_dtype=np.float64,
  stack_size=1, network=networks.CartpoleDQNNetwork, seed=1,
  optimizer=optimizers.rmsprop, min_replay_history=10)
before = agent.online_convnet.get_weights()
agent.remember_settings()
for is_terminal in (True, False, True):
  agent.begin_episode(np.ones(4))
  for t in range(9):
    agent.step(1.0, np.full(4, t))
  agent.end_episode(1.0, is_terminal, observation=np.zeros(4))
print(sum((a != b).any() for a, b in
          zip(before, agent.online_convnet.get_weights())))
bundle = agent.bundle_and_checkpoint({str(tmp_path)!r}, 0)
print(agent.unbundle({str(tmp_path)!r}, 0, bundle))
agent.load_weights({str(tmp_path / 'weights_ckpt.0.npz')!r})
print([m for m in sys.modules if m.startswith('dopamine.compat')])
"""
  )
  assert words(code) == ['6', 'True', '[]']


def test_other_finders_and_reloads_do_not_matter():
  code = """
import importlib, sys
import dopamine
importlib.reload(dopamine)
for name in [m for m in sys.modules if m.split('.')[0] == 'dopamine']:
  del sys.modules[name]
import dopamine

class Legacy:
  def find_module(self, name, path=None):
    return None

sys.meta_path.insert(0, Legacy())
import gin
from dopamine.discrete_domains import run_experiment
gin.parse_config_files_and_bindings([], [])
assert gin.config_is_locked()
from dopamine import losses
from dopamine.replay_memory import prioritized_replay_buffer
print(gin.tf.external_configurables.__name__)
"""
  assert words(code) == ['gin.tf.external_configurables']


def test_without_a_file_all_agents_may_be_bound():
  code = """
import gin
from dopamine.discrete_domains import run_experiment
run_experiment.load_gin_configs([], [])
with gin.unlock_config():
  gin.bind_parameter('RainbowAgent.num_atoms', 11)
print(gin.query_parameter('RainbowAgent.num_atoms'))
"""
  assert words(code) == ['11']
