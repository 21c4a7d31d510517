"""TensorBoard event files that a resumed run continues without repeats.

tensorboardX makes the events. It would write them in a thread of its own,
which nobody can ask how far it is, and which a full disk ends for good; here
they are written at once.
"""

from collections.abc import Mapping
import functools
import os
import re
import socket
import time
from typing import IO, Any

from absl import logging
from google.protobuf import message
import numpy as np
import tensorboardX
from tensorboardX import record_writer
from tensorboardX.proto import event_pb2

from dopamine import seams
from dopamine.files import atomic

# events.out.tfevents.SECONDS.HOST.NANOSECONDS, the last of which is ours.
_OWN_FILE = re.compile(r'events\.out\.tfevents\.\d{10}\..*\.\d{19}')

# What a file is called whose run went back to before it.
_SUPERSEDED = 'superseded.'


class SummaryWriter(tensorboardX.SummaryWriter):
  """A `tensorboardX.SummaryWriter` on an `EventFile`.

  Attributes:
    has_graph: whether the run's graph is in one of its event files.
  """

  def __init__(self, logdir: str):
    """Makes the file.

    Args:
      logdir: the folder.
    """
    self.events = EventFile(logdir)
    self.has_graph = False
    super().__init__(logdir, write_to_disk=False)

  file_writer: Any

  def _get_file_writer(self) -> Any:
    if self.file_writer is None:
      self.file_writer = _FileWriter(self.events)
      self.all_writers = {self.events.get_logdir(): self.file_writer}
    return self.file_writer

  def add_figures(self, figures: Mapping[str, Any], step: int) -> None:
    """Adds scalars by tag; of arrays, each number has a curve of its own."""
    for tag, value in figures.items():
      for index, number in np.ndenumerate(value):
        self.add_scalar('/'.join((tag, *map(str, index))), number, step)

  def add_distribution(
    self, tag: str, values: Any, probabilities: Any, step: int
  ) -> None:
    """Adds a histogram of values that are weighted, `[N]` each."""
    values, probabilities = np.asarray([values, probabilities], np.float64)
    masses, edges = np.histogram(
      values, bins=len(values), weights=probabilities
    )
    self.add_histogram_raw(
      tag,
      *(values.min(), values.max(), masses.sum()),
      *(probabilities @ values, probabilities @ values**2),
      bucket_limits=edges[1:],
      bucket_counts=masses,
      global_step=step,
    )

  def add_summary(self, summary: Any, global_step: Any = None) -> None:
    """Adds a summary of TensorFlow's whole: the message, or its bytes."""
    if isinstance(summary, message.Message):
      summary = summary.SerializeToString()
    event = event_pb2.Event()
    # What a tensor holds, as TensorFlow's own functions return it.
    event.summary.MergeFromString(np.asarray(summary, object).item())
    self.file_writer.add_event(event, global_step)

  def add_graph(self, graph: Any, *unused: Any, **kwargs: Any) -> None:
    """Adds a graph of TensorFlow's; of the run's agent it is there anyway."""
    del unused, kwargs
    content = graph.as_graph_def()
    if content.node:  # Of a session that nothing runs in, it has none.
      self.file_writer.add_event(
        event_pb2.Event(graph_def=content.SerializeToString())
      )

  def __getattr__(self, name: str) -> Any:
    """Serves what a writer of TensorFlow 2 has."""
    old_writers = seams.compat('old_writers')
    if old_writers and name in old_writers.SERVED:
      return functools.partial(old_writers.SERVED[name], self)
    raise AttributeError(f'{type(self).__name__} has no attribute {name!r}')

  def add_settings(self, settings: Mapping[str, Any]) -> None:
    """Adds what TensorBoard's HParams shows of this run."""
    metrics = dict.fromkeys(('Train/AverageReturns', 'Eval/AverageReturns'))
    experiment, start, _ = tensorboardX.summary.hparams(settings, metrics)
    for summary in (experiment, start):
      self.file_writer.add_summary(summary, 0)

  def add_graph_of(self, agent: Any) -> None:
    """Adds an agent's TensorFlow graph, once it has been compiled."""
    if self.has_graph:
      return
    graph = agent.graph_def()
    if graph is not None:
      self.file_writer.add_event(event_pb2.Event(graph_def=graph))
      self.has_graph = True

  def flush(self) -> None:
    """Tries again to write what could not be written before."""
    self.events.flush()

  def close(self) -> None:
    """Closes the file.

    Raises:
      OSError: not all could be written.
    """
    self.events.close()


class _FileWriter(tensorboardX.writer.FileWriter):
  def __init__(self, events: 'EventFile'):
    self.event_writer = events
    self._default_metadata: dict[str, Any] = {}


class EventFile:
  """One event file: a row of records, each complete or not there.

  Until `open`, events wait in memory.

  Attributes:
    path: of the file.
    size: bytes that are in it.
  """

  def __init__(self, logdir: str):
    # An environment may change the working folder.
    self._logdir = os.path.abspath(logdir)
    # Two runs that start within one second must not share an event file.
    name = f'{int(time.time()):010d}.{socket.gethostname()}.{time.time_ns()}'
    self.path = os.path.join(self._logdir, f'events.out.tfevents.{name}')
    self._file: Any = None
    self._is_open = self._is_closed = False
    self._pending: list[bytes] = []
    self.size = 0
    self.add_event(
      event_pb2.Event(wall_time=time.time(), file_version='brain.Event:2')
    )
    self._header = b''.join(self._pending)

  def open(self) -> None:
    """Makes the file, now or with the next event."""
    self._is_open = True
    self.flush()

  def get_logdir(self) -> str:
    """Returns the folder."""
    return self._logdir

  def add_event(self, event: Any) -> None:
    """Writes an event; one that cannot be written is kept for the next try."""
    if self._is_closed:
      return
    data = event.SerializeToString()
    header = len(data).to_bytes(8, 'little')
    self._pending += [header, _checksum(header), data, _checksum(data)]
    if self._is_open:
      self.flush()

  def flush(self) -> None:
    """Writes what is pending, if that is possible."""
    try:
      self._write()
    except OSError as error:
      logging.log_every_n_seconds(
        logging.WARNING,
        'TensorBoard misses the newest points until %s can be written: %s',
        60,
        self.path,
        error,
      )

  def _write(self) -> None:
    if not self._is_open or not self._pending:
      return
    if self._file is not None and not os.fstat(self._file.fileno()).st_nlink:
      self._file.close()  # Somebody has removed it.
      self._file, self.size = None, 0
      self._pending = [self._header, *self._pending]
    if self._file is None:
      self._file = open(self.path, 'wb', buffering=0)
    content = b''.join(self._pending)
    done = 0
    try:
      while done < len(content):
        done += self._file.write(content[done:])
    except OSError:
      self._file.seek(self.size)
      self._file.truncate()  # No torn record stays.
      raise
    self.size += len(content)
    self._pending = []

  def sync(self) -> None:
    """Writes what is pending.

    Raises:
      OSError: it could not be written.
    """
    self._write()
    if self._file is not None:
      os.fsync(self._file.fileno())

  def reopen(self) -> None:
    """Does nothing: tensorboardX calls it before a new file is begun."""

  def close(self) -> None:
    """Writes what is pending, and closes the file.

    Raises:
      OSError: it could not be written.
    """
    self._is_closed = True
    try:
      self._write()
    finally:
      if self._file is not None:
        self._file.close()
        self._file = None
        self._is_open = False


def _write(content: bytes, file: IO[bytes]) -> None:
  file.write(content)


def _checksum(data: bytes) -> bytes:
  return record_writer.masked_crc32c(data).to_bytes(4, 'little')


def sizes(logdir: str) -> dict[str, int]:
  """Returns the bytes of each event file of a run, by name."""
  return {
    name: os.path.getsize(os.path.join(logdir, name))
    for name in sorted(os.listdir(logdir))
    if _OWN_FILE.fullmatch(name)
  }


def go_back(logdir: str, to: dict[str, int]) -> None:
  """Makes the event files what they were when their `sizes` were `to`.

  What was written since belongs to steps that are taken again. A file that is
  younger is renamed, so that TensorBoard does not find it.
  """
  for name, size in sizes(logdir).items():
    path = os.path.join(logdir, name)
    if name not in to:
      new = _SUPERSEDED + name.removeprefix('events.out.tfevents.')
      os.rename(path, os.path.join(logdir, new))
    elif size > to[name] and (
      os.path.islink(path) or os.stat(path).st_nlink > 1
    ):
      content = atomic.read_file(path, to[name])  # What it leads to stays.
      atomic.write_file(path, functools.partial(_write, content))
    elif size > to[name]:
      os.truncate(path, to[name])
    elif size < to[name]:
      logging.warning(
        '%s lacks its last %d bytes: TensorBoard will miss these points',
        path,
        to[name] - size,
      )
