"""DQN (Mnih et al., 2015) as functions of parameters."""

import functools

import jax
import jax.numpy as jnp

from dopamine import losses
from dopamine.compat.functional import updates

# Of all `select_action`: what is no array.
STATIC = (0, 4, 5, 6, 7, 8, 10, 11)


@updates.compiled(static_argnums=(0, 3, 10, 11))
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
  cumulative_gamma,
  loss_type='mse',
):
  """One update on `[B]` transitions.

  Returns:
    `(optimizer_state, online_params, loss)`, the loss a mean: of the Huber loss
    if `loss_type` is 'huber', else of the squared TD error without the 1/2.
  """
  targets = updates.of_module('dqn', target_q)(
    functools.partial(network_def.apply, target_params),
    next_states,
    rewards,
    terminals,
    cumulative_gamma,
  )
  td_loss = losses.huber if loss_type == 'huber' else losses.squared

  def loss_fn(params):
    online = jax.vmap(functools.partial(network_def.apply, params))
    q = losses.take_action(online(states).q_values, actions)  # [B]
    return jnp.mean(td_loss(targets - q)), None

  optimizer_state, online_params, (loss, _) = updates.minimize(
    loss_fn, optimizer, optimizer_state, online_params
  )
  return optimizer_state, online_params, loss


def target_q(target_network, next_states, rewards, terminals, cumulative_gamma):
  """R + gamma^n (1 - terminal) max_a Q(s', a), without gradient: `[B]`.

  Args:
    target_network: what a network says of one state, with `q_values` `[A]`.
    next_states: `[B, ...]`.
    rewards: `[B]`, discounted sums of n.
    terminals: `[B]`.
    cumulative_gamma: gamma^n.
  """
  q = jnp.max(jax.vmap(target_network)(next_states).q_values, axis=-1)  # [B]
  return jax.lax.stop_gradient(
    updates.bellman(rewards, terminals, cumulative_gamma, q)
  )


@functools.partial(jax.jit, static_argnums=STATIC)
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
):
  """`(rng, action)` of one state, see `updates.epsilon_greedy`."""
  return updates.epsilon_greedy(
    network_def.apply(params, state).q_values,
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
