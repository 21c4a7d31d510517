"""The networks under the names of Dopamine's JAX subpackage.

They are Flax modules, of `dopamine.compat.flax_modules`. An agent of hooks that
is given one makes its Keras twin, `dopamine.networks.X`, which has the name in
gin too.
"""

import gin
import numpy as np

from dopamine import networks
from dopamine import seams
from dopamine.discrete_domains import gym_lib

# Not a decorator: that would take from Keras the arguments' names.
gin.external_configurable(
  networks.NoisyDense, 'NoisyNetwork', module='dopamine.jax.networks'
)

preprocess_atari_inputs = networks.scale_pixels

for _task in ('CARTPOLE', 'ACROBOT', 'LUNAR', 'MOUNTAINCAR'):
  gin.constant(
    f'jax_networks.{_task}_OBSERVATION_DTYPE', seams.dtype(np.float64)
  )
for _name, _range in gym_lib.RANGES.items():
  gin.constant(f'jax_networks.{_name}', tuple(_range.tolist()))


def identity_preprocess_fn(x):
  """Returns the states as they are."""
  return x


def __getattr__(name):
  """Serves the modules, which load Flax."""
  return seams.old_name(__name__, name)
