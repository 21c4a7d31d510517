"""Measures what an update of an agent in the functional style costs.

    python benchmarks/functional.py [--pairs N] [--tasks CartPole Pong]

prints the time of its updates by that of an agent of hooks, both of the same
gin file, as the median of alternating pairs of one process. Both sample, train
and keep the loss, as in training; the functional one calls our `train`.
"""

import argparse
import os
import pathlib
import statistics
import sys
import time

os.environ['KERAS_BACKEND'] = 'jax'

import gin
import numpy as np

from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment

# Settings, actions, what makes observations, and updates of one measurement.
TASKS = {
  'CartPole': (
    'dopamine/jax/agents/dqn/configs/dqn_cartpole.gin',
    (2, gym_lib.CARTPOLE_OBSERVATION_SHAPE, 1),
    300,
  ),
  'Pong': (
    'dopamine/jax/agents/dqn/configs/dqn.gin',
    (6, atari_lib.NATURE_DQN_OBSERVATION_SHAPE, 4),
    20,
  ),
}


def seconds(agent, num_updates):
  """How long updates take, until their parameters are there."""
  start = time.perf_counter()
  for _ in range(num_updates):
    agent._train_step()
  for weight in agent._learner.state().values():
    np.asarray(weight)
  return (time.perf_counter() - start) / num_updates


def measure(task, classes, num_pairs):
  """Prints the ratio for a task, of two classes."""
  gin_file, (num_actions, shape, stack_size), num_updates = TASKS[task]
  gin.clear_config()
  run_experiment.load_gin_configs(
    [gin_file], ['OutOfGraphReplayBuffer.replay_capacity = 5000']
  )
  agents = []
  for cls in classes:
    agent = cls(
      num_actions,
      stack_size=stack_size,
      seed=1,
      update_period=1,
      min_replay_history=1,
      target_update_period=10**9,
    )
    rng = np.random.default_rng(0)
    for _ in range(2000):
      observation = rng.integers(0, 255, shape)
      agent._replay.add(
        observation.astype(agent.observation_dtype), 0, 1.0, False
      )
    seconds(agent, 3)  # To compile.
    agents.append(agent)
  ratios, times = [], []
  for i in range(num_pairs):
    order = agents if i % 2 else agents[::-1]
    found = {id(agent): seconds(agent, num_updates) for agent in order}
    hooks, functional = (found[id(agent)] for agent in agents)
    ratios.append(functional / hooks)
    times.append(hooks)
  low, high = min(ratios), max(ratios)
  print(
    f'{task:9} functional / hooks: {statistics.median(ratios):.3f} '
    f'({low:.3f} to {high:.3f}, {num_pairs} pairs); hooks '
    f'{1e3 * statistics.median(times):.2f} ms an update',
    flush=True,
  )


def main():
  """Measures all tasks."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--pairs', type=int, default=10)
  parser.add_argument('--tasks', nargs='+', choices=TASKS, default=list(TASKS))
  arguments = parser.parse_args()
  root = pathlib.Path(__file__).parents[1]
  sys.path.append(str(root / 'docs' / 'results'))
  import functional_dqn

  from dopamine.jax.agents.dqn import dqn_agent

  classes = dqn_agent.JaxDQNAgent, functional_dqn.FunctionalDQNAgent
  for task in arguments.tasks:
    measure(task, classes, arguments.pairs)


if __name__ == '__main__':
  main()
