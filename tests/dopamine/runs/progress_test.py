"""What a run says while it goes, on terminals and elsewhere."""

import contextlib
import fcntl
import functools
import io
import logging as standard_logging
import os
import re
import struct
import sys
import termios
import threading
import types

from absl import logging
import numpy as np
import pytest

from dopamine.runs import progress
from dopamine.runs import run_state

pytestmark = pytest.mark.no_backend


class Clock:
  """Replaces `time.monotonic` where a run looks at it."""

  now = 1000.0

  def __call__(self):
    return self.now


@pytest.fixture
def clock(monkeypatch):
  clock = Clock()
  monkeypatch.setattr(progress.time, 'monotonic', clock)
  return clock


class Terminal:
  """A pseudo-terminal as stdout, which somebody reads."""

  def __init__(self, columns):
    self._reader, writer = os.openpty()
    self.stdout = open(writer, 'w', encoding='utf-8')
    self.resize(columns)
    self._content = b''
    self._thread = threading.Thread(target=self._collect)
    self._thread.start()

  def resize(self, columns):
    size = struct.pack('HHHH', 24, columns, 0, 0)
    fcntl.ioctl(self.stdout.fileno(), termios.TIOCSWINSZ, size)

  def _collect(self):
    with contextlib.suppress(OSError):  # Closed.
      while part := os.read(self._reader, 100_000):
        self._content += part

  def read(self):
    """All that was written, as lines and the states of lines."""
    self.stdout.close()
    self._thread.join()
    return re.split('[\r\n]+', self._content.decode())


@pytest.fixture
def terminal(monkeypatch):
  made = []

  def make(columns):
    made.append(Terminal(columns))
    monkeypatch.setattr(sys, 'stdout', made[-1].stdout)
    return made[-1]

  monkeypatch.delenv('COLUMNS', raising=False)
  yield make
  for terminal in made:
    terminal.read()


def play(clock, steps_per_second, seconds, shown, state):
  """Steps at a rate, four times a second: an episode every 10 seconds."""
  for quarter in range(1, round(4 * seconds) + 1):
    clock.now += 0.25
    state.episode_steps += round(steps_per_second / 4)
    shown.step(state)
    if quarter % 40 == 0:
      end_episode(state, shown)


def end_episode(state, shown, episode_return=-20.0):
  length = state.episode_steps
  state.phases[state.phase].count(length, 1.0)
  shown.end_episode(length, episode_return)
  state.begin_episode(0)


def begin(shown, phase='train', num_steps=250_000, to_come=None, iteration=0):
  state = run_state.RunState(iteration=iteration)
  state.begin_phase(phase)
  state.begin_episode(0)
  shown.begin_phase(state, num_steps, 200, to_come or {})
  return state


@pytest.mark.parametrize('columns', [20, 40, 60, 80, 81, 100, 132, 200])
@pytest.mark.parametrize('episode_return', [-20.0, np.ones((2, 3))])
def test_the_live_line_is_narrower_than_the_terminal(
  columns, episode_return, clock, terminal
):
  written = terminal(columns)
  shown = progress.Progress()
  to_come = {'train': 199 * 250_000, 'eval': 200 * 125_000}
  state = begin(shown, to_come=to_come, iteration=123)
  play(clock, 400, 5, shown, state)
  end_episode(state, shown, episode_return)
  play(clock, 400, 100, shown, state)
  shown.end_phase(state)
  lines = written.read()
  assert len(lines) > 300  # It is live.
  assert max(map(len, lines)) < columns
  # Returns that are arrays are on one line too.
  assert all(line.startswith('train 123/199 ') for line in lines[1:-1])
  if columns >= 60:  # Nothing is cut off.
    assert all(line.rstrip()[-1] in ']|' for line in lines[1:-1])
  assert lines[-1] == ''  # The last line stands, and the cursor is below it.
  last = lines[-2].rstrip()
  assert last.startswith('train 123/199 ') and ('42000' in last)
  if columns >= 80:
    assert '17%' in last and ('400/s' in last or '400 steps/s' in last)
    # 208,000 steps at 400/s; and 74,750,000 of training and evaluation.
    assert '0:08:40' in last and 'run 52:03:15' in last


def test_the_widest_line_has_the_words_of_dopamine(clock, terminal):
  written = terminal(160)
  shown = progress.Progress()
  state = begin(shown)
  play(clock, 100, 20, shown, state)
  shown.end_phase(state)
  assert (
    written.read()[-2]
    .strip()
    .startswith(
      'train 0/199 Steps executed: 2000 Episode length: 1000 Return: -20.0 [1%'
    )
  )


def test_a_terminal_that_is_made_narrower(clock, terminal):
  written = terminal(120)
  shown = progress.Progress()
  state = begin(shown)
  play(clock, 100, 10, shown, state)
  assert progress._Bar.monitor is None  # tqdm would start a thread.
  written.resize(50)
  play(clock, 100, 10, shown, state)
  shown.end_phase(state)
  lines = written.read()
  assert max(map(len, lines[:30])) > 100 and max(map(len, lines[-30:])) < 50


def test_a_terminal_without_a_size_has_80_columns(clock, terminal):
  written = terminal(0)
  shown = progress.Progress()
  state = begin(shown)
  play(clock, 100, 20, shown, state)
  shown.end_phase(state)
  assert 60 < max(map(len, written.read())) < 80


def last_line(capsys):
  return capsys.readouterr().out.splitlines()[-1]


def test_elsewhere_it_is_a_line_every_30_seconds(clock, capsys):
  shown = progress.Progress()
  state = begin(shown, num_steps=10_000, to_come={'train': 10_000})
  play(clock, 100, 95, shown, state)
  shown.end_phase(state)
  lines = capsys.readouterr().out.splitlines()
  assert lines == [
    'train 0/199 Steps executed: 3000 Episode length: 1000 Return: -20.0 '
    '[30%, 100 steps/s, 0:01:10 left, of the run 0:02:50]',
    'train 0/199 Steps executed: 6000 Episode length: 1000 Return: -20.0 '
    '[60%, 100 steps/s, 0:00:40 left, of the run 0:02:20]',
    'train 0/199 Steps executed: 9000 Episode length: 1000 Return: -20.0 '
    '[90%, 100 steps/s, 0:00:10 left, of the run 0:01:50]',
    'train 0/199 Steps executed: 9500 Episode length: 1000 Return: -20.0 '
    '[95%, 100 steps/s, 0:00:05 left, of the run 0:01:45]',
  ]


def test_a_phase_that_is_resumed_counts_its_new_steps(clock, capsys):
  shown = progress.Progress()
  state = run_state.RunState()
  state.begin_phase('train').count(200_000, 1.0)
  state.begin_episode(0)
  shown.begin_phase(state, 250_000, 1, {})
  play(clock, 52, 30, shown, state)
  # 48,440 are left, at 52 per second.
  assert '[81%, 52 steps/s, 0:15:32 left' in last_line(capsys)


def test_what_a_process_compiles_first_does_not_count(clock, capsys):
  shown = progress.Progress()
  state = begin(shown, num_steps=10_000)
  clock.now += 20  # In which there is one step.
  play(clock, 100, 50, shown, state)
  assert '100 steps/s' in last_line(capsys)


def test_a_phase_of_a_moment_has_a_rate(clock, capsys):
  shown = progress.Progress()
  state = begin(shown, num_steps=10)
  clock.now += 0.1
  state.episode_steps = 10
  shown.end_phase(state)
  assert '[100%, 100 steps/s, 0:00:00 left' in last_line(capsys)


def test_a_short_phase_tells_what_is_left_of_the_run(clock, capsys):
  shown = progress.Progress()
  state = begin(shown, num_steps=1000)
  play(clock, 100, 10, shown, state)
  shown.end_phase(state)
  state = begin(shown, 'eval', 100, to_come={'train': 1000, 'eval': 100})
  clock.now += 0.1
  state.episode_steps = 100
  shown.end_phase(state)
  assert '1000 steps/s, 0:00:00 left, of the run 0:00:10]' in last_line(capsys)


def test_tqdm_may_be_disabled(clock, terminal, monkeypatch):
  # As TQDM_DISABLE=1, which tqdm reads when it is loaded, has it.
  disabled = functools.partial(progress._Bar, disable=True)
  monkeypatch.setattr(progress, '_Bar', disabled)
  written = terminal(80)
  shown = progress.Progress()
  state = begin(shown)
  play(clock, 100, 31, shown, state)
  shown.end_phase(state)
  assert len(written.read()) == 3


def test_the_rate_is_recent(clock, capsys):
  shown = progress.Progress()
  state = begin(shown, num_steps=1_000_000)
  play(clock, 1000, 600, shown, state)
  play(clock, 8, 120, shown, state)
  rate = int(re.search(r'(\d+) steps/s', last_line(capsys))[1])
  assert 8 <= rate < 60  # The mean of the phase is 835.


def test_a_warm_up_says_nothing_of_what_follows(clock, capsys):
  is_warming_up = True
  shown = progress.Progress(lambda: is_warming_up)
  state = begin(shown, num_steps=250_000, to_come={'train': 250_000})
  play(clock, 500, 40, shown, state)
  assert '500 steps/s, ? left, of the run ?' in last_line(capsys)
  is_warming_up = False
  play(clock, 52, 30, shown, state)
  # 228,960 steps, and 250,000 more, at 52 per second and not at 307.
  line = last_line(capsys)
  assert '[8%, 52 steps/s, 1:13:23 left, of the run 2:33:31]' in line


def test_a_phase_of_warm_up_leaves_no_rate(clock, capsys):
  is_warming_up = True
  shown = progress.Progress(lambda: is_warming_up)
  state = begin(shown, num_steps=1000, to_come={'eval': 5})
  play(clock, 500, 2, shown, state)
  shown.end_phase(state)
  assert '0:00:00 left, of the run ?]' in last_line(capsys)
  is_warming_up = False  # As in an evaluation.
  state = begin(shown, 'eval', 1000, to_come={'train': 1000})
  play(clock, 100, 8, shown, state)
  shown.end_phase(state)
  assert '100 steps/s, 0:00:02 left, of the run ?]' in last_line(capsys)


def test_each_phase_has_a_rate_of_its_own(clock, capsys):
  shown = progress.Progress()
  to_come = {'train': 1000, 'eval': 5000}
  state = begin(shown, num_steps=2000, to_come=to_come)
  play(clock, 100, 10, shown, state)
  shown.end_phase(state)  # An evaluation takes at most what training takes.
  assert '0:00:10 left, of the run 0:01:10]' in last_line(capsys)
  state = begin(shown, 'eval', 5000, to_come={'train': 1000, 'eval': 0})
  play(clock, 500, 5, shown, state)
  shown.end_phase(state)
  assert '0:00:05 left, of the run 0:00:15]' in last_line(capsys)


def test_days(clock, capsys):
  shown = progress.Progress()
  state = begin(shown, to_come={'train': 50_000_000})
  play(clock, 40, 30, shown, state)
  assert '1:43:40 left, of the run 14d 12h]' in capsys.readouterr().out


class Failing(io.StringIO):
  """A stdout whose disk is full."""

  def write(self, text):
    raise OSError(28, 'No space left on device')


class Bare:
  """What a program may put in stdout's place: it knows `write` alone."""

  def write(self, text):
    self.text = getattr(self, 'text', '') + text


class Odd(Failing):
  def isatty(self):
    raise RuntimeError('nobody knows')


class FailingTerminal(io.StringIO):
  """One that is recorded, on a disk that becomes full."""

  def isatty(self):
    return True

  def write(self, text):
    if self.tell() > 300:
      raise OSError(28, 'No space left on device')
    return super().write(text)


def closed():
  stdout = io.StringIO()
  stdout.close()
  return stdout


@pytest.mark.parametrize(
  'make', [lambda: None, Bare, Failing, FailingTerminal, Odd, closed]
)
def test_no_stdout_ends_a_run(make, clock, monkeypatch):
  monkeypatch.setattr(sys, 'stdout', make())
  shown = progress.Progress()
  state = begin(shown)
  play(clock, 100, 65, shown, state)
  shown.end_phase(state)
  shown.close()
  assert list(progress.track(range(3), 'Episodes')) == [0, 1, 2]
  progress.say('a line')
  if isinstance(sys.stdout, Bare):
    assert 'Steps executed: 3000' in sys.stdout.text
    assert sys.stdout.text.endswith('a line\n')


def test_what_stdout_cannot_encode_is_still_readable(monkeypatch):
  stdout = io.TextIOWrapper(io.BytesIO(), encoding='ascii')
  monkeypatch.setattr(sys, 'stdout', stdout)
  progress.say('base_dir=/tmp/Übung')
  assert stdout.buffer.getvalue() == b'base_dir=/tmp/\\xdcbung\n'


@pytest.mark.parametrize('level', ['INFO', 'WARNING'])
def test_what_is_told_is_read_once(level, capsys):
  told = []
  handler = standard_logging.Handler()
  handler.emit = told.append
  logger = logging.get_absl_logger()
  logger.addHandler(handler)
  before = logger.level
  logger.setLevel(level)
  try:
    progress.tell('Average return: 50 %s')
  finally:
    logger.setLevel(before)
    logger.removeHandler(handler)
  out = capsys.readouterr().out
  if level == 'INFO':  # As in `train`: in the log, with the line that told it.
    (record,) = told
    assert record.getMessage() == 'Average return: 50 %s' and not out
    assert record.filename == 'progress_test.py'
  else:
    assert out == 'Average return: 50 %s\n' and not told


def test_a_notebook_without_widgets_gets_lines(clock, capsys, monkeypatch):
  shell = types.SimpleNamespace(config={'IPKernelApp': {}})
  ipython = types.SimpleNamespace(get_ipython=lambda: shell)
  monkeypatch.setitem(sys.modules, 'IPython', ipython)
  monkeypatch.setitem(sys.modules, 'ipywidgets', None)
  shown = progress.Progress()
  state = begin(shown)
  play(clock, 100, 31, shown, state)
  shown.end_phase(state)
  assert len(capsys.readouterr().out.splitlines()) == 2


def test_episodes_are_counted_on_a_terminal(terminal):
  written = terminal(80)
  for _ in progress.track(range(5), 'Episodes'):
    pass
  lines = written.read()
  assert max(map(len, lines)) < 80
  assert lines[-2].startswith('Episodes 5/5 |')
