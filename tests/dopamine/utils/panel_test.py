"""Tests of the panel: what is drawn, pixel by pixel."""

import numpy as np
import pytest

from dopamine.utils import panel

pytestmark = pytest.mark.no_backend

TAKEN, COLOUR, GROOVE = panel._TAKEN, panel._COLOUR, panel._GROOVE


def draw(q_values=(1.0, -1.0), **kwargs):
  given = {'episode_return': 3, 'step': 7, 'action': 0}
  return panel.panel(420, q_values=q_values, **{**given, **kwargs})


def count(image, colour, columns=(0, panel.WIDTH), rows=(0, 420)):
  """Pixels of a colour in some columns of some rows."""
  part = image[slice(*rows), slice(*columns)]
  return int((part == colour).all(-1).sum())


def row(i, height=64):
  top = panel._HEAD + height * i
  return top, top + height


def test_bars_are_as_long_as_the_q_values():
  # The range -1 to 3 is 117 steps of a pixel: zero at 29, 3 at 117, -1 at 0.
  image = draw((3.0, -1.0, 0.0))
  tall = 26
  bar = panel._BAR
  assert count(image, TAKEN, bar, row(0)) == tall * (117 - 29 + 1)
  assert count(image, COLOUR, bar, row(1)) == tall * (29 - 0 + 1)
  assert count(image, COLOUR, bar, row(2)) == tall  # A line at zero.
  assert (image[row(0)[0] + 32, bar[0] + 29] == TAKEN).all()
  assert (image[row(0)[0] + 32, bar[0] + 28] == GROOVE).all()


def test_a_given_range_makes_bars_of_different_pictures_alike():
  bar = panel._BAR
  image = draw((1.0, 0.5), q_range=(0, 2))
  assert count(image, TAKEN, bar, row(0)) == 26 * (round(117 / 2) + 1)
  assert count(image, COLOUR, bar, row(1)) == 26 * (round(117 / 4) + 1)


@pytest.mark.parametrize('action', [0, 1, None])
def test_the_action_that_is_taken_has_its_own_colour(action):
  image = draw((1.0, 1.0), action=action)
  for i in range(2):
    long = 26 * 118
    taken = count(image, TAKEN, panel._BAR, row(i))
    assert taken == (long if i == action else 0)


def test_masses_over_a_support_are_as_high_as_they_are_large():
  # Four atoms; the largest mass of all, 0.8, is the height of a row, 60.
  values = np.tile([-1.0, 0.0, 1.0, 2.0], (2, 1))
  probabilities = np.array([[0.8, 0.2, 0, 0], [0, 0, 0.4, 0.6]])
  image = draw(distribution=(values, probabilities))
  edges = np.linspace(*panel._MASS, 5).round().astype(int)
  for i, colour in ((0, TAKEN), (1, COLOUR)):
    for n in range(4):
      columns = edges[n], edges[n + 1]
      tall = round(probabilities[i, n] / 0.8 * 60)
      wide = edges[n + 1] - edges[n]
      assert count(image, colour, columns, row(i)) == tall * wide


def test_quantiles_are_counted_in_common_bins():
  # 50 bins of 0.2 on [0, 10]; what is beyond belongs to the last.
  values = np.array([[0.0, 0.1, 5.0, 12.0], [0.3, 0.3, 0.3, 9.9]])
  found = panel.masses(values, np.full((2, 4), 0.25), (0, 10))
  expected = np.zeros((2, 50))
  expected[0, [0, 25, 49]] = 0.5, 0.25, 0.25
  expected[1, [1, 49]] = 0.75, 0.25
  np.testing.assert_array_equal(found, expected)


def test_equal_quantiles_of_one_action_are_drawn():
  assert panel.masses(np.ones((1, 3)), np.ones((1, 3)) / 3, (1, 1)).sum() == 1


def test_equal_quantiles_of_all_actions_are_no_support():
  values, equal = np.zeros((2, 200)), np.full((2, 200), 1 / 200)
  found = panel.masses(values, equal, (-1, 1))
  expected = np.zeros((2, 50))
  expected[:, 25] = 1
  np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize('actions', [1, 2])
def test_a_support_has_a_bin_for_each_atom(actions):
  values = np.tile(np.linspace(-10, 10, 51, dtype=np.float32), (actions, 1))
  probabilities = np.random.default_rng(0).random((actions, 51))
  found = panel.masses(values, probabilities, (-10, 10))
  np.testing.assert_array_equal(found, probabilities)


def test_ascending_quantiles_of_one_action_are_counted():
  found = panel.masses(np.array([[0.0, 1, 3]]), np.full((1, 3), 1 / 3), (0, 3))
  assert found.shape == (1, 50)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_have_no_bar(bad):
  values = np.array([[bad, 0.0, 1.0], [2.0, 1.0, 3.0]])
  equal = np.full((2, 3), 1 / 3)
  image = draw((bad, 1.0), distribution=(values, equal))
  assert not count(image, TAKEN, panel._BAR, row(0))
  assert count(image, COLOUR, panel._BAR, row(1)) == 26 * 118
  numbers = [draw((q, 1.0))[slice(*row(0)), 244:306] for q in (bad, 0.0)]
  assert (numbers[0] != numbers[1]).any()
  unknown = np.full((2, 3), np.nan)
  for values in (np.full((2, 3), bad), np.tile([0.0, 1, 2], (2, 1))):
    assert draw((bad, bad), distribution=(values, unknown)).any()


@pytest.mark.parametrize('action', [59, 25, 0])
def test_the_action_that_is_taken_is_among_those_that_fit(action):
  values = np.tile([0.0, 1.0], (60, 1))
  chances = np.eye(60)[:, [action, action]]
  image = draw(
    np.arange(60.0) + 1, action=action, distribution=(values, chances)
  )
  assert count(image, TAKEN, panel._BAR)
  assert count(image, TAKEN, panel._MASS, (panel._HEAD, 400))
  assert not count(image, COLOUR, panel._MASS, (panel._HEAD, 400))


def test_what_changes_is_written():
  before = draw()
  for changed in (
    {'episode_return': 4},
    {'step': 8},
    {'names': ['UP', 'DOWN']},
    {'episode_return': np.array([3.0, 1.0])},
  ):
    assert (draw(**changed) != before).any()
  np.testing.assert_array_equal(draw(episode_return=3.0), before)
  assert (draw(episode_return=-0.0) == draw(episode_return=0)).all()


def test_an_agent_without_q_values_has_the_return_and_its_action():
  image = draw(None)
  assert image.shape == (420, panel.WIDTH, 3) and image.dtype == np.uint8
  assert not count(image, GROOVE)
  assert (image != draw(None, action=1)).any()
  assert (image != draw(None, action=None)).any()


def columns_of_text(image, columns, rows):
  """Whether there is ink in some columns."""
  part = image[slice(*rows), slice(*columns)]
  return (part != panel._BACKGROUND).any(-1)


@pytest.mark.parametrize('height', [120, 420])
@pytest.mark.parametrize('actions', [2, 6, 18, 100])
def test_texts_and_bars_do_not_touch(height, actions):
  rng = np.random.default_rng(0)
  q_values = -rng.uniform(1e-5, 1.23456e-4, actions)
  values = rng.normal(size=(actions, 32))
  image = panel.panel(
    height,
    episode_return=-1234567,
    step=27000,
    action=0,
    names=['DOWNRIGHTFIRE'] * actions,
    q_values=q_values,
    distribution=(values, np.full_like(values, 1 / 32)),
  )
  gaps = [panel._NAME[1] + 2, panel._BAR[1] + 1, panel._NUMBER[1] + 4]
  shown = slice(panel._HEAD, height - panel._FOOT)
  for column in gaps:
    assert (image[shown, column] == panel._BACKGROUND).all()
  grooves = (image[:, panel._BAR[0]] != panel._BACKGROUND).any(-1)
  assert not grooves[height - panel._FOOT :].any()
  # Between the line of heads and the first row, and at every side.
  assert (image[60:64] == panel._BACKGROUND).all()
  assert (image[:, :8] == panel._BACKGROUND).all()
  assert (image[:, -6:] == panel._BACKGROUND).all()


@pytest.mark.parametrize(
  ('shape', 'expected'),
  [
    ((210, 160), (420, 320)),  # Atari.
    ((400, 600), (400, 600)),  # CartPole.
    ((84, 84), (420, 420)),
    ((251, 101), (502, 202)),
    ((501, 301), (502, 302)),  # One more, for the codec.
    ((9, 9), (423 + 1, 423 + 1)),
  ],
)
def test_pixels_of_the_game_stay_squares(shape, expected):
  picture = np.random.default_rng(0).integers(
    0, 256, (*shape, 3), dtype=np.uint8
  )
  whole = panel.beside(picture, lambda height: draw()[:1].repeat(height, 0))
  assert whole.shape == (expected[0], expected[1] + panel.WIDTH, 3)
  scale = max(1, expected[0] // shape[0])
  game = whole[: shape[0] * scale, : shape[1] * scale]
  for i in range(scale):
    np.testing.assert_array_equal(game[i::scale, i::scale], picture)
