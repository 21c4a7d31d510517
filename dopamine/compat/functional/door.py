"""What a Runner has of an agent in the functional style."""

import functools

from dopamine.agents import saving
from dopamine.compat import adapters
from dopamine.compat.functional import trees
from dopamine.files import arrays


class FunctionalAgent(adapters.ForeignAgent):
  """One whose bundle has trees of JAX, as it gives it and as it wants it."""

  __slots__ = ()

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    agent = self._partner_of_proxy
    bundle = agent.bundle_and_checkpoint(checkpoint_dir, iteration_number)
    return bundle and trees.pack(agent, bundle)

  def unbundle(self, checkpoint_dir, iteration_number, bundle_dictionary):
    agent, bundle = self._partner_of_proxy, bundle_dictionary
    if isinstance(bundle, dict):
      path = saving.weights_path(checkpoint_dir, iteration_number)
      read = functools.cache(functools.partial(arrays.read_npz, path))
      bundle = trees.unpack(agent, bundle, read)
    return agent.unbundle(checkpoint_dir, iteration_number, bundle)
