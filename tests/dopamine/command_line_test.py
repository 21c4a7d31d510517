"""What the commands answer before they do anything."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.no_backend

TRAIN = 'dopamine.discrete_domains.train'
EVALUATE = 'dopamine.discrete_domains.evaluate'
EXPORT = 'dopamine.replay_memory.export'


def run(module, *arguments):
  return subprocess.run(
    [sys.executable, '-m', module, *arguments],
    capture_output=True,
    text=True,
    check=False,
  )


FLAGS = {
  TRAIN: ['base_dir', 'gin_files', 'gin_bindings', 'seed'],
  EVALUATE: [
    *('checkpoint', 'base_dir', 'episodes'),
    *('gin_files', 'gin_bindings', 'seed'),
  ],
  EXPORT: ['checkpoint_dir', 'output_dir', 'number'],
}


@pytest.mark.parametrize('module', FLAGS)
@pytest.mark.parametrize('flag', ['--help', '--helpfull'])
def test_help_has_what_the_command_needs(module, flag):
  result = run(module, flag)
  assert result.returncode == 0 and not result.stderr
  for name in FLAGS[module]:
    assert f'--{name}:' in result.stdout
  # Of another command's flags there is none.
  assert ('--runs_dir:' in result.stdout) is (module == TRAIN)
  assert module in result.stdout  # How it is called.


def test_help_comes_first():
  assert run(TRAIN, '--seed=1', '--help').returncode == 0


MISTAKES = [
  (TRAIN, [], ['--base_dir is missing', '--base_dir=/tmp/dqn_pong', '--help']),
  (TRAIN, ['--base_dir='], ['--base_dir is missing']),
  (TRAIN, ['--base_dir=X'], ['no gin file', '--gin_files=']),
  (
    TRAIN,
    ['--base_dir=X', '--gin_binding=A.x=1'],
    ["'gin_binding'", 'mean: gin_bindings? --help'],
  ),
  (TRAIN, ['--base_dir=X', '--seed=-1'], ['--seed=-1', 'non-negative']),
  (TRAIN, ['--base_dir=X', '--seed=one'], ['--seed=one']),
  (TRAIN, ['--base_dir=X', '--seed'], ['seed']),
  (
    TRAIN,
    ['--base_dir=X', '--gin_bindings', 'A.x=1', 'B.y=2', '--seed=3'],
    ["'B.y=2' belongs to no flag", '--gin_bindings "B.y=2"'],
  ),
  (
    TRAIN,
    ['--base_dir=X', '--gin_files', 'a.gin', 'b.gin'],
    ["'b.gin'", '--gin_files b.gin'],
  ),
  (
    TRAIN,
    ['--base_dir=X', '--gin_bindings', 'A.x', '=', '1'],
    ["'=' '1'", 'quotes', '--gin_bindings "NAME = VALUE"'],
  ),
  (TRAIN, ['X'], ["'X' belongs to no flag"]),
  (TRAIN, ['--base_dir=X', '--', '--gin_files=a.gin'], ['"NAME = VALUE"']),
  (EVALUATE, [], ['--checkpoint is missing']),
  (EVALUATE, ['--checkpoint=X'], ['no gin file', '--gin_files=']),
  (EVALUATE, ['--base_dir=X'], ['holds no settings', '--gin_files']),
  (EVALUATE, ['--checkpoint=X', '--episodes=0'], ['--episodes=0']),
  (
    EVALUATE,
    ['--checkpoint=X', '--gin_bindings=A.x=1', 'B.y=2'],
    ['--gin_bindings "B.y=2"'],
  ),
  (EXPORT, [], ['--checkpoint_dir is missing']),
  (EXPORT, ['--checkpoint_dir=X'], ['--output_dir is missing']),
  (
    EXPORT,
    ['--checkpoint_dir=X', '--output_dir=X', '5'],
    ["'5' belongs to no"],
  ),
  (
    EXPORT,
    ['--checkpoint_dir=X', '--output_dir=X', '--number=x'],
    ['--number=x'],
  ),
]


@pytest.mark.parametrize('module', FLAGS)
def test_a_program_that_calls_main_drops_no_word(module):
  code = f'import {module} as command; command.main(["mine", "B.y=2"])'
  result = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=False
  )
  assert result.returncode == 1
  assert "'B.y=2' belongs to no flag" in result.stderr


@pytest.mark.parametrize(('module', 'arguments', 'words'), MISTAKES)
def test_a_mistake_is_told_in_a_paragraph(module, arguments, words, tmp_path):
  path = str(tmp_path / 'run')
  arguments = [a.replace('=X', f'={path}') for a in arguments]
  result = run(module, *arguments)
  assert result.returncode == 1 and not result.stdout
  message = result.stderr
  assert message.startswith('\nError: ') and message.count('\n') == 2
  for word in words:
    assert word in message
  assert 'FATAL' not in message
  assert module != EXPORT or 'gin' not in message.replace(path, '')
  assert not os.path.exists(path)
