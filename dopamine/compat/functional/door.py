"""What a Runner has of an agent in the functional style."""

import functools

from dopamine.agents import saving
from dopamine.compat import adapters
from dopamine.compat.functional import trees
from dopamine.files import arrays

# What is added to the bundle of an agent that makes all of it itself.
_ADDED = 'trees', 'generators', 'attributes'


class FunctionalAgent(adapters.ForeignAgent):
  """One whose bundle has trees of JAX, as it gives it and as it wants it."""

  __slots__ = ()

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    agent = self._partner_of_proxy
    bundle = agent.bundle_and_checkpoint(checkpoint_dir, iteration_number)
    if not isinstance(bundle, dict):
      return bundle
    is_own = not bundle.keys() & set(_ADDED)
    if is_own:  # Made without `super()`.
      agent.save_weights(checkpoint_dir, iteration_number)
    packed = trees.pack(agent, bundle, is_own or 'generators' in bundle)
    if is_own:
      rest = agent.saved_trees()
      for key in bundle:
        rest.pop(trees.attribute(key), None)
      added = agent.record() | {'trees': trees.pack(agent, rest, True)}
      packed |= {key: added[key] for key in _ADDED}
    return packed

  def unbundle(self, checkpoint_dir, iteration_number, bundle_dictionary):
    agent, bundle = self._partner_of_proxy, bundle_dictionary
    path = saving.weights_path(checkpoint_dir, iteration_number)
    read = functools.cache(functools.partial(arrays.read_npz, path))
    added = {}
    if isinstance(bundle, dict):
      bundle = trees.unpack(agent, bundle, read)
      if 'trees' in bundle:
        added = {key: bundle.pop(key) for key in _ADDED}
    is_done = agent.unbundle(checkpoint_dir, iteration_number, bundle)
    if is_done and added:
      for name, tree in added.pop('trees').items():
        setattr(agent, name, tree)
      agent.take_record(added)
    return is_done
