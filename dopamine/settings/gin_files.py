"""Finds, reads and parses gin files.

`install` has gin read every file as UTF-8. `parse` refuses parameters that gin
lets through and a constructor would not. `gin_mistakes`, which is loaded to do
so, explains all others. The names of `gin.tf` are in `compat.gin_tf`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
import contextlib
import difflib
import graphlib
import inspect
import io
import os
import pathlib
import re
from typing import Any

import gin

from dopamine import seams
from dopamine.settings import errors

# Of the package `dopamine`.
PARENT = str(pathlib.Path(__file__).parents[2])


def install() -> None:
  """Has gin read files as UTF-8, with what they include, in every locale."""
  readers = gin.config._FILE_READERS  # What opens a file, and for which paths.
  readers[:] = [(_in_utf8(reader), takes) for reader, takes in readers]


def _in_utf8(reader: Callable) -> Callable:
  """What opens files as `reader` does, but for the encoding."""

  def read(path: str) -> Any:
    file = reader(path)
    if isinstance(file, io.TextIOWrapper):
      file.reconfigure(encoding='utf-8-sig')
    return file

  return read


def read(
  gin_files: str | Sequence[str] | None,
  gin_bindings: str | Sequence[str] | None,
) -> tuple[list[str], list[str], list[str]]:
  """Where gin files are, the bindings, and the texts of all of them."""
  if isinstance(gin_files, str):
    gin_files = [gin_files]
  if isinstance(gin_bindings, str):
    gin_bindings = [gin_bindings]
  paths = [find_gin_file(path) for path in gin_files or ()]
  bindings = [_typed(binding) for binding in gin_bindings or ()]
  texts = [text for path in paths for text in _read(path)]
  texts += [text for binding in bindings for text in _with_included(binding)]
  return paths, bindings, texts


def find_gin_file(gin_file: str) -> str:
  """The path of a gin file: here, where gin was told to look, or ours."""
  folders = *gin.config._LOCATION_PREFIXES, PARENT
  places = [os.path.join(f, gin_file) for f in folders]
  for place in places:
    if os.path.isfile(place):
      return place
  from dopamine.settings import gin_mistakes

  raise gin_mistakes.no_file(gin_file, places)


def _typed(binding: str) -> str:
  """A binding of the command line, in a locale that lacks its letters too."""
  # Python decodes arguments by the locale, and what that lacks to surrogates.
  if binding.isascii() or not re.search('[\udc80-\udcff]', binding):
    return binding
  try:
    return os.fsencode(binding).decode('utf-8')
  except UnicodeError:
    raise errors.SettingError(
      f'the binding {ascii(binding)} is not UTF-8: write it in a gin file'
    ) from None


def _read(path: str, *above: str) -> list[str]:
  """The texts of a gin file and of those that it includes."""
  if path in above:
    raise errors.SettingError(
      f'gin file {path} includes itself, by {above[-1]}'
    )
  with open(path, encoding='utf-8-sig') as file:
    try:
      text = file.read()
    except UnicodeDecodeError as error:
      raise errors.SettingError(
        f'{path} is not UTF-8 ({error}): save it so'
      ) from None
  return _with_included(text, *above, path)


def _with_included(text: str, *above: str) -> list[str]:
  """A text of gin, and those of the files that it includes."""
  names = re.findall(r'^include\s*[\'"](.+?)[\'"]', text, re.MULTILINE)
  return [text] + [
    t for name in names for t in _read(find_gin_file(name), *above)
  ]


def parse(gin_files: Sequence[str], gin_bindings: Sequence[str]) -> None:
  """Parses files and bindings; unknown names are errors.

  Raises:
    StatementError: something is no statement of gin.
    errors.SettingError: a name is not known; the message has the nearest.
    errors.NotInstalledError, errors.MissingFileError: there is no such module,
      or file to include.
  """
  if gin.config_is_locked():
    raise errors.StateError(
      'gin has the settings of an earlier run of this process: call '
      'gin.clear_config() before the next'
    )
  try:
    gin.parse_config_files_and_bindings(
      gin_files,
      bindings=gin_bindings,
      skip_unknown=False,
      finalize_config=False,
    )
    _check_parameters()
    _check_references()
    gin.finalize()
  except Exception as error:
    if isinstance(error, errors.UsageError):
      raise
    from dopamine.settings import gin_mistakes

    if (explained := gin_mistakes.explained(error)) is None:
      raise
    raise explained from None


class StatementError(errors.UsageError, SyntaxError):
  """What is in a gin file or a binding is no statement of gin."""


@contextlib.contextmanager
def explaining_calls() -> Iterator[None]:
  """Says of calls that gin cannot make, or that lack arguments, what is wrong.

  Raises:
    errors.UsageError: with gin's message.
  """
  try:
    yield
  except (RuntimeError, TypeError, ValueError) as error:
    from dopamine.settings import gin_mistakes

    if (explained := gin_mistakes.explained_call(error)) is None:
      raise
    raise explained from error


def hint(name: str, known: Iterable[str]) -> str:
  """The part of a message that names what is nearest to `name`, if any is."""
  lower = {candidate.lower(): candidate for candidate in known}
  close = difflib.get_close_matches(name.lower(), lower, n=1)
  return f' (did you mean {lower[close[0]]!r}?)' if close else ''


def parameters(target: Any) -> tuple[set[str], bool]:
  """The parameters of a function or class, and whether it takes any others.

  A constructor of ours that passes keywords on takes those of its parents too;
  what others do with theirs, nobody knows.
  """
  functions = [target]
  if inspect.isclass(target):
    constructors = (vars(c).get('__init__') for c in target.__mro__)
    functions = [c for c in constructors if c]
  names: set[str] = set()
  for function in functions:
    parameters = inspect.signature(function).parameters.values()
    names |= {
      p.name
      for p in parameters
      if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }
    if not any(p.kind == p.VAR_KEYWORD for p in parameters):
      return names, False
    if not seams.is_ours(getattr(function, '__module__', None)):
      break
  return names, True


def _check_parameters() -> None:
  """Refuses bindings that a class would only refuse once it is made."""
  # gin lets any name through where a constructor has `**kwargs`.
  for (_, selector), bindings in gin.config._CONFIG.items():
    configurable = gin.config._REGISTRY.get(selector)
    if configurable is None or not inspect.isclass(configurable.wrapped):
      continue
    known, takes_others = parameters(configurable.wrapped)
    for name in () if takes_others else bindings:
      if name not in known:
        owner = selector.split('.')[-1]
        raise errors.SettingError(
          f"{owner} doesn't have a parameter named {name!r}, which gin binds"
          f'{hint(name, known - {"self"})}'
        )


def _check_references() -> None:
  """Refuses `A.x = @A()`: to call A, gin calls A first, and so on."""
  calls = {}
  found = list(gin.config._CONFIG)
  for key in found:  # Which grows: a call goes on in the scope it is made in.
    if key not in calls:
      calls[key] = _calls(*key)
      found += calls[key]
  try:
    graphlib.TopologicalSorter(calls).prepare()
  except graphlib.CycleError as error:
    names = [selector.split('.')[-1] for _, selector in error.args[1][::-1]]
    raise errors.SettingError(
      f'gin calls {", which needs ".join(f"@{name}()" for name in names)}, '
      'and so on: leave () out where a function or class is meant, not what it '
      'returns'
    ) from None


def _calls(scope: str, selector: str) -> set[tuple[str, str]]:
  """The scopes and names of what gin calls, to call something in a scope."""
  bindings = gin.config._get_bindings(selector, scope.split('/'))
  return {
    (ref.config_key[0] or scope, ref.config_key[1])
    for ref in gin.config.iterate_references(bindings)
    if ref.evaluate or selector == 'gin.singleton'  # It calls its constructor.
  }


def bound_values(target: Any) -> dict[str, Any]:
  """What gin has bound to the parameters of a function or class, by name."""
  registry = gin.config._REGISTRY
  found: dict[str, Any] = {}
  for (_, selector), bindings in gin.config._CONFIG.items():
    configurable = registry.get(selector)
    # Of a function, what is imported is gin's wrapper.
    if target in (
      getattr(configurable, 'wrapped', None),
      getattr(configurable, 'wrapper', None),
    ):
      found |= bindings
  return found


def bound_parameters(target: Any) -> set[str]:
  """The parameters of a function or class that gin has values for."""
  return set(bound_values(target))


def unwrapped(function: Callable) -> Callable:
  """The function that gin calls, of one that is configurable."""
  return inspect.unwrap(function)


def unbound_parameter(cls: type, name: str) -> inspect.Parameter | None:
  """A constructor's parameter, None if it has none or gin has a value for it.

  A binding counts for the class whose constructor names the parameter, and for
  those below, which pass it on.
  """
  for base in cls.__mro__[:-1]:
    if name in bound_parameters(base):
      return None
    # gin gives a class that inherits its constructor a wrapper of that.
    constructor = inspect.unwrap(vars(base).get('__init__', object.__init__))
    if constructor.__qualname__ == f'{base.__qualname__}.__init__':
      parameter = inspect.signature(constructor).parameters.get(name)
      if parameter is not None:
        return parameter
  return None


class Settings:
  """All that gin is set to; taken when this is made, put back by `restore`."""

  def __init__(self) -> None:
    self._content = [store.copy() for store in self._stores()]
    self._is_locked = gin.config_is_locked()

  def _stores(self) -> Any:
    config = gin.config
    return (
      *(config._CONFIG, config._SINGLETONS, config._IMPORTS),
      config._OPERATIVE_CONFIG,
    )

  def restore(self) -> None:
    gin.clear_config()
    for store, content in zip(self._stores(), self._content, strict=True):
      store.update(content)
    gin.config._set_config_is_locked(self._is_locked)


@contextlib.contextmanager
def set_aside(
  bindings: Sequence[str] | None = None, settings: Settings | None = None
) -> Iterator[None]:
  """Has gin start without settings; at the end it has those of before.

  Args:
    bindings: if given, gin keeps its settings, with these on top.
    settings: if given, gin has these.
  """
  before = Settings()
  gin.clear_config()
  try:
    if settings is not None:
      settings.restore()
    if bindings is not None:
      config = gin.config._CONFIG
      # No deep copy: that of a reference is what it calls.
      config.update({k: dict(v) for k, v in before._content[0].items()})
      gin.parse_config(bindings)
    yield
  finally:
    before.restore()
