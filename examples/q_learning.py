r"""Tabular Q-learning (Watkins, 1989): an agent from nothing.

    python -m dopamine.discrete_domains.train \
      --base_dir=runs/q_learning \
      --gin_files=examples/q_learning.gin

A Runner needs no more of an agent than the four verbs below (`begin_episode`,
`step`, `end_episode`, and `bundle_and_checkpoint` with its inverse, `unbundle`)
and the attribute `eval_mode`. This one is NumPy alone: no network, no replay
memory, no framework.
"""

import gin
import numpy as np

from dopamine import seeding


@gin.configurable
class QLearningAgent:
  """Q-learning with a table, for observations that are numbers of states.

  Args:
    num_actions: A.
    num_states: S; an observation is an integer in [0, S).
    learning_rate: share of the error that an update takes out of the table.
    gamma: discount per agent step.
    epsilon: share of random actions in training.
    summary_writer: not used.
    seed: of exploration; None takes the run's.
  """

  def __init__(
    self,
    num_actions,
    num_states,
    learning_rate=0.5,
    gamma=0.9,
    epsilon=0.3,
    summary_writer=None,
    seed=None,
  ):
    self.eval_mode = False  # The Runner sets it: no exploring, no learning.
    self.learning_rate, self.gamma = learning_rate, gamma
    self.epsilon = epsilon
    self.q = np.zeros((num_states, num_actions))  # [S, A]
    self._rng = seeding.generator(seeding.resolve(seed), 'agent')

  def begin_episode(self, observation):
    """Returns the first action of an episode."""
    return self._act(observation)

  def step(self, reward, observation):
    """Learns from what the last action led to, and returns the next."""
    self._learn(reward + self.gamma * np.max(self.q[observation]))
    return self._act(observation)

  def end_episode(self, reward, terminal=True, observation=None):
    """Learns from the last reward; after a time-out the task would go on."""
    next_q = 0.0 if terminal else np.max(self.q[observation])
    self._learn(reward + self.gamma * next_q)

  def _learn(self, target):
    """Q(s, a) += alpha (target - Q(s, a)); Sutton & Barto (2018), eq. (6.8)."""
    if not self.eval_mode:
      error = target - self.q[self._state, self._action]
      self.q[self._state, self._action] += self.learning_rate * error

  def _act(self, state):
    """The greedy action, ties at random; in training a random one at times."""
    explores = not self.eval_mode and self._rng.random() < self.epsilon
    q = np.zeros_like(self.q[state]) if explores else self.q[state]
    self._state = state
    self._action = int(self._rng.choice(np.flatnonzero(q == q.max())))
    return self._action

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    """Returns what a resumed run needs: built-ins and arrays."""
    return {'q': self.q, 'generator': self._rng.bit_generator.state}

  def unbundle(self, checkpoint_dir, iteration_number, bundle_dictionary):
    """Takes that back; False if it cannot, which ends the start."""
    if bundle_dictionary is None:
      return False
    self.q = bundle_dictionary['q']
    self._rng.bit_generator.state = bundle_dictionary['generator']
    return True
