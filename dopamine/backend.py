"""Chooses Keras's backend before Keras loads; a process has one."""

from collections.abc import Iterable
import importlib.util
import os
import re
import sys

# A jax_* agent, or anything of dopamine.jax, in the text of a gin file.
_NAMES_JAX = re.compile(
  r'agent_name\s*=\s*[\'"]jax_|^\s*(import|from)\s+dopamine\.jax\b|\bJax\w+Agent\.',
  re.MULTILINE,
)
_COMMENT = re.compile(r'#.*')


def _installed(name: str) -> bool:
  return importlib.util.find_spec(name) is not None


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
    raise RuntimeError(
      f'KERAS_BACKEND={variable}, but Keras was loaded with {loaded}, and a '
      f'process has one backend: set KERAS_BACKEND={variable} before Python '
      'starts, or before the first import of keras or tensorflow'
    )
  return loaded


def choose(gin_texts: Iterable[str] = ()) -> str:
  """Settles the backend and returns its name.

  KERAS_BACKEND decides if it is set (or if Keras is already loaded); else JAX,
  when a gin text names a `jax_*` agent or imports `dopamine.jax`, or when
  TensorFlow is not installed and JAX is; else TensorFlow.

  Args:
    gin_texts: the contents of gin files, and bindings.
  """
  name = current()
  if name is None:
    wants_jax = any(_NAMES_JAX.search(_COMMENT.sub('', t)) for t in gin_texts)
    if wants_jax or (not _installed('tensorflow') and _installed('jax')):
      name = 'jax'
    else:
      name = 'tensorflow'
  if name not in ('tensorflow', 'jax'):
    if os.environ.get('KERAS_BACKEND'):
      found = f'KERAS_BACKEND={name} is none of ours: set it to'
    else:
      found = (
        f'Keras was loaded with {name}, which is none of ours: set '
        'KERAS_BACKEND to'
      )
    raise ValueError(f"{found} 'tensorflow' or 'jax' before Python starts")
  os.environ['KERAS_BACKEND'] = name
  # Warnings and errors of TensorFlow's C++ side, but not its start-up notes.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '1')
  # GPU memory as it is needed, as TensorFlow's memory growth has it.
  os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  return name


def require(name: str, who: str) -> None:
  """Settles the backend as `name` for `who` needs it.

  Raises:
    RuntimeError: another backend is settled already.
    ImportError: the backend is not installed.
  """
  settled = current()
  if settled not in (None, name):
    raise RuntimeError(
      f'{who} needs the {name} backend, but this process uses {settled}: set '
      f'KERAS_BACKEND={name} before Python starts'
    )
  if not _installed(name):
    extra = '[jax]' if name == 'jax' else ''
    raise ImportError(
      f'{who} needs {name}, which is not installed: '
      f"pip install 'dopamine-rl{extra}'"
    )
  os.environ['KERAS_BACKEND'] = name
  choose()
