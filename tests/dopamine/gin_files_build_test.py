"""Every gin file makes its run: each value it binds arrives where it counts.

A file is loaded and its Runner made as by `train`, only with a small replay
memory. Then every binding is read back from what was built.
"""

import importlib
import pathlib

import gin
import keras
import numpy as np
import pytest

from dopamine import networks
from dopamine import optimizers
from dopamine.agents.dqn import dqn_agent
from dopamine.discrete_domains import agent_factory
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from tests.support import gin_files
from tests.support import inside

IS_JAX = keras.config.backend() == 'jax'

# JAX files need JAX. Without TensorFlow, where making a network takes seconds,
# ours stand for the files of both backends: one or more of every agent but DQN.
FILES = [
  name
  for name in sorted(gin_files.WRITTEN + gin_files.OURS)
  if name.startswith('dopamine/jax/') == IS_JAX
  or (IS_JAX and name in gin_files.OURS)
]


def once(names):
  """Files of agents of both backends are read under one."""
  mark = pytest.mark.no_backend
  return [n if '/jax/' in n else pytest.param(n, marks=mark) for n in names]


CAPACITY = 100


def bindings_of(name):
  text = (gin_files.ROOT / name).read_text()
  return gin_files.parse(text)[1]


def bindings_of_agent(name):
  """Without those that wait for another agent, or another task."""
  bindings = bindings_of(name)
  if name != gin_files.GYM:
    return bindings
  others = ('create_gym_environment.flatten', 'Rainbow', 'Quantile')
  return {k: v for k, v in bindings.items() if not k.startswith(others)}


def make_runner(name, bindings, base_dir):
  if 'LunarLander' in bindings.values():
    pytest.importorskip('Box2D')
  gin_bindings = [f'{name} = {value!r}' for name, value in bindings.items()]
  run_experiment.load_gin_configs([name], gin_bindings)
  return run_experiment.create_runner(str(base_dir))


# Reading a Runner -------------------------------------------------------------


def expected_value(value):
  """A bound value, or what the name in its place stands for."""
  if not isinstance(value, gin_files.Name):
    return value
  if value.startswith('%'):
    return gin.query_parameter(value[1:])
  return {
    '@dqn_agent.identity_epsilon': dqn_agent.identity_epsilon,
    '@dqn_agent.linearly_decaying_epsilon': dqn_agent.linearly_decaying_epsilon,
    '@gym_lib.create_gym_environment': gym_lib.GymPreprocessing,
    '@tf.train.AdamOptimizer()': keras.optimizers.Adam,
    '@tf.train.RMSPropOptimizer()': optimizers.RMSProp,
  }.get(value) or getattr(networks, value.rpartition('.')[2])


def optimizer_of(agent):
  return inside.optimizer(agent)


def learning_rate(agent):
  return float(optimizer_of(agent).learning_rate)


def optimizer_kind(agent):
  kind = type(optimizer_of(agent))
  return 'adam' if kind is optimizers.Adam else kind


def vector_network(agent):
  """The part of a network that rescales its inputs."""
  network = agent.online_convnet
  return network.net if hasattr(network, 'net') else network.features


def specification(runner):
  """Name and version of a Gymnasium environment, as Gymnasium has them."""
  name, version = inside.environment(runner).environment.spec.id.split('-')
  if name == 'CartPole' and version == 'v1':
    version = None  # The newest.
  # Gymnasium has no LunarLander-v2 any more.
  return name, 'v2' if (name, version) == ('LunarLander', 'v3') else version


# Parameter -> what it became in the agent.
OF_THE_AGENT = {
  'observation_shape': lambda agent: agent.state.shape[1:-1],
  'observation_dtype': lambda agent: agent.state.dtype,
  'stack_size': lambda agent: agent.state.shape[-1],
  'network': lambda agent: type(agent.online_convnet),
  'gamma': lambda agent: inside.memory(agent)._gamma,
  'update_horizon': lambda agent: inside.memory(agent)._update_horizon,
  'min_replay_history': lambda agent: agent.min_replay_history,
  'update_period': lambda agent: agent.update_period,
  'target_update_period': lambda agent: agent.target_update_period,
  'epsilon_fn': lambda agent: agent.epsilon_fn,
  'epsilon_train': lambda agent: agent.epsilon_train,
  'epsilon_eval': lambda agent: agent.epsilon_eval,
  'epsilon_decay_period': lambda agent: agent.epsilon_decay_period,
  'tf_device': lambda agent: agent.tf_device,
  'optimizer': optimizer_kind,
  'num_atoms': lambda agent: agent.online_convnet.num_atoms,
  'vmax': lambda agent: agent._support[-1],
  'replay_scheme': lambda agent: agent._replay_scheme,
  'kappa': lambda agent: vars(agent).get('kappa', vars(agent).get('_kappa')),
  'num_tau_samples': lambda agent: agent.num_tau_samples,
  'num_tau_prime_samples': lambda agent: agent.num_tau_prime_samples,
  'num_quantile_samples': lambda agent: agent.num_quantile_samples,
  'noisy': lambda agent: agent.online_convnet.num_noise > 0,
  'dueling': lambda agent: len(agent.online_convnet.head._dense) == 3,
  'double_dqn': lambda agent: agent.double_dqn,
}

# What is bound -> how to read it from the Runner.
READERS = {
  'tf.train.AdamOptimizer.learning_rate': learning_rate,
  'tf.train.AdamOptimizer.epsilon': lambda agent: optimizer_of(agent).epsilon,
  'tf.train.RMSPropOptimizer.learning_rate': learning_rate,
  'create_optimizer.learning_rate': learning_rate,
  'create_optimizer.eps': lambda agent: optimizer_of(agent).epsilon,
}
READERS |= {
  f'tf.train.RMSPropOptimizer.{name}': (
    lambda agent, name=name: getattr(optimizer_of(agent), name)
  )
  for name in ('decay', 'momentum', 'epsilon', 'centered')
}
READERS |= {
  f'{prefix}{buffer}.{name}': (
    lambda agent, name=name: getattr(inside.memory(agent), f'_{name}')
  )
  for prefix, buffer in (
    ('OutOfGraph', 'ReplayBuffer'),
    ('OutOfGraph', 'PrioritizedReplayBuffer'),
    ('Wrapped', 'ReplayBuffer'),
    ('Wrapped', 'PrioritizedReplayBuffer'),
  )
  for name in ('replay_capacity', 'batch_size')
}
READERS |= {
  f'ClassicControl{name}Network.{end}_vals': (
    lambda agent, end=end: getattr(vector_network(agent), f'_{end}_vals')
  )
  for name in ('DQN', 'Rainbow', 'Quantile', 'ImplicitQuantile', 'FullRainbow')
  for end in ('min', 'max')
}
OF_THE_RUNNER = {
  'create_runner.schedule': lambda runner: {
    run_experiment.TrainRunner: 'continuous_train',
    run_experiment.Runner: 'continuous_train_and_eval',
  }[type(runner)],
  'create_agent.agent_name': lambda runner: {
    cls: name for name, (_, cls) in agent_factory._AGENTS.items()
  }[type(inside.agent(runner)).__name__],
  'create_agent.debug_mode': lambda runner: (
    inside.agent(runner).summary_writer is runner._summary_writer
  ),
  'create_gym_environment.environment_name': lambda runner: specification(
    runner
  )[0],
  'create_gym_environment.version': lambda runner: specification(runner)[1],
  'atari_lib.create_atari_environment.game_name': lambda runner: (
    inside.environment(runner).environment._description.split(',')[0]
  ),
  'atari_lib.create_atari_environment.sticky_actions': lambda runner: (
    inside.environment(runner)._ale.getFloat('repeat_action_probability')
    == 0.25
  ),
  'AtariPreprocessing.terminal_on_life_loss': lambda runner: (
    inside.environment(runner).terminal_on_life_loss
  ),
  'create_gym_environment.keep_time_limit': lambda runner: (
    inside.environment(runner).environment.spec.max_episode_steps == 500
  ),
  'create_agent.fit_to_environment': lambda runner: (
    inside.agent(runner).observation_shape
    == inside.environment(runner).observation_space.shape
  ),
  'Runner.create_environment_fn': lambda runner: type(
    inside.environment(runner)
  ),
  'TrainRunner.create_environment_fn': lambda runner: type(
    inside.environment(runner)
  ),
}
OF_THE_RUNNER |= {
  f'Runner.{name}': lambda runner, name=name: getattr(runner, f'_{name}')
  for name in (
    'num_iterations',
    'training_steps',
    'evaluation_steps',
    'max_steps_per_episode',
    'clip_rewards',
  )
}


def read(runner, binding):
  """What a binding became."""
  if binding in OF_THE_RUNNER:
    return OF_THE_RUNNER[binding](runner)
  if binding in READERS:
    return READERS[binding](inside.agent(runner))
  owner, _, parameter = binding.rpartition('.')
  classes = [c.__name__ for c in type(inside.agent(runner)).__mro__]
  assert owner in classes, f'{binding} is read from nowhere here'
  return OF_THE_AGENT[parameter](inside.agent(runner))


def assert_arrived(runner, bindings):
  for binding, value in bindings.items():
    found, expected = read(runner, binding), expected_value(value)
    if isinstance(expected, float):
      expected = pytest.approx(expected, rel=1e-6)
    assert found == expected, binding


# Tests ------------------------------------------------------------------------


@pytest.mark.parametrize('name', once(FILES))
def test_every_value_arrives(name, tmp_path):
  bindings = bindings_of_agent(name)
  small = {k: CAPACITY for k in bindings if k.endswith('.replay_capacity')}
  assert small, 'every file sizes its replay memory'
  runner = make_runner(name, small, tmp_path)
  if IS_JAX and bindings['create_agent.agent_name'] == 'full_rainbow':
    bindings |= {
      'create_agent.agent_name': 'jax_full_rainbow',
      # `JaxDQNAgent` leaves the device to JAX, whatever its parents are told.
      'FullRainbowAgent.tf_device': None,
    }
  assert_arrived(runner, bindings | small)

  agent, environment = inside.agent(runner), inside.environment(runner)
  assert agent.num_actions == environment.action_space.n
  assert agent.num_actions == agent.online_convnet.num_actions
  assert agent.cumulative_gamma == agent.gamma**agent.update_horizon
  is_atari = 'create_gym_environment.version' not in bindings
  assert isinstance(environment, atari_lib.AtariPreprocessing) == is_atari
  if is_atari:
    assert agent.state.shape == (1, 84, 84, 4)
    assert agent.state.dtype == np.uint8


CLASSIC = [
  f'dopamine/{folder}agents/dqn/configs/dqn_{task}.gin'
  for folder in (('', 'jax/') if IS_JAX else ('',))
  for task in ('cartpole', 'acrobot', 'lunarlander', 'mountaincar')
]


@pytest.mark.parametrize('name', once(CLASSIC))
def test_the_classic_tasks_train(name, tmp_path):
  owner = 'JaxDQNAgent' if '/jax/' in name else 'DQNAgent'
  runner = make_runner(
    name,
    {
      f'{owner}.min_replay_history': 20,
      'Runner.num_iterations': 1,
      'Runner.training_steps': 60,
      'Runner.evaluation_steps': 20,
      'Runner.max_steps_per_episode': 20,
    },
    tmp_path,
  )
  before = inside.agent(runner).online_convnet.get_weights()
  runner.run_experiment()
  assert inside.agent(runner).training_steps >= 60
  after = inside.agent(runner).online_convnet.get_weights()
  assert not any(
    np.array_equal(*pair) for pair in zip(before, after, strict=True)
  )
  assert (tmp_path / 'checkpoints/sentinel_checkpoint_complete.0').exists()


@pytest.mark.no_backend
@pytest.mark.parametrize('agent_name', ['rainbow', 'quantile'])
def test_the_gym_file_serves_other_agents_too(agent_name, tmp_path):
  """With a second binding: what is not an agent's own is `DQNAgent`'s."""
  bindings = bindings_of(gin_files.GYM)
  runner = make_runner(
    gin_files.GYM,
    {
      'create_agent.agent_name': agent_name,
      'WrappedReplayBuffer.replay_capacity': CAPACITY,
    },
    tmp_path,
  )
  owners = (f'{CLASSES[agent_name]}.', 'DQNAgent.')
  bindings = {k: v for k, v in bindings.items() if k.startswith(owners)}
  assert len(bindings) > 12
  assert_arrived(runner, bindings)


def other(value, i):
  """The i-th of values of the same type that no class has as its default."""
  if isinstance(value, bool):
    return not value
  if isinstance(value, int):
    return value + 1 + i
  if isinstance(value, float):
    return (value + 0.0123 * (1 + i)) / 2
  return value


# One file of each agent; C51's are the Rainbow agent's.
ONE_EACH = list({pathlib.Path(name).parent: name for name in FILES}.values())


@pytest.mark.parametrize('name', once(ONE_EACH))
def test_other_values_arrive_too(name, tmp_path):
  """Those of the files are often the defaults, which come by themselves."""
  bindings = bindings_of_agent(name)
  for binding in bindings:
    if binding.endswith('.replay_capacity'):
      bindings[binding] = CAPACITY
  others = {k: other(v, i) for i, (k, v) in enumerate(bindings.items())}
  others = {k: v for k, v in others.items() if v != bindings[k]}
  assert len(others) > 8
  runner = make_runner(name, others, tmp_path)
  assert_arrived(runner, others)


# create_agent -----------------------------------------------------------------


class Environment:
  action_space = type('Space', (), {'n': 7})


CLASSES = {
  'dqn': 'DQNAgent',
  'rainbow': 'RainbowAgent',
  'implicit_quantile': 'ImplicitQuantileAgent',
  'quantile': 'QuantileAgent',
  'full_rainbow': 'FullRainbowAgent',
}


@pytest.mark.parametrize('prefix', ['', 'jax_'])
@pytest.mark.parametrize('name', CLASSES)
def test_every_name_makes_its_agent(name, prefix, monkeypatch):
  if prefix and not IS_JAX:
    with pytest.raises(RuntimeError, match='KERAS_BACKEND=jax'):
      run_experiment.create_agent(None, Environment, prefix + name)
    return
  # The only name that means another agent on another backend.
  is_jax = bool(prefix) or (IS_JAX and name == 'full_rainbow')
  module = f'dopamine.{"jax." * is_jax}agents.{name}.{name}_agent'
  cls = 'Jax' * is_jax + CLASSES[name]
  assert issubclass(
    getattr(importlib.import_module(module), cls), dqn_agent.DQNAgent
  )
  calls = []

  class Fake:
    def __init__(self, sess, **kwargs):
      calls.append({'sess': sess} | kwargs)

  class FakeJax:
    def __init__(self, **kwargs):
      calls.append(kwargs)

  monkeypatch.setattr(f'{module}.{cls}', FakeJax if is_jax else Fake)
  run_experiment.create_agent('sess', Environment, prefix + name, 'writer')
  run_experiment.create_agent(
    'sess', Environment, prefix + name, 'writer', debug_mode=True
  )
  session = {} if is_jax else {'sess': 'sess'}
  assert calls == [
    {'num_actions': 7, 'summary_writer': None} | session,
    {'num_actions': 7, 'summary_writer': 'writer'} | session,
  ]


def test_unknown_agents_are_told_with_those_that_exist():
  with pytest.raises(ValueError) as error:
    run_experiment.create_agent(None, Environment, 'jax_qantile')
  assert str(error.value).startswith(
    "Unknown agent: jax_qantile (did you mean 'jax_quantile'?); "
    'create_agent.agent_name is one of dqn, rainbow, implicit_quantile, '
    'quantile, full_rainbow, jax_dqn, jax_rainbow, jax_implicit_quantile, '
    'jax_quantile, jax_full_rainbow'
  )
  with pytest.raises(ValueError, match='Unknown agent: None; create_agent'):
    run_experiment.create_agent(None, Environment)
