"""JAX agents in the functional style of 2020 to 2024, as research has them."""

import collections
import functools
import pickle

import flax
from flax import linen as nn
import gin
import jax
import jax.numpy as jnp
import numpy as onp
import optax

from dopamine.discrete_domains import atari_lib
from dopamine.jax import losses
from dopamine.jax import networks
from dopamine.jax.agents.dqn import dqn_agent
from dopamine.jax.agents.full_rainbow import full_rainbow_agent
from dopamine.jax.agents.implicit_quantile import implicit_quantile_agent
from dopamine.jax.agents.quantile import quantile_agent
from dopamine.jax.agents.rainbow import rainbow_agent
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import prioritized_replay_buffer

Outputs = collections.namedtuple('Outputs', ['q_values', 'features'])


class Encoder(nn.Module):
  """Q-values, and the features that they are of."""

  num_actions: int
  units: int = 16
  inputs_preprocessed: bool = False

  @nn.compact
  def __call__(self, x):
    x = x.astype(jnp.float32).reshape(-1)
    features = nn.relu(nn.Dense(features=self.units)(x))
    return Outputs(nn.Dense(features=self.num_actions)(features), features)


@functools.partial(jax.jit, static_argnums=(0, 3))
def train_with_auxiliary_loss(
  network_def,
  online_params,
  target_params,
  optimizer,
  optimizer_state,
  states,
  actions,
  next_states,
  rewards,
  terminals,
  cumulative_gamma,
  coefficient,
):
  """DQN's loss, and what keeps the features of neighbours alike."""

  def loss_fn(params, target):
    def outputs(state):
      return network_def.apply(params, state)

    now = jax.vmap(outputs)(states)
    later = jax.vmap(outputs)(next_states)
    q = jax.vmap(lambda values, action: values[action])(now.q_values, actions)
    td_loss = jnp.mean(jax.vmap(losses.huber_loss)(target, q))
    auxiliary = jnp.mean(losses.mse_loss(now.features, later.features))
    return td_loss + coefficient * auxiliary, (td_loss, auxiliary)

  def q_target(state):
    return network_def.apply(target_params, state)

  target = dqn_agent.target_q(
    q_target, next_states, rewards, terminals, cumulative_gamma
  )
  grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
  (loss, parts), grad = grad_fn(online_params, target)
  updates, optimizer_state = optimizer.update(
    grad, optimizer_state, params=online_params
  )
  online_params = optax.apply_updates(online_params, updates)
  return optimizer_state, online_params, loss, parts


@gin.configurable
class AuxiliaryAgent(dqn_agent.JaxDQNAgent):
  """Its own jitted `train`, its own `_train_step`, AdamW with a schedule."""

  def __init__(
    self, num_actions, network=Encoder, coefficient=0.1, seed=None, **kwargs
  ):
    self._coefficient = coefficient
    self._rng = jax.random.PRNGKey(3 if seed is None else seed)
    super().__init__(num_actions, network=network, seed=seed, **kwargs)

  def _build_networks_and_optimizer(self):
    self._rng, rng = jax.random.split(self._rng)
    self.online_params = self.network_def.init(rng, x=self.state)
    schedule = optax.linear_schedule(1e-2, 1e-4, 50)
    self.optimizer = optax.chain(
      optax.clip_by_global_norm(10.0),
      optax.masked(
        optax.adamw(schedule, weight_decay=1e-4),
        lambda params: jax.tree_util.tree_map(lambda p: p.ndim > 1, params),
      ),
      optax.masked(
        optax.sgd(1e-2),
        lambda params: jax.tree_util.tree_map(lambda p: p.ndim < 2, params),
      ),
    )
    self.optimizer_state = self.optimizer.init(self.online_params)
    self.target_network_params = self.online_params

  def _train_step(self):
    if self._replay.add_count > self.min_replay_history:
      if self.training_steps % self.update_period == 0:
        self._sample_from_replay_buffer()
        states = self.preprocess_fn(self.replay_elements['state'])
        next_states = self.preprocess_fn(self.replay_elements['next_state'])
        (
          self.optimizer_state,
          self.online_params,
          loss,
          (td_loss, auxiliary),
        ) = train_with_auxiliary_loss(
          self.network_def,
          self.online_params,
          self.target_network_params,
          self.optimizer,
          self.optimizer_state,
          states,
          self.replay_elements['action'],
          next_states,
          self.replay_elements['reward'],
          self.replay_elements['terminal'],
          self.cumulative_gamma,
          self._coefficient,
        )
        if (
          self.summary_writer is not None
          and self.training_steps > 0
          and self.training_steps % self.summary_writing_frequency == 0
        ):
          for tag, value in (
            ('HuberLoss', td_loss),
            ('AuxiliaryLoss', auxiliary),
            ('Loss', loss),
          ):
            self.summary_writer.add_scalar(
              tag, onp.asarray(value), self.training_steps
            )
      if self.training_steps % self.target_update_period == 0:
        self._sync_weights()
    self.training_steps += 1


class CallingAgent(dqn_agent.JaxDQNAgent):
  """Calls our `train` from `_training_step_update`, and `select_action`."""

  def __init__(self, num_actions, network=networks.NatureDQNNetwork, **kwargs):
    super().__init__(num_actions, network=network, **kwargs)

  def _training_step_update(self):
    self._sample_from_replay_buffer()
    self.optimizer_state, self.online_params, self.last_loss = dqn_agent.train(
      self.network_def,
      self.online_params,
      self.target_network_params,
      self.optimizer,
      self.optimizer_state,
      self.preprocess_fn(self.replay_elements['state']),
      self.replay_elements['action'],
      self.preprocess_fn(self.replay_elements['next_state']),
      self.replay_elements['reward'],
      self.replay_elements['terminal'],
      self.cumulative_gamma,
      self._loss_type,
    )

  def _act(self):
    self._rng, self.action = dqn_agent.select_action(
      self.network_def,
      self.online_params,
      self.preprocess_fn(self.state),
      self._rng,
      self.num_actions,
      self.eval_mode,
      self.epsilon_eval,
      self.epsilon_train,
      self.epsilon_decay_period,
      self.training_steps,
      self.min_replay_history,
      self.epsilon_fn,
    )
    self.action = onp.asarray(self.action)
    return self.action

  def begin_episode(self, observation):
    self._reset_state()
    self._record_observation(observation)
    if not self.eval_mode:
      self._train_step()
    return self._act()

  def step(self, reward, observation):
    self._last_observation = self._observation
    self._record_observation(observation)
    if not self.eval_mode:
      self._store_transition(self._last_observation, self.action, reward, False)
      self._train_step()
    return self._act()


def target_distribution(
  target_network, next_states, rewards, terminals, support, cumulative_gamma
):
  """The expectation under a softmax policy instead of the maximum."""

  def project(next_state, reward, terminal):
    gamma = cumulative_gamma * (1.0 - terminal.astype(jnp.float32))
    outputs = target_network(next_state)
    policy = nn.softmax(outputs.q_values)
    probabilities = jnp.sum(policy[:, None] * outputs.probabilities, axis=0)
    return rainbow_agent.project_distribution(
      reward + gamma * support, probabilities, support
    )

  return jax.lax.stop_gradient(
    jax.vmap(project)(next_states, rewards, terminals)
  )


@functools.partial(jax.jit, static_argnums=(0, 3))
def train_softmax(
  network_def, online_params, target_params, optimizer, state, batch, support, g
):
  def loss_fn(params, target):
    def logits(x, action):
      return network_def.apply(params, x, support).logits[action]

    chosen = jax.vmap(logits)(batch['state'], batch['action'])
    loss = jax.vmap(losses.softmax_cross_entropy_loss_with_logits)(
      target, chosen
    )
    return jnp.mean(loss), loss

  target = target_distribution(
    lambda x: network_def.apply(target_params, x, support),
    batch['next_state'],
    batch['reward'],
    batch['terminal'],
    support,
    g,
  )
  grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
  (mean_loss, loss), grad = grad_fn(online_params, target)
  updates, state = optimizer.update(grad, state)
  return state, optax.apply_updates(online_params, updates), loss, mean_loss


class SoftmaxRainbowAgent(rainbow_agent.JaxRainbowAgent):
  """A distributional agent with its own `target_distribution`."""

  def __init__(self, num_actions, seed=None, **kwargs):
    network = functools.partial(
      networks.ClassicControlRainbowNetwork, hidden_units=16
    )
    super().__init__(num_actions, network=network, seed=seed, **kwargs)

  def _training_step_update(self):
    self._sample_from_replay_buffer()
    names = ('state', 'action', 'next_state', 'reward', 'terminal')
    batch = {name: self.replay_elements[name] for name in names}
    self.optimizer_state, self.online_params, loss, _ = train_softmax(
      self.network_def,
      self.online_params,
      self.target_network_params,
      self.optimizer,
      self.optimizer_state,
      batch,
      self._support,
      self.cumulative_gamma,
    )
    if self._replay_scheme == 'prioritized':
      self._replay.set_priority(
        self.replay_elements['indices'], jnp.sqrt(loss + 1e-10)
      )


class Predictor(nn.Module):
  """Says the next features of features and an action."""

  units: int = 16

  @nn.compact
  def __call__(self, features, action):
    x = jnp.concatenate([features, jax.nn.one_hot(action, 2)])
    return nn.Dense(features=self.units)(x)


class WorldModelAgent(dqn_agent.JaxDQNAgent):
  """A second network, with parameters and optimizer in the bundle."""

  def __init__(self, num_actions, seed=None, **kwargs):
    super().__init__(num_actions, network=Encoder, seed=seed, **kwargs)

  def _build_networks_and_optimizer(self):
    super()._build_networks_and_optimizer()
    self._rng, rng = jax.random.split(self._rng)
    self.predictor_def = Predictor()
    self.predictor_params = self.predictor_def.init(rng, jnp.zeros(16), 0)
    self._predictor_optimizer = optax.inject_hyperparams(optax.adam)(
      learning_rate=optax.exponential_decay(1e-2, 20, 0.9)
    )
    self.predictor_state = self._predictor_optimizer.init(self.predictor_params)
    self._train_predictor = jax.jit(self._predictor_update)

  def _predictor_update(self, params, state, online_params, batch):
    def loss_fn(params):
      def outputs(x):
        return self.network_def.apply(online_params, x).features

      found = jax.vmap(lambda f, a: self.predictor_def.apply(params, f, a))(
        jax.vmap(outputs)(batch['state']), batch['action']
      )
      return jnp.mean((found - jax.vmap(outputs)(batch['next_state'])) ** 2)

    loss, grad = jax.value_and_grad(loss_fn)(params)
    updates, state = self._predictor_optimizer.update(grad, state, params)
    return optax.apply_updates(params, updates), state, loss

  def _training_step_update(self):
    super()._training_step_update()
    names = ('state', 'action', 'next_state')
    batch = {name: self.replay_elements[name] for name in names}
    self.predictor_params, self.predictor_state, self.surprise = (
      self._train_predictor(
        self.predictor_params, self.predictor_state, self.online_params, batch
      )
    )

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    bundle = super().bundle_and_checkpoint(checkpoint_dir, iteration_number)
    if bundle is not None:
      bundle['predictor_params'] = self.predictor_params
      bundle['predictor'] = (self.predictor_params, self.predictor_state)
    return bundle

  def unbundle(self, checkpoint_dir, iteration_number, bundle_dictionary):
    if not super().unbundle(
      checkpoint_dir, iteration_number, bundle_dictionary
    ):
      return False
    if bundle_dictionary is not None:
      self.predictor_params = bundle_dictionary['predictor_params']
      self.predictor_params, self.predictor_state = bundle_dictionary[
        'predictor'
      ]
    return True


class ResettingAgent(dqn_agent.JaxDQNAgent):
  """Starts afresh with its last layer every `reset_period` agent steps."""

  def __init__(self, num_actions, reset_period=37, **kwargs):
    super().__init__(num_actions, network=Encoder, **kwargs)
    self._reset_period = reset_period
    self.num_resets = 0

  def _train_step(self):
    super()._train_step()
    if self.training_steps % self._reset_period == 0:
      self._rng, rng = jax.random.split(self._rng)
      fresh = self.network_def.init(rng, self.state)
      params = {**self.online_params['params']}
      params['Dense_1'] = fresh['params']['Dense_1']
      self.online_params = {'params': params}
      self.target_network_params = self.online_params
      self.optimizer_state = self.optimizer.init(self.online_params)
      self.num_resets += 1


class ReloadingAgent(dqn_agent.JaxDQNAgent):
  """Goes on from the parameters in a pickle, in its constructor."""

  def __init__(self, num_actions, path=None, **kwargs):
    super().__init__(num_actions, network=Encoder, **kwargs)
    if path is not None:
      with open(path, 'rb') as f:
        params = pickle.load(f)['online_params']
      params = flax.core.unfreeze(params)
      self.online_params = jax.tree_util.tree_map(jnp.asarray, params)
      self.target_network_params = self.online_params

  def _sample_from_replay_buffer(self):
    samples = self._replay.sample_transition_batch()
    types = self._replay.get_transition_elements()
    self.replay_elements = collections.OrderedDict()
    for element, element_type in zip(samples, types, strict=True):
      self.replay_elements[element_type.name] = element
    self.replay_elements['reward'] = jnp.sign(self.replay_elements['reward'])


class OwnBundleAgent(dqn_agent.JaxDQNAgent):
  """Bundles and unbundles all by itself, on a bare prioritised memory."""

  def __init__(self, num_actions, **kwargs):
    super().__init__(num_actions, network=Encoder, **kwargs)

  def _build_replay_buffer(self):
    return prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer(
      observation_shape=self.observation_shape,
      stack_size=self.stack_size,
      update_horizon=self.update_horizon,
      gamma=self.gamma,
      observation_dtype=self.observation_dtype,
    )

  def _training_step_update(self):
    super()._training_step_update()
    self._replay.set_priority(
      self.replay_elements['indices'],
      onp.ones_like(self.replay_elements['reward']),
    )

  def _store_transition(
    self,
    last_observation,
    action,
    reward,
    is_terminal,
    *args,
    priority=None,
    episode_end=False,
  ):
    if not self.eval_mode:
      if priority is None:
        priority = self._replay.sum_tree.max_recorded_priority
      self._replay.add(
        last_observation,
        action,
        reward,
        is_terminal,
        *args,
        priority=priority,
        episode_end=episode_end,
      )

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    self._replay.save(checkpoint_dir, iteration_number)
    return {
      'state': self.state,
      'training_steps': self.training_steps,
      'online_params': self.online_params,
      'optimizer_state': self.optimizer_state,
      'target_params': self.target_network_params,
    }

  def unbundle(self, checkpoint_dir, iteration_number, bundle_dictionary):
    try:
      self._replay.load(checkpoint_dir, iteration_number)
    except circular_replay_buffer.NotFoundError:
      return False
    if bundle_dictionary is not None:
      self.state = bundle_dictionary['state']
      self.training_steps = bundle_dictionary['training_steps']
      self.online_params = bundle_dictionary['online_params']
      self.optimizer = dqn_agent.create_optimizer(self._optimizer_name)
      self.optimizer_state = bundle_dictionary['optimizer_state']
      self.target_network_params = bundle_dictionary['target_params']
    return True


@functools.partial(jax.jit, static_argnums=(0, 3, 11, 12))
def train_weighted(
  network_def,
  online_params,
  target_params,
  optimizer,
  optimizer_state,
  states,
  actions,
  next_states,
  rewards,
  terminals,
  loss_weights,
  cumulative_gamma,
  double_dqn,
):
  def loss_fn(params, target):
    q = jax.vmap(lambda s: network_def.apply(params, s).q_values)(states)
    chosen = jax.vmap(lambda x, y: x[y])(jnp.squeeze(q), actions)
    loss = jax.vmap(losses.mse_loss)(target, chosen)
    return jnp.mean(loss_weights * loss), loss

  def values(params):
    return jax.vmap(lambda s: network_def.apply(params, s).q_values)(
      next_states
    )

  next_q = jnp.squeeze(values(target_params))
  choice = jnp.squeeze(values(online_params)) if double_dqn else next_q
  best = jax.vmap(lambda q, c: q[jnp.argmax(c)])(next_q, choice)
  target = jax.lax.stop_gradient(
    rewards + cumulative_gamma * best * (1.0 - terminals)
  )
  grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
  (mean_loss, loss), grad = grad_fn(online_params, target)
  updates, optimizer_state = optimizer.update(grad, optimizer_state)
  online_params = optax.apply_updates(online_params, updates)
  return optimizer_state, online_params, loss, mean_loss


class PrioritizedDoubleAgent(dqn_agent.JaxDQNAgent):
  """Double DQN on a prioritised memory, with all methods of its own."""

  def __init__(
    self,
    num_actions,
    double_dqn=True,
    replay_scheme='prioritized',
    optimizer='adam',
    seed=None,
    **kwargs,
  ):
    self._double_dqn = double_dqn
    self._replay_scheme = replay_scheme
    self.writes = []
    super().__init__(
      num_actions,
      network=functools.partial(Encoder, units=8),
      optimizer=optimizer,
      seed=seed,
      **kwargs,
    )

  def _build_replay_buffer(self):
    if self._replay_scheme not in ['uniform', 'prioritized']:
      raise ValueError(f'Invalid replay scheme: {self._replay_scheme}')
    return prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer(
      observation_shape=self.observation_shape,
      stack_size=self.stack_size,
      update_horizon=self.update_horizon,
      gamma=self.gamma,
      observation_dtype=self.observation_dtype,
    )

  def _store_transition(
    self,
    last_observation,
    action,
    reward,
    is_terminal,
    *args,
    priority=None,
    episode_end=False,
  ):
    is_prioritized = isinstance(
      self._replay,
      prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer,
    )
    if is_prioritized and priority is None:
      if self._replay_scheme == 'uniform':
        priority = 1.0
      else:
        priority = self._replay.sum_tree.max_recorded_priority
    if not self.eval_mode:
      self._replay.add(
        last_observation,
        action,
        reward,
        is_terminal,
        *args,
        priority=priority,
        episode_end=episode_end,
      )

  def _train_step(self):
    if self._replay.add_count > self.min_replay_history:
      if self.training_steps % self.update_period == 0:
        self._sample_from_replay_buffer()
        if self._replay_scheme == 'prioritized':
          probs = self.replay_elements['sampling_probabilities']
          loss_weights = 1.0 / jnp.sqrt(probs + 1e-10)
          loss_weights /= jnp.max(loss_weights)
        else:
          loss_weights = jnp.ones(self.replay_elements['state'].shape[0])
        self.optimizer_state, self.online_params, loss, _ = train_weighted(
          self.network_def,
          self.online_params,
          self.target_network_params,
          self.optimizer,
          self.optimizer_state,
          self.preprocess_fn(self.replay_elements['state']),
          self.replay_elements['action'],
          self.preprocess_fn(self.replay_elements['next_state']),
          self.replay_elements['reward'],
          self.replay_elements['terminal'],
          loss_weights,
          self.cumulative_gamma,
          self._double_dqn,
        )
        if self._replay_scheme == 'prioritized':
          self._replay.set_priority(
            self.replay_elements['indices'], jnp.sqrt(loss + 1e-10)
          )
      if self.training_steps % self.target_update_period == 0:
        self._sync_weights()
    self.training_steps += 1


class FixedBuffer:
  """Buffers that were read from files, of which one is drawn from at a time."""

  add_count = onp.array(1000)

  def __init__(self, observation_shape, stack_size, update_horizon, gamma):
    self._random = onp.random.default_rng(0)
    self._buffers = []
    for i in range(2):
      buffer = circular_replay_buffer.OutOfGraphReplayBuffer(
        observation_shape=observation_shape,
        stack_size=stack_size,
        replay_capacity=100,
        batch_size=8,
        update_horizon=update_horizon,
        gamma=gamma,
        observation_dtype=onp.float32,
      )
      rng = onp.random.RandomState(i)
      for t in range(60):
        observation = rng.normal(size=observation_shape).astype(onp.float32)
        buffer.add(observation, rng.randint(2), 1.0, t % 9 == 8)
      self._buffers.append(buffer)

  def __getattr__(self, name):
    return getattr(self._buffers[0], name)

  def sample_transition_batch(self, batch_size=None, indices=None):
    buffer = self._buffers[self._random.integers(2)]
    return buffer.sample_transition_batch(batch_size, indices)

  def get_transition_elements(self, batch_size=None):
    return self._buffers[0].get_transition_elements(batch_size)

  @property
  def generator_state(self):
    states = [buffer.generator_state for buffer in self._buffers]
    return {'which': self._random.bit_generator.state, 'buffers': states}

  @generator_state.setter
  def generator_state(self, state):
    self._random.bit_generator.state = state['which']
    for buffer, of_buffer in zip(self._buffers, state['buffers'], strict=True):
      buffer.generator_state = of_buffer

  def add(self, *args, **kwargs):
    pass

  def save(self, *args, **kwargs):
    pass

  def load(self, *args, **kwargs):
    pass


class OfflineAgent(dqn_agent.JaxDQNAgent):
  """Learns from what others played; nothing is stored."""

  def __init__(self, num_actions, **kwargs):
    super().__init__(num_actions, network=Encoder, **kwargs)

  def _build_replay_buffer(self):
    return FixedBuffer(
      self.observation_shape, self.stack_size, self.update_horizon, self.gamma
    )

  def _sample_from_replay_buffer(self):
    samples = self._replay.sample_transition_batch()
    types = self._replay.get_transition_elements()
    self.replay_elements = collections.OrderedDict(
      (t.name, s) for t, s in zip(types, samples, strict=True)
    )

  def _store_transition(self, *args, **kwargs):
    pass


class Critic(ResettingAgent):
  """Learns beside another agent, from the memory of that."""

  def __init__(self, num_actions, memory, **kwargs):
    self._memory = memory
    super().__init__(num_actions, **kwargs)

  def _build_replay_buffer(self):
    return self._memory


class PairAgent(ResettingAgent):
  """Acts with one agent, and trains another one on the same memory."""

  def __init__(self, num_actions, **kwargs):
    super().__init__(num_actions, **kwargs)
    kwargs['summary_writer'] = None
    self.critic = Critic(num_actions, self._replay, gamma=0.9, **kwargs)

  def _train_step(self):
    super()._train_step()
    self.critic._train_step()

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    bundle = super().bundle_and_checkpoint(checkpoint_dir, iteration_number)
    if bundle is not None:
      bundle['critic'] = {
        'trees': (
          self.critic.online_params,
          [self.critic.target_network_params, self.critic.optimizer_state],
        ),
        'rng': self.critic._rng,
        'training_steps': self.critic.training_steps,
        'num_resets': self.critic.num_resets,
        'name': 'critic',
      }
    return bundle

  def unbundle(self, checkpoint_dir, iteration_number, bundle_dictionary):
    is_done = super().unbundle(
      checkpoint_dir, iteration_number, bundle_dictionary
    )
    if is_done and bundle_dictionary is not None:
      saved = bundle_dictionary['critic']
      self.critic.online_params, others = saved['trees']
      self.critic.target_network_params, self.critic.optimizer_state = others
      self.critic._rng = saved['rng']
      self.critic.training_steps = saved['training_steps']
      self.critic.num_resets = saved['num_resets']
    return is_done


class Duet:
  """Two agents on one memory, in one that is no agent of ours."""

  def __init__(self, num_actions, **kwargs):
    self.actor = WorldModelAgent(num_actions, **kwargs)
    kwargs['summary_writer'] = None
    self.other = Critic(num_actions, self.actor._replay, **kwargs)

  eval_mode = False

  def __setattr__(self, name, value):
    super().__setattr__(name, value)
    if name == 'eval_mode':
      self.actor.eval_mode = self.other.eval_mode = value

  def begin_episode(self, observation):
    return self.actor.begin_episode(observation)

  def step(self, reward, observation):
    if not self.eval_mode:
      self.other._train_step()
    return self.actor.step(reward, observation)

  def end_episode(self, reward, terminal=True):
    self.actor.end_episode(reward, terminal)

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    place = checkpoint_dir, iteration_number
    return {
      'actor': self.actor.bundle_and_checkpoint(*place),
      'other': self.other.bundle_and_checkpoint(*place),
    }

  def unbundle(self, checkpoint_dir, iteration_number, bundle_dictionary):
    place = checkpoint_dir, iteration_number
    return self.actor.unbundle(
      *place, bundle_dictionary['actor']
    ) and self.other.unbundle(*place, bundle_dictionary['other'])


class NormedNetwork(networks.ClassicControlDQNNetwork):
  """A subclass of a Flax network of ours."""

  hidden_units: int = 16

  def __call__(self, x):
    return super().__call__(x / (1.0 + jnp.linalg.norm(x.reshape(-1))))


class OfOurNetworkAgent(dqn_agent.JaxDQNAgent):
  """Functional by one attribute that it reads, with a subclassed network."""

  def __init__(self, num_actions, **kwargs):
    super().__init__(num_actions, network=NormedNetwork, **kwargs)

  def begin_episode(self, observation):
    action = super().begin_episode(observation)
    self.first_value = self.network_def.apply(
      self.target_network_params, self.state
    ).q_values[action]
    return action


class SmallFullRainbowNetwork(nn.Module):
  """Noise in one layer, by the `NoisyNetwork` of ours."""

  num_actions: int
  num_atoms: int
  noisy: bool = True
  dueling: bool = True
  distributional: bool = True
  inputs_preprocessed: bool = False

  @nn.compact
  def __call__(self, x, support, eval_mode=False, key=None):
    net = networks.feature_layer(key, self.noisy, eval_mode=eval_mode)
    x = nn.relu(nn.Dense(features=16)(x.astype(jnp.float32).reshape(-1)))
    x = net(x, features=self.num_actions * self.num_atoms)
    logits = x.reshape((self.num_actions, self.num_atoms))
    probabilities = nn.softmax(logits)
    q_values = jnp.sum(support * probabilities, axis=1)
    return atari_lib.RainbowNetworkType(q_values, logits, probabilities)


class HookAgent(dqn_agent.JaxDQNAgent):
  """An agent of hooks on a subclass of a Flax network of ours."""

  def __init__(self, num_actions, **kwargs):
    super().__init__(num_actions, network=NormedNetwork, **kwargs)

  def _build_target_q_op(self, batch):
    return 0.5 * super()._build_target_q_op(batch)


class FullRainbowAgent(full_rainbow_agent.JaxFullRainbowAgent):
  """Full Rainbow's own update, on every second batch with a twist."""

  def _sample_from_replay_buffer(self):
    super()._sample_from_replay_buffer()
    self.replay_elements['reward'] = jnp.clip(
      self.replay_elements['reward'], -1.0, 1.0
    )


class QuantileAgent(quantile_agent.JaxQuantileAgent):
  def _sample_from_replay_buffer(self):
    super()._sample_from_replay_buffer()


class ImplicitQuantileAgent(implicit_quantile_agent.JaxImplicitQuantileAgent):
  def _sample_from_replay_buffer(self):
    super()._sample_from_replay_buffer()


class RainbowAgent(rainbow_agent.JaxRainbowAgent):
  def _sample_from_replay_buffer(self):
    super()._sample_from_replay_buffer()


AGENTS = {
  cls.__name__: cls
  for cls in (
    *(AuxiliaryAgent, CallingAgent, SoftmaxRainbowAgent, WorldModelAgent),
    *(ResettingAgent, ReloadingAgent, OwnBundleAgent, OfOurNetworkAgent),
    *(FullRainbowAgent, QuantileAgent, ImplicitQuantileAgent, RainbowAgent),
    *(PrioritizedDoubleAgent, OfflineAgent, PairAgent, HookAgent),
  )
}
