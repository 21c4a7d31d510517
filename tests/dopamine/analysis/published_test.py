"""The published band: its arithmetic, its coverage, and what it refuses."""

import numpy as np
from numpy.testing import assert_allclose
import pytest

from dopamine.analysis import published
from dopamine.colab import utils
from dopamine.discrete_domains import atari_lib

pytestmark = pytest.mark.no_backend

# Games ------------------------------------------------------------------------


def test_sixty_games_were_published_and_five_have_no_human_score():
  games = published.games()
  sixty = [g.name for g in games.values() if g.is_published]
  assert sixty == list(utils.ALL_GAMES)
  without = [name for name in sixty if np.isnan(games[name].human)]
  assert without == [
    *('AirRaid', 'Carnival', 'ElevatorAction', 'JourneyEscape', 'Pooyan')
  ]


def test_names_of_games_are_those_of_the_emulator():
  assert set(published.games()) <= set(atari_lib.game_names())


@pytest.mark.parametrize(
  'name', ['SpaceInvaders', 'spaceinvaders', 'space_invaders', 'Space Invaders']
)
def test_a_game_is_found_however_it_is_written(name):
  game = published.find_game(name)
  assert game == ('SpaceInvaders', True, 148.0, 1668.7)


def test_scores_are_normalized_by_random_and_human():
  # Pong: -20.7 and 14.6.
  found = published.human_normalized(np.array([-20.7, 14.6, 21]), 'pong')
  assert_allclose(found, [0, 1, 41.7 / 35.3])


@pytest.mark.parametrize('game', ['AirRaid', 'CartPole-v0'])
def test_without_a_human_score_nothing_is_normalized(game):
  with pytest.raises(ValueError, match=f'no human score for {game!r}.*Pooyan'):
    published.human_normalized(1.0, game)


# The band ---------------------------------------------------------------------


def test_the_band_by_hand():
  # t(4) at 97.5 % is 2.7764; 4.528 +- 2.7764 * 0.074 * sqrt(1 + 1/5).
  band = published.published_band('quantile', 'Breakout').at([1])
  assert_allclose(np.ravel(band.pointwise()), [4.303, 4.753], atol=5e-4)
  assert band.twin.agent == 'Quantile (JAX)'
  # Of the mean of two: sqrt(1/2 + 1/5).
  band = published.published_band('quantile', 'Breakout', runs=2).at([1])
  half = 2.7764 * 0.074 * np.sqrt(0.7)
  assert_allclose(
    np.ravel(band.pointwise()), [4.528 - half, 4.528 + half], 1e-4
  )


def test_points_together_have_a_wider_band_which_knows_how_many_they_are():
  band = published.published_band('dqn', 'Pong')
  assert len(band.mean) == 16 and band.millions_of_frames[-1] == 199
  low, _ = band.pointwise()
  lower, _ = band.simultaneous()
  # t(4) at 1 - 0.025 / 16 is 6.364 where at 0.975 it is 2.7764.
  assert_allclose((band.mean - lower) / (band.mean - low), 2.2922, atol=1e-3)
  one = band.at([5])
  assert_allclose(one.simultaneous(), one.pointwise())


def runs_inside(rng, runs, shift, points=4, repetitions=20000):
  """How often m new runs are inside, pointwise and together."""
  spread = rng.uniform(1, 50, size=points)
  old = rng.normal(0, spread, size=(repetitions, 5, points))
  new = rng.normal(shift * spread, spread, size=(repetitions, runs, points))
  mean, deviation = old.mean(axis=1), old.std(axis=1, ddof=1)
  found = []
  for coverage in (0.95, 1 - 0.05 / points):
    low, high = published.prediction_interval(
      *(mean, deviation, np.full(points, 5)), runs=runs, coverage=coverage
    )
    found.append((low <= new.mean(axis=1)) & (new.mean(axis=1) <= high))
  return found[0].mean(), found[1].all(axis=1).mean()


@pytest.mark.parametrize('runs', [1, 2, 5])
def test_the_band_holds_new_runs_as_often_as_it_says(runs):
  pointwise, together = runs_inside(np.random.default_rng(runs), runs, 0)
  assert pointwise == pytest.approx(0.95, abs=0.005)
  assert together == pytest.approx(0.95, abs=0.01)


def test_runs_of_another_mean_are_refused():
  pointwise, together = runs_inside(np.random.default_rng(0), 5, 8)
  assert pointwise < 0.02 and together < 0.05


def test_the_deviation_of_the_table_has_n_minus_1_below():
  """Freeway's DQN: four runs about 32.9, and one that never crossed."""
  band = published.published_band('dqn', 'Freeway').at([199])
  four = band.mean[0] * 5 / 4
  runs = [0, *[four] * 4]
  deviation = band.standard_deviation[0]
  assert np.std(runs, ddof=1) == pytest.approx(deviation, rel=1e-3)
  assert np.std(runs) < 0.95 * deviation


@pytest.mark.parametrize(
  'agent, source, twin',
  [
    ('dqn', None, ('dopamine_legacy', 'DQN')),
    ('jax_dqn', None, ('dopamine_legacy', 'DQN (Adam + MSE in JAX)')),
    ('jax_dqn', 'dopamine_jax_nature_cnn', ('dopamine_jax_nature_cnn', 'DQN')),
    ('quantile', 'dopamine_jax_impala', ('dopamine_jax_impala', 'QR-DQN')),
    ('jax_c51', None, ('dopamine_jax_nature_cnn', 'C51')),
    ('IQN', 'dopamine_legacy', ('dopamine_legacy', 'IQN')),
  ],
)
def test_the_twin_of_an_agent(agent, source, twin):
  found = published.find_twin(agent, source)
  assert (found.source, found.agent) == twin


def test_every_twin_has_the_returns_of_sixty_games():
  for source, agent in published.TWINS:
    for game in utils.ALL_GAMES:
      band = published.published_band(agent, game, source=source)
      assert set(band.published_runs) <= {3, 4, 5}  # Some ended early.
      assert (band.standard_deviation >= 0).all()
      assert len(band.mean) in (16, 17)


@pytest.mark.parametrize(
  'arguments, message',
  [
    (
      {'agent': 'full_rainbow'},
      "nothing was published of the agent 'full_rain",
    ),
    ({'agent': 'DoubleDQNAgent'}, 'there is no band'),
    ({'source': 'nobody'}, "in 'nobody'.*dopamine_legacy: DQN"),
    ({'game': 'Tetris'}, "of the game 'Tetris'; there are AirRaid"),
    ({'game': 'Surround'}, "of the game 'Surround'"),
    ({'runs': 0}, 'runs=0'),
    ({'coverage': 95}, 'coverage=95'),
  ],
)
def test_what_was_not_published_is_refused(arguments, message):
  known = {'agent': 'dqn', 'game': 'Pong'} | arguments
  with pytest.raises(ValueError, match=message):
    published.published_band(known.pop('agent'), known.pop('game'), **known)


# Runs against it --------------------------------------------------------------


def test_only_points_of_the_table_are_compared():
  # Points 1, 2, 3, 4, 5, 7: the sixth iteration is in between.
  returns = np.full((2, 6), 4.5)
  returns[1, 2] = np.nan  # No mean of two there.
  found = published.compare_returns('quantile', 'Breakout', returns)
  assert found.band.millions_of_frames.tolist() == [1, 2, 4, 5]
  assert found.band.runs == 2
  assert found.inside.tolist() == [True, False, False, False]
  assert not found.is_inside


def test_what_is_said_names_the_set_and_what_differs():
  found = published.compare_returns('quantile', 'breakout', [[4.25]])
  text = '\n'.join(found.sentences())
  assert '1 run is outside' not in text.splitlines()[1]
  assert 'Quantile (JAX) of dopamine_legacy, 5 runs' in text
  assert 'after 1 million frames 4.25, published 4.528' in text
  assert 'expected in 4.303 to 4.753: outside' in text
  assert 'Adam, quantile Huber, Nature DQN' in text
  assert 'importance weights' in text


def test_where_all_published_runs_are_alike_only_the_same_is_inside():
  band = published.published_band('dqn', 'MontezumaRevenge')
  k = int(np.flatnonzero(band.standard_deviation == 0)[0])
  returns = np.full((1, int(band.millions_of_frames[k])), np.nan)
  for value, is_inside in ((band.mean[k], True), (band.mean[k] + 1, False)):
    returns[0, -1] = value
    found = published.compare_returns('dqn', 'MontezumaRevenge', returns)
    assert found.is_inside is is_inside


def test_without_a_common_point_nothing_is_compared():
  returns = np.array([[np.nan, np.nan, np.nan, np.nan, np.nan, 3.0]])
  with pytest.raises(ValueError, match='1, 2, 3, 4, 5, 7, 10.* million'):
    published.compare_returns('dqn', 'Pong', returns)
