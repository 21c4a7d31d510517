"""The networks under the names of Dopamine's JAX subpackage.

They are those of `dopamine.networks`: one definition serves both backends.
"""

import gin
import numpy as np

from dopamine import networks
from dopamine.discrete_domains import gym_lib

NatureDQNNetwork = networks.NatureDQNNetwork
ClassicControlDQNNetwork = networks.ClassicControlDQNNetwork

preprocess_atari_inputs = networks.scale_pixels

for _task in ('CARTPOLE', 'ACROBOT', 'LUNAR', 'MOUNTAINCAR'):
  gin.constant(f'jax_networks.{_task}_OBSERVATION_DTYPE', np.float64)
  if _task != 'LUNAR':
    for _end in ('MIN_VALS', 'MAX_VALS'):
      _values = tuple(getattr(gym_lib, f'{_task}_{_end}').tolist())
      gin.constant(f'jax_networks.{_task}_{_end}', _values)


def identity_preprocess_fn(x):
  """Returns the states as they are."""
  return x
