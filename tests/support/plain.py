"""A run that needs no framework: an agent that remembers and never learns."""

import os

import numpy as np

from dopamine import storage
from dopamine.discrete_domains import run_experiment
from dopamine.replay_memory import circular_replay_buffer
from tests.support import small


class Agent:
  """Stores what it sees, and counts; its checkpoints are as those of others."""

  saves_mid_episode = True
  eval_mode = False

  def __init__(self, capacity=60):
    self.memory = circular_replay_buffer.OutOfGraphReplayBuffer(
      (1,), 1, capacity, 4, observation_dtype=np.float32, seed=0
    )
    self.steps = 0
    self._observation = None

  def begin_episode(self, observation):
    self._observation = observation
    return 0

  def step(self, reward, observation):
    if not self.eval_mode:
      self.memory.add(self._observation, 0, reward, False)
      self.steps += 1
    self._observation = observation
    return self.steps % 2

  def end_episode(self, reward, terminal=True):
    if not self.eval_mode:
      self.memory.add(self._observation, 0, reward, terminal)
      self.steps += 1

  def bundle_and_checkpoint(self, checkpoint_dir, iteration):
    steps = b'%d' % self.steps
    path = os.path.join(checkpoint_dir, f'steps_ckpt.{iteration}.txt')
    storage.put(path, lambda file: file.write(steps))
    self.memory.checkpoint(checkpoint_dir, iteration)
    return {'steps': self.steps, 'observation': self._observation}

  def unbundle(self, checkpoint_dir, iteration, bundle):
    self.memory.restore(checkpoint_dir, iteration)
    self.steps, self._observation = bundle['steps'], bundle['observation']
    return True


def make_runner(base_dir, cls=run_experiment.Runner, agent=Agent, **kwargs):
  """A Runner of `Agent` in episodes of 7 steps."""
  settings = dict(
    num_iterations=3, training_steps=20, evaluation_steps=0, seed=1
  )
  return cls(
    str(base_dir),
    lambda sess, environment, summary_writer: agent(),
    lambda: small.Countdown(7),
    **(settings | kwargs),
  )
