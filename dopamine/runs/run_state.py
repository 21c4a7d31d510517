"""Where a run stands in its loop."""

import dataclasses
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
