"""Plays Atari games."""

import hashlib

import numpy as np


def play(environment, num_steps, seed=0):
  """Returns a hash of the pictures, rewards and ends of a random policy."""
  rng = np.random.default_rng(seed)
  digest = hashlib.sha256()
  for _ in range(num_steps):
    action = rng.integers(environment.action_space.n)
    observation, reward, is_terminal, _ = environment.step(action)
    if environment.game_over:
      observation = environment.reset()
    digest.update(observation.tobytes())
    digest.update(f'{reward} {is_terminal} {environment.lives}'.encode())
  return digest.hexdigest()
