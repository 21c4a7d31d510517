"""An update by functions of parameters is that of the agents of hooks."""

import collections
import functools
from typing import NamedTuple

import keras
import numpy as np
from numpy.testing import assert_allclose
import pytest

if keras.config.backend() != 'jax':
  pytest.skip('dopamine.jax needs JAX', allow_module_level=True)

from flax import linen as nn
import jax
import jax.numpy as jnp
import optax

from dopamine import networks
from dopamine import optimizers
from dopamine.agents.dqn import dqn_agent
from dopamine.compat import flax_modules
from dopamine.jax import losses as jax_losses
from dopamine.jax import networks as jax_networks
from dopamine.jax.agents.dqn import dqn_agent as jax_dqn_agent
from dopamine.jax.agents.full_rainbow import full_rainbow_agent
from dopamine.jax.agents.implicit_quantile import implicit_quantile_agent
from dopamine.jax.agents.quantile import quantile_agent
from dopamine.jax.agents.rainbow import rainbow_agent
from tests.support import agents
from tests.support import inside
from tests.support import small

pytestmark = pytest.mark.usefixtures('small_replay')

A, B, N = 3, 5, 7  # Actions, the batch, atoms or quantiles.
STATE = (8, 8, 1)
GAMMA, HORIZON = 0.9, 3
SUPPORT = np.linspace(-2, 3, N, dtype=np.float32)
KEY = jax.random.PRNGKey(7)


class Sides(NamedTuple):
  """The same weights and transitions, as both kinds of agents have them."""

  agent: dqn_agent.DQNAgent
  batch: NamedTuple  # Of `[B, ...]`.
  network_def: object
  online: dict
  target: dict

  def arguments(self):
    """Those with which every `train` begins."""
    optimizer = optimizers.create_optimizer('sgd', learning_rate=0.5)
    batch = self.batch
    return (
      *(self.network_def, self.online, self.target, optimizer),
      *(optimizer.init(self.online), batch.state, batch.action),
      *(batch.next_state, batch.reward, batch.terminal),
    )

  def update(self, loss, params, **draws):
    """Compares the hook agent's update with what a `train` returned."""
    batch = dqn_agent.extend(self.batch, **draws)
    batches = type(batch)(*(np.asarray(x)[None] for x in batch))
    report = inside.learner(self.agent).update(batches)
    hooks = report.loss[0] if np.ndim(loss) else report.objective[0]
    assert_allclose(loss, hooks, rtol=1e-6, atol=1e-6)
    after = flax_modules.from_keras(self.agent.online_convnet, self.online)
    jax.tree_util.tree_map(
      functools.partial(assert_allclose, rtol=1e-6, atol=1e-6), params, after
    )
    moved = jax.tree_util.tree_map(
      lambda a, b: np.abs(a - b).max(), after, self.online
    )
    assert min(jax.tree_util.tree_leaves(moved)) > 1e-5, moved

  def weights(self):
    """The importance weights."""
    return np.asarray(self.agent._loss_weights(self.batch))


def sides(cls, module, prioritized=False, **settings):
  """Builds an agent, and takes its weights for a Flax module.

  Args:
    cls: of the agent.
    module: the Flax module, which the agent makes the twin of.
    prioritized: whether the losses have weights.
    **settings: of the agent.
  """
  agent = cls(
    num_actions=A,
    observation_shape=STATE[:2],
    stack_size=STATE[2],
    network=type(module),
    gamma=GAMMA,
    update_horizon=HORIZON,
    replay_scheme='prioritized' if prioritized else 'uniform',
    optimizer=lambda: optimizers.create_optimizer('sgd', learning_rate=0.5),
    seed=1,
    **settings,
  )
  for seed, network in enumerate((agent.online_convnet, agent.target_convnet)):
    agents.perturb(network, seed)
  rng = np.random.default_rng(2)
  batch = small.Batch(
    state=rng.integers(0, 256, (B, *STATE)).astype(np.uint8),
    action=np.arange(B, dtype=np.int32) % A,
    reward=rng.normal(size=B).astype(np.float32),
    next_state=rng.integers(0, 256, (B, *STATE)).astype(np.uint8),
    terminal=np.array([0, 0, 1, 0, 0], np.uint8),
    discount=None,
  )
  batch = batch._replace(
    discount=(GAMMA**HORIZON * (1.0 - batch.terminal)).astype(np.float32)
  )
  if prioritized:
    batch = dqn_agent.extend(
      batch,
      indices=np.arange(B, dtype=np.int32),
      sampling_probabilities=rng.uniform(0.2, 4.0, B).astype(np.float32),
    )
  arguments = {
    'RainbowNetwork': (SUPPORT,),
    'FullRainbowNetwork': (SUPPORT,),
    'ImplicitQuantileNetwork': (2, KEY),
  }.get(type(module).__name__, ())
  params = module.init(KEY, batch.state[0], *arguments)
  return Sides(
    agent,
    batch,
    module,
    flax_modules.from_keras(agent.online_convnet, params),
    flax_modules.from_keras(agent.target_convnet, params),
  )


# DQN --------------------------------------------------------------------------


def dqn_sides(**settings):
  module = jax_networks.NatureDQNNetwork(num_actions=A)
  return sides(jax_dqn_agent.JaxDQNAgent, module, **settings)


@pytest.mark.parametrize('said', [['huber'], []])
def test_dqn(said):
  case = dqn_sides(loss_type=said[0] if said else 'mse')
  state, params, loss = jax_dqn_agent.train(
    *case.arguments(), GAMMA**HORIZON, *said
  )
  assert jax.tree_util.tree_leaves(state) == []  # Of SGD.
  case.update(loss, params)


def test_double_dqn_with_a_target_of_its_own():
  """As research code has it, with an extra argument of its own `train`."""
  case = dqn_sides(double_dqn=True)
  network_def, online, target, optimizer, state, *batch = case.arguments()
  states, actions, next_states, rewards, terminals = batch

  def double_q(state, reward, terminal):
    best = jnp.argmax(network_def.apply(online, state).q_values)
    next_q = network_def.apply(target, state).q_values[best]
    return reward + GAMMA**HORIZON * next_q * (1 - terminal)

  @functools.partial(jax.jit, static_argnums=0)
  def train(optimizer, params, state):
    targets = jax.vmap(double_q)(next_states, rewards, terminals)

    def loss_fn(params):
      q = jax.vmap(lambda s: network_def.apply(params, s).q_values)(states)
      chosen = jax.vmap(lambda q, a: q[a])(q, actions)
      return jnp.mean(jax.vmap(jax_losses.huber_loss)(targets, chosen))

    loss, gradients = jax.value_and_grad(loss_fn)(params)
    changes, state = optimizer.update(gradients, state, params=params)
    return optax.apply_updates(params, changes), loss

  params, loss = train(optimizer, online, state)
  case.update(loss, params)


def test_target_q_is_without_gradient():
  case = dqn_sides()

  def total(params):
    network = functools.partial(case.network_def.apply, params)
    return jax_dqn_agent.target_q(
      network, case.batch.next_state, case.batch.reward, case.batch.terminal, 1
    ).sum()

  gradients = jax.jit(jax.grad(total))(case.target)
  assert not any(g.any() for g in jax.tree_util.tree_leaves(gradients))


# Atoms ------------------------------------------------------------------------


def test_c51():
  module = jax_networks.RainbowNetwork(num_actions=A, num_atoms=N)
  case = sides(
    rainbow_agent.JaxRainbowAgent,
    module,
    prioritized=True,
    num_atoms=N,
    vmin=-2.0,
    vmax=3.0,
  )
  weights = case.weights()
  _, params, loss, mean_loss = rainbow_agent.train(
    *case.arguments(), weights, SUPPORT, GAMMA**HORIZON
  )
  assert_allclose(mean_loss, np.mean(weights * loss), rtol=1e-6)
  case.update(loss, params)


def full_sides(**settings):
  noisy = settings.setdefault('noisy', False)
  switches = {
    name: settings[name]
    for name in ('noisy', 'dueling', 'distributional')
    if name in settings
  }
  module = jax_networks.FullRainbowNetwork(
    num_actions=A, num_atoms=N, **switches
  )
  assert module.noisy == noisy
  return sides(
    full_rainbow_agent.JaxFullRainbowAgent,
    module,
    prioritized=True,
    num_atoms=N,
    vmin=-2.0,
    vmax=3.0,
    **settings,
  )


def train_full(case):
  _, params, loss, mean_loss, rng = full_rainbow_agent.train(
    *case.arguments(),
    case.weights(),
    SUPPORT,
    GAMMA**HORIZON,
    case.agent.double_dqn,
    case.network_def.distributional,
    KEY,
  )
  assert_allclose(mean_loss, np.mean(case.weights() * loss), rtol=1e-6)
  assert (rng != KEY).any()
  return params, loss


@pytest.mark.parametrize(
  'settings',
  [{}, {'double_dqn': False, 'dueling': False}, {'distributional': False}],
  ids=str,
)
def test_full_rainbow_without_noise(settings):
  case = full_sides(**settings)
  params, loss = train_full(case)
  case.update(loss, params)


def noise_of(key, params):
  """What a pass with a key draws, in the order in which a hook agent has it."""
  layers = [params['params'][f'NoisyNetwork_{i}'] for i in range(3)]
  sizes = [sum(layer['kernel_mu'].shape) for layer in layers]
  return np.concatenate(
    [
      jax.random.normal(jax.random.fold_in(key, i), (size,))
      for i, size in enumerate(sizes)
    ]
  )


@pytest.mark.parametrize('double_dqn', [True, False])
def test_full_rainbow_with_the_noise_of_the_key(double_dqn):
  case = full_sides(noisy=True, double_dqn=double_dqn)
  params, loss = train_full(case)
  _, of_online, of_target = jax.random.split(KEY, 3)
  keys = of_online, *jax.random.split(of_target)
  noise = np.stack([noise_of(key, case.online) for key in keys])
  assert noise.shape[1] == case.agent._num_noise
  case.update(loss, params, noise=noise)


# Quantiles --------------------------------------------------------------------


@pytest.mark.parametrize('kappa', [0.5, 0.0])
def test_quantile(kappa):
  case = sides(
    quantile_agent.JaxQuantileAgent,
    jax_networks.QuantileNetwork(num_actions=A, num_atoms=N),
    num_atoms=N,
    kappa=kappa,
  )
  _, params, loss, mean_loss = quantile_agent.train(
    *case.arguments(), kappa, N, GAMMA**HORIZON
  )
  assert_allclose(mean_loss, np.mean(loss), rtol=1e-6)
  case.update(loss, params)


@pytest.mark.parametrize('double_dqn', [False, True])
def test_implicit_quantile_with_the_levels_of_the_key(double_dqn):
  case = sides(
    implicit_quantile_agent.JaxImplicitQuantileAgent,
    jax_networks.ImplicitQuantileNetwork(A, quantile_embedding_dim=4),
    quantile_embedding_dim=4,
    num_tau_samples=3,
    num_tau_prime_samples=4,
    num_quantile_samples=6,
    kappa=0.5,
    double_dqn=double_dqn,
  )
  rng, _, params, loss = implicit_quantile_agent.train(
    *case.arguments(), 3, 4, 6, GAMMA**HORIZON, double_dqn, 0.5, KEY
  )
  assert_allclose(rng, jax.random.split(KEY, 1 + B)[0])
  levels = {'quantiles': [], 'action_quantiles': [], 'target_quantiles': []}
  for key in jax.random.split(KEY, 1 + B)[1:]:
    keys = jax.random.split(key, 3)
    for name, n, own in zip(levels, (3, 6, 4), keys, strict=True):
      levels[name].append(jax.random.uniform(own, (n, 1))[:, 0])
  levels = {name: np.stack(rows) for name, rows in levels.items()}
  assert len(np.unique(levels['quantiles'])) == 3 * B  # Nobody's is another's.
  case.update(loss, params, **levels)


# Acting -----------------------------------------------------------------------


class Table(nn.Module):
  """Values of actions that are written down, as every agent asks for them."""

  outputs: type = networks.DQNNetworkType

  @nn.compact
  def __call__(self, x, *arguments, **draws):
    q = self.param('q', nn.initializers.zeros, (A,))
    if self.outputs is networks.ImplicitQuantileNetworkType:
      return self.outputs(jnp.stack([q, q]), jnp.ones((2, 1)))
    rest = (None,) * (len(self.outputs._fields) - 1)
    return self.outputs(q, *rest)


SELECT = {
  'dqn': (jax_dqn_agent, networks.DQNNetworkType, (), ()),
  'rainbow': (rainbow_agent, networks.RainbowNetworkType, (), (SUPPORT,)),
  'full': (full_rainbow_agent, networks.RainbowNetworkType, (), (SUPPORT,)),
  'iqn': (
    implicit_quantile_agent,
    networks.ImplicitQuantileNetworkType,
    (2,),
    (),
  ),
}


@pytest.mark.parametrize('name', SELECT)
def test_actions(name):
  module, outputs, before, after = SELECT[name]
  best = {'params': {'q': jnp.array([0.0, 2.0, 1.0])}}
  epsilon_fn = jax_dqn_agent.linearly_decaying_epsilon

  def actions(step, eval_mode, epsilon_eval=0.0):
    rng, found = KEY, []
    for _ in range(40):
      rng, action = module.select_action(
        *(Table(outputs), best, np.zeros(STATE), rng, *before, A, eval_mode),
        *(epsilon_eval, 0.0, 100, step, 50, epsilon_fn, *after),
      )
      found.append(int(action))
    assert np.shape(rng) == (2,)
    return found

  assert actions(0, eval_mode=True) == [1] * 40
  assert actions(150, eval_mode=False) == [1] * 40  # The descent is over.
  drawn = actions(0, eval_mode=False)
  assert set(drawn) == {0, 1, 2} and drawn.count(1) < 30
  assert drawn != actions(100, eval_mode=False) != [1] * 40
  assert set(actions(150, eval_mode=True, epsilon_eval=1.0)) == {0, 1, 2}


def test_epsilon_is_that_of_a_number_for_a_step_that_is_traced():
  f = jax_dqn_agent.linearly_decaying_epsilon
  traced = jax.jit(lambda step: f(100, step, 50, 0.1))
  for step in (0, 49, 50, 51, 100, 149, 150, 1000):
    assert_allclose(traced(step), f(100, step, 50, 0.1), rtol=1e-6)


# What is of 3.2.1, and what research code does --------------------------------


@pytest.mark.parametrize('module', [jax_dqn_agent, quantile_agent])
def test_an_optimizer_of_flax_optim_is_refused(module):
  optimizer = collections.namedtuple('Optimizer', 'target')({})
  with pytest.raises(TypeError, match='create_optimizer.*\n.*optimizer.init'):
    module.train(Table(), {}, optimizer, *[np.zeros((B, 1))] * 5, 0.9)
  with pytest.raises(TypeError, match='docs/migrating.md'):
    module.train(Table(), target_params={}, optimizer=optimizer)


def test_losses_are_mapped_over_numbers():
  targets, q = np.array([0.5, -3.0]), np.array([0.0, 0.0])
  assert_allclose(jax.vmap(jax_losses.huber_loss)(targets, q), [0.125, 2.5])
  assert_allclose(jax.vmap(jax_losses.mse_loss)(targets, q), [0.25, 9.0])
  labels, logits = np.eye(2, 3), np.zeros((2, 3))
  for found in (
    jax_losses.softmax_cross_entropy_loss_with_logits(labels, logits),
    jax.vmap(jax_losses.softmax_cross_entropy_loss_with_logits)(labels, logits),
  ):
    assert_allclose(found, np.log([3, 3]), rtol=1e-6)


def test_functions_that_are_mapped_again():
  """One transition as a batch of one, below a `vmap` of another's."""

  def network(state):
    return networks.DQNNetworkType(state)

  def target(state, reward, terminal):
    return jax_dqn_agent.target_q(
      network, state[None], reward[None], terminal[None], 0.5
    )[0]

  found = jax.vmap(target)(
    np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([1.0, 1.0]), np.array([0, 1])
  )
  assert_allclose(found, [2.0, 1.0])
