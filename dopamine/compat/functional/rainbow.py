"""C51 (Bellemare et al., 2017) and Rainbow as functions of parameters."""

import functools

import jax
import jax.numpy as jnp

from dopamine import losses
from dopamine.compat.functional import dqn
from dopamine.compat.functional import updates


@updates.compiled(static_argnums=(0, 3, 12))
def train(
  network_def,
  online_params,
  target_params,
  optimizer,
  optimizer_state,
  states,
  actions,
  next_states,
  rewards,
  terminals,
  loss_weights,
  support,
  cumulative_gamma,
):
  """One update on `[B]` transitions, of a mean with `loss_weights` `[B]`.

  Returns:
    `(optimizer_state, online_params, loss, mean_loss)`, the loss `[B]` without
    the weights, the cross-entropy of the target and p(s, a).
  """
  targets = updates.of_module('rainbow', target_distribution)(
    lambda state: network_def.apply(target_params, state, support),
    next_states,
    rewards,
    terminals,
    support,
    cumulative_gamma,
  )

  def loss_fn(params):
    def online(state):
      return network_def.apply(params, state, support)

    logits = losses.take_action(jax.vmap(online)(states).logits, actions)
    loss = losses.softmax_cross_entropy(targets, logits)  # [B]
    return jnp.mean(loss_weights * loss), loss

  optimizer_state, online_params, (mean_loss, loss) = updates.minimize(
    loss_fn, optimizer, optimizer_state, online_params
  )
  return optimizer_state, online_params, loss, mean_loss


def target_distribution(
  target_network, next_states, rewards, terminals, support, cumulative_gamma
):
  """Phi(R + gamma^n (1 - terminal) z, p(s', a*)), without gradient: `[B, N]`.

  Args:
    target_network: what a network says of one state, with `q_values` `[A]` and
      `probabilities` `[A, N]`.
    next_states: `[B, ...]`.
    rewards: `[B]`, discounted sums of n.
    terminals: `[B]`.
    support: z `[N]`.
    cumulative_gamma: gamma^n.
  """
  target = jax.vmap(target_network)(next_states)
  best = jnp.argmax(target.q_values, axis=-1)  # [B]
  p = losses.take_action(target.probabilities, best)  # [B, N]
  tz = updates.bellman(rewards, terminals, cumulative_gamma, support[None])
  return jax.lax.stop_gradient(losses.project_distribution(tz, p, support))


@functools.partial(jax.jit, static_argnums=dqn.STATIC)
def select_action(
  network_def,
  params,
  state,
  rng,
  num_actions,
  eval_mode,
  epsilon_eval,
  epsilon_train,
  epsilon_decay_period,
  training_steps,
  min_replay_history,
  epsilon_fn,
  support,
):
  """`(rng, action)` of one state, see `updates.epsilon_greedy`."""
  return updates.epsilon_greedy(
    network_def.apply(params, state, support).q_values,
    rng,
    num_actions,
    eval_mode,
    epsilon_eval,
    epsilon_train,
    epsilon_decay_period,
    training_steps,
    min_replay_history,
    epsilon_fn,
  )
