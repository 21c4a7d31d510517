"""Refuses subclasses of Dopamine 3's agents that cannot work any more.

What nothing would call, or what reads attributes that there are no more, must
fail when the agent is made, and say what to write instead: not in the middle
of a run, and never by being left out silently.
"""

import functools
import inspect
from typing import Any

from absl import logging

from dopamine import interfaces
from dopamine.compat import adapters
from dopamine.compat import own_code
from dopamine.settings import errors

# Hooks that nothing calls -> what took their place. As every name here, they
# are in a row of docs/migrating.md.
HOOKS = {
  '_build_train_op': '_loss(batch)',
  '_build_sync_op': '_sync_weights()',
  '_build_networks_and_optimizer': '_build_networks()',
  '_sample_from_replay_buffer': '_sample_batches(num_batches)',
  '_training_step_update': '_update(num_updates, num_steps)',
}

# Attributes that there are no more -> what to use.
ATTRIBUTES = {
  '_sess.run': '_q_values(state) to act, _loss(batch) to learn',
  'state_ph': 'self.state',
  '_q_argmax': '_q_values(state), or super()._select_action()',
  '_net_outputs': 'self.online_convnet(state)',
  '_replay_net_outputs': 'self.online_convnet(batch.state)',
  '_replay_next_target_net_outputs': 'self.target_convnet(batch.next_state)',
  '_train_op': '_loss(batch)',
  '_sync_qt_ops': '_sync_weights()',
  '_merged_summaries': '_loss(batch), which may return figures to log',
  '_saver': 'bundle_and_checkpoint and unbundle',
  'network_def': 'self.online_convnet',
  'target_network_params': 'self.target_convnet',
  'optimizer_state': '_loss(batch), whose gradient the learner takes',
}


@functools.cache  # Once.
def _warn_of_sessions() -> None:
  logging.warning(
    'An agent was given a TensorFlow session, in which it runs nothing: take '
    'the session out of your program, and global_variables_initializer() with '
    'it, which finds no variables; see the row of sess in docs/migrating.md'
  )


def admit(agent, sess) -> interfaces.Signatures:
  """Returns what the hooks of an agent take.

  Args:
    agent: that is being made.
    sess: what it was given; a session may be, as long as nobody uses it.

  Raises:
    InterfaceError: its class is one that cannot work.
  """
  if type(sess).__module__.startswith('tensorflow.'):
    _warn_of_sessions()
  cls: Any = type(agent)
  splits_rng = _admit(cls)
  return interfaces.Signatures(
    adapters.takes(agent._store_transition, 'episode_end'),
    bool(inspect.signature(agent._build_replay_buffer).parameters),
    splits_rng,
  )


@functools.cache  # Disassembling takes milliseconds.
def _admit(cls: Any) -> bool:
  """Refuses a class that cannot work; returns whether it splits `_rng`."""
  if not is_functional(cls):
    _refuse(cls)
  return draws_by_key(cls)


@functools.cache  # Once.
def warn_of_cuts(cls: type) -> None:
  """Says what becomes of an episode whose end a class cannot store."""
  logging.warning(
    '%s._store_transition takes no episode_end: an episode that a time limit '
    'cut is stored as terminal.',
    cls.__name__,
  )


def _refuse(cls: Any) -> None:
  """Raises InterfaceError for a subclass that cannot work."""
  name = cls.__name__
  for hook, replacement in HOOKS.items():
    if inspect.getattr_static(cls, hook, None) is not None:
      raise errors.InterfaceError(
        f'{name}.{hook} is a hook that nothing calls any more: override '
        f'{replacement} instead, see the row of {hook} in docs/migrating.md'
      )
  for hook in dir(cls):
    if hook.startswith('_build_target_') and not _takes_a_batch(cls, hook):
      raise errors.InterfaceError(
        f'{name}.{hook}() must take a batch: {hook}(self, batch), see the row '
        f'of {hook} in docs/migrating.md'
      )
  uses = own_code.uses(cls)
  given = uses.stored | uses.texts | own_code.defined(cls)
  for method, uses in own_code.methods(cls).items():
    if '_rng' in uses.split and not hasattr(cls, 'online_params'):
      raise errors.InterfaceError(
        f'{method} splits self._rng, which is a NumPy generator and a key of '
        'JAX in Jax agents alone: see the row of _rng in docs/migrating.md'
      )
    for attribute, replacement in ATTRIBUTES.items():
      if attribute in uses.read - given:
        raise errors.InterfaceError(
          f'{method} uses self.{attribute}, which is no more: use '
          f'{replacement} instead, see the row of {attribute} in '
          'docs/migrating.md'
        )


# Who overrides one of these, or uses one of those, is written for the
# functional interface of the JAX agents (Dopamine 3.3 to 4.0).
_FUNCTIONAL_HOOKS = {
  *('_build_networks_and_optimizer', '_sample_from_replay_buffer'),
  '_training_step_update',
}
_FUNCTIONAL_ATTRIBUTES = {
  *('network_def', 'target_network_params', 'optimizer_state'),
  'replay_elements',
}

# What only an agent of hooks has; the functional update calls none of it.
_HOOKS_OF_TODAY = {
  *('_loss', '_loss_weights', '_priorities', '_td_loss', '_next_action'),
  *('_q_values', '_trainable', '_create_network', '_build_networks'),
  *('_sample_batches', '_acting_draws', '_update', '_online', '_target'),
  '_online_next',
}


@functools.cache
def is_functional(cls: type) -> bool:
  """Whether a class is a JAX agent of the functional interface.

  It is by what its methods, and those of its parents outside of this package,
  override, read and set. Parameters are settable in agents of hooks too: one
  that overrides `_loss` may do so.
  """
  if not any(
    (parent.__module__, parent.__name__)
    == ('dopamine.jax.agents.dqn.dqn_agent', 'JaxDQNAgent')
    for parent in cls.__mro__
  ):
    return False
  defined = own_code.defined(cls)
  if defined & _FUNCTIONAL_HOOKS:
    return True
  uses = own_code.uses(cls)
  used = _FUNCTIONAL_ATTRIBUTES & (uses.read | uses.stored | uses.inherited)
  used |= {'online_params'} & uses.stored
  if defined & _HOOKS_OF_TODAY or _targets(cls):
    used -= uses.stored
  return bool(used - defined - uses.asked)


def _targets(cls: type) -> list[str]:
  """Hooks for targets that a class overrides, with a batch as of today."""
  return [
    name
    for name in own_code.defined(cls)
    if name.startswith('_build_target_') and _takes_a_batch(cls, name)
  ]


def _takes_a_batch(cls: type, name: str) -> bool:
  method = inspect.getattr_static(cls, name)
  if not inspect.isfunction(method):
    return True
  return len(inspect.signature(method).parameters) >= 2


@functools.cache
def draws_by_key(cls: type) -> bool:
  """Whether a subclass takes `self._rng` for a key of JAX.

  Its methods split it, or hand it to a function that returns the next one.
  """
  return any(
    '_rng' in uses.split or ('_rng' in uses.stored and _hands_on_rng(uses.read))
    for uses in own_code.methods(cls).values()
  )


def _hands_on_rng(read: frozenset[str]) -> bool:
  """Whether `self._rng` is read, and not only a method of it."""
  return '_rng' in read and not any(name.startswith('_rng.') for name in read)
