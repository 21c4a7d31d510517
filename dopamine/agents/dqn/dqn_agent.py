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
"""

import gin
import keras
from keras import ops

from dopamine import backend
from dopamine import learners
from dopamine import losses
from dopamine import networks
from dopamine import optimizers
from dopamine import seams
from dopamine import seeding
from dopamine.agents import batches
from dopamine.agents import exploration
from dopamine.agents import replay_agent
from dopamine.discrete_domains import atari_lib
from dopamine.replay_memory import circular_replay_buffer
from dopamine.settings import checks
from dopamine.settings import errors

NATURE_DQN_OBSERVATION_SHAPE = atari_lib.NATURE_DQN_OBSERVATION_SHAPE
NATURE_DQN_DTYPE = atari_lib.NATURE_DQN_DTYPE
NATURE_DQN_STACK_SIZE = atari_lib.NATURE_DQN_STACK_SIZE
nature_dqn_network = networks.NatureDQNNetwork
linearly_decaying_epsilon = exploration.linearly_decaying_epsilon
identity_epsilon = exploration.identity_epsilon
extend = batches.extend


@gin.configurable
class DQNAgent(replay_agent.ReplayAgent):
  """DQN with the settings of Dopamine's baselines.

  What every agent can do is here: n-step returns, double DQN (van Hasselt et
  al., 2016) and prioritised replay (Schaul et al., 2016).

  `_loss`, `_loss_weights`, `_priorities`, `_build_target_*`, `_q_values` and
  `_sync_weights` are traced once: an attribute that they read is frozen at its
  first value. What changes over time arrives in the batch.

  Attributes:
    online_convnet: the network that acts and learns.
    target_convnet: its delayed copy, equal to it at the start.
    state: `[1, *observation_shape, stack_size]`, the current state.
    training_steps: agent steps taken in training.
  """

  # The algorithm -------------------------------------------------------------

  def _loss(self, batch):
    """Huber loss of the TD error y - Q(s, a), per transition: `[B]`."""
    q = losses.take_action(self._online(batch).q_values, batch.action)  # [B]
    y = ops.stop_gradient(self._build_target_q_op(batch))  # [B]
    self._note_figures(MeanQ=q, MeanTarget=y)
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
    if 'sampling_probabilities' not in batch._fields:
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
    'epsilon_decay_period': checks.integer(0),
    'tf_device': checks.text,
    'eval_mode': checks.switch,
    'max_tf_checkpoints_to_keep': checks.optional(checks.integer(0)),
    'summary_writing_frequency': checks.integer(1),
    'allow_partial_reload': checks.switch,
    'double_dqn': checks.switch,
  }

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
    """Builds everything.

    Args:
      sess: ignored; existing subclasses and factories pass it.
      num_actions: A, the number of actions.
      observation_shape: of one observation, without the stack.
      observation_dtype: of the observations in the replay memory.
      stack_size: observations in a state, stacked along its last axis.
      network: `network(num_actions, name=...)` makes a `keras.Model` that maps
        `[B, *observation_shape, stack_size]` to a tuple with `q_values`
        `[B, A]`.
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
      max_tf_checkpoints_to_keep: checkpoints that stay on disk, of a run that
        a Runner makes: weights, replay memory and logs; at least 2. None or 0
        keeps all.
      optimizer: see `optimizers.resolve`; None is that of the class: centred
        RMSProp for DQN, `optimizers.tf1_adam` for C51, Rainbow and IQN, and
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
    """
    backend.current()  # Refuses a KERAS_BACKEND that came too late.
    learners.check_settings()
    if old_code := seams.compat('old_code', self, *[sess] * (sess is not None)):
      self._signatures = old_code.admit(self, sess)
    self._sess = sess
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
    if replay_scheme is None:
      self._replay_scheme = self._default_replay_scheme
    self._check_settings()
    self.observation_dtype = seams.dtype(self.observation_dtype)
    self._begin()
    with seeding.run_seed(self.seed):
      self._replay = self._make_replay(use_staging)
    self._replay.gamma = self.gamma
    seams.check_code(self)  # What it uses of its memory.
    with (
      learners.on_device(tf_device),
      learners.keras_defaults(),
      seeding.for_keras(self.seed),
    ):
      self._learner = self._make_learner()

  def _check_settings(self):
    """Refuses settings that cannot work; integers become `int`."""
    if self.num_actions is None:
      raise errors.SettingError(f'{type(self).__name__} needs num_actions')
    if self._replay_scheme not in ('uniform', 'prioritized'):
      raise errors.SettingError(
        f'Invalid replay scheme: {self._replay_scheme}; '
        "replay_scheme is 'uniform' or 'prioritized'"
      )
    checks.check(self)
    checks.summary_writer(self.summary_writer)
    if self.epsilon_decay_period == 0:
      try:
        self.epsilon_fn(0, 0, self.min_replay_history, self.epsilon_train)
      except ZeroDivisionError:
        checks.fail(
          *(self, 'epsilon_decay_period', 0), 'an integer of at least 1'
        )
    # An agent that makes its networks itself needs none.
    is_needed = seams.is_ours(self._create_network.__module__)
    if self.network is not None or is_needed:
      checks.function(self, 'network', self.network)
      seams.check_network(self)

  @property
  def gamma(self):
    """Discount per agent step; the replay memory's `discount` is of it."""
    return self._gamma

  @gamma.setter
  def gamma(self, value):
    self._gamma = value
    if self._replay is not None:
      self._replay.gamma = value

  def _restore(self, bundle):
    bundle.get('attributes', {}).pop('cumulative_gamma', None)
    super()._restore(bundle)
    self.gamma = self.gamma  # The memory's too.

  @property
  def cumulative_gamma(self):
    """gamma ** update_horizon."""
    return self.gamma**self.update_horizon

  def _make_learner(self):
    """Makes the networks, with the same weights, and what trains them."""
    self._build_networks()
    self._check_networks()
    for network in (self.online_convnet, self.target_convnet):
      self._initialize(network)
    self.target_convnet.set_weights(self.online_convnet.get_weights())
    hooks = learners.Hooks(
      modules=self._modules(),
      trainable=self._trainable(),
      optimizer=optimizers.resolve(self.optimizer),
      loss=self._loss,
      loss_weights=self._loss_weights,
      priorities=self._priorities,
      sync=self._sync_weights,
      predict=self._q_values,
      noted=self._take_notes,
    )
    return learners.create(hooks, self.tf_device)

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

  def _build_replay_buffer(self, use_staging=False):
    """Makes the replay memory."""
    wrapped = self._uniform_replay
    if self._replay_scheme == 'prioritized':
      from dopamine.replay_memory import prioritized_replay_buffer

      wrapped = prioritized_replay_buffer.WrappedPrioritizedReplayBuffer
    return wrapped(
      observation_shape=self.observation_shape,
      stack_size=self.stack_size,
      use_staging=use_staging,
      update_horizon=self.update_horizon,
      gamma=self.gamma,
      observation_dtype=self.observation_dtype,
    )

  def _make_replay(self, use_staging):
    """What `_build_replay_buffer` makes."""
    arguments = [use_staging] if self._signatures.takes_staging else []
    return self._with_batches(self._build_replay_buffer(*arguments))

  def _with_batches(self, replay):
    """A replay memory that has batches by name."""
    if isinstance(replay, circular_replay_buffer.OutOfGraphReplayBuffer):
      replay = circular_replay_buffer.WrappedReplayBuffer(
        self.observation_shape, self.stack_size, wrapped_memory=replay
      )
    partners = [replay]
    if isinstance(replay, circular_replay_buffer.WrappedReplayBuffer):
      partners.append(replay.memory)
    adapters = seams.compat('adapters', *partners)
    replay = adapters.replay(replay, self) if adapters else replay
    memory = replay.memory
    if isinstance(memory, circular_replay_buffer.OutOfGraphReplayBuffer):
      memory.compare(type(self).__name__, self.update_horizon, self.gamma)
    return replay
