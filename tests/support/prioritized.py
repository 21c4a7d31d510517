"""Prioritised memories, small ones, and what their trees hold."""

import numpy as np

from dopamine.replay_memory import prioritized_replay_buffer
from tests.support import inside
from tests.support import replays

Memory = prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer
Wrapped = prioritized_replay_buffer.WrappedPrioritizedReplayBuffer


def memory(**kwargs):
  return replays.memory(Memory, **kwargs)


def filled(memory=None, count=15, **kwargs):
  memory = replays.memory(Memory, **kwargs) if memory is None else memory
  for i in range(count):
    memory.add(i, i, 0.0, False, priority=1.0 + i)
  return memory


def priorities(memory):
  return memory.sum_tree.nodes[-1][: inside.capacity(memory)]


def assert_same_tree(memory, other):
  ours, theirs = memory.sum_tree, other.sum_tree
  for level, expected in zip(ours.nodes, theirs.nodes, strict=True):
    np.testing.assert_array_equal(level, expected)
  assert ours.max_recorded_priority == theirs.max_recorded_priority
