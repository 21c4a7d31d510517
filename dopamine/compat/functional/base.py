"""What agents in the functional style of Dopamine 3.3 to 4.0 have in common.

Acting, storing, periods, checkpoints and seeds are those of every agent; only
the update is a subclass's, or one of the functions here.
"""

import collections
from collections.abc import Mapping
import contextlib
import functools
import inspect
import os
import time
from typing import Any

from flax.core import FrozenDict
import jax
import jax.numpy as jnp
import numpy as np

from dopamine import learners
from dopamine import optimizers
from dopamine import seeding
from dopamine.agents import saving
from dopamine.compat import flax_modules
from dopamine.compat import old_weights
from dopamine.compat import own_code
from dopamine.compat.functional import bare
from dopamine.compat.functional import dqn
from dopamine.compat.functional import learner
from dopamine.compat.functional import trees
from dopamine.compat.functional import updates
from dopamine.files import atomic
from dopamine.files import pending
from dopamine.files import safe_pickle
from dopamine.jax.agents.dqn import dqn_agent
from dopamine.replay_memory import circular_replay_buffer
from dopamine.settings import errors

# Attributes that are no trees of the agent's, whatever they hold.
_NO_TREES = saving._SAVED_OTHERWISE | {'replay_elements'}


class Default:
  """An attribute until the instance has one of its own."""

  def __init__(self, value):
    self._value = value

  def __get__(self, agent, cls):
    return self if agent is None else self._value(agent)


class FunctionalDQNAgent(dqn_agent.JaxDQNAgent):
  """DQN whose parameters, and whose optimizer's state, are attributes.

  Attributes:
    network_def: the Flax module, called with one state.
    online_params: its parameters, a tree.
    target_network_params: the delayed ones.
    optimizer: has Optax's `init` and `update`.
    optimizer_state: its tree.
    preprocess_fn: what is done to states before the network.
    replay_elements: name -> `[B, ...]`, the batch of an update.
    state: `[*observation_shape, stack_size]`, without the axis of a batch.
  """

  bundles_trees = True
  has_door = False  # Whether it is a Runner's.

  _functional_updates = 1  # Where one is due.

  # What the network is made with beside `num_actions`.
  _functional_fields: tuple[str, ...] = ()

  # What is none of the original's: subclasses have attributes of these names of
  # their own, set before all else, and the update here leaves them out.
  _functional_not_mine: tuple[str, ...] = ('_replay_scheme', 'double_dqn')

  _default_loss_type = 'mse'  # As from 3.3 on.

  # Plain attributes here, that belong to no network.
  online_params: Any = None
  target_network_params: Any = None
  cumulative_gamma = Default(lambda agent: agent.gamma**agent.update_horizon)
  _double_dqn = Default(lambda agent: agent.double_dqn)
  _rng: Any = None  # A key of JAX; it may be set before all else.
  _functional_kinds: dict[str, Any] | None = None

  # The update ----------------------------------------------------------------

  def _training_step_update(self):
    """One update, on a batch of its own."""
    self._sample_from_replay_buffer()
    self.optimizer_state, self.online_params, loss = train('dqn', dqn)(
      *trained(self),
      *batch_of(self),
      self.cumulative_gamma,
      self._loss_type,
    )
    report(self, loss)

  def _sample_from_replay_buffer(self):
    """Fills `replay_elements` with a batch."""
    samples = self._replay.sample_transition_batch()
    names = [e.name for e in self._replay.get_transition_elements()]
    self.replay_elements = collections.OrderedDict(
      zip(names, samples, strict=True)
    )

  def _sync_weights(self):
    """Copies the online network's parameters to the target network."""
    self.target_network_params = self.online_params

  def __setattr__(self, name, value):
    # What an old pickle has: today Flax makes dicts, of which the optimizer is.
    if name.endswith('_params') and isinstance(value, FrozenDict):
      if type(vars(self).get(name)) is dict:
        value = value.unfreeze()
    if name in learner.OF_ALL:
      value = trees.of_jax(value)
    elif name == '_replay' and type(value) is not bare.BareMemory:
      value = bare.BareMemory(self._with_batches(value))
    super().__setattr__(name, value)

  def _write_summaries(self, update):
    super()._write_summaries(update._replace(objective=[update.objective]))

  def _train_step(self):
    """Counts an agent step, and runs the update and the copy due in it."""
    if not self.is_warming_up:
      if self.training_steps % self.update_period == 0:
        _run_updates(self, self._functional_updates)
      if self.training_steps % self.target_update_period == 0:
        self._sync_weights()
    self.training_steps += 1

  # Building ------------------------------------------------------------------

  def keep_attributes(self):
    """Is called before any attribute is set: some are a subclass's own."""
    own = vars(self)
    self._functional_set_before = {
      k: own[k] for k in self._functional_not_mine if k in own
    }

  def _begin(self):
    vars(self).update(self._functional_set_before)
    del self._functional_set_before
    super()._begin()
    self.state = self.state[0]
    if self._rng is None:
      self._rng = _new_key(self.seed)

  def _build_networks_and_optimizer(self):
    """Makes the parameters, and the optimizer with its state."""
    self._rng, key = jax.random.split(self._rng)
    self.online_params = self._functional_params(key)
    self.optimizer = self._optimizer_name
    if isinstance(self.optimizer, str):
      self.optimizer = optimizers.create_optimizer(self.optimizer)
    elif inspect.isfunction(self.optimizer):
      self.optimizer = self.optimizer()
    if not hasattr(self.optimizer, 'init'):
      raise errors.SettingError(
        f'{type(self).__name__} trains by functions, and optimizer='
        f"{self.optimizer!r} has no init and update of Optax's: give 'adam', "
        "'rmsprop', or one of Optax"
      )
    self.optimizer_state = self.optimizer.init(self.online_params)
    self.target_network_params = self.online_params

  def _functional_params(self, key):
    return self.network_def.init(key, self.preprocess_fn(self.state))

  def _build_replay_buffer(self):
    """Makes the replay memory."""
    return super()._build_replay_buffer().memory

  def _make_learner(self):
    self._functional_check()
    vars(self).setdefault('_optimizer_name', self.optimizer)
    fields = {
      name: getattr(self, f'_{name}') for name in self._functional_fields
    }
    if self._preprocesses:
      fields['inputs_preprocessed'] = True
    make = flax_modules.module_of(self.network)
    self.network_def = make(num_actions=self.num_actions, **fields)
    self._build_networks_and_optimizer()
    return learner.Learner(self)

  def _functional_check(self):
    """Refuses settings that an update of here would leave out."""
    cls = type(self)
    defined, inherited = own_code.defined(cls), own_code.uses(cls).inherited
    hooks = '_training_step_update', '_train_step'
    is_own = any(hook in defined and hook not in inherited for hook in hooks)
    settings = {
      'double_dqn': (self.double_dqn, False),
      '_replay_scheme': (self._replay_scheme, 'uniform'),
      'tf_device': (self.tf_device, None),
    }
    for name in ('tf_device', *(() if is_own else self._functional_not_mine)):
      value, default = settings[name]
      if value != default:
        raise errors.SettingError(
          f'{cls.__name__}.{name.removeprefix("_")} = {value!r}, of which the '
          'update by train() knows nothing: override _training_step_update '
          'with one that does, or write the agent with hooks, see '
          'docs/extending.md'
        )

  # Acting --------------------------------------------------------------------

  def _record_observation(self, observation):
    self.state = self.state.copy()  # JAX may still be reading the old one.
    super()._record_observation(observation)

  def end_episode(self, reward, terminal=True):
    """See `DQNAgent.end_episode`.

    A target here is discounted by gamma^n, n the steps that are meant, so that
    none is bootstrapped from where a time limit cut an episode.
    """
    super().end_episode(reward, terminal)

  def _functional_values(self, network, is_evaluation, params, states, *draws):
    def q_values(state, *draw):
      state = self.preprocess_fn(state)
      return self._functional_value(
        network, params, state, is_evaluation, *draw
      )

    return jax.vmap(q_values)(states, *draws)

  def _functional_value(self, network, params, state, is_evaluation):
    del is_evaluation
    return network.apply(params, state).q_values

  @property
  def online_convnet(self):
    """Says what the network says of `[B, ...]` states, DQN's at least."""
    return jax.vmap(
      functools.partial(self.network_def.apply, self.online_params)
    )

  # Saving --------------------------------------------------------------------

  def saved_trees(self):
    """The trees that a checkpoint holds as arrays, by attribute.

    Those are of the structure and shapes that they were made with.
    """
    kinds = self._functional_kinds
    return {
      name: tree
      for name, tree in trees.trees_of(self).items()
      if name not in _NO_TREES
      and (kinds is None or kinds.get(name) == trees.kind(tree))
    }

  def remember_settings(self):
    own = self.saved_trees()
    self._functional_kinds = {name: trees.kind(own[name]) for name in own}
    super().remember_settings()

  def _plain_attributes(self):
    found = super()._plain_attributes()
    found.pop('replay_elements', None)
    others = vars(self).keys() - found.keys() - self.saved_trees().keys()
    for name in others - _NO_TREES:
      plain = trees.without_arrays(vars(self)[name])
      if safe_pickle.is_plain(plain):
        found[name] = plain
    return found

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    bundle = super().bundle_and_checkpoint(checkpoint_dir, iteration_number)
    return bundle and {
      **bundle,
      'online_params': self.online_params,
      'optimizer_state': self.optimizer_state,
      'target_params': self.target_network_params,
      'trees': self.saved_trees(),  # Another agent's file may be in its place.
    }

  def _has_to_be_finite(self, name):
    return name.rpartition('/')[0].endswith('_params')

  def save_weights(self, checkpoint_dir, iteration_number):
    # Those of an agent in another one are in the bundle alone.
    if self.has_door or pending.checkpoint_in(checkpoint_dir) is None:
      super().save_weights(checkpoint_dir, iteration_number)

  def _find_weights(self, checkpoint_dir, iteration_number, bundle):
    path = saving.weights_path(checkpoint_dir, iteration_number)
    if isinstance(bundle, Mapping) and 'trees' in bundle:
      return lambda: None  # `_restore` does, as below.
    if not os.path.exists(path):
      old = os.path.join(checkpoint_dir, f'tf_ckpt-{iteration_number}')
      if isinstance(bundle, Mapping) and 'online_params' in bundle:
        return lambda: None
      if old_weights.is_tensorflow(old):
        raise errors.SettingError(
          f'{old} is of a TensorFlow agent, whose weights only an agent of '
          'hooks takes'
        )
    return super()._find_weights(checkpoint_dir, iteration_number, bundle)

  def take_record(self, checkpoint_dir, iteration_number, record):
    del checkpoint_dir, iteration_number  # The trees are in the record.
    self._restore(record)

  def _restore(self, bundle):
    names = 'generators', 'state', 'training_steps'
    taken = {k: bundle[k] for k in names if k in bundle}
    for name, tree in bundle.get('trees', {}).items():
      setattr(self, name, tree)
    for key in 'online_params', 'target_params', 'optimizer_state':
      if key in bundle:
        name = trees.attribute(key)
        template = getattr(self, name)
        taken[name] = trees.from_pickle(template, bundle[key], name)
    taken['attributes'] = trees.with_arrays(bundle.get('attributes', {}))
    gammas = {'cumulative_gamma'} & taken['attributes'].keys()
    own = {name: taken['attributes'][name] for name in gammas}
    super()._restore(taken)
    vars(self).update(own)  # Which is none of an agent of hooks.

  def load_weights(self, path):
    path = os.fspath(path)
    if path.endswith('.npz'):
      super().load_weights(path)
      return
    bundle = atomic.read_pickle(path)
    if not isinstance(bundle, Mapping) or 'online_params' not in bundle:
      raise atomic.DamagedError(f'{path} holds no weights: no online_params')
    params = bundle['online_params']
    if trees.is_packed(params):
      raise errors.SettingError(
        f'{path} has its weights in weights_ckpt.N.npz, of the same number '
        'beside it: give that'
      )
    self.online_params = trees.from_pickle(self.online_params, params, path)

  @contextlib.contextmanager
  def set_aside(self, seed):
    with super().set_aside(seed):
      self._rng = _new_key(seed)
      yield

  # What it says --------------------------------------------------------------

  def state_after(self, observation, is_first=False):
    return super().state_after(observation, is_first)[None]

  def _return_distribution(self, state, *draws):
    del state, draws

  def live_figures(self):
    figures = super().live_figures()
    return {name: x for name, x in figures.items() if x is not None}

  def identity(self):
    return {
      'network': type(self.network_def).__name__,
      'optimizer': type(self.optimizer).__name__,
      'replay_scheme': self._replay_scheme,
    }


# What the updates share -------------------------------------------------------


def train(algorithm, module):
  """The function `train` of an algorithm; see `updates.of_module`."""
  return updates.of_module(algorithm, module.train)


def trained(agent):
  """The first five arguments of `train`."""
  return (
    agent.network_def,
    agent.online_params,
    agent.target_network_params,
    agent.optimizer,
    agent.optimizer_state,
  )


def batch_of(agent):
  """States, actions, next states, rewards and terminals of the batch."""
  batch = agent.replay_elements
  return (
    agent.preprocess_fn(batch['state']),
    batch['action'],
    agent.preprocess_fn(batch['next_state']),
    batch['reward'],
    batch['terminal'],
  )


def weights(agent):
  """The weights of the losses of the batch: `[B]`."""
  batch = agent.replay_elements
  if agent._replay_scheme == 'uniform':
    return jnp.ones(len(batch['reward']))
  weights = 1.0 / np.sqrt(batch['sampling_probabilities'] + 1e-10)
  return weights / np.max(weights)


def prioritize(agent, loss):
  """Gives the transitions of the batch new priorities."""
  if agent._replay_scheme == 'prioritized':
    priorities = np.sqrt(np.asarray(loss) + 1e-10)
    agent._replay.set_priority(agent.replay_elements['indices'], priorities)


def report(agent, loss):
  """Checks a loss, `[]`, and logs it where that is due."""
  agent._record_update(learners.Update(loss, loss, None, {}, {}), 1)


def _run_updates(agent, num_updates):
  """Runs updates, if there is something to sample."""
  start = time.perf_counter()
  for _ in range(num_updates):
    try:
      agent._training_step_update()
    except circular_replay_buffer.NothingToSampleError:
      agent._be_patient()
      break
  agent.seconds_updating += time.perf_counter() - start


def _new_key(seed):
  return jax.random.PRNGKey(seeding.integer(seed, 'key'))


def keys(agent, num_states):
  """A key for each state, of the agent's NumPy generator."""
  return agent._generator.integers(2**32, size=(num_states, 2), dtype='uint32')
