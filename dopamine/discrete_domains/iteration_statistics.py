"""Lists of figures collected during one iteration."""

from typing import Any


class IterationStatistics:
  """One list per key.

  Attributes:
    data_lists: `{key: [values in the order they were appended]}`.
  """

  def __init__(self) -> None:
    self.data_lists: dict[str, list[Any]] = {}

  def append(self, data_pairs: dict[str, Any]) -> None:
    """Appends each value to the list of its key.

    Args:
      data_pairs: e.g. `{'train_episode_lengths': 100}`.
    """
    for key, value in data_pairs.items():
      self.data_lists.setdefault(key, []).append(value)
