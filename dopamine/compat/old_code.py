"""Refuses subclasses of Dopamine's classes that cannot work any more.

What nothing would call, or what reads attributes that there are no more, must
fail when an object is made, and say what to write instead: not in the middle
of a run, and never by being left out silently. `gone` has the names.
"""

from collections.abc import Iterable, Iterator
import functools
import inspect
import keyword
import re
from typing import Any, NamedTuple

from absl import logging

from dopamine import interfaces
from dopamine import seams
from dopamine.compat import adapters
from dopamine.compat import gone
from dopamine.compat import own_code
from dopamine.replay_memory import batches
from dopamine.settings import errors

# What is compiled calls these, and what they call.
_TRACED = '_loss', '_loss_weights', '_priorities', '_q_values', '_sync_weights'


@functools.cache  # Once.
def _warn_of_sessions() -> None:
  logging.warning(
    'An agent was given a TensorFlow session, in which it runs nothing: take '
    'the session out of your program, and global_variables_initializer() with '
    'it, which finds no variables; see the row of sess in docs/migrating.md'
  )


@functools.cache  # Once.
def warn_of_cuts(cls: type) -> None:
  """Says what becomes of an episode whose end a class cannot store."""
  logging.warning(
    '%s._store_transition takes no episode_end: an episode that a time limit '
    'cut is stored as terminal.',
    cls.__name__,
  )


def admit(agent: Any, sess: Any) -> interfaces.Signatures:
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
  check(agent)
  if is_functional(cls):
    agent.keep_attributes()
  return interfaces.Signatures(
    adapters.takes(agent._store_transition, 'episode_end'),
    bool(inspect.signature(agent._build_replay_buffer).parameters),
    draws_by_key(cls),
  )


class _Finding(NamedTuple):
  """What of a class cannot work.

  Attributes:
    attribute: which an object that has it has no need of ours for.
    row: the name in docs/migrating.md.
    text: what it is, and what to write.
  """

  attribute: str
  row: str
  text: str


def check(made: Any) -> None:
  """Refuses an object of a user's class that cannot work.

  Args:
    made: an agent, a Runner, a memory, ..., as far as it is made.

  Raises:
    InterfaceError: naming all that is wrong.
  """
  cls: Any = type(made)
  found = [f for f in _findings(cls) if f.attribute not in vars(made)]
  found += _findings_of_partners(made)
  found += _findings_of_elements(made)
  if not found:
    return
  texts = [
    f'{finding.text}, see the row of {finding.row} in docs/migrating.md'
    for finding in found
  ]
  if len(texts) > 1:
    texts = [
      f'{cls.__name__} cannot work as it is:',
      *(f'- {text}' for text in texts),
    ]
  raise errors.InterfaceError('\n'.join(texts))


@functools.cache
def _findings(cls: type) -> tuple[_Finding, ...]:
  return tuple(_find(cls)) if own_code.classes(cls) else ()


def _find(cls: type) -> Iterator[_Finding]:
  tables = [
    table for name, table in gone.BY_CLASS.items() if name in _ours(cls)
  ]
  is_agent = 'DQNAgent' in _ours(cls)
  overridden = {k: v for table in tables for k, v in table.overridden.items()}
  used = {k: v for table in tables for k, v in table.used.items()}
  served = {name for table in tables for name in table.served}
  used |= {
    k: v for k, v in overridden.items() if k not in served and not _has(cls, k)
  }
  stored = {k: v for table in tables for k, v in table.stored.items()}
  if is_functional(cls):
    legal = gone.FUNCTIONAL | gone.FUNCTIONAL_ATTRIBUTES
    overridden = {k: v for k, v in overridden.items() if k not in legal}
    used = {
      k: v for k, v in used.items() if k not in legal | _SET_BY_FUNCTIONAL
    }
    stored = {}
    yield from _find_mixtures(cls)
  yield from _find_overridden(cls, overridden)
  yield from _find_used(cls, used)
  for name, way in stored.items():
    if name in own_code.uses(cls).stored - own_code.defined(cls):
      text = (
        f'{_who(cls, name, "stored")} sets self.{name}, which cannot be set'
      )
      yield _Finding('', name, f'{text}: set {way}')
  if 'Runner' in _ours(cls):
    yield from _find_signatures(cls)
  if is_agent or 'Runner' in _ours(cls):
    yield from _find_taken(cls)
  if is_agent and not is_functional(cls):
    yield from _find_targets(cls)
  if is_agent:
    yield from _find_keys(cls)
    yield from _find_traced(cls)


# Of functional agents alone.
_SET_BY_FUNCTIONAL = dict.fromkeys(('_optimizer_name', '_double_dqn'))


def _ours(cls: type) -> set[str]:
  """The names of the classes of this package that a class derives from."""
  return {parent.__name__ for parent in _ours_of(cls)}


def _ours_of(cls: type) -> tuple[type, ...]:
  return tuple(p for p in cls.__mro__ if seams.is_ours(p.__module__))


def _has(cls: type, name: str) -> bool:
  return inspect.getattr_static(cls, name, None) is not None


def _find_overridden(cls: type, names: dict[str, str]) -> Iterator[_Finding]:
  """Hooks that nothing calls, not even the class itself."""
  for name in _uncalled(cls, names):
    text = f'{cls.__name__}.{name} is a hook that nothing calls any more'
    yield _Finding('', name, f'{text}: override {names[name]}')


def _uncalled(
  cls: type, names: Iterable[str], callers_among: Iterable[str] = ()
) -> list[str]:
  """Which of some hooks a class overrides, and no other method of it calls.

  Args:
    cls: the class.
    names: of the hooks.
    callers_among: those whose calls count too.
  """
  silent = {*names} - {*callers_among}
  callers = {
    name
    for method, uses in own_code.methods(cls).items()
    for name in uses.read
    if method.partition('.')[2] not in {*silent, name}
  }
  return [n for n in names if n in own_code.defined(cls) and n not in callers]


def _find_used(cls: type, names: dict[str, str]) -> Iterator[_Finding]:
  """What is read or called, and neither there nor of the class itself."""
  uses = own_code.uses(cls)
  given = uses.stored | uses.asked | uses.texts | own_code.defined(cls)
  if '__getattr__' in given:
    return
  for path, way in names.items():
    root = path.partition('.')[0]
    is_lost = path in uses.read | uses.inherited and not {path, root} & given
    if path in uses.inherited - {path for path in names if _has(cls, path)}:
      owners = [c for c in own_code.classes(cls) if path in vars(c)]
      is_lost |= len(owners) < 2  # Of `super()` in the only one.
    if is_lost and not (path in gone.OF_ALL_JAX and _has(cls, path)):
      text = f'{_who(cls, path)} uses self.{path}, which is no more'
      own = path if path == root else ''
      yield _Finding(own, path, f'{text}: use {way}')


def _find_taken(cls: type) -> Iterator[_Finding]:
  """Attributes under names that ours have for something else."""
  stored = {n for n in own_code.uses(cls).stored if re.fullmatch(r'_\w+', n)}
  stored -= gone.ITS_OWN | own_code.defined(cls)
  stored -= {*_TRACED}  # They are bound, for good, when the agent is made.
  methods: set[str] = set()
  if is_functional(cls):
    stored -= gone.HOOKS
    methods = {
      n for n in own_code.defined(cls) if re.fullmatch(r'_[a-z]\w+', n)
    }
    methods -= gone.HOOKS | gone.HOOKS_OF_4 | gone.FUNCTIONAL.keys()
    methods = {n for n in methods - gone.ITS_OWN if not _is_target(n)}
  if stored or methods:
    core = (p for p in _ours_of(cls) if '.compat.' not in p.__module__)
    for name in sorted((stored | methods) & own_code.names(tuple(core))):
      who = _who(cls, name, 'stored') or f'{cls.__name__}.{name}'
      yield _Finding(
        '',
        'private',
        f'{who}: self.{name} is something else here: give it another name',
      )


def _who(cls: type, path: str, *verbs: str) -> str:
  """The methods of a class that use a path, as 'A.f and A.g'."""
  return ' and '.join(
    method
    for method, uses in own_code.methods(cls).items()
    if any(path in getattr(uses, v) for v in verbs or ('read', 'inherited'))
  )


# Runners ----------------------------------------------------------------------


def _find_signatures(cls: type) -> Iterator[_Finding]:
  """Hooks that cannot be called with what ours are called with."""
  # What calls its own hooks may do so as it likes.
  for name in sorted(own_code.defined(cls) - own_code.uses(cls).read):
    ours = next((vars(p)[name] for p in _ours_of(cls) if name in vars(p)), None)
    mine = inspect.getattr_static(cls, name)
    if not inspect.isfunction(ours) or not inspect.isfunction(mine):
      continue
    taken = inspect.signature(ours).parameters.values()
    names = [p.name for p in taken if p.kind is p.POSITIONAL_OR_KEYWORD]
    try:
      inspect.signature(mine).bind(*names)
    except TypeError:
      if not name.startswith('__'):
        yield _Finding(
          '',
          'fewer arguments',
          f'{cls.__name__}.{name}{inspect.signature(mine)} is called with '
          f'({", ".join(names)}): take those',
        )


# Agents -----------------------------------------------------------------------


def _find_targets(cls: type) -> Iterator[_Finding]:
  """Targets that take no batch."""
  for name in dir(cls):
    if name.startswith('_build_target_') and not _takes_a_batch(cls, name):
      text = f'{cls.__name__}.{name}() must take a batch: {name}(self, batch)'
      yield _Finding('', name, text)


def _takes_a_batch(cls: type, name: str) -> bool:
  method = inspect.getattr_static(cls, name)
  if not inspect.isfunction(method):
    return True
  return len(inspect.signature(method).parameters) >= 2


def _find_keys(cls: type) -> Iterator[_Finding]:
  """Keys of JAX in an agent that has none."""
  if not hasattr(cls, 'online_params') and '_rng' in own_code.uses(cls).split:
    yield _Finding(
      '',
      '_rng',
      f'{_who(cls, "_rng", "split")} splits self._rng, which is a NumPy '
      'generator and a key of JAX in Jax agents alone',
    )


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


def _find_traced(cls: type) -> Iterator[_Finding]:
  """Arrays of the batch drawn last, in what is compiled once."""
  methods = own_code.methods(cls)
  names = {n for n in own_code.defined(cls) if n.startswith('_build_target_')}
  names |= {*_TRACED, *gone.HOOKS} - {'_update', '_sample_batches'}
  while True:
    traced = {m: u for m, u in methods.items() if m.partition('.')[2] in names}
    called = {name for uses in traced.values() for name in uses.read}
    if called <= names:
      break
    names |= called
  for path, way in gone.TRACED.items():
    who = ' and '.join(m for m, uses in traced.items() if path in uses.read)
    if who:
      text = f'{who} uses self.{path}, which stays what it was when that was'
      yield _Finding('', path, f'{text} compiled: use {way}')


def refuse_function(agent: Any) -> None:
  """Refuses a network of Dopamine 2, which is a function of a state.

  Args:
    agent: whose `network` is a function.

  Raises:
    InterfaceError: it is one of a state.
  """
  network = agent.network
  taken = inspect.signature(network).parameters
  if 'state' in taken or 'network_type' in taken:
    name = getattr(network, '__name__', 'network')
    raise errors.InterfaceError(
      f'{type(agent).__name__}.network is a function of a state, {name}('
      f'{", ".join(taken)}), as in Dopamine 2: give a class of keras.Model '
      'whose call(state) returns the tuple, see the row of network_type in '
      'docs/migrating.md'
    )


# Functional agents ------------------------------------------------------------


@functools.cache
def is_functional(cls: type) -> bool:
  """Whether a class is a JAX agent of the functional interface (3.3 to 4.0).

  It is by what its methods, and those of its parents outside of this package,
  override, call, read and set. Parameters are settable in agents of hooks too:
  one that overrides `_loss` may do so.
  """
  if 'JaxDQNAgent' not in _ours(cls):
    return False
  defined = own_code.defined(cls)
  if defined & gone.FUNCTIONAL.keys():
    return True
  uses = own_code.uses(cls)
  used = gone.FUNCTIONAL.keys() & (uses.read | uses.inherited)
  used |= gone.FUNCTIONAL_ATTRIBUTES.keys() & (uses.read | uses.stored)
  if 'online_params' not in uses.stored:  # All may read it.
    used -= {'online_params'}
  if defined & gone.HOOKS or any(map(_is_target, defined)):
    used -= uses.stored
  return bool(used - defined - uses.asked)


def _is_target(name: str) -> bool:
  return name.startswith('_build_target_')


def _find_mixtures(cls: type) -> Iterator[_Finding]:
  """Hooks of today, which a functional update calls none of."""
  hooks = sorted(gone.HOOKS | set(filter(_is_target, own_code.defined(cls))))
  if wrong := _uncalled(cls, hooks, hooks):
    yield _Finding(
      '',
      '_training_step_update',
      f'{cls.__name__} is functional, by what it uses of JaxDQNAgent, and '
      f'nothing calls its {", ".join(wrong)}: compute that in '
      '_training_step_update(), or leave network_def, optimizer_state and the '
      'like to an agent of hooks',
    )


# Partners ---------------------------------------------------------------------


def _findings_of_partners(made: Any) -> list[_Finding]:
  """What a class uses of others that it has, and they have no more."""
  cls: Any = type(made)
  uses = own_code.uses(cls)
  found = []
  for name in (n for c in _ours(cls) for n in gone.PARTNERS.get(c, ())):
    partner = getattr(made, name, None)  # Not yet, for the first time.
    if name in gone.UNASKED:
      kind: Any = type(partner)
      used = {path.removeprefix(f'{name}.') for path in uses.read}
      found += [f for f in _findings(kind) if f.row not in used]
    for path in sorted(uses.read - uses.asked - uses.stored):
      root, _, rest = path.partition('.')
      if root != name or not rest or partner is None:
        continue
      if lost := _lost(partner, rest):
        text = f'{_who(cls, path)} uses self.{path}, which is no more'
        way = gone.OF_PARTNERS[lost]
        found.append(_Finding('', lost, f'{text}: use {way}'))
  return found


def _lost(partner: Any, path: str) -> str | None:
  """The attribute of a path that there is no more; only known ones are."""
  *steps, last = path.split('.')
  for step in steps:
    if step not in gone.STEPS or not hasattr(partner, step):
      return None
    partner = getattr(partner, step)
  is_known = last in gone.OF_PARTNERS
  return last if is_known and not hasattr(partner, last) else None


def _findings_of_elements(made: Any) -> list[_Finding]:
  """What of a replay memory no batch of an agent of hooks can have."""
  replay = getattr(made, '_replay', None)
  cls: Any = type(made)
  if is_functional(cls) or not isinstance(replay, batches.NamedBatches):
    return []
  elements = replay.memory.get_transition_elements()
  names = [*(element[0] for element in elements), 'discount']
  return [
    _Finding(
      '',
      'extra_storage_types',
      f'{cls.__name__} has a replay memory with an element {name!r}, which no '
      'field of a batch can be called: give it another name',
    )
    for name in sorted({*names})
    if names.count(name) > 1
    or not name.isidentifier()
    or keyword.iskeyword(name)
    or name.startswith('_')
  ]
