"""Agents of another making, as a Runner has them; and copies of partners."""

import copy
import pickle
from unittest import mock

import numpy as np
import pytest

from dopamine.agents.dqn import dqn_agent
from dopamine.compat import adapters
from tests.support import agents


class Delegating:
  """Hands on what it does not have to a DQN agent."""

  def __init__(self):
    self.inner = agents.make_agent()
    self.count = 0

  def __getattr__(self, name):
    return getattr(self.__dict__['inner'], name)

  def begin_episode(self, observation):
    return self.inner.begin_episode(observation)

  def step(self, reward, observation):
    self.count += 1
    return self.inner.step(reward, observation)

  def end_episode(self, reward):
    self.inner.end_episode(reward)


def test_an_agent_that_hands_on_is_asked_first():
  partner = Delegating()
  agent = adapters.agent(partner)
  agent.remember_settings()
  assert agent.identity() == partner.inner.identity()
  assert agent.describe_device() == partner.inner.describe_device()
  assert agent.bundles_attributes and agent.saves_mid_episode
  assert agent.replay_nbytes == partner.inner.replay_nbytes
  agent.begin_episode(np.ones(4))
  agent.step(1.0, np.ones(4))
  agent.end_episode(1.0, terminal=False, observation=np.ones(4))
  assert agent.count == 1 and partner.inner.training_steps == 2


class Nothing:
  """The least that an agent is."""

  value = 1
  identity = 'mine'
  is_warming_up = 'words'

  def begin_episode(self, observation):
    return 0

  def step(self, reward, observation):
    return 0

  def end_episode(self, reward, is_over):
    self.is_over = is_over

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    return {}

  def unbundle(self, checkpoint_dir, iteration_number, bundle):
    return True


def test_names_that_are_something_else_say_nothing():
  agent = adapters.agent(Nothing())
  assert agent.identity() == {} and agent.graph_def() is None
  assert agent.is_warming_up is False and not agent.bundles_attributes
  assert agent.max_tf_checkpoints_to_keep == 4
  agent.end_episode(1.0, terminal=True, observation=None)
  assert agent.is_over is True
  with pytest.raises(TypeError, match='Nothing has no load_weights'):
    agent.load_weights('a.npz')


def test_a_mock_of_an_agent_is_taken():
  agent = adapters.agent(mock.Mock(spec=dqn_agent.DQNAgent))
  assert agent.replay_nbytes == 0 and agent.identity() == {}
  agent.end_episode(1.0, terminal=True, observation=None)


def test_a_partner_is_copied_compared_and_changed_as_it_is():
  partner = Nothing()
  agent = adapters.agent(partner)
  assert adapters.agent(agent) is agent and isinstance(agent, Nothing)
  assert agent == partner and hash(agent) == hash(partner)
  for other in (
    *(copy.copy(agent), copy.deepcopy(agent)),
    pickle.loads(pickle.dumps(agent)),
  ):
    assert type(other) is type(agent) and other != agent
    other.value = 2
    assert partner.value == 1
  agent.value = 3
  del agent.value
  assert partner.value == 1


def test_a_class_in_this_package_is_looked_at_too():
  class Old(agents.SmallReplayAgent):
    def end_episode(self, reward):
      self.ended = reward

  class Refused(agents.SmallReplayAgent):
    def _build_train_op(self):
      pass

  for cls in (Old, Refused):
    cls.__module__ = 'dopamine.agents.mine.mine_agent'
  with pytest.raises(TypeError, match='_build_train_op'):
    agents.make_agent(Refused)
  agent = adapters.agent(agents.make_agent(Old))
  agent.end_episode(2.0, terminal=True, observation=None)
  assert agent.ended == 2.0


def test_the_memory_has_the_gamma_that_was_restored(tmp_path):
  agent = agents.make_agent(gamma=0.9)
  agent.remember_settings()
  agent.gamma = 0.5
  bundle = agent.bundle_and_checkpoint(str(tmp_path), 0)
  bundle['attributes']['cumulative_gamma'] = 0.9  # Of before.
  other = agents.make_agent(gamma=0.9)
  assert other.unbundle(str(tmp_path), 0, bundle)
  assert other.gamma == other._replay.gamma == other.cumulative_gamma == 0.5
