"""A task of two states whose returns have known distributions.

An episode is two steps. In the first state action 0 pays 0 and action 1 pays
-0.4, both lead to the second. There action 0 pays 1 with probability 0.3, else
0, and action 1 pays -0.9, -0.7 ... 0.9, one as likely as another: 0.3 or 0 on
average, so that 0 is the better one in both.
"""

import gymnasium
import numpy as np

NUM_STATES = NUM_ACTIONS = 2
FIRST_REWARDS = 0.0, -0.4
LAST_REWARDS = (
  np.array([1.0] * 3 + [0.0] * 7),
  np.arange(-9, 10, 2) / 10,
)
STATES = np.eye(NUM_STATES, dtype=np.float32)
NAME = 'TwoStates-v0'


def returns(gamma):
  """The returns of best play, `[2, 2, 10]`, ascending: one as likely as any."""
  best = np.sort(LAST_REWARDS[0])
  first = [reward + gamma * best for reward in FIRST_REWARDS]
  return np.stack([first, np.sort(LAST_REWARDS)])


class TwoStates(gymnasium.Env):
  """Deals the last rewards like cards: each once, then each once again.

  After a thousand episodes their shares are exact, not exact to 0.02. What is
  seen says nothing of the next card.
  """

  observation_space = gymnasium.spaces.Box(0, 1, (NUM_STATES,), np.float32)
  action_space = gymnasium.spaces.Discrete(NUM_ACTIONS)
  metadata = {'render_modes': ['rgb_array'], 'render_fps': 5}

  def __init__(self, render_mode=None):
    self.render_mode = render_mode
    self._decks = [[], []]

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self._place = 0
    return STATES[0].copy(), {}

  def step(self, action):
    is_last = self._place == 1
    self._place = 1
    if not is_last:
      return STATES[1].copy(), FIRST_REWARDS[action], False, False, {}
    deck = self._decks[action]
    if not deck:
      deck += self.np_random.permutation(LAST_REWARDS[action]).tolist()
    return STATES[1].copy(), deck.pop(), True, False, {}

  def render(self):
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 40 * self._place :][:, :40] = 255
    return picture


def register():
  """Has Gymnasium know the task by its name."""
  if NAME not in gymnasium.registry:
    gymnasium.register(NAME, TwoStates)
