r"""Trains an agent: `python -m dopamine.discrete_domains.train`.

    python -um dopamine.discrete_domains.train \
      --base_dir=/tmp/dqn_pong \
      --gin_files=dopamine/agents/dqn/configs/dqn.gin \
      --gin_bindings="create_atari_environment.game_name='Seaquest'"

The same command again continues where the last checkpoint was taken. SIGTERM,
SIGHUP and Ctrl-C take one and end with exit code 75, or with 130 if that fails.
"""

import shlex
import shutil
import signal
import sys

from absl import flags
from absl import logging

from dopamine import command_line
from dopamine import signals
from dopamine.discrete_domains import run_experiment
from dopamine.runs import progress
from dopamine.settings import errors

flags.DEFINE_string(
  'base_dir', None, 'Where to write logs, checkpoints and event files.'
)
flags.DEFINE_string(
  'runs_dir',
  None,
  'In place of base_dir: the folder above one whose name tells what is run, '
  'such as dqn_Pong_seed_1.',
)
command_line.define_gin_flags()

FLAGS = flags.FLAGS

STOPPED, INTERRUPTED = signals.STOPPED, signals.INTERRUPTED  # Exit codes.


def main(argv):
  """Loads the gin files, makes a Runner, and runs it.

  A mistake in the settings ends with a paragraph instead of a traceback, and
  Ctrl-C with a line.
  """
  logging.set_verbosity(logging.INFO)
  command_line.carry_out(argv, _train)


def _train():
  try:
    _run()
  except run_experiment.Stopped as stopped:
    code = STOPPED if stopped.is_saved else INTERRUPTED
    signals.end(f'\n{stopped}\n', code)


def _run():
  base_dir, runs_dir = FLAGS.base_dir, FLAGS.runs_dir
  if base_dir and runs_dir:
    raise errors.SettingError(
      f'--base_dir={base_dir} and --runs_dir={runs_dir} both say where to '
      'write: leave one out'
    )
  if not runs_dir:
    command_line.require('base_dir', '/tmp/dqn_pong')
  bindings = command_line.gin_bindings()
  command_line.require_gin()
  run_experiment.load_gin_configs(FLAGS.gin_files, bindings)
  if runs_dir:
    from dopamine.runs import run_folder

    base_dir = run_folder.below(runs_dir, FLAGS.gin_files, bindings)
    if note := run_folder.of_before(base_dir, FLAGS.gin_files):
      progress.say(note)
  with run_experiment.create_runner(base_dir) as runner:
    pressed: list[int] = []

    def stop(number: int) -> None:
      if number in pressed:  # What is half written, the next start passes over.
        signals.end_at_once(f'\nStopped: {runner.how_to_go_on()}.\n')
      if number == signal.SIGINT:
        pressed.append(number)
      runner.request_stop()
      signals.write('\nSaving. Ctrl-C once more gives that up.\n')

    signals.answer(stop)
    runner.run_experiment()
    if runner.num_iterations:
      tensorboard = 'tensorboard'
      if not shutil.which(tensorboard):  # Its environment is not active.
        tensorboard = f'{shlex.quote(sys.executable)} -m tensorboard.main'
      progress.say(
        f'Finished. Logs, checkpoints and TensorBoard files: {base_dir}\n'
        f'To look at them: {tensorboard} --logdir {shlex.quote(base_dir)}'
      )


if __name__ == '__main__':
  command_line.run(main)
