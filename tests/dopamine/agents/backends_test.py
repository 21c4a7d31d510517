"""Both backends compute the same, and continue each other's checkpoints.

All agents run in one process of the other backend, some from here to there and
others back. The second half is about what is drawn at random: by agents, which
both backends share, and by networks.
"""

import functools
import importlib.util
import os
import pathlib
import pickle
import subprocess
import sys

import keras
from keras import layers
from keras import ops
import numpy as np
from numpy.testing import assert_allclose
from numpy.testing import assert_array_equal
import pytest

from dopamine import networks
from tests.support import inside
from tests.support import oracle
from tests.support import small
from tests.support import updates
from tests.support.oracle import Case

pytestmark = pytest.mark.xla

OTHER = {'tensorflow': 'jax', 'jax': 'tensorflow'}[keras.config.backend()]

CASES = {case.algorithm: case for case in updates.COMPILED}
# By the backend they start under: compiling one for both takes 5 s.
STARTED = {
  'tensorflow': ('dqn', 'quantile', 'full'),
  'jax': ('dqn', 'c51', 'iqn'),
}
HERE = STARTED[keras.config.backend()]


def make_agent(case, **kwargs):
  settings = dict(
    min_replay_history=20,
    update_period=2,
    target_update_period=6,
    epsilon_train=0.1,
    epsilon_decay_period=20,
  )
  return updates.make_agent(case, **(settings | kwargs))


def live(agent, num_episodes, seed):
  """Runs episodes of 7 steps; what is seen does not depend on the actions."""
  rng, actions = np.random.default_rng(seed), []

  def observe():
    return rng.normal(size=small.OBSERVATION_SHAPE)

  for _ in range(num_episodes):
    actions.append(agent.begin_episode(observe()))
    for _ in range(6):
      actions.append(agent.step(rng.normal(scale=2.0), observe()))
    agent.end_episode(rng.normal(scale=2.0))
  return actions


def five_updates(agent):
  """What five updates after a checkpoint start from, report and leave."""
  figures = {}
  for k in range(5):
    batches = agent._sample_batches(1)
    update = inside.learner(agent).update(batches)
    figures |= {f'batch/{k}/{n}': x for n, x in batches._asdict().items()}
    figures[f'loss/{k}'] = np.asarray(update.loss)
    if update.priorities is not None:
      figures[f'priorities/{k}'] = np.asarray(update.priorities)
  return figures | inside.learner(agent).state()


def continuation(agent):
  """What the life after a checkpoint leaves."""
  actions = live(agent, 5, seed=2)
  q = inside.learner(agent).predict(agent.state, *agent._acting_draws(1))
  figures = {'actions': actions, 'q': q, 'steps': agent.training_steps}
  memory = inside.memory(agent)
  if hasattr(memory, 'sum_tree'):
    figures['replay'] = memory.get_priority(np.arange(100, dtype=np.int32))
  return figures | inside.learner(agent).state()


def restored(agent, folder):
  bundle = pickle.loads((folder / 'bundle').read_bytes())
  assert agent.unbundle(str(folder), 0, bundle)
  return agent


def both_ways(agent, folder):
  """Five updates, and the agent's life, from the checkpoint in `folder`."""
  updates = five_updates(restored(agent, folder))
  life = continuation(restored(agent, folder))
  return {f'updates/{name}': x for name, x in updates.items()} | {
    f'life/{name}': x for name, x in life.items()
  }


def main(path):
  """Continues every checkpoint in a process of the other backend."""
  for algorithm in STARTED[OTHER]:
    folder = pathlib.Path(path) / algorithm
    agent = make_agent(CASES[algorithm], seed=99)
    np.savez(folder / 'other.npz', **both_ways(agent, folder))


@pytest.fixture(scope='module')
def figures(tmp_path_factory):
  """By algorithm, the start and what each backend made of it."""
  path = tmp_path_factory.mktemp('backends')
  agents, starts = {}, {}
  for algorithm in HERE:
    agent = agents[algorithm] = make_agent(CASES[algorithm])
    live(agent, 8, seed=1)
    folder = path / algorithm
    folder.mkdir()
    bundle = agent.bundle_and_checkpoint(str(folder), 0)
    (folder / 'bundle').write_bytes(pickle.dumps(bundle))
    starts[algorithm] = inside.learner(agent).state()
  with subprocess.Popen(
    [sys.executable, '-m', __spec__.name, str(path)],
    env=os.environ | {'KERAS_BACKEND': OTHER},
    stderr=subprocess.PIPE,
    text=True,
  ) as process:
    own = {a: both_ways(agents[a], path / a) for a in HERE}
    _, errors = process.communicate()
  assert process.returncode == 0, errors[-3000:]
  others = {}
  for algorithm in HERE:
    with np.load(path / algorithm / 'other.npz') as file:
      others[algorithm] = dict(file)
  return {a: (starts[a], own[a], others[a]) for a in HERE}


def on_both_backends(test):
  """`test`, with each algorithm, where the other backend is installed."""
  installed = importlib.util.find_spec(OTHER) is not None
  skip = pytest.mark.skipif(not installed, reason=f'{OTHER} is not installed')
  return skip(pytest.mark.parametrize('algorithm', HERE)(test))


@on_both_backends
def test_batches_levels_and_noise_are_the_same(figures, algorithm):
  _, own, other = figures[algorithm]
  drawn = [name for name in own if name.startswith('updates/batch')]
  for name in drawn:
    assert_array_equal(other[name], own[name], err_msg=name)
  names = {'sampling_probabilities', 'discount', 'indices'}
  if algorithm == 'iqn':
    names |= {'quantiles', 'target_quantiles', 'action_quantiles'}
  if algorithm == 'full':
    names |= {'noise'}
  assert names <= {name.split('/')[-1] for name in drawn}


@on_both_backends
def test_five_updates_agree(figures, algorithm):
  start, own, other = figures[algorithm]
  assert_agreement(own, other, 'updates/')
  assert_all_moved(start, own, 'updates/')


@on_both_backends
def test_a_checkpoint_continues_on_the_other_backend(figures, algorithm):
  start, own, other = figures[algorithm]
  assert_agreement(own, other, 'life/')
  assert_all_moved(start, own, 'life/')
  assert own['life/steps'] == (8 + 5) * 7


def assert_agreement(own, other, prefix):
  assert own.keys() == other.keys()
  for name in own:
    if name.startswith(prefix):
      assert_allclose(
        other[name], own[name], rtol=1e-5, atol=1e-5, err_msg=name
      )


def assert_all_moved(start, own, prefix):
  for name, value in start.items():
    if name.startswith('online') and name not in seeds_of(start):
      assert (own[prefix + name] != value).any(), name
  slots = [name for name in start if name.startswith('optimizer')]
  assert any((own[prefix + name] != start[name]).any() for name in slots)


def seeds_of(state):
  """The names of the states of seed generators, which are two integers."""
  return {n for n, x in state.items() if np.issubdtype(x.dtype, np.integer)}


# What is drawn at random ------------------------------------------------------


class OwnLevels(keras.Model):
  """An implicit quantile network as users wrote them for Dopamine 3."""

  def __init__(self, num_actions, quantile_embedding_dim, name=None):
    super().__init__(name=name)
    self.num_actions = num_actions
    self.quantile_embedding_dim = quantile_embedding_dim
    self.flatten = layers.Flatten()
    self.hidden = layers.Dense(20, activation='relu')
    self.phi = layers.Dense(20, activation='relu')
    self.last = layers.Dense(num_actions)
    self.seeds = keras.random.SeedGenerator(7)

  def call(self, state, num_quantiles):
    x = self.hidden(self.flatten(ops.cast(state, 'float32')))
    x = ops.tile(x, (num_quantiles, 1))
    tau = keras.random.uniform((x.shape[0], 1), seed=self.seeds)
    i = np.arange(1, self.quantile_embedding_dim + 1, dtype=np.float32)
    x = x * self.phi(ops.cos(np.pi * i * tau))
    return networks.ImplicitQuantileNetworkType(self.last(x), tau)


make_own_levels = functools.partial(
  make_agent,
  Case('iqn', optimizer='adam', prioritized=False),
  network=OwnLevels,
)


@pytest.mark.parametrize(
  'make',
  [
    functools.partial(make_agent, CASES['iqn']),
    functools.partial(make_agent, CASES['full']),
    make_own_levels,
  ],
  ids=['levels', 'noise', 'levels of the network'],
)
def test_a_resumed_agent_draws_what_it_would_have_drawn(make, tmp_path):
  def drawn(agent):
    batches = agent._sample_batches(2)
    figures = {'actions': live(agent, 5, seed=2)}
    q = [inside.learner(agent).predict(agent.state, *agent._acting_draws(1))]
    return figures | batches._asdict() | {'q': q}

  straight = make(min_replay_history=1000)
  live(straight, 5, seed=1)
  bundle = straight.bundle_and_checkpoint(str(tmp_path), 0)
  expected = drawn(straight)
  resumed = make(min_replay_history=1000, seed=99)
  assert resumed.unbundle(str(tmp_path), 0, bundle)
  found = drawn(resumed)
  assert len(set(expected['actions'])) > 1
  for name, value in expected.items():
    assert_array_equal(found[name], value, err_msg=name)


def test_a_network_that_draws_its_own_levels_learns():
  agent = make_own_levels()
  batches = updates.make_batches(Case('iqn'), 1, seed=0)
  # Nothing to come: every quantile of a state and action is the reward.
  batches = batches._replace(discount=0 * batches.discount)
  reports = [
    np.asarray(inside.learner(agent).update(batches).loss)[0]
    for _ in range(200)
  ]
  assert np.mean(reports[-10:]) < 0.1 * np.mean(reports[:10])
  # The same weights have another loss each time: new levels.
  inside.optimizer(agent).learning_rate.assign(0.0)
  first, second = (
    np.asarray(inside.learner(agent).update(batches).loss) for _ in range(2)
  )
  assert (first != second).any()


def test_a_network_that_draws_its_own_levels_acts_with_new_ones():
  agent = make_own_levels()
  first, second = (
    inside.learner(agent).predict(agent.state + 1.0, *agent._acting_draws(1))
    for _ in range(2)
  )
  assert (first != second).all()


def test_the_levels_in_the_loss_are_those_of_the_network():
  agent = make_own_levels()
  state = np.random.default_rng(0).normal(size=(5, 4, 1))
  given = np.full((5, 6), 0.5, np.float32)
  values, tau = agent._quantiles(agent.online_convnet, state, given)
  assert values.shape == (5, small.NUM_ACTIONS, 6)
  assert tau.shape == (5, 6) and len(np.unique(tau)) == 30
  # The values are those at the levels that are returned with them.
  w1, b1, w2, b2, w3, b3 = agent.online_convnet.get_weights()
  i = np.arange(1, oracle.COSINES + 1)
  for b in range(5):
    for n in range(6):
      x = np.maximum(state[b, :, 0] @ w1 + b1, 0)
      phi = np.maximum(np.cos(np.pi * i * float(tau[b, n])) @ w2 + b2, 0)
      assert_allclose(values[b, :, n], (x * phi) @ w3 + b3, atol=1e-5)


@pytest.mark.parametrize(
  'make,state_shape',
  [
    (
      functools.partial(
        networks.ClassicControlImplicitQuantileNetwork, hidden_units=6
      ),
      (4, 1),
    ),
    (networks.ImplicitQuantileNetwork, (8, 8, 4)),
  ],
)
def test_networks_draw_levels_by_themselves(make, state_shape):
  network = make(3, 7)
  network.seed_generator = keras.random.SeedGenerator(5)
  rng = np.random.default_rng(0)
  state = rng.integers(0, 255, (2, *state_shape)).astype(np.uint8)
  first, second = (network(state, num_quantiles=8) for _ in range(2))
  assert first.quantile_values.shape == (16, 3)
  tau = np.reshape(first.quantiles, (8, 2)).T  # Row n * B + b.
  assert len(np.unique(tau)) == 16, 'no two of a batch share a level'
  assert 0 <= tau.min() < 0.5 < tau.max() < 1
  assert not np.intersect1d(first.quantiles, second.quantiles).size
  given = network(state, num_quantiles=8, quantiles=tau)
  assert_array_equal(given.quantiles, first.quantiles)
  assert_allclose(given.quantile_values, first.quantile_values, atol=1e-5)


NOISY = [
  Case('full'),
  Case('full', dueling=False),
  Case('full', distributional=False),
]


def noisy_agent(case, **kwargs):
  """An agent, and the oracle's `Q(s, .)` of one state under one noise."""
  online, target = oracle.random_weights(case, 3)
  agent = make_agent(case, epsilon_train=0.0, epsilon_eval=0.0, **kwargs)
  updates.set_weights(agent, online, target)
  agent.state = np.random.default_rng(0).normal(size=agent.state.shape)

  def q_values(state, noise):
    outputs = oracle.forward(case, online, state, noise)
    return oracle.action_values(case, outputs)

  return agent, q_values


@pytest.mark.parametrize('case', NOISY, ids=updates.title)
def test_acting_in_evaluation_is_that_of_the_mean_weights(case):
  agent, q_values = noisy_agent(case, eval_mode=True)
  num_noise = oracle.num_noise(case)
  means = q_values(agent.state, np.zeros(num_noise))
  without_noise = agent.online_convnet(agent.state).q_values
  assert_allclose(without_noise, means, atol=1e-5)
  before = inside.generator(agent).bit_generator.state
  draws = [agent._acting_draws(1) for _ in range(2)]
  assert inside.generator(agent).bit_generator.state == before
  first, second = (
    inside.learner(agent).predict(agent.state, *d) for d in draws
  )
  assert_array_equal(first, second)
  assert_allclose(first, means, atol=1e-5)
  assert {agent._select_action() for _ in range(50)} == {means[0].argmax()}


@pytest.mark.parametrize('case', NOISY, ids=updates.title)
def test_every_action_of_training_has_a_noise_of_its_own(case):
  agent, q_values = noisy_agent(case)
  draws = [agent._acting_draws(1)[0] for _ in range(3)]
  assert len(np.unique(draws)) == 3 * oracle.num_noise(case)
  for noise in draws:
    found = inside.learner(agent).predict(agent.state, noise)
    assert_allclose(found, q_values(agent.state, noise[0]), atol=1e-5)
  assert len({agent._select_action() for _ in range(50)}) > 1


def test_several_states_have_a_noise_each():
  agent, q_values = noisy_agent(Case('full'))
  states = np.random.default_rng(1).normal(size=(3, *agent.state.shape[1:]))
  (noise,) = agent._acting_draws(3)
  found = inside.learner(agent).predict(states, noise)
  for b in range(3):
    assert_allclose(
      found[b], q_values(states[b : b + 1], noise[b])[0], atol=1e-5
    )


def test_noise_is_standard_normal_and_levels_are_uniform():
  full, iqn = make_agent(Case('full')), make_agent(Case('iqn'))
  (noise,) = full._acting_draws(1000)
  assert noise.dtype == np.float32
  assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
  (levels,) = iqn._acting_draws(10000)
  assert levels.dtype == np.float32
  counts, _ = np.histogram(levels, 10, (0, 1))
  assert_allclose(counts / levels.size, 0.1, atol=0.01)


def test_without_noisy_layers_nothing_is_drawn():
  agent = make_agent(Case('full', noisy=False), min_replay_history=1000)
  live(agent, 5, seed=1)
  assert agent._acting_draws(1) == ()
  assert 'noise' not in agent._sample_batches(1)._fields


if __name__ == '__main__':
  main(*sys.argv[1:])
