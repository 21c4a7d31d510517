"""Tests of `event_writer`, with TensorBoard's reader."""

import os

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.compat.proto import graph_pb2
from tensorboard.compat.proto import node_def_pb2
from tensorboard.compat.proto import summary_pb2
from tensorboard.util import tensor_util

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


def test_a_summary_of_tensorflows_is_written_whole(tmp_path):
  value = summary_pb2.Summary.Value
  loss = value(tag='Losses/X', simple_value=0.5)
  picture = value(tag='state')
  picture.image.width = picture.image.height = 7
  picture.image.encoded_image_string = b'\x00png\x00'
  weights = value(tag='weights')
  weights.histo.bucket.extend([1, 2])
  weights.histo.bucket_limit.extend([0.5, 1.0])
  notes = value(tag='notes', tensor=tensor_util.make_tensor_proto([b'seen']))
  notes.metadata.plugin_data.plugin_name = 'text'
  summary = summary_pb2.Summary(value=[loss, picture, weights, notes])
  writer = opened(tmp_path)
  writer.add_summary(summary, 3)
  writer.add_summary(summary.SerializeToString(), global_step=np.int64(4))
  writer.add_summary(np.array(summary.SerializeToString(), object), 5)
  writer.flush()
  writer.close()
  accumulator = event_accumulator.EventAccumulator(str(tmp_path))
  accumulator.Reload()
  scalars = [(e.step, e.value) for e in accumulator.Scalars('Losses/X')]
  assert scalars == [(3, 0.5), (4, 0.5), (5, 0.5)]
  assert accumulator.Images('state')[0].encoded_image_string == b'\x00png\x00'
  assert accumulator.Histograms('weights')[-1].step == 5
  assert accumulator.Tensors('notes')[2].tensor_proto.string_val == [b'seen']


def test_a_summary_of_no_form_is_refused_at_once(tmp_path):
  with pytest.raises(TypeError):
    opened(tmp_path).add_summary('Losses/X', 3)


def test_a_graph_of_tensorflows_is_written_unless_it_is_empty(tmp_path):
  class Graph:
    def __init__(self, *names):
      self.names = names

    def as_graph_def(self):
      return graph_pb2.GraphDef(
        node=[node_def_pb2.NodeDef(name=name, op='NoOp') for name in self.names]
      )

  writer = opened(tmp_path)
  writer.add_graph(Graph('a', 'b'))
  writer.add_graph(graph=Graph())
  accumulator = event_accumulator.EventAccumulator(str(tmp_path))
  accumulator.Reload()
  assert [node.name for node in accumulator.Graph().node] == ['a', 'b']


def test_what_tensorflow_2_writes_by_default(tmp_path):
  tf = pytest.importorskip('tensorflow')
  writer = event_writer.SummaryWriter(str(tmp_path))
  writer.events.open()
  with writer.as_default():
    tf.summary.scalar('Loss', np.float32(0.5), step=7)
    tf.summary.scalar('Loss', np.float32(0.25), step=8)
    tf.summary.histogram('Values', np.arange(9.0), step=8)
  with writer.as_default(step=9):
    tf.summary.scalar('Loss', 0.125)
  writer.close()
  assert len(list(tmp_path.iterdir())) == 1
  accumulator = event_accumulator.EventAccumulator(str(tmp_path))
  accumulator.Reload()
  found = [
    (e.step, float(tf.make_ndarray(e.tensor_proto)))
    for e in accumulator.Tensors('Loss')
  ]
  assert found == [(7, 0.5), (8, 0.25), (9, 0.125)]
  assert 'Values' in accumulator.Tags()['tensors']
  with pytest.raises(TypeError, match='with summary_writer.as_default'):
    writer.set_as_default()
  assert not hasattr(writer, 'as_other')
