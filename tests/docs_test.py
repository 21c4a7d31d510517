"""The pages: what they tell to run runs, and links lead somewhere.

A block of commands is marked ```sh title="run", or listed below with a reason
why it is not run. `docs/shortened.gin` is what makes them short.
"""

import importlib.util
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys

import gin
import keras
import pytest

from dopamine.discrete_domains import run_experiment
from tests.support import warm

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / name for name in ('README.md', 'CONTRIBUTING.md')]
PAGES += sorted((ROOT / 'docs').rglob('*.md'))
BLOCK = re.compile(
  r'^ *```(\w*)(?: title="(\w+)")?\n(.*?)^ *```$', re.MULTILINE | re.DOTALL
)
TRAIN = 'dopamine.discrete_domains.train'
# The run of docs/first_run.md, of which several pages tell.
SHARED = '/tmp/dqn_cartpole'

MEASURES = 'measures for minutes'
NOT_RUN = {
  'make setup      # .venv with': 'runs these tests',
  '.venv/bin/tensorboard --logdir /tmp/dqn_cartpole': 'serves until Ctrl-C',
  'python -m dopamine.utils.example_viz': 'needs weights that Google published',
  'KERAS_BACKEND=tensorflow python -m pytest -m slow': 'takes hours',
  '.venv/bin/pip install jupyterlab': 'needs a network, and serves',
  'python benchmarks/checkpoint.py': MEASURES,
  'python benchmarks/throughput.py --backend tensorflow': MEASURES,
  'python benchmarks/throughput.py --backend jax': MEASURES,
  'python benchmarks/throughput.py --profile': MEASURES,
}
FUNCTIONAL = 'needs JAX; tests/dopamine/compat/old_ways_test.py trains it'
PYTHON_NOT_RUN = {
  'import gin\nfrom keras import ops\n\nfrom dopamine import losses': (
    'is examples/double_dqn.py'
  ),
  '  def __init__(self, *args, temperature=0.1': 'is a part of a class',
  'from dopamine.discrete_domains import run_experiment\nfrom examples': (
    'trains for minutes; tests/examples_test.py does it shortened'
  ),
  'from dopamine import command_line': 'is a script, which trains',
  'import numpy as np\nfrom dopamine.replay_memory': 'needs a public data set',
  'from dopamine.colab import utils': 'needs the runs of a sweep',
  'from tensorboard.backend': 'needs wandb and mlflow',
  'from dopamine.utils import agent_visualizer': 'needs weights',
  'import functools\n\nfrom dopamine.jax.agents.dqn': FUNCTIONAL,
  'from dopamine.jax.agents.dqn': FUNCTIONAL,
}


def blocks(page, *languages):
  """The marks and texts of a page's blocks in these languages."""
  return [
    (mark, code)
    for language, mark, code in BLOCK.findall(page.read_text('utf-8'))
    if language in languages
  ]


def name_of(page):
  return page.relative_to(ROOT).as_posix()


def commands(page):
  return [code for mark, code in blocks(page, 'sh') if mark == 'run']


# What is run, and what is not -------------------------------------------------


@pytest.mark.no_backend
@pytest.mark.parametrize(
  ('languages', 'listed'),
  [
    (('sh', 'bash', 'shell', 'console', ''), NOT_RUN),
    (('python',), PYTHON_NOT_RUN),
  ],
)
def test_what_is_not_run_is_listed(languages, listed):
  not_run = [
    code
    for page in PAGES
    for mark, code in blocks(page, *languages)
    if mark != 'run'
  ]
  reasons = {
    code: [start for start in listed if code.startswith(start)]
    for code in not_run
  }
  assert [code for code, found in reasons.items() if not found] == []
  assert {found[0] for found in reasons.values()} == set(listed)
  assert len(NOT_RUN) <= 10


@pytest.mark.no_backend
def test_no_command_is_in_a_block_without_a_language():
  command = re.compile(
    r'^ {4,}\S*(?:python -|python \S+\.py|make |pip ).*', re.M
  )
  texts = [BLOCK.sub('', page.read_text('utf-8')) for page in PAGES]
  assert [found for text in texts for found in command.findall(text)] == []


# Links ------------------------------------------------------------------------


def anchors(page):
  """Those of its headings, as GitHub makes them."""
  text = BLOCK.sub('', page.read_text('utf-8'))
  headings = re.findall(r'^#+ (.*)$', text, re.MULTILINE)
  names = [re.sub(r'[^\w\- ]', '', heading.lower()) for heading in headings]
  return [name.replace(' ', '-') for name in names]


@pytest.mark.no_backend
def test_every_link_leads_somewhere():
  lost, count = [], 0
  for page in [*PAGES, ROOT / 'CHANGELOG.md']:
    text = re.sub(r'`[^`\n]+`', '', BLOCK.sub('', page.read_text('utf-8')))
    for link in re.findall(r'(?:\]\(|(?:src|href)=")([^)"\s]+)', text):
      name, _, anchor = link.partition('#')
      target = page.parent / name if name else page
      if re.match('[a-z]+:', link):
        continue
      count += 1
      if not target.exists() or anchor and anchor not in anchors(target):
        lost.append((name_of(page), link))
  assert lost == []
  assert count > 80


@pytest.mark.no_backend
def test_every_page_is_on_the_site(tmp_path):
  sys.path.insert(0, str(ROOT / 'docs'))
  try:
    import pages
  finally:
    sys.path.remove(str(ROOT / 'docs'))
  nav = re.findall(r'[\w/]+\.md', (ROOT / 'mkdocs.yml').read_text())
  found = *PAGES, ROOT / 'CHANGELOG.md', *(ROOT / 'docs').rglob('*.ipynb')
  on_site = set(map(pages.place, found))
  reference = {f'reference/{name}.md' for name in pages.REFERENCE}
  assert set(nav) == on_site | reference and len(nav) == len(set(nav))
  for modules in pages.REFERENCE.values():
    for module in modules.split():
      path = ROOT / 'dopamine' / module.replace('.', '/')
      assert path.is_dir() or path.with_suffix('.py').exists(), module


# Running them -----------------------------------------------------------------


def shortened():
  """The flags of what makes a command short."""
  lines = (ROOT / 'docs' / 'shortened.gin').read_text().splitlines()
  return [f'--gin_bindings={line}' for line in lines if line[0] != '#']


def run(code, folder, bin, **variables):
  """Runs commands in a folder where Python is another, and /tmp too."""
  for stamp in ('.installed-tensorflow', '.installed-jax', '.no_gpu'):
    (bin.parent / stamp).touch()  # `make` need not install anything.
  env = os.environ | variables
  env |= {'PATH': f'{bin}:{env["PATH"]}', 'VENV': str(bin.parent)}
  env['KERAS_BACKEND'] = keras.config.backend()
  result = subprocess.run(
    ['bash', '-euc', code.replace('/tmp/', f'{folder}/')],
    cwd=folder,
    env=env,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, f'{code}\n{result.stdout}\n{result.stderr}'
  return result.stdout


def checkout(folder):
  """A folder in which commands find what they find in the project's root."""
  folder.mkdir()
  for name in ('Makefile', 'dopamine', 'docs', 'examples', 'pyproject.toml'):
    (folder / name).symlink_to(ROOT / name)
  for file in ROOT.glob('requirements*.txt'):
    (folder / file.name).symlink_to(file)
  return folder


def test_the_settings_of_each_command_exist(tmp_path, at_the_root):
  """They are read, as `train` reads them; no command is carried out."""
  bin = tmp_path / 'bin'
  bin.mkdir()
  (bin / 'python').write_text(
    f'#!{sys.executable} -IS\nimport json, sys\n'
    f'open({str(tmp_path / "said")!r}, "a").write(json.dumps(sys.argv) + "\\n")'
  )
  (bin / 'python').chmod(0o700)
  folder = checkout(tmp_path / 'project')
  run('\n'.join(itertools.chain(*map(commands, PAGES))), folder, bin)
  said = [json.loads(line) for line in (tmp_path / 'said').open()]
  trained = [words[3:] for words in said if words[2] == TRAIN]
  assert len(trained) > 15
  for words in trained:
    flags = {'gin_files': [], 'gin_bindings': [], 'base_dir': [], 'seed': []}
    flags['runs_dir'] = []
    pairs = iter(words)
    for word in pairs:
      name, equals, value = word.removeprefix('--').partition('=')
      flags[name].append(value if equals else next(pairs))
    if '/jax/' in str(flags) and keras.config.backend() != 'jax':
      continue
    gin.clear_config()
    run_experiment.load_gin_configs(flags['gin_files'], flags['gin_bindings'])


@pytest.fixture(scope='module')
def project(tmp_path_factory):
  """A folder with the run of docs/first_run.md, and a function to run more."""
  folder = checkout(tmp_path_factory.mktemp('docs') / 'project')
  words = {TRAIN: shortened()}
  with warm.Python(folder.parent / 'venv', words) as python:

    def do(code):
      return run(code, folder, python.bin)

    do.folder = folder
    yield do


def is_shared(code):
  return SHARED in code


@pytest.mark.skipif(
  keras.config.backend() == 'jax'
  and importlib.util.find_spec('tensorflow') is not None,
  reason='is the same under TensorFlow',
)
def test_the_first_run_and_what_is_done_with_it(project):
  for page in sorted(PAGES, key=lambda page: page.name != 'first_run.md'):
    for code in filter(is_shared, commands(page)):
      project(code)
    script = project.folder / f'{page.stem}.py'
    code = [code for mark, code in blocks(page, 'python') if mark == 'run']
    script.write_text('\n'.join(code).replace('/tmp/', f'{project.folder}/'))
    if code:
      project(f'python {script.name}')
  assert list(project.folder.glob('dqn_cartpole/videos/*.mp4'))


@pytest.mark.slow
@pytest.mark.parametrize('page', filter(commands, PAGES), ids=name_of)
def test_the_other_commands(page, project):
  for code in commands(page):
    if not is_shared(code) and (
      'jax' not in code or keras.config.backend() == 'jax'
    ):
      project(code)
