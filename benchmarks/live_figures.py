"""Measures what the live figures of a run cost.

    python benchmarks/live_figures.py [--backend jax] [--pairs N] [--tasks ...]

prints two shares of each task: as computed, the median time of a report by that
of the agent steps from one to the next; and as measured, the time of training
phases with figures by that of phases without, in alternating pairs of one
process. The gradient's norm and the means over the batch are part of the
compiled update in both.
"""

import argparse
import os
import statistics
import tempfile
import time

import gin
import numpy as np

from dopamine.discrete_domains import iteration_statistics
from dopamine.discrete_domains import run_experiment
from dopamine.runs import live

# Settings, agent steps before anything is measured, and of a measured phase.
TASKS = {
  'CartPole': ('dopamine/agents/dqn/configs/dqn_cartpole.gin', (), 2000, 2000),
  'Pong': (
    'dopamine/agents/dqn/configs/dqn.gin',
    ('DQNAgent.min_replay_history = 500',),
    1000,
    500,
  ),
}
COMMON = (
  'WrappedReplayBuffer.replay_capacity = 50000',
  'Runner.checkpoint_minutes = None',
  'Runner.max_steps_per_episode = 200',
)


class Timed(live.LiveFigures):
  """Keeps how long each report took."""

  def __init__(self, writer):
    super().__init__(writer)
    self.seconds = []

  def _report(self, agent):
    # JAX computes beside Python; that wait is not of the report.
    for _, objective in agent._unchecked_losses:
      np.asarray(objective)
    start = time.perf_counter()
    super()._report(agent)
    self.seconds.append(time.perf_counter() - start)


def measure(name, num_pairs):
  """Prints both shares of a task."""
  gin_file, bindings, warm_up, steps = TASKS[name]
  gin.clear_config()
  run_experiment.load_gin_configs([gin_file], [*COMMON, *bindings])
  with (
    tempfile.TemporaryDirectory() as folder,
    run_experiment.create_runner(folder) as runner,
  ):
    shown, hidden = Timed(runner._summary_writer), live.NoFigures()
    runner._summary_writer.events.open()

    def seconds(figures, num_steps):
      """Of an agent step."""
      runner._live = figures
      runner._agent.eval_mode = False
      statistics_ = iteration_statistics.IterationStatistics()
      start = time.perf_counter()
      done, _, _ = runner._run_one_phase(num_steps, statistics_, 'train')
      return (time.perf_counter() - start) / done

    seconds(hidden, warm_up)
    seconds(shown, 500)  # Whatever is done once.
    shown.seconds.clear()
    pairs = []
    for i in range(num_pairs):
      first, second = (hidden, shown) if i % 2 else (shown, hidden)
      times = {id(first): seconds(first, steps)}
      times[id(second)] = seconds(second, steps)
      pairs.append((times[id(shown)], times[id(hidden)]))
  report = statistics.median(shown.seconds)
  step = statistics.median(pair[1] for pair in pairs)
  ratios = sorted(a / b for a, b in pairs)
  print(
    f'{name}: a report takes {1e3 * report:.2f} ms, an agent step '
    f'{1e3 * step:.2f} ms: {report / (250 * step):.2%} as computed; '
    f'{statistics.median(ratios) - 1:+.2%} as measured (median of '
    f'{num_pairs} pairs, {ratios[0] - 1:+.1%} to {ratios[-1] - 1:+.1%})',
    flush=True,
  )


def main():
  """Measures the tasks that were asked for."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--backend', default='tensorflow')
  parser.add_argument('--pairs', type=int, default=10)
  parser.add_argument('--tasks', nargs='+', default=list(TASKS), choices=TASKS)
  options = parser.parse_args()
  os.environ['KERAS_BACKEND'] = options.backend
  for name in options.tasks:
    measure(name, options.pairs)


if __name__ == '__main__':
  main()
