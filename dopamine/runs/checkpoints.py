"""The checkpoints of a run: of complete iterations, and within one.

Those of complete iterations are in a folder, those within an iteration in
`mid_iteration` below it, in slots that take turns: two are whole while a third
is written. What they share is in `replay`.
"""

from collections.abc import Callable
from concurrent import futures
import contextlib
import functools
import os
import re
import sys
import threading
from typing import NamedTuple

from dopamine import seams
from dopamine.discrete_domains import checkpointer
from dopamine.files import atomic
from dopamine.files import parity
from dopamine.files import pending

SLOTS = 0, 1, 2

# The `nth` of a place that does not say where it was taken: it is damaged,
# tried first, and the first to go.
_UNKNOWN = sys.maxsize

# Names of shared files that are being written, in whatever run of this process.
_unfinished: list[set[str]] = []

# A file that checkpoints share, or what a process that was killed had of it.
_SHARED_FILE = re.compile(parity.SHARED_FILE + r'(\.tmp)?')


class Place(NamedTuple):
  """Where a checkpoint was taken, and where it is. Later ones are larger.

  Attributes:
    iteration: of which it is the first or a later step that comes next.
    nth: 0 at the beginning of that iteration; 1, 2, ... within it.
    checkpointer: has it.
    number: its number there.
  """

  iteration: int
  nth: int
  checkpointer: checkpointer.Checkpointer
  number: int

  def __str__(self) -> str:
    return f'checkpoint {self.number} in {self.checkpointer.directory}'


class RunCheckpoints:
  """The checkpoints of a run, written one after the other beside training."""

  def __init__(self, directory: str, prefix: str = 'ckpt'):
    """Takes what is there, or raises ValueError if a later release wrote it."""
    directory = os.path.abspath(directory)
    self._prefix = prefix
    self._shared = os.path.join(directory, 'replay')
    self.complete = checkpointer.Checkpointer(
      directory, prefix, shared_directory=self._shared
    )
    self._within_directory = os.path.join(directory, 'mid_iteration')
    self._pending: futures.Future | None = None
    # Names that this run's manifests have had.
    self._known: set[str] = set()
    for saver in self._checkpointers():
      saver.check_formats()

  def _checkpointers(self) -> list[checkpointer.Checkpointer]:
    """Those that have a folder."""
    has_slots = os.path.isdir(self._within_directory)
    return [self.complete] + ([self._slots] if has_slots else [])

  @functools.cached_property
  def _slots(self) -> checkpointer.Checkpointer:
    return checkpointer.Checkpointer(
      self._within_directory,
      self._prefix,
      keep=None,
      shared_directory=self._shared,
    )

  # Where they are -------------------------------------------------------------

  def places(self) -> list[Place]:
    """Returns where there are checkpoints, damaged ones included, in order."""
    complete = [self.at_end_of(number) for number in self.complete.numbers()]
    return sorted([*complete, *self._places_within()], key=lambda p: p[:2])

  def _places_within(self) -> list[Place]:
    """Those within iterations, in order."""
    found = []
    for saver in self._checkpointers()[1:]:
      for number in saver.numbers():
        place = max(self.complete.numbers(), default=-1) + 1, _UNKNOWN
        with contextlib.suppress(atomic.DamagedError):
          if manifest := saver.manifest(number):
            if 'place' in manifest:
              place = manifest['place']
            elif old := seams.compat('old_records'):
              place = old.place(number)
        found.append(Place(*place, saver, number))
    return sorted(found, key=lambda place: place[:2])

  def at_end_of(self, iteration: int) -> Place:
    """The place of the checkpoint of a complete iteration."""
    return Place(iteration + 1, 0, self.complete, iteration)

  def within(self, iteration: int) -> Place:
    """The place of a new checkpoint within an iteration.

    That is a slot that is free, or damaged.

    Raises:
      OSError: its folder cannot be made, or its slot not be emptied.
    """
    places = self._places_within()
    os.makedirs(self._within_directory, exist_ok=True)
    sound = [place for place in places if place.nth != _UNKNOWN]
    used = [place.number for place in sound if place.number in SLOTS]
    free = [number for number in SLOTS if number not in used]
    number = (free or used)[0]  # Of all in use, the oldest.
    self._slots.remove(number)
    nths = [place.nth for place in sound if place.iteration == iteration]
    return Place(iteration, 1 + max(nths, default=0), self._slots, number)

  # Writing --------------------------------------------------------------------

  @property
  def is_writing(self) -> bool:
    """Whether a checkpoint is being written."""
    return self._pending is not None and not self._pending.done()

  def write(
    self,
    place: Place,
    pickled: bytes,
    checkpoint: pending.Checkpoint,
    on_error: Callable[[OSError], None],
  ) -> None:
    """Starts writing; `wait` for the one before has returned.

    Args:
      place: of the checkpoint.
      pickled: what its pickle is.
      checkpoint: what else belongs to it.
      on_error: called beside training if it cannot be written.
    """
    future = futures.Future[None]()
    shared = {
      os.path.basename(f) for part in checkpoint.parts for f in part.shared
    }

    def work() -> None:
      if not future.set_running_or_notify_cancel():
        return
      try:
        _unfinished.append(shared)
        taken = (place.iteration, place.nth) if place.nth else None
        try:
          place.checkpointer.write(place.number, pickled, checkpoint, taken)
        finally:
          _unfinished.remove(shared)
        self.remove_unneeded()
      except BaseException as error:
        if isinstance(error, OSError):
          on_error(error)
        future.set_exception(error)
      else:
        future.set_result(None)

    # Of no pool: it would take nothing from a run that is in a thread, once the
    # script has come to its end.
    try:
      self._pending = future
      threading.Thread(target=work, name='checkpoint').start()
    except BaseException as error:
      if future.cancel():  # It has not begun.
        checkpoint.close()
      if not isinstance(error, RuntimeError):  # Ctrl-C.
        raise
      failure = OSError(f'it takes a thread ({error})')  # There are no more.
      self._pending = futures.Future()
      self._pending.set_exception(failure)
      on_error(failure)

  def wait(self) -> OSError | None:
    """Returns when nothing is being written, with what went wrong, if any."""
    if self._pending is None or self._pending.cancelled():
      return None
    error = self._pending.exception()
    self._pending = None  # Not before: Ctrl-C may end the wait.
    if error is None or isinstance(error, OSError):
      return error
    raise error

  # Removing -------------------------------------------------------------------

  def sweep(self) -> None:
    """Removes what processes left that were killed. Nothing may be written."""
    for saver in self._checkpointers():
      saver.remove_unfinished()
    for saver in self._checkpointers()[1:]:
      for number in saver.incomplete():
        saver.remove(number)
    self.complete.remove_leftovers()
    self.remove_unneeded()

  def remove_unneeded(self) -> None:
    """Removes what no checkpoint needs any more. Nothing may be written.

    That is checkpoints within an iteration beyond the newest two, and all of
    them once there are two complete ones that are newer; and what no checkpoint
    shares.
    """
    newer = self.complete.numbers()[-2:]
    sound = [p for p in self._places_within() if p.nth != _UNKNOWN]
    for place in sound:
      is_old = len(newer) == 2 and place.iteration <= newer[0]
      if is_old or place not in sound[-2:]:
        place.checkpointer.try_to_remove(place.number)
    try:
      needed = {
        name for saver in self._checkpointers() for name in saver.shared_files()
      }
      stale = set(os.listdir(self._shared)) - needed
    except (OSError, atomic.DamagedError):
      return
    home = os.path.realpath(self.complete.directory)
    if not os.path.realpath(self._shared).startswith(home + os.sep):
      stale &= self._known  # By a link: others may share what is there.
    self._known |= needed
    for name in stale.difference(*_unfinished):
      if _SHARED_FILE.fullmatch(name):
        with contextlib.suppress(OSError):
          os.remove(os.path.join(self._shared, name))
