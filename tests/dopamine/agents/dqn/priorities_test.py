"""Tests of the priorities that an agent stores transitions with."""

import functools
import importlib

import gin
import keras
import numpy as np
import pytest

from dopamine import networks
from dopamine.agents.full_rainbow import full_rainbow_agent
from dopamine.agents.implicit_quantile import implicit_quantile_agent
from dopamine.agents.quantile import quantile_agent
from dopamine.agents.rainbow import rainbow_agent
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import prioritized_replay_buffer

STEP = np.ones(4), 0, 0.5, False

AGENTS = {
  rainbow_agent.RainbowAgent: networks.ClassicControlRainbowNetwork,
  quantile_agent.QuantileAgent: networks.ClassicControlQuantileNetwork,
  implicit_quantile_agent.ImplicitQuantileAgent: (
    networks.ClassicControlImplicitQuantileNetwork
  ),
  full_rainbow_agent.FullRainbowAgent: (
    networks.ClassicControlFullRainbowNetwork
  ),
}


@pytest.fixture(autouse=True)
def small_replay():
  gin.parse_config('OutOfGraphReplayBuffer.replay_capacity = 20')
  yield
  gin.clear_config()


def _make(cls, network, **kwargs):
  return cls(
    num_actions=2,
    observation_shape=(4,),
    observation_dtype=np.float32,
    stack_size=1,
    network=functools.partial(network, hidden_units=8),
    seed=1,
    **kwargs,
  )


def _priorities(agent):
  memory = agent._replay.memory
  return memory.get_priority(np.arange(memory.add_count, dtype=np.int32))


@pytest.mark.parametrize('is_jax', [False, True])
@pytest.mark.parametrize('cls', AGENTS, ids=lambda cls: cls.__name__)
def test_a_fifth_argument_of_store_transition_is_the_priority(cls, is_jax):
  network, scheme = AGENTS[cls], 'prioritized' if is_jax else 'uniform'
  if is_jax:
    if keras.config.backend() != 'jax':
      pytest.skip('dopamine.jax needs JAX')
    name = cls.__module__.replace('dopamine.', 'dopamine.jax.', 1)
    cls = getattr(importlib.import_module(name), f'Jax{cls.__name__}')
  agent = _make(cls, network, replay_scheme=scheme)
  agent._store_transition(*STEP, 10.0)
  agent._store_transition(*STEP, priority=0.5)
  agent._store_transition(*STEP)
  agent._store_transition(*STEP, None, episode_end=True)
  largest = 10 if scheme == 'prioritized' else 1
  assert _priorities(agent).tolist() == [10, 0.5, largest, largest]
  assert agent._replay.memory._store['reward'][:4].tolist() == [0.5] * 4
  with pytest.raises(ValueError, match='Add expects 5 elements'):
    agent._store_transition(*STEP, 10.0, 11.0)


def test_an_override_with_the_signature_of_before_passes_priorities_on():
  class Old(rainbow_agent.RainbowAgent):
    def _store_transition(self, o, a, r, is_terminal, priority=None):
      super()._store_transition(o, a, r, is_terminal, priority)

  agent = _make(Old, networks.ClassicControlRainbowNetwork)
  agent.begin_episode(STEP[0])
  agent._store_transition(*STEP, 4.0)
  agent.step(1.0, STEP[0])
  agent.end_episode(1.0)
  assert _priorities(agent).tolist() == [4, 4, 4]


def test_extra_storage_types_come_before_the_priority():
  class Noted(rainbow_agent.RainbowAgent):
    def _build_replay_buffer(self, use_staging):
      note = circular_replay_buffer.ReplayElement('note', (), np.float32)
      return prioritized_replay_buffer.WrappedPrioritizedReplayBuffer(
        self.observation_shape,
        self.stack_size,
        observation_dtype=self.observation_dtype,
        extra_storage_types=[note],
      )

  agent = _make(Noted, networks.ClassicControlRainbowNetwork)
  agent._store_transition(*STEP, 7.0)
  agent._store_transition(*STEP, 7.0, 3.0)
  agent._store_transition(*STEP, 7.0, priority=4.0)
  assert _priorities(agent).tolist() == [1, 3, 4]
  assert agent._replay.memory._store['note'][:3].tolist() == [7] * 3


@pytest.mark.parametrize('is_wrapped', [True, False])
def test_a_priority_is_the_last_argument_of_add(is_wrapped):
  replay = prioritized_replay_buffer.WrappedPrioritizedReplayBuffer((4,), 1)
  memory = replay.memory
  (replay if is_wrapped else memory).add(*STEP, 3.0)
  assert memory.get_priority(np.array([0], np.int32)) == [3]


def test_a_time_out_without_its_last_observation_leaves_no_priority():
  agent = _make(
    rainbow_agent.RainbowAgent,
    networks.ClassicControlRainbowNetwork,
    update_horizon=2,
  )

  def begin():
    agent.begin_episode(STEP[0])
    agent.step(1.0, STEP[0])
    agent.step(1.0, STEP[0])

  begin()
  agent.end_episode(1.0, terminal=False)
  assert _priorities(agent).tolist() == [1, 1, 1]
  begin()
  agent.end_episode(1.0, terminal=False, observation=STEP[0])
  begin()  # And nobody ends it.
  begin()
  assert _priorities(agent).tolist() == [1, 0, 0, *[1, 1, 1, 0], 0, 0, 1, 1]
