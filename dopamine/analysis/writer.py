"""Makes a report, and writes its folder."""

from collections.abc import Mapping, Sequence
import io
import os
from typing import Any

import numpy as np

from dopamine.analysis import comparing
from dopamine.analysis import comparing_runs
from dopamine.analysis import figures
from dopamine.analysis import page
from dopamine.analysis import runs as runs_lib
from dopamine.analysis import tables
from dopamine.files import atomic
from dopamine.settings import errors


def report(
  runs: Sequence[runs_lib.Run] | Mapping[str, np.ndarray],
  output: str | os.PathLike | None = None,
  *,
  games: Sequence[str] = (),
  **kwargs: Any,
) -> comparing.Report:
  """Compares agents, with intervals.

  Args:
    runs: as `read_runs` returns them; or scores on a common scale, agent ->
      `[R, G]` of R runs and G games.
    output: the folder that is written: `index.html`, figures as PNG and PDF,
      numbers as CSV and JSON, tables as Markdown and LaTeX; None writes none.
    games: the names of the G games, where scores are given.
    **kwargs: of `comparing.Settings`: phase, last, coverage, repetitions, seed,
      scale, source.

  Returns:
    What it says, in numbers.

  Raises:
    ValueError: a setting, or what is compared, is none that can be.
  """
  settings = comparing.Settings(**kwargs)
  if isinstance(runs, Mapping):
    made = comparing.compare_scores(runs, settings, games)
  else:
    made = comparing_runs.compare_runs(runs, settings)
  if output is not None:
    write(made, output)
  return made


def write(made: comparing.Report, output: str | os.PathLike) -> str:
  """Writes a report into a folder; returns the path of the page.

  What is there of another report is replaced.

  Raises:
    ValueError: the folder is a file.
    OSError: it cannot be written.
  """
  folder = os.path.expanduser(os.fspath(output))
  if os.path.exists(folder) and not os.path.isdir(folder):
    raise errors.SettingError(
      f'{folder} is a file: give a folder for the report'
    )
  os.makedirs(folder, exist_ok=True)
  texts = {
    'index.html': page.build(made),
    'report.json': tables.as_json(made),
    'tables.md': tables.as_markdown(made),
    'tables.tex': tables.as_latex(made),
  }
  for name, table in tables.numbers(made).items():
    texts[f'{name}.csv'] = tables.as_csv(table) if table[1] else ''
  for name, text in texts.items():
    _write(os.path.join(folder, name), text.encode('utf-8'))
  for name, (content, draw) in figures.drawings(made).items():
    figure = draw(made) if content else None
    # No date and version: the same report is the same file.
    for kind, undated in (('png', 'Software'), ('pdf', 'CreationDate')):
      drawn = io.BytesIO()
      if figure is not None:
        figure.savefig(drawn, format=kind, dpi=150, metadata={undated: None})
      _write(os.path.join(folder, f'{name}.{kind}'), drawn.getvalue())
  return os.path.join(folder, 'index.html')


def _write(path: str, content: bytes) -> None:
  """Writes a file; of nothing there is none, nor that of another report."""
  if content:
    atomic.write_file(path, lambda file: file.write(content))
  elif os.path.exists(path):
    os.remove(path)
