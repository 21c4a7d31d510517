"""Tests of `dopamine.shapes`."""

import numpy as np
import pytest

from dopamine import shapes

pytestmark = pytest.mark.no_backend


def test_accepts_shapes_that_agree():
  shapes.check('B A, B', np.zeros((2, 3)), np.zeros(2))


def test_names_the_size_that_differs():
  with pytest.raises(ValueError, match='B is 2 and 4'):
    shapes.check('B A, B', np.zeros((2, 3)), np.zeros(4))


def test_names_the_shape_of_the_wrong_rank():
  with pytest.raises(ValueError, match=r'expected shape \[B\].*got \(2, 1\)'):
    shapes.check('B A, B', np.zeros((2, 3)), np.zeros((2, 1)))


def test_an_unknown_size_matches_anything():
  class Traced:
    shape = (None, 3)

  shapes.check('B A, B A', Traced(), np.zeros((7, 3)))


def test_every_array_needs_its_part():
  with pytest.raises(ValueError):
    shapes.check('B', np.zeros(1), np.zeros(1))
