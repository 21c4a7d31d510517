"""What the functions of all algorithms share."""

import functools
import sys

import jax
import jax.numpy as jnp
import optax

from dopamine.settings import errors


def compiled(static_argnums):
  """Makes of a function `train` one that is compiled.

  Args:
    static_argnums: the positions of its arguments that are no arrays.

  Returns:
    A decorator. What it returns refuses the optimizers of `flax.optim`, which
    Flax no longer has.
  """

  def decorate(train):
    jitted = jax.jit(train, static_argnums=static_argnums)

    @functools.wraps(train)
    def checked(*args, **kwargs):
      # Its optimizer came third, after one tree of parameters.
      is_early = any(hasattr(value, 'init') for value in args[1:3])
      if is_early or any(
        hasattr(value, 'target')
        for value in (*args[2:4], kwargs.get('optimizer'))
      ):
        raise errors.InterfaceError(FLAX_OPTIM)
      return jitted(*args, **kwargs)

    return checked

  return decorate


FLAX_OPTIM = """\
train(network_def, target_params, optimizer, ...) with an optimizer of
flax.optim is of Dopamine 3.2.1, and Flax has none of these any more. Write

  optimizer = dqn_agent.create_optimizer('adam')  # Or one of Optax.
  optimizer_state = optimizer.init(online_params)
  optimizer_state, online_params, loss = dqn_agent.train(network_def,
      online_params, target_params, optimizer, optimizer_state, ...)

for optimizer.target and optimizer.apply_gradient; see "flax.optim" in
docs/migrating.md"""


def of_module(algorithm, function):
  """What a program has put in the place of a function, or the function.

  Args:
    algorithm: 'dqn', ..., whose module of `dopamine.jax.agents` it is in.
    function: of here.
  """
  module = f'dopamine.jax.agents.{algorithm}.{algorithm}_agent'
  return vars(sys.modules[module]).get(function.__name__, function)


def minimize(loss_fn, optimizer, optimizer_state, params):
  """One step of an Optax optimizer.

  Args:
    loss_fn: `params -> (mean, others)`.
    optimizer: has `update`.
    optimizer_state: its state.
    params: where it starts.

  Returns:
    The state and the parameters after it, and what `loss_fn` returned.
  """
  gradient_fn = jax.value_and_grad(loss_fn, has_aux=True)
  outputs, gradients = gradient_fn(params)
  updates, optimizer_state = optimizer.update(
    gradients, optimizer_state, params
  )
  return optimizer_state, optax.apply_updates(params, updates), outputs


def epsilon_greedy(
  q_values,
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
  """The action that is best, or with probability epsilon any: `(rng, action)`.

  Args:
    q_values: `[A]`.
    rng: a key.
    num_actions: A.
    eval_mode: whether epsilon is `epsilon_eval`, or else what `epsilon_fn`
      says.
    epsilon_eval: see above.
    epsilon_train: the last argument of `epsilon_fn`.
    epsilon_decay_period: its first.
    training_steps: its second, which may be traced.
    min_replay_history: its third.
    epsilon_fn: see `DQNAgent`.
  """
  epsilon = epsilon_eval
  if not eval_mode:
    epsilon = epsilon_fn(
      epsilon_decay_period, training_steps, min_replay_history, epsilon_train
    )
  rng, explores, draws = jax.random.split(rng, 3)
  action = jnp.where(
    jax.random.uniform(explores) < epsilon,
    jax.random.randint(draws, (), 0, num_actions),
    jnp.argmax(q_values),
  )
  return rng, action


def bellman(rewards, terminals, cumulative_gamma, values):
  """R + gamma^n (1 - terminal) values, for `[B]` or `[B, N]`."""
  rest = (1,) * (values.ndim - 1)
  rewards = jnp.reshape(rewards, (-1, *rest))
  discounts = jnp.reshape(
    cumulative_gamma * (1.0 - jnp.asarray(terminals, jnp.float32)), (-1, *rest)
  )
  return rewards + discounts * values
