"""Which attributes a checkpoint holds, and what follows from gamma."""

import collections

import numpy as np
from numpy.testing import assert_allclose
import pytest

from dopamine.agents import saving
from tests.support import agents
from tests.support import inside

NAN = float('nan')


@pytest.mark.parametrize(
  'before, after',
  [
    (0, 1),
    (1, True),
    (1, 1.0),
    (0.0, -0.0),
    (1.0, np.float64(1.0)),
    (np.float32(1), np.float64(1)),
    ('a', b'a'),
    (None, 0),
    ([1, 2], [1, 3]),
    ([1, 2], [1, 2, 3]),
    ([1, 2], (1, 2)),
    ({'a': 1, 'b': 2}, {'b': 2, 'a': 1}),
    ({'a': [1]}, {'a': [2]}),
    ({1}, {2}),
    (collections.deque([1]), collections.deque([2])),
    (collections.deque([0.0]), collections.deque([-0.0])),
    (np.zeros(3), np.zeros((3, 1))),
    (np.zeros(3), np.zeros(3, np.float32)),
    (np.zeros(3), np.array([0.0, 0.0, -0.0])),
    (np.array(1), np.array(2)),
  ],
)
def test_what_differs_has_changed(before, after):
  for a, b in ((before, after), (after, before)):
    agent = agents.make_agent()
    agent.mine = a
    agent.remember_settings()
    agent.mine = b
    changed = agent._changed_attributes()
    assert [*changed] == ['mine'] and type(changed['mine']) is type(b)


@pytest.mark.parametrize(
  'value',
  [
    *(3, NAN, 'a', None, np.float32(NAN), -0.0, {'a': [NAN, (1, {2})]}),
    np.array([1.0, NAN]),
    np.array([(1, 2.0)], [('x', 'i4'), ('y', 'f8')]),
    collections.deque([np.array([NAN])], maxlen=2),
    collections.OrderedDict(a=NAN),
  ],
)
def test_what_is_equal_has_not(value):
  import copy

  assert saving._same(value, copy.deepcopy(value))
  agent = agents.make_agent()
  agent.mine = value
  agent.remember_settings()
  agent.mine = copy.deepcopy(value)
  assert not agent._changed_attributes()


def test_what_is_changed_in_place_is_seen_and_copied():
  agent = agents.make_agent()
  agent.visits, agent.table = [[0]], np.zeros(3)
  agent.rng = np.random.default_rng(3)
  agent.remember_settings()
  agent.visits[0].append(1)
  agent.table[1] = 2
  agent.rng.random()
  changed = agent._changed_attributes()
  assert sorted(changed) == ['rng', 'table', 'visits']
  agent.visits[0].append(9)
  agent.table[1] = 9
  assert changed['visits'] == [[0, 1]] and changed['table'][1] == 2


def test_gamma_has_one_home():
  agent = agents.make_agent(gamma=0.9, update_horizon=3)
  assert agent.cumulative_gamma == 0.9**3
  agent.gamma = 0.5
  assert agent.cumulative_gamma == 0.125
  agent.begin_episode(np.ones(4))
  for _ in range(9):
    agent.step(1.0, np.ones(4))
  agent.end_episode(1.0, False, observation=np.ones(4))
  discounts = inside.replay(agent).sample(1).discount
  assert set(np.round(discounts.ravel(), 6)) <= {0.5, 0.25, 0.125}
  assert_allclose(agent._sample_batches(1).discount.max(), 0.5, atol=0.4)
