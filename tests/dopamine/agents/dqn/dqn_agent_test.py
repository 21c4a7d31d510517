"""Tests of `DQNAgent`."""

import numpy as np
from numpy.testing import assert_allclose
from numpy.testing import assert_array_equal
import pytest

from dopamine import losses
from dopamine import networks
from dopamine import optimizers
from dopamine.agents.dqn import dqn_agent
from dopamine.replay_memory import circular_replay_buffer
from tests.support import agents
from tests.support import inside
from tests.support import small

# The exact update -------------------------------------------------------------


def forward(parameters, state):
  w1, b1, w2, b2 = parameters
  hidden = np.maximum(state @ w1 + b1, 0.0)
  return hidden, hidden @ w2 + b2


def numpy_update(online, target, slots, batch, rate=0.01, decay=0.95, eps=1e-5):
  """One DQN update in float64, with the gradient derived by hand."""
  online = [w.astype(np.float64) for w in online]
  batch_size = len(batch.action)
  state = batch.state.reshape(batch_size, -1)
  next_state = batch.next_state.reshape(batch_size, -1)
  hidden, q = forward(online, state)
  _, next_q = forward(target, next_state)
  rows = np.arange(batch_size)
  y = batch.reward + batch.discount * next_q.max(axis=1)
  u = y - q[rows, batch.action]
  loss = np.where(np.abs(u) <= 1, 0.5 * u**2, np.abs(u) - 0.5)
  # d mean(loss) / dq is -clip(u, -1, 1) / B at the action taken, else 0.
  dq = np.zeros_like(q)
  dq[rows, batch.action] = -np.clip(u, -1, 1) / batch_size
  dhidden = (dq @ online[2].T) * (hidden > 0)
  gradients = [
    state.T @ dhidden,
    dhidden.sum(axis=0),
    hidden.T @ dq,
    dq.sum(axis=0),
  ]
  new = []
  for w, g, slot in zip(online, gradients, slots, strict=True):
    slot['ms'] = decay * slot['ms'] + (1 - decay) * g**2
    slot['mean'] = decay * slot['mean'] + (1 - decay) * g
    new.append(w - rate * g / np.sqrt(slot['ms'] - slot['mean'] ** 2 + eps))
  return loss, new


def test_updates_equal_the_closed_form():
  agent = agents.make_agent(optimizer=lambda: optimizers.RMSProp(0.01))
  agents.perturb(agent.online_convnet)
  online, target = (
    agents.weights(agent.online_convnet),
    agents.weights(agent.target_convnet),
  )
  slots = [{'ms': 1.0, 'mean': 0.0} for _ in online]
  batches = small.batches(num_batches=3)

  update = inside.learner(agent).update(batches)

  for k in range(3):
    batch = small.Batch(*(x[k] for x in batches))
    assert 0 < batch.terminal.sum() < len(batch.terminal)
    loss, online = numpy_update(online, target, slots, batch)
    assert 0 < (loss > 0.5).sum() < len(loss), 'both branches of the loss'
    assert_allclose(np.asarray(update.loss)[k], loss, atol=1e-6)
    assert_allclose(np.asarray(update.objective)[k], loss.mean(), atol=1e-6)
  for found, expected in zip(
    agents.weights(agent.online_convnet), online, strict=True
  ):
    assert_allclose(found, expected, atol=1e-6)
  for found, expected in zip(
    agents.weights(agent.target_convnet), target, strict=True
  ):
    assert_array_equal(found, expected)


def test_k_batches_in_one_call_equal_k_calls():
  together, apart = agents.make_agent(), agents.make_agent()
  batches = small.batches(num_batches=3)
  inside.learner(together).update(batches)
  for k in range(3):
    inside.learner(apart).update(small.Batch(*(x[k : k + 1] for x in batches)))
  for a, b in zip(
    agents.weights(together.online_convnet),
    agents.weights(apart.online_convnet),
    strict=True,
  ):
    assert_allclose(a, b, atol=1e-7)


# Hooks ------------------------------------------------------------------------


class DoubleDQNAgent(agents.SmallReplayAgent):
  """Double DQN (van Hasselt et al., 2016) in three lines."""

  def _build_target_q_op(self, batch):
    from keras import ops

    greedy = ops.argmax(self.online_convnet(batch.next_state).q_values, axis=-1)
    next_q = self.target_convnet(batch.next_state).q_values
    return batch.reward + batch.discount * losses.take_action(next_q, greedy)


def test_one_override_makes_double_dqn():
  agent = agents.make_agent(DoubleDQNAgent)
  agents.perturb(agent.online_convnet)
  batches = small.batches(batch_size=64)
  online, target = (
    agents.weights(agent.online_convnet),
    agents.weights(agent.target_convnet),
  )
  state, next_state = (
    x[0].reshape(64, -1) for x in (batches.state, batches.next_state)
  )
  greedy = forward(online, next_state)[1].argmax(axis=1)
  next_q = forward(target, next_state)[1]
  assert (greedy != next_q.argmax(axis=1)).any(), 'the networks must disagree'
  rows = np.arange(64)
  u = (
    batches.reward[0]
    + batches.discount[0] * next_q[rows, greedy]
    - forward(online, state)[1][rows, batches.action[0]]
  )
  expected = np.where(np.abs(u) <= 1, 0.5 * u**2, np.abs(u) - 0.5)
  update = inside.learner(agent).update(batches)
  assert_allclose(np.asarray(update.loss)[0], expected, atol=1e-5)


def test_loss_weights_reach_the_gradient():
  class Weighted(agents.SmallReplayAgent):
    def _loss_weights(self, batch):
      return batch.discount

  rate = 0.1
  plain, weighted = (
    agents.make_agent(cls, optimizer=lambda: optimizers.RMSProp(rate))
    for cls in (agents.SmallReplayAgent, Weighted)
  )
  batches = small.batches()
  none = batches._replace(discount=np.zeros_like(batches.discount))
  before = agents.weights(weighted.online_convnet)
  inside.learner(weighted).update(none)
  for a, b in zip(before, agents.weights(weighted.online_convnet), strict=True):
    assert_array_equal(a, b)
  inside.learner(plain).update(none)
  assert any(
    (a != b).any()
    for a, b in zip(before, agents.weights(plain.online_convnet), strict=True)
  )


def test_extras_of_the_loss_are_logged():
  class Talkative(agents.SmallReplayAgent):
    def _loss(self, batch):
      return super()._loss(batch), {'Batch/Reward': batch.reward}

  recorder = agents.Recorder()
  agent = agents.make_agent(
    Talkative,
    summary_writer=recorder,
    summary_writing_frequency=1,
    min_replay_history=10,
    update_period=1,
  )
  small.run(agent, small.FourCountdown(5), 20)
  tags = {tag for tag, _, _ in recorder.scalars}
  assert tags == {'Losses/HuberLoss', 'Losses/Batch/Reward'}
  assert {v for t, v, _ in recorder.scalars if t == 'Losses/Batch/Reward'} == {
    1
  }


def test_an_extra_network_is_trained_copied_and_saved(tmp_path):
  class TwoHeads(agents.SmallReplayAgent):
    def _build_networks(self):
      super()._build_networks()
      self.second = self._create_network('Second')
      self._initialize(self.second)

    def _trainable(self):
      return super()._trainable() + self.second.trainable_variables

    def _loss(self, batch):
      q = self.second(batch.state).q_values
      return super()._loss(batch) + losses.huber(
        batch.reward - losses.take_action(q, batch.action)
      )

  agent = agents.make_agent(TwoHeads)
  before = agents.weights(agent.second)
  inside.learner(agent).update(small.batches())
  after = agents.weights(agent.second)
  assert any((a != b).any() for a, b in zip(before, after, strict=True))
  bundle = agent.bundle_and_checkpoint(str(tmp_path), 0)
  other = agents.make_agent(TwoHeads, seed=9)
  assert other.unbundle(str(tmp_path), 0, bundle)
  for a, b in zip(after, agents.weights(other.second), strict=True):
    assert_array_equal(a, b)


def test_polyak_averaging_by_one_hook():
  class Polyak(agents.SmallReplayAgent):
    def _sync_weights(self):
      pairs = zip(
        self.target_convnet.variables,
        self.online_convnet.variables,
        strict=True,
      )
      for target, online in pairs:
        target.assign(0.75 * target + 0.25 * online)

  agent = agents.make_agent(Polyak)
  agents.perturb(agent.online_convnet)
  online, target = (
    agents.weights(agent.online_convnet),
    agents.weights(agent.target_convnet),
  )
  inside.learner(agent).sync_target()
  for w, a, b in zip(
    agents.weights(agent.target_convnet), target, online, strict=True
  ):
    assert_allclose(w, 0.75 * a + 0.25 * b, atol=1e-6)


def test_lists_of_heads_are_trained_copied_and_saved(tmp_path):
  class Heads(agents.SmallReplayAgent):
    def _build_networks(self):
      super()._build_networks()
      self.heads = [self._create_network(f'Head{i}') for i in range(2)]
      self.target_heads = {'a': self._create_network('TargetHead')}
      for head in (*self.heads, *self.target_heads.values()):
        self._initialize(head)

    def _trainable(self):
      own = [v for head in self.heads for v in head.trainable_variables]
      return super()._trainable() + own

    def _sync_weights(self):
      super()._sync_weights()
      for target, online in zip(
        self.target_heads['a'].variables, self.heads[0].variables, strict=True
      ):
        target.assign(online)

    def _loss(self, batch):
      return super()._loss(batch) + sum(
        losses.squared(
          batch.reward
          - losses.take_action(head(batch.state).q_values, batch.action)
        )
        for head in self.heads
      )

  agent = agents.make_agent(Heads)
  inside.learner(agent).update(small.batches())
  inside.learner(agent).sync_target()
  for a, b in zip(
    agents.weights(agent.heads[0]),
    agents.weights(agent.target_heads['a']),
    strict=True,
  ):
    assert_array_equal(a, b)
  bundle = agent.bundle_and_checkpoint(str(tmp_path), 0)
  other = agents.make_agent(Heads, seed=9)
  assert other.unbundle(str(tmp_path), 0, bundle)
  for a, b in zip(
    agents.weights(agent.heads[1]), agents.weights(other.heads[1]), strict=True
  ):
    assert_array_equal(a, b)


def test_variables_that_would_not_be_saved_are_refused():
  class Hidden(agents.SmallReplayAgent):
    def _build_networks(self):
      super()._build_networks()
      head = self._create_network('Head')
      self._initialize(head)
      self.hide = lambda: head

    def _trainable(self):
      return super()._trainable() + self.hide().trainable_variables

  with pytest.raises(ValueError, match='belong to no module that is saved'):
    agents.make_agent(Hidden)


def test_an_old_build_networks_gets_built_and_equal_networks():
  class Old(agents.SmallReplayAgent):
    def _build_networks(self):
      self.online_convnet = self._create_network('Online')
      self.target_convnet = self._create_network('Target')

  agent = agents.make_agent(Old)
  before = agents.weights(agent.online_convnet)
  for a, b in zip(before, agents.weights(agent.target_convnet), strict=True):
    assert_array_equal(a, b)
  inside.learner(agent).update(small.batches())
  assert (agents.weights(agent.online_convnet)[0] != before[0]).any()


def test_networks_that_draw_noise_draw_new_noise_for_each_action():
  import keras

  class Noisy(small.Perceptron):
    def __init__(self, num_actions, name=None):
      super().__init__(num_actions, name)
      self.seeds = keras.random.SeedGenerator(1)

    def call(self, state):
      q = super().call(state).q_values
      noise = keras.random.normal(q.shape, seed=self.seeds)
      return networks.DQNNetworkType(q + noise)

  agent = agents.make_agent(network=Noisy)
  first, second = (inside.learner(agent).predict(agent.state) for _ in range(2))
  assert (first != second).all()


def test_weights_of_the_wrong_shape_are_refused():
  class Column(agents.SmallReplayAgent):
    def _loss_weights(self, batch):
      return batch.discount[:, None]

  with pytest.raises(ValueError, match='_loss_weights must return one value'):
    inside.learner(agents.make_agent(Column)).update(small.batches())


def test_a_bare_replay_buffer_is_wrapped():
  class Bare(agents.SmallReplayAgent):
    def _build_replay_buffer(self):
      return circular_replay_buffer.OutOfGraphReplayBuffer(
        (4,), 1, 100, 4, observation_dtype=np.float64, reward_dtype=np.float64
      )

  agent = agents.make_agent(Bare, min_replay_history=10, update_period=1)
  small.run(agent, small.FourCountdown(5), 30)
  assert inside.capacity(inside.memory(agent)) == 100


def test_a_replay_memory_of_the_users_own_will_do(tmp_path):
  class Own:
    def __init__(self, memory):
      self.memory = type('Memory', (), {'add_count': 0})
      self._inside = memory

    def add(self, *args, **kwargs):
      self._inside.add(*args, **kwargs)
      self.memory.add_count = self._inside.add_count

    def sample(self, num_batches):
      return self._inside.sample(num_batches)

    def save(self, checkpoint_dir, iteration):
      self._inside.save(checkpoint_dir, iteration)

    def load(self, checkpoint_dir, iteration):
      self._inside.load(checkpoint_dir, iteration)

  class WithOwn(agents.SmallReplayAgent):
    def _build_replay_buffer(self, use_staging):
      return Own(super()._build_replay_buffer(use_staging))

  agent = agents.make_agent(WithOwn, min_replay_history=10, update_period=1)
  small.run(agent, small.FourCountdown(5), 30)
  bundle = agent.bundle_and_checkpoint(str(tmp_path), 0)
  assert agents.make_agent(WithOwn).unbundle(str(tmp_path), 0, bundle)
  agent.begin_episode(np.zeros(4))
  agent.end_episode(1.0, terminal=False, observation=np.zeros(4))


def test_a_writer_that_cannot_write_scalars_is_refused():
  class FileWriter:  # As TensorFlow 1's.
    def add_summary(self, summary, global_step=None):
      raise AssertionError

  for writer in (object(), FileWriter()):
    with pytest.raises(ValueError, match='add_scalar.*migrating'):
      agents.make_agent(summary_writer=writer)


def test_an_abandoned_episode_is_not_joined_to_the_next():
  agent = agents.make_agent()
  agent.begin_episode(np.full(4, 1.0))
  agent.step(1.0, np.full(4, 2.0))
  agent.step(1.0, np.full(4, 3.0))  # Stored up to observation 2, then dropped.
  agent.begin_episode(np.full(4, 9.0))
  for _ in range(4):
    agent.step(1.0, np.full(4, 9.0))
  memory = inside.memory(agent)
  valid = [i for i in range(100) if memory.is_valid_transition(i)]
  assert valid == [0, 2, 3, 4]


def test_an_agent_that_stores_nothing_survives_a_timeout():
  class Amnesiac(agents.SmallReplayAgent):
    def _store_transition(self, *args, **kwargs):
      pass

  agent = agents.make_agent(Amnesiac)
  agent.begin_episode(np.zeros(4))
  agent.end_episode(1.0, terminal=False, observation=np.zeros(4))
  assert inside.memory(agent).add_count == 0


def test_graph_mode_overrides_are_refused():
  class OldTarget(agents.SmallReplayAgent):
    def _build_target_q_op(self):
      return None

  class OldTrainOp(agents.SmallReplayAgent):
    def _build_train_op(self):
      return None

  with pytest.raises(TypeError, match='_build_target_q_op.*batch.*migrating'):
    agents.make_agent(OldTarget)
  with pytest.raises(TypeError, match='_build_train_op.*_loss.*migrating'):
    agents.make_agent(OldTrainOp)


def test_a_network_with_the_wrong_outputs_is_named():
  with pytest.raises(ValueError, match=r'q_values of shape \(1, 3\).*\(1, 4\)'):
    agents.make_agent(
      network=lambda num_actions, name: small.Perceptron(4, name)
    )


def test_a_loss_must_be_per_transition():
  class Mean(agents.SmallReplayAgent):
    def _loss(self, batch):
      from keras import ops

      return ops.mean(super()._loss(batch))

  with pytest.raises(ValueError, match='one loss per transition'):
    inside.learner(agents.make_agent(Mean)).update(small.batches())


# The loop ---------------------------------------------------------------------


def test_target_starts_equal_to_online():
  agent = agents.make_agent()
  for a, b in zip(
    agents.weights(agent.online_convnet),
    agents.weights(agent.target_convnet),
    strict=True,
  ):
    assert_array_equal(a, b)
    assert a.ndim == 1 or a.any()


@pytest.mark.parametrize('num_steps', [1, 3])
def test_updates_and_copies_come_when_they_are_due(num_steps):
  agent = agents.make_agent(
    min_replay_history=10, update_period=4, target_update_period=6
  )
  log = []
  inside.learner(agent).update = lambda batches: (
    log.append(('update', agent.training_steps, batches.reward.shape[0]))
    or type('Update', (), {'priorities': None, 'objective': 0.0, 'figures': {}})
  )
  inside.learner(agent).sync_target = lambda: log.append(
    ('copy', agent.training_steps, 1)
  )
  for _ in range(10):
    inside.replay(agent).add(np.zeros(4), 0, 0.0, False)
  agent._train_step()  # 10 transitions are not more than 10.
  assert agent.training_steps == 1 and not log
  inside.replay(agent).add(np.zeros(4), 0, 0.0, False)
  inside.replay(agent).add(np.zeros(4), 0, 0.0, False)
  agent.training_steps = 0
  for _ in range(24 // num_steps):
    agent._train_step(num_steps)
  assert agent.training_steps == 24
  assert sum(n for kind, _, n in log if kind == 'update') == 6
  assert sum(n for kind, _, n in log if kind == 'copy') == 4
  if num_steps == 1:
    assert log[:3] == [('update', 0, 1), ('copy', 0, 1), ('update', 4, 1)]
    assert [s for kind, s, _ in log if kind == 'copy'] == [0, 6, 12, 18]


def test_training_steps_count_agent_steps():
  agent, environment = agents.make_agent(), small.FourCountdown(7)
  small.run(agent, environment, 21)
  assert agent.training_steps == environment.total == 21


def test_evaluation_neither_stores_nor_counts():
  agent = agents.make_agent(eval_mode=True)
  small.run(agent, small.FourCountdown(7), 21)
  assert agent.training_steps == 0
  assert inside.memory(agent).add_count == 0


def test_transitions_are_stored_with_their_rewards():
  agent = agents.make_agent()
  agent.begin_episode(np.full(4, 1.0))
  first = agent.action
  agent.step(0.5, np.full(4, 2.0))
  second = agent.action
  agent.end_episode(-1.0)
  store = inside.arrays(inside.memory(agent))
  assert_array_equal(store['observation'][:2, 0], [1.0, 2.0])
  assert_array_equal(store['action'][:2], [first, second])
  assert_array_equal(store['reward'][:2], [0.5, -1.0])
  assert_array_equal(store['terminal'][:2], [0, 1])


def test_a_timeout_bootstraps_from_the_last_observation():
  agent = agents.make_agent(update_horizon=3)
  agent.begin_episode(np.full(4, 1.0))
  for t in range(4):
    agent.step(1.0, np.full(4, 2.0 + t))
  agent.end_episode(1.0, terminal=False, observation=np.full(4, 6.0))
  # The next episode; the newest three transitions lack their windows.
  agent.begin_episode(np.full(4, 7.0))
  for t in range(4):
    agent.step(1.0, np.full(4, 8.0 + t))
  memory = inside.memory(agent)
  valid = [i for i in range(100) if memory.is_valid_transition(i)]
  assert valid == [0, 1, 2, 3, 4, 6]
  batch = memory.sample_transition_batch(5, np.arange(5))
  # The windows hold 3, 3, 3, 2 and 1 rewards of 1; gamma is 0.9.
  full = 1 + 0.9 + 0.81
  assert_allclose(batch[2], [full, full, full, 1.9, 1.0], rtol=1e-6)
  assert_allclose(batch[3][:, 0, 0], [4, 5, 6, 6, 6])
  assert_allclose(
    memory.discounts(np.arange(5)), [0.729, 0.729, 0.729, 0.81, 0.9], rtol=1e-6
  )


def test_a_timeout_without_an_observation_drops_what_it_cuts():
  agent = agents.make_agent(update_horizon=2)
  agent.begin_episode(np.full(4, 1.0))
  for t in range(4):
    agent.step(1.0, np.full(4, 2.0 + t))
  agent.end_episode(1.0, terminal=False)
  agent.begin_episode(np.full(4, 7.0))
  agent.step(1.0, np.full(4, 8.0))
  agent.step(1.0, np.full(4, 9.0))
  agent.step(1.0, np.full(4, 9.5))
  memory = inside.memory(agent)
  valid = [i for i in range(100) if memory.is_valid_transition(i)]
  assert valid == [0, 1, 2, 5]


def test_an_old_store_transition_gets_timeouts_as_terminals():
  class Old(agents.SmallReplayAgent):
    def _store_transition(self, last_observation, action, reward, is_terminal):
      self._replay.add(last_observation, action, reward, is_terminal)

  agent = agents.make_agent(Old)
  agent.begin_episode(np.zeros(4))
  agent.end_episode(1.0, terminal=False)
  assert inside.arrays(inside.memory(agent))['terminal'][0] == 1


def test_the_state_stacks_observations_on_the_last_axis():
  agent = agents.make_agent(stack_size=3)
  agent.begin_episode(np.full(4, 1.0))
  assert_array_equal(agent.state[0, 0], [0, 0, 1])
  agent.step(0.0, np.full((4, 1), 2.0))
  assert_array_equal(agent.state[0, 0], [0, 1, 2])
  agent.begin_episode(np.full(4, 5.0))
  assert_array_equal(agent.state[0, 0], [0, 0, 5])


def test_an_environment_may_reuse_its_observation():
  agent, observation = agents.make_agent(), np.full(4, 1.0)
  agent.begin_episode(observation)
  observation.fill(2.0)
  agent.step(0.0, observation)
  observation.fill(3.0)
  agent.end_episode(0.0)
  store = inside.arrays(inside.memory(agent))
  assert_array_equal(store['observation'][:2, 0], [1.0, 2.0])


def test_acting_is_greedy_but_for_epsilon():
  agent = agents.make_agent(eval_mode=True, epsilon_eval=0.25)
  agent.begin_episode(np.ones(4))
  q = forward(agents.weights(agent.online_convnet), agent.state.reshape(1, -1))[
    1
  ]
  actions = [agent._select_action() for _ in range(2000)]
  counts = np.bincount(actions, minlength=3) / 2000
  expected = np.full(3, 0.25 / 3)
  expected[q.argmax()] += 0.75
  assert_allclose(counts, expected, atol=0.04)


def test_epsilon_falls_in_a_straight_line():
  f = dqn_agent.linearly_decaying_epsilon
  assert f(100, 0, 20, 0.1) == 1.0
  assert f(100, 20, 20, 0.1) == 1.0
  assert f(100, 70, 20, 0.1) == pytest.approx(0.55)  # 0.1 + 0.9 * 50 / 100
  assert f(100, 120, 20, 0.1) == pytest.approx(0.1)
  assert f(100, 999, 20, 0.1) == pytest.approx(0.1)
  assert dqn_agent.identity_epsilon(1, 2, 3, 0.3) == 0.3


def test_epsilon_fn_gets_its_arguments_in_order():
  seen = []
  agent = agents.make_agent(
    epsilon_fn=lambda *args: seen.append(args) or 0.0,
    epsilon_decay_period=7,
    min_replay_history=50,
    epsilon_train=0.3,
  )
  agent.begin_episode(np.zeros(4))
  assert seen == [(7, 1, 50, 0.3)]


def test_losses_are_logged_where_the_frequency_divides_the_step():
  recorder = agents.Recorder()
  agent = agents.make_agent(
    summary_writer=recorder,
    summary_writing_frequency=8,
    min_replay_history=10,
    update_period=4,
  )
  small.run(agent, small.FourCountdown(5), 40)
  assert [step for _, _, step in recorder.scalars] == [16, 24, 32]
  assert {tag for tag, _, _ in recorder.scalars} == {'Losses/HuberLoss'}
  assert all(np.isfinite(value) for _, value, _ in recorder.scalars)


# Seeds and checkpoints --------------------------------------------------------


def history(agent, num_steps=60):
  small.run(agent, small.FourCountdown(7), num_steps)
  return agents.weights(agent.online_convnet)


def test_the_same_seed_gives_the_same_numbers():
  settings = dict(min_replay_history=10, update_period=2)
  first = history(agents.make_agent(seed=3, **settings))
  again = history(agents.make_agent(seed=3, **settings))
  other = history(agents.make_agent(seed=4, **settings))
  assert all((a == b).all() for a, b in zip(first, again, strict=True))
  assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_building_leaves_global_generators_alone():
  import random

  random.seed(1), np.random.seed(1)
  expected = random.random(), np.random.random()
  random.seed(1), np.random.seed(1)
  agents.make_agent()
  assert (random.random(), np.random.random()) == expected


def test_a_checkpoint_continues_exactly(tmp_path):
  settings = dict(
    min_replay_history=10, update_period=2, target_update_period=14
  )
  straight = agents.make_agent(seed=3, **settings)
  history(straight)
  bundle = straight.bundle_and_checkpoint(str(tmp_path), 7)
  expected = history(straight)

  resumed = agents.make_agent(seed=8, **settings)
  assert resumed.unbundle(str(tmp_path), 7, bundle)
  assert resumed.training_steps == 63
  found = history(resumed)
  for a, b in zip(found, expected, strict=True):
    assert_array_equal(a, b)


def test_missing_weights_are_named(tmp_path):
  bundle = agents.make_agent().bundle_and_checkpoint(str(tmp_path), 0)
  (tmp_path / 'weights_ckpt.0.npz').unlink()
  with pytest.raises(FileNotFoundError, match='weights_ckpt.0.npz is missing'):
    agents.make_agent().unbundle(str(tmp_path), 0, bundle)


def test_a_refused_checkpoint_leaves_the_agent_as_it_was(tmp_path):
  agent = agents.make_agent(min_replay_history=10)
  small.run(agent, small.FourCountdown(5), 30)
  agent.bundle_and_checkpoint(str(tmp_path), 0)
  other = agents.make_agent(seed=2)
  before = agents.weights(other.online_convnet)
  assert not other.unbundle(str(tmp_path), 0, None)
  assert inside.memory(other).add_count == 0
  assert_array_equal(agents.weights(other.online_convnet)[0], before[0])


def test_no_folder_no_checkpoint(tmp_path):
  assert (
    agents.make_agent().bundle_and_checkpoint(str(tmp_path / 'no'), 0) is None
  )


def test_a_partial_checkpoint_needs_permission(tmp_path):
  agent = agents.make_agent()
  agent.training_steps = 5
  bundle = agent.bundle_and_checkpoint(str(tmp_path), 0)
  (tmp_path / 'replay_ckpt.0.npz').unlink()
  assert not agents.make_agent().unbundle(str(tmp_path), 0, bundle)
  partial = agents.make_agent(seed=2, allow_partial_reload=True)
  assert partial.unbundle(str(tmp_path), 0, bundle)
  assert partial.training_steps == 5
  weights_only = agents.make_agent(seed=2, allow_partial_reload=True)
  assert weights_only.unbundle(str(tmp_path), 0, None)
  for a, b in zip(
    agents.weights(agent.online_convnet),
    agents.weights(weights_only.online_convnet),
    strict=True,
  ):
    assert_array_equal(a, b)


def test_weights_of_another_shape_are_named(tmp_path):
  agent = agents.make_agent()
  bundle = agent.bundle_and_checkpoint(str(tmp_path), 0)
  wider = agents.make_agent(num_actions=4)
  with pytest.raises(ValueError, match='online_convnet/2.*5, 4.*5, 3'):
    wider.unbundle(str(tmp_path), 0, bundle)
