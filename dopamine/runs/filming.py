"""Films episodes: the game, and beside it what the agent thinks."""

from collections.abc import Sequence
import contextlib
import os
from typing import Any

import gymnasium
import numpy as np

from dopamine import backend
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import run_experiment
from dopamine.settings import errors
from dopamine.utils import panel
from dopamine.utils import video

# Gymnasium's tasks are told when they are made that they will be seen.
BINDING = (
  'dopamine.discrete_domains.gym_lib.create_gym_environment.render_mode = '
  "'rgb_array'"
)

_ATARI_FPS = 60  # Of the emulator.


class Filmed(run_experiment.Runner):
  """A Runner of which each step is a picture.

  Attributes:
    fps: pictures a second, at real speed.
  """

  def _aim(self, every_frame: bool = False) -> None:
    """Looks at the environment, once there is one.

    Args:
      every_frame: whether all the frames of the emulator are shown, not only
        those that a decision is taken in.

    Raises:
      ValueError: the game has no frames in between.
    """
    self._writer: Any = None
    self._names = action_names(self._environment)
    # Of the bars and the distributions: what was seen so far.
    self._q_range = self._value_range = (np.inf, -np.inf)
    self._thought: dict[str, Any] = {}
    is_atari = isinstance(self._environment, atari_lib.AtariPreprocessing)
    self._every_frame = every_frame
    if is_atari:
      skip = 1 if every_frame else self._environment.frame_skip
      self.fps = _ATARI_FPS / skip
    elif every_frame:
      raise errors.SettingError(
        f'--every_frame is for Atari games, and {self._environment} is none: '
        'leave it out'
      )
    else:
      self.fps = _fps(self._environment)
    if every_frame:
      self._film_frames_of(self._environment.environment)

  def _film_frames_of(self, game: Any) -> None:
    step = game.step

    def filmed(action: Any) -> Any:
      result = step(action)
      self._take_picture()
      return result

    game.step = filmed

  @contextlib.contextmanager
  def _filming(self, path: str | os.PathLike):
    """Puts the pictures that are taken inside in an mp4."""
    self._path_of_video, self._frames = path, 0
    with contextlib.ExitStack() as self._open:
      yield

  # The hooks of the loop ------------------------------------------------------

  def _run_one_step(self, action: Any) -> tuple[Any, float, bool]:
    """Shows what the agent thinks, and takes the step."""
    self._thought = self._think(action)
    if not self._every_frame:
      self._take_picture()
    return super()._run_one_step(action)

  def _run_one_episode(self) -> tuple[int, float]:
    """Ends with a picture of where the episode ended."""
    found = super()._run_one_episode()
    self._thought = {
      **self._thought,
      'episode_return': self._state.episode_return,
      'step': self._state.episode_steps,
      'action': None,
    }
    self._take_picture()
    return found

  def _think(self, action: Any) -> dict[str, Any]:
    """What the panel shows of the present state."""
    from dopamine.agents import reporting  # Loads Keras.

    thought = {
      'episode_return': self._state.episode_return,
      'step': self._state.episode_steps,
      'action': int(action),
      'names': self._names,
    }
    agent = self._agent
    if isinstance(agent, reporting.ReportingAgent):
      q_values = agent.predict_q_values(agent.state)[0]
      self._q_range = panel.span(q_values, 0, *self._q_range)
      thought.update(q_values=q_values, q_range=self._q_range)
      distribution = agent.predict_distribution(agent.state)
      if distribution is not None:
        values, probabilities = (array[0] for array in distribution)
        self._value_range = panel.span(values, *self._value_range)
        thought['distribution'] = values, probabilities
        thought['value_range'] = self._value_range
    return thought

  def _take_picture(self) -> None:
    picture = panel.beside(
      self._render(), lambda height: panel.panel(height, **self._thought)
    )
    if self._writer is None:  # Its size is known now.
      height, width, _ = picture.shape
      mp4 = video.Mp4(self._path_of_video, (width, height), self.fps)
      self._writer = self._open.enter_context(mp4)
    self._writer.add(picture)
    self._frames += 1

  def _render(self) -> np.ndarray:
    """The present screen, `[height, width, 3]` uint8.

    Raises:
      ValueError: there is none.
    """
    try:
      picture = self._environment.render('rgb_array')
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
      raise errors.NotInstalledError(
        f'{self._environment} cannot be shown: {error}: '
        f'{backend.how_to_install("viz")}'
      ) from error
    except (AttributeError, NotImplementedError, ValueError):
      picture = None
    if not isinstance(picture, np.ndarray) or picture.shape[2:] != (3,):
      raise errors.SettingError(
        f'{self._environment} cannot be watched: its render("rgb_array") '
        'returns no picture'
      )
    return picture.astype(np.uint8, copy=False)


def _fps(environment: Any) -> float:
  """Pictures a second at real speed; 30 where it is not said."""
  try:
    return float(environment.metadata.get('render_fps') or 30)
  except AttributeError:
    return 30.0


def action_names(environment: Any) -> Sequence[str]:
  """Those of the emulator's actions, if that is what is played."""
  try:
    game = environment.environment
    if isinstance(game, atari_lib.AleEnvironment):
      return [action.name for action in game.ale.getMinimalActionSet()]
    return game.unwrapped.get_action_meanings()
  except AttributeError:
    return ()
