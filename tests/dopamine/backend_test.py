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
