"""The figures of a report, for a paper: matplotlib."""

from collections.abc import Callable, Sequence
import textwrap
from typing import Any

import numpy as np

from dopamine import backend
from dopamine.analysis import comparing
from dopamine.analysis import comparing_runs
from dopamine.analysis import runs as runs_lib
from dopamine.analysis import statistics
from dopamine.analysis import tables

# Told apart by the colour-blind, in this order (Okabe and Ito, 2008); then
# with other dashes.
COLORS = (
  *('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00'),
  *('#7a5195', '#8c8c8c'),
)
DASHES = '-', '--', ':', '-.'

_MOST_PANELS = 12  # Of bands.


def style(i: int) -> dict[str, str]:
  """Colour and dashes of the agent at a place."""
  dashes = DASHES[i // len(COLORS) % len(DASHES)]
  return {'color': COLORS[i % len(COLORS)], 'linestyle': dashes}


def _wrapped(text: str, width: int = 28) -> str:
  """A label in lines."""
  return textwrap.fill(text, width, break_on_hyphens=False)


def _figure(width: float, height: float) -> Any:
  # No pyplot: nothing global, no window.
  matplotlib = backend.import_extra('matplotlib.figure', 'a figure of a report')
  return matplotlib.Figure(figsize=(width, height), layout='constrained')


def _panels(
  count: int, most: int, one: tuple[float, float], each: tuple[float, float]
) -> tuple[Any, list[Any]]:
  """A figure and its axes, at most so many in a row; sizes are in inches."""
  columns = min(most, max(1, count))
  rows = -(-count // columns)
  width, height = one if count == 1 else (each[0] * columns, each[1] * rows)
  figure = _figure(max(6.4, width), height + 0.6)
  axes = list(figure.subplots(rows, columns, squeeze=False).flat)
  for axis in axes[count:]:
    axis.set_axis_off()
  for axis in axes[:count]:
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.25)
  return figure, axes[:count]


def _band(
  axis: Any, x: np.ndarray, y: statistics.Interval, i: int, **kw
) -> Any:
  """A line with its interval."""
  look = style(i)
  if np.isfinite(y.low).any():
    axis.fill_between(x, y.low, y.high, color=look['color'], alpha=0.2, lw=0)
  marker = '.' if len(x) == 1 else None
  return axis.plot(x, y.value, **look, marker=marker, lw=1.2, **kw)[0]


def plot_curves(runs: Sequence[runs_lib.Run], phase: str = 'train') -> Any:
  """Draws the learning curves of runs, a panel for each task.

  Args:
    runs: as `read_runs` returns them.
    phase: 'train' or 'eval'.

  Returns:
    A `matplotlib.figure.Figure`: mean returns over runs, with Student's t
    interval (95 %), over agent steps.
  """
  return curves(comparing_runs.curves_of(runs, comparing.Settings(phase=phase)))


def curves(report: comparing.Report) -> Any:
  """A panel for each task, a line for each agent."""
  tasks = list(dict.fromkeys(curve.task for curve in report.curves))
  figure, axes = _panels(len(tasks), 5, (6.4, 3.8), (2.9, 2.1))
  width, height = figure.get_size_inches()
  figure.set_size_inches(width, height + _height(report.agents, 40) / 2)
  places = {agent: i for i, agent in enumerate(report.agents)}
  lines = {}
  by_task: dict[str, list[comparing.Curve]] = {task: [] for task in tasks}
  for curve in report.curves:
    by_task[curve.task].append(curve)
  for axis, task in zip(axes, tasks, strict=True):
    for curve in by_task[task]:
      lines[curve.agent] = _band(
        *(axis, curve.agent_steps / 1e6, curve.returns, places[curve.agent])
      )
    axis.set_title(task, fontsize=9)
  figure.supxlabel('million agent steps', fontsize=9)
  figure.supylabel(tables.name_of_scores(report).lower(), fontsize=9)
  _legend(figure, {a: lines[a] for a in report.agents if a in lines})
  return figure


def _legend(figure: Any, lines: dict[str, Any]) -> None:
  figure.legend(
    list(lines.values()),
    [_wrapped(name, 40) for name in lines],
    loc='outside upper center',
    ncols=min(len(lines), 2 if max(map(len, lines)) > 20 else 6),
    fontsize=8,
    frameon=False,
  )


def aggregates(report: comparing.Report) -> Any:
  """A column for each aggregate, a row for each agent."""
  names = list(report.aggregates[report.agents[0]])
  figure = _figure(9, 0.9 + _height(report.agents))
  axes = figure.subplots(1, len(names), sharey=True)
  for axis, name in zip(axes, names, strict=True):
    for i, agent in enumerate(report.agents):
      _bar(axis, i, report.aggregates[agent][name], style(i)['color'])
    axis.set_title(name, fontsize=9)
    _rows(axis, report.agents)
  return figure


def _bar(axis: Any, i: int, interval: statistics.Interval, color: str) -> None:
  value, low, high = map(float, interval)
  if np.isfinite(low):
    axis.barh(i, high - low, left=low, height=0.6, color=color, alpha=0.5)
  axis.plot([value, value], [i - 0.3, i + 0.3], color='black', lw=1.2)


def _height(names: Sequence[str], width: int = 28) -> float:
  """Inches of the rows of a figure."""
  lines = max(_wrapped(name, width).count('\n') + 1 for name in names)
  return max(0.32, 0.16 * lines) * len(names)


def _rows(axis: Any, names: Sequence[str]) -> None:
  axis.set_yticks(range(len(names)), [*map(_wrapped, names)], fontsize=8)
  axis.set_ylim(len(names) - 0.5, -0.5)
  axis.tick_params(axis='x', labelsize=7)
  axis.grid(axis='x', alpha=0.25)


def profiles(report: comparing.Report) -> Any:
  """The share of runs above each threshold."""
  figure = _figure(6.4, 4)
  axis = figure.subplots()
  for i, agent in enumerate(report.agents):
    _band(
      axis, report.thresholds, report.profiles[agent], i, label=_wrapped(agent)
    )
  axis.set(xlabel='threshold', ylabel='share of runs above it')
  axis.set_title(report.scale, fontsize=9)
  axis.set_ylim(0, 1)
  axis.grid(alpha=0.25)
  axis.legend(fontsize=8, frameon=False)
  return figure


def improvement(report: comparing.Report) -> Any:
  """P(X > Y) of all pairs."""
  pairs = [f'{x} > {y}' for x, y in report.improvement]
  figure = _figure(6.4, 1.1 + _height(pairs))
  axis = figure.subplots()
  for i, interval in enumerate(report.improvement.values()):
    _bar(axis, i, interval, COLORS[0])
  axis.axvline(0.5, color='black', lw=0.8, ls=':')
  _rows(axis, pairs)
  axis.set_xlim(0, 1)
  axis.set_xlabel('P(X > Y)', fontsize=9)
  return figure


def efficiency(report: comparing.Report) -> Any:
  """The interquartile mean along the way."""
  figure = _figure(6.4, 4)
  axis = figure.subplots()
  for i, agent in enumerate(report.agents):
    steps = report.efficiency_steps / 1e6
    _band(axis, steps, report.efficiency[agent], i, label=_wrapped(agent))
  axis.set(xlabel='million agent steps', ylabel='interquartile mean')
  axis.set_title(report.scale, fontsize=9)
  axis.grid(alpha=0.25)
  axis.legend(fontsize=8, frameon=False)
  return figure


def bands(report: comparing.Report) -> Any:
  """Runs in the published band: a panel for each, a map of many."""
  if len(report.comparisons) > _MOST_PANELS:
    return _map(report)
  found = report.comparisons
  figure, axes = _panels(len(found), 4, (6.4, 3.6), (3.2, 2.4))
  for axis, comparison in zip(axes, found, strict=True):
    band = comparison.band
    x = band.millions_of_frames
    for (low, high), width, alpha in (
      (band.simultaneous(), 2, 0.35),
      (band.pointwise(), 7, 0.5),
    ):
      axis.vlines(x, low, high, COLORS[0], linewidth=width, alpha=alpha)
    axis.plot(x, band.mean, '_', color=COLORS[0], label='published')
    axis.plot(
      x, comparison.mean, 'o', color=COLORS[1], ms=4, label='these runs'
    )
    title = _wrapped(f'{comparison.agent}, {band.game}', 32)
    axis.set_title(title, fontsize=9)
  figure.supxlabel('million frames', fontsize=9)
  figure.supylabel('training return', fontsize=9)
  handles, labels = axes[0].get_legend_handles_labels()
  _legend(figure, dict(zip(labels, handles, strict=True)))
  return figure


def _map(report: comparing.Report) -> Any:
  """How far each mean is from the published, in half widths of its interval."""
  by_agent: dict[str, list[Any]] = {}
  for comparison in report.comparisons:
    by_agent.setdefault(comparison.agent, []).append(comparison)
  most = max(map(len, by_agent.values()))
  figure = _figure(1.6 + 2.4 * len(by_agent), 1.2 + 0.16 * most)
  axes = list(figure.subplots(1, len(by_agent), squeeze=False).flat)
  for axis, (agent, found) in zip(axes, by_agent.items(), strict=True):
    points = np.unique(np.concatenate([_points(c) for c in found]))
    away = np.full((len(found), len(points)), np.nan)
    for row, c in zip(away, found, strict=True):
      low, high = c.band.pointwise()
      with np.errstate(divide='ignore', invalid='ignore'):
        distance = (c.mean - c.band.mean) / ((high - low) / 2)
      row[np.searchsorted(points, _points(c))] = distance
    image = axis.imshow(away, cmap='RdBu_r', vmin=-2, vmax=2, aspect='auto')
    axis.set_yticks(range(len(found)), [c.band.game for c in found], fontsize=6)
    names = [f'{x:g}' for x in points]
    axis.set_xticks(range(len(points)), names, fontsize=6, rotation=90)
    axis.set_title(_wrapped(agent), fontsize=8)
  figure.supxlabel('million frames', fontsize=9)
  figure.colorbar(image, ax=axes, label='within 1: in the band', aspect=60)
  return figure


def _points(comparison: Any) -> np.ndarray:
  return comparison.band.millions_of_frames


def drawings(
  report: comparing.Report,
) -> dict[str, tuple[Any, Callable[[comparing.Report], Any]]]:
  """What is drawn of a report: name -> what of it, if anything, and how."""
  return {
    'curves': (report.curves, curves),
    'aggregates': (report.aggregates, aggregates),
    'profiles': (report.profiles, profiles),
    'improvement': (report.improvement, improvement),
    'efficiency': (report.efficiency, efficiency),
    'published_band': (report.comparisons, bands),
  }
