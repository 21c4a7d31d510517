"""What classes of users say of themselves: their methods, read as bytecode.

Sources may be missing, as of what a notebook or `exec` defined.
"""

from collections.abc import Iterator
import dis
import functools
import inspect
import types
from typing import Any, NamedTuple

from dopamine import seams

_SILENT = 'CACHE', 'EXTENDED_ARG', 'PRECALL', 'PUSH_NULL', 'COPY_FREE_VARS'
_ASKING = 'getattr', 'setattr', 'hasattr'
_SETTING = {'setattr', 'vars', '__dict__'}


class Uses(NamedTuple):
  """What methods do with `self`, as paths below it: '_replay.memory.add'.

  Attributes:
    read: attributes that are read or called, `getattr(self, name)` included.
    stored: those that are set, `setattr(self, name, value)` included.
    asked: those that `hasattr(self, name)` asks for.
    inherited: those of `super()`.
    split: those that are the first argument of a `split`.
    texts: strings beside a `setattr`, which may be names of attributes.
  """

  read: frozenset[str] = frozenset()
  stored: frozenset[str] = frozenset()
  asked: frozenset[str] = frozenset()
  inherited: frozenset[str] = frozenset()
  split: frozenset[str] = frozenset()
  texts: frozenset[str] = frozenset()

  def __or__(self, other: 'Uses') -> 'Uses':  # type: ignore[override]
    return Uses(*(a | b for a, b in zip(self, other, strict=True)))


@functools.cache
def classes(cls: type) -> tuple[type, ...]:
  """A class and its parents, as far as they are not of this package."""
  return tuple(
    parent
    for parent in cls.__mro__
    if parent is not object and not seams.is_ours(parent.__module__)
  )


def defined(cls: type) -> frozenset[str]:
  """The names that a class and its parents outside of this package define."""
  return frozenset(name for own in classes(cls) for name in vars(own))


@functools.cache  # Disassembling takes milliseconds.
def methods(cls: type) -> dict[str, Uses]:
  """What each method does, written or inherited, as 'MyAgent._loss'.

  Without those that are never called, as another took their place.
  """
  found: dict[tuple[str, str], Uses] = {}
  for parent in reversed(classes(cls)):
    for method, value in vars(parent).items():
      codes = [
        _uses(code, owner, {})
        for code, owner, module in _codes(value)
        if not seams.is_ours(module)  # As of the `__init__` that gin made.
      ]
      if not codes:
        continue
      uses = functools.reduce(Uses.__or__, codes)
      if not uses.inherited:  # It takes the place of what is inherited.
        found = {k: v for k, v in found.items() if k[1] != method}
      found[parent.__name__, method] = uses
  return {'.'.join(names): uses for names, uses in found.items()}


@functools.cache
def uses(cls: type) -> Uses:
  """What all methods of a class do."""
  return functools.reduce(Uses.__or__, methods(cls).values(), Uses())


@functools.cache
def names(parents: tuple[type, ...]) -> frozenset[str]:
  """What some classes define, and what their methods set."""
  found: set[str] = set()
  for parent in parents:
    found |= vars(parent).keys()
    for value in vars(parent).values():
      for code, owner, _ in _codes(value):
        found |= _uses(code, owner, {}).stored
  return frozenset(found)


def _codes(value: Any) -> Iterator[tuple[types.CodeType, str, Any]]:
  """Code below what decorators made of a method, its `self`, its module."""
  if isinstance(value, property):
    for accessor in (value.fget, value.fset, value.fdel):
      yield from _codes(accessor)
    return
  is_method = not isinstance(value, (staticmethod, classmethod))
  while not inspect.isfunction(value):
    names = '__wrapped__', '__func__', 'func'  # As of `jit`, `partial`.
    has = [n for n in names if inspect.getattr_static(value, n, None)]
    inner = getattr(value, has[0], None) if has else None
    if inner is None or isinstance(value, type):
      return
    value = inner
  cells = [value]
  for function in cells:  # Decorators may be without `functools.wraps`.
    is_method = is_method and function is value
    function = inspect.unwrap(function)
    code = getattr(function, '__code__', None)
    if code is None:
      continue
    first = code.co_varnames[0] if code.co_argcount else ''
    owner = first if is_method else 'self'
    yield code, owner, function.__globals__.get('__name__')
    for cell in function.__closure__ or ():
      try:
        content = cell.cell_contents
      except ValueError:  # Still empty.
        continue
      if inspect.isfunction(content) and content not in cells:
        cells.append(content)


def _uses(code: types.CodeType, owner: str, aliases: dict[str, str]) -> Uses:
  """What a function, and those inside of it, do with `owner`.

  Args:
    code: of the function.
    owner: the name of its `self`.
    aliases: variables -> the paths that they stand for.
  """
  reader = _Reader(aliases | {owner: ''})
  for instruction in dis.get_instructions(code):
    reader.take(instruction.opname, instruction.argval)
  if _SETTING.intersection(_names_in(code)):
    reader.found['texts'] |= _texts(code)
  else:
    reader.found['texts'].clear()
  found = Uses(*map(frozenset, reader.found.values()))
  for constant in code.co_consts:
    if isinstance(constant, types.CodeType):
      taken = constant.co_varnames[: constant.co_argcount]
      known = {k: v for k, v in reader.paths.items() if k not in taken}
      is_own = owner not in taken
      found |= _uses(constant, owner if is_own else '', known)
  return found


def _names_in(code: types.CodeType) -> set[str]:
  """The names that a function uses, and those inside of it."""
  inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
  return {*code.co_names}.union(*map(_names_in, inner))


def _texts(value: Any) -> set[str]:
  """The texts among the constants of a function: names to set, maybe."""
  if isinstance(value, str):
    return {value}
  if isinstance(value, types.CodeType):
    return set().union(*map(_texts, value.co_consts))
  return set().union(*map(_texts, value)) if isinstance(value, tuple) else set()


class _Reader:
  """Follows what is on top of the stack, as far as it is a path of `self`."""

  def __init__(self, paths: dict[str, str]):
    self.paths = paths  # Of variables.
    self.found: dict[str, set[str]] = {field: set() for field in Uses._fields}
    self.top: str | None = None  # '' is `self`, None is anything else.
    self.copied: str | None = None  # As `self.x += 1` does.
    self.before = ''  # What was read last of anything else.
    self.asking = self.defaulted = ''
    self.super_is = ''  # Named, or called.

  def take(self, kind: str, value: Any) -> None:
    if kind == 'COPY':
      self.copied = self.top
    elif kind == 'SWAP':
      self.top, self.copied = self.copied, None
    elif kind in _SILENT:
      pass
    elif 'FAST' in kind or kind in ('LOAD_DEREF', 'STORE_DEREF'):
      self._take_variables(kind, value)
    elif kind in ('LOAD_ATTR', 'LOAD_METHOD'):
      self._read(value)
    elif kind == 'LOAD_SUPER_ATTR':
      self.super_is = 'called'
      self._read(value)
    elif kind == 'STORE_ATTR':
      if self.top is not None:
        self.found['stored'].add(self._below(value))
      self.top = self.copied = None
    elif kind == 'LOAD_CONST':
      self._take_text(value)
    elif kind.startswith('CALL') and self.defaulted:
      self.defaulted, self.top, self.before = '', None, ''
    elif self.super_is and kind.startswith('CALL'):
      self.super_is = 'called'
      self.top = None
    elif self.super_is and kind == 'LOAD_GLOBAL':  # super(module.A, self)
      self.top = None
    else:
      is_super = kind == 'LOAD_GLOBAL' and value == 'super'
      self.super_is = 'named' if is_super else ''
      self.asking = value if kind == 'LOAD_GLOBAL' and value in _ASKING else ''
      self.before = value if kind == 'LOAD_GLOBAL' else ''
      self.top = None

  def _below(self, name: str) -> str:
    return f'{self.top}.{name}' if self.top else name

  def _take_variables(self, kind: str, value: Any) -> None:
    names = value if isinstance(value, tuple) else (value,)  # 3.13: two.
    verbs = [verb for verb in kind.split('_') if verb in ('LOAD', 'STORE')]
    for verb, name in zip(verbs, names, strict=False):
      if verb == 'LOAD':
        self.top = self.paths.get(name)
        if self.top is None:
          self.before = ''
      else:
        self.paths.pop(name, None)
        if self.top is not None:
          self.paths[name] = self.top
        self.top, self.before = None, ''

  def _read(self, name: str) -> None:
    if self.super_is == 'called':
      self.found['inherited'].add(name)
      self.top, self.super_is = name, ''
    elif self.top is None:
      self.before = name
    else:
      path = self._below(name)
      self.found['read'].add(path)
      if self.before == 'split':
        self.found['split'].add(path)
      self.top = path

  def _take_text(self, value: Any) -> None:
    texts = value if isinstance(value, tuple) else (value,)
    self.found['texts'] |= {text for text in texts if isinstance(text, str)}
    if self.asking and self.top is not None and isinstance(value, str):
      found = {'getattr': 'read', 'setattr': 'stored', 'hasattr': 'asked'}
      self.found[found[self.asking]].add(self._below(value))
      self.defaulted = self._below(value) if self.asking == 'getattr' else ''
      self.asking = ''
    elif self.defaulted:  # `getattr(self, name, default)` cannot fail.
      self.found['asked'].add(self.defaulted)
      self.defaulted = ''
    self.top, self.before = None, ''
