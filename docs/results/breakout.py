"""Makes the Breakout result of QR-DQN: `python docs/results/breakout.py`.

Trains `quantile.gin` on Breakout for iteration 0, 250,000 agent steps or one
million frames, without evaluation and with the full replay memory; writes
`breakout.json` (every episode's length and return) and `breakout.png` beside
this file. An hour on two CPU cores, 8 GB of memory at most; a run that is
already in the work folder is not repeated.
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
GIN_FILE = 'dopamine/agents/quantile/configs/quantile.gin'
BINDINGS = (
  "create_runner.schedule = 'continuous_train'",
  'Runner.num_iterations = 1',
  "atari_lib.create_atari_environment.game_name = 'Breakout'",
)
# Mean training returns of iteration 0 that Dopamine published: five runs.
PUBLISHED = (4.4, 4.6)


def run(base_dir, seed):
  """Trains, unless it was done; returns the statistics of iteration 0."""
  log = base_dir / 'logs' / 'log_0'
  if not log.exists():
    command = [sys.executable, '-um', 'dopamine.discrete_domains.train']
    command += [f'--base_dir={base_dir}', f'--gin_files={GIN_FILE}']
    command += [f'--gin_bindings={binding}' for binding in BINDINGS]
    subprocess.run([*command, f'--seed={seed}'], check=True)
  return pickle.loads(log.read_bytes())['iteration_0']


def plot(lengths, returns, path, window=50):
  """Draws every episode's return and a moving mean over agent steps."""
  import matplotlib

  matplotlib.use('Agg')
  from matplotlib import pyplot

  steps = np.cumsum(lengths)
  means = np.convolve(returns, np.ones(window) / window, mode='valid')
  figure, axis = pyplot.subplots(figsize=(8, 4))
  axis.plot(steps, returns, '.', color='C0', alpha=0.25, label='an episode')
  axis.plot(
    steps[window - 1 :], means, 'C0', label=f'mean of {window} episodes'
  )
  axis.axhline(np.mean(returns), color='C1', label='mean of the iteration')
  axis.axhspan(*PUBLISHED, color='C2', alpha=0.4, label='published means')
  axis.set(xlabel='agent steps', ylabel='training return', yscale='symlog')
  axis.set(title='QR-DQN on Breakout, quantile.gin, iteration 0')
  axis.legend(loc='upper left')
  axis.grid(alpha=0.3)
  figure.tight_layout()
  figure.savefig(path, dpi=100)


def main():
  """Runs, then writes the data and the picture."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument(
    '--work_dir',
    type=pathlib.Path,
    default=pathlib.Path(tempfile.gettempdir()) / 'qr_breakout',
  )
  parser.add_argument('--seed', type=int, default=1)
  arguments = parser.parse_args()
  statistics = run(arguments.work_dir, arguments.seed)
  lengths = statistics['train_episode_lengths']
  returns = statistics['train_episode_returns']
  print(
    f'{len(returns)} episodes, {sum(lengths)} agent steps, mean training '
    f'return {np.mean(returns):.2f}, '
    f'{statistics["train_average_steps_per_second"][0]:.0f} agent steps/s'
  )
  data = {
    'seed': arguments.seed,
    'mean_training_return': float(np.mean(returns)),
    'train_episode_lengths': [int(x) for x in lengths],
    'train_episode_returns': [float(x) for x in returns],
  }
  (HERE / 'breakout.json').write_text(json.dumps(data) + '\n')
  plot(lengths, returns, HERE / 'breakout.png')


if __name__ == '__main__':
  main()
