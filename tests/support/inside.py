"""What tests ask of objects that keep it to themselves: each name once.

Where a thing has moved, its line here follows; the tests stay as they are.
"""

from dopamine.replay_memory import ring_files


def agent(runner):
  return runner._agent


def environment(runner):
  return runner._environment


def logs(runner):
  """`{'iteration_0': {statistic: values}, ...}`."""
  return runner._logger.data


def start_iteration(runner):
  """The iteration with which it begins, or goes on."""
  return runner._start_iteration


def max_steps_per_episode(runner):
  return runner._max_steps_per_episode


def learner(agent):
  return agent._learner


def optimizer(agent):
  return agent._learner._hooks.optimizer


def replay(agent):
  """The replay memory as the agent has it, in its wrapper."""
  return agent._replay


def memory(agent):
  """The replay memory without its wrapper."""
  return agent._replay.memory


def arrays(memory):
  """`{name: array}` of what a replay memory stores, a row per slot."""
  return memory._store


def cut_ring(memory, length):
  """Has checkpoints cut a replay memory into segments of `length` slots."""
  memory._ring = ring_files.RingFiles(memory._store, length)


def checkpoints(runner):
  """Those of its run, a `RunCheckpoints`."""
  return runner._saver.checkpoints


def capacity(memory):
  return memory._replay_capacity


def rings(memory):
  """What `windows` knows of a replay memory."""
  return memory._rings()


def is_valid(memory, indices):
  """Which transitions of a replay memory may be sampled, as an array."""
  return memory._is_valid(indices)


def generator(owner):
  """The random generator of an agent, or of a replay memory."""
  return vars(owner).get('_generator', owner._rng)  # A key in some agents.
