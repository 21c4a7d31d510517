"""Tests of mp4 files: each is decoded again."""

import os
import signal
import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import pytest

from dopamine.settings import errors
from dopamine.utils import video

pytestmark = pytest.mark.no_backend


def _moving_bar(steps, width, height):
  frames = np.zeros((steps, height, width, 3), np.uint8)
  for t, frame in enumerate(frames):
    frame[:, 4 * t : 4 * t + 8] = 255
  return frames


def _decode(path):
  reader = imageio_ffmpeg.read_frames(str(path))
  meta = next(reader)
  width, height = meta['size']
  frames = [
    np.frombuffer(f, np.uint8).reshape(height, width, 3) for f in reader
  ]
  return meta, np.array(frames)


@pytest.mark.parametrize('size', [(160, 210), (161, 63)])
def test_decodes_to_the_frames(tmp_path, size):
  frames = _moving_bar(20, *size)
  with video.Mp4(tmp_path / 'deep' / 'a.mp4', size, fps=15) as mp4:
    for frame in frames:
      mp4.add(frame)
  meta, decoded = _decode(mp4.path)
  assert meta['fps'] == 15
  assert decoded.shape[0] == 20
  assert meta['size'] == (size[0] + size[0] % 2, size[1] + size[1] % 2)
  # The bar is where it was: at 4 t ... 4 t + 8.
  for t, frame in enumerate(decoded):
    bright = np.flatnonzero(frame[30, :, 0] > 128)
    assert abs(bright[0] - 4 * t) <= 1
    assert abs(bright[-1] - (4 * t + 7)) <= 1
  assert [file.name for file in mp4.path.parent.iterdir()] == ['a.mp4']


def test_a_failure_leaves_nothing_and_keeps_what_was_there(tmp_path):
  path = tmp_path / 'a.mp4'
  path.write_bytes(b'older')
  with pytest.raises(ZeroDivisionError):
    with video.Mp4(path, (64, 64), fps=30) as mp4:
      mp4.add(np.zeros((64, 64, 3), np.uint8))
      raise ZeroDivisionError
  assert [file.name for file in tmp_path.iterdir()] == ['a.mp4']
  assert path.read_bytes() == b'older'


KILLED = """
import os, sys, numpy as np
from dopamine.utils import video
mp4 = video.Mp4(sys.argv[1], (64, 64), fps=30)
mp4.add(np.zeros((64, 64, 3), np.uint8))
os.kill(os.getpid(), 9)
"""


def _killed(path):
  done = subprocess.run([sys.executable, '-c', KILLED, str(path)])
  assert done.returncode == -9


def test_a_killed_writer_leaves_no_video_and_the_next_one_cleans_up(tmp_path):
  path = tmp_path / 'a.mp4'
  _killed(path)
  # It is there from the start on, so that an ffmpeg that lives on, and would
  # make its file at the end of what it reads, finds no folder for it.
  (left,) = tmp_path.iterdir()
  assert left.is_dir() and left.suffix == '.partial'
  others = [
    # Of another video; of a process that lives, as the first one does; and of
    # one that had our number before us, in a container for example.
    '.b.mp4.999999999.x.partial',
    '.a.mp4.1.x.partial',
    f'.a.mp4.{os.getpid()}.x.partial',
  ]
  for name in others:
    (tmp_path / name).mkdir()
  with video.Mp4(path, (64, 64), fps=30) as mp4:
    mp4.add(np.zeros((64, 64, 3), np.uint8))
    assert len(list(tmp_path.glob('.a.*'))) == 2  # Another, and its own.
    video.sweep(tmp_path)
    assert len(list(tmp_path.glob('.a.*'))) == 2
  assert sorted(file.name for file in tmp_path.iterdir()) == [
    '.a.mp4.1.x.partial',
    'a.mp4',
  ]


def test_an_ffmpeg_that_outlives_its_writer_leaves_nothing_after_the_sweep(
  tmp_path,
):
  mp4 = video.Mp4(tmp_path / 'a.mp4', (64, 64), fps=30)
  mp4.add(np.zeros((64, 64, 3), np.uint8))
  os.kill(mp4._process.pid, signal.SIGSTOP)  # It has made no file yet, or has.
  video._open.clear()  # As the next process sees it.
  video.sweep(tmp_path)
  assert not list(tmp_path.iterdir())
  os.kill(mp4._process.pid, signal.SIGCONT)
  with pytest.raises(OSError, match='ffmpeg could not write'):
    mp4.close()
  assert not list(tmp_path.iterdir())


def test_an_ffmpeg_that_was_killed_leaves_no_video(tmp_path):
  path = tmp_path / 'a.mp4'
  path.write_bytes(b'older')
  with pytest.raises(OSError, match=r'could not write .*a\.mp4'):
    with video.Mp4(path, (64, 64), fps=30) as mp4:
      mp4.add(np.zeros((64, 64, 3), np.uint8))
      mp4._process.kill()
  with pytest.raises(OSError, match=r'could not write .*a\.mp4'):
    with video.Mp4(path, (640, 640), fps=30) as mp4:
      mp4._process.kill()
      for _ in range(100):  # More than the pipe takes.
        mp4.add(np.zeros((640, 640, 3), np.uint8))
  assert [file.name for file in tmp_path.iterdir()] == ['a.mp4']
  assert path.read_bytes() == b'older'


FULL = """
import resource, signal, sys, numpy as np
from dopamine.utils import video
noise = np.random.default_rng(0).integers(0, 256, (100, 64, 64, 3), np.uint8)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
mp4 = video.Mp4(sys.argv[1], (64, 64), fps=30)
resource.prlimit(
  mp4._process.pid, resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY)
)
try:
  with mp4:
    for frame in noise:
      mp4.add(frame)
except OSError as error:
  print(error)
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='limits of another process')
def test_what_could_not_be_written_is_no_video(tmp_path):
  path = tmp_path / 'a.mp4'
  done = subprocess.run(
    [sys.executable, '-c', FULL, str(path)], capture_output=True, text=True
  )
  assert f'ffmpeg could not write {path}' in done.stdout, done.stderr
  assert not list(tmp_path.iterdir())


def test_no_frames_are_no_video(tmp_path):
  with pytest.raises(ValueError, match='has no frames'):
    with video.Mp4(tmp_path / 'a.mp4', (64, 64), fps=30):
      pass
  assert not list(tmp_path.iterdir())


def test_no_python_runs_in_a_copy_of_this_process(tmp_path):
  # JAX warns of that, as it can hang: its threads are not copied.
  code = (
    'import os, sys, numpy as np\n'
    'os.register_at_fork(before=lambda: print("forked"))\n'
    'from dopamine.utils import video\n'
    'with video.Mp4(sys.argv[1], (64, 64), fps=30) as mp4:\n'
    '  mp4.add(np.zeros((64, 64, 3), np.uint8))\n'
  )
  command = [sys.executable, '-c', code, str(tmp_path / 'a.mp4')]
  assert subprocess.check_output(command) == b''
  assert (tmp_path / 'a.mp4').exists()


def test_says_how_to_install_what_it_needs(monkeypatch):
  monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
  with pytest.raises(errors.NotInstalledError, match=r'\[viz\]'):
    video.find_ffmpeg()


def test_says_which_frame_does_not_fit(tmp_path):
  with pytest.raises(ValueError, match=r'uint8 \(210, 160, 3\)'):
    with video.Mp4(tmp_path / 'a.mp4', (160, 210), fps=30) as mp4:
      mp4.add(np.zeros((160, 210, 3), np.uint8))
