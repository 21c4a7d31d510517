"""The notebooks of docs/notebooks, as a reader runs them, and runs them again.

In `make test` each runs on one backend, and with a fraction of its steps.
"""

import base64
import copy
import json
import re

import cv2
import keras
import nbformat
import numpy as np
import pytest

from docs.notebooks import execute
from dopamine.colab import utils
from tests.support import commands
from tests.support import films

NAMES = sorted(path.stem for path in execute.FOLDER.glob('*.ipynb'))


def on(backend):
  """Marks what `make test` runs on one backend, `make test-slow` on both."""
  is_now = keras.config.backend() == backend
  return (lambda test: test) if is_now else pytest.mark.slow


def stored(name):
  return nbformat.read(execute.FOLDER / f'{name}.ipynb', as_version=4)


def shortened(cells, times):
  """Copies of cells, whose runs have fewer steps."""
  found = copy.deepcopy(cells)
  for cell in found:
    cell.id += f'-{times}'
    cell.source = re.sub(
      r'(Runner\.\w+_steps) = (\d+)',
      lambda match: f'{match[1]} = {int(match[2]) // times}',
      cell.source,
    )
  assert [c.source for c in found] != [c.source for c in cells]
  return found


@pytest.fixture
def in_a_folder(tmp_path, monkeypatch):
  """What a kernel makes temporary goes with the test; it finds the checkout."""
  monkeypatch.setenv('TMPDIR', str(tmp_path))
  monkeypatch.setenv('PYTHONPATH', str(commands.ROOT))


@pytest.fixture
def run(in_a_folder):
  """Runs a notebook twice in one kernel; returns its code cells, both times."""

  def run(name, times=(5, 20), more=''):
    notebook = stored(name)
    cells = notebook.cells
    notebook.cells = [c for n in times for c in shortened(cells, n)]
    notebook.cells.append(nbformat.v4.new_code_cell(more))
    execute.run(notebook)
    execute.keep(notebook)
    code = [c for c in notebook.cells if c.cell_type == 'code']
    count = len(code) // 2
    assert kinds(code[:count]) == kinds(code[count:-1])
    # What is shown in the documents is what is there today.
    assert kinds(code[:count]) == kinds(cells)
    return code

  return run


def kinds(cells):
  """Of outputs, cell by cell, what they are."""
  return [
    [o.get('name') or sorted(o.data) for o in cell.outputs]
    for cell in cells
    if cell.cell_type == 'code'
  ]


def text_of(cells):
  return ''.join(
    o.text for c in cells for o in c.outputs if o.output_type == 'stream'
  )


def data_of(cells, kind):
  return [
    o.data[kind]
    for c in cells
    for o in c.outputs
    if o.output_type != 'stream' and kind in o.data
  ]


def pictures(cells):
  """Those that are shown, and not of one colour."""
  found = [
    cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), 1)
    for data in data_of(cells, 'image/png')
  ]
  assert all(picture.std() > 5 for picture in found)
  return found


def iterations(run_dir):
  data, _ = utils.load_statistics(f'{run_dir}/logs', verbose=False)
  return list(data.values())


def settings(run_dir):
  return (run_dir / 'operative_config.gin').read_text()


@on('tensorflow')
def test_agents(run, tmp_path):
  cells = run('agents')
  text = text_of(cells)
  runs = {
    name: sorted(tmp_path.glob(f'{name}_*'))
    for name in ('dqn', 'boltzmann', 'hill_climbing')
  }
  for name, number in (('dqn', 6), ('boltzmann', 4), ('hill_climbing', 4)):
    first, again = runs[name]  # In a folder of its own.
    assert len(iterations(first)) == len(iterations(again)) == number
    for statistics in iterations(first):
      assert ('eval_episode_returns' in statistics) == (name != 'hill_climbing')
      mean = np.round(np.mean(statistics['train_episode_returns']), 2)
      assert f'return per training episode: {mean}\n' in text
  assert 'BoltzmannAgent.temperature = 0.5' in settings(runs['boltzmann'][0])
  assert len(pictures(cells)) == 2
  assert text.count("'__main__.BoltzmannAgent' already exists") == 2
  assert text.count('call gin.clear_config() before the next') == 2
  assert text.count('after the config was locked') == 2


@on('jax')
def test_cartpole(run, tmp_path):
  cells = run('cartpole')
  first, second, *again = sorted(
    tmp_path.glob('cartpole_*'), key=lambda path: path.stat().st_ctime
  )
  assert len(again) == 2
  assert "agent_name = 'dqn'" in settings(first)
  assert 'RainbowAgent.num_atoms = 51' in settings(second)
  assert text_of(cells).count("(did you mean 'gamma'?)") == 2
  assert len(pictures(cells)) == 2
  table, _ = [t for t in data_of(cells, 'text/plain') if 'iteration' in t]
  returns = [
    np.mean(i['train_episode_returns'], dtype=float) for i in iterations(second)
  ]
  rows = [line.split() for line in table.splitlines()[1:]]
  np.testing.assert_allclose(
    np.array(rows, float), [[i, i, r] for i, r in enumerate(returns)], rtol=1e-5
  )


@on('jax')
def test_load_statistics(run, tmp_path):
  cells = run('load_statistics')
  (folder, _) = sorted(
    tmp_path.glob('cliff_*'), key=lambda path: path.stat().st_ctime
  )
  for agent in ('QLearningAgent', 'ExpectedSarsaAgent'):
    runs = [iterations(folder / agent / str(seed)) for seed in range(1, 6)]
    assert [len(run) for run in runs] == [12] * 5
    mean = np.mean(
      [np.mean(i['train_episode_returns']) for run in runs for i in run[-5:]]
    )
    found = re.search(rf'^{agent} +(\S+)  95 %: ', text_of(cells), re.M)
    # The report ends where the run of fewest steps does.
    np.testing.assert_allclose(float(found[1]), mean, rtol=0.2)
  assert len(pictures(cells)) == 4
  assert text_of(cells).count('P(ExpectedSarsaAgent > QLearningAgent) = ') == 2
  assert (folder / 'report' / 'index.html').stat().st_size > 10_000
  assert 'million frames' in text_of(cells)


def check_films(cells, paths):
  """Each was kept, and is what was shown."""
  shown = data_of(cells, 'text/html')
  for path, html in zip(paths, shown, strict=False):
    frames, _ = films.read(path)
    assert len(frames) > 5 and frames.std() > 5
    assert base64.b64encode(path.read_bytes()).decode() in html


@on('tensorflow')
def test_agent_visualizer(run, tmp_path):
  cells = run('agent_visualizer')
  folder, _ = sorted(
    tmp_path.glob('rainbow_*'), key=lambda path: path.stat().st_ctime
  )
  check_films(cells, [folder / f'videos/iteration_{i}.mp4' for i in (0, 4)])
  composed, _ = films.read(folder / 'images' / 'video.mp4')
  assert composed.shape == (40, 200, 600, 3)
  *_, shown = pictures(cells)
  assert shown.shape == (200, 600, 3)
  assert re.search(r'Q-values: \[[-.\d ]+\]\nAction: [01]\n', text_of(cells))


@on('jax')
def test_jax_agent_visualizer(run, tmp_path):
  cells = run('jax_agent_visualizer')
  assert 'Backend:     jax' in text_of(cells)
  folder, _ = sorted(
    tmp_path.glob('cautious_*'), key=lambda path: path.stat().st_ctime
  )
  assert 'CautiousAgent.share = 0.5' in settings(folder)
  check_films(cells, [folder / 'images' / 'video.mp4'])
  assert len(pictures(cells)) == 4


ASK = """
import json
import urllib.request
print(url)
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(json.dumps([
  json.load(direct.open(url + 'data/plugin/scalars/tags')), sorted(curves)
]))
"""


@on('tensorflow')
def test_tensorboard(run):
  # A loss has its first point at step 750: updates begin after 500.
  cells = run('tensorboard', times=(2, 3), more=ASK)
  text = text_of(cells[-1:])
  served, read = json.loads(text.splitlines()[-1])
  assert sorted(served['.']) == read
  assert {'Episode/Return', 'Learning/Loss', 'Train/AverageReturns'} < set(read)
  assert len(pictures(cells)) == 2


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_as_it_is(name, in_a_folder):
  execute.run(stored(name))


@pytest.mark.no_backend
@pytest.mark.parametrize('name', NAMES)
def test_what_is_kept_asks_for_nothing_from_elsewhere(name):
  notebook = stored(name)
  assert 'widgets' not in notebook.metadata
  text = json.dumps([c.get('outputs', []) for c in notebook.cells])
  assert len(text) < 250_000
  for word in ('widget', 'stderr', '<iframe', '<script', 'src=\\"http'):
    assert word not in text, word
