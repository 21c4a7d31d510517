"""What `make` installs, and where and how `make train` trains.

Python, pip and nvidia-smi are stand-ins, which write down what they are asked
for: nothing is downloaded, and nothing is trained.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.no_backend

ROOT = pathlib.Path(__file__).parents[1]
CARTPOLE = 'dopamine/agents/dqn/configs/dqn_cartpole.gin'

# `python`, for `make`; it runs the `train` below, and else what is ours.
PYTHON = """#!/bin/sh
case "$*" in
*sys.version_info*) exec {python} -c "
import collections, sys
sys.version_info = (3, int('$MINOR'))
$2" ;;
'-m venv '*)
  mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
'-m pip'*|'-m pytest'*)
  echo "$*, $KERAS_BACKEND" >> log ;;
*) exec {python} "$@" ;;
esac
"""

TRAIN = """
import json, os, signal, sys, time

def stop(number, frame):
  print('saved', flush=True)
  os._exit(75)

signal.signal(signal.SIGTERM, stop)
if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
  signal.signal(signal.SIGINT, stop)
keep = {n: os.environ.get(n) for n in ('KERAS_BACKEND',)}
print(json.dumps([sys.argv[1:], keep]), flush=True)
if os.environ.get('HANGS'):
  time.sleep(60)
os._exit(int(os.environ.get('CODE', 0)))
"""


class Checkout:
  """A folder with the Makefile, and what it calls."""

  def __init__(self, path):
    self.path = path
    for file in [*ROOT.glob('requirements*.txt'), ROOT / 'Makefile']:
      shutil.copy(file, path)
    shutil.copy(ROOT / 'pyproject.toml', path)
    self.tool('python3.11', PYTHON.format(python=sys.executable))
    # In front of the package itself, of which it is no part.
    package = path / 'dopamine' / 'discrete_domains'
    package.mkdir(parents=True)
    real = ROOT / 'dopamine'
    for folder, below in ((path / 'dopamine', ''), (package, package.name)):
      for file in (real / below).iterdir():
        if not (folder / file.name).exists() and file.name != 'train.py':
          (folder / file.name).symlink_to(file)
    (package / 'train.py').write_text(TRAIN)
    self.environment = os.environ | {
      'PATH': f'{path / "bin"}:{os.environ["PATH"]}',
      'PYTHONPATH': str(path),
      'PYTHONDONTWRITEBYTECODE': '1',
      'MINOR': '11',
    }
    names = 'GIN', 'BASE_DIR', 'BINDINGS', 'SEED', 'GPU', 'BACKEND', 'VENV'
    for name in (*names, 'PYTHON', 'KERAS_BACKEND', 'MAKEFLAGS', 'MAKELEVEL'):
      self.environment.pop(name, None)
    # No driver answers.
    self.tool('nvidia-smi', '#!/bin/sh\necho It has failed\nexit 9\n')

  def tool(self, name, text):
    path = self.path / 'bin' / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)

  def change(self, file):
    later = time.time() + 10
    os.utime(self.path / file, (later, later))

  def begin(self, *arguments, **environment):
    return subprocess.Popen(
      ['make', *arguments],
      cwd=self.path,
      env=self.environment | environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      process_group=0,
    )

  def make(self, *arguments, code=0, **environment):
    """Returns what was printed."""
    process = self.begin(*arguments, **environment)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code, output
    return output

  def installed(self, *arguments, **environment):
    """What a `make setup` installs: the names of requirements' files."""
    log = self.path / 'log'
    log.unlink(missing_ok=True)
    self.make('setup', *arguments, **environment)
    text = log.read_text() if log.exists() else ''
    return re.findall(r'-m pip install -r requirements(\S*)\.txt', text)

  def trained(self, *arguments, **environment):
    """The arguments of `train`, and its environment."""
    output = self.make('train', 'GPU=0', *arguments, **environment)
    (line,) = (line for line in output.splitlines() if line.startswith('[['))
    return json.loads(line)

  def base_dir(self, *arguments, **environment):
    (train, *_), _ = self.trained(*arguments, **environment)
    return train.removeprefix('--base_dir=')


@pytest.fixture
def checkout(tmp_path):
  return Checkout(tmp_path)


@pytest.fixture
def gpu(checkout):
  answer = '#!/bin/sh\n[ "$1" = -L ] && echo "GPU 0: A100"\n'
  checkout.tool('nvidia-smi', answer)


# What is installed ------------------------------------------------------------


def test_once_and_again_where_what_is_pinned_changed(checkout):
  assert checkout.installed() == ['']
  assert checkout.installed() == []
  checkout.change('requirements-jax.txt')
  assert checkout.installed() == ['']


def test_jax_alone_until_tensorflow_is_asked_for(checkout):
  assert checkout.installed('BACKEND=jax') == ['-jax']
  assert checkout.installed() == []
  assert checkout.trained()[1]['KERAS_BACKEND'] == 'jax'
  assert checkout.installed('BACKEND=tensorflow') == ['']
  assert checkout.installed() == checkout.installed('BACKEND=jax') == []
  assert checkout.trained()[1]['KERAS_BACKEND'] is None
  assert checkout.trained('BACKEND=jax')[1]['KERAS_BACKEND'] == 'jax'
  _, environment = checkout.trained('BACKEND=jax', KERAS_BACKEND='tensorflow')
  assert environment['KERAS_BACKEND'] == 'tensorflow'


def test_what_has_tensorflow_has_jax(checkout):
  assert checkout.installed() == ['']
  assert checkout.installed('BACKEND=jax') == []


def test_a_python_without_tensorflow_gets_jax(checkout):
  assert checkout.installed(MINOR='14') == ['-jax']


def test_without_tensorflow_its_tests_are_said_to_be_missing(checkout):
  output = checkout.make('test', 'BACKEND=jax')
  assert output.endswith('only: BACKEND=jax leaves TensorFlow out\n')
  # What needs no backend is not left to the other half.
  assert '-m pytest, jax\n' in (checkout.path / 'log').read_text()


@pytest.mark.usefixtures('gpu')
def test_cuda_where_a_driver_answers(checkout):
  output = checkout.make('setup')
  assert 'GB to download' in output and 'GPU=0' in output
  assert '-cuda' in (checkout.path / 'log').read_text()
  assert checkout.installed() == []


@pytest.mark.usefixtures('gpu')
def test_no_cuda_where_it_was_declined_until_it_is_asked_for(checkout):
  assert checkout.installed('GPU=0') == ['']
  assert checkout.installed() == []
  assert checkout.installed('GPU=1') == ['-cuda']
  assert checkout.installed() == []
  checkout.change('requirements-cuda.txt')
  assert checkout.installed() == ['-cuda']


def test_no_cuda_without_a_driver_but_where_it_is_asked_for(checkout):
  assert checkout.installed() == ['']
  assert checkout.installed('GPU=1') == ['-cuda']


@pytest.mark.usefixtures('gpu')
def test_a_driver_that_came_later_brings_cuda_without_tensorflow(checkout):
  assert checkout.installed('GPU=0', 'BACKEND=jax') == ['-jax']
  (checkout.path / '.venv' / '.no_gpu').unlink()
  assert checkout.installed() == ['-cuda']


@pytest.mark.parametrize('value', ['GPU=yes', 'BACKEND=torch'])
def test_what_is_none_of_the_choices_is_refused(checkout, value):
  assert value in checkout.make('help', value, code=2)


# Training ---------------------------------------------------------------------


def test_a_folder_that_is_not_given_is_named_by_train(checkout):
  (where, *_), _ = checkout.trained()
  assert where == '--runs_dir=runs'


@pytest.mark.parametrize('word', ['GAME=Seaquest', 'BASEDIR=a', 'SEEDS=1'])
def test_a_variable_that_nothing_reads_is_refused(checkout, word):
  output = checkout.make('train', word, code=2)
  assert f'{word.split("=")[0]} is not known' in output and 'BINDINGS' in output


def test_values_come_through_as_they_are(checkout):
  # make reads $ as its own in what follows it, not in the environment.
  value = "a 'b' $c"
  assert checkout.base_dir(BASE_DIR=value) == value
  bindings = 'a = "$b \'; "; c = 1'
  arguments, _ = checkout.trained(BINDINGS=bindings, SEED='1')
  assert arguments[2:] == [
    *('--gin_bindings=a = "$b \'', '--gin_bindings="'),
    *('--gin_bindings=c = 1', '--seed=1'),
  ]


@pytest.mark.parametrize('code', [0, 1, 2, 75, 130])
def test_train_has_the_last_word(checkout, code):
  output = checkout.make('train', code=2 * bool(code), CODE=str(code))
  said = output[output.index(']\n') + 2 :].splitlines()
  assert [re.sub(r'\[.*\]', '', line) for line in said] == (
    [f'make: ***  Error {code}'] if code else []
  )


@pytest.fixture
def training(checkout):
  """`make train`, once it trains, in a process group of its own."""
  process = checkout.begin('train', HANGS='1')
  for line in process.stdout:
    if line.startswith('[['):
      break
  yield process
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, signal.SIGKILL)


def test_sigterm_of_make_alone_saves_the_run(training):
  training.terminate()
  output, _ = training.communicate(timeout=30)
  assert output.startswith('saved\n')
  assert training.returncode == -signal.SIGTERM


def test_make_waits_after_ctrl_c(training):
  os.killpg(training.pid, signal.SIGINT)  # As a terminal does.
  output, _ = training.communicate(timeout=30)
  assert output.startswith('saved\n')
  assert training.returncode == -signal.SIGINT
