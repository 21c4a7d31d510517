r"""Trains an agent: `python -m dopamine.discrete_domains.train`.

    python -um dopamine.discrete_domains.train \
      --base_dir=/tmp/dqn_pong \
      --gin_files=dopamine/agents/dqn/configs/dqn.gin \
      --gin_bindings="create_atari_environment.game_name='Seaquest'"

The same command again continues where the last checkpoint was taken. SIGTERM,
SIGHUP and Ctrl-C take one and end with exit code 75, or with 130 if that fails.
"""

import contextlib
import linecache
import re
import signal
import sys
import sysconfig
import traceback

from absl import app
from absl import flags
from absl import logging

from dopamine import signals
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

STOPPED, INTERRUPTED = signals.STOPPED, signals.INTERRUPTED  # Exit codes.


def main(unused_argv):
  """Loads the gin files, makes a Runner, and runs it.

  A mistake in the settings ends with a paragraph instead of a traceback, and
  Ctrl-C with a line.
  """
  logging.set_verbosity(logging.INFO)
  with signals.handled():
    try:
      with explaining_mistakes():
        _train()
    except run_experiment.Stopped as stopped:
      code = STOPPED if stopped.is_saved else INTERRUPTED
      signals.end(f'\n{stopped}\n', code)
    except KeyboardInterrupt:
      signals.end(_LAST_CHECKPOINT, INTERRUPTED)
    signals.settle(0)


@contextlib.contextmanager
def explaining_mistakes():
  """Ends the process with a paragraph where an error was raised on purpose."""
  try:
    yield
  except run_experiment.Stopped:
    raise
  except Exception as error:
    if not _explains_itself(error):
      raise
    signals.settle(1)
    sys.exit(f'\nError: {_message(error)}')


_LAST_CHECKPOINT = (
  '\nStopped. The same command goes on from the last checkpoint.\n'
)


def _message(error):
  """What was raised, without what was added to it on its way up."""
  # Of gin, the calls that led there; of Keras, all around its bold type.
  message = str(error).split('\n  In call to configurable')[0]
  bold = re.search(r'\x1b\[1m(.*?)\x1b\[0m', message, re.DOTALL)
  return (bold and bold[1]) or re.sub(r'\x1b\[\d+m', '', message)


def _explains_itself(error):
  """Whether it was raised on purpose, here or by gin: its message says all.

  Any other, of a user's network say, keeps its traceback.
  """
  frames = list(traceback.walk_tb(error.__traceback__))
  frame, line = frames[-1]
  module = frame.f_globals.get('__name__', '')
  package = module.split('.')[0]
  if module in ('dopamine.losses', 'dopamine.shapes'):
    # What was handed to a formula: by a hook of the user's, if there is one.
    return not any(_is_of_the_user(frame) for frame, _ in frames)
  if package == 'gin' or isinstance(error, MemoryError):
    return True
  source = linecache.getline(frame.f_code.co_filename, line).strip()
  is_deliberate = source.startswith('raise ')
  is_about_arguments = isinstance(error, TypeError) and 'argument' in str(error)
  return package in ('dopamine', '__main__') and (
    is_deliberate or is_about_arguments
  )


def _is_of_the_user(frame):
  """Whether a frame runs code that is neither ours nor installed."""
  file = frame.f_code.co_filename
  package = frame.f_globals.get('__name__', '').split('.')[0]
  return package not in ('dopamine', '__main__') and not file.startswith(
    ('<', *sysconfig.get_paths().values())
  )


def _train():
  bindings = list(FLAGS.gin_bindings)
  if not FLAGS.gin_files and not bindings:
    raise ValueError(
      'no gin file says what to train: add for example '
      '--gin_files=dopamine/agents/dqn/configs/dqn.gin'
    )
  if FLAGS.seed is not None:
    bindings.append(f'Runner.seed = {FLAGS.seed}')
  run_experiment.load_gin_configs(FLAGS.gin_files, bindings)
  with run_experiment.create_runner(FLAGS.base_dir) as runner:
    pressed: list[int] = []

    def stop(number: int) -> None:
      if number in pressed:  # What is half written, the next start passes over.
        signals.end_at_once(_LAST_CHECKPOINT)
      if number == signal.SIGINT:
        pressed.append(number)
      runner.request_stop()
      signals.write('\nSaving. Ctrl-C once more gives that up.\n')

    signals.answer(stop)
    runner.run_experiment()


if __name__ == '__main__':
  signals.begin()
  flags.mark_flag_as_required('base_dir')
  app.run(main)
