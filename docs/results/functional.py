"""Compares DQN in both styles on CartPole: `python docs/results/functional.py`.

Trains the JAX `dqn_cartpole.gin` for 30 iterations with 3 seeds, with the agent
of hooks and with that of `functional_dqn.py`; writes `functional.json` beside
this file. Ten minutes on two CPU cores; what is already in the work folder is
not run again.
"""

import argparse
import json
import os
import pathlib
import tempfile

import dqn_cartpole

HERE = pathlib.Path(__file__).parent
GIN_FILE = 'dopamine/jax/agents/dqn/configs/dqn_cartpole.gin'
STYLES = {
  'hooks': (),
  'functional': (
    'import functional_dqn',
    'create_agent.agent_name = @FunctionalDQNAgent',
    'JaxDQNAgent.loss_type = "huber"',  # As agents of hooks have it.
  ),
}


def main():
  """Runs both, then writes the data and prints what they have in common."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument(
    '--work_dir',
    type=pathlib.Path,
    default=pathlib.Path(tempfile.gettempdir()) / 'functional',
  )
  arguments = parser.parse_args()
  os.environ['PYTHONPATH'] = str(HERE)
  curves, last = {}, {}
  for style, bindings in STYLES.items():
    runs = curves[style] = {}
    for seed in range(1, 4):
      runs[seed] = dqn_cartpole.run(
        arguments.work_dir / f'{style}_{seed}',
        'jax',
        GIN_FILE,
        seed,
        dqn_cartpole.ITERATIONS,
        bindings,
      )
    last[style] = [sum(returns[-5:]) / 5 for returns in runs.values()]
    print(
      f'{style:10} mean return of the last five iterations, seeds 1 to 3: '
      + ' '.join(f'{mean:.1f}' for mean in last[style])
      + f'; mean {sum(last[style]) / 3:.1f}',
      flush=True,
    )
  (HERE / 'functional.json').write_text(json.dumps(curves, indent=1) + '\n')


if __name__ == '__main__':
  main()
