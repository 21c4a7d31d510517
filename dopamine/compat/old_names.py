"""Names that once were elsewhere, or that nothing here needs any more."""

from collections.abc import Iterable
import importlib
from typing import Any

import gin

# Module -> name -> the module where it is now. Until 3.2.1 the networks lived
# beside the environments, and gin files and scripts name them so.
MOVED: dict[str, dict[str, str]] = {
  'dopamine.discrete_domains.atari_lib': dict.fromkeys(
    (
      'DQNNetworkType',
      'ImplicitQuantileNetwork',
      'ImplicitQuantileNetworkType',
      'NatureDQNNetwork',
      'RainbowNetwork',
      'RainbowNetworkType',
    ),
    'dopamine.networks',
  )
  | {'maybe_transform_variable_names': __name__},
  'dopamine.discrete_domains.gym_lib': dict.fromkeys(
    (
      'AcrobotDQNNetwork',
      'AcrobotFourierDQNNetwork',
      'AcrobotRainbowNetwork',
      'BasicDiscreteDomainNetwork',
      'CartpoleDQNNetwork',
      'CartpoleFourierDQNNetwork',
      'CartpoleRainbowNetwork',
      'FourierBasis',
      'FourierDQNNetwork',
      'LunarLanderDQNNetwork',
      'MountainCarDQNNetwork',
    ),
    'dopamine.networks',
  )
  | dict.fromkeys(
    ('name_of', 'read_step', 'render', 'unwrapped'), 'dopamine.compat.old_gym'
  ),
}


def find(module: str, name: str) -> Any:
  """Returns what a name of a module means; loads Keras only for networks."""
  return getattr(importlib.import_module(MOVED[module][name]), name)


@gin.configurable(
  module='dopamine.discrete_domains.atari_lib', denylist=['variables']
)
def maybe_transform_variable_names(
  variables: Iterable[Any], legacy_checkpoint_load: bool = False
) -> dict[str, Any] | None:
  """Returns variables by the names that they had in Dopamine 1 and 2.

  Nothing here needs it: whichever names old weights have, they load.

  Args:
    variables: of Keras or TensorFlow.
    legacy_checkpoint_load: False returns None.
  """
  if not legacy_checkpoint_load:
    return None
  names = {}
  for variable in variables:
    name = getattr(variable, 'path', variable.name).split(':')[0]
    name = name.replace('bias', 'biases').replace('kernel', 'weights')
    names[name] = variable
  return names
