"""Whatever gin binds, the first thing a user sees is a paragraph of ours."""

import inspect

import hypothesis
from hypothesis import strategies as st
import keras
import pytest

from dopamine.agents.dqn import dqn_agent
from dopamine.agents.full_rainbow import full_rainbow_agent
from dopamine.agents.implicit_quantile import implicit_quantile_agent
from dopamine.agents.quantile import quantile_agent
from dopamine.agents.rainbow import rainbow_agent
from dopamine.discrete_domains import run_experiment
from dopamine.discrete_domains import train
from dopamine.replay_memory import circular_replay_buffer
from dopamine.settings import checks
from tests.support import commands

pytestmark = pytest.mark.no_backend

# File -> what can be bound there; of a class, its SETTINGS too.
PARAMETERS = {
  'dqn/configs/dqn_cartpole.gin': {
    dqn_agent.DQNAgent: 'network epsilon_decay_period optimizer replay_scheme '
    'seed use_staging',
    run_experiment.Runner: 'seed',
    'WrappedReplayBuffer': 'replay_capacity batch_size',
    circular_replay_buffer.OutOfGraphReplayBuffer: 'extra_storage_types',
    'tf.train.AdamOptimizer': 'learning_rate beta1 beta2 epsilon',
    'create_gym_environment': 'environment_name version seed render_mode',
    'create_agent': 'agent_name debug_mode',
    'create_runner': 'schedule',
  },
  'rainbow/configs/rainbow_cartpole.gin': {
    rainbow_agent.RainbowAgent: 'network',
    'WrappedPrioritizedReplayBuffer': 'replay_capacity batch_size',
  },
  'quantile/configs/quantile_cartpole.gin': {
    quantile_agent.QuantileAgent: 'network',
    'create_optimizer': 'name learning_rate beta1 beta2 eps centered',
    'ClassicControlQuantileNetwork': 'min_vals num_layers hidden_units '
    'activation_fn inputs_preprocessed',
  },
  'implicit_quantile/configs/implicit_quantile_cartpole.gin': {
    implicit_quantile_agent.ImplicitQuantileAgent: '',
  },
  'full_rainbow/configs/full_rainbow_cartpole.gin': {
    full_rainbow_agent.FullRainbowAgent: '',
  },
}
BINDINGS = [
  (f'dopamine/agents/{file}', f'{getattr(owner, "__name__", owner)}.{name}')
  for file, owners in PARAMETERS.items()
  for owner, names in owners.items()
  for name in [*names.split(), *getattr(owner, 'SETTINGS', ())]
]
VALUES = st.one_of(
  st.integers(-3, 3),
  st.sampled_from([10**15, -(10**15), 0.5, -0.5, 1e300, True, False, None]),
  st.sampled_from(['', 'x', '3', (), (0,), (-1, 2), ('x',), [], [1.5], {}]),
  st.sampled_from([{'x': 1}, (3, 3, 3)]),
).map(repr) | st.sampled_from(
  ['@dqn_agent.identity_epsilon', '@gym_lib.create_gym_environment()', '@run']
)


@pytest.fixture
def one_short_episode(monkeypatch, at_the_root):
  """Runs are built as always, and then end with their third step."""

  def run_experiment_(runner):
    runner._max_steps_per_episode = min(runner._max_steps_per_episode, 3)
    runner._run_one_episode()

  monkeypatch.setattr(run_experiment.Runner, 'run_experiment', run_experiment_)


# To build an agent takes 0.3 s on TensorFlow and 2 s on JAX.
NUM_EXAMPLES = {'tensorflow': 100, 'jax': 15}[keras.config.backend()]


@hypothesis.settings(
  max_examples=NUM_EXAMPLES,
  deadline=None,
  derandomize=True,
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(st.sampled_from(BINDINGS), VALUES)
def test_a_wrong_binding_is_explained_or_harmless(
  tmp_path_factory, one_short_episode, binding, value
):
  gin_file, name = binding
  base_dir = tmp_path_factory.mktemp('run')
  commands.set_flags(
    f'--base_dir={base_dir}',
    f'--gin_files={gin_file}',
    f'--gin_bindings={name} = {value}',
  )
  try:
    train.main([])
  except SystemExit as end:
    assert str(end.code).startswith('\nError: '), end.code


NEEDED = {
  run_experiment.Runner: {'base_dir': '', 'create_agent_fn': len},
  circular_replay_buffer.OutOfGraphReplayBuffer: {
    'observation_shape': (),
    'stack_size': 1,
  },
}


# How small this may be depends on another setting; that does nothing.
NOT_IN_A_TABLE = {'epsilon_decay_period', 'use_staging'}


@pytest.mark.parametrize(
  'owner',
  [
    owner
    for owners in PARAMETERS.values()
    for owner in owners
    if inspect.isclass(owner)
  ],
)
def test_each_number_and_switch_is_a_setting(owner):
  names = {
    name
    for name, parameter in inspect.signature(owner).parameters.items()
    if isinstance(parameter.default, bool | int | float | tuple)
  }
  assert names - NOT_IN_A_TABLE <= checks.settings(owner).keys()


@pytest.mark.parametrize(
  'owner, name',
  [
    (owner, name)
    for owners in PARAMETERS.values()
    for owner in owners
    for name in getattr(owner, 'SETTINGS', ())
  ],
)
def test_each_setting_is_looked_at(owner, name):
  arguments = NEEDED.get(owner, {'num_actions': 2}) | {name: object()}
  with pytest.raises(ValueError, match=f'{owner.__name__}.{name} = <object '):
    owner(**arguments)
