"""Films: the command that makes them, and what is in an mp4."""

import contextlib

from absl import flags
import gin
import imageio_ffmpeg
import numpy as np

from dopamine.discrete_domains import train  # Its flags.
from dopamine.discrete_domains import watch


@contextlib.contextmanager
def watching_flags():
  """Those that `watch` has where it is a process of its own."""
  before = {*flags.FLAGS, *train.FLAGS}
  watch.define_flags()
  flags.FLAGS.gin_files, flags.FLAGS.gin_bindings = [], []
  yield
  for name in set(flags.FLAGS) - before:
    delattr(flags.FLAGS, name)
  flags.FLAGS.base_dir = flags.FLAGS.seed = None
  flags.FLAGS.gin_files, flags.FLAGS.gin_bindings = [], []


def watch_run(base_dir, *more):
  """Films a run, with further flags, where there are `watching_flags`."""
  gin.clear_config()
  flags.FLAGS(['watch', f'--base_dir={base_dir}', '--seed=3', *more])
  watch.main([])


def read(path):
  """The frames, `[T, h, w, 3]` uint8, and frames a second."""
  frames = imageio_ffmpeg.read_frames(str(path))
  about = next(frames)
  width, height = about['size']
  shape = height, width, 3
  return (
    np.stack([np.frombuffer(f, np.uint8).reshape(shape) for f in frames]),
    about['fps'],
  )
