"""QR-DQN whose loss leaves out the importance weights of prioritised replay.

Dopamine's JAX agent left them out by mistake, and its published curves come
from it; `breakout.py quantile_unweighted` finds out what that changes.
"""

import gin

from dopamine.agents.quantile import quantile_agent


@gin.configurable
class UnweightedQuantileAgent(quantile_agent.QuantileAgent):
  """Prioritised sampling as it is; every loss of the batch counts alike."""

  def _loss_weights(self, batch):
    return None
