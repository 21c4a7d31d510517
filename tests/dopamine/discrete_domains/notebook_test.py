"""A run in a cell of a notebook."""

import json

import keras
import nbclient
import nbformat
import pytest

pytestmark = pytest.mark.no_backend

CELL = """
import os
os.environ['KERAS_BACKEND'] = {backend!r}
{before}
from dopamine.discrete_domains import run_experiment
run_experiment.load_gin_configs(
  ['dopamine/agents/dqn/configs/dqn_cartpole.gin'],
  ['Runner.num_iterations = 1', 'Runner.training_steps = 100',
   'Runner.evaluation_steps = 10', 'Runner.seed = 1'],
)
run_experiment.create_runner({base_dir!r}).run_experiment()
"""
WITHOUT_WIDGETS = "import sys; sys.modules['ipywidgets'] = None"


def run(base_dir, before=''):
  """Returns the cell's text, and the texts and values of its widgets."""
  cell = CELL.format(
    backend=keras.config.backend(), base_dir=str(base_dir), before=before
  )
  notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
  nbclient.NotebookClient(notebook, timeout=300).execute()
  (cell,) = notebook.cells
  text = ''.join(o.text for o in cell.outputs if o.output_type == 'stream')
  widgets = notebook.metadata.get('widgets', {})
  states = [
    widget['state']
    for kind in widgets.values()
    for widget in kind['state'].values()
  ]
  return text, [s['value'] for s in states if s.get('value') not in (None, '')]


@pytest.mark.usefixtures('at_the_root')
def test_a_phase_is_a_bar(tmp_path):
  text, values = run(tmp_path)
  texts = [v.replace('\u2007', ' ') for v in values if isinstance(v, str)]
  assert any(t.lstrip().startswith('train 0/0 Steps: 1') for t in texts), texts
  assert any(t.lstrip().startswith('eval 0/0 Steps: ') for t in texts), texts
  assert 100.0 in values and 10.0 in values  # All of both phases.
  assert 'Steps' not in text and 'Backend:' in text
  for phase in 'training', 'evaluation':  # No log level is set.
    assert f'\nAverage undiscounted return per {phase} episode: ' in text
  assert json.loads((tmp_path / 'run.json').read_text())['starts']


@pytest.mark.usefixtures('at_the_root')
def test_without_widgets_it_is_a_line(tmp_path):
  text, values = run(tmp_path, WITHOUT_WIDGETS)
  assert not values
  assert 'train 0/0 Steps executed: 1' in text
  assert 'eval 0/0 Steps executed: ' in text
