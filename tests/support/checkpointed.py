"""An agent of arrays, its runs, and what is done to their checkpoints."""

import json
import os
import pathlib
import zlib

import numpy as np
import pytest

from dopamine import storage
from dopamine.discrete_domains import run_experiment
from dopamine.replay_memory import circular_replay_buffer
from tests.support import plain


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


def make_runner(base_dir, agent=Agent, **kwargs):
  """A Runner of `Agent` that trains, in episodes of 7 steps."""
  settings = dict(evaluation_steps=0) | kwargs
  return plain.make_runner(base_dir, agent=agent, **settings)


def rewrite(path, change):
  """Changes a manifest as somebody would who knows its checksum."""
  manifest = json.loads(path.read_bytes().partition(b'\n')[0])
  change(manifest)
  content = json.dumps(manifest).encode()
  path.write_bytes(content + b'\n%d\n' % zlib.crc32(content))


def rewrite_record(path, change):
  """Changes the record of a replay memory."""
  with np.load(path) as file:
    arrays = dict(file)
  record = json.loads(arrays['record'].tobytes())
  change(record)
  arrays['record'] = np.frombuffer(json.dumps(record).encode(), np.uint8)
  np.savez(path, **arrays)


def contents(folder):
  """Every file below a folder, and where each link leads."""
  return {
    str(path.relative_to(folder)): os.readlink(path)
    if path.is_symlink()
    else path.read_bytes()
    for path in sorted(pathlib.Path(folder).rglob('*'))
    if path.is_file() or path.is_symlink()
  }


def run(base_dir, **kwargs):
  runner = make_runner(base_dir, **kwargs)
  runner.run_experiment()
  return runner


def stop(base_dir, at_step, **kwargs):
  """Runs up to a step, where a checkpoint is taken within an iteration."""

  class Stopping(run_experiment.Runner):
    saves_mid_episode = True

    def _run_one_step(self, action):
      if self._agent.steps == at_step:
        self.request_stop()
      return super()._run_one_step(action)

  with pytest.raises(run_experiment.Stopped):
    run(base_dir, cls=Stopping, **kwargs)


def stored(memory):
  return np.ravel(memory._store['observation']), int(memory.add_count)
