"""Settings are refused by name, with the value and what it must be."""

import copy
import math
import types

import numpy as np
import pytest

from dopamine.settings import checks

pytestmark = pytest.mark.no_backend


class Thing:
  def __init__(self, **settings):
    vars(self).update(settings)


@pytest.mark.parametrize('value', [3, 3.0, np.int64(3), np.float32(3)])
def test_integral_numbers_become_int(value):
  thing = Thing(_period=value)
  checks.integers(thing, 1, '_period')
  assert type(thing._period) is int and thing._period == 3


@pytest.mark.parametrize(
  'value', [0, -1, 2.5, '3', None, True, (3,), math.nan, math.inf, [], abs]
)
def test_what_is_no_integer_above_0_is_refused(value):
  with pytest.raises(ValueError) as error:
    checks.integers(Thing(_period=value), 1, '_period')
  assert str(error.value) == (
    f'Thing.period = {value!r} must be an integer of at least 1: change the '
    'gin binding or the argument'
  )


def test_numbers_stay_within_their_bounds():
  for value in (0, 1, 0.5, np.float32(0.5)):
    checks.reals(Thing(gamma=value), 0, 1, 'gamma')
  for value in (-0.1, 1.1, '0.5', None, True, math.nan):
    with pytest.raises(ValueError, match='Thing.gamma = .*between 0 and 1'):
      checks.reals(Thing(gamma=value), 0, 1, 'gamma')
  with pytest.raises(ValueError, match='a number of at least 0'):
    checks.reals(Thing(kappa=-1), 0, math.inf, 'kappa')
  with pytest.raises(ValueError, match='must be a number: '):
    checks.reals(Thing(vmax='x'), -math.inf, math.inf, 'vmax')


def test_rates_may_be_schedules():
  checks.rates('Adam', learning_rate=lambda: 0.1, epsilon=0, decay=0.9)
  for value in (-1e-3, 'fast', None, True, (0.1,), math.nan):
    with pytest.raises(ValueError, match='Adam.learning_rate = '):
      checks.rates('Adam', learning_rate=value)


def test_switches_are_true_or_false():
  checks.switches(Thing(a=True, b=0, c=np.bool_(True)), 'a', 'b', 'c')
  for value in ('False', 2, None, []):
    with pytest.raises(ValueError, match='True or False'):
      checks.switches(Thing(a=value), 'a')


def test_functions_are_callable():
  checks.functions(Thing(network=dict), 'network')
  with pytest.raises(ValueError, match="Thing.network = 'relu' .*@name"):
    checks.functions(Thing(network='relu'), 'network')


def test_sizes_are_tuples_of_integers():
  thing = Thing(shape=[4, 1.0])
  checks.sizes(thing, 'shape')
  assert thing.shape == (4, 1)
  checks.sizes(Thing(shape=()), 'shape')
  for value in (84, '84', (0,), (-1, 2), (1.5,), None, ('a',)):
    with pytest.raises(ValueError, match='Thing.shape = '):
      checks.sizes(Thing(shape=value), 'shape')


def test_dtypes_of_numpy_and_tensorflow_are_known():
  tf_like = types.SimpleNamespace(as_numpy_dtype=np.float32)
  for value in (np.uint8, 'uint8', np.dtype('uint8')):
    assert checks.dtype(Thing(d=value), 'd') == np.uint8
  assert checks.dtype(Thing(d=tf_like), 'd') == np.float32
  with pytest.raises(ValueError, match="Thing.d = 'pixel' must be a NumPy"):
    checks.dtype(Thing(d='pixel'), 'd')


def test_arrays_are_numbers():
  checks.arrays(Thing(a=(1, -math.inf), b=2, c=np.ones(3)), 'a', 'b', 'c')
  for value in ('x', '3', (), None, ('x',), {}, {'x': 1}, (1, math.nan)):
    with pytest.raises(ValueError, match='a sequence of numbers'):
      checks.arrays(Thing(min_vals=value), 'min_vals')


def test_a_dtype_answers_as_numpys_and_as_tensorflows():
  dtype = checks.DType(np.float64)
  assert dtype == np.float64 == dtype and dtype == checks.DType('f8')
  assert dtype != np.float32 and dtype != None and {dtype: 1}[np.dtype('f8')]  # noqa: E711
  assert np.zeros(2, dtype).dtype == np.ones(2).astype(dtype).dtype == dtype
  assert dtype.as_numpy_dtype is np.float64 and dtype.itemsize == 8
  assert dtype(3) == 3.0 and repr(dtype) == 'float64'
  assert copy.deepcopy(dtype) == dtype
