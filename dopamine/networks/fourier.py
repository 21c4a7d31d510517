"""Action values that are linear in the cosines of the observation."""

import itertools

import gin
from keras import ops
import numpy as np

from dopamine.networks import parts
from dopamine.networks import perceptron


class FourierBasis:
  """The cosines of a vector x in [0, 1]^n: cos(pi c . x) for all vectors c.

  Konidaris et al. (2011), s. 3.1. Differs from the paper in c = 0, the
  constant, which is left out.

  Args:
    nvars: n.
    min_vals: what maps to 0, `[n]` or a number.
    max_vals: what maps to 1; None does not divide by the range.
    order: each element of c is one of 0..order.
  """

  def __init__(self, nvars, min_vals=0, max_vals=None, order=3):
    self.order, self.min_vals, self.max_vals = order, min_vals, max_vals
    c = list(itertools.product(range(order + 1), repeat=nvars))
    self.multipliers = np.array(c[1:], np.float32)  # [(order + 1)^n - 1, n]

  def scale(self, values):
    """Maps [min_vals, max_vals] to [0, 1], element by element."""
    low = np.asarray(self.min_vals, np.float32)
    if self.max_vals is None:
      return values - low
    return (values - low) / (np.asarray(self.max_vals, np.float32) - low)

  def compute_features(self, features):
    """Returns `[B, (order + 1)^n - 1]` of `[B, n]`."""
    return ops.cos(np.pi * (self.scale(features) @ self.multipliers.T))


@gin.configurable(module='dopamine.discrete_domains.gym_lib')
@parts.saved
class FourierDQNNetwork(parts.Network):
  """Action values that are linear in the `FourierBasis` of the observation.

  Args:
    min_vals: smallest value of each number observed.
    max_vals: largest value of each.
    num_actions: A.
    fourier_basis_order: see `FourierBasis`.
    name: of the model.
  """

  def __init__(
    self, min_vals, max_vals, num_actions, fourier_basis_order=3, name=None
  ):
    super().__init__(num_actions, name=name)
    self.flatten = parts.Flatten()
    self._basis = FourierBasis(
      len(min_vals), min_vals, max_vals, fourier_basis_order
    )
    self.last_layer = parts.Dense(num_actions, use_bias=False)

  def call(self, state):
    """Returns `[B, A]` of the observations `state`, which are not stacked."""
    x = self.flatten(ops.cast(state, 'float32'))
    return self.last_layer(self._basis.compute_features(x))

  def arguments(self):
    """See `parts.Saved`."""
    return super().arguments() | {
      'min_vals': perceptron.listed(self._basis.min_vals),
      'max_vals': perceptron.listed(self._basis.max_vals),
      'fourier_basis_order': self._basis.order,
    }
