"""`dopamine.metrics.statistics_instance`, a figure of a Dopamine 4 agent's."""

import dataclasses
from typing import Any


@dataclasses.dataclass
class StatisticsInstance:
  """A figure of a name at a step; it goes to `summary_writer.add_scalar`."""

  name: str
  value: Any
  step: int
