"""DQN with the defaults of Dopamine's JAX agents."""

import functools
import sys

import gin
import numpy as np

from dopamine import losses
from dopamine import networks as all_networks
from dopamine import optimizers
from dopamine import seams
from dopamine import seeding
from dopamine.agents.dqn import dqn_agent
from dopamine.jax import networks
from dopamine.settings import checks
from dopamine.settings import errors

NATURE_DQN_OBSERVATION_SHAPE = dqn_agent.NATURE_DQN_OBSERVATION_SHAPE
NATURE_DQN_DTYPE = dqn_agent.NATURE_DQN_DTYPE
NATURE_DQN_STACK_SIZE = dqn_agent.NATURE_DQN_STACK_SIZE
create_optimizer = optimizers.create_optimizer
identity_epsilon = dqn_agent.identity_epsilon
linearly_decaying_epsilon = dqn_agent.linearly_decaying_epsilon


@gin.configurable
class JaxDQNAgent(dqn_agent.DQNAgent):
  """`DQNAgent` with Adam as Optax has it, a choice of loss, and no session.

  The other Jax agents inherit from this class and from their own algorithm:
  `class JaxRainbowAgent(JaxDQNAgent, RainbowAgent)`.

  Args:
    num_actions: A, the number of actions.
    loss_type: 'huber', or 'mse' for the squared TD error without the 1/2; only
      DQN and full Rainbow without a distribution have such a loss. None is
      'huber', as in Dopamine 3.2.1.
    preprocess_fn: applied to the states before the network, which is then
      made with `inputs_preprocessed=True`.
    tf_device: see `DQNAgent`; None is JAX's own choice.
    **kwargs: of `DQNAgent`.
  """

  SETTINGS = {'preprocess_fn': checks.function}

  _summary_prefix = ''
  _default_optimizer = 'adam'
  _default_loss_type = 'huber'

  def __init_subclass__(cls, **kwargs):
    super().__init_subclass__(**kwargs)
    if not seams.is_ours(cls.__module__):
      if functional := seams.compat('functional'):
        functional.admit(cls)

  def __init__(
    self,
    num_actions=None,
    *,
    loss_type=None,
    preprocess_fn=None,
    tf_device=None,
    **kwargs,
  ):
    if loss_type is None:
      loss_type = self._default_loss_type
    if loss_type not in ('huber', 'mse'):
      raise errors.SettingError(
        f"loss_type={loss_type!r} must be 'huber' or 'mse'"
      )
    if 'collector_allowlist' in kwargs:
      raise errors.SettingError(
        f'{type(self).__name__}.collector_allowlist is of Dopamine 4, whose '
        'collectors there are none of: leave it out, see docs/migrating.md'
      )
    self._loss_type = loss_type
    self._key = None
    self._preprocesses = preprocess_fn is not None
    self.preprocess_fn = preprocess_fn or networks.identity_preprocess_fn
    super().__init__(
      None,
      num_actions,
      tf_device=tf_device,
      **kwargs,
    )

  def _td_loss(self, errors):
    if self._loss_type == 'huber':
      return super()._td_loss(errors)
    return losses.squared(errors)

  def _create_network(self, name):
    original = self.network
    flax_networks = _is_flax(original) and seams.compat('flax_networks')
    if flax_networks:
      self.network = flax_networks.keras_network(original)
    if self._preprocesses:
      self.network = functools.partial(self.network, inputs_preprocessed=True)
    try:
      network = super()._create_network(name)
    finally:
      self.network = original
    if self._preprocesses:
      network = all_networks.Preprocessed(network, self.preprocess_fn)
    return network

  @property
  def _rng(self):
    """The NumPy generator; where a subclass splits it, a key of JAX.

    Subclasses of Dopamine 3 say `self._rng, key = jax.random.split(self._rng)`.
    """
    if not self._signatures.splits_rng:
      return self._generator
    if self._key is None:  # jax.random.PRNGKey of a 32-bit number.
      number = seeding.integer(self.seed, 'key') % 2**32
      self._key = np.array([0, number], np.uint32)
    return self._key

  @_rng.setter
  def _rng(self, value):
    if self._signatures.splits_rng:
      self._key = np.asarray(value)  # Saved as any attribute that changes.
    else:
      self._generator = value

  def identity(self):
    found = super().identity()
    if self._preprocesses:
      found['network'] = '_Preprocessed'  # As checkpoints have it.
    return found

  @property
  def online_params(self):
    """The online network's parameters, which may be set.

    As Flax has them, of a network that is a Flax module or has a twin in
    `dopamine.jax.networks`; of others a list of arrays.
    """
    return seams.compat('flax_networks').params_of(self, self.online_convnet)

  @online_params.setter
  def online_params(self, params):
    seams.compat('flax_networks').give_params(self.online_convnet, params)

  @property
  def target_network_params(self):
    """The target network's parameters, as `online_params`."""
    return seams.compat('flax_networks').params_of(self, self.target_convnet)

  @target_network_params.setter
  def target_network_params(self, params):
    seams.compat('flax_networks').give_params(self.target_convnet, params)


def _is_flax(network):
  """Whether `network` makes Flax modules: a class, or a partial of one."""
  linen = sys.modules.get('flax.linen')  # Else nobody has one.
  cls = network.func if isinstance(network, functools.partial) else network
  return bool(linen) and isinstance(cls, type) and issubclass(cls, linen.Module)


def __getattr__(name):
  """Serves the functions of Flax parameters that once were the algorithm."""
  return seams.old_name(__name__, name)
