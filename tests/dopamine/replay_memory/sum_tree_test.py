"""Tests of the sum tree against cumulative sums."""

import copy
import pickle
import re

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from dopamine import seeding
from dopamine.replay_memory import sum_tree

pytestmark = pytest.mark.no_backend


def _tree(values, capacity=None, seed=0):
  tree = sum_tree.SumTree(capacity or len(values), np.random.default_rng(seed))
  for i, value in enumerate(values):
    tree.set(i, value)
  return tree


# The oracle ------------------------------------------------------------------


def _find(values, fraction):
  """Returns the first index whose cumulative sum exceeds the query."""
  sums = np.cumsum(values)
  index = np.searchsorted(sums, fraction * sums[-1], side='right')
  return min(index, np.flatnonzero(values)[-1])


def _assert_sums_are_of_children(tree):
  for parents, children in zip(tree.nodes, tree.nodes[1:], strict=False):
    np.testing.assert_array_equal(parents, children[::2] + children[1::2])


def _assert_chi_square(counts, probabilities):
  """Five standard deviations: the mean is n - 1, the variance 2 (n - 1)."""
  assert not counts[probabilities == 0].any()
  counts, p = counts[probabilities > 0], probabilities[probabilities > 0]
  expected = counts.sum() * p
  n = len(p)
  chi_square = ((counts - expected) ** 2 / expected).sum()
  assert chi_square < n - 1 + 5 * np.sqrt(2 * max(1, n - 1))


# Sums and remainders of whole numbers are exact, so the oracle's are the same.
_whole = st.integers(0, 5) | st.integers(0, 1000)
_whole_lists = st.lists(_whole, min_size=1, max_size=40).filter(any)
_fractions = st.lists(st.floats(0, 1), min_size=1, max_size=20)
_values = st.just(0.0) | st.floats(0, 1e30)


@st.composite
def writes(draw):
  """A capacity, and writes: an index with its value, or lists of them."""
  capacity = draw(st.integers(1, 40))
  index = st.integers(0, capacity - 1)
  one = st.tuples(index, _values)
  many = st.lists(one, max_size=30).map(
    lambda pairs: (
      np.array([i for i, _ in pairs], np.int32),
      np.array([v for _, v in pairs]),
    )
  )
  return capacity, draw(st.lists(one | many, max_size=12))


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(_whole_lists, _fractions, st.integers(0, 20))
def test_sample_finds_what_cumulative_sums_find(values, fractions, unused):
  tree = _tree(values, len(values) + unused)
  expected = [_find(values, fraction) for fraction in fractions]
  assert [tree.sample(fraction) for fraction in fractions] == expected
  np.testing.assert_array_equal(tree.sample(fractions), expected)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(_whole_lists, st.integers(1, 20), st.integers(1, 4))
def test_stratified_sample_draws_once_from_each_part(
  values, batch_size, num_batches
):
  tree = _tree(values, seed=7)
  offset = np.random.default_rng(7).random((num_batches, batch_size))
  drawn = tree.stratified_sample(batch_size, num_batches)
  assert drawn.shape == (num_batches * batch_size,)
  assert drawn.dtype.kind == 'i'
  for b, batch in enumerate(drawn.reshape(num_batches, batch_size)):
    for part, index in enumerate(batch):
      assert index == _find(values, (part + offset[b, part]) / batch_size)


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(writes(), _fractions)
def test_tree_is_a_function_of_the_last_values(capacity_and_writes, fractions):
  capacity, history = capacity_and_writes
  tree = sum_tree.SumTree(capacity, np.random.default_rng(0))
  expected, largest = np.zeros(capacity), 1.0
  for node_index, value in history:
    tree.set(node_index, value)
    for i, v in zip(np.ravel(node_index), np.ravel(value), strict=True):
      expected[i] = v
      largest = max(largest, v)
  np.testing.assert_array_equal(tree.nodes[-1][:capacity], expected)
  np.testing.assert_array_equal(tree.get(np.arange(capacity)), expected)
  assert [tree.get(i) for i in range(capacity)] == expected.tolist()
  assert tree.max_recorded_priority == largest
  assert not tree.nodes[-1][capacity:].any()
  _assert_sums_are_of_children(tree)
  # What the leaves restore is the same to the last bit.
  other = sum_tree.SumTree(capacity)
  other.set(np.arange(capacity), expected)
  for level, restored in zip(tree.nodes, other.nodes, strict=True):
    np.testing.assert_array_equal(level, restored)
  if not expected.any():
    return
  assert (tree.get(tree.sample([0.0, 1.0, *fractions])) > 0).all()
  assert (tree.get(tree.stratified_sample(9, 2)) > 0).all()


# Arithmetic to redo by hand --------------------------------------------------


def test_levels_are_sums_of_pairs():
  tree = _tree([1, 2, 3, 4, 5])
  expected = [[15], [10, 5], [3, 7, 5, 0], [1, 2, 3, 4, 5, 0, 0, 0]]
  for level, sums in zip(tree.nodes, expected, strict=True):
    np.testing.assert_array_equal(level, sums)
    assert level.dtype == np.float64
  tree.set(1, 0)
  np.testing.assert_array_equal(tree.nodes[1], [8, 5])
  tree.set([2, 4], [6, 1])
  expected = [[12], [11, 1], [1, 10, 1, 0], [1, 0, 6, 4, 1, 0, 0, 0]]
  for level, sums in zip(tree.nodes, expected, strict=True):
    np.testing.assert_array_equal(level, sums)


def test_a_boundary_belongs_to_the_right():
  # Of a total of 8, the parts are [0, 1), [1, 4), [4, 4) and [4, 8).
  tree = _tree([1, 3, 0, 4])
  queries = [0, 0.9, 1, 3.9, 4, 7.9]
  assert [tree.sample(q / 8) for q in queries] == [0, 0, 1, 1, 3, 3]
  assert tree.sample(1.0) == 3


def test_only_what_is_not_zero_is_found():
  for index in range(5):
    tree = _tree([0.0] * 5)
    tree.set(index, 0.1)
    assert tree.sample([0.0, 0.3, 1.0]).tolist() == [index] * 3
    assert tree.stratified_sample(4).tolist() == [index] * 4


def test_rounding_does_not_lead_to_a_zero():
  below_one = np.nextafter(1.0, 0.0)
  # 0.3 + 0.7 is 1. The query is less, but less 0.3 it rounds to 0.7.
  assert below_one - 0.3 == 0.7
  tree = _tree([0.3, 0.0, 0.7, 0.0])
  assert tree.sample([below_one, 1.0]).tolist() == [2, 2]
  # Here the query itself rounds to the total.
  tree = _tree([5e-324, 0.0, 0.0])
  assert tree.sample([below_one, 1.0]).tolist() == [0, 0]


def test_single_index_capacity():
  tree = _tree([2.0])
  assert tree.nodes[0].tolist() == [2.0] and len(tree.nodes) == 1
  assert tree.sample() == tree.sample(0.0) == tree.sample(1.0) == 0
  assert tree.stratified_sample(3).tolist() == [0, 0, 0]


def test_capacity_is_padded_to_a_power_of_two():
  for capacity, leaves in [(1, 1), (2, 2), (3, 4), (8, 8), (9, 16), (100, 128)]:
    nodes = sum_tree.SumTree(capacity).nodes
    assert [len(level) for level in nodes] == [
      2**d for d in range(leaves.bit_length())
    ]
    assert not any(level.any() for level in nodes)


def test_max_recorded_priority_only_grows():
  tree = _tree([0.5, 0.25])
  assert tree.max_recorded_priority == 1.0
  tree.set(0, 3)
  assert tree.max_recorded_priority == 3.0
  tree.set(0, 2)
  tree.set([0, 1], [1, 2])
  assert tree.max_recorded_priority == 3.0
  tree.set([0, 1, 0], [9, 2, 1])  # One that is overwritten counts too.
  assert tree.max_recorded_priority == 9.0


def test_of_repeated_indices_the_last_value_stays():
  tree = _tree([0.0] * 8)
  indices, values = np.array([3, 5, 3, 5, 3]), np.arange(1.0, 6.0)
  tree.set(indices, values)
  assert tree.get(indices).tolist() == [5, 4, 5, 4, 5]
  assert tree.nodes[0] == [9]
  tree.set(indices[::-1], values[::-1])
  assert tree.get([3, 5]).tolist() == [1, 2]
  assert tree.nodes[0] == [3]
  many = np.tile(np.arange(8), 1000)[::-1]
  tree.set(many, np.arange(8000.0)[::-1])
  assert tree.get(np.arange(8)).tolist() == list(range(8))


def test_arrays_of_any_shape_and_integer_type():
  tree = _tree([0.0] * 300)
  tree.set(np.array([[255, 1], [2, 1]], np.uint8), [[1, 2], [3, 4]])
  assert tree.get(np.array([[255], [1]], np.uint8)).tolist() == [[1], [4]]
  tree.set(np.array([1, 2, 299], np.int16), np.float32(0.5))
  assert tree.get([255, 1, 2, 299]).tolist() == [1, 0.5, 0.5, 0.5]
  assert tree.nodes[0] == [2.5]
  tree.set(np.int32(255), np.array(7, np.float32))
  assert tree.get(np.int64(255)) == 7 and type(tree.get(255)) is float
  tree.set(np.array(254), 8)
  assert tree.get(np.array(254)) == 8
  assert tree.nodes[0] == [16.5]
  tree.set(np.zeros(0, np.int32), [])
  assert tree.nodes[0] == [16.5]
  assert tree.sample(np.zeros((2, 3))).tolist() == [[1] * 3] * 2
  with pytest.raises(ValueError, match='broadcast'):
    tree.set([1, 2], [1, 2, 3])


# Errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
  'bad, text',
  [
    (-1, 'should be nonnegative. Got -1.0 at index 2'),
    (np.nan, 'should be finite. Got nan at index 2'),
    (np.inf, 'should be finite. Got inf at index 2'),
    (-np.inf, 'should be finite. Got -inf at index 2'),
  ],
)
def test_bad_values_are_named_and_change_nothing(bad, text):
  tree = _tree([1, 2, 3])
  text = re.escape(f'Sum tree values {text}')
  with pytest.raises(ValueError, match=text):
    tree.set(2, bad)
  with pytest.raises(ValueError, match=text):
    tree.set([0, 2, 1], [9, bad, 9])
  with pytest.raises(ValueError, match=text):
    tree.set(np.array([2, 2]), np.array([bad, 9]))  # Though it is overwritten.
  assert tree.nodes[-1].tolist() == [1, 2, 3, 0]
  assert tree.nodes[0] == [6] and tree.max_recorded_priority == 3


@pytest.mark.parametrize('bad', [-1, 3, 4, 2**40])
def test_bad_indices_are_named_and_change_nothing(bad):
  tree = _tree([1, 2, 3])  # The fourth leaf is padding.
  text = re.escape(f'index {bad} is not in [0, 3)')
  for indices in (bad, np.int64(bad), [0, bad], np.array([bad, 1])):
    with pytest.raises(IndexError, match=text):
      tree.set(indices, 5.0)
    with pytest.raises(IndexError, match=text):
      tree.get(indices)
  assert tree.nodes[-1].tolist() == [1, 2, 3, 0]
  assert tree.nodes[0] == [6] and tree.max_recorded_priority == 3


def test_indices_must_be_integers():
  tree = _tree([1, 2])
  for indices in (0.0, [0.0], [True, False]):
    with pytest.raises(IndexError, match='indices must be integers, not'):
      tree.set(indices, 1.0)
    with pytest.raises(IndexError, match='indices must be integers, not'):
      tree.get(indices)


@pytest.mark.parametrize('query', [-0.01, 1.01, np.nan, np.inf, [0.5, 1.01]])
def test_query_must_be_a_fraction(query):
  text = re.escape('query_value must be in [0, 1].')
  with pytest.raises(ValueError, match=text):
    _tree([1, 2]).sample(query)


def test_empty_tree_is_not_sampled():
  tree = sum_tree.SumTree(5)
  for _ in range(2):
    for sample in (tree.sample, lambda: tree.stratified_sample(2)):
      with pytest.raises(Exception, match='Cannot sample from an empty sum'):
        sample()
    tree.set(3, 1.0)
    assert tree.sample() == 3
    tree.set(3, 0.0)


@pytest.mark.parametrize('capacity', [0, -1, 1.5, 4.0, '4', None])
def test_capacity_must_be_a_positive_integer(capacity):
  with pytest.raises(AssertionError, match='must be an integer above 0'):
    sum_tree.SumTree(capacity)


# Drawing ---------------------------------------------------------------------

VALUES = np.array([0, 1, 0.5, 0, 0, 7, 0.01, 2, 0, 3.3, 0.2, 0.2, 0])


def test_sampling_is_proportional():
  tree, n = _tree(VALUES), len(VALUES)
  p = VALUES / VALUES.sum()
  draws = [
    tree.sample(np.random.default_rng(1).random(100_000)),
    tree.stratified_sample(1, 100_000),
    tree.stratified_sample(100_000),
    tree.stratified_sample(10, 10_000),
    [tree.sample() for _ in range(10_000)],
  ]
  for drawn in draws:
    _assert_chi_square(np.bincount(drawn, minlength=n), p)


def test_sampling_within_a_part_is_proportional():
  tree, n = _tree(VALUES), len(VALUES)
  drawn = tree.stratified_sample(5, 20_000).reshape(20_000, 5)
  ends = np.cumsum(VALUES) / VALUES.sum()
  for part in range(5):
    # How much of each value lies in this fifth of the total.
    inside = np.clip([[0, *ends[:-1]], ends], part / 5, (part + 1) / 5)
    p = 5 * (inside[1] - inside[0])
    p[p < 1e-12] = 0
    counts = np.bincount(drawn[:, part], minlength=n)
    _assert_chi_square(counts, p / p.sum())


def test_batches_are_drawn_independently():
  # Two halves of 500 equal values: were the batches one, their draws from a
  # part would not be from all of it.
  tree = _tree(np.ones(1000))
  first, second = tree.stratified_sample(2, 2000).reshape(2, 1000, 2)
  for batches in (first, second):
    assert batches[:, 0].min() < 20 and 480 < batches[:, 0].max() < 500
    assert 500 <= batches[:, 1].min() < 520 and batches[:, 1].max() > 980
  assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 0.1
  assert abs(np.corrcoef(first[:, 0], first[:, 1])[0, 1]) < 0.1


def test_sums_stay_exact_through_a_million_updates():
  rng = np.random.default_rng(0)
  tree = _tree([0.0] * 1000)
  # Sums by differences would keep the rounding of the large values.
  for i in range(500):
    indices = rng.integers(0, 1000, 2000)
    tree.set(indices, rng.random(2000) * 10.0 ** (i % 20))
  for index in rng.integers(0, 1000, 5000).tolist():
    tree.set(index, rng.random() * 1e15)
  _assert_sums_are_of_children(tree)
  tree.set(np.arange(1000), 1.0)
  assert tree.nodes[0] == [1000]
  for index in range(1000):
    tree.set(index, 0.0)
  assert not any(level.any() for level in tree.nodes)


def test_same_generator_same_draws():
  def draws(rng):
    tree = sum_tree.SumTree(1000, rng)
    tree.set(np.arange(1000), 1.0)
    return [tree.sample(), tree.sample(), *tree.stratified_sample(3)]

  state = np.random.get_state()[1].copy()
  new = np.random.default_rng
  assert draws(new(3)) == draws(new(3)) != draws(new(4))
  assert draws(None) != draws(None)
  with seeding.run_seed(5):
    assert draws(None) == draws(None)
  np.testing.assert_array_equal(np.random.get_state()[1], state)
  shared = new(3)
  tree = sum_tree.SumTree(1, shared)
  tree.set(0, 1.0)
  tree.sample()
  assert shared.random() != new(3).random()


def test_copies_are_whole_and_apart():
  tree = _tree([1, 2, 3])
  for other in (copy.deepcopy(tree), pickle.loads(pickle.dumps(tree))):
    assert other.max_recorded_priority == 3
    assert other.stratified_sample(20).tolist() == (
      copy.deepcopy(tree).stratified_sample(20).tolist()
    )
    other.set(0, 5)
    other.set([1], [7])
    assert other.nodes[0] == [15]
    assert other.sample(0.0) == 0 and other.get(0) == 5
    _assert_sums_are_of_children(other)
  assert tree.nodes[0] == [6]


def test_nbytes_and_repr():
  tree = _tree([1, 2, 3, 4, 5])
  assert tree.nbytes == 2 * 8 * 8
  assert repr(tree) == 'SumTree(capacity=5, total=15.0)'
