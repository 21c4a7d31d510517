"""Epsilon of epsilon-greedy actions, as a function of the agent's steps."""

import gin


@gin.configurable(module='dopamine.agents.dqn.dqn_agent')
def linearly_decaying_epsilon(decay_period, step, warmup_steps, epsilon):
  """1 during the warm-up, then down to `epsilon` in a straight line.

  Args:
    decay_period: agent steps of the descent.
    step: agent steps taken so far; a number, or what JAX traces.
    warmup_steps: agent steps before the descent starts.
    epsilon: the final value.
  """
  steps_left = decay_period + warmup_steps - step
  most = 1.0 - epsilon
  bonus = most * steps_left / decay_period
  # Not min and max: what is traced cannot be asked, but multiplied.
  is_between = (bonus > 0.0) & (bonus < most)
  return epsilon + is_between * bonus + (bonus >= most) * most


@gin.configurable(module='dopamine.agents.dqn.dqn_agent')
def identity_epsilon(unused_decay_period, unused_step, unused_warmup, epsilon):
  """Returns `epsilon` at every step."""
  return epsilon
