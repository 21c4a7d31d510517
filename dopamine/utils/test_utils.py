"""What tests of agents share."""

from unittest import mock


class MockReplayBuffer:
  """Takes the place of an agent's `_replay`, and remembers what was added.

  Attributes:
    add: a `Mock`, as are `cut_episode` and `add_final_observation`.
    memory: a `Mock` with `add_count` 0, so that nothing is learnt.
    add_count: with `is_jax`, 0.
    sum_tree: with `is_jax`, that of `memory`.
  """

  def __init__(self, is_jax: bool = False):
    """Makes a mock.

    Args:
      is_jax: whether it stands for the bare memory of Dopamine 3's JAX agents.
    """
    self.add = mock.Mock()
    self.cut_episode = mock.Mock()
    self.add_final_observation = mock.Mock()
    self.memory = mock.Mock()
    self.memory.add_count = 0
    if is_jax:
      self.add_count = 0
      self.sum_tree = self.memory.sum_tree
