"""Tests of `dopamine.losses`: arithmetic a reader can redo."""

import numpy as np
from numpy.testing import assert_allclose
import pytest

from dopamine import losses


def test_huber_is_quadratic_inside_and_linear_outside():
  # 0.5 * 0.5^2 = 0.125; 0.5 * 1^2 = 0.5; 3 - 0.5 = 2.5
  errors = np.array([0.0, 0.5, -0.5, 1.0, -3.0], np.float32)
  assert_allclose(losses.huber(errors), [0.0, 0.125, 0.125, 0.5, 2.5])


def test_huber_turns_at_delta():
  # 0.5 * 1.5^2 = 1.125; 2 * (3 - 1) = 4
  errors = np.array([1.5, 3.0], np.float32)
  assert_allclose(losses.huber(errors, delta=2.0), [1.125, 4.0])


def test_huber_keeps_the_shape():
  assert losses.huber(np.zeros((2, 3, 4), np.float32)).shape == (2, 3, 4)


def test_squared_has_no_half():
  assert_allclose(losses.squared(np.array([-3.0], np.float32)), [9.0])


def test_take_action_picks_one_value_per_row():
  values = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)
  assert_allclose(losses.take_action(values, np.array([2, 0])), [3.0, 4.0])


def test_take_action_picks_rows_of_atoms():
  values = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
  taken = losses.take_action(values, np.array([1, 2], np.int32))
  assert_allclose(taken, [[2.0, 3.0], [10.0, 11.0]])


def test_take_action_refuses_a_column_of_actions():
  with pytest.raises(ValueError, match='expected shape'):
    losses.take_action(np.zeros((2, 3)), np.zeros((2, 1), np.int32))
