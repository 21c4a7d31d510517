"""What holds for all tests."""

import gc
import sys

import pytest


@pytest.fixture(autouse=True, scope='module')
def let_go_of_what_was_compiled():
  """Otherwise JAX keeps what every agent of the suite compiled: 4 GB."""
  yield
  if 'jax' in sys.modules:
    gc.collect()
    sys.modules['jax'].clear_caches()
