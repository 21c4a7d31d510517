"""Rainbow with all its parts (Hessel et al., 2018), of parameters.

Each pass has a noise of its own, the same for all transitions of a batch.
"""

import functools

import jax
import jax.numpy as jnp

from dopamine import losses
from dopamine.compat.functional import dqn
from dopamine.compat.functional import updates


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
  """`(rng, action)` of one state, see `updates.epsilon_greedy`.

  It is noisy but for `eval_mode`.
  """
  rng, key = jax.random.split(rng)
  outputs = network_def.apply(
    params, state, support, eval_mode=eval_mode, key=key
  )
  return updates.epsilon_greedy(
    outputs.q_values,
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


def get_logits(model, states, rng):
  """The logits `[B, A, N]` of `states`, under one noise.

  Args:
    model: what a network says of one state, `model(state, key=rng)`.
    states: `[B, ...]`.
    rng: a key.
  """
  return _outputs(model, states, rng).logits


def get_q_values(model, states, rng):
  """Q `[B, A]` of `states`, see `get_logits`."""
  return _outputs(model, states, rng).q_values


def _outputs(model, states, rng):
  return jax.vmap(functools.partial(model, key=rng))(states)


@updates.compiled(static_argnums=(0, 3, 12, 13, 14))
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
  double_dqn,
  distributional,
  rng,
):
  """One update on `[B]` transitions, of a mean with `loss_weights` `[B]`.

  Returns:
    `(optimizer_state, online_params, loss, mean_loss, rng)`, the loss `[B]`
    without the weights: C51's, or the Huber loss without `distributional`.
  """
  rng, of_online, of_target = jax.random.split(rng, 3)

  def model(params):
    return functools.partial(network_def.apply, params, support=support)

  targets = updates.of_module('full_rainbow', target_output)(
    model(online_params),
    model(target_params),
    next_states,
    rewards,
    terminals,
    support,
    cumulative_gamma,
    double_dqn,
    distributional,
    of_target,
  )

  def loss_fn(params):
    outputs = _outputs(model(params), states, of_online)
    if distributional:
      logits = losses.take_action(outputs.logits, actions)  # [B, N]
      loss = losses.softmax_cross_entropy(targets, logits)  # [B]
    else:
      q = losses.take_action(outputs.q_values, actions)  # [B]
      loss = losses.huber(targets - q)
    return jnp.mean(loss_weights * loss), loss

  optimizer_state, online_params, (mean_loss, loss) = updates.minimize(
    loss_fn, optimizer, optimizer_state, online_params
  )
  return optimizer_state, online_params, loss, mean_loss, rng


def target_output(
  model,
  target_network,
  next_states,
  rewards,
  terminals,
  support,
  cumulative_gamma,
  double_dqn,
  distributional,
  rng,
):
  """The targets, without gradient: `[B, N]`, or `[B]` values.

  Args:
    model: of the online network, see `get_logits`: it chooses if `double_dqn`.
    target_network: likewise.
    next_states: `[B, ...]`.
    rewards: `[B]`, discounted sums of n.
    terminals: `[B]`.
    support: z `[N]`.
    cumulative_gamma: gamma^n.
    double_dqn: see above.
    distributional: whether the target is a distribution over `support`.
    rng: a key.
  """
  of_choice, of_values = jax.random.split(rng)
  target = _outputs(target_network, next_states, of_values)
  q = target.q_values  # [B, A]
  if double_dqn:
    q = get_q_values(model, next_states, of_choice)
  best = jnp.argmax(q, axis=-1)  # [B]
  if not distributional:
    next_q = losses.take_action(target.q_values, best)  # [B]
    return jax.lax.stop_gradient(
      updates.bellman(rewards, terminals, cumulative_gamma, next_q)
    )
  p = losses.take_action(target.probabilities, best)  # [B, N]
  tz = updates.bellman(rewards, terminals, cumulative_gamma, support[None])
  return jax.lax.stop_gradient(losses.project_distribution(tz, p, support))
