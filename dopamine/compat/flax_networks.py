"""Flax modules as the networks of agents.

A Jax agent takes a `flax.linen.Module` class as its `network`, written as for
Dopamine 3: for one state, without batch.
"""

from collections.abc import Mapping
import functools
import inspect

import flax
import jax
import jax.numpy as jnp
import keras
import numpy as np

from dopamine import networks
from dopamine.compat import flax_modules
from dopamine.settings import errors


def keras_network(make_module):
  """What makes a Keras network of a Flax class, or of a partial of one.

  It takes an agent's `num_actions`, `num_atoms`, `support`, `name`, ...
  """
  if make_module in flax_modules.TWINS:
    return flax_modules.TWINS[make_module]
  return functools.partial(FlaxNetwork, make_module)


def params_of(agent, network):
  """The parameters of a network of an agent of hooks.

  Args:
    agent: a Jax agent.
    network: `agent.online_convnet`, or the other.

  Returns:
    As Flax has them; of a network that Flax knows nothing of, a list of arrays.
  """
  network = networks.unwrapped(network)
  if isinstance(network, FlaxNetwork):
    return network.params
  if type(network) in flax_modules.TWINS:
    return flax_modules.from_keras(network, _template(agent, type(network)))
  return [weight.value for weight in network.weights]


def give_params(network, params):
  """Gives a network what `params_of` returned, of it or of another.

  Raises:
    ValueError: they are of another network.
  """
  network = networks.unwrapped(network)
  if isinstance(network, FlaxNetwork):
    network.give(params)
  elif isinstance(params, Mapping):
    flax_modules.to_keras(params, network)
  else:
    network.set_weights([np.asarray(array) for array in params])


def _template(agent, kind):
  """Parameters of the twin of one of our networks, for their names."""
  network, agent.network = (
    agent.network,
    functools.partial(FlaxNetwork, flax_modules.TWINS[kind]),
  )
  try:
    twin = networks.unwrapped(agent._create_network('Online'))
  finally:
    agent.network = network
  twin.build(agent.state.shape)
  return twin.params


class FlaxNetwork(keras.Model):
  """A Flax module whose parameters are Keras's, one for each array.

  It is called as Dopamine 3's agents did: `module(x)`; with atoms, `module(x,
  support)`; where it has a field `quantile_embedding_dim`, `module(x,
  num_quantiles, key)`, with a key of its own for each state; and with `noisy`,
  `module(x, support, eval_mode=..., key=...)`.

  Args:
    make_module: `make_module(num_actions=...)`, and what else of `num_atoms`,
      `quantile_embedding_dim`, `dueling`, ... it has a field for.
    num_actions: A.
    size: the number of atoms or quantiles, or the quantile levels' dimension.
    support: `[N]` atoms.
    name: of the model.
    **fields: further fields of the module.

  Attributes:
    module: the Flax module.
    num_noise: the length of the noise vector that `call` takes, or 0.
  """

  def __init__(
    self,
    make_module,
    num_actions,
    size=None,
    support=None,
    *,
    name=None,
    **fields,
  ):
    super().__init__(name=name, dtype='float32')
    is_partial = isinstance(make_module, functools.partial)
    module = make_module.func if is_partial else make_module
    known = module.__dataclass_fields__
    if size is not None:
      fields['num_atoms'] = fields['quantile_embedding_dim'] = size
    noisy = fields.get('noisy', False)
    self.num_noise = 2 if noisy else 0  # Their bits are a key.
    if noisy and not _takes_key(module):
      raise errors.SettingError(
        f'{module.__name__} has no noise to explore by. Write def __call__('
        'self, x, support, eval_mode=False, key=None), with layers of '
        'networks.feature_layer(key, noisy=True, eval_mode=eval_mode), or set '
        'JaxFullRainbowAgent.noisy = False'
      )
    fields = {key: value for key, value in fields.items() if key in known}
    self.module = make_module(num_actions=num_actions, **fields)
    self._draws = 'quantile_embedding_dim' in fields
    self._support = support
    self.seed_generator = keras.random.SeedGenerator()

  def build(self, state_shape):
    """Makes the parameters."""
    key = jnp.asarray(self.seed_generator.next(), jnp.uint32)
    state = jnp.zeros(state_shape[1:])
    variables = self.module.init(key, *self._arguments(state, 1, key))
    if set(variables) - {'params'}:
      raise errors.SettingError(
        f'{type(self.module).__name__} has {sorted(variables)}: of a Flax '
        "network's collections only 'params' can be kept"
      )
    leaves, self._tree = jax.tree_util.tree_flatten_with_path(dict(variables))
    self._leaves = []
    for path, value in leaves:
      name = '.'.join(str(part.key) for part in path)
      weight = self.add_weight(value.shape, name=name)
      weight.assign(np.asarray(value))
      self._leaves.append(weight)

  @property
  def params(self):
    """The parameters as Flax has them: nested dicts of arrays."""
    return jax.tree_util.tree_unflatten(
      self._tree, [leaf.value for leaf in self._leaves]
    )

  def give(self, params):
    """Takes parameters as Flax has them, of the same structure."""
    mine = jax.tree_util.tree_structure(self.params)
    found = jax.tree_util.tree_structure(flax.core.unfreeze(params))
    if found != mine:
      raise errors.SettingError(
        f'parameters of {type(self.module).__name__} are {mine}, not {found}'
      )
    leaves = jax.tree_util.tree_leaves(params)
    for weight, value in zip(self._leaves, leaves, strict=True):
      weight.assign(value)

  def call(self, state, num_quantiles=None, noise=None):
    """What the module returns for each state of `[B, ...]`.

    Of IQN: `quantile_values` `[N * B, A]`, row n * B + b, and `quantiles`.

    Args:
      state: `[B, ...]`.
      num_quantiles: N, of IQN.
      noise: `[2]` or `[B, 2]` normal numbers; None, and a row of zeros, are
        without noise.
    """
    state, params = jnp.asarray(state), self.params
    if self.num_noise:
      return self._noisy(params, state, noise)
    keys = None
    if self._draws:
      key = jnp.asarray(self.seed_generator.next(), jnp.uint32)
      keys = jax.random.split(key, state.shape[0])
    outputs = jax.vmap(
      lambda x, key: self.module.apply(
        params, *self._arguments(x, num_quantiles, key)
      )
    )(state, keys)
    if not self._draws:
      return outputs
    rows = num_quantiles * state.shape[0]
    return jax.tree_util.tree_map(
      lambda x: jnp.swapaxes(x, 0, 1).reshape(rows, -1), outputs
    )

  def _noisy(self, params, state, noise):
    def outputs(key=None):
      apply = functools.partial(
        self.module.apply, params, eval_mode=key is None
      )
      if key is None or key.ndim == 1:
        return jax.vmap(lambda x: apply(x, self._support, key=key))(state)
      return jax.vmap(lambda x, key: apply(x, self._support, key=key))(
        state, key
      )

    if noise is None:
      return outputs()
    noise = jnp.asarray(noise, jnp.float32)
    found = outputs(jax.lax.bitcast_convert_type(noise, jnp.uint32))
    if noise.ndim == 1:  # Of an update.
      return found
    is_still = jnp.all(noise == 0, axis=-1)  # Of evaluation.

    def chosen(still, noisy):
      return jax.vmap(jnp.where)(is_still, still, noisy)

    return jax.tree_util.tree_map(chosen, outputs(), found)

  def _arguments(self, x, num_quantiles, key):
    if self._draws:
      return x, num_quantiles, key
    return (x,) if self._support is None else (x, self._support)


def _takes_key(module):
  takes = inspect.signature(module.__call__).parameters
  return {'key', 'eval_mode'} <= set(takes)
