"""DQN in the functional style: its own update of parameters that it holds."""

import gin

from dopamine.jax.agents.dqn import dqn_agent


@gin.configurable
class FunctionalDQNAgent(dqn_agent.JaxDQNAgent):
  """`JaxDQNAgent` as research code of 2021 to 2024 has it."""

  def _training_step_update(self):
    self._sample_from_replay_buffer()
    self.optimizer_state, self.online_params, _ = dqn_agent.train(
      self.network_def,
      self.online_params,
      self.target_network_params,
      self.optimizer,
      self.optimizer_state,
      self.preprocess_fn(self.replay_elements['state']),
      self.replay_elements['action'],
      self.preprocess_fn(self.replay_elements['next_state']),
      self.replay_elements['reward'],
      self.replay_elements['terminal'],
      self.cumulative_gamma,
      self._loss_type,
    )
