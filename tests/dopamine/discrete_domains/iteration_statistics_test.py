"""Tests of `IterationStatistics`."""

import pytest

from dopamine.discrete_domains import iteration_statistics

pytestmark = pytest.mark.no_backend


def test_values_are_collected_by_key():
  statistics = iteration_statistics.IterationStatistics()
  statistics.append({'a': 1, 'b': 2.5})
  statistics.append({'a': 3})
  assert statistics.data_lists == {'a': [1, 3], 'b': [2.5]}
