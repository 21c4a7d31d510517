"""Dopamine: a research framework for value-based reinforcement learning."""

import sys
from typing import Any

if sys.argv[:1] == ['-m']:  # Python puts the path of the program there later.
  from dopamine import signals

  if signals.is_program():  # Before what takes time to load.
    signals.begin()

from dopamine import seams  # noqa: E402

if not any(isinstance(finder, seams.Finder) for finder in sys.meta_path):
  sys.meta_path.insert(0, seams.Finder())
  sys.meta_path.append(seams.LastFinder())


def __getattr__(name: str) -> Any:
  """Serves what takes time to load only when it is asked for."""
  if name == '__version__':
    return _version()
  if name == 'load_agent':
    from dopamine.runs import trained

    return trained.load_agent
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def _version() -> str:
  """The version of this copy of the package, whatever else is installed."""
  import importlib.metadata
  import pathlib
  import tomllib

  parent = pathlib.Path(__file__).parents[1]
  try:  # A checkout, installed or not.
    project = tomllib.loads((parent / 'pyproject.toml').read_text())['project']
    if project['name'] == 'dopamine-rl':
      return project['version']
  except (KeyError, OSError, ValueError):
    pass
  # Of the folder that this copy is in: the name has another owner elsewhere.
  found = importlib.metadata.distributions(
    name='dopamine-rl', path=[str(parent)]
  )
  return next((d.version for d in found), 'unknown')
