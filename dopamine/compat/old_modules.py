"""Modules that Dopamine has or had, and that are not here: what to write."""

import importlib.machinery
import importlib.util
import pathlib

from dopamine.settings import errors

_COLLECTOR = (
  'figures go to summary_writer.add_scalar(tag, value, step), to what _loss '
  'returns beside the loss, and to the logs of a Runner'
)

# The first of these that a name begins with says what to do.
_GONE = {
  'dopamine.metrics.': _COLLECTOR,
  'dopamine.labs': 'copy the files of the lab beside your program, and import '
  'them from there',
  'dopamine.continuous_domains': 'there are agents of discrete actions alone',
  'dopamine.jax.agents.sac': 'there are agents of discrete actions alone',
  'dopamine.jax.agents.ppo': 'there are agents that learn from a memory alone',
  'dopamine.jax.continuous_networks': 'there are agents of discrete actions '
  'alone',
  'dopamine.jax.serial_utils': 'flax.serialization has to_bytes and from_bytes',
  'dopamine.jax.replay_memory': 'take dopamine.replay_memory',
  'dopamine.tf': 'take "tf." out of the name of the module',
}


class GoneError(errors.NotInstalledError, ModuleNotFoundError):
  """There is no such module any more."""


def find(name: str) -> importlib.machinery.ModuleSpec | None:
  """Returns what serves a module that nobody else has.

  Raises:
    ImportError: it is one of Dopamine's, with what to do instead.
  """
  if name == 'dopamine.metrics':
    return importlib.machinery.ModuleSpec(name, None, is_package=True)
  if name == 'dopamine.metrics.statistics_instance':
    path = pathlib.Path(__file__).with_name('statistics_instance.py')
    return importlib.util.spec_from_file_location(name, path)
  for start, instead in _GONE.items():
    if name.startswith(start):
      # Without a name: `from dopamine import labs` would not tell it else.
      raise GoneError(
        f'{name} is not here: {instead}; see the row of {start.strip(".")} in '
        'docs/migrating.md'
      )
  return None
