"""Agents that were written for Dopamine 1 to 4."""

import inspect
from typing import Any


def end_episode_arguments(agent: Any) -> dict[str, str]:
  """What an agent's `end_episode` takes beside the reward, by its own names.

  Returns:
    The name of a parameter -> 'terminal' or 'observation'.
  """
  if not hasattr(type(agent), 'end_episode'):  # E.g. a mock.
    return {}
  parameters = inspect.signature(agent.end_episode).parameters
  kinds = [p.kind for p in parameters.values()]
  names = ('terminal', 'observation')
  if inspect.Parameter.VAR_KEYWORD in kinds:
    return {name: name for name in names}
  taken = {name: name for name in names if name in parameters}
  required = [
    name
    for name, parameter in list(parameters.items())[1:]
    if parameter.default is parameter.empty
    and parameter.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD
  ]
  # Under another name, as in `end_episode(reward, is_terminal)`.
  if 'terminal' not in taken and required[:1] and required[0] not in taken:
    taken[required[0]] = 'terminal'
  return taken
