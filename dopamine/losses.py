"""The formulas of the papers, as functions of arrays.

No `self`, no network, no gin. `B` is the batch, `A` the actions.
"""

import math

from keras import ops

from dopamine import shapes


def huber(errors, delta=1.0):
  """L(u) = u^2 / 2 where |u| <= delta, else delta (|u| - delta / 2).

  Huber (1964). With delta = 1 its gradient is the error clipped to [-1, 1],
  which is what Mnih et al. (2015) describe.

  Args:
    errors: u, of any shape.
    delta: where L turns from quadratic to linear.

  Returns:
    The loss of each error, in the shape of `errors`.
  """
  size = ops.abs(errors)
  quadratic = ops.minimum(size, delta)
  return 0.5 * quadratic**2 + delta * (size - quadratic)


def squared(errors):
  """L(u) = u^2, without the 1/2, in the shape of `errors`."""
  return errors**2


def take_action(values, actions):
  """values[b, actions[b]].

  Args:
    values: `[B, A]` or `[B, A, ...]`, one row per action.
    actions: `[B]` integers in [0, A).

  Returns:
    `[B]` or `[B, ...]`, the rows of the actions taken.
  """
  rest = ''.join(f' D{i}' for i in range(len(values.shape) - 2))
  shapes.check(f'B A{rest}, B', values, actions)
  indices = ops.reshape(actions, (-1,) + (1,) * (len(values.shape) - 1))
  return ops.squeeze(ops.take_along_axis(values, indices, axis=1), axis=1)


def softmax_cross_entropy(probabilities, logits):
  """-sum_i p_i log softmax(logits)_i, over the last axis.

  Args:
    probabilities: `[..., N]` the distribution that is learned.
    logits: `[..., N]` of the one that learns it.

  Returns:
    `[...]`.
  """
  log_softmax = ops.log_softmax(logits, axis=-1)
  return -ops.sum(probabilities * log_softmax, axis=-1)


def project_distribution(atoms, probabilities, support):
  """Moves a distribution onto `support`: Phi of Bellemare et al. (2017).

  Equation (7): the mass p_j of an atom at z_j is shared between its two
  neighbours on the support in proportion to how near they are; atoms beyond
  its ends are moved to them first.

      Phi_i = sum_j [1 - |clip(z_j, V_min, V_max) - z_i| / dz]_0^1 p_j

  Computed as their Algorithm 1 does, neighbour by neighbour: with 201 atoms ten
  times as fast as the sum over all pairs.

  Args:
    atoms: `[..., N]` where the mass is.
    probabilities: `[..., N]` how much of it.
    support: `[M]` z, in ascending and equal steps dz; M > 1.

  Returns:
    `[..., M]` probabilities.
  """
  num_atoms = support.shape[0]
  v_min, v_max = support[0], support[-1]
  step = (v_max - v_min) / (num_atoms - 1)
  b = (atoms - v_min) / step  # On the support in [0, M - 1].
  # Beyond the ends, the whole mass is at the first or the last atom. What is
  # not a number goes to the first, where it makes the loss not a number.
  lower = ops.clip(ops.floor(b), 0, num_atoms - 2)
  share = ops.clip(b - lower, 0.0, 1.0)  # Of the upper neighbour.
  lower = ops.where(b >= 0, lower, 0.0)

  sizes = ops.shape(atoms)[:-1]
  rows = ops.reshape(ops.cast(lower, 'int32'), (-1, atoms.shape[-1]))
  rows += num_atoms * ops.arange(ops.shape(rows)[0], dtype='int32')[:, None]
  rows = ops.reshape(rows, (-1,))
  mass = [probabilities * (1.0 - share), probabilities * share]
  projected = ops.segment_sum(
    ops.concatenate([ops.reshape(m, (-1,)) for m in mass]),
    ops.concatenate([rows, rows + 1]),
    num_segments=num_atoms * math.prod(sizes),
  )
  return ops.reshape(projected, (*sizes, num_atoms))


def quantile_huber(errors, tau, kappa=1.0):
  """rho(u) = |tau - 1{u < 0}| L_kappa(u) / kappa, per transition.

  Dabney et al. (2018a), eq. (3): eq. (10) of Dabney et al. (2018b), divided by
  kappa. The limit for kappa = 0 is |tau - 1{u < 0}| |u|.

  Args:
    errors: `[B, J, K]` u = target sample j - online quantile k.
    tau: `[B, K]` the levels of the quantiles.
    kappa: where L_kappa turns from quadratic to linear.

  Returns:
    `[B]`, summed over the quantiles K, averaged over the samples J.
  """
  shapes.check('B J K, B K', errors, tau)
  size = huber(errors, kappa) / kappa if kappa > 0 else ops.abs(errors)
  weight = ops.abs(tau[:, None, :] - ops.cast(errors < 0, errors.dtype))
  return ops.sum(ops.mean(weight * size, axis=1), axis=-1)
