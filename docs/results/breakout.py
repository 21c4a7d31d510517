"""Makes the Breakout results.

    python docs/results/breakout.py dqn [--iterations 1]   # or quantile

Trains the agent's Atari file on Breakout for its first iterations, each 250,000
agent steps or one million frames, without evaluation and with the full replay
memory; writes `breakout_<agent>.json` (every episode's length and return) and
`.png` beside this file. An iteration takes most of an hour on two CPU cores and
8 GB of memory at most. What is finished in the work folder is not run again.
"""

import argparse
import json
import pathlib
import pickle
import subprocess
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).parent
BINDINGS = (
  "create_runner.schedule = 'continuous_train'",
  "atari_lib.create_atari_environment.game_name = 'Breakout'",
)
# Mean training returns of the first iterations that Dopamine published: the
# least and the most of five runs.
PUBLISHED = {'dqn': [(1.6, 1.7), (2.8, 3.3)], 'quantile': [(4.4, 4.6)]}
NAMES = {'dqn': 'DQN', 'quantile': 'QR-DQN'}


def run(agent, base_dir, seed, iterations):
  """Trains, unless it was done; returns the statistics of each iteration."""
  log = base_dir / 'logs' / f'log_{iterations - 1}'
  if not log.exists():
    gin_file = f'dopamine/agents/{agent}/configs/{agent}.gin'
    bindings = [*BINDINGS, f'Runner.num_iterations = {iterations}']
    command = [sys.executable, '-um', 'dopamine.discrete_domains.train']
    command += [f'--base_dir={base_dir}', f'--gin_files={gin_file}']
    command += [f'--gin_bindings={binding}' for binding in bindings]
    subprocess.run([*command, f'--seed={seed}'], check=True)
  logs = pickle.loads(log.read_bytes())
  return [logs[f'iteration_{i}'] for i in range(iterations)]


def plot(agent, iterations, path, window=50):
  """Draws every episode's return and a moving mean over agent steps."""
  import matplotlib

  matplotlib.use('Agg')
  from matplotlib import pyplot

  lengths = np.concatenate([i['train_episode_lengths'] for i in iterations])
  returns = np.concatenate([i['train_episode_returns'] for i in iterations])
  steps = np.cumsum(lengths)
  means = np.convolve(returns, np.ones(window) / window, mode='valid')
  figure, axis = pyplot.subplots(figsize=(8, 4))
  axis.plot(steps, returns, '.', color='C0', alpha=0.25, label='an episode')
  axis.plot(
    steps[window - 1 :], means, 'C0', label=f'mean of {window} episodes'
  )
  start = 0
  for i, published in zip(iterations, PUBLISHED[agent], strict=False):
    end = start + sum(i['train_episode_lengths'])
    ours = np.mean(i['train_episode_returns'])
    axis.hlines(ours, start, end, 'C1', label='mean of an iteration')
    axis.fill_between(
      *([start, end], *published),
      color='C2',
      alpha=0.4,
      label='published means',
    )
    start = end
  axis.set(xlabel='agent steps', ylabel='training return', yscale='symlog')
  axis.set(title=f'{NAMES[agent]} on Breakout, {agent}.gin')
  handles, labels = axis.get_legend_handles_labels()
  unique = dict(zip(labels, handles, strict=True))
  axis.legend(unique.values(), unique.keys(), loc='upper left')
  axis.grid(alpha=0.3)
  figure.tight_layout()
  figure.savefig(path, dpi=100)


def main():
  """Runs, then writes the data and the picture."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('agent', choices=PUBLISHED)
  parser.add_argument('--work_dir', type=pathlib.Path)
  parser.add_argument('--seed', type=int, default=1)
  parser.add_argument('--iterations', type=int, choices=(1, 2))
  arguments = parser.parse_args()
  agent = arguments.agent
  iterations = arguments.iterations or len(PUBLISHED[agent])
  temporary = pathlib.Path(tempfile.gettempdir()) / f'breakout_{agent}'
  statistics = run(
    *(agent, arguments.work_dir or temporary, arguments.seed), iterations
  )
  data = []
  for i, iteration in enumerate(statistics):
    lengths = iteration['train_episode_lengths']
    returns = iteration['train_episode_returns']
    print(
      f'iteration {i}: {len(returns)} episodes, {sum(lengths)} agent steps, '
      f'mean training return {np.mean(returns):.2f}, '
      f'{iteration["train_average_steps_per_second"][0]:.0f} agent steps/s'
    )
    data.append(
      {
        'mean_training_return': float(np.mean(returns)),
        'train_episode_lengths': [int(x) for x in lengths],
        'train_episode_returns': [float(x) for x in returns],
      }
    )
  path = HERE / f'breakout_{agent}.json'
  path.write_text(
    json.dumps({'seed': arguments.seed, 'iterations': data}) + '\n'
  )
  plot(agent, data, path.with_suffix('.png'))


if __name__ == '__main__':
  main()
