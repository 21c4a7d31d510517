"""Aggregates by hand, and against what rliable says of the same scores."""

import itertools
import json
import pathlib

import numpy as np
from numpy.testing import assert_allclose
import pytest
from scipy import stats

from dopamine.analysis import statistics

pytestmark = pytest.mark.no_backend

RLIABLE = json.loads(
  pathlib.Path(__file__).with_name('rliable_figures.json').read_text()
)
SCORES = {a: np.array(s) for a, s in RLIABLE['scores'].items()}


# A share of 0.025 of 5000 draws has a deviation of 0.0022, so the bounds of
# rliable's interval are those of one with a coverage of 0.95 +- 2 * 4 * 0.0022.
COVERAGES = 0.95 + 0.018, 0.95 - 0.018


def assert_near(interval, expected):
  """The same value; and an interval within what a bootstrap may be off.

  Args:
    interval: of a coverage.
    expected: what rliable says: value, low, high.
  """
  value, low, high = np.array(expected)
  outer, inner = map(interval, COVERAGES)
  assert_allclose(outer.value, value, rtol=1e-12)
  assert (high - low).max() > 0
  assert (outer.low - 1e-9 <= low).all() and (low <= inner.low + 1e-9).all()
  assert (inner.high - 1e-9 <= high).all() and (high <= outer.high + 1e-9).all()


@pytest.mark.parametrize('name', statistics.AGGREGATES)
@pytest.mark.parametrize('agent', SCORES)
def test_aggregates_are_those_of_rliable(name, agent):
  aggregate = statistics.AGGREGATES[name]

  def interval(coverage):
    return statistics.interval(
      SCORES[agent], aggregate, repetitions=20000, coverage=coverage
    )

  assert_near(interval, RLIABLE['aggregates'][name][agent])


@pytest.mark.parametrize('agent', SCORES)
def test_profiles_are_those_of_rliable(agent):
  thresholds = np.array(RLIABLE['thresholds'])

  def interval(coverage):
    return statistics.interval(
      SCORES[agent],
      lambda x: statistics.performance_profile(x, thresholds),
      coverage=coverage,
      repetitions=20000,
    )

  assert_near(interval, RLIABLE['profiles'][agent])


@pytest.mark.parametrize('pair', RLIABLE['improvement'])
def test_the_probability_of_improvement_is_that_of_rliable(pair):
  x, y = (SCORES[agent] for agent in pair.split(','))

  def interval(coverage):
    return statistics.probability_of_improvement(
      x, y, coverage=coverage, repetitions=20000
    )

  assert_near(interval, RLIABLE['improvement'][pair])


# By hand ----------------------------------------------------------------------

# Two runs (rows) of three games.
HAND = np.array([[0.0, 1.0, 8.0], [0.5, 2.0, 2.0]])


def test_aggregates_by_hand():
  # Means of games: 0.25, 1.5, 5.
  assert statistics.median(HAND) == 1.5
  assert statistics.mean(HAND) == pytest.approx(13.5 / 6)
  # Of 0, .5, 1, 2, 2, 8 a quarter, rounded down, is one at each end.
  assert statistics.interquartile_mean(HAND) == pytest.approx(5.5 / 4)
  # 1 - 0, 1 - 0.5, and 0 of the four others.
  assert statistics.optimality_gap(HAND) == pytest.approx(1.5 / 6)


def test_a_profile_counts_what_is_above_and_not_on_a_threshold():
  found = statistics.performance_profile(HAND, np.array([-1, 0, 0.5, 2, 8]))
  assert_allclose(found, [1, 5 / 6, 4 / 6, 1 / 6, 0])


def test_ties_count_half():
  x, y = np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]])
  # 1 > 1: half; 1 > 2: no; 3 > 1, 3 > 2: yes.
  found = statistics.probability_of_improvement(x, y)
  assert found.value == pytest.approx(2.5 / 4)
  mirrored = statistics.probability_of_improvement(y, x)
  assert mirrored.value == pytest.approx(1.5 / 4)


def test_the_improvement_is_the_statistic_of_mann_and_whitney():
  x, y = SCORES['A'], SCORES['B']
  expected = [
    stats.mannwhitneyu(x[:, g], y[:, g]).statistic / (len(x) * len(y))
    for g in range(x.shape[1])
  ]
  found = statistics.probability_of_improvement(x, y)
  assert_allclose(found.value, np.mean(expected))


# The bootstrap ----------------------------------------------------------------


def test_runs_are_drawn_within_their_game():
  scores = np.arange(6.0).reshape(3, 2)  # Even: of game 0; odd: of game 1.
  rng = np.random.default_rng(0)
  (drawn,) = statistics.resamples(scores, 1000, rng)
  assert drawn.shape == (1000, 3, 2)
  assert (drawn % 2 == [0, 1]).all()
  # Every combination of two draws comes, so games are drawn independently.
  pairs = set(map(tuple, drawn[:, 0].tolist()))
  assert pairs == set(itertools.product([0, 2, 4], [1, 3, 5]))
  # Each run as often: 1000 of 3000, with a deviation of 26.
  counts = np.unique(drawn[..., 0], return_counts=True)[1]
  assert (np.abs(counts - 1000) < 130).all()


def test_all_resamples_by_enumeration():
  """Two runs of one game: the mean of two draws is one of three values."""
  scores = np.array([[0.0], [1.0]])
  rng = np.random.default_rng(0)
  drawn = np.concatenate(
    [statistics.mean(s) for s in statistics.resamples(scores, 4000, rng)]
  )
  found = [np.mean(drawn == value) for value in (0, 0.5, 1)]
  assert_allclose(found, [0.25, 0.5, 0.25], atol=0.03)


def test_what_goes_along_with_a_run_is_drawn_with_it():
  along = np.stack([SCORES['A'], 10 * SCORES['A']])  # [2, R, G]
  rng = np.random.default_rng(0)
  (drawn,) = statistics.resamples(along, 5, rng)
  assert_allclose(drawn[:, 1], 10 * drawn[:, 0])


def test_the_same_seed_gives_the_same_interval():
  def interval(seed):
    return statistics.interval(SCORES['A'], statistics.mean, seed=seed)

  assert interval(3) == interval(3)
  assert interval(3).low != interval(4).low


def test_few_resamples_in_memory_are_the_same_as_many(monkeypatch):
  whole = statistics.interval(SCORES['A'], statistics.mean, repetitions=50)
  monkeypatch.setattr(statistics, '_CHUNK', 100)
  parts = statistics.interval(SCORES['A'], statistics.mean, repetitions=50)
  assert whole == parts


def test_a_smaller_coverage_is_a_narrower_interval():
  wide, narrow = (
    statistics.interval(SCORES['C'], statistics.mean, coverage=c)
    for c in (0.95, 0.5)
  )
  assert wide.low < narrow.low < narrow.high < wide.high


def test_one_run_has_no_interval():
  found = statistics.interval(HAND[:1], statistics.mean)
  assert found.value == 3 and np.isnan([found.low, found.high]).all()
  found = statistics.probability_of_improvement(HAND[:1], HAND)
  assert np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize(
  'scores, message',
  [
    ([1.0, 2.0], r'shape \(2,\): give \[runs, games\]'),
    (np.zeros((0, 3)), r'shape \(0, 3\)'),
    ([[1.0, np.nan]], r'nan at \(0, 1\): a score is missing'),
    ([[1.0], [np.inf]], r'inf at \(1, 0\)'),
  ],
)
def test_what_are_no_scores_is_refused(scores, message):
  with pytest.raises(ValueError, match=message):
    statistics.interval(np.array(scores), statistics.mean)


def test_agents_of_other_games_are_not_compared():
  with pytest.raises(ValueError, match='x has 3 games and y 2'):
    statistics.probability_of_improvement(HAND, HAND[:, :2])


# One task ---------------------------------------------------------------------


def test_the_interval_of_a_mean_is_students():
  # 1, 2, 6: mean 3, deviation sqrt(7); t(2) at 97.5 % is 4.3027.
  found = statistics.mean_of_runs(np.array([1.0, 2.0, 6.0]))
  half = 4.302653 * np.sqrt(7 / 3)
  assert_allclose([*found], [3, 3 - half, 3 + half], rtol=1e-6)


def test_what_is_missing_of_a_run_is_not_counted():
  returns = np.array([[1.0, 5.0, np.nan], [3.0, np.nan, np.nan], [5.0, 9, 4]])
  found = statistics.mean_of_runs(returns)
  assert_allclose(found.value, [3, 7, 4])
  assert_allclose(found.low[1], 7 - 12.7062 * 2, rtol=1e-5)
  assert np.isnan(found.low[2])
