"""Where the wing `compat` is joined: what exists for something older.

Nothing of the core needs it. Where `dopamine.compat` is missing, old files, old
code and what speaks another interface are refused, and the rest works.
"""

from functools import partial
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from types import FunctionType
from types import ModuleType
from typing import Any

# The modules of this package, by folder: forks of Dopamine keep code of their
# own there.
_MODULES = {
  'dopamine': """
    backend command_line interfaces losses memory optimizers safe_pickle seams
    seeding shapes signals storage
  """,
  'dopamine.agents': """
    batches contents exploration replay_agent reporting saving
  """,
  'dopamine.analysis': """
    __main__ comparing comparing_runs figures naming page published runs
    statistics tables twins writer
  """,
  'dopamine.colab': 'utils',
  'dopamine.discrete_domains': """
    agent_factory ale_state atari_lib checkpointer evaluate games gym_lib
    iteration_statistics legacy_networks logger run_experiment train watch
  """,
  'dopamine.compat': """
    adapters dopamine_4 dtypes flax_modules flax_networks gin_paths gin_tf
    gone old_code old_folders old_gym old_memories old_modules old_names
    old_optimizers old_records old_runners old_states old_weights
    old_writers own_code proxy statistics_instance
  """,
  'dopamine.files': """
    arrays atomic bounded_pickle lock parity pending safe_pickle unpickler
  """,
  'dopamine.learners': """
    devices jax_devices jax_learner keras_settings tf_checkpoint tf_devices
    tf_learner
  """,
  'dopamine.runs': """
    bundles checkpoints event_writer filming going_on live progress run
    run_checks run_folder run_record run_state saver trained videos
  """,
  'dopamine.settings': 'checks errors gin_files gin_mistakes spaces',
  'dopamine.compat.functional': """
    agents bare base door dqn full_rainbow implicit_quantile learner quantile
    rainbow trees updates
  """,
  'dopamine.jax': 'losses networks',
  'dopamine.networks': """
    atari distributional fourier parts perceptron rainbow vectors wrapped
  """,
  'dopamine.replay_memory': """
    batches circular_replay_buffer data_set elements export
    prioritized_replay_buffer ring ring_files ring_reader saved_ring slots
    sum_tree windows
  """,
  'dopamine.utils': """
    agent_visualizer atari_plotter bar_plotter example_viz example_viz_lib
    figures line_plotter panel plotter test_utils video
  """,
}
for _name in 'dqn', 'rainbow', 'implicit_quantile', 'quantile', 'full_rainbow':
  for _folder in 'dopamine.agents', 'dopamine.jax.agents':
    _MODULES[f'{_folder}.{_name}'] = f'{_name}_agent'
_OURS = {*_MODULES}
_OURS |= {
  f'{folder}.{n}' for folder in _MODULES for n in _MODULES[folder].split()
}

_OF_THE_CORE = {
  name for name in _OURS if not name.startswith('dopamine.compat')
}


def is_ours(module: str | None) -> bool:
  """Whether a module is of this package, and no fork's under its name."""
  return module in _OURS


def compat(name: str, *partners: Any) -> Any:
  """Returns the module `dopamine.compat.NAME`, None if there is none.

  None as well if there are partners, and the classes of all are ours.
  """
  modules = [type(partner).__module__ for partner in partners]
  if modules and all(module in _OF_THE_CORE for module in modules):
    return None
  try:
    return importlib.import_module(f'dopamine.compat.{name}')
  except ModuleNotFoundError as error:
    if not (error.name or '').startswith('dopamine.compat'):
      raise
    return None


def check_code(made: Any) -> None:
  """Refuses what a user's class made that was written for what is gone."""
  if old_code := compat('old_code', made):
    old_code.check(made)


def check_network(agent: Any) -> None:
  """Refuses a network that is a function of a state, as in Dopamine 2."""
  if isinstance(agent.network, FunctionType | partial):
    if old_code := compat('old_code'):
      old_code.refuse_function(agent)


def dtype(kind: Any) -> Any:
  """A NumPy dtype, which with compat answers code for TensorFlow too."""
  import numpy as np  # `import dopamine` does without.

  dtypes = compat('dtypes')
  return dtypes.DType(kind) if dtypes else np.dtype(kind)


def old_name(module: str, name: str) -> Any:
  """Returns what a module once had under a name, for its `__getattr__`."""
  old_names = compat('old_names')
  if old_names and (module, name) in old_names.MOVED:
    return old_names.find(module, name)
  raise AttributeError(f'module {module!r} has no attribute {name!r}')


class Finder(importlib.abc.Loader):
  """Serves `gin.tf`, which gin files and users' code import, from compat.

  And readies the process before the first module below `dopamine` is loaded, of
  which each is loaded when it is needed.
  """

  _is_ready = _is_asking = False

  def find_spec(
    self, name: str, path: Any = None, target: Any = None
  ) -> importlib.machinery.ModuleSpec | None:
    """See `importlib.abc.MetaPathFinder`."""
    if name in ('gin.tf', 'gin.tf.external_configurables', 'gin.tf.utils'):
      is_package = name == 'gin.tf'
      return importlib.machinery.ModuleSpec(name, self, is_package=is_package)
    if not name.startswith('dopamine.'):
      return None
    if not self._is_ready:
      self._is_ready = True
      _make_ready()
    import gin

    if self._is_asking or not gin.config_is_locked():
      return None
    self._is_asking = True
    try:
      spec = importlib.util.find_spec(name)  # By all others.
    finally:
      self._is_asking = False
    if spec is not None and spec.loader is not None:
      # Names of ours are there at any time.
      unlocked = gin.unlock_config()(spec.loader.exec_module)
      spec.loader.exec_module = unlocked  # type: ignore[method-assign]
    return spec

  def exec_module(self, module: ModuleType) -> None:
    """Registers what files that import the module bind."""
    if compat('gin_tf') is None:
      from dopamine.settings import errors

      raise errors.NotInstalledError(
        f'{module.__name__} is served by dopamine.compat, which is not here: '
        'bind what is of dopamine.optimizers instead of tf.train and leave the '
        'import out, or install the package whole'
      )


class LastFinder:
  """Serves or refuses modules of older programs that no other finder has."""

  def find_spec(
    self, name: str, path: Any = None, target: Any = None
  ) -> importlib.machinery.ModuleSpec | None:
    """See `importlib.abc.MetaPathFinder`."""
    if not name.startswith('dopamine.') or name.startswith('dopamine.compat'):
      return None
    old_modules = compat('old_modules')
    return old_modules.find(name) if old_modules else None


def _make_ready() -> None:
  """Has the backend, and gin, as a direct call of its parser counts on."""
  # So files are UTF-8, and may bind the names of `gin.tf` without the import.
  from dopamine import backend
  from dopamine.settings import gin_files

  backend.settle_without_tensorflow()
  gin_files.install()
  if gin_paths := compat('gin_paths'):
    gin_paths.install()
  if 'gin.tf' not in sys.modules and compat('gin_tf') is not None:
    for name in ('external_configurables', 'utils'):
      importlib.import_module(f'gin.tf.{name}')
