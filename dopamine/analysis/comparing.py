"""What a comparison of runs says, in numbers.

Deterministic: the same runs and seed give the same numbers, to the bit.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import itertools

import numpy as np

from dopamine.analysis import published
from dopamine.analysis import runs as runs_lib
from dopamine.analysis import statistics
from dopamine.analysis import twins
from dopamine.settings import errors

# Below this many runs a percentile bootstrap is plainly too narrow.
FEW = 5
_POINTS = 50  # Of sample efficiency.
_THRESHOLDS = 101  # Of profiles.


@dataclasses.dataclass(frozen=True)
class Settings:
  """How a report is made.

  Attributes:
    phase: 'train' or 'eval', of which the returns are compared.
    last: a run's score on a task is the mean over so many iterations, the last
      that all runs of the task have.
    coverage: of intervals.
    repetitions: resamples of the bootstrap.
    seed: of the resamples.
    scale: `{task: (low, high)}`, which are 0 and 1; games that are not in it
      have random play and a human at these places.
    source: of published returns, see `published.find_twin`.
  """

  phase: str = 'train'
  last: int = 5
  coverage: float = 0.95
  repetitions: int = 2000
  seed: int = 0
  scale: Mapping[str, tuple[float, float]] = dataclasses.field(
    default_factory=dict
  )
  source: str | None = None

  def __post_init__(self):
    if self.phase not in ('train', 'eval'):
      raise errors.SettingError(f"phase={self.phase!r}: give 'train' or 'eval'")
    if not 0 < self.coverage < 1:
      raise errors.SettingError(f'coverage={self.coverage}: give e.g. 0.95')
    for name, value in (
      ('last', self.last),
      ('repetitions', self.repetitions),
    ):
      if value < 1:
        raise errors.SettingError(f'{name}={value}: give 1 or more')
    for task, (low, high) in self.scale.items():
      if not low < high:
        raise errors.SettingError(
          f'scale of {task}: low {low:g} is not below high {high:g}'
        )


@dataclasses.dataclass(frozen=True)
class Curve:
  """The learning curve of an agent on a task, `[I]`.

  Attributes:
    agent: its label.
    task: what it plays.
    runs: how many there are.
    agent_steps: of training, the mean over runs.
    returns: their mean, and Student's t interval of it.
  """

  agent: str
  task: str
  runs: int
  agent_steps: np.ndarray
  returns: statistics.Interval


@dataclasses.dataclass(frozen=True)
class Row:
  """The score of an agent on a task, in returns.

  Attributes:
    agent: its label.
    task: what it plays.
    scores: `[R]`, one of each run.
    mean: with Student's t interval.
    agent_steps: after which.
  """

  agent: str
  task: str
  scores: np.ndarray
  mean: statistics.Interval
  agent_steps: float

  @property
  def standard_deviation(self) -> float:
    """Over runs, with R - 1 below; NaN for one."""
    return (
      float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else np.nan
    )


@dataclasses.dataclass(frozen=True)
class Report:
  """All that a report shows.

  Attributes:
    settings: how it was made.
    runs: what was read; none where scores were given.
    agents: their labels, in order.
    curves: by agent and task.
    table: by agent and task.
    games: of the aggregates.
    scores: agent -> `[R, G]`, on the common scale.
    scale: what 0 and 1 are there.
    aggregates: agent -> name -> figure.
    thresholds: of the profiles.
    profiles: agent -> share of runs above each threshold.
    improvement: (X, Y) -> P(X > Y).
    improvement_games: over which.
    efficiency_steps: agent steps.
    efficiency: agent -> IQM after these.
    comparisons: with what was published.
    refusals: why there are no others.
    remarks: what a reader has to know first.
  """

  settings: Settings
  runs: tuple[runs_lib.Run, ...]
  agents: tuple[str, ...]
  curves: tuple[Curve, ...] = ()
  table: tuple[Row, ...] = ()
  games: tuple[str, ...] = ()
  scores: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  scale: str = ''
  aggregates: Mapping[str, Mapping[str, statistics.Interval]] = (
    dataclasses.field(default_factory=dict)
  )
  thresholds: np.ndarray = dataclasses.field(
    default_factory=lambda: np.zeros(0)
  )
  profiles: Mapping[str, statistics.Interval] = dataclasses.field(
    default_factory=dict
  )
  improvement: Mapping[tuple[str, str], statistics.Interval] = (
    dataclasses.field(default_factory=dict)
  )
  improvement_games: tuple[str, ...] = ()
  efficiency_steps: np.ndarray = dataclasses.field(
    default_factory=lambda: np.zeros(0)
  )
  efficiency: Mapping[str, statistics.Interval] = dataclasses.field(
    default_factory=dict
  )
  comparisons: tuple[published.Comparison, ...] = ()
  refusals: tuple[str, ...] = ()
  remarks: tuple[str, ...] = ()


# Of scores --------------------------------------------------------------------


def of_scores(
  scores: Mapping[str, np.ndarray],
  settings: Settings,
  games: Sequence[str] = (),
) -> Report:
  """Returns a report on scores that are on a common scale already.

  Args:
    scores: agent -> `[R, G]`, runs and games; R may differ between agents.
    settings: how it is made.
    games: the names of the G games.

  Raises:
    ValueError: the arrays are no such, or of different games.
  """
  if not scores:
    raise errors.SettingError(
      'there are no scores: give {agent: [runs, games]}'
    )
  arrays = {
    str(a): statistics.check_scores(s, f'scores[{a!r}]')
    for a, s in scores.items()
  }
  for agent, array in arrays.items():
    if array.ndim != 2:
      raise errors.SettingError(
        f'scores[{agent!r}] has shape {array.shape}: give [runs, games]'
      )
  sizes = {a: s.shape[1] for a, s in arrays.items()}
  if len(set(sizes.values())) > 1:
    raise errors.SettingError(
      f'agents have different numbers of games: {sizes}: give the same, in the '
      'same order'
    )
  count = next(iter(sizes.values()))
  names = tuple(games) or tuple(f'game {i}' for i in range(count))
  if len(names) != count:
    raise errors.SettingError(f'{len(names)} names for {count} games')
  table = tuple(
    _row(agent, game, array[:, g], np.nan, settings)
    for agent, array in arrays.items()
    for g, game in enumerate(names)
  )
  report = Report(
    settings=settings,
    runs=(),
    agents=tuple(arrays),
    table=table,
    scale='scores as given',
  )
  report = _with_aggregates(report, names, arrays)
  report = _with_improvement(report, names, arrays)
  return dataclasses.replace(report, remarks=tuple(_of_few(report)))


def _row(
  agent: str, task: str, scores: np.ndarray, steps: float, settings: Settings
) -> Row:
  mean = statistics.mean_of_runs(scores, settings.coverage)
  return Row(agent, task, scores, mean, steps)


def _with_aggregates(
  report: Report, games: Sequence[str], scores: Mapping[str, np.ndarray]
) -> Report:
  """Adds what is computed of scores on a common scale."""
  how = _bootstrap(report.settings)
  everything = np.concatenate([s.ravel() for s in scores.values()])
  least, most = float(everything.min()), float(everything.max())
  thresholds = np.linspace(min(0.0, least), max(1.0, most), _THRESHOLDS)
  if report.scale.startswith('human'):  # Of a few games it is far above.
    thresholds = np.linspace(0.0, min(8.0, max(1.0, most)), _THRESHOLDS)

  def profile(x: np.ndarray) -> np.ndarray:
    return statistics.performance_profile(x, thresholds)

  return dataclasses.replace(
    report,
    games=tuple(games),
    scores=scores,
    aggregates={
      agent: {
        name: statistics.interval(array, aggregate, **how)
        for name, aggregate in statistics.AGGREGATES.items()
      }
      for agent, array in scores.items()
    },
    thresholds=thresholds,
    profiles={
      agent: statistics.interval(array, profile, **how)
      for agent, array in scores.items()
    },
  )


def _with_improvement(
  report: Report, games: Sequence[str], scores: Mapping[str, np.ndarray]
) -> Report:
  how = _bootstrap(report.settings)
  return dataclasses.replace(
    report,
    improvement={
      (x, y): statistics.probability_of_improvement(scores[x], scores[y], **how)
      for x, y in itertools.combinations(scores, 2)
    },
    improvement_games=tuple(games),
  )


def _bootstrap(settings: Settings) -> dict:
  return {
    'repetitions': settings.repetitions,
    'coverage': settings.coverage,
    'seed': settings.seed,
  }


# Of runs ----------------------------------------------------------------------


def of_runs(runs: Sequence[runs_lib.Run], settings: Settings) -> Report:
  """Returns a report on runs.

  Args:
    runs: as `read_runs` returns them.
    settings: how it is made.

  Raises:
    ValueError: no run has a return in this phase.
  """
  remarks: list[str] = []
  kept = []
  for run in runs:
    if np.isfinite(run.returns(settings.phase)).any():
      kept.append(run)
    else:
      remarks.append(
        f'{run.path} is left out: no episode of its {settings.phase} phase has '
        'ended'
      )
  if not kept:
    raise errors.SettingError(
      f'no run has a return of the {settings.phase} phase: '
      + ('; '.join(remarks) or 'give the folder of a run')
    )
  groups = _groups(kept)
  horizons, of_horizons = _horizons(kept)
  remarks += _of_twice(groups) + of_horizons
  table = tuple(
    _row(
      *(agent, task, _scores(members, horizons[task], settings)),
      *(horizons[task], settings),
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
  remarks = [*_of_few(report), *of_aggregates, *remarks]
  return dataclasses.replace(report, remarks=tuple(remarks))


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
    longest = max(run.agent_steps[-1] for run in of_task)
    horizons[task] = float(shortest.agent_steps[-1])
    if longest > 1.1 * horizons[task]:
      remarks.append(
        f'{task} is compared after {horizons[task]:,.0f} agent steps, although '
        f'a run has {longest:,.0f}: {shortest.path} has no more'
      )
  return horizons, remarks


def _scores(
  runs: Sequence[runs_lib.Run], horizon: float, settings: Settings
) -> np.ndarray:
  """`[R]`: the mean of the last iterations up to the horizon."""
  found = []
  for run in runs:
    end = int(np.argmin(np.abs(run.agent_steps - horizon))) + 1
    returns = run.returns(settings.phase)[:end][-settings.last :]
    returns = returns[np.isfinite(returns)]
    if not len(returns):  # No episode ended lately: the last that did counts.
      known = run.returns(settings.phase)[:end]
      returns = known[np.isfinite(known)][-1:]
    found.append(np.mean(returns) if len(returns) else np.nan)
  return np.array(found)


def _curve(
  agent: str, task: str, runs: Sequence[runs_lib.Run], settings: Settings
) -> Curve:
  length = min(len(run.train) for run in runs)
  returns = np.stack([run.returns(settings.phase)[:length] for run in runs])
  steps = np.mean([run.agent_steps[:length] for run in runs], axis=0)
  interval = statistics.mean_of_runs(returns, settings.coverage)
  return Curve(agent, task, len(runs), steps, interval)


def curves_of(runs: Sequence[runs_lib.Run], settings: Settings) -> Report:
  """Returns a report that has nothing but the curves."""
  if not runs:
    raise errors.SettingError('there is no run to draw')
  groups = _groups(runs)
  return Report(
    settings=settings,
    runs=tuple(runs),
    agents=tuple(dict.fromkeys(run.agent for run in runs)),
    curves=tuple(
      _curve(agent, task, members, settings)
      for (agent, task), members in groups.items()
    ),
  )


# Aggregates of runs -----------------------------------------------------------


def _aggregated(report: Report, groups: _Groups) -> tuple[Report, list[str]]:
  """Adds aggregates over the tasks that all agents have; and remarks."""
  remarks: list[str] = []
  tasks = list(dict.fromkeys(task for _, task in groups))
  common = [
    task
    for task in tasks
    if all(
      (agent, task) in groups
      and np.isfinite(_of_row(report, agent, task)).all()
      for agent in report.agents
    )
  ]
  if len(common) < len(tasks):
    left_out = ', '.join(task for task in tasks if task not in common)
    remarks.append(
      f'not all agents have {left_out}: left out of all that is computed over '
      'several tasks'
    )
  if not common:
    return report, remarks
  raw, of_runs_ = _matrix(report, common)
  remarks += of_runs_
  if len(report.agents) > 1:
    report = _with_improvement(report, common, raw)
  scale, of_scale = _scale(common, report.settings)
  remarks += of_scale
  if scale is None:
    return report, remarks
  games = [task for task in common if task in scale]
  scaled = {
    agent: np.stack(
      [
        (array[:, common.index(g)] - scale[g][0]) / (scale[g][1] - scale[g][0])
        for g in games
      ],
      axis=1,
    )
    for agent, array in raw.items()
  }
  is_raw = all(scale[g] == (0.0, 1.0) for g in games)
  name = f'returns on {games[0]}' if is_raw else _name_of_scale(games, report)
  report = _with_aggregates(
    dataclasses.replace(report, scale=name), games, scaled
  )
  return _with_efficiency(report, groups, scale), remarks


def _of_row(report: Report, agent: str, task: str) -> np.ndarray:
  return next(
    row.scores for row in report.table if (row.agent, row.task) == (agent, task)
  )


def _matrix(
  report: Report, tasks: Sequence[str]
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


def _scale(
  tasks: Sequence[str], settings: Settings
) -> tuple[dict[str, tuple[float, float]] | None, list[str]]:
  """What 0 and 1 are on each task; None if there is no common scale."""
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
    return {tasks[0]: (0.0, 1.0)}, []
  if not found:
    return None, [
      f'there is no common scale for {", ".join(tasks)}: aggregates need one '
      '(--scale); the probability of improvement does not'
    ]
  if without:
    return found, [
      f'no human score is known for {", ".join(without)}: left out of the '
      'aggregates'
    ]
  return found, []


def _name_of_scale(games: Sequence[str], report: Report) -> str:
  if set(games) & set(report.settings.scale):
    return 'scores: 0 and 1 as given by the scale'
  return 'human-normalised score: 0 is random play, 1 a human tester'


def _with_efficiency(
  report: Report, groups: _Groups, scale: Mapping[str, tuple[float, float]]
) -> Report:
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
      [
        (_at(run, steps, phase) - scale[g][0]) / (scale[g][1] - scale[g][0])
        for run in of_game
      ]
      for g, of_game in zip(games, of_agent, strict=True)
    ]  # [G, R, T]
    curves[agent] = np.transpose(np.array(along), (2, 1, 0))
  how = _bootstrap(report.settings)
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


# Remarks ----------------------------------------------------------------------


def _of_few(report: Report) -> list[str]:
  """Few seeds are said out loud, the fewest in front."""
  counts: dict[int, list[str]] = {}
  for agent in report.agents:
    sizes = [len(row.scores) for row in report.table if row.agent == agent]
    counts.setdefault(min(sizes), []).append(agent)
  found = []
  for n in sorted(counts):
    who = ', '.join(counts[n])
    if n == 1:
      found.append(
        f'ONE RUN on a task: {who}. There is no interval, and nothing can be '
        'said of what another seed gives.'
      )
    elif n < FEW:
      found.append(
        f'FEW RUNS: {n} on a task ({who}). Bootstrap intervals of so few are '
        'too narrow; take them for hints, and a difference for a reason to run '
        'more seeds.'
      )
  return found


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
