"""Puts plotters on a screen, and keeps it as pictures and as a video."""

import os
from pathlib import Path
import sys

import cv2
import gin
import numpy as np

from dopamine.settings import errors
from dopamine.utils import video


def _put(frame: np.ndarray, picture, x: float, y: float) -> None:
  """Puts what a plotter drew, an array or a surface, at its place."""
  if isinstance(picture, np.ndarray):
    x, y = int(x), int(y)  # As pygame has it.
    picture = picture[max(-y, 0) :, max(-x, 0) :]
    region = frame[max(y, 0) :, max(x, 0) :]
    height, width = np.minimum(region.shape[:2], picture.shape[:2])
    region[:height, :width] = picture[:height, :width]
    return
  import pygame  # It is there: the plotter made a surface with it.

  screen = pygame.Surface(frame.shape[1::-1], depth=32)
  pygame.surfarray.blit_array(screen, frame.swapaxes(0, 1))
  screen.blit(picture, (x, y))  # It knows what is transparent.
  frame[...] = pygame.surfarray.array3d(screen).swapaxes(0, 1)


def _start_pygame(size: tuple[int, int]) -> None:
  """Has fonts and `Surface.convert` work in plotters, unseen and unheard."""
  import pygame  # It is there, or no plotter has use for it.

  for kind in ('VIDEO', 'AUDIO'):
    os.environ.setdefault(f'SDL_{kind}DRIVER', 'dummy')
  pygame.init()
  if pygame.display.get_surface() is None:  # A window would be the user's.
    pygame.display.set_mode(size, pygame.HIDDEN, 32)


@gin.configurable
class AgentVisualizer:
  """Draws plotters at their places on one screen.

  Attributes:
    record_frame: the screen, `[screen_height, screen_width, 3]`, `uint8`.
  """

  def __init__(
    self,
    record_path,
    plotters,
    screen_width=160,
    screen_height=210,
    render_rate=1,
    file_types=('png', ''),
    filename_format='frame_{:06d}',
  ):
    """Makes the folder and an empty screen.

    Where pygame is loaded, plotters find it initialised, with a display.

    Args:
      record_path: the folder of the pictures and the video.
      plotters: what is drawn, the later over the earlier.
      screen_width: in pixels.
      screen_height: in pixels.
      render_rate: calls of `visualize` from one picture to the next.
      file_types: of the pictures; '' stands for nothing.
      filename_format: of their names, given the number of the picture.
    """
    self.record_path = record_path
    self.plotters = plotters
    self.screen_width = screen_width
    self.screen_height = screen_height
    self.render_rate = render_rate
    self.file_types = file_types
    self.filename_format = filename_format
    self.step = 0
    self.record_frame = np.zeros((screen_height, screen_width, 3), np.uint8)
    Path(record_path).mkdir(parents=True, exist_ok=True)
    if 'pygame' in sys.modules:
      _start_pygame((screen_width, screen_height))

  def visualize(self):
    """Draws and saves the screen, at each `render_rate`-th call."""
    if self.step % self.render_rate == 0:
      self.record_frame[...] = 0
      for plotter in self.plotters:
        _put(self.record_frame, plotter.draw(), plotter.x, plotter.y)
      self.save_frame()
    self.step += 1

  def save_frame(self):
    """Saves the screen as the picture that is due."""
    number = self.step // self.render_rate
    name = self.filename_format.format(number)
    for file_type in filter(None, self.file_types):
      path = Path(self.record_path, f'{name}.{file_type}')
      if not cv2.imwrite(str(path), self.record_frame[..., ::-1]):
        raise OSError(f'cannot write {path}')

  def generate_video(self, video_file='video.mp4'):
    """Makes an mp4 of the pictures, 30 to a second; returns its path.

    Those that an earlier, longer recording left in the folder are no part of
    it, and stay where they are.

    Raises:
      ValueError: there are no pictures.
      OSError: one cannot be read, or the video not be written.
    """
    count = -(-self.step // self.render_rate)
    file_type = next(filter(None, self.file_types), None)
    if not (count and file_type):
      raise errors.SettingError(
        f'{video_file} is made of pictures, and there are none: after '
        f'{self.step} calls of visualize(), with AgentVisualizer.file_types = '
        f"{self.file_types!r}, which 'png' must be one of, or 'jpg'"
      )
    path = Path(self.record_path, video_file)
    size = self.screen_width, self.screen_height
    with video.Mp4(path, size, fps=30) as mp4:
      for number in range(count):
        name = f'{self.filename_format.format(number)}.{file_type}'
        picture = cv2.imread(str(Path(self.record_path, name)))
        if picture is None:
          raise OSError(f'cannot read {Path(self.record_path, name)}')
        mp4.add(picture[..., ::-1])
    return path
