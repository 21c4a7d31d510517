"""What a Runner has of an agent in the functional style."""

import functools

from dopamine.agents import saving
from dopamine.compat import adapters
from dopamine.compat.functional import trees
from dopamine.files import arrays


class FunctionalAgent(adapters.SelfBundling):
  """One whose bundle has trees of JAX, as it gives it and as it wants it.

  It is one, or has one: an agent around others hands on their bundles.
  """

  __slots__ = ()

  _added = 'trees', 'generators', 'attributes'

  def __init__(self, partner):
    super().__init__(partner)
    if adapters.bundles_trees(partner):
      partner.has_door = True

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    agent = self._partner_of_proxy
    place = checkpoint_dir, iteration_number
    if not adapters.bundles_trees(agent):
      bundle = agent.bundle_and_checkpoint(*place)
      return trees.pack(agent, bundle, False) if bundle else bundle
    bundle = super().bundle_and_checkpoint(*place)
    return trees.pack(agent, bundle, 'trees' in bundle) if bundle else bundle

  def _rest(self, bundle):
    rest = self._partner_of_proxy.saved_trees()
    for key in bundle:
      rest.pop(trees.attribute(key), None)
    return rest

  def unbundle(self, checkpoint_dir, iteration_number, bundle_dictionary):
    agent, bundle = self._partner_of_proxy, bundle_dictionary
    path = saving.weights_path(checkpoint_dir, iteration_number)
    read = functools.cache(functools.partial(arrays.read_npz, path))
    if isinstance(bundle, dict):
      bundle = trees.unpack(agent, bundle, read)
    return super().unbundle(checkpoint_dir, iteration_number, bundle)
