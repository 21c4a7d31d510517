"""What an agent thinks, as a picture beside its game: NumPy and OpenCV only."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

WIDTH = 480  # Pixels of a panel, of which these are the columns.
_NAME, _BAR, _NUMBER, _MASS = (10, 112), (118, 236), (244, 306), (316, 470)
_HEAD, _FOOT = 64, 22  # Pixels above and below the actions.
_ROWS = (12, 64)  # The least and the most pixels of an action.
_THICK = 26  # The most of the bar of a Q-value.
_BINS = 50  # Of quantile values; a support has its own.

_BACKGROUND, _GROOVE = (24, 26, 30), (40, 43, 49)
_TEXT, _FAINT = (222, 224, 228), (130, 134, 142)
_COLOUR, _TAKEN = (86, 132, 190), (240, 168, 62)


def beside(picture: np.ndarray, panel_of: Any, height: int = 420) -> np.ndarray:
  """Returns a picture with a panel at its right, of even sides.

  Args:
    picture: `[h, w, 3]` uint8 RGB; it is made larger by an integer, and every
      pixel stays a square.
    panel_of: `(height)` -> the panel, `[height, WIDTH, 3]`.
    height: pixels that the picture is to have, about.
  """
  scale = max(1, round(height / len(picture)))
  large = picture.repeat(scale, 0).repeat(scale, 1)
  # The codec halves the colours of both axes.
  rows, columns = len(large) % 2, large.shape[1] % 2
  large = np.pad(large, ((0, rows), (0, columns), (0, 0)))
  least = _HEAD + _FOOT + 2 * _ROWS[0]
  missing = max(0, least + least % 2 - len(large))
  large = np.pad(large, ((0, missing), (0, 0), (0, 0)))
  return np.hstack([large, panel_of(len(large))])


def panel(
  height: int,
  *,
  episode_return: Any,
  step: int,
  action: int | None,
  names: Sequence[str] = (),
  q_values: np.ndarray | None = None,
  distribution: tuple[np.ndarray, np.ndarray] | None = None,
  q_range: tuple[float, float] | None = None,
  value_range: tuple[float, float] | None = None,
) -> np.ndarray:
  """Returns `[height, WIDTH, 3]` uint8 RGB: a row for each action.

  Args:
    height: pixels.
    episode_return: so far; a number, or several.
    step: agent steps of the episode so far.
    action: the one taken in this state, which has another colour; None where
      the episode is over.
    names: of the actions; those that have none show their number.
    q_values: `[A]`, as bars from 0; one that is not finite has no bar.
    distribution: of the returns, values and probabilities, `[A, N]` each.
    q_range: of the bars; None is that of `q_values` and 0.
    value_range: of the returns; None is that of their values.
  """
  image = np.empty((height, WIDTH, 3), np.uint8)
  image[:] = _BACKGROUND
  # Zeros of either sign, and numbers of an array reward by themselves.
  total = '  '.join(f'{value:.10g}' for value in np.ravel(episode_return) + 0.0)
  _write(image, f'return {total}', (10, 24), _TEXT, scale=0.6)
  _write(image, f'step {step}', (WIDTH - 10, 24), _TEXT, right=True, scale=0.6)
  if q_values is None:
    taken = 'over' if action is None else f'action {_name(names, action)}'
    _write(image, taken, (10, 52), _TAKEN)
    return image
  q_values = np.asarray(q_values, np.float64)
  room = height - _HEAD - _FOOT
  row = int(np.clip(room // len(q_values), *_ROWS))
  shown = np.arange(min(len(q_values), max(1, room // row)))
  if action is not None:  # The last row is that of an action beyond.
    shown[-1] = max(shown[-1], action)
  _write(image, 'action', (_NAME[0], 54), _FAINT)
  _write(image, 'Q-value', (_BAR[0], 54), _FAINT)
  tops = _HEAD + row * np.arange(len(shown))
  for i, top in zip(shown, tops, strict=True):
    middle = top + row // 2
    line = middle + 4
    colour = _TAKEN if i == action else _TEXT
    _write(image, _name(names, i), (_NAME[0], line), colour, _NAME[1])
    number = f'{q_values[i]:.4g}'
    _write(image, number, (_NUMBER[1], line), colour, right=True)
    thick = min(row - 4, _THICK) // 2
    box = middle - thick, middle + thick
    _draw_bar(image, q_values[i], box, q_range or span(q_values, 0), i, action)
  if len(shown) < len(q_values):
    hidden = f'and {len(q_values) - len(shown)} more'
    _write(image, hidden, (_NAME[0], height - 8), _FAINT)
  if distribution is not None:
    _draw_distribution(
      image, distribution, shown, tops, row, value_range, action
    )
  return image


def is_support(values: np.ndarray) -> bool:
  """Whether values `[A, N]` are atoms, which all actions share and ascend.

  Quantile values are an action's own; those of a dead network are all equal.
  A single action's can only be told by steps that are not equal.
  """
  first = values[0]
  if not ((values == first).all() and (first[1:] > first[:-1]).all()):
    return False
  steps = np.diff(first)
  return len(values) > 1 or np.allclose(steps, steps[:1], rtol=1e-3, atol=0)


def span(values: np.ndarray, *others: float) -> tuple[float, float]:
  """Returns the least and the greatest finite value; zeros of none."""
  every = np.append(values, others)
  every = every[np.isfinite(every)]
  return (float(every.min()), float(every.max())) if every.size else (0.0, 0.0)


def masses(
  values: np.ndarray,
  probabilities: np.ndarray,
  value_range: tuple[float, float],
) -> np.ndarray:
  """Returns the masses of each action in common bins, `[A, bins]`.

  A support has a bin for each value. Others have equal parts of `value_range`;
  what is outside is in the first or last one, NaN in none.

  Args:
    values: `[A, N]`.
    probabilities: `[A, N]`.
    value_range: the least and the greatest value.
  """
  probabilities = np.nan_to_num(probabilities)
  if is_support(values):
    return probabilities
  probabilities = np.where(np.isnan(values), 0, probabilities)
  low, high = value_range
  part = (values - low) / max(high - low, 1e-12) * _BINS
  bins = np.clip(np.nan_to_num(part), 0, _BINS - 1).astype(int)
  return np.stack(
    [
      np.bincount(where, weights, _BINS)
      for where, weights in zip(bins, probabilities, strict=True)
    ]
  )


def _draw_bar(image, value, box, q_range, i, action) -> None:
  (left, right), (low, high) = _BAR, q_range
  image[box[0] : box[1], left:right] = _GROOVE
  if not np.isfinite(value):
    return
  scale = (right - left - 1) / max(high - low, 1e-12)
  ends = sorted(
    left + round(float(np.clip((x - low) * scale, 0, right - left - 1)))
    for x in (0, value)
  )
  colour = _TAKEN if i == action else _COLOUR
  image[box[0] : box[1], ends[0] : ends[1] + 1] = colour


def _draw_distribution(
  image, distribution, shown, tops, row, value_range, action
) -> None:
  values, probabilities = map(np.asarray, distribution)
  low, high = value_range or span(values)
  binned = masses(values, probabilities, (low, high))[shown]
  left, right = _MASS
  _write(image, 'distribution of return', (left, 54), _FAINT, right - left)
  edges = np.linspace(left, right, binned.shape[1] + 1).round().astype(int)
  heights = binned / max(binned.max(), 1e-12) * (row - 4)
  for i, top, talls in zip(shown, tops, heights.round(), strict=True):
    bottom = top + row - 2
    image[top + 2 : bottom, left:right] = _GROOVE
    colour = _TAKEN if i == action else _COLOUR
    # A mass of less than half a pixel is none.
    for x0, x1, tall in zip(edges, edges[1:], talls, strict=False):
      image[bottom - int(tall) : bottom, x0 : max(x1, x0 + 1)] = colour
  base = tops[-1] + row + 12
  _write(image, f'{low:.4g}', (left, base), _FAINT)
  _write(image, f'{high:.4g}', (right, base), _FAINT, right=True)


def _name(names: Sequence[str], action: int) -> str:
  return names[action] if action < len(names) else str(action)


def _write(
  image: np.ndarray,
  text: str,
  place: tuple[int, int],
  colour: tuple[int, int, int],
  width: int = WIDTH,
  *,
  right: bool = False,
  scale: float = 0.42,
) -> None:
  """Writes text, smaller where it is wider than `width`.

  `place` is its lower left corner, or its lower right one.
  """
  font = cv2.FONT_HERSHEY_SIMPLEX
  (wide, _), _ = cv2.getTextSize(text, font, scale, 1)
  if wide > width:
    scale *= width / wide
    (wide, _), _ = cv2.getTextSize(text, font, scale, 1)
  x, y = place
  corner = (int(x - wide if right else x), int(y))
  cv2.putText(image, text, corner, font, scale, colour, 1, cv2.LINE_AA)
