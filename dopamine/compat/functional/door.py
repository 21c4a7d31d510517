"""What a Runner has of an agent in the functional style."""

import functools

from dopamine.agents import saving
from dopamine.compat import adapters
from dopamine.compat.functional import trees
from dopamine.files import arrays

# What is added to the bundle of an agent that makes all of it itself.
_ADDED = 'trees', 'generators', 'attributes'


class FunctionalAgent(adapters.ForeignAgent):
  """One whose bundle has trees of JAX, as it gives it and as it wants it.

  It is one, or has one: an agent around others hands on their bundles.
  """

  __slots__ = ()

  def __init__(self, partner):
    super().__init__(partner)
    if adapters.bundles_trees(partner):
      partner.has_door = True

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    agent = self._partner_of_proxy
    bundle = agent.bundle_and_checkpoint(checkpoint_dir, iteration_number)
    if not isinstance(bundle, dict):
      return bundle
    is_functional = adapters.bundles_trees(agent)
    if is_functional and not bundle.keys() & set(_ADDED):
      agent.save_weights(checkpoint_dir, iteration_number)
      rest = agent.saved_trees()
      for key in bundle:
        rest.pop(trees.attribute(key), None)
      added = agent.plain_record() | {'trees': rest, 'is_added': True}
      bundle = bundle | {key: added[key] for key in (*_ADDED, 'is_added')}
    return trees.pack(agent, bundle, is_functional and 'trees' in bundle)

  def unbundle(self, checkpoint_dir, iteration_number, bundle_dictionary):
    agent, bundle = self._partner_of_proxy, bundle_dictionary
    path = saving.weights_path(checkpoint_dir, iteration_number)
    read = functools.cache(functools.partial(arrays.read_npz, path))
    added = {}
    if isinstance(bundle, dict):
      bundle = trees.unpack(agent, bundle, read)
      if bundle.pop('is_added', False):
        added = {key: bundle.pop(key) for key in _ADDED}
    is_done = agent.unbundle(checkpoint_dir, iteration_number, bundle)
    if is_done and added:
      agent.take_record(added)
    return is_done
