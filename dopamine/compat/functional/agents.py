"""Agents in the functional style of Dopamine's JAX agents, 3.3 to 4.0.

`join` puts a class of here between a subclass in that style and the class of
ours that it is of. Acting, storing, periods, checkpoints and seeds are those
of every agent; only the update is the subclass's, or one of the functions here.
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
from dopamine.compat import gone
from dopamine.compat import old_weights
from dopamine.compat import own_code
from dopamine.compat.functional import bare
from dopamine.compat.functional import dqn
from dopamine.compat.functional import full_rainbow
from dopamine.compat.functional import implicit_quantile
from dopamine.compat.functional import learner
from dopamine.compat.functional import quantile
from dopamine.compat.functional import rainbow
from dopamine.compat.functional import trees
from dopamine.files import atomic
from dopamine.files import pending
from dopamine.files import safe_pickle
from dopamine.jax.agents.dqn import dqn_agent
from dopamine.jax.agents.full_rainbow import full_rainbow_agent
from dopamine.jax.agents.implicit_quantile import implicit_quantile_agent
from dopamine.jax.agents.quantile import quantile_agent
from dopamine.jax.agents.rainbow import rainbow_agent
from dopamine.replay_memory import circular_replay_buffer
from dopamine.settings import errors

# What takes the place of arrays of JAX in an attribute that is saved.
_ARRAYS = 'jax.Array'

# Attributes that are no trees of the agent's, whatever they hold.
_NO_TREES = saving._SAVED_OTHERWISE | {'replay_elements'}


class _Default:
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

  # What the network is made with beside `num_actions`.
  _fields: tuple[str, ...] = ()

  # What is none of the original's: subclasses have attributes of these names of
  # their own, set before all else, and the update here leaves them out.
  _not_mine: tuple[str, ...] = ('_replay_scheme', 'double_dqn')

  # Plain attributes here, that belong to no network.
  online_params: Any = None
  target_network_params: Any = None
  cumulative_gamma = _Default(lambda agent: agent.gamma**agent.update_horizon)
  _double_dqn = _Default(lambda agent: agent.double_dqn)
  _rng: Any = None  # A key of JAX; it may be set before all else.
  _kinds_of_trees: dict[str, Any] | None = None

  # The update ----------------------------------------------------------------

  def _training_step_update(self):
    """One update, on a batch of its own."""
    self._sample_from_replay_buffer()
    batch = self._batch()
    self.optimizer_state, self.online_params, loss = dqn.train(
      *self._trained(),
      *batch,
      self.cumulative_gamma,
      self._loss_type,
    )
    self._report(loss)

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

  def _trained(self):
    """The first five arguments of `train`."""
    return (
      self.network_def,
      self.online_params,
      self.target_network_params,
      self.optimizer,
      self.optimizer_state,
    )

  def _batch(self):
    """States, actions, next states, rewards and terminals of the batch."""
    batch = self.replay_elements
    return (
      self.preprocess_fn(batch['state']),
      batch['action'],
      self.preprocess_fn(batch['next_state']),
      batch['reward'],
      batch['terminal'],
    )

  def _weights(self):
    """The weights of the losses of the batch: `[B]`."""
    batch = self.replay_elements
    if self._replay_scheme == 'uniform':
      return jnp.ones(len(batch['reward']))
    weights = 1.0 / np.sqrt(batch['sampling_probabilities'] + 1e-10)
    return weights / np.max(weights)

  def _prioritize(self, loss):
    """Gives the transitions of the batch new priorities."""
    if self._replay_scheme == 'prioritized':
      priorities = np.sqrt(np.asarray(loss) + 1e-10)
      self._replay.set_priority(self.replay_elements['indices'], priorities)

  def _report(self, loss):
    """Checks a loss, `[]`, and logs it where that is due."""
    self._record_update(learners.Update(loss, loss, None, {}, {}), 1)

  def __setattr__(self, name, value):
    # An old pickle's: Flax makes dicts today, which the optimizer is of.
    is_frozen = name.endswith('_params') and isinstance(value, FrozenDict)
    if is_frozen and type(vars(self).get(name)) is dict:
      value = value.unfreeze()
    super().__setattr__(name, value)

  def _write_summaries(self, update):
    super()._write_summaries(update._replace(objective=[update.objective]))

  def _update(self, num_updates, num_steps):
    del num_steps
    start = time.perf_counter()
    for _ in range(num_updates):
      try:
        self._training_step_update()
      except circular_replay_buffer.NothingToSampleError:
        self._be_patient()
        break
    self.seconds_updating += time.perf_counter() - start

  # Building ------------------------------------------------------------------

  def keep_attributes(self):
    """Is called before any attribute is set: some are a subclass's own."""
    own = vars(self)
    self._set_before = {k: own[k] for k in self._not_mine if k in own}

  def _begin(self):
    vars(self).update(self._set_before)
    del self._set_before
    super()._begin()
    self.state = self.state[0]
    if self._rng is None:
      self._rng = self._new_key(self.seed)

  def _new_key(self, seed):
    return jax.random.PRNGKey(seeding.integer(seed, 'key'))

  def _build_networks_and_optimizer(self):
    """Makes the parameters, and the optimizer with its state."""
    self._rng, key = jax.random.split(self._rng)
    self.online_params = self._initial_params(key)
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

  def _initial_params(self, key):
    return self.network_def.init(key, self.preprocess_fn(self.state))

  def _build_replay_buffer(self):
    """Makes the replay memory."""
    return super()._build_replay_buffer()

  def _make_replay(self, use_staging):
    return bare.BareMemory(super()._make_replay(use_staging))

  def _make_learner(self):
    self._check_update()
    vars(self).setdefault('_optimizer_name', self.optimizer)
    fields = {name: getattr(self, f'_{name}') for name in self._fields}
    if self._preprocesses:
      fields['inputs_preprocessed'] = True
    make = flax_modules.module_of(self.network)
    self.network_def = make(num_actions=self.num_actions, **fields)
    self._build_networks_and_optimizer()
    return learner.Learner(self)

  def _check_update(self):
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
    for name in ('tf_device', *(() if is_own else self._not_mine)):
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

  def _q_of_states(self, network, is_evaluation, params, states, *draws):
    def q_values(state, *draw):
      state = self.preprocess_fn(state)
      return self._q_of_state(network, params, state, is_evaluation, *draw)

    return jax.vmap(q_values)(states, *draws)

  def _q_of_state(self, network, params, state, is_evaluation):
    del is_evaluation
    return network.apply(params, state).q_values

  def _keys(self, num_states):
    """A key for each state, of the agent's NumPy generator."""
    return self._generator.integers(2**32, size=(num_states, 2), dtype='uint32')

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
    kinds = self._kinds_of_trees
    return {
      name: tree
      for name, tree in trees.trees_of(self).items()
      if name not in _NO_TREES
      and (kinds is None or kinds.get(name) == trees.kind(tree))
    }

  def remember_settings(self):
    own = self.saved_trees()
    self._kinds_of_trees = {name: trees.kind(own[name]) for name in own}
    super().remember_settings()

  def _plain_attributes(self):
    found = super()._plain_attributes()
    found.pop('replay_elements', None)
    others = trees.trees_of(self)
    for name in others.keys() - self.saved_trees().keys() - _NO_TREES:
      plain = jax.tree_util.tree_map(np.asarray, others[name])
      if safe_pickle.is_plain(plain):  # One that became it.
        found[name] = {_ARRAYS: plain}
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

  def take_record(self, record):
    """Goes on from what `record` returned."""
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
    taken['attributes'] = {}
    for name, value in bundle.get('attributes', {}).items():
      if isinstance(value, dict) and value.keys() == {_ARRAYS}:
        value = jax.tree_util.tree_map(jnp.asarray, value[_ARRAYS])
      taken['attributes'][name] = value
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
      self._rng = self._new_key(seed)
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


class FunctionalRainbowAgent(FunctionalDQNAgent, rainbow_agent.JaxRainbowAgent):
  """C51 and Rainbow, with `_support`, the atoms."""

  _not_mine = ('double_dqn',)

  _fields = ('num_atoms',)

  def _training_step_update(self):
    self._sample_from_replay_buffer()
    self.optimizer_state, self.online_params, loss, mean_loss = rainbow.train(
      *self._trained(),
      *self._batch(),
      self._weights(),
      self._support,
      self.cumulative_gamma,
    )
    self._prioritize(loss)
    self._report(mean_loss)

  def _initial_params(self, key):
    state = self.preprocess_fn(self.state)
    return self.network_def.init(key, state, self._support)

  def _q_of_state(self, network, params, state, is_evaluation):
    del is_evaluation
    return network.apply(params, state, self._support).q_values


class FunctionalQuantileAgent(
  FunctionalDQNAgent, quantile_agent.JaxQuantileAgent
):
  """QR-DQN."""

  _not_mine = ('double_dqn',)

  _fields = ('num_atoms',)

  def _training_step_update(self):
    self._sample_from_replay_buffer()
    self.optimizer_state, self.online_params, loss, mean_loss = quantile.train(
      *self._trained(),
      *self._batch(),
      self._kappa,
      self._num_atoms,
      self.cumulative_gamma,
      self._weights(),
    )
    self._prioritize(loss)
    self._report(mean_loss)


class FunctionalImplicitQuantileAgent(
  FunctionalDQNAgent, implicit_quantile_agent.JaxImplicitQuantileAgent
):
  """IQN, whose network draws its quantile levels from a key."""

  _not_mine = ('_replay_scheme',)

  _fields = ('quantile_embedding_dim',)
  _quantile_embedding_dim = _Default(lambda agent: agent.quantile_embedding_dim)

  def _training_step_update(self):
    self._sample_from_replay_buffer()
    found = implicit_quantile.train(
      *self._trained(),
      *self._batch(),
      self.num_tau_samples,
      self.num_tau_prime_samples,
      self.num_quantile_samples,
      self.cumulative_gamma,
      self.double_dqn,
      self.kappa,
      self._rng,
    )
    self._rng, self.optimizer_state, self.online_params, loss = found
    self._report(loss)

  def _initial_params(self, key):
    key, levels = jax.random.split(key)
    state = self.preprocess_fn(self.state)
    return self.network_def.init(key, state, self.num_tau_samples, levels)

  def _q_of_state(self, network, params, state, is_evaluation, key):
    del is_evaluation
    n = self.num_quantile_samples
    return jnp.mean(
      network.apply(params, state, n, key).quantile_values, axis=0
    )

  def _acting_draws(self, num_states):
    return (self._keys(num_states),)

  def _steady_draws(self, num_states):
    return (np.tile(np.array([0, 1], np.uint32), (num_states, 1)),)


class FunctionalFullRainbowAgent(
  FunctionalDQNAgent, full_rainbow_agent.JaxFullRainbowAgent
):
  """Rainbow with all its parts; noise comes from a key."""

  _not_mine = ()

  _fields = ('num_atoms', 'noisy', 'dueling', 'distributional')

  def _training_step_update(self):
    self._sample_from_replay_buffer()
    found = full_rainbow.train(
      *self._trained(),
      *self._batch(),
      self._weights(),
      self._support,
      self.cumulative_gamma,
      self._double_dqn,
      self._distributional,
      self._rng,
    )
    self.optimizer_state, self.online_params, loss, mean_loss, self._rng = found
    self._prioritize(loss)
    self._report(mean_loss)

  def _update(self, num_updates, num_steps):
    # Not the one between, which draws its batches together.
    num_updates *= self._num_updates_per_train_step
    FunctionalDQNAgent._update(self, num_updates, num_steps)

  def _initial_params(self, key):
    key, noise = jax.random.split(key)
    return self.network_def.init(
      key,
      self.preprocess_fn(self.state),
      self._support,
      eval_mode=self.eval_mode,
      key=noise,
    )

  def _q_of_state(self, network, params, state, is_evaluation, key):
    return network.apply(
      params, state, self._support, eval_mode=is_evaluation, key=key
    ).q_values

  def _acting_draws(self, num_states):
    return (self._keys(num_states),)


_BASES = {
  rainbow_agent.JaxRainbowAgent: FunctionalRainbowAgent,
  quantile_agent.JaxQuantileAgent: FunctionalQuantileAgent,
  implicit_quantile_agent.JaxImplicitQuantileAgent: (
    FunctionalImplicitQuantileAgent
  ),
  full_rainbow_agent.JaxFullRainbowAgent: FunctionalFullRainbowAgent,
  dqn_agent.JaxDQNAgent: FunctionalDQNAgent,
}


# They may be called by the name of a class of ours, as `JaxDQNAgent.f(self)`.
for _ours, _base in _BASES.items():
  for _name in gone.FUNCTIONAL:
    if _name in vars(_base):
      setattr(_ours, _name, vars(_base)[_name])


def join(cls: Any) -> None:
  """Has a subclass inherit from a class of here in place of that of ours."""
  base = next(_BASES[parent] for parent in cls.__mro__ if parent in _BASES)
  if issubclass(cls, base):
    return
  bases = list(cls.__bases__)
  ours = [i for i, parent in enumerate(bases) if issubclass(base, parent)]
  if ours:
    bases[ours[0]] = base
  else:  # They are parents of its parents.
    bases.append(base)
  cls.__bases__ = tuple(
    p for p in bases if p is base or not issubclass(base, p)
  )
