"""Whatever gin binds, the first thing a user sees is a paragraph of ours."""

import hypothesis
from hypothesis import strategies as st
import keras
import pytest

from dopamine.discrete_domains import run_experiment
from dopamine.discrete_domains import train
from tests.support import commands

AGENT = (
  'observation_shape observation_dtype stack_size network gamma update_horizon '
  'min_replay_history update_period target_update_period epsilon_fn '
  'epsilon_train epsilon_eval epsilon_decay_period tf_device eval_mode '
  'use_staging max_tf_checkpoints_to_keep optimizer summary_writing_frequency '
  'allow_partial_reload seed double_dqn replay_scheme'
)
RUNNER = (
  'checkpoint_file_prefix logging_file_prefix log_every_n num_iterations '
  'training_steps evaluation_steps max_steps_per_episode clip_rewards '
  'timeouts_are_terminal seed create_environment_fn'
)
MEMORY = (
  'max_sample_attempts extra_storage_types terminal_dtype action_shape '
  'action_dtype reward_shape reward_dtype'
)
# File -> what can be bound there.
PARAMETERS = {
  'dqn/configs/dqn_cartpole.gin': {
    'DQNAgent': AGENT,
    'Runner': RUNNER,
    'WrappedReplayBuffer': 'replay_capacity batch_size',
    'OutOfGraphReplayBuffer': MEMORY,
    'tf.train.AdamOptimizer': 'learning_rate beta1 beta2 epsilon',
    'create_gym_environment': 'environment_name version seed render_mode',
    'create_agent': 'agent_name debug_mode',
    'create_runner': 'schedule',
  },
  'rainbow/configs/rainbow_cartpole.gin': {
    'RainbowAgent': 'num_atoms vmin vmax network',
    'WrappedPrioritizedReplayBuffer': 'replay_capacity batch_size',
  },
  'quantile/configs/quantile_cartpole.gin': {
    'QuantileAgent': 'kappa num_atoms network',
    'create_optimizer': 'name learning_rate beta1 beta2 eps centered',
    'ClassicControlQuantileNetwork': 'min_vals num_layers hidden_units '
    'activation_fn inputs_preprocessed',
  },
  'implicit_quantile/configs/implicit_quantile_cartpole.gin': {
    'ImplicitQuantileAgent': 'kappa num_tau_samples num_tau_prime_samples '
    'num_quantile_samples quantile_embedding_dim',
  },
  'full_rainbow/configs/full_rainbow_cartpole.gin': {
    'FullRainbowAgent': 'noisy dueling distributional '
    'num_updates_per_train_step',
  },
}
BINDINGS = [
  (f'dopamine/agents/{file}', f'{owner}.{name}')
  for file, owners in PARAMETERS.items()
  for owner, names in owners.items()
  for name in names.split()
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
