"""A report on runs: what is compared with what, and what is left out."""

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import NamedTuple

import numpy as np

from dopamine.analysis import comparing
from dopamine.analysis import published
from dopamine.analysis import runs as runs_lib
from dopamine.analysis import statistics
from dopamine.analysis import twins
from dopamine.settings import errors

_POINTS = 50  # Of sample efficiency.


def compare_runs(
  runs: Sequence[runs_lib.Run], settings: comparing.Settings
) -> comparing.Report:
  """Returns a report on runs.

  Args:
    runs: as `read_runs` returns them.
    settings: how it is made.

  Raises:
    ValueError: no run has a return in this phase.
  """
  kept, remarks = _kept(runs, settings.phase)
  tasks = {run.task for run in kept}
  if unknown := sorted(settings.scale.keys() - tasks):
    raise errors.SettingError(
      f'the scale has {", ".join(unknown)}, of which there is no run; there '
      f'are {", ".join(sorted(tasks))}'
    )
  groups = _groups(kept)
  horizons, of_horizons = _horizons(kept)
  remarks += _of_twice(groups) + of_horizons
  spans = {
    task: _span([r for r in kept if r.task == task], settings.last)
    for task in tasks
  }
  table = tuple(
    comparing.make_row(
      agent,
      task,
      _scores(members, horizons[task], spans[task], settings.phase),
      horizons[task],
      settings,
    )
    for (agent, task), members in groups.items()
  )
  report = dataclasses.replace(curves_of(kept, settings), table=table)
  report, of_aggregates = _aggregated(report, groups)
  if settings.phase == 'train':
    comparisons, refusals = twins.compare_with_published(
      kept, coverage=settings.coverage, source=settings.source
    )
    report = dataclasses.replace(
      report, comparisons=tuple(comparisons), refusals=tuple(refusals)
    )
  remarks = [*comparing.remarks_of_few(report), *of_aggregates, *remarks]
  return dataclasses.replace(report, remarks=tuple(remarks))


def _kept(
  runs: Sequence[runs_lib.Run], phase: str
) -> tuple[list[runs_lib.Run], list[str]]:
  """The runs that count, and why others do not."""
  longest: dict[tuple[str, str], float] = {}
  for run in runs:
    group = run.agent, run.task
    longest[group] = max(run.agent_steps[-1], longest.get(group, 0))
  kept, silent, short = [], [], []
  for run in runs:
    if not np.isfinite(run.returns(phase)).any():
      silent.append(run.path)
    elif run.agent_steps[-1] < longest[run.agent, run.task] / 2:
      short.append(run.path)
    else:
      kept.append(run)
  remarks = []
  if short:
    remarks.append(
      'LEFT OUT: runs that have come less than half as far as another of their '
      f'agent: {"; ".join(short)}'
    )
  if silent:
    remarks.append(
      f'without a return of the {phase} phase, and left out: '
      f'{"; ".join(dict.fromkeys(silent))}'
    )
  if not kept:
    raise errors.SettingError(
      f'no run has a return of the {phase} phase: '
      + ('; '.join(dict.fromkeys(silent)) or 'give the folder of a run')
    )
  return kept, remarks


_Groups = dict[tuple[str, str], list[runs_lib.Run]]


def _groups(runs: Sequence[runs_lib.Run]) -> _Groups:
  """The runs of each agent and task: tasks in order, agents as they came."""
  found: _Groups = {}
  for task in sorted({run.task for run in runs}):
    for run in runs:
      if run.task == task:
        found.setdefault((run.agent, task), []).append(run)
  return found


def _horizons(
  runs: Sequence[runs_lib.Run],
) -> tuple[dict[str, float], list[str]]:
  """Agent steps that all runs of a task have taken; and who held others up."""
  horizons: dict[str, float] = {}
  remarks = []
  for task in sorted({run.task for run in runs}):
    of_task = [run for run in runs if run.task == task]
    shortest = min(of_task, key=lambda run: run.agent_steps[-1])
    horizon = horizons[task] = float(shortest.agent_steps[-1])
    longest = max(run.agent_steps[-1] for run in of_task)
    if any(_place(run, horizon) + 1 < len(run.agent_steps) for run in of_task):
      remarks.append(
        f'{task} is compared after {horizons[task]:,.0f} agent steps, although '
        f'a run has {longest:,.0f}: {shortest.path} has no more'
      )
  return horizons, remarks


def _place(run: runs_lib.Run, horizon: float) -> int:
  """The iteration that ends where the horizon is, or nearest to it."""
  return int(np.argmin(np.abs(run.agent_steps - horizon)))


def _span(runs: Sequence[runs_lib.Run], last: int) -> float:
  """Agent steps of the last iterations: of the longest, where they differ."""
  lengths = [np.median(np.diff(r.agent_steps, prepend=0)) for r in runs]
  return last * float(max(lengths))


def _scores(
  runs: Sequence[runs_lib.Run], horizon: float, span: float, phase: str
) -> np.ndarray:
  """`[R]`: the mean of the iterations of a span that ends at the horizon."""
  found = []
  for run in runs:
    end = _place(run, horizon)
    middles = run.agent_steps - np.diff(run.agent_steps, prepend=0) / 2
    in_span = middles > run.agent_steps[end] - span
    in_span[end + 1 :] = False
    returns = run.returns(phase)
    is_known = np.isfinite(returns)
    if not (in_span & is_known).any():  # The last that there is counts.
      in_span = np.cumsum(is_known) == np.cumsum(is_known)[end]
    counted = returns[in_span & is_known]
    found.append(np.mean(counted) if len(counted) else np.nan)
  return np.array(found)


def _curve(
  agent: str,
  task: str,
  runs: Sequence[runs_lib.Run],
  settings: comparing.Settings,
) -> comparing.Curve:
  length = min(len(run.train) for run in runs)
  returns = np.stack([run.returns(settings.phase)[:length] for run in runs])
  steps = np.mean([run.agent_steps[:length] for run in runs], axis=0)
  interval = statistics.mean_of_runs(returns, settings.coverage)
  return comparing.Curve(agent, task, len(runs), steps, interval)


def curves_of(
  runs: Sequence[runs_lib.Run], settings: comparing.Settings
) -> comparing.Report:
  """Returns a report that has nothing but the curves."""
  if not runs:
    raise errors.SettingError('there is no run to draw')
  groups = _groups(runs)
  return comparing.Report(
    settings=settings,
    runs=tuple(runs),
    agents=tuple(dict.fromkeys(run.agent for run in runs)),
    curves=tuple(
      _curve(agent, task, members, settings)
      for (agent, task), members in groups.items()
    ),
  )


# Aggregates of runs -----------------------------------------------------------


def _aggregated(
  report: comparing.Report, groups: _Groups
) -> tuple[comparing.Report, list[str]]:
  """Adds aggregates over the tasks that all agents have; and remarks."""
  common, remarks = _common(report, groups)
  if not common:
    return report, remarks
  raw, of_runs = _matrix(report, common)
  remarks += of_runs
  if len(report.agents) > 1:
    report = comparing.with_improvement(report, common, raw)
  scale, of_scale = _scale(common, report.settings)
  remarks += of_scale
  if scale is None:
    return report, remarks
  games = [task for task in common if task in scale.limits]
  scaled = {
    agent: np.stack(
      [scale.of(g, array[:, common.index(g)]) for g in games], axis=1
    )
    for agent, array in raw.items()
  }
  report = comparing.with_aggregates(
    *(dataclasses.replace(report, scale=scale.name), games, scaled),
    has_target=scale.has_target,
    bounds=scale.bounds,
  )
  return _with_efficiency(report, groups, scale), remarks


def _common(
  report: comparing.Report, groups: _Groups
) -> tuple[list[str], list[str]]:
  """The tasks of which all agents have runs enough; and why others not."""
  tasks = list(dict.fromkeys(task for _, task in groups))
  most = {
    agent: max(len(g) for (a, _), g in groups.items() if a == agent)
    for agent in report.agents
  }
  missing, few, common = [], [], []
  for task in tasks:
    rows = {r.agent: r.scores for r in report.table if r.task == task}
    if (
      len(rows) < len(most)
      or not np.isfinite(np.concatenate([*rows.values()])).all()
    ):
      missing.append(task)
    elif any(2 * len(rows[agent]) < most[agent] for agent in most):
      few.append(task)
    else:
      common.append(task)
  remarks = []
  everything = 'all that is computed over several tasks'
  if few:
    remarks.append(
      f'LEFT OUT of {everything}: {", ".join(few)}, where an agent has less '
      'than half of the runs that it has elsewhere'
    )
  if missing:
    remarks.append(
      f'not all agents have {", ".join(missing)}: left out of {everything}'
    )
  return common, remarks


def _of_row(report: comparing.Report, agent: str, task: str) -> np.ndarray:
  return next(
    row.scores for row in report.table if (row.agent, row.task) == (agent, task)
  )


def _matrix(
  report: comparing.Report, tasks: Sequence[str]
) -> tuple[dict[str, np.ndarray], list[str]]:
  """Agent -> returns `[R, G]`: as many runs as each of its tasks has."""
  found, remarks = {}, []
  for agent in report.agents:
    rows = [_of_row(report, agent, task) for task in tasks]
    least = min(map(len, rows))
    more = [t for t, row in zip(tasks, rows, strict=True) if len(row) > least]
    if more:
      remarks.append(
        f'{agent} has {least} runs on some tasks, more on {", ".join(more)}: '
        f'the first {least} count in what is computed over several tasks'
      )
    found[agent] = np.stack([row[:least] for row in rows], axis=1)
  return found, remarks


class _Scale(NamedTuple):
  """What 0 and 1 are on each task."""

  name: str
  limits: Mapping[str, tuple[float, float]]
  has_target: bool = True
  bounds: tuple[float, float] = (-math.inf, math.inf)

  def of(self, task: str, returns: np.ndarray) -> np.ndarray:
    low, high = self.limits[task]
    return (returns - low) / (high - low)


def _scale(
  tasks: Sequence[str], settings: comparing.Settings
) -> tuple[_Scale | None, list[str]]:
  """The common scale, if there is one; and what has no place on it."""
  found: dict[str, tuple[float, float]] = {}
  for task in tasks:
    game = published.find_game(task)
    if task in settings.scale:
      low, high = settings.scale[task]
      found[task] = float(low), float(high)
    elif game is not None and np.isfinite(game.human):
      found[task] = game.random, game.human
  without = [task for task in tasks if task not in found]
  if not found and len(tasks) == 1:
    name = f'returns on {tasks[0]}'
    return _Scale(name, {tasks[0]: (0.0, 1.0)}, has_target=False), []
  if not found:
    return None, [
      f'there is no common scale for {", ".join(tasks)}: aggregates need one '
      '(--scale); the probability of improvement does not'
    ]
  if found.keys() & settings.scale.keys():
    scale = _Scale('scores: 0 and 1 as given by the scale', found)
  else:  # On a few games agents are far above a human.
    scale = _Scale(
      'human-normalised score: 0 is random play, 1 a human tester',
      found,
      bounds=(0.0, 8.0),
    )
  if without:
    return scale, [
      f'no human score is known for {", ".join(without)}: left out of the '
      'aggregates'
    ]
  return scale, []


def _with_efficiency(
  report: comparing.Report,
  groups: _Groups,
  scale: _Scale,
) -> comparing.Report:
  """Adds the interquartile mean along the way (Agarwal et al., section 4.3)."""
  games = report.games
  members = {
    agent: [groups[agent, g][: len(report.scores[agent])] for g in games]
    for agent in report.agents
  }
  runs = [
    r for of_agent in members.values() for of_game in of_agent for r in of_game
  ]
  first = max(run.agent_steps[0] for run in runs)
  end = min(run.agent_steps[-1] for run in runs)
  points = min(_POINTS, min(len(run.agent_steps) for run in runs))
  if first >= end or points < 2:
    return report
  steps = np.linspace(first, end, points)
  phase = report.settings.phase
  curves = {}
  for agent, of_agent in members.items():
    along = [
      [scale.of(g, _at(run, steps, phase)) for run in of_game]
      for g, of_game in zip(games, of_agent, strict=True)
    ]  # [G, R, T]
    curves[agent] = np.transpose(np.array(along), (2, 1, 0))
  how = comparing.bootstrap(report.settings)
  return dataclasses.replace(
    report,
    efficiency_steps=steps,
    efficiency={
      agent: statistics.interval(c, statistics.interquartile_mean, **how)
      for agent, c in curves.items()
    },
  )


def _at(run: runs_lib.Run, steps: np.ndarray, phase: str) -> np.ndarray:
  """A run's returns after so many agent steps: between two, a line."""
  returns = run.returns(phase)
  is_known = np.isfinite(returns)
  return np.interp(steps, run.agent_steps[is_known], returns[is_known])


def _of_twice(groups: _Groups) -> list[str]:
  """Runs of one seed are no two samples."""
  found = []
  for (agent, task), runs in groups.items():
    seeds = [run.seed for run in runs if run.seed is not None]
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
      found.append(
        f'{agent} on {task} has several runs of seed '
        f'{", ".join(map(str, twice))}: they are no independent samples'
      )
  return found
