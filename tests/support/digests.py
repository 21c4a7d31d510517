"""Digests of short runs: equal before and after a change that keeps numbers.

    KERAS_BACKEND=tensorflow python -m tests.support.digests > before.json
    KERAS_BACKEND=jax python -m tests.support.digests [NAME ...]

Of weights and optimizer, replay memory, priorities, generators and logs. They
are those of one machine, backend and number of threads, which is 1 here.
"""

import hashlib
import json
import os
import sys
import tempfile

CONFIGS = 'dopamine/agents/{0}/configs/{0}{1}.gin'
PONG = (
  'Runner.training_steps = 1000',
  'Runner.max_steps_per_episode = 400',
  'DQNAgent.min_replay_history = 300',
  'RainbowAgent.min_replay_history = 300',
  'DQNAgent.target_update_period = 300',
  'RainbowAgent.target_update_period = 300',
  *(
    f'{wrapper}.replay_capacity = 2000'
    for wrapper in ('WrappedReplayBuffer', 'WrappedPrioritizedReplayBuffer')
  ),
)
CARTPOLE = ('Runner.training_steps = 2000',)
CASES = {
  'dqn_cartpole': (CONFIGS.format('dqn', '_cartpole'), CARTPOLE),
  'rainbow_cartpole': (CONFIGS.format('rainbow', '_cartpole'), CARTPOLE),
  'dqn_pong': (CONFIGS.format('dqn', ''), PONG),
  'iqn_pong': (CONFIGS.format('implicit_quantile', ''), PONG),
}
# What a figure of a run belongs to, by the beginning of its name.
GROUPS = {
  'store/': 'replay',
  'markers': 'replay',
  'add_count': 'replay',
  'sum_tree': 'priorities',
  'largest': 'priorities',
  'generators': 'generators',
  'environment': 'environment',
  'tensorboard/': 'logs',
  'iteration_': 'logs',
  'steps': 'logs',
  'optimizer/': 'optimizer',
}


def digests(gin_file, bindings):
  """Runs one iteration; returns `{group: digest}`."""
  import gin
  import numpy as np

  from dopamine.discrete_domains import run_experiment
  from tests.support import runs

  gin.clear_config()
  run_experiment.load_gin_configs(
    [gin_file],
    [
      *bindings,
      'Runner.evaluation_steps = 300',
      'Runner.num_iterations = 1',
      'Runner.seed = 1',
    ],
  )
  found = {}
  with tempfile.TemporaryDirectory() as folder:
    with run_experiment.create_runner(folder) as runner:
      runner.run_experiment()
      for name, value in sorted(runs.figures(runner).items()):
        group = next(
          (g for begin, g in GROUPS.items() if name.startswith(begin)),
          'weights',
        )
        array = np.asarray(value)
        digest = found.setdefault(group, hashlib.sha256())
        digest.update(f'{name} {array.dtype} {array.shape}'.encode())
        content = array.tobytes() if array.dtype != object else str(value)
        digest.update(
          content if isinstance(content, bytes) else content.encode()
        )
  return {group: digest.hexdigest()[:16] for group, digest in found.items()}


def main():
  for name in ('TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS'):
    os.environ[name] = '1'
  os.environ['XLA_FLAGS'] = '--xla_cpu_multi_thread_eigen=false'
  output, sys.stdout = sys.stdout, sys.stderr  # The runs' own lines.
  names = sys.argv[1:] or CASES
  found = {name: digests(*CASES[name]) for name in names}
  json.dump(found, output, indent=2)
  print(file=output)


if __name__ == '__main__':
  main()
