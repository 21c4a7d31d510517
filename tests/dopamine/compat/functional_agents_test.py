"""JAX agents in the functional style train, are killed, and resume exactly."""

import functools
import importlib
import pickle
import random

import keras
import numpy as np
from numpy.testing import assert_array_equal
import pytest

from dopamine import networks as twins
from dopamine.compat import adapters
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from dopamine.files import safe_pickle
from dopamine.replay_memory import prioritized_replay_buffer
from tests.support import inside
from tests.support import runs
from tests.support import small

if keras.config.backend() != 'jax':
  pytest.skip('of the JAX backend', allow_module_level=True)

import flax  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import optax  # noqa: E402

from dopamine.compat.functional import agents  # noqa: E402
from dopamine.jax import networks  # noqa: E402
from dopamine.jax.agents.dqn import dqn_agent  # noqa: E402
from dopamine.jax.agents.rainbow import rainbow_agent  # noqa: E402
from tests.support import functional_code  # noqa: E402
from tests.support import research_code  # noqa: E402

pytestmark = [pytest.mark.usefixtures('small_replay'), pytest.mark.xla]

SETTINGS = dict(
  observation_shape=(4,),
  observation_dtype=np.float32,
  stack_size=1,
  min_replay_history=30,
  update_period=3,
  target_update_period=40,
  epsilon_decay_period=100,
)


CLASSIC = networks.ClassicControlDQNNetwork
NETWORKS = {
  'CallingAgent': CLASSIC,
  'QuantileAgent': research_code.FlaxQuantileNetwork,
  'ImplicitQuantileAgent': research_code.FlaxIQNNetwork,
  'RainbowAgent': networks.ClassicControlRainbowNetwork,
  'FullRainbowAgent': functional_code.SmallFullRainbowNetwork,
}


class Killed(BaseException):
  pass


class Dying(run_experiment.Runner):
  """A Runner that is killed before a step."""

  dies_at, steps = None, 0

  def _run_one_step(self, action):
    self.steps += 1
    if self.steps == self.dies_at:
      raise Killed
    return super()._run_one_step(action)


def make_runner(base_dir, cls, dies_at=None, runner_class=Dying, **kwargs):
  def create_agent(sess, environment, summary_writer=None):
    return cls(2, summary_writer=summary_writer, **(SETTINGS | kwargs))

  runner = runner_class(
    str(base_dir),
    create_agent,
    functools.partial(gym_lib.create_gym_environment, 'CartPole'),
    num_iterations=2,
    training_steps=100,
    evaluation_steps=20,
    max_steps_per_episode=35,
    seed=4,
  )
  runner.dies_at = dies_at
  return runner


@pytest.mark.parametrize('name', functional_code.AGENTS)
def test_an_agent_trains_is_killed_and_resumes(tmp_path, name):
  cls = functional_code.AGENTS[name]
  if name in NETWORKS:
    cls = functools.partial(cls, network=NETWORKS[name])
  if name == 'ReloadingAgent':
    cls = functools.partial(cls, path=tmp_path / 'pretrained')
    params = play(make(functional_code.ResettingAgent)).online_params
    bundle = {'online_params': flax.core.freeze(params)}
    (tmp_path / 'pretrained').write_bytes(pickle.dumps(bundle))
  straight = make_runner(tmp_path / 'straight', cls)
  fresh = jax.tree_util.tree_map(np.array, inside.agent(straight).online_params)
  if name == 'ReloadingAgent':
    assert_same(fresh, jax.tree_util.tree_map(np.asarray, params))
  straight.run_experiment()
  agent = inside.agent(straight)
  assert isinstance(agent, functional_code.AGENTS[name])
  assert agent.training_steps >= 200
  moved = jax.tree_util.tree_map(
    lambda a, b: float(np.abs(a - b).max()), fresh, agent.online_params
  )
  assert min(jax.tree_util.tree_leaves(moved)) > 0
  with pytest.raises(Killed):
    make_runner(tmp_path / 'killed', cls, dies_at=170).run_experiment()
  resumed = make_runner(tmp_path / 'killed', cls)
  assert inside.start_iteration(resumed) == 1
  resumed.run_experiment()
  runs.assert_equal(runs.figures(resumed), runs.figures(straight))
  if name == 'PairAgent':
    critics = [inside.agent(runner).critic for runner in (resumed, straight)]
    assert critics[0].num_resets > 3
    assert_same(critics[0].online_params, critics[1].online_params)
    assert_same(critics[0].optimizer_state, critics[1].optimizer_state)


def test_an_agent_is_stopped_in_the_middle_of_an_episode(tmp_path):
  class Stopping(Dying):
    saves_mid_episode = True

    def _run_one_step(self, action):
      if self.steps + 1 == self.dies_at:
        self.steps += 1
        self.request_stop()
        return run_experiment.Runner._run_one_step(self, action)
      return super()._run_one_step(action)

  cls = functional_code.WorldModelAgent
  straight = make_runner(tmp_path / 'straight', cls)
  straight.run_experiment()
  with pytest.raises(run_experiment.Stopped) as stopped:
    make_runner(tmp_path / 'run', cls, 57, Stopping).run_experiment()
  assert stopped.value.is_saved
  resumed = make_runner(tmp_path / 'run', cls)
  resumed.run_experiment()
  runs.assert_equal(runs.figures(resumed), runs.figures(straight))


# Without a Runner -------------------------------------------------------------


def make(cls, **kwargs):
  return cls(2, **(SETTINGS | {'seed': 4} | kwargs))


def play(agent, num_steps=60, length=9):
  """Episodes of random observations; every third is cut by a time limit."""
  rng = np.random.default_rng(0)
  for i in range(num_steps):
    if i % length == 0:
      if i:
        agent.end_episode(1.0, (i // length) % 3 != 2)
      agent.begin_episode(rng.normal(size=4).astype(np.float32))
    agent.step(1.0, rng.normal(size=4).astype(np.float32))
  return agent


def leaves(tree):
  return [np.asarray(leaf) for leaf in jax.tree_util.tree_leaves(tree)]


def assert_same(a, b):
  assert jax.tree_util.tree_structure(a) == jax.tree_util.tree_structure(b)
  for x, y in zip(leaves(a), leaves(b), strict=True):
    assert_array_equal(x, y)
    assert x.dtype == y.dtype


@pytest.mark.parametrize('name', ['AuxiliaryAgent', 'WorldModelAgent'])
def test_what_a_bundle_holds_is_taken_as_it_is(tmp_path, name):
  cls = functional_code.AGENTS[name]
  agent = play(make(cls))
  bundle = agent.bundle_and_checkpoint(str(tmp_path), 3)
  assert bundle['online_params'] is agent.online_params
  assert bundle['target_params'] is agent.target_network_params
  assert bundle['optimizer_state'] is agent.optimizer_state
  assert bundle['training_steps'] == agent.training_steps
  assert bundle['state'].shape == (4, 1)
  other = make(cls, seed=5)
  assert other.unbundle(str(tmp_path), 3, bundle)
  for tree in 'online_params', 'target_network_params', 'optimizer_state':
    assert_same(getattr(other, tree), getattr(agent, tree))
  assert_array_equal(other._rng, agent._rng)
  assert other.training_steps == agent.training_steps


def test_what_a_runner_saves_is_plain_and_has_each_tree_once(tmp_path):
  agent = make(functional_code.WorldModelAgent)
  agent.remember_settings()
  play(agent)
  door = adapters.agent(agent)
  assert isinstance(door, functional_code.WorldModelAgent)
  bundle = door.bundle_and_checkpoint(str(tmp_path), 0)
  assert safe_pickle.is_plain(bundle)
  assert len(safe_pickle.dumps(bundle)) < 6000
  other = make(functional_code.WorldModelAgent, seed=5)
  assert adapters.agent(other).unbundle(str(tmp_path), 0, bundle)
  for name, tree in agent.saved_trees().items():
    assert_same(getattr(other, name), tree)
  names = 'predictor_params', 'predictor_state', '_rng', 'online_params'
  others = 'target_network_params', 'optimizer_state'
  assert {*agent.saved_trees()} == {*names, *others}


def test_what_makes_its_bundle_itself_has_a_file_of_weights_too(tmp_path):
  agent = play(make(functional_code.OwnBundleAgent))
  bundle = adapters.agent(agent).bundle_and_checkpoint(str(tmp_path), 3)
  assert safe_pickle.is_plain(bundle)
  other = make(functional_code.OwnBundleAgent, seed=5)
  other.load_weights(tmp_path / 'weights_ckpt.3.npz')
  assert_same(other.online_params, agent.online_params)
  (tmp_path / 'ckpt.3').write_bytes(safe_pickle.dumps(bundle))
  with pytest.raises(ValueError, match='has its weights in weights_ckpt.N'):
    other.load_weights(tmp_path / 'ckpt.3')


def test_parents_may_be_called_by_their_names():
  class Agent(rainbow_agent.JaxRainbowAgent):
    def __init__(self, num_actions, **kwargs):
      self.double_dqn = False
      self.order = []
      rainbow_agent.JaxRainbowAgent.__init__(
        self,
        num_actions,
        network=networks.ClassicControlRainbowNetwork,
        **kwargs,
      )

    def _build_networks_and_optimizer(self):
      rainbow_agent.JaxRainbowAgent._build_networks_and_optimizer(self)

    def _build_replay_buffer(self):
      return rainbow_agent.JaxRainbowAgent._build_replay_buffer(self)

    def _sample_from_replay_buffer(self):
      self.order.append('sample')
      super(rainbow_agent.JaxRainbowAgent, self)._sample_from_replay_buffer()

    def _training_step_update(self):
      self.order.append('update')
      rainbow_agent.JaxRainbowAgent._training_step_update(self)

  agent = make(Agent)
  fresh = agent.online_params
  play(agent)
  assert agent.order[:4] == ['update', 'sample'] * 2
  assert leaves(fresh)[0].tobytes() != leaves(agent.online_params)[0].tobytes()


@pytest.mark.parametrize('kind', ['numpy', 'bfloat16', 'infinite', 'beside'])
def test_trees_of_every_kind_come_back(tmp_path, kind):
  class Agent(functional_code.ResettingAgent):
    def __init__(self, num_actions, **kwargs):
      super().__init__(num_actions, **kwargs)
      numpy = jax.tree_util.tree_map(np.asarray, self.online_params)
      if kind == 'numpy':  # As of a pickle.
        self.online_params = self.target_network_params = numpy
        self.optimizer_state = jax.device_get(self.optimizer_state)
      elif kind == 'bfloat16':
        self.small = jnp.arange(4, dtype=jnp.bfloat16) / 3
      elif kind == 'infinite':
        self.low = jnp.full(3, jnp.inf)
      else:
        self.best = {'tag': 'best', 'params': self.online_params, 'return': 0.5}

  agent = make(Agent)
  agent.remember_settings()
  play(agent)
  if kind == 'bfloat16':
    agent.small = agent.small + 1
  elif kind == 'beside':
    agent.best = {**agent.best, 'params': agent.online_params, 'return': 2}
  bundle = adapters.agent(agent).bundle_and_checkpoint(str(tmp_path), 0)
  assert safe_pickle.is_plain(bundle)
  other = make(Agent, seed=5)
  assert adapters.agent(other).unbundle(str(tmp_path), 0, bundle)
  for name in vars(agent).keys() & {
    *('online_params', 'target_network_params', 'optimizer_state', 'small'),
    'low',
  }:
    assert_same(getattr(other, name), getattr(agent, name))
  if kind == 'beside':
    assert_same(other.best['params'], agent.best['params'])
    assert other.best['tag'] == 'best' and other.best['return'] == 2
    assert type(other.best['return']) is int


def test_a_schedule_of_the_learning_rate():
  agent = make(functional_code.ResettingAgent)
  agent.optimizer = dqn_agent.create_optimizer(
    'adam', learning_rate=optax.linear_schedule(1e-2, 1e-3, 20)
  )
  agent.optimizer_state = agent.optimizer.init(agent.online_params)
  figures = play(agent).live_figures()
  assert figures['Learning/Loss'] > 0
  assert 'Learning/LearningRate' not in figures


def test_functions_that_a_program_replaces_are_called(monkeypatch):
  seen = []

  def target_q(target_network, next_states, rewards, terminals, gamma):
    seen.append(next_states.shape)
    return jnp.zeros(len(rewards))

  monkeypatch.setattr(dqn_agent, 'target_q', target_q, raising=False)
  play(make(functional_code.ResettingAgent, update_horizon=7))
  assert seen == [(8, 4, 1)]  # While it is compiled.


def test_a_memory_that_is_made_anew():
  agent = play(make(functional_code.ResettingAgent))
  agent._replay = agent._build_replay_buffer()
  assert agent._replay.add_count == 0
  play(agent)
  assert agent._replay.add_count > 50


def test_the_loss_is_that_of_its_time():
  agent = make(functional_code.ResettingAgent)
  assert agent._loss_type == 'mse'
  assert make(functional_code.HookAgent)._loss_type == 'huber'
  assert make(functional_code.ResettingAgent, loss_type='huber')._loss_type == (
    'huber'
  )


def test_overrides_of_two_parents_come_before_ours():
  class Syncs(dqn_agent.JaxDQNAgent):
    syncs = 0

    def _sync_weights(self):
      self.syncs += 1

  class Agent(functional_code.ResettingAgent, Syncs):
    pass

  agent = play(make(Agent, target_update_period=5))
  assert agent.syncs > 3 and isinstance(agent, Syncs)
  names = [cls.__name__ for cls in Agent.__mro__]
  assert names.index('FunctionalDQNAgent') > names.index('Syncs')


def test_a_tree_that_nothing_could_make_again_is_refused(tmp_path):
  class Agent(functional_code.ResettingAgent):
    def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
      bundle = super().bundle_and_checkpoint(checkpoint_dir, iteration_number)
      bundle['moments'] = optax.adam(0.1).init({'x': jnp.zeros(3)})
      return bundle

  door = adapters.agent(make(Agent))
  with pytest.raises(safe_pickle.RefusedError, match='ScaleByAdamState'):
    door.bundle_and_checkpoint(str(tmp_path), 0)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (dict(units=8), r'online_params/0 has shape \(8,\) here, \(16,\) in the'),
    (dict(optimizer='sgd'), 'optimizer_state has 0 arrays here, 9 in the chec'),
  ],
)
def test_another_network_or_optimizer_is_named(tmp_path, change, message):
  class Agent(functional_code.ResettingAgent):
    def __init__(self, num_actions, units=16, **kwargs):
      super().__init__(num_actions, **kwargs)
      self.network_def = functional_code.Encoder(2, units)
      self._build_networks_and_optimizer()

  agent = adapters.agent(make(Agent))
  bundle = agent.bundle_and_checkpoint(str(tmp_path), 0)
  with pytest.raises(ValueError, match=message):
    adapters.agent(make(Agent, **change)).unbundle(str(tmp_path), 0, bundle)


def test_a_tree_that_grew_is_as_it_was(tmp_path):
  class Agent(functional_code.ResettingAgent):
    def __init__(self, num_actions, **kwargs):
      super().__init__(num_actions, **kwargs)
      self.counts = jnp.zeros(2)
      self.seen = [jnp.zeros(1)]

    def _training_step_update(self):
      super()._training_step_update()
      self.counts = jnp.concatenate([self.counts, jnp.ones(1)])
      self.seen.append(self.counts[-1:])

  agent = make(Agent)
  agent.remember_settings()
  play(agent)
  bundle = adapters.agent(agent).bundle_and_checkpoint(str(tmp_path), 0)
  other = make(Agent, seed=5)
  assert adapters.agent(other).unbundle(str(tmp_path), 0, bundle)
  assert_same(other.counts, agent.counts)
  assert_same(other.seen, agent.seen)
  third = make(Agent, seed=6)
  third.load_weights(tmp_path / 'weights_ckpt.0.npz')
  assert_same(third.online_params, agent.online_params)


def test_generators_of_every_kind_go_on(tmp_path):
  class Agent(functional_code.ResettingAgent):
    def __init__(self, num_actions, **kwargs):
      super().__init__(num_actions, **kwargs)
      self._numpy = np.random.RandomState(1)
      self._python = random.Random(1)

  agent = make(Agent)
  agent.remember_settings()
  agent._numpy.normal(size=3), agent._python.gauss(0, 1)
  bundle = adapters.agent(agent).bundle_and_checkpoint(str(tmp_path), 0)
  assert safe_pickle.is_plain(bundle)
  other = make(Agent, seed=5)
  assert adapters.agent(other).unbundle(str(tmp_path), 0, bundle)
  assert other._numpy.normal() == agent._numpy.normal()
  assert other._python.gauss(0, 1) == agent._python.gauss(0, 1)


def test_two_agents_in_one_resume_each_as_it_was(tmp_path):
  straight = make_runner(tmp_path / 'straight', functional_code.Duet)
  straight.run_experiment()
  with pytest.raises(Killed):
    make_runner(
      tmp_path / 'killed', functional_code.Duet, dies_at=170
    ).run_experiment()
  resumed = make_runner(tmp_path / 'killed', functional_code.Duet)
  assert inside.start_iteration(resumed) == 1
  resumed.run_experiment()
  for name in 'actor', 'other':
    found, expected = (
      getattr(inside.agent(runner), name) for runner in (resumed, straight)
    )
    assert found.saved_trees().keys() == expected.saved_trees().keys()
    for key, tree in expected.saved_trees().items():
      assert_same(found.saved_trees()[key], tree)
    assert str(found._generator.bit_generator.state) == str(
      expected._generator.bit_generator.state
    )


def test_two_agents_on_two_memories_are_refused(tmp_path):
  """Their files have the same names."""

  class Agent(functional_code.Duet):
    def __init__(self, num_actions, **kwargs):
      super().__init__(num_actions, **kwargs)
      self.other = functional_code.ResettingAgent(num_actions, **kwargs)

  with pytest.raises(TypeError, match='two replay memories, write replay_ckpt'):
    make_runner(tmp_path, Agent).run_experiment()


def test_parameters_of_an_old_pickle_become_what_is_there():
  agent = make(functional_code.ResettingAgent)
  agent.online_params = flax.core.freeze(agent.online_params)
  agent.target_network_params = flax.core.freeze(agent.target_network_params)
  assert type(agent.online_params) is dict
  assert type(agent.target_network_params) is dict
  play(agent)


def test_what_later_became_a_tree_is_saved_too(tmp_path):
  class Agent(functional_code.ResettingAgent):
    def step(self, reward, observation):
      self.last_action = jnp.asarray(super().step(reward, observation))
      self.history = {'seen': [self.last_action], 'none': None}
      return int(self.last_action)

  agent = make(Agent)
  agent.remember_settings()
  play(agent)
  bundle = adapters.agent(agent).bundle_and_checkpoint(str(tmp_path), 0)
  other = make(Agent, seed=5)
  assert adapters.agent(other).unbundle(str(tmp_path), 0, bundle)
  assert_same(other.last_action, agent.last_action)
  assert_same(other.history, agent.history)


def test_a_key_that_is_set_before_all_else(tmp_path):
  seen = {}

  class Agent(functional_code.AuxiliaryAgent):
    def _build_networks_and_optimizer(self):
      seen['key'] = self._rng
      super()._build_networks_and_optimizer()

  agent = make(Agent, seed=11)
  assert_array_equal(seen['key'], jax.random.PRNGKey(11))
  expected, key = jax.random.split(jax.random.PRNGKey(11))
  assert_array_equal(agent._rng, expected)
  params = agent.network_def.init(key, x=np.zeros((4, 1)))
  assert_same(agent.online_params, params)
  # Typed keys too.
  agent._rng = jax.random.key(7)
  bundle = adapters.agent(agent).bundle_and_checkpoint(str(tmp_path), 0)
  other = make(Agent, seed=12)
  other._rng = jax.random.key(8)
  assert adapters.agent(other).unbundle(str(tmp_path), 0, bundle)
  assert jax.random.uniform(other._rng) == jax.random.uniform(agent._rng)


@pytest.mark.parametrize('is_plain_sgd', [False, True])
def test_optimizers_of_every_kind_come_back(tmp_path, is_plain_sgd):
  """Their states are named tuples in each other, which no file holds."""

  class Agent(functional_code.ResettingAgent):
    def _build_networks_and_optimizer(self):
      super()._build_networks_and_optimizer()
      schedule = optax.warmup_cosine_decay_schedule(0.0, 1e-2, 5, 50)
      self.optimizer = optax.chain(
        optax.masked(
          optax.adamw(schedule),
          lambda params: jax.tree_util.tree_map(lambda p: p.ndim > 1, params),
        ),
        optax.inject_hyperparams(optax.rmsprop)(learning_rate=schedule),
        optax.MultiSteps(optax.sgd(0.1, momentum=0.9), 2),
        dqn_agent.create_optimizer('adam'),
      )
      if is_plain_sgd:  # Whose state has no arrays at all.
        self.optimizer = optax.sgd(0.1)
      self.optimizer_state = self.optimizer.init(self.online_params)

  agent = play(make(Agent))
  bundle = adapters.agent(agent).bundle_and_checkpoint(str(tmp_path), 0)
  other = make(Agent, seed=5)
  assert adapters.agent(other).unbundle(str(tmp_path), 0, bundle)
  assert_same(other.optimizer_state, agent.optimizer_state)
  for one in agent, other:
    one._training_step_update()
  assert_same(other.online_params, agent.online_params)


def test_a_checkpoint_of_the_original_is_taken(tmp_path):
  """Of 3.3 to 4.0: pickled trees, whose classes are not made."""
  agent = play(make(functional_code.ResettingAgent))
  agent._replay.save(str(tmp_path), 7)
  bundle = {
    'state': agent.state,
    'training_steps': 60,
    'online_params': flax.core.freeze(agent.online_params),
    'optimizer_state': agent.optimizer_state,
    'target_params': flax.core.freeze(agent.target_network_params),
  }
  path = tmp_path / 'ckpt.7'
  path.write_bytes(pickle.dumps(bundle))
  read = safe_pickle.loads(path.read_bytes())
  other = make(functional_code.ResettingAgent, seed=5)
  assert adapters.agent(other).unbundle(str(tmp_path), 7, read)
  for tree in 'online_params', 'target_network_params', 'optimizer_state':
    assert_same(getattr(other, tree), getattr(agent, tree))
  third = make(functional_code.ResettingAgent, seed=6)
  third.load_weights(path)
  assert_same(third.online_params, agent.online_params)
  with pytest.raises(TypeError, match='no online_params to act by'):
    third.online_params = None
    third.predict_q_values(np.zeros((1, 4, 1)))


def test_weights_alone_are_loaded_to_act_with(tmp_path):
  agent = play(make(functional_code.AuxiliaryAgent))
  agent.bundle_and_checkpoint(str(tmp_path), 0)
  other = make(functional_code.AuxiliaryAgent, seed=5)
  before = other.optimizer_state
  other.load_weights(tmp_path / 'weights_ckpt.0.npz')
  assert_same(other.online_params, agent.online_params)
  assert_same(other.optimizer_state, before)


def test_attributes_that_are_set_before_all_else_stay():
  agent = make(functional_code.PrioritizedDoubleAgent)
  assert agent._replay_scheme == 'prioritized' and agent._double_dqn
  kind = prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer
  assert isinstance(agent._replay, kind)
  play(agent)
  priorities = agent._replay.get_priority(np.arange(9, dtype=np.int32))
  assert len(np.unique(priorities)) > 3
  assert agent._replay._store['action'] is agent._replay.memory._store['action']


def test_states_have_no_axis_of_a_batch():
  agent = make(functional_code.ResettingAgent, stack_size=2)
  agent.begin_episode(np.ones(4, np.float32))
  first = agent.state
  agent.step(0.0, np.full(4, 2, np.float32))
  assert agent.state.shape == (4, 2) and first is not agent.state
  assert_array_equal(agent.state, [[1, 2]] * 4)
  assert_array_equal(first, [[0, 1]] * 4)
  found = agent.predict_q_values(agent.state[None])
  expected = agent.network_def.apply(agent.online_params, agent.state).q_values
  np.testing.assert_allclose(found[0], expected, rtol=1e-5)
  assert agent.state_after(np.ones(4, np.float32)).shape == (1, 4, 2)
  assert_array_equal(
    agent.online_convnet(agent.state[None]).q_values[0], expected
  )


def test_updates_and_copies_come_at_their_steps():
  class Agent(functional_code.ResettingAgent):
    def __init__(self, num_actions, **kwargs):
      super().__init__(num_actions, reset_period=10**6, **kwargs)
      self.updates, self.copies = [], []

    def _training_step_update(self):
      super()._training_step_update()
      self.updates.append(self.training_steps)

    def _sync_weights(self):
      super()._sync_weights()
      self.copies.append(self.training_steps)

  agent = make(Agent, update_period=3, target_update_period=12)
  fresh = agent.target_network_params
  play(agent, 70)
  first = agent.updates[0]
  assert 30 <= first < 36
  assert agent.updates == list(range(first, agent.training_steps, 3))
  assert agent.copies == [n for n in agent.updates if n % 12 == 0]
  assert agent.target_network_params is not fresh
  assert_array_equal(
    leaves(agent.target_network_params)[0].shape, leaves(fresh)[0].shape
  )
  assert (
    np.abs(leaves(agent.target_network_params)[1] - leaves(fresh)[1]).max() > 0
  )


def test_setting_parameters_changes_how_it_acts_and_what_it_is_aimed_at():
  agent = make(functional_code.OfOurNetworkAgent)
  doubled = jax.tree_util.tree_map(lambda x: 2 * x, agent.online_params)
  state = np.ones((1, 4, 1), np.float32)
  before = agent.predict_q_values(state)
  agent.online_params = doubled
  assert np.abs(agent.predict_q_values(state) - before).max() > 1e-3
  assert agent.target_network_params is not agent.online_params
  agent._sync_weights()
  assert agent.target_network_params is agent.online_params


def test_an_evaluation_leaves_an_agent_as_it_was():
  agent = play(make(functional_code.CallingAgent, network=CLASSIC))
  key, params = agent._rng, agent.online_params
  actions = []
  for _ in range(2):
    with agent.set_aside(3):
      agent.begin_episode(np.ones(4, np.float32))
      actions.append([int(agent.step(0, np.ones(4))) for _ in range(40)])
  assert actions[0] == actions[1]
  assert agent._rng is key and agent.online_params is params
  assert not agent.eval_mode


@pytest.mark.parametrize('update_horizon', [1, 3])
def test_no_target_is_bootstrapped_from_a_cut(update_horizon):
  """It would be discounted by gamma^n, whatever the steps are."""
  agent = make(functional_code.ResettingAgent, update_horizon=update_horizon)
  agent.min_replay_history = 10**6  # Nothing is drawn yet.
  play(agent, 54)
  agent.end_episode(1.0)
  # Of six episodes two were cut, which is no end of the task.
  assert agent._replay._store['terminal'].sum() == 4
  for _ in range(20):
    agent._sample_from_replay_buffer()
    batch = agent.replay_elements
    full = sum(0.99**i for i in range(update_horizon))
    is_whole = np.isclose(batch['reward'], full)
    assert (is_whole | (batch['terminal'] == 1)).all()


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
  agent = make(functional_code.ResettingAgent)
  agent.online_params = jax.tree_util.tree_map(
    lambda x: x * np.nan, agent.online_params
  )
  with pytest.raises(FloatingPointError, match='online_params/0'):
    agent.bundle_and_checkpoint(str(tmp_path), 0)
  assert not list(tmp_path.iterdir())


def test_what_training_is_like_is_told(tmp_path):
  agent = play(make(functional_code.ResettingAgent))
  figures = agent.live_figures()
  assert figures['Learning/Loss'] > 0
  assert figures['Learning/LearningRate'] == pytest.approx(6.25e-5)
  assert agent.identity() == {
    'network': 'Encoder',
    'optimizer': 'Adam',
    'replay_scheme': 'uniform',
  }
  agent = play(make(functional_code.WorldModelAgent))
  agent.optimizer = optax.sgd(0.1)
  assert 'Learning/LearningRate' not in agent.live_figures()


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    (dict(double_dqn=True), 'ResettingAgent.double_dqn = True.*train'),
    (dict(replay_scheme='prioritized'), "replay_scheme = 'prioritized'.*train"),
    (dict(optimizer=lambda: None), 'no init and update of Optax'),
    (dict(tf_device='/cpu:0'), 'tf_device = ./cpu:0.*train'),
    (dict(network=keras.layers.Dense), 'network=Dense is of Keras.*Flax'),
  ],
)
def test_settings_that_would_be_left_out_are_refused(settings, message):
  class Agent(dqn_agent.JaxDQNAgent):
    def __init__(self, num_actions, network=functional_code.Encoder, **kwargs):
      super().__init__(num_actions, network=network, **kwargs)

    def _sample_from_replay_buffer(self):
      super()._sample_from_replay_buffer()

  with pytest.raises(ValueError, match=message.replace('ResettingAgent', '')):
    make(Agent, **settings)


@pytest.mark.parametrize(
  ('name', 'settings', 'message'),
  [
    ('RainbowAgent', dict(double_dqn=True), 'double_dqn = True'),
    ('QuantileAgent', dict(double_dqn=True), 'double_dqn = True'),
    (
      'ImplicitQuantileAgent',
      dict(replay_scheme='prioritized'),
      "replay_scheme = 'prioritized'",
    ),
  ],
)
def test_what_a_train_knows_nothing_of_is_refused(name, settings, message):
  class Agent(functional_code.AGENTS[name]):
    def _training_step_update(self):
      super()._training_step_update()

  with pytest.raises(ValueError, match=message):
    make(Agent, network=NETWORKS[name], **settings)


def test_a_discount_of_its_own_is_kept(tmp_path):
  class Agent(functional_code.ResettingAgent):
    def _training_step_update(self):
      self.cumulative_gamma = self.cumulative_gamma**2
      super()._training_step_update()

  agent = make(Agent, update_horizon=2)
  assert agent.cumulative_gamma == 0.99**2
  agent.remember_settings()
  play(agent)
  bundle = adapters.agent(agent).bundle_and_checkpoint(str(tmp_path), 0)
  other = make(Agent, update_horizon=2)
  assert adapters.agent(other).unbundle(str(tmp_path), 0, bundle)
  assert other.cumulative_gamma == agent.cumulative_gamma < 0.99**4


def test_the_keras_twin_stands_for_the_flax_network():
  agent = make(
    functional_code.CallingAgent, network=twins.ClassicControlDQNNetwork
  )
  assert type(agent.network_def) is CLASSIC


# Agents of hooks --------------------------------------------------------------


AGENTS_OF_HOOKS = {
  'dqn': ('JaxDQNAgent', dict(network=CLASSIC)),
  'rainbow': (
    'JaxRainbowAgent',
    dict(network=networks.ClassicControlRainbowNetwork, num_atoms=5),
  ),
}


@pytest.mark.parametrize('name', AGENTS_OF_HOOKS)
def test_parameters_of_an_agent_of_hooks_can_be_set(name):
  cls, settings = AGENTS_OF_HOOKS[name]
  cls = getattr(
    importlib.import_module(f'dopamine.jax.agents.{name}.{name}_agent'), cls
  )
  agent, other = make(cls, **settings), make(cls, seed=5, **settings)
  assert not hasattr(agent, 'network_def')
  state = np.ones((1, 4, 1), np.float32)
  before = agent.predict_q_values(state)
  agent.online_params = other.online_params
  agent.target_network_params = other.online_params
  assert_array_equal(
    agent.predict_q_values(state), other.predict_q_values(state)
  )
  assert np.abs(agent.predict_q_values(state) - before).max() > 1e-4
  assert_same(agent.target_network_params, other.online_params)
  for ours, theirs in zip(
    agent.target_convnet.weights, other.online_convnet.weights, strict=True
  ):
    assert_array_equal(ours.value, theirs.value)
  layers = {'layers_0', 'layers_1', 'final_layer'}
  assert layers == set(agent.online_params['params'])


def test_parameters_of_a_foreign_flax_network_can_be_set():
  agent = research_code.flax_agent('dqn', seed=1)
  other = research_code.flax_agent('dqn', seed=2)
  agent.online_params = other.online_params
  assert_same(agent.online_params, other.online_params)
  with pytest.raises(ValueError, match='FlaxDQNNetwork'):
    agent.online_params = {'params': {}}


def test_parameters_of_a_keras_network_are_a_list():
  agent = make(dqn_agent.JaxDQNAgent, network=small.Perceptron)
  other = make(dqn_agent.JaxDQNAgent, network=small.Perceptron, seed=5)
  agent.online_params = other.online_params
  for ours, theirs in zip(
    agent.online_params, other.online_params, strict=True
  ):
    assert_array_equal(ours, theirs)


def test_an_argument_of_dopamine_4_is_refused():
  with pytest.raises(ValueError, match='collector_allowlist is of Dopamine 4'):
    make(dqn_agent.JaxDQNAgent, collector_allowlist='tensorboard')


def test_our_own_agents_are_of_hooks():
  for base, cls in agents._BASES.items():
    assert 'network_def' not in vars(base) and issubclass(cls, base)

  class Agent(dqn_agent.JaxDQNAgent):
    def _loss(self, batch):
      return super()._loss(batch)

  assert Agent.__bases__ == (dqn_agent.JaxDQNAgent,)
