"""What few runs say: aggregates, profiles and their intervals.

Agarwal et al. (2021), "Deep reinforcement learning at the edge of the
statistical precipice". Scores are `[R, G]`, R runs of each of G games, on a
scale that makes games comparable (human-normalised returns). Intervals are
those of a stratified bootstrap: runs are drawn again within each game, games
stay as they are.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from dopamine import backend

# Resamples in memory at a time: floats.
_CHUNK = 4_000_000


class Interval(NamedTuple):
  """A figure, or an array of them, and what it may be.

  `low` and `high` are NaN for one run.
  """

  value: Any
  low: Any
  high: Any


def scipy_stats() -> Any:
  """Returns `scipy.stats`, or raises ImportError with what to install."""
  return backend.import_extra('scipy.stats', 'a report')


# Aggregates: of [..., R, G], over the last two axes ---------------------------


def mean(scores: np.ndarray) -> np.ndarray:
  """The mean of all runs, each game counted alike."""
  return np.mean(scores, axis=(-2, -1))


def median(scores: np.ndarray) -> np.ndarray:
  """The median over games of the mean over runs."""
  return np.median(np.mean(scores, axis=-2), axis=-1)


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
  """The mean of the middle half of all runs of all games (section 4.3).

  As `scipy.stats.trim_mean(x, 0.25)`: of n runs, the floor(n / 4) least and as
  many greatest are left out.
  """
  stats = scipy_stats()
  flat = scores.reshape(*scores.shape[:-2], -1)
  return stats.trim_mean(flat, 0.25, axis=-1)


def optimality_gap(scores: np.ndarray, target: float = 1.0) -> np.ndarray:
  """How far below `target` runs are on average; above it counts as on it."""
  return target - np.mean(np.minimum(scores, target), axis=(-2, -1))


AGGREGATES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
  'Median': median,
  'IQM': interquartile_mean,
  'Mean': mean,
  'Optimality gap': optimality_gap,
}


def performance_profile(
  scores: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
  """The share of runs above each threshold, `[..., T]` (eq. 1).

  Args:
    scores: `[..., R, G]`.
    thresholds: `[T]`, tau.
  """
  flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
  rows = flat.reshape(-1, flat.shape[-1])
  below = np.stack([np.searchsorted(r, thresholds, side='right') for r in rows])
  share = 1 - below / flat.shape[-1]
  return share.reshape(*scores.shape[:-2], len(thresholds))


# The bootstrap ----------------------------------------------------------------


def resamples(
  scores: np.ndarray, repetitions: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
  """Draws the runs of each game anew, with replacement: `[N, R, G]` a time.

  Args:
    scores: `[..., R, G]`; what stands before goes along with its run.
    repetitions: how many resamples there are in all.
    rng: what draws them.
  """
  runs, games = scores.shape[-2:]
  size = max(1, _CHUNK // scores.size)
  for start in range(0, repetitions, size):
    n = min(size, repetitions - start)
    drawn = rng.integers(runs, size=(n, runs, games))
    if scores.ndim > 2:
      drawn = drawn.reshape(n, *[1] * (scores.ndim - 2), runs, games)
    yield np.take_along_axis(scores[None], drawn, axis=-2)


def interval(
  scores: np.ndarray,
  statistic: Callable[[np.ndarray], np.ndarray],
  *,
  repetitions: int = 2000,
  coverage: float = 0.95,
  seed: int = 0,
) -> Interval:
  """A statistic, and its percentile interval by the stratified bootstrap.

  Args:
    scores: `[..., R, G]`: runs, games.
    statistic: of `[..., R, G]`, whole arrays at a time.
    repetitions: resamples.
    coverage: of the interval.
    seed: the same seed gives the same interval.

  Raises:
    ValueError: `scores` are no such array, or not finite.
  """
  scores = check_scores(scores)
  rng = np.random.default_rng(seed)
  value = statistic(scores)
  if scores.shape[-2] < 2:  # Drawn again, one run is itself.
    nothing = np.full(np.shape(value), np.nan)[()]
    return Interval(value, nothing, nothing)
  drawn = [statistic(s) for s in resamples(scores, repetitions, rng)]
  return Interval(value, *_percentiles(np.concatenate(drawn), coverage))


def _percentiles(drawn: np.ndarray, coverage: float) -> np.ndarray:
  tail = 50 * (1 - coverage)
  return np.percentile(drawn, [tail, 100 - tail], axis=0)


def check_scores(scores: np.ndarray, name: str = 'scores') -> np.ndarray:
  """Returns scores as an array `[..., R, G]`.

  Raises:
    ValueError: they are none, or a figure is missing.
  """
  array = np.asarray(scores, np.float64)
  if array.ndim < 2 or not array.size:
    raise ValueError(
      f'{name} has shape {array.shape}: give [runs, games], with one run and '
      'one game at least'
    )
  if not np.isfinite(array).all():
    where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
    raise ValueError(
      f'{name} has {array[where]} at {where}: a score is missing there. Leave '
      'out the game or the run'
    )
  return array


# Two agents -------------------------------------------------------------------


def probability_of_improvement(
  x: np.ndarray,
  y: np.ndarray,
  *,
  repetitions: int = 2000,
  coverage: float = 0.95,
  seed: int = 0,
) -> Interval:
  """P(X > Y): that a run of x beats one of y on a game drawn at random.

  The mean over games of the Mann-Whitney statistic, in which ties count half
  (eq. 2); scales of games do not matter. Runs of x and y are drawn
  independently of each other.

  Args:
    x: `[R, G]`.
    y: `[R', G]`, the same games.
    repetitions: see `interval`, as what follows.
    coverage: of the interval.
    seed: of the resamples.
  """
  x, y = check_scores(x, 'x'), check_scores(y, 'y')
  if x.shape[-1] != y.shape[-1]:
    raise ValueError(
      f'x has {x.shape[-1]} games and y {y.shape[-1]}: give the same games, in '
      'the same order'
    )
  difference = x[:, None] - y[None]  # [R, R', G]
  wins = (difference > 0) + 0.5 * (difference == 0)
  if min(len(x), len(y)) < 2:
    return Interval(float(wins.mean()), np.nan, np.nan)
  rng = np.random.default_rng(seed)
  games = np.arange(x.shape[1])
  drawn = []
  for start in range(0, repetitions, size := max(1, _CHUNK // wins.size)):
    n = min(size, repetitions - start)
    i = rng.integers(len(x), size=(n, len(x), 1, len(games)))
    j = rng.integers(len(y), size=(n, 1, len(y), len(games)))
    drawn.append(wins[i, j, games].mean(axis=(1, 2, 3)))
  low, high = _percentiles(np.concatenate(drawn), coverage)
  return Interval(float(wins.mean()), low, high)


# One task ---------------------------------------------------------------------


def mean_of_runs(returns: np.ndarray, coverage: float = 0.95) -> Interval:
  """The mean over runs, and Student's t interval of it.

  Args:
    returns: `[R, ...]`; NaN is not counted.
    coverage: of the interval, which is NaN for one run.
  """
  stats = scipy_stats()
  returns = np.asarray(returns, np.float64)
  n = np.sum(np.isfinite(returns), axis=0)
  total = np.nansum(returns, axis=0)
  with np.errstate(divide='ignore', invalid='ignore'):
    value = total / n
    variance = np.nansum((returns - value) ** 2, axis=0) / (n - 1)
    half = stats.t.ppf(0.5 + coverage / 2, n - 1) * np.sqrt(variance / n)
  return Interval(value, value - half, value + half)
