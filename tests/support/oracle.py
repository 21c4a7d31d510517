"""What an update must do according to the papers, in NumPy and float64.

It shares no code with the package. It says what the papers say, transition by
transition, and gets its gradients from central differences of the objective.

`B` is the batch, `A` the actions, `N` atoms or quantiles, as in the package.
"""

from typing import NamedTuple

import numpy as np

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
  'sgd': sgd,
  'rmsprop': rmsprop,
  'adam': adam,
  'adam_of_tf1': adam_of_tf1,
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


def report(case, online, target, batches):
  """The `Report` of one update per batch."""
  step = OPTIMIZERS[case.optimizer]
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
