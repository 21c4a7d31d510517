"""The losses under the names of Dopamine's JAX subpackage, element by element.

They are those of `dopamine.losses`: one definition serves both backends.
"""

from dopamine import losses


def huber_loss(targets, predictions, delta=1.0):
  """See `losses.huber`, of targets - predictions."""
  return losses.huber(targets - predictions, delta)


def mse_loss(targets, predictions):
  """(targets - predictions)^2, without the 1/2."""
  return losses.squared(targets - predictions)


def softmax_cross_entropy_loss_with_logits(labels, logits):
  """See `losses.softmax_cross_entropy`."""
  return losses.softmax_cross_entropy(labels, logits)
