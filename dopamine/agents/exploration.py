"""Epsilon of epsilon-greedy actions, as a function of the agent's steps."""

import gin


@gin.configurable(module='dopamine.agents.dqn.dqn_agent')
def linearly_decaying_epsilon(decay_period, step, warmup_steps, epsilon):
  """1 during the warm-up, then down to `epsilon` in a straight line.

  Args:
    decay_period: agent steps of the descent.
    step: agent steps taken so far.
    warmup_steps: agent steps before the descent starts.
    epsilon: the final value.
  """
  steps_left = decay_period + warmup_steps - step
  bonus = (1.0 - epsilon) * steps_left / decay_period
  return epsilon + min(max(bonus, 0.0), 1.0 - epsilon)


@gin.configurable(module='dopamine.agents.dqn.dqn_agent')
def identity_epsilon(unused_decay_period, unused_step, unused_warmup, epsilon):
  """Returns `epsilon` at every step."""
  return epsilon
