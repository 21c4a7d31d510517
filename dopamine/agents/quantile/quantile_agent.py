"""QR-DQN (Dabney et al., 2018b): the values of N quantiles of the return."""

import math

import gin
from keras import ops
import numpy as np

from dopamine import losses
from dopamine import networks
from dopamine.agents.dqn import dqn_agent
from dopamine.replay_memory import prioritized_replay_buffer
from dopamine.settings import checks


@gin.configurable
class QuantileAgent(dqn_agent.DQNAgent):
  """QR-DQN with the class defaults of Dopamine's JAX agent.

  The gin files override most of them, as the published results do.

  Args:
    sess: ignored, as in all agents.
    num_actions: A, the number of actions.
    network: `network(num_actions, num_atoms, name=name)` makes a `keras.Model`
      that returns a `networks.RainbowNetworkType` of quantile values.
    kappa: where the loss turns from quadratic to linear; 0 is never quadratic.
    num_atoms: N, the number of quantiles.
    min_replay_history: see `DQNAgent`, as all that follow.
    target_update_period: in agent steps.
    epsilon_train: after the decay.
    epsilon_eval: during evaluation.
    epsilon_decay_period: in agent steps.
    **kwargs: of `DQNAgent`.
  """

  SETTINGS = {
    'kappa': checks.real(0, math.inf),
    'num_atoms': checks.integer(1),
  }

  _loss_name = 'QuantileLoss'
  _default_replay_scheme = 'prioritized'
  _default_optimizer = 'adam'
  _uniform_replay = prioritized_replay_buffer.WrappedPrioritizedReplayBuffer

  def __init__(
    self,
    sess=None,
    num_actions=None,
    *,
    network=networks.QuantileNetwork,
    kappa=1.0,
    num_atoms=200,
    min_replay_history=50000,
    target_update_period=10000,
    epsilon_train=0.1,
    epsilon_eval=0.05,
    epsilon_decay_period=1000000,
    **kwargs,
  ):
    self._kappa, self._num_atoms = kappa, num_atoms
    checks.check(self)
    # The middles of N equal parts of [0, 1]: Lemma 2 of the paper.
    self._tau = (np.arange(num_atoms, dtype=np.float32) + 0.5) / num_atoms
    super().__init__(
      sess,
      num_actions,
      network=network,
      min_replay_history=min_replay_history,
      target_update_period=target_update_period,
      epsilon_train=epsilon_train,
      epsilon_eval=epsilon_eval,
      epsilon_decay_period=epsilon_decay_period,
      **kwargs,
    )

  def _create_network(self, name):
    return self.network(self.num_actions, self._num_atoms, name=name)

  def _initialize(self, network):
    outputs = network(ops.convert_to_tensor(self.state))
    shape = (1, self.num_actions, self._num_atoms)
    self._check_outputs(network, outputs, q_values=shape[:2], logits=shape)

  def _loss(self, batch):
    """Quantile Huber loss of every target - theta, per transition: `[B]`.

    Dabney et al. (2018b), eq. (10) and Algorithm 1: summed over the quantiles
    theta, averaged over the targets.
    """
    theta = losses.take_action(
      self._online(batch).logits, batch.action
    )  # [B, N]
    targets = ops.stop_gradient(
      self._build_target_quantile_values_op(batch)
    )  # [B, N]
    self._note_figures(MeanQ=theta, MeanTarget=targets)
    errors = targets[:, :, None] - theta[:, None, :]  # [B, N, N]
    tau = ops.ones_like(theta) * self._tau  # [B, N]
    # The paper does not divide the loss by kappa; with kappa = 0 nobody can.
    return (self._kappa or 1.0) * losses.quantile_huber(
      errors, tau, self._kappa
    )

  def _build_target_quantile_values_op(self, batch):
    """R + gamma^k (1 - terminal) theta_target(s', a*): `[B, N]`."""
    target = self._target(batch)
    best = self._next_action(batch, target.q_values)  # [B]
    theta = losses.take_action(target.logits, best)  # [B, N]
    return batch.reward[:, None] + batch.discount[:, None] * theta

  def _return_distribution(self, state):
    theta = self.online_convnet(state).logits  # [B, A, N]
    return theta, ops.ones_like(theta) / self._num_atoms
