"""QR-DQN with the defaults of Dopamine's JAX agents."""

import gin

from dopamine import seams
from dopamine.agents.quantile import quantile_agent
from dopamine.jax.agents.dqn import dqn_agent


@gin.configurable
class JaxQuantileAgent(dqn_agent.JaxDQNAgent, quantile_agent.QuantileAgent):
  """`QuantileAgent` with what `JaxDQNAgent` adds to every agent."""


def __getattr__(name):
  """Serves the functions of Flax parameters that once were the algorithm."""
  return seams.old_name(__name__, name)
