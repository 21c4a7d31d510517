"""The networks of vectors: those of tasks are a table of ranges."""

import functools

import gin
import keras
import numpy as np

from dopamine.discrete_domains import gym_lib
from dopamine.networks import atari
from dopamine.networks import distributional
from dopamine.networks import fourier
from dopamine.networks import parts
from dopamine.networks import perceptron
from dopamine.networks import rainbow
from dopamine.settings import gin_files

# Modules that gin files name them by.
_gym = functools.partial(
  gin.configurable, module='dopamine.discrete_domains.gym_lib'
)
_any = functools.partial(gin.configurable, module='dopamine.jax.networks')


class _Vectors(parts.Network):
  """A network of vectors, `net`, with the observation ranges of a task."""

  min_vals = max_vals = None

  def _with_ranges(self, kwargs):
    """Arguments of `net`, where ranges that are given win."""
    return {'min_vals': self.min_vals, 'max_vals': self.max_vals} | kwargs

  def outputs(self, state):
    """`[B, A * N]` of the stacked observations `state`."""
    return self.net(state)

  def arguments(self):
    """See `parts.Saved`; all that `net` is made of."""
    return self.net.arguments() | super().arguments()


class _Perceptron(_Vectors):
  """A `BasicDiscreteDomainNetwork`.

  Args:
    num_actions: A.
    num_atoms: outputs per action, or None for one.
    name: of the model.
    **kwargs: of `BasicDiscreteDomainNetwork`: other ranges, another shape.
  """

  def __init__(self, num_actions, num_atoms=None, name=None, **kwargs):
    super().__init__(num_actions, name=name)
    self.num_atoms = num_atoms
    self.net = perceptron.BasicDiscreteDomainNetwork(
      **self._with_ranges(kwargs), num_actions=num_actions, num_atoms=num_atoms
    )


class _DQN(parts.Scalar, _Perceptron):
  """Action values of a task."""

  def __init__(self, num_actions, name=None, **kwargs):
    super().__init__(num_actions, name=name, **kwargs)


class _Rainbow(distributional.Categorical, _Perceptron):
  """A distribution over `support` `[N]` for every action of a task."""

  def __init__(self, num_actions, num_atoms, support, name=None, **kwargs):
    super().__init__(num_actions, num_atoms, name, **kwargs)
    self.support = np.asarray(support, np.float32)


class _FourierDQN(parts.Scalar, _Vectors):
  """Action values of a task, linear in cosines: a `FourierDQNNetwork`."""

  def __init__(self, num_actions, name=None, **kwargs):
    super().__init__(num_actions, name=name)
    self.net = fourier.FourierDQNNetwork(
      **self._with_ranges(kwargs), num_actions=num_actions
    )


_RANGES = {
  'Cartpole': (gym_lib.CARTPOLE_MIN_VALS, gym_lib.CARTPOLE_MAX_VALS),
  'Acrobot': (gym_lib.ACROBOT_MIN_VALS, gym_lib.ACROBOT_MAX_VALS),
  'MountainCar': (gym_lib.MOUNTAINCAR_MIN_VALS, gym_lib.MOUNTAINCAR_MAX_VALS),
  'LunarLander': (None, None),  # They are not rescaled.
}


def _of_task(task, base):
  """The class `base` with the ranges of a task, under the name of both."""
  low, high = _RANGES[task]
  name = f'{task}{base.__name__[1:]}Network'
  doc = base.__doc__.replace('a task', task)
  fields = {'__doc__': doc, '__module__': __name__}
  fields |= {'min_vals': low, 'max_vals': high}
  return _gym(parts.saved(type(name, (base,), fields)))


CartpoleDQNNetwork = _of_task('Cartpole', _DQN)
AcrobotDQNNetwork = _of_task('Acrobot', _DQN)
MountainCarDQNNetwork = _of_task('MountainCar', _DQN)
LunarLanderDQNNetwork = _of_task('LunarLander', _DQN)
CartpoleRainbowNetwork = _of_task('Cartpole', _Rainbow)
AcrobotRainbowNetwork = _of_task('Acrobot', _Rainbow)
CartpoleFourierDQNNetwork = _of_task('Cartpole', _FourierDQN)
AcrobotFourierDQNNetwork = _of_task('Acrobot', _FourierDQN)


# Vectors of any task: gin decides shape and ranges ----------------------------


@_any
@parts.saved
class ClassicControlDQNNetwork(_DQN):
  """Action values from a perceptron whose shape and ranges gin decides.

  These, and all other arguments but `num_actions`, are keywords of
  `BasicDiscreteDomainNetwork`: `min_vals`, `max_vals`, `num_layers`,
  `hidden_units`, `inputs_preprocessed`.
  """


@_any
@parts.saved
class ClassicControlRainbowNetwork(_Rainbow):
  """`RainbowNetwork` for vectors; see `ClassicControlDQNNetwork`."""


@_any
@parts.saved
class ClassicControlQuantileNetwork(distributional.Quantiles, _Perceptron):
  """`QuantileNetwork` for vectors; see `ClassicControlDQNNetwork`."""


class _Features(parts.Network):
  """One plain hidden layer, after which a head of more layers comes."""

  def _make_features(self, hidden_units, kwargs):
    """Makes the layer, of keywords of `BasicDiscreteDomainNetwork`."""
    self.features = perceptron.BasicDiscreteDomainNetwork(
      **({'min_vals': None, 'max_vals': None} | kwargs),
      num_actions=None,
      num_layers=1,
      hidden_units=hidden_units,
    )

  def arguments(self):
    """See `parts.Saved`; all of `features` that is not said above."""
    config = self.features.arguments()
    del config['num_atoms'], config['num_layers']
    return config | super().arguments()


@_any
@parts.saved
class ClassicControlImplicitQuantileNetwork(
  distributional.ImplicitQuantiles, _Features
):
  """`ImplicitQuantileNetwork` for vectors; see `ClassicControlDQNNetwork`.

  The quantile levels join after the first of two hidden layers.
  """

  def __init__(
    self,
    num_actions,
    quantile_embedding_dim,
    name=None,
    hidden_units=512,
    **kwargs,
  ):
    super().__init__(num_actions, name=name)
    self.quantile_embedding_dim = quantile_embedding_dim
    self._make_features(hidden_units, kwargs)
    self.embedding = distributional.QuantileEmbedding(quantile_embedding_dim)
    self.dense1 = parts.Dense(hidden_units, activation='relu')
    self.dense2 = parts.Dense(num_actions)
    self.seed_generator = keras.random.SeedGenerator()


@_any
@parts.saved
class ClassicControlFullRainbowNetwork(rainbow.Rainbow, _Features):
  """`FullRainbowNetwork` for vectors; see `ClassicControlDQNNetwork`.

  One plain hidden layer comes before those of `RainbowHead`.
  """

  def __init__(
    self,
    num_actions,
    num_atoms,
    support,
    noisy=True,
    dueling=True,
    distributional=True,
    hidden_units=512,
    name=None,
    **kwargs,
  ):
    super().__init__(num_actions, name=name)
    self.num_atoms = num_atoms
    self._make_features(hidden_units, kwargs)
    self.head = rainbow.RainbowHead(
      num_actions,
      num_atoms,
      support,
      noisy=noisy,
      dueling=dueling,
      distributional=distributional,
      hidden_units=hidden_units,
    )


_OF_VECTORS = {
  atari.NatureDQNNetwork: ClassicControlDQNNetwork,
  distributional.RainbowNetwork: ClassicControlRainbowNetwork,
  distributional.QuantileNetwork: ClassicControlQuantileNetwork,
  distributional.ImplicitQuantileNetwork: ClassicControlImplicitQuantileNetwork,
  rainbow.FullRainbowNetwork: ClassicControlFullRainbowNetwork,
}


def fitting(network, space):
  """`network` if `space` is one of images, else the same for its vectors.

  Args:
    network: what an agent has for Atari, e.g. `NatureDQNNetwork`; any other is
      its author's to fit.
    space: a Gymnasium `Box`. Images are `[H, W]` or `[H, W, C]` of uint8, 32 by
      32 pixels or more; all else is a vector, which goes through `rescale`.

  Returns:
    What makes a network, as the agents' `network` does.
  """
  if space.dtype == np.uint8 and len(space.shape) in (2, 3):
    if min(space.shape[:2]) >= 32:
      return network
  if network not in _OF_VECTORS:
    return network
  network = _OF_VECTORS[network]
  bound = gin_files.bound_parameters(network)
  ranges = {
    name: np.ravel(vals)
    for name, vals in (('min_vals', space.low), ('max_vals', space.high))
    if name not in bound
  }
  return functools.partial(network, **ranges)
