"""The replay memory of an agent in the functional style: without wrapper."""

from typing import Any

from dopamine.compat import proxy

# What is of the wrapper around it, beside what agents of hooks ask for.
_OF_THE_WRAPPER = frozenset(
  (
    *('memory', 'sample', 'gamma', 'cuts_episodes', 'save', 'load'),
    *('add', 'add_final_observation', 'cut_episode', 'checkpoint', 'restore'),
  )
)


class BareMemory(proxy.Proxy):
  """Passes for the memory in a wrapper, its private names included.

  Args:
    wrapper: an agent's, which draws batches by name and saves.
  """

  __slots__ = ('_wrapper_of_proxy',)

  def __init__(self, wrapper: Any):
    super().__init__(wrapper.memory)
    object.__setattr__(self, '_wrapper_of_proxy', wrapper)

  def __getattr__(self, name: str) -> Any:
    if name in _OF_THE_WRAPPER:
      return getattr(self._wrapper_of_proxy, name)
    return super().__getattr__(name)

  def __setattr__(self, name: str, value: Any) -> None:
    if name in _OF_THE_WRAPPER:
      setattr(self._wrapper_of_proxy, name, value)
    else:
      super().__setattr__(name, value)

  def draw_batches(self, *args) -> Any:
    # Of the class too, where another wrapper around this one looks for it.
    return self._partner_of_proxy.draw_batches(*args)

  def __reduce__(self) -> tuple:
    return type(self), (self._wrapper_of_proxy,)
