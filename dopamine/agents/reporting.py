"""What an agent says of itself: its values of a state, and what it learns."""

import types
from typing import Any

from keras import ops
import numpy as np

from dopamine import learners
from dopamine import seeding
from dopamine.agents import saving


class ReportingAgent(saving.SavedAgent):
  """An agent that can be looked at; nothing here changes what it learns."""

  # The tag of the loss in TensorBoard is the prefix and the name.
  _summary_prefix = 'Losses/'
  _loss_name = 'HuberLoss'

  # What `live_figures` returns, as far as it is there already.
  _loss_sum, _num_losses = 0.0, 0
  _batch_figures: Any = types.MappingProxyType({})  # On the device, at first.
  _notes: Any = types.MappingProxyType({})
  _acted_with = None  # The epsilon of the last action in training.
  _first_state = None  # Of the run.

  # What it thinks -------------------------------------------------------------

  def predict_q_values(self, state):
    """Q(s, .) of the online network, `[B, A]`, always the same for a state.

    Of what `_q_values` needs at random, IQN takes the middles of equal parts of
    [0, 1], and noisy networks take none.

    Args:
      state: `[B, *observation_shape, stack_size]`.
    """
    return self._learner.predict(state, *self._steady_draws(len(state)))

  def predict_distribution(self, state):
    """The distribution of the return of each action, None if it has none.

    Args:
      state: `[B, *observation_shape, stack_size]`.

    Returns:
      Values and their probabilities, `[B, A, N]` each, in NumPy.
    """
    arrays = state, *self._steady_draws(len(state))
    with learners.on_device(self.tf_device), learners.keras_defaults():
      found = self._return_distribution(*map(ops.convert_to_tensor, arrays))
      return found and tuple(map(ops.convert_to_numpy, found))

  def state_after(self, observation, is_first=False):
    """The state once it sees an observation, `[1, ...]`; it does not yet.

    Args:
      observation: see `begin_episode`.
      is_first: of an episode.
    """
    with self._attributes_kept():
      if is_first:
        self._reset_state()
      self._record_observation(observation)
      return self.state.copy()

  def _return_distribution(self, state, *draws):
    """Values and probabilities, `[B, A, N]` each; None if it has none.

    Args:
      state: `[B, *observation_shape, stack_size]`.
      *draws: what `_steady_draws` returns.
    """
    del state, draws
    return None

  def _steady_draws(self, num_states):
    """What `_acting_draws` returns in evaluation, always the same numbers."""
    own, is_evaluation = self._generator, self.eval_mode
    self._generator, self.eval_mode = seeding.generator(0, 'steady'), True
    try:
      return self._acting_draws(num_states)
    finally:
      self._generator, self.eval_mode = own, is_evaluation

  # What it learns -------------------------------------------------------------

  def _note_figures(self, **figures):
    """Has TensorBoard show the means over the batch of what `_loss` computes.

    They are curves `Learning/NAME`; an override of `_loss` may note its own.
    What is noted inside of `jax.vmap` or `tf.map_fn`, say, is not shown.

    Args:
      **figures: `[B, ...]` by name.
    """
    trace = learners.trace()
    noted = {name: (trace, values) for name, values in figures.items()}
    self._notes = {**self._notes, **noted}

  def _take_notes(self):
    notes, self._notes = self._notes, {}
    trace = learners.trace()
    return {name: values for name, (of, values) in notes.items() if of == trace}

  def _record_update(self, update, num_steps):
    """Keeps what an update reports, and logs the loss where it is due."""
    self._batch_figures = update.figures
    self._unchecked_losses.append((self.training_steps, update.objective))
    if len(self._unchecked_losses) >= 100:  # Seldom: a GPU must not wait.
      self._check_losses()
    if (
      self.summary_writer is not None
      and self.training_steps > 0
      and self._due(self.summary_writing_frequency, num_steps)
    ):
      self._write_summaries(update)

  def live_figures(self):
    """What training is like now, by tag; the loss is the mean since the last.

    Those of a batch are of the last update.
    """
    self._settle()
    figures = {f'Learning/{name}': x for name, x in self._batch_figures.items()}
    if self._num_losses:
      figures['Learning/Loss'] = self._loss_sum / self._num_losses
      figures['Learning/LearningRate'] = self._learner.learning_rate
    self._loss_sum, self._num_losses = 0.0, 0
    if self._acted_with is not None:
      figures['Learning/Epsilon'] = float(self._acted_with)
    return figures | self._replay.memory.live_figures()

  def start_distribution(self):
    """Of the return of the greedy action in the first state of the run."""
    if self._first_state is None:
      return None
    found = self.predict_distribution(self._first_state)
    if found is None:
      return None
    best = np.argmax(self.predict_q_values(self._first_state)[0])
    values, probabilities = found
    return values[0, best], probabilities[0, best]

  def _write_summaries(self, update):
    """Logs the mean loss of the last update and the extras of the loss hook."""
    figures = {self._loss_name: update.objective, **update.extras}
    for name, value in figures.items():
      self.summary_writer.add_scalar(
        self._summary_prefix + name,
        float(np.mean(np.asarray(value)[-1])),
        self.training_steps,
      )

  # What it is -----------------------------------------------------------------

  def describe_device(self):
    """One line on the backend and the device that this agent computes on."""
    return learners.describe_device(self.tf_device)

  def identity(self):
    """What a checkpoint's numbers mean something else without, by name."""
    return {
      'network': type(self.online_convnet).__name__,
      'optimizer': type(self._learner.optimizer).__name__,
      'replay_scheme': self._replay_scheme,
    }

  def unsaved_draws(self):
    """Names the replay memory, if it is one that has no `generator_state`."""
    memory = self._replay.memory
    if memory.generator_state is not None:
      return None
    return f'{memory.__class__.__name__} has no generator_state'

  @property
  def replay_nbytes(self):
    """Bytes of its replay memory when that is full."""
    return self._replay.memory.nbytes

  def graph_def(self):
    """The compiled update as a serialised TensorFlow graph, or None."""
    return self._learner.graph_def()
