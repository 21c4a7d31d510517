"""What a run says while it goes: lines of text, and how far it is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import logging as standard_logging
import math
import os
import shutil
import sys
import threading
import time
from typing import Any

from absl import logging
import tqdm

from dopamine.runs import run_state

# Seconds: from one look at a live line to the next, from one plain line to the
# next, and for how long the past counts in a rate.
_LIVE_PERIOD, _PLAIN_PERIOD, _MEMORY = 0.2, 30.0, 30.0


def say(text: str) -> None:
  """Prints to stdout; where that cannot be, nothing is lost but this.

  A run must not end because nobody can read what it says.
  """
  with contextlib.suppress(Exception):  # Of whatever a program put there.
    encoding = getattr(sys.stdout, 'encoding', None) or 'utf-8'
    print(text.encode(encoding, 'backslashreplace').decode(encoding))
    sys.stdout.flush()


def tell(text: str) -> None:
  """Logs a line; prints it where the log leaves it out, as in a notebook.

  So who has set a log level, as `train` does, does not read it twice.
  """
  logging.info('%s', text, stacklevel=2)  # Of the caller.
  if not logging.get_absl_logger().isEnabledFor(standard_logging.INFO):
    say(text)


class Progress:
  """How far a run is: a live line on a terminal, and in a notebook.

  Elsewhere it is a plain line now and then. Rates are those of the last half
  minute or so, and of what is left each phase counts at a rate of its own. A
  warm-up, in which nothing is learnt yet, says nothing of the rate that
  follows.

  Args:
    is_warming_up: whether the agent does not learn yet.
  """

  def __init__(self, is_warming_up: Callable[[], bool] = lambda: False):
    self._is_warming_up = is_warming_up
    self._rates: dict[str, _Rate] = {}
    self._bar: Any = None
    self._episode: tuple[int, Any] | None = None
    self._last = math.inf  # Of no phase.

  def begin_phase(
    self,
    state: run_state.RunState,
    num_steps: int,
    num_iterations: int,
    still_to_come: Mapping[str, int],
  ) -> None:
    """Starts with a phase, or goes on with it where a run is resumed.

    Args:
      state: says which phase, and what was done of it.
      num_steps: agent steps of the phase.
      num_iterations: of the run.
      still_to_come: agent steps after this phase, until the end of the run, by
        the name of their phase.
    """
    self.close()
    self._title = f'{state.phase} {state.iteration}/{num_iterations - 1}'
    self._num_steps, self._still_to_come = max(num_steps, 1), still_to_come
    self._rate = self._rates.setdefault(state.phase, _Rate())
    self._was_warming_up = self._is_warming_up()
    self._last = self._last_shown = time.monotonic()
    self._last_steps, self._episode = _steps(state), None
    self._bar = _make_bar(total=self._num_steps, bar_format='{desc}')
    self._period = _PLAIN_PERIOD if self._bar is None else _LIVE_PERIOD

  def step(self, state: run_state.RunState) -> None:
    """Called at every agent step: mostly it only looks at the clock."""
    now = time.monotonic()
    if now - self._last >= _LIVE_PERIOD:
      self._count(state, now)
      if now - self._last_shown >= self._period:
        self._last_shown = now
        self._show(state)

  def end_episode(self, steps: int, episode_return: Any) -> None:
    """Takes note of the episode that just ended."""
    if not isinstance(episode_return, float):  # An array has several lines.
      episode_return = ' '.join(str(episode_return).split())
    self._episode = steps, episode_return

  def end_phase(self, state: run_state.RunState) -> None:
    """Leaves the phase's last line standing."""
    self._count(state, time.monotonic())
    self._show(state)
    if self._was_warming_up:
      self._rate.forget()
    self._last = math.inf
    self.close()

  def close(self) -> None:
    """Ends the live line."""
    if self._bar is not None:
      with contextlib.suppress(Exception):
        self._bar.close()
      self._bar = None

  def _count(self, state: run_state.RunState, now: float) -> None:
    steps = _steps(state)
    self._rate.add(steps - self._last_steps, now - self._last)
    self._last, self._last_steps = now, steps
    is_warming_up = self._is_warming_up()
    if self._was_warming_up and not is_warming_up:
      self._rate.forget()
    self._was_warming_up = is_warming_up

  def _seconds_left(self, steps: int) -> tuple[float | None, float | None]:
    """Of the phase, and of the run; None where nobody can know."""
    left, rate = max(self._num_steps - steps, 0), self._rate.value
    if left and (self._was_warming_up or not rate):
      return None, None
    phase = left / rate if left else 0.0
    run = phase
    for name, num_steps in self._still_to_come.items():
      # Until there was an evaluation, it takes at most what training takes.
      known = self._rates.get(name) or self._rates.get('train') or _Rate()
      if num_steps and (self._was_warming_up or not known.estimate):
        return phase, None
      run += num_steps / known.estimate if num_steps else 0.0
    return phase, run

  def _show(self, state: run_state.RunState) -> None:
    steps = _steps(state)
    share = f'{min(steps / self._num_steps, 1.0):.0%}'
    rate = f'{self._rate.estimate:.0f}'
    phase, run = map(_clock, self._seconds_left(steps))
    long = short = shorter = ''
    if self._episode:
      length, episode_return = self._episode
      long = f' Episode length: {length} Return: {episode_return}'
      if isinstance(episode_return, float):
        episode_return = f'{episode_return:.5g}'
      short = f' Length: {length} Return: {episode_return}'
      shorter = f' Return: {episode_return}'
    lines = (
      f'{self._title} Steps executed: {steps}{long} '
      f'[{share}, {rate} steps/s, {phase} left, of the run {run}]',
      f'{self._title} Steps: {steps}{short} '
      f'[{share}, {rate}/s, {phase} left, run {run}]',
      f'{self._title} Steps: {steps}{shorter} '
      f'[{share}, {rate}/s, {phase} left, run {run}]',
      f'{self._title} Steps: {steps}{shorter} '
      f'[{share}, {rate}/s, {phase} left]',
      f'{self._title} Steps: {steps} [{share}, {phase} left]',
      f'{self._title} {steps} {share}',
    )
    if self._bar is None:
      say(lines[0])
      return
    with contextlib.suppress(Exception):  # As `say`.
      width = _columns()
      line = next((line for line in lines if len(line) <= width), lines[-1])
      self._bar.n = min(steps, self._num_steps)
      self._bar.ncols = width
      has_room = len(line) + 12 <= width
      self._bar.bar_format = '{desc} |{bar}|' if has_room else '{desc}'
      self._bar.set_description_str(line)


class _Rate:
  """Steps per second, of which the past counts less and less.

  What comes first does not count: a process compiles its functions then.
  """

  def __init__(self) -> None:
    self.forget()

  def forget(self) -> None:
    self._steps = self._seconds = self._first = 0.0

  def add(self, steps: int, seconds: float) -> None:
    if not self._first:
      self._first = steps / seconds if seconds else 0.0
      return
    share = math.exp(-seconds / _MEMORY)
    self._steps = share * self._steps + steps
    self._seconds = share * self._seconds + seconds

  @property
  def value(self) -> float:
    """0 where nothing that counts was done yet."""
    return self._steps / self._seconds if self._seconds else 0.0

  @property
  def estimate(self) -> float:
    """As `value`, or what came first."""
    return self.value or self._first


def _steps(state: run_state.RunState) -> int:
  return state.phase_steps + state.in_episode * state.episode_steps


def _clock(seconds: float | None) -> str:
  if seconds is None:
    return '?'
  minutes, seconds = divmod(round(seconds), 60)
  hours = minutes // 60
  if hours >= 100:
    return f'{hours // 24}d {hours % 24}h'
  return f'{hours}:{minutes % 60:02d}:{seconds:02d}'


# The live line ----------------------------------------------------------------


def track(items: Sequence[Any], unit: str) -> Iterator[Any]:
  """Yields items, and shows where somebody looks how many are done."""
  bar = _make_bar(
    total=len(items),
    desc=unit,
    ncols=_columns(),
    bar_format='{desc} {n_fmt}/{total_fmt} |{bar}| {remaining} left',
  )
  for item in items:
    yield item
    if bar is not None:
      with contextlib.suppress(Exception):
        bar.update()
  if bar is not None:
    with contextlib.suppress(Exception):
      bar.close()


def _make_bar(**arguments: Any) -> Any:
  """A bar of tqdm where somebody looks at it, else None."""
  arguments['file'] = sys.stdout
  with contextlib.suppress(Exception):  # A stdout need not know `isatty`.
    if _is_notebook():
      from tqdm import notebook

      bar = notebook.tqdm(**arguments)
    elif sys.stdout.isatty():
      bar = _Bar(**arguments)
    else:
      return None
    return None if bar.disable else bar  # As TQDM_DISABLE has it.
  return None


def _is_notebook() -> bool:
  """Whether this is a notebook that can show widgets."""
  shell = sys.modules.get('IPython') and sys.modules['IPython'].get_ipython()
  if shell is None or 'IPKernelApp' not in shell.config:
    return False
  try:
    import ipywidgets  # noqa: F401
  except ImportError:
    logging.log_first_n(
      logging.INFO, 'pip install ipywidgets shows progress in a bar', 1
    )
    return False
  return True


class _Bar(tqdm.tqdm):
  """A bar that starts no thread and makes no semaphore."""

  monitor_interval = 0


_Bar.set_lock(threading.RLock())


def _columns() -> int:
  """Of the terminal, but the last, after which some of them wrap."""
  columns = 0
  with contextlib.suppress(Exception):
    columns = os.get_terminal_size(sys.stdout.fileno()).columns
  return (columns or shutil.get_terminal_size().columns) - 1
