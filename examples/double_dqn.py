r"""Double DQN (van Hasselt et al., 2016): an agent by one method.

    python -m dopamine.discrete_domains.train \
      --base_dir=runs/double_dqn \
      --gin_files=dopamine/agents/dqn/configs/dqn_cartpole.gin \
      --gin_bindings="import examples.double_dqn" \
      --gin_bindings="create_agent.agent_name = @DoubleDQNAgent"

All settings of DQN hold for it, here those of `dqn_cartpole.gin`; so does
`KERAS_BACKEND=jax`. (`DQNAgent.double_dqn = True` does the same without this
file.)
"""

import gin
from keras import ops

from dopamine import losses
from dopamine.agents.dqn import dqn_agent


@gin.configurable
class DoubleDQNAgent(dqn_agent.DQNAgent):
  """DQN whose online network picks the action that the target network values.

  Only the target differs: van Hasselt et al. (2016), section "Double DQN".
  """

  def _build_target_q_op(self, batch):
    greedy = ops.argmax(self.online_convnet(batch.next_state).q_values, axis=-1)
    next_q = self.target_convnet(batch.next_state).q_values  # [B, A]
    return batch.reward + batch.discount * losses.take_action(next_q, greedy)
