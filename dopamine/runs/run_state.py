"""Where a run stands in its loop."""

import dataclasses
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
    seconds: how long it took, up to `since`.
    since: when its clock was started, by `time.monotonic`; None stands still.
  """

  steps: int = 0
  total_return: float = 0.0
  lengths: list[int] = dataclasses.field(default_factory=list)
  returns: list[float] = dataclasses.field(default_factory=list)
  seconds: float = 0.0
  since: float | None = None

  def start_clock(self) -> None:
    """Starts the clock, or goes on with it."""
    self.since = time.monotonic()

  def stop_clock(self) -> None:
    """Stops the clock."""
    self.seconds, self.since = self.elapsed, None

  @property
  def elapsed(self) -> float:
    """Seconds that it took up to now."""
    running = 0.0 if self.since is None else time.monotonic() - self.since
    return self.seconds + running

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

  @property
  def steps(self) -> int:
    """Agent steps of the current phase."""
    return self.phase_steps + self.in_episode * self.episode_steps

  def __str__(self) -> str:
    return (
      f'step {self.episode_steps} of an episode, after {self.phase_steps} '
      f'agent steps of earlier episodes in the {self.phase} phase of iteration '
      f'{self.iteration}'
    )

  @property
  def is_timed(self) -> bool:
    """Whether the clock of the current phase runs.

    Where a Runner's own `_run_one_phase` does not count, nobody knows where it
    stands.
    """
    return (
      self.phase in self.phases and self.phases[self.phase].since is not None
    )

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
    saved = dataclasses.asdict(
      dataclasses.replace(self, action=action, observation=None)
    )
    for name, phase in self.phases.items():
      saved['phases'][name]['seconds'] = phase.elapsed
      del saved['phases'][name]['since']
    return saved

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
