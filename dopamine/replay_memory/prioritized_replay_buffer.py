"""A replay buffer that draws transitions in proportion to their priorities.

Proportional prioritisation of Schaul et al. (2016), section 3.3. The exponents
of the priorities and of the importance weights are the agent's.
"""

from collections.abc import Callable, Sequence
import inspect
import os
from typing import Any

from absl import logging
import gin
import numpy as np

from dopamine import seams
from dopamine.files import atomic
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import windows
from dopamine.settings import errors

ReplayElement = circular_replay_buffer.ReplayElement


@gin.configurable
class OutOfGraphPrioritizedReplayBuffer(
  circular_replay_buffer.OutOfGraphReplayBuffer
):
  """A circular buffer whose transitions each have a priority.

  `add` takes a transition's first priority; `set_priority` changes it. What can
  never be sampled as a start, whatever is set, has priority 0: padding, final
  observations, and transitions of a cut episode that lack their next state,
  from when the next episode begins.

  gin's bindings of `OutOfGraphReplayBuffer` count too, after those of this one.
  """

  takes_priority = True

  def __init__(
    self,
    observation_shape: tuple[int, ...],
    stack_size: int,
    replay_capacity: int | None = None,
    batch_size: int | None = None,
    *args: Any,
    **kwargs: Any,
  ):
    """Allocates the buffer and its tree of priorities.

    Args:
      observation_shape: of one frame.
      stack_size: K, the frames in a state.
      replay_capacity: in slots, padding included.
      batch_size: how many transitions are sampled unless said otherwise.
      *args: as `kwargs`, from `update_horizon` on.
      **kwargs: further arguments of `OutOfGraphReplayBuffer`, whose defaults
        are those of all.
    """
    kwargs |= _by_name(super().__init__, args, 4)
    sizes = {'replay_capacity': replay_capacity, 'batch_size': batch_size}
    kwargs |= {k: v for k, v in sizes.items() if v is not None}
    super().__init__(observation_shape, stack_size, **kwargs)
    # A uniform memory needs none.
    from dopamine.replay_memory import sum_tree

    self.sum_tree = sum_tree.SumTree(self._replay_capacity, self._rng)

  # What a transition is made of ----------------------------------------------

  def get_add_args_signature(self) -> list[ReplayElement]:
    """Returns what `add` takes, in its order: the priority is the last."""
    priority = ReplayElement('priority', (), np.dtype(np.float32))
    return [*super().get_add_args_signature(), priority]

  def get_transition_elements(
    self, batch_size: int | None = None
  ) -> list[ReplayElement]:
    """Returns what `sample_transition_batch` returns, in its order.

    The last, `sampling_probabilities`, are priorities: not divided by their
    total.
    """
    batch_size = self._batch_size if batch_size is None else batch_size
    probabilities = ReplayElement(
      'sampling_probabilities', (batch_size,), np.dtype(np.float32)
    )
    return [*super().get_transition_elements(batch_size), probabilities]

  def _element(
    self, element: ReplayElement, values: dict[str, Any], start: np.ndarray
  ) -> np.ndarray:
    if element.name == 'sampling_probabilities':
      return self.sum_tree.get(start).astype(element.type)
    return super()._element(element, values, start)

  # Adding --------------------------------------------------------------------

  def _check_add(self, args: tuple) -> None:
    super()._check_add(args)
    if not 0 <= float(args[-1]) < np.inf:
      raise errors.SettingError(
        f'priority={args[-1]} must be finite and 0 or more'
      )

  def _add(self, *args) -> None:
    *stored, priority = args
    cursor = self.cursor()
    self.sum_tree.set(cursor, priority)
    super()._add(*stored)
    if self._markers[cursor - 1] == windows.CUT:
      self._zero_lost(self._newest())

  def cut_episode(self) -> None:
    """Ends an episode that is still open: see `OutOfGraphReplayBuffer`."""
    super().cut_episode()
    self._zero_lost(self._newest())

  def _newest(self) -> np.ndarray:
    """Returns the slots that a cut may have made lost: `[N + 1]`."""
    age = np.arange(1, self._update_horizon + 2)
    return (self.cursor() - age) % self._replay_capacity

  def _zero_lost(self, slots: np.ndarray) -> None:
    """Gives priority 0 to those of the slots that can never be valid again."""
    lost = slots[windows.is_lost(slots, self._rings(), self._sizes)]
    if len(lost):
      self.sum_tree.set(lost, 0.0)

  # Priorities ----------------------------------------------------------------

  def set_priority(self, indices: np.ndarray, priorities) -> None:
    """Sets the priorities of transitions.

    Args:
      indices: int32 array, as sampled; of one that is in it more than once, the
        last priority stays.
      priorities: finite and 0 or more, one per index. Of what can never be
        sampled (again) it stays 0.
    """
    _check_indices(indices)
    self.sum_tree.set(np.asarray(indices), np.asarray(priorities))
    self._zero_lost(np.ravel(indices))

  def get_priority(self, indices: np.ndarray) -> np.ndarray:
    """Returns the priorities at an int32 array of indices, as float32."""
    _check_indices(indices)
    return self.sum_tree.get(np.asarray(indices)).astype(np.float32)

  # Sampling ------------------------------------------------------------------

  def sample_index_batch(
    self, batch_size: int, num_batches: int = 1
  ) -> np.ndarray:
    """Returns valid indices, batch after batch: `[num_batches * batch_size]`.

    They are drawn in proportion to their priorities, each batch stratified: one
    from each of B equal parts of the total (Schaul et al., 2016, appendix
    B.2.1), in random order, so that what is cut from it is unbiased too. An
    invalid one is drawn again from the whole.
    """
    self._start_range()
    if not self.sum_tree._sums[1] > 0.0:
      raise circular_replay_buffer.NothingToSampleError(
        'Cannot sample from an empty sum tree: nothing that can be sampled has '
        'a priority above 0.'
      )
    drawn = self.sum_tree.stratified_sample(batch_size, num_batches)
    drawn = self._rng.permuted(drawn.reshape(num_batches, batch_size), axis=1)
    return self._redraw_invalid(
      drawn.ravel(),
      num_batches,
      lambda n: self.sum_tree.sample(self._rng.random(n)),
      self._draw_unbarred,
    )

  def _draw_unbarred(self, count: int) -> np.ndarray:
    """Draws from what the cursor does not bar."""
    # The rest may have most of the mass: new ones have the largest priority.
    barred = self.invalid_range
    mass = self.sum_tree.get(barred)
    self.sum_tree.set(barred, 0.0)
    try:
      if not self.sum_tree._sums[1] > 0.0:
        return np.resize(barred, count)
      return self.sum_tree.sample(self._rng.random(count))
    finally:
      self.sum_tree.set(barred, mass)

  # Saving --------------------------------------------------------------------

  def live_figures(self) -> dict[str, float]:
    leaves = self.sum_tree.nodes[-1]
    figures = {
      'Replay/MeanPriority': leaves.sum() / max(np.count_nonzero(leaves), 1),
      'Replay/LargestPriority': leaves.max(),
    }
    return super().live_figures() | figures

  @property
  def nbytes(self) -> int:
    """Bytes of memory that the buffer takes once it is full."""
    return super().nbytes + self.sum_tree.nbytes

  # A data set that a uniform buffer saved gets equal priorities.
  _not_in_data_sets = frozenset(('sum_tree',))

  def _return_checkpointable_elements(self) -> dict[str, Any]:
    """Returns what is saved, by name: `sum_tree` too, as `data_set` has it."""
    from dopamine.replay_memory import data_set

    elements = super()._return_checkpointable_elements()
    leaves = self.sum_tree.nodes[-1][: self._replay_capacity]
    elements['sum_tree'] = data_set.tree_record(
      leaves, self.sum_tree.max_recorded_priority
    )
    return elements

  def _restore_elements(self, elements: dict[str, Any]) -> None:
    from dopamine.replay_memory import data_set

    elements = {'add_count': self.add_count} | elements
    saved = elements.pop('sum_tree', None)
    if np.shape(elements['add_count']):
      raise atomic.DamagedError(
        f'add_count holds {np.size(elements["add_count"])} numbers, not one'
      )
    if saved is None:
      logging.warning(
        'The transitions come without priorities: all are as likely'
      )
      priorities = np.arange(self._replay_capacity) < elements['add_count']
      saved = data_set.tree_record(priorities, 1.0)
    saved = data_set.fitting_tree(saved, self._replay_capacity)
    largest = float(saved['max_recorded_priority'])
    if not 0 < largest < np.inf:
      raise errors.SettingError(f'sum_tree has max_recorded_priority={largest}')
    # First what may be refused. No old value has a part in the new sums.
    self.sum_tree.set(np.arange(self._replay_capacity), saved['priorities'])
    self.sum_tree.max_recorded_priority = largest
    super()._restore_elements(elements)

  def _was_read(self) -> None:
    """Gives what was saved, by whatever version, priority 0 where it is due."""
    if old := seams.compat('old_records'):
      terminal = self._store['terminal']
      padding = old.padding(terminal, int(self.add_count), self._stack_size)
      self._markers[padding] = windows.PADDING
    for start in range(0, self._replay_capacity, 2**16):
      end = min(start + 2**16, self._replay_capacity)
      self._zero_lost(np.arange(start, end))

  def _empty(self) -> None:
    super()._empty()
    self.sum_tree.set(np.arange(self._replay_capacity), 0.0)

  def check_shapes(
    self, checkpoint_dir: str | os.PathLike, suffix: int | str
  ) -> None:
    """Raises ValueError if saved arrays do not fit; reads only their headers.

    Files that are missing are left to `load`.
    """
    from dopamine.replay_memory import data_set

    super().check_shapes(checkpoint_dir, suffix)
    data_set.check_tree(
      *(checkpoint_dir, suffix, self._replay_capacity),
      naming=self._generate_filename,
    )


def _by_name(function: Callable, args: Sequence[Any], skip: int) -> dict:
  """Arguments by the names of a function's parameters, some skipped."""
  names = list(inspect.signature(function).parameters)
  return dict(zip(names[skip:], args, strict=False))


def _check_indices(indices: np.ndarray) -> None:
  assert np.shape(indices), 'Indices must be an array.'
  dtype = np.asarray(indices).dtype
  assert dtype == np.int32, f'Indices must be integers (int32), given: {dtype}'


@gin.configurable(
  denylist=['observation_shape', 'stack_size', 'update_horizon', 'gamma']
)
class WrappedPrioritizedReplayBuffer(
  circular_replay_buffer.WrappedReplayBuffer
):
  """The prioritised buffer of an agent: a memory, and batches by name.

  Built with the arguments of `WrappedReplayBuffer`; gin's bindings of either
  class count, those of this one first.
  """

  memory: OutOfGraphPrioritizedReplayBuffer

  def __init__(
    self,
    observation_shape: tuple[int, ...],
    stack_size: int,
    *args: Any,
    **kwargs: Any,
  ):
    """Builds the memory: see `WrappedReplayBuffer`.

    Args:
      observation_shape: of one frame.
      stack_size: K, the frames in a state.
      *args: as `kwargs`, from `use_staging` on; they win over gin's.
      **kwargs: of `WrappedReplayBuffer`.
    """
    kwargs |= _by_name(super().__init__, args, 2)
    super().__init__(observation_shape, stack_size, **kwargs)

  def _build_memory(self, **kwargs) -> OutOfGraphPrioritizedReplayBuffer:
    return OutOfGraphPrioritizedReplayBuffer(**kwargs)

  def tf_set_priority(
    self, indices: Sequence[int] | np.ndarray, priorities
  ) -> None:
    """Sets priorities, at once; the name is from when it built an operation."""
    self.memory.set_priority(np.asarray(indices, np.int32), priorities)

  def tf_get_priority(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns the priorities at `indices`, as float32."""
    return self.memory.get_priority(np.asarray(indices, np.int32))
