"""Tests of `dopamine.backend`, each in a process of its own.

Which says itself what its backend is, so that ours does not matter.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

from dopamine import backend

pytestmark = pytest.mark.no_backend

needs_tensorflow = pytest.mark.skipif(
  importlib.util.find_spec('tensorflow') is None,
  reason='TensorFlow is not installed (make BACKEND=jax)',
)


def run(code, **environment):
  """Runs `code` in a fresh Python without KERAS_BACKEND, but `environment`."""
  clean = {k: v for k, v in os.environ.items() if k != 'KERAS_BACKEND'}
  return subprocess.run(
    [sys.executable, '-c', code],
    env=clean | environment,
    capture_output=True,
    text=True,
    check=False,
  )


def chosen(*texts, **environment):
  code = f'from dopamine import backend; print(backend.choose({texts!r}))'
  result = run(code, **environment)
  assert result.returncode == 0, result.stderr
  return result.stdout.strip()


@needs_tensorflow
@pytest.mark.parametrize(
  'texts,expected',
  [
    ([], 'tensorflow'),
    (["create_agent.agent_name = 'dqn'"], 'tensorflow'),
    (["create_agent.agent_name = 'dqn'", "agent_name='jax_dqn'"], 'jax'),
    (['import dopamine.jax.networks\n'], 'jax'),
    (['# import dopamine.jax.networks\n'], 'tensorflow'),
    (['JaxDQNAgent.gamma = 0.9'], 'jax'),
  ],
)
def test_the_gin_text_chooses(texts, expected):
  assert chosen(*texts) == expected


def test_the_variable_wins():
  assert chosen("agent_name = 'jax_dqn'", KERAS_BACKEND='tensorflow') == (
    'tensorflow'
  )
  assert chosen(KERAS_BACKEND='jax') == 'jax'


def test_another_backend_is_refused():
  result = run(
    'from dopamine import backend; backend.choose()', KERAS_BACKEND='torch'
  )
  assert 'KERAS_BACKEND=torch is none of ours: set it to' in result.stderr


def test_jax_agents_say_what_they_need_under_tensorflow():
  result = run('import dopamine.jax', KERAS_BACKEND='tensorflow')
  assert result.returncode != 0
  assert 'set KERAS_BACKEND=jax before Python starts' in result.stderr


def test_importing_dopamine_jax_chooses_jax():
  result = run(
    'import dopamine.jax, keras, sys;'
    'print(keras.config.backend(), "tensorflow" in sys.modules)'
  )
  assert result.stdout.split() == ['jax', 'False'], result.stderr


WITHOUT = """
import importlib.util as u, sys
find = u.find_spec
u.find_spec = lambda name, *a: None if name in {hidden} else find(name, *a)
sys.modules |= dict.fromkeys({hidden})
"""
ROOT = str(pathlib.Path(__file__).parents[2])
TRAIN = """
import runpy
sys.argv = ['train', '--base_dir={base_dir}', '--gin_files={gin_file}']
runpy.run_module('dopamine.discrete_domains.train', run_name='__main__')
"""


def train_without(hidden, tmp_path, gin_file, **environment):
  """What `train` says where packages are missing, in one paragraph."""
  code = WITHOUT.format(hidden=hidden) + TRAIN.format(
    base_dir=tmp_path / 'run', gin_file=gin_file
  )
  result = run(code, **environment)
  assert result.returncode == 1 and not (tmp_path / 'run').exists()
  assert result.stderr.startswith('\nError: ') and 'Trace' not in result.stderr
  return result.stderr


DQN = 'dopamine/agents/dqn/configs/dqn_cartpole.gin'
JAX_DQN = 'dopamine/jax/agents/dqn/configs/dqn_cartpole.gin'


def test_without_jax_the_error_names_the_extra(tmp_path):
  way_out = f"pip install -e '{ROOT}[jax]'"
  result = run(WITHOUT.format(hidden=['jax']) + 'import dopamine.jax')
  assert way_out in result.stderr
  message = train_without(['jax'], tmp_path, JAX_DQN)
  assert 'a jax_* agent' in message and way_out in message
  message = train_without(['jax'], tmp_path, DQN, KERAS_BACKEND='jax')
  assert 'KERAS_BACKEND=jax needs jax' in message and way_out in message


def test_without_tensorflow_the_error_says_what_to_do(tmp_path):
  message = train_without(
    ['tensorflow'], tmp_path, DQN, KERAS_BACKEND='tensorflow'
  )
  assert 'needs tensorflow' in message and f"install -e '{ROOT}'" in message
  message = train_without(['tensorflow', 'jax'], tmp_path, DQN)
  assert 'needs tensorflow' in message and 'KERAS_BACKEND=jax' in message


# Ends where Keras is about to be loaded, which takes two seconds.
AT_KERAS = """
import os
class Finder:
  def find_spec(self, name, path=None, target=None):
    if name == 'keras':
      print(os.environ['KERAS_BACKEND'], flush=True)
      os._exit(0)
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(
  'module', ['networks', 'losses', 'optimizers', 'learners', 'agents.dqn']
)
def test_without_tensorflow_every_module_loads_jax(module, tmp_path):
  code = f"""
import dopamine.{module}
import dopamine.agents.dqn.dqn_agent
print(sys.modules['keras'].config.backend())
"""
  is_whole = module == 'agents.dqn'
  before = WITHOUT.format(hidden=['tensorflow']) + AT_KERAS * (not is_whole)
  result = run(before + code, KERAS_HOME=str(tmp_path))
  assert result.stdout == 'jax\n', result.stderr


def test_without_jax_an_agent_says_what_to_do():
  code = WITHOUT.format(hidden=['jax']) + 'from dopamine.agents.dqn import *'
  result = run(code, KERAS_BACKEND='jax')
  assert f"pip install -e '{ROOT}[jax]'" in result.stderr


def test_where_tensorflow_has_no_build_the_error_says_so():
  code = """
from dopamine import backend
sys.version_info = (3, 14, 0)
backend.choose()
"""
  result = run(WITHOUT.format(hidden=['tensorflow', 'jax']) + code)
  assert 'no build for this Python: use Python 3.11 to 3.13' in result.stderr
  assert "[jax]'" in result.stderr


def test_an_installed_package_names_the_folder_of_its_sources(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(backend, '__file__', str(tmp_path / 'a' / 'backend.py'))
  assert backend.how_to_install('viz') == (
    "pip install '.[viz]' in the folder of Dopamine's sources"
  )


# GPUs -------------------------------------------------------------------------

AGENT = """
from dopamine import backend
backend.choose()
from dopamine.agents.dqn import dqn_agent
import numpy as np
for device in ({device!r}, {device!r}):
  dqn_agent.DQNAgent(
    num_actions=2, observation_shape=(4,), observation_dtype=np.float32,
    stack_size=1, network=dqn_agent.networks.CartpoleDQNNetwork,
    tf_device=device,
  )
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
  """A program in the place of the one that comes with NVIDIA's driver."""

  def install(code=0):
    path = tmp_path / 'nvidia-smi'
    path.write_text(f'#!/bin/sh\necho "GPU 0: NVIDIA H200"\nexit {code}\n')
    path.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')

  return install


@pytest.mark.parametrize(
  'name', [pytest.param('tensorflow', marks=needs_tensorflow), 'jax']
)
def test_a_gpu_that_is_left_idle_is_told_once(name, driver):
  if backend.has_gpu():
    pytest.skip('there is a GPU, which is not idle')
  driver()
  result = run(AGENT.format(device='/gpu:0'), KERAS_BACKEND=name)
  assert result.returncode == 0, result.stderr
  text = 'This machine has a GPU, but this run computes with ' + name
  assert result.stderr.count(text) == 1
  assert f"make setup GPU=1, or pip install -e '{ROOT}[cuda]'" in result.stderr
  # TensorFlow's own words on its libraries are not left out then.
  assert ('cuInit' in result.stderr) is (name == 'tensorflow')


@pytest.mark.parametrize(
  ('name', 'code', 'device', 'environment', 'is_told'),
  [
    ('tensorflow', 0, '/gpu:0', {}, True),
    ('tensorflow', 0, None, {}, True),
    ('tensorflow', 0, '/cpu:*', {}, False),
    ('tensorflow', 0, '/gpu:0', {'CUDA_VISIBLE_DEVICES': '-1'}, False),
    ('tensorflow', 9, '/gpu:0', {}, False),  # The driver is broken.
    ('jax', 0, '/gpu:0', {}, True),
    ('jax', 0, '/gpu:0', {'JAX_PLATFORMS': 'cpu'}, False),
    ('jax', 0, '/gpu:0', {'JAX_PLATFORM_NAME': 'cpu'}, False),
  ],
)
def test_a_cpu_that_was_asked_for_is_no_mistake(
  name, code, device, environment, is_told, driver, monkeypatch, caplog
):
  """In this process, which is told what its backend is."""
  import keras

  from dopamine.learners import devices

  monkeypatch.setattr(keras.config, 'backend', lambda: name)
  monkeypatch.setattr(devices, 'describe_device', lambda device: 'x on cpu')
  monkeypatch.setattr(backend, 'has_gpu', backend.has_gpu.__wrapped__)
  for variable in (
    'CUDA_VISIBLE_DEVICES',
    'JAX_PLATFORMS',
    'JAX_PLATFORM_NAME',
  ):
    monkeypatch.delenv(variable, raising=False)
  for variable, value in environment.items():
    monkeypatch.setenv(variable, value)
  driver(code)
  devices.warn_of_idle_gpu.__wrapped__(device)
  assert ('This machine has a GPU' in caplog.text) is is_told


@needs_tensorflow
def test_a_script_has_no_noise():
  if backend.has_gpu():
    pytest.skip('there is a GPU')
  code = AGENT.format(device='/cpu:*').replace('backend.choose()', '')
  result = run(code, KERAS_BACKEND='tensorflow')
  assert result.returncode == 0 and not result.stderr, result.stderr


@needs_tensorflow
def test_what_tensorflow_says_of_cuda_is_left_out_where_there_is_none():
  if backend.has_gpu():
    pytest.skip('there is a GPU')
  code = """
import os, sys
from dopamine import backend
backend.choose()
with backend.quiet():
  import tensorflow as tf
  tf.config.list_physical_devices()
  print('from Python', file=sys.stderr)
  os.write(2, b'E0000 00:00:1.5 1 port.cc:153] another error\\n')
  os.write(2, b'torn')
os.write(2, b' afterwards')
"""
  result = run(code, KERAS_BACKEND='tensorflow')
  assert result.stderr == (
    'from Python\nE0000 00:00:1.5 1 port.cc:153] another error\ntorn afterwards'
  )
  result = run(code, KERAS_BACKEND='tensorflow', TF_CPP_MIN_LOG_LEVEL='0')
  assert 'oneDNN' in result.stderr


@pytest.mark.parametrize(
  'before', ['os.close(2)', "sys.executable = 'nowhere'"]
)
def test_what_cannot_be_left_out_ends_nothing(before):
  code = f"""
import os, sys
from dopamine import backend
{before}
with backend.quiet():
  print('went on')
"""
  result = run(code)
  assert result.returncode == 0 and result.stdout == 'went on\n'


def test_what_a_dying_process_says_is_not_lost():
  code = """
import os
from dopamine import backend
with backend.quiet():
  os.write(2, b'F0000 00:00:1.5 1 platform.cc:9] no AVX on this machine\\n')
  os.abort()
"""
  result = run(code, KERAS_BACKEND='tensorflow')
  assert result.returncode != 0 and 'no AVX on this machine' in result.stderr


@needs_tensorflow
def test_a_variable_set_after_keras_was_loaded_is_refused_and_left_as_it_is():
  code = """
import os
import tensorflow
os.environ['KERAS_BACKEND'] = 'jax'
import importlib
from dopamine import backend
for late in (
  lambda: backend.choose(["create_agent.agent_name = 'jax_dqn'"]),
  lambda: backend.require('jax', 'dopamine.jax'),
  lambda: backend.require('tensorflow', 'this'),
  lambda: importlib.import_module('dopamine.agents.dqn.dqn_agent'),
):
  try:
    late()
  except RuntimeError as error:
    print(os.environ['KERAS_BACKEND'], str(error).splitlines()[0])
"""
  result = run(code, TF_CPP_MIN_LOG_LEVEL='3')
  assert result.returncode == 0, result.stderr
  lines = result.stdout.splitlines()
  assert len(lines) == 4
  for line in lines:
    assert line.startswith('jax KERAS_BACKEND=jax, but Keras was loaded with')
    assert 'loaded with tensorflow' in line
    assert 'set KERAS_BACKEND=jax before Python starts' in line


@needs_tensorflow
def test_a_second_experiment_that_wants_another_backend_is_told_so():
  code = """
from dopamine.discrete_domains import run_experiment
run_experiment.load_gin_configs([], [])
import gin
gin.clear_config()
run_experiment.load_gin_configs([], ['import dopamine.jax.networks'])
"""
  result = run(code)
  assert result.returncode != 0
  assert 'dopamine.jax needs the jax backend' in result.stderr
  assert 'set KERAS_BACKEND=jax before Python starts' in result.stderr


@needs_tensorflow
def test_an_empty_variable_is_none():
  assert chosen(KERAS_BACKEND='') == 'tensorflow'
  assert chosen("agent_name = 'jax_dqn'", KERAS_BACKEND='') == 'jax'


@pytest.mark.parametrize('name', ['JAX', 'jax ', 'torch'])
def test_a_name_that_is_nearly_a_backends_is_refused(name):
  result = run(
    'from dopamine import backend; backend.choose()', KERAS_BACKEND=name
  )
  assert f'KERAS_BACKEND={name} is none of ours: set it to' in result.stderr


def test_a_backend_that_keras_json_chose_is_named(tmp_path):
  (tmp_path / 'keras.json').write_text('{"backend": "numpy"}')
  code = 'import keras; from dopamine import backend; backend.choose()'
  result = run(code, KERAS_HOME=str(tmp_path))
  assert 'Keras was loaded with numpy, which is none of ours' in result.stderr
  assert "set KERAS_BACKEND to 'tensorflow' or 'jax'" in result.stderr
