"""Tests of mp4 files: each is decoded again."""

import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import pytest

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


def test_a_killed_writer_leaves_no_video_and_the_next_one_cleans_up(tmp_path):
  path = tmp_path / 'a.mp4'
  code = (
    'import os, sys, time, numpy as np\n'
    'from dopamine.utils import video\n'
    'mp4 = video.Mp4(sys.argv[1], (64, 64), fps=30)\n'
    'mp4.add(np.zeros((64, 64, 3), np.uint8))\n'
    'while not list(mp4.path.parent.glob(".a.mp4.*")): time.sleep(0.01)\n'
    'os.kill(os.getpid(), 9)\n'
  )
  subprocess.run([sys.executable, '-c', code, str(path)])
  assert [file.suffixes[-2] for file in tmp_path.iterdir()] == ['.partial']
  (tmp_path / '.b.mp4.999999999.partial.mp4').write_bytes(b'not ours')
  with video.Mp4(path, (64, 64), fps=30) as mp4:
    mp4.add(np.zeros((64, 64, 3), np.uint8))
  assert sorted(file.name for file in tmp_path.iterdir()) == [
    '.b.mp4.999999999.partial.mp4',
    'a.mp4',
  ]


def test_says_which_frame_does_not_fit(tmp_path):
  with pytest.raises(ValueError, match=r'uint8 \(210, 160, 3\)'):
    with video.Mp4(tmp_path / 'a.mp4', (160, 210), fps=30) as mp4:
      mp4.add(np.zeros((160, 210, 3), np.uint8))
