"""Runs the notebooks and keeps what they show.

python docs/notebooks/execute.py [NAME.ipynb ...]

What is kept is what a page can show: no bars, no lists of settings, no page of
a server, and nothing that was written to stderr. Commit the result.
"""

import copy
import pathlib
import re
import sys

import nbclient
import nbformat

FOLDER = pathlib.Path(__file__).parent


def run(notebook, folder=FOLDER):
  """Executes the cells of a notebook in place, in a kernel of its own.

  Raises:
    nbclient.exceptions.CellExecutionError: a cell has failed.
  """
  client = nbclient.NotebookClient(
    notebook,
    timeout=300,
    coalesce_streams=True,
    resources={'metadata': {'path': str(folder)}},
  )
  client.execute()


def keep(notebook):
  """Leaves out of the outputs what a page cannot show."""
  notebook.metadata.pop('widgets', None)
  for cell in notebook.cells:
    if cell.cell_type == 'code':
      cell.metadata.pop('execution', None)
      cell.outputs = [kept for o in cell.outputs if (kept := _kept(o))]


def _kept(output):
  output = copy.deepcopy(output)
  if output.output_type == 'stream':
    if output.name == 'stderr':
      return None
    output.text = re.sub(
      r'^Settings:\n(?:  .*\n)+', 'Settings:\n  ...\n', output.text, flags=re.M
    )
    return output
  data = output.get('data', {})
  is_bar = 'application/vnd.jupyter.widget-view+json' in data
  is_page = '<iframe' in data.get('text/html', '')
  return None if is_bar or is_page else output


def main(names):
  """Runs notebooks by name, or all, and writes them back."""
  for path in map(FOLDER.joinpath, names or sorted(FOLDER.glob('*.ipynb'))):
    notebook = nbformat.read(path, as_version=4)
    run(notebook)
    keep(notebook)
    nbformat.write(notebook, path)
    print(f'{path}: {path.stat().st_size // 1024} KiB')


if __name__ == '__main__':
  main(sys.argv[1:])
