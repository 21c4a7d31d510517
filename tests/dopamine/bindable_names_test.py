"""Every name that a gin file may bind is in a list: none goes by accident.

`bindable_names.json` has them all. `DOPAMINE_3` are those of Dopamine 3.2.1,
with every parameter it had.
"""

import inspect
import json
import pathlib

import gin
import keras
import pytest

from dopamine.discrete_domains import agent_factory
from dopamine.discrete_domains import run_experiment
from dopamine.settings import gin_files
from dopamine.utils import agent_visualizer  # noqa: F401
from dopamine.utils import atari_plotter  # noqa: F401
from dopamine.utils import bar_plotter  # noqa: F401
from dopamine.utils import line_plotter  # noqa: F401

LIST = pathlib.Path(__file__).with_name('bindable_names.json')

_DQN = (
  'observation_shape observation_dtype stack_size network gamma update_horizon '
  'min_replay_history update_period target_update_period epsilon_fn '
  'epsilon_train epsilon_eval epsilon_decay_period optimizer summary_writer '
  'summary_writing_frequency'
)
_BUFFER = (
  'replay_capacity batch_size max_sample_attempts extra_storage_types '
  'observation_dtype terminal_dtype action_shape action_dtype reward_shape '
  'reward_dtype'
)
_VECTOR = 'num_actions num_layers hidden_units min_vals max_vals'
_FULL_RAINBOW = 'num_actions num_atoms noisy dueling distributional'

DOPAMINE_3 = {
  'dopamine.agents.dqn.dqn_agent': {
    'DQNAgent': f'{_DQN} tf_device eval_mode use_staging '
    'max_tf_checkpoints_to_keep allow_partial_reload',
    'linearly_decaying_epsilon': 'decay_period step warmup_steps epsilon',
    'identity_epsilon': '',
  },
  'dopamine.agents.rainbow.rainbow_agent': {
    'RainbowAgent': f'{_DQN} num_atoms vmin vmax replay_scheme tf_device '
    'use_staging'
  },
  'dopamine.agents.implicit_quantile.implicit_quantile_agent': {
    'ImplicitQuantileAgent': 'network kappa num_tau_samples '
    'num_tau_prime_samples num_quantile_samples quantile_embedding_dim '
    'double_dqn summary_writer summary_writing_frequency'
  },
  'dopamine.discrete_domains.atari_lib': {
    'create_atari_environment': 'game_name sticky_actions',
    'maybe_transform_variable_names': 'legacy_checkpoint_load',
    'AtariPreprocessing': 'frame_skip terminal_on_life_loss screen_size',
  },
  'dopamine.discrete_domains.checkpointer': {
    'get_latest_checkpoint_number': 'override_number sentinel_file_identifier'
  },
  'dopamine.discrete_domains.gym_lib': {
    'create_gym_environment': 'environment_name version',
    'GymPreprocessing': '',
    'BasicDiscreteDomainNetwork': 'min_vals max_vals num_actions num_atoms '
    'activation_fn',
    **{
      f'{task}DQNNetwork': 'num_actions name'
      for task in ('Cartpole', 'Acrobot', 'LunarLander', 'MountainCar')
    },
    **{
      f'{task}RainbowNetwork': 'num_actions num_atoms support name'
      for task in ('Cartpole', 'Acrobot')
    },
    'FourierDQNNetwork': 'min_vals max_vals num_actions fourier_basis_order',
    'CartpoleFourierDQNNetwork': 'num_actions',
    'AcrobotFourierDQNNetwork': 'num_actions',
  },
  'dopamine.discrete_domains.run_experiment': {
    'create_agent': 'agent_name summary_writer debug_mode',
    'create_runner': 'schedule',
    'Runner': 'create_environment_fn checkpoint_file_prefix '
    'logging_file_prefix log_every_n num_iterations training_steps '
    'evaluation_steps max_steps_per_episode clip_rewards',
    'TrainRunner': 'create_environment_fn',
  },
  'dopamine.discrete_domains.legacy_networks': {
    **{
      f'{task}_{net}_network': 'num_actions network_type state'
      for task, net in (
        ('cartpole', 'dqn'),
        ('acrobot', 'dqn'),
        ('acrobot', 'fourier_dqn'),
        ('cartpole', 'rainbow'),
        ('acrobot', 'rainbow'),
      )
    },
    '_basic_discrete_domain_network': 'min_vals max_vals num_actions state '
    'num_atoms',
    'fourier_dqn_network': 'min_vals max_vals num_actions state '
    'fourier_basis_order',
  },
  'dopamine.replay_memory.circular_replay_buffer': {
    'OutOfGraphReplayBuffer': f'{_BUFFER} observation_shape stack_size '
    'update_horizon gamma',
    'WrappedReplayBuffer': f'{_BUFFER} use_staging wrapped_memory',
  },
  'dopamine.replay_memory.prioritized_replay_buffer': {
    'OutOfGraphPrioritizedReplayBuffer': f'{_BUFFER} observation_shape '
    'stack_size update_horizon gamma',
    'WrappedPrioritizedReplayBuffer': f'{_BUFFER} use_staging wrapped_memory',
  },
  'tf.train': {
    'RMSPropOptimizer': 'learning_rate decay momentum epsilon centered',
    'AdamOptimizer': 'learning_rate beta1 beta2 epsilon',
    'exponential_decay': 'learning_rate global_step decay_steps decay_rate',
  },
}

DOPAMINE_3_JAX = {
  'dopamine.jax.agents.dqn.dqn_agent': {
    'JaxDQNAgent': f'{_DQN} eval_mode max_tf_checkpoints_to_keep '
    'allow_partial_reload seed loss_type preprocess_fn',
    'create_optimizer': 'name learning_rate beta1 beta2 eps centered',
  },
  'dopamine.jax.agents.rainbow.rainbow_agent': {
    'JaxRainbowAgent': f'{_DQN} num_atoms vmin vmax replay_scheme '
    'allow_partial_reload'
  },
  'dopamine.jax.agents.quantile.quantile_agent': {
    'JaxQuantileAgent': 'network kappa num_atoms gamma update_horizon '
    'min_replay_history update_period target_update_period epsilon_train '
    'epsilon_eval epsilon_decay_period replay_scheme optimizer'
  },
  'dopamine.jax.agents.implicit_quantile.implicit_quantile_agent': {
    'JaxImplicitQuantileAgent': 'network kappa num_tau_samples '
    'num_tau_prime_samples num_quantile_samples quantile_embedding_dim '
    'double_dqn gamma replay_scheme optimizer summary_writer '
    'summary_writing_frequency'
  },
  'dopamine.jax.agents.full_rainbow.full_rainbow_agent': {
    'JaxFullRainbowAgent': 'noisy dueling double_dqn distributional '
    'num_updates_per_train_step network num_atoms vmax vmin epsilon_fn '
    'replay_scheme summary_writer seed preprocess_fn'
  },
  'dopamine.jax.networks': {
    'NatureDQNNetwork': 'num_actions inputs_preprocessed',
    'ClassicControlDQNNetwork': f'{_VECTOR} inputs_preprocessed',
    'RainbowNetwork': 'num_actions num_atoms inputs_preprocessed',
    'ClassicControlRainbowNetwork': f'{_VECTOR} num_atoms inputs_preprocessed',
    'QuantileNetwork': 'num_actions num_atoms inputs_preprocessed',
    'FullRainbowNetwork': f'{_FULL_RAINBOW} inputs_preprocessed',
    'NoisyNetwork': '',
  },
}


@pytest.fixture(autouse=True, scope='module')
def registered():
  gin.clear_config()
  run_experiment.load_gin_configs([], [])
  agent_factory.import_configurables()
  yield
  gin.clear_config()


def is_here(selector):
  """Whether the backend of this process has the name."""
  name = selector.rpartition('.')[2]
  is_jaxs = name.startswith('Jax') or name == 'NoisyNetwork'
  return keras.config.backend() == 'jax' or not is_jaxs


def found():
  """Selector -> parameters of what this package has registered."""
  registry = gin.config._REGISTRY
  names = {}
  for selector, configurable in registry._selector_map.items():
    if selector.split('.')[0] in ('dopamine', 'tf'):
      target = configurable.wrapped
      if inspect.isclass(target):
        names[selector] = sorted(gin_files.parameters(target)[0] - {'self'})
      else:
        names[selector] = sorted(inspect.signature(target).parameters)
  return names


def test_the_list_is_what_can_be_bound():
  """After a change made on purpose: `python -m` this file writes the list."""
  listed = json.loads(LIST.read_text())
  assert found() == {k: v for k, v in listed.items() if is_here(k)}


_NAMES = [
  (module, name, parameters.split())
  for module, names in (DOPAMINE_3 | DOPAMINE_3_JAX).items()
  for name, parameters in names.items()
]


@pytest.mark.parametrize(
  'module, name, parameters', _NAMES, ids=[name for _, name, _ in _NAMES]
)
def test_what_dopamine_3_bound_can_be_bound(module, name, parameters):
  if not is_here(name):
    pytest.skip('of the JAX backend')
  nearest = module.rpartition('.')[2]
  for selector in (f'{module}.{name}', f'{nearest}.{name}', name):
    gin.clear_config()
    gin.parse_config(f'some.reference = @{selector}', skip_unknown=['some'])
    for parameter in parameters:
      gin.parse_config(f'{selector}.{parameter} = 1')
    gin_files._check_parameters()


def main():
  run_experiment.load_gin_configs([], [])
  agent_factory.import_configurables()
  names = sorted(found().items())
  lines = [f'  {json.dumps(k)}: {json.dumps(v)}' for k, v in names]
  LIST.write_text('{\n' + ',\n'.join(lines) + '\n}\n')


if __name__ == '__main__':
  main()
