"""What an agent saves, and goes on from: all that learning has changed."""

import collections
from collections.abc import Callable, Iterator
import contextlib
import copy
import os
import random
import re
from typing import Any

from absl import logging
import keras
import numpy as np

from dopamine import interfaces
from dopamine import learners
from dopamine import seams
from dopamine import seeding
from dopamine.agents import contents
from dopamine.files import atomic
from dopamine.files import pending
from dopamine.files import safe_pickle
from dopamine.replay_memory import circular_replay_buffer
from dopamine.settings import errors

# Attributes that are no part of the bundle's 'attributes'.
_SAVED_OTHERWISE = frozenset(
  (
    *('_generator', '_settings', '_unchecked_losses', 'state', 'eval_mode'),
    *('seconds_updating', '_notes'),
  )
)

# The key of a generator's state, in place of the generator.
_GENERATOR = 'numpy.random.Generator'
_OLD_GENERATORS = {
  'numpy.random.RandomState': np.random.RandomState,
  'random.Random': random.Random,
}
_BIT_GENERATORS = {
  cls.__name__: cls
  for cls in (
    *(np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM),
    *(np.random.Philox, np.random.SFC64),
  )
}


class SavedAgent(interfaces.Agent):
  """An agent of a learner, a replay memory and attributes of its own.

  Attributes:
    state: `[1, *observation_shape, stack_size]`, the current state.
    training_steps: agent steps taken in training.
  """

  saves_mid_episode = True
  bundles_attributes = True

  state: np.ndarray
  training_steps: int
  _learner: learners.Learner
  _replay: Any
  _generator: np.random.Generator
  # The plain attributes once it was made; None says that none are saved.
  _settings: dict[str, Any] | None = None

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    """Saves weights, optimizer and replay memory; returns the rest.

    In a checkpoint of a Runner's, files are written later, beside training.

    Args:
      checkpoint_dir: an existing folder.
      iteration_number: names the files.

    Returns:
      A dict of built-ins and NumPy values that `unbundle` takes, or None if
      `checkpoint_dir` does not exist.

    Raises:
      FloatingPointError: a loss or a weight is not finite; nothing is saved.
    """
    if not os.path.isdir(checkpoint_dir):
      return None
    self.save_weights(checkpoint_dir, iteration_number)
    self._replay.checkpoint(checkpoint_dir, iteration_number)
    return self.plain_record()

  def _has_to_be_finite(self, name: str) -> bool:
    """Whether an array of the learner's state is never infinite."""
    del name
    return True

  def save_weights(self, checkpoint_dir: str, iteration_number: int) -> None:
    """Writes the file of weights and optimizer; see `bundle_and_checkpoint`."""
    self._settle()
    state = self._learner.state()
    for name, values in state.items():
      if self._has_to_be_finite(name) and not np.isfinite(values).all():
        raise errors.NotFiniteError(
          f'{name} has weights that are not finite at agent step '
          f'{self.training_steps}; checkpoints of earlier iterations are as '
          'they were'
        )
    path = weights_path(checkpoint_dir, iteration_number)
    pending.put(path, lambda file: np.savez(file, **state))

  def plain_record(self) -> dict[str, Any]:
    """What a bundle holds, of built-ins and NumPy values."""
    return {
      'state': self.state.copy(),
      'training_steps': self.training_steps,
      'generators': {
        'agent': self._generator.bit_generator.state,
        'replay': self._replay.memory.generator_state,
      },
      'attributes': self._changed_attributes(),
    }

  def unbundle(self, checkpoint_dir, iteration_number, bundle_dictionary):
    """Restores what `bundle_and_checkpoint` saved, here or in Dopamine 3.

    Args:
      checkpoint_dir: the folder it was given.
      iteration_number: the iteration it was given.
      bundle_dictionary: what it returned, or None if that is lost.

    Returns:
      False if there are no files of this iteration; or if the replay memory or
      the dictionary is missing and `allow_partial_reload` is not set. Then
      nothing was restored.

    Raises:
      FileNotFoundError: the weights are missing, but other files are there.
      atomic.DamagedError: naming the file that is.
      ValueError: a file does not fit this agent; the message says which.
    """
    place = checkpoint_dir, iteration_number
    take_weights = self._find_weights(*place, bundle_dictionary)
    if take_weights is None:
      logging.warning(
        'There is no checkpoint %d in %s', iteration_number, checkpoint_dir
      )
      return False
    missing = ''
    if bundle_dictionary is None:
      missing = "the agent's record is missing"
    if not missing or self.allow_partial_reload:
      missing = self._restore_replay(*place) or missing
    if missing and not self.allow_partial_reload:
      logging.warning(
        'Checkpoint %d in %s is incomplete (%s); to resume from its weights '
        'alone set DQNAgent.allow_partial_reload = True.',
        iteration_number,
        checkpoint_dir,
        missing,
      )
      return False
    if missing:
      logging.warning('Resuming from a partial checkpoint: %s', missing)
    take_weights()
    if bundle_dictionary is not None:
      self._restore(dict(bundle_dictionary))
    return True

  def load_weights(self, path):
    """Takes the weights of a checkpoint, to act with; nothing else changes.

    Args:
      path: of a file `weights_ckpt.N.npz`; or of Dopamine 1 to 3, `tf_ckpt-N`,
        or `ckpt.N` of a JAX agent.

    Raises:
      FileNotFoundError: it is not there.
      atomic.DamagedError: the file is not what was written.
      ValueError: it does not fit this agent; names the variable.
    """
    path = os.fspath(path)
    old_weights = seams.compat('old_weights')
    if path.endswith('.npz') or old_weights is None:
      self._read_weights(path, self._learner.set_weights)
    else:
      old_weights.give(self, old_weights.read(path))

  # Weights -------------------------------------------------------------------

  def _find_weights(
    self, checkpoint_dir: str, iteration_number: int, bundle: Any
  ) -> Callable[[], None] | None:
    """What takes the weights of a checkpoint; None if it has no file at all."""
    path = weights_path(checkpoint_dir, iteration_number)
    if os.path.exists(path):
      return lambda: self._read_weights(path, self._learner.set_state)
    if old_weights := seams.compat('old_weights'):
      old = old_weights.of_checkpoint(checkpoint_dir, iteration_number, bundle)
      if old is not None:
        return lambda: old_weights.give(self, old, self._learner.optimizer)
    form = (
      rf'(.+_)?ckpt\.{iteration_number}(\..+)?|tf_ckpt-{iteration_number}\..+'
    )
    names = os.listdir(checkpoint_dir) if os.path.isdir(checkpoint_dir) else ()
    if not any(re.fullmatch(form, name) for name in names):
      return None
    raise errors.MissingFileError(
      f'checkpoint {iteration_number} has no weights: {path} is missing. '
      'Start afresh in an empty base_dir, or restore the file'
    )

  def _read_weights(self, path: str, assign: Callable) -> None:
    """Hands `assign` the arrays of a file, and names it in its errors."""
    from dopamine.files import arrays

    state = arrays.read_npz(path)
    try:
      assign(state)
    except ValueError as error:
      raise errors.SettingError(f'{path}: {error}') from error

  def _restore_replay(self, checkpoint_dir: str, iteration_number: int) -> str:
    """Restores the replay memory; returns what is missing, '' for nothing."""
    try:
      self._replay.restore(checkpoint_dir, iteration_number)
    except circular_replay_buffer.NotFoundError as error:
      return str(error)
    except atomic.DamagedError as error:
      if not self.allow_partial_reload:
        raise
      return str(error)
    return ''

  def _modules(self):
    """What holds weights, by the name it is saved under.

    These are the agent's attributes that are Keras layers or variables, or
    lists or dicts of them, so that an agent with one more encoder or head need
    only assign it in `_build_networks`.
    """
    kinds = (keras.Layer, keras.Variable)
    found = {}
    for name, value in _attributes(self).items():
      items = {name: value}
      if isinstance(value, dict):
        items = {f'{name}/{key}': item for key, item in value.items()}
      elif isinstance(value, (list, tuple)):
        items = {f'{name}/{i}': item for i, item in enumerate(value)}
      found |= {n: item for n, item in items.items() if isinstance(item, kinds)}
    return found

  # Attributes ----------------------------------------------------------------

  def remember_settings(self) -> None:
    """Takes what the agent's attributes are now for its settings.

    A Runner calls this once the agent is made. Those that change from then on
    are part of a checkpoint, as far as they are built-ins, NumPy values and
    NumPy generators: what a subclass counts need not be saved by its own hand.
    """
    self._settings = copy.deepcopy(self._plain_attributes())

  def _plain_attributes(self) -> dict[str, Any]:
    """The attributes that a checkpoint may hold: no network, no function."""
    found = {}
    for name, value in _attributes(self).items():
      if isinstance(value, np.random.Generator):
        value = {_GENERATOR: value.bit_generator.state}
      elif type(value) is np.random.RandomState:
        value = {'numpy.random.RandomState': value.get_state(legacy=False)}
      elif type(value) is random.Random:
        value = {'random.Random': value.getstate()}
      if name not in _SAVED_OTHERWISE and safe_pickle.is_plain(value):
        found[name] = value
    return found

  def _changed_attributes(self) -> dict[str, Any]:
    """Copies of the attributes that are no settings, by name."""
    if self._settings is None:
      return {}
    changed = {}
    for name, value in self._plain_attributes().items():
      if name in self._settings and _same(value, self._settings[name]):
        continue
      try:
        safe_pickle.dumps(value)  # To be refused now, if it is ever.
      except safe_pickle.RefusedError as error:
        raise safe_pickle.RefusedError(
          f'{type(self).__name__}.{name} cannot be saved: {error}'
        ) from error
      changed[name] = copy.deepcopy(value)
    return changed

  def take_attributes(self, bundle: dict[str, Any]) -> None:
    """Takes what a checkpoint holds beside the weights, to act with.

    That are attributes, such as the means of an agent that normalises.

    Args:
      bundle: what `bundle_and_checkpoint` returned.
    """
    self._restore({'attributes': bundle.get('attributes', {})})

  def take_record(
    self, checkpoint_dir: str, iteration_number: int, record: dict[str, Any]
  ) -> None:
    """Goes on from `save_weights` and what `plain_record` returned."""
    path = weights_path(checkpoint_dir, iteration_number)
    self._read_weights(path, self._learner.set_state)
    self._restore(record)

  def _restore(self, bundle: dict[str, Any]) -> None:
    """Restores attributes from the bundle's entries of the same name."""
    generators = bundle.pop('generators', None)
    if generators is not None:
      self._generator.bit_generator.state = generators['agent']
      if generators['replay'] is not None:
        self._replay.memory.generator_state = generators['replay']
    own = _attributes(self)
    for name, value in bundle.pop('attributes', {}).items():
      if isinstance(value, dict) and _GENERATOR in value:
        value = _generator(own.get(name), name, value[_GENERATOR])
      elif isinstance(value, dict) and value.keys() & _OLD_GENERATORS.keys():
        value = _old_generator(own.get(name), *value.items())
      setattr(self, name, value)
    for name, value in bundle.items():
      if name == 'state':  # Dopamine's had another dtype, its JAX agents' no B.
        self.state = np.asarray(value, self.state.dtype).reshape(
          self.state.shape
        )
      elif name == 'training_steps':
        self.training_steps = int(value)
      elif name in own:
        setattr(self, name, value)

  @contextlib.contextmanager
  def _attributes_kept(self) -> Iterator[None]:
    """Puts attributes back afterwards, and what built-ins among them hold."""
    own = _attributes(self)
    before = {**own}
    try:
      with contents.kept(before.values()):
        yield
    finally:
      own.clear()
      own.update(before)

  @contextlib.contextmanager
  def set_aside(self, seed: int) -> Iterator[None]:
    """Evaluates inside; afterwards the agent is what it was before.

    That are its attributes, the `contents` of those that are built-ins, arrays
    and generators, and the variables of its networks. An object of a subclass's
    own is the same one afterwards, but nobody knows what is in it.

    Args:
      seed: of what is drawn inside.
    """
    variables = self._learner.state()
    try:
      with self._attributes_kept():
        self._generator = seeding.generator(seed, 'agent')
        self.eval_mode = True
        yield
    finally:
      # A layer that draws, dropout for example, has counted.
      if not _same(variables, self._learner.state()):
        self._learner.set_state(variables)

  def _settle(self) -> None:
    """Fetches what is still on the device.

    Raises:
      FloatingPointError: a loss is not finite.
    """
    raise NotImplementedError


def _attributes(agent: SavedAgent) -> dict[str, Any]:
  """The attributes themselves, by name."""
  return vars(agent)


def weights_path(checkpoint_dir, iteration_number):
  """Where the weights of a checkpoint are."""
  return os.path.join(checkpoint_dir, f'weights_ckpt.{iteration_number}.npz')


def _generator(generator, name, state):
  """The generator, or a new one, in a saved state; others may hold it too."""
  if not isinstance(generator, np.random.Generator):
    if state['bit_generator'] not in _BIT_GENERATORS:
      raise atomic.DamagedError(
        f'the checkpoint has {name} drawn from no generator of NumPy, but from '
        f'{state["bit_generator"]!r}'
      )
    generator = np.random.Generator(_BIT_GENERATORS[state['bit_generator']]())
  generator.bit_generator.state = state
  return generator


def _old_generator(generator, saved):
  """The generator, or a new one, in a saved state, as `_generator`."""
  name, state = saved
  if type(generator) is not _OLD_GENERATORS[name]:
    generator = _OLD_GENERATORS[name]()
  if name == 'random.Random':
    generator.setstate(state)
  else:
    generator.set_state(state)
  return generator


def _same(a, b):
  """Whether two plain values are equal, numbers to the last bit."""
  if type(a) is not type(b):
    return False
  if isinstance(a, (float, complex, np.generic, np.ndarray)):
    a, b = np.asarray(a), np.asarray(b)
    is_alike = (a.dtype, a.shape) == (b.dtype, b.shape)
    return is_alike and a.tobytes() == b.tobytes()
  if isinstance(a, collections.defaultdict):
    if a.default_factory is not b.default_factory:
      return False
  if isinstance(a, dict):
    return _same([*a], [*b]) and all(_same(a[key], b[key]) for key in a)
  if isinstance(a, collections.deque) and a.maxlen != b.maxlen:
    return False
  if isinstance(a, (list, tuple, collections.deque)):
    return len(a) == len(b) and all(map(_same, a, b))
  if isinstance(a, (set, frozenset)):  # {1} == {True}.
    return a == b and sorted(map(repr, a)) == sorted(map(repr, b))
  if isinstance(a, (range, slice)):
    return repr(a) == repr(b)
  return a == b
