"""A ring of slots on the disk: in checkpoints of a run, and as data sets."""

import os
from typing import Any

import numpy as np

from dopamine import seams
from dopamine.replay_memory import elements as replay_elements
from dopamine.replay_memory import ring
from dopamine.replay_memory import ring_files
from dopamine.settings import errors

_PREFIX = replay_elements.STORE_FILENAME_PREFIX
_MARKERS = replay_elements.MARKERS_NAME


class SavedRing(ring.Ring):
  """A ring that can be saved."""

  # Checkpoints of a run -------------------------------------------------------

  def checkpoint(
    self, checkpoint_dir: str | os.PathLike, iteration_number: int
  ) -> None:
    """Saves what is new since the last time, for `restore`.

    Slots go to files that the checkpoints of a run share: see `ring_files`.
    What was added stays as it is until it is overwritten (who changes it calls
    `rewrite_checkpoints`). All else is in `replay_ckpt.N.npz`. What a Runner
    saves is written later; until then `add` waits where it would overwrite it.

    Args:
      checkpoint_dir: an existing folder.
      iteration_number: names the file.
    """
    self._ring.save(
      checkpoint_dir,
      iteration_number,
      self._store,
      int(self.add_count),
      self._elements_beside_the_store() | {_MARKERS: self._markers},
      next_is_episode_start=self._next_experience_is_episode_start,
    )

  def restore(
    self, checkpoint_dir: str | os.PathLike, iteration_number: int
  ) -> None:
    """Reads what `checkpoint` saved.

    Raises:
      NotFoundError: there is no such checkpoint.
      DamagedError: naming the file. Nothing is left in the buffer.
      ValueError: naming the array that does not fit. Nothing was changed.
    """
    from dopamine.replay_memory import ring_reader

    saved = ring_reader.read(checkpoint_dir, iteration_number)
    ring_reader.check_fit(saved, self._store)
    names = [*self._elements_beside_the_store(), _MARKERS]
    lacking = [name for name in names if name not in saved.elements]
    if lacking:
      raise errors.SettingError(
        f'{saved.path} was saved by another kind of replay memory: it has no '
        f'{", ".join(lacking)}. Build the one that saved it, or start in an '
        'empty directory.'
      )
    if self.add_count > 0:
      self._empty()
    try:
      self._ring.restore(saved, self._store)
      elements = {name: saved.elements[name] for name in names}
      self._markers = elements.pop(_MARKERS)
      self._restore_elements(elements)
    except BaseException:
      self._empty()
      raise
    is_start = saved.record['next_is_episode_start']
    self._next_experience_is_episode_start = is_start
    self._was_read()

  @property
  def generator_state(self) -> dict[str, Any]:
    """The state of the generator that sampling draws from."""
    return dict(self._rng.bit_generator.state)

  @generator_state.setter
  def generator_state(self, state: dict[str, Any]) -> None:
    self._rng.bit_generator.state = state

  def rewrite_checkpoints(self) -> None:
    """Makes the next checkpoint save every slot anew, for who changed some."""
    self._ring.forget()

  # Saving --------------------------------------------------------------------

  # What `load` can do without.
  _not_in_data_sets: frozenset[str] = frozenset()

  def _return_checkpointable_elements(self) -> dict[str, Any]:
    """Returns what is saved, by name: the store and the public attributes.

    A subclass may add to it, and leave out what is none of the store.
    """
    own = vars(self)
    own['invalid_range'] = self.invalid_range  # Old code reads it there.
    elements = {_PREFIX + k: v for k, v in self._store.items()}
    return elements | {k: v for k, v in own.items() if not k.startswith('_')}

  def _generate_filename(
    self, checkpoint_dir: str | os.PathLike, name: str, suffix: int | str
  ) -> str:
    """Returns the path of the file of one array, for `save` and `load`."""
    from dopamine.replay_memory import data_set

    return data_set.filename(checkpoint_dir, name, suffix)

  def _elements_beside_the_store(self) -> dict[str, Any]:
    stored = {_PREFIX + name for name in self._store}
    return {
      name: value
      for name, value in self._return_checkpointable_elements().items()
      if name not in stored
    }

  def _restore_elements(self, elements: dict[str, Any]) -> None:
    """Takes over what `_return_checkpointable_elements` returned."""
    for name, value in elements.items():
      if name.startswith(_PREFIX):
        self._store[name.removeprefix(_PREFIX)] = value
      else:
        setattr(self, name, value)

  def save(self, checkpoint_dir: str | os.PathLike, iteration_number: int):
    """Writes one file per array, and removes those of an old checkpoint.

    Arrays are gzipped `.npy` files, what else is public is pickled. That of
    iteration `iteration_number - CHECKPOINT_DURATION` is removed. Does nothing
    if the directory does not exist.
    """
    from dopamine.replay_memory import data_set

    if not os.path.isdir(checkpoint_dir):
      return
    elements = self._return_checkpointable_elements()
    elements[_MARKERS] = data_set.markers_record(
      self._markers, self._next_experience_is_episode_start
    )
    place = checkpoint_dir, iteration_number
    data_set.save(*place, elements, self._generate_filename)

  def load(self, checkpoint_dir: str | os.PathLike, suffix: int | str) -> None:
    """Reads what `save` wrote, or a data set written by Dopamine 3.

    Arrays are read into those of the buffer where they fit, so that there are
    not two of each. A checkpoint without markers (Dopamine's have none) knows
    its episodes by their terminals alone, and the next `add` starts an episode.

    Raises:
      NotFoundError: naming the files that are missing. Nothing was changed.
      atomic.DamagedError: naming the file that is. The buffer is empty.
    """
    from dopamine.replay_memory import data_set

    elements = self._return_checkpointable_elements()
    place, naming = (checkpoint_dir, suffix), self._generate_filename
    files = data_set.find(*place, elements, self._not_in_data_sets, naming)
    small = data_set.read_small(files)
    markers, next_is_start = data_set.read_markers(
      *place, self._replay_capacity, naming
    )
    try:
      self._restore_elements(small)
    except ValueError as error:
      error.add_note(f'in {checkpoint_dir}, checkpoint {suffix}')
      raise
    self.rewrite_checkpoints()
    try:
      for name in [name for name in files if name not in small]:
        array = data_set.read(files[name], into=elements[name])
        self._store[name.removeprefix(_PREFIX)] = array
    except BaseException:
      self._empty()
      raise
    self._markers = markers
    self._next_experience_is_episode_start = next_is_start
    self._was_read()

  def _was_read(self) -> None:
    """Is called once `restore` or `load` has read all."""

  def _empty(self) -> None:
    """Forgets all transitions."""
    for array in self._store.values():
      array[...] = 0
    self._ring.forget()
    self.add_count = np.array(0)
    self._markers = np.zeros(self._replay_capacity, np.uint8)
    self._next_experience_is_episode_start = True

  def check_shapes(
    self, checkpoint_dir: str | os.PathLike, suffix: int | str
  ) -> None:
    """Raises ValueError if saved arrays do not fit; reads only their headers.

    Files that are missing are left to `load`.
    """
    from dopamine.replay_memory import data_set

    expected = {
      _PREFIX + name: (
        (self._replay_capacity, *shape),
        replay_elements.numpy_dtype(dtype),
      )
      for name, shape, dtype in self.get_storage_signature()
    }
    place = checkpoint_dir, suffix
    data_set.check_shapes(*place, expected, self._generate_filename)


class SavedMemory:
  """What has a replay memory, of ours or of a user's, that can be saved."""

  memory: Any

  def checkpoint(
    self, checkpoint_dir: str | os.PathLike, iteration_number: int
  ) -> None:
    """Saves what is new: see `OutOfGraphReplayBuffer.checkpoint`.

    A subclass that saves in its own way, here or in the memory, does so.
    """
    old = seams.compat('old_memories')
    if old and old.has_own_saving(self):
      self.save(checkpoint_dir, iteration_number)
    else:
      self.memory.checkpoint(checkpoint_dir, iteration_number)

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
    if isinstance(self.memory, SavedRing):  # Of a run, these are its state.
      from dopamine.replay_memory import data_set

      data_set.find(
        *(checkpoint_dir, iteration_number, self.memory._not_in_data_sets),
        naming=self.memory._generate_filename,
      )
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
    if isinstance(self.memory, SavedRing):
      self.memory.check_shapes(checkpoint_dir, suffix)
    self.memory.load(checkpoint_dir, suffix)
