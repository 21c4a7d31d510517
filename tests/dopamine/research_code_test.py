"""Code written for Dopamine 3.2.1 runs two iterations, and goes on.

The classes below are as users have them: TensorFlow 1 names, sessions that are
handed on, signatures of their time. What cannot work is in `old_code_test`.
"""

import functools
import pathlib
import pickle
import random

from flax import linen as nn
import gin
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from dopamine.agents.dqn import dqn_agent
from dopamine.agents.implicit_quantile import implicit_quantile_agent
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from dopamine.replay_memory import circular_replay_buffer
from dopamine.utils import test_utils
from tests.support import inside
from tests.support import research_code
from tests.support import small

tf = pytest.importorskip('tensorflow')  # Old code makes its optimizers.
IS_JAX = keras.config.backend() == 'jax'
only_jax = pytest.mark.skipif(not IS_JAX, reason='of the JAX backend')
only_tf = pytest.mark.skipif(IS_JAX, reason='of the TensorFlow backend')
pytestmark = [pytest.mark.usefixtures('small_replay'), pytest.mark.xla]


def run(base_dir, create_agent, num_iterations, runner=run_experiment.Runner):
  """Runs to the end; returns the agent and the logs."""
  settings = dict(
    num_iterations=num_iterations,
    training_steps=60,
    evaluation_steps=20,
    max_steps_per_episode=30,
  )
  for name, value in settings.items():
    gin.bind_parameter(f'Runner.{name}', value)
  runner = runner(
    str(base_dir),
    create_agent,
    functools.partial(gym_lib.create_gym_environment, 'CartPole'),
  )
  start = inside.start_iteration(runner)
  steps = getattr(inside.agent(runner), 'training_steps', None)
  runner.run_experiment()
  path = base_dir / f'logs/log_{num_iterations - 1}'
  return inside.agent(runner), start, steps, pickle.loads(path.read_bytes())


def run_and_resume(base_dir, create_agent, **kwargs):
  """Two iterations, and a third in a second process's stead."""
  first, start, _, _ = run(base_dir, create_agent, 2, **kwargs)
  assert start == 0
  second, start, steps, logs = run(base_dir, create_agent, 3, **kwargs)
  assert start == 2
  assert sorted(logs) == [f'iteration_{i}' for i in range(3)]
  assert steps == getattr(first, 'training_steps', None)
  return first, second


# A Keras model of one's own ---------------------------------------------------


class TFNetwork(tf.keras.Model):
  def __init__(self, num_actions, name=None):
    super().__init__(name=name)
    self.num_actions = num_actions
    activation_fn = tf.keras.activations.relu
    self.flatten = tf.keras.layers.Flatten()
    self.dense1 = tf.keras.layers.Dense(
      32, activation=activation_fn, name='fully_connected'
    )
    self.dense2 = tf.keras.layers.Dense(num_actions, name='fully_connected')

  def call(self, state):
    x = tf.cast(state, tf.float32)
    x = self.flatten(x)
    x = self.dense1(x)
    return atari_lib.DQNNetworkType(self.dense2(x))


class OwnNetworkAgent(dqn_agent.DQNAgent):
  def __init__(self, sess, num_actions, summary_writer=None):
    super().__init__(
      sess,
      num_actions,
      summary_writer=summary_writer,
      optimizer=tf.compat.v1.train.AdamOptimizer(learning_rate=0.001),
      **research_code.CARTPOLE,
    )

  def _create_network(self, name):
    network = TFNetwork if not IS_JAX else small.Perceptron50
    return network(self.num_actions, name=name)


def create_own_network_agent(sess, environment, summary_writer=None):
  return OwnNetworkAgent(
    sess,
    num_actions=environment.action_space.n,
    summary_writer=summary_writer,
  )


def test_a_keras_model_in_create_network(tmp_path):
  first, second = run_and_resume(tmp_path, create_own_network_agent)
  assert second.training_steps > first.training_steps >= 120
  optimizer = inside.learner(second).optimizer
  assert type(optimizer) is keras.optimizers.Adam
  assert float(optimizer.learning_rate) == pytest.approx(0.001)


# Agents that do not learn -----------------------------------------------------


class RandomDQNAgent(dqn_agent.DQNAgent):
  def __init__(self, sess, num_actions):
    """This maintains all the DQN Agent default values."""
    super().__init__(sess, num_actions, **research_code.CARTPOLE)

  def step(self, reward, observation):
    """Calls the step function of the parent class, but returns a random action."""  # noqa: E501
    _ = super().step(reward, observation)
    return np.random.randint(self.num_actions)


def create_random_dqn_agent(sess, environment, summary_writer=None):
  """The Runner class will expect a function of this type to create an agent."""
  return RandomDQNAgent(sess, num_actions=environment.action_space.n)


def test_a_random_step_on_top_of_dqn(tmp_path):
  gin.parse_config('DQNAgent.network = @gym_lib.CartpoleDQNNetwork')
  run_and_resume(tmp_path, create_random_dqn_agent)


class StickyAgent:
  """This agent randomly selects an action and sticks to it."""

  def __init__(self, sess, num_actions, switch_prob=0.1):
    self._sess = sess
    self._num_actions = num_actions
    self._switch_prob = switch_prob
    self._last_action = np.random.randint(num_actions)
    self.eval_mode = False

  def _choose_action(self):
    if np.random.random() <= self._switch_prob:
      self._last_action = np.random.randint(self._num_actions)
    return self._last_action

  def bundle_and_checkpoint(self, unused_checkpoint_dir, unused_iteration):
    return {'last_action': self._last_action}

  def unbundle(
    self, unused_checkpoint_dir, unused_checkpoint_version, unused_data
  ):
    self._last_action = unused_data['last_action']
    return True

  def begin_episode(self, unused_observation):
    return self._choose_action()

  def end_episode(self, unused_reward):
    pass

  def step(self, reward, observation):
    return self._choose_action()


def create_sticky_agent(sess, environment, summary_writer=None):
  return StickyAgent(sess, num_actions=environment.action_space.n)


@pytest.mark.parametrize(
  'runner', [run_experiment.Runner, run_experiment.TrainRunner]
)
def test_an_agent_from_scratch(tmp_path, runner):
  run_and_resume(tmp_path, create_sticky_agent, runner=runner)


def test_an_agent_that_is_never_checkpointed(tmp_path):
  """As in the colab: a second start begins anew."""

  class Forgetful(StickyAgent):
    def bundle_and_checkpoint(self, unused_checkpoint_dir, unused_iteration):
      pass

    def unbundle(
      self, unused_checkpoint_dir, unused_checkpoint_version, unused_data
    ):
      pass

  def create(sess, environment, summary_writer=None):
    return Forgetful(sess, num_actions=environment.action_space.n)

  for _ in range(2):
    _, start, _, logs = run(
      tmp_path, create, 2, runner=run_experiment.TrainRunner
    )
    assert start == 0 and len(logs) == 2


# Overrides --------------------------------------------------------------------


def test_store_transition_writes_an_extra_storage_type(tmp_path):
  def create(sess, environment, summary_writer=None):
    return research_code.ExtraStorageAgent(sess, environment.action_space.n)

  _, agent = run_and_resume(tmp_path, create)
  batch = inside.replay(agent).sample()
  assert batch.surprise.shape == (1, 8)
  np.testing.assert_array_equal(
    inside.arrays(inside.memory(agent))['surprise'],
    inside.arrays(inside.memory(agent))['reward'] / 2,
  )
  assert inside.arrays(inside.memory(agent))['observation'].dtype == np.float64


class EpsilonAgent(research_code.ExtraStorageAgent):
  """More exploration where the last rewards were few."""

  def _select_action(self):
    if not self.eval_mode and random.random() < 0.5:
      return random.randint(0, self.num_actions - 1)
    return super()._select_action()


def test_an_epsilon_override_in_select_action(tmp_path):
  def create(sess, environment, summary_writer=None):
    return EpsilonAgent(sess, environment.action_space.n)

  run_and_resume(tmp_path, create)


class IQNNetwork(tf.keras.Model):
  """As the one of 3.2.1, for vectors."""

  def __init__(self, num_actions, quantile_embedding_dim, name=None):
    super().__init__(name=name)
    self.num_actions = num_actions
    self.quantile_embedding_dim = quantile_embedding_dim
    self.flatten = tf.keras.layers.Flatten()
    self.hidden = tf.keras.layers.Dense(32, activation='relu')
    self.embed = tf.keras.layers.Dense(32, activation='relu')
    self.dense2 = tf.keras.layers.Dense(num_actions)

  def call(self, state, num_quantiles):
    if IS_JAX:
      key = jax.random.PRNGKey(0)
      draw, cast, ops = (
        lambda shape: jax.random.uniform(key, shape),
        lambda x: jnp.asarray(x, jnp.float32),
        jnp,
      )
    else:
      draw, cast, ops = (
        tf.random.uniform,
        lambda x: tf.cast(x, tf.float32),
        tf,
      )
    batch_size = state.shape[0]
    x = self.hidden(self.flatten(cast(state)))
    state_net_tiled = ops.tile(x, [num_quantiles, 1])
    quantiles = draw([num_quantiles * batch_size, 1])
    embedding = ops.tile(quantiles, [1, self.quantile_embedding_dim])
    pi = np.float32(np.pi)
    i = np.arange(1, self.quantile_embedding_dim + 1, dtype=np.float32)
    embedding = self.embed(ops.cos(i * pi * embedding))
    x = state_net_tiled * embedding
    return atari_lib.ImplicitQuantileNetworkType(self.dense2(x), quantiles)


class OldIQNAgent(implicit_quantile_agent.ImplicitQuantileAgent):
  def __init__(
    self,
    sess,
    num_actions,
    network=IQNNetwork,
    kappa=1.0,
    num_tau_samples=8,
    num_tau_prime_samples=8,
    num_quantile_samples=8,
    quantile_embedding_dim=16,
    double_dqn=False,
    optimizer=tf.compat.v1.train.AdamOptimizer(  # noqa: B008
      learning_rate=0.00005, epsilon=0.0003125
    ),
    summary_writer=None,
    summary_writing_frequency=500,
  ):
    super().__init__(
      sess=sess,
      num_actions=num_actions,
      network=network,
      kappa=kappa,
      num_tau_samples=num_tau_samples,
      num_tau_prime_samples=num_tau_prime_samples,
      num_quantile_samples=num_quantile_samples,
      quantile_embedding_dim=quantile_embedding_dim,
      double_dqn=double_dqn,
      optimizer=optimizer,
      summary_writer=summary_writer,
      summary_writing_frequency=summary_writing_frequency,
      **research_code.CARTPOLE,
    )


def test_iqn_with_an_old_network_and_a_v1_optimizer(tmp_path):
  def create(sess, environment, summary_writer=None):
    return OldIQNAgent(
      sess,
      num_actions=environment.action_space.n,
      summary_writer=summary_writer,
    )

  _, agent = run_and_resume(tmp_path, create)
  optimizer = inside.learner(agent).optimizer
  assert float(optimizer.learning_rate) == pytest.approx(0.00005)
  assert optimizer.epsilon == 0.0003125


class OldDQNAgent(dqn_agent.DQNAgent):
  """3.2.1's constructor, repeated, and arguments by position."""

  def __init__(
    self,
    sess,
    num_actions,
    observation_shape=gym_lib.CARTPOLE_OBSERVATION_SHAPE,
    observation_dtype=tf.float64,
    stack_size=1,
    network=gym_lib.CartpoleDQNNetwork,
    gamma=0.99,
    update_horizon=1,
    min_replay_history=20,
    update_period=4,
    target_update_period=40,
    epsilon_fn=dqn_agent.linearly_decaying_epsilon,
    epsilon_train=0.01,
    epsilon_eval=0.001,
    epsilon_decay_period=250,
    tf_device='/cpu:*',
    eval_mode=False,
    use_staging=True,
    max_tf_checkpoints_to_keep=4,
    optimizer=tf.compat.v1.train.RMSPropOptimizer(  # noqa: B008
      learning_rate=0.00025,
      decay=0.95,
      momentum=0.0,
      epsilon=0.00001,
      centered=True,
    ),
    summary_writer=None,
    summary_writing_frequency=500,
    allow_partial_reload=False,
  ):
    super().__init__(
      sess,
      num_actions,
      observation_shape,
      observation_dtype,
      stack_size,
      network,
      gamma,
      update_horizon,
      min_replay_history,
      update_period,
      target_update_period,
      epsilon_fn,
      epsilon_train,
      epsilon_eval,
      epsilon_decay_period,
      tf_device,
      eval_mode,
      use_staging,
      max_tf_checkpoints_to_keep,
      optimizer,
      summary_writer,
      summary_writing_frequency,
      allow_partial_reload,
    )
    self.ends = []

  def begin_episode(self, observation):
    self._reset_state()
    self._record_observation(observation)
    if not self.eval_mode:
      self._train_step()
    self.action = self._select_action()
    return self.action

  def end_episode(self, reward):
    self.ends.append(float(reward))
    if not self.eval_mode:
      self._store_transition(self._observation, self.action, reward, True)

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    bundle = super().bundle_and_checkpoint(checkpoint_dir, iteration_number)
    bundle['ends'] = list(self.ends)
    return bundle

  def unbundle(self, checkpoint_dir, iteration_number, bundle_dictionary):
    if not super().unbundle(
      checkpoint_dir, iteration_number, bundle_dictionary
    ):
      return False
    self.ends = bundle_dictionary['ends']
    return True


def test_a_constructor_and_verbs_of_the_time(tmp_path):
  def create(sess, environment, summary_writer=None):
    return OldDQNAgent(
      sess, environment.action_space.n, summary_writer=summary_writer
    )

  first, second = run_and_resume(tmp_path, create)
  assert len(first.ends) > 3
  assert second.ends[: len(first.ends)] == first.ends


class HooksRunner(run_experiment.Runner):
  """Overrides what the Runner of 3.2.1 let one override."""

  def __init__(self, base_dir, create_agent_fn, create_environment_fn):
    self.calls = []
    super().__init__(base_dir, create_agent_fn, create_environment_fn)

  def _initialize_episode(self):
    self.calls.append('initialize')
    return super()._initialize_episode()

  def _run_one_step(self, action):
    observation, reward, is_terminal = super()._run_one_step(action)
    return observation, 2.0 * reward, is_terminal

  def _end_episode(self, reward, terminal=True):
    self.calls.append('end')
    super()._end_episode(reward, terminal)

  def _run_train_phase(self, statistics):
    self.calls.append('train')
    return super()._run_train_phase(statistics)

  def _run_eval_phase(self, statistics):
    self.calls.append('eval')
    return super()._run_eval_phase(statistics)

  def _run_one_iteration(self, iteration):
    self.calls.append(iteration)
    return super()._run_one_iteration(iteration)


def test_a_runner_with_hooks(tmp_path):
  made = []

  def runner(*args):
    made.append(HooksRunner(*args))
    return made[-1]

  run_and_resume(tmp_path, create_sticky_agent, runner=runner)
  calls = made[0].calls
  assert [c for c in calls if isinstance(c, int)] == [0, 1]
  assert calls.count('train') == calls.count('eval') == 2
  assert calls.count('initialize') == calls.count('end') > 4
  assert [c for c in made[1].calls if isinstance(c, int)] == [2]
  logs = pickle.loads((tmp_path / 'logs/log_2').read_bytes())
  for statistics in logs.values():
    np.testing.assert_array_equal(
      statistics['train_episode_returns'],
      2.0 * np.array(statistics['train_episode_lengths']),
    )


# JAX --------------------------------------------------------------------------


@only_jax
@pytest.mark.parametrize('name', research_code.FLAX)
def test_a_jax_agent_with_a_flax_network(tmp_path, name):
  def create(sess, environment, summary_writer=None):
    return research_code.flax_agent(name, summary_writer=summary_writer)

  first, second = run_and_resume(tmp_path / 'run', create)
  assert second.training_steps > first.training_steps
  params = second.online_params['params']
  assert set(params['Dense_0']) == {'kernel', 'bias'}
  # They were trained, and what the agent says is what Flax says.
  fresh = research_code.flax_agent(name).online_params['params']['Dense_0'][
    'kernel'
  ]
  assert np.abs(params['Dense_0']['kernel'] - fresh).max() > 1e-6
  states = np.random.default_rng(0).normal(size=(3, 4, 1, 1))
  network = second.online_convnet
  extra = {'rainbow': (second.__dict__.get('_support'),)}.get(name, ())
  if name == 'implicit_quantile':
    outputs = network(states, num_quantiles=4)
    assert outputs.quantile_values.shape == (12, 2)
    tau = np.asarray(outputs.quantiles).reshape(4, 3)
    assert len(np.unique(tau)) == 12
    rows = np.asarray(outputs.quantile_values).reshape(4, 3, 2)
    i = np.arange(1, 9)
    dense = [params[f'Dense_{k}'] for k in range(3)]
    for n, b in ((0, 0), (3, 1), (2, 2)):
      x = np.maximum(
        states[b].ravel() @ dense[0]['kernel'] + dense[0]['bias'], 0
      )
      phi = np.cos(i * np.pi * tau[n, b])
      phi = np.maximum(phi @ dense[1]['kernel'] + dense[1]['bias'], 0)
      expected = (x * phi) @ dense[2]['kernel'] + dense[2]['bias']
      np.testing.assert_allclose(rows[n, b], expected, rtol=1e-4, atol=1e-5)
  else:
    module = research_code.FLAX[name][1](
      num_actions=2, **research_code.FLAX[name][2]
    )
    found = network(states).q_values
    for state, row in zip(states, found, strict=True):
      expected = module.apply({'params': params}, jnp.asarray(state), *extra)
      np.testing.assert_allclose(row, expected.q_values, rtol=1e-4, atol=1e-5)


@only_jax
def test_a_flax_network_with_other_collections_is_refused():
  class Normed(nn.Module):
    num_actions: int

    @nn.compact
    def __call__(self, x):
      x = nn.BatchNorm(use_running_average=True)(x.reshape(-1))
      return atari_lib.DQNNetworkType(nn.Dense(self.num_actions)(x))

  with pytest.raises(ValueError, match="Normed has .*batch_stats.*'params'"):
    research_code.flax_agent('dqn', network=Normed)


@only_jax
def test_an_override_that_splits_the_key(tmp_path):
  from dopamine.jax.agents.implicit_quantile import implicit_quantile_agent

  class Agent(implicit_quantile_agent.JaxImplicitQuantileAgent):
    def step(self, reward, observation):
      self.action = super().step(reward, observation)
      self._rng, key = jax.random.split(self._rng)
      if jax.random.uniform(key) < 0.5:
        self._rng, key = jax.random.split(self._rng)
        self.action = int(jax.random.randint(key, (), 0, self.num_actions))
      return self.action

  def create(sess, environment, summary_writer=None):
    return Agent(
      2, network=research_code.FlaxIQNNetwork, seed=4, **research_code.CARTPOLE
    )

  gin.bind_parameter('Runner.seed', 9)
  first, second = run_and_resume(tmp_path / 'resumed', create)
  whole, *_ = run(tmp_path / 'whole', create, 3)
  np.testing.assert_array_equal(whole._rng, second._rng)
  assert first._rng.shape == (2,) and first._rng.dtype == np.uint32
  assert not np.array_equal(first._rng, create(None, None)._rng)
  assert not np.array_equal(first._rng, second._rng)
  assert isinstance(first._generator, np.random.Generator)


@only_jax
def test_an_override_that_draws_from_numpy_keeps_the_generator():
  class Agent(type(research_code.flax_agent('dqn'))):
    def _select_action(self):
      return int(self._rng.integers(2))

  agent = Agent(
    2, network=research_code.FlaxDQNNetwork, **research_code.CARTPOLE
  )
  assert agent.begin_episode(np.zeros((4, 1))) in (0, 1)
  agent._rng = np.random.default_rng(3)
  assert agent._rng is agent._generator


@only_jax
def test_build_replay_buffer_without_arguments(tmp_path):
  from dopamine.jax.agents.dqn import dqn_agent as jax_dqn_agent

  class Agent(jax_dqn_agent.JaxDQNAgent):
    def _build_replay_buffer(self):
      return circular_replay_buffer.OutOfGraphReplayBuffer(
        observation_shape=self.observation_shape,
        stack_size=self.stack_size,
        update_horizon=self.update_horizon,
        gamma=self.gamma,
        observation_dtype=self.observation_dtype,
      )

  def create(sess, environment, summary_writer=None):
    return Agent(
      2, network=research_code.FlaxDQNNetwork, **research_code.CARTPOLE
    )

  run_and_resume(tmp_path, create)


# Tests of one's own -----------------------------------------------------------


@pytest.mark.parametrize('is_jax', [False, True])
def test_a_mock_of_the_replay_memory(is_jax):
  agent = OldDQNAgent(None, 2)
  agent._replay = test_utils.MockReplayBuffer(is_jax=is_jax)
  observations = np.arange(12.0).reshape(3, 4, 1)
  first = agent.begin_episode(observations[0])
  second = agent.step(1.0, observations[1])
  agent.end_episode(2.0)
  calls = inside.replay(agent).add.call_args_list
  assert len(calls) == 2
  for call, expected in zip(
    calls,
    [
      (observations[0], first, 1.0, False),
      (observations[1], second, 2.0, True),
    ],
    strict=True,
  ):
    np.testing.assert_array_equal(call[0][0], expected[0])
    assert call[0][1:4] == expected[1:]


@only_tf
def test_a_script_that_disabled_version_2(tmp_path):
  """In a process of its own: it is a switch of the whole process."""
  import subprocess
  import sys

  code = (
    'import tensorflow as tf\n'
    'tf.compat.v1.disable_v2_behavior()\n'
    'from dopamine.discrete_domains import run_experiment\n'
    'run_experiment.load_gin_configs('
    '["dopamine/agents/dqn/configs/dqn_cartpole.gin"], '
    '["Runner.num_iterations=1", "Runner.training_steps=600", '
    '"Runner.evaluation_steps=10", "Runner.max_steps_per_episode=50"])\n'
    f'runner = run_experiment.create_runner({str(tmp_path)!r})\n'
    'runner.run_experiment()\n'
    'print("steps", runner._agent.training_steps)\n'
  )
  result = subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    check=False,
    cwd=pathlib.Path(__file__).parents[2],
  )
  assert 'steps 6' in result.stdout, result.stderr[-2000:]
  assert result.stderr.count('is enabled again') == 1
