"""Files that were made at random neither end the process nor fill its memory.

`tests/support/fuzz.py` makes and reads them, in processes of its own.
"""

import subprocess
import sys

import pytest

from tests.support import fuzz

pytestmark = pytest.mark.no_backend


def run(kind, count, seed):
  child = subprocess.run(
    [
      *(sys.executable, '-m', 'tests.support.fuzz'),
      *(kind, str(count), '--seed', str(seed)),
    ],
    capture_output=True,
    text=True,
  )
  assert child.returncode == 0, child.stdout + child.stderr[-5000:]


@pytest.mark.parametrize('kind', fuzz.FORMATS)
def test_files_that_are_made_at_random(kind):
  run(kind, 300, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(10))
def test_a_hundred_thousand_pickles(seed):
  run('pickle', 10_000, seed)


@pytest.mark.slow
@pytest.mark.parametrize('kind', [k for k in fuzz.FORMATS if k != 'pickle'])
def test_ten_thousand_files(kind):
  run(kind, 10_000, seed=2)
