"""What a comparison of runs says, in numbers.

Deterministic: the same runs and seed give the same numbers, to the bit.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import itertools
import math

import numpy as np

from dopamine.analysis import published
from dopamine.analysis import runs as runs_lib
from dopamine.analysis import statistics
from dopamine.settings import errors

# Below this many runs a percentile bootstrap is plainly too narrow.
FEW = 5
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
    sources = {source for source, _ in published.TWINS}
    if self.source is not None and self.source not in sources:
      raise errors.SettingError(
        f'source={self.source!r}: there are {", ".join(sorted(sources))}'
      )
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


def compare_scores(
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
    make_row(agent, game, array[:, g], np.nan, settings)
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
  report = with_aggregates(report, names, arrays)
  report = with_improvement(report, names, arrays)
  return dataclasses.replace(report, remarks=tuple(remarks_of_few(report)))


def make_row(
  agent: str, task: str, scores: np.ndarray, steps: float, settings: Settings
) -> Row:
  """The score of an agent on a task, of those of its runs."""
  mean = statistics.mean_of_runs(scores, settings.coverage)
  return Row(agent, task, scores, mean, steps)


def with_aggregates(
  report: Report,
  games: Sequence[str],
  scores: Mapping[str, np.ndarray],
  *,
  has_target: bool = True,
  bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Report:
  """Adds what is computed of scores on a common scale.

  Args:
    report: what it is added to.
    games: G of them.
    scores: agent -> `[R, G]`.
    has_target: whether 1 is something to reach, so that there is a gap.
    bounds: of the thresholds of profiles, which else span all scores.
  """
  how = bootstrap(report.settings)
  everything = np.concatenate([s.ravel() for s in scores.values()])
  least = max(bounds[0], min(0.0, float(everything.min())))
  most = min(bounds[1], max(1.0, float(everything.max())))
  thresholds = np.linspace(least, most, _THRESHOLDS)

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
        if has_target or aggregate is not statistics.optimality_gap
      }
      for agent, array in scores.items()
    },
    thresholds=thresholds,
    profiles={
      agent: statistics.interval(array, profile, **how)
      for agent, array in scores.items()
    },
  )


def with_improvement(
  report: Report, games: Sequence[str], scores: Mapping[str, np.ndarray]
) -> Report:
  """Adds the probability of improvement, of all pairs."""
  how = bootstrap(report.settings)
  return dataclasses.replace(
    report,
    improvement={
      (x, y): statistics.probability_of_improvement(scores[x], scores[y], **how)
      for x, y in itertools.combinations(scores, 2)
    },
    improvement_games=tuple(games),
  )


def bootstrap(settings: Settings) -> dict:
  """How intervals are made."""
  return {
    'repetitions': settings.repetitions,
    'coverage': settings.coverage,
    'seed': settings.seed,
  }


# Remarks ----------------------------------------------------------------------


def remarks_of_few(report: Report) -> list[str]:
  """Few seeds are said out loud, the fewest in front."""
  counts: dict[int, list[str]] = {}
  for agent in report.agents:
    sizes = [len(row.scores) for row in report.table if row.agent == agent]
    counts.setdefault(min(sizes), []).append(agent)
  found = []
  for n in sorted(counts):
    who = '; '.join(counts[n])
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
