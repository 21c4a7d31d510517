"""Published returns, human scores, and whether a run is in the published band.

`data/published.csv` has mean and standard deviation over five runs of the
training returns that Dopamine's authors published; `data/games.csv` is the one
table of the names of games, with the returns of random play and of a human
tester; `data/README.md` says where both are from.
"""

import csv
import dataclasses
import functools
import importlib.resources
from typing import NamedTuple

import numpy as np

from dopamine.analysis import statistics
from dopamine.discrete_domains import games as atari_games
from dopamine.settings import errors

# Agent steps of training in an iteration of the published runs.
STEPS_PER_ITERATION = 250_000

_ROUNDING = 0.0005  # Of the table.


def _rows(name: str) -> list[dict[str, str]]:
  path = importlib.resources.files('dopamine.analysis') / 'data' / name
  return list(csv.DictReader(path.read_text(encoding='utf-8').splitlines()))


# Games ------------------------------------------------------------------------


class Game(NamedTuple):
  """A game of the table: `random` and `human` are NaN where nobody played."""

  name: str
  is_published: bool
  random: float
  human: float


@functools.cache
def games() -> dict[str, Game]:
  """Returns the games by name, e.g. 'SpaceInvaders', in order."""
  found = {}
  for row in _rows('games.csv'):
    scores = [float(row[key] or 'nan') for key in ('random', 'human')]
    found[row['game']] = Game(row['game'], bool(row['published']), *scores)
  return found


def find_game(name: str) -> Game | None:
  """Returns a game however it is written, None if it is not in the table."""
  return _by_letters().get(atari_games.letters(name))


@functools.cache
def _by_letters() -> dict[str, Game]:
  return {atari_games.letters(game.name): game for game in games().values()}


def human_normalized(returns: np.ndarray, game: str) -> np.ndarray:
  """(return - random) / (human - random), Mnih et al. (2015).

  Raises:
    ValueError: nobody measured how a human plays this.
  """
  known = find_game(game)
  if known is None or np.isnan(known.human):
    without = ', '.join(g.name for g in games().values() if np.isnan(g.human))
    raise errors.SettingError(
      f'there is no human score for {game!r}: of the published games, '
      f'{without} have none'
    )
  return (np.asarray(returns) - known.random) / (known.human - known.random)


# What was published -----------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Twin:
  """Published runs, and what was trained in them.

  Attributes:
    source: the set, a name of `published.csv`.
    agent: their name there.
    optimizer: as published, for a reader.
    loss: the same.
    network: the same.
    gin_file: which of ours has their settings.
    but: what differs in any case, a sentence each.
  """

  source: str
  agent: str
  optimizer: str
  loss: str
  network: str
  gin_file: str
  but: tuple[str, ...] = ()


NATURE = 'Nature DQN (Mnih et al., 2015)'
IMPALA = 'Impala (Espeholt et al., 2018)'
AS_TERMINALS = (
  'time-outs were stored as terminals (Runner.timeouts_are_terminal)'
)
_DROPPED = 'transitions that a time-out cuts off were dropped'
_CROSS, _HUBER, _QUANTILE = 'cross-entropy', 'Huber', 'quantile Huber'
_UNWEIGHTED = (
  'importance weights of prioritised replay were left out of the loss'
)
_PARTS = {
  # agent: loss, folder and name of the file, and what differs on JAX.
  'DQN': ('mean squared error', 'dqn', 'dqn', ''),
  'C51': (_CROSS, 'rainbow', 'c51', ''),
  'Rainbow': (_CROSS, 'rainbow', 'rainbow', ''),
  'IQN': (_QUANTILE, 'implicit_quantile', 'implicit_quantile', ''),
  'QR-DQN': (_QUANTILE, 'quantile', 'quantile', _UNWEIGHTED),
}


def _path(folder: str, name: str, wing: str = '') -> str:
  return f'dopamine/{wing}agents/{folder}/configs/{name}.gin'


def _twins() -> dict[tuple[str, str], Twin]:
  legacy = 'dopamine_legacy'
  found = [
    Twin(legacy, 'DQN', 'RMSProp', _HUBER, NATURE, _path('dqn', 'dqn')),
    Twin(legacy, 'C51', 'Adam', _CROSS, NATURE, _path('rainbow', 'c51')),
    Twin(
      *(legacy, 'Rainbow', 'Adam', _CROSS, NATURE),
      gin_file=_path('rainbow', 'rainbow'),
    ),
    Twin(
      *(legacy, 'IQN', 'Adam', _QUANTILE, NATURE),
      gin_file=_path('implicit_quantile', 'implicit_quantile'),
    ),
  ]
  found = [dataclasses.replace(twin, but=(AS_TERMINALS,)) for twin in found]
  for source, network, names in (
    (legacy, NATURE, ('DQN', 'QR-DQN')),
    ('dopamine_jax_nature_cnn', NATURE, _PARTS),
    ('dopamine_jax_impala', IMPALA, _PARTS),
  ):
    of_legacy = {'DQN': 'DQN (Adam + MSE in JAX)', 'QR-DQN': 'Quantile (JAX)'}
    for name in names:
      loss, folder, file, but = _PARTS[name]
      agent = of_legacy[name] if source == legacy else name
      path = _path(folder, file, 'jax/')
      sentences = (_DROPPED, but) if but else (_DROPPED,)
      found.append(Twin(source, agent, 'Adam', loss, network, path, sentences))
  return {(twin.source, twin.agent): twin for twin in found}


TWINS = _twins()

# By the agent_name of ours, where C51 is `c51` and `jax_c51`.
_TWIN_OF = {
  'dqn': ('dopamine_legacy', 'DQN'),
  'c51': ('dopamine_legacy', 'C51'),
  'rainbow': ('dopamine_legacy', 'Rainbow'),
  'implicit_quantile': ('dopamine_legacy', 'IQN'),
  'quantile': ('dopamine_legacy', 'Quantile (JAX)'),
  'jax_dqn': ('dopamine_legacy', 'DQN (Adam + MSE in JAX)'),
  'jax_c51': ('dopamine_jax_nature_cnn', 'C51'),
  'jax_rainbow': ('dopamine_jax_nature_cnn', 'Rainbow'),
  'jax_implicit_quantile': ('dopamine_jax_nature_cnn', 'IQN'),
  'jax_quantile': ('dopamine_legacy', 'Quantile (JAX)'),
}


def find_twin(agent: str, source: str | None = None) -> Twin:
  """Returns what was published of an agent.

  Args:
    agent: a name as in `create_agent.agent_name`, 'c51' and 'jax_c51', or with
      `source` a name of `published.csv`.
    source: a set of it; None is the one that is nearest to ours.

  Raises:
    ValueError: nothing was published of this agent.
  """
  if source is None and agent in _TWIN_OF:
    return TWINS[_TWIN_OF[agent]]
  name = _TWIN_OF.get(agent, ('', agent))[1]
  of_source = {
    'DQN (Adam + MSE in JAX)': 'DQN',
    'Quantile (JAX)': 'QR-DQN',
  }
  for candidate in (name, of_source.get(name, name)):
    if twin := TWINS.get((source or '', candidate)):
      return twin
  known = (
    f'the agents {", ".join(_TWIN_OF)}'
    if source is None
    else ', '.join(f'{s}: {a}' for s, a in TWINS)
  )
  of = f' in {source!r}' if source else ''
  raise errors.SettingError(
    f'nothing was published of the agent {agent!r}{of}: there is no band that '
    f'it could be in. There are {known}'
  )


@functools.cache
def _returns() -> dict[tuple[str, str, str], np.ndarray]:
  """By source, agent and game: rows of frames, runs, mean, deviation."""
  found: dict[tuple[str, str, str], list[list[float]]] = {}
  figures = 'millions_of_frames', 'runs', 'mean', 'standard_deviation'
  for row in _rows('published.csv'):
    key = row['source'], row['agent'], row['game']
    found.setdefault(key, []).append([float(row[name]) for name in figures])
  return {key: np.array(sorted(rows)) for key, rows in found.items()}


# The band ---------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Band:
  """Where the mean training return of new runs would be: arrays `[K]`.

  Attributes:
    twin: what was published.
    game: of the table.
    runs: m, the new runs whose mean it is.
    coverage: of the intervals.
    millions_of_frames: K points of the table.
    published_runs: n.
    mean: over the published runs.
    standard_deviation: over the published runs.
  """

  twin: Twin
  game: str
  runs: int
  coverage: float
  millions_of_frames: np.ndarray
  published_runs: np.ndarray
  mean: np.ndarray
  standard_deviation: np.ndarray

  def pointwise(self) -> tuple[np.ndarray, np.ndarray]:
    """Low and high, of which each has the coverage."""
    return self._interval(1 - self.coverage)

  def simultaneous(self) -> tuple[np.ndarray, np.ndarray]:
    """Low and high that together have the coverage, or more.

    Bonferroni's: the points of a curve depend on each other, nobody published
    how.
    """
    return self._interval((1 - self.coverage) / max(1, len(self.mean)))

  def _interval(self, error: float) -> tuple[np.ndarray, np.ndarray]:
    return prediction_interval(
      *(self.mean, self.standard_deviation, self.published_runs),
      runs=self.runs,
      coverage=1 - error,
    )

  def at(self, millions_of_frames) -> 'Band':
    """The same with those of its points that are named."""
    kept = np.isin(self.millions_of_frames, millions_of_frames)
    return dataclasses.replace(
      self,
      millions_of_frames=self.millions_of_frames[kept],
      published_runs=self.published_runs[kept],
      mean=self.mean[kept],
      standard_deviation=self.standard_deviation[kept],
    )


def prediction_interval(
  mean: np.ndarray,
  standard_deviation: np.ndarray,
  published_runs: np.ndarray,
  *,
  runs: int = 1,
  coverage: float = 0.95,
) -> tuple[np.ndarray, np.ndarray]:
  """Where the mean of m new runs is, given mean and deviation s of n others.

  mean +- t(n - 1) s sqrt(1/m + 1/n), exact for normal returns.

  Args:
    mean: over the n runs.
    standard_deviation: s, with n - 1 below.
    published_runs: n, at least 2.
    runs: m.
    coverage: of the interval.
  """
  stats = statistics.scipy_stats()
  n = np.asarray(published_runs)
  t = stats.t.ppf(0.5 + coverage / 2, n - 1)
  half = t * standard_deviation * np.sqrt(1 / runs + 1 / n)
  return mean - half, mean + half


def published_band(
  agent: str,
  game: str,
  *,
  runs: int = 1,
  coverage: float = 0.95,
  source: str | None = None,
) -> Band:
  """Returns the prediction interval for the mean of new runs of an agent.

  Args:
    agent: see `find_twin`.
    game: however it is written.
    runs: how many new runs their mean is of.
    coverage: of the intervals.
    source: see `find_twin`.

  Raises:
    ValueError: nothing was published of this agent or game.
  """
  if runs < 1:
    raise errors.SettingError(f'runs={runs}: give how many runs the mean is of')
  if not 0 < coverage < 1:
    raise errors.SettingError(f'coverage={coverage}: give e.g. 0.95')
  twin = find_twin(agent, source)
  known = find_game(game)
  rows = _returns().get((twin.source, twin.agent, known.name if known else ''))
  if known is None or rows is None:
    raise errors.SettingError(
      f'nothing was published of the game {game!r}; there are '
      f'{", ".join(g.name for g in games().values() if g.is_published)}'
    )
  return Band(twin, known.name, runs, coverage, *rows.T)


@dataclasses.dataclass(frozen=True)
class Comparison:
  """Runs against a band, at the K points that both have.

  Attributes:
    agent: how the runs are labelled.
    band: at these points.
    mean: `[K]`, over the new runs.
    differences: what else differs, a sentence each.
  """

  agent: str
  band: Band
  mean: np.ndarray
  differences: tuple[str, ...] = ()

  @property
  def inside(self) -> np.ndarray:
    """`[K]`: whether each point is in its pointwise interval."""
    return _within(self.mean, self.band.pointwise())

  @property
  def is_inside(self) -> bool:
    """Whether all points are in their simultaneous intervals."""
    return bool(_within(self.mean, self.band.simultaneous()).all())

  def sentences(self) -> list[str]:
    """What is to be said of it, the verdict first."""
    twin, band = self.band.twin, self.band
    runs = '1 run' if band.runs == 1 else f'the mean of {band.runs} runs'
    percent = f'{100 * band.coverage:g} %'
    if len(self.mean) > 1:
      percent += f' at all {len(self.mean)} points together'
    verdict = 'inside' if self.is_inside else 'outside'
    found = [
      f'{self.agent} on {band.game}: {runs} is {verdict} the published band '
      f'({percent}): {twin.agent} of {twin.source}, '
      f'{int(band.published_runs.max())} runs'
    ]
    for point in zip(
      *(band.millions_of_frames, self.mean, band.mean),
      *(*band.pointwise(), self.inside),
      strict=True,
    ):
      frames, ours, theirs, low, high, is_inside = point
      expected = (
        f'{runs} is expected in {low:.4g} to {high:.4g}'
        if low < high
        else 'in which all published runs are alike'
      )
      found.append(
        f'  after {frames:g} million frames {ours:.4g}, published '
        f'{theirs:.4g}; {expected}: {"inside" if is_inside else "outside"}'
      )
    found.append(
      f'  published with: {twin.optimizer}, {twin.loss}, {twin.network}'
    )
    return found + [f'  differs: {text}' for text in self.differences]


def _within(
  mean: np.ndarray, interval: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
  low, high = interval
  return (low - _ROUNDING <= mean) & (mean <= high + _ROUNDING)


def compare_returns(
  agent: str,
  game: str,
  returns: np.ndarray,
  *,
  coverage: float = 0.95,
  source: str | None = None,
  label: str = '',
  differences: tuple[str, ...] | None = None,
) -> Comparison:
  """Returns how the mean of runs stands to the published band.

  Args:
    agent: see `find_twin`.
    game: however it is written.
    returns: `[m, I]`, mean training returns of m runs in their iterations of a
      million frames, the first in front; NaN where no episode ended.
    coverage: of the band.
    source: see `find_twin`.
    label: of the runs; '' is the agent.
    differences: to be named; None is those that hold in any case.

  Raises:
    ValueError: nothing was published of this, or no point is in the table.
  """
  returns = np.atleast_2d(np.asarray(returns, np.float64))
  mean = np.mean(returns, axis=0)
  band = published_band(
    agent, game, runs=len(returns), coverage=coverage, source=source
  )
  reached = 1 + np.flatnonzero(np.isfinite(mean))
  band = band.at(reached)
  if not len(band.mean):
    points = ', '.join(f'{x:g}' for x in published_millions())
    raise errors.SettingError(
      f'{label or agent} on {game}: the table has {points} million frames, and '
      'the runs have returns at none of these'
    )
  at = band.millions_of_frames.astype(int) - 1
  if differences is None:
    differences = band.twin.but
  return Comparison(label or agent, band, mean[at], differences)


def published_millions() -> np.ndarray:
  """Returns the points of the table, in millions of frames."""
  return np.unique(np.concatenate([rows[:, 0] for rows in _returns().values()]))
