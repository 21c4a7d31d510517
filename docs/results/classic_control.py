"""Makes the curves of every agent on small tasks.

    python docs/results/classic_control.py cartpole
    # or acrobot, lunarlander, mountaincar

Trains each gin file, with 3 seeds on TensorFlow and 1 on JAX, those of JAX with
3 there, and writes `<task>.json` and `<task>.png` beside this file; prints the
table of `README.md`. Hours on two CPU cores; what is already in the data or in
the work folder is not run again.
"""

import argparse
import json
import pathlib
import tempfile

import dqn_cartpole

HERE = pathlib.Path(__file__).parent
ITERATIONS = {
  'cartpole': 60,
  'acrobot': 60,
  'lunarlander': 30,
  'mountaincar': 30,
}
RUNS = [(b, seed) for b in ('tensorflow', 'jax') for seed in (1, 2, 3)]

# The original's files, and ours. Those of JAX train only: their figures are
# training returns.
FILES = {
  'cartpole': (
    'agents/dqn/configs/dqn_cartpole.gin',
    'agents/rainbow/configs/c51_cartpole.gin',
    'agents/rainbow/configs/rainbow_cartpole.gin',
    'agents/rainbow/configs/rainbow_cartpole_tuned.gin',
    'agents/quantile/configs/quantile_cartpole.gin',
    'agents/implicit_quantile/configs/implicit_quantile_cartpole.gin',
    'agents/full_rainbow/configs/full_rainbow_cartpole.gin',
    'jax/agents/dqn/configs/dqn_cartpole.gin',
    'jax/agents/dqn/configs/dqn_cartpole_tuned.gin',
    'jax/agents/rainbow/configs/c51_cartpole.gin',
    'jax/agents/rainbow/configs/rainbow_cartpole.gin',
  ),
  'acrobot': (
    'agents/dqn/configs/dqn_acrobot.gin',
    'agents/rainbow/configs/c51_acrobot.gin',
    'agents/rainbow/configs/c51_acrobot_tuned.gin',
    'agents/rainbow/configs/rainbow_acrobot.gin',
    'agents/rainbow/configs/rainbow_acrobot_tuned.gin',
    'jax/agents/dqn/configs/dqn_acrobot.gin',
    'jax/agents/rainbow/configs/c51_acrobot.gin',
    'jax/agents/rainbow/configs/rainbow_acrobot.gin',
  ),
  'lunarlander': ('agents/dqn/configs/dqn_lunarlander.gin',),
  'mountaincar': ('agents/dqn/configs/dqn_mountaincar.gin',),
}


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


def plot(task, curves, path):
  """Draws every run of every file, one panel a file."""
  import matplotlib

  matplotlib.use('Agg')
  from matplotlib import pyplot

  curves = {name: runs for name, runs in curves.items() if runs}
  rows = min(len(curves), 2)
  columns = -(-len(curves) // rows)
  figure, axes = pyplot.subplots(
    *(rows, columns),
    figsize=(max(3.2 * columns, 6), 3 * rows),
    sharex=True,
    sharey=True,
    squeeze=False,
  )
  for axis, (name, runs) in zip(axes.flat, curves.items(), strict=False):
    for run, returns in runs.items():
      colour = 'C1' if run.startswith('jax') else 'C0'
      axis.plot(range(len(returns)), returns, colour, alpha=0.6, label=run)
    axis.set_title(name, fontsize=9)
    axis.grid(alpha=0.3)
  for axis in axes.flat[len(curves) :]:
    axis.axis('off')
  for axis in axes[:, 0]:
    axis.set_ylabel('mean return')
  for axis in axes[-1]:
    axis.set_xlabel('iteration')
  figure.suptitle(f'{task}: TensorFlow (blue, a line a seed), JAX (orange)')
  figure.tight_layout()
  figure.savefig(path, dpi=90)


def main():
  """Runs every file, then writes the data and the picture."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('task', choices=FILES)
  parser.add_argument(
    '--work_dir',
    type=pathlib.Path,
    default=pathlib.Path(tempfile.gettempdir()) / 'classic_control',
  )
  parser.add_argument(
    '--finished_only',
    action='store_true',
    help='train nothing: report the runs that are there',
  )
  parser.add_argument(
    '--again', action='store_true', help='ignore the data that is there'
  )
  arguments = parser.parse_args()
  data = HERE / f'{arguments.task}.json'
  known = {}
  if data.exists() and not arguments.again:
    known = json.loads(data.read_text())
  curves = {}
  iterations = ITERATIONS[arguments.task]
  for file in FILES[arguments.task]:
    is_jax = file.startswith('jax/')
    name = is_jax * 'jax/' + pathlib.Path(file).stem
    curves[name] = known.get(name, {})
    for backend, seed in RUNS[3:] if is_jax else RUNS[:4]:
      base_dir = arguments.work_dir / f'{name}_{backend}_{seed}'
      log = base_dir / 'logs' / f'log_{iterations - 1}'
      run = f'{backend}, seed {seed}'
      if run in curves[name] or (arguments.finished_only and not log.exists()):
        continue
      curves[name][run] = dqn_cartpole.run(
        base_dir, backend, f'dopamine/{file}', seed, iterations
      )
    print(row(name, curves[name]), flush=True)
  data.write_text(json.dumps(curves, indent=1) + '\n')
  plot(arguments.task, curves, data.with_suffix('.png'))


if __name__ == '__main__':
  main()
