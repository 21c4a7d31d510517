"""Every agent's update against the papers, and against broken agents.

The oracle is NumPy in float64 that shares no code with the package. It says
what the papers say, transition by transition, and gets its gradients from
central differences of the objective. What an update reports and the weights it
leaves must equal it to 1e-5; of a long list of broken agents none may.

`B` is the batch, `A` the actions, `N` atoms or quantiles, as in the package.
"""

import contextlib
import copy
import functools
from typing import NamedTuple

import gin
import keras
from keras import ops
import numpy as np
from numpy.testing import assert_allclose
from numpy.testing import assert_array_equal
import pytest

from dopamine import learners
from dopamine import losses
from dopamine import networks
from dopamine import optimizers
from dopamine.agents.dqn import dqn_agent
from dopamine.agents.full_rainbow import full_rainbow_agent
from dopamine.agents.implicit_quantile import implicit_quantile_agent
from dopamine.agents.quantile import quantile_agent
from dopamine.agents.rainbow import rainbow_agent
from tests.support import small

A, N, B = small.NUM_ACTIONS, 5, 15
(INPUTS,) = small.OBSERVATION_SHAPE
HIDDEN, COSINES = 6, 7
V_MIN, V_MAX = -2.0, 3.0
GAMMA, HORIZON = 0.9, 3
# IQN: quantiles in the loss, in the target, and to choose an action with.
TAUS, TAU_PRIMES, CHOICES = 4, 3, 5


class Case(NamedTuple):
  """An agent and its settings."""

  algorithm: str  # 'dqn', 'c51', 'quantile', 'iqn' or 'full'
  double_dqn: bool = True
  prioritized: bool = True
  kappa: float = 1.0
  noisy: bool = True
  dueling: bool = True
  distributional: bool = True
  optimizer: str = 'sgd'

  @property
  def loss(self):
    """What kind of loss it has: 'td', 'categorical' or 'quantile'."""
    if self.algorithm in ('quantile', 'iqn'):
      return 'quantile'
    distributional = self.algorithm == 'full' and self.distributional
    return 'categorical' if self.algorithm == 'c51' or distributional else 'td'


# The oracle: networks ---------------------------------------------------------


def weight_shapes(case):
  def dense(inputs, outputs):
    return [(inputs, outputs), (outputs,)]

  def noisy(inputs, outputs):  # Means and deviations.
    return [(inputs, outputs)] * 2 + [(outputs,)] * 2

  if case.algorithm == 'iqn':
    return (
      dense(INPUTS, HIDDEN)
      + dense(COSINES, HIDDEN)
      + dense(HIDDEN, HIDDEN)
      + dense(HIDDEN, A)
    )
  if case.algorithm == 'full':
    layer = noisy if case.noisy else dense
    shapes = layer(HIDDEN, HIDDEN) + layer(HIDDEN, A * N)
    shapes += layer(HIDDEN, N) if case.dueling else []
    return dense(INPUTS, HIDDEN) + shapes
  outputs = A if case.algorithm == 'dqn' else A * N
  return dense(INPUTS, HIDDEN) + dense(HIDDEN, HIDDEN) + dense(HIDDEN, outputs)


def num_noise(case):
  """Numbers per pass: of inputs and outputs of every noisy layer."""
  if case.algorithm != 'full' or not case.noisy:
    return 0
  value = HIDDEN + N if case.dueling else 0
  return (HIDDEN + HIDDEN) + (HIDDEN + A * N) + value


def random_weights(case, seed):
  """Weights of the online network, and others near them of the target."""
  rng = np.random.default_rng(seed)
  shapes = weight_shapes(case)
  online = [rng.normal(scale=0.6, size=shape) for shape in shapes]
  target = [w + rng.normal(scale=0.3, size=w.shape) for w in online]
  return [[w.astype(np.float32) for w in ws] for ws in (online, target)]


def relu(x):
  return np.maximum(x, 0.0)


def softmax(x):
  exp = np.exp(x - x.max(axis=-1, keepdims=True))
  return exp / exp.sum(axis=-1, keepdims=True)


def perceptron(weights, x):
  w1, b1, w2, b2, w3, b3 = weights
  return relu(relu(x @ w1 + b1) @ w2 + b2) @ w3 + b3


def implicit_quantiles(weights, x, tau):
  """Dabney et al. (2018a), eq. (4), but for i = 1..n: `[B, A, n]`."""
  w1, b1, w_tau, b_tau, w2, b2, w3, b3 = weights
  psi = relu(x @ w1 + b1)
  values = []
  for n in range(tau.shape[1]):
    cosines = np.stack(
      [np.cos(np.pi * i * tau[:, n]) for i in range(1, COSINES + 1)], axis=1
    )
    phi = relu(cosines @ w_tau + b_tau)
    values.append(relu((psi * phi) @ w2 + b2) @ w3 + b3)
  return np.stack(values, axis=2)


def noisy_layer(weights, x, noise):
  """Fortunato et al. (2018), eqs. (9) to (11)."""
  mu_w, sigma_w, mu_b, sigma_b = weights
  inputs = len(mu_w)
  f = np.sign(noise) * np.sqrt(np.abs(noise))
  w = mu_w + sigma_w * np.outer(f[:inputs], f[inputs:])
  return x @ w + mu_b + sigma_b * f[inputs:]


def full_rainbow(case, weights, x, noise):
  """Wang et al. (2016), eq. (9), per atom: `[B, A, N]`, or `[B, A]`."""
  w, b, *arrays = weights
  x = relu(x @ w + b)
  start = 0

  def layer(x):
    nonlocal arrays, start
    if not case.noisy:
      w, b, *arrays = arrays
      return x @ w + b
    own, arrays = arrays[:4], arrays[4:]
    end = start + sum(own[0].shape)
    part, start = noise[start:end], end
    return noisy_layer(own, x, part)

  hidden = relu(layer(x))
  outputs = layer(hidden).reshape(len(x), A, N)
  if case.dueling:
    value = layer(hidden)
    advantage = outputs
    outputs = np.empty_like(advantage)
    for a in range(A):
      outputs[:, a] = (
        value + advantage[:, a] - sum(advantage[:, b] for b in range(A)) / A
      )
  return outputs if case.distributional else outputs.sum(axis=2)


def forward(case, weights, state, draws):
  """`[B, A]` values, `[B, A, N]` logits or `[B, A, n]` quantile values."""
  x = state.reshape(len(state), INPUTS)
  if case.algorithm == 'iqn':
    return implicit_quantiles(weights, x, draws)
  if case.algorithm == 'full':
    return full_rainbow(case, weights, x, draws)
  outputs = perceptron(weights, x)
  return outputs if case.algorithm == 'dqn' else outputs.reshape(-1, A, N)


def action_values(case, outputs):
  if case.loss == 'td':
    return outputs
  if case.loss == 'quantile':
    return outputs.mean(axis=2)
  return (softmax(outputs) * np.linspace(V_MIN, V_MAX, N)).sum(axis=2)


# The oracle: targets and losses, of one transition ----------------------------


def categorical_algorithm(reward, discount, p):
  """Bellemare et al. (2017), Algorithm 1, with all mass where l = u."""
  z, dz = np.linspace(V_MIN, V_MAX, N), (V_MAX - V_MIN) / (N - 1)
  m = np.zeros(N)
  for j in range(N):
    tz = min(max(reward + discount * z[j], V_MIN), V_MAX)
    b = (tz - V_MIN) / dz
    lower, upper = int(np.floor(b)), int(np.ceil(b))
    if lower == upper:
      m[lower] += p[j]
    else:
      m[lower] += p[j] * (upper - b)
      m[upper] += p[j] * (b - lower)
  return m


def bellman(case, reward, discount, outputs):
  """The target, of what the target network says of the greedy action."""
  if case.loss == 'categorical':
    return categorical_algorithm(reward, discount, softmax(outputs))
  return reward + discount * outputs


def huber(u, kappa=1.0):
  if abs(u) <= kappa:
    return 0.5 * u**2
  return kappa * (abs(u) - 0.5 * kappa)


def quantile_loss(case, targets, theta, tau):
  """sum_i mean_j rho(y_j - theta_i).

  Dabney et al. (2018b), eq. (10); (2018a), eq. (3), which divides by kappa.
  Without kappa rho is the quantile regression loss, eq. (8) of the former.
  """
  total, divisor = 0.0, case.kappa if case.algorithm == 'iqn' else 1.0
  for i in range(len(theta)):
    for y in targets:
      u = y - theta[i]
      size = huber(u, case.kappa) / divisor if case.kappa else abs(u)
      total += abs(tau[i] - (u < 0)) * size / len(targets)
  return total


def transition_loss(case, target, outputs, tau):
  if case.loss == 'td':
    return huber(target - outputs)
  if case.loss == 'categorical':
    return -(target * np.log(softmax(outputs))).sum()
  return quantile_loss(case, target, outputs, tau)


def slope(case, target, outputs, tau):
  """The derivative of `transition_loss` in the outputs, by hand."""
  if case.loss == 'td':
    return -np.clip(target - outputs, -1, 1)
  if case.loss == 'categorical':
    return softmax(outputs) - target
  u = target[:, None] - outputs  # [N', N]
  weight = np.abs(tau - (u < 0))
  size = np.clip(u, -case.kappa, case.kappa)
  size /= case.kappa if case.algorithm == 'iqn' else 1.0
  return -(weight * size).mean(axis=0)


# The oracle: the update -------------------------------------------------------


def draws_of(case, batch):
  """What passes draw: of s, of s' to choose an action, of the target."""
  if case.algorithm == 'iqn':
    return batch.quantiles, batch.action_quantiles, batch.target_quantiles
  if num_noise(case):
    # Fortunato et al. (2018), eqs. (14) and (15): one for each pass. Where the
    # target network chooses too, that is the same pass.
    return (
      batch.noise[0],
      batch.noise[1 if case.double_dqn else 2],
      batch.noise[2],
    )
  return None, None, None


def targets_of(case, online, target, batch):
  """The targets, a list of B."""
  _, choosing, evaluating = draws_of(case, batch)
  # Van Hasselt et al. (2016), eq. (4), or Mnih et al. (2015), Algorithm 1.
  chooser = online if case.double_dqn else target
  q = action_values(case, forward(case, chooser, batch.next_state, choosing))
  outputs = forward(case, target, batch.next_state, evaluating)
  return [
    bellman(case, batch.reward[b], batch.discount[b], outputs[b, q[b].argmax()])
    for b in range(len(q))
  ]


def levels_of(case, batch):
  """`[B, N]` the levels of the online quantiles."""
  if case.algorithm == 'iqn':
    return batch.quantiles
  # Lemma 2 of Dabney et al. (2018b): the middles between i / N and (i + 1) / N.
  middles = [(i / N + (i + 1) / N) / 2 for i in range(N)]
  return np.tile(middles, (len(batch.action), 1))


def losses_of(case, weights, targets, batch):
  """The losses `[B]` under `weights` of the online network."""
  outputs = forward(case, weights, batch.state, draws_of(case, batch)[0])
  tau = levels_of(case, batch)
  return np.array(
    [
      transition_loss(case, targets[b], outputs[b, batch.action[b]], tau[b])
      for b in range(len(targets))
    ]
  )


def importance_of(case, batch):
  """Schaul et al. (2016), s. 3.4: (1 / (N P(i)))^beta / max_j w_j, beta 1/2."""
  if not case.prioritized:
    return np.ones(len(batch.action))
  size, total = 1000, 1234.5  # Of the memory; they cancel out.
  probability = batch.sampling_probabilities / total
  w = (1 / size * 1 / probability) ** 0.5
  return w / w.max()


def gradients_of(objective, weights, step=1e-6):
  """Central differences of `objective(weights)`, array by array."""
  gradients = [np.zeros_like(w) for w in weights]
  for w, gradient in zip(weights, gradients, strict=True):
    for index in np.ndindex(w.shape):
      middle = w[index]
      w[index] = middle + step
      above = objective(weights)
      w[index] = middle - step
      below = objective(weights)
      w[index] = middle
      gradient[index] = (above - below) / (2 * step)
  return gradients


def sgd(w, g, slots, t):
  del slots, t
  return w - 0.5 * g


def rmsprop(w, g, slots, t):
  """Centred, epsilon in the root, and a mean square that starts at 1."""
  del t
  slots['square'] = 0.95 * slots.get('square', 1.0) + 0.05 * g**2
  slots['mean'] = 0.95 * slots.get('mean', 0.0) + 0.05 * g
  variance = slots['square'] - slots['mean'] ** 2
  return w - 0.01 * g / np.sqrt(variance + 1e-5)


def adam_moments(g, slots):
  slots['m'] = 0.9 * slots.get('m', 0.0) + 0.1 * g
  slots['v'] = 0.999 * slots.get('v', 0.0) + 0.001 * g**2
  return slots['m'], slots['v']


def adam(w, g, slots, t):
  """Kingma & Ba (2015), Algorithm 1."""
  m, v = adam_moments(g, slots)
  m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
  return w - 0.01 * m_hat / (np.sqrt(v_hat) + 1.5e-4)


def adam_of_tf1(w, g, slots, t):
  """Kingma & Ba (2015), the form at the end of their section 2."""
  m, v = adam_moments(g, slots)
  rate = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
  return w - rate * m / (np.sqrt(v) + 3.125e-4)


OPTIMIZERS = {
  'sgd': (lambda: keras.optimizers.SGD(0.5), sgd),
  'rmsprop': (lambda: optimizers.RMSProp(0.01), rmsprop),
  'adam': (lambda: optimizers.Adam(0.01, epsilon=1.5e-4), adam),
  'adam_of_tf1': (
    lambda: keras.optimizers.Adam(0.01, epsilon=3.125e-4),
    adam_of_tf1,
  ),
}


class Report(NamedTuple):
  """What updates say and leave, of the oracle or of an agent."""

  loss: np.ndarray  # [K, B]
  objective: np.ndarray  # [K]
  priorities: np.ndarray | None  # [K, B]
  online: list | None = None
  target: list | None = None


def unstacked(batches):
  for k in range(len(batches.action)):
    yield type(batches)(*(np.asarray(x[k]) for x in batches))


def oracle(case, online, target, batches):
  """The `Report` of one update per batch."""
  step = OPTIMIZERS[case.optimizer][1]
  online = [w.astype(np.float64) for w in online]
  slots = [{} for _ in online]
  reports = []
  for t, batch in enumerate(unstacked(batches), start=1):
    batch = type(batch)(
      *(x.astype(np.float64) if x.dtype.kind == 'f' else x for x in batch)
    )
    weights = importance_of(case, batch)
    targets = targets_of(case, online, target, batch)

    def objective(online, batch=batch, weights=weights, targets=targets):
      return np.mean(weights * losses_of(case, online, targets, batch))

    loss = losses_of(case, online, targets, batch)
    reports.append((loss, objective(online), np.sqrt(loss)))
    gradients = gradients_of(objective, online)
    online = [
      step(w, g, slot, t)
      for w, g, slot in zip(online, gradients, slots, strict=True)
    ]
  loss, objective, priorities = map(np.array, zip(*reports, strict=True))
  return Report(
    loss, objective, priorities if case.prioritized else None, online, target
  )


# Batches in which everything occurs -------------------------------------------


def make_batches(case, num_batches, seed):
  """Batches as `_sample_batches` returns them, with all draws."""
  batches = small.batches(num_batches, B, seed)
  size, rng = (num_batches, B), np.random.default_rng(seed + 1)
  # Windows that a time-out cut are shorter, see `replay.discounts`.
  steps = 1 + np.arange(B) // 2 % HORIZON
  discount = GAMMA ** np.broadcast_to(steps, size) * (1 - batches.terminal)
  fields = dict(
    indices=rng.integers(0, 100, size).astype(np.int32),
    sampling_probabilities=rng.uniform(0.2, 4.0, size).astype(np.float32),
  )
  if case.algorithm == 'iqn':
    fields |= dict(
      quantiles=rng.random((*size, TAUS), np.float32),
      target_quantiles=rng.random((*size, TAU_PRIMES), np.float32),
      action_quantiles=rng.random((*size, CHOICES), np.float32),
    )
  if num_noise(case):
    fields['noise'] = rng.standard_normal(
      (num_batches, 3, num_noise(case)), np.float32
    )
  batches = batches._replace(discount=discount.astype(np.float32))
  return dqn_agent.extend(batches, **fields)


def with_td_errors(case, online, target, batch, errors):
  """The batch with rewards that give it `errors` `[B]`."""
  targets = np.array(targets_of(case, online, target, batch))
  outputs = forward(case, online, batch.state, draws_of(case, batch)[0])
  q = outputs[np.arange(B), batch.action]
  reward = batch.reward + errors - (targets - q)
  return batch._replace(reward=reward.astype(np.float32))


def the_choice_matters(case, online, target, batch, goes_on):
  """Whatever else might choose the next action, chooses otherwise somewhere."""
  _, choosing, evaluating = draws_of(case, batch)

  def said(weights, draws):
    return forward(case, weights, batch.next_state, draws)

  chooser, other = (online, target) if case.double_dqn else (target, online)
  outputs = said(chooser, choosing)
  rivals = []
  if case.algorithm == 'iqn':
    wrong = [batch.quantiles, batch.target_quantiles, choosing[:, :1]]
    rivals += [said(other, choosing), *(said(chooser, w) for w in wrong)]
  elif num_noise(case):
    wrong = [batch.noise[0], batch.noise[2 if case.double_dqn else 1]]
    rivals += [said(other, evaluating), *(said(chooser, w) for w in wrong)]
    rivals += [said(chooser, 0 * choosing)]
  else:
    rivals += [said(other, None)]
  values = [action_values(case, rival) for rival in rivals]
  if case.loss == 'categorical':
    z = np.linspace(V_MIN, V_MAX, N)
    p = softmax(outputs)
    values += [outputs.mean(2), z[p.argmax(2)], (z[::-1] * p).sum(2)]
  if case.algorithm == 'quantile':
    values += [outputs.max(2), outputs[..., N // 2]]
  best = action_values(case, outputs).argmax(1)
  differ = [((v.argmax(1) != best) & goes_on).any() for v in values]
  # The other network also agrees somewhere.
  return all(differ) and ((values[0].argmax(1) == best) & goes_on).any()


def everything_occurs(case, online, target, batch):
  """Whether both sides of every distinction the algorithm makes are there."""
  goes_on = batch.discount > 0
  steps = np.log(batch.discount[goes_on]) / np.log(GAMMA)
  occurs = [
    not goes_on.all(),  # Terminals.
    set(steps.round(4)) == {1, 2, 3},
    set(batch.action) == set(range(A)),
    not case.prioritized or importance_of(case, batch).min() < 0.5,
    the_choice_matters(case, online, target, batch, goes_on),
  ]
  if case.loss == 'categorical':
    # Atoms beyond both ends of the support, and inside.
    z = np.linspace(V_MIN, V_MAX, N)
    tz = batch.reward[:, None] + batch.discount[:, None] * z
    occurs += [(tz < V_MIN).any(), (tz > V_MAX).any()]
    return all([*occurs, ((tz > V_MIN) & (tz < V_MAX)).any()])
  # Errors on both sides of 0, in both branches of the Huber loss.
  targets = targets_of(case, online, target, batch)
  outputs = forward(case, online, batch.state, draws_of(case, batch)[0])
  u = np.array(
    [
      np.subtract.outer(targets[b], outputs[b, batch.action[b]])
      for b in range(B)
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
  report: Report


@functools.cache
def setting(case, num_batches=1):
  """The `Setting` of the first seed with which everything occurs."""
  for seed in range(1000):
    online, target = random_weights(case, seed)
    batches = make_batches(case, num_batches, seed)
    each = list(unstacked(batches))
    if case.loss == 'td':
      errors = np.random.default_rng(seed).permutation(
        np.linspace(-2.5, 2.6, B)
      )
      each = [with_td_errors(case, online, target, b, errors) for b in each]
      batches = type(batches)(*map(np.stack, zip(*each, strict=True)))
    if all(everything_occurs(case, online, target, batch) for batch in each):
      report = oracle(case, online, target, batches)
      return Setting(online, target, batches, report)
  raise RuntimeError(f'{case} does not do everything with any of 1,000 seeds')


# Agents -----------------------------------------------------------------------


ALGORITHMS = {
  'dqn': (
    dqn_agent.DQNAgent,
    networks.ClassicControlDQNNetwork,
    {},
  ),
  'c51': (
    rainbow_agent.RainbowAgent,
    networks.ClassicControlRainbowNetwork,
    dict(num_atoms=N, vmin=V_MIN, vmax=V_MAX),
  ),
  'quantile': (
    quantile_agent.QuantileAgent,
    networks.ClassicControlQuantileNetwork,
    dict(num_atoms=N),
  ),
  'iqn': (
    implicit_quantile_agent.ImplicitQuantileAgent,
    networks.ClassicControlImplicitQuantileNetwork,
    dict(
      num_tau_samples=TAUS,
      num_tau_prime_samples=TAU_PRIMES,
      num_quantile_samples=CHOICES,
      quantile_embedding_dim=COSINES,
    ),
  ),
  'full': (
    full_rainbow_agent.FullRainbowAgent,
    networks.ClassicControlFullRainbowNetwork,
    dict(num_atoms=N, vmin=V_MIN, vmax=V_MAX),
  ),
}


def make_agent(case, **kwargs):
  """The agent of a case, with a replay memory of 200 transitions."""
  cls, network, settings = ALGORITHMS[case.algorithm]
  settings = dict(
    num_actions=A,
    observation_shape=small.OBSERVATION_SHAPE,
    observation_dtype=np.float64,
    stack_size=1,
    gamma=GAMMA,
    update_horizon=HORIZON,
    network=functools.partial(network, hidden_units=HIDDEN),
    double_dqn=case.double_dqn,
    replay_scheme='prioritized' if case.prioritized else 'uniform',
    optimizer=OPTIMIZERS[case.optimizer][0],
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
  gin.bind_parameter('OutOfGraphReplayBuffer.batch_size', B)
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
  report = (update or uncompiled(agent._learner))(batches)
  priorities = report.priorities
  return Report(
    np.asarray(report.loss),
    np.asarray(report.objective),
    None if priorities is None else np.asarray(priorities),
    agent.online_convnet.get_weights(),
    agent.target_convnet.get_weights(),
  )


def announced(agent, batches):
  """The `Report` of an update that is not made: without gradients, quick."""
  (batch,) = unstacked(batches)
  batch = type(batch)(*map(ops.convert_to_tensor, batch))
  _, report = agent._learner._objective(batch)
  priorities = report.priorities
  return Report(
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
  hooks = agent._learner._hooks._replace(
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


# Exactness --------------------------------------------------------------------


COMPILED = [
  Case('dqn', optimizer='rmsprop'),
  Case('c51', optimizer='adam_of_tf1', double_dqn=False),
  Case('quantile', optimizer='adam', double_dqn=False),
  Case('iqn', optimizer='adam_of_tf1', prioritized=False),
  Case('full', optimizer='adam'),
]

CASES = [
  *(
    Case(algorithm, double_dqn, prioritized)
    for algorithm in ('dqn', 'c51', 'quantile', 'iqn', 'full')
    for double_dqn in (False, True)
    for prioritized in (False, True)
  ),
  *(
    Case('full', noisy=noisy, dueling=dueling, distributional=distributional)
    for noisy in (False, True)
    for dueling in (False, True)
    for distributional in (False, True)
    if not (noisy and dueling and distributional)
  ),
  Case('quantile', kappa=0.0),
  Case('quantile', kappa=0.5),
  Case('iqn', kappa=0.0),
  Case('iqn', kappa=0.5),
]


@pytest.mark.parametrize('case', COMPILED, ids=title)
def test_two_compiled_updates_equal_the_oracle(case):
  online, target, batches, wanted = setting(case, num_batches=2)
  agent = make_agent(case)
  set_weights(agent, online, target)
  update = agent._learner.update
  first, second = (
    updated(agent, type(batches)(*(x[k : k + 1] for x in batches)), update)
    for k in range(2)
  )
  reports = zip(first[:3], second[:3], strict=True)
  found = [None if a is None else np.concatenate([a, b]) for a, b in reports]
  assert_equal_reports(Report(*found, *second[3:]), wanted)


@pytest.mark.parametrize('case', CASES, ids=title)
def test_the_update_equals_the_oracle(case):
  agent, batches, wanted = prepared(case)
  found = updated(agent, batches)
  assert_equal_reports(found, wanted)
  start = setting(case).online
  moved = [(w != s).any() for w, s in zip(found.online, start, strict=True)]
  assert all(moved), 'every array of weights learns'


@pytest.mark.parametrize(
  'case',
  [Case('dqn'), Case('c51'), Case('quantile'), Case('iqn', kappa=0.5)],
  ids=title,
)
def test_the_oracle_has_the_gradient_that_is_derived_by_hand(case):
  online, target, batches, wanted = setting(case)
  (batch,) = unstacked(batches)
  targets = targets_of(case, online, target, batch)
  outputs = forward(case, online, batch.state, draws_of(case, batch)[0])
  tau, w = levels_of(case, batch), importance_of(case, batch)
  # The outputs' slope, summed up over the batch, is that of the last bias.
  gradient = np.zeros((A, *outputs.shape[2:]))
  for b, a in enumerate(batch.action):
    gradient[a] += w[b] / B * slope(case, targets[b], outputs[b, a], tau[b])
  if case.algorithm == 'iqn':
    gradient = gradient.sum(axis=1)  # One bias for all quantiles.
  assert_allclose(
    (online[-1] - wanted.online[-1]) / 0.5, gradient.ravel(), atol=1e-7
  )


@pytest.mark.parametrize('algorithm', ALGORITHMS)
def test_batches_of_the_replay_memory_and_the_priorities_in_it(algorithm):
  case = Case(algorithm)
  online, target = random_weights(case, 10)
  agent = make_agent(case, min_replay_history=1000)
  set_weights(agent, online, target)
  rng = np.random.default_rng(3)
  for t in range(100):
    if t % 7 == 0:
      agent.begin_episode(rng.normal(size=INPUTS))
    elif t % 7 < 6:
      agent.step(rng.normal(scale=2.0), rng.normal(size=INPUTS))
    else:
      agent.end_episode(rng.normal(scale=2.0))
  memory = agent._replay.memory
  everywhere = np.arange(90, dtype=np.int32)
  valid = memory.get_priority(everywhere) > 0
  memory.set_priority(everywhere[valid], rng.uniform(0.2, 4.0, valid.sum()))

  batches = agent._sample_batches(2)
  assert_array_equal(batches.discount == 0, batches.terminal)
  assert_allclose(batches.discount[batches.terminal == 0], GAMMA**HORIZON)
  wanted = oracle(case, online, target, batches)
  agent._sample_batches = lambda num_batches: batches
  reports = []
  update = uncompiled(agent._learner)
  agent._learner.update = lambda batches: (
    reports.append(update(batches)) or reports[0]
  )
  before = memory.get_priority(everywhere)
  agent._update(2, 1)

  assert_allclose(np.asarray(reports[0].loss), wanted.loss, 1e-5, 1e-5)
  found = agent.online_convnet.get_weights()
  for a, b in zip(found, wanted.online, strict=True):
    assert_allclose(a, b, rtol=1e-5, atol=1e-5)
  after = dict(zip(everywhere.tolist(), before, strict=True))
  after |= zip(
    batches.indices.ravel().tolist(), wanted.priorities.ravel(), strict=True
  )
  assert set(batches.indices.ravel()) <= set(everywhere.tolist())
  assert_allclose(
    memory.get_priority(everywhere), list(after.values()), 1e-5, 1e-5
  )


# Broken agents ----------------------------------------------------------------

TARGETS = (
  '_build_target_q_op',
  '_build_target_distribution',
  '_build_target_quantile_values_op',
)


@contextlib.contextmanager
def replaced(agent, attributes):
  old = {name: getattr(agent, name) for name in attributes}
  vars(agent).update(attributes)
  try:
    yield
  finally:
    vars(agent).update(old)


def during(hooks, change):
  """A mixin: while one of `hooks` runs, batch and agent are changed.

  Args:
    hooks: names of methods that take a batch.
    change: `(agent, batch)` -> new values of the fields of the batch and of the
      attributes of the agent.
  """

  def override(name):
    def hook(self, batch):
      changed = change(self, batch)
      fields = {k: v for k, v in changed.items() if k in batch._fields}
      attributes = {k: v for k, v in changed.items() if k not in fields}
      with replaced(self, attributes):
        return getattr(super(mixin, self), name)(batch._replace(**fields))

    return hook

  mixin = type('Mixin', (), {name: override(name) for name in hooks})
  return mixin


def instead(hook, change):
  """A mixin: `hook` returns `change(agent, batch, what it returned)`."""

  def override(self, batch, *rest):
    value = getattr(super(mixin, self), hook)(batch, *rest)
    return change(self, batch, value)

  mixin = type('Mixin', (), {hook: override})
  return mixin


def raw_weights(batch):
  return batch.sampling_probabilities**-0.5


def unweighted_gradient(agent, batch, loss):
  """The same losses, and after weighing them the gradient of the plain mean."""
  w = agent._loss_weights(batch)
  return ops.stop_gradient(loss) + (loss - ops.stop_gradient(loss)) / w


def exchanged_networks(agent, batch):
  del batch
  return {
    'online_convnet': agent.target_convnet,
    'target_convnet': agent.online_convnet,
  }


# What can go wrong in any of the agents, each with everything switched on.
STEPS = {
  'the next value is subtracted': during(
    ['_loss'], lambda agent, batch: {'discount': -batch.discount}
  ),
  'the next value is dropped': during(
    ['_loss'], lambda agent, batch: {'discount': 0 * batch.discount}
  ),
  'the discount is ignored': during(
    ['_loss'],
    lambda agent, batch: {'discount': ops.cast(batch.discount > 0, 'float32')},
  ),
  'terminals are discounted like other steps': during(
    ['_loss'],
    lambda agent, batch: {
      'discount': ops.where(
        batch.discount > 0, batch.discount, agent.cumulative_gamma
      )
    },
  ),
  'shorter windows are discounted like full ones': during(
    ['_loss'],
    lambda agent, batch: {
      'discount': ops.where(batch.discount > 0, agent.cumulative_gamma, 0.0)
    },
  ),
  'the discount is of one step': during(
    ['_loss'],
    lambda agent, batch: {
      'discount': ops.where(batch.discount > 0, agent.gamma, 0.0)
    },
  ),
  'the reward is dropped': during(
    ['_loss'], lambda agent, batch: {'reward': 0 * batch.reward}
  ),
  'the reward is discounted too': during(
    ['_loss'], lambda agent, batch: {'reward': batch.discount * batch.reward}
  ),
  'another action gets the credit': during(
    ['_loss'], lambda agent, batch: {'action': (batch.action + 1) % A}
  ),
  'states and next states are exchanged': during(
    ['_loss'],
    lambda agent, batch: {
      'state': batch.next_state,
      'next_state': batch.state,
    },
  ),
  'the target is of the state, not of the next': during(
    TARGETS, lambda agent, batch: {'next_state': batch.state}
  ),
  'the target network is the online network': during(
    TARGETS, lambda agent, batch: {'target_convnet': agent.online_convnet}
  ),
  'the online network is the target network': during(
    ['_loss'], lambda agent, batch: {'online_convnet': agent.target_convnet}
  ),
  'the target network chooses, the online network evaluates': during(
    TARGETS, exchanged_networks
  ),
  'the target network chooses despite double dqn': during(
    TARGETS, lambda agent, batch: {'double_dqn': False}
  ),
}

WEIGHTS = {
  'importance weights are ignored': instead(
    '_loss_weights', lambda agent, batch, w: None
  ),
  'importance weights do not reach the gradient': instead(
    '_loss', unweighted_gradient
  ),
  'priorities are of the weighted losses': instead(
    '_priorities',
    lambda agent, batch, p: p * ops.sqrt(agent._loss_weights(batch)),
  ),
  'the loss is summed over the batch': instead(
    '_loss_weights', lambda agent, batch, w: B * w
  ),
}

# Tried on one agent: they all have the same method.
MORE_WEIGHTS = {
  'importance weights are used twice': instead(
    '_loss', lambda agent, batch, loss: agent._loss_weights(batch) * loss
  ),
  'importance weights are turned round': instead(
    '_loss_weights', lambda agent, batch, w: ops.min(w) / w
  ),
  'importance weights are not normalised': instead(
    '_loss_weights', lambda agent, batch, w: raw_weights(batch)
  ),
  'importance weights are normalised by their mean': instead(
    '_loss_weights', lambda agent, batch, w: w / ops.mean(w)
  ),
  'importance weights are normalised by their sum': instead(
    '_loss_weights', lambda agent, batch, w: w / ops.sum(w)
  ),
  'importance weights have the exponent 1': instead(
    '_loss_weights', lambda agent, batch, w: w**2
  ),
  'importance weights have the exponent 0.4': instead(
    '_loss_weights', lambda agent, batch, w: w**0.8
  ),
  'priorities are the losses without the root': instead(
    '_priorities', lambda agent, batch, p: p**2
  ),
  'priorities are not returned': instead(
    '_priorities', lambda agent, batch, p: None
  ),
}

ONLY_UNIFORM = {
  'uniform replay is weighed': during(
    ['_loss_weights'], lambda agent, batch: {'_replay_scheme': 'prioritized'}
  ),
  'uniform replay gets priorities': type(
    'Mixin', (), {'_priorities': lambda self, batch, loss: ops.sqrt(loss)}
  ),
}

ONLY_SINGLE = {
  'the online network chooses without double dqn': during(
    TARGETS, lambda agent, batch: {'double_dqn': True}
  ),
}


def broken_td_loss(change):
  return type(
    'Mixin', (), {'_td_loss': lambda self, errors: change(losses.huber, errors)}
  )


TD = {
  'the error is squared': broken_td_loss(lambda huber, u: losses.squared(u)),
  'the error is squared and halved': broken_td_loss(
    lambda huber, u: 0.5 * losses.squared(u)
  ),
  'the error is taken as it is': broken_td_loss(lambda huber, u: ops.abs(u)),
  'the loss turns at 2': broken_td_loss(lambda huber, u: huber(u, 2.0)),
  'the error is clipped before the loss': broken_td_loss(
    lambda huber, u: huber(ops.clip(u, -1.0, 1.0))
  ),
}


# Formulas again, with a place where each can be broken.


def projection(
  clipped=lambda atoms, low, high: ops.clip(atoms, low, high),
  num_steps=lambda support: support.shape[0] - 1,
  shared=lambda shares: shares,
):
  def project(atoms, probabilities, support):
    low, high = support[0], support[-1]
    step = (high - low) / num_steps(support)
    distance = ops.abs(
      clipped(atoms, low, high)[..., None, :] - support[:, None]
    )
    shares = shared(ops.clip(1.0 - distance / step, 0.0, 1.0))
    return ops.sum(shares * probabilities[..., None, :], axis=-1)

  return losses, 'project_distribution', project


def cross_entropy(change):
  original = losses.softmax_cross_entropy
  return (
    losses,
    'softmax_cross_entropy',
    lambda p, logits: change(original, p, logits),
  )


def categorical(
  values=lambda support, logits, p: ops.sum(support * p, axis=-1),
  probabilities=lambda logits, p: p,
):
  def outputs_of(outputs, num_actions, support):
    logits = ops.reshape(outputs, (-1, num_actions, support.shape[0]))
    p = ops.softmax(logits, axis=-1)
    return networks.RainbowNetworkType(
      values(support, logits, p), logits, probabilities(logits, p)
    )

  return networks, 'categorical', outputs_of


CATEGORICAL = {
  'the projection does not clip': projection(lambda atoms, low, high: atoms),
  'the projection clips only below': projection(
    lambda atoms, low, high: ops.maximum(atoms, low)
  ),
  'the projection clips only above': projection(
    lambda atoms, low, high: ops.minimum(atoms, high)
  ),
  'the projection counts N steps': projection(num_steps=lambda z: z.shape[0]),
  'the projection shares the wrong way round': projection(
    shared=lambda s: ops.where((s > 0) & (s < 1), 1 - s, s)
  ),
  'the projection takes the nearest atom': projection(
    shared=lambda s: ops.cast(s >= 0.5, 'float32')
  ),
  'the cross-entropy is turned round': cross_entropy(
    lambda original, p, logits: (
      -ops.sum(ops.softmax(logits) * ops.log(p + 1e-6), axis=-1)
    )
  ),
  'the loss is the divergence, not the cross-entropy': cross_entropy(
    lambda original, p, logits: (
      original(p, logits) + ops.sum(p * ops.log(p + 1e-20), axis=-1)
    )
  ),
  'the loss is averaged over the atoms': cross_entropy(
    lambda original, p, logits: original(p, logits) / N
  ),
  'the logits are not normalised': cross_entropy(
    lambda original, p, logits: -ops.sum(p * logits, axis=-1)
  ),
  'the logits are normalised twice': cross_entropy(
    lambda original, p, logits: original(p, ops.softmax(logits))
  ),
  'the cross-entropy has the wrong sign': cross_entropy(
    lambda original, p, logits: -original(p, logits)
  ),
  'an action is as good as its mean logit': categorical(
    lambda support, logits, p: ops.mean(logits, axis=-1)
  ),
  'an action is as good as its likeliest atom': categorical(
    lambda support, logits, p: ops.take(support, ops.argmax(p, axis=-1))
  ),
  'the support is upside down in the action values': categorical(
    lambda support, logits, p: ops.sum(support[::-1] * p, axis=-1)
  ),
  'the target has logits in place of probabilities': categorical(
    probabilities=lambda logits, p: logits
  ),
  'the support is symmetric': during(
    TARGETS,
    lambda agent, batch: {
      '_support': np.linspace(-V_MAX, V_MAX, N, dtype=np.float32)
    },
  ),
}


def quantile_huber(
  weight=lambda errors, tau: ops.abs(tau - ops.cast(errors < 0, 'float32')),
  size=lambda errors, kappa: (
    losses.huber(errors, kappa) / kappa if kappa else ops.abs(errors)
  ),
  errors_of=lambda errors: errors,
  reduced=lambda rho: ops.sum(ops.mean(rho, axis=1), axis=-1),
):
  def loss(errors, tau, kappa):
    errors = errors_of(errors)
    return reduced(weight(errors, tau[:, None, :]) * size(errors, kappa))

  return losses, 'quantile_huber', loss


QUANTILE = {
  'tau is turned into 1 - tau': quantile_huber(
    lambda errors, tau: ops.abs(1 - tau - ops.cast(errors < 0, 'float32'))
  ),
  'the indicator is turned round': quantile_huber(
    lambda errors, tau: ops.abs(tau - ops.cast(errors > 0, 'float32'))
  ),
  'the weight lacks its absolute value': quantile_huber(
    lambda errors, tau: tau - ops.cast(errors < 0, 'float32')
  ),
  'all levels are 1/2': quantile_huber(
    lambda errors, tau: 0.5 * ops.ones_like(errors)
  ),
  'errors have the wrong sign': quantile_huber(
    errors_of=lambda errors: -errors
  ),
  'the loss turns at 2': quantile_huber(
    size=lambda errors, kappa: losses.huber(errors, 2.0) / 2.0
  ),
  'the loss turns nowhere': quantile_huber(
    size=lambda errors, kappa: 0.5 * errors**2
  ),
  'kappa is ignored': quantile_huber(
    size=lambda errors, kappa: ops.abs(errors)
  ),
  'both axes are averaged': quantile_huber(
    reduced=lambda rho: ops.mean(rho, axis=(1, 2))
  ),
  'both axes are summed up': quantile_huber(
    reduced=lambda rho: ops.sum(rho, axis=(1, 2))
  ),
}


def quantile_values(change):
  original = networks.quantiles

  def outputs_of(outputs, num_actions, num_atoms):
    outputs = original(outputs, num_actions, num_atoms)
    return outputs._replace(q_values=change(outputs.logits))

  return networks, 'quantiles', outputs_of


def levels(change):
  return during(
    ['_loss'],
    lambda agent, batch: {'_tau': np.float32(change(np.arange(N)))},
  )


ONLY_FIXED_QUANTILES = {
  'levels are the lower ends of their parts': levels(lambda i: i / N),
  'levels are the upper ends of their parts': levels(lambda i: (i + 1) / N),
  'levels reach from 0 to 1': levels(lambda i: i / (N - 1)),
  'levels are in the opposite order': levels(lambda i: 1 - (i + 0.5) / N),
  'errors are transposed': quantile_huber(
    errors_of=lambda errors: ops.transpose(errors, (0, 2, 1))
  ),
  'a quantile meets only its own target': quantile_huber(
    reduced=lambda rho: ops.einsum('bii->b', rho)
  ),
  'an action is as good as its best quantile': quantile_values(
    lambda values: ops.max(values, axis=-1)
  ),
  'an action is as good as its middle quantile': quantile_values(
    lambda values: values[..., N // 2]
  ),
}

ONLY_WITHOUT_KAPPA = {
  'kappa = 0 is taken for 1': quantile_huber(
    size=lambda errors, kappa: losses.huber(errors, 1.0)
  ),
}

ONLY_HALF_KAPPA = {
  'the loss is not divided by kappa': quantile_huber(
    size=lambda errors, kappa: losses.huber(errors, kappa)
  ),
  'the loss is divided, but turns at 1': quantile_huber(
    size=lambda errors, kappa: losses.huber(errors, 1.0) / kappa
  ),
}


def embedding(
  cosines=lambda tau: ops.cos(
    np.pi * np.arange(1, COSINES + 1, dtype=np.float32) * tau
  ),
  joined=lambda psi, phi: psi * phi,
  ordered=lambda x: x,
):
  def call(self, features, quantiles):
    phi = self.dense(cosines(ops.transpose(quantiles)[..., None]))
    x = ordered(joined(features, phi))
    return ops.reshape(x, (-1, features.shape[-1]))

  return networks.QuantileEmbedding, 'call', call


def sampled_levels(change):
  return during(['_loss'], change)


ONLY_SAMPLED_QUANTILES = {
  'sums and means are exchanged': quantile_huber(
    reduced=lambda rho: ops.mean(ops.sum(rho, axis=1), axis=-1)
  ),
  'the network is given 1 - tau': embedding(
    lambda tau: ops.cos(
      np.pi * np.arange(1, COSINES + 1, dtype=np.float32) * (1 - tau)
    )
  ),
  'cosines start at 0': embedding(
    lambda tau: ops.cos(np.pi * np.arange(COSINES, dtype=np.float32) * tau)
  ),
  'cosines lack pi': embedding(
    lambda tau: ops.cos(np.arange(1, COSINES + 1, dtype=np.float32) * tau)
  ),
  'the embedding is added': embedding(joined=lambda psi, phi: psi + phi),
  'quantiles are in another order than levels': embedding(
    ordered=lambda x: ops.transpose(x, (1, 0, 2))
  ),
  'the target has the online levels': sampled_levels(
    lambda agent, batch: {'target_quantiles': batch.quantiles[:, :TAU_PRIMES]}
  ),
  'the target has the levels of the choice': sampled_levels(
    lambda agent, batch: {
      'target_quantiles': batch.action_quantiles[:, :TAU_PRIMES]
    }
  ),
  'the choice has the online levels': sampled_levels(
    lambda agent, batch: {'action_quantiles': batch.quantiles}
  ),
  'the choice has the levels of the target': sampled_levels(
    lambda agent, batch: {'action_quantiles': batch.target_quantiles}
  ),
  'one quantile makes the choice': sampled_levels(
    lambda agent, batch: {'action_quantiles': batch.action_quantiles[:, :1]}
  ),
  'a batch shares its online levels': sampled_levels(
    lambda agent, batch: {
      'quantiles': 0 * batch.quantiles + batch.quantiles[:1]
    }
  ),
  'a batch shares its target levels': sampled_levels(
    lambda agent, batch: {
      'target_quantiles': 0 * batch.target_quantiles
      + batch.target_quantiles[:1]
    }
  ),
}


def noise(*rows, scale=(1, 1, 1)):
  """The passes of s, choice and target, each with the noise of another."""
  return during(
    ['_loss'],
    lambda agent, batch: {
      'noise': ops.stack(
        [s * batch.noise[i] for i, s in zip(rows, scale, strict=True)]
      )
    },
  )


def noisy_dense(
  f=lambda noise: ops.sign(noise) * ops.sqrt(ops.abs(noise)),
  split=lambda noise, inputs, outputs: (noise[:inputs], noise[inputs:]),
  bias=lambda e_out: e_out,
  deviation=lambda sigma: sigma,
):
  def call(self, x, noise=None):
    y = ops.matmul(x, self.kernel_mu) + self.bias_mu
    if noise is not None:
      inputs, outputs = self.kernel_mu.shape
      e_in, e_out = map(f, split(noise, inputs, outputs))
      sigma = deviation(self.kernel_sigma) * e_in[:, None] * e_out
      y += ops.matmul(x, sigma) + deviation(self.bias_sigma) * bias(e_out)
    return self.activation(y)

  return networks.NoisyDense, 'call', call


NOISY = {
  'one noise for all passes': noise(0, 0, 0),
  'the choice has the noise of the online pass': noise(0, 0, 2),
  'the target has the noise of the online pass': noise(0, 1, 0),
  'choice and target share their noise': noise(0, 2, 2),
  'target and choice share their noise': noise(0, 1, 1),
  'the noises of choice and target are exchanged': noise(0, 2, 1),
  'the noises of online pass and target are exchanged': noise(2, 1, 0),
  'no noise at all': noise(0, 1, 2, scale=(0, 0, 0)),
  'no noise in the online pass': noise(0, 1, 2, scale=(0, 1, 1)),
  'no noise in the choice': noise(0, 1, 2, scale=(1, 0, 1)),
  'no noise in the target': noise(0, 1, 2, scale=(1, 1, 0)),
  'noise is not transformed': noisy_dense(lambda noise: noise),
  'noise loses its sign': noisy_dense(lambda noise: ops.sqrt(ops.abs(noise))),
  'noise of inputs and outputs comes in the other order': noisy_dense(
    split=lambda noise, inputs, outputs: (noise[outputs:], noise[:outputs])
  ),
  'the bias has no noise': noisy_dense(bias=lambda e_out: 0 * e_out),
  'the bias has noise without f': noisy_dense(
    bias=lambda e_out: ops.sign(e_out) * e_out**2
  ),
  'deviations do not learn': noisy_dense(deviation=ops.stop_gradient),
}


def rainbow_head(
  baseline=lambda advantage: ops.mean(advantage, axis=1, keepdims=True),
  value_of=lambda value: value,
  summed=lambda logits: ops.sum(logits, axis=-1),
):
  def call(self, x, noise=None):
    hidden, advantage, *value = self._with_noise(noise)
    x = hidden(x)
    logits = ops.reshape(advantage(x), (-1, A, N))
    if value:
      logits -= baseline(logits)
      logits += value_of(value[0](x)[:, None, :])
    if not self._distributional:
      return networks.DQNNetworkType(summed(logits))
    flat = ops.reshape(logits, (-1, A * N))
    return networks.categorical(flat, A, self._support)

  return networks.RainbowHead, 'call', call


DUELING = {
  'the mean advantage is not subtracted': rainbow_head(
    lambda advantage: 0.0 * advantage
  ),
  'the largest advantage is subtracted': rainbow_head(
    lambda advantage: ops.max(advantage, axis=1, keepdims=True)
  ),
  'the mean is over the atoms': rainbow_head(
    lambda advantage: ops.mean(advantage, axis=2, keepdims=True)
  ),
  'the mean is over the batch too': rainbow_head(
    lambda advantage: ops.mean(advantage, axis=(0, 1), keepdims=True)
  ),
  'the mean does not learn': rainbow_head(
    lambda advantage: ops.stop_gradient(
      ops.mean(advantage, axis=1, keepdims=True)
    )
  ),
  'the value is dropped': rainbow_head(value_of=lambda value: 0.0 * value),
  'the value is subtracted': rainbow_head(value_of=lambda value: -value),
}

# Without a distribution the atoms are summed up: it makes no difference there.
ONLY_ATOMS = {
  'the mean is over actions and atoms': rainbow_head(
    lambda advantage: ops.mean(advantage, axis=(1, 2), keepdims=True)
  ),
}

ONLY_SCALAR = {
  'outputs are averaged': rainbow_head(
    summed=lambda logits: ops.mean(logits, axis=-1)
  ),
  'only one output counts': rainbow_head(summed=lambda logits: logits[..., 0]),
}

SCALAR = Case('full', distributional=False)

MUTANTS = [
  (case, name, change)
  for cases, changes in (
    (map(Case, ALGORITHMS), STEPS | WEIGHTS),
    ([Case('dqn')], MORE_WEIGHTS),
    ([Case(a, prioritized=False) for a in ALGORITHMS], ONLY_UNIFORM),
    ([Case(a, double_dqn=False) for a in ALGORITHMS], ONLY_SINGLE),
    ([Case('dqn'), SCALAR], TD),
    ([Case('c51'), Case('full')], CATEGORICAL),
    ([Case('quantile'), Case('iqn')], QUANTILE),
    ([Case('quantile')], ONLY_FIXED_QUANTILES),
    ([Case('iqn')], ONLY_SAMPLED_QUANTILES),
    ([Case('quantile', kappa=0.0), Case('iqn', kappa=0.0)], ONLY_WITHOUT_KAPPA),
    ([Case('iqn', kappa=0.5)], ONLY_HALF_KAPPA),
    ([Case('full'), SCALAR], DUELING),
    ([Case('full')], NOISY | ONLY_ATOMS),
    ([SCALAR], ONLY_SCALAR),
  )
  for case in cases
  for name, change in changes.items()
]


def changed(case, change, monkeypatch):
  if isinstance(change, type):
    return prepared(case, change)
  monkeypatch.setattr(*change)
  return prepared(case)


@pytest.mark.parametrize(
  'case,change',
  [pytest.param(c, m, id=f'{title(c)}: {name}') for c, name, m in MUTANTS],
)
def test_a_broken_agent_differs(case, change, monkeypatch):
  agent, batches, wanted = changed(case, change, monkeypatch)
  with pytest.raises(AssertionError):
    # What most get wrong shows before the weights have moved.
    assert_equal_reports(announced(agent, batches), wanted)
    assert_equal_reports(updated(agent, batches), wanted)


@pytest.mark.parametrize(
  'case,change',
  [
    (Case('dqn'), during(['_loss', *TARGETS], lambda agent, batch: {})),
    (Case('dqn'), instead('_loss', lambda agent, batch, loss: loss)),
    (Case('dqn'), broken_td_loss(lambda huber, u: huber(u))),
    (Case('c51'), projection()),
    (Case('c51'), cross_entropy(lambda original, p, x: original(p, x))),
    (Case('c51'), categorical()),
    (Case('quantile'), levels(lambda i: (i + 0.5) / N)),
    (Case('quantile'), quantile_values(lambda x: ops.mean(x, axis=-1))),
    (Case('quantile'), quantile_huber()),
    (Case('iqn'), embedding()),
    (Case('full'), noise(0, 1, 2)),
    (Case('full'), noisy_dense()),
    (Case('full'), rainbow_head()),
  ],
)
def test_what_breaks_agents_does_not_if_it_changes_nothing(
  case, change, monkeypatch
):
  agent, batches, wanted = changed(case, change, monkeypatch)
  assert_equal_reports(announced(agent, batches), wanted)
  assert_equal_reports(updated(agent, batches), wanted)
