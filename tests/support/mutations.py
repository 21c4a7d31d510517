"""Mixins that break an agent, and what can go wrong in any of them."""

import contextlib

from keras import ops

from dopamine import losses
from tests.support import oracle

A, B = oracle.A, oracle.B

TARGETS = (
  '_build_target_q_op',
  '_build_target_distribution',
  '_build_target_quantile_values_op',
)


@contextlib.contextmanager
def replaced(agent, attributes):
  old = {name: getattr(agent, name) for name in attributes}
  vars(agent).update(attributes)
  try:
    yield
  finally:
    vars(agent).update(old)


def during(hooks, change):
  """A mixin: while one of `hooks` runs, batch and agent are changed.

  Args:
    hooks: names of methods that take a batch.
    change: `(agent, batch)` -> new values of the fields of the batch and of the
      attributes of the agent.
  """

  def override(name):
    def hook(self, batch):
      changed = change(self, batch)
      fields = {k: v for k, v in changed.items() if k in batch._fields}
      attributes = {k: v for k, v in changed.items() if k not in fields}
      with replaced(self, attributes):
        return getattr(super(mixin, self), name)(batch._replace(**fields))

    return hook

  mixin = type('Mixin', (), {name: override(name) for name in hooks})
  return mixin


def instead(hook, change):
  """A mixin: `hook` returns `change(agent, batch, what it returned)`."""

  def override(self, batch, *rest):
    value = getattr(super(mixin, self), hook)(batch, *rest)
    return change(self, batch, value)

  mixin = type('Mixin', (), {hook: override})
  return mixin


def raw_weights(batch):
  return batch.sampling_probabilities**-0.5


def unweighted_gradient(agent, batch, loss):
  """The same losses, and after weighing them the gradient of the plain mean."""
  w = agent._loss_weights(batch)
  return ops.stop_gradient(loss) + (loss - ops.stop_gradient(loss)) / w


def exchanged_networks(agent, batch):
  del batch
  return {
    'online_convnet': agent.target_convnet,
    'target_convnet': agent.online_convnet,
  }


# What can go wrong in any of the agents, each with everything switched on.
STEPS = {
  'the next value is subtracted': during(
    ['_loss'], lambda agent, batch: {'discount': -batch.discount}
  ),
  'the next value is dropped': during(
    ['_loss'], lambda agent, batch: {'discount': 0 * batch.discount}
  ),
  'the discount is ignored': during(
    ['_loss'],
    lambda agent, batch: {'discount': ops.cast(batch.discount > 0, 'float32')},
  ),
  'terminals are discounted like other steps': during(
    ['_loss'],
    lambda agent, batch: {
      'discount': ops.where(
        batch.discount > 0, batch.discount, agent.cumulative_gamma
      )
    },
  ),
  'shorter windows are discounted like full ones': during(
    ['_loss'],
    lambda agent, batch: {
      'discount': ops.where(batch.discount > 0, agent.cumulative_gamma, 0.0)
    },
  ),
  'the discount is of one step': during(
    ['_loss'],
    lambda agent, batch: {
      'discount': ops.where(batch.discount > 0, agent.gamma, 0.0)
    },
  ),
  'the reward is dropped': during(
    ['_loss'], lambda agent, batch: {'reward': 0 * batch.reward}
  ),
  'the reward is discounted too': during(
    ['_loss'], lambda agent, batch: {'reward': batch.discount * batch.reward}
  ),
  'another action gets the credit': during(
    ['_loss'], lambda agent, batch: {'action': (batch.action + 1) % A}
  ),
  'states and next states are exchanged': during(
    ['_loss'],
    lambda agent, batch: {
      'state': batch.next_state,
      'next_state': batch.state,
    },
  ),
  'the target is of the state, not of the next': during(
    TARGETS, lambda agent, batch: {'next_state': batch.state}
  ),
  'the target network is the online network': during(
    TARGETS, lambda agent, batch: {'target_convnet': agent.online_convnet}
  ),
  'the online network is the target network': during(
    ['_loss'], lambda agent, batch: {'online_convnet': agent.target_convnet}
  ),
  'the target network chooses, the online network evaluates': during(
    TARGETS, exchanged_networks
  ),
  'the target network chooses despite double dqn': during(
    TARGETS, lambda agent, batch: {'double_dqn': False}
  ),
}


WEIGHTS = {
  'importance weights are ignored': instead(
    '_loss_weights', lambda agent, batch, w: None
  ),
  'importance weights do not reach the gradient': instead(
    '_loss', unweighted_gradient
  ),
  'priorities are of the weighted losses': instead(
    '_priorities',
    lambda agent, batch, p: p * ops.sqrt(agent._loss_weights(batch)),
  ),
  'the loss is summed over the batch': instead(
    '_loss_weights', lambda agent, batch, w: B * w
  ),
}


# Tried on one agent: they all have the same method.
MORE_WEIGHTS = {
  'importance weights are used twice': instead(
    '_loss', lambda agent, batch, loss: agent._loss_weights(batch) * loss
  ),
  'importance weights are turned round': instead(
    '_loss_weights', lambda agent, batch, w: ops.min(w) / w
  ),
  'importance weights are not normalised': instead(
    '_loss_weights', lambda agent, batch, w: raw_weights(batch)
  ),
  'importance weights are normalised by their mean': instead(
    '_loss_weights', lambda agent, batch, w: w / ops.mean(w)
  ),
  'importance weights are normalised by their sum': instead(
    '_loss_weights', lambda agent, batch, w: w / ops.sum(w)
  ),
  'importance weights have the exponent 1': instead(
    '_loss_weights', lambda agent, batch, w: w**2
  ),
  'importance weights have the exponent 0.4': instead(
    '_loss_weights', lambda agent, batch, w: w**0.8
  ),
  'priorities are the losses without the root': instead(
    '_priorities', lambda agent, batch, p: p**2
  ),
  'priorities are not returned': instead(
    '_priorities', lambda agent, batch, p: None
  ),
}


ONLY_UNIFORM = {
  'uniform replay is weighed': during(
    ['_loss_weights'], lambda agent, batch: {'_replay_scheme': 'prioritized'}
  ),
  'uniform replay gets priorities': type(
    'Mixin', (), {'_priorities': lambda self, batch, loss: ops.sqrt(loss)}
  ),
}


ONLY_SINGLE = {
  'the online network chooses without double dqn': during(
    TARGETS, lambda agent, batch: {'double_dqn': True}
  ),
}


def broken_td_loss(change):
  return type(
    'Mixin', (), {'_td_loss': lambda self, errors: change(losses.huber, errors)}
  )


TD = {
  'the error is squared': broken_td_loss(lambda huber, u: losses.squared(u)),
  'the error is squared and halved': broken_td_loss(
    lambda huber, u: 0.5 * losses.squared(u)
  ),
  'the error is taken as it is': broken_td_loss(lambda huber, u: ops.abs(u)),
  'the loss turns at 2': broken_td_loss(lambda huber, u: huber(u, 2.0)),
  'the error is clipped before the loss': broken_td_loss(
    lambda huber, u: huber(ops.clip(u, -1.0, 1.0))
  ),
}
