"""QR-DQN (Dabney et al., 2018b) as functions of parameters."""

import functools

import jax
import jax.numpy as jnp

from dopamine import losses
from dopamine.compat.functional import updates


@updates.compiled(static_argnums=(0, 3, 10, 11, 12))
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
  kappa,
  num_atoms,
  cumulative_gamma,
  loss_weights=None,
):
  """One update on `[B]` transitions, of a mean with `loss_weights` `[B]`.

  Without weights all count alike, as in Dopamine.

  Returns:
    `(optimizer_state, online_params, loss, mean_loss)`, the loss `[B]`.
  """
  targets = updates.of_module('quantile', target_distribution)(
    functools.partial(network_def.apply, target_params),
    next_states,
    rewards,
    terminals,
    cumulative_gamma,
  )
  tau = (jnp.arange(num_atoms, dtype=jnp.float32) + 0.5) / num_atoms

  def loss_fn(params):
    online = jax.vmap(functools.partial(network_def.apply, params))
    theta = losses.take_action(online(states).logits, actions)  # [B, N]
    td_errors = targets[:, :, None] - theta[:, None, :]  # [B, N, N]
    levels = jnp.broadcast_to(tau, theta.shape)
    loss = losses.quantile_huber(td_errors, levels, kappa)
    loss *= kappa or 1.0  # Which the paper does not divide by.
    weighted = loss if loss_weights is None else loss_weights * loss
    return jnp.mean(weighted), loss

  optimizer_state, online_params, (mean_loss, loss) = updates.minimize(
    loss_fn, optimizer, optimizer_state, online_params
  )
  return optimizer_state, online_params, loss, mean_loss


def target_distribution(
  target_network, next_states, rewards, terminals, cumulative_gamma
):
  """R + gamma^n (1 - terminal) theta(s', a*), without gradient: `[B, N]`.

  Args:
    target_network: what a network says of one state, with `q_values` `[A]` and
      `logits` `[A, N]`.
    next_states: `[B, ...]`.
    rewards: `[B]`, discounted sums of n.
    terminals: `[B]`.
    cumulative_gamma: gamma^n.
  """
  target = jax.vmap(target_network)(next_states)
  best = jnp.argmax(target.q_values, axis=-1)  # [B]
  theta = losses.take_action(target.logits, best)  # [B, N]
  return jax.lax.stop_gradient(
    updates.bellman(rewards, terminals, cumulative_gamma, theta)
  )
