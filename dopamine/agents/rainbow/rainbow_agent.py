"""C51 (Bellemare et al., 2017), and the three parts of Rainbow around it.

With `replay_scheme='uniform'` and `update_horizon=1` this is C51. With
'prioritized' and 3 it is what Dopamine calls Rainbow: C51, prioritised replay
and n-step returns, of the six parts of Hessel et al. (2018).
"""

import gin
from keras import ops
import numpy as np

from dopamine import losses
from dopamine import networks
from dopamine import optimizers
from dopamine.agents.dqn import dqn_agent
from dopamine.replay_memory import prioritized_replay_buffer
from dopamine.settings import checks


def project_distribution(
  supports, weights, target_support, validate_args=False
):
  """See `losses.project_distribution`, whose formula this is.

  Args:
    supports: `[..., N]` where the mass is.
    weights: `[..., N]` how much of it.
    target_support: `[N]` in ascending and equal steps.
    validate_args: whether to look at the values of the arguments too, which
      only works outside of compiled code.

  Raises:
    ValueError: the shapes are incompatible, or a value is wrong.
  """
  if tuple(supports.shape) != tuple(weights.shape) or (
    supports.shape[-1:] != target_support.shape
  ):
    raise ValueError(
      f'supports {tuple(supports.shape)}, weights {tuple(weights.shape)} and '
      f'target_support {tuple(target_support.shape)} are incompatible: '
      'expected [..., N], [..., N] and [N]'
    )
  if validate_args:
    steps = np.diff(ops.convert_to_numpy(target_support))
    # In float32 the steps of linspace(-1, 5, 601) differ by 5e-5 of one.
    equal = len(steps) and np.allclose(steps, steps[0], rtol=1e-3, atol=0)
    if not equal or steps.min() <= 0:
      raise ValueError('target_support must ascend in equal steps')
  return losses.project_distribution(supports, weights, target_support)


@gin.configurable
class RainbowAgent(dqn_agent.DQNAgent):
  """C51 and Rainbow with the settings of Dopamine's baselines.

  Args:
    sess: ignored; existing subclasses and factories pass it.
    num_actions: A, the number of actions.
    network: `network(num_actions, num_atoms, support, name=name)` makes a
      `keras.Model` that returns a `networks.RainbowNetworkType`.
    num_atoms: N, the atoms of a distribution.
    vmin: the smallest atom; None is `-vmax`.
    vmax: the largest.
    **kwargs: of `DQNAgent`.
  """

  SETTINGS = {
    'num_atoms': checks.integer(2),
    'vmin': checks.optional(checks.real(-1e12, 1e12)),
    'vmax': checks.real(-1e12, 1e12),
  }

  _loss_name = 'CrossEntropyLoss'
  _default_replay_scheme = 'prioritized'
  _default_optimizer = staticmethod(optimizers.tf1_adam)
  _uniform_replay = prioritized_replay_buffer.WrappedPrioritizedReplayBuffer

  def __init__(
    self,
    sess=None,
    num_actions=None,
    *,
    network=networks.RainbowNetwork,
    num_atoms=51,
    vmin=None,
    vmax=10.0,
    **kwargs,
  ):
    self._num_atoms, self._vmin, self._vmax = num_atoms, vmin, vmax
    checks.check(self)
    if vmin is None:
      self._vmin = -vmax
    if not self._vmin < vmax:
      checks.fail(self, 'vmin', self._vmin, f'below vmax = {vmax}')
    self._support = np.linspace(
      self._vmin, vmax, self._num_atoms, dtype=np.float32
    )
    super().__init__(sess, num_actions, network=network, **kwargs)

  def _create_network(self, name):
    return self.network(
      self.num_actions, self._num_atoms, self._support, name=name
    )

  def _initialize(self, network):
    outputs = network(ops.convert_to_tensor(self.state))
    shape = (1, self.num_actions, self._num_atoms)
    self._check_outputs(
      network,
      outputs,
      q_values=shape[:2],
      logits=shape,
      probabilities=shape,
    )

  def _loss(self, batch):
    """Cross-entropy of the target and p(s, a), per transition: `[B]`.

    Bellemare et al. (2017), Algorithm 1: - sum_i m_i log p_i(s, a).
    """
    logits = losses.take_action(
      self._online(batch).logits, batch.action
    )  # [B, N]
    m = ops.stop_gradient(self._build_target_distribution(batch))  # [B, N]
    q = ops.sum(ops.softmax(logits) * self._support, axis=-1)  # [B]
    self._note_figures(MeanQ=q, MeanTarget=ops.sum(m * self._support, axis=-1))
    return losses.softmax_cross_entropy(m, logits)

  def _build_target_distribution(self, batch):
    """m = Phi(R + gamma^k (1 - terminal) z, p_target(s', a*)): `[B, N]`.

    Bellemare et al. (2017), eq. (7) and Algorithm 1; k as in DQN's target.
    """
    target = self._target(batch)
    best = self._next_action(batch, target.q_values)  # [B]
    p = losses.take_action(target.probabilities, best)  # [B, N]
    tz = batch.reward[:, None] + batch.discount[:, None] * self._support
    return losses.project_distribution(tz, p, self._support)

  def _return_distribution(self, state):
    return self._with_atoms(self.online_convnet(state))

  def _with_atoms(self, outputs):
    p = outputs.probabilities  # [B, A, N]
    return ops.ones_like(p) * self._support, p
