"""Rainbow with all its parts (Hessel et al., 2018), each of them a switch."""

import gin
import numpy as np

from dopamine import networks
from dopamine.agents.dqn import dqn_agent
from dopamine.agents.rainbow import rainbow_agent
from dopamine.settings import checks
from dopamine.settings import errors


@gin.configurable
class FullRainbowAgent(rainbow_agent.RainbowAgent):
  """C51, double DQN, dueling and noisy networks, prioritised n-step replay.

  Args:
    sess: ignored, as in all agents.
    num_actions: A, the number of actions.
    noisy: whether noise in the weights explores (Fortunato et al., 2018);
      epsilon is then `epsilon_train` from the start.
    dueling: whether value and advantages are separate (Wang et al., 2016).
    double_dqn: whether the online network picks the next action.
    distributional: whether the loss is C51's; otherwise DQN's.
    num_updates_per_train_step: updates where one is due; all of them draw
      their batches before the first changes a priority.
    network: `network(num_actions, num_atoms, support, noisy=, dueling=,
      distributional=, name=)` makes a `keras.Model` that returns a
      `networks.RainbowNetworkType`, or a `DQNNetworkType`. If it has a
      `num_noise` above 0 it is called with that many normal numbers, `noise`.
    epsilon_fn: without `noisy`, see `DQNAgent`.
    **kwargs: of `RainbowAgent`.
  """

  SETTINGS = {
    'noisy': checks.switch,
    'dueling': checks.switch,
    'distributional': checks.switch,
    'num_updates_per_train_step': checks.integer(1),
  }

  _default_optimizer = 'adam'

  def __init__(
    self,
    sess=None,
    num_actions=None,
    *,
    noisy=True,
    dueling=True,
    double_dqn=True,
    distributional=True,
    num_updates_per_train_step=1,
    network=networks.FullRainbowNetwork,
    epsilon_fn=dqn_agent.linearly_decaying_epsilon,
    **kwargs,
  ):
    self._noisy, self._dueling = noisy, dueling
    self._distributional = distributional
    self._num_updates_per_train_step = num_updates_per_train_step
    if not distributional:
      self._loss_name = dqn_agent.DQNAgent._loss_name
    super().__init__(
      sess,
      num_actions,
      network=network,
      double_dqn=double_dqn,
      epsilon_fn=dqn_agent.identity_epsilon if noisy else epsilon_fn,
      **kwargs,
    )

  def _create_network(self, name):
    return self.network(
      self.num_actions,
      self._num_atoms,
      self._support,
      noisy=self._noisy,
      dueling=self._dueling,
      distributional=self._distributional,
      name=name,
    )

  def _initialize(self, network):
    if self._distributional:
      super()._initialize(network)
    else:
      dqn_agent.DQNAgent._initialize(self, network)
    self._num_noise = getattr(networks.unwrapped(network), 'num_noise', 0)
    if self._noisy and not self._num_noise:
      raise errors.SettingError(
        f'FullRainbowAgent.noisy = True explores by noise alone, and the '
        f'network {type(network).__name__} takes none: give it an attribute '
        'num_noise and `noise` in its call, or set noisy = False'
      )

  def _loss(self, batch):
    """C51's loss, or DQN's, of networks with noise: `[B]`."""
    if self._distributional:
      return super()._loss(batch)
    return dqn_agent.DQNAgent._loss(self, batch)

  # Each pass has a noise of its own, the same for all transitions of a batch:
  # Fortunato et al. (2018), s. 3.1.

  def _online(self, batch):
    return self._pass(self.online_convnet, batch.state, self._noise(batch, 0))

  def _online_next(self, batch):
    return self._pass(
      self.online_convnet, batch.next_state, self._noise(batch, 1)
    )

  def _target(self, batch):
    return self._pass(
      self.target_convnet, batch.next_state, self._noise(batch, 2)
    )

  def _noise(self, batch, i):
    return batch.noise[i] if self._num_noise else None

  def _pass(self, network, state, noise=None):
    return network(state, **({} if noise is None else {'noise': noise}))

  def _q_values(self, state, noise=None):
    """Q(s, .) of the online network under `noise`, for acting: `[B, A]`."""
    return self._pass(self.online_convnet, state, noise).q_values

  def _return_distribution(self, state, noise=None):
    if not self._distributional:
      return None
    return self._with_atoms(self._pass(self.online_convnet, state, noise))

  def _sample_batches(self, num_batches):
    batches = super()._sample_batches(num_batches)
    if not self._num_noise:
      return batches
    shape = (num_batches, 3, self._num_noise)
    noise = self._generator.standard_normal(shape, np.float32)
    return dqn_agent.extend(batches, noise=noise)

  def _acting_draws(self, num_states):
    if not self._num_noise:
      return ()
    if self.eval_mode:
      return (np.zeros((num_states, self._num_noise), np.float32),)
    shape = (num_states, self._num_noise)
    return (self._generator.standard_normal(shape, np.float32),)

  def _update(self, num_updates, num_steps):
    super()._update(num_updates * self._num_updates_per_train_step, num_steps)
