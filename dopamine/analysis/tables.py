"""The numbers of a report as CSV and JSON, its tables as Markdown and LaTeX."""

from collections.abc import Iterable, Mapping, Sequence
import csv
import io
import json
import math
from typing import Any, NamedTuple

from dopamine.analysis import comparing
from dopamine.analysis import statistics

Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]


# The numbers ------------------------------------------------------------------


def numbers(report: comparing.Report) -> dict[str, Table]:
  """Returns all figures: name -> columns, and rows, none of what is not."""
  return {
    'runs': _runs(report),
    'curves': _curves(report),
    'scores': _scores(report),
    'table': _table(report),
    'aggregates': _aggregates(report),
    'profiles': _along(
      ('threshold', 'share_above'), report.thresholds, report.profiles
    ),
    'improvement': (
      ('x', 'y', 'probability_x_above_y', 'low', 'high'),
      [(*pair, *_figures(i)) for pair, i in report.improvement.items()],
    ),
    'efficiency': _along(
      ('agent_steps', 'iqm'), report.efficiency_steps, report.efficiency
    ),
    'published_band': _bands(report),
  }


def _figures(interval: statistics.Interval) -> list[float]:
  return [float(x) for x in interval]


def _runs(report: comparing.Report) -> Table:
  columns = 'agent', 'task', 'seed', 'iterations', 'agent_steps', 'path'
  rows = [
    (
      *(run.agent, run.task, run.seed, len(run.train)),
      *(float(run.agent_steps[-1]), run.path),
    )
    for run in report.runs
  ]
  return columns, rows


def _curves(report: comparing.Report) -> Table:
  columns = 'agent', 'task', 'runs', 'iteration', 'agent_steps', 'mean'
  rows = []
  for curve in report.curves:
    points = zip(curve.agent_steps, *curve.returns, strict=True)
    for i, point in enumerate(points):
      figures = map(float, point)
      rows.append((curve.agent, curve.task, curve.runs, i, *figures))
  return (*columns, 'low', 'high'), rows


def _scores(report: comparing.Report) -> Table:
  """A row for each run: what counts of it, as a return and on the scale."""
  columns = 'agent', 'task', 'run', 'score', 'scaled'
  rows = []
  for row in report.table:
    scaled: Any = ()
    if row.task in report.games:
      scaled = report.scores[row.agent][:, report.games.index(row.task)]
    for i, score in enumerate(row.scores):
      last = float(scaled[i]) if i < len(scaled) else None
      rows.append((row.agent, row.task, i, float(score), last))
  return columns, rows


def _table(report: comparing.Report) -> Table:
  columns = 'agent', 'task', 'agent_steps', 'runs', 'mean', 'low', 'high'
  rows = [
    (
      *(row.agent, row.task, float(row.agent_steps), len(row.scores)),
      *(*_figures(row.mean), row.standard_deviation),
    )
    for row in report.table
  ]
  return (*columns, 'standard_deviation'), rows


def _aggregates(report: comparing.Report) -> Table:
  columns = 'agent', 'aggregate', 'runs', 'games', 'value', 'low', 'high'
  rows = [
    (agent, name, *report.scores[agent].shape, *_figures(interval))
    for agent, found in report.aggregates.items()
    for name, interval in found.items()
  ]
  return columns, rows


def _along(
  names: tuple[str, str],
  x: Iterable[float],
  intervals: Mapping[str, statistics.Interval],
) -> Table:
  rows = [
    (agent, *map(float, point))
    for agent, interval in intervals.items()
    for point in zip(x, *interval, strict=True)
  ]
  return ('agent', *names, 'low', 'high'), rows


def _bands(report: comparing.Report) -> Table:
  columns = (
    *('agent', 'task', 'runs', 'source', 'published_agent', 'published_runs'),
    *('millions_of_frames', 'mean', 'published_mean', 'low', 'high'),
    *('simultaneous_low', 'simultaneous_high', 'is_inside'),
  )
  rows = []
  for c in report.comparisons:
    band = c.band
    points = zip(
      *(band.published_runs, band.millions_of_frames, c.mean, band.mean),
      *(*band.pointwise(), *band.simultaneous(), c.inside),
      strict=True,
    )
    of_twin = band.twin.source, band.twin.agent
    for n, *figures, is_inside in points:
      known = c.agent, band.game, band.runs, *of_twin, int(n)
      rows.append((*known, *map(float, figures), bool(is_inside)))
  return columns, rows


def as_csv(table: Table) -> str:
  """A table as CSV; what is unknown is empty."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  columns, rows = table
  writer.writerow(columns)
  writer.writerows([['' if _unknown(x) else x for x in row] for row in rows])
  return text.getvalue()


def as_json(report: comparing.Report) -> str:
  """All figures, and what is said of them."""
  settings = report.settings
  found: dict[str, Any] = {
    'settings': {
      'phase': settings.phase,
      'last': settings.last,
      'coverage': settings.coverage,
      'repetitions': settings.repetitions,
      'seed': settings.seed,
      'scale': report.scale,
    },
    'remarks': report.remarks,
    'published': [
      *(s for c in report.comparisons for s in c.sentences()),
      *report.refusals,
    ],
  }
  for name, (columns, rows) in numbers(report).items():
    known = [[None if _unknown(x) else x for x in row] for row in rows]
    found[name] = [dict(zip(columns, row, strict=True)) for row in known]
  return json.dumps(found, ensure_ascii=False, allow_nan=False) + '\n'


def _unknown(value: Any) -> bool:
  return value is None or (isinstance(value, float) and math.isnan(value))


# Tables for readers -----------------------------------------------------------


class Text(NamedTuple):
  """A table of text: a title, the first row and column in front."""

  title: str
  header: list[str]
  rows: list[list[str]]


def texts(report: comparing.Report) -> list[Text]:
  """Returns the tables that a paper would print."""
  percent = f'{100 * report.settings.coverage:g} %'
  found = []
  if report.aggregates:
    names = list(report.aggregates[report.agents[0]])
    rows = [
      [agent, *(_with_interval(of_agent[name]) for name in names)]
      for agent, of_agent in report.aggregates.items()
    ]
    title = (
      f'Aggregates over {tasks(len(report.games))} ({report.scale}), with '
      f'{percent} intervals of a stratified bootstrap'
    )
    found.append(Text(title, ['agent', *names], rows))
  if report.improvement:
    rows = [
      [x, y, _with_interval(interval)]
      for (x, y), interval in report.improvement.items()
    ]
    title = (
      f'Probability that a run of X is above one of Y, over '
      f'{tasks(len(report.improvement_games))}, with {percent} intervals'
    )
    found.append(Text(title, ['X', 'Y', 'P(X > Y)'], rows))
  found.append(_of_tasks(report, percent))
  return found


def _of_tasks(report: comparing.Report, percent: str) -> Text:
  cells = {(row.agent, row.task): row for row in report.table}
  rows = []
  for task in dict.fromkeys(row.task for row in report.table):
    row = [task]
    for agent in report.agents:
      cell = cells.get((agent, task))
      row.append('' if cell is None else _of_runs(cell))
    rows.append(row)
  title = name_of_scores(report)
  if report.runs:
    title += f', mean of the last {report.settings.last} iterations at most'
  title += f': mean over runs, {percent} t interval, number of runs'
  return Text(title, ['task', *report.agents], rows)


def name_of_scores(report: comparing.Report) -> str:
  """What the scores of single tasks are."""
  names = {'train': 'Training return', 'eval': 'Evaluation return'}
  return names[report.settings.phase] if report.runs else 'Score'


def tasks(count: int) -> str:
  """'1 task', '2 tasks'."""
  return f'{count} task{"s" if count > 1 else ""}'


def number(value: float) -> str:
  """Three figures, and never fewer than the integer has."""
  if not math.isfinite(value):
    return '-'
  if abs(value) >= 99.95:
    return f'{value:,.0f}'
  return f'{value:.3g}' if abs(value) >= 0.01 else f'{value:.2f}'


def _with_interval(interval: statistics.Interval) -> str:
  value, low, high = _figures(interval)
  if math.isnan(low):
    return f'{value:.3f}'
  return f'{value:.3f} [{low:.3f}, {high:.3f}]'


def _of_runs(row: comparing.Row) -> str:
  value, low, high = _figures(row.mean)
  n = len(row.scores)
  if math.isnan(low):
    return f'{number(value)} (n={n})'
  return f'{number(value)} [{number(low)}, {number(high)}] (n={n})'


def as_markdown(report: comparing.Report) -> str:
  """Remarks, tables, and what is said of the published band."""
  lines = []
  for remark in report.remarks:
    lines += [f'- {_escape_markdown(remark)}']
  for text in texts(report):
    rows = [text.header, ['---'] * len(text.header), *text.rows]
    lines += ['', f'**{_escape_markdown(text.title)}**', '']
    lines += [
      '| ' + ' | '.join(map(_escape_markdown, row)) + ' |' for row in rows
    ]
  said = [s for c in report.comparisons for s in c.sentences()]
  if said or report.refusals:
    lines += ['', '**Published band**', '', '```text']
    lines += [*said, *report.refusals, '```']
  return '\n'.join(lines).lstrip('\n') + '\n'


def _escape_markdown(text: str) -> str:
  return text if set(text) == {'-'} else text.replace('|', '\\|')


_LATEX = {
  '\\': r'\textbackslash{}',
  '~': r'\textasciitilde{}',
  '^': r'\textasciicircum{}',
  '>': r'$>$',
  '<': r'$<$',
} | {c: '\\' + c for c in '&%$#_{}'}


def as_latex(report: comparing.Report) -> str:
  """The tables, for the package booktabs."""
  lines = [r'% \usepackage{booktabs}']
  for text in texts(report):
    lines += [
      '',
      r'\begin{table}',
      r'  \centering',
      rf'  \caption{{{_escape_latex(text.title)}}}',
      rf'  \begin{{tabular}}{{l{"r" * (len(text.header) - 1)}}}',
      r'    \toprule',
      _latex_row(text.header),
      r'    \midrule',
      *map(_latex_row, text.rows),
      r'    \bottomrule',
      r'  \end{tabular}',
      r'\end{table}',
    ]
  return '\n'.join(lines) + '\n'


def _latex_row(cells: Sequence[str]) -> str:
  return '    ' + ' & '.join(map(_escape_latex, cells)) + r' \\'


def _escape_latex(text: str) -> str:
  return ''.join(_LATEX.get(c, c) for c in text)
