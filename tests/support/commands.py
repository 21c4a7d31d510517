"""`train`, as a process and as its `main`."""

import os
import pathlib
import subprocess
import sys

import gin
import keras

from dopamine.discrete_domains import train as train_module

ROOT = pathlib.Path(__file__).parents[2]
DQN = 'dopamine/agents/dqn/configs/dqn.gin'


def train_command(base_dir, gin_file=DQN, bindings=(), arguments=()):
  """`python -m dopamine.discrete_domains.train`, as a list of words."""
  command = [sys.executable, '-um', 'dopamine.discrete_domains.train']
  command += [f'--base_dir={base_dir}', f'--gin_files={gin_file}']
  command += [f'--gin_bindings={binding}' for binding in bindings]
  return [*command, *arguments]


def environment(**variables):
  """Of a process with the backend of this one."""
  return os.environ | {'KERAS_BACKEND': keras.config.backend()} | variables


def run(*arguments):
  """Runs Python from the root, with the backend of this process."""
  return subprocess.run(
    [sys.executable, *arguments],
    env=environment(),
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )


def train(base_dir, gin_file=DQN, bindings=(), arguments=(), check=True):
  """Runs `train` as a user does."""
  result = run(*train_command(base_dir, gin_file, bindings, arguments)[1:])
  if check:
    assert result.returncode == 0, result.stderr[-3000:]
  return result


def set_flags(*arguments):
  """What `train.main` of this process reads, and nothing of gin's."""
  gin.clear_config()
  train_module.FLAGS.unparse_flags()
  for name in ('base_dir', 'runs_dir', 'gin_files', 'gin_bindings', 'seed'):
    train_module.FLAGS[name].unparse()
  train_module.FLAGS(['train', *arguments])
