"""What an agent needs of the spaces of its environment."""

from typing import Any

import gymnasium

from dopamine.settings import errors


def num_actions(environment: Any) -> int:
  """How many actions there are, which must be 0, 1, 2, ..."""
  space = environment.action_space
  is_other = isinstance(space, gymnasium.Space) and not isinstance(
    space, gymnasium.spaces.Discrete
  )
  if is_other or getattr(space, 'n', None) is None:
    raise errors.SettingError(
      f'action_space={space} of {environment} does not number its actions, and '
      'every agent here chooses among n of them: give it a '
      'gymnasium.spaces.Discrete(n), by a wrapper or by an argument of the '
      "environment's own (create_gym_environment.continuous = False for "
      'CarRacing and LunarLander)'
    )
  if getattr(space, 'start', 0) != 0:
    raise errors.SettingError(
      f'action_space={space} of {environment} numbers its actions from '
      f'{space.start}, and every agent here from 0: wrap it, e.g. in '
      'gymnasium.wrappers.TransformAction'
    )
  return space.n


def box(environment: Any, agent: str) -> Any:
  """The observation space, which must have a shape, a dtype and bounds.

  Args:
    environment: whose it is.
    agent: the name of the class that is to fit it.
  """
  space = getattr(environment, 'observation_space', None)
  if not all(hasattr(space, n) for n in ('shape', 'dtype', 'low', 'high')):
    raise errors.SettingError(
      f'create_agent.fit_to_environment needs observations of a Box, and '
      f'observation_space={space} of {environment} is none: set '
      'create_gym_environment.flatten = True, or give the environment a '
      'gymnasium.spaces.Box, or bind observation_shape, observation_dtype and '
      f'network of {agent} and fit_to_environment = False'
    )
  return space
