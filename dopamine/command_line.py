"""What the commands share: flags, --help, and what a mistake is told.

Flags are absl's, so that the command lines of Dopamine 2 and 3 work.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import re
import sys
from typing import Any, NoReturn

from absl import app
from absl import flags

from dopamine import signals
from dopamine.settings import errors
from dopamine.settings import gin_files

flags.disclaim_key_flags()  # They belong to the command that defines them.


def define_gin_flags() -> None:
  """Defines what `train` and `evaluate` know of gin, and the seed."""
  flags.DEFINE_multi_string(
    'gin_files',
    [],
    'Gin files to load, from the current folder or from the package '
    '(dopamine/agents/dqn/configs/dqn.gin). Each has a --gin_files of its own.',
  )
  flags.DEFINE_multi_string(
    'gin_bindings',
    [],
    'Gin bindings that override the files, such as "DQNAgent.gamma = 0.9". '
    'Each has a --gin_bindings of its own.',
  )
  flags.DEFINE_integer(
    'seed',
    None,
    'Seed of environment, replay, agent and networks; the same as the binding '
    'Runner.seed. None draws a fresh one.',
    lower_bound=0,
  )


def gin_bindings() -> list[str]:
  """Returns those of the command line, with the seed."""
  bindings = list(flags.FLAGS.gin_bindings)
  if flags.FLAGS.seed is not None:
    bindings.append(f'Runner.seed = {flags.FLAGS.seed}')
  return bindings


def require_gin() -> None:
  """Raises ValueError where no gin file or binding says what is meant."""
  if not flags.FLAGS.gin_files and not flags.FLAGS.gin_bindings:
    raise errors.SettingError(
      'no gin file says what is run: add for example '
      '--gin_files=dopamine/agents/dqn/configs/dqn.gin'
    )


def require(name: str, example: str) -> Any:
  """Returns a flag's value.

  Raises:
    ValueError: there is none.
  """
  value = flags.FLAGS[name].value
  if not value:
    raise errors.SettingError(
      f'--{name} is missing: add for example --{name}={example}. --help lists '
      'the flags'
    )
  return value


def run(main: Callable[[Sequence[str]], Any]) -> NoReturn:
  """Parses the flags, and runs a command."""
  signals.begin()
  app.run(main, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
  app.define_help_flags()
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    message = str(error).replace(' ?', '?').rstrip('.')
    end = '' if message.endswith('?') else '.'
    _end_with(f'{message}{end} --help lists the flags')
  except SystemExit:  # Of --help, which absl takes for a mistake.
    sys.exit(0)


def carry_out(argv: Sequence[str], action: Callable[[], None]) -> None:
  """Does what the flags say, to the end that Ctrl-C and mistakes have.

  Args:
    argv: see `check_words`.
    action: a mistake in it ends the process with a paragraph.
  """
  check_words(argv)
  with signals.handled():
    try:
      with explaining_mistakes():
        action()
    except KeyboardInterrupt:
      signals.end('\nStopped.\n', signals.INTERRUPTED)
    signals.settle(0)


def check_words(argv: Sequence[str]) -> None:
  """Ends a command that is given words without a flag.

  Args:
    argv: its name, and what absl found to be of no flag.
  """
  if argv[1:]:
    _end_with(_of_no_flag(argv[1:]))


def _of_no_flag(words: Sequence[str]) -> str:
  text = f'{" ".join(map(repr, words))} belongs to no flag'
  if 'gin_files' not in flags.FLAGS:
    return f'{text}. --help lists the flags'
  text += (
    '. Each file and each binding has a flag of its own before it, and a '
    'binding with blanks has quotes around it'
  )
  if re.fullmatch(r'[^-].*\.gin', words[0]):
    return f'{text}: --gin_files {words[0]}'
  is_binding = re.fullmatch(r'[^-=].*=.+', words[0])
  binding = words[0] if is_binding else 'NAME = VALUE'
  return f'{text}: --gin_bindings "{binding}"'


# Mistakes ---------------------------------------------------------------------


@contextlib.contextmanager
def explaining_mistakes() -> Iterator[None]:
  """Ends the process with a paragraph where an error says all, and no more.

  Any other, of a user's network say, keeps its traceback.
  """
  try:
    with gin_files.explaining_calls():
      yield
  except (errors.UsageError, MemoryError) as error:
    _end_with(_message(error))


def _end_with(message: str) -> NoReturn:
  signals.settle(1)
  sys.exit(f'\nError: {message}')


def _message(error: Exception) -> str:
  """What was raised, without what was added to it on its way up."""
  # Of gin, the calls that led there; of Keras, all around its bold type.
  message = str(error).split('\n  In call to configurable')[0]
  bold = re.search(r'\x1b\[1m(.*?)\x1b\[0m', message, re.DOTALL)
  return (bold and bold[1]) or re.sub(r'\x1b\[\d+m', '', message)
