"""Makes the Breakout results.

    python docs/results/breakout.py dqn --seeds 1 --iterations 2
    python docs/results/breakout.py quantile --seeds 1 2
    python docs/results/breakout.py quantile_unweighted --seeds 2
    python docs/results/breakout.py quantile

Trains the agent's Atari file on Breakout for its first iterations, each 250,000
agent steps or one million frames, without evaluation and with the full replay
memory; adds the runs to `breakout_<agent>.json` (every episode's length and
return) beside this file, in place of those of the same seeds. Then, and that is
all without `--seeds`, draws `.png` and prints what the published band says of
what the file holds. An iteration takes one to two hours on two CPU cores and 8
GB of memory at most. What is finished in the work folder is not run again.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile

import numpy as np

from dopamine import analysis

HERE = pathlib.Path(__file__).parent
BINDINGS = (
  "create_runner.schedule = 'continuous_train'",
  "atari_lib.create_atari_environment.game_name = 'Breakout'",
)
UNWEIGHTED = (
  'import unweighted_quantile',
  'create_agent.agent_name = @UnweightedQuantileAgent',
)
# The name in `create_agent`, how it is called, and further bindings.
AGENTS = {
  'dqn': ('dqn', 'DQN', ()),
  'quantile': ('quantile', 'QR-DQN', ()),
  'quantile_unweighted': ('quantile', 'QR-DQN without weights', UNWEIGHTED),
}


def run(agent, base_dir, seed, iterations):
  """Trains, unless it was done; returns the statistics of each iteration."""
  log = base_dir / 'logs' / f'log_{iterations - 1}'
  name, _, more = AGENTS[agent]
  if not log.exists():
    gin_file = f'dopamine/agents/{name}/configs/{name}.gin'
    bindings = [*BINDINGS, *more, f'Runner.num_iterations = {iterations}']
    command = [sys.executable, '-um', 'dopamine.discrete_domains.train']
    command += [f'--base_dir={base_dir}', f'--gin_files={gin_file}']
    command += [f'--gin_bindings={binding}' for binding in bindings]
    path = os.pathsep.join([str(HERE), os.environ.get('PYTHONPATH', '')])
    environment = os.environ | {'PYTHONPATH': path}
    subprocess.run([*command, f'--seed={seed}'], check=True, env=environment)
  logs = pickle.loads(log.read_bytes())
  return [
    {
      'mean_training_return': float(np.mean(i['train_episode_returns'])),
      'train_episode_lengths': [int(x) for x in i['train_episode_lengths']],
      'train_episode_returns': [float(x) for x in i['train_episode_returns']],
    }
    for i in (logs[f'iteration_{i}'] for i in range(iterations))
  ]


def compare(agent, runs):
  """Holds runs of equal length against the published band."""
  name, label, _ = AGENTS[agent]
  returns = [
    [i['mean_training_return'] for i in of_run['iterations']] for of_run in runs
  ]
  found = analysis.compare_returns(name, 'Breakout', returns, label=label)
  if agent != 'quantile_unweighted':
    return found
  alike = [text for text in found.differences if 'weights' not in text]
  return dataclasses.replace(found, differences=tuple(alike))


def plot(agent, runs, path, window=50):
  """Draws a moving mean of each run's episodes, and the band for one run."""
  import matplotlib

  matplotlib.use('Agg')
  from matplotlib import pyplot

  figure, axis = pyplot.subplots(figsize=(8, 4))
  for i, of_run in enumerate(runs):
    lengths, returns = (
      np.concatenate([iteration[key] for iteration in of_run['iterations']])
      for key in ('train_episode_lengths', 'train_episode_returns')
    )
    steps = np.cumsum(lengths)
    kernel = np.ones(window) / window
    axis.plot(steps, returns, '.', color=f'C{i}', alpha=0.15)
    axis.plot(
      steps[window - 1 :],
      np.convolve(returns, kernel, mode='valid'),
      color=f'C{i}',
      label=f'seed {of_run["seed"]}, mean of {window} episodes',
    )
    start = 0
    for iteration in of_run['iterations']:
      end = start + sum(iteration['train_episode_lengths'])
      mean = iteration['mean_training_return']
      axis.hlines(mean, start, end, f'C{i}', linestyles='--')
      start = end
  low, high = compare(agent, runs[:1]).band.pointwise()
  for i, interval in enumerate(zip(low, high, strict=True)):
    label = 'band of the mean of an iteration (--), one run' if i == 0 else None
    steps = [250_000 * i, 250_000 * (i + 1)]
    axis.fill_between(steps, *interval, color='C7', alpha=0.4, label=label)
  axis.set(xlabel='agent steps', ylabel='training return', yscale='symlog')
  axis.set(title=f'{AGENTS[agent][1]} on Breakout')
  axis.legend(loc='upper left')
  axis.grid(alpha=0.3)
  figure.tight_layout()
  figure.savefig(path, dpi=100)


def main():
  """Runs, then writes the data and the picture."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('agent', choices=AGENTS)
  parser.add_argument('--work_dir', type=pathlib.Path)
  parser.add_argument('--seeds', type=int, nargs='*', default=[])
  parser.add_argument('--iterations', type=int, choices=(1, 2), default=1)
  arguments = parser.parse_args()
  agent, path = arguments.agent, HERE / f'breakout_{arguments.agent}.json'
  found = json.loads(path.read_text())['runs'] if path.exists() else []
  runs = {of_run['seed']: of_run for of_run in found}
  work_dir = arguments.work_dir or pathlib.Path(tempfile.gettempdir())
  for seed in arguments.seeds:
    base_dir = work_dir / f'breakout_{agent}_{seed}'
    iterations = run(agent, base_dir, seed, arguments.iterations)
    runs[seed] = {'seed': seed, 'iterations': iterations}
  found = [runs[seed] for seed in sorted(runs)]
  path.write_text(json.dumps({'runs': found}) + '\n')
  plot(agent, found, path.with_suffix('.png'))
  for of_run in found:
    for i, iteration in enumerate(of_run['iterations']):
      lengths = iteration['train_episode_lengths']
      print(
        f'seed {of_run["seed"]}, iteration {i}: {len(lengths)} episodes, '
        f'{sum(lengths)} agent steps, mean training return '
        f'{iteration["mean_training_return"]:.2f}; the last 50 episodes '
        f'{np.mean(iteration["train_episode_returns"][-50:]):.1f}'
      )
    print('\n'.join(compare(agent, [of_run]).sentences()))
  if len(found) > 1:
    print('\n'.join(compare(agent, found).sentences()))


if __name__ == '__main__':
  main()
