"""Tests of `dopamine.seeding`."""

import pytest

from dopamine import seeding

pytestmark = pytest.mark.no_backend


def draws(seed, stream):
  return seeding.generator(seed, stream).integers(2**60, size=4).tolist()


def test_streams_are_reproducible_and_apart():
  assert draws(1, 'replay') == draws(1, 'replay')
  assert draws(1, 'replay') != draws(2, 'replay')
  assert draws(1, 'replay') != draws(1, 'agent')
  assert seeding.integer(1, 'a') == seeding.integer(1, 'a')
  assert 0 <= seeding.integer(1, 'a') < 2**31


def test_what_is_given_wins_over_the_run_and_the_run_over_chance():
  with seeding.run_seed(7):
    assert seeding.resolve(None) == 7
    assert seeding.resolve(3) == 3
    with seeding.run_seed(8):
      assert seeding.resolve(None) == 8
    assert seeding.resolve(None) == 7
  assert seeding.resolve(None) != seeding.resolve(None)


@pytest.mark.parametrize('seed', [-1, 1.5, True])
def test_other_seeds_are_refused(seed):
  with pytest.raises(ValueError, match=f'seed={seed}'):
    seeding.resolve(seed)
