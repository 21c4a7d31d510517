"""What a run was: `run.json` and `operative_config.gin` in its folder.

The first says what was called, by which versions, where, and with which seed;
the second is all of gin that was used, defaults included, and can be given to
`--gin_files`. TensorBoard shows both as texts.
"""

import ast
from collections.abc import Mapping
import datetime
import functools
import importlib.metadata
import json
import os
import platform
import shlex
import socket
import subprocess
import sys
from typing import Any

from absl import logging
import gin

import dopamine
from dopamine import backend
from dopamine.files import atomic

# What decides the numbers, or the formats, of a run.
_PACKAGES = (
  *('tensorflow', 'jax', 'jaxlib', 'flax', 'keras', 'numpy'),
  *('gymnasium', 'ale-py', 'gin-config', 'opencv-python-headless', 'Box2D'),
)

# Starts that run.json tells of, and bytes of it that are read: far more.
_MAX_STARTS, _MAX_BYTES = 1000, 10**7


class RunRecord:
  """The record of one start of a run; nothing is written before `write`.

  Args:
    base_dir: of the run.
    continues: where a checkpoint lets it go on, '' at its beginning.
    **facts: further ones, such as its seed.
  """

  def __init__(self, base_dir: str, continues: str, **facts: Any):
    self._base_dir = base_dir
    self._continues = continues
    self._began = datetime.datetime.now(datetime.UTC).isoformat('T', 'seconds')
    self._facts = facts
    self._is_written = False
    self._config = ''

  def write(self, summary_writer: Any) -> None:
    """Writes what has not been written, or has changed, since the last call.

    Where that fails, a run goes on without.
    """
    config = _text(gin.operative_config_str())
    try:
      if not self._is_written:
        self._write_start(summary_writer, config)
      if config != self._config:
        self._put('operative_config.gin', config)
    except OSError as error:
      logging.warning('The record of the run could not be written: %s', error)
      return
    self._is_written, self._config = True, config

  def _write_start(self, summary_writer: Any, config: str) -> None:
    now = _facts() | self._facts
    before = self._read()
    start: dict[str, Any] = {'began': self._began}
    if self._continues:
      start['continues'] = self._continues
    starts = before.pop('starts', [])
    if starts:
      changes = _changes(before, now) | _changes(
        settings(self._saved('operative_config.gin')), settings(config)
      )
      for name in ('Runner.seed', 'TrainRunner.seed'):
        changes.pop(name, None)  # The run's stays, whether it is given or not.
      start |= {'changed': changes} if changes else {}
    starts = [*starts, start][-_MAX_STARTS:]
    record = now | {'starts': starts}
    text = _text(json.dumps(record, indent=2, ensure_ascii=False))
    self._put('run.json', text + '\n')
    if not self._continues:
      summary_writer.add_settings(_hyper_parameters(config) | self._facts)
    for name, content in (('operative_config', config), ('run', text)):
      lines = '\n'.join('    ' + line for line in content.splitlines())
      summary_writer.add_text(name, lines, len(starts) - 1)

  def _read(self) -> dict[str, Any]:
    """What the last start wrote; nothing if it did not, or it is no such."""
    try:
      path = os.path.join(self._base_dir, 'run.json')
      found = atomic.json_object(self._saved('run.json') or '{}', path)
    except atomic.DamagedError as error:
      logging.warning('%s: it is written anew', error)
      return {}
    return found if isinstance(found.get('starts'), list) else {}

  def _saved(self, name: str) -> str:
    path = os.path.join(self._base_dir, name)
    if not os.path.isfile(path):
      return ''
    return atomic.read_file(path, _MAX_BYTES).decode('utf-8', 'replace')

  def _put(self, name: str, text: str) -> None:
    path, content = os.path.join(self._base_dir, name), text.encode()
    atomic.write_file(path, lambda file: file.write(content))


def _text(text: str) -> str:
  """Without what is no letter: bytes of a path, in a locale of others."""
  return text.encode('utf-8', 'backslashreplace').decode()


def settings(config: str) -> dict[str, str]:
  """Returns the lines of an operative configuration: parameter -> value."""
  found: dict[str, str] = {}
  name = None
  for line in config.splitlines():
    if line.startswith(' ') and name is not None:
      text = f'{found[name]} {line.strip()}'
      found[name] = text.rstrip('\\').strip()
    elif ' = ' in line and not line.startswith('#'):
      name, _, value = line.partition(' = ')
      found[name] = value.rstrip('\\').strip()
  return found


def _hyper_parameters(config: str) -> dict[str, Any]:
  """The settings, those that are numbers or switches as such."""
  found: dict[str, Any] = {}
  for name, text in settings(config).items():
    try:
      value = ast.literal_eval(text)
    except (SyntaxError, ValueError):  # A reference to something.
      value = text
    is_plain = isinstance(value, str | int | float)
    found[name] = value if is_plain else text
  return found


def _changes(
  before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, list]:
  """What both have, and differs: name -> the value before, and now."""
  found: dict[str, list] = {}
  for name in before.keys() & now.keys():
    old, new = before[name], now[name]
    if isinstance(old, dict) and isinstance(new, dict):
      parts = _changes(old, new).items()
      found |= {f'{name}.{part}': change for part, change in parts}
    elif old != new:
      found[name] = [old, new]
  return dict(sorted(found.items()))


def _facts() -> dict[str, Any]:
  """What this process can say of itself."""
  return {
    'command': shlex.join(sys.orig_argv),
    'folder': os.getcwd(),
    'host': socket.gethostname(),
    'platform': platform.platform(),
    'python': platform.python_version(),
    'versions': _versions(),
    'git': _revisions(),
  }


@functools.cache
def _versions() -> dict[str, str]:
  found = {'dopamine': dopamine.__version__}
  for name in _PACKAGES:
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found


@functools.cache
def _revisions() -> dict[str, str]:
  """Of the working folder and of our sources: folder -> commit, or -dirty."""
  found = {}
  for folder in {os.getcwd(), backend.sources() or os.getcwd()}:
    root = _git(folder, 'rev-parse', '--show-toplevel')
    if root:
      found[root] = _git(
        *(root, 'describe', '--always', '--dirty', '--abbrev=40'),
        *('--exclude', '*'),
      )
  return found


def _git(folder: str, *words: str) -> str:
  """What git says, '' where it says nothing, or is not there."""
  try:
    return subprocess.run(
      ['git', '-C', folder, *words],
      capture_output=True,
      timeout=10,
      check=True,
      text=True,
      errors='replace',
    ).stdout.strip()
  except (OSError, subprocess.SubprocessError):
    return ''
