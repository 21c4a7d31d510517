"""What is built: a wheel with all gin files, whose train runs, and an sdist."""

import email
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

from packaging import requirements
import pytest

import dopamine
from tests.support import gin_files

pytestmark = pytest.mark.no_backend  # The wheel is the same under each.

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
def source(tmp_path_factory):
  """A copy: a build leaves files in its source."""
  target = tmp_path_factory.mktemp('source') / 'dopamine'
  unwanted = shutil.ignore_patterns('__pycache__', '.venv', '.git', '.*_cache')

  def ignore(folder, names):
    runs = {'runs'} if pathlib.Path(folder) == ROOT else set()
    return unwanted(folder, names) | runs

  return shutil.copytree(ROOT, target, ignore=ignore)


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory):
  target = tmp_path_factory.mktemp('wheel')
  pip = (sys.executable, '-m', 'pip', '--disable-pip-version-check')
  options = ('--no-deps', '--no-build-isolation', '--wheel-dir', str(target))
  run(*pip, 'wheel', *options, str(source))
  (path,) = target.glob('dopamine_rl-*.whl')
  return path


def build_sdist(source, target):
  code = (
    f'from setuptools import build_meta as b; b.build_sdist({str(target)!r})'
  )
  run(sys.executable, '-c', code, cwd=source)
  (path,) = target.glob('dopamine_rl-*.tar.gz')
  return path


def metadata(wheel):
  archive = zipfile.ZipFile(wheel)
  (name,) = (n for n in archive.namelist() if n.endswith('.dist-info/METADATA'))
  return email.message_from_bytes(archive.read(name))


@pytest.fixture(scope='module')
def unpacked(wheel, tmp_path_factory):
  target = tmp_path_factory.mktemp('unpacked')
  zipfile.ZipFile(wheel).extractall(target)
  return target


def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel):
  names = set(zipfile.ZipFile(wheel).namelist())
  package = ROOT / 'dopamine'
  files = {p for e in ('py', 'gin', 'typed') for p in package.rglob(f'*.{e}')}
  assert package / 'py.typed' in files
  for folder in ('data', 'page'):  # Of reports.
    parts = set((package / 'analysis' / folder).iterdir())
    assert len(parts) == 3
    files |= parts
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


def test_the_sdist_holds_what_is_tracked(source, tmp_path):
  with tarfile.open(build_sdist(source, tmp_path)) as archive:
    found = {n.partition('/')[2] for n in archive.getnames()}
  folders = ('tests', 'docs', 'examples', 'benchmarks', 'dopamine', '.ci')
  files = [p for f in folders for p in (source / f).rglob('*') if p.is_file()]
  expected = {p.relative_to(source).as_posix() for p in files}
  expected |= {p.name for p in source.glob('requirements*.txt')}
  expected |= {'CHANGELOG.md', 'CITATION.cff', 'CONTRIBUTING.md'}
  expected |= {'LICENSE', 'Makefile'}
  assert expected - found == set()
  assert not [n for n in found if n.endswith('.pyc')]


@pytest.mark.parametrize('minor', [11, 13, 14])
def test_tensorflow_comes_where_it_exists(wheel, minor):
  def names(extra):
    environment = {'python_version': f'3.{minor}', 'extra': extra}
    needs = map(requirements.Requirement, fields.get_all('Requires-Dist'))
    return {
      (n.name, *n.extras)
      for n in needs
      if not n.marker or n.marker.evaluate(environment)
    }

  fields = metadata(wheel)
  has_tensorflow = minor < 14
  assert (('tensorflow',) in names('')) == has_tensorflow
  assert (('tensorflow', 'and-cuda') in names('cuda')) == has_tensorflow
  # [cuda] has what [jax] has.
  flat = {name for name, *_ in names('cuda')}
  assert flat >= {name for name, *_ in names('jax')}
  assert ('jax', 'cuda12') in names('cuda')


def links(text):
  return re.findall(r'\]\(([^)]+)\)', text)


def test_no_link_of_an_index_page_leads_nowhere(wheel, source, tmp_path):
  page = metadata(wheel)
  assert page['Description-Content-Type'] == 'text/markdown'
  text = page.get_payload()
  assert '`docs/first_run.md`' in text
  assert [link for link in links(text) if '://' not in link] == []
  urls = page.get_all('Project-URL')
  assert urls and all('https://' in url for url in urls)
  # Once the project has an address, they have it too.
  moved = shutil.copytree(source, tmp_path / 'moved')
  project = (moved / 'pyproject.toml').read_text()
  line = re.search(r'^# (Source = .*)$', project, re.MULTILINE)
  assert line, 'the address is there: this test can be of it'
  address = "Source = 'https://example.org/us/ours'"
  (moved / 'pyproject.toml').write_text(project.replace(line[0], address))
  with (moved / 'README.md').open('a') as file:
    file.write('[elsewhere](https://example.org) [here](#start)')
  build_sdist(moved, tmp_path)
  with tarfile.open(next(tmp_path.glob('*.gz'))) as archive:
    name = next(
      n
      for n in archive.getnames()
      if n.count('/') == 1 and n.endswith('PKG-INFO')
    )
    page = email.message_from_bytes(archive.extractfile(name).read())
  readme = links((moved / 'README.md').read_text())
  base = 'https://example.org/us/ours'
  assert links(page.get_payload()) == [
    link if '://' in link or link[0] == '#' else f'{base}/blob/HEAD/{link}'
    for link in readme
  ]
  assert f'Source, {base}' in page.get_all('Project-URL')


def test_the_version_is_that_of_this_copy(unpacked, tmp_path):
  project = (ROOT / 'pyproject.toml').read_text()
  version = re.search("^version = '(.*)'", project, re.MULTILINE)[1]
  assert dopamine.__version__ == version
  # Elsewhere the name is another project's, of which a user may have some too.
  other = tmp_path / 'dopamine_rl-4.1.2.dist-info'
  other.mkdir()
  (other / 'METADATA').write_text('Name: dopamine-rl\nVersion: 4.1.2\n')
  code = 'import dopamine as d; print(d.__version__)'
  for folder, expected in ((unpacked, version), (tmp_path / 'bare', 'unknown')):
    if folder != unpacked:
      shutil.copytree(ROOT / 'dopamine', folder / 'dopamine')
    env = os.environ | {'PYTHONPATH': f'{tmp_path}:{folder}'}
    python = (sys.executable, '-P', '-c', code)
    assert run(*python, cwd=tmp_path, env=env).strip() == expected


def test_an_attribute_that_is_not_there_is_said_so():
  with pytest.raises(AttributeError, match="'dopamine' has no attribute 'no'"):
    dopamine.no  # noqa: B018


def test_ruff_is_the_same_before_a_commit():
  pins = re.findall(r'ruff==\S+', (ROOT / 'requirements-jax.txt').read_text())
  hooks = (ROOT / '.pre-commit-config.yaml').read_text()
  assert set(re.findall(r'ruff==[\d.]+', hooks)) == set(pins)
