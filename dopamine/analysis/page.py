"""The page of a report: one file that needs no network, with plotly in it."""

from collections.abc import Iterable, Mapping
import html
import importlib.resources
import json
import re
from typing import Any

import numpy as np

from dopamine import backend
from dopamine.analysis import comparing
from dopamine.analysis import figures
from dopamine.analysis import statistics
from dopamine.analysis import tables

_DASHES = {'-': 'solid', '--': 'dash', ':': 'dot', '-.': 'dashdot'}


def build(report: comparing.Report) -> str:
  """Returns the page: tables, and figures that are drawn when they are opened.

  Raises:
    ImportError: plotly is not installed.
  """
  drawn = _Figures(report)
  body = '\n'.join(_body(report, drawn))
  parts = {
    'title': _title(report),
    'css': _file('page.css'),
    'body': body,
    'figures': _json({'agents': _looks(report.agents), 'figures': drawn.found}),
    'js': _file('page.js'),
    'plotly': _plotly(),  # Last: nothing looks for a place in it.
  }
  page = _file('page.html')
  for name, text in parts.items():
    page = page.replace(f'{{{{{name}}}}}', text, 1 if name != 'title' else 2)
  return page


def _file(name: str) -> str:
  path = importlib.resources.files('dopamine.analysis') / 'page' / name
  return path.read_text(encoding='utf-8').rstrip('\n')


def _plotly() -> str:
  plotly = backend.import_extra('plotly.offline', 'the page of a report')
  return plotly.get_plotlyjs()


def _json(value: Any) -> str:
  """JSON that ends no script, whatever an agent is called."""
  text = json.dumps(value, separators=(',', ':'), allow_nan=False)
  return text.replace('<', '\\u003c')


def _looks(agents: Iterable[str]) -> list[dict[str, str]]:
  looks = [(agent, figures.style(i)) for i, agent in enumerate(agents)]
  return [
    {'name': a, 'color': s['color'], 'dash': _DASHES[s['linestyle']]}
    for a, s in looks
  ]


# Figures ----------------------------------------------------------------------


class _Figures:
  """The numbers of the figures, by name.

  Attributes:
    found: those that were asked for.
  """

  def __init__(self, report: comparing.Report):
    self.found: dict[str, dict[str, Any]] = {}
    self._places = {agent: i for i, agent in enumerate(report.agents)}

  def lines(
    self,
    name: str,
    titles: tuple[str, str],
    curves: Mapping[str, tuple[np.ndarray, statistics.Interval]],
    **kwargs: Any,
  ) -> str:
    """A line for each agent, of x and an interval."""
    series = []
    for agent, (x, y) in curves.items():
      one: dict[str, Any] = {'agent': self._places[agent]}
      one |= {'x': _plain(x), 'y': _plain(y.value)}
      if np.isfinite(y.low).any():
        one |= {'low': _plain(y.low), 'high': _plain(y.high)}
      series.append(one)
    x_title, y_title = titles
    figure = {'kind': 'lines', 'x': x_title, 'y': y_title, 'series': series}
    return self._place(name, figure | kwargs)

  def bars(
    self,
    name: str,
    title: str,
    intervals: Mapping[str, statistics.Interval],
    is_of_agents: bool = True,
    **kwargs: Any,
  ) -> str:
    """A row for each interval."""
    series = [
      {
        'name': label,
        'color': figures.style(i if is_of_agents else 0)['color'],
        **dict(zip(('value', 'low', 'high'), _plain(interval), strict=True)),
      }
      for i, (label, interval) in enumerate(intervals.items())
    ]
    figure = {'kind': 'bars', 'x': title, 'y': '', 'series': series}
    return self._place(name, figure | kwargs, ' high')

  def band(self, name: str, comparison: Any) -> str:
    """Points in intervals."""
    band = comparison.band
    figure = {
      'kind': 'band',
      'x': 'million frames',
      'y': 'training return',
      'at': _plain(band.millions_of_frames),
      'mean': _plain(band.mean),
      'ours': _plain(comparison.mean),
      'pointwise': [_plain(x) for x in band.pointwise()],
      'simultaneous': [_plain(x) for x in band.simultaneous()],
    }
    return self._place(name, figure)

  def _place(self, name: str, figure: dict[str, Any], more: str = '') -> str:
    self.found[name] = figure
    return f'<div class="figure{more}" data-figure="{html.escape(name)}"></div>'


def _plain(values: Any) -> list[float | None]:
  """Six figures of each, None for what is unknown."""
  return [
    float(f'{x:.6g}') if np.isfinite(x) else None
    for x in np.asarray(values, np.float64).tolist()
  ]


# Text -------------------------------------------------------------------------


def _title(report: comparing.Report) -> str:
  agents = '; '.join(report.agents[:6])
  more = len(report.agents) - 6
  if more > 0:
    agents += f' and {more} more'
  if len(agents) > 100:
    agents = f'{len(report.agents)} agents'
  return html.escape(f'Comparison of {agents}')


def _body(report: comparing.Report, drawn: _Figures) -> Iterable[str]:
  percent = f'{100 * report.settings.coverage:g} %'
  yield _summary(report)
  if report.remarks:
    items = ''.join(
      f'<li{_loudness(r)}>{html.escape(r)}</li>' for r in report.remarks
    )
    yield f'<div class="remarks"><ul>{items}</ul></div>'
  if report.aggregates:
    yield from _aggregates(report, drawn, percent)
  if report.improvement:
    yield '<h2>Probability of improvement</h2>'
    pairs = {f'{x} &gt; {y}': i for (x, y), i in _escaped(report).items()}
    figure = drawn.bars(
      *('improvement', 'P(X > Y)', pairs, False), range=[0, 1], middle=0.5
    )
    yield _panel(
      'That a run of X is above one of Y: the mean over '
      f'{tables.tasks(len(report.improvement_games))}',
      figure,
      is_open=True,
    )
  if report.efficiency:
    yield '<h2>Sample efficiency</h2>'
    curves = {
      agent: (report.efficiency_steps, interval)
      for agent, interval in report.efficiency.items()
    }
    titles = 'agent steps', 'interquartile mean'
    yield _panel(
      'Interquartile mean along the way',
      drawn.lines('efficiency', titles, curves),
      is_open=True,
    )
  if report.comparisons or report.refusals:
    yield from _bands(report, drawn)
  if report.curves:
    yield from _curves(report, drawn, percent)
  yield '<h2>Tables</h2>'
  for text in tables.texts(report):
    yield _panel(text.title, _table(text), is_open=len(text.rows) < 12)
  if report.runs:
    columns, rows = tables.numbers(report)['runs']
    of_runs = tables.Text(
      f'The {len(rows)} runs',
      list(columns),
      [['' if x is None else f'{x}' for x in row] for row in rows],
    )
    yield _panel(of_runs.title, _table(of_runs))


def _loudness(remark: str) -> str:
  return ' class="loud"' if re.match('[A-Z]{3,} [A-Z]{3,}', remark) else ''


def _escaped(report: comparing.Report) -> dict[tuple[str, str], Any]:
  # Plotly takes what stands on an axis for HTML.
  return {
    (html.escape(x), html.escape(y)): i
    for (x, y), i in report.improvement.items()
  }


def _summary(report: comparing.Report) -> str:
  settings = report.settings
  if report.runs:
    tasks = {run.task for run in report.runs}
    what = (
      f'{len(report.runs)} runs of {len(report.agents)} agents on '
      f'{tables.tasks(len(tasks))}. {tables.name_of_scores(report)}s, '
      'undiscounted; the score of a '
      f'run is the mean over the last {settings.last} iterations that all runs '
      'of its task have.'
    )
  else:
    what = f'{len(report.agents)} agents, scores as they were given.'
  how = (
    f'{100 * settings.coverage:g} % intervals: over tasks, of a stratified '
    f'bootstrap ({settings.repetitions:,} resamples of the runs of each task, '
    f"seed {settings.seed}; Agarwal et al., 2021); of one task, Student's t."
  )
  return f'<p>{html.escape(what)}</p><p class="faint">{html.escape(how)}</p>'


def _panel(
  title: str, inner: str, note: str = '', is_open: bool = False
) -> str:
  faint = f' <span class="faint">{html.escape(note)}</span>' if note else ''
  return (
    f'<details{" open" if is_open else ""}><summary>{html.escape(title)}{faint}'
    f'</summary><div class="inner">{inner}</div></details>'
  )


def _table(text: tables.Text) -> str:
  def row(cells: list[str], tag: str) -> str:
    return ''.join(f'<{tag}>{html.escape(c)}</{tag}>' for c in cells)

  rows = ''.join(f'<tr>{row(cells, "td")}</tr>' for cells in text.rows)
  return (
    f'<div class="scroll"><table><thead><tr>{row(text.header, "th")}</tr>'
    f'</thead><tbody>{rows}</tbody></table></div>'
  )


def _aggregates(
  report: comparing.Report, drawn: _Figures, percent: str
) -> Iterable[str]:
  yield '<h2>Aggregates</h2>'
  yield (
    f'<p class="faint">{html.escape(report.scale)}; '
    f'{tables.tasks(len(report.games))}: '
    f'{html.escape(", ".join(report.games))}.</p>'
  )
  for name in report.aggregates[report.agents[0]]:
    intervals = {
      html.escape(agent): found[name]
      for agent, found in report.aggregates.items()
    }
    figure = drawn.bars(f'aggregate {name}', name, intervals)
    yield _panel(name, figure, f'{percent} intervals', is_open=name == 'IQM')
  curves = {
    agent: (report.thresholds, interval)
    for agent, interval in report.profiles.items()
  }
  titles = 'threshold', 'share of runs above it'
  figure = drawn.lines('profiles', titles, curves, range=[0, 1.02])
  yield _panel('Performance profiles', figure, f'{percent} intervals')


def _curves(
  report: comparing.Report, drawn: _Figures, percent: str
) -> Iterable[str]:
  yield '<h2>Learning curves</h2>'
  yield (
    f'<p class="faint">Mean over runs, {percent} t interval of the mean; a '
    'line ends where the shortest run of its agent does.</p>'
    '<div class="tasks">'
  )
  by_task: dict[str, list[comparing.Curve]] = {}
  for curve in report.curves:
    by_task.setdefault(curve.task, []).append(curve)
  for task, curves in by_task.items():
    found = {c.agent: (c.agent_steps, c.returns) for c in curves}
    title = tables.name_of_scores(report).lower()
    figure = drawn.lines(f'curves {task}', ('agent steps', title), found)
    counts = sorted({c.runs for c in curves})
    note = f'{"/".join(map(str, counts))} runs'
    yield _panel(task, figure, note, is_open=len(by_task) == 1)
  yield '</div>'


def _bands(report: comparing.Report, drawn: _Figures) -> Iterable[str]:
  yield '<h2>Published band</h2>'
  yield (
    '<p class="faint">Where the mean of new runs would be, given mean and '
    'deviation of the published runs: mean &plusmn; t(n &minus; 1) s '
    '&radic;(1/m + 1/n).</p><div class="tasks">'
  )
  for c in report.comparisons:
    said = html.escape('\n'.join(c.sentences()))
    figure = drawn.band(f'band {c.agent} {c.band.game}', c)
    verdict = 'inside' if c.is_inside else 'outside'
    yield _panel(
      *(f'{c.agent} on {c.band.game}', f'<pre>{said}</pre>{figure}', verdict),
      is_open=len(report.comparisons) == 1,
    )
  yield '</div>'
  if report.refusals:
    items = ''.join(f'<li>{html.escape(r)}</li>' for r in report.refusals)
    yield _panel(f'Not compared: {len(report.refusals)}', f'<ul>{items}</ul>')
