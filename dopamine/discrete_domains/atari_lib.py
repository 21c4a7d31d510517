"""Atari 2600 games, preprocessed as in Machado et al. (2018).

`create_atari_environment` plays a ROM on the Arcade Learning Environment
directly: nobody reads the RGB frames that Gymnasium renders at every step, and
they cost as much as the emulation. `AtariPreprocessing` skips frames, takes the
maximum of the last two grayscale screens and shrinks it to 84x84. Neither adds
no-op starts or presses FIRE at the start.
"""

from typing import Any
import warnings

import ale_py
from ale_py import roms
import cv2
import gin
import gymnasium
import numpy as np

from dopamine import seams
from dopamine import seeding
from dopamine.discrete_domains import ale_state
from dopamine.discrete_domains import games
from dopamine.discrete_domains import gym_lib
from dopamine.settings import checks
from dopamine.settings import errors

NATURE_DQN_OBSERVATION_SHAPE = (84, 84)
NATURE_DQN_DTYPE = seams.dtype(np.uint8)
NATURE_DQN_STACK_SIZE = 4

game_names = games.game_names
find_rom_id = games.find_rom_id
camel_case = games.camel_case
letters = games.letters
seams.compat('old_names')  # Gin files may bind them.


def __getattr__(name: str) -> Any:
  """Serves the networks, which lived here until 3.2.1."""
  return seams.old_name(__name__, name)


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

  def reset(self) -> np.ndarray:
    """Starts an episode; returns `[screen_size, screen_size, 1]` uint8."""
    self._gymnasium.reset()
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
      result: Any = self._gymnasium.step(action)
      if len(result) != 5:
        result = gym_lib.as_five(result)
      _, reward, is_terminal, truncated, info = result
      total_reward += gym_lib.as_float64(reward)
      self.game_over = bool(is_terminal or truncated)
      if self.terminal_on_life_loss:
        lives = self._ale.lives()
        is_terminal = is_terminal or lives < self.lives
        self.lives = lives
      if is_terminal or truncated:
        break
      if t >= first_pooled:
        self._ale.getScreenGrayscale(self.screen_buffer[t - first_pooled])
    return self._pool_and_resize(), total_reward, bool(is_terminal), info

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

  # Setting up -----------------------------------------------------------------

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
    sizes = {'Frame skip': frame_skip, 'Target screen size': screen_size}
    for name, value in sizes.items():
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
    inner = self._gymnasium
    if not isinstance(inner, AleEnvironment):
      inner = inner.unwrapped
    self._ale: Any = ale_state.recorded(inner, environment)
    _warn_of_own_frame_skip(inner)
    if hasattr(self._ale, 'getScreenDims'):
      screen_shape = tuple(self._ale.getScreenDims())
    else:  # A mock. A wrapper may have changed the observations of others.
      screen_shape = environment.observation_space.shape[:2]
    self.screen_buffer: list[np.ndarray] = [
      np.zeros(screen_shape, np.uint8) for _ in range(2)
    ]
    self.observation_space = gymnasium.spaces.Box(
      0, 255, (screen_size, screen_size, 1), np.uint8
    )

  def _with_gymnasiums_interface(self, environment: Any) -> Any:
    """Has ours as it is too."""
    if isinstance(environment, AleEnvironment):
      return environment
    return super()._with_gymnasiums_interface(environment)

  def __repr__(self):
    return (
      f'{type(self).__name__}({self.environment}, '
      f'frame_skip={self.frame_skip}, '
      f'terminal_on_life_loss={self.terminal_on_life_loss})'
    )

  # Showing and saving ---------------------------------------------------------

  def render(self, mode: str = 'rgb_array') -> Any:
    """Returns the present screen as an RGB array, for mode 'rgb_array'."""
    game = self.environment
    if isinstance(game, AleEnvironment):
      return game.render(mode)
    is_picture = mode == 'rgb_array' and isinstance(game, gymnasium.Env)
    if is_picture and game.render_mode is None:
      return self._ale.getScreenRGB()
    return super().render(mode)

  def get_state(self) -> dict[str, Any]:
    """Returns all it takes to continue here, in this process or another."""
    ale_state.check_saveable(self.environment, self._ale)
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
    ale_state.check_saveable(self.environment, self._ale)
    # Gymnasium's order check wants a reset before the first step.
    self._gymnasium.reset()
    ale_state.restore(self, self._ale, state)
    for screen, saved in zip(
      self.screen_buffer, state['screen_buffer'], strict=True
    ):
      screen[...] = saved
    self.lives = int(state['lives'])
    self.game_over = bool(state['game_over'])


def _warn_of_own_frame_skip(inner: Any) -> None:
  """Warns if the environment itself plays several frames per step."""
  # The attribute of ale_py, then that of gym's own Atari environment.
  own = getattr(inner, '_frameskip', getattr(inner, 'frameskip', 1))
  if own != 1:
    warnings.warn(
      f'this environment skips {own} frames by itself, on top of '
      'AtariPreprocessing.frame_skip: create it with frameskip=1, e.g. '
      "gymnasium.make('ALE/Pong-v5', frameskip=1)",
      stacklevel=3,
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

  metadata: dict[str, Any] = {'render_modes': ['rgb_array']}
  reward_range = (-np.inf, np.inf)

  def __init__(
    self, game_name: str | None, repeat_action_probability: float, seed: int
  ):
    """Loads a game.

    Args:
      game_name: see `games.find_rom_id`.
      repeat_action_probability: how probable it is, in each frame, that the
        previous action is executed instead of the present one.
      seed: of the emulator, 0 to 2^31 - 1.
    """
    rom_id = self.game_name = games.find_rom_id(game_name)
    self._description = (
      f'{games.camel_case(rom_id)}, '
      f'repeat_action_probability={repeat_action_probability}'
    )
    if rom_id in games.TWO_PLAYER_ROMS:
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
) -> AtariPreprocessing:
  """Creates a preprocessed Atari environment.

  Args:
    game_name: e.g. 'Pong'; see `games.find_rom_id`.
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
