"""Weights that Dopamine 1 to 3 saved: of its TensorFlow and its JAX agents.

A TensorFlow agent saved `tf_ckpt-N.{index,data-*}`: variables by names such as
`Online/Conv_1/weights`, with the optimizer's slots beside them. A JAX agent
saved nested dicts in the pickle `ckpt.N`.

Names changed from release to release (`weights` became `kernel`, `Dense_3`
became `Dense_0`, networks got scopes of their own); the order of the layers
did not. So the layers of our networks are matched by kind and order; those of
others by their names, or else by their shapes where no two are alike.
"""

from collections.abc import Iterator, Mapping
import math
import os
import re
from typing import Any, NamedTuple

from absl import logging
import keras
import numpy as np

from dopamine import backend
from dopamine import learners
from dopamine import networks
from dopamine import optimizers
from dopamine.files import atomic
from dopamine.settings import errors


class OldWeights(NamedTuple):
  """What a file holds.

  Attributes:
    path: of the file.
    online: the online network's weights by name, `[...]` each.
    target: the target network's, under names of its own.
    optimizer: what the optimizer had, by the name of the variable, a slash and
      that of the slot; and of what belongs to no variable.
  """

  path: str
  online: dict[str, np.ndarray]
  target: dict[str, np.ndarray]
  optimizer: dict[str, np.ndarray]


# Reading ----------------------------------------------------------------------


def latest(folder: str, only: int | None = None) -> str | None:
  """The path that `read` takes of the newest weights in a folder, if any.

  Args:
    folder: of checkpoints.
    only: the number that they must have, if given.
  """
  names = set(os.listdir(folder))
  found = []
  for name in names:
    match = re.fullmatch(r'tf_ckpt-(\d+)\.index|ckpt\.(\d+)', name)
    if match:
      number, is_tf = match[1] or match[2], bool(match[1])
      # Beside ckpt.N of our own there is a manifest, and weights_ckpt.N.npz.
      is_ours = not is_tf and f'manifest_ckpt.{number}.json' in names
      if is_ours or only not in (None, int(number)):
        continue
      if is_tf and not any(
        n.startswith(f'tf_ckpt-{number}.data') for n in names
      ):
        continue
      # What a run completed comes before what it began to write. Beside ckpt.N
      # of a TensorFlow agent there is tf_ckpt-N.
      is_complete = f'sentinel_checkpoint_complete.{number}' in names
      found.append((is_complete, int(number), is_tf, name))
  return os.path.join(folder, max(found)[-1]) if found else None


def of_checkpoint(folder: str, number: int, bundle: Any) -> OldWeights | None:
  """The weights of a checkpoint of Dopamine 1 to 3, None if it has none.

  Args:
    folder: the run's `checkpoints`.
    number: the iteration.
    bundle: what is pickled in `ckpt.N`, or None.

  Raises:
    atomic.DamagedError: the file is not what was written.
  """
  path = os.path.join(folder, f'tf_ckpt-{number}')
  if is_tensorflow(path):
    return read(path)
  if isinstance(bundle, Mapping) and 'online_params' in bundle:
    return of_bundle(os.path.join(folder, f'ckpt.{number}'), bundle)
  return None


def is_tensorflow(path: str) -> bool:
  """Whether a path is the prefix, or one of the files, of `tf_ckpt-N`."""
  return os.path.isfile(f'{_prefix(path)}.index')


def _prefix(path: str) -> str:
  return re.sub(r'\.(index|meta|data-\d+-of-\d+)$', '', path)


def read(path: str) -> OldWeights:
  """Reads a file of either kind.

  Args:
    path: `tf_ckpt-N`, with or without `.index`, or the pickle `ckpt.N`.

  Raises:
    FileNotFoundError: it is not there.
    safe_pickle.RefusedError: the pickle wants to run code.
    atomic.DamagedError: it is not what was written, or holds no weights.
  """
  if not is_tensorflow(path):
    if '.data-' in os.path.basename(path):
      raise errors.MissingFileError(f'{_prefix(path)}.index is missing')
    return of_bundle(path, atomic.read_pickle(path))
  path = _prefix(path)
  arrays = _read_tf_checkpoint(path)
  found: dict[str, dict[str, np.ndarray]] = {'Online': {}, 'Target': {}}
  rest = {}
  for name, array in arrays.items():
    scope = re.search(r'(?:^|/)(Online|Target)/', name)
    is_slot = name.rpartition('/')[0] in arrays
    if scope and not is_slot:
      found[scope[1]][name] = array
    else:
      rest[name] = array
  if not found['Online']:
    raise atomic.DamagedError(
      f'{path} has no variable Online/..., which the weights of an agent are '
      f'named; it has {_some(arrays)}'
    )
  return OldWeights(path, found['Online'], found['Target'], rest)


def _read_tf_checkpoint(prefix: str) -> dict[str, np.ndarray]:
  """The variables of TensorFlow's files by name; needs TensorFlow."""
  try:
    from dopamine.learners import tf_checkpoint
  except ImportError as error:
    raise errors.NotInstalledError(
      f'{prefix} is a checkpoint of TensorFlow, which is needed to read it: '
      f'{backend.how_to_install("")}'
    ) from error
  try:
    return tf_checkpoint.read(prefix)
  except ValueError as error:
    raise atomic.DamagedError(str(error)) from error


def of_bundle(path: str, bundle: Any) -> OldWeights:
  """The weights in the dict that a JAX agent saved.

  Args:
    path: where it is from.
    bundle: what is pickled there.

  Raises:
    atomic.DamagedError: it has none.
  """
  online = target = None
  if isinstance(bundle, Mapping):
    online = bundle.get('online_params')
    target = bundle.get('target_params', bundle.get('target_network_params'))
  if not isinstance(online, Mapping):
    keys = sorted(map(str, bundle)) if isinstance(bundle, Mapping) else bundle
    raise atomic.DamagedError(
      f'{path} holds no weights: it has no online_params, but {_some(keys)}'
      '. Those of a TensorFlow agent are in tf_ckpt-N.index and its data file'
    )
  target = target if isinstance(target, Mapping) else {}
  try:
    return OldWeights(path, dict(_flat(online)), dict(_flat(target)), {})
  except (RecursionError, TypeError, ValueError) as error:
    raise atomic.DamagedError(
      f'{path} has parameters that are no dicts of arrays ({error})'
    ) from error


def _flat(params: Mapping, scope: str = '') -> Iterator[tuple[str, np.ndarray]]:
  for name, value in params.items():
    path = f'{scope}/{name}' if scope else str(name)
    if isinstance(value, Mapping):
      yield from _flat(value, path)
    else:
      array = np.asarray(value)
      if array.dtype.kind not in 'biuf':
        raise TypeError(f'{path} is of {array.dtype}')
      yield path, array


def _some(names: Any) -> str:
  names = list(names) if isinstance(names, (list, dict)) else [repr(names)]
  return ', '.join(names[:6]) + ', ...' * (len(names) > 6)


# Taking them over -------------------------------------------------------------


def assign(
  old: OldWeights,
  online: keras.Layer,
  target: keras.Layer,
  optimizer: keras.optimizers.Optimizer | None = None,
) -> None:
  """Gives networks the weights of a file; all of them, or none.

  Args:
    old: what was read.
    online: the network that acts and learns.
    target: its copy; where the file has none, it gets the weights of `online`.
    optimizer: gets its slots, where the file has those of its kind; else it
      starts afresh, with a warning. None if there is to be no training.

  Raises:
    ValueError: a variable is missing, left over or of another shape; names it.
  """
  pairs = pair_weights(old.path, old.online, online)
  others = pair_weights(old.path, old.target or old.online, target)
  slots = _slots(old, pairs, optimizer) if optimizer is not None else []
  for _, array, variable in (*pairs, *others, *slots):
    variable.assign(np.asarray(array).astype(variable.dtype))


def give(
  agent: Any,
  old: OldWeights,
  optimizer: keras.optimizers.Optimizer | None = None,
) -> None:
  """Gives an agent the weights of a file, which knows two networks.

  Args:
    agent: a `DQNAgent`.
    old: what was read.
    optimizer: see `assign`.

  Raises:
    ValueError: see `assign`; or the agent has more than two networks.
  """
  known = (agent.online_convnet, agent.target_convnet)
  others = [
    name
    for name, module in agent._modules().items()
    if not any(module is network for network in known)
  ]
  if others:
    raise errors.SettingError(
      f'{old.path} holds the weights of two networks, but '
      f'{type(agent).__name__} has {", ".join(sorted(others))} as well, which '
      'Dopamine did not know'
    )
  with learners.on_device(agent.tf_device):
    assign(old, *known, optimizer)


def pair_weights(
  path: str, arrays: Mapping[str, np.ndarray], network: keras.Layer
) -> list[tuple[str, np.ndarray, keras.Variable]]:
  """Finds for each weight of a network what it is in the file.

  Args:
    path: of the file.
    arrays: of one network, by name.
    network: is to get them.

  Returns:
    Name in the file, array and variable, for every weight.

  Raises:
    ValueError: see `assign`.
  """
  network = networks.unwrapped(network)
  kind = type(network).__name__
  names = {_relative(name): name for name in arrays}
  ours = [_relative(_path(variable)) for variable in network.weights]
  is_unique = len(set(ours)) == len(ours) and len(names) == len(arrays)
  if is_unique and set(ours) == set(names):
    layers = [
      ({'': (names[name], arrays[names[name]])}, {'': (_path(v), v)})
      for name, v in zip(ours, network.weights, strict=True)
    ]
  elif type(network).__module__.startswith(f'{networks.__name__}.'):
    layers = _in_order(path, kind, _old_layers(arrays), _layers(network))
  else:
    layers = _by_shape(path, kind, _old_layers(arrays), _layers(network))
  found = []
  for their, our in layers:
    if set(their) != set(our):
      raise errors.SettingError(
        f'{path} does not fit {kind}: the layer of {_names([their])} has '
        f'{", ".join(sorted(their))}, and here {", ".join(sorted(our))}'
      )
    for part, (name, variable) in our.items():
      old_name, array = their[part]
      if array.shape != tuple(variable.shape):
        raise errors.SettingError(
          f'{old_name} in {path} has shape {array.shape}, but {name} of {kind} '
          f'has {tuple(variable.shape)}: build the agent, the network and the '
          'environment that wrote it'
        )
      if not np.isfinite(array).all():
        raise errors.SettingError(f'{old_name} in {path} is not finite')
      found.append((old_name, array, variable))
  return found


def _in_order(path, kind, theirs, ours):
  """Pairs the layers of one of our networks, which are as they were."""
  if len(theirs) != len(ours):
    raise errors.SettingError(
      f'{path} does not fit {kind}: it has {len(theirs)} layers with weights '
      f'({_names(theirs)}), the network {len(ours)} ({_names(ours)}). '
      'Build the agent and the network that wrote it'
    )
  return zip(theirs, ours, strict=True)


def _by_shape(path, kind, theirs, ours):
  """Pairs the layers of a network of which nothing is known but its shapes."""

  def shape(layer):
    return tuple(
      sorted((part, tuple(a.shape)) for part, (_, a) in layer.items())
    )

  pairs = []
  for our in ours:
    same = [layer for layer in theirs if shape(layer) == shape(our)]
    if not same:
      parts = ', '.join(f'{part} {size}' for part, size in shape(our))
      raise errors.SettingError(
        f'{path} does not fit {kind}: it has no layer with the shapes of '
        f'{_names([our])}, {parts}; it has {_shapes(theirs)}'
      )
    if len(same) > 1 or sum(shape(layer) == shape(our) for layer in ours) > 1:
      raise errors.SettingError(
        f'{path}: which layer of {kind} is {_names(same)} cannot be told, as '
        f'others of {_names(ours)} have the same shapes. Name the layers as in '
        'the file'
      )
    pairs.append((same[0], our))
  if len(pairs) < len(theirs):
    raise errors.SettingError(
      f'{path} does not fit {kind}: it has {len(theirs)} layers, '
      f'{_shapes(theirs)}, the network {len(ours)} ({_names(ours)})'
    )
  return pairs


def _shapes(layers) -> str:
  kernels = map(_kernel, layers)
  return ', '.join(f'{name} {tuple(array.shape)}' for name, array in kernels)


def _path(variable: keras.Variable) -> str:
  """Where a variable is; a Flax network has its own names with dots."""
  return variable.path.replace('.', '/')


def _relative(name: str) -> str:
  """A name without its network, and as parts are called now."""
  name = re.sub(r'^(?:.*?/)?(?:Online|Target)/', '', name)
  layer, slash, part = name.rpartition('/')
  return layer + slash + _PARTS.get(part, part)


def _kernel(layer) -> tuple[str, Any]:
  """Name and array, or variable, of what a layer is known by."""
  return layer.get('kernel') or next(iter(layer.values()))


def _names(layers) -> str:
  return ', '.join(_kernel(layer)[0] for layer in layers)


# What the parts of a layer were called, and are.
_PARTS = {
  'weights': 'kernel',
  'biases': 'bias',
}


def _layers(network) -> list[dict[str, tuple[str, keras.Variable]]]:
  """Part -> (path, variable) of each layer, in the order of old networks."""
  layers: list[dict] = []
  last = None
  for variable in network.weights:
    layer, _, part = _path(variable).rpartition('/')
    if layer != last or part in layers[-1]:  # Names may be equal.
      layers.append({})
    layers[-1][part] = variable.path, variable
    last = layer

  def place(layer):
    path, variable = _kernel(layer)
    # They made the layer of the quantile levels before those after it.
    return _is_dense(variable), 'quantile_embedding' not in path

  return sorted(layers, key=place)


def _old_layers(arrays) -> list[dict[str, tuple[str, np.ndarray]]]:
  """Part -> (name, array) of each layer, in their order."""
  layers: dict[tuple, dict[str, tuple[str, np.ndarray]]] = {}
  for name, array in arrays.items():
    *scopes, leaf = name.split('/')
    # Without scopes of the layers there are kernel, kernel_1, kernel_2, ...
    part, number = _split(leaf)
    key = (*map(_split, scopes), ('', number))
    layers.setdefault(key, {})[_PARTS.get(part, part)] = name, array

  def place(item):
    key, layer = item
    is_last = any(scope == 'final_layer' for scope, _ in key[:-1])
    return _is_dense(_kernel(layer)[1]), is_last, key

  return [layer for _, layer in sorted(layers.items(), key=place)]


def _is_dense(kernel) -> bool:
  return len(kernel.shape) < 4  # Those of convolutions have four axes.


def _split(name: str) -> tuple[str, int]:
  """`('Conv', 2)` of `Conv_2`, `('Conv', 0)` of `Conv`."""
  number = re.search(r'_(\d{1,9})\Z', name)
  return (name[: number.start()], int(number[1])) if number else (name, 0)


# Optimizers -------------------------------------------------------------------


def _slots(old, pairs, optimizer) -> list[tuple[str, Any, keras.Variable]]:
  """What the optimizer gets, as of `pair_weights`; nothing, with a warning."""
  found = []
  for name, _, variable in pairs:
    slots = _slot_names(old, name, optimizer)
    for slot, variables in slots.items():
      array = old.optimizer.get(f'{name}/{slot}')
      if (
        array is None
        or array.shape != tuple(variable.shape)
        or not np.isfinite(array).all()
      ):
        slots = {}
        break
      index = optimizer._get_variable_index(variable)
      found.append((f'{name}/{slot}', array, variables[index]))
    if not slots:
      logging.warning(
        '%s has nothing of %s that %s could go on from: the optimizer starts '
        'afresh.',
        *(old.path, name, type(optimizer).__name__),
      )
      return []
  power = old.optimizer.get('beta2_power')
  is_adam = isinstance(optimizer, keras.optimizers.Adam)
  if is_adam and np.shape(power) == () and power is not None:
    count = 10**6  # Where the power is 0, the bias corrections are 1.
    if power > np.finfo(np.float32).tiny:
      # TensorFlow's is beta ** (updates + 1).
      count = round(math.log(power) / math.log(optimizer.beta_2)) - 1
    found.append(('beta2_power', np.array(count), optimizer.iterations))
  return found


def _slot_names(old, name, optimizer) -> dict[str, list[keras.Variable]]:
  """Slot of TensorFlow 1 -> our variables, one for each weight."""
  # Nothing for optimizers that no Dopamine agent came with.
  if isinstance(optimizer, optimizers.RMSProp):
    # Mean square, mean if centred, momentum.
    was_centered = f'{name}/RMSProp_2' in old.optimizer
    slots = {'RMSProp': optimizer._mean_squares}
    if optimizer.centered:
      slots['RMSProp_1' if was_centered else 'mean'] = optimizer._means
    if optimizer.momentum:
      momentum = 'RMSProp_2' if was_centered else 'RMSProp_1'
      slots[momentum] = optimizer._velocities
    return slots
  if isinstance(optimizer, keras.optimizers.Adam):
    return {'Adam': optimizer._momentums, 'Adam_1': optimizer._velocities}
  return {}
