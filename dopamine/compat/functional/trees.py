"""Trees of parameters, and the states of optimizers, as what may be saved.

Of a tree its arrays are saved, in the order in which JAX has them. What it is
made of, such as Optax's named tuples, comes from a tree of the same structure
that the agent has made itself.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dopamine.files import safe_pickle
from dopamine.settings import errors


def is_tree(value: Any) -> bool:
  """Whether it has arrays of JAX, and nothing that is no array or number."""
  leaves = jax.tree_util.tree_leaves(value)
  return any(isinstance(leaf, jax.Array) for leaf in leaves) and all(
    isinstance(leaf, (jax.Array, np.ndarray, np.generic, bool, int, float))
    for leaf in leaves
  )


def trees_of(agent: Any) -> dict[str, Any]:
  """The attributes of an agent that are trees, by name."""
  return {k: v for k, v in vars(agent).items() if is_tree(v)}


def arrays(tree: Any) -> list[np.ndarray]:
  """Copies of the leaves, in their order."""
  leaves = jax.tree_util.tree_leaves(tree)
  return [np.array(_data(leaf)) for leaf in leaves]


def _data(leaf):
  return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _is_key(leaf):
  is_array = isinstance(leaf, jax.Array)
  return is_array and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def like(template: Any, values: list[np.ndarray], name: str) -> Any:
  """A tree of the structure of `template`, of such leaves.

  Raises:
    ValueError: they are not as many, or a shape is another; says `name`.
  """
  leaves, structure = jax.tree_util.tree_flatten(template)
  if len(leaves) != len(values):
    raise errors.SettingError(
      f'{name} has {len(leaves)} arrays here, {len(values)} in the '
      'checkpoint: build the network and the optimizer that wrote it'
    )
  for i, (leaf, value) in enumerate(zip(leaves, values, strict=True)):
    here, there = np.shape(_data(leaf)), np.shape(value)
    if here != there:
      raise errors.SettingError(
        f'{name}/{i} has shape {here} here, {there} in the checkpoint: build '
        'the network and the optimizer that wrote it'
      )
  return structure.unflatten(map(_as, leaves, values))


def _as(leaf, value):
  """`value` as what `leaf` is."""
  if _is_key(leaf):
    return jax.random.wrap_key_data(value, impl=jax.random.key_impl(leaf))
  if isinstance(leaf, jax.Array):
    if leaf.weak_type and not leaf.shape:  # As a number of Python's.
      return jnp.asarray(np.asarray(value, leaf.dtype).item())
    return jnp.asarray(value, leaf.dtype)
  if isinstance(leaf, np.ndarray):
    return np.array(value, leaf.dtype)
  return type(leaf)(value)


# Bundles ----------------------------------------------------------------------

# The keys of what stands for a tree in a bundle; without leaves, they are those
# of the file of the weights.
_LEAVES, _LIKE = 'dopamine.leaves', 'dopamine.like'

# Entries that are attributes of another name.
_ATTRIBUTES = {'target_params': 'target_network_params'}


def pack(agent: Any, bundle: dict[str, Any]) -> dict[str, Any]:
  """What a bundle of an agent's is saved as: no object of JAX or Optax.

  Raises:
    RefusedError: an entry is a tree as the agent has none.
  """
  return {key: _packed(agent, bundle, key) for key in bundle}


def _packed(agent, bundle, key):
  value = bundle[key]
  if not is_tree(value):
    return value
  own = trees_of(agent)
  structure = jax.tree_util.tree_structure(value)
  for name in (_ATTRIBUTES.get(key, key), *own):
    if name in own and jax.tree_util.tree_structure(own[name]) == structure:
      in_file = 'generators' in bundle and value is own[name]  # `super()` wrote.
      return {_LIKE: name, _LEAVES: None if in_file else arrays(value)}
  plain = jax.tree_util.tree_map(np.asarray, value)
  if not safe_pickle.is_plain(plain):
    raise safe_pickle.RefusedError(
      f'{key} in the bundle of {type(agent).__name__} is a tree as it has none '
      f'itself, so that nothing could make it again: have one as self.{key}'
    )
  return plain


def unpack(
  agent: Any, bundle: dict[str, Any], read: Callable[[], Mapping]
) -> dict[str, Any]:
  """What `pack` was given, of the structures that the agent's trees have now.

  Args:
    agent: that gets it.
    bundle: what `pack` returned.
    read: returns what the file of the weights holds, by name.

  Raises:
    ValueError: the agent has other trees; names one.
  """
  found = dict(bundle)
  own, weights = trees_of(agent), None
  for key, value in bundle.items():
    if not isinstance(value, dict) or value.keys() != {_LIKE, _LEAVES}:
      continue
    name, leaves = value[_LIKE], value[_LEAVES]
    if name not in own:
      raise errors.SettingError(
        f'{key} of the checkpoint is made as {type(agent).__name__}.{name}, '
        'and there is no such tree here: build the agent that wrote it'
      )
    if leaves is None:
      weights = read() if weights is None else weights
      count = sum(key.rpartition('/')[0] == name for key in weights)
      leaves = [weights[f'{name}/{i}'] for i in range(count)]
    found[key] = like(own[name], leaves, key)
  return found


def from_pickle(template: Any, value: Any, name: str) -> Any:
  """A tree that a bundle has, of Dopamine 3.3 to 4.0 as well.

  Args:
    template: of the structure that it has.
    value: a tree; or what stands for it once it was read without its classes.
    name: for errors.

  Raises:
    ValueError: its structure, or a shape, is another.
  """
  tree = _without_classes(value)
  mine = _without_classes(template)
  structure = jax.tree_util.tree_structure
  if structure(tree) != structure(mine):
    raise errors.SettingError(
      f'{name} of the checkpoint is {structure(tree)}, and here '
      f'{structure(mine)}: build the network and the optimizer that wrote it'
    )
  return like(template, jax.tree_util.tree_leaves(tree), name)


def _without_classes(tree):
  """Its dicts, tuples and lists as such, down to the arrays."""
  if isinstance(tree, Mapping):
    return {key: _without_classes(tree[key]) for key in tree}
  if isinstance(tree, (tuple, list)):
    return tuple(map(_without_classes, tree))
  return tree
