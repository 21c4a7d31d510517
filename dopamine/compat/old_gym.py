"""Environments of the old Gym API, and others that declare none.

`reset` returns an observation alone, `step` four values, a seed is given to
`seed`, and `render` takes a mode.
"""

import inspect
from typing import Any

import gymnasium

from dopamine.compat import proxy
from dopamine.settings import errors


def environment(given: Any) -> Any:
  """Returns what has Gymnasium's interface as it is, else one that has it."""
  if isinstance(given, gymnasium.Env):
    inner = given.unwrapped
    # Old code that was only given another base class is as old as it was.
    if _takes(inner.reset, 'seed') and not _takes(inner.render, 'mode'):
      return given
  return OldEnvironment(given)


def unwrapped(given: Any) -> Any:
  """Returns the environment below all wrappers."""
  return getattr(given, 'unwrapped', given)


def name_of(given: Any) -> str | None:
  """Returns the id of what is played, e.g. 'CartPole-v1', None if unknown."""
  inner = unwrapped(getattr(given, 'environment', given))
  name = getattr(getattr(inner, 'spec', None), 'id', None)
  name = name or getattr(inner, 'game_name', None)
  return name if isinstance(name, str) else None


def read_step(result: Any) -> tuple[Any, float, bool, bool, Any]:
  """Returns (observation, reward, terminated, truncated, info) for either API.

  Args:
    result: what `step` returned: Gymnasium's five values, or the four of the
      old API, which mark a time-out by `info['TimeLimit.truncated']`.
  """
  if not isinstance(result, (tuple, list)) or len(result) not in (4, 5):
    raise errors.SettingError(
      f'the step of an environment returned {result!r}: it must return '
      '(observation, reward, terminated, truncated, info)'
    )
  if len(result) == 5:
    observation, reward, terminated, truncated, info = result
    return observation, reward, bool(terminated), bool(truncated), info
  observation, reward, done, info = result
  if not done:
    return observation, reward, False, False, info
  truncated = isinstance(info, dict) and bool(info.get('TimeLimit.truncated'))
  return observation, reward, not truncated, truncated, info


def render(given: Any, mode: str) -> Any:
  """Renders in a mode, of which the environment is told if it takes one."""
  if _takes(unwrapped(given).render, 'mode'):
    return given.render(mode)
  if getattr(given, 'render_mode', mode) != mode:
    raise errors.SettingError(
      'this environment was created with render_mode='
      f'{given.render_mode!r}, so it cannot render {mode!r}: create it '
      f'with render_mode={mode!r}'
    )
  return given.render()


class OldEnvironment(proxy.Proxy):
  """Gymnasium's interface of an environment with another."""

  __slots__ = ()

  _if_missing = {'close': lambda: None, 'metadata': {}}

  @property
  def unwrapped(self) -> Any:
    return unwrapped(self._partner_of_proxy)

  @property
  def np_random(self) -> Any:
    return getattr(self.unwrapped, 'np_random', None)

  @property
  def game_name(self) -> str | None:
    return name_of(self._partner_of_proxy)

  def seed_once(self, seed: int) -> None:
    """Seeds it by its method; where `reset` takes a seed, that will."""
    given = self._partner_of_proxy
    if not _takes(self.unwrapped.reset, 'seed') and hasattr(given, 'seed'):
      given.seed(seed)

  def reset(self, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Returns (observation, info)."""
    # Wrappers pass any keyword on, so what is below them decides.
    takes_seed = seed is not None and _takes(self.unwrapped.reset, 'seed')
    given = self._partner_of_proxy
    result = given.reset(seed=seed) if takes_seed else given.reset()
    is_pair = isinstance(result, tuple) and len(result) == 2
    return result if is_pair and isinstance(result[1], dict) else (result, {})

  def step(self, action: Any) -> tuple[Any, float, bool, bool, Any]:
    """Returns (observation, reward, terminated, truncated, info)."""
    return read_step(self._partner_of_proxy.step(action))

  def render_in(self, mode: str) -> Any:
    """Renders in a mode."""
    return render(self._partner_of_proxy, mode)


def _takes(method: Any, parameter: str) -> bool:
  return parameter in inspect.signature(method).parameters
