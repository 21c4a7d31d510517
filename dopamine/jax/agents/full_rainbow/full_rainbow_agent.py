"""Full Rainbow with the defaults of Dopamine's JAX agents."""

import gin

from dopamine import seams
from dopamine.agents.full_rainbow import full_rainbow_agent
from dopamine.jax.agents.dqn import dqn_agent


@gin.configurable
class JaxFullRainbowAgent(
  dqn_agent.JaxDQNAgent, full_rainbow_agent.FullRainbowAgent
):
  """`FullRainbowAgent` with what `JaxDQNAgent` adds to every agent."""


def __getattr__(name):
  """Serves the functions of Flax parameters that once were the algorithm."""
  return seams.old_name(__name__, name)
