"""One seed per run, split into independent streams."""

from collections.abc import Iterator
import contextlib
import contextvars
import random
import secrets
import zlib

import numpy as np

from dopamine.settings import checks
from dopamine.settings import errors

_run_seed: contextvars.ContextVar[int | None] = contextvars.ContextVar(
  'run_seed', default=None
)


@contextlib.contextmanager
def run_seed(seed: int) -> Iterator[None]:
  """Makes `seed` the default of everything that is built inside.

  The Runner opens this around its environment and agent factories, so that
  the run's seed also reaches agents whose factories know nothing of seeds.
  """
  token = _run_seed.set(seed)
  try:
    yield
  finally:
    _run_seed.reset(token)


def resolve(seed: int | None) -> int:
  """Returns `seed` if given, else the run's seed, else a fresh one."""
  if seed is None:
    seed = _run_seed.get()
  if seed is None:
    return secrets.randbits(31)
  if not checks.is_number(seed) or seed != int(seed) or seed < 0:
    raise errors.SettingError(f'seed={seed!r} is not an integer of 0 or more')
  return int(seed)


def generator(seed: int, stream: str) -> np.random.Generator:
  """Returns the generator of one stream, e.g. `generator(7, 'replay')`."""
  sequence = np.random.SeedSequence([seed, zlib.crc32(stream.encode())])
  return np.random.default_rng(sequence)


def integer(seed: int, stream: str) -> int:
  """Returns a 31-bit seed for a library that takes an integer."""
  return int(generator(seed, stream).integers(2**31))


@contextlib.contextmanager
def for_keras(seed: int) -> Iterator[None]:
  """Seeds the generators that Keras's initialisers draw their seeds from.

  They are Python's and NumPy's global ones.
  """
  with globals_kept():
    value = integer(seed, 'networks')
    random.seed(value)
    np.random.seed(value)
    yield


@contextlib.contextmanager
def globals_kept() -> Iterator[None]:
  """Puts Python's and NumPy's global generators back afterwards."""
  python, numpy = random.getstate(), np.random.get_state()
  try:
    yield
  finally:
    random.setstate(python)
    np.random.set_state(numpy)
