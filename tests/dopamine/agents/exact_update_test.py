"""Every agent's update against the papers.

What an update reports and the weights it leaves must equal what the oracle says
to 1e-5. That a broken agent's do not, is in `broken_agents_test`.
"""

import numpy as np
from numpy.testing import assert_allclose
from numpy.testing import assert_array_equal
import pytest

from tests.support import inside
from tests.support import oracle
from tests.support import updates
from tests.support.oracle import Case

pytestmark = pytest.mark.xla

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


@pytest.mark.parametrize('case', updates.COMPILED, ids=updates.title)
def test_two_compiled_updates_equal_the_oracle(case):
  online, target, batches, wanted = updates.setting(case, num_batches=2)
  agent = updates.make_agent(case)
  updates.set_weights(agent, online, target)
  update = inside.learner(agent).update
  first, second = (
    updates.updated(
      agent, type(batches)(*(x[k : k + 1] for x in batches)), update
    )
    for k in range(2)
  )
  reports = zip(first[:3], second[:3], strict=True)
  found = [None if a is None else np.concatenate([a, b]) for a, b in reports]
  updates.assert_equal_reports(oracle.Report(*found, *second[3:]), wanted)


@pytest.mark.parametrize('case', CASES, ids=updates.title)
def test_the_update_equals_the_oracle(case):
  agent, batches, wanted = updates.prepared(case)
  found = updates.updated(agent, batches)
  updates.assert_equal_reports(found, wanted)
  start = updates.setting(case).online
  moved = [(w != s).any() for w, s in zip(found.online, start, strict=True)]
  assert all(moved), 'every array of weights learns'


@pytest.mark.parametrize(
  'case',
  [Case('dqn'), Case('c51'), Case('quantile'), Case('iqn', kappa=0.5)],
  ids=updates.title,
)
def test_the_oracle_has_the_gradient_that_is_derived_by_hand(case):
  online, target, batches, wanted = updates.setting(case)
  (batch,) = oracle.unstacked(batches)
  targets = oracle.targets_of(case, online, target, batch)
  outputs = oracle.forward(
    case, online, batch.state, oracle.draws_of(case, batch)[0]
  )
  tau, w = oracle.levels_of(case, batch), oracle.importance_of(case, batch)
  # The outputs' slope, summed up over the batch, is that of the last bias.
  gradient = np.zeros((oracle.A, *outputs.shape[2:]))
  for b, a in enumerate(batch.action):
    gradient[a] += (
      w[b] / oracle.B * oracle.slope(case, targets[b], outputs[b, a], tau[b])
    )
  if case.algorithm == 'iqn':
    gradient = gradient.sum(axis=1)  # One bias for all quantiles.
  assert_allclose(
    (online[-1] - wanted.online[-1]) / 0.5, gradient.ravel(), atol=1e-7
  )


@pytest.mark.parametrize('algorithm', updates.ALGORITHMS)
def test_batches_of_the_replay_memory_and_the_priorities_in_it(algorithm):
  case = Case(algorithm)
  online, target = oracle.random_weights(case, 10)
  agent = updates.make_agent(case, min_replay_history=1000)
  updates.set_weights(agent, online, target)
  rng = np.random.default_rng(3)
  for t in range(100):
    if t % 7 == 0:
      agent.begin_episode(rng.normal(size=oracle.INPUTS))
    elif t % 7 < 6:
      agent.step(rng.normal(scale=2.0), rng.normal(size=oracle.INPUTS))
    else:
      agent.end_episode(rng.normal(scale=2.0))
  memory = inside.memory(agent)
  everywhere = np.arange(90, dtype=np.int32)
  valid = memory.get_priority(everywhere) > 0
  memory.set_priority(everywhere[valid], rng.uniform(0.2, 4.0, valid.sum()))

  batches = agent._sample_batches(2)
  assert_array_equal(batches.discount == 0, batches.terminal)
  assert_allclose(
    batches.discount[batches.terminal == 0], oracle.GAMMA**oracle.HORIZON
  )
  wanted = oracle.report(case, online, target, batches)
  agent._sample_batches = lambda num_batches: batches
  reports = []
  update = updates.uncompiled(inside.learner(agent))
  inside.learner(agent).update = lambda batches: (
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
