"""The networks under the names of Dopamine's JAX subpackage.

They are those of `dopamine.networks`: one definition serves both backends.
"""

import functools

import gin
import numpy as np

from dopamine import networks
from dopamine import seams
from dopamine.discrete_domains import gym_lib

NatureDQNNetwork = networks.NatureDQNNetwork
RainbowNetwork = networks.RainbowNetwork
QuantileNetwork = networks.QuantileNetwork
ImplicitQuantileNetwork = networks.ImplicitQuantileNetwork
FullRainbowNetwork = networks.FullRainbowNetwork
ClassicControlDQNNetwork = networks.ClassicControlDQNNetwork
ClassicControlRainbowNetwork = networks.ClassicControlRainbowNetwork
NoisyNetwork = networks.NoisyDense
# Not a decorator: that would take from Keras the arguments' names.
gin.external_configurable(
  NoisyNetwork, 'NoisyNetwork', module='dopamine.jax.networks'
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


def feature_layer(key, noisy, eval_mode=False):
  """Returns `features -> layer`: a `NoisyNetwork`, or a dense layer.

  Args:
    key: ignored; noise is an argument of the layer's call.
    noisy: whether the layers have noise in their weights.
    eval_mode: ignored; a layer that is called without noise has none.
  """
  del key, eval_mode
  if noisy:
    return NoisyNetwork
  return functools.partial(networks.Dense, kernel_initializer='glorot_uniform')
