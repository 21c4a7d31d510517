"""Where a run stands in its loop, and the line that shows it."""

import contextlib
import dataclasses
import sys
import time
from typing import Any

from dopamine.discrete_domains import gym_lib


@dataclasses.dataclass
class Phase:
  """What was done of a phase.

  Attributes:
    steps: agent steps of its finished episodes.
    total_return: sum of their undiscounted returns.
    lengths: of each, in agent steps.
    returns: of each, undiscounted.
    seconds: how long it took.
  """

  steps: int = 0
  total_return: float = 0.0
  lengths: list[int] = dataclasses.field(default_factory=list)
  returns: list[float] = dataclasses.field(default_factory=list)
  seconds: float = 0.0

  def count(self, steps: int, episode_return: float) -> None:
    """Adds a finished episode."""
    episode_return = gym_lib.as_float64(episode_return)
    self.steps += steps
    self.total_return += episode_return
    self.lengths.append(steps)
    self.returns.append(episode_return)


@dataclasses.dataclass
class RunState:
  """Where a run stands in its loop: all that a checkpoint says of it.

  Attributes:
    iteration: counted from 0.
    phase: 'train' or 'eval'.
    phases: of this iteration, by name, the current one included.
    in_episode: whether an episode is under way; then
    action: is the one to take next,
    observation: is the last one seen, which no checkpoint needs,
    episode_steps: counts its agent steps,
    episode_return: sums its rewards, unclipped.
  """

  iteration: int = 0
  phase: str = 'train'
  phases: dict[str, Phase] = dataclasses.field(default_factory=dict)
  in_episode: bool = False
  action: Any = None
  observation: Any = None
  episode_steps: int = 0
  episode_return: float = 0.0

  @property
  def phase_steps(self) -> int:
    """Agent steps of the finished episodes of the current phase."""
    return self.phases[self.phase].steps if self.phase in self.phases else 0

  def begin_phase(self, phase: str) -> Phase:
    """Starts counting a phase."""
    self.phase, self.in_episode = phase, False
    self.phases[phase] = Phase()
    return self.phases[phase]

  def begin_episode(self, action: Any) -> None:
    """Starts counting an episode; `action` is the first to take."""
    self.in_episode, self.action, self.observation = True, action, None
    self.episode_steps, self.episode_return = 0, 0.0

  def saved(self) -> dict[str, Any]:
    """Returns what `restored` takes, of built-ins and NumPy values."""
    action = gym_lib.as_numpy(self.action)
    return dataclasses.asdict(
      dataclasses.replace(self, action=action, observation=None)
    )

  @classmethod
  def restored(cls, saved: dict[str, Any]) -> 'RunState':
    """Returns what was `saved`; returns may have been in another dtype."""
    phases = {}
    for name, phase in saved['phases'].items():
      phases[name] = Phase(seconds=phase['seconds'])
      for figures in zip(phase['lengths'], phase['returns'], strict=True):
        phases[name].count(*figures)
    episode_return = gym_lib.as_float64(saved['episode_return'])
    return cls(**{**saved, 'phases': phases, 'episode_return': episode_return})


def say(text: str, end: str = '\n') -> None:
  """Prints to stdout; where that is full, or closed, nothing is lost but this.

  A run must not end because nobody can read what it says.
  """
  with contextlib.suppress(OSError, ValueError):
    print(text, end=end, flush=True)


class Progress:
  """One live line per phase on a terminal; else a plain line now and then."""

  def __init__(self, title: str, num_steps: int):
    self._title, self._num_steps = title, max(num_steps, 1)
    self._is_live = sys.stdout is not None and sys.stdout.isatty()
    self._period = 0.2 if self._is_live else 30.0  # Seconds between lines.
    self._start = self._last = time.monotonic()
    self._episode = ''
    self._width = 0

  def step(self, state: RunState) -> None:
    """Called at every agent step: mostly it only looks at the clock."""
    now = time.monotonic()
    if now - self._last >= self._period:
      self._last = now
      self._write(state, '\r' if self._is_live else '\n')

  def end_episode(self, steps: int, episode_return: float) -> None:
    """Takes note of the episode that just ended."""
    self._episode = f' Episode length: {steps} Return: {episode_return}'

  def end_phase(self, state: RunState) -> None:
    """Leaves the phase's last line standing."""
    self._write(state, '\n')

  def _write(self, state: RunState, end: str) -> None:
    steps = state.phase_steps + state.in_episode * state.episode_steps
    elapsed = max(time.monotonic() - self._start, 1e-9)
    rate = steps / elapsed
    left = max(self._num_steps - steps, 0) / rate if rate else 0.0
    line = (
      f'{self._title} Steps executed: {steps}{self._episode} '
      f'[{min(steps / self._num_steps, 1.0):.0%}, {rate:.0f} steps/s, '
      f'{_clock(left)} left]'
    )
    # Blanks wipe what a longer line before left on the terminal.
    padding = ' ' * max(self._width - len(line), 0) if self._is_live else ''
    self._width = len(line)
    say(line + padding, end)


def _clock(seconds: float) -> str:
  minutes, seconds = divmod(round(seconds), 60)
  return f'{minutes // 60}:{minutes % 60:02d}:{seconds:02d}'
