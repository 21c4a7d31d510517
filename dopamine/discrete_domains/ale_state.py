"""The state of a game, from which it goes on exactly.

ALE's own states leave out what some games depend on, so the emulator is
recorded: `AtariPreprocessing` plays one, and saves and restores it here.
"""

import contextlib
import math
from typing import Any
import warnings

import ale_py
import gymnasium

from dopamine import seams
from dopamine.settings import errors

# Wrappers of Gymnasium that hold nothing a saved state would miss.
_STATELESS_WRAPPERS = (
  gymnasium.wrappers.OrderEnforcing,
  gymnasium.wrappers.PassiveEnvChecker,
)


def recorded(*owners: Any) -> Any:
  """Returns the emulator that the first of `owners` has, so as to be saved.

  Where its state can be, the owner itself gets the one that records.

  Args:
    *owners: an environment below its wrappers, and with them.
  """
  for owner in owners:
    if hasattr(owner, 'ale'):
      break
  else:
    raise errors.SettingError(
      f'{owners[-1]} is not an Atari environment: neither it nor its '
      '`.unwrapped` has an `ale`'
    )
  if not hasattr(owner.ale, 'cloneState') or isinstance(owner.ale, RecordedAle):
    return owner.ale
  ale = RecordedAle(owner.ale)
  # A property may refuse. What is not recorded then, `restore` will tell.
  with contextlib.suppress(AttributeError):
    owner.ale = ale
  return ale


def check_saveable(environment: Any, ale: Any) -> None:
  """Raises where the emulator's state would not be the whole state."""
  while isinstance(environment, _STATELESS_WRAPPERS):
    environment = environment.env
  if isinstance(environment, gymnasium.Wrapper):
    raise NotImplementedError(
      f'the state of {type(environment).__name__} cannot be saved: hand in '
      'the environment without this wrapper'
    )
  if not isinstance(ale, RecordedAle):
    raise NotImplementedError(
      f'the state of {type(environment).__name__} cannot be saved: its '
      '`ale` is not an ale_py.ALEInterface'
    )


def restore(owner: Any, ale: 'RecordedAle', state: dict[str, Any]) -> None:
  """Plays the emulator of `owner` to where `state` was taken.

  Args:
    owner: who plays it, for a message.
    ale: the emulator.
    state: with what its `get_state` returned.
  """
  if 'start' not in state:
    old_states = seams.compat('old_states')
    if old_states is None:
      raise errors.SettingError(
        "the state has no 'start': it is older than this version, and reading "
        'it takes dopamine.compat'
      )
    state = old_states.with_start(state, ale, owner.action_space.n)
  try:
    is_same = ale.set_state(state)
  except (RuntimeError, SystemError) as error:  # All that ale_py says.
    raise errors.SettingError(
      "state['emulator'] is not a state of this game"
    ) from error
  if not is_same:
    warnings.warn(
      f'{owner} played the saved episode again and came elsewhere: its '
      'settings have changed, or what moved the emulator was not its act() '
      'and reset_game(). It goes on from the saved state, but perhaps not '
      'exactly',
      stacklevel=3,
    )


class RecordedAle:
  """An emulator that can tell how to get to where it is.

  A state of ALE lacks the action that a sticky frame repeats; Pitfall2's music
  clock; what decides a reward in MiniatureGolf; how the first frames after a
  reset go on, in Qbert and Tetris; and what a few games, as Amidar, then show
  of the frame before. `reset_game` forgets all of it. So a state here is that
  of ALE, with its random state, before the last reset, and the actions since;
  and that of ALE now, to compare.
  """

  def __init__(self, ale: ale_py.ALEInterface):
    self._ale = ale
    self._start = {'emulator': self._now(), 'executed_action': 0}
    self._played: list[Any] = []  # Since the start: actions or their numbers.

  def __getattr__(self, name: str) -> Any:
    if name == '_ale':  # Of a copy, which has none yet.
      raise AttributeError(name)
    return getattr(self._ale, name)

  def reset_game(self) -> None:
    self._start, self._played = {'emulator': self._now()}, []
    self._ale.reset_game()

  def act(self, action: ale_py.Action | int, *paddle_strength: float) -> int:
    reward = self._ale.act(action, *paddle_strength)
    self._played.append(action)
    return reward

  def get_state(self) -> dict[str, Any]:
    return {
      'emulator': self._now(),
      'start': self._start,
      'played': bytes(map(_number, self._played)),
    }

  def set_state(self, state: dict[str, Any]) -> bool:
    """Plays what `get_state` returned; returns whether it came to the same."""
    emulator = ale_py.ALEState(state['emulator'])
    start = state['start']
    if 'executed_action' in start:  # Where no reset follows.
      self._repeat(start['executed_action'])
    self._ale.restoreState(ale_py.ALEState(start['emulator']))
    if 'executed_action' not in start:
      self._ale.reset_game()
    for action in state['played']:
      self._ale.act(action)
    self._start, self._played = start, list(state['played'])
    # What never moved may differ in what ALE does not restore.
    if state['emulator'] in (start['emulator'], self._now()):
      return True
    self._ale.restoreState(emulator)
    return False

  def _repeat(self, action: int) -> None:
    """Makes `action` the one that the next sticky frame repeats."""
    probability = self._ale.getFloat('repeat_action_probability')
    if 0 < probability < 1:
      # One time in 10^12 all of these frames repeat an older action.
      for _ in range(math.ceil(math.log(1e-12, probability))):
        self._ale.act(action)

  def _now(self) -> bytes:
    return self._ale.cloneState(include_rng=True).serialize()


def _number(action: ale_py.Action | int) -> int:
  return action.value if isinstance(action, ale_py.Action) else action
