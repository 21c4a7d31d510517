"""What a subclass overrides is what happens, as it was in Dopamine 3.2.1."""

import collections

import keras
import numpy as np
from numpy.testing import assert_allclose
import pytest

from dopamine import networks
from dopamine.agents.dqn import dqn_agent
from dopamine.agents.full_rainbow import full_rainbow_agent
from dopamine.agents.implicit_quantile import implicit_quantile_agent
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import prioritized_replay_buffer
from tests.support import agents
from tests.support import inside
from tests.support import small

pytestmark = pytest.mark.xla

OBSERVATION = np.ones(4)


def play(agent, steps, terminal):
  """An episode whose observations are 0, 1, 2, ... and whose rewards are 1."""
  agent.begin_episode(0 * OBSERVATION)
  for t in range(1, steps):
    agent.step(1.0, t * OBSERVATION)
  agent.end_episode(1.0, terminal, observation=steps * OBSERVATION)


def test_the_last_observation_passes_through_record_observation():
  class Scaled(agents.SmallReplayAgent):
    def _record_observation(self, observation):
      super()._record_observation(100 * observation)

  agent = agents.make_agent(Scaled)
  play(agent, 3, terminal=False)
  stored = inside.arrays(inside.memory(agent))['observation'][:4, 0]
  assert_allclose(stored, [0, 100, 200, 300])


def test_store_transition_hears_of_every_end():
  heard = []

  class Listener(agents.SmallReplayAgent):
    def _store_transition(self, o, a, r, terminal, *args, **kwargs):
      heard.append((terminal, kwargs.get('episode_end', False)))
      super()._store_transition(o, a, r, terminal, *args, **kwargs)

  agent = agents.make_agent(Listener)
  play(agent, 2, terminal=True)
  play(agent, 2, terminal=False)
  assert heard == [(False, False), (True, True), (False, False), (False, True)]
  # The time-out's last transition is sampled, and bootstraps.
  memory = inside.memory(agent)
  assert memory.add_count == 5
  play(agent, 3, terminal=True)
  assert [memory.is_valid_transition(i) for i in range(5)] == [
    *(True, True, True, True),
    False,
  ]
  assert_allclose(memory.discounts([0, 1, 2, 3]), [0.9, 0, 0.9, 0.9])


def test_the_agents_discount_counts_where_the_memory_was_not_told():
  class Forgetful(dqn_agent.DQNAgent):
    def _build_replay_buffer(self, use_staging):
      return circular_replay_buffer.WrappedReplayBuffer(
        observation_shape=self.observation_shape,
        stack_size=self.stack_size,
        replay_capacity=100,
        batch_size=4,
        observation_dtype=self.observation_dtype,
      )

  agent = agents.make_agent(Forgetful, gamma=0.5)
  play(agent, 9, terminal=False)
  assert_allclose(agent._sample_batches(1).discount, 0.5)


@pytest.mark.parametrize('scheme', ['uniform', 'prioritized'])
@pytest.mark.parametrize('where', ['wrapper', 'memory'])
def test_add_may_have_its_old_signature(where, scheme):
  """`add(self, observation, action, reward, terminal, *args)`."""
  seen = []
  kind = {'uniform': circular_replay_buffer}.get(
    scheme, prioritized_replay_buffer
  )
  prefix = 'Prioritized' if scheme == 'prioritized' else ''
  memory_class = getattr(kind, f'OutOfGraph{prefix}ReplayBuffer')
  wrapper_class = getattr(kind, f'Wrapped{prefix}ReplayBuffer')

  class Memory(memory_class):
    def add(self, observation, action, reward, terminal, *args):
      seen.append(args)
      super().add(observation, action, reward, terminal, *args)

  class Wrapper(wrapper_class):
    def add(self, observation, action, reward, terminal, *args):
      seen.append(args)
      super().add(observation, action, reward, terminal, *args)

    def _build_memory(self, **kwargs):
      return memory_class(**kwargs)

  class Agent(dqn_agent.DQNAgent):
    def _build_replay_buffer(self, use_staging):
      settings = dict(
        observation_shape=self.observation_shape,
        stack_size=self.stack_size,
        replay_capacity=100,
        batch_size=4,
        observation_dtype=np.float64,
      )
      if where == 'wrapper':
        return Wrapper(**settings)
      return wrapper_class(**settings, wrapped_memory=Memory(**settings))

  agent = agents.make_agent(Agent, replay_scheme=scheme)
  play(agent, 3, terminal=True)
  play(agent, 3, terminal=False)
  play(agent, 3, terminal=True)
  assert set(seen) == {(1.0,) if scheme == 'prioritized' else ()}
  memory = inside.memory(agent)
  # Slot 5 is the end of the time-out, whose last observation is not known.
  assert [memory.is_valid_transition(i) for i in range(8)] == [
    *(True, True, True),
    *(True, True, False),
    *(True, True),
  ]


def test_an_agent_that_makes_its_networks_needs_no_network():
  class Own(agents.SmallReplayAgent):
    def _create_network(self, name):
      return small.Perceptron(self.num_actions, name=name)

  agents.make_agent(Own, network=None)
  with pytest.raises(ValueError, match='SmallReplayAgent.network = None'):
    agents.make_agent(network=None)


def test_one_more_network_is_trained_saved_and_restored(tmp_path):
  class Encoded(agents.SmallReplayAgent):
    def _build_networks(self):
      super()._build_networks()
      self.encoder = keras.layers.Dense(4)
      self.encoder(keras.ops.convert_to_tensor(self.state[:, :, 0]))

    def _online(self, batch):
      codes = self.encoder(batch.state[:, :, 0])
      return self.online_convnet(codes[:, :, None])

    def _trainable(self):
      return super()._trainable() + self.encoder.trainable_variables

  agent = agents.make_agent(Encoded)
  play(agent, 9, terminal=True)
  before = agent.encoder.get_weights()
  agent._update(1, 1)
  after = agent.encoder.get_weights()
  assert not any(np.array_equal(*w) for w in zip(before, after, strict=True))
  bundle = agent.bundle_and_checkpoint(str(tmp_path), 0)
  again = agents.make_agent(Encoded, seed=99)
  assert again.unbundle(str(tmp_path), 0, bundle)
  for ours, saved in zip(again.encoder.get_weights(), after, strict=True):
    np.testing.assert_array_equal(ours, saved)


def test_networks_that_are_none_or_one_are_refused():
  one = small.Perceptron(3)
  for network, words in (
    (lambda *args, name: None, 'made None, which is no keras.Model'),
    (lambda *args, name: one, 'the same model twice'),
  ):
    with pytest.raises(ValueError, match=words):
      agents.make_agent(network=network)


def test_iqn_asks_its_next_action_hook():
  class Fixed(implicit_quantile_agent.ImplicitQuantileAgent):
    def _next_action(self, batch, next_q):
      return keras.ops.zeros_like(keras.ops.argmax(next_q, axis=-1))

  targets = []
  for cls in (Fixed, implicit_quantile_agent.ImplicitQuantileAgent):
    agent = cls(
      num_actions=3,
      observation_shape=(4,),
      observation_dtype=np.float32,
      stack_size=1,
      network=networks.ClassicControlImplicitQuantileNetwork,
      seed=1,
    )
    state = np.random.default_rng(0).standard_normal((8, 4, 1), np.float32)
    batch = collections.namedtuple(
      'Batch',
      'reward discount next_state target_quantiles action_quantiles',
    )(
      np.zeros(8, np.float32),
      np.ones(8, np.float32),
      state,
      np.full((8, 2), 0.5, np.float32),
      np.full((8, 2), 0.5, np.float32),
    )
    y = agent._build_target_quantile_values_op(batch)
    targets.append(keras.ops.convert_to_numpy(y)[:, 0])
    values, _ = agent._quantiles(
      agent.target_convnet, state, batch.target_quantiles
    )
    q = keras.ops.convert_to_numpy(values)[:, :, 0]
  assert_allclose(targets[0], q[:, 0], rtol=1e-5)
  assert_allclose(targets[1], q.max(axis=1), rtol=1e-5)
  assert not np.allclose(*targets)


def test_noise_that_the_network_does_not_take_is_refused():
  with pytest.raises(ValueError, match='noisy = True.*num_noise'):
    full_rainbow_agent.FullRainbowAgent(
      num_actions=3,
      observation_shape=(4,),
      observation_dtype=np.float32,
      stack_size=1,
      network=lambda *args, noisy, dueling, distributional, name: (
        networks.ClassicControlRainbowNetwork(*args, name=name)
      ),
    )


def test_a_period_that_nobody_divides_by_may_be_0():
  agents.make_agent(
    epsilon_fn=dqn_agent.identity_epsilon, epsilon_decay_period=0
  )
  with pytest.raises(ValueError, match='epsilon_decay_period = 0'):
    agents.make_agent(epsilon_decay_period=0)


def test_the_old_hook_of_an_update_is_refused():
  class Old(agents.SmallReplayAgent):
    def _training_step_update(self):
      pass

  with pytest.raises(TypeError, match='_update'):
    agents.make_agent(Old)


@pytest.mark.skipif(
  keras.config.backend() != 'tensorflow', reason='about TensorFlow and XLA'
)
def test_a_network_that_xla_cannot_compile_acts_all_the_same():
  import tensorflow as tf

  class Printing(small.Perceptron):
    def call(self, state):
      x = tf.numpy_function(lambda x: x, [state], state.dtype)
      return super().call(tf.ensure_shape(x, state.shape))

  plain = agents.make_agent()
  agent = agents.make_agent(network=Printing)
  state = np.arange(4.0).reshape(agent.state.shape)
  assert_allclose(
    inside.learner(agent).predict(state),
    inside.learner(plain).predict(state),
    rtol=1e-6,
  )


def test_the_prioritised_memory_takes_the_arguments_of_the_uniform_one():
  memory = prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer(
    *((4,), 2, 50, 4, 3, 0.9, 10)
  )
  assert memory._update_horizon == 3 and memory._gamma == 0.9
  assert memory._max_sample_attempts == 10
