"""What is around every algorithm: playing, storing, and when to learn."""

import time

import numpy as np

from dopamine import interfaces
from dopamine import seams
from dopamine import seeding
from dopamine.agents import reporting
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import elements
from dopamine.settings import errors

# So many slots beyond `min_replay_history` may hold nothing to learn from, as
# the first episodes were cut too early.
_PATIENCE = 1000


class ReplayAgent(reporting.ReportingAgent):
  """An agent that acts epsilon-greedily and learns from a replay memory.

  What it learns, and what all it is set to, is said in `DQNAgent`.
  """

  # Made once the settings are checked.
  _replay = None

  # What an older subclass has otherwise.
  _signatures = interfaces.Signatures()

  def _begin(self):
    """Stands before the first step."""
    self.training_steps = 0
    self.action = None
    self._observation = None
    self._last_observation = None
    self._unchecked_losses = []
    self._generator = seeding.generator(self.seed, 'agent')
    self.state = np.zeros(
      (1, *self.observation_shape, self.stack_size),
      np.dtype(self.observation_dtype),
    )

  @property
  def _rng(self):
    """The agent's own generator, of NumPy: what is drawn from it repeats."""
    return self._generator

  @_rng.setter
  def _rng(self, generator):
    self._generator = generator

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
      if self._first_state is None:
        self._first_state = self.state.copy()
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
    ends = {'episode_end': True} if self._signatures.stores_episode_end else {}
    is_cut = not terminal and observation is not None
    is_cut = is_cut and self._replay.cuts_episodes
    if not (terminal or is_cut or ends):
      seams.compat('old_code').warn_of_cuts(type(self))
      terminal = True
    self._store_transition(
      self._observation, self.action, reward, terminal, **ends
    )
    if is_cut:
      self._record_observation(observation)
      self._fit_observation()
      self._replay.add_final_observation(self._observation)

  def _select_action(self):
    """The epsilon-greedy action; ties go to the lowest index."""
    epsilon = self._current_epsilon()
    if not self.eval_mode:
      self._acted_with = epsilon
    if self._generator.random() <= epsilon:
      return int(self._generator.integers(self.num_actions))
    q_values = self._learner.predict(self.state, *self._acting_draws(1))
    return int(np.argmax(q_values))

  def _current_epsilon(self):
    """The probability of a random action."""
    if self.eval_mode:
      return self.epsilon_eval
    return self.epsilon_fn(
      self.epsilon_decay_period,
      self.training_steps,
      self.min_replay_history,
      self.epsilon_train,
    )

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
    shape = ()
    try:
      # Two calls: tensors of other frameworks know no copy argument.
      values = np.array(np.asarray(observation))
      shape = values.shape
      self._observation = values.reshape(self.observation_shape)
    except (TypeError, ValueError) as error:
      raise errors.SettingError(
        'the environment gave an observation of shape '
        f'{shape or type(observation).__name__}, but '
        f'{type(self).__name__}.observation_shape is {self.observation_shape}: '
        f'set it to what the environment gives ({error})'
      ) from None
    self._fit_observation()
    if self.stack_size > 1:
      self.state[..., :-1] = self.state[..., 1:]
    self.state[..., -1] = self._observation

  def _fit_observation(self):
    """Gives the observation the dtype of the memory, or refuses it."""
    # Done once more after `_record_observation`, as a subclass may have its
    # own. What that keeps need be no array, and stays what it is.
    observation = self._observation
    dtype = np.dtype(self.observation_dtype)
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
    if priority is None and memory.takes_priority is True:  # A mock has all.
      if args and 4 + len(args) == len(memory.get_add_args_signature()):
        *args, priority = args
      if priority is None:
        priority = 1.0
        if self._replay_scheme == 'prioritized':
          priority = memory.sum_tree.max_recorded_priority
    keywords = {} if priority is None else {'priority': priority}
    if episode_end and not is_terminal:
      keywords['episode_end'] = True
    self._replay.add(
      last_observation, action, reward, is_terminal, *args, **keywords
    )

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
    """Runs updates on fresh batches.

    At the start of training there may be nothing yet that can be sampled.
    """
    try:
      batches = self._sample_batches(num_updates)
    except circular_replay_buffer.NothingToSampleError:
      self._be_patient()
      return
    start = time.perf_counter()
    update = self._learner.update(batches)
    if update.priorities is not None:
      self._replay.memory.set_priority(
        np.ravel(batches.indices), np.ravel(np.asarray(update.priorities))
      )
    self.seconds_updating += time.perf_counter() - start
    self._record_update(update, num_steps)

  def _be_patient(self):
    """Raises again what was raised, if there should be something to sample."""
    if self._replay.memory.add_count > self.min_replay_history + _PATIENCE:
      raise

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
      self._loss_sum += float(np.sum(objective, dtype=np.float64))
      self._num_losses += objective.size

  def _settle(self):
    self._check_losses()
    self._batch_figures = {
      k: _last(value) for k, value in self._batch_figures.items()
    }

  def _sample_batches(self, num_batches):
    """A named tuple of arrays `[num_batches, B, ...]` for the hooks.

    An agent that needs random numbers in its loss draws them here, from
    `self._rng`, and adds them with `extend`.
    """
    return self._replay.sample(num_batches)


def _last(values):
  """Of the last of some updates, as a float; one that is stays."""
  return values if isinstance(values, float) else float(np.asarray(values)[-1])
