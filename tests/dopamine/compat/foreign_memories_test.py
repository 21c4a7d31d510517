"""Replay memories of users' own, as code for data sets of old files has them.

Each agent trains two iterations, is killed in the third, and goes on.
"""

import collections
import functools
import gzip
import os
import pickle

import keras
import numpy as np
import pytest

from dopamine.agents.dqn import dqn_agent
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import iteration_statistics
from dopamine.discrete_domains import run_experiment
from dopamine.replay_memory import circular_replay_buffer
from tests.support import agents
from tests.support import inside
from tests.support import research_code
from tests.support import small

AGENT = dqn_agent.DQNAgent
if keras.config.backend() == 'jax':
  from dopamine.jax.agents.dqn import dqn_agent as jax_dqn_agent

  AGENT = jax_dqn_agent.JaxDQNAgent

SETTINGS = dict(
  observation_shape=(4, 1),
  stack_size=1,
  replay_capacity=40,
  batch_size=8,
  observation_dtype=np.float64,
)


class Killed(BaseException):
  """In the place of a signal."""


# Memories ---------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
  """A folder of three replay memories, in Dopamine 3's files."""
  folder = tmp_path / 'replay_logs'
  folder.mkdir()
  for suffix in range(3):
    memory = circular_replay_buffer.OutOfGraphReplayBuffer(**SETTINGS)
    rng = np.random.default_rng(suffix)
    for t in range(30):
      memory.add(rng.normal(size=(4, 1)), t % 2, 1.0, t % 10 == 9)
    memory.save(folder, suffix)
    os.remove(folder / f'episode_markers_ckpt.{suffix}.gz')
  return folder


class FixedReplay:
  """Some of a folder's memories; each batch is of one of them."""

  def __init__(self, folder, **settings):
    self._folder, self._settings = folder, settings
    names = os.listdir(folder)
    counts = collections.Counter(name.split('.')[-2] for name in names)
    self._suffixes = sorted(s for s in counts if counts[s] == 6)
    self.add_count = np.array(0)
    self.reload_buffer(2)

  def _choose(self, num_buffers):
    return np.random.choice(self._suffixes, num_buffers, replace=False)

  def _pick(self):
    return np.random.randint(len(self._buffers))

  def reload_buffer(self, num_buffers):
    self.read(self._choose(num_buffers))

  def read(self, suffixes):
    self.suffixes = [str(suffix) for suffix in suffixes]
    self._buffers = []
    for suffix in self.suffixes:
      buffer = circular_replay_buffer.OutOfGraphReplayBuffer(**self._settings)
      buffer.load(self._folder, suffix)
      self._buffers.append(buffer)
      self.add_count = max(self.add_count, buffer.add_count)

  def sample_transition_batch(self, batch_size=None, indices=None):
    return self._buffers[self._pick()].sample_transition_batch(
      batch_size=batch_size, indices=indices
    )

  def get_transition_elements(self):
    return self._buffers[0].get_transition_elements()

  def add(self, *args, **kwargs):
    raise AssertionError('a data set stays what it is')

  def save(self, *args, **kwargs):
    pass

  def load(self, *args, **kwargs):
    pass

  def __getattr__(self, name):
    if name.startswith('__'):
      raise AttributeError(name)
    return getattr(self._buffers[0], name)


class ExactReplay(FixedReplay):
  """One that says the state of all that it draws from."""

  def __init__(self, *args, **settings):
    self._generator = np.random.default_rng(3)
    super().__init__(*args, **settings)

  def _choose(self, num_buffers):
    return self._generator.permutation(self._suffixes)[:num_buffers]

  def _pick(self):
    return self._generator.integers(len(self._buffers))

  @property
  def generator_state(self):
    return {
      'own': self._generator.bit_generator.state,
      'suffixes': self.suffixes,
      'buffers': [buffer.generator_state for buffer in self._buffers],
    }

  @generator_state.setter
  def generator_state(self, state):
    self.read(state['suffixes'])
    self._generator.bit_generator.state = state['own']
    for buffer, of_one in zip(self._buffers, state['buffers'], strict=True):
      buffer.generator_state = of_one


class OldWrapper:
  """A wrapper that knows nothing of batches by name."""

  def __init__(self, memory):
    self.memory = memory
    self.batch_size = 8

  def add(self, *args):
    self.memory.add(*args)

  def save(self, *place):
    self.memory.save(*place)

  def load(self, *place):
    self.memory.load(*place)


# Agents and Runners -----------------------------------------------------------


class OfflineAgent(AGENT):
  """Acts in evaluation, and learns where its Runner says so."""

  def __init__(self, num_actions, make_replay, summary_writer=None):
    self._make = make_replay
    super().__init__(
      **dict(num_actions=num_actions, seed=3),
      network=small.Perceptron,
      update_period=1,
      target_update_period=7,
      summary_writer=summary_writer,
      **research_code.CARTPOLE,
    )

  def _build_replay_buffer(self, *use_staging):
    return self._make(self)

  def begin_episode(self, observation):
    self._reset_state()
    self._record_observation(observation)
    self.action = self._select_action()
    return self.action

  def step(self, reward, observation):
    self._record_observation(observation)
    self.action = self._select_action()
    return self.action

  def end_episode(self, reward):
    assert self.eval_mode


class OfflineRunner(run_experiment.Runner):
  dies_in = None

  def _run_train_phase(self, statistics):
    self._agent.eval_mode = False
    for _ in range(self._training_steps):
      if self.dies_in == self._iteration and self._agent.training_steps > 45:
        raise Killed
      self._agent._train_step()

  def _run_one_iteration(self, iteration):
    self._iteration = iteration
    statistics = iteration_statistics.IterationStatistics()
    self._agent._replay.memory.reload_buffer(num_buffers=2)
    self._run_train_phase(statistics)
    num_episodes, average_reward = self._run_eval_phase(statistics)
    self._save_tensorboard_summaries(iteration, num_episodes, average_reward)
    return statistics.data_lists

  def _save_tensorboard_summaries(
    self, iteration, num_episodes, average_reward
  ):
    self._summary_writer.add_scalar('Eval/Mean', average_reward, iteration)


class LoggingRunner(run_experiment.Runner):
  dies_in = None

  def _run_one_step(self, action):
    is_training = not self._agent.eval_mode
    if is_training and self._agent.training_steps > 90:
      if self.dies_in is not None:
        raise Killed
    return super()._run_one_step(action)


def start(base_dir, create_agent, cls, dies_in=None):
  runner = cls(
    str(base_dir),
    create_agent,
    functools.partial(gym_lib.create_gym_environment, 'CartPole'),
    seed=5,
    num_iterations=3,
    training_steps=20,
    evaluation_steps=10,
    max_steps_per_episode=30,
  )
  runner.dies_in = dies_in
  return runner


def run_whole(tmp_path, create_agent, cls):
  runner = start(tmp_path / 'whole', create_agent, cls)
  runner.run_experiment()
  return inside.agent(runner)


def run_killed(base_dir, create_agent, cls):
  """Returns the agent of a run that was killed and went on."""
  dying = start(base_dir, create_agent, cls, dies_in=2)
  with pytest.raises(Killed):
    dying.run_experiment()
  again = start(base_dir, create_agent, cls)
  assert inside.start_iteration(again) == 2
  again.run_experiment()
  assert sorted(inside.logs(again)) == [f'iteration_{i}' for i in range(3)]
  return inside.agent(again)


def assert_same(first, second):
  assert first.training_steps == second.training_steps > 0
  for network in ('online_convnet', 'target_convnet'):
    for a, b in zip(
      getattr(first, network).get_weights(),
      getattr(second, network).get_weights(),
      strict=True,
    ):
      np.testing.assert_array_equal(a, b)


def assert_learnt(agent):
  fresh = OfflineAgent(2, lambda _: inside.replay(agent))
  pairs = zip(
    fresh.online_convnet.get_weights(),
    agent.online_convnet.get_weights(),
    strict=True,
  )
  assert any((a != b).any() for a, b in pairs)


def wrapped(memory, agent):
  return circular_replay_buffer.WrappedReplayBuffer(
    observation_shape=agent.observation_shape,
    stack_size=agent.stack_size,
    use_staging=False,
    batch_size=8,
    update_horizon=agent.update_horizon,
    gamma=agent.gamma,
    wrapped_memory=memory,
  )


FORMS = {
  'wrapped': wrapped,
  'old wrapper': lambda memory, agent: OldWrapper(memory),
  'bare': lambda memory, agent: memory,
}


def creator(make_replay):
  def create(sess, environment, summary_writer=None):
    return OfflineAgent(
      environment.action_space.n, make_replay, summary_writer=summary_writer
    )

  return create


def test_offline_training_goes_on_bit_by_bit(tmp_path, data, capsys):
  def create(form):
    return creator(
      lambda agent: FORMS[form](ExactReplay(data, seed=4, **SETTINGS), agent)
    )

  whole = run_whole(tmp_path, create('wrapped'), OfflineRunner)
  assert_learnt(whole)
  for form in FORMS:
    again = run_killed(tmp_path / form, create(form), OfflineRunner)
    assert_same(whole, again)
  assert 'generator_state' not in capsys.readouterr().out


def test_what_draws_from_elsewhere_is_named_at_the_start(
  tmp_path, data, capsys
):
  create = creator(lambda agent: wrapped(FixedReplay(data, **SETTINGS), agent))
  runner = start(tmp_path / 'run', create, OfflineRunner, dies_in=2)
  lines = capsys.readouterr().out.splitlines()
  (line,) = [line for line in lines if 'FixedReplay' in line]
  assert 'has no generator_state: a run that goes on draws other' in line
  assert lines.index(line) < len(lines) / 2
  with pytest.raises(Killed):
    runner.run_experiment()
  again = start(tmp_path / 'run', create, OfflineRunner)
  again.run_experiment()
  assert inside.agent(again).training_steps == 60


def test_batches_are_those_of_the_memory(data):
  made = []

  class Recording(FixedReplay):
    def sample_transition_batch(self, batch_size=None, indices=None):
      made.append(super().sample_transition_batch(batch_size, indices))
      return made[-1]

  settings = SETTINGS | {'update_horizon': 3, 'gamma': 0.9}
  memory = Recording(data, **settings)
  replay = circular_replay_buffer.WrappedReplayBuffer(
    (4, 1), 1, batch_size=5, update_horizon=3, gamma=0.9, wrapped_memory=memory
  )
  batch = replay.sample(2)
  assert batch.state.shape == (2, 5, 4, 1, 1)
  assert len(made) == 2  # Each of one buffer.
  for k, drawn in enumerate(made):
    for array, expected in zip(batch, drawn, strict=False):
      np.testing.assert_array_equal(array[k], expected)
  np.testing.assert_allclose(
    batch.discount, 0.9**3 * (1.0 - batch.terminal), rtol=1e-6
  )
  assert batch.terminal.any() and not batch.terminal.all()
  assert batch.discount.dtype == batch.reward.dtype == np.float32
  assert replay.memory == memory and isinstance(replay.memory, Recording)
  assert replay.suffixes == memory.suffixes
  replay.memory.reload_buffer(1)
  assert len(memory.suffixes) == 1


def test_gamma_that_is_set_later_counts(data):
  agent = OfflineAgent(2, lambda agent: ExactReplay(data, **SETTINGS))
  agent.gamma = 0.5
  assert set(inside.replay(agent).sample().discount.flat) <= {0.5, 0.0}


class Log:
  """A memory that hands on all to one of ours, and writes what is added."""

  def __init__(self, memory, folder):
    self._memory, self._folder = memory, folder

  def add(self, observation, action, reward, terminal):
    self._memory.add(observation, action, reward, terminal)
    with open(self._folder / 'actions', 'a') as file:
      file.write(str(int(action)))

  def __getattr__(self, name):
    if name.startswith('__'):
      raise AttributeError(name)
    return getattr(self._memory, name)


def online(tmp_path, make_replay):
  class Agent(AGENT):
    def _build_replay_buffer(self, *use_staging):
      return make_replay(self)

  def create(sess, environment, summary_writer=None):
    return Agent(
      **dict(num_actions=2, seed=3, network=small.Perceptron),
      **research_code.CARTPOLE,
    )

  return (
    run_whole(tmp_path, create, LoggingRunner),
    run_killed(tmp_path / 'killed', create, LoggingRunner),
  )


def test_a_memory_that_hands_on_to_ours_stores_and_writes(tmp_path, capsys):
  made = []

  def make(agent):
    memory = circular_replay_buffer.OutOfGraphReplayBuffer(**SETTINGS)
    made.append(memory)
    return wrapped(Log(memory, tmp_path), agent)

  online(tmp_path, make)
  assert 'Log has no generator_state' in capsys.readouterr().out
  written = (tmp_path / 'actions').read_text()
  assert len(written) >= 120 and set(written) <= {'0', '1'}
  # What it hands on to has been saved, and goes on.
  whole, _, again = (int(memory.add_count) for memory in made)
  assert whole == again > 60


def test_an_end_that_cannot_be_told_is_stored_as_one(tmp_path):
  memory = circular_replay_buffer.OutOfGraphReplayBuffer(**SETTINGS)
  agent = OnlineAgent(lambda agent: wrapped(Log(memory, tmp_path), agent))
  agent.begin_episode(np.zeros((4, 1)))
  agent.step(1.0, np.ones((4, 1)))
  agent.end_episode(1.0, terminal=False, observation=np.full((4, 1), 2.0))
  agent.begin_episode(np.zeros((4, 1)))
  agent.step(1.0, np.ones((4, 1)))
  assert inside.arrays(memory)['terminal'][:3].tolist() == [0, 1, 0]
  assert memory.add_count == 3


class OnlineAgent(AGENT):
  def __init__(self, make_replay, **kwargs):
    self._make = make_replay
    super().__init__(
      **dict(num_actions=2, seed=3, network=small.Perceptron),
      **research_code.CARTPOLE,
      **kwargs,
    )

  def _build_replay_buffer(self, *use_staging):
    return self._make(self)


@pytest.mark.parametrize(
  'name', ['sample_transition_batch', 'get_transition_elements', 'add_count']
)
def test_what_no_memory_can_do_without_is_named(name):
  class Poor:
    add_count = 0

    def add(self):
      pass

    def sample_transition_batch(self):
      pass

    def get_transition_elements(self):
      return []

  delattr(Poor, name)
  with pytest.raises(TypeError, match=f'Poor has no {name}.* row of wrapped_'):
    circular_replay_buffer.WrappedReplayBuffer((4,), 1, wrapped_memory=Poor())


def test_elements_that_are_needed_are_named(data):
  class NoState(FixedReplay):
    def get_transition_elements(self):
      return super().get_transition_elements()[1:]

  with pytest.raises(TypeError, match="NoState has no element 'state'"):
    OfflineAgent(2, lambda agent: NoState(data, **SETTINGS))


def test_priorities_that_it_has_not_are_refused(data):
  with pytest.raises(
    TypeError, match='ExactReplay has no .*sampling_prob.*unif'
  ):
    OnlineAgent(
      lambda agent: ExactReplay(data, **SETTINGS), replay_scheme='prioritized'
    )


# Logged replay, of a class of ours --------------------------------------------


class LoggedReplay(circular_replay_buffer.OutOfGraphReplayBuffer):
  """Writes all it has whenever it is full, with functions of its own."""

  def __init__(self, log_dir, *args, **kwargs):
    super().__init__(*args, **kwargs)
    self._log_dir, self._log_count = log_dir, 0
    os.makedirs(log_dir, exist_ok=True)

  def add(self, observation, action, reward, terminal, *args):
    super().add(observation, action, reward, terminal, *args)
    if self.add_count % self._replay_capacity == self._replay_capacity - 1:
      self._write()
      self._log_count += 1

  def load(self, checkpoint_dir, suffix):
    super().load(checkpoint_dir, suffix)
    self._log_count = int(self.add_count) // self._replay_capacity

  def _write(self):
    elements = self._return_checkpointable_elements()
    for attr in elements:
      name = self._generate_filename(self._log_dir, attr, self._log_count)
      with (
        open(name, 'wb') as file,
        gzip.GzipFile(fileobj=file, mode='wb') as out,
      ):
        if attr.startswith(circular_replay_buffer.STORE_FILENAME_PREFIX):
          array = attr[len(circular_replay_buffer.STORE_FILENAME_PREFIX) :]
          np.save(out, self._store[array], allow_pickle=False)
        elif isinstance(self.__dict__[attr], np.ndarray):
          np.save(out, self.__dict__[attr], allow_pickle=False)
        else:
          pickle.dump(self.__dict__[attr], out)


def test_a_logged_replay_goes_on_bit_by_bit_and_is_read(tmp_path):
  folders = []

  def make(agent):
    folders.append(tmp_path / f'logs_{len(folders)}')
    return wrapped(LoggedReplay(folders[-1], **SETTINGS), agent)

  first, second = online(tmp_path, make)
  assert_same(first, second)
  files = [sorted(os.listdir(folder)) for folder in folders]
  suffixes = [{name.split('.')[-2] for name in names} for names in files]
  assert suffixes[0] >= {'0', '1'}
  assert suffixes[1] | suffixes[2] == suffixes[0]
  names = {name.split('_ckpt')[0] for name in files[0]}
  assert names == {
    *('$store$_observation', '$store$_action', '$store$_reward'),
    *('$store$_terminal', 'add_count', 'invalid_range'),
  }
  memory = circular_replay_buffer.OutOfGraphReplayBuffer(**SETTINGS)
  memory.load(folders[0], 1)
  assert memory.add_count == 79
  assert memory.sample_transition_batch(8)[0].any()


# Two agents on one memory -----------------------------------------------------


class Pair:
  """An agent that acts, and one that only learns from what it has seen."""

  eval_mode = False

  def __init__(self):
    self.active = OnlineAgent(
      lambda agent: wrapped(
        circular_replay_buffer.OutOfGraphReplayBuffer(**SETTINGS), agent
      )
    )
    self.passive = OnlineAgent(
      lambda agent: inside.replay(self.active),
      optimizer=keras.optimizers.SGD(0.01),
      update_period=2,
    )

  def __setattr__(self, name, value):
    super().__setattr__(name, value)
    if name == 'eval_mode':
      self.active.eval_mode = value

  @property
  def training_steps(self):
    return self.active.training_steps

  def begin_episode(self, observation):
    return self.active.begin_episode(observation)

  def step(self, reward, observation):
    action = self.active.step(reward, observation)
    if not self.eval_mode:
      self.passive._train_step()
    return action

  def end_episode(self, reward):
    self.active.end_episode(reward)

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    bundle = self.active.bundle_and_checkpoint(checkpoint_dir, iteration_number)
    bundle['passive'] = {
      'online': self.passive.online_convnet.get_weights(),
      'target': self.passive.target_convnet.get_weights(),
      'training_steps': self.passive.training_steps,
    }
    return bundle

  def unbundle(self, checkpoint_dir, iteration_number, bundle_dictionary):
    passive = bundle_dictionary.pop('passive')
    self.passive.online_convnet.set_weights(passive['online'])
    self.passive.target_convnet.set_weights(passive['target'])
    self.passive.training_steps = passive['training_steps']
    return self.active.unbundle(
      checkpoint_dir, iteration_number, bundle_dictionary
    )


def test_two_agents_on_one_memory(tmp_path):
  def create(sess, environment, summary_writer=None):
    return Pair()

  first = run_whole(tmp_path, create, LoggingRunner)
  second = run_killed(tmp_path / 'killed', create, LoggingRunner)
  assert inside.memory(first.active) is inside.memory(first.passive)
  assert_same(first.active, second.active)
  assert_same(first.passive, second.passive)
  active, passive = (
    agents.weights(agent.online_convnet)
    for agent in (first.active, first.passive)
  )
  assert (active[0] != passive[0]).any()
