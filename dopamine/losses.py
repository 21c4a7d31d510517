"""The formulas of the papers, as functions of arrays.

No `self`, no network, no gin. `B` is the batch, `A` the actions.
"""

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
