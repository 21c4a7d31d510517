"""The other algorithms in the functional style, and how a class comes to it.

`join` puts a class of here between a subclass in that style and the class of
ours that it is of.
"""

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dopamine.compat import gone
from dopamine.compat.functional import base
from dopamine.compat.functional import full_rainbow
from dopamine.compat.functional import implicit_quantile
from dopamine.compat.functional import quantile
from dopamine.compat.functional import rainbow
from dopamine.jax.agents.dqn import dqn_agent
from dopamine.jax.agents.full_rainbow import full_rainbow_agent
from dopamine.jax.agents.implicit_quantile import implicit_quantile_agent
from dopamine.jax.agents.quantile import quantile_agent
from dopamine.jax.agents.rainbow import rainbow_agent


class FunctionalRainbowAgent(
  base.FunctionalDQNAgent, rainbow_agent.JaxRainbowAgent
):
  """C51 and Rainbow, with `_support`, the atoms."""

  _functional_not_mine = ('double_dqn',)

  _functional_fields = ('num_atoms',)

  def _training_step_update(self):
    self._sample_from_replay_buffer()
    self.optimizer_state, self.online_params, loss, mean_loss = base.train(
      'rainbow', rainbow
    )(
      *base.trained(self),
      *base.batch_of(self),
      base.weights(self),
      self._support,
      self.cumulative_gamma,
    )
    base.prioritize(self, loss)
    base.report(self, mean_loss)

  def _functional_params(self, key):
    state = self.preprocess_fn(self.state)
    return self.network_def.init(key, state, self._support)

  def _functional_value(self, network, params, state, is_evaluation):
    del is_evaluation
    return network.apply(params, state, self._support).q_values


class FunctionalQuantileAgent(
  base.FunctionalDQNAgent, quantile_agent.JaxQuantileAgent
):
  """QR-DQN."""

  _functional_not_mine = ('double_dqn',)

  _functional_fields = ('num_atoms',)

  def _training_step_update(self):
    self._sample_from_replay_buffer()
    self.optimizer_state, self.online_params, loss, mean_loss = base.train(
      'quantile', quantile
    )(
      *base.trained(self),
      *base.batch_of(self),
      self._kappa,
      self._num_atoms,
      self.cumulative_gamma,
      base.weights(self),
    )
    base.prioritize(self, loss)
    base.report(self, mean_loss)


class FunctionalImplicitQuantileAgent(
  base.FunctionalDQNAgent, implicit_quantile_agent.JaxImplicitQuantileAgent
):
  """IQN, whose network draws its quantile levels from a key."""

  _functional_not_mine = ('_replay_scheme',)

  _functional_fields = ('quantile_embedding_dim',)
  _quantile_embedding_dim = base.Default(
    lambda agent: agent.quantile_embedding_dim
  )

  def _training_step_update(self):
    self._sample_from_replay_buffer()
    found = base.train('implicit_quantile', implicit_quantile)(
      *base.trained(self),
      *base.batch_of(self),
      self.num_tau_samples,
      self.num_tau_prime_samples,
      self.num_quantile_samples,
      self.cumulative_gamma,
      self.double_dqn,
      self.kappa,
      self._rng,
    )
    self._rng, self.optimizer_state, self.online_params, loss = found
    base.report(self, loss)

  def _functional_params(self, key):
    key, levels = jax.random.split(key)
    state = self.preprocess_fn(self.state)
    return self.network_def.init(key, state, self.num_tau_samples, levels)

  def _functional_value(self, network, params, state, is_evaluation, key):
    del is_evaluation
    n = self.num_quantile_samples
    return jnp.mean(
      network.apply(params, state, n, key).quantile_values, axis=0
    )

  def _acting_draws(self, num_states):
    return (base.keys(self, num_states),)

  def _steady_draws(self, num_states):
    return (np.tile(np.array([0, 1], np.uint32), (num_states, 1)),)


class FunctionalFullRainbowAgent(
  base.FunctionalDQNAgent, full_rainbow_agent.JaxFullRainbowAgent
):
  """Rainbow with all its parts; noise comes from a key."""

  _functional_not_mine = ()

  _functional_fields = ('num_atoms', 'noisy', 'dueling', 'distributional')
  _functional_updates = base.Default(lambda a: a._num_updates_per_train_step)

  def _training_step_update(self):
    self._sample_from_replay_buffer()
    found = base.train('full_rainbow', full_rainbow)(
      *base.trained(self),
      *base.batch_of(self),
      base.weights(self),
      self._support,
      self.cumulative_gamma,
      self._double_dqn,
      self._distributional,
      self._rng,
    )
    self.optimizer_state, self.online_params, loss, mean_loss, self._rng = found
    base.prioritize(self, loss)
    base.report(self, mean_loss)

  def _functional_params(self, key):
    key, noise = jax.random.split(key)
    return self.network_def.init(
      key,
      self.preprocess_fn(self.state),
      self._support,
      eval_mode=self.eval_mode,
      key=noise,
    )

  def _functional_value(self, network, params, state, is_evaluation, key):
    return network.apply(
      params, state, self._support, eval_mode=is_evaluation, key=key
    ).q_values

  def _acting_draws(self, num_states):
    return (base.keys(self, num_states),)


_BASES = {
  rainbow_agent.JaxRainbowAgent: FunctionalRainbowAgent,
  quantile_agent.JaxQuantileAgent: FunctionalQuantileAgent,
  implicit_quantile_agent.JaxImplicitQuantileAgent: (
    FunctionalImplicitQuantileAgent
  ),
  full_rainbow_agent.JaxFullRainbowAgent: FunctionalFullRainbowAgent,
  dqn_agent.JaxDQNAgent: base.FunctionalDQNAgent,
}


# They may be called by the name of a class of ours, as `JaxDQNAgent.f(self)`.
for _ours, _base in _BASES.items():
  for _name in gone.FUNCTIONAL:
    if _name in vars(_base):
      setattr(_ours, _name, vars(_base)[_name])


def join(cls: Any) -> None:
  """Has a subclass inherit from a class of here in place of that of ours."""
  mine = next(_BASES[parent] for parent in cls.__mro__ if parent in _BASES)
  bases = [
    _joined(parent, mine) if issubclass(cls, mine) else parent
    for parent in cls.__bases__
  ]
  if issubclass(cls, mine):
    if bases != [*cls.__bases__]:
      cls.__bases__ = tuple(bases)
    return
  ours = [i for i, parent in enumerate(bases) if issubclass(mine, parent)]
  if ours:
    bases[ours[0]] = mine
  else:  # They are parents of its parents.
    bases.append(mine)
  cls.__bases__ = tuple(
    p for p in bases if p is mine or not issubclass(mine, p)
  )


def _joined(parent: Any, mine: Any) -> Any:
  """A parent that is of hooks as one that comes before `mine`."""
  is_of_hooks = issubclass(parent, dqn_agent.JaxDQNAgent)
  if not is_of_hooks or issubclass(parent, base.FunctionalDQNAgent):
    return parent
  return types.new_class(parent.__name__, (parent, mine))
