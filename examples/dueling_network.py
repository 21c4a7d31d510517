r"""The dueling network (Wang et al., 2016): a network of one's own.

    python -m dopamine.discrete_domains.train \
      --base_dir=runs/dueling \
      --gin_files=dopamine/agents/dqn/configs/dqn_cartpole.gin \
      --gin_bindings="import examples.dueling_network" \
      --gin_bindings="DQNAgent.network = @DuelingNetwork"

It differs from the paper's: one dense layer takes the place of the
convolutions, and no gradient is rescaled or clipped. From CartPole's own
network it differs by the dueling streams and by not rescaling its inputs.

A network is a `keras.Model`, made by `network(num_actions, name=...)`, that
maps states to a tuple with the fields that the agent reads: `q_values` for DQN.
With `keras.ops` and `keras.layers` alone it runs on both backends.
"""

import gin
import keras
from keras import layers
from keras import ops

from dopamine import networks


@gin.configurable
class DuelingNetwork(keras.Model):
  """Action values as the value of the state and what each action adds.

  Args:
    num_actions: A.
    name: that Keras shows.
    hidden_units: of the shared layer, and of each of the two streams.
  """

  def __init__(self, num_actions, name=None, hidden_units=256):
    super().__init__(name=name)
    self.flatten = layers.Flatten()
    self.features = layers.Dense(hidden_units, activation='relu')
    self.value_hidden = layers.Dense(hidden_units, activation='relu')
    self.value = layers.Dense(1)
    self.advantage_hidden = layers.Dense(hidden_units, activation='relu')
    self.advantage = layers.Dense(num_actions)

  def call(self, state):
    """Wang et al. (2016), eq. (9): `q_values` `[B, A]`.

    Args:
      state: `[B, *observation_shape, stack_size]`, in the observations' dtype.
    """
    x = self.features(self.flatten(ops.cast(state, 'float32')))
    v = self.value(self.value_hidden(x))  # [B, 1]
    a = self.advantage(self.advantage_hidden(x))  # [B, A]
    q = v + a - ops.mean(a, axis=-1, keepdims=True)
    return networks.DQNNetworkType(q)
