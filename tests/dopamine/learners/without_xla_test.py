"""What XLA cannot compile runs without it, once and after one warning."""

import keras
import numpy as np
import pytest

from dopamine import optimizers
from dopamine.agents.dqn import dqn_agent
from tests.support import small

if keras.config.backend() != 'tensorflow':
  pytest.skip('a JAX process has nothing but XLA', allow_module_level=True)

import tensorflow as tf  # noqa: E402

pytestmark = pytest.mark.xla


class CountingAgent(dqn_agent.DQNAgent):
  """Counts how often its loss was computed, in a variable that is saved."""

  def _build_networks(self):
    super()._build_networks()
    self.count = keras.Variable(0, dtype='int64', trainable=False)

  def _loss(self, batch):
    self.count.assign(self.count + 1)
    return super()._loss(batch)


class PythonSGD(keras.optimizers.SGD):
  """Passes gradients through Python, which XLA cannot."""

  def update_step(self, gradient, variable, learning_rate):
    same = tf.py_function(lambda x: x, [gradient], gradient.dtype)
    same = tf.ensure_shape(same, gradient.shape)
    super().update_step(same, variable, learning_rate)


class PrintingSGD(keras.optimizers.SGD):
  """Prints, which XLA cannot either."""

  def update_step(self, gradient, variable, learning_rate):
    tf.print('norm', tf.norm(gradient))
    super().update_step(gradient, variable, learning_rate)


def make_agent(optimizer):
  return CountingAgent(
    num_actions=small.NUM_ACTIONS,
    observation_shape=small.OBSERVATION_SHAPE,
    observation_dtype=np.float64,
    stack_size=1,
    network=small.Perceptron,
    optimizer=optimizer,
    seed=1,
  )


def state_after_three_updates(agent):
  """The learner's state; each loss and each step were computed once."""
  for k in range(1, 4):
    agent._learner.update(small.batches(num_batches=2, seed=k))
    assert int(agent.count) == 2 * k
    assert int(agent._learner.optimizer.iterations) == 2 * k
  return agent._learner.state()


def assert_close(state, expected):
  for name, value in expected.items():
    np.testing.assert_allclose(state[name], value, atol=1e-6, err_msg=name)


@pytest.mark.parametrize('kind', [PythonSGD, PrintingSGD])
def test_an_optimizer_that_xla_cannot_compile_steps_once_an_update(
  kind, caplog
):
  agent = make_agent(lambda: kind(0.01))
  state = state_after_three_updates(agent)
  assert caplog.text.count('Learning is slower than it could be: XLA') == 1
  assert agent.graph_def()
  plain = make_agent(lambda: keras.optimizers.SGD(0.01))
  assert_close(state, state_after_three_updates(plain))


def rmsprop():
  return optimizers.RMSProp(0.01)


def test_learning_and_acting_go_on_under_enable_check_numerics(caplog):
  expected = state_after_three_updates(make_agent(rmsprop))
  tf.debugging.enable_check_numerics()
  try:
    agent = make_agent(rmsprop)
    state = state_after_three_updates(agent)
    agent._learner.predict(agent.state)
    q = agent._learner.predict(agent.state)
  finally:
    tf.debugging.disable_check_numerics()
  assert_close(state, expected)
  assert q.shape == (1, small.NUM_ACTIONS)
  for what in ('Learning', 'Acting'):
    assert caplog.text.count(f'{what} is slower than it could be: XLA') == 1


def test_numbers_that_check_numerics_refuses_still_end_the_update(caplog):
  tf.debugging.enable_check_numerics()
  try:
    agent = make_agent(rmsprop)
    batches = small.batches()
    batches.reward[:] = np.nan
    with pytest.raises(tf.errors.InvalidArgumentError, match='NaN'):
      agent._learner.update(batches)
  finally:
    tf.debugging.disable_check_numerics()
  assert 'slower' not in caplog.text


def test_functions_that_run_eagerly_learn_the_same():
  expected = state_after_three_updates(make_agent(rmsprop))
  tf.config.run_functions_eagerly(True)
  try:
    agent = make_agent(rmsprop)
    state = state_after_three_updates(agent)
  finally:
    tf.config.run_functions_eagerly(False)
  assert_close(state, expected)
