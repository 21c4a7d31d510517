"""Agents of runs, loaded to be asked: the values are those of the weights."""

import functools
import pathlib
import pickle
import shutil

import gin
import gymnasium
import numpy as np
from numpy.testing import assert_allclose
from numpy.testing import assert_array_equal
import pytest

import dopamine
from dopamine import backend
from dopamine.agents.dqn import dqn_agent
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from dopamine.runs import trained
from dopamine.settings import errors
from tests.support import inside

CARTPOLE = """
import dopamine.discrete_domains.gym_lib
Runner.create_environment_fn = @gym_lib.create_gym_environment
create_gym_environment.environment_name = 'CartPole'
create_gym_environment.version = 'v1'
create_agent.fit_to_environment = True
DQNAgent.stack_size = 1
DQNAgent.min_replay_history = 20
WrappedReplayBuffer.batch_size = 8
WrappedPrioritizedReplayBuffer.batch_size = 8
WrappedReplayBuffer.replay_capacity = 5000
WrappedPrioritizedReplayBuffer.replay_capacity = 5000
Runner.training_steps = 60
Runner.evaluation_steps = 1
Runner.max_steps_per_episode = 20
Runner.num_iterations = 2
""".splitlines()
NAMES = ['dqn', 'rainbow', 'quantile', 'implicit_quantile', 'full_rainbow']
if backend.current() == 'jax':
  NAMES += [f'jax_{name}' for name in NAMES]


@pytest.fixture(autouse=True)
def clear_gin():
  gin.clear_config()
  yield
  gin.clear_config()


def train(base_dir, name, *bindings):
  """A short run, whose settings gin forgets; returns its agent."""
  gin.clear_config()
  run_experiment.load_gin_configs(
    [], [*CARTPOLE, f'create_agent.agent_name = "{name}"', *bindings]
  )
  with run_experiment.create_runner(str(base_dir)) as runner:
    runner.run_experiment()
  gin.clear_config()
  return inside.agent(runner)


@pytest.fixture(scope='module')
def dqn(tmp_path_factory):
  """The agent of a DQN run of this module, and the run's folder."""
  base_dir = tmp_path_factory.mktemp('dqn')
  return train(base_dir, 'dqn'), base_dir


@pytest.fixture
def dqn_run(dqn, tmp_path):
  """The same, the folder a copy."""
  agent, base_dir = dqn
  return agent, pathlib.Path(shutil.copytree(base_dir, tmp_path / 'dqn'))


class Stopping(run_experiment.Runner):
  """Is asked to stop in the middle of a phase."""

  saves_mid_episode = True

  def _run_one_step(self, action):
    if self._state.steps == 40:
      self.request_stop()
    return super()._run_one_step(action)


def train_in_part(base_dir, *bindings):
  """A DQN run that is stopped within an iteration; returns its agent."""
  name = 'create_agent.agent_name = "dqn"'
  run_experiment.load_gin_configs([], [*CARTPOLE, name, *bindings])
  with (
    Stopping(str(base_dir), run_experiment.create_agent) as runner,
    pytest.raises(run_experiment.Stopped),
  ):
    runner.run_experiment()
  gin.clear_config()
  return inside.agent(runner)


def states(count=3):
  return np.random.default_rng(2).normal(size=(count, 4, 1))


@pytest.mark.parametrize('name', NAMES)
def test_the_values_are_those_of_the_agent_that_was_trained(name, tmp_path):
  agent = train(tmp_path, name)
  loaded = trained.load_agent(tmp_path)
  assert loaded.path.endswith('weights_ckpt.1.npz')
  assert_array_equal(
    loaded.q_values(states()), agent.predict_q_values(states())
  )
  found = loaded.distribution(states())
  assert (found is None) == (name.removeprefix('jax_') == 'dqn')
  if found is not None:
    assert_array_equal(found.values, agent.predict_distribution(states())[0])
    assert found.values.shape == found.probabilities.shape
  one = states()[0]
  assert_allclose(loaded.q_values(one), loaded.q_values(states())[0], atol=1e-5)
  assert loaded.q_values(one[:, 0]).shape == (2,)


def test_it_plays_as_in_evaluation_and_learns_nothing(dqn_run):
  _, base_dir = dqn_run
  loaded = dopamine.load_agent(
    base_dir, gin_bindings=['DQNAgent.epsilon_eval = 0.0']
  )
  before = inside.learner(loaded.agent).state()
  observation, total = loaded.environment.reset(), 0
  for _ in range(10):
    values = loaded.q_values(observation)
    action = loaded.act(observation)
    assert action == np.argmax(values)
    # Of the same observation, also once it was acted on.
    assert_array_equal(loaded.q_values(observation), values)
    observation, reward, is_terminal, _ = loaded.environment.step(action)
    total += reward
    if is_terminal:
      break
  assert total > 3
  after = inside.learner(loaded.agent).state()
  assert all(np.array_equal(before[k], after[k]) for k in before)
  assert inside.memory(loaded.agent).add_count == 0


@pytest.mark.no_backend
def test_a_stack_of_observations_is_that_of_the_episode(tmp_path):
  train(tmp_path, 'dqn', 'DQNAgent.stack_size = 2')
  loaded = trained.load_agent(tmp_path)
  first, second, third = np.random.default_rng(0).normal(size=(3, 4))
  none = np.zeros(4)

  def of(*observations):
    return loaded.q_values(np.stack(observations, axis=-1))

  assert_array_equal(loaded.q_values(first), of(none, first))
  loaded.act(first)
  assert_array_equal(loaded.q_values(first), of(none, first))
  assert_array_equal(loaded.q_values(second), of(first, second))
  loaded.act(second)
  assert_array_equal(loaded.q_values(third), of(second, third))
  # A buffer that is written anew is another observation.
  second[:] = third
  assert_array_equal(loaded.q_values(second), loaded.q_values(third.copy()))
  loaded.begin_episode()
  assert_array_equal(loaded.q_values(third), of(none, third))


@pytest.mark.no_backend
def test_a_checkpoint_may_be_chosen(dqn_run):
  _, base_dir = dqn_run
  old = trained.load_agent(base_dir, checkpoint=0)
  new = trained.load_agent(base_dir, checkpoint=1)
  assert old.path.endswith('weights_ckpt.0.npz')
  assert not np.array_equal(old.q_values(states()), new.q_values(states()))
  by_path = trained.load_agent(base_dir, checkpoint=old.path)
  assert_array_equal(by_path.q_values(states()), old.q_values(states()))
  with pytest.raises(FileNotFoundError, match=r'weights_ckpt\.7\.npz'):
    trained.load_agent(base_dir, checkpoint=7)


def test_a_run_in_its_first_iteration_has_the_newest_weights(tmp_path):
  agent = train_in_part(tmp_path)
  loaded = trained.load_agent(tmp_path)
  assert 'mid_iteration' in loaded.path
  assert_array_equal(
    loaded.q_values(states()), agent.predict_q_values(states())
  )


# gin --------------------------------------------------------------------------


def test_two_runs_in_one_process_and_gin_stays_what_it_was(dqn_run, tmp_path):
  first, base_dir = dqn_run
  second = train(tmp_path / 'b', 'rainbow', 'RainbowAgent.num_atoms = 11')
  run_experiment.load_gin_configs(
    [], [*CARTPOLE, 'create_agent.agent_name = "dqn"', 'DQNAgent.gamma = 0.5']
  )
  before = gin.config_str(), gin.operative_config_str()
  b = trained.load_agent(tmp_path / 'b')
  a = trained.load_agent(base_dir)
  assert (gin.config_str(), gin.operative_config_str()) == before
  assert gin.config_is_locked()
  assert gin.query_parameter('DQNAgent.gamma') == 0.5
  assert b.distribution(states()).values.shape == (3, 2, 11)
  assert_array_equal(a.q_values(states()), first.predict_q_values(states()))
  assert_array_equal(b.q_values(states()), second.predict_q_values(states()))


@pytest.mark.no_backend
def test_gin_stays_what_it_was_where_loading_fails(dqn_run):
  _, base_dir = dqn_run
  gin.bind_parameter('DQNAgent.gamma', 0.5)
  with pytest.raises(ValueError):
    trained.load_agent(base_dir, gin_bindings=['DQNAgent.gama = 1'])
  assert gin.query_parameter('DQNAgent.gamma') == 0.5
  assert not gin.config_is_locked()


@pytest.mark.no_backend
@pytest.mark.parametrize('runner', ['Runner', 'TrainRunner'])
def test_a_run_that_only_trains_knows_its_environment(runner, tmp_path):
  bindings = [
    'create_runner.schedule = "continuous_train"',
    f'{runner}.create_environment_fn = @gym_lib.create_gym_environment',
  ]
  others = [x for x in CARTPOLE if not x.startswith('Runner.create_env')]
  run_experiment.load_gin_configs(
    [], [*others, 'create_agent.agent_name = "dqn"', *bindings]
  )
  with run_experiment.create_runner(str(tmp_path)) as run:
    run.run_experiment()
  loaded = trained.load_agent(tmp_path)
  assert loaded.environment.task_name == 'CartPole-v1'


@pytest.mark.no_backend
def test_settings_of_a_run_that_only_trains_are_those_it_plays_with(tmp_path):
  bindings = [
    'create_runner.schedule = "continuous_train"',
    'TrainRunner.seed = 7',
    'TrainRunner.max_steps_per_episode = 12',
  ]
  train(tmp_path, 'dqn', *bindings)
  loaded = trained.load_agent(tmp_path)
  assert loaded.seed == 7
  with trained_evaluation(tmp_path) as evaluation:
    assert inside.max_steps_per_episode(evaluation) == 12


def trained_evaluation(run_dir):
  run_experiment.load_gin_configs(*trained.configuration(str(run_dir)))
  return trained.Evaluation(str(run_dir))


@pytest.mark.no_backend
def test_the_seed_is_that_of_the_run_if_it_was_set_and_may_be_given(
  dqn_run, tmp_path
):
  train(tmp_path / 'set', 'dqn', 'Runner.seed = 5')
  _, drawn = dqn_run
  assert trained.load_agent(tmp_path / 'set').seed == 5
  first, second = (trained.load_agent(drawn) for _ in range(2))
  assert first.seed != second.seed
  bindings = ['Runner.seed = 6']
  first, second = (
    trained.load_agent(tmp_path / 'set', gin_bindings=bindings)
    for _ in range(2)
  )
  assert first.seed == second.seed == 6
  assert_array_equal(first.environment.reset(), second.environment.reset())


class OwnAgent(dqn_agent.DQNAgent):
  """Of a program that does not register it."""


def create_own_agent(
  sess, environment, summary_writer=None, agent_class=OwnAgent
):
  return agent_class(
    num_actions=environment.action_space.n,
    observation_shape=environment.observation_space.shape,
    observation_dtype=environment.observation_space.dtype,
    stack_size=1,
    network=gym_lib.CartpoleDQNNetwork,
    summary_writer=summary_writer,
  )


@gin.configurable(module='tests.dopamine.runs.trained_test')
def create_bound_agent(sess, environment, summary_writer=None):
  return create_own_agent(sess, environment, summary_writer)


def create_cartpole():
  return gym_lib.create_gym_environment('CartPole', 'v1')


@pytest.mark.no_backend
def test_a_program_gives_what_it_gave_its_runner(tmp_path):
  others = [x for x in CARTPOLE if 'create_' not in x]
  run_experiment.load_gin_configs([], others)
  with run_experiment.Runner(
    str(tmp_path), create_own_agent, create_cartpole
  ) as runner:
    runner.run_experiment()
  gin.clear_config()
  loaded = trained.load_agent(
    tmp_path,
    create_agent_fn=create_own_agent,
    create_environment_fn=create_cartpole,
  )
  assert type(loaded.agent) is OwnAgent
  assert_array_equal(
    loaded.q_values(states()),
    inside.agent(runner).predict_q_values(states()),
  )


@pytest.mark.no_backend
def test_an_agent_that_gin_binds_for_the_runner_is_the_one_loaded(tmp_path):
  bound = 'Runner.create_agent_fn = @create_bound_agent'
  run_experiment.load_gin_configs([], [*CARTPOLE, bound])
  with run_experiment.Runner(str(tmp_path)) as runner:
    runner.run_experiment()
  gin.clear_config()
  assert type(trained.load_agent(tmp_path).agent) is OwnAgent


@pytest.mark.no_backend
def test_the_newest_weights_may_be_within_a_later_iteration(dqn_run):
  _, base_dir = dqn_run
  complete = trained.load_agent(base_dir)
  assert 'mid_iteration' not in complete.path

  agent = train_in_part(base_dir, 'Runner.num_iterations = 4')
  loaded = trained.load_agent(base_dir)
  assert 'mid_iteration' in loaded.path
  assert_array_equal(
    loaded.q_values(states()), agent.predict_q_values(states())
  )
  for checkpoint in (1, '1', complete.path):
    again = trained.load_agent(base_dir, checkpoint)
    assert_array_equal(again.q_values(states()), complete.q_values(states()))


@gin.configurable(module='tests.dopamine.runs.trained_test')
def scale_of_observations(value=1.0):
  return value


class Normalizing(OwnAgent):
  """Scales by what gin says when it is asked, and by what it has seen."""

  count = 0

  def __init__(self, **kwargs):
    super().__init__(**kwargs)
    self.sum = np.zeros(4)

  def _record_observation(self, observation):
    self.count += 1
    self.sum += observation
    scale = scale_of_observations()
    super()._record_observation(scale * (observation - self.sum / self.count))


create_normalizing = functools.partial(
  create_own_agent, agent_class=Normalizing
)


def test_an_agent_has_the_attributes_and_the_settings_of_its_run(tmp_path):
  scale = 'scale_of_observations.value = 0.1'
  run_experiment.load_gin_configs([], [*CARTPOLE, scale])
  with run_experiment.Runner(str(tmp_path), create_normalizing) as runner:
    runner.run_experiment()
  before = inside.agent(runner)
  gin.clear_config()
  with trained.load_agent(
    tmp_path, create_agent_fn=create_normalizing
  ) as loaded:
    assert loaded.agent.count == before.count > 100
    assert_array_equal(loaded.agent.sum, before.sum)
    observation = loaded.environment.reset()
    values = loaded.q_values(observation)
    assert_array_equal(loaded.q_values(observation), values)
    loaded.act(observation)
    expected = observation - loaded.agent.sum / loaded.agent.count
    assert_allclose(loaded.agent.state[0, :, 0], 0.1 * expected, rtol=1e-4)
    with loaded.settings():
      assert scale_of_observations() == 0.1
    assert scale_of_observations() == 1.0


@pytest.mark.no_backend
def test_a_damaged_pickle_leaves_the_weights(dqn_run):
  agent, base_dir = dqn_run
  (base_dir / 'checkpoints' / 'ckpt.1').write_bytes(b'none')
  loaded = trained.load_agent(base_dir)
  assert_array_equal(
    loaded.q_values(states()), agent.predict_q_values(states())
  )


@pytest.mark.no_backend
def test_a_window_may_be_long(tmp_path):
  train(tmp_path, 'dqn', 'DQNAgent.update_horizon = 1200')
  assert trained.load_agent(tmp_path).q_values(states()).shape == (3, 2)


# Mistakes ---------------------------------------------------------------------


@pytest.mark.skipif(backend.current() == 'jax', reason='it can be loaded')
def test_a_run_of_a_jax_agent_says_which_backend_it_takes(tmp_path):
  config = "create_agent.agent_name = 'jax_dqn'\nJaxDQNAgent.gamma = 0.9\n"
  (tmp_path / 'operative_config.gin').write_text(config)
  with pytest.raises(errors.SettingError, match='set KERAS_BACKEND=jax'):
    trained.load_agent(tmp_path)


@pytest.mark.no_backend
def test_a_folder_without_settings_says_the_way_out(tmp_path):
  with pytest.raises(
    FileNotFoundError, match='operative_config.gin.*gin_files'
  ):
    trained.load_agent(tmp_path)


@pytest.mark.no_backend
def test_a_run_without_weights_says_so(tmp_path):
  train(tmp_path, 'dqn', 'Runner.num_iterations = 0')
  (tmp_path / 'operative_config.gin').write_text('\n'.join(CARTPOLE))
  with pytest.raises(FileNotFoundError, match='has no weights'):
    trained.load_agent(tmp_path)


@pytest.mark.no_backend
def test_a_foreign_agent_says_nothing(dqn_run):
  _, base_dir = dqn_run
  loaded = trained.load_agent(base_dir)

  class Foreign:
    pass

  loaded.agent = Foreign()
  with pytest.raises(errors.InterfaceError, match='Foreign does not say'):
    loaded.q_values(states())


@pytest.mark.no_backend
def test_settings_may_be_given_where_a_run_has_kept_none(dqn_run, tmp_path):
  agent, base_dir = dqn_run
  (tmp_path / 'old').mkdir()
  weights = base_dir / 'checkpoints' / 'weights_ckpt.1.npz'
  loaded = trained.load_agent(
    tmp_path / 'old',
    checkpoint=weights,
    gin_bindings=[*CARTPOLE, 'create_agent.agent_name = "dqn"'],
  )
  assert_array_equal(
    loaded.q_values(states()), agent.predict_q_values(states())
  )


# Files of Dopamine 1 to 3 -----------------------------------------------------


class ThreeActions(gym_lib.GymPreprocessing):
  """CartPole with an action more, which the files of the tests have."""

  action_space = gymnasium.spaces.Discrete(3)


@gin.configurable(module='tests.dopamine.runs.trained_test')
def create_three_actions():
  return ThreeActions(gymnasium.make('CartPole-v1'))


THREE_ACTIONS = [
  *CARTPOLE,
  'create_agent.agent_name = "dqn"',
  'Runner.create_environment_fn = @create_three_actions',
  'DQNAgent.network = @gym_lib.CartpoleDQNNetwork',
]


def test_the_values_are_those_of_a_tf_ckpt(tmp_path):
  from tests.support import old_files

  checkpoints = tmp_path / 'checkpoints'
  checkpoints.mkdir()
  old = old_files.write_tf(checkpoints, 3, 'cartpole', 'slim')
  for checkpoint in (None, 3):
    loaded = trained.load_agent(
      tmp_path, checkpoint, gin_bindings=THREE_ACTIONS
    )
    found = loaded.q_values(old_files.states('cartpole'))
    assert_allclose(found, old['Online'], rtol=1e-5, atol=1e-6)


def test_the_values_are_those_of_a_ckpt_of_a_jax_agent(tmp_path):
  from tests.support import old_files

  checkpoints = tmp_path / 'checkpoints'
  checkpoints.mkdir()
  online, answer = old_files.flax_params('cartpole', 'linen', 1)
  bundle = {'online_params': online, 'target_params': online}
  (checkpoints / 'ckpt.3').write_bytes(pickle.dumps(bundle))
  for checkpoint in (None, 3):
    loaded = trained.load_agent(
      tmp_path, checkpoint, gin_bindings=THREE_ACTIONS
    )
    found = loaded.q_values(old_files.states('cartpole'))
    assert_allclose(found, answer, rtol=1e-5, atol=1e-6)
