r"""Catch, as in bsuite (Osband et al., 2020): an environment of one's own.

    python -m dopamine.discrete_domains.train \
      --base_dir=runs/catch \
      --gin_files=dopamine/agents/dqn/configs/dqn_gym.gin \
      --gin_bindings="create_gym_environment.environment_name = \
                      'examples.catch:Catch-v0'"

Gymnasium imports the module before the colon, which registers the environment;
`dqn_gym.gin` takes the rest from its spaces.
"""

import gymnasium
from gymnasium import spaces
import numpy as np


class Catch(gymnasium.Env):
  """A ball falls, a paddle on the lowest row may move under it.

  Observations are `[rows, columns]`, 1 where the ball or the paddle is, else 0.
  Actions are left, stay and right. The reward is 1 or -1 once the ball is down,
  which ends the episode, and 0 before.

  Args:
    rows: of the board; an episode has one step less.
    columns: of the board.
  """

  def __init__(self, rows=10, columns=5):
    self.rows, self.columns = rows, columns
    self.action_space = spaces.Discrete(3)
    self.observation_space = spaces.Box(0, 1, (rows, columns), np.uint8)

  def reset(self, *, seed=None, options=None):
    """Drops a ball somewhere on top."""
    # Seeds self.np_random. What is drawn from it is repeated by the run's seed
    # and goes on after a resume; any other generator is neither.
    super().reset(seed=seed)
    self._ball = [0, int(self.np_random.integers(self.columns))]
    self._paddle = self.columns // 2
    return self._observation(), {}

  def step(self, action):
    """Moves both by a field at most."""
    self._ball[0] += 1
    self._paddle = int(np.clip(self._paddle + action - 1, 0, self.columns - 1))
    is_down = self._ball[0] == self.rows - 1
    reward = 0.0
    if is_down:
      reward = 1.0 if self._paddle == self._ball[1] else -1.0
    # The last but one is for time limits: this task has none.
    return self._observation(), reward, is_down, False, {}

  def _observation(self):
    board = np.zeros((self.rows, self.columns), np.uint8)
    board[tuple(self._ball)] = board[-1, self._paddle] = 1
    return board


gymnasium.register('Catch-v0', entry_point='examples.catch:Catch')
