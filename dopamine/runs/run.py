"""A run: its settings, its folder, and what runs in it."""

from collections.abc import Callable
import gc
import math
import os
import sys
import time
from typing import Any, Self

from absl import logging

from dopamine import seams
from dopamine import seeding
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import logger
from dopamine.files import lock
from dopamine.runs import bundles
from dopamine.runs import checkpoints
from dopamine.runs import event_writer
from dopamine.runs import live
from dopamine.runs import progress
from dopamine.runs import run_checks
from dopamine.runs import run_record
from dopamine.runs import run_state
from dopamine.runs import saver
from dopamine.settings import checks
from dopamine.settings import errors

# Whose Runners are ours: users have theirs in this package too.
_OURS = (
  'dopamine.discrete_domains.run_experiment',
  *('dopamine.runs.filming', 'dopamine.runs.trained'),
)


class Run:
  """What a `Runner` is beside its loop.

  Args:
    base_dir: where the run writes: `logs/`, `checkpoints/`, event files.
    create_agent_fn: `(sess, environment, summary_writer=...)` -> an agent with
      `begin_episode`, `step`, `end_episode`, `bundle_and_checkpoint`,
      `unbundle` and `eval_mode`.
    create_environment_fn: `()` -> an environment with `reset`, `step`,
      `action_space` and `game_over`.
    checkpoint_file_prefix: of the pickles in `checkpoints/`.
    logging_file_prefix: of those in `logs/`.
    log_every_n: iterations from one log file to the next.
    num_iterations: where the run ends.
    training_steps: agent steps of a training phase, at least.
    evaluation_steps: agent steps of an evaluation phase, at least.
    max_steps_per_episode: agent steps after which an episode is cut.
    clip_rewards: whether the agent sees rewards clipped to [-1, 1].
    timeouts_are_terminal: whether a cut episode is a finished one to the
      agent, as in Dopamine 3.2.1's TensorFlow agents; otherwise its targets
      bootstrap from the observation it was cut at (Pardo et al., 2018).
    seed: of environment, replay, agent and networks; None takes the one that
      the run in `base_dir` was started with, or a fresh one.
    checkpoint_minutes: from one checkpoint within an iteration to the next;
      None takes them after iterations only. An environment or agent that cannot
      be saved in the middle of an episode is saved at its end.
    allow_changes: whether to go on with a run although settings have changed
      that decide what its checkpoints mean.
    live_figures: whether TensorBoard gets curves by agent step while training
      goes on.
    record_video_every: iterations from one video of an episode to the next, the
      first after iteration 0 (`videos/iteration_0.mp4` in `base_dir`). It is
      played as in evaluation, on an environment of its own, and training does
      not know of it. None films nothing.
    keep_videos: of these, those of the newest iterations that stay. None keeps
      all, as it is the early ones that later ones are compared with.
  """

  SETTINGS = {
    'create_agent_fn': checks.function,
    'create_environment_fn': checks.function,
    'checkpoint_file_prefix': checks.file_name,
    'logging_file_prefix': checks.file_name,
    'log_every_n': checks.integer(1),
    'num_iterations': checks.integer(0),
    'training_steps': checks.integer(0),
    'evaluation_steps': checks.integer(0),
    'max_steps_per_episode': checks.integer(1),
    'clip_rewards': checks.switch,
    'timeouts_are_terminal': checks.switch,
    'checkpoint_minutes': checks.optional(checks.real(0, math.inf)),
    'allow_changes': checks.switch,
    'live_figures': checks.switch,
    'record_video_every': checks.optional(checks.integer(1)),
    'keep_videos': checks.optional(checks.integer(1)),
  }

  def __init_subclass__(cls, **kwargs: Any):
    super().__init_subclass__(**kwargs)
    if cls.__module__ not in _OURS:
      if old_runners := seams.compat('old_runners'):
        old_runners.adapt(cls)

  def __init__(
    self,
    base_dir: str,
    create_agent_fn: Callable,
    create_environment_fn: Callable = atari_lib.create_atari_environment,
    checkpoint_file_prefix: str = 'ckpt',
    logging_file_prefix: str = 'log',
    log_every_n: int = 1,
    num_iterations: int = 200,
    training_steps: int = 250000,
    evaluation_steps: int = 125000,
    max_steps_per_episode: int = 27000,
    clip_rewards: bool = True,
    timeouts_are_terminal: bool = False,
    seed: int | None = None,
    checkpoint_minutes: float | None = 10,
    allow_changes: bool = False,
    live_figures: bool = True,
    record_video_every: int | None = None,
    keep_videos: int | None = None,
  ):
    if checkpoint_file_prefix in (
      'weights_ckpt',
      'sentinel_checkpoint_complete',
    ):
      checks.fail(
        *(self, 'checkpoint_file_prefix', checkpoint_file_prefix),
        'another name than those of other files of a checkpoint',
      )
    self._logging_file_prefix = logging_file_prefix
    self._log_every_n = log_every_n
    self._num_iterations = num_iterations
    self._training_steps = training_steps
    self._evaluation_steps = evaluation_steps
    self._max_steps_per_episode = max_steps_per_episode
    self._clip_rewards = clip_rewards
    self._timeouts_are_terminal = timeouts_are_terminal
    self._checkpoint_minutes = checkpoint_minutes
    self._allow_changes = allow_changes
    self._live_figures = live_figures
    self._record_video_every = record_video_every
    self._keep_videos = keep_videos
    self._base_dir = base_dir
    self._checkpoint_file_prefix = checkpoint_file_prefix
    self._create_agent_fn = create_agent_fn
    self._create_environment_fn = create_environment_fn
    self._given_seed = seed
    checks.check(self)
    self._sess = None
    self._own_agent: Any = None
    self._own_environment: Any = None
    self._open_environment: Any = None  # As it was made; to be closed.
    # Whether `run_experiment` was called, which makes all anew the next time.
    self._is_used = False
    self._stop_request = saver.StopRequest()
    seams.check_code(self)
    self._begin()

  __init__.__qualname__ = 'Runner.__init__'  # What users know, for messages.

  # Setting up -----------------------------------------------------------------

  def _begin(self) -> None:
    """Takes the folder, makes what runs, and goes to the last checkpoint."""
    self._state = run_state.RunState()
    # Of the iteration that a checkpoint was taken in, until they are run again.
    self._resumed_phases: dict[str, run_state.Phase] = {}
    self._progress = progress.Progress(self._is_warming_up)
    self._restored: bundles.Restored | None = None
    self._saver = self._take_folder()
    self._live = live.NoFigures()
    if self._live_figures and self._summary_writer is not None:
      self._live = live.LiveFigures(self._summary_writer)
    try:
      self._set_up()
      self._initialize_checkpointer_and_maybe_resume(
        self._checkpoint_file_prefix
      )
      seams.check_code(self)
      self._saver.sweep()
      self._videos: Any = None
      if self._record_video_every and self._summary_writer is not None:
        self._videos = self._make_videos()
      self._next_iteration = self._start_iteration
      self._report()
    except BaseException:
      self._close_environment()
      self._saver.close()
      raise

  def _take_folder(self) -> saver.Saver:
    """Returns what saves the run, in a folder that is its own."""
    if not self._base_dir:
      raise errors.SettingError('a Runner needs a base_dir to write to')
    if not isinstance(self._base_dir, str | os.PathLike):
      checks.fail(self, 'base_dir', self._base_dir, 'the path of a folder')
    # No shell expands it after =.
    base_dir = os.path.expanduser(self._base_dir)
    self._base_dir = run_checks.check_base_dir(base_dir)
    with run_checks.writing_to(self._base_dir):
      folder = lock.Lock(self._base_dir)
      try:
        self._create_directories()
        self._event_writer = event_writer.SummaryWriter(self._base_dir)
        self._summary_writer = self._event_writer  # A subclass may replace it.
        return saver.Saver(
          folder,
          self._base_dir,
          self._checkpoint_dir,
          self._checkpoint_file_prefix,
          self._checkpoint_minutes,
          self._event_writer,
          self._stop_request,
        )
      except BaseException:
        folder.release()
        raise

  def _create_directories(self) -> None:
    """Makes the folders under `base_dir`."""
    self._checkpoint_dir = os.path.join(self._base_dir, 'checkpoints')
    self._logger = logger.Logger(os.path.join(self._base_dir, 'logs'))

  def _set_up(self) -> None:
    """Makes environment and agent."""
    if self._own_agent is not None:  # Two replay memories may be too large.
      self._own_agent = self._own_environment = None
      gc.collect()
    with run_checks.writing_to(self._base_dir):
      self._seed = self._saver.seed(self._given_seed)
    with seeding.run_seed(self._saver.environment_seed(self._seed)):
      made = self._create_environment_fn()
    if made is not self._open_environment:
      self._close_environment()  # Of the time before.
    self._environment = made
    self._open_environment = made
    run_checks.check_environment(self._environment)
    if 'dopamine.learners' in sys.modules:  # Else nobody learns.
      sys.modules['dopamine.learners'].prepare()
    with seeding.run_seed(self._seed):
      self._agent = self._create_agent_fn(
        self._sess, self._environment, summary_writer=self._summary_writer
      )
    self._agent.remember_settings()
    self._identity = run_checks.identity(self._agent, self._environment)
    self._saver.keep_as(self._agent, self._logger)
    self._memory_text = run_checks.check_memory(self._agent)

  # What a subclass puts round those that were made comes in by these doors too.

  @property
  def _agent(self) -> Any:
    return self._own_agent

  @_agent.setter
  def _agent(self, agent: Any) -> None:
    self._own_agent = run_checks.as_agent(agent)

  @property
  def _environment(self) -> Any:
    return self._own_environment

  @_environment.setter
  def _environment(self, environment: Any) -> None:
    self._own_environment = run_checks.as_environment(environment)

  def _initialize_checkpointer_and_maybe_resume(
    self, checkpoint_file_prefix: str
  ) -> None:
    """Loads the newest checkpoint that is whole, if there are any.

    Args:
      checkpoint_file_prefix: of the pickles.

    Raises:
      ValueError: all are damaged, or the newest does not fit this run.
    """

    def restore(place: checkpoints.Place) -> bundles.Restored:
      from dopamine.runs import going_on  # A new run needs none.

      return going_on.restore(
        place,
        checkpoint_file_prefix,
        self._agent,
        self._environment,
        self._base_dir,
        self._identity,
        self._allow_changes,
      )

    self._checkpointer = self._saver.checkpoints.complete
    self._start_iteration = 0
    restored = self._restored = self._saver.resume(restore)
    if restored is not None:
      self._start_iteration = restored.iteration
      self._event_writer.has_graph = restored.has_graph
      self._live.restore(restored.live)
      if restored.logs is not None:
        self._logger.data = restored.logs
      if restored.state is not None:
        self._state = restored.state
        self._resumed_phases = dict(restored.state.phases)

  def _report(self) -> None:
    """Says on stdout what runs, on what, with which settings, and where to."""
    where = str(self._restored or '')
    if self._is_used:
      progress.say(
        f'Going back to the last checkpoint: {where}'
        if where
        else 'Going back to the beginning: there is no checkpoint'
      )
    self._saver.record = run_record.RunRecord(
      self._base_dir, where, seed=self._seed, device=self._identity['device']
    )
    run_checks.report(
      self._agent,
      self._environment,
      self._restored,
      Seed=self._seed,
      Iterations=f'{self._start_iteration} to {self._num_iterations - 1}'
      if self._start_iteration < self._num_iterations
      else f'none is left of {self._num_iterations}',
      **{
        'Writing to': f'{self._base_dir} (logs, checkpoints, and event files '
        f'for tensorboard --logdir {self._base_dir})',
        'Memory': self._memory_text,
      },
    )

  def _make_videos(self) -> Any:
    """Returns what films episodes; refuses a run that cannot be filmed."""
    from dopamine.runs import videos  # Few runs do.

    return videos.Videos(
      *(self._base_dir, self._agent, self._environment),
      *(self._open_environment, self._create_environment_fn, self._seed),
      *(self._keep_videos, self._stop_request),
      max_steps_per_episode=self._max_steps_per_episode,
      clip_rewards=self._clip_rewards,
    )

  def _film(self, iteration: int) -> None:
    """Films an episode, if that is due."""
    if self._videos and iteration % self._record_video_every == 0:
      self._videos.record(iteration, self._agent, self._environment)

  def _is_warming_up(self) -> bool:
    """Whether this is training in which nothing is learnt yet."""
    is_training = self._agent.eval_mode is False
    return is_training and self._agent.is_warming_up

  # Saving ---------------------------------------------------------------------

  def _log_experiment(self, iteration: int, statistics: dict) -> None:
    """Logs an iteration's statistics.

    Args:
      iteration: its number.
      statistics: `{key: list}`.
    """
    self._logger[f'iteration_{iteration:d}'] = statistics
    if iteration % self._log_every_n == 0:
      self._logger.log_to_file(self._logging_file_prefix, iteration)

  def _checkpoint_experiment(self, iteration: int) -> None:
    """Saves the agent, and then the run; an agent may decline with None.

    Args:
      iteration: the one that is complete.
    """
    place = self._saver.checkpoints.at_end_of(iteration)
    self._saver.save(place, self._bundle)

  def _save_within_iteration(self) -> None:
    self._saver.save_within(
      self._state,
      self._bundle,
      lambda: bundles.saves_mid_episode(self, self._environment, self._agent),
    )

  def _save_iteration(self, iteration: int, statistics: dict) -> None:
    self._saver.save_iteration(
      iteration,
      lambda: self._log_experiment(iteration, statistics),
      lambda: self._checkpoint_experiment(iteration),
      self._checkpointer,
      is_last=iteration >= self._num_iterations - 1,
    )

  def _bundle(self, place: checkpoints.Place) -> dict[str, Any] | None:
    """Returns what a checkpoint holds."""
    return bundles.bundle(
      place,
      self._agent,
      self._environment,
      self._state,
      self._event_writer,
      self._logger.data,
      self._identity | {'live': self._live.saved()},
    )

  def how_to_go_on(self) -> str:
    """What follows where a run ends here and now, for a message."""
    return self._saver.how_to_go_on()

  def request_checkpoint(self) -> None:
    """Makes the run save itself as soon as it can, beside training.

    That is before the next step, or else when the episode is over, or the
    checkpoint that is being written.
    """
    self._saver.request()

  def request_stop(self) -> None:
    """Makes `run_experiment` save and raise `Stopped`, as soon as it can.

    May be called from a signal handler or another thread.
    """
    if self._stop_request.since is None:
      self._stop_request.since = time.monotonic()

  def _close(self) -> None:
    """Finishes what is being written, and lets go of the folder."""
    self._progress.close()
    self._saver.close()

  def close(self) -> None:
    """Closes what the Runner made: event file and environment.

    May be called twice. What is being written is finished first.
    `run_experiment` does not call it: one may look at the environment.
    """
    self._is_used = True
    try:
      self._close()
    finally:
      self._close_environment()

  def _close_environment(self) -> None:
    """Closes it once; an error of its own changes nothing of the run."""
    environment, self._open_environment = self._open_environment, None
    try:
      if environment is not None:
        run_checks.as_environment(environment).close()
    except Exception as error:  # A user's method.
      logging.warning('%s could not be closed: %r', environment, error)

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *unused_error: Any) -> None:
    self.close()
