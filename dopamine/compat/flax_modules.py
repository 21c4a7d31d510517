"""The networks of Dopamine's JAX agents as Flax has them: for one state.

Each has a twin among `dopamine.networks`, with the same layers, initial
weights and formulas: `TWINS` says which, `to_keras` and `from_keras` carry
parameters over. What gin binds for the twin reaches these too.
"""

from collections.abc import Callable
import functools
import inspect
import itertools
from typing import Any

from flax import linen as nn
import gin
import jax
import jax.numpy as jnp
import keras
import numpy as np

from dopamine import networks
from dopamine.compat import old_weights
from dopamine.settings import errors

_xavier = nn.initializers.xavier_uniform()
_variance_scaling = nn.initializers.variance_scaling(
  1.0 / np.sqrt(3.0), 'fan_in', 'uniform'
)


def _bindable(cls: Any) -> Any:
  """The class, whose fields that are not given are those that gin binds.

  Names in gin are of the Keras twin: two of one name would be ambiguous.
  """
  init = cls.__init__
  selector = f'dopamine.jax.networks.{cls.__name__}'
  signature = inspect.signature(cls)
  bindable = set(cls.__dataclass_fields__) - {'name', 'parent'}

  @functools.wraps(init)
  def bound_init(self, *args, **kwargs):
    given = signature.bind_partial(*args, **kwargs).arguments
    bound = gin.get_bindings(selector)
    bound = {k: bound[k] for k in bindable & (bound.keys() - given.keys())}
    # Which a run's record has.
    scope = gin.current_scope_str(), selector
    gin.config._OPERATIVE_CONFIG.setdefault(scope, {}).update(bound)
    init(self, *args, **kwargs, **bound)

  cls.__init__ = bound_init
  return cls


def _nature(x, inputs_preprocessed, initializer):
  """The convolutions of `networks.NatureTrunk`: `[7744]` of `[84, 84, 4]`.

  For a compact method, which they become layers of.
  """
  if not inputs_preprocessed:
    x = networks.scale_pixels(x)
  if x.ndim == 4:  # Colours and stack are one axis.
    x = x.reshape(*x.shape[:2], -1)
  for features, size, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
    convolution = nn.Conv(
      features, (size, size), (stride, stride), kernel_init=initializer
    )
    x = nn.relu(convolution(x))
  return x.reshape(-1)


def _nature_outputs(x, num_outputs, inputs_preprocessed, initializer):
  """`[num_outputs]` of pixels, see `networks.NatureTrunk`."""
  x = _nature(x, inputs_preprocessed, initializer)
  x = nn.relu(nn.Dense(512, kernel_init=initializer)(x))
  return nn.Dense(num_outputs, kernel_init=initializer)(x)


def _of_one(outputs):
  """The only row of each array of a named tuple."""
  return jax.tree_util.tree_map(lambda x: x[0], outputs)


# Action values ----------------------------------------------------------------


@_bindable
class NatureDQNNetwork(nn.Module):
  """`networks.NatureDQNNetwork`: a `DQNNetworkType`, `q_values` `[A]`."""

  num_actions: int
  inputs_preprocessed: bool = False

  @nn.compact
  def __call__(self, x):
    return networks.DQNNetworkType(
      _nature_outputs(x, self.num_actions, self.inputs_preprocessed, _xavier)
    )


class _Perceptron(nn.Module):
  """`networks.BasicDiscreteDomainNetwork`, whose outputs a head reads."""

  def __post_init__(self):
    """Makes tuples of ranges: `jax.jit` takes no module that holds arrays."""
    for name in ('min_vals', 'max_vals'):
      value = getattr(self, name)
      if value is not None:
        object.__setattr__(self, name, tuple(np.ravel(value).tolist()))
    super().__post_init__()

  def _make_layers(self, num_outputs):
    self.layers = [
      nn.Dense(self.hidden_units, kernel_init=_xavier)
      for _ in range(self.num_layers)
    ]
    self.final_layer = nn.Dense(num_outputs, kernel_init=_xavier)

  def _outputs(self, x):
    x = jnp.asarray(x, jnp.float32).reshape(-1)
    if self.min_vals is not None and not self.inputs_preprocessed:
      x = networks.rescale_stack(x, self.min_vals, self.max_vals)
    for layer in self.layers:
      x = nn.relu(layer(x))
    return self.final_layer(x)


@_bindable
class ClassicControlDQNNetwork(_Perceptron):
  """`networks.ClassicControlDQNNetwork`: `q_values` `[A]` of a vector."""

  num_actions: int
  num_layers: int = 2
  hidden_units: int = 512
  min_vals: None | tuple[float, ...] = None
  max_vals: None | tuple[float, ...] = None
  inputs_preprocessed: bool = False

  def setup(self):
    """Makes the layers."""
    self._make_layers(self.num_actions)

  def __call__(self, x):
    return networks.DQNNetworkType(self._outputs(x))


# Atoms and quantiles ----------------------------------------------------------


def _categorical(outputs, num_actions, support):
  return _of_one(networks.categorical(outputs, num_actions, support))


@_bindable
class RainbowNetwork(nn.Module):
  """`networks.RainbowNetwork`: a `RainbowNetworkType`, `logits` `[A, N]`."""

  num_actions: int
  num_atoms: int
  inputs_preprocessed: bool = False

  @nn.compact
  def __call__(self, x, support):
    num_outputs = self.num_actions * self.num_atoms
    outputs = _nature_outputs(
      x, num_outputs, self.inputs_preprocessed, _variance_scaling
    )
    return _categorical(outputs, self.num_actions, support)


@_bindable
class ClassicControlRainbowNetwork(_Perceptron):
  """`networks.ClassicControlRainbowNetwork`: the atoms of a vector."""

  num_actions: int
  num_atoms: int
  num_layers: int = 2
  hidden_units: int = 512
  min_vals: None | tuple[float, ...] = None
  max_vals: None | tuple[float, ...] = None
  inputs_preprocessed: bool = False

  def setup(self):
    """Makes the layers."""
    self._make_layers(self.num_actions * self.num_atoms)

  def __call__(self, x, support):
    return _categorical(self._outputs(x), self.num_actions, support)


@_bindable
class QuantileNetwork(nn.Module):
  """`networks.QuantileNetwork`: the values `logits` `[A, N]` of quantiles."""

  num_actions: int
  num_atoms: int
  inputs_preprocessed: bool = False

  @nn.compact
  def __call__(self, x):
    num_outputs = self.num_actions * self.num_atoms
    outputs = _nature_outputs(
      x, num_outputs, self.inputs_preprocessed, _variance_scaling
    )
    return _of_one(
      networks.quantiles(outputs, self.num_actions, self.num_atoms)
    )


class ImplicitQuantileNetwork(nn.Module):
  """`networks.ImplicitQuantileNetwork`: N quantiles at levels that it draws."""

  num_actions: int
  quantile_embedding_dim: int
  inputs_preprocessed: bool = False

  @nn.compact
  def __call__(self, x, num_quantiles, rng):
    """`quantile_values` `[N, A]` and `quantiles` `[N, 1]`."""
    dense = functools.partial(nn.Dense, kernel_init=_variance_scaling)
    features = _nature(x, self.inputs_preprocessed, _variance_scaling)
    quantiles = jax.random.uniform(rng, (num_quantiles, 1))
    i = jnp.pi * jnp.arange(1, self.quantile_embedding_dim + 1)
    embedding = nn.relu(dense(features.size)(jnp.cos(i * quantiles)))  # [N, D]
    x = nn.relu(dense(512)(features * embedding))
    return networks.ImplicitQuantileNetworkType(
      dense(self.num_actions)(x), quantiles
    )


# Full Rainbow -----------------------------------------------------------------


class NoisyNetwork(nn.Module):
  """`networks.NoisyDense`, whose noise a key decides.

  Attributes:
    rng_key: of its noise; layers that have one of the same have one noise.
    eval_mode: True is without noise, and needs no key.
  """

  rng_key: Any
  eval_mode: bool = False

  @staticmethod
  def sample_noise(key, shape):
    """Standard normal numbers."""
    return jax.random.normal(key, shape)

  @staticmethod
  def f(x):
    """sign(x) sqrt|x|: Fortunato et al. (2018), section 3."""
    return jnp.sign(x) * jnp.sqrt(jnp.abs(x))

  @nn.compact
  def __call__(self, x, features, bias=True, kernel_init=None):
    inputs = x.shape[-1]
    bound = 1.0 / np.sqrt(inputs)

    def uniform(key, shape):
      return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

    sigma = nn.initializers.constant(0.1 * bound)
    shape = (inputs, features)
    y = x @ self.param('kernel_mu', kernel_init or uniform, shape)
    kernel_sigma = self.param('kernel_sigma', sigma, shape)
    bias_mu = bias_sigma = 0.0
    if bias:
      bias_mu = self.param('bias_mu', uniform, (features,))
      bias_sigma = self.param('bias_sigma', sigma, (features,))
    y += bias_mu
    if self.eval_mode or self.is_initializing():
      return y
    if self.rng_key is None:
      raise errors.SettingError(
        f'{self.name} has noise, and got no key for it: call the network as '
        'network_def.apply(params, x, support, key=key), or with eval_mode=True'
      )
    # First the numbers of the inputs, then those of the outputs.
    noise = self.f(self.sample_noise(self.rng_key, (inputs + features,)))
    e_in, e_out = noise[:inputs], noise[inputs:]
    return y + e_out * ((x * e_in) @ kernel_sigma + bias_sigma)


def feature_layer(key, noisy, eval_mode=False):
  """Returns `net(x, features)`, which makes a layer at each call.

  Args:
    key: of the noise, which differs from layer to layer.
    noisy: whether the layers are `NoisyNetwork`, or plain ones.
    eval_mode: whether noisy ones do without noise, and without a key.
  """
  count = itertools.count()

  def noisy_net(x, features):
    own = None if key is None else jax.random.fold_in(key, next(count))
    return NoisyNetwork(rng_key=own, eval_mode=eval_mode)(x, features)

  def dense_net(x, features):
    return nn.Dense(features, kernel_init=_xavier)(x)

  return noisy_net if noisy else dense_net


@_bindable
class FullRainbowNetwork(nn.Module):
  """`networks.FullRainbowNetwork`: a `RainbowNetworkType`.

  Without `distributional` a `DQNNetworkType`.
  """

  num_actions: int
  num_atoms: int
  noisy: bool = True
  dueling: bool = True
  distributional: bool = True
  inputs_preprocessed: bool = False

  @nn.compact
  def __call__(self, x, support, eval_mode=False, key=None):
    """Acts without noise with `eval_mode`; otherwise `key` decides it."""
    net = feature_layer(key, self.noisy, eval_mode)
    x = _nature(x, self.inputs_preprocessed, _xavier)
    x = nn.relu(net(x, 512))
    shape = (self.num_actions, self.num_atoms)
    logits = net(x, self.num_actions * self.num_atoms).reshape(shape)
    if self.dueling:
      logits = networks.dueling(logits, net(x, self.num_atoms))
    if not self.distributional:
      return networks.DQNNetworkType(jnp.sum(logits, axis=-1))
    return _categorical(logits, self.num_actions, support)


# Their twins ------------------------------------------------------------------

_MODULES = (
  NatureDQNNetwork,
  ClassicControlDQNNetwork,
  RainbowNetwork,
  ClassicControlRainbowNetwork,
  ImplicitQuantileNetwork,
  QuantileNetwork,
  FullRainbowNetwork,
)

# The Keras class of each module, and the module of each Keras class.
TWINS: dict[Callable, Callable] = {
  module: getattr(networks, module.__name__) for module in _MODULES
}
TWINS |= {theirs: ours for ours, theirs in TWINS.items()}


def module_of(network: Any) -> Any:
  """The Flax class in place of its Keras twin; any other as it is.

  Raises:
    ValueError: it is a Keras class of another kind.
  """
  kind = inspect.unwrap(network) if inspect.isfunction(network) else network
  if isinstance(kind, type) and issubclass(kind, keras.Layer):
    if kind not in TWINS:
      raise errors.SettingError(
        f'network={kind.__name__} is of Keras, and an agent in the functional '
        "style takes a Flax module: dopamine.jax.networks has Dopamine's"
      )
    return TWINS[kind]
  return network


def to_keras(params: Any, network: keras.Model) -> None:
  """Gives a network the parameters of its twin.

  Args:
    params: as `module.init` returns them.
    network: its Keras twin, whose weights are there.

  Raises:
    ValueError: they are of another network, or not finite.
  """
  for _, array, variable in _pairs(params, network):
    variable.assign(array)


def from_keras(network: keras.Model, params: Any) -> Any:
  """The weights of a network as parameters of its twin.

  Args:
    network: a Keras model.
    params: parameters of the twin, for their names; they stay as they are.

  Raises:
    ValueError: they are of another network.
  """
  values = {
    name: jnp.asarray(variable.value)
    for name, _, variable in _pairs(params, network)
  }
  return jax.tree_util.tree_map_with_path(
    lambda path, _: values[_name(path)], params
  )


def _pairs(params, network):
  leaves, _ = jax.tree_util.tree_flatten_with_path(params)
  arrays = {_name(path): np.asarray(value) for path, value in leaves}
  return old_weights.pair_weights('the tree of parameters', arrays, network)


def _name(path):
  return '/'.join(str(part.key) for part in path)
