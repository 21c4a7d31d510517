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

from dopamine.compat import adapters
from dopamine.files import safe_pickle
from dopamine.settings import errors


def is_tree(value: Any) -> bool:
  """Whether it is of arrays and numbers, and no file holds it as it is.

  Arrays of JAX are what no file holds, and the named tuples of Optax around
  arrays, or around nothing.
  """
  leaves = jax.tree_util.tree_leaves(value)
  has_arrays = any(isinstance(x, (jax.Array, np.ndarray)) for x in leaves)
  return (
    (has_arrays or not leaves)
    and all(isinstance(leaf, _LEAF) for leaf in leaves)
    and not safe_pickle.is_plain(value)
  )


_LEAF = jax.Array, np.ndarray, np.generic, bool, int, float


def of_jax(value: Any) -> Any:
  """A tree with arrays of JAX in place of those of NumPy."""
  leaves, structure = jax.tree_util.tree_flatten(value)
  if not any(isinstance(leaf, np.ndarray) for leaf in leaves):
    return value
  return structure.unflatten(
    jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf
    for leaf in leaves
  )


def without_arrays(value: Any) -> Any:
  """`value` with something plain in place of its arrays of JAX."""

  def plain(leaf):
    return {_ARRAY: _array(leaf)} if isinstance(leaf, jax.Array) else leaf

  return jax.tree_util.tree_map(plain, value)


def with_arrays(value: Any) -> Any:
  """What `without_arrays` was given."""

  def stands_for_one(part):
    return isinstance(part, dict) and part.keys() == {_ARRAY}

  return jax.tree_util.tree_map(
    lambda leaf: jnp.asarray(leaf[_ARRAY]) if stands_for_one(leaf) else leaf,
    value,
    is_leaf=stands_for_one,
  )


# The key of what stands for an array of JAX in an attribute.
_ARRAY = 'jax.Array'


def trees_of(agent: Any) -> dict[str, Any]:
  """The attributes of an agent that are trees, by name."""
  return {k: v for k, v in vars(agent).items() if is_tree(v)}


def arrays(tree: Any) -> list[np.ndarray]:
  """Copies of the leaves, in their order."""
  leaves = jax.tree_util.tree_leaves(tree)
  return [_array(_data(leaf)) for leaf in leaves]


def _array(leaf):
  array = np.array(leaf)
  # What NumPy has no name of its own for, as bfloat16, fits into float32.
  return array.astype(np.float32) if array.dtype.kind == 'V' else array


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

# The keys of what stands for a tree in a bundle: the attribute that it is like,
# if it is more than an array, and its leaves, if they are not those in the file
# of the weights.
_LIKE, _LEAVES = 'dopamine.like', 'dopamine.leaves'


def attribute(key: str) -> str:
  """The attribute that an entry of a bundle is by its name."""
  return 'target_network_params' if key == 'target_params' else key


def pack(agent: Any, bundle: dict[str, Any], has_file: bool) -> dict[str, Any]:
  """What a bundle of an agent's is saved as: no object of JAX or Optax.

  Args:
    agent: whose it is.
    bundle: what it returned.
    has_file: whether its trees are in the file of the weights.

  Raises:
    RefusedError: an entry is a tree as the agent has none.
  """
  own = _templates(agent)
  return {
    key: _packed(value, own, attribute(key), has_file)
    for key, value in bundle.items()
  }


def is_packed(value: Any) -> bool:
  """Whether it stands for a tree in what `pack` returned."""
  return isinstance(value, dict) and value.keys() == {_LIKE, _LEAVES}


def _templates(agent):
  """Its trees by attribute; those of agents that it has, with a dot."""
  found = trees_of(agent)
  for name, value in vars(agent).items():
    if adapters.bundles_trees(value):
      found |= {f'{name}.{k}': tree for k, tree in trees_of(value).items()}
  return found


def _packed(value, own, name, has_file):
  if safe_pickle.is_plain(value):
    return value
  if is_tree(value):
    like_it = kind(value)
    for n in (name,) if isinstance(value, jax.Array) else (name, *own):
      if n in own and kind(own[n]) == like_it:
        is_kept = has_file and '.' not in n and value is own[n]
        return {_LIKE: n, _LEAVES: None if is_kept else arrays(value)}
  if isinstance(value, jax.Array):
    return {_LIKE: None, _LEAVES: arrays(value)}
  if type(value) is dict:
    return {k: _packed(part, own, k, has_file) for k, part in value.items()}
  if type(value) in (list, tuple):
    return type(value)(_packed(part, own, '', has_file) for part in value)
  if not is_tree(value):
    return value  # It may be allowed.
  raise safe_pickle.RefusedError(
    f'the bundle has {name or "a tree"} of {type(value).__name__}, as of which '
    'the agent has no attribute, so that nothing could make it again: keep one '
    'as self.' + (name or 'NAME')
  )


def kind(tree):
  """What two trees have in common that one can be made like the other."""
  leaves, structure = jax.tree_util.tree_flatten(tree)
  return structure, [np.shape(_data(leaf)) for leaf in leaves]


def unpack(agent: Any, value: Any, read: Callable[[], Mapping]) -> Any:
  """What `pack` was given, of the structures that the agent's trees have now.

  Args:
    agent: that gets it.
    value: a bundle that `pack` returned, or a part of one.
    read: returns what the file of the weights holds, by name.

  Raises:
    ValueError: the agent has other trees; names one.
  """
  if type(value) in (list, tuple):
    return type(value)(unpack(agent, part, read) for part in value)
  if type(value) is not dict:
    return value
  if not is_packed(value):
    return {key: unpack(agent, part, read) for key, part in value.items()}
  name, leaves = value[_LIKE], value[_LEAVES]
  if name is None:
    return jnp.asarray(leaves[0])
  own = _templates(agent)
  if name not in own:
    raise errors.SettingError(
      f'the checkpoint has a tree as {type(agent).__name__}.{name}, of which '
      'there is none here: build the agent that wrote it'
    )
  if leaves is None:
    weights = read()
    count = sum(key.rpartition('/')[0] == name for key in weights)
    leaves = [weights[f'{name}/{i}'] for i in range(count)]
  return like(own[name], leaves, name)


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
