"""Batches by name, of whatever replay memory there is."""

import collections
from collections.abc import Callable
import functools
from typing import Any

import numpy as np

from dopamine import seams
from dopamine.replay_memory import saved_ring

# Attributes of the wrapper -> fields of its last batch.
_FIELDS = 'state action reward next_state next_action next_reward terminal'
_OF_THE_LAST_BATCH = {f'{name}s': name for name in _FIELDS.split()}
_OF_THE_LAST_BATCH['indices'] = 'indices'


class NamedBatches(saved_ring.SavedMemory):
  """What a `WrappedReplayBuffer` is, however its memory was made."""

  memory: Any
  batch_size: int
  gamma: float
  cuts_episodes = True  # It has `cut_episode` and `add_final_observation`.
  _batch: Any = None

  def __getattr__(self, name: str) -> Any:
    if name in _OF_THE_LAST_BATCH:
      return self._last(_OF_THE_LAST_BATCH[name])
    # Only public names, so that a copy that has no memory yet does not loop.
    if name.startswith('_') or name == 'memory':
      raise AttributeError(f'{type(self).__name__} has no attribute {name}')
    old = seams.compat('old_memories')
    return old.attribute(self, name) if old else getattr(self.memory, name)

  def __repr__(self):
    return f'{type(self).__name__}({self.memory!r})'

  # Adding --------------------------------------------------------------------

  def add(
    self,
    observation,
    action,
    reward,
    terminal,
    *args,
    priority: float | None = None,
    episode_end: bool = False,
  ) -> None:
    """Stores a transition: see `OutOfGraphReplayBuffer.add`."""
    # A memory whose `add` is overridden need not know these.
    keywords: dict[str, Any] = {}
    if priority is not None:
      keywords['priority'] = priority
    if episode_end:
      keywords['episode_end'] = True
    self.memory.add(observation, action, reward, terminal, *args, **keywords)

  def add_final_observation(self, observation) -> None:
    """Ends an episode by time-out: see `OutOfGraphReplayBuffer`."""
    self.memory.add_final_observation(observation)

  def cut_episode(self) -> None:
    """Ends an abandoned episode: see `OutOfGraphReplayBuffer`."""
    self.memory.cut_episode()

  # Sampling ------------------------------------------------------------------

  @functools.cached_property
  def _batch_type(self) -> Any:
    names = [e.name for e in self.memory.get_transition_elements()]
    return collections.namedtuple('Batch', [*names, 'discount'])

  @functools.cached_property
  def _draw(self) -> Callable:
    """Draws several batches at once, however the memory does."""
    old = seams.compat('old_memories')
    own = old and old.drawing(self.memory)
    return own or type(self.memory).draw_batches

  def sample(self, num_batches: int = 1) -> Any:
    """Returns a `Batch` of arrays `[num_batches, batch_size, ...]`.

    Its fields are the memory's transition elements, and `discount`; `reward`
    and `discount` are float32, as the networks are.
    """
    size = self.batch_size
    arrays, discount = self._draw(self.memory, num_batches, size, self.gamma)
    batch = self._batch_type(*arrays, discount)
    batch = batch._replace(reward=batch.reward.astype(np.float32, copy=False))
    self._batch = self._batch_type(
      *(x.reshape(num_batches, size, *x.shape[1:]) for x in batch)
    )
    return self._batch

  @property
  def transition(self) -> collections.OrderedDict[str, np.ndarray]:
    """A batch by name, `[batch_size, ...]`; each access draws a new one."""
    batch = self.sample()
    return collections.OrderedDict(
      (name, array[0]) for name, array in zip(batch._fields, batch, strict=True)
    )

  def _last(self, name: str) -> np.ndarray:
    """Returns one array of the batch drawn last, or of a first one."""
    batch = self.sample() if self._batch is None else self._batch
    return batch._asdict()[name][-1]
