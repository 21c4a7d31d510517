"""Tests of `event_writer`, with TensorBoard's reader."""

import os

import pytest
from tensorboard.backend.event_processing import event_accumulator

from dopamine.runs import event_writer

pytestmark = pytest.mark.no_backend


def points(logdir):
  """`[(step, value)]` of the tag 'x' in all files of a folder."""
  accumulator = event_accumulator.EventAccumulator(str(logdir))
  accumulator.Reload()
  return [(e.step, e.value) for e in accumulator.Scalars('x')]


def opened(logdir):
  writer = event_writer.SummaryWriter(str(logdir))
  writer.events.open()
  return writer


def test_points_are_on_the_disk_at_once(tmp_path):
  writer = opened(tmp_path)
  for step in range(3):
    writer.add_scalar('x', 0.5 * step, step)
    assert points(tmp_path) == [(k, 0.5 * k) for k in range(step + 1)]
  writer.close()
  writer.add_scalar('x', 9.0, 9)  # Nobody reads it: it is no error.
  assert len(points(tmp_path)) == 3


def test_nothing_is_written_before_the_file_is_opened(tmp_path):
  writer = event_writer.SummaryWriter(str(tmp_path))
  writer.add_scalar('x', 1.0, 1)
  assert not os.listdir(tmp_path)
  writer.events.open()
  assert points(tmp_path) == [(1, 1.0)]


def test_going_back_drops_what_came_later(tmp_path):
  first = opened(tmp_path)
  first.add_scalar('x', 1.0, 1)
  sizes = event_writer.sizes(str(tmp_path))
  first.add_scalar('x', 2.0, 2)
  second = opened(tmp_path)
  second.add_scalar('x', 3.0, 3)
  (tmp_path / 'events.out.tfevents.1.other').write_bytes(b'')  # Of the user's.
  assert len(points(tmp_path)) == 3
  event_writer.go_back(str(tmp_path), sizes)
  assert points(tmp_path) == [(1, 1.0)]
  names = sorted(os.listdir(tmp_path))
  assert [name.split('.')[0] for name in names] == [
    *('events', 'events', 'superseded')
  ]


def test_a_full_disk_loses_no_point_and_leaves_no_torn_record(tmp_path):
  writer = opened(tmp_path)
  writer.add_scalar('x', 1.0, 1)
  file = writer.events._file

  class Full:
    """Takes five bytes, and then no more."""

    def __init__(self):
      self._left = 5

    def write(self, content):
      if not self._left:
        raise OSError(28, 'No space left on device')
      count, self._left = file.write(content[: self._left]), 0
      return count

    def __getattr__(self, name):
      return getattr(file, name)

  writer.events._file = Full()
  for step in (2, 3):
    writer.add_scalar('x', 1.0, step)
    assert points(tmp_path) == [(1, 1.0)]
    assert os.path.getsize(writer.events.path) == writer.events.size
  writer.events._file = file
  writer.flush()
  assert [step for step, _ in points(tmp_path)] == [1, 2, 3]
