"""How a program of this package ends when it is told to.

SIGTERM, SIGHUP and Ctrl-C may come at any time. `python -m dopamine...` loads
this module before all others, which take seconds. Signals that are ignored, as
Ctrl-C of a command in the background and SIGHUP under nohup, stay so, and
outside of the main thread nothing changes.
"""

import atexit
from collections.abc import Callable, Iterator
import contextlib
import io
import itertools
import os
import re
import signal
import sys
from typing import Any, NoReturn

PROGRAMS = (
  'dopamine.discrete_domains.train',
  'dopamine.discrete_domains.evaluate',
  'dopamine.replay_memory.export',
)

_SIGNALS = [signal.SIGINT, signal.SIGTERM]
if sys.platform != 'win32':
  _SIGNALS.append(signal.SIGHUP)

# Exit codes. The first is what sysexits.h calls a temporary failure: a
# scheduler may start the command again, and loses nothing.
STOPPED = 75
INTERRUPTED = 130

# Is called before the process ends at once, which no `finally` sees.
at_once: list[Callable[[], None]] = []

# Whether this process is such a program; and which, as children are none.
_is_program = False
_pid = 0
# What a signal calls, if anything; and the exit code, once it is settled.
_answer: Callable[[int], None] | None = None
_code: int | None = None


def is_program() -> bool:
  """Whether `python -m` is about to run one of PROGRAMS."""
  if sys.argv[:1] != ['-m']:  # Python puts the path there later.
    return False
  for option, value in itertools.pairwise([*sys.orig_argv[1:], '']):
    if match := re.fullmatch(r'-[bBdEhiIOPqRsSuvVx?]*m(.*)', option):
      return (match[1] or value) in PROGRAMS
  return False


def begin() -> None:
  """Has signals end this process at once, which is a program.

  While modules are loaded nothing is half done, and KeyboardInterrupt may be
  lost in them, or become another error.
  """
  global _is_program
  _is_program = True
  for descriptor in (0, 1, 2):
    try:
      os.fstat(descriptor)
    except OSError:  # Closed: the next file would be taken for the terminal.
      os.open(os.devnull, os.O_RDWR)
  if isinstance(sys.stdout, io.TextIOWrapper):
    # Letters that it lacks must end nothing.
    sys.stdout.reconfigure(errors='backslashreplace')
  handled = _take_over()
  # The last thing before Python comes apart, and lets go of its handlers.
  atexit.register(lambda: [signal.signal(n, signal.SIG_IGN) for n in handled])


def _take_over() -> dict[int, Any]:
  """Has `_handle` called by signals; returns what was called before."""
  global _pid
  _pid = os.getpid()
  before: dict[int, Any] = {}
  with contextlib.suppress(ValueError):  # Not in the main thread.
    for number in _SIGNALS:
      if signal.getsignal(number) not in (signal.SIG_IGN, None):
        before[number] = signal.signal(number, _handle)
  return before


@contextlib.contextmanager
def handled() -> Iterator[None]:
  """Has signals do inside what `answer` and `interrupting` say.

  Before these say anything, a signal ends a program at once, and raises
  KeyboardInterrupt elsewhere.
  """
  global _answer
  before = _take_over()
  try:
    yield
  finally:
    _answer = None
    for number, handler in before.items():
      signal.signal(number, handler)


def answer(function: Callable[[int], None]) -> None:
  """Has signals call a function with their number, inside of `handled`."""
  global _answer
  _answer = function


@contextlib.contextmanager
def interrupting() -> Iterator[None]:
  """Has signals raise KeyboardInterrupt, whatever that becomes on its way.

  A second one ends the process at once.
  """
  numbers: list[int] = []

  def interrupt(number: int) -> None:
    numbers.append(number)
    if len(numbers) > 1:
      end_at_once()
    raise KeyboardInterrupt

  answer(interrupt)
  try:
    yield
  except Exception:
    if numbers:
      raise KeyboardInterrupt from None
    raise


def _handle(number: int, unused_frame: Any) -> None:
  if os.getpid() != _pid:
    # In a child. What a terminal sends to all, its parent answers.
    if number == signal.SIGTERM:
      signal.signal(number, signal.SIG_DFL)
      os.kill(os.getpid(), number)
    return
  if number not in (signal.SIGINT, signal.SIGTERM):
    _let_go_of_the_terminal()
  if _code is not None:
    os._exit(_code)
  if _answer is not None:
    _answer(number)
  elif _is_program:
    end_at_once()
  else:
    raise KeyboardInterrupt


def _let_go_of_the_terminal() -> None:
  """Sends to nowhere what nobody can read any more."""
  # Otherwise whoever prints something fails, an environment for example.
  import select

  null = os.open(os.devnull, os.O_WRONLY)
  for descriptor in (1, 2):
    poll = select.poll()
    poll.register(descriptor, 0)  # Errors only.
    if poll.poll(0):
      os.dup2(null, descriptor)
  os.close(null)


def write(message: str) -> None:
  """Writes to stderr, without the buffer that a signal may have come into."""
  with contextlib.suppress(OSError):
    os.write(2, message.encode('utf-8', 'backslashreplace'))


def end_at_once(message: str = '\nStopped.\n') -> NoReturn:
  """Ends the process with `INTERRUPTED`; may be called by a handler."""
  write(message)
  with contextlib.suppress(Exception):
    sys.stdout.flush()
  for function in at_once:
    function()
  os._exit(INTERRUPTED)


def end(message: str, code: int) -> NoReturn:
  """Ends with an exit code, also where nobody reads what is printed."""
  settle(code)
  write(message)
  sys.exit(code)


def settle(code: int) -> None:
  """Makes this the exit code, whatever comes until the process has ended."""
  global _code
  if _is_program:
    _code = code
  for stream in (sys.stdout, sys.stderr):
    try:
      if stream is not None:
        stream.flush()
    except OSError:  # The interpreter would try again, and change the code.
      os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (AttributeError, ValueError):  # It is closed, or no file.
      pass
