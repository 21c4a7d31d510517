"""Refuses subclasses of Dopamine 3's agents that cannot work any more.

What nothing would call, or what reads attributes that there are no more, must
fail when the agent is made, and say what to write instead: not in the middle
of a run, and never by being left out silently.
"""

import dis
import functools
import inspect
import types
from typing import Any

from absl import logging

from dopamine import interfaces
from dopamine.compat import adapters
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
    if not hook.startswith('_build_target_'):
      continue
    method = inspect.getattr_static(cls, hook)
    if (
      inspect.isfunction(method)
      and len(inspect.signature(method).parameters) < 2
    ):
      raise errors.InterfaceError(
        f'{name}.{hook}() must take a batch: {hook}(self, batch), see the row '
        f'of {hook} in docs/migrating.md'
      )
  methods = _methods(cls)
  given = set().union(*map(_stored, methods.values()))
  given |= {name for own in _own_classes(cls) for name in vars(own)}
  given |= set().union(*map(_constants, methods.values()))  # By setattr.
  for method, code in methods.items():
    read = _read(code) - given
    if 'split(self._rng' in read and not hasattr(cls, 'online_params'):
      raise errors.InterfaceError(
        f'{method} splits self._rng, which is a NumPy generator and a key of '
        'JAX in Jax agents alone: see the row of _rng in docs/migrating.md'
      )
    for attribute, replacement in ATTRIBUTES.items():
      if attribute in read:
        raise errors.InterfaceError(
          f'{method} uses self.{attribute}, which is no more: use '
          f'{replacement} instead, see the row of {attribute} in '
          'docs/migrating.md'
        )


def draws_by_key(cls: type) -> bool:
  """Whether a subclass takes `self._rng` for a key of JAX.

  Its methods split it, or hand it to a function that returns the next one.
  """
  return any(
    'split(self._rng' in _read(code)
    or (_hands_on_rng(code) and '_rng' in _stored(code))
    for code in _methods(cls).values()
  )


def _hands_on_rng(code: types.CodeType) -> bool:
  """Whether a function reads `self._rng`, and not only a method of it."""
  read = _read(code)
  return '_rng' in read and not any(name.startswith('_rng.') for name in read)


def _own_classes(cls: type) -> list[type]:
  """A class and its parents, as far as they are not of this package."""
  return [
    parent
    for parent in cls.__mro__
    if parent is not object and not parent.__module__.startswith('dopamine.')
  ]


def _methods(cls: Any) -> dict[str, types.CodeType]:
  """What a subclass wrote and what it inherits, as 'MyAgent._loss'."""
  found: dict[tuple[str, str], types.CodeType] = {}
  for parent in reversed(_own_classes(cls)):
    for method, value in vars(parent).items():
      for code in _codes(value):
        calls_super = any(i.argval == 'super' for i in _instructions(code))
        if not calls_super:  # It takes the place of what is inherited.
          found = {k: v for k, v in found.items() if k[1] != method}
        found[parent.__name__, method] = code
  return {'.'.join(names): code for names, code in found.items()}


def _codes(value):
  """The code of a method, below what gin and other decorators made of it."""
  functions = [value]
  if isinstance(value, property):
    functions = [value.fget, value.fset]
  elif isinstance(value, (staticmethod, classmethod)):
    functions = [value.__func__]
  elif isinstance(value, functools.cached_property):
    functions = [value.func]
  for function in functions:
    function = inspect.unwrap(function) if callable(function) else None
    if inspect.isfunction(function):
      yield function.__code__


def _constants(code: types.CodeType) -> set[str]:
  """Texts of a function: what it asks for with `hasattr`, it may read."""
  return {
    i.argval
    for i in _instructions(code)
    if i.opname == 'LOAD_CONST' and isinstance(i.argval, str)
  }


def _instructions(code: types.CodeType):
  """The instructions of a function, and of those inside of it."""
  yield from dis.get_instructions(code)
  for constant in code.co_consts:
    if isinstance(constant, types.CodeType):
      yield from _instructions(constant)


def _stored(code: types.CodeType) -> set[str]:
  """The attributes that a function sets, of whatever object."""
  return {i.argval for i in _instructions(code) if i.opname == 'STORE_ATTR'}


def _read(code: types.CodeType) -> set[str]:
  """The attributes that a function reads of `self`."""
  # And those of these that it reads, as `_sess.run`; and `split(self._rng`, if
  # that is the first argument of a `split`.
  names, owner, before = set(), '', ''
  for instruction in _instructions(code):
    kind, value = instruction.opname, instruction.argval
    if kind in ('CACHE', 'COPY', 'EXTENDED_ARG', 'PRECALL', 'PUSH_NULL'):
      continue
    if kind in ('LOAD_ATTR', 'LOAD_METHOD') and owner == 'self':
      names.add(value)
      if before == 'split':
        names.add(f'split(self.{value}')
      owner = value
    elif kind in ('LOAD_ATTR', 'LOAD_METHOD'):
      if owner:
        names.add(f'{owner}.{value}')
      owner, before = '', value
    else:
      if isinstance(value, tuple):  # Python 3.13 loads two at once.
        value = value[-1] if value else None
      # Of 3.13 also STORE_FAST_LOAD_FAST.
      is_load = 'LOAD_FAST' in kind or kind == 'LOAD_DEREF'
      if is_load and value == 'self':
        owner = 'self'
      else:
        owner, before = '', value if kind == 'LOAD_GLOBAL' else ''
  return names
