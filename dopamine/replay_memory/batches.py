"""Batches by name, of whatever replay memory there is."""

import collections
import functools
import inspect
import os
from typing import Any

import numpy as np

from dopamine.replay_memory import data_set
from dopamine.replay_memory import elements
from dopamine.replay_memory import ring_files
from dopamine.replay_memory import windows

# Attributes of the wrapper -> fields of its last batch.
_OF_THE_LAST_BATCH = {
  'states': 'state',
  'actions': 'action',
  'rewards': 'reward',
  'next_states': 'next_state',
  'next_actions': 'next_action',
  'next_rewards': 'next_reward',
  'terminals': 'terminal',
  'indices': 'indices',
}


class NamedBatches:
  """What a `WrappedReplayBuffer` is, however its memory was made.

  Attributes:
    memory: where transitions are stored, and drawn from.
    batch_size: B.
    gamma: what `discount` is made of; the rewards are summed with the memory's.
  """

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
    return getattr(self.memory, name)

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

  def sample(self, num_batches: int = 1) -> Any:
    """Returns a `Batch` of arrays `[num_batches, batch_size, ...]`.

    Its fields are the memory's transition elements, and `discount`; `reward`
    and `discount` are float32, as the networks are.
    """
    memory = self.memory
    if not elements.is_ours(memory, 'sample_transition_batch', 'discounts'):
      arrays = memory.sample_transition_batch(num_batches * self.batch_size)
      batch = self._batch_type(*arrays, discount=None)
      discount = memory.discounts(batch.indices, self.gamma)
    else:
      indices = self._sample_indices(num_batches)
      window = memory._window(indices)
      arrays = memory._transition(indices, window)
      batch = self._batch_type(*arrays, discount=None)
      discount = windows.discounts(window, self.gamma)
    batch = batch._replace(
      reward=batch.reward.astype(np.float32, copy=False), discount=discount
    )
    self._batch = self._batch_type(
      *(x.reshape(num_batches, self.batch_size, *x.shape[1:]) for x in batch)
    )
    return self._batch

  @functools.cached_property
  def _takes_num_batches(self) -> bool:
    """Whether the memory can be asked for the indices of several batches."""
    method = self.memory.sample_index_batch  # May be overridden.
    return 'num_batches' in inspect.signature(method).parameters

  def _sample_indices(self, num_batches: int) -> np.ndarray:
    sample, size = self.memory.sample_index_batch, num_batches * self.batch_size
    if self._takes_num_batches:
      indices = sample(self.batch_size, num_batches)
    else:
      indices = sample(size)
    if len(indices) != size:
      raise ValueError(f'batch_size={size} but {len(indices)} indices')
    return np.asarray(indices, np.int64)

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
    return getattr(batch, name)[-1]

  # Saving --------------------------------------------------------------------

  def checkpoint(
    self, checkpoint_dir: str | os.PathLike, iteration_number: int
  ) -> None:
    """Saves what is new: see `OutOfGraphReplayBuffer.checkpoint`.

    A subclass that saves in its own way, here or in the memory, does so.
    """
    saved = 'save', 'load'
    if elements.is_ours(self, *saved) and elements.is_ours(self.memory, *saved):
      self.memory.checkpoint(checkpoint_dir, iteration_number)
    else:
      self.save(checkpoint_dir, iteration_number)

  def restore(
    self, checkpoint_dir: str | os.PathLike, iteration_number: int
  ) -> None:
    """Reads what `checkpoint` saved, or else what `save` did.

    Raises:
      NotFoundError: naming the files that are missing.
      atomic.DamagedError: naming the file that is.
      ValueError: naming the array that does not fit.
    """
    path = ring_files.record_path(checkpoint_dir, iteration_number)
    if os.path.exists(path):
      self.memory.restore(checkpoint_dir, iteration_number)
      return
    for name in getattr(self.memory, '_not_in_data_sets', ()):
      path = data_set.filename(checkpoint_dir, name, iteration_number)
      if not os.path.exists(path):  # Of a run, it is part of the state.
        raise data_set.NotFoundError(f'Missing files: {path}')
    self.load(checkpoint_dir, iteration_number)

  def save(self, checkpoint_dir: str | os.PathLike, iteration_number: int):
    """Saves the memory: see `OutOfGraphReplayBuffer.save`."""
    self.memory.save(checkpoint_dir, iteration_number)

  def load(self, checkpoint_dir: str | os.PathLike, suffix: int | str) -> None:
    """Loads the memory if what was saved fits it; all of it, or nothing.

    Raises:
      NotFoundError: naming the files that are missing.
      ValueError: naming the array that does not fit.
    """
    if hasattr(self.memory, 'check_shapes'):
      self.memory.check_shapes(checkpoint_dir, suffix)
    self.memory.load(checkpoint_dir, suffix)
