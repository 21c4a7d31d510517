"""What stands for a learner where an agent trains by functions of its own."""

from collections.abc import Mapping
import contextlib
import re
from typing import Any

from absl import logging
import jax
import numpy as np

from dopamine.compat.functional import trees
from dopamine.settings import errors

# The trees that each agent has.
OF_ALL = 'online_params', 'target_network_params', 'optimizer_state'


class Learner:
  """Acts with an agent's parameters, and saves its trees.

  Attributes:
    learning_rate: of the next update; None is not known.
  """

  def __init__(self, agent: Any):
    self._agent = agent
    self._predict = jax.jit(agent._functional_values, static_argnums=(0, 1))

  @property
  def optimizer(self) -> Any:
    """What moves the parameters, as far as the agent has one."""
    return getattr(self._agent, 'optimizer', None)

  @property
  def learning_rate(self) -> float | None:
    state = getattr(self._agent, 'optimizer_state', None)
    found = getattr(state, 'hyperparams', {}).get('learning_rate')
    if found is None:
      with contextlib.suppress(TypeError):  # Of a schedule of Optax's.
        found = getattr(self.optimizer, 'learning_rate', None)
    return None if found is None else float(found)

  def predict(self, states, *draws):
    """Q(s, .) in NumPy: `[B, A]`, for one state or `[B, ...]` of them."""
    agent = self._agent
    if agent.online_params is None:
      raise errors.InterfaceError(
        f'{type(agent).__name__} has no online_params to act by: override '
        'begin_episode and step; it does not say what it thinks'
      )
    shape = (-1, *agent.observation_shape, agent.stack_size)
    states = np.reshape(states, shape)
    network, is_evaluation = agent.network_def, bool(agent.eval_mode)
    return np.asarray(
      self._predict(network, is_evaluation, agent.online_params, states, *draws)
    )

  def sync_target(self) -> None:
    """Runs the agent's `_sync_weights`."""
    self._agent._sync_weights()

  def graph_def(self) -> None:
    """There is no TensorFlow graph."""

  def state(self) -> dict[str, np.ndarray]:
    """The arrays of the agent's trees, as 'online_params/0'."""
    return {
      f'{name}/{i}': array
      for name, tree in self._agent.saved_trees().items()
      for i, array in enumerate(trees.arrays(tree))
    }

  def set_state(self, state: Mapping[str, np.ndarray]) -> None:
    """Gives the agent what `state()` returned.

    Raises:
      ValueError: its trees are others, or of other shapes; then it has none.
    """
    own = self._agent.saved_trees()
    saved: dict[str, dict[int, np.ndarray]] = {name: {} for name in own}
    for key, array in state.items():
      name, _, number = key.rpartition('/')
      if name in own and re.fullmatch(r'\d{1,9}', number):
        saved[name][int(number)] = array
    if others := {key.rpartition('/')[0] for key in state} - own.keys():
      logging.warning(
        'The checkpoint has %s, of which there is no tree in this %s: they are '
        'left out',
        ', '.join(sorted(others)),
        type(self._agent).__name__,
      )
    found = {
      name: trees.like(own[name], [of[i] for i in sorted(of)], name)
      for name, of in saved.items()
      if of or name in OF_ALL  # Others that changed are among attributes.
    }
    for name, tree in found.items():
      setattr(self._agent, name, tree)

  def set_weights(self, state: Mapping[str, np.ndarray]) -> None:
    """As `set_state`, but its optimizer goes on as it is, and its key."""
    kept = {
      key: array
      for key, array in self.state().items()
      if key.startswith(('optimizer_state/', '_rng/'))
    }
    self.set_state({**state, **kept})
