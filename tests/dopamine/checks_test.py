"""Settings are refused by name, with the value and what it must be."""

import copy
import math
import types

import numpy as np
import pytest

from dopamine.compat import dtypes
from dopamine.settings import checks

pytestmark = pytest.mark.no_backend


def checked(kind, value, name='gamma'):
  """What a setting that must be of a kind becomes."""

  class Thing:
    __module__ = 'dopamine.settings.checks'  # As ours.
    SETTINGS = {name.lstrip('_'): kind}

  thing = Thing()
  setattr(thing, name, value)
  checks.check(thing)
  return getattr(thing, name)


@pytest.mark.parametrize('value', [3, 3.0, np.int64(3), np.float32(3)])
def test_integral_numbers_become_int(value):
  period = checked(checks.integer(1), value, '_period')
  assert type(period) is int and period == 3


@pytest.mark.parametrize(
  'value', [0, -1, 2.5, '3', None, True, (3,), math.nan, math.inf, [], abs]
)
def test_what_is_no_integer_above_0_is_refused(value):
  with pytest.raises(ValueError) as error:
    checked(checks.integer(1), value, '_period')
  assert str(error.value) == (
    f'Thing.period = {value!r} must be an integer of at least 1: change the '
    'gin binding or the argument'
  )


def test_numbers_stay_within_their_bounds():
  for value in (0, 1, 0.5, np.float32(0.5)):
    assert checked(checks.real(0, 1), value) is value
  for value in (-0.1, 1.1, '0.5', None, True, math.nan):
    with pytest.raises(ValueError, match='Thing.gamma = .*between 0 and 1'):
      checked(checks.real(0, 1), value)
  with pytest.raises(ValueError, match='a number of at least 0'):
    checked(checks.real(0, math.inf), -1)
  with pytest.raises(ValueError, match='must be a number: '):
    checked(checks.real(-math.inf, math.inf), 'x')


def test_rates_may_be_schedules():
  for value in (lambda: 0.1, 0, 0.9, np.float32(2)):
    checked(checks.rate, value)
  for value in (-1e-3, 'fast', None, True, (0.1,), math.nan):
    with pytest.raises(ValueError, match='Adam.learning_rate = '):
      checks.check_arguments(
        'Adam',
        {'learning_rate': checks.rate, 'momentum': checks.share},
        {'learning_rate': value, 'name': 'a'},
      )


def test_shares_are_less_than_1():
  for value in (lambda: 0.1, 0, 0.9):
    checked(checks.share, value)
  for value in (1, 1.0, -0.1, 'x'):
    with pytest.raises(ValueError, match='Thing.gamma = .*at least 0'):
      checked(checks.share, value)


def test_what_is_optional_may_be_none():
  assert checked(checks.optional(checks.integer(0)), None) is None
  assert checked(checks.optional(checks.integer(0)), 2.0) == 2
  with pytest.raises(ValueError, match="'2'"):
    checked(checks.optional(checks.integer(0)), '2')


def test_file_names_name_no_folder():
  assert checked(checks.file_name, 'ckpt-1_a') == 'ckpt-1_a'
  for value in ('', '../x', 'a/b', 3, None, 'x' * 100, 'a b'):
    with pytest.raises(ValueError, match='a file name of letters'):
      checked(checks.file_name, value)


def test_texts_may_be_none():
  assert checked(checks.text, None) is None and checked(checks.text, '') == ''
  with pytest.raises(ValueError, match='a text or None'):
    checked(checks.text, 3)


def test_a_subclass_adds_its_settings_and_changes_those_of_its_parents():
  class Parent:
    __module__ = 'dopamine.settings.checks'  # As ours.
    SETTINGS = {'a': checks.integer(1), 'b': checks.switch}

    def __init__(self, **settings):
      vars(self).update(settings)
      checks.check(self)

  class Other:
    __module__ = 'dopamine.settings.checks'  # As ours.
    SETTINGS = {'c': checks.switch}

  class Child(Parent, Other):
    __module__ = 'dopamine.settings.checks'  # As ours.
    SETTINGS = {'a': checks.integer(2)}

  assert set(checks.settings(Child)) == {'a', 'b', 'c'}
  Child(a=2, b=True)  # It has no c yet.
  Parent(a=1)
  for settings in ({'a': 1}, {'a': 2, 'b': 'x'}, {'c': 'x'}):
    with pytest.raises(ValueError, match='Child.* must be '):
      Child(**settings)


@pytest.mark.parametrize('mine', [{'a': 0.1}, ['a', 'b'], None])
def test_what_users_call_settings_is_their_own_affair(mine):
  class Ours:
    __module__ = 'dopamine.settings.checks'  # As ours.
    SETTINGS = {'a': checks.integer(1)}

  class Theirs(Ours):
    SETTINGS = mine

  theirs = Theirs()
  theirs.a = 2.0
  checks.check(theirs)
  assert type(theirs.a) is int
  theirs.a = 0
  with pytest.raises(ValueError, match='Theirs.a = 0 must be '):
    checks.check(theirs)


def test_switches_are_true_or_false():
  for value in (True, 0, np.bool_(True)):
    assert checked(checks.switch, value) is value
  for value in ('False', 2, None, []):
    with pytest.raises(ValueError, match='True or False'):
      checked(checks.switch, value)


def test_functions_are_callable():
  assert checked(checks.function, dict) is dict
  with pytest.raises(ValueError, match="Thing.gamma = 'relu' .*@name"):
    checked(checks.function, 'relu')


def test_sizes_are_tuples_of_integers():
  assert checked(checks.size, [4, 1.0]) == (4, 1)
  assert checked(checks.size, ()) == ()
  for value in (84, '84', (0,), (-1, 2), (1.5,), None, ('a',)):
    with pytest.raises(ValueError, match='Thing.gamma = '):
      checked(checks.size, value)


def test_dtypes_of_numpy_and_tensorflow_are_known():
  tf_like = types.SimpleNamespace(as_numpy_dtype=np.float32)
  for value in (np.uint8, 'uint8', np.dtype('uint8')):
    assert checked(checks.dtype, value) == np.uint8
  assert checked(checks.dtype, tf_like) == np.float32
  with pytest.raises(ValueError, match="Thing.gamma = 'pixel' must be a NumPy"):
    checked(checks.dtype, 'pixel')


def test_arrays_are_numbers():
  for value in ((1, -math.inf), 2, np.ones(3)):
    assert checked(checks.array, value) is value
  for value in ('x', '3', (), None, ('x',), {}, {'x': 1}, (1, math.nan)):
    with pytest.raises(ValueError, match='a sequence of numbers'):
      checked(checks.array, value)


def test_a_dtype_answers_as_numpys_and_as_tensorflows():
  dtype = dtypes.DType(np.float64)
  assert dtype == np.float64 == dtype and dtype == dtypes.DType('f8')
  assert dtype != np.float32 and dtype != None and {dtype: 1}[np.dtype('f8')]  # noqa: E711
  assert np.zeros(2, dtype).dtype == np.ones(2).astype(dtype).dtype == dtype
  assert dtype.as_numpy_dtype is np.float64 and dtype.itemsize == 8
  assert dtype(3) == 3.0 and repr(dtype) == 'float64'
  assert copy.deepcopy(dtype) == dtype
