"""Refuses subclasses of Dopamine 3's agents that cannot work any more.

What nothing would call, or what reads attributes that there are no more, must
fail when the agent is made, and say what to write instead: not in the middle
of a run, and never by being left out silently.
"""

import dis
import inspect
import types

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


def refuse(agent) -> None:
  """Raises TypeError if the class of `agent` is such a subclass."""
  name = type(agent).__name__
  for hook, replacement in HOOKS.items():
    if hasattr(agent, hook):
      raise TypeError(
        f'{name}.{hook} is a hook that nothing calls any more: override '
        f'{replacement} instead, see the row of {hook} in docs/migrating.md'
      )
  for hook in dir(agent):
    if not hook.startswith('_build_target_'):
      continue
    method = inspect.getattr_static(agent, hook)
    if (
      inspect.isfunction(method)
      and len(inspect.signature(method).parameters) < 2
    ):
      raise TypeError(
        f'{name}.{hook}() must take a batch: {hook}(self, batch), see the row '
        f'of {hook} in docs/migrating.md'
      )
  classes = [
    cls
    for cls in type(agent).__mro__
    if cls is not object and not cls.__module__.startswith('dopamine.')
  ]
  methods = {
    f'{cls.__name__}.{method}': function.__code__
    for cls in classes
    for method, function in vars(cls).items()
    if inspect.isfunction(function)
  }
  given = set().union(*(_stored(code) for code in methods.values()))
  given |= {attribute for cls in classes for attribute in vars(cls)}
  for method, code in methods.items():
    names = {i.argval for i in _instructions(code)}
    if '_rng' in _read(code) and 'split' in names:
      raise TypeError(
        f'{method} splits self._rng, which is a NumPy generator here and no '
        'key of JAX: see the row of _rng in docs/migrating.md'
      )
    for attribute, replacement in ATTRIBUTES.items():
      if attribute in _read(code) - given:
        raise TypeError(
          f'{method} uses self.{attribute}, which is no more: use '
          f'{replacement} instead, see the row of {attribute} in '
          'docs/migrating.md'
        )


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
  """The attributes that it reads of `self`, and those of these it reads."""
  names, owner = set(), ''
  for instruction in _instructions(code):
    if instruction.opname in ('LOAD_ATTR', 'LOAD_METHOD'):
      name = instruction.argval
      if owner == 'self':
        names.add(name)
      elif owner:
        names.add(f'{owner}.{name}')
      owner = name if owner == 'self' else ''
    elif instruction.opname != 'CACHE':
      loaded = instruction.argval
      if isinstance(loaded, tuple):  # Python 3.13 loads two at once.
        loaded = loaded[-1] if loaded else None
      kind = instruction.opname  # Of 3.13 also STORE_FAST_LOAD_FAST.
      is_load = 'LOAD_FAST' in kind or kind == 'LOAD_DEREF'
      owner = 'self' if is_load and loaded == 'self' else ''
  return names
