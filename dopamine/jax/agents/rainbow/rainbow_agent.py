"""C51 and Rainbow with the defaults of Dopamine's JAX agents."""

import gin

from dopamine import seams
from dopamine.agents.rainbow import rainbow_agent
from dopamine.jax.agents.dqn import dqn_agent

project_distribution = rainbow_agent.project_distribution


@gin.configurable
class JaxRainbowAgent(dqn_agent.JaxDQNAgent, rainbow_agent.RainbowAgent):
  """`RainbowAgent` with what `JaxDQNAgent` adds to every agent."""


def __getattr__(name):
  """Serves the functions of Flax parameters that once were the algorithm."""
  return seams.old_name(__name__, name)
