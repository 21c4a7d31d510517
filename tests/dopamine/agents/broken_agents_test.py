"""Agents that are broken on purpose: the oracle tells each from a right one.

As in `exact_update_test`, whose comparison this is: of the following long list
none may report what the oracle does and leave the same weights.
"""

from keras import ops
import numpy as np
import pytest

from dopamine import losses
from dopamine import networks
from dopamine.networks import distributional
from tests.support import mutations
from tests.support import oracle
from tests.support import updates
from tests.support.oracle import Case

A, N = oracle.A, oracle.N
COSINES, TAU_PRIMES = oracle.COSINES, oracle.TAU_PRIMES
V_MAX = oracle.V_MAX

# What is broken is arithmetic, and takes four times as long under JAX.
pytestmark = pytest.mark.no_backend

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

  return distributional, 'categorical', outputs_of


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
  'the support is symmetric': mutations.during(
    mutations.TARGETS,
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

  return distributional, 'quantiles', outputs_of


def levels(change):
  return mutations.during(
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
  return mutations.during(['_loss'], change)


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
  return mutations.during(
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
    (map(Case, updates.ALGORITHMS), mutations.STEPS | mutations.WEIGHTS),
    ([Case('dqn')], mutations.MORE_WEIGHTS),
    (
      [Case(a, prioritized=False) for a in updates.ALGORITHMS],
      mutations.ONLY_UNIFORM,
    ),
    (
      [Case(a, double_dqn=False) for a in updates.ALGORITHMS],
      mutations.ONLY_SINGLE,
    ),
    ([Case('dqn'), SCALAR], mutations.TD),
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
    return updates.prepared(case, change)
  monkeypatch.setattr(*change)
  return updates.prepared(case)


@pytest.mark.parametrize(
  'case,change',
  [
    pytest.param(c, m, id=f'{updates.title(c)}: {name}')
    for c, name, m in MUTANTS
  ],
)
def test_a_broken_agent_differs(case, change, monkeypatch):
  agent, batches, wanted = changed(case, change, monkeypatch)
  with pytest.raises(AssertionError):
    # What most get wrong shows before the weights have moved.
    updates.assert_equal_reports(updates.announced(agent, batches), wanted)
    updates.assert_equal_reports(updates.updated(agent, batches), wanted)


@pytest.mark.parametrize(
  'case,change',
  [
    (
      Case('dqn'),
      mutations.during(['_loss', *mutations.TARGETS], lambda agent, batch: {}),
    ),
    (Case('dqn'), mutations.instead('_loss', lambda agent, batch, loss: loss)),
    (Case('dqn'), mutations.broken_td_loss(lambda huber, u: huber(u))),
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
  updates.assert_equal_reports(updates.announced(agent, batches), wanted)
  updates.assert_equal_reports(updates.updated(agent, batches), wanted)
