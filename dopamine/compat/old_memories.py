"""Replay memories whose methods users wrote, maybe for Dopamine 1 to 3.

What they override is called as they wrote it, where ours goes another way.
"""

from collections.abc import Callable
import functools
import inspect
from typing import Any

from dopamine import seams
from dopamine.compat import adapters
from dopamine.compat import proxy


def admitted(replay: Any, update_horizon: int) -> Any:
  """Returns the memory of a wrapper, with all that is asked of one."""
  if not _are_ours(replay.memory, 'sample_transition_batch'):
    draw = getattr(type(replay.memory), 'sample_transition_batch', None)
    # One that does not ask ours knows of no window that a time-out ended.
    names = getattr(getattr(draw, '__code__', None), 'co_names', ())
    replay.cuts_episodes = 'sample_transition_batch' in names
  return adapters.memory(replay.memory, update_horizon)


def attribute(replay: Any, name: str) -> Any:
  """What a wrapper has under a public name: of the memory, or what it had."""
  if name == 'create_sampling_ops':
    return functools.partial(_create_sampling_ops, replay)
  return getattr(replay.memory, name)


def _create_sampling_ops(replay: Any, use_staging: bool = False) -> None:
  """Draws a batch, of which `replay.states` and so on are from then on."""
  del use_staging
  replay.sample()


def _are_ours(owner: Any, *methods: str) -> bool:
  """Whether methods are of this package, none of a subclass's."""
  return all(
    seams.is_ours(getattr(getattr(owner, name, None), '__module__', None))
    for name in methods
  )


def has_own_saving(replay: Any) -> bool:
  """Whether a wrapper, or its memory, saves or names files as a user wrote."""
  return not (
    _are_ours(replay, 'save', 'load')
    and _are_ours(replay.memory, 'save', 'load', '_generate_filename')
  )


def drawing(memory: Any) -> Callable | None:
  """How batches are drawn from a memory, if not by its `draw_batches`."""
  if issubclass(type(memory), proxy.Proxy):
    return None
  if not _are_ours(memory, 'sample_transition_batch', 'discounts'):
    return _draw_transitions
  parameters = inspect.signature(memory.sample_index_batch).parameters
  return None if 'num_batches' in parameters else _draw_indices


def _draw_transitions(memory, num_batches, batch_size, gamma):
  arrays = memory.sample_transition_batch(num_batches * batch_size)
  names = [element.name for element in memory.get_transition_elements()]
  return arrays, memory.discounts(arrays[names.index('indices')], gamma)


def _draw_indices(memory, num_batches, batch_size, gamma):
  size = num_batches * batch_size
  return memory.batch_at(memory.sample_index_batch(size), size, gamma)
