"""Tests of the four distributional Jax agents, and of what sets them apart."""

import functools
import importlib

import keras
import numpy as np
from numpy.testing import assert_allclose
from numpy.testing import assert_array_equal
import pytest

from dopamine import learners
from dopamine import networks
from dopamine import optimizers
from dopamine.agents.dqn import dqn_agent
from dopamine.agents.full_rainbow import full_rainbow_agent
from dopamine.agents.implicit_quantile import implicit_quantile_agent
from dopamine.agents.quantile import quantile_agent
from dopamine.agents.rainbow import rainbow_agent
from tests.support import agents
from tests.support import inside
from tests.support import small

pytestmark = pytest.mark.usefixtures('small_replay')
needs_jax = pytest.mark.skipif(
  keras.config.backend() != 'jax', reason='dopamine.jax needs JAX'
)

ALGORITHMS = {
  'rainbow': rainbow_agent.RainbowAgent,
  'quantile': quantile_agent.QuantileAgent,
  'implicit_quantile': implicit_quantile_agent.ImplicitQuantileAgent,
  'full_rainbow': full_rainbow_agent.FullRainbowAgent,
}

NETWORKS = {
  'rainbow': networks.ClassicControlRainbowNetwork,
  'quantile': networks.ClassicControlQuantileNetwork,
  'implicit_quantile': networks.ClassicControlImplicitQuantileNetwork,
  'full_rainbow': networks.ClassicControlFullRainbowNetwork,
}


def jax_class(name):
  """`JaxRainbowAgent` of 'rainbow': only JAX can import it."""
  module = importlib.import_module(f'dopamine.jax.agents.{name}.{name}_agent')
  return getattr(module, f'Jax{ALGORITHMS[name].__name__}')


def make_agent(cls, **kwargs):
  """An agent for `small.Chain`, of either kind."""
  name = cls.__module__.rpartition('.')[2].removesuffix('_agent')
  settings = dict(
    num_actions=2,
    observation_shape=(small.Chain.length,),
    observation_dtype=np.float64,
    stack_size=1,
    network=functools.partial(NETWORKS[name], hidden_units=16),
    seed=1,
  )
  return cls(**(settings | kwargs))


def copy_weights(source, target):
  for name in ('online_convnet', 'target_convnet'):
    weights = getattr(source, name).get_weights()
    getattr(target, name).set_weights(weights)


def sample(agent, num_batches=1):
  """Batches of an agent that has seen 60 steps and learned from none."""
  assert agent.min_replay_history >= 1000
  small.run(agent, small.Chain(), 60)
  return agent._sample_batches(num_batches)


# Defaults ---------------------------------------------------------------------

# Of Dopamine 3.2.1's `JaxDQNAgent`; all four agents have these ...
COMMON = dict(
  observation_shape=(84, 84),
  observation_dtype=np.uint8,
  stack_size=4,
  gamma=0.99,
  update_horizon=1,
  min_replay_history=20000,
  update_period=4,
  target_update_period=8000,
  epsilon_fn=dqn_agent.linearly_decaying_epsilon,
  epsilon_train=0.01,
  epsilon_eval=0.001,
  epsilon_decay_period=250000,
  eval_mode=False,
  max_tf_checkpoints_to_keep=4,
  optimizer='adam',
  summary_writer=None,
  summary_writing_frequency=500,
  allow_partial_reload=False,
  _loss_type='huber',
  double_dqn=False,
)

# ... but for these.
DEFAULTS = {
  'rainbow': dict(
    network=networks.RainbowNetwork,
    _num_atoms=51,
    _support=pytest.approx(np.linspace(-10, 10, 51)),
    _replay_scheme='prioritized',
  ),
  'quantile': dict(
    network=networks.QuantileNetwork,
    _kappa=1.0,
    _num_atoms=200,
    _tau=pytest.approx((np.arange(200) + 0.5) / 200),
    min_replay_history=50000,
    target_update_period=10000,
    epsilon_train=0.1,
    epsilon_eval=0.05,
    epsilon_decay_period=1000000,
    _replay_scheme='prioritized',
  ),
  'implicit_quantile': dict(
    network=networks.ImplicitQuantileNetwork,
    kappa=1.0,
    num_tau_samples=32,
    num_tau_prime_samples=32,
    num_quantile_samples=32,
    quantile_embedding_dim=64,
    # 3.2.1 says 'prioritized' and ignores it.
    _replay_scheme='uniform',
  ),
  'full_rainbow': dict(
    network=networks.FullRainbowNetwork,
    _noisy=True,
    _dueling=True,
    double_dqn=True,
    _distributional=True,
    _num_updates_per_train_step=1,
    _num_atoms=51,
    _support=pytest.approx(np.linspace(-10, 10, 51)),
    epsilon_fn=dqn_agent.identity_epsilon,  # Because of the noise.
    _replay_scheme='prioritized',
  ),
}


@needs_jax
@pytest.mark.parametrize('name', ALGORITHMS)
def test_defaults_are_those_of_the_original(name):
  agent = jax_class(name)(num_actions=3)
  for attribute, expected in (COMMON | DEFAULTS[name]).items():
    assert getattr(agent, attribute) == expected, attribute
  assert agent.preprocess_fn('a state') == 'a state'
  assert type(agent.online_convnet) is DEFAULTS[name]['network']
  optimizer = inside.optimizer(agent)
  assert type(optimizer) is optimizers.Adam
  assert float(optimizer.learning_rate) == pytest.approx(6.25e-5)
  assert (optimizer.beta_1, optimizer.beta_2) == (0.9, 0.999)
  assert optimizer.epsilon == 1.5e-4
  assert agent.tf_device is None, "JAX's own choice"


@needs_jax
def test_without_noise_epsilon_decays():
  cls = jax_class('full_rainbow')
  agent = make_agent(cls, noisy=False)
  assert agent.epsilon_fn is dqn_agent.linearly_decaying_epsilon
  agent = make_agent(cls, epsilon_fn=dqn_agent.linearly_decaying_epsilon)
  assert agent.epsilon_fn is dqn_agent.identity_epsilon


@needs_jax
@pytest.mark.parametrize('name', ALGORITHMS)
def test_a_jax_agent_is_its_algorithm_with_what_all_jax_agents_have(name):
  from dopamine.jax.agents.dqn import dqn_agent as jax_dqn_agent

  cls = jax_class(name)
  expected = [cls, jax_dqn_agent.JaxDQNAgent, ALGORITHMS[name]]
  assert list(cls.__mro__[:3]) == expected
  of_dqn = [c for c in cls.__mro__ if issubclass(c, dqn_agent.DQNAgent)]
  assert of_dqn[-1] is dqn_agent.DQNAgent
  assert vars(cls).keys() & vars(ALGORITHMS[name]).keys() <= {
    '__doc__',
    '__init__',  # gin's.
    '__module__',
  }


@needs_jax
@pytest.mark.parametrize('name', ALGORITHMS)
def test_num_actions_is_the_first_argument(name):
  agent = jax_class(name)(
    3,
    observation_shape=(4,),
    stack_size=1,
    network=NETWORKS[name],
  )
  assert agent.num_actions == 3


# What JaxDQNAgent adds --------------------------------------------------------


@needs_jax
@pytest.mark.parametrize('name', ALGORITHMS)
def test_preprocess_fn_replaces_the_networks_own(name):
  """3.2.1 has two agents that never call it."""

  def preprocess(x):
    return 2.0 * x - 0.5

  cls = jax_class(name)
  length = small.Chain.length
  network = functools.partial(
    NETWORKS[name],
    hidden_units=16,
    min_vals=(-9.0,) * length,
    max_vals=(5.0,) * length,
  )
  agent = make_agent(cls, network=network, preprocess_fn=preprocess)
  plain = make_agent(cls)  # Without a range: it takes states as they are.
  copy_weights(agent, plain)
  assert agent.network is network

  draws = agent._acting_draws(1)
  state = np.random.default_rng(0).random((1, length, 1))
  found = inside.learner(agent).predict(state, *draws)
  expected = inside.learner(plain).predict(preprocess(state), *draws)
  assert_allclose(found, expected, atol=1e-5)
  assert not np.allclose(found, inside.learner(plain).predict(state, *draws))

  batches = sample(agent)
  update = inside.learner(agent).update(batches)
  expected = inside.learner(plain).update(
    batches._replace(
      state=preprocess(batches.state), next_state=preprocess(batches.next_state)
    )
  )
  assert_allclose(update.loss, expected.loss, rtol=1e-4, atol=1e-6)


@needs_jax
@pytest.mark.parametrize('name', ALGORITHMS)
def test_the_seed_decides_weights_actions_and_draws(name):
  def run(seed):
    agent = make_agent(
      jax_class(name),
      seed=seed,
      epsilon_fn=lambda *_: 1.0,
      **({'noisy': False} if name == 'full_rainbow' else {}),
    )
    returns = small.run(agent, small.Chain(), 60)
    draws = [
      inside.generator(agent).random(5),
      agent._sample_batches(1).indices,
    ]
    return returns, agent.online_convnet.get_weights() + draws

  (returns, arrays), same, others = run(5), run(5), run(6)
  assert returns == same[0] != others[0]
  for a, b, c in zip(arrays, same[1], others[1], strict=True):
    assert_array_equal(a, b)
    assert not a.any() or (a != c).mean() > 0.5


@needs_jax
def test_agents_without_a_seed_differ():
  agents = [make_agent(jax_class('rainbow'), seed=None) for _ in range(2)]
  assert agents[0].seed != agents[1].seed
  first, second = (a.online_convnet.get_weights()[0] for a in agents)
  assert (first != second).any()


@needs_jax
def test_full_rainbow_without_a_distribution_has_a_choice_of_loss():
  cls = jax_class('full_rainbow')
  huber, mse = (
    make_agent(cls, loss_type=kind, distributional=False, num_atoms=2)
    for kind in ('huber', 'mse')
  )
  copy_weights(huber, mse)
  batches = sample(huber)
  rewards = np.linspace(-3, 3, 8, dtype=np.float32)[None]
  batches = batches._replace(reward=rewards)
  linear = np.asarray(inside.learner(huber).update(batches).loss)
  size = np.sqrt(np.asarray(inside.learner(mse).update(batches).loss))  # |u|
  assert 0 < (size > 1).sum() < 8, 'both branches of the Huber loss'
  expected = np.where(size <= 1, 0.5 * size**2, size - 0.5)
  assert_allclose(linear, expected, rtol=1e-4)


@needs_jax
@pytest.mark.parametrize('name', ALGORITHMS)
def test_an_unknown_loss_is_refused(name):
  with pytest.raises(ValueError, match="loss_type='l1'.*'huber' or 'mse'"):
    make_agent(jax_class(name), loss_type='l1')


# TensorBoard ------------------------------------------------------------------

TAGS = [
  ('rainbow', {}, 'CrossEntropyLoss'),
  ('quantile', {}, 'QuantileLoss'),
  ('implicit_quantile', {}, 'QuantileLoss'),
  ('full_rainbow', {}, 'CrossEntropyLoss'),
  ('full_rainbow', {'distributional': False}, 'HuberLoss'),
]


def logged(cls, settings):
  """What an agent logs at step 7 of updates with the objectives 1 and 2."""
  recorder = agents.Recorder()
  agent = make_agent(cls, summary_writer=recorder, **settings)
  agent.training_steps = 7
  agent._write_summaries(
    learners.Update(
      loss=None,
      objective=np.array([1.0, 2.0]),
      priorities=None,
      extras={},
      figures={},
    )
  )
  return recorder.scalars


@needs_jax
@pytest.mark.parametrize('name,settings,tag', TAGS)
def test_jax_agents_log_their_loss_without_a_prefix(name, settings, tag):
  assert logged(jax_class(name), settings) == [(tag, 2.0, 7)]


@pytest.mark.parametrize('name,settings,tag', TAGS)
def test_the_other_agents_log_it_with_a_prefix(name, settings, tag):
  assert logged(ALGORITHMS[name], settings) == [(f'Losses/{tag}', 2.0, 7)]


def test_agents_of_both_losses_do_not_share_a_tag():
  make_agent(ALGORITHMS['full_rainbow'], distributional=False)
  assert make_agent(ALGORITHMS['full_rainbow'])._loss_name == 'CrossEntropyLoss'
