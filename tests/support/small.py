"""Small networks, environments and batches that several tests share."""

import collections

import keras
from keras import layers
from keras import ops
import numpy as np

from dopamine import networks

Batch = collections.namedtuple(
  'Batch', 'state action reward next_state terminal discount'
)

NUM_ACTIONS = 3
OBSERVATION_SHAPE = (4,)


class Perceptron(keras.Model):
  """One hidden layer of 5 units: small enough to differentiate by hand."""

  units = 5

  def __init__(self, num_actions, name=None):
    super().__init__(name=name)
    self.flatten = layers.Flatten()
    self.hidden = layers.Dense(self.units, activation='relu')
    self.last = layers.Dense(num_actions)

  def call(self, state):
    x = self.flatten(ops.cast(state, 'float32'))
    return networks.DQNNetworkType(self.last(self.hidden(x)))


class Perceptron50(Perceptron):
  """One hidden layer of 50 units: large enough for Catch."""

  units = 50


class Table(keras.Model):
  """Action values that are looked up: a tabular agent."""

  def __init__(self, num_actions, name=None):
    super().__init__(name=name)
    self.flatten = layers.Flatten()
    self.table = layers.Dense(
      num_actions, use_bias=False, kernel_initializer='zeros'
    )

  def call(self, state):
    x = self.flatten(ops.cast(state, 'float32'))
    return networks.DQNNetworkType(self.table(x))


def batches(num_batches=1, batch_size=6, seed=0):
  """A `Batch` of random arrays `[num_batches, batch_size, ...]`."""
  rng = np.random.default_rng(seed)
  size = (num_batches, batch_size)
  terminal = np.broadcast_to(np.arange(batch_size) % 3 == 2, size)
  return Batch(
    state=rng.normal(size=(*size, *OBSERVATION_SHAPE, 1)),
    action=rng.integers(0, NUM_ACTIONS, size).astype(np.int32),
    # Some TD errors inside [-1, 1], some outside.
    reward=rng.normal(scale=2.0, size=size).astype(np.float32),
    next_state=rng.normal(size=(*size, *OBSERVATION_SHAPE, 1)),
    terminal=terminal.astype(np.uint8),
    discount=(0.9 * (1 - terminal)).astype(np.float32),
  )


class Chain:
  """Five states in a row; right leads on, left ends the episode.

  The last step to the right pays 1 and ends it too; left pays 0.2 at once.
  """

  length = 5

  def __init__(self):
    self.action_space = collections.namedtuple('Space', 'n')(2)
    self.game_over = True

  def _observe(self):
    observation = np.zeros(self.length, np.float32)
    observation[min(self._place, self.length - 1)] = 1.0
    return observation

  def reset(self):
    self._place, self.game_over = 0, False
    return self._observe()

  def step(self, action):
    if action == 0:
      reward, self.game_over = 0.2, True
    else:
      self._place += 1
      self.game_over = self._place == self.length
      reward = float(self.game_over)
    return self._observe(), reward, self.game_over, {}

  @classmethod
  def values(cls, gamma):
    """`[length, 2]` optimal action values, by hand: backwards from the end."""
    right = gamma ** np.arange(cls.length - 1, -1, -1)
    return np.stack([np.full(cls.length, 0.2), right], axis=1)


class Catch:
  """A ball falls through a grid of 6 x 5; the paddle must be under it.

  Actions are left, stay and right; the reward of +1 or -1 comes at the end.
  """

  rows, columns = 6, 5

  def __init__(self, seed=0):
    self.action_space = collections.namedtuple('Space', 'n')(3)
    self.game_over = True
    self._rng = np.random.default_rng(seed)

  def _observe(self):
    observation = np.zeros((self.rows, self.columns), np.float32)
    observation[self._row, self._ball] = 1.0
    observation[-1, self._paddle] = 1.0
    return observation

  def reset(self):
    self._row, self.game_over = 0, False
    self._ball = int(self._rng.integers(self.columns))
    self._paddle = self.columns // 2
    return self._observe()

  def step(self, action):
    self._paddle = min(max(self._paddle + action - 1, 0), self.columns - 1)
    self._row += 1
    self.game_over = self._row == self.rows - 1
    reward = 0.0
    if self.game_over:
      reward = 1.0 if self._ball == self._paddle else -1.0
    return self._observe(), reward, self.game_over, {}


class Countdown:
  """Observations count up; an episode ends after `length` steps, or never."""

  def __init__(self, length=None):
    self.action_space = collections.namedtuple('Space', 'n')(2)
    self.game_over, self._length = True, length
    self.total = 0

  def reset(self):
    self._steps, self.game_over = 0, False
    return np.array([self._steps], np.float32)

  def step(self, action):
    del action
    self.total += 1
    self._steps += 1
    self.game_over = self._steps == self._length
    return np.array([self._steps], np.float32), 1.0, self.game_over, {}


class FourCountdown(Countdown):
  """A countdown whose observations have four equal entries."""

  def reset(self):
    return np.repeat(super().reset(), 4)

  def step(self, action):
    observation, *rest = super().step(action)
    return np.repeat(observation, 4), *rest


def run(agent, environment, num_steps):
  """Runs whole episodes, `num_steps` steps or more; returns their returns."""
  returns, steps = [], 0
  while steps < num_steps:
    action, total = agent.begin_episode(environment.reset()), 0.0
    while True:
      observation, reward, _, _ = environment.step(action)
      total, steps = total + reward, steps + 1
      if environment.game_over:
        break
      action = agent.step(reward, observation)
    agent.end_episode(reward)
    returns.append(total)
  return returns
