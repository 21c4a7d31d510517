"""Checkpoints of a run, each complete once its sentinel file is there.

Iteration N is saved as the pickle `ckpt.N` of a dict of built-ins and NumPy
values, and then `sentinel_checkpoint_complete.N`. Agents put files of their
own beside them.
"""

import os
import re
from typing import Any

import gin

from dopamine import safe_pickle

CHECKPOINT_DURATION = 4


@gin.configurable
def get_latest_checkpoint_number(
  base_directory: str,
  override_number: int | None = None,
  sentinel_file_identifier: str = 'checkpoint',
) -> int:
  """Returns the newest complete iteration, -1 if there is none.

  Args:
    base_directory: where the checkpoints are.
    override_number: returned instead, if given.
    sentinel_file_identifier: as given to the Checkpointer.
  """
  if override_number is not None:
    return override_number
  if not os.path.isdir(base_directory):
    return -1
  pattern = re.compile(
    rf'sentinel_{re.escape(sentinel_file_identifier)}_complete\.(\d+)'
  )
  matches = map(pattern.fullmatch, os.listdir(base_directory))
  return max((int(match[1]) for match in matches if match), default=-1)


class Checkpointer:
  """Saves and loads the dicts of a run."""

  def __init__(
    self,
    base_directory: str,
    checkpoint_file_prefix: str = 'ckpt',
    sentinel_file_identifier: str = 'checkpoint',
    checkpoint_frequency: int = 1,
  ):
    """Makes `base_directory`.

    Args:
      base_directory: where the files go.
      checkpoint_file_prefix: of the pickles.
      sentinel_file_identifier: part of the sentinels' names.
      checkpoint_frequency: iterations from one checkpoint to the next.

    Raises:
      ValueError: no directory is given, or it cannot be made.
    """
    if not base_directory:
      raise ValueError('No path provided to Checkpointer.')
    self._checkpoint_file_prefix = checkpoint_file_prefix
    self._sentinel_prefix = f'sentinel_{sentinel_file_identifier}_complete'
    self._checkpoint_frequency = checkpoint_frequency
    self._base_directory = base_directory
    try:
      os.makedirs(base_directory, exist_ok=True)
    except OSError as error:
      raise ValueError(
        f'Unable to create checkpoint path: {base_directory}.'
      ) from error

  def _path(self, prefix: str, iteration_number: int) -> str:
    return os.path.join(self._base_directory, f'{prefix}.{iteration_number}')

  def save_checkpoint(self, iteration_number: int, data: Any) -> None:
    """Saves `data`, then the sentinel; removes the checkpoint four before.

    Args:
      iteration_number: ignored unless `checkpoint_frequency` divides it.
      data: a dict of built-ins and NumPy values.

    Raises:
      safe_pickle.UnpicklingError: `data` holds something else; names it.
    """
    if iteration_number % self._checkpoint_frequency:
      return
    pickled = safe_pickle.dumps(data)
    for prefix, content in (
      (self._checkpoint_file_prefix, pickled),
      (self._sentinel_prefix, b'done'),
    ):
      path = self._path(prefix, iteration_number)
      with open(path + '.tmp', 'wb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
      os.replace(path + '.tmp', path)
    stale = iteration_number - CHECKPOINT_DURATION * self._checkpoint_frequency
    for prefix in (self._sentinel_prefix, self._checkpoint_file_prefix):
      path = self._path(prefix, stale)
      if os.path.exists(path):
        os.remove(path)

  def load_checkpoint(self, iteration_number: int) -> Any:
    """Returns what was saved, or None if there is no such file.

    Raises:
      safe_pickle.UnpicklingError: the file holds more than built-ins and
        NumPy values.
    """
    path = self._path(self._checkpoint_file_prefix, iteration_number)
    if not os.path.exists(path):
      return None
    with open(path, 'rb') as file:
      return safe_pickle.load(file)
