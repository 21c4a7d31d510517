"""What an old program counts on and there is no more is told when it starts.

The classes are in the style of research code for Dopamine 2 to 4.0. Each is
refused when an object of it is made, with all that is wrong, the line to write,
and its row of docs/migrating.md; none is that brings what it uses along.
"""

import functools
import pathlib
import random
import re
import sys

import gin
import gymnasium
import keras
import numpy as np
import pytest

from dopamine import networks
from dopamine.agents.dqn import dqn_agent
from dopamine.agents.implicit_quantile import implicit_quantile_agent
from dopamine.agents.rainbow import rainbow_agent
from dopamine.compat import gone
from dopamine.compat import old_code
from dopamine.compat import old_memories
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import checkpointer
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import legacy_networks
from dopamine.discrete_domains import logger
from dopamine.discrete_domains import run_experiment
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import prioritized_replay_buffer
from dopamine.settings import errors
from tests.support import research_code

pytestmark = pytest.mark.usefixtures('small_replay')

ROOT = pathlib.Path(__file__).parents[3]
IS_JAX = keras.config.backend() == 'jax'
only_jax = pytest.mark.skipif(not IS_JAX, reason='of the JAX backend')

CARTPOLE = dict(
  research_code.CARTPOLE, network=gym_lib.CartpoleDQNNetwork, seed=1
)
ReplayBuffer = circular_replay_buffer.OutOfGraphReplayBuffer
PrioritizedBuffer = prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer
WrappedBuffer = circular_replay_buffer.WrappedReplayBuffer
WrappedPrioritized = prioritized_replay_buffer.WrappedPrioritizedReplayBuffer


def make(cls, tmp_path=None):
  """Makes an object of whatever class of ours it is a subclass."""
  if issubclass(cls, dqn_agent.DQNAgent):
    return cls(num_actions=2, **CARTPOLE)
  if issubclass(cls, run_experiment.Runner):
    return cls(str(tmp_path), create_agent, create_environment)
  if issubclass(cls, ReplayBuffer):
    return cls((4, 1), 1, 20, 2)
  if issubclass(cls, WrappedBuffer):
    return cls((4, 1), 1, replay_capacity=20, batch_size=2)
  if issubclass(cls, networks.Network):
    return cls(2)
  if issubclass(cls, atari_lib.AtariPreprocessing):
    return cls(atari_lib.AleEnvironment('Pong', 0.0, 1))
  return cls(gymnasium.make('CartPole-v1'))


def create_agent(sess, environment, summary_writer=None):
  return dqn_agent.DQNAgent(sess, environment.action_space.n, **CARTPOLE)


def create_environment():
  return gym_lib.create_gym_environment('CartPole')


# The class -> the names that the error tells.
WAYS = {}


def way(*names):
  def add(cls):
    WAYS[cls] = names
    return cls

  return add


# Agents of sessions -----------------------------------------------------------


@way('_sess.run', '_q_argmax', 'state_ph')
class ActsInASession(dqn_agent.DQNAgent):
  def _select_action(self):
    epsilon = self.epsilon_eval if self.eval_mode else self.epsilon_train
    if random.random() <= epsilon:
      return random.randint(0, self.num_actions - 1)
    return self._sess.run(self._q_argmax, {self.state_ph: self.state})


@way('_sess.run', '_train_op', '_sync_qt_ops', '_merged_summaries')
class TrainsInASession(dqn_agent.DQNAgent):
  def _train_step(self):
    sess = self._sess
    if self._replay.memory.add_count > self.min_replay_history:
      if self.training_steps % self.update_period == 0:
        sess.run(self._train_op)
        if self.summary_writer is not None:
          self.summary_writer.add_summary(sess.run(self._merged_summaries))
      if self.training_steps % self.target_update_period == 0:
        sess.run(self._sync_qt_ops)
    self.training_steps += 1


@way('_build_train_op', '_replay_net_outputs', 'optimizer.minimize')
class MinimizesItself(dqn_agent.DQNAgent):
  def _build_train_op(self):
    q = self._replay_net_outputs.q_values
    return self.optimizer.minimize(keras.ops.mean(q))


@way('_build_target_q_op', '_replay_next_target_net_outputs', '_replay.rewards')
class TargetsOfTensors(dqn_agent.DQNAgent):
  def _build_target_q_op(self):
    best = keras.ops.max(self._replay_next_target_net_outputs.q_values, axis=1)
    return self._replay.rewards + self.cumulative_gamma * best


@way('_replay.rewards', '_replay.terminals')
class HalfRepaired(dqn_agent.DQNAgent):
  """Took the batch, and reads the memory: once, when it is compiled."""

  def _build_target_q_op(self, batch):
    best = keras.ops.max(self.target_convnet(batch.next_state).q_values, axis=1)
    return self._replay.rewards + self._discounts() * best

  def _discounts(self):
    return self.gamma * (1.0 - self._replay.terminals)


@way('_build_target_distribution')
class OldDistribution(rainbow_agent.RainbowAgent):
  def _build_target_distribution(self):
    return self._support


@way('_build_target_quantile_values_op', '_replay_net_target_q_values')
class OldQuantiles(implicit_quantile_agent.ImplicitQuantileAgent):
  def _build_target_quantile_values_op(self):
    return self._replay_net_target_q_values


@way('_net_outputs', 'state_ph')
class BuildsTensors(dqn_agent.DQNAgent):
  """Has all of the tensors itself but one."""

  def _build_networks(self):
    self.online_convnet = self._create_network(name='Online')
    outputs = self.online_convnet(self.state_ph)
    self._q_argmax = keras.ops.argmax(outputs.q_values, axis=1)[0]
    return self._net_outputs, self._q_argmax


@way('_build_sync_op')
class SyncsSlowly(dqn_agent.DQNAgent):
  def _build_sync_op(self):
    return [w.assign(w) for w in self.target_convnet.weights]


@way('_network_template', '_get_network_type')
class OfDopamine2(dqn_agent.DQNAgent):
  def _get_network_type(self):
    return atari_lib.DQNNetworkType

  def _network_template(self, state):
    return self.network(self.num_actions, self._get_network_type(), state)


@way('_saver', '_sess.graph')
class SavesItself(dqn_agent.DQNAgent):
  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    with self._sess.graph.as_default():
      self._saver.save(self._sess, checkpoint_dir, iteration_number)
    return {'training_steps': self.training_steps}


@way('_build_train_op')
class CallsSuper(dqn_agent.DQNAgent):
  def rebuild(self):
    self._train_op = super()._build_train_op()


@way('cumulative_gamma')
class SetsGamma(dqn_agent.DQNAgent):
  def begin_episode(self, observation):
    self.cumulative_gamma = self.gamma**2
    return super().begin_episode(observation)


@way('_store', '_episode_end_indices')
class LooksIntoTheMemory(dqn_agent.DQNAgent):
  def rewards(self):
    return self._replay._store['reward'], self._replay.memory.add_count

  def ends(self):
    memory = self._replay.memory
    return sorted(memory._episode_end_indices)


@way('private')
class HasAnUpdate(dqn_agent.DQNAgent):
  def __init__(self, **kwargs):
    super().__init__(**kwargs)
    self._update = functools.partial(print, 'updated')


@way('private', 'private')
class HasALearner(dqn_agent.DQNAgent):
  def begin_episode(self, observation):
    self._learner, self._generator = None, None
    return super().begin_episode(observation)


@way('unpack_transition')
class UnpacksTransitions(dqn_agent.DQNAgent):
  def transition(self, tensors):
    return self._replay.unpack_transition(tensors, 'state')


@way('_build_networks_and_optimizer', 'network_def')
class FunctionalOfTensorFlow(dqn_agent.DQNAgent):
  """Says so much of JAX, and derives from an agent of TensorFlow."""

  def _build_networks_and_optimizer(self):
    self.params = self.network_def.init(0, self.state)


@way('_training_step_update', '_sample_from_replay_buffer', 'replay_elements')
class UpdatesOfTensorFlow(dqn_agent.DQNAgent):
  def _training_step_update(self):
    self._sample_from_replay_buffer()
    return self.replay_elements['state']


@way('_rng')
class SplitsOfTensorFlow(dqn_agent.DQNAgent):
  def _select_action(self):
    self._rng, key = split(self._rng)
    return key


def split(key):
  return key, key


@way('set_collector_dispatcher', '_collector_dispatcher')
class Collects(dqn_agent.DQNAgent):
  def set_collector_dispatcher(self, collector_dispatcher):
    self.dispatcher = collector_dispatcher

  def step(self, reward, observation):
    self._collector_dispatcher.write([])
    return super().step(reward, observation)


# Replay memories --------------------------------------------------------------


@way('_create_storage')
class Stores(ReplayBuffer):
  def _create_storage(self):
    self.values = np.empty(self._replay_capacity)


@way('_add_zero_transition', '_check_add_types', '_check_args_length')
class Pads(ReplayBuffer):
  def _add_zero_transition(self):
    self._add(*self.zeros)

  def add(self, *args):
    self._check_add_types(*args)
    self._check_args_length(*args)
    self._add(*args)


@way('_add_transition')
class AddsTransitions(ReplayBuffer):
  def _add_transition(self, transition):
    transition['reward'] *= 2


@way('_create_batch_arrays')
class OwnBatches(ReplayBuffer):
  def _create_batch_arrays(self, batch_size):
    return super()._create_batch_arrays(2 * batch_size)


@way('get_observation_stack')
class Augments(ReplayBuffer):
  def get_observation_stack(self, index):
    return np.roll(super().get_observation_stack(index), 1, axis=0)


@way('_get_element_stack', '_episode_end_indices')
class Peeks(ReplayBuffer):
  def peek(self, index):
    return self._get_element_stack(index, 'reward'), self._episode_end_indices


@way('cursor', 'is_full')
class OtherCursor(ReplayBuffer):
  def cursor(self):
    return 0

  def is_full(self):
    return False


@way('get_priority', 'sum_tree._total_priority')
class OtherPriorities(PrioritizedBuffer):
  def get_priority(self, indices):
    return np.ones(len(indices), np.float32)

  def total(self):
    return self.sum_tree._total_priority()


@way(
  *('create_sampling_ops', '_set_up_staging', '_set_transition_shape'),
  'unpack_transition',
)
class OldWrapper(WrappedBuffer):
  def create_sampling_ops(self, use_staging):
    pass

  def _set_up_staging(self, transition):
    return transition

  def _set_transition_shape(self):
    pass

  def unpack_transition(self, transition_tensors, transition_type):
    return transition_tensors


@way('_episode_end_indices', '_store')
class WrapperOfPrivateParts(WrappedBuffer):
  def ends(self):
    return self.memory._episode_end_indices, self.memory._store

  def add(self, *args):
    self._store['reward'][0] = 1


@way('tf_set_priority', 'tf_get_priority')
class TensorPriorities(WrappedPrioritized):
  def tf_set_priority(self, indices, priorities):
    return super().tf_set_priority(indices, priorities**2)

  def tf_get_priority(self, indices):
    return super().tf_get_priority(indices) ** 2


@pytest.mark.parametrize('name', ['discount', 'return', '_aux', 'a b', 'fine'])
def test_elements_that_are_no_fields_are_refused(name):
  class Stores(dqn_agent.DQNAgent):
    def _build_replay_buffer(self, use_staging=False):
      element = circular_replay_buffer.ReplayElement(name, (), np.float32)
      return circular_replay_buffer.WrappedReplayBuffer(
        self.observation_shape, self.stack_size, extra_storage_types=[element]
      )

  if name == 'fine':
    Stores(num_actions=2, **CARTPOLE)
    return
  with pytest.raises(errors.InterfaceError, match=f'an element {name!r}'):
    Stores(num_actions=2, **CARTPOLE)
  assert_has_row('extra_storage_types')


# Runners ----------------------------------------------------------------------


@way('_sess.run')
class RunsASession(run_experiment.Runner):
  def _run_one_iteration(self, iteration):
    self._sess.run('init')


@way('run', 'network_def', '_store', '_q_argmax')
class LooksIntoTheAgent(run_experiment.Runner):
  def _run_one_step(self, action):
    agent = self._agent
    agent._sess.run(agent._q_argmax)
    return agent._replay._store, self._agent.network_def


@way('seed', 'get_action_meanings')
class SeedsTheEnvironment(run_experiment.Runner):
  def _initialize_episode(self):
    self._environment.environment.seed(3)
    return self._environment.environment.get_action_meanings()


@way('private')
class CountsItsState(run_experiment.Runner):
  def _run_one_step(self, action):
    self._state += 1
    return super()._run_one_step(action)


@way('_fine_grained_print_to_console', '_collector_dispatcher')
class RunnerOfDopamine4(run_experiment.Runner):
  def _save_tensorboard_summaries(self, iteration, *args):
    if self._fine_grained_print_to_console:
      self._collector_dispatcher.write([])


class CarefulCheckpointer(checkpointer.Checkpointer):
  def _save_data_to_file(self, data, filename):
    super()._save_data_to_file(data, filename)


@way('_save_data_to_file')
class RunnerWithACheckpointer(run_experiment.Runner):
  def _initialize_checkpointer_and_maybe_resume(self, checkpoint_file_prefix):
    super()._initialize_checkpointer_and_maybe_resume(checkpoint_file_prefix)
    self._checkpointer = CarefulCheckpointer(self._checkpoint_dir)


class CountingCheckpointer(checkpointer.Checkpointer):
  def save_checkpoint(self, iteration_number, data):
    super().save_checkpoint(iteration_number, data)


@way('save_checkpoint')
class RunnerWhoseCheckpointerIsNotAsked(run_experiment.Runner):
  def _initialize_checkpointer_and_maybe_resume(self, checkpoint_file_prefix):
    super()._initialize_checkpointer_and_maybe_resume(checkpoint_file_prefix)
    self._checkpointer = CountingCheckpointer(self._checkpoint_dir)


class OldLogger(logger.Logger):
  def _generate_filename(self, filename_prefix, iteration_number):
    return f'{filename_prefix}-{iteration_number}'


@way('_generate_filename')
class RunnerWithALogger(run_experiment.Runner):
  def _create_directories(self):
    super()._create_directories()
    self._logger = OldLogger(self._base_dir)


# Environments and networks ----------------------------------------------------


@way('_fetch_grayscale_observation')
class Colours(atari_lib.AtariPreprocessing):
  def _fetch_grayscale_observation(self, output):
    output.fill(7)
    return output


@way('_fetch_grayscale_observation')
class Fetches(atari_lib.AtariPreprocessing):
  def reset(self):
    self._fetch_grayscale_observation(self.screen_buffer[0])
    return self._pool_and_resize()


@way('unwrapped', 'get_action_meanings')
class NoOps(atari_lib.AtariPreprocessing):
  def reset(self):
    assert self.environment.get_action_meanings()[0] == 'NOOP'
    return self.environment.unwrapped.ale.getRAM()


@way('seed')
class SeedsGym(gym_lib.GymPreprocessing):
  def reset(self):
    self.environment.seed(3)
    return super().reset()


@way('kernel_initializer')
class WiderNetwork(networks.RainbowNetwork):
  def __init__(self, num_actions, num_atoms=5, support=None, name=None):
    super().__init__(num_actions, num_atoms, support or np.zeros(5), name=name)
    self.wide = keras.layers.Dense(
      1024, kernel_initializer=self.kernel_initializer
    )


@pytest.mark.parametrize('cls', WAYS, ids=lambda cls: cls.__name__)
def test_all_that_is_wrong_is_told_at_construction(cls, tmp_path):
  with pytest.raises(TypeError) as error:
    make(cls, tmp_path)
  assert_told(cls, error, *WAYS[cls])


def assert_told(cls, error, *names):
  message = str(error.value)
  rows = [part.split()[0] for part in message.split('the row of ')[1:]]
  assert set(rows) == set(names)
  assert message.count('docs/migrating.md') == len(names)
  for name in names:
    assert_has_row(name)
  if len(names) > 1:
    assert message.startswith(f'{cls.__name__} cannot work as it is:\n- ')


@functools.cache
def first_cells():
  text = (ROOT / 'docs/migrating.md').read_text()
  return [line.split('|')[1] for line in text.splitlines() if '|' in line]


def assert_has_row(name):
  assert any(f'{name}' in cell for cell in first_cells()), f'{name} has no row'


def test_there_are_enough_ways():
  assert len({name for names in WAYS.values() for name in names}) >= 40


# Every name -------------------------------------------------------------------

OURS = {
  'DQNAgent': dqn_agent.DQNAgent,
  'Runner': run_experiment.Runner,
  'Logger': logger.Logger,
  'Checkpointer': checkpointer.Checkpointer,
  'OutOfGraphReplayBuffer': ReplayBuffer,
  'OutOfGraphPrioritizedReplayBuffer': PrioritizedBuffer,
  'WrappedReplayBuffer': WrappedBuffer,
  'WrappedPrioritizedReplayBuffer': WrappedPrioritized,
  'AtariPreprocessing': atari_lib.AtariPreprocessing,
  'Network': networks.Network,
}
OVERRIDDEN = [
  (owner, name)
  for owner, table in gone.BY_CLASS.items()
  for name in table.overridden
]
USED = [
  (owner, name)
  for owner, table in gone.BY_CLASS.items()
  for name in table.used | table.overridden
  if not hasattr(OURS[owner], name) and name not in table.served
]


def found(cls):
  """What is said of a class, by the row."""
  return {finding.row: finding.text for finding in old_code._findings(cls)}


@pytest.mark.parametrize(('owner', 'name'), OVERRIDDEN)
def test_every_hook_that_nothing_calls_is_told(owner, name):
  def hook(self, *args):
    return args

  cls = type('Mine', (OURS[owner],), {name: hook, '__module__': __name__})
  assert f'Mine.{name} is a hook that nothing calls' in found(cls)[name]
  assert_has_row(name)
  # What calls it itself has it.
  calls = {}
  exec(f'def own(self): return self.{name}()', calls)
  cls = type('Calls', (cls,), {'own': calls['own'], '__module__': __name__})
  assert name not in found(cls)


@pytest.mark.parametrize(('owner', 'name'), USED)
def test_everything_that_there_is_no_more_is_told(owner, name):
  names = {}
  exec(f'def read(self): return self.{name}', names)
  members = {'read': names['read'], '__module__': __name__}
  cls = type('Mine', (OURS[owner],), members)
  assert f'Mine.read uses self.{name}, which is no more' in found(cls)[name]
  assert_has_row(name)
  # What defines it, sets it, or asks for it has it.
  root = name.partition('.')[0]
  exec(f'def write(self): self.{root} = 1', names)
  exec(f'def ask(self): return hasattr(self, {name!r})', names)
  others = [{root: None}, {'write': names['write']}]
  if root == name:
    others.append({'ask': names['ask']})
  for other in others:
    assert name not in found(type('Mine', (OURS[owner],), members | other))


@pytest.mark.parametrize('name', [*gone.OF_PARTNERS, *gone.TRACED])
def test_every_name_of_a_partner_has_its_row(name):
  assert_has_row(name)


def test_our_own_classes_are_not_looked_at():
  for cls in OURS.values():
    assert old_code._findings(cls) == ()


# What has it itself -----------------------------------------------------------


def agent_with(**members):
  members['__module__'] = __name__
  return type('Mine', (dqn_agent.DQNAgent,), members)


def reads(self):
  return self._saver, self.network_def


def stores(self):
  self._saver = self.network_def = None


class Base:
  """A parent that is no agent."""

  network_def = _saver = None


class Early(dqn_agent.DQNAgent):
  """Sets them by a helper, before the agent is made."""

  read = reads

  def __init__(self, **kwargs):
    fill(self)
    super().__init__(**kwargs)


def fill(agent):
  agent._saver, agent.network_def = 1, 2


class Loops(dqn_agent.DQNAgent):
  read = reads

  def _begin(self):
    for name in ('_saver', 'network_def'):
      setattr(self, name, None)
    super()._begin()


@gin.configurable(module='old_ways_test')
class GinMade(dqn_agent.DQNAgent):
  read = reads

  def __init__(self, network_def=3, **kwargs):
    self.network_def, self._saver = network_def, None
    super().__init__(**kwargs)


class WithBase(Base, dqn_agent.DQNAgent):
  read = reads


@pytest.mark.parametrize(
  'cls',
  [
    agent_with(read=reads, network_def=None, _saver=property(lambda self: 1)),
    agent_with(read=reads, store=stores),
    *(Early, Loops, GinMade, WithBase),
  ],
)
def test_what_brings_it_along_is_let_in(cls):
  agent = make(cls)
  assert agent.begin_episode(np.zeros((4, 1))) in (0, 1)
  getattr(agent, 'store', agent.read)()


class OwnMemory(ReplayBuffer):
  """Whose private parts its own methods have."""

  def _create_storage(self):
    self._episode_end_indices = set()

  def get_add_args_signature(self):
    self._create_storage()
    return super().get_add_args_signature()

  def sample_transition_batch(self, batch_size=None, indices=None):
    indices = self.sample_index_batch(batch_size)
    states = [self.get_observation_stack(i) for i in indices]
    return states, self._episode_end_indices

  def get_observation_stack(self, index):
    return super().get_observation_stack(index) + 1


class OwnCheckpoints(run_experiment.Runner):
  """Asks its own checkpointer."""

  def _initialize_checkpointer_and_maybe_resume(self, checkpoint_file_prefix):
    super()._initialize_checkpointer_and_maybe_resume(checkpoint_file_prefix)
    self._checkpointer = CountingCheckpointer(self._checkpoint_dir)

  def _checkpoint_experiment(self, iteration):
    self._checkpointer.save_checkpoint(iteration, {})


class LooksAtWhatIsThere(run_experiment.Runner):
  def _run_one_step(self, action):
    inner = self._environment.environment
    if hasattr(inner, 'seed'):
      self._environment.environment.seed(1)
    return inner.unwrapped, self._agent._replay.memory._store, inner.env


@pytest.mark.parametrize('cls', [OwnMemory, OwnCheckpoints, LooksAtWhatIsThere])
def test_partners_that_have_it_are_let_in(cls, tmp_path):
  make(cls, tmp_path)


def test_what_an_agent_makes_its_memory_of_is_looked_at():
  class Memory(WrappedBuffer):
    _store = property(lambda self: self.memory._store)

  class Agent(dqn_agent.DQNAgent):
    def _build_replay_buffer(self, use_staging):
      return Memory(self.observation_shape, self.stack_size)

    def rewards(self):
      return self._replay._store['reward']

  assert make(Agent).rewards().shape == (200,)


# Networks that are functions --------------------------------------------------


def own_network(num_actions, network_type, state):
  return network_type(keras.layers.Dense(num_actions)(state))


@pytest.mark.parametrize(
  ('cls', 'network'),
  [
    (dqn_agent.DQNAgent, own_network),
    (dqn_agent.DQNAgent, functools.partial(own_network)),
    (dqn_agent.DQNAgent, legacy_networks.cartpole_dqn_network),
    (dqn_agent.DQNAgent, atari_lib.nature_dqn_network),
    (rainbow_agent.RainbowAgent, atari_lib.rainbow_network),
  ],
)
def test_a_function_of_a_state_is_no_network(cls, network):
  with pytest.raises(errors.InterfaceError) as error:
    cls(num_actions=2, **CARTPOLE | {'network': network})
  assert 'network_type, state' in str(error.value)
  assert_told(cls, error, 'network_type')


def test_a_model_of_such_a_function_is_a_network():
  class Network(keras.Model):
    def __init__(self, num_actions, name=None):
      super().__init__(name=name)
      inputs = keras.Input((4, 1, 1))
      x = keras.layers.Flatten()(inputs)
      outputs = own_network(num_actions, atari_lib.DQNNetworkType, x)
      self.model = keras.Model(inputs, outputs.q_values)

    def call(self, state):
      return atari_lib.DQNNetworkType(self.model(state))

  agent = dqn_agent.DQNAgent(num_actions=2, **CARTPOLE | {'network': Network})
  assert agent.begin_episode(np.zeros((4, 1))) in (0, 1)


# Forks ------------------------------------------------------------------------

FORK = """
from dopamine.replay_memory import circular_replay_buffer

class Memory(circular_replay_buffer.OutOfGraphReplayBuffer):
  SETTINGS = {'gamma': None}  # Its own affair.

  def save(self, checkpoint_dir, iteration_number):
    self.saved = iteration_number

class Stores(Memory):
  def _create_storage(self):
    pass
"""


def test_a_module_in_our_folders_may_be_of_a_fork(tmp_path, monkeypatch):
  from dopamine import replay_memory

  (tmp_path / 'fork_of_memory.py').write_text(FORK)
  path = [*replay_memory.__path__, str(tmp_path)]
  monkeypatch.setattr(replay_memory, '__path__', path)
  from dopamine.replay_memory import fork_of_memory

  wrapped = WrappedBuffer((2,), 1, wrapped_memory=make(fork_of_memory.Memory))
  assert old_memories.has_own_saving(wrapped)
  with pytest.raises(errors.InterfaceError, match='_create_storage'):
    make(fork_of_memory.Stores)
  del sys.modules['dopamine.replay_memory.fork_of_memory']


def test_an_agent_in_our_folders_may_be_of_a_fork():
  class Agent(ActsInASession):
    __module__ = 'dopamine.agents.dqn.my_dqn_agent'

  with pytest.raises(errors.InterfaceError, match='Agent cannot work as it is'):
    make(Agent)

  class MakesItsOwn(dqn_agent.DQNAgent):
    def _create_network(self, name):
      return gym_lib.CartpoleDQNNetwork(2, name=name)

  # Without which a network would be asked for.
  MakesItsOwn._create_network.__module__ = 'dopamine.agents.dqn.my_dqn_agent'
  MakesItsOwn(num_actions=2, **CARTPOLE | {'network': None})


# Runners ----------------------------------------------------------------------


def test_hooks_with_fewer_arguments_are_refused():
  class Old(run_experiment.Runner):
    def _end_episode(self, reward):
      return reward

    def _run_one_step(self, *args):
      return super()._run_one_step(*args)

  texts = [f.text for f in old_code._findings(Old)]
  assert len(texts) == 1
  assert 'Old._end_episode(self, reward) is called with' in texts[0]
  assert_has_row('fewer arguments')

  class New(Old):
    def _end_episode(self, reward, terminal=True):
      return reward

  assert not old_code._findings(New)


# Functional agents ------------------------------------------------------------


@only_jax
def test_a_functional_agent_has_most_names_for_itself():
  from dopamine.jax import networks as flax_networks
  from dopamine.jax.agents.dqn import dqn_agent as jax_dqn_agent

  class Functional(jax_dqn_agent.JaxDQNAgent):
    def _training_step_update(self):
      self._sample_from_replay_buffer()
      self._loss, self._target, self._batch = 1.0, self.online_params, 2

  network = flax_networks.ClassicControlDQNNetwork
  Functional(num_actions=2, **CARTPOLE | {'network': network})

  class TakesUpdate(Functional):
    def begin_episode(self, observation):
      self._learner = None

  with pytest.raises(errors.InterfaceError, match='self._learner is something'):
    TakesUpdate(num_actions=2, **CARTPOLE | {'network': network})

  class TakesAMethod(Functional):
    def _due(self, task):
      return task

  with pytest.raises(errors.InterfaceError, match='self._due is something'):
    TakesAMethod(num_actions=2, **CARTPOLE | {'network': network})

  class HasHelpers(Functional):
    """Called by each other, whatever agents of hooks call them."""

    def _training_step_update(self):
      self._sample_from_replay_buffer()
      self.loss = self._loss(self.online_params)

    def _loss(self, params):
      return self._q_values(params) + self._build_target_net() + self._update()

    def _q_values(self, params):
      return 1.0

    def _build_target_net(self):
      return 2.0

    def _update(self):
      return 3.0

  HasHelpers(num_actions=2, **CARTPOLE | {'network': network})


@only_jax
def test_a_functional_agent_is_no_mixture():
  from dopamine.jax.agents.dqn import dqn_agent as jax_dqn_agent

  class Functional(jax_dqn_agent.JaxDQNAgent):
    def _training_step_update(self):
      self._sample_from_replay_buffer()
      self.optimizer_state = self._loss(self.network_def, self.replay_elements)

    def _loss(self, *args):  # A method of its own, which it calls.
      return args

  class Mixed(Functional):
    def _loss_weights(self, batch):
      return None

    def _build_target_q_op(self, batch):
      return batch.reward

  class Sessions(Functional):
    def begin_episode(self, observation):
      self.optimizer.target, self._sess.run(self.state_ph)

  assert found(Functional) == {}
  assert (
    '_build_target_q_op, _loss_weights' in found(Mixed)['_training_step_update']
  )
  assert set(found(Sessions)) == {'optimizer.target', '_sess.run', 'state_ph'}
  assert_has_row('_training_step_update')


# Repaired ---------------------------------------------------------------------


class Before(dqn_agent.DQNAgent):
  """Munchausen's bonus, and a slowly moving target, as for Dopamine 3."""

  def _build_target_q_op(self):
    next_q = keras.ops.max(self._replay_next_target_net_outputs.q_values, 1)
    return self._replay.rewards + self.bonus() + 0.9 * next_q

  def bonus(self):
    return 0.1 * self._replay_net_outputs.q_values[:, 0]

  def _build_sync_op(self):
    return [
      target.assign(0.9 * target + 0.1 * online)
      for target, online in zip(
        self.target_convnet.weights, self.online_convnet.weights, strict=True
      )
    ]

  def _select_action(self):
    self.acted = getattr(self, 'acted', 0) + 1
    return self._sess.run(self._q_argmax, {self.state_ph: self.state})


class After(dqn_agent.DQNAgent):
  """What the messages say to write."""

  def _build_target_q_op(self, batch):
    next_q = keras.ops.max(self.target_convnet(batch.next_state).q_values, 1)
    return batch.reward + self.bonus(batch) + 0.9 * next_q

  def bonus(self, batch):
    return 0.1 * self.online_convnet(batch.state).q_values[:, 0]

  def _sync_weights(self):
    for target, online in zip(
      self.target_convnet.weights, self.online_convnet.weights, strict=True
    ):
      target.assign(0.9 * target + 0.1 * online)

  def _select_action(self):
    self.acted = getattr(self, 'acted', 0) + 1
    return super()._select_action()


def test_a_class_that_followed_the_messages_trains(tmp_path):
  with pytest.raises(errors.InterfaceError) as error:
    make(Before)
  names = '_build_target_q_op _replay_next_target_net_outputs _build_sync_op'
  names += ' _replay_net_outputs _sess.run _q_argmax state_ph'
  # And what is compiled reads the memory.
  assert_told(Before, error, *names.split(), '_replay.rewards')

  def create(sess, environment, summary_writer=None):
    settings = CARTPOLE | {'update_period': 2, 'target_update_period': 4}
    return After(sess, environment.action_space.n, **settings)

  runner = run_experiment.Runner(
    *(str(tmp_path), create, create_environment),
    num_iterations=2,
    training_steps=40,
    evaluation_steps=5,
    max_steps_per_episode=20,
  )
  runner.run_experiment()
  agent = runner._agent
  assert agent.acted > agent.training_steps > 60
  online, target = (
    network.get_weights()[0]
    for network in (agent.online_convnet, agent.target_convnet)
  )
  assert 0 < np.abs(online - target).max() < 1


# The page ---------------------------------------------------------------------


def examples():
  """What the pages define, JAX's on JAX."""
  texts = [
    (ROOT / f'docs/{n}.md').read_text() for n in ('migrating', 'extending')
  ]
  block = re.compile(r'^```python.*?\n(.*?)^```$', re.DOTALL | re.M)
  blocks = block.findall(texts[0])
  assert len(blocks) == 4
  blocks += [code for code in block.findall(texts[1]) if 'SignAgent' in code]
  found = {}
  for code in blocks:
    if IS_JAX or 'jax' not in code:
      exec(code, found)
  return found


@pytest.fixture(scope='module')
def page():
  return examples()


@pytest.mark.parametrize(
  'name',
  [
    'MunchausenAgent',
    pytest.param('PenalizedAgent', marks=only_jax),
    pytest.param('SignAgent', marks=only_jax),
  ],
)
def test_agents_of_the_page_train(name, page):
  settings = CARTPOLE | {'update_period': 1, 'target_update_period': 2}
  if name != 'MunchausenAgent':
    from dopamine.jax import networks as flax_networks

    settings['network'] = flax_networks.ClassicControlDQNNetwork
  agent = page[name](num_actions=2, **settings)
  before = weights(agent)
  agent.begin_episode(np.zeros((4, 1)))
  for i in range(30):
    agent.step(1.0, np.full((4, 1), i / 30))
  pairs = zip(before, weights(agent), strict=True)
  assert any((a != b).any() for a, b in pairs)


def weights(agent):
  if not hasattr(agent, 'network_def'):
    return agent.online_convnet.get_weights()
  import jax

  return jax.tree_util.tree_leaves(agent.online_params)


def test_the_network_of_the_page_acts(page):
  agent = dqn_agent.DQNAgent(
    num_actions=2, **CARTPOLE | {'network': page['MyNetwork']}
  )
  assert agent.begin_episode(np.zeros((4, 1))) in (0, 1)


def test_the_memory_of_the_page_shifts(page):
  memory = page['ShiftingBuffer']((9,), 1, 20, 2)
  for _ in range(10):
    memory.add(np.arange(9), 0, 0.0, False)
  states = [memory.sample_transition_batch(1)[0][0, :, 0] for _ in range(50)]
  assert len({tuple(state) for state in states}) > 3
  assert {tuple(sorted(state)) for state in states} == {tuple(range(9))}


# Nothing is forgotten ---------------------------------------------------------

# What subclasses could override or call until 4.0, by class.
METHODS = {
  'DQNAgent': """
    _network_template _get_network_type _create_network _build_networks
    _build_replay_buffer _build_target_q_op _build_train_op _build_sync_op
    begin_episode step end_episode _select_action _train_step
    _record_observation _store_transition _reset_state bundle_and_checkpoint
    unbundle _build_networks_and_optimizer _sample_from_replay_buffer
    _sync_weights _training_step_update set_collector_dispatcher
  """,
  'Runner': """
    _create_directories _initialize_checkpointer_and_maybe_resume
    _initialize_episode _run_one_step _end_episode _run_one_episode
    _run_one_phase _run_train_phase _run_eval_phase _run_one_iteration
    _save_tensorboard_summaries _log_experiment _checkpoint_experiment
    run_experiment
  """,
  'Logger': '_generate_filename log_to_file __setitem__ is_logging_enabled',
  'Checkpointer': """
    _generate_filename _save_data_to_file save_checkpoint
    _clean_up_old_checkpoints _load_data_from_file load_checkpoint
  """,
  'OutOfGraphReplayBuffer': """
    _create_storage get_add_args_signature get_storage_signature
    _add_zero_transition add _add _add_transition _check_args_length
    _check_add_types is_empty is_full cursor get_range get_observation_stack
    _get_element_stack get_terminal_stack is_valid_transition
    _create_batch_arrays sample_index_batch sample_transition_batch
    get_transition_elements _generate_filename _return_checkpointable_elements
    save load
  """,
  'OutOfGraphPrioritizedReplayBuffer': 'set_priority get_priority',
  'WrappedReplayBuffer': """
    add create_sampling_ops _set_transition_shape _set_up_staging
    unpack_transition save load
  """,
  'WrappedPrioritizedReplayBuffer': 'tf_set_priority tf_get_priority',
  'AtariPreprocessing': """
    observation_space action_space reward_range metadata close reset render step
    _fetch_grayscale_observation _pool_and_resize
  """,
}
# Called by what a program has around ours, or a description of it.
CALLED_FROM_OUTSIDE = {'is_logging_enabled', '__setitem__', 'reward_range'}


@functools.cache
def sources():
  return '\n'.join(
    path.read_text() for path in (ROOT / 'dopamine').rglob('*.py')
  )


@pytest.mark.parametrize(
  ('owner', 'name'),
  [(owner, name) for owner in METHODS for name in METHODS[owner].split()],
)
def test_every_method_is_called_or_told(owner, name):
  told = gone.BY_CLASS[owner].overridden
  if name not in told:
    assert hasattr(OURS[owner], name)
    is_called = re.search(rf"\.{name}\b|'{name}'", sources())
    assert is_called or name in CALLED_FROM_OUTSIDE
  else:
    assert_has_row(name)
