"""IQN (Dabney et al., 2018a) as functions of parameters."""

import functools

import jax
import jax.numpy as jnp

from dopamine import losses
from dopamine.compat.functional import updates


def target_quantile_values(
  network_def,
  online_params,
  target_params,
  next_states,
  rewards,
  terminals,
  num_tau_prime_samples,
  num_quantile_samples,
  cumulative_gamma,
  double_dqn,
  rng,
):
  """R + gamma^n (1 - terminal) Z_tau'(s', a*), without gradient.

  Args:
    network_def: a Flax module.
    online_params: which choose a* if `double_dqn`.
    target_params: of the values, and of the choice otherwise.
    next_states: `[B, ...]`.
    rewards: `[B]`, discounted sums of n.
    terminals: `[B]`.
    num_tau_prime_samples: N'.
    num_quantile_samples: K, quantiles that a* is chosen with.
    cumulative_gamma: gamma^n.
    double_dqn: see above.
    rng: `[B]` keys: each transition has levels of its own.

  Returns:
    `[B]` keys, and the values `[B, N', 1]`.
  """
  rng, of_choice, of_values = _split(rng, 3)

  def quantiles(params, num_quantiles, keys):
    def values(state, key):
      return network_def.apply(params, state, num_quantiles, key)

    return jax.vmap(values)(next_states, keys).quantile_values  # [B, n, A]

  choosing = online_params if double_dqn else target_params
  choices = quantiles(choosing, num_quantile_samples, of_choice)
  best = jnp.argmax(jnp.mean(choices, axis=1), axis=-1)  # [B]
  values = quantiles(target_params, num_tau_prime_samples, of_values)
  z = losses.take_action(jnp.swapaxes(values, 1, 2), best)  # [B, N']
  targets = updates.bellman(rewards, terminals, cumulative_gamma, z)
  return rng, jax.lax.stop_gradient(targets)[..., None]


@updates.compiled(static_argnums=(0, 3, 10, 11, 12, 13, 14, 15))
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
  num_tau_samples,
  num_tau_prime_samples,
  num_quantile_samples,
  cumulative_gamma,
  double_dqn,
  kappa,
  rng,
):
  """One update on `[B]` transitions.

  Returns:
    `(rng, optimizer_state, online_params, loss)`, the loss a mean.
  """
  rng, *keys = jax.random.split(rng, 1 + len(states))
  keys, targets = updates.of_module(
    'implicit_quantile', target_quantile_values
  )(
    network_def,
    online_params,
    target_params,
    next_states,
    rewards,
    terminals,
    num_tau_prime_samples,
    num_quantile_samples,
    cumulative_gamma,
    double_dqn,
    jnp.stack(keys),
  )

  def loss_fn(params):
    def online(state, key):
      return network_def.apply(params, state, num_tau_samples, key)

    outputs = jax.vmap(online)(states, keys)
    values = jnp.swapaxes(outputs.quantile_values, 1, 2)  # [B, A, N]
    z = losses.take_action(values, actions)  # [B, N]
    td_errors = targets - z[:, None, :]  # [B, N', N]
    tau = outputs.quantiles[..., 0]  # [B, N]
    return jnp.mean(losses.quantile_huber(td_errors, tau, kappa)), None

  optimizer_state, online_params, (loss, _) = updates.minimize(
    loss_fn, optimizer, optimizer_state, online_params
  )
  return rng, optimizer_state, online_params, loss


def _split(keys, num):
  """`num` arrays of keys from an array of keys."""
  return jnp.moveaxis(
    jax.vmap(functools.partial(jax.random.split, num=num))(keys), 1, 0
  )


@functools.partial(jax.jit, static_argnums=(0, 4, 5, 6, 7, 8, 9, 11, 12))
def select_action(
  network_def,
  params,
  state,
  rng,
  num_quantile_samples,
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
  rng, key = jax.random.split(rng)
  outputs = network_def.apply(params, state, num_quantile_samples, key)
  return updates.epsilon_greedy(
    jnp.mean(outputs.quantile_values, axis=0),
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
