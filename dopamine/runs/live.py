"""The live figures of a run: curves by agent step while training goes on.

Points are at agent steps of training, counted over the whole run: every 250 up
to 25,000, then every sqrt(2.5 steps) or thousandth part of the steps, whichever
is more; 5,000 in 50 million. Only what is called Speed depends on the clock.
"""

import math
import time
from typing import Any

import numpy as np

from dopamine import interfaces
from dopamine.discrete_domains import gym_lib
from dopamine.runs import event_writer

# Reports from one distribution of returns to the next.
_DISTRIBUTION_PERIOD = 50


def period(step: int) -> int:
  """Agent steps from a report at `step` to the next."""
  return max(250, math.isqrt(5 * step // 2), step // 1000)


class NoFigures:
  """Of a run that shows none: what the loop calls. It counts the steps."""

  def __init__(self) -> None:
    self._steps = 0

  def step(self, agent: interfaces.Agent, start: float) -> None:
    """Counts an agent step of training.

    Args:
      agent: that acts.
      start: when the environment began with it, by `time.perf_counter`.
    """
    if not agent.eval_mode:
      self._steps += 1

  def end_episode(self, steps: int, episode_return: Any) -> None: ...

  def stop_clock(self, agent: interfaces.Agent) -> None: ...

  def saved(self) -> dict[str, Any]:
    """What `restore` takes, of built-ins and NumPy values."""
    return {'steps': self._steps}

  def restore(self, saved: dict[str, Any]) -> None:
    """Goes on from what was `saved`, or from `steps` alone."""
    self._steps = int(saved['steps'])


class LiveFigures(NoFigures):
  """Writes the figures of training to the run's event file.

  Args:
    writer: of that file.
  """

  def __init__(self, writer: event_writer.SummaryWriter):
    super().__init__()
    self._writer = writer
    self._num_reports = 0
    self._next = period(0)
    self._lengths: list[int] = []
    self._returns: list[Any] = []
    self._began: float | None = None  # By the clock; None stands still.
    self._clear_clocks()

  def _clear_clocks(self) -> None:
    self._seconds = self._stepping = self._updating = 0.0
    self._timed_steps = 0

  def step(self, agent: interfaces.Agent, start: float) -> None:
    if agent.eval_mode:
      return
    now = time.perf_counter()
    if self._began is None:
      self._start_clock(agent, start)
    self._stepping += now - start
    super().step(agent, start)
    self._timed_steps += 1
    if self._steps >= self._next:
      self._report(agent)

  def end_episode(self, steps: int, episode_return: Any) -> None:
    """Counts an episode of training."""
    self._lengths.append(steps)
    self._returns.append(gym_lib.as_float64(episode_return))

  def _start_clock(self, agent: interfaces.Agent, now: float) -> None:
    self._began, self._updated = now, agent.seconds_updating

  def stop_clock(self, agent: interfaces.Agent) -> None:
    """Is called where training pauses."""
    if self._began is not None:
      self._seconds += time.perf_counter() - self._began
      self._updating += agent.seconds_updating - self._updated
    self._began = None

  def _report(self, agent: interfaces.Agent) -> None:
    figures = dict(agent.live_figures())
    if self._returns:
      figures['Episode/Return'] = np.mean(self._returns, axis=0)
      figures['Episode/Length'] = float(np.mean(self._lengths))
      self._lengths, self._returns = [], []
    self.stop_clock(agent)
    seconds = max(self._seconds, 1e-9)
    figures |= {
      'Speed/AgentStepsPerSecond': self._timed_steps / seconds,
      'Speed/ShareStepping': self._stepping / seconds,
      'Speed/ShareUpdating': self._updating / seconds,
      'Speed/ShareActing': max(
        1.0 - (self._stepping + self._updating) / seconds, 0.0
      ),
    }
    self._clear_clocks()
    self._start_clock(agent, time.perf_counter())
    self._writer.add_figures(figures, self._steps)
    if self._num_reports % _DISTRIBUTION_PERIOD == 0:
      if (found := agent.start_distribution()) is not None:
        self._writer.add_distribution(
          'Learning/StartReturn', *found, self._steps
        )
    self._num_reports += 1
    self._next = self._steps + period(self._steps)

  # Saving ---------------------------------------------------------------------

  def saved(self) -> dict[str, Any]:
    return {
      'steps': self._steps,
      'next': self._next,
      'num_reports': self._num_reports,
      'lengths': list(self._lengths),
      'returns': list(self._returns),
    }

  def restore(self, saved: dict[str, Any]) -> None:
    super().restore(saved)
    self._next = int(saved.get('next', self._steps + period(self._steps)))
    self._num_reports = int(saved.get('num_reports', 0))
    self._lengths = list(saved.get('lengths', ()))
    self._returns = list(saved.get('returns', ()))
