"""Makes the CartPole curves of every agent: `python docs/results/cartpole.py`.

Trains each gin file for 60 iterations, 3 seeds on TensorFlow and 1 on JAX, and
writes `cartpole.json` and `cartpole.png` beside this file; prints the table of
`README.md`. An hour or two on two CPU cores; what is already in the work folder
is not run again.
"""

import argparse
import json
import pathlib
import tempfile

import dqn_cartpole

HERE = pathlib.Path(__file__).parent
ITERATIONS = 60
RUNS = (('tensorflow', 1), ('tensorflow', 2), ('tensorflow', 3), ('jax', 1))

# The original's files, and those of ours for what it has no file that learns.
FILES = (
  'dqn/configs/dqn_cartpole.gin',
  'rainbow/configs/c51_cartpole.gin',
  'rainbow/configs/rainbow_cartpole.gin',
  'rainbow/configs/rainbow_cartpole_tuned.gin',
  'quantile/configs/quantile_cartpole.gin',
  'implicit_quantile/configs/implicit_quantile_cartpole.gin',
  'full_rainbow/configs/full_rainbow_cartpole.gin',
)


def mean(values):
  """The mean of a sequence."""
  return sum(values) / len(values)


def row(name, runs):
  """One line of the table: three figures of each run."""
  cells = []
  for backend, seed in RUNS:
    returns = runs.get(f'{backend}, seed {seed}')
    cells.append(
      f'{mean(returns[10:]):.0f} / {max(returns):.0f} / '
      f'{mean(returns[-10:]):.0f}'
      if returns
      else '-'
    )
  return f'| `{name}.gin` | ' + ' | '.join(cells) + ' |'


def plot(curves, path):
  """Draws every run of every file, one panel a file."""
  import matplotlib

  matplotlib.use('Agg')
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(
    2, 4, figsize=(14, 6), sharex=True, sharey=True
  )
  for axis, (name, runs) in zip(axes.flat, curves.items(), strict=False):
    for run, returns in runs.items():
      colour = 'C1' if run.startswith('jax') else 'C0'
      axis.plot(range(ITERATIONS), returns, colour, alpha=0.6, label=run)
    axis.set(title=name)
    axis.grid(alpha=0.3)
  for axis in axes.flat[len(curves) :]:
    axis.axis('off')
  axes[0, 0].set_ylabel('evaluation return')
  axes[1, 0].set_ylabel('evaluation return')
  for axis in axes[1]:
    axis.set_xlabel('iteration (1,000 agent steps)')
  figure.suptitle('CartPole-v0: TensorFlow (blue, seeds 1 to 3), JAX (orange)')
  figure.tight_layout()
  figure.savefig(path, dpi=90)


def main():
  """Runs every file, then writes the data and the picture."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument(
    '--work_dir',
    type=pathlib.Path,
    default=pathlib.Path(tempfile.gettempdir()) / 'cartpole',
  )
  parser.add_argument(
    '--finished_only',
    action='store_true',
    help='train nothing: report the runs that are in the work folder',
  )
  arguments = parser.parse_args()
  curves = {}
  for file in FILES:
    name = pathlib.Path(file).stem
    curves[name] = {}
    for backend, seed in RUNS:
      base_dir = arguments.work_dir / f'{name}_{backend}_{seed}'
      log = base_dir / 'logs' / f'log_{ITERATIONS - 1}'
      if arguments.finished_only and not log.exists():
        continue
      curves[name][f'{backend}, seed {seed}'] = dqn_cartpole.run(
        base_dir,
        backend,
        f'dopamine/agents/{file}',
        seed,
        ITERATIONS,
      )
    print(row(name, curves[name]), flush=True)
  (HERE / 'cartpole.json').write_text(json.dumps(curves, indent=1) + '\n')
  plot(curves, HERE / 'cartpole.png')


if __name__ == '__main__':
  main()
