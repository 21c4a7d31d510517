"""Explains what is wrong with gin files, bindings, and calls that gin makes.

Of a name that gin does not know, it says which one is near.
"""

import difflib
import os
import pathlib
import re
import sys
import tokenize
import traceback
from types import FrameType

import gin

from dopamine.settings import errors
from dopamine.settings import gin_files


def no_file(gin_file: str, places: list[str]) -> errors.MissingFileError:
  """The error of a gin file that is in none of these places."""
  ours = pathlib.Path(gin_files.PARENT, 'dopamine').rglob('*.gin')
  names = {file.name: file for file in sorted(ours, reverse=True)}
  near = difflib.get_close_matches(os.path.basename(gin_file), names, n=1)
  paths = [str(names[name].relative_to(gin_files.PARENT)) for name in near]
  hint = f' (did you mean {paths[0]!r}?)' if paths else ''
  looked_at = dict.fromkeys(map(os.path.abspath, places))
  return errors.MissingFileError(
    f'There is no gin file {gin_file!r}{hint}; looked at '
    f'{" and ".join(looked_at)}'
  )


def explained(error: Exception) -> errors.UsageError | None:
  """What gin raised while it parsed, as a mistake, unless it is none."""
  if _is_of_a_module(error):
    return None
  message = str(error)
  match error:
    case SyntaxError():
      return gin_files.StatementError(_syntax_message(error))
    case tokenize.TokenError():
      return gin_files.StatementError(
        f'a statement does not end ({error.args[0]}): a bracket or quote is '
        'open in the bindings or the files'
      )
    case ImportError():
      first, *rest = message.split('\n')
      first += ' (is that its name, and its folder in PYTHONPATH?)'
      return errors.NotInstalledError('\n'.join([first, *rest]))
    case OSError():
      return errors.MissingFileError(message)
    case TypeError():
      return errors.SettingError(
        f'{message}: a dictionary in the bindings or the files has such a key'
      )
    case KeyError():  # A selector of several; its text is quoted.
      return errors.SettingError(
        re.sub('^"(.*)"', r'\1 Write more of its name', message)
      )
    case ValueError() | AttributeError() | NameError():
      return errors.SettingError(_with_nearest_name(message))
  return None


def _is_of_a_module(error: Exception) -> bool:
  """Whether it is of code that gin runs, a module that it imports above all."""
  # Its traceback is wanted.
  if isinstance(error, SyntaxError) and str(error.filename).endswith('.py'):
    return True
  parsing = {'gin', 'dopamine', *sys.stdlib_module_names}
  return any(
    frame.f_code.co_name == '<module>' or _package(frame) not in parsing
    for frame, _ in traceback.walk_tb(error.__traceback__)
  )


def _syntax_message(error: SyntaxError) -> str:
  """gin's message, with the statement and where it is."""
  message, text = error.msg, (error.text or '').strip()
  if not text:
    return f'{message} Put quotes around each binding, so that it stays whole'
  if unquoted := re.search(r"Failed to parse token '(\w+)'", message):
    name = unquoted[1]
    words = {'true': 'True', 'false': 'False', 'null': 'None', 'none': 'None'}
    meant = f"a text needs quotes, '{name}', and the name of a function @, in"
    if name.lower() in words:
      meant = f'in gin it is written {words[name.lower()]}, in'
    message = f'cannot read the value {name}: {meant}'
  place = 'the bindings'
  if error.filename:
    place = f'line {error.lineno} of {error.filename}'
  return f'{message} {text!r} in {place}'


def _with_nearest_name(message: str) -> str:
  """gin's message on a name that it does not know, and the nearest it does."""
  registry = gin.config._REGISTRY  # gin offers no list of what it knows.
  near = ''
  if found := re.search(
    r"^No configurable matching (?:reference )?'@?([\w./]+)", message
  ):
    names = {s.split('.')[-1] for s in registry._selector_map}
    near = gin_files.hint(found[1].split('.')[-1], names)
  elif found := re.search(
    r"^Configurable '([\w./]+)' doesn't have a parameter named '(\w+)'", message
  ):
    near = gin_files.hint(
      found[2], gin_files.parameters(registry.get_match(found[1]).wrapped)[0]
    )
  elif found := re.search(
    r"^No bindings specified for '([\w./]+)/gin.macro'", message
  ):
    known = {scope for scope, name in gin.config._CONFIG if name == 'gin.macro'}
    known |= set(gin.config._CONSTANTS._selector_map)
    message = f'%{found[1]} is neither a macro nor a constant'  # gin's: a page.
    near = gin_files.hint(found[1], known)
  first, *rest = message.split('\n')
  return '\n'.join([first + near, *rest])


def explained_call(error: Exception) -> errors.UsageError | None:
  """A call that gin cannot make, as a mistake, unless it is none."""
  if not _is_of_a_call(error):
    return None
  kind: type[errors.UsageError] = errors.SettingError
  if isinstance(error, TypeError):
    kind = errors.InterfaceError
  elif isinstance(error, RuntimeError):
    kind = errors.StateError
  return kind(_call_message(error))


def _is_of_a_call(error: Exception) -> bool:
  """Whether gin, or we, could not even enter what is called."""
  # Then the traceback ends where it is called. Otherwise the error is one of
  # the code that was called, as is a recursion, wherever that ends.
  if isinstance(error, RecursionError):
    return False
  *_, (frame, _) = traceback.walk_tb(error.__traceback__)
  if _package(frame) == 'dopamine' and isinstance(error, TypeError):
    form = (
      r"[\w.<>]+\(\) (missing|got|takes) |Can't instantiate abstract class "
    )
    return re.match(form, str(error)) is not None
  return _package(frame) == 'gin'


def _package(frame: FrameType) -> str:
  return frame.f_globals.get('__name__', '').split('.')[0]


def _call_message(error: Exception) -> str:
  """Python's message; where that names `object`, with the class instead."""
  message = str(error)
  if found := re.search(r"\n  In call to configurable '(\w+)'", message):
    message = re.sub(
      r'^object\.__(init|new)__\(\) takes exactly one argument \(.*?\)',
      f'{found[1]}() takes no arguments',
      message,
    )
  return message
