"""Mp4 files, written by the ffmpeg that imageio-ffmpeg brings along."""

import os
from pathlib import Path

import numpy as np

from dopamine import backend
from dopamine.settings import errors


def _ffmpeg():
  try:
    import imageio_ffmpeg
  except ImportError as error:
    raise errors.NotInstalledError(
      'videos need imageio-ffmpeg, which is not installed: '
      + backend.how_to_install('viz')
    ) from error
  return imageio_ffmpeg


class Mp4:
  """Writes frames to an mp4 file, which is there only once it is complete.

  Until then it lies in the same folder as `.NAME.PROCESS.partial.mp4`. What
  killed processes left of the same name goes when the next writer starts.

      with video.Mp4('game.mp4', (160, 210), fps=30) as mp4:
        for frame in frames:
          mp4.add(frame)

  H.264 in yuv420p, which every player knows. It wants even sizes: a column or
  a row of black is added where needed.
  """

  def __init__(
    self, path: str | os.PathLike, size: tuple[int, int], fps: float
  ):
    """Starts ffmpeg.

    Args:
      path: where the video will be. A file that is there is replaced.
      size: width and height of the frames, in pixels.
      fps: frames per second.
    """
    self.path = Path(path)
    self.size = tuple(size)
    width, height = self.size
    self._padding = ((0, height % 2), (0, width % 2), (0, 0))
    self.path.parent.mkdir(parents=True, exist_ok=True)
    self._remove_leftovers()
    self._partial = self._partial_of(os.getpid())
    self._writer = _ffmpeg().write_frames(
      str(self._partial),
      (width + width % 2, height + height % 2),
      fps=fps,
      codec='libx264',
      quality=None,
      pix_fmt_out='yuv420p',
      macro_block_size=2,
      output_params=['-crf', '25', '-movflags', '+faststart'],
    )
    self._writer.send(None)  # it starts ffmpeg

  def _partial_of(self, process) -> Path:
    return self.path.with_name(f'.{self.path.name}.{process}.partial.mp4')

  def _remove_leftovers(self):
    for file in self.path.parent.iterdir():
      name = file.name
      start, end = f'.{self.path.name}.', '.partial.mp4'
      process = name[len(start) : -len(end)]
      if not (name.startswith(start) and name.endswith(end)):
        continue
      if process.isdecimal() and not _is_running(int(process)):
        file.unlink(missing_ok=True)

  def add(self, frame: np.ndarray):
    """Adds a frame: `[height, width, 3]`, `uint8`."""
    width, height = self.size
    if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
      raise ValueError(
        f'a frame of {self.path} is {frame.dtype} {frame.shape}; '
        f'it takes uint8 {(height, width, 3)}'
      )
    self._writer.send(np.ascontiguousarray(np.pad(frame, self._padding)))

  def close(self):
    """Completes the file and moves it to its place."""
    self._writer.close()
    os.replace(self._partial, self.path)

  def discard(self):
    """Stops without a file."""
    self._writer.close()
    self._partial.unlink(missing_ok=True)

  def __enter__(self) -> 'Mp4':
    return self

  def __exit__(self, kind, error, traceback):
    if kind is None:
      self.close()
    else:
      self.discard()


def _is_running(process: int) -> bool:
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except PermissionError:  # it runs, as somebody else
    return True
  return True
