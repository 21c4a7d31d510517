"""The statistics of a run as pickles that users' scripts read."""

import os
import pickle
from typing import Any

from absl import logging

from dopamine.files import atomic

CHECKPOINT_DURATION = 4


class Logger:
  """Keeps `{'iteration_0': {...}, ...}` and writes all of it to a file.

  Attributes:
    data: what is written.
    keep: how many files stay on disk, if one is written per iteration; 0 keeps
      all.
  """

  def __init__(self, logging_dir: str):
    """Makes `logging_dir`.

    Args:
      logging_dir: where the files go. If it is empty or cannot be made, a
        warning is logged and the Logger does nothing.
    """
    self.data: dict[str, Any] = {}
    self.keep = CHECKPOINT_DURATION
    self._logging_enabled = False
    if not logging_dir:
      logging.info('Logging directory not specified, will not log.')
      return
    # An environment may change the working folder.
    self._logging_dir = os.path.abspath(logging_dir)
    try:
      os.makedirs(self._logging_dir, exist_ok=True)
    except OSError as error:
      logging.warning(
        'Could not create directory %s (%s), logging will be disabled.',
        logging_dir,
        error,
      )
      return
    self._logging_enabled = True

  def __setitem__(self, key: str, value: Any) -> None:
    if self._logging_enabled:
      self.data[key] = value

  def log_to_file(self, filename_prefix: str, iteration_number: int) -> None:
    """Writes `data` to `{prefix}_{iteration}`; removes the file four before.

    Args:
      filename_prefix: e.g. 'log'.
      iteration_number: of the newest data.
    """
    if not self._logging_enabled:
      logging.warning('Logging is disabled.')
      return
    path = os.path.join(
      self._logging_dir, f'{filename_prefix}_{iteration_number}'
    )
    os.makedirs(self._logging_dir, exist_ok=True)  # It may have been removed.
    atomic.write_file(
      path,
      lambda file: pickle.dump(
        self.data, file, protocol=pickle.HIGHEST_PROTOCOL
      ),
    )
    number = iteration_number - self.keep
    while self.keep:  # More than one is stale where fewer are kept now.
      stale = os.path.join(self._logging_dir, f'{filename_prefix}_{number}')
      if not os.path.exists(stale):
        break
      os.remove(stale)
      number -= 1

  def is_logging_enabled(self) -> bool:
    """Whether `data` is kept and written."""
    return self._logging_enabled
