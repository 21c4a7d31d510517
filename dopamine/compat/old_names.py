"""Names that once were elsewhere, or that nothing here needs any more."""

from collections.abc import Iterable
import importlib
from typing import Any

import gin

# Until 3.2.1 these networks lived beside the environments, and gin files and
# scripts name them so.
_NETWORKS = {
  'atari_lib': """
    DQNNetworkType ImplicitQuantileNetwork ImplicitQuantileNetworkType
    NatureDQNNetwork RainbowNetwork RainbowNetworkType
  """,
  'gym_lib': """
    AcrobotDQNNetwork AcrobotFourierDQNNetwork AcrobotRainbowNetwork
    BasicDiscreteDomainNetwork CartpoleDQNNetwork CartpoleFourierDQNNetwork
    CartpoleRainbowNetwork FourierBasis FourierDQNNetwork LunarLanderDQNNetwork
    MountainCarDQNNetwork
  """,
}

# Module and name -> the module where it is now.
MOVED = {
  (f'dopamine.discrete_domains.{module}', name): 'dopamine.networks'
  for module, names in _NETWORKS.items()
  for name in names.split()
}
MOVED |= {
  ('dopamine.discrete_domains.gym_lib', name): 'dopamine.compat.old_gym'
  for name in ('name_of', 'read_step', 'render', 'unwrapped')
}
MOVED[
  'dopamine.discrete_domains.atari_lib', 'maybe_transform_variable_names'
] = __name__
# Until 2.0 they were functions of a state.
_OLDER_NETWORKS = {
  'atari_lib': """
    implicit_quantile_network nature_dqn_network rainbow_network
  """,
  'gym_lib': """
    _basic_discrete_domain_network acrobot_dqn_network
    acrobot_fourier_dqn_network acrobot_rainbow_network
    cartpole_dqn_network cartpole_fourier_dqn_network cartpole_rainbow_network
    fourier_dqn_network
  """,
}
MOVED |= {
  (f'dopamine.discrete_domains.{module}', name): (
    'dopamine.discrete_domains.legacy_networks'
  )
  for module, names in _OLDER_NETWORKS.items()
  for name in names.split()
}
MOVED['dopamine.optimizers', 'adam'] = 'dopamine.compat.old_optimizers'

# What research code of Dopamine 3.3 to 4.0 is made of: Flax modules, and
# functions of their parameters.
_FLAX = """
  ClassicControlDQNNetwork ClassicControlRainbowNetwork FullRainbowNetwork
  ImplicitQuantileNetwork NatureDQNNetwork NoisyNetwork QuantileNetwork
  RainbowNetwork feature_layer
"""
_FUNCTIONS = {
  'dqn': 'train target_q select_action',
  'full_rainbow': 'train target_output select_action get_logits get_q_values',
  'implicit_quantile': 'train target_quantile_values select_action',
  'quantile': 'train target_distribution',
  'rainbow': 'train target_distribution select_action',
}
MOVED |= {
  ('dopamine.jax.networks', name): 'dopamine.compat.flax_modules'
  for name in _FLAX.split()
}
MOVED |= {
  (f'dopamine.jax.agents.{agent}.{agent}_agent', name): (
    f'dopamine.compat.functional.{agent}'
  )
  for agent, names in _FUNCTIONS.items()
  for name in names.split()
}


def find(module: str, name: str) -> Any:
  """Returns what a name of a module means; loads Keras only for networks."""
  return getattr(importlib.import_module(MOVED[module, name]), name)


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
