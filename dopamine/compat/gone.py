"""What classes of Dopamine 2 to 4.0 had, and ours neither call nor have.

A class of ours -> names -> what to write instead, which completes 'override'
or 'use'. Each name is in a row of docs/migrating.md too.
"""

from typing import NamedTuple


class Gone(NamedTuple):
  """What subclasses of one class cannot count on.

  Attributes:
    overridden: hooks that nothing calls.
    used: attributes and methods that there are no more, as paths of `self`;
      those of `overridden` are gone too, unless there is one of this name.
    stored: attributes that nobody sets.
    served: of `overridden`, what can be called as before.
  """

  overridden: dict[str, str] = {}
  used: dict[str, str] = {}
  stored: dict[str, str] = {}
  served: frozenset[str] = frozenset()


_IN_JAX = ', or derive from JaxDQNAgent, whose subclasses may have it'
_LOSS = '_loss(batch), whose gradient the learner takes'
_NO_SESSION = 'NumPy, or methods of the agent: there is no session'

# What a subclass of JaxDQNAgent that is functional has, and any other has not.
FUNCTIONAL = {
  '_build_networks_and_optimizer': f'_build_networks(){_IN_JAX}',
  '_sample_from_replay_buffer': f'_sample_batches(num_batches){_IN_JAX}',
  '_training_step_update': f'_update(num_updates, num_steps){_IN_JAX}',
}
FUNCTIONAL_ATTRIBUTES = {
  'network_def': f'self.online_convnet{_IN_JAX}',
  'online_params': f'self.online_convnet.weights{_IN_JAX}',
  'target_network_params': f'self.target_convnet{_IN_JAX}',
  'optimizer_state': f'{_LOSS}{_IN_JAX}',
  'replay_elements': f'the batch that hooks are given{_IN_JAX}',
}

# Hooks that only agents of hooks call; a functional update calls none.
HOOKS = frozenset(
  """
  _loss _loss_weights _priorities _td_loss _next_action _q_values _trainable
  _create_network _build_networks _sample_batches _acting_draws _update _online
  _online_next _target
  """.split()
)

# Of the attributes, what agents of hooks have too, if they are of JAX.
OF_ALL_JAX = frozenset(('online_params', 'target_network_params'))

# Those that agents of Dopamine 3.3 to 4.0 had as well, and are called as then.
HOOKS_OF_4 = frozenset(
  """
  _build_replay_buffer _record_observation _reset_state _select_action
  _store_transition _sync_weights _train_step
  """.split()
)

# What an agent's replay memory has of the batch that was drawn last.
TRACED = {
  f'_replay.{name}s': f'batch.{name}'
  for name in (
    *('state', 'action', 'reward', 'terminal'),
    *('next_state', 'next_action', 'next_reward'),
  )
}
TRACED |= {
  '_replay.indices': 'batch.indices',
  '_replay.transition': 'batch, which has its fields',
}

_AGENT = Gone(
  overridden={
    '_network_template': '_create_network(name), which returns a keras.Model',
    '_get_network_type': '_create_network(name), which returns a keras.Model',
    '_build_train_op': '_loss(batch)',
    '_build_sync_op': '_sync_weights()',
    'set_collector_dispatcher': '_loss(batch), which may return figures to log',
    **FUNCTIONAL,
  },
  used={
    '_sess.run': '_q_values(state) to act, _loss(batch) to learn',
    '_sess.graph': _NO_SESSION,
    '_sess.as_default': _NO_SESSION,
    'state_ph': 'self.state',
    '_q_argmax': '_q_values(state), or super()._select_action()',
    '_net_outputs': 'self.online_convnet(state)',
    '_replay_net_outputs': 'self.online_convnet(batch.state)',
    '_replay_next_target_net_outputs': 'self.target_convnet(batch.next_state)',
    '_replay_net_quantile_values': 'self.online_convnet(batch.state, ...)',
    '_replay_net_quantiles': 'self.online_convnet(batch.state, ...)',
    '_replay_net_target_quantile_values': (
      'self.target_convnet(batch.next_state, ...)'
    ),
    '_replay_net_target_q_values': 'self.target_convnet(batch.next_state, ...)',
    '_replay_next_qt_argmax': '_next_action(batch, next_q)',
    '_train_op': '_loss(batch) to say it, self._update(1, 1) to run one',
    '_sync_qt_ops': '_sync_weights()',
    '_merged_summaries': '_loss(batch), which may return figures to log',
    '_saver': (
      'super().bundle_and_checkpoint(...) and super().unbundle(...), which '
      'have the weights'
    ),
    'optimizer.minimize': _LOSS,
    'optimizer.compute_gradients': _LOSS,
    'optimizer.target': 'self.online_params',
    'optimizer.apply_gradient': (
      'self.optimizer.update and optax.apply_updates'
    ),
    '_collector_dispatcher': 'self.summary_writer',
    'use_staging': 'nothing: sampling needs no staging',
    '_optimizer_name': 'self.optimizer',
    '_double_dqn': 'self.double_dqn',
    **FUNCTIONAL_ATTRIBUTES,
  },
  stored={'cumulative_gamma': 'self.gamma, of which it is computed'},
)

_RUNNER = Gone(
  used={
    '_sess.run': _NO_SESSION,
    '_sess.graph': _NO_SESSION,
    '_sess.as_default': _NO_SESSION,
    '_use_legacy_logger': 'self._logger, which always logs',
    '_has_collector_dispatcher': 'self._summary_writer',
    '_collector_dispatcher': 'self._summary_writer',
    '_fine_grained_print_to_console': 'self._logger, which always logs',
  },
)

# Private attributes that agents and Runners had: a subclass may set them.
ITS_OWN = frozenset(
  """
  _agent _base_dir _checkpoint_dir _checkpointer _clip_rewards _dueling
  _distributional _double_dqn _environment _evaluation_steps _kappa
  _last_observation _log_every_n _logger _logging_file_prefix _loss_type
  _max_steps_per_episode _noisy _num_atoms _num_iterations
  _num_updates_per_train_step _observation _replay _replay_scheme _rng _sess
  _start_iteration _summary_writer _support _training_steps
  """.split()
)

_BY_ITERATION = '_checkpoint_experiment(iteration) of the Runner'
_LOGGER = Gone(
  {'_generate_filename': 'log_to_file(filename_prefix, iteration_number)'}
)
_CHECKPOINTER = Gone(
  overridden={
    '_generate_filename': _BY_ITERATION,
    '_save_data_to_file': _BY_ITERATION,
    '_load_data_from_file': (
      '_initialize_checkpointer_and_maybe_resume(prefix) of the Runner'
    ),
    '_clean_up_old_checkpoints': 'the setting max_tf_checkpoints_to_keep',
    'save_checkpoint': _BY_ITERATION,
    'load_checkpoint': (
      '_initialize_checkpointer_and_maybe_resume(prefix) of the Runner'
    ),
  },
  used={
    '_checkpoint_file_prefix': 'an attribute of your own',
    '_checkpoint_frequency': 'an attribute of your own',
    '_sentinel_file_identifier': 'an attribute of your own',
  },
)

_STACKS = '_element(element, values, start), where values["state"] has all'
_DRAWN = 'sample_index_batch(batch_size), which decides what is drawn'
_MEMORY = Gone(
  overridden={
    '_create_storage': 'get_storage_signature()',
    '_add_zero_transition': '_add(*args), which stores padding too',
    '_add_transition': '_add(*args)',
    '_check_args_length': 'add(...)',
    '_check_add_types': 'add(...)',
    '_create_batch_arrays': 'get_transition_elements(batch_size)',
    '_get_element_stack': _STACKS,
    'get_observation_stack': _STACKS,
    'get_terminal_stack': _STACKS,
    'get_range': _STACKS,
    'cursor': _DRAWN,
    'is_full': _DRAWN,
    'is_empty': _DRAWN,
  },
  used={'_episode_end_indices': 'is_valid_transition(index)'},
)
_PRIORITIES = (
  '_element(element, values, start) for the element sampling_probabilities'
)
_PRIORITIZED = Gone(
  overridden={'get_priority': _PRIORITIES},
  used={'sum_tree._total_priority': 'self.sum_tree.nodes[0][0]'},
)
_WRAPPED = Gone(
  overridden={
    'create_sampling_ops': (
      'sample_transition_batch and get_transition_elements of the memory'
    ),
    '_set_transition_shape': 'get_transition_elements() of the memory',
    '_set_up_staging': 'nothing: sampling needs no staging',
    'unpack_transition': 'sample(num_batches), which returns a named tuple',
  },
  used={'_store': 'self.memory._store'},
  served=frozenset(('create_sampling_ops',)),
)
_WRAPPED_PRIORITIZED = Gone(
  overridden={
    'tf_set_priority': 'set_priority(indices, priorities) of the memory',
    'tf_get_priority': f'in the memory {_PRIORITIES}',
  },
)

_ATARI = Gone(
  overridden={
    '_fetch_grayscale_observation': '_pool_and_resize(), of self.screen_buffer',
  },
)

_NETWORK = Gone(
  used={'kernel_initializer': 'an attribute of your own'},
)

BY_CLASS = {
  'DQNAgent': _AGENT,
  'Runner': _RUNNER,
  'Logger': _LOGGER,
  'Checkpointer': _CHECKPOINTER,
  'OutOfGraphReplayBuffer': _MEMORY,
  'OutOfGraphPrioritizedReplayBuffer': _PRIORITIZED,
  'WrappedReplayBuffer': _WRAPPED,
  'WrappedPrioritizedReplayBuffer': _WRAPPED_PRIORITIZED,
  'AtariPreprocessing': _ATARI,
  'Network': _NETWORK,
}

# Private parts of a memory, which its wrapper does not pass on.
_OF_THE_MEMORY = """
  _store _state_shape _next_experience_is_episode_start _observation_shape
  _stack_size _replay_capacity _batch_size _update_horizon _gamma
  _observation_dtype _max_sample_attempts _terminal_dtype _action_shape
  _action_dtype _reward_shape _reward_dtype _extra_storage_types _add
"""

# Of a partner, whoever has it: an agent's memory, a Runner's agent.
OF_PARTNERS = {
  name: f'its memory, self._replay.memory.{name} in an agent'
  for name in _OF_THE_MEMORY.split()
}
for _gone in BY_CLASS.values():
  OF_PARTNERS |= _gone.overridden | {
    name: way for name, way in _gone.used.items() if '.' not in name
  }
OF_PARTNERS |= {
  '_total_priority': 'nodes[0][0]',
  'unwrapped': 'ale, of what AtariPreprocessing.environment is',
  'env': 'ale, of what AtariPreprocessing.environment is',
  'get_action_meanings': 'ale.getMinimalActionSet()',
  'seed': 'the setting Runner.seed',
  **dict.fromkeys(('run', 'graph', 'as_default'), _NO_SESSION),
}
# Where partners are found, and what may be followed: no property of theirs is.
PARTNERS = {
  'DQNAgent': ('_replay',),
  'Runner': ('_agent', '_environment', '_logger', '_checkpointer'),
  'WrappedReplayBuffer': ('memory',),
  'Preprocessing': ('environment',),
}
# Those that a Runner only calls in its own ways.
UNASKED = '_logger', '_checkpointer'
STEPS = {'memory', '_replay', 'sum_tree', 'environment', '_sess'}
