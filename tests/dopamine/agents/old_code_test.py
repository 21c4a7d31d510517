"""What cannot work of old code says so when the agent is made, and no more."""

import functools
import pathlib
import random

import gin
import jax
import keras
import numpy as np
import pytest

from dopamine.agents.dqn import dqn_agent
from dopamine.agents.rainbow import rainbow_agent
from dopamine.compat import old_code
from tests.support import research_code

pytestmark = pytest.mark.usefixtures('small_replay')

MIGRATING = (
  pathlib.Path(__file__).parents[3] / 'docs/migrating.md'
).read_text()


class SessionAgent(dqn_agent.DQNAgent):
  def _select_action(self):
    epsilon = self.epsilon_eval if self.eval_mode else self.epsilon_train
    if random.random() <= epsilon:
      return random.randint(0, self.num_actions - 1)
    return self._sess.run(self._q_argmax, {self.state_ph: self.state})


class HelperSessionAgent(dqn_agent.DQNAgent):
  def values(self):
    return [self._sess.run(x) for x in self.tensors]


class TrainOpAgent(dqn_agent.DQNAgent):
  def _build_train_op(self):
    return self.optimizer.minimize(0.0)


class TargetAgent(dqn_agent.DQNAgent):
  def _build_target_q_op(self):
    return self._replay.rewards


class OpticsAgent(dqn_agent.DQNAgent):
  """Has a jitted `train` of its own, with Optax."""

  def _train_step(self):
    self.optimizer_state, params, _ = train(
      self.network_def, self.optimizer, self.optimizer_state
    )


class KeyAgent(dqn_agent.DQNAgent):
  def _select_action(self):
    self._rng, key = jax.random.split(self._rng)
    return int(jax.random.randint(key, (), 0, self.num_actions))


class RainbowTargetAgent(rainbow_agent.RainbowAgent):
  def _build_target_distribution(self):
    return None


def train(*args):
  return args


@pytest.mark.parametrize(
  'cls, name',
  [
    (SessionAgent, '_sess.run'),
    (HelperSessionAgent, '_sess.run'),
    (TrainOpAgent, '_build_train_op'),
    (TargetAgent, '_build_target_q_op'),
    (OpticsAgent, 'network_def'),
    (KeyAgent, '_rng'),
    (RainbowTargetAgent, '_build_target_distribution'),
  ],
)
def test_what_cannot_work_fails_at_construction(cls, name):
  with pytest.raises(TypeError) as error:
    cls(None, 2)
  message = str(error.value)
  assert cls.__name__ in message and 'docs/migrating.md' in message
  row = message.partition('the row of ')[2].split()[0]
  assert row == name
  assert_has_row(row)


def assert_has_row(name):
  cells = [line.split('|')[1] for line in MIGRATING.splitlines() if '|' in line]
  assert any(name in cell for cell in cells), f'{name} has no row'


def test_an_attribute_that_the_agent_sets_is_its_own():
  class Agent(research_code.ExtraStorageAgent):
    _saver = None

    def _make(self):
      self.network_def = 3

    def use(self):
      return self.network_def, self._saver, self.replay.state_ph

  Agent(None, 2)


class Fine(research_code.ExtraStorageAgent):
  """Names that are no offence."""

  def _select_action(self):
    words, size = 'a,b'.split(','), len('split')
    if hasattr(self, 'target_network_params'):
      return self.target_network_params
    return int(self._rng.random() * 0 + len(words) - size + 4)

  def parts(self, batch):
    return keras.ops.split(batch.state, 2), self._rng


class Replaced(SessionAgent, research_code.ExtraStorageAgent):
  """What it inherits is never called."""

  def _select_action(self):
    self._saver = 3
    return self._saver

  def reseed(self):
    self._rng = np.random.default_rng(self._rng.integers(9))


@gin.configurable
class GinAgent(research_code.ExtraStorageAgent):
  """gin puts a function of its own in the place of `__init__`."""

  def __init__(self, sess, num_actions):
    self.network_def = 'mine'
    super().__init__(sess, num_actions)

  def use(self):
    return self.network_def


def test_code_that_works_is_not_refused():
  agent = Fine(None, 2)
  assert agent.begin_episode(np.zeros((4, 1))) in (0, 1)
  assert GinAgent(None, 2).use() == 'mine'
  assert Replaced(None, 2)._select_action() == 3
  assert not old_code.draws_by_key(Replaced)


def test_decorated_code_is_looked_at_too():
  def decorated(function):
    @functools.wraps(function)
    def call(*args):
      return function(*args)

    return call

  class Decorated(research_code.ExtraStorageAgent):
    @decorated
    def values(self):
      return self._q_argmax

  class Property(research_code.ExtraStorageAgent):
    @property
    def values(self):
      return self._q_argmax

  @gin.configurable
  class InInit(research_code.ExtraStorageAgent):
    def __init__(self, sess, num_actions):
      super().__init__(sess, num_actions)
      self.values = self._q_argmax

  class Imported(research_code.ExtraStorageAgent):
    def _select_action(self):
      self._rng, key = split(self._rng)
      return key

  for cls in (Decorated, Property, InInit):
    with pytest.raises(TypeError, match=f'{cls.__name__}.*self._q_argmax'):
      cls(None, 2)
  with pytest.raises(TypeError, match='splits self._rng'):
    Imported(None, 2)


def split(key):
  return key, key
