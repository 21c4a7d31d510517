"""Agents of all settings, their updates, and what the oracle makes of them."""

import copy
import functools
from typing import NamedTuple

import gin
import keras
from keras import ops
import numpy as np
from numpy.testing import assert_allclose
from numpy.testing import assert_array_equal

from dopamine import learners
from dopamine import networks
from dopamine import optimizers
from dopamine.agents.dqn import dqn_agent
from dopamine.agents.full_rainbow import full_rainbow_agent
from dopamine.agents.implicit_quantile import implicit_quantile_agent
from dopamine.agents.quantile import quantile_agent
from dopamine.agents.rainbow import rainbow_agent
from tests.support import inside
from tests.support import oracle
from tests.support import small
from tests.support.oracle import Case

# Batches in which everything occurs -------------------------------------------


def make_batches(case, num_batches, seed):
  """Batches as `_sample_batches` returns them, with all draws."""
  batches = small.batches(num_batches, oracle.B, seed)
  size, rng = (num_batches, oracle.B), np.random.default_rng(seed + 1)
  # Windows that a time-out cut are shorter, see `replay.discounts`.
  steps = 1 + np.arange(oracle.B) // 2 % oracle.HORIZON
  discount = oracle.GAMMA ** np.broadcast_to(steps, size) * (
    1 - batches.terminal
  )
  fields = dict(
    indices=rng.integers(0, 100, size).astype(np.int32),
    sampling_probabilities=rng.uniform(0.2, 4.0, size).astype(np.float32),
  )
  if case.algorithm == 'iqn':
    fields |= dict(
      quantiles=rng.random((*size, oracle.TAUS), np.float32),
      target_quantiles=rng.random((*size, oracle.TAU_PRIMES), np.float32),
      action_quantiles=rng.random((*size, oracle.CHOICES), np.float32),
    )
  if oracle.num_noise(case):
    fields['noise'] = rng.standard_normal(
      (num_batches, 3, oracle.num_noise(case)), np.float32
    )
  batches = batches._replace(discount=discount.astype(np.float32))
  return dqn_agent.extend(batches, **fields)


def with_td_errors(case, online, target, batch, errors):
  """The batch with rewards that give it `errors` `[B]`."""
  targets = np.array(oracle.targets_of(case, online, target, batch))
  outputs = oracle.forward(
    case, online, batch.state, oracle.draws_of(case, batch)[0]
  )
  q = outputs[np.arange(oracle.B), batch.action]
  reward = batch.reward + errors - (targets - q)
  return batch._replace(reward=reward.astype(np.float32))


def the_choice_matters(case, online, target, batch, goes_on):
  """Whatever else might choose the next action, chooses otherwise somewhere."""
  _, choosing, evaluating = oracle.draws_of(case, batch)

  def said(weights, draws):
    return oracle.forward(case, weights, batch.next_state, draws)

  chooser, other = (online, target) if case.double_dqn else (target, online)
  outputs = said(chooser, choosing)
  rivals = []
  if case.algorithm == 'iqn':
    wrong = [batch.quantiles, batch.target_quantiles, choosing[:, :1]]
    rivals += [said(other, choosing), *(said(chooser, w) for w in wrong)]
  elif oracle.num_noise(case):
    wrong = [batch.noise[0], batch.noise[2 if case.double_dqn else 1]]
    rivals += [said(other, evaluating), *(said(chooser, w) for w in wrong)]
    rivals += [said(chooser, 0 * choosing)]
  else:
    rivals += [said(other, None)]
  values = [oracle.action_values(case, rival) for rival in rivals]
  if case.loss == 'categorical':
    z = np.linspace(oracle.V_MIN, oracle.V_MAX, oracle.N)
    p = oracle.softmax(outputs)
    values += [outputs.mean(2), z[p.argmax(2)], (z[::-1] * p).sum(2)]
  if case.algorithm == 'quantile':
    values += [outputs.max(2), outputs[..., oracle.N // 2]]
  best = oracle.action_values(case, outputs).argmax(1)
  differ = [((v.argmax(1) != best) & goes_on).any() for v in values]
  # The other network also agrees somewhere.
  return all(differ) and ((values[0].argmax(1) == best) & goes_on).any()


def everything_occurs(case, online, target, batch):
  """Whether both sides of every distinction the algorithm makes are there."""
  goes_on = batch.discount > 0
  steps = np.log(batch.discount[goes_on]) / np.log(oracle.GAMMA)
  occurs = [
    not goes_on.all(),  # Terminals.
    set(steps.round(4)) == {1, 2, 3},
    set(batch.action) == set(range(oracle.A)),
    not case.prioritized or oracle.importance_of(case, batch).min() < 0.5,
    the_choice_matters(case, online, target, batch, goes_on),
  ]
  if case.loss == 'categorical':
    # Atoms beyond both ends of the support, and inside.
    z = np.linspace(oracle.V_MIN, oracle.V_MAX, oracle.N)
    tz = batch.reward[:, None] + batch.discount[:, None] * z
    occurs += [(tz < oracle.V_MIN).any(), (tz > oracle.V_MAX).any()]
    return all([*occurs, ((tz > oracle.V_MIN) & (tz < oracle.V_MAX)).any()])
  # Errors on both sides of 0, in both branches of the Huber loss.
  targets = oracle.targets_of(case, online, target, batch)
  outputs = oracle.forward(
    case, online, batch.state, oracle.draws_of(case, batch)[0]
  )
  u = np.array(
    [
      np.subtract.outer(targets[b], outputs[b, batch.action[b]])
      for b in range(oracle.B)
    ]
  )
  for side in (u[u > 0], -u[u < 0]):
    occurs += [(side > case.kappa).any()]
    occurs += [(side < case.kappa).any() or not case.kappa]
  return all(occurs)


class Setting(NamedTuple):
  """Where a case starts, and what the oracle makes of it."""

  online: list
  target: list
  batches: tuple
  report: oracle.Report


@functools.cache
def setting(case, num_batches=1):
  """The `Setting` of the first seed with which everything occurs."""
  for seed in range(1000):
    online, target = oracle.random_weights(case, seed)
    batches = make_batches(case, num_batches, seed)
    each = list(oracle.unstacked(batches))
    if case.loss == 'td':
      errors = np.random.default_rng(seed).permutation(
        np.linspace(-2.5, 2.6, oracle.B)
      )
      each = [with_td_errors(case, online, target, b, errors) for b in each]
      batches = type(batches)(*map(np.stack, zip(*each, strict=True)))
    if all(everything_occurs(case, online, target, batch) for batch in each):
      report = oracle.report(case, online, target, batches)
      return Setting(online, target, batches, report)
  raise RuntimeError(f'{case} does not do everything with any of 1,000 seeds')


# Agents -----------------------------------------------------------------------


OPTIMIZERS = {
  'sgd': lambda: keras.optimizers.SGD(0.5),
  'rmsprop': lambda: optimizers.RMSProp(0.01),
  'adam': lambda: optimizers.Adam(0.01, epsilon=1.5e-4),
  'adam_of_tf1': lambda: keras.optimizers.Adam(0.01, epsilon=3.125e-4),
}

ALGORITHMS = {
  'dqn': (
    dqn_agent.DQNAgent,
    networks.ClassicControlDQNNetwork,
    {},
  ),
  'c51': (
    rainbow_agent.RainbowAgent,
    networks.ClassicControlRainbowNetwork,
    dict(num_atoms=oracle.N, vmin=oracle.V_MIN, vmax=oracle.V_MAX),
  ),
  'quantile': (
    quantile_agent.QuantileAgent,
    networks.ClassicControlQuantileNetwork,
    dict(num_atoms=oracle.N),
  ),
  'iqn': (
    implicit_quantile_agent.ImplicitQuantileAgent,
    networks.ClassicControlImplicitQuantileNetwork,
    dict(
      num_tau_samples=oracle.TAUS,
      num_tau_prime_samples=oracle.TAU_PRIMES,
      num_quantile_samples=oracle.CHOICES,
      quantile_embedding_dim=oracle.COSINES,
    ),
  ),
  'full': (
    full_rainbow_agent.FullRainbowAgent,
    networks.ClassicControlFullRainbowNetwork,
    dict(num_atoms=oracle.N, vmin=oracle.V_MIN, vmax=oracle.V_MAX),
  ),
}


def make_agent(case, **kwargs):
  """The agent of a case, with a replay memory of 200 transitions."""
  cls, network, settings = ALGORITHMS[case.algorithm]
  settings = dict(
    num_actions=oracle.A,
    observation_shape=small.OBSERVATION_SHAPE,
    observation_dtype=np.float64,
    stack_size=1,
    gamma=oracle.GAMMA,
    update_horizon=oracle.HORIZON,
    network=functools.partial(network, hidden_units=oracle.HIDDEN),
    double_dqn=case.double_dqn,
    replay_scheme='prioritized' if case.prioritized else 'uniform',
    optimizer=OPTIMIZERS[case.optimizer],
    seed=1,
    **settings,
  )
  if case.loss == 'quantile':
    settings['kappa'] = case.kappa
  if case.algorithm == 'full':
    settings |= dict(
      noisy=case.noisy, dueling=case.dueling, distributional=case.distributional
    )
  gin.bind_parameter('OutOfGraphReplayBuffer.replay_capacity', 200)
  gin.bind_parameter('OutOfGraphReplayBuffer.batch_size', oracle.B)
  try:
    return cls(**(settings | kwargs))
  finally:
    gin.clear_config()


def set_weights(agent, online, target):
  for network, weights in (
    (agent.online_convnet, online),
    (agent.target_convnet, target),
  ):
    found = [tuple(w.shape) for w in network.get_weights()]
    if found != [w.shape for w in weights]:
      raise RuntimeError(f'the oracle knows no network of {found}')
    network.set_weights(weights)


def uncompiled(learner):
  """`learner.update`, operation by operation: compiling takes 1 to 3 s."""
  compiled = learner.update

  def update(batches):
    if keras.config.backend() == 'jax':
      import jax

      with jax.disable_jit():
        return compiled(batches)
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
      batches = tf.nest.map_structure(tf.convert_to_tensor, batches)
      return learner._updates(batches)
    finally:
      tf.config.run_functions_eagerly(False)

  return update


def updated(agent, batches, update=None):
  """The `Report` of an agent's updates, made by `update`."""
  report = (update or uncompiled(inside.learner(agent)))(batches)
  priorities = report.priorities
  return oracle.Report(
    np.asarray(report.loss),
    np.asarray(report.objective),
    None if priorities is None else np.asarray(priorities),
    agent.online_convnet.get_weights(),
    agent.target_convnet.get_weights(),
  )


def announced(agent, batches):
  """The `Report` of an update that is not made: without gradients, quick."""
  (batch,) = oracle.unstacked(batches)
  batch = type(batch)(*map(ops.convert_to_tensor, batch))
  _, report = inside.learner(agent)._objective(batch)
  priorities = report.priorities
  return oracle.Report(
    np.asarray(report.loss)[None],
    np.asarray(report.objective)[None],
    None if priorities is None else np.asarray(priorities)[None],
  )


def assert_equal_reports(found, wanted):
  assert_allclose(found.loss, wanted.loss, rtol=1e-5, atol=1e-5)
  assert_allclose(found.objective, wanted.objective, rtol=1e-5, atol=1e-5)
  assert (found.priorities is None) == (wanted.priorities is None)
  if wanted.priorities is not None:
    assert_allclose(found.priorities, wanted.priorities, rtol=1e-5, atol=1e-5)
  if found.online is None:
    return
  for a, b in zip(found.online, wanted.online, strict=True):
    assert_allclose(a, b, rtol=1e-5, atol=1e-5)
  for a, b in zip(found.target, wanted.target, strict=True):
    assert_array_equal(a, b)


cached_agent = functools.cache(make_agent)


def subclassed(agent, *mixins):
  """`agent` as if it had been made of a subclass, without making networks."""
  agent = copy.copy(agent)
  agent.__class__ = type('Agent', (*mixins, type(agent)), {})
  hooks = inside.learner(agent)._hooks._replace(
    loss=agent._loss,
    loss_weights=agent._loss_weights,
    priorities=agent._priorities,
  )
  agent._learner = learners.create(hooks, agent.tf_device)
  return agent


def prepared(case, *mixins):
  """An agent of a case with its weights, its batches, the oracle's report."""
  online, target, batches, wanted = setting(case)
  agent = cached_agent(case)
  if mixins:
    agent = subclassed(agent, *mixins)
  set_weights(agent, online, target)
  return agent, batches, wanted


def title(case):
  settings = zip(case._fields[1:], case[1:], strict=True)
  defaults = Case._field_defaults
  return ' '.join(
    [case.algorithm, *(f'{k}={v}' for k, v in settings if v != defaults[k])]
  )


# One of each algorithm, with every optimizer.
COMPILED = [
  Case('dqn', optimizer='rmsprop'),
  Case('c51', optimizer='adam_of_tf1', double_dqn=False),
  Case('quantile', optimizer='adam', double_dqn=False),
  Case('iqn', optimizer='adam_of_tf1', prioritized=False),
  Case('full', optimizer='adam'),
]
