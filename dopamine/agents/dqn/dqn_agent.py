"""DQN (Mnih et al., 2015), and what every agent here shares with it.

An agent is a keras network twice (online and target), a replay memory, and a
few hooks that a learner compiles. To change the algorithm, override one:

    class DoubleDQNAgent(dqn_agent.DQNAgent):

      def _build_target_q_op(self, batch):
        greedy = ops.argmax(
          self.online_convnet(batch.next_state).q_values, axis=-1)
        next_q = self.target_convnet(batch.next_state).q_values
        return batch.reward + batch.discount * losses.take_action(
          next_q, greedy)

`_loss`, `_loss_weights`, `_priorities`, `_build_target_*`, `_q_values` and
`_sync_weights` are traced once: an attribute that they read is frozen at its
first value. What changes over time arrives in the batch.
"""

import collections
import contextlib
import functools
import inspect
import os
import random
import re

from absl import logging
import gin
import keras
from keras import ops
import numpy as np

from dopamine import backend
from dopamine import learners
from dopamine import losses
from dopamine import networks
from dopamine import old_weights
from dopamine import optimizers
from dopamine import seeding
from dopamine.agents import old_code
from dopamine.compat import dtypes
from dopamine.discrete_domains import atari_lib
from dopamine.files import atomic
from dopamine.files import pending
from dopamine.files import safe_pickle
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import elements
from dopamine.replay_memory import prioritized_replay_buffer
from dopamine.settings import checks
from dopamine.settings import errors

NATURE_DQN_OBSERVATION_SHAPE = atari_lib.NATURE_DQN_OBSERVATION_SHAPE
NATURE_DQN_DTYPE = atari_lib.NATURE_DQN_DTYPE
NATURE_DQN_STACK_SIZE = atari_lib.NATURE_DQN_STACK_SIZE
nature_dqn_network = networks.NatureDQNNetwork


@gin.configurable
def linearly_decaying_epsilon(decay_period, step, warmup_steps, epsilon):
  """1 during the warm-up, then down to `epsilon` in a straight line.

  Args:
    decay_period: agent steps of the descent.
    step: agent steps taken so far.
    warmup_steps: agent steps before the descent starts.
    epsilon: the final value.
  """
  steps_left = decay_period + warmup_steps - step
  bonus = (1.0 - epsilon) * steps_left / decay_period
  return epsilon + min(max(bonus, 0.0), 1.0 - epsilon)


@gin.configurable
def identity_epsilon(unused_decay_period, unused_step, unused_warmup, epsilon):
  """Returns `epsilon` at every step."""
  return epsilon


@gin.configurable
class DQNAgent:
  """DQN with the settings of Dopamine's baselines.

  What every agent can do is here: n-step returns, double DQN (van Hasselt et
  al., 2016) and prioritised replay (Schaul et al., 2016).

  Args:
    sess: ignored; existing subclasses and factories pass it.
    num_actions: A, the number of actions.
    observation_shape: of one observation, without the stack.
    observation_dtype: of the observations in the replay memory.
    stack_size: observations in a state, stacked along its last axis.
    network: `network(num_actions, name=...)` makes a `keras.Model` that maps
      `[B, *observation_shape, stack_size]` to a tuple with `q_values` `[B, A]`.
    gamma: discount per agent step.
    update_horizon: n of the n-step returns, in agent steps.
    min_replay_history: transitions in the memory before training starts; it
      starts once one of them can be sampled, so 0 is as soon as possible.
    update_period: agent steps from one update to the next.
    target_update_period: agent steps from one target copy to the next.
    epsilon_fn: `(decay_period, step, warmup_steps, epsilon)` -> epsilon.
    epsilon_train: the exploration that `epsilon_fn` ends at.
    epsilon_eval: exploration during evaluation.
    epsilon_decay_period: agent steps that `epsilon_fn` takes.
    tf_device: '/cpu:*', '/gpu:0', ...; None is the backend's own choice.
    eval_mode: True neither stores nor learns.
    use_staging: accepted for old gin files; sampling needs no staging.
    max_tf_checkpoints_to_keep: checkpoints that stay on disk, of a run that a
      Runner makes: weights, replay memory and logs; at least 2. None or 0 keeps
      all.
    optimizer: see `optimizers.resolve`; None is that of the class: centred
      RMSProp for DQN, `optimizers.adam` for C51, Rainbow and IQN, and
      `create_optimizer` for the others and for all Jax agents.
    summary_writer: has `add_scalar(tag, value, step)`; None logs nothing.
    summary_writing_frequency: agent steps from one logged loss to the next.
    allow_partial_reload: resume from the weights even where the replay memory
      or the agent's own record is missing.
    seed: of exploration, replay and network initialisation; None takes the
      run's, or a fresh one.
    double_dqn: whether the online network picks the next action.
    replay_scheme: 'uniform' or 'prioritized'; None is 'uniform' for DQN and
      IQN, 'prioritized' for the others.

  Attributes:
    online_convnet: the network that acts and learns.
    target_convnet: its delayed copy, equal to it at the start.
    state: `[1, *observation_shape, stack_size]`, the current state.
    training_steps: agent steps taken in training.
    cumulative_gamma: gamma ** update_horizon.
  """

  SETTINGS = {
    'num_actions': checks.integer(1),
    'observation_shape': checks.size,
    'observation_dtype': checks.dtype,
    'stack_size': checks.integer(1),
    'gamma': checks.real(0, 1),
    'update_horizon': checks.integer(1),
    'min_replay_history': checks.integer(0),
    'update_period': checks.integer(1),
    'target_update_period': checks.integer(1),
    'epsilon_fn': checks.function,
    'epsilon_train': checks.real(0, 1),
    'epsilon_eval': checks.real(0, 1),
    'tf_device': checks.text,
    'eval_mode': checks.switch,
    'max_tf_checkpoints_to_keep': checks.optional(checks.integer(0)),
    'summary_writing_frequency': checks.integer(1),
    'allow_partial_reload': checks.switch,
    'double_dqn': checks.switch,
  }

  # The tag of the loss in TensorBoard is the prefix and the name.
  _summary_prefix = 'Losses/'
  _loss_name = 'HuberLoss'

  # Whether a checkpoint may be taken in the middle of an episode: what happens
  # between two steps is in the bundle.
  saves_mid_episode = True

  _default_replay_scheme = 'uniform'
  _default_optimizer = staticmethod(optimizers.rmsprop)

  # What replays uniformly. Agents whose gin files size the prioritised buffer
  # use that for both schemes, with equal priorities for this one.
  _uniform_replay = circular_replay_buffer.WrappedReplayBuffer

  def __init__(
    self,
    sess=None,
    num_actions=None,
    observation_shape=atari_lib.NATURE_DQN_OBSERVATION_SHAPE,
    observation_dtype=atari_lib.NATURE_DQN_DTYPE,
    stack_size=atari_lib.NATURE_DQN_STACK_SIZE,
    network=networks.NatureDQNNetwork,
    gamma=0.99,
    update_horizon=1,
    min_replay_history=20000,
    update_period=4,
    target_update_period=8000,
    epsilon_fn=linearly_decaying_epsilon,
    epsilon_train=0.01,
    epsilon_eval=0.001,
    epsilon_decay_period=250000,
    tf_device='/cpu:*',
    eval_mode=False,
    use_staging=False,
    max_tf_checkpoints_to_keep=4,
    optimizer=None,
    summary_writer=None,
    summary_writing_frequency=500,
    allow_partial_reload=False,
    seed=None,
    double_dqn=False,
    replay_scheme=None,
  ):
    backend.current()  # Refuses a KERAS_BACKEND that came too late.
    learners.check_settings()
    if num_actions is None:
      raise errors.SettingError(f'{type(self).__name__} needs num_actions')
    if summary_writer is not None and not hasattr(summary_writer, 'add_scalar'):
      raise errors.SettingError(
        f'summary_writer={summary_writer!r} has no add_scalar(tag, value, '
        'step): use a tensorboardX.SummaryWriter, see docs/migrating.md'
      )
    if replay_scheme is None:
      replay_scheme = self._default_replay_scheme
    if replay_scheme not in ('uniform', 'prioritized'):
      raise errors.SettingError(
        f'Invalid replay scheme: {replay_scheme}; '
        "replay_scheme is 'uniform' or 'prioritized'"
      )
    self._sess = sess
    old_code.check_session(sess)
    self.num_actions = num_actions
    self.observation_shape = observation_shape
    self.observation_dtype = observation_dtype
    self.stack_size = stack_size
    self.network = network
    self.gamma = gamma
    self.update_horizon = update_horizon
    self.min_replay_history = min_replay_history
    self.update_period = update_period
    self.target_update_period = target_update_period
    self.epsilon_fn = epsilon_fn
    self.epsilon_train = epsilon_train
    self.epsilon_eval = epsilon_eval
    self.epsilon_decay_period = epsilon_decay_period
    self.tf_device = tf_device
    self.eval_mode = eval_mode
    self.max_tf_checkpoints_to_keep = max_tf_checkpoints_to_keep
    self.optimizer = self._default_optimizer if optimizer is None else optimizer
    self.summary_writer = summary_writer
    self.summary_writing_frequency = summary_writing_frequency
    self.allow_partial_reload = allow_partial_reload
    self.seed = seeding.resolve(seed)
    self.double_dqn = double_dqn
    self._replay_scheme = replay_scheme
    self._check_settings()
    self.observation_dtype = dtypes.DType(self.observation_dtype)
    self.cumulative_gamma = gamma**update_horizon
    self.training_steps = 0
    self._generator = seeding.generator(self.seed, 'agent')
    self.action = None
    self._observation = None
    self._last_observation = None
    self._unchecked_losses = []
    self._settings = None
    old_code.refuse(self)
    self._stores_episode_end = accepts(self._store_transition, 'episode_end')

    self.state = np.zeros(
      (1, *self.observation_shape, self.stack_size),
      self.observation_dtype.dtype,
    )
    with seeding.run_seed(self.seed):
      self._replay = self._make_replay(use_staging)
    self._cuts_episodes = hasattr(self._replay, 'add_final_observation')
    self._replay.gamma = gamma
    # A memory or wrapper of the user's own may know less of them.
    memory = getattr(self._replay, 'memory', None)
    adds = (self._replay.add, getattr(memory, 'add', self._replay.add))
    self._add_keywords = {
      name
      for name in ('priority', 'episode_end')
      if all(accepts(add, name) for add in adds)
    }
    with (
      learners.on_device(tf_device),
      learners.keras_defaults(),
      _keras_seed(self.seed),
    ):
      self._build_networks()
      self._check_networks()
      for network in (self.online_convnet, self.target_convnet):
        self._initialize(network)
      self.target_convnet.set_weights(self.online_convnet.get_weights())
      optimizer = optimizers.resolve(self.optimizer)
      self._optimizer_name = type(optimizer).__name__
      hooks = learners.Hooks(
        modules=self._modules(),
        trainable=self._trainable(),
        optimizer=optimizer,
        loss=self._loss,
        loss_weights=self._loss_weights,
        priorities=self._priorities,
        sync=self._sync_weights,
        predict=self._q_values,
      )
      self._learner = learners.create(hooks, tf_device)

  # The algorithm -------------------------------------------------------------

  def _loss(self, batch):
    """Huber loss of the TD error y - Q(s, a), per transition: `[B]`."""
    q = losses.take_action(self._online(batch).q_values, batch.action)  # [B]
    y = ops.stop_gradient(self._build_target_q_op(batch))  # [B]
    return self._td_loss(y - q)

  def _td_loss(self, errors):
    """The loss of TD errors of any shape, element by element."""
    return losses.huber(errors)

  def _build_target_q_op(self, batch):
    """y = R + gamma^k (1 - terminal) Q_target(s', a*): `[B]`.

    Mnih et al. (2015), Algorithm 1, with k-step returns (Sutton, 1988): R is
    the discounted sum of the k rewards, k = update_horizon unless the episode
    ended before; `batch.discount` holds the factor of the next value.
    """
    next_q = self._target(batch).q_values  # [B, A]
    best = self._next_action(batch, next_q)  # [B]
    return batch.reward + batch.discount * losses.take_action(next_q, best)

  def _next_action(self, batch, next_q):
    """a* = argmax_a Q(s', a): `[B]`.

    Q is the target network's, `next_q` `[B, A]`; with `double_dqn` the online
    network's (van Hasselt et al., 2016).
    """
    q = self._online_next(batch).q_values if self.double_dqn else next_q
    return ops.argmax(q, axis=-1)

  def _online(self, batch):
    """What the online network says of s."""
    return self.online_convnet(batch.state)

  def _online_next(self, batch):
    """What the online network says of s'."""
    return self.online_convnet(batch.next_state)

  def _target(self, batch):
    """What the target network says of s'."""
    return self.target_convnet(batch.next_state)

  def _loss_weights(self, batch):
    """The weight of each loss in the mean, `[B]`; None weighs all alike.

    With prioritised replay (1 / p)^beta, relative to the largest of the batch
    (Schaul et al., 2016, s. 3.4); p is the priority, which is proportional to
    the probability. beta is 0.5 throughout, not annealed to 1.
    """
    if self._replay_scheme == 'uniform':
      return None
    if not hasattr(batch, 'sampling_probabilities'):
      raise errors.SettingError(
        f"{type(self).__name__} with replay_scheme='prioritized' needs a "
        "replay memory that returns sampling_probabilities; set 'uniform', or "
        'build a WrappedPrioritizedReplayBuffer in _build_replay_buffer'
      )
    weights = 1.0 / ops.sqrt(batch.sampling_probabilities + 1e-10)
    return weights / ops.max(weights)

  def _priorities(self, batch, loss):
    """The new replay priorities `[B]`; None without prioritised replay.

    The square root of the unweighted loss, as in Dopamine. Hessel et al. (2018)
    have the root of the KL divergence, which lacks the target's entropy.
    """
    del batch
    return None if self._replay_scheme == 'uniform' else ops.sqrt(loss + 1e-10)

  def _q_values(self, state):
    """Q(s, .) of the online network, for acting: `[B, A]`.

    Takes after the states what `_acting_draws` returns.
    """
    return self.online_convnet(state).q_values

  def _trainable(self):
    """The variables that the optimizer moves."""
    return self.online_convnet.trainable_variables

  def _sync_weights(self):
    """Copies the online network to the target network."""
    for target, online in zip(
      self.target_convnet.weights, self.online_convnet.weights, strict=True
    ):
      target.assign(online)

  # Building ------------------------------------------------------------------

  @property
  def _rng(self):
    """The agent's own generator, of NumPy: what is drawn from it repeats."""
    return self._generator

  @_rng.setter
  def _rng(self, generator):
    self._generator = generator

  def _check_settings(self):
    """Refuses settings that cannot work; integers become `int`."""
    checks.check(self)
    # Where epsilon stays as it is, nobody divides by the period.
    stays = getattr(self.epsilon_fn, '__name__', '') == 'identity_epsilon'
    period = checks.integer(0 if stays else 1)
    self.epsilon_decay_period = period(
      self, 'epsilon_decay_period', self.epsilon_decay_period
    )
    # An agent that makes its networks itself needs none.
    makes_its_own = not self._create_network.__module__.startswith('dopamine.')
    if self.network is not None or not makes_its_own:
      checks.function(self, 'network', self.network)

  def _create_network(self, name):
    """Makes one network; `name` is 'Online' or 'Target'."""
    return self.network(self.num_actions, name=name)

  def _build_networks(self):
    """Makes both networks.

    They get their weights, equal ones, right afterwards. An agent with more
    networks makes them here too, and calls each once so that it has weights.
    """
    self.online_convnet = self._create_network('Online')
    self.target_convnet = self._create_network('Target')

  def _check_networks(self):
    """Refuses what is no Keras model, and one that is both networks."""
    for network in (self.online_convnet, self.target_convnet):
      if not isinstance(network, keras.Layer):
        raise errors.SettingError(
          f'{type(self).__name__}.network made {network!r}, which is no '
          'keras.Model: docs/extending.md says what a network is'
        )
      learners.check_values(network.weights)
    if self.online_convnet is self.target_convnet:
      raise errors.SettingError(
        f'{type(self).__name__}.network returned the same model twice, and the '
        'target network must be one of its own: make a new one at each call'
      )

  def _initialize(self, network):
    """Gives `network` its weights by calling it once."""
    outputs = network(ops.convert_to_tensor(self.state))
    self._check_outputs(network, outputs, q_values=(1, self.num_actions))

  def _check_outputs(self, network, outputs, **expected):
    """Refuses outputs of one state that lack what the algorithm reads."""
    for name, shape in expected.items():
      output = getattr(outputs, name, None)
      if output is None or tuple(output.shape) != shape:
        found = type(outputs).__name__ if output is None else output.shape
        raise errors.SettingError(
          f'{network.name} network {type(network).__name__} must return a '
          f'tuple with {name} of shape {shape} for one state of shape '
          f'{self.state.shape}; it returned {found}'
        )

  def _build_replay_buffer(self, use_staging):
    """Makes the replay memory."""
    wrapped = prioritized_replay_buffer.WrappedPrioritizedReplayBuffer
    if self._replay_scheme == 'uniform':
      wrapped = self._uniform_replay
    return wrapped(
      observation_shape=self.observation_shape,
      stack_size=self.stack_size,
      use_staging=use_staging,
      update_horizon=self.update_horizon,
      gamma=self.gamma,
      observation_dtype=self.observation_dtype,
    )

  def _make_replay(self, use_staging):
    """Calls `_build_replay_buffer` as it was written, and names its batches."""
    build = self._build_replay_buffer
    takes_staging = inspect.signature(build).parameters
    replay = build(use_staging) if takes_staging else build()
    if isinstance(replay, circular_replay_buffer.OutOfGraphReplayBuffer):
      return circular_replay_buffer.WrappedReplayBuffer(
        self.observation_shape, self.stack_size, wrapped_memory=replay
      )
    return replay

  def _modules(self):
    """What holds weights, by the name it is saved under.

    These are the agent's attributes that are Keras layers or variables, or
    lists or dicts of them, so that an agent with one more encoder or head need
    only assign it in `_build_networks`.
    """
    kinds = (keras.Layer, keras.Variable)
    found = {}
    for name, value in vars(self).items():
      items = {name: value}
      if isinstance(value, dict):
        items = {f'{name}/{key}': item for key, item in value.items()}
      elif isinstance(value, (list, tuple)):
        items = {f'{name}/{i}': item for i, item in enumerate(value)}
      found |= {n: item for n, item in items.items() if isinstance(item, kinds)}
    return found

  # Acting --------------------------------------------------------------------

  def begin_episode(self, observation):
    """Starts an episode and returns the first action.

    Args:
      observation: the environment's first, of `observation_shape` (up to axes
        of size 1).
    """
    self._reset_state()
    self._record_observation(observation)
    self._fit_observation()
    if not self.eval_mode:
      if self._cuts_episodes:
        self._replay.cut_episode()  # One that nobody ended.
      self._train_step()
    self.action = self._select_action()
    return self.action

  def step(self, reward, observation):
    """Records what the last action led to, learns, and returns the next.

    Args:
      reward: of the last action.
      observation: that followed it.
    """
    self._last_observation = self._observation
    self._record_observation(observation)
    self._fit_observation()
    if not self.eval_mode:
      self._store_transition(self._last_observation, self.action, reward, False)
      self._train_step()
    self.action = self._select_action()
    return self.action

  def end_episode(self, reward, terminal=True, observation=None):
    """Records the last reward of an episode.

    Args:
      reward: of the last action.
      terminal: False if a time limit cut the episode, which is no end of the
        task: the value of what would have followed still counts.
      observation: the one that the time limit cut the episode at. With it the
        targets bootstrap from there (Pardo et al., 2018); without it the
        transitions that the cut leaves without a next state are not used.
    """
    if self.eval_mode:
      return
    ends = {'episode_end': True} if self._stores_episode_end else {}
    last = (self._observation, self.action, reward)
    if terminal:
      self._store_transition(*last, True, **ends)
    elif observation is not None and self._cuts_episodes:
      self._store_transition(*last, False, **ends)
      self._record_observation(observation)
      self._fit_observation()
      self._replay.add_final_observation(self._observation)
    elif ends:
      self._store_transition(*last, False, **ends)
    else:
      logging.log_first_n(
        logging.WARNING,
        '%s._store_transition takes no episode_end: an episode that a time '
        'limit cut is stored as terminal.',
        1,
        type(self).__name__,
      )
      self._store_transition(*last, True)

  def _select_action(self):
    """The epsilon-greedy action; ties go to the lowest index."""
    if self.eval_mode:
      epsilon = self.epsilon_eval
    else:
      epsilon = self.epsilon_fn(
        self.epsilon_decay_period,
        self.training_steps,
        self.min_replay_history,
        self.epsilon_train,
      )
    if self._generator.random() <= epsilon:
      return int(self._generator.integers(self.num_actions))
    q_values = self._learner.predict(self.state, *self._acting_draws(1))
    return int(np.argmax(q_values))

  def _acting_draws(self, num_states):
    """Random arrays that `_q_values` takes after the states, as a tuple.

    An agent that needs them draws them from `self._rng`, `[num_states, ...]`.
    """
    del num_states
    return ()

  def _reset_state(self):
    """Empties the stack of observations."""
    self.state.fill(0)

  def _record_observation(self, observation):
    """Pushes a copy of an observation on the stack."""
    try:
      # Two calls: tensors of other frameworks know no copy argument.
      values = np.array(np.asarray(observation))
      self._observation = values.reshape(self.observation_shape)
    except (TypeError, ValueError) as error:
      shape = getattr(observation, 'shape', type(observation).__name__)
      raise errors.SettingError(
        f'the environment gave an observation of shape {shape}, but '
        f'{type(self).__name__}.observation_shape is {self.observation_shape}: '
        f'set it to what the environment gives ({error})'
      ) from None
    self._fit_observation()
    if self.stack_size > 1:
      self.state[..., :-1] = self.state[..., 1:]
    self.state[0, ..., -1] = self._observation

  def _fit_observation(self):
    """Gives the observation the dtype of the memory, or refuses it.

    Done once more after `_record_observation`, as a subclass may have its own.
    What that keeps need be no array, and stays what it is.
    """
    observation, dtype = self._observation, self.observation_dtype.dtype
    is_array = isinstance(observation, np.ndarray)
    if not is_array and not isinstance(observation, (list, tuple)):
      return
    if not is_array or observation.dtype != dtype:
      fitting = elements.as_stored(
        observation,
        dtype,
        'the environment gave an observation',
        f'{type(self).__name__}.observation_dtype',
      )
      self._observation = fitting if is_array else observation

  # Learning ------------------------------------------------------------------

  def _store_transition(
    self,
    last_observation,
    action,
    reward,
    is_terminal,
    *args,
    priority=None,
    episode_end=False,
  ):
    """Stores one transition: o, a, and the reward and end that followed.

    Args:
      last_observation: o, what the agent saw when it chose the action.
      action: a.
      reward: of the action.
      is_terminal: whether the task ended there.
      *args: the values of the memory's extra storage types; in a prioritised
        memory the priority may follow.
      priority: in a prioritised memory; None is the largest recorded so far,
        or 1 with the uniform scheme.
      episode_end: True for the last of an episode, terminal or not.
    """
    memory = self._replay.memory
    if priority is None and isinstance(
      memory, prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer
    ):
      if args and 4 + len(args) == len(memory.get_add_args_signature()):
        *args, priority = args
      if priority is None:
        priority = 1.0
        if self._replay_scheme == 'prioritized':
          priority = memory.sum_tree.max_recorded_priority
    keywords = {}
    if priority is not None and 'priority' in self._add_keywords:
      keywords['priority'] = priority
    elif priority is not None:
      args = (*args, priority)
    is_cut = episode_end and not is_terminal
    if is_cut and 'episode_end' in self._add_keywords:
      keywords['episode_end'] = True
    self._replay.add(
      last_observation, action, reward, is_terminal, *args, **keywords
    )
    if is_cut and not keywords.get('episode_end') and self._cuts_episodes:
      self._replay.cut_episode()

  @property
  def is_warming_up(self):
    """Whether the memory holds too little to learn from yet."""
    return bool(self._replay.memory.add_count <= self.min_replay_history)

  def _train_step(self, num_steps=1):
    """Counts agent steps, and runs the updates and target copies due in them.

    With both due, the updates come before the copy.

    Args:
      num_steps: agent steps taken since the last call (one per environment).
    """
    if not self.is_warming_up:
      updates = self._due(self.update_period, num_steps)
      if updates:
        self._update(updates, num_steps)
      if self._due(self.target_update_period, num_steps):
        self._learner.sync_target()
    self.training_steps += num_steps

  def _due(self, period, num_steps):
    """How many of the next `num_steps` step counts `period` divides."""
    first, end = self.training_steps, self.training_steps + num_steps
    return -(-end // period) - -(-first // period)

  def _update(self, num_updates, num_steps):
    """Runs updates on fresh batches, and logs the loss where it is due.

    At the start of training there may be nothing yet that can be sampled.
    """
    try:
      batches = self._sample_batches(num_updates)
    except circular_replay_buffer.NothingToSampleError:
      if self._replay.memory.add_count > self.min_replay_history + _PATIENCE:
        raise
      return
    update = self._learner.update(batches)
    if update.priorities is not None:
      self._replay.memory.set_priority(
        np.ravel(batches.indices), np.ravel(np.asarray(update.priorities))
      )
    self._unchecked_losses.append((self.training_steps, update.objective))
    if len(self._unchecked_losses) >= 100:  # Seldom: a GPU must not wait.
      self._check_losses()
    if (
      self.summary_writer is not None
      and self.training_steps > 0
      and self._due(self.summary_writing_frequency, num_steps)
    ):
      self._write_summaries(update)

  def _check_losses(self):
    """Raises FloatingPointError if a loss since the last call is none."""
    unchecked, self._unchecked_losses = self._unchecked_losses, []
    for step, objective in unchecked:
      objective = np.asarray(objective)
      if not np.isfinite(objective).all():
        raise errors.NotFiniteError(
          f'the loss was {objective[~np.isfinite(objective)][0]} in the update '
          f'at agent step {step}. Most often the learning rate is too high, or '
          'rewards or observations are too large. Checkpoints of earlier '
          'iterations are as they were'
        )

  def _sample_batches(self, num_batches):
    """A named tuple of arrays `[num_batches, B, ...]` for the hooks.

    An agent that needs random numbers in its loss draws them here, from
    `self._rng`, and adds them with `extend`.
    """
    return self._replay.sample(num_batches)

  def _write_summaries(self, update):
    """Logs the mean loss of the last update and the extras of the loss hook."""
    figures = {self._loss_name: update.objective, **update.extras}
    for name, value in figures.items():
      self.summary_writer.add_scalar(
        self._summary_prefix + name,
        float(np.mean(np.asarray(value)[-1])),
        self.training_steps,
      )

  # Reporting -----------------------------------------------------------------

  def describe_device(self):
    """One line on the backend and the device that this agent computes on."""
    return learners.describe_device(self.tf_device)

  def identity(self):
    """What a checkpoint's numbers mean something else without, by name."""
    return {
      'network': type(self.online_convnet).__name__,
      'optimizer': self._optimizer_name,
      'replay_scheme': self._replay_scheme,
    }

  def graph_def(self):
    """The compiled update as a serialised TensorFlow graph, or None."""
    return self._learner.graph_def()

  # Saving --------------------------------------------------------------------

  def _weights_path(self, checkpoint_dir, iteration):
    return os.path.join(checkpoint_dir, f'weights_ckpt.{iteration}.npz')

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    """Saves weights, optimizer and replay memory; returns the rest.

    In a checkpoint of a Runner's, files are written later, beside training.

    Args:
      checkpoint_dir: an existing folder.
      iteration_number: names the files.

    Returns:
      A dict of built-ins and NumPy values that `unbundle` takes, or None if
      `checkpoint_dir` does not exist.

    Raises:
      FloatingPointError: a loss or a weight is not finite; nothing is saved.
    """
    if not os.path.isdir(checkpoint_dir):
      return None
    self._check_losses()
    state = self._learner.state()
    for name, values in state.items():
      if not np.isfinite(values).all():
        raise errors.NotFiniteError(
          f'{name} has weights that are not finite at agent step '
          f'{self.training_steps}; checkpoints of earlier iterations are as '
          'they were'
        )
    pending.put(
      self._weights_path(checkpoint_dir, iteration_number),
      lambda file: np.savez(file, **state),
    )
    checkpoint = getattr(self._replay, 'checkpoint', self._replay.save)
    checkpoint(checkpoint_dir, iteration_number)
    return {
      'state': self.state.copy(),
      'training_steps': self.training_steps,
      'generators': {
        'agent': self._generator.bit_generator.state,
        'replay': getattr(self._replay.memory, 'generator_state', None),
      },
      'attributes': self._changed_attributes(),
    }

  def remember_settings(self):
    """Takes what the agent's attributes are now for its settings.

    A Runner calls this once the agent is made. Those that change from then on
    are part of a checkpoint, as far as they are built-ins, NumPy values and
    NumPy generators: what a subclass counts need not be saved by its own hand.
    """
    self._settings = self._plain_attributes()

  def _changed_attributes(self):
    """The attributes that are no settings, by name."""
    if self._settings is None:
      return {}
    return {
      name: safe_pickle.loads(pickled)
      for name, pickled in self._plain_attributes().items()
      if self._settings.get(name) != pickled
    }

  def _plain_attributes(self):
    """Name -> pickle of the attributes that a checkpoint may hold."""
    found = {}
    for name, value in vars(self).items():
      if name in _SAVED_OTHERWISE:
        continue
      if isinstance(value, np.random.Generator):
        value = {_GENERATOR: value.bit_generator.state}
      if safe_pickle.is_plain(value):  # No network, no function.
        try:
          found[name] = safe_pickle.dumps(value)
        except safe_pickle.RefusedError as error:
          raise safe_pickle.RefusedError(
            f'{type(self).__name__}.{name} cannot be saved: {error}'
          ) from error
    return found

  def unbundle(self, checkpoint_dir, iteration_number, bundle_dictionary):
    """Restores what `bundle_and_checkpoint` saved, here or in Dopamine 3.

    Args:
      checkpoint_dir: the folder it was given.
      iteration_number: the iteration it was given.
      bundle_dictionary: what it returned, or None if that is lost.

    Returns:
      False if there are no files of this iteration; or if the replay memory or
      the dictionary is missing and `allow_partial_reload` is not set. Then
      nothing was restored.

    Raises:
      FileNotFoundError: the weights are missing, but other files are there.
      atomic.DamagedError: naming the file that is.
      ValueError: a file does not fit this agent; the message says which.
    """
    path = self._weights_path(checkpoint_dir, iteration_number)
    old = None
    if not os.path.exists(path):
      old = old_weights.of_checkpoint(
        checkpoint_dir, iteration_number, bundle_dictionary
      )
      if old is None and not _has_files(checkpoint_dir, iteration_number):
        logging.warning(
          'There is no checkpoint %d in %s', iteration_number, checkpoint_dir
        )
        return False
      if old is None:
        raise errors.MissingFileError(
          f'checkpoint {iteration_number} has no weights: {path} is missing. '
          'Start afresh in an empty base_dir, or restore the file'
        )
    missing = None
    if bundle_dictionary is None:
      missing = "the agent's record is missing"
    if missing is None or self.allow_partial_reload:
      try:
        restore = getattr(self._replay, 'restore', self._replay.load)
        restore(checkpoint_dir, iteration_number)
      except circular_replay_buffer.NotFoundError as error:
        missing = str(error)
      except atomic.DamagedError as error:
        if not self.allow_partial_reload:
          raise
        missing = str(error)
    if missing and not self.allow_partial_reload:
      logging.warning(
        'Checkpoint %d in %s is incomplete (%s); to resume from its weights '
        'alone set DQNAgent.allow_partial_reload = True.',
        iteration_number,
        checkpoint_dir,
        missing,
      )
      return False
    if missing:
      logging.warning('Resuming from a partial checkpoint: %s', missing)
    if old is None:
      self._read_weights(path, self._learner.set_state)
    else:
      self._take_old_weights(old, self._learner.optimizer)
    if bundle_dictionary is not None:
      self._restore(dict(bundle_dictionary))
    return True

  def load_weights(self, path):
    """Takes the weights of a checkpoint, to act with; nothing else changes.

    Args:
      path: of a file `weights_ckpt.N.npz`; or of Dopamine 1 to 3, `tf_ckpt-N`,
        or `ckpt.N` of a JAX agent.

    Raises:
      FileNotFoundError: it is not there.
      atomic.DamagedError: the file is not what was written.
      ValueError: it does not fit this agent; names the variable.
    """
    path = os.fspath(path)
    if path.endswith('.npz'):
      self._read_weights(path, self._learner.set_weights)
    else:
      self._take_old_weights(old_weights.read(path))

  def _read_weights(self, path, assign):
    state = atomic.read_npz(path)
    try:
      assign(state)
    except ValueError as error:
      raise errors.SettingError(f'{path}: {error}') from error

  def _take_old_weights(self, old, optimizer=None):
    """Takes `old_weights.OldWeights`, which know two networks."""
    known = (self.online_convnet, self.target_convnet)
    others = [
      name
      for name, module in self._modules().items()
      if not any(module is network for network in known)
    ]
    if others:
      raise errors.SettingError(
        f'{old.path} holds the weights of two networks, but '
        f'{type(self).__name__} has {", ".join(sorted(others))} as well, which '
        'Dopamine did not know'
      )
    with learners.on_device(self.tf_device):
      old_weights.assign(
        old, self.online_convnet, self.target_convnet, optimizer
      )

  def _restore(self, bundle):
    """Restores attributes from the bundle's entries of the same name."""
    generators = bundle.pop('generators', None)
    if generators is not None:
      self._generator.bit_generator.state = generators['agent']
      if generators['replay'] is not None:
        self._replay.memory.generator_state = generators['replay']
    for name, value in bundle.pop('attributes', {}).items():
      if isinstance(value, dict) and _GENERATOR in value:
        state = value[_GENERATOR]
        value = vars(self).get(name)  # Others may hold it too.
        if not isinstance(value, np.random.Generator):
          if state['bit_generator'] not in _BIT_GENERATORS:
            raise atomic.DamagedError(
              f'the checkpoint has {name} drawn from no generator of NumPy, '
              f'but from {state["bit_generator"]!r}'
            )
          bit_generator = getattr(np.random, state['bit_generator'])
          value = np.random.Generator(bit_generator())
        value.bit_generator.state = state
      setattr(self, name, value)
    for name, value in bundle.items():
      if name == 'state':  # Dopamine's had another dtype, its JAX agents' no B.
        self.state = np.asarray(value, self.state.dtype).reshape(
          self.state.shape
        )
      elif name == 'training_steps':
        self.training_steps = int(value)
      elif name in vars(self):
        setattr(self, name, value)


# So many slots beyond `min_replay_history` may hold nothing to learn from, as
# the first episodes were cut too early.
_PATIENCE = 1000

# Attributes that `_changed_attributes` leaves to others.
_SAVED_OTHERWISE = frozenset(
  ('_generator', '_settings', '_unchecked_losses', 'state', 'eval_mode')
)

_GENERATOR = 'numpy.random.Generator'
_BIT_GENERATORS = ('MT19937', 'PCG64', 'PCG64DXSM', 'Philox', 'SFC64')


def _has_files(checkpoint_dir, iteration_number):
  """Whether a folder has files of a checkpoint, here or of Dopamine 3."""
  names = os.listdir(checkpoint_dir) if os.path.isdir(checkpoint_dir) else ()
  form = (
    rf'(.+_)?ckpt\.{iteration_number}(\..+)?|tf_ckpt-{iteration_number}\..+'
  )
  return any(re.fullmatch(form, name) for name in names)


@functools.lru_cache
def _batch_type(fields):
  return collections.namedtuple('Batch', fields)


def extend(batches, **fields):
  """The named tuple `batches` with further `fields`."""
  names = (*batches._fields, *fields)
  return _batch_type(names)(*batches, *fields.values())


def accepts(function, name):
  """Whether `function` can be called with the keyword `name`."""
  parameters = inspect.signature(function).parameters
  return name in parameters or any(
    p.kind == inspect.Parameter.VAR_KEYWORD for p in parameters.values()
  )


@contextlib.contextmanager
def _keras_seed(seed):
  """Seeds the generators that Keras's initialisers draw their seeds from.

  They are Python's and NumPy's global ones, so both are put back afterwards.
  """
  python, numpy = random.getstate(), np.random.get_state()
  value = seeding.integer(seed, 'networks')
  random.seed(value)
  np.random.seed(value)
  try:
    yield
  finally:
    random.setstate(python)
    np.random.set_state(numpy)
