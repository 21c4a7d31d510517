"""IQN (Dabney et al., 2018a): the values of sampled quantiles of the return."""

import math

import gin
from keras import ops
import numpy as np

from dopamine import losses
from dopamine import networks
from dopamine import seams
from dopamine.agents.dqn import dqn_agent
from dopamine.agents.rainbow import rainbow_agent
from dopamine.settings import checks


@gin.configurable
class ImplicitQuantileAgent(rainbow_agent.RainbowAgent):
  """IQN with the settings of Dopamine's baselines.

  It has no atoms: `RainbowAgent` is its parent because gin files set gamma,
  the optimizer and the like there.

  Args:
    sess: ignored, as in all agents.
    num_actions: A, the number of actions.
    network: `network(num_actions, quantile_embedding_dim, name=name)` makes a
      `keras.Model` that is called as `(state, num_quantiles=N)` and returns a
      `networks.ImplicitQuantileNetworkType`. If it takes `quantiles` too, it
      gets the levels `[B, N]`; otherwise it draws its own.
    kappa: where the loss turns from quadratic to linear; 0 is never quadratic.
    num_tau_samples: N, online quantiles in the loss.
    num_tau_prime_samples: N', target quantiles in the loss.
    num_quantile_samples: K, quantiles that an action is chosen with.
    quantile_embedding_dim: n, cosines in the embedding of a quantile level.
    **kwargs: of `RainbowAgent`.
  """

  SETTINGS = {
    'kappa': checks.real(0, math.inf),
    'num_tau_samples': checks.integer(1),
    'num_tau_prime_samples': checks.integer(1),
    'num_quantile_samples': checks.integer(1),
    'quantile_embedding_dim': checks.integer(1),
  }

  _loss_name = 'QuantileLoss'
  _default_replay_scheme = 'uniform'

  def __init__(
    self,
    sess=None,
    num_actions=None,
    *,
    network=networks.ImplicitQuantileNetwork,
    kappa=1.0,
    num_tau_samples=32,
    num_tau_prime_samples=32,
    num_quantile_samples=32,
    quantile_embedding_dim=64,
    **kwargs,
  ):
    self.kappa = kappa
    self.num_tau_samples = num_tau_samples
    self.num_tau_prime_samples = num_tau_prime_samples
    self.num_quantile_samples = num_quantile_samples
    self.quantile_embedding_dim = quantile_embedding_dim
    super().__init__(sess, num_actions, network=network, **kwargs)

  def _create_network(self, name):
    return self.network(
      self.num_actions, self.quantile_embedding_dim, name=name
    )

  def _initialize(self, network):
    n = self.num_quantile_samples
    outputs = network(ops.convert_to_tensor(self.state), num_quantiles=n)
    self._check_outputs(
      network, outputs, quantile_values=(n, self.num_actions), quantiles=(n, 1)
    )

  def _loss(self, batch):
    """Quantile Huber loss of every target - Z_tau(s, a), per transition: `[B]`.

    Dabney et al. (2018a), eqs. (2) and (3): summed over the N online
    quantiles, averaged over the N' targets.
    """
    values, tau = self._quantiles(
      self.online_convnet, batch.state, batch.quantiles
    )  # [B, A, N], [B, N]
    z = losses.take_action(values, batch.action)  # [B, N]
    targets = ops.stop_gradient(
      self._build_target_quantile_values_op(batch)
    )  # [B, N']
    self._note_figures(MeanQ=z, MeanTarget=targets)
    errors = targets[:, :, None] - z[:, None, :]  # [B, N', N]
    return losses.quantile_huber(errors, tau, self.kappa)

  def _build_target_quantile_values_op(self, batch):
    """R + gamma^k (1 - terminal) Z_tau'(s', a*) of the target: `[B, N']`."""
    values, _ = self._quantiles(
      self.target_convnet, batch.next_state, batch.target_quantiles
    )  # [B, A, N']
    best = self._next_action(batch, ops.mean(values, axis=-1))  # [B]
    z = losses.take_action(values, best)  # [B, N']
    return batch.reward[:, None] + batch.discount[:, None] * z

  def _next_action(self, batch, next_q):
    """a* by the mean of K further quantiles of s', not by `next_q`: `[B]`.

    They are the target network's, with `double_dqn` the online network's.
    """
    picks = self.online_convnet if self.double_dqn else self.target_convnet
    choices, _ = self._quantiles(
      picks, batch.next_state, batch.action_quantiles
    )  # [B, A, K]
    return ops.argmax(ops.mean(choices, axis=-1), axis=-1)

  def _q_values(self, state, quantiles):
    """Q(s, .) as the mean of the quantiles at `[B, K]` levels: `[B, A]`."""
    values, _ = self._quantiles(self.online_convnet, state, quantiles)
    return ops.mean(values, axis=-1)

  def _return_distribution(self, state, quantiles):
    values, _ = self._quantiles(self.online_convnet, state, quantiles)
    return values, ops.ones_like(values) / quantiles.shape[-1]  # [B, A, K]

  def _quantiles(self, network, state, quantiles):
    """Quantile values `[B, A, N]` and their levels `[B, N]`."""
    n = quantiles.shape[-1]
    levels = {'quantiles': quantiles}
    if adapters := seams.compat('adapters'):  # One of before draws its own.
      if not adapters.takes(networks.unwrapped(network).call, 'quantiles'):
        levels = {}
    outputs = network(state, num_quantiles=n, **levels)
    values = ops.reshape(outputs.quantile_values, (n, -1, self.num_actions))
    tau = ops.reshape(outputs.quantiles, (n, -1))  # [N, B]
    return ops.transpose(values, (1, 2, 0)), ops.transpose(tau)

  def _sample_batches(self, num_batches):
    batches = super()._sample_batches(num_batches)
    size = batches.action.shape[:2]
    return dqn_agent.extend(
      batches,
      quantiles=self._draw(*size, self.num_tau_samples),
      target_quantiles=self._draw(*size, self.num_tau_prime_samples),
      action_quantiles=self._draw(*size, self.num_quantile_samples),
    )

  def _acting_draws(self, num_states):
    return (self._draw(num_states, self.num_quantile_samples),)

  def _steady_draws(self, num_states):
    levels = np.arange(self.num_quantile_samples, dtype=np.float32) + 0.5
    levels /= self.num_quantile_samples
    return (np.tile(levels, (num_states, 1)),)

  def _draw(self, *shape):
    """Quantile levels, uniform in [0, 1)."""
    return self._generator.random(shape, np.float32)
