"""The writer of a run where a program writes as to one of TensorFlow 2."""

from collections.abc import Iterator
import contextlib
import os
import tempfile
from typing import Any

from dopamine.settings import errors


@contextlib.contextmanager
def as_default(writer: Any, step: Any = None) -> Iterator[Any]:
  """Has `tf.summary.scalar` and the like write to a run's writer inside.

  TensorFlow writes a file of its own, whose summaries are added afterwards.

  Args:
    writer: has `add_summary`.
    step: of summaries that say none.
  """
  from tensorboard.backend.event_processing import event_file_loader
  from tensorboardX.proto import event_pb2
  import tensorflow as tf

  with tempfile.TemporaryDirectory() as folder:
    theirs = tf.summary.create_file_writer(folder)
    try:
      with theirs.as_default(step):
        yield theirs
    finally:
      theirs.close()
      for name in os.listdir(folder):
        path = os.path.join(folder, name)
        for content in event_file_loader.RawEventFileLoader(path).Load():
          event = event_pb2.Event.FromString(content)
          if event.HasField('summary'):
            writer.add_summary(event.summary, event.step)


def set_as_default(*unused: Any, **also_unused: Any) -> None:
  """Refuses to be the default for as long as the process runs."""
  raise errors.InterfaceError(
    'the summary writer of a run cannot be the default of TensorFlow at all '
    'times: write `with summary_writer.as_default():` round tf.summary.scalar, '
    'see the row of as_default in docs/migrating.md'
  )


SERVED = {'as_default': as_default, 'set_as_default': set_as_default}
