"""Atari 2600 games, preprocessed as in Machado et al. (2018).

`create_atari_environment` plays a ROM on the Arcade Learning Environment
directly: nobody reads the RGB frames that Gymnasium renders at every step, and
they cost as much as the emulation. `AtariPreprocessing` skips frames, takes the
maximum of the last two grayscale screens and shrinks it to 84x84. Neither adds
no-op starts or presses FIRE at the start.
"""

from collections.abc import Iterable
import contextlib
import difflib
import functools
import math
import re
from typing import Any
import warnings

from absl import logging
import ale_py
from ale_py import roms
import cv2
import gin
import gymnasium
import numpy as np

from dopamine import seeding
from dopamine.compat import dtypes
from dopamine.discrete_domains import gym_lib
from dopamine.settings import checks
from dopamine.settings import errors

NATURE_DQN_OBSERVATION_SHAPE = (84, 84)
NATURE_DQN_DTYPE = dtypes.DType(np.uint8)
NATURE_DQN_STACK_SIZE = 4

# Until 3.2.1 these networks lived here, and gin files and scripts name them so.
_NETWORKS = frozenset(
  {
    'DQNNetworkType',
    'ImplicitQuantileNetwork',
    'ImplicitQuantileNetworkType',
    'NatureDQNNetwork',
    'RainbowNetwork',
    'RainbowNetworkType',
  }
)

# ale-py ships these four, but has no one-player mode for them: loading one
# ends the whole process.
_TWO_PLAYER_ROMS = frozenset({'combat', 'joust', 'maze_craze', 'warlords'})

# What ids and the names of files have around a game: 'ale_py:ALE/Pong-ram-v5',
# 'PongNoFrameskip-v4', 'roms/pong.bin'.
_AROUND_GAME = re.compile(
  r'(?:.*[:/\\])?(?P<game>.+?)(?P<ram>[-_ ]ram)?'
  r'([-_ ]?(No[-_ ]?Frameskip|Deterministic))?([-_ ]v\d+)?(\.bin)?',
  re.IGNORECASE,
)

# Wrappers of Gymnasium that hold nothing a saved state would miss.
_STATELESS_WRAPPERS = (
  gymnasium.wrappers.OrderEnforcing,
  gymnasium.wrappers.PassiveEnvChecker,
)


def __getattr__(name: str) -> Any:
  """Serves the networks, loading Keras only when one is asked for."""
  if name in _NETWORKS:
    from dopamine import networks

    return getattr(networks, name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


# Games ------------------------------------------------------------------------


def game_names() -> list[str]:
  """Returns the names of all games, e.g. 'SpaceInvaders'."""
  playable = set(roms.get_all_rom_ids()) - _TWO_PLAYER_ROMS
  return sorted(map(camel_case, playable))


def camel_case(rom_id: str) -> str:
  """'SpaceInvaders' of ale-py's id, 'space_invaders'."""
  return rom_id.title().replace('_', '')


def find_rom_id(game_name: str | None) -> str:
  """Returns ale-py's id of a game: 'SpaceInvaders' is 'space_invaders'.

  Args:
    game_name: in any capitalisation, with or without blanks and the like. Of
      an id of Gym, Gymnasium or ALE ('ALE/Pong-v5', 'PongNoFrameskip-v4') and
      of a file ('pong.bin') the game is taken; a warning says so.
  """
  if not game_name:
    raise errors.SettingError(
      'create_atari_environment.game_name is not set: give a game, e.g. '
      "'Pong'; for another kind of task bind create_environment_fn of Runner, "
      'or of TrainRunner, in gin @gym_lib.create_gym_environment'
    )
  name = str(game_name).strip()
  rom_ids = {letters(rom_id): rom_id for rom_id in roms.get_all_rom_ids()}
  if letters(name) in rom_ids:
    return rom_ids[letters(name)]
  around = _AROUND_GAME.fullmatch(name)
  key = letters(around['game'] if around else name)
  if around and key in rom_ids:
    _say_what_counts(name, camel_case(rom_ids[key]), around['ram'] is not None)
    return rom_ids[key]
  if key in {letters(spec.name) for spec in gymnasium.registry.values()}:
    raise errors.SettingError(
      f'there is no Atari game {name!r}: for tasks of Gymnasium take the gin '
      'file dopamine/agents/dqn/configs/dqn_gym.gin, and '
      f'create_gym_environment.environment_name = {name!r}'
    )
  names = {letters(name): name for name in game_names()}
  close = difflib.get_close_matches(key, names, n=3, cutoff=0.5)
  nearest = f'. Nearest: {[names[n] for n in close]}' if close else ''
  raise errors.SettingError(
    f'there is no game {name!r}{nearest}; atari_lib.game_names() lists all'
  )


def letters(name: str) -> str:
  """A name without what people write differently."""
  return re.sub(r'[\W_]', '', name).lower()


@functools.cache  # Once.
def _say_what_counts(game_name: str, game: str, is_ram: bool) -> None:
  logging.warning(
    'game_name=%r is read as %r, and nothing else of it counts: the ROM is '
    "ale-py's, and frame skip, sticky actions and observations%s are those of "
    'the gin file (AtariPreprocessing.frame_skip, '
    'create_atari_environment.sticky_actions).',
    *(game_name, game, ', which are pictures and no RAM,' if is_ram else ''),
  )


class AleEnvironment:
  """One game on the Arcade Learning Environment, with no picture per step.

  It has Gymnasium's interface, except that its observations are None: whoever
  wants a screen takes it from `ale`, in the format needed.

  Attributes:
    ale: the `ale_py.ALEInterface`.
    game_name: ale-py's id of the game.
    action_space: the minimal action set of the game.
    observation_space: that of `render()`.
  """

  metadata = {'render_modes': ['rgb_array']}
  reward_range = (-np.inf, np.inf)

  def __init__(
    self, game_name: str | None, repeat_action_probability: float, seed: int
  ):
    """Loads a game.

    Args:
      game_name: see `find_rom_id`.
      repeat_action_probability: how probable it is, in each frame, that the
        previous action is executed instead of the present one.
      seed: of the emulator, 0 to 2^31 - 1.
    """
    rom_id = self.game_name = find_rom_id(game_name)
    self._description = (
      f'{camel_case(rom_id)}, '
      f'repeat_action_probability={repeat_action_probability}'
    )
    if rom_id in _TWO_PLAYER_ROMS:
      raise errors.SettingError(
        f'{game_name!r} cannot be played: ALE has no one-player mode for it. '
        'atari_lib.game_names() lists the games that it has'
      )
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    self.ale = ale_py.ALEInterface()
    self.ale.setFloat('repeat_action_probability', repeat_action_probability)
    self.ale.setInt('random_seed', seed)
    self.ale.loadROM(str(roms.get_rom_path(rom_id)))
    self._actions = tuple(self.ale.getMinimalActionSet())
    self.action_space = gymnasium.spaces.Discrete(len(self._actions))
    self.observation_space = gymnasium.spaces.Box(
      0, 255, (*self.ale.getScreenDims(), 3), np.uint8
    )

  def __repr__(self):
    return f'{type(self).__name__}({self._description})'

  def reset(self) -> tuple[None, dict[str, Any]]:
    self.ale.reset_game()
    return None, {}

  def step(self, action: int) -> tuple[None, float, bool, bool, dict[str, Any]]:
    """Plays one frame; returns (None, reward, terminated, False, {})."""
    if not 0 <= action < len(self._actions):
      raise errors.SettingError(
        f'action={action!r} is outside 0..{len(self._actions) - 1}, the '
        'actions of this game'
      )
    reward = self.ale.act(self._actions[action])
    return None, reward, self.ale.game_over(), False, {}

  def render(self, mode: str = 'rgb_array') -> np.ndarray:
    """Returns the present screen, `[height, width, 3]` uint8."""
    if mode != 'rgb_array':
      raise errors.SettingError(
        f"mode={mode!r} is not supported: ask for 'rgb_array'"
      )
    return self.ale.getScreenRGB()

  def close(self) -> None:
    """Does nothing: the emulator goes with the object."""


@gin.configurable
def create_atari_environment(
  game_name: str | None = None,
  sticky_actions: bool = True,
  seed: int | None = None,
) -> 'AtariPreprocessing':
  """Creates a preprocessed Atari environment.

  Args:
    game_name: e.g. 'Pong'; see `find_rom_id`.
    sticky_actions: whether each frame repeats the previous action with
      probability 0.25 (Machado et al., 2018), instead of never.
    seed: of the emulator; None takes the run's seed.
  """
  checks.switch('create_atari_environment', 'sticky_actions', sticky_actions)
  environment = AleEnvironment(
    game_name,
    repeat_action_probability=0.25 if sticky_actions else 0.0,
    seed=seeding.integer(seeding.resolve(seed), 'environment'),
  )
  return AtariPreprocessing(environment)


@gin.configurable(denylist=['variables'])
def maybe_transform_variable_names(
  variables: Iterable[Any], legacy_checkpoint_load: bool = False
) -> dict[str, Any] | None:
  """Returns variables by the names that they had in Dopamine 1 and 2.

  Nothing here needs it: whichever names old weights have, they load.

  Args:
    variables: of Keras or TensorFlow.
    legacy_checkpoint_load: False returns None.
  """
  if not legacy_checkpoint_load:
    return None
  names = {}
  for variable in variables:
    name = getattr(variable, 'path', variable.name).split(':')[0]
    name = name.replace('bias', 'biases').replace('kernel', 'weights')
    names[name] = variable
  return names


# Preprocessing ----------------------------------------------------------------


@gin.configurable
class AtariPreprocessing(gym_lib.Preprocessing):
  """Frame skipping, max-pooling of two screens, and resizing.

  Follows Machado et al. (2018), "Revisiting the Arcade Learning Environment".

  An observation is the maximum of the last two grayscale screens of a skip,
  resized to `[screen_size, screen_size, 1]`. When the episode (or, with
  `terminal_on_life_loss`, the life) ends inside a skip, the screens after the
  end are not fetched and the picture is older than the end.

  Differs from Dopamine 3.2.1 in one case: with `frame_skip=1` it follows the
  game, where 3.2.1 showed the first screen of the episode for ever.

  Attributes:
    environment: what was handed in.
    game_over: whether the game is over, or was cut by a time limit of the
      environment's own. The loss of a life is not the end of the game.
    lives: as of the last reset or, with `terminal_on_life_loss`, step.
    screen_buffer: the two grayscale screens; the first holds their maximum.
    observation_space: of the observations returned here.
  """

  # `get_state` is all it takes to continue, at any time.
  saves_mid_episode = True

  def __init__(
    self,
    environment: Any,
    frame_skip: int = 4,
    terminal_on_life_loss: bool = False,
    screen_size: int = 84,
  ):
    """Takes an environment that plays one frame per step.

    Args:
      environment: an `AleEnvironment`; a Gymnasium ALE environment, wrapped or
        not, created with `frameskip=1`; or one of the old Gym API. It, or what
        is below its wrappers, has `.ale`; to be saved, it gets one that records
        what it plays.
      frame_skip: emulator frames per step, all with the same action.
      terminal_on_life_loss: whether `step` reports the loss of a life as
        terminal.
      screen_size: width and height of the observations, in pixels.
    """
    for name, value in (
      ('Frame skip', frame_skip),
      ('Target screen size', screen_size),
    ):
      if not isinstance(value, (int, np.integer)) or value <= 0:
        raise errors.SettingError(
          f'{name} should be strictly positive, and an integer, got {value!r}'
        )
    self.environment = environment
    self.terminal_on_life_loss = terminal_on_life_loss
    checks.switch(self, 'terminal_on_life_loss', terminal_on_life_loss)
    self.frame_skip = frame_skip
    self.screen_size = screen_size
    self.game_over = False
    self.lives = 0

    self._ale = _find_ale(environment)
    _warn_of_own_frame_skip(environment)
    # A wrapper may have changed the observations: ask the emulator first.
    if hasattr(self._ale, 'getScreenDims'):
      screen_shape = tuple(self._ale.getScreenDims())
    else:
      screen_shape = environment.observation_space.shape[:2]
    self.screen_buffer = [np.zeros(screen_shape, np.uint8) for _ in range(2)]
    self.observation_space = gymnasium.spaces.Box(
      0, 255, (screen_size, screen_size, 1), np.uint8
    )

  def __repr__(self):
    return (
      f'{type(self).__name__}({self.environment}, '
      f'frame_skip={self.frame_skip}, '
      f'terminal_on_life_loss={self.terminal_on_life_loss})'
    )

  def reset(self) -> np.ndarray:
    """Starts an episode; returns `[screen_size, screen_size, 1]` uint8."""
    self.environment.reset()
    self.game_over = False
    self.lives = self._ale.lives()
    self._ale.getScreenGrayscale(self.screen_buffer[0])
    self.screen_buffer[1].fill(0)
    return self._pool_and_resize()

  def step(self, action: int) -> tuple[np.ndarray, float, bool, Any]:
    """Plays `action` for `frame_skip` frames, or to the end if that is sooner.

    Returns:
      observation: `[screen_size, screen_size, 1]` uint8, a new array.
      reward: the sum of the game's rewards, not clipped.
      is_terminal: whether the game ended, or a life was lost if asked for.
        False where a time limit of the environment's own cut the episode.
      info: what the environment said in the last frame.
    """
    total_reward = 0.0
    # Screens t = first_pooled and, but for frame_skip=1, first_pooled + 1.
    first_pooled = max(self.frame_skip - 2, 0)
    for t in range(self.frame_skip):
      _, reward, is_terminal, truncated, info = gym_lib.read_step(
        self.environment.step(action)
      )
      total_reward += gym_lib.as_float64(reward)
      self.game_over = is_terminal or truncated
      if self.terminal_on_life_loss:
        lives = self._ale.lives()
        is_terminal = is_terminal or lives < self.lives
        self.lives = lives
      if is_terminal or truncated:
        break
      if t >= first_pooled:
        self._ale.getScreenGrayscale(self.screen_buffer[t - first_pooled])
    return self._pool_and_resize(), total_reward, is_terminal, info

  def _pool_and_resize(self) -> np.ndarray:
    """Returns the present observation: `[screen_size, screen_size, 1]`."""
    screen, other = self.screen_buffer
    if self.frame_skip > 1:
      np.maximum(screen, other, out=screen)
    resized = cv2.resize(
      screen,
      (self.screen_size, self.screen_size),
      interpolation=cv2.INTER_AREA,
    )
    return resized[:, :, None]

  def render(self, mode: str = 'rgb_array') -> Any:
    """Returns the present screen as an RGB array, for mode 'rgb_array'."""
    is_gymnasium = isinstance(self.environment, gymnasium.Env)
    if is_gymnasium and self.environment.render_mode is None:
      if mode == 'rgb_array':
        return self._ale.getScreenRGB()
    return gym_lib.render(self.environment, mode)

  def get_state(self) -> dict[str, Any]:
    """Returns all it takes to continue here, in this process or another."""
    self._require_saveable()
    return {
      **self._ale.get_state(),
      'screen_buffer': np.stack(self.screen_buffer),
      'lives': self.lives,
      'game_over': self.game_over,
    }

  def set_state(self, state: dict[str, Any]) -> None:
    """Continues from what `get_state` returned; no reset is needed.

    Plays the episode again up to there: 10 s where it has 27,000 steps.
    """
    self._require_saveable()
    # Gymnasium's order check wants a reset before the first step.
    self.environment.reset()
    if 'start' not in state:
      state = {**state, 'start': self._old_start(state), 'played': b''}
    try:
      is_same = self._ale.set_state(state)
    except (RuntimeError, SystemError) as error:  # All that ale_py says.
      raise errors.SettingError(
        "state['emulator'] is not a state of this game"
      ) from error
    if not is_same:
      warnings.warn(
        f'{self} played the saved episode again and came elsewhere: its '
        'settings have changed, or what moved the emulator was not its act() '
        'and reset_game(). It goes on from the saved state, but perhaps not '
        'exactly',
        stacklevel=2,
      )
    for screen, saved in zip(
      self.screen_buffer, state['screen_buffer'], strict=True
    ):
      screen[...] = saved
    self.lives = int(state['lives'])
    self.game_over = bool(state['game_over'])

  def _old_start(self, state: dict[str, Any]) -> dict[str, Any]:
    """Returns where to play on from a state that has no start: right there."""
    executed = state.get('executed_action')
    if executed is None and state['last_action'] is not None:
      actions = self._ale.getMinimalActionSet()
      if len(actions) != self.action_space.n:
        actions = self._ale.getLegalActionSet()
      executed = actions[state['last_action']].value
    return {'emulator': state['emulator'], 'executed_action': executed or 0}

  def _require_saveable(self) -> None:
    """Raises where the emulator's state would not be the whole state."""
    environment = self.environment
    while isinstance(environment, _STATELESS_WRAPPERS):
      environment = environment.env
    if isinstance(environment, gymnasium.Wrapper):
      raise NotImplementedError(
        f'the state of {type(environment).__name__} cannot be saved: hand in '
        'the environment without this wrapper'
      )
    if not hasattr(self._ale, 'cloneState'):
      raise NotImplementedError(
        f'the state of {type(environment).__name__} cannot be saved: its '
        '`ale` is not an ale_py.ALEInterface'
      )


class _RecordedAle:
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
      'played': bytes(getattr(a, 'value', a) for a in self._played),
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


def _find_ale(environment: Any) -> Any:
  """Returns the emulator of an environment that may be wrapped.

  Where its state can be saved, the environment itself gets a recorded one.
  """
  for owner in (gym_lib.unwrapped(environment), environment):
    if hasattr(owner, 'ale'):
      break
  else:
    raise errors.SettingError(
      f'{environment} is not an Atari environment: neither it nor its '
      '`.unwrapped` has an `ale`'
    )
  ale = owner.ale
  if isinstance(ale, _RecordedAle) or not hasattr(ale, 'cloneState'):
    return ale
  ale = _RecordedAle(ale)
  # A property may refuse. What is not recorded then, `set_state` will tell.
  with contextlib.suppress(AttributeError):
    owner.ale = ale
  return ale


def _warn_of_own_frame_skip(environment: Any) -> None:
  """Warns if the environment itself plays several frames per step."""
  inner = gym_lib.unwrapped(environment)
  # The attribute of ale_py, then that of gym's own Atari environment.
  own = getattr(inner, '_frameskip', getattr(inner, 'frameskip', 1))
  if own != 1:
    warnings.warn(
      f'this environment skips {own} frames by itself, on top of '
      'AtariPreprocessing.frame_skip: create it with frameskip=1, e.g. '
      "gymnasium.make('ALE/Pong-v5', frameskip=1)",
      stacklevel=3,
    )
