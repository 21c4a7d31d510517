"""What `pip install dopamine-rl` brings: every gin file, a train that runs."""

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.support import gin_files

# The wheel is the same under JAX.
pytestmark = pytest.mark.skipif(
  os.environ.get('KERAS_BACKEND') == 'jax', reason='once, under TensorFlow'
)

ROOT = pathlib.Path(__file__).parents[2]
CARTPOLE = 'dopamine/agents/dqn/configs/dqn_cartpole.gin'


def run(*command, **kwargs):
  """Runs a command; what it printed is the message if it fails."""
  done = subprocess.run(
    command,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    timeout=300,
    **kwargs,
  )
  assert done.returncode == 0, done.stdout
  return done.stdout


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """Builds the wheel from a copy: a build leaves files in its source."""
  source = tmp_path_factory.mktemp('source')
  for name in ('pyproject.toml', 'setup.py', 'README.md', 'LICENSE'):
    shutil.copy(ROOT / name, source)
  for name in ('dopamine', 'tests'):
    ignore = shutil.ignore_patterns('__pycache__')
    shutil.copytree(ROOT / name, source / name, ignore=ignore)
  target = tmp_path_factory.mktemp('wheel')
  pip = (sys.executable, '-m', 'pip', '--disable-pip-version-check')
  options = ('--no-deps', '--no-build-isolation', '--wheel-dir', str(target))
  run(*pip, 'wheel', *options, str(source))
  (path,) = target.glob('dopamine_rl-*.whl')
  return path


@pytest.fixture(scope='module')
def unpacked(wheel, tmp_path_factory):
  target = tmp_path_factory.mktemp('unpacked')
  zipfile.ZipFile(wheel).extractall(target)
  return target


def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel):
  names = set(zipfile.ZipFile(wheel).namelist())
  package = ROOT / 'dopamine'
  files = {p for e in ('py', 'gin') for p in package.rglob(f'*.{e}')}
  expected = {p.relative_to(ROOT).as_posix() for p in files}
  assert {n for n in names if '.dist-info/' not in n} == expected
  found = sorted(name for name in names if name.endswith('.gin'))
  assert found == sorted(gin_files.WRITTEN + gin_files.OURS)
  assert any(n.endswith('.dist-info/licenses/LICENSE') for n in names)


def test_train_runs_from_the_wheel_in_any_folder(unpacked, tmp_path):
  # PYTHONPATH comes before an editable installation of the checkout.
  env = {**os.environ, 'PYTHONPATH': str(unpacked)}
  python = (sys.executable, '-P')
  where = run(
    *python,
    '-c',
    'import dopamine as d; print(d.__file__)',
    cwd=tmp_path,
    env=env,
  )
  assert pathlib.Path(where.strip()).parent == unpacked / 'dopamine'
  bindings = ('num_iterations=1', 'training_steps=50', 'evaluation_steps=50')
  run(
    *(*python, '-m', 'dopamine.discrete_domains.train'),
    *('--base_dir', str(tmp_path / 'run'), '--gin_files', CARTPOLE),
    *(f'--gin_bindings=Runner.{b}' for b in bindings),
    cwd=tmp_path,
    env=env,
  )
  assert (tmp_path / 'run' / 'logs' / 'log_0').is_file()
