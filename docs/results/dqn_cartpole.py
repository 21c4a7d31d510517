"""Makes the CartPole curves of DQN: `python docs/results/dqn_cartpole.py`.

Trains `dqn_cartpole.gin` for 30 iterations with 5 seeds, on both backends, with
time-outs as bootstrapped ends and as terminals; writes `dqn_cartpole.json` and
`dqn_cartpole.png` beside this file. A quarter of an hour on two CPU cores; what
is already in the work folder is not run again.
"""

import argparse
import itertools
import json
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
GIN_FILE = 'dopamine/agents/dqn/configs/dqn_cartpole.gin'
ITERATIONS = 30
SETTINGS = list(itertools.product(('tensorflow', 'jax'), (False, True)))


def run(base_dir, backend, gin_file, seed, iterations, bindings=()):
  """Trains one run, unless it is there; returns its mean returns.

  They are those of evaluation, or of training where there is none.
  """
  command = [sys.executable, '-m', 'dopamine.discrete_domains.train']
  command += [f'--base_dir={base_dir}', f'--gin_files={gin_file}']
  bindings = (f'Runner.num_iterations = {iterations}', *bindings)
  command += [f'--gin_bindings={binding}' for binding in bindings]
  log = base_dir / 'logs' / f'log_{iterations - 1}'
  if not log.exists():
    subprocess.run(
      [*command, f'--seed={seed}'],
      env=os.environ | {'KERAS_BACKEND': backend},
      check=True,
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
  data = pickle.loads(log.read_bytes())
  statistics = [data[f'iteration_{i}'] for i in range(iterations)]
  return [
    s.get('eval_average_return', s['train_average_return'])[0]
    for s in statistics
  ]


def plot(curves, path):
  """Draws the mean over seeds, and every seed, of each setting."""
  import matplotlib

  matplotlib.use('Agg')
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(1, 2, figsize=(11, 4), sharey=True)
  for axis, backend in zip(axes, ('tensorflow', 'jax'), strict=True):
    for terminal, colour in ((False, 'C0'), (True, 'C1')):
      runs = curves[f'{backend}, timeouts_are_terminal={terminal}']
      for returns in runs.values():
        axis.plot(range(1, ITERATIONS + 1), returns, colour, alpha=0.25)
      mean = [sum(x) / len(x) for x in zip(*runs.values(), strict=True)]
      axis.plot(
        range(1, ITERATIONS + 1),
        mean,
        colour,
        linewidth=2.5,
        label=f'timeouts_are_terminal={terminal}',
      )
    axis.set(title=backend, xlabel='iteration (1,000 agent steps)')
    axis.grid(alpha=0.3)
  axes[0].set_ylabel('evaluation return')
  axes[1].legend(loc='lower right')
  figure.suptitle('DQN on CartPole, dqn_cartpole.gin: 5 seeds and their mean')
  figure.tight_layout()
  figure.savefig(path, dpi=100)


def main():
  """Runs every setting, then writes the data and the picture."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument(
    '--work_dir',
    type=pathlib.Path,
    default=pathlib.Path(tempfile.gettempdir()) / 'dqn_cartpole',
  )
  parser.add_argument('--seeds', type=int, default=5)
  arguments = parser.parse_args()
  curves = {}
  for backend, terminal in SETTINGS:
    runs = curves[f'{backend}, timeouts_are_terminal={terminal}'] = {}
    for seed in range(1, arguments.seeds + 1):
      base_dir = arguments.work_dir / f'{backend}_{terminal}_{seed}'
      bindings = (f'Runner.timeouts_are_terminal = {terminal}',)
      runs[seed] = run(base_dir, backend, GIN_FILE, seed, ITERATIONS, bindings)
    means = [sum(r) / len(r) for r in runs.values()]
    print(
      f'{backend:10} timeouts_are_terminal={terminal!s:5} mean over iterations '
      f'1 to {ITERATIONS}: {sum(means) / len(means):.1f}; seeds '
      + ' '.join(f'{m:.0f}' for m in means),
      flush=True,
    )
  (HERE / 'dqn_cartpole.json').write_text(json.dumps(curves, indent=1) + '\n')
  plot(curves, HERE / 'dqn_cartpole.png')


if __name__ == '__main__':
  main()
