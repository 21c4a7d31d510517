"""Which steps a transition is made of, in arrays that are rings.

Functions of arrays and slots, on NumPy and on jax.numpy alike; under `jax.jit`,
`Sizes` is static. `B` is the batch, `N` the update horizon, `K` the stack size.

There may be several streams, one after the other in the same arrays: stream s
has the slots from `s * length` on, a ring of its own that no window leaves.
What is known of one stream alone is a number, of several an array `[E]`.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np

# What a slot is, beside an ordinary transition. The order matters: up to CUT
# a slot may be a start, from FINAL on it never is.
NONE = 0
CUT = 1  # the episode ended here, not terminal, and nobody saw what came next
FINAL = 2  # no transition: the observation that a time-out cut the episode at
PADDING = 3  # no transition: the zeros before the first observation

# What cv2 can interleave.
_CV2_DTYPES = frozenset('uint8 int8 uint16 int16 int32 float32 float64'.split())

Array = Any  # NumPy's or JAX's.


class Sizes(NamedTuple):
  """What does not change."""

  length: int  # slots of a stream
  stack_size: int  # K
  horizon: int  # N
  num_streams: int = 1  # E


class Rings(NamedTuple):
  """What was added, as far as it decides where transitions start and end."""

  terminal: Array  # [E * length]
  markers: Array  # [E * length]
  add_count: Array  # slots that were ever written
  is_abandoned: Array  # whether nobody can say what followed the newest slot


class Window(NamedTuple):
  """The steps that the transitions starting at some slots are made of."""

  start: Array  # [B] slot of the first step
  slots: Array  # [B, N] slots of the steps, those not taken included
  steps: Array  # [B] k, how many steps were really taken
  terminal: Array  # [B] whether the last of them ended in a terminal
  next: Array  # [B] slot of the next observation


def _module(array: Array) -> Any:
  """Returns numpy, or the module like it that an array is of."""
  if isinstance(array, (np.ndarray, np.generic, int)):
    return np
  return array.__array_namespace__()


def later(slots: Array, count: Array, sizes: Sizes) -> Array:
  """Returns the slots that are `count` further on in the same stream."""
  place = (slots + count) % sizes.length
  if sizes.num_streams == 1:
    return place
  return slots // sizes.length * sizes.length + place


def _of_stream(value: Array, slots: Array, sizes: Sizes) -> Array:
  """Returns what is known of the streams that slots are in."""
  return value if sizes.num_streams == 1 else value[slots // sizes.length]


def window(start: Array, rings: Rings, sizes: Sizes) -> Window:
  """Follows the transitions that start at slots `[B]` to their ends."""
  xp, n = _module(start), sizes.horizon
  slots = later(start[:, None], xp.arange(n), sizes)  # [B, N]
  terminal = rings.terminal[slots] != 0
  final = rings.markers[slots] == FINAL
  # A terminal ends the step it is stored with; a final observation is not a
  # step. Without either, N steps are taken.
  to_terminal = xp.where(
    terminal.any(axis=1), terminal.argmax(axis=1) + 1, n + 1
  )
  to_final = xp.where(final.any(axis=1), final.argmax(axis=1), n)
  steps = xp.minimum(to_terminal, to_final)
  return Window(
    start, slots, steps, to_terminal <= to_final, later(start, steps, sizes)
  )


def is_lost(slots: Array, rings: Rings, sizes: Sizes) -> Array:
  """Returns of which slots `[B]` no later step can make a valid start: `[B]`.

  Padding, final observations, and transitions that need what followed a cut.
  Nothing followed the newest slot yet: where that was cut, a final observation
  may still come, unless the episode was abandoned.
  """
  start, ahead = slots[:, None], _module(slots).arange(sizes.horizon)
  count = _of_stream(rings.add_count, start, sizes)
  is_abandoned = _of_stream(rings.is_abandoned, start, sizes)
  window = later(start, ahead, sizes)  # [B, N]
  markers = rings.markers[window]
  newer = (count - 1 - start) % sizes.length  # [B, 1] how many came after.
  cut = (markers == CUT) & (ahead < newer)
  cut = cut | (is_abandoned & (ahead == newer))
  ends = cut | (markers != NONE) | (rings.terminal[window] != 0)
  first = ends.argmax(axis=1)[:, None]  # 0 also where there is none.
  is_cut = (cut & (ahead == first)).any(axis=1)
  is_added = (newer < count)[:, 0]  # Else the slot is empty yet.
  return is_added & (is_cut | (markers[:, 0] >= FINAL))


def start_range(add_count: Array, sizes: Sizes) -> tuple[Array, Array]:
  """Returns between which of all that were ever added all valid starts are.

  Modulo the length, those are slots. The N newest lack their next observation;
  the stacks of the K oldest reach what was overwritten. (Of these K - 1 would
  do: the published range is one slot too careful.)
  """
  length, k, n, _ = sizes
  low = _module(add_count).maximum(k - 1, add_count - length + k)
  return low, add_count - n


def is_valid(slots: Array, rings: Rings, sizes: Sizes) -> Array:
  """Returns which slots are starts that may be sampled: `[B]` of `[B]`."""
  count = _of_stream(rings.add_count, slots, sizes)
  low, high = start_range(count, sizes)
  inside = (slots - low) % sizes.length < high - low
  # Data sets without markers: padding is known by the terminal before it.
  back = -_module(slots).arange(1, sizes.stack_size)
  before = later(slots[:, None], back, sizes)  # [B, K-1]
  crosses = (rings.terminal[before] != 0).any(axis=1)
  return inside & ~crosses & ~is_lost(slots, rings, sizes)


def n_step_return(rewards: Array, window: Window, gamma: Array) -> Array:
  """Returns the sum of gamma^j r_j over the steps taken: `[B, ...]`.

  Summed in float64 where there is one, then cast to the dtype of the rewards,
  which are those of all slots.
  """
  xp = _module(rewards)
  dtype, rewards = rewards.dtype, rewards[window.slots]  # [B, N, ...]
  offsets = xp.arange(rewards.shape[1])
  taken = offsets < window.steps[:, None]  # [B, N]
  taken = taken.reshape(taken.shape + (1,) * (rewards.ndim - 2))
  # Not weights of zero: what is not taken may be NaN.
  rewards = xp.where(taken, rewards, 0)
  discounts = xp.asarray(gamma, dtype=float) ** offsets  # [N]
  return xp.einsum('n,bn...->b...', discounts, rewards).astype(dtype)


def discounts(window: Window, gamma: Array) -> Array:
  """Returns gamma^k (1 - terminal), k the steps really taken: `[B]` float32."""
  xp = _module(window.steps)
  discount = xp.asarray(gamma, dtype=float) ** window.steps
  return xp.where(window.terminal, 0.0, discount).astype(np.float32)


def stacks(frames: Array, slots: Array, sizes: Sizes) -> Array:
  """Returns the states at slots `[B]`, oldest frame first: `[B, ..., K]`."""
  k = sizes.stack_size
  if k == 1:
    return frames[slots][..., None]
  planes = [frames[later(slots, j - k + 1, sizes)] for j in range(k)]
  if (
    not isinstance(frames, np.ndarray)
    or frames.dtype.name not in _CV2_DTYPES
    or frames.ndim == 1
    or not len(slots)
  ):
    return _module(frames).stack(planes, axis=-1)
  # 0.25 ms for 64 Atari stacks; writing frame by frame into a strided array
  # takes 0.68, np.stack 2.5.
  merged = cv2.merge([p.reshape(-1, p.shape[-1]) for p in planes])
  return merged.reshape(*planes[0].shape, k)
