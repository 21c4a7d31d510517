"""An agent and an environment of plain Python, for tests of the Runner."""

import contextlib
import os

import gymnasium
import numpy as np

from dopamine import seeding
from dopamine.discrete_domains import run_experiment


class Agent:
  """Sums up all that it was told of: what is lost or told twice shows."""

  saves_mid_episode = True

  def __init__(self):
    self.eval_mode = False
    self.total, self.ends = 1, 0

  def _take(self, *numbers):
    for number in numbers:
      self.total = (31 * self.total + int(number)) % 1_000_003

  def begin_episode(self, observation):
    self._take(self.eval_mode, observation[0])
    return self.total % 2

  def step(self, reward, observation):
    self._take(reward, observation[0])
    return self.total % 2

  def end_episode(self, reward, terminal=True):
    self.ends += 1
    self._take(reward, terminal)

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    path = os.path.join(checkpoint_dir, f'weights_ckpt.{iteration_number}.npz')
    np.savez(path, total=self.total)
    return {'total': self.total, 'ends': self.ends}

  def unbundle(self, checkpoint_dir, iteration_number, data):
    self.total, self.ends = data['total'], data['ends']
    return True

  def load_weights(self, path):
    with np.load(path) as file:
      self.total = int(file['total'])


class Environment:
  """Random numbers; can be saved anywhere. It counts how often it is closed.

  Attributes:
    length: of its episodes; None has them go on.
    at: step of all those of the class -> what to do before it, once.
    steps: of all those of the class.
  """

  saves_mid_episode = True
  length, at, steps = 7, None, 0
  action_space = gymnasium.spaces.Discrete(2)

  def __init__(self):
    self._rng = seeding.generator(seeding.resolve(None), 'environment')
    self._left, self.game_over, self.closed = 0, True, 0

  def reset(self):
    self._left, self.game_over = self.length, False
    return self._rng.integers(100, size=1)

  def step(self, action):
    cls = type(self)
    cls.steps += 1
    if cls.at and cls.steps in cls.at:
      cls.at.pop(cls.steps)()
    if self._left:
      self._left -= 1
      self.game_over = not self._left
    reward = float(action + self._rng.integers(3))
    return self._rng.integers(100, size=1), reward, self.game_over, {}

  def get_state(self):
    return [self._rng.bit_generator.state, self._left, self.game_over]

  def set_state(self, state):
    self._rng.bit_generator.state, self._left, self.game_over = state

  def close(self):
    self.closed += 1


class Rendering(Environment):
  """One that shows itself, always the same."""

  def render(self, mode):
    return np.full((20, 20, 3), 9, np.uint8)


class Aside(Agent):
  """A foreign agent that can be set aside."""

  @contextlib.contextmanager
  def set_aside(self, seed):
    before = dict(vars(self))
    self.eval_mode = True
    try:
      yield
    finally:
      vars(self).update(before)


def make_runner(
  base_dir,
  environment=Environment,
  agent=Agent,
  cls=run_experiment.Runner,
  **kwargs,
):
  """A Runner of 3 iterations of 20 and 10 steps, whose episodes have 7."""
  settings = dict(
    num_iterations=3,
    training_steps=20,
    evaluation_steps=10,
    max_steps_per_episode=100,
    clip_rewards=False,
    seed=5,
  )
  return cls(
    base_dir,
    lambda sess, environment, summary_writer=None: agent(),
    environment,
    **(settings | kwargs),
  )
