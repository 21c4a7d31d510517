r"""Trains an agent: `python -m dopamine.discrete_domains.train`.

    python -um dopamine.discrete_domains.train \
      --base_dir=/tmp/dqn_pong \
      --gin_files=dopamine/agents/dqn/configs/dqn.gin \
      --gin_bindings="create_atari_environment.game_name='Seaquest'"

The same command again continues after the last finished iteration.
"""

from absl import app
from absl import flags
from absl import logging

from dopamine.discrete_domains import run_experiment

flags.DEFINE_string(
  'base_dir', None, 'Where to write logs, checkpoints and event files.'
)
flags.DEFINE_multi_string(
  'gin_files',
  [],
  'Gin files to load, from the current folder or from the package '
  '(dopamine/agents/dqn/configs/dqn.gin).',
)
flags.DEFINE_multi_string(
  'gin_bindings',
  [],
  'Gin bindings that override the files, such as "DQNAgent.epsilon_train=0.1".',
)
flags.DEFINE_integer(
  'seed',
  None,
  'Seed of environment, replay, agent and networks; the same as the binding '
  'Runner.seed. None draws a fresh one.',
  lower_bound=0,
)

FLAGS = flags.FLAGS


def main(unused_argv):
  """Loads the gin files, makes a Runner, and runs it."""
  logging.set_verbosity(logging.INFO)
  bindings = list(FLAGS.gin_bindings)
  if FLAGS.seed is not None:
    bindings.append(f'Runner.seed = {FLAGS.seed}')
  run_experiment.load_gin_configs(FLAGS.gin_files, bindings)
  run_experiment.create_runner(FLAGS.base_dir).run_experiment()


if __name__ == '__main__':
  flags.mark_flag_as_required('base_dir')
  app.run(main)
