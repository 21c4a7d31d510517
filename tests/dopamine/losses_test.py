"""Tests of `dopamine.losses`: arithmetic a reader can redo."""

import math

import hypothesis
from hypothesis import strategies as st
import keras
from keras import ops
import numpy as np
from numpy.testing import assert_allclose
import pytest

from dopamine import losses
from dopamine.agents.rainbow import rainbow_agent

seeds = st.integers(0, 2**32 - 1)
# Few, for JAX compiles each.
loss_shapes = st.sampled_from([(1, 1, 1), (2, 3, 4), (3, 1, 6), (3, 6, 1)])


def array(*values):
  return np.array(values, np.float32)


def simplex(rng, *shape):
  """Random probabilities over the last axis; some of them are 0."""
  p = rng.exponential(size=shape) * (rng.random(shape) < 0.8)
  p[..., 0] += 1e-3
  return (p / p.sum(axis=-1, keepdims=True)).astype(np.float32)


# TD errors --------------------------------------------------------------------


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


# Actions ----------------------------------------------------------------------


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


# Cross-entropy ----------------------------------------------------------------


def test_cross_entropy_by_hand():
  # softmax(log [1, 3]) = [1/4, 3/4]
  # 1/2 log 4 + 1/2 log 4/3 = log 4 - 1/2 log 3
  found = losses.softmax_cross_entropy(array(0.5, 0.5), np.log(array(1, 3)))
  assert_allclose(found, math.log(4) - 0.5 * math.log(3), rtol=1e-6)


def test_cross_entropy_of_a_distribution_with_itself_is_its_entropy():
  p = array(0.1, 0.2, 0.7)
  entropy = -sum(x * math.log(x) for x in (0.1, 0.2, 0.7))
  assert_allclose(
    losses.softmax_cross_entropy(p, np.log(p) + 5), entropy, rtol=1e-5
  )


@pytest.mark.parametrize('leading', [(), (4,), (2, 3)])
def test_cross_entropy_is_over_the_last_axis(leading):
  rng = np.random.default_rng(0)
  p = simplex(rng, *leading, 5)
  logits = rng.normal(size=p.shape).astype(np.float32)
  softmax = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
  found = losses.softmax_cross_entropy(p, logits)
  assert tuple(found.shape) == leading
  assert_allclose(found, -(p * np.log(softmax)).sum(axis=-1), rtol=1e-5)


def test_cross_entropy_of_large_logits_is_finite():
  # log softmax([1e4, 0]) = [0, -1e4]; exp(1e4) is beyond float32.
  logits = np.array([[1e4, 0.0], [-1e4, 0.0]], np.float32)
  p = np.array([[0.75, 0.25], [0.75, 0.25]], np.float32)
  found = losses.softmax_cross_entropy(p, logits)
  assert_allclose(found, [2500.0, 7500.0])


# The projection ---------------------------------------------------------------


def algorithm_1(atoms, probabilities, support):
  """Bellemare et al. (2017), Algorithm 1, for one transition: `[M]`.

  The published one loses the mass where b is an integer, for then l = u and
  both shares are 0; here it stays at l.
  """
  m = np.zeros(len(support))
  v_min, v_max = float(support[0]), float(support[-1])
  dz = (v_max - v_min) / (len(support) - 1)
  for z, p in zip(atoms, probabilities, strict=True):
    b = (min(max(float(z), v_min), v_max) - v_min) / dz
    low, up = math.floor(b), math.ceil(b)
    if low == up:
      m[low] += p
    else:
      m[low] += p * (up - b)
      m[up] += p * (b - low)
  return m


@st.composite
def supports(draw):
  """`[M]` from any V_min in any step: rarely symmetric."""
  num_atoms = draw(st.sampled_from((2, 3, 51)))  # JAX compiles each shape.
  v_min = draw(st.integers(-40, 40)) / 4
  step = draw(st.integers(1, 16)) / 8
  return (v_min + step * np.arange(num_atoms)).astype(np.float32)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(supports(), seeds, st.booleans())
def test_projection_is_algorithm_1(support, seed, on_the_grid):
  rng = np.random.default_rng(seed)
  size = float(support[-1] - support[0])
  # Half of its length beyond each end of the support.
  atoms = rng.uniform(support[0] - size / 2, support[-1] + size / 2, (3, 7))
  if on_the_grid:  # b of the algorithm is an integer.
    step = support[1] - support[0]
    atoms = support[0] + step * np.round((atoms - support[0]) / step)
  atoms = atoms.astype(np.float32)
  p = simplex(rng, 3, 7)
  found = np.asarray(losses.project_distribution(atoms, p, support))
  for row, z, mass in zip(found, atoms, p, strict=True):
    assert_allclose(row, algorithm_1(z, mass, support), atol=1e-4)
  assert found.min() >= 0
  assert_allclose(found.sum(axis=-1), 1.0, atol=1e-5)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(supports(), seeds)
def test_projection_keeps_the_mean_where_nothing_is_clipped(support, seed):
  rng = np.random.default_rng(seed)
  atoms = rng.uniform(support[0], support[-1], (3, 7)).astype(np.float32)
  p = simplex(rng, 3, 7)
  found = np.asarray(losses.project_distribution(atoms, p, support))
  size = float(support[-1] - support[0])
  assert_allclose(
    (found * support).sum(axis=-1), (p * atoms).sum(axis=-1), atol=1e-5 * size
  )


def test_projection_by_hand():
  # z = [0, 1, 2]; Tz = 0.5 + 1 * z = [0.5, 1.5, 2.5 -> 2]; p = [.2, .3, .5]
  # m0 = .5*.2 = .1;  m1 = .5*.2 + .5*.3 = .25;  m2 = .5*.3 + .5 = .65
  z = array(0, 1, 2)
  m = losses.project_distribution(0.5 + z, array(0.2, 0.3, 0.5), z)
  assert_allclose(m, [0.1, 0.25, 0.65], rtol=1e-6)


def test_projection_shares_in_proportion_to_nearness():
  # From 3 in steps of 2: 3.5 is 1/4 of the way from 3 to 5, 6.5 is 3/4 of that
  # from 5 to 7.
  z = array(3, 5, 7)
  m = losses.project_distribution(array(3.5, 6.5), array(0.4, 0.6), z)
  assert_allclose(m, [0.3, 0.1 + 0.15, 0.45], rtol=1e-6)


def test_projection_moves_what_is_outside_to_the_ends():
  z = array(-1, 0, 1, 2)
  m = losses.project_distribution(
    array(-9, -1.5, 2.5, 9), array(*[0.25] * 4), z
  )
  assert_allclose(m, [0.5, 0, 0, 0.5])


def test_projection_of_the_support_changes_nothing():
  z = np.linspace(-10, 10, 51, dtype=np.float32)
  p = simplex(np.random.default_rng(0), 51)
  assert_allclose(losses.project_distribution(z, p, z), p, atol=1e-6)


def test_a_terminal_transition_is_all_mass_at_its_reward():
  # Tz = 0.25 + 0 * z for all atoms: 3/4 at 0, 1/4 at 1.
  z = array(-1, 0, 1)
  m = losses.project_distribution(0.25 + 0 * z, array(0.2, 0.3, 0.5), z)
  assert_allclose(m, [0, 0.75, 0.25], rtol=1e-6)


@pytest.mark.parametrize('leading', [(), (4,), (2, 3), (2, 1, 3)])
def test_projection_is_over_the_last_axis(leading):
  rng = np.random.default_rng(0)
  support = np.linspace(-1, 3, 6, dtype=np.float32)
  atoms = rng.uniform(-2, 4, (*leading, 5)).astype(np.float32)
  p = simplex(rng, *leading, 5)
  found = losses.project_distribution(atoms, p, support)
  assert tuple(found.shape) == (*leading, 6), 'as many atoms as the support'
  rows = zip(atoms.reshape(-1, 5), p.reshape(-1, 5), strict=True)
  expected = [algorithm_1(*row, support) for row in rows]
  assert_allclose(np.asarray(found).reshape(-1, 6), expected, atol=1e-6)


def test_projection_of_tensors_is_that_of_arrays():
  z = np.linspace(0, 4, 9, dtype=np.float32)
  arrays = (1.3 + 0.5 * z, simplex(np.random.default_rng(0), 9), z)
  tensors = map(ops.convert_to_tensor, arrays)
  expected = losses.project_distribution(*arrays)
  assert_allclose(losses.project_distribution(*tensors), expected, atol=1e-6)


# The projection under its old name, which looks at its arguments --------------


def test_the_old_name_projects_too():
  z = array(0, 1, 2)
  p = array(0.2, 0.3, 0.5)
  m = rainbow_agent.project_distribution(
    np.stack([0.5 + z, z]), np.stack([p, p]), z, validate_args=True
  )
  assert_allclose(m, [[0.1, 0.25, 0.65], p], rtol=1e-6)


@pytest.mark.parametrize('validate_args', [False, True])
@pytest.mark.parametrize(
  'shapes',
  [
    ((3, 4), (3, 5), (4,)),
    ((3, 4), (2, 4), (4,)),
    ((3, 4), (4,), (4,)),
    ((3, 4), (3, 4), (5,)),
    ((3, 4), (3, 4), (1, 4)),
    ((3, 4), (3, 4), (3, 4)),
    ((3, 4), (3, 4), ()),
  ],
)
def test_shapes_that_do_not_fit_are_refused(shapes, validate_args):
  arguments = [np.ones(shape, np.float32) for shape in shapes]
  with pytest.raises(ValueError, match='are incompatible'):
    rainbow_agent.project_distribution(*arguments, validate_args=validate_args)


@pytest.mark.parametrize('make', [np.asarray, ops.convert_to_tensor])
@pytest.mark.parametrize(
  'support',
  [
    (2, 1, 0),  # descends
    (0, 0, 0),  # does not move
    (0, 1, 1, 2),  # stops
    (0, 2, 1, 3),  # turns back
    (0, 1, 3),  # grows
    (0, 1, 1.5),  # shrinks
    (0, 1, 2, 3.01),  # nearly
    (0, 1e-9, 3e-9),  # grows, if only by a little
    (0, 1, np.nan),
    (0,),  # a step of 0 / 0
  ],
)
def test_a_support_without_equal_ascending_steps_is_refused(support, make):
  z = make(array(*support))
  p = make(np.full(len(support), 1 / len(support), np.float32))
  with pytest.raises(ValueError, match='ascend in equal steps'):
    rainbow_agent.project_distribution(z, p, z, validate_args=True)


@pytest.mark.parametrize(
  'ends',
  [(-10, 10, 51), (-100, 100, 201), (0, 1, 11), (-1, 5, 601), (100, 101, 51)],
)
def test_steps_that_only_rounding_makes_unequal_are_taken(ends):
  z = np.linspace(*ends, dtype=np.float32)
  p = simplex(np.random.default_rng(0), 2, len(z))
  tz = np.stack([z, z])
  m = rainbow_agent.project_distribution(tz, p, z, validate_args=True)
  assert_allclose(m, p, atol=1e-3)


# Quantiles --------------------------------------------------------------------


def double_sum(errors, tau, kappa):
  """Dabney et al. (2018b), eqs. (8) to (10), for one transition."""
  total = 0.0
  for row in errors:  # Target samples.
    for u, level in zip(row, tau, strict=True):
      if abs(u) <= kappa:
        size = 0.5 * u**2
      else:
        size = kappa * (abs(u) - 0.5 * kappa)
      size = size / kappa if kappa else abs(u)
      total += abs(level - (u < 0)) * size
  return total / len(errors)


@pytest.mark.parametrize('kappa', [0, 0.5, 1.0, 2.0])
@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(seeds, loss_shapes)
def test_quantile_huber_is_the_double_sum(kappa, seed, shape):
  rng = np.random.default_rng(seed)
  batch, _, online = shape
  errors = rng.normal(scale=2, size=shape)
  errors[rng.random(shape) < 0.1] = 0
  tau = rng.random((batch, online))
  found = losses.quantile_huber(
    errors.astype(np.float32), tau.astype(np.float32), kappa
  )
  assert tuple(found.shape) == (batch,)
  expected = [double_sum(u, t, kappa) for u, t in zip(errors, tau, strict=True)]
  assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_quantile_huber_by_hand():
  # One target 1 and two quantiles, at 0.25 and 0.75, of values 0.5 and 3:
  # u = [0.5, -2]; L = [0.125, 1.5]; weights = [0.25, |0.75 - 1|]
  # 0.25 * 0.125 + 0.25 * 1.5 = 0.40625
  errors, tau = array(0.5, -2)[None, None], array(0.25, 0.75)[None]
  assert_allclose(losses.quantile_huber(errors, tau), [0.40625])
  # kappa = 2: L = [0.125, 2] / 2, so 0.25 * 0.0625 + 0.25 * 1 = 0.265625
  assert_allclose(losses.quantile_huber(errors, tau, 2.0), [0.265625])
  # kappa = 0: |u|, so 0.25 * 0.5 + 0.25 * 2 = 0.625
  assert_allclose(losses.quantile_huber(errors, tau, 0), [0.625])


def test_quantiles_are_summed_and_targets_averaged():
  # Every |u| = 1, every weight 0.5, every L = 0.5: 0.25 for each pair.
  for targets, online in ((5, 1), (1, 4)):
    errors = np.ones((2, targets, online), np.float32)
    tau = np.full((2, online), 0.5, np.float32)
    assert_allclose(losses.quantile_huber(errors, tau), [0.25 * online] * 2)


def test_the_levels_belong_to_the_last_axis():
  # u > 0 costs tau, u < 0 costs 1 - tau, each times L = 0.5.
  tau = array(0.1, 0.9)[None]
  low, high = array(1, 0)[None, None], array(0, 1)[None, None]
  assert_allclose(losses.quantile_huber(low, tau), [0.05], rtol=1e-6)
  assert_allclose(losses.quantile_huber(high, tau), [0.45], rtol=1e-6)
  assert_allclose(losses.quantile_huber(-low, tau), [0.45], rtol=1e-6)
  assert_allclose(losses.quantile_huber(-high, tau), [0.05], rtol=1e-6)


def test_the_best_constant_is_the_quantile():
  # Of the targets 0..99, 25 lie below 24.5 and 75 above.
  targets, guesses = np.arange(100), np.arange(0.5, 100)
  errors = (targets - guesses[:, None])[..., None].astype(np.float32)
  tau = np.full((100, 1), 0.25, np.float32)
  found = np.asarray(losses.quantile_huber(errors, tau, 0))
  assert guesses[found.argmin()] == 24.5


@pytest.mark.parametrize(
  'errors,tau,message',
  [
    ((2, 3, 4), (2, 3), 'K is 4 and 3'),
    ((2, 3, 4), (3, 4), 'B is 2 and 3'),
    ((2, 3, 4), (4,), 'expected shape'),
    ((2, 3, 4), (2, 3, 4), 'expected shape'),
    ((2, 4), (2, 4), 'expected shape'),
  ],
)
def test_quantile_huber_refuses_other_shapes(errors, tau, message):
  with pytest.raises(ValueError, match=message):
    losses.quantile_huber(np.zeros(errors), np.zeros(tau))


# The names of the JAX subpackage ----------------------------------------------

needs_jax = pytest.mark.skipif(
  keras.config.backend() != 'jax', reason='dopamine.jax needs JAX'
)


@needs_jax
def test_jax_huber_loss_is_of_targets_less_predictions():
  from dopamine.jax import losses as jax_losses

  targets, predictions = array(1, 1, 1), array(0.5, 1, -2)
  found = jax_losses.huber_loss(targets, predictions)
  assert_allclose(found, [0.125, 0, 2.5])
  # 2 * (3 - 1) = 4
  found = jax_losses.huber_loss(targets, predictions, delta=2.0)
  assert_allclose(found, [0.125, 0, 4])


@needs_jax
def test_jax_mse_loss_is_elementwise_and_has_no_half():
  from dopamine.jax import losses as jax_losses

  found = jax_losses.mse_loss(array(1, 1), array(4, 0.5))
  assert_allclose(found, [9, 0.25])


@needs_jax
def test_jax_cross_entropy_takes_labels_then_logits():
  from dopamine.jax import losses as jax_losses

  # As in the test by hand above.
  found = jax_losses.softmax_cross_entropy_loss_with_logits(
    labels=array(0.5, 0.5), logits=np.log(array(1, 3))
  )
  assert_allclose(found, math.log(4) - 0.5 * math.log(3), rtol=1e-6)


@needs_jax
def test_jax_project_distribution_takes_one_distribution():
  from dopamine.jax.agents.rainbow import rainbow_agent as jax_rainbow_agent

  z = array(0, 1, 2)
  m = jax_rainbow_agent.project_distribution(0.5 + z, array(0.2, 0.3, 0.5), z)
  assert_allclose(m, [0.1, 0.25, 0.65], rtol=1e-6)


def test_what_is_not_a_number_stays_not_a_number_when_projected():
  """It must not vanish: its loss would be 0."""
  support = np.linspace(-1, 1, 5, dtype=np.float32)
  atoms = np.array([[0.0, np.nan], [0.0, 1.0]], np.float32)
  weights = np.full((2, 2), 0.5, np.float32)
  found = ops.convert_to_numpy(
    losses.project_distribution(atoms, weights, support)
  )
  assert np.isnan(found[0]).any()
  assert_allclose(found[1], [0, 0, 0.5, 0, 0.5])


def test_infinite_atoms_are_at_the_ends():
  support = np.linspace(-1, 1, 5, dtype=np.float32)
  atoms = np.array([[-np.inf, np.inf]], np.float32)
  weights = np.array([[0.25, 0.75]], np.float32)
  found = losses.project_distribution(atoms, weights, support)
  assert_allclose(ops.convert_to_numpy(found), [[0.25, 0, 0, 0, 0.75]])
