"""Chooses Keras's backend before Keras loads; a process has one.

And says how what a command needs is installed.
"""

from collections.abc import Iterable, Iterator
import contextlib
import functools
import importlib
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
import types

from dopamine.settings import errors

# A jax_* agent, or anything of dopamine.jax, in the text of a gin file.
_NAMES_JAX = re.compile(
  r'agent_name\s*=\s*[\'"]jax_|^\s*(import|from)\s+dopamine\.jax\b|\bJax\w+Agent\.',
  re.MULTILINE,
)
_COMMENT = re.compile(r'#.*')


def _installed(name: str) -> bool:
  return importlib.util.find_spec(name) is not None


def sources() -> str | None:
  """The folder of the project, if the package lies in its sources."""
  root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
  is_there = os.path.isfile(os.path.join(root, 'pyproject.toml'))
  return root if is_there else None


def how_to_install(extra: str) -> str:
  """The command that installs an extra of pyproject.toml, '' for none."""
  extra = extra and f'[{extra}]'
  if root := sources():
    return f"pip install -e '{root}{extra}'"
  return f"pip install '.{extra}' in the folder of Dopamine's sources"


def import_extra(module: str, who: str) -> types.ModuleType:
  """Returns a module of the extra `viz`, which not everybody has.

  Args:
    module: its name, such as 'matplotlib.figure'.
    who: needs it.

  Raises:
    ImportError: says how it is installed.
  """
  try:
    return importlib.import_module(module)
  except ImportError as error:
    raise errors.NotInstalledError(
      f'{who} needs {module.partition(".")[0]}, which is not installed: '
      + how_to_install('viz')
    ) from error


def check_installed(name: str, who: str) -> None:
  """Refuses to go on without a backend.

  Args:
    name: 'tensorflow' or 'jax'.
    who: needs it.

  Raises:
    ImportError: says how it is installed.
  """
  if _installed(name):
    return
  way_out = how_to_install('jax' if name == 'jax' else '')
  if name == 'tensorflow':
    way_out += ' installs it, and KERAS_BACKEND=jax runs on JAX instead'
    if sys.version_info >= (3, 14):
      way_out = (
        'TensorFlow has no build for this Python: use Python 3.11 to 3.13, or '
        f'JAX, with KERAS_BACKEND=jax ({how_to_install("jax")})'
      )
  raise errors.NotInstalledError(
    f'{who} needs {name}, which is not installed: {way_out}'
  )


def current() -> str | None:
  """The settled backend: that of Keras if it is loaded, else the variable's.

  Raises:
    RuntimeError: Keras was loaded with another than the variable says.
  """
  variable = os.environ.get('KERAS_BACKEND') or None
  if 'keras' not in sys.modules:  # `import tensorflow` loads it too.
    return variable
  loaded = sys.modules['keras'].config.backend()
  if variable not in (None, loaded):
    raise errors.StateError(
      f'KERAS_BACKEND={variable}, but Keras was loaded with {loaded}, and a '
      f'process has one backend: set KERAS_BACKEND={variable} before Python '
      'starts, or before the first import of keras or tensorflow'
    )
  return loaded


def choose(gin_texts: Iterable[str] = ()) -> str:
  """Settles the backend and returns its name.

  KERAS_BACKEND decides if it is set (or if Keras is already loaded; where
  TensorFlow is not installed and JAX is, `dopamine` sets it); else JAX,
  when a gin text names a `jax_*` agent or imports `dopamine.jax`; else
  TensorFlow.

  Args:
    gin_texts: the contents of gin files, and bindings.

  Raises:
    ImportError: what is chosen is not installed.
  """
  name = current()
  who = f'KERAS_BACKEND={name}'
  if name is None:
    if names_jax(gin_texts):
      name, who = 'jax', 'a jax_* agent, or what else of JAX the files name,'
    else:
      name, who = 'tensorflow', 'a run without KERAS_BACKEND'
  if name not in ('tensorflow', 'jax'):
    if os.environ.get('KERAS_BACKEND'):
      found = f'KERAS_BACKEND={name} is none of ours: set it to'
    else:
      found = (
        f'Keras was loaded with {name}, which is none of ours: set '
        'KERAS_BACKEND to'
      )
    raise errors.SettingError(
      f"{found} 'tensorflow' or 'jax' before Python starts"
    )
  check_installed(name, who)
  os.environ['KERAS_BACKEND'] = name
  # Warnings and errors of TensorFlow's C++ side, but not its start-up notes.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '1')
  # And those of JAX, which at INFO tells of the TPUs that it did not find.
  logging.getLogger('jax').setLevel(logging.WARNING)
  # GPU memory as it is needed, as TensorFlow's memory growth has it.
  os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  return name


def names_jax(gin_texts: Iterable[str]) -> bool:
  """Whether gin texts name a `jax_*` agent or import `dopamine.jax`."""
  return any(_NAMES_JAX.search(_COMMENT.sub('', text)) for text in gin_texts)


def settle_without_tensorflow() -> None:
  """Chooses JAX where nothing is chosen, and it is the one that there is."""
  is_open = 'keras' not in sys.modules and not os.environ.get('KERAS_BACKEND')
  if is_open and not _installed('tensorflow') and _installed('jax'):
    os.environ['KERAS_BACKEND'] = 'jax'


def load_keras() -> None:
  """Settles the backend, and loads it without noise.

  Raises:
    ImportError: it is not installed.
  """
  choose()
  with quiet():
    importlib.import_module('keras')


def require(name: str, who: str) -> None:
  """Settles the backend as `name` for `who` needs it.

  Raises:
    RuntimeError: another backend is settled already.
    ImportError: the backend is not installed.
  """
  settled = current()
  if settled not in (None, name):
    raise errors.StateError(
      f'{who} needs the {name} backend, but this process uses {settled}: set '
      f'KERAS_BACKEND={name} before Python starts'
    )
  check_installed(name, who)
  os.environ['KERAS_BACKEND'] = name
  choose()


# GPUs -------------------------------------------------------------------------


@functools.cache
def has_gpu() -> bool:
  """Whether there is an NVIDIA driver, and its GPUs are not hidden."""
  if os.environ.get('CUDA_VISIBLE_DEVICES') in ('', '-1'):
    return False
  with contextlib.suppress(OSError, subprocess.SubprocessError):
    subprocess.run(
      ['nvidia-smi', '-L'], capture_output=True, timeout=10, check=True
    )
    return True
  return False


def why_no_gpu(name: str) -> str:
  """Why a backend leaves the GPU of this machine alone, and the way out."""
  libraries = {'tensorflow': 'nvidia.cudnn', 'jax': 'jax_cuda12_plugin'}[name]
  with contextlib.suppress(ImportError):  # Of the package around it.
    if _installed(libraries):
      return (
        'its CUDA libraries are installed, so the driver may be too old for '
        'them, or another process may hold the GPU: nvidia-smi shows both'
      )
  return (
    'what is installed of it computes on CPUs. For GPUs: make setup GPU=1, or '
    f'{how_to_install("cuda")}. CUDA_VISIBLE_DEVICES=-1 leaves the GPU alone'
  )


# What TensorFlow writes at its start, before it looks at TF_CPP_MIN_LOG_LEVEL,
# and of CUDA where there is none. Errors of anything else stay.
_NOISE = r"""
import re, sys
noise = re.compile(rb'WARNING: All log messages before absl|I\d{4} '
  rb'|[WE]\d{4} .*(?i:cuda|cuinit|cudnn|cublas|cufft|computation_placer)')
for line in sys.stdin.buffer:
  if not noise.match(line):
    sys.stderr.buffer.write(line)
    sys.stderr.buffer.flush()
"""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Leaves out what TensorFlow says of CUDA on a machine without a GPU.

  TF_CPP_MIN_LOG_LEVEL=0 shows all.
  """
  with contextlib.ExitStack() as stack:
    shows_all = os.environ.get('TF_CPP_MIN_LOG_LEVEL') == '0'
    if not shows_all and not shutil.which('nvidia-smi'):
      with contextlib.suppress(OSError):  # No stderr, or no processes left.
        stack.enter_context(_without_noise())
    yield


@contextlib.contextmanager
def _without_noise() -> Iterator[None]:
  """Has a process of its own read what comes from C++, past `sys.stderr`."""
  # So nothing else is lost if this one dies.
  with os.fdopen(os.dup(2), 'wb') as stderr:
    reader = subprocess.Popen(
      [sys.executable, '-ISc', _NOISE],
      stdin=subprocess.PIPE,
      stderr=stderr,
      start_new_session=True,  # Ctrl-C is not for it.
    )
    assert reader.stdin is not None
    os.dup2(reader.stdin.fileno(), 2)
    reader.stdin.close()
    try:
      yield
    finally:
      if sys.stderr is not None:
        sys.stderr.flush()
      os.dup2(stderr.fileno(), 2)
      reader.wait()
