"""Mp4 files, written by the ffmpeg that imageio-ffmpeg brings along."""

import fractions
import glob
import os
from pathlib import Path
import shutil
import subprocess
import tempfile

import numpy as np

from dopamine import backend
from dopamine.settings import errors

# Where the writers of this process write.
_open: set[Path] = set()


def find_ffmpeg() -> str:
  """Returns the path of ffmpeg.

  Raises:
    NotInstalledError: there is none.
  """
  try:
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()
  except (ImportError, RuntimeError) as error:
    raise errors.NotInstalledError(
      f'videos need imageio-ffmpeg, which is not installed ({error}): '
      + backend.how_to_install('viz')
    ) from error


def sweep(
  folder: str | os.PathLike, name: str = '*', is_locked: bool = False
) -> None:
  """Removes what killed processes left of unfinished videos.

  Args:
    folder: of the videos.
    name: of those that are meant, as a glob.
    is_locked: whether no other process writes them, so that one which has the
      number of a killed one by now is another.
  """
  for partial in Path(folder).glob(f'.{name}.*.partial'):
    process = partial.name.split('.')[-3]
    if partial in _open or not process.isdecimal():
      continue
    is_over = int(process) == os.getpid() or not _is_running(int(process))
    if is_locked or is_over:
      shutil.rmtree(partial, ignore_errors=True)


class Mp4:
  """Writes frames to an mp4 file, which is there only once it is complete.

  Until then it lies in a folder `.NAME.PROCESS.RANDOM.partial` beside it.
  What killed processes left of the same name goes when the next writer starts;
  an ffmpeg that has outlived them finds no folder to write to.

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
    self.path = Path(path).absolute()
    self.size = tuple(size)
    width, height = self.size
    self._padding = ((0, height % 2), (0, width % 2), (0, 0))
    self._is_empty = True
    ffmpeg = find_ffmpeg()
    folder = self.path.parent
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder, glob.escape(self.path.name))
    self._folder = Path(
      tempfile.mkdtemp('.partial', f'.{self.path.name}.{os.getpid()}.', folder)
    )
    _open.add(self._folder)
    try:
      self._start(ffmpeg, width + width % 2, height + height % 2, fps)
    except BaseException:
      self._remove()
      raise

  def _start(self, ffmpeg, width, height, fps):
    self._log = tempfile.TemporaryFile()
    # In a process group of its own, as Ctrl-C is Python's to answer. Without
    # `preexec_fn` no Python runs in the child, which JAX warns of.
    self._process = subprocess.Popen(
      (
        *(ffmpeg, '-v', 'error', '-f', 'rawvideo', '-pix_fmt', 'rgb24'),
        *('-s', f'{width}x{height}'),
        *('-r', str(fractions.Fraction(fps).limit_denominator())),
        *('-i', '-', '-an', '-vcodec', 'libx264'),
        *('-crf', '25', '-pix_fmt', 'yuv420p', '-movflags', '+faststart'),
        str(self._partial),
      ),
      stdin=subprocess.PIPE,
      stdout=subprocess.DEVNULL,
      stderr=self._log,
      process_group=0,
    )

  @property
  def _partial(self) -> Path:
    return self._folder / 'video.mp4'

  def add(self, frame: np.ndarray):
    """Adds a frame: `[height, width, 3]`, `uint8`."""
    width, height = self.size
    if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
      raise ValueError(
        f'a frame of {self.path} is {frame.dtype} {frame.shape}; '
        f'it takes uint8 {(height, width, 3)}'
      )
    try:
      self._process.stdin.write(np.pad(frame, self._padding).tobytes())
    except OSError as error:
      raise self._failure(error) from error
    self._is_empty = False

  def close(self):
    """Completes the file and moves it to its place.

    Raises:
      OSError: it could not be written; nothing is left of it.
      ValueError: there were no frames.
    """
    try:
      if self._is_empty:
        raise ValueError(f'{self.path} has no frames, so it is not made')
      try:
        self._process.stdin.close()
      except OSError as error:
        raise self._failure(error) from error
      if self._process.wait():
        raise self._failure(f'exit status {self._process.returncode}')
      os.replace(self._partial, self.path)
    finally:
      self.discard()

  def discard(self):
    """Stops without a file."""
    if self._process.poll() is None:
      self._process.kill()
      self._process.wait()
    try:
      self._process.stdin.close()
    except OSError:  # What was not written yet, and need not be.
      pass
    self._log.close()
    self._remove()

  def _remove(self):
    shutil.rmtree(self._folder, ignore_errors=True)
    _open.discard(self._folder)

  def _failure(self, why: object) -> OSError:
    """What ffmpeg says of why it ended."""
    self._process.wait()
    self._log.seek(0)
    lines = self._log.read().decode(errors='replace').strip().splitlines()
    said = f': {lines[-1]}' if lines else ''
    return OSError(f'ffmpeg could not write {self.path} ({why}){said}')

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
