"""Tests of `dopamine.backend`, each in a process of its own."""

import os
import subprocess
import sys

import pytest


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


def test_without_jax_the_error_names_the_extra():
  code = (
    'import importlib.util as u; find = u.find_spec\n'
    'u.find_spec = lambda name, *a: None if name == "jax" else find(name, *a)\n'
    'import dopamine.jax'
  )
  result = run(code)
  assert "pip install 'dopamine-rl[jax]'" in result.stderr


def test_a_variable_set_after_keras_was_loaded_is_refused_and_left_as_it_is():
  code = """
import os
import tensorflow
os.environ['KERAS_BACKEND'] = 'jax'
from dopamine import backend
from dopamine.agents.dqn import dqn_agent
for late in (
  lambda: backend.choose(["create_agent.agent_name = 'jax_dqn'"]),
  lambda: backend.require('jax', 'dopamine.jax'),
  lambda: backend.require('tensorflow', 'this'),
  lambda: dqn_agent.DQNAgent(num_actions=2),
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
