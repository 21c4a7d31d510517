"""What wraps a foreign object and hands on all that it does not declare."""

import copy
from typing import Any


class Proxy:
  """Reads and sets attributes of its partner, and passes for one of its class.

  A subclass declares what a partner may lack: as methods and properties, and in
  `_if_missing`. Special methods, as `len`, are not handed on.
  """

  __slots__ = ('_partner_of_proxy',)

  _if_missing: dict[str, Any] = {}

  def __init__(self, partner: Any):
    object.__setattr__(self, '_partner_of_proxy', partner)

  @property  # type: ignore[misc]
  def __class__(self) -> type:  # For `isinstance`.
    return type(self._partner_of_proxy)

  def __getattr__(self, name: str) -> Any:
    try:
      return getattr(self._partner_of_proxy, name)
    except AttributeError:
      if name not in self._if_missing:
        raise
      return self._if_missing[name]

  def __setattr__(self, name: str, value: Any) -> None:
    setattr(self._partner_of_proxy, name, value)

  def __repr__(self) -> str:
    return repr(self._partner_of_proxy)

  def __str__(self) -> str:
    return str(self._partner_of_proxy)

  def __delattr__(self, name: str) -> None:
    delattr(self._partner_of_proxy, name)

  def __eq__(self, other: Any) -> bool:
    if issubclass(type(other), Proxy):
      other = other._partner_of_proxy
    return bool(self._partner_of_proxy == other)

  def __hash__(self) -> int:
    return hash(self._partner_of_proxy)

  def __copy__(self) -> 'Proxy':
    return type(self)(copy.copy(self._partner_of_proxy))

  def __reduce__(self) -> tuple:
    return type(self), (self._partner_of_proxy,)
