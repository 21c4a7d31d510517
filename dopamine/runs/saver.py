"""When and where a run is saved, from where it goes on, and when it stops.

The one seam in the Runner's loop: it asks `is_due` before each step, and says
when an iteration is complete.
"""

from collections.abc import Callable
import math
import time
from typing import Any, NoReturn

from absl import logging

from dopamine import seeding
from dopamine.discrete_domains import checkpointer
from dopamine.discrete_domains import logger
from dopamine.files import atomic
from dopamine.files import lock
from dopamine.files import safe_pickle
from dopamine.runs import bundles
from dopamine.runs import checkpoints
from dopamine.runs import event_writer
from dopamine.runs import progress
from dopamine.runs import run_checks
from dopamine.runs import run_record
from dopamine.runs import run_state
from dopamine.settings import errors
from dopamine.settings import gin_files

# How long a run that is to stop waits for the end of an episode that it cannot
# be saved in.
STOP_SECONDS = 15.0

Bundle = Callable[[checkpoints.Place], dict[str, Any] | None]


class Stopped(Exception):
  """A run ended because it was asked to.

  Attributes:
    is_saved: whether a checkpoint was taken where it ended.
  """

  def __init__(self, message: str, is_saved: bool):
    super().__init__(message)
    self.is_saved = is_saved


class StopRequest:
  """Whether a run is to stop.

  Attributes:
    since: when that was asked for, by `time.monotonic`; None if it was not.
  """

  since: float | None = None


class NoSaver:
  """Of a loop that saves nothing: what the loop calls, and no more."""

  def seed(self, given: int | None) -> int:
    """Returns the seed of the run: the one that is given, or a fresh one."""
    return seeding.resolve(given)

  def environment_seed(self, seed: int) -> int:
    """Returns the seed of the environment."""
    return seed

  def is_due(self) -> bool:
    """Whether to save here and now."""
    return False

  def keep_as(self, agent: Any, log: Any) -> None: ...

  def sweep(self) -> None: ...

  def request(self) -> None: ...

  def begin_writing(self) -> None: ...

  def close(self) -> None: ...


class Saver(NoSaver):
  """Saves a run in its folder.

  Attributes:
    checkpoints: those of the run.
    record: of this start; to be set before it is written.
  """

  record: run_record.RunRecord

  def __init__(
    self,
    folder: lock.Lock,
    base_dir: str,
    checkpoint_dir: str,
    prefix: str,
    minutes: float | None,
    writer: event_writer.SummaryWriter,
    stop_request: StopRequest,
  ):
    """Takes what is there, or raises ValueError if a later release wrote it.

    Args:
      folder: the lock of `base_dir`; it is let go of at the end.
      base_dir: of the run.
      checkpoint_dir: of its checkpoints.
      prefix: of the pickles in there.
      minutes: from one checkpoint within an iteration to the next, or None.
      writer: of its event file.
      stop_request: may come in at any time.
    """
    self._base_dir, self._minutes, self._writer = base_dir, minutes, writer
    self._stop_request, self._lock = stop_request, folder
    self.checkpoints = checkpoints.RunCheckpoints(checkpoint_dir, prefix)
    self._next = math.inf  # Checkpoint, by `time.monotonic`.
    self._saves_mid_episode: bool | None = None  # Nobody has asked yet.
    # What is dropped from the folder once there is something to write: points
    # of steps that are taken again, and checkpoints that were skipped.
    self._event_sizes: dict[str, int] | None = None
    self._damaged: list[checkpoints.Place] = []

  # Going on -------------------------------------------------------------------

  def seed(self, given: int | None) -> int:
    """Returns the seed given, or that of the run, or a fresh one."""
    is_begun = bool(self.checkpoints.places())
    return run_checks.settle_seed(self._base_dir, is_begun, given)

  def environment_seed(self, seed: int) -> int:
    """Returns the seed of the environment.

    One that cannot be saved must not play its first episodes again in a run
    that continues.
    """
    places = self.checkpoints.places()
    if not places:
      return seed
    after = f'after {places[-1].iteration - 1}'
    after += f'.{places[-1].nth}' * (places[-1].nth > 0)
    return seeding.integer(seed, after)

  def resume(
    self, restore: Callable[[checkpoints.Place], bundles.Restored]
  ) -> bundles.Restored | None:
    """Goes to the newest checkpoint that is whole, if there are any.

    Raises:
      ValueError: all are damaged, or the newest does not fit this run.
    """
    places, complete = self._chosen(), self.checkpoints.complete
    if not places:
      self._event_sizes = {}
      if incomplete := complete.incomplete():
        progress.say(
          f'Starting afresh: {complete.directory} has files of checkpoint '
          f'{", ".join(map(str, incomplete))}, but no sentinel of it: it was '
          'never completed'
        )
      return None
    damages: dict[checkpoints.Place, str] = {}
    for place in reversed(places):
      try:
        restored = restore(place)
      except atomic.DamagedError as error:
        damages[place] = f'{place}: {error}'
        logging.warning('Skipping %s', damages[place])
        progress.say(f'Skipping {damages[place]}')
        continue
      self._damaged, self._event_sizes = list(damages), restored.event_files
      logging.info(
        'Reloaded checkpoint and will start from iteration %d (%s)',
        restored.iteration,
        restored,
      )
      return restored
    raise errors.SettingError(
      f'base_dir={self._base_dir} holds a run, but no checkpoint of it is '
      f'whole. {". ".join(damages.values())}. Nothing was changed: put the '
      'files back if you have them elsewhere, set '
      'DQNAgent.allow_partial_reload = True to go on from weights alone, or '
      'give another base_dir to start afresh (or delete '
      f'{complete.directory})'
    )

  def _chosen(self) -> list[checkpoints.Place]:
    """Where there are checkpoints, or the one that gin chooses."""
    find = checkpointer.get_latest_checkpoint_number
    complete = self.checkpoints.complete
    if gin_files.bound_values(find).get('override_number') is None:
      return self.checkpoints.places()
    latest = find(complete.directory)
    if latest >= 0 and latest not in complete.numbers():
      raise errors.SettingError(
        f'get_latest_checkpoint_number.override_number={latest}, but there '
        f'is no sentinel_checkpoint_complete.{latest} in '
        f'{complete.directory}: give one of {complete.numbers()}, or -1 to '
        'start afresh'
      )
    return [self.checkpoints.at_end_of(latest)] if latest >= 0 else []

  def keep_as(self, agent: Any, log: logger.Logger) -> None:
    """Keeps as many checkpoints and logs as an agent says."""
    keep = agent.max_tf_checkpoints_to_keep
    keep = self.checkpoints.complete.keep = keep and max(keep, 2)
    log.keep = keep or 0

  def sweep(self) -> None:
    """Removes what processes left that were killed."""
    if self._lock.is_alone:  # Another Runner of this process may be writing.
      self.checkpoints.sweep()

  def begin_writing(self) -> None:
    """Drops what came after the checkpoint; opens the event file.

    Until then a Runner leaves all of the run that counts as it is.
    """
    for place in self._damaged:  # They count no more as ones that are kept.
      place.checkpointer.discard(place.number)
    if self._event_sizes is not None:
      event_writer.go_back(self._base_dir, self._event_sizes)
    self._damaged, self._event_sizes = [], None
    self._writer.events.open()
    self.record.write(self._writer)

  # Saving ---------------------------------------------------------------------

  def start_clock(self) -> None:
    """Counts the minutes to the next checkpoint from here."""
    self._next = math.inf
    if self._minutes is not None:
      self._next = time.monotonic() + 60 * self._minutes

  def is_due(self) -> bool:
    """Whether a checkpoint within the iteration, or a stop, is due."""
    return self._stop_request.since is not None or (
      time.monotonic() >= self._next
    )

  def request(self) -> None:
    """Makes a checkpoint within the iteration due."""
    self._next = -math.inf

  def save(self, place: checkpoints.Place, bundle: Bundle) -> bool:
    """Takes a checkpoint, which is written while the run goes on.

    Args:
      place: where to.
      bundle: returns what the checkpoint holds, None for nothing.

    Returns:
      Whether one was taken.

    Raises:
      OSError: what is written at once could not be.
      NotWithinEpisodesError: of the bundle.
    """
    self.checkpoints.wait()
    start = time.monotonic()
    self.begin_writing()
    checkpoint = None
    try:
      with place.checkpointer.collect() as checkpoint:
        data = bundle(place)
      pickled = safe_pickle.dumps(data) if data else None
      waited = time.monotonic() - start
      self.start_clock()
      if waited > 1:  # Training waited for an agent's own files: seldom.
        self._next = max(self._next, time.monotonic() + 100 * waited)
      if pickled is not None:
        self.checkpoints.write(place, pickled, checkpoint, self._retry_soon)
      return pickled is not None
    finally:  # Ctrl-C may have come in anywhere.
      if checkpoint is not None and not self.checkpoints.is_writing:
        checkpoint.close()

  def save_within(
    self,
    state: run_state.RunState,
    bundle: Bundle,
    saves_mid_episode: Callable[[], bool],
  ) -> None:
    """Takes a checkpoint here, if it is one that a run can continue from.

    Args:
      state: where the run stands.
      bundle: see `save`.
      saves_mid_episode: whether it can be saved in the middle of an episode.

    Raises:
      Stopped: that was asked for.
    """
    since = self._stop_request.since
    if since is None and self.checkpoints.is_writing:
      return
    if self._saves_mid_episode is None:
      self._saves_mid_episode = saves_mid_episode()
      if not self._saves_mid_episode:
        logging.info(
          'Within iterations, checkpoints are taken between episodes: Runner, '
          'environment and agent do not all say saves_mid_episode'
        )
    if state.is_timed and (not state.in_episode or self._saves_mid_episode):
      is_saved = False
      try:
        self.checkpoints.wait()
        place = self.checkpoints.within(state.iteration)
        is_saved = self.save(place, bundle)
      except bundles.NotWithinEpisodesError:
        self._saves_mid_episode = False
        return
      except OSError as error:
        self._retry_soon(error)
      if since is not None:
        self.stop(state, is_saved)
    elif since is not None and time.monotonic() - since > STOP_SECONDS:
      self.stop(state, False)

  def save_iteration(
    self,
    iteration: int,
    log: Callable[[], None],
    checkpoint: Callable[[], None],
    saver: checkpointer.Checkpointer,
    is_last: bool,
  ) -> None:
    """Logs and saves a complete iteration; a full disk does not end the run.

    Args:
      iteration: its number.
      log: writes its statistics.
      checkpoint: saves it. One that does so at once, by `save_checkpoint`,
        saves with it what an agent puts in the checkpoint that is open.
      saver: where `checkpoint` does so.
      is_last: whether the run ends with it.

    Raises:
      OSError: the last one could not be saved.
    """
    self.checkpoints.wait()
    left = [log, lambda: self._checkpoint(checkpoint, saver, is_last)]
    error: Any = None
    for attempt in range(3 if is_last else 1):
      time.sleep(attempt)
      for step in tuple(left):
        try:
          step()
          left.remove(step)
        except OSError as caught:
          error = caught
      if not left:
        return
    if not is_last:
      self._retry_soon(error)
      return
    raise errors.NotSavedError(
      f'iteration {iteration} could not be saved: {error}. Checkpoints of '
      'earlier iterations are as they were; with room to write, '
      f'{self.how_to_go_on()}'
    ) from error

  def _checkpoint(
    self,
    function: Callable[[], None],
    saver: checkpointer.Checkpointer,
    is_last: bool,
  ) -> None:
    with saver.collect() as collected:
      function()
    collected.close()
    if not self.checkpoints.is_writing:
      self.checkpoints.remove_unneeded()
    failure = self.checkpoints.wait() if is_last else None
    if failure is not None:
      raise failure

  def _retry_soon(self, error: OSError) -> None:
    """Says that a checkpoint failed; the next comes sooner than usual."""
    progress.say(
      f'\nA checkpoint could not be written: {error}. Training goes on, and '
      'the one before is as it was; the next attempt follows.'
    )
    now = time.monotonic()
    minutes = 1.0 if self._minutes is None else min(1.0, self._minutes)
    if self._next <= now:  # Or it would be tried again at each step.
      self._next = now + 60 * minutes
    elif self._minutes is not None:
      self._next = min(self._next, now + 60 * minutes)

  # Stopping -------------------------------------------------------------------

  def stop(
    self, state: run_state.RunState, is_saved: bool, where: str = ''
  ) -> NoReturn:
    """Ends the run; `where` is by default the step of the phase."""
    is_saved = self.checkpoints.wait() is None and is_saved
    where = where or (
      f'iteration {state.iteration}, step {state.steps} of the {state.phase} '
      'phase'
    )
    raise Stopped(
      f'Stopped at {where}. The checkpoint is complete: the same command goes '
      'on from there.'
      if is_saved
      else f'Stopped at {where}, which could not be saved there: '
      f'{self.how_to_go_on()}.',
      is_saved,
    )

  def stop_after(
    self,
    iteration: int,
    state: run_state.RunState,
    saver: checkpointer.Checkpointer,
  ) -> None:
    """Ends the run at the end of an iteration, if that was asked for.

    Args:
      iteration: that is complete.
      state: where the run stands.
      saver: has the iteration's checkpoint.
    """
    if self._stop_request.since is not None:
      self.checkpoints.wait()
      is_saved = iteration in saver.numbers()
      self.stop(state, is_saved, f'the end of iteration {iteration}')

  def how_to_go_on(self) -> str:
    """What follows where a run ends here and now, for a message."""
    if self.checkpoints.places():
      return 'the same command goes on from the last checkpoint'
    return 'the same command starts afresh, as there is no checkpoint yet'

  def close(self) -> None:
    """Finishes what is being written, and lets go of the folder."""
    try:
      self.checkpoints.wait()
      self._writer.close()
    except OSError as error:
      logging.warning('The event file could not be finished: %s', error)
    finally:
      if not self.checkpoints.is_writing:  # Ctrl-C may have ended the wait.
        self._lock.release()
