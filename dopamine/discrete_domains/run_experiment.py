"""The loop: iterations of training and evaluation, logged and checkpointed.

Importing this module loads no framework; `load_gin_configs` chooses the
backend and imports its agents.
"""

from collections.abc import Callable
import functools
import gc
import inspect
import math
import os
import sys
import time
from typing import Any, Self

from absl import logging
import gin
import numpy as np
import tensorboardX

from dopamine import safe_pickle
from dopamine import seeding
from dopamine import storage
from dopamine.discrete_domains import agent_factory
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import checkpointer
from dopamine.discrete_domains import event_writer
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import iteration_statistics
from dopamine.discrete_domains import logger
from dopamine.discrete_domains import progress
from dopamine.discrete_domains import run_checks
from dopamine.discrete_domains import run_record
from dopamine.discrete_domains import run_state
from dopamine.settings import checks
from dopamine.settings import errors
from dopamine.settings import gin_files

load_gin_configs = agent_factory.load_gin_configs
find_gin_file = gin_files.find_gin_file
create_agent = agent_factory.create_agent
find_agent_class = agent_factory.find_agent_class


@gin.configurable
def create_runner(
  base_dir: str, schedule: str = 'continuous_train_and_eval'
) -> 'Runner':
  """Makes the Runner of a schedule.

  Args:
    base_dir: where the run writes.
    schedule: 'continuous_train_and_eval' or 'continuous_train'.

  Raises:
    ValueError: there is no such schedule, or no `base_dir`.
  """
  if schedule == 'continuous_train_and_eval':
    return Runner(base_dir, create_agent)
  if schedule == 'continuous_train':
    return TrainRunner(base_dir, create_agent)
  raise errors.SettingError(
    f'Unknown schedule: {schedule}; create_runner.schedule is '
    "'continuous_train_and_eval' or 'continuous_train'"
  )


class Stopped(Exception):
  """A run ended because it was asked to.

  Attributes:
    is_saved: whether a checkpoint was taken where it ended.
  """

  def __init__(self, message: str, is_saved: bool):
    super().__init__(message)
    self.is_saved = is_saved


@gin.configurable
class Runner:
  """Runs iterations, each a training phase and an evaluation phase.

  A phase consists of whole episodes, as many as it takes to reach its number
  of steps. After each iteration the statistics are logged and everything is
  checkpointed; a Runner on the same `base_dir` continues from there.

  `with Runner(...) as runner:` closes it at the end.

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
  }

  # A subclass that keeps nothing of its own from one step to the next, in the
  # hooks of an episode, may say so too: then it is saved within episodes.
  saves_mid_episode = True

  _evaluates = True  # In each iteration.

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
  ):
    if not base_dir:
      raise errors.SettingError('a Runner needs a base_dir to write to')
    if not isinstance(base_dir, str | os.PathLike):
      checks.fail(self, 'base_dir', base_dir, 'the path of a folder')
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
    self._base_dir = os.path.expanduser(base_dir)  # No shell does after =.
    self._checkpoint_file_prefix = checkpoint_file_prefix
    self._create_agent_fn = create_agent_fn
    self._create_environment_fn = create_environment_fn
    self._given_seed = seed
    checks.check(self)
    self._sess = None
    self._agent: Any = None
    self._environment: Any = None
    self._environments: list[Any] = []  # All that are to be closed.
    # Whether `run_experiment` was called, which makes all anew the next time.
    self._is_used = False
    self._stop_requested: float | None = None
    self._begin()

  # Setting up -----------------------------------------------------------------

  def _begin(self) -> None:
    """Takes the folder, makes what runs, and goes to the last checkpoint."""
    self._state = run_state.RunState()
    # Of the iteration that a checkpoint was taken in, until they are run again.
    self._resumed_phases: dict[str, run_state.Phase] = {}
    self._progress = progress.Progress(self._is_warming_up)
    self._graph_is_written = False
    # When the next checkpoint is due and the phase began, by `time.monotonic`.
    self._next_save = math.inf
    self._clock: float | None = None
    self._start_text = ''
    self._changes: list[str] = []  # Since the checkpoint.
    vars(self).pop('_saves_mid_episode', None)
    # What is dropped from the folder once there is something to write: points
    # of steps that are taken again, and checkpoints that were skipped.
    self._event_sizes: dict[str, int] | None = None
    self._damaged: list[checkpointer.Place] = []

    # Absolute, because an environment may change the working folder.
    self._base_dir = run_checks.check_base_dir(self._base_dir)
    with run_checks.writing_to(self._base_dir):
      self._lock = storage.Lock(self._base_dir)
    try:
      with run_checks.writing_to(self._base_dir):
        self._create_directories()
        self._checkpoints = checkpointer.RunCheckpoints(
          self._checkpoint_dir, self._checkpoint_file_prefix
        )
        is_begun = bool(self._checkpoints.places())
        self._seed = run_checks.settle_seed(
          self._base_dir, is_begun, self._given_seed
        )
      self._set_up()
      self._initialize_checkpointer_and_maybe_resume(
        self._checkpoint_file_prefix
      )
      if self._lock.is_alone:  # Another Runner of this process may be writing.
        self._checkpoints.sweep()
      self._next_iteration = self._start_iteration
      if self._is_used:
        progress.say(
          f'Going back to the last checkpoint: {self._start_text}'
          if self._start_text
          else 'Going back to the beginning: there is no checkpoint'
        )
      self._report()
      self._record = run_record.RunRecord(
        self._base_dir,
        self._start_text,
        seed=self._seed,
        device=self._identity['device'],
      )
    except BaseException:
      self._close_environments()
      self._lock.release()
      raise

  def _set_up(self) -> None:
    """Makes what runs."""
    if self._agent is not None:  # Two replay memories may be too large.
      self._agent = self._environment = None
      gc.collect()
    self._summary_writer = event_writer.SummaryWriter(self._base_dir)
    # An environment that cannot be saved must not play its first episodes again
    # in a run that continues.
    places = self._checkpoints.places()
    environment_seed = self._seed
    if places:
      after = f'after {places[-1].iteration - 1}'
      after += f'.{places[-1].part}' * (places[-1].part > 0)
      environment_seed = seeding.integer(self._seed, after)
    with seeding.run_seed(environment_seed):
      self._environment = self._create_environment_fn()
    if not any(e is self._environment for e in self._environments):
      self._close_environments()  # Of the time before.
      self._environments.append(self._environment)
    run_checks.check_environment(self._environment)
    if 'dopamine.learners' in sys.modules:  # Else nobody learns.
      sys.modules['dopamine.learners'].prepare()
    with seeding.run_seed(self._seed):
      self._agent = self._create_agent_fn(
        self._sess, self._environment, summary_writer=self._summary_writer
      )
    run_checks.check_agent(self._agent)
    self._end_episode_arguments = _end_episode_arguments(self._agent)
    if hasattr(self._agent, 'remember_settings'):
      self._agent.remember_settings()
    self._identity = run_checks.identity(self._agent, self._environment)
    self._memory_text = run_checks.check_memory(self._agent)
    keep = getattr(self._agent, 'max_tf_checkpoints_to_keep', 4)
    if isinstance(keep, int | None):  # Of an agent that has such a thing.
      keep = self._checkpoints.complete.keep = keep and max(keep, 2)
      self._logger.keep = keep or 0

  def _create_directories(self) -> None:
    """Makes the folders under `base_dir`."""
    self._checkpoint_dir = os.path.join(self._base_dir, 'checkpoints')
    self._logger = logger.Logger(os.path.join(self._base_dir, 'logs'))

  def _initialize_checkpointer_and_maybe_resume(
    self, checkpoint_file_prefix: str
  ) -> None:
    """Loads the newest checkpoint that is whole, if there are any.

    Args:
      checkpoint_file_prefix: of the pickles.

    Raises:
      ValueError: all are damaged, or the newest does not fit this run.
    """
    self._checkpointer = self._checkpoints.complete
    self._start_iteration = 0
    places = self._checkpoints.places()
    find = checkpointer.get_latest_checkpoint_number
    if gin_files.bound_values(find).get('override_number') is not None:
      latest = find(self._checkpoint_dir)
      if latest >= 0 and latest not in self._checkpointer.numbers():
        raise errors.SettingError(
          f'get_latest_checkpoint_number.override_number={latest}, but there '
          f'is no sentinel_checkpoint_complete.{latest} in '
          f'{self._checkpoint_dir}: give one of '
          f'{self._checkpointer.numbers()}, or -1 to start afresh'
        )
      places = [self._checkpoints.after(latest)] if latest >= 0 else []
    if not places:
      self._event_sizes = {}
      incomplete = self._checkpointer.incomplete()
      if incomplete:
        progress.say(
          f'Starting afresh: {self._checkpoint_dir} has files of checkpoint '
          f'{", ".join(map(str, incomplete))}, but no sentinel of it: it was '
          'never completed'
        )
    damaged, damages = [], []
    for place in reversed(places):
      try:
        self._resume(place, checkpoint_file_prefix)
      except storage.DamagedError as error:
        damaged.append(place)
        damages.append(f'{place}: {error}')
        logging.warning('Skipping %s', damages[-1])
        progress.say(f'Skipping {damages[-1]}')
        continue
      self._damaged = damaged
      return
    if damages:
      raise errors.SettingError(
        f'base_dir={self._base_dir} holds a run, but no checkpoint of it is '
        f'whole. {". ".join(damages)}. Nothing was changed: put the files back '
        'if you have them elsewhere, set DQNAgent.allow_partial_reload = True '
        'to go on from weights alone, or give another base_dir to start afresh '
        f'(or delete {self._checkpoint_dir})'
      )

  def _resume(
    self, place: checkpointer.Place, checkpoint_file_prefix: str
  ) -> None:
    """Continues from a checkpoint."""
    is_partial = getattr(self._agent, 'allow_partial_reload', False) is True
    has_manifest, data = False, None
    try:
      has_manifest = place.checkpointer.check(place.number)
      data = place.checkpointer.load_checkpoint(place.number)
    except storage.DamagedError as error:
      if not is_partial:
        raise
      logging.warning('Resuming from a partial checkpoint: %s', error)
    path = os.path.join(
      place.checkpointer.directory, f'{checkpoint_file_prefix}.{place.number}'
    )
    run = {}
    if data is not None:
      if not isinstance(data, dict):
        raise errors.SettingError(f'{path} holds no dict: no Runner saved it')
      run = data.pop('run', {})
      if not isinstance(run, dict):
        raise storage.DamagedError(f'{path} is damaged: its run is no dict')
      checkpointer.check_format(run.get('format'), path)
      if 'settings' in run and not (has_manifest or is_partial):
        raise storage.DamagedError(f'the manifest of {path} is missing')
      self._changes = run_checks.check_same_run(
        self._base_dir, run, self._identity, self._allow_changes
      )
    if not self._agent.unbundle(
      place.checkpointer.directory, place.number, data
    ):
      raise errors.SettingError(
        f'{type(self._agent).__name__} did not take {place} (its unbundle '
        'returned no True). Nothing was overwritten: put back what is missing '
        'or the settings of that run, set DQNAgent.allow_partial_reload = True '
        'to go on from the weights alone, or give another base_dir'
      )
    self._start_iteration = place.iteration
    self._start_text = f'iteration {place.iteration} at its beginning'
    if data is None:
      return
    for key in ('logs', 'current_iteration'):
      if key not in data:
        raise errors.SettingError(
          f'{path} has no {key!r}: it is no checkpoint of a Runner'
        )
    self._logger.data = data['logs']
    self._start_iteration = int(data['current_iteration']) + 1
    self._start_text = f'iteration {self._start_iteration} at its beginning'
    if run.get('environment_state') is not None:
      self._environment.set_state(run['environment_state'])
    if run.get('state') is not None:
      state = self._state = run_state.RunState.restored(run['state'])
      self._resumed_phases = dict(state.phases)
      steps = state.phase_steps + state.in_episode * state.episode_steps
      self._start_text = (
        f'iteration {state.iteration} at step {steps} of its {state.phase} '
        'phase'
      )
    self._event_sizes = run.get('event_files')
    self._graph_is_written = bool(run.get('graph_is_written'))
    logging.info(
      'Reloaded checkpoint and will start from iteration %d (%s)',
      self._start_iteration,
      self._start_text,
    )

  def _report(self) -> None:
    """Says on stdout what runs, on what, with which settings, and where to."""
    space = getattr(self._environment, 'action_space', None)
    lines = {}
    if hasattr(self._agent, 'describe_device'):
      lines['Backend'] = self._agent.describe_device()
    if self._start_text:
      lines['Continues'] = self._start_text
    lines |= {
      'Agent': type(self._agent).__name__,
      'Environment': f'{self._environment}, {space}',
      'Seed': self._seed,
      'Iterations': f'{self._start_iteration} to {self._num_iterations - 1}'
      if self._start_iteration < self._num_iterations
      else f'none is left of {self._num_iterations}',
      'Writing to': f'{self._base_dir} (logs, checkpoints, and event files '
      f'for tensorboard --logdir {self._base_dir})',
    }
    lines['Memory'] = self._memory_text
    for name, text in lines.items():
      progress.say(f'{name + ":":13}{text}')
    settings = [
      line
      for line in gin.operative_config_str().splitlines()
      if line and not line.startswith(('#', 'import '))
    ]
    progress.say('\n  '.join(('Settings:', *settings)))
    for text in self._changes:  # Last, where they are seen.
      progress.say(text)

  # One episode ----------------------------------------------------------------

  def _initialize_episode(self) -> Any:
    """Resets the environment; returns the agent's first action."""
    observation = self._environment.reset()
    self._check_finite(observation=observation)
    return self._agent.begin_episode(observation)

  def _run_one_step(self, action: Any) -> tuple[Any, float, bool]:
    """Returns the observation, reward and is_terminal of `action`."""
    observation, reward, is_terminal, _ = self._environment.step(action)
    return observation, reward, is_terminal

  def _end_episode(self, reward: float, terminal: bool = True) -> None:
    """Tells the agent that the episode is over.

    Args:
      reward: of the last action, clipped if the run clips.
      terminal: False if a time limit cut the episode.
    """
    values = {'terminal': terminal, 'observation': self._state.observation}
    arguments = {n: values[v] for n, v in self._end_episode_arguments.items()}
    self._agent.end_episode(reward, **arguments)

  def _run_one_episode(self) -> tuple[int, float]:
    """Returns the agent steps and the undiscounted return of one episode."""
    state = self._state
    if not state.in_episode:
      state.begin_episode(self._initialize_episode())
    while True:
      if (
        self._stop_requested is not None or time.monotonic() >= self._next_save
      ):
        self._save_within_iteration()
      state.observation, reward, is_terminal = self._run_one_step(state.action)
      state.episode_steps += 1
      reward = gym_lib.as_numpy(reward)
      self._check_finite(observation=state.observation, reward=reward)
      state.episode_return += gym_lib.as_float64(reward)
      self._progress.step(state)
      if self._clip_rewards:
        reward = _clip(reward)
      if (
        self._environment.game_over
        # More, where a run goes on with a limit that is lower now.
        or state.episode_steps >= self._max_steps_per_episode
      ):
        break
      if is_terminal:  # A life is lost: an end to the agent, not to the game.
        self._end_episode(reward, is_terminal)
        state.action = self._agent.begin_episode(state.observation)
      else:
        state.action = self._agent.step(reward, state.observation)
    self._end_episode(reward, bool(is_terminal) or self._timeouts_are_terminal)
    state.in_episode = False
    return state.episode_steps, state.episode_return

  def _check_finite(self, **values: Any) -> None:
    """Raises FloatingPointError for NaN, infinity, and rewards of no number."""
    for name, value in values.items():
      is_none = name == 'reward' and isinstance(value, str | None)
      if is_none or not _is_finite(value):
        state = self._state
        raise errors.NotFiniteError(
          f'{self._environment} gave the {name} {value} at step '
          f'{state.episode_steps} of an episode, after {state.phase_steps} '
          f'agent steps of earlier episodes in the {state.phase} phase of '
          f'iteration {state.iteration}. Checkpoints of earlier iterations are '
          'as they were'
        )

  # One phase ------------------------------------------------------------------

  def _still_to_come(self, phase: str) -> dict[str, int]:
    """Agent steps of each phase after this one, until the run ends."""
    iterations = self._num_iterations - 1 - self._state.iteration
    steps = {'train': iterations * self._training_steps}
    if self._evaluates:
      iterations += phase == 'train'
      steps['eval'] = iterations * self._evaluation_steps
    return steps

  def _is_warming_up(self) -> bool:
    """Whether this is training in which nothing is learnt yet."""
    is_training = self._agent.eval_mode is False
    return is_training and getattr(self._agent, 'is_warming_up', None) is True

  def _run_one_phase(
    self,
    min_steps: int,
    statistics: iteration_statistics.IterationStatistics,
    run_mode_str: str,
  ) -> tuple[int, float, int]:
    """Runs episodes until they have `min_steps` agent steps.

    Args:
      min_steps: agent steps.
      statistics: takes the length and return of each episode.
      run_mode_str: 'train' or 'eval'.

    Returns:
      The agent steps, the sum of the returns, and the number of episodes.
    """
    state = self._state
    # In an iteration that is resumed, what was done of this phase before.
    phase = self._resumed_phases.pop(run_mode_str, None)
    is_finished = phase is not None and state.phase != run_mode_str
    if phase is None:
      phase = state.begin_phase(run_mode_str)

    def note(length: int, episode_return: float) -> None:
      statistics.append(
        {
          f'{run_mode_str}_episode_lengths': length,
          f'{run_mode_str}_episode_returns': episode_return,
        }
      )

    for figures in zip(phase.lengths, phase.returns, strict=True):
      note(*figures)
    if not is_finished:
      self._progress.begin_phase(
        state,
        min_steps,
        self._num_iterations,
        self._still_to_come(run_mode_str),
      )
      self._clock = time.monotonic() - phase.seconds
      # A saved episode is finished, also where less is asked for now.
      while phase.steps < min_steps or state.in_episode:
        if (
          self._stop_requested is not None
          or time.monotonic() >= self._next_save
        ):
          self._save_within_iteration()
        phase.count(*self._run_one_episode())
        state.in_episode = False
        figures = phase.lengths[-1], phase.returns[-1]
        note(*figures)
        self._progress.end_episode(*figures)
      phase.seconds = time.monotonic() - self._clock
      self._clock = None
      if min_steps > 0:
        self._progress.end_phase(state)
    return phase.steps, phase.total_return, len(phase.lengths)

  def _run_train_phase(
    self, statistics: iteration_statistics.IterationStatistics
  ) -> tuple[int, float, float]:
    """Returns the episodes, their average return, and agent steps/s."""
    self._agent.eval_mode = False
    start = time.monotonic()
    steps, sum_returns, episodes = self._run_one_phase(
      self._training_steps, statistics, 'train'
    )
    average_return = sum_returns / episodes if episodes else 0.0
    rate = steps / self._seconds_of('train', start)
    statistics.append(
      {
        'train_average_return': average_return,
        'train_average_steps_per_second': rate,
      }
    )
    logging.info(
      'Average undiscounted return per training episode: %s',
      np.round(average_return, 2),
    )
    logging.info('Average training steps per second: %.2f', rate)
    return episodes, average_return, rate

  def _seconds_of(self, phase: str, start: float) -> float:
    """How long a phase took, with what was done before a run was resumed."""
    seconds = time.monotonic() - start
    if phase in self._state.phases:
      seconds = max(seconds, self._state.phases[phase].seconds)
    return max(seconds, 1e-9)

  def _run_eval_phase(
    self, statistics: iteration_statistics.IterationStatistics
  ) -> tuple[int, float]:
    """Returns the number of episodes and their average return."""
    self._agent.eval_mode = True
    start = time.monotonic()
    steps, sum_returns, episodes = self._run_one_phase(
      self._evaluation_steps, statistics, 'eval'
    )
    average_return = sum_returns / episodes if episodes else 0.0
    logging.info(
      'Average undiscounted return per evaluation episode: %s',
      np.round(average_return, 2),
    )
    logging.info(
      'Average evaluation steps per second: %.2f',
      steps / self._seconds_of('eval', start),
    )
    statistics.append({'eval_average_return': average_return})
    return episodes, average_return

  # One iteration --------------------------------------------------------------

  def _run_one_iteration(self, iteration: int) -> dict[str, list]:
    """Runs both phases and returns the iteration's statistics.

    Args:
      iteration: its number, counted from 0.
    """
    statistics = iteration_statistics.IterationStatistics()
    self._state.iteration = iteration
    logging.info('Starting iteration %d', iteration)
    num_train, return_train, rate = self._run_train_phase(statistics)
    num_eval, return_eval = self._run_eval_phase(statistics)
    self._save_tensorboard_summaries(
      iteration, num_train, return_train, num_eval, return_eval, rate
    )
    return statistics.data_lists

  def _save_tensorboard_summaries(
    self,
    iteration: int,
    num_episodes_train: int,
    average_reward_train: float,
    num_episodes_eval: int,
    average_reward_eval: float,
    average_steps_per_second: float,
  ) -> None:
    """Writes an iteration's figures to the event file, at step `iteration`."""
    self._write_scalars(
      iteration,
      {
        'Train/NumEpisodes': num_episodes_train,
        'Train/AverageReturns': average_reward_train,
        'Train/AverageStepsPerSecond': average_steps_per_second,
        'Eval/NumEpisodes': num_episodes_eval,
        'Eval/AverageReturns': average_reward_eval,
      },
    )

  def _write_scalars(self, iteration: int, scalars: dict[str, float]) -> None:
    self._begin_writing()
    for tag, value in scalars.items():
      # Where rewards are arrays, each of their numbers has a curve.
      for index, number in np.ndenumerate(value):
        name = '/'.join((tag, *map(str, index)))
        self._summary_writer.add_scalar(name, number, iteration)
    self._write_graph()

  def _write_graph(self) -> None:
    """Writes the agent's TensorFlow graph, once it has been compiled."""
    if self._graph_is_written or not hasattr(self._agent, 'graph_def'):
      return
    graph = self._agent.graph_def()
    if isinstance(graph, bytes):
      event = tensorboardX.proto.event_pb2.Event(graph_def=graph)
      self._summary_writer.file_writer.add_event(event)
      self._graph_is_written = True

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
    self._save(self._checkpoints.after(iteration), iteration)

  def _save_within_iteration(self) -> None:
    """Takes a checkpoint here, if it is one that a run can continue from.

    Raises:
      Stopped: that was asked for.
    """
    state = self._state
    if self._stop_requested is None and self._checkpoints.is_writing:
      return
    # `_run_one_phase` of a subclass does not know where it stands.
    if self._clock is not None and (
      not state.in_episode or self._saves_mid_episode
    ):
      is_saved = False
      try:
        place = self._checkpoints.within(state.iteration)
        is_saved = self._save(place, state.iteration - 1)
      except OSError as error:
        self._retry_soon(error)
      is_too_early = state.in_episode and not self._saves_mid_episode
      if self._stop_requested is not None and not is_too_early:
        self._stop(is_saved)
    elif (
      self._stop_requested is not None
      and time.monotonic() - self._stop_requested > _STOP_SECONDS
    ):
      self._stop(False)

  @functools.cached_property
  def _saves_mid_episode(self) -> bool:
    """Whether all that an episode needs can be saved within it."""
    return (
      _says_so(self, '_initialize_episode', '_run_one_step', '_end_episode')
      and _says_so(self._environment, 'reset', 'step')
      and getattr(self._agent, 'saves_mid_episode', False) is True
      and self._environment_state() is not None
    )

  def _stop(self, is_saved: bool, where: str | None = None) -> None:
    """Ends the run; `where` is by default the step of the phase."""
    is_saved = self._checkpoints.wait() is None and is_saved
    state = self._state
    steps = state.phase_steps + state.in_episode * state.episode_steps
    where = where or (
      f'iteration {state.iteration}, step {steps} of the {state.phase} phase'
    )
    raise Stopped(
      f'Stopped at {where}. The checkpoint is complete: the same command goes '
      'on from there.'
      if is_saved
      else f'Stopped at {where}, which could not be saved there: '
      f'{self.how_to_go_on()}.',
      is_saved,
    )

  def how_to_go_on(self) -> str:
    """What follows where a run ends here and now, for a message."""
    if self._checkpoints.places():
      return 'the same command goes on from the last checkpoint'
    return 'the same command starts afresh, as there is no checkpoint yet'

  def request_stop(self) -> None:
    """Makes `run_experiment` save and raise `Stopped`, as soon as it can.

    May be called from a signal handler or another thread.
    """
    if self._stop_requested is None:
      self._stop_requested = time.monotonic()

  def _save(self, place: checkpointer.Place, last_complete: int) -> bool:
    """Takes a checkpoint, which is written while the run goes on.

    Args:
      place: where to.
      last_complete: the last iteration that is complete.

    Returns:
      Whether one was taken.

    Raises:
      OSError: what is written at once could not be.
    """
    self._checkpoints.wait()
    start = time.monotonic()
    with place.checkpointer.collect() as collection:
      data = self._agent.bundle_and_checkpoint(
        place.checkpointer.directory, place.number
      )
      pickled = self._pickled(data, place, last_complete) if data else None
    now = time.monotonic()
    self._next_save = math.inf
    if self._checkpoint_minutes is not None:
      interval = 60 * self._checkpoint_minutes
      if now - start > 1:  # Training waited for an agent's own files: seldom.
        interval = max(interval, 100 * (now - start))
      self._next_save = now + interval
    if pickled is None:
      collection.close()
      return False
    self._checkpoints.write(place, pickled, collection, self._retry_soon)
    return True

  def _retry_soon(self, error: OSError) -> None:
    """Says that a checkpoint failed; the next comes sooner than usual."""
    progress.say(
      f'\nA checkpoint could not be written: {error}. Training goes on, and '
      'the one before is as it was; the next attempt follows.'
    )
    if self._checkpoint_minutes is not None:
      soon = time.monotonic() + min(60.0, 60 * self._checkpoint_minutes)
      self._next_save = min(self._next_save, soon)

  def _pickled(
    self, data: Any, place: checkpointer.Place, last_complete: int
  ) -> bytes | None:
    """Adds what the Runner saves to an agent's bundle.

    Returns:
      The pickle; None if it is of the middle of an episode that, as it turns
      out, cannot be saved there.
    """
    if not isinstance(data, dict):
      raise errors.InterfaceError(
        f'bundle_and_checkpoint of {type(self._agent).__name__} returned '
        f'{data!r}: it must return a dict, or None to save nothing'
      )
    run = self._identity | {
      'format': checkpointer.FORMAT,
      'graph_is_written': self._graph_is_written,
      'environment_state': self._environment_state(),
    }
    if place.part and self._clock is not None:
      phase = self._state.phases[self._state.phase]
      phase.seconds = time.monotonic() - self._clock
      run['state'] = self._state.saved()
      # A subclass that returns a dict of its own leaves out the attributes.
      is_whole = run['environment_state'] is not None and (
        'attributes' in data or not hasattr(self._agent, 'remember_settings')
      )
      if self._state.in_episode and not is_whole:
        self._saves_mid_episode = False
        return None
    self._begin_writing()
    self._summary_writer.events.sync()
    run['event_files'] = event_writer.sizes(self._base_dir)
    data['current_iteration'] = last_complete
    data['logs'] = self._logger.data
    data['run'] = run
    return safe_pickle.dumps(data)

  def _environment_state(self) -> Any:
    """What the environment says of itself, None where it says nothing."""
    if not hasattr(self._environment, 'set_state'):
      return None
    try:
      state = self._environment.get_state()
      safe_pickle.dumps(state)
    except Exception as error:  # A user's method: it must not end the run.
      logging.log_first_n(
        logging.WARNING,
        'The state of %s is not saved, so a resumed run will not continue '
        'exactly: %s',
        1,
        self._environment,
        error,
      )
      return None
    return state

  @property
  def num_iterations(self) -> int:
    """Where the run ends; may be raised when it has ended."""
    return self._num_iterations

  @num_iterations.setter
  def num_iterations(self, value: int) -> None:
    self._num_iterations = value
    checks.check(self)

  def run_experiment(self) -> None:
    """Runs the iterations that are left.

    May be called again: when it was interrupted, when `num_iterations` was
    raised, and after `close`. Then agent and environment are made anew and go
    back to the last checkpoint, as those of a new Runner on `base_dir` would.

    Raises:
      Stopped: it was asked for by `request_stop`.
      OSError: the last iteration could not be saved.
    """
    if self._is_used and self._next_iteration < self._num_iterations:
      self._close()  # Ctrl-C may have ended that.
      self._begin()
    self._is_used = True
    try:
      if self._num_iterations <= self._next_iteration:
        logging.warning(
          'num_iterations (%d) <= start_iteration (%d): nothing is left to '
          'run; raise Runner.num_iterations to go on',
          self._num_iterations,
          self._next_iteration,
        )
        return
      logging.info('Beginning training...')
      self._begin_writing()
      if self._checkpoint_minutes is not None and self._stop_requested is None:
        self._next_save = time.monotonic() + 60 * self._checkpoint_minutes
      for iteration in range(self._start_iteration, self._num_iterations):
        if not self._resumed_phases:
          self._state = run_state.RunState(iteration=iteration)
        statistics = self._run_one_iteration(iteration)
        self._resumed_phases = {}
        self._save_iteration(iteration, statistics)
        self._next_iteration = iteration + 1
        is_last = iteration >= self._num_iterations - 1
        if self._stop_requested is not None and not is_last:
          self._checkpoints.wait()
          is_saved = iteration in self._checkpointer.numbers()
          self._stop(is_saved, f'the end of iteration {iteration}')
    finally:
      self._stop_requested = None
      self._close()

  def _begin_writing(self) -> None:
    """Drops what came after the checkpoint; opens the event file.

    Until then a Runner leaves all of the run that counts as it is.
    """
    for place in self._damaged:  # They count no more as ones that are kept.
      place.checkpointer.discard(place.number)
    if self._event_sizes is not None:
      event_writer.go_back(self._base_dir, self._event_sizes)
    self._damaged, self._event_sizes = [], None
    self._summary_writer.events.open()
    self._record.write(self._summary_writer)

  def _save_iteration(self, iteration: int, statistics: dict) -> None:
    """Logs and saves a complete iteration; a full disk does not end the run."""
    is_last = iteration >= self._num_iterations - 1
    self._checkpoints.wait()
    is_logged = is_saved = False
    for attempt in range(3 if is_last else 1):
      time.sleep(attempt)
      error: OSError | None = None
      try:
        if not is_logged:
          self._log_experiment(iteration, statistics)
        is_logged = True
      except OSError as caught:
        error = caught
      try:
        if not is_saved:
          self._checkpoint(iteration)
        failure = self._checkpoints.wait() if is_last else None
        is_saved, error = failure is None, failure or error
      except OSError as caught:
        error = caught
      if error is None:
        return
      if not is_last:
        self._retry_soon(error)
        return
    raise errors.NotSavedError(
      f'iteration {iteration} could not be saved: {error}. Checkpoints of '
      'earlier iterations are as they were; with room to write, '
      f'{self.how_to_go_on()}'
    ) from error

  def _checkpoint(self, iteration: int) -> None:
    """Calls `_checkpoint_experiment`.

    An override that saves at once, by `self._checkpointer.save_checkpoint`,
    saves with it what its agent puts in the collection that is open meanwhile.
    """
    with self._checkpointer.collect() as collection:
      self._checkpoint_experiment(iteration)
    collection.close()
    if not self._checkpoints.is_writing:
      self._checkpoints.remove_unneeded()

  def _close(self) -> None:
    """Finishes what is being written, and lets go of the folder."""
    self._progress.close()
    try:
      self._checkpoints.wait()
      self._summary_writer.close()
    except OSError as error:
      logging.warning('The event file could not be finished: %s', error)
    finally:
      if not self._checkpoints.is_writing:  # Ctrl-C may have ended the wait.
        self._lock.release()

  def close(self) -> None:
    """Closes what the Runner made: event file and environment.

    May be called twice. What is being written is finished first.
    `run_experiment` does not call it: one may look at the environment.
    """
    self._is_used = True
    try:
      self._close()
    finally:
      self._close_environments()

  def _close_environments(self) -> None:
    """Closes each once; an error of theirs changes nothing of the run."""
    while self._environments:
      environment = self._environments.pop()
      try:
        if hasattr(environment, 'close'):
          environment.close()
      except Exception as error:  # A user's method.
        logging.warning('%s could not be closed: %r', environment, error)

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *unused_error: Any) -> None:
    self.close()


@gin.configurable
class TrainRunner(Runner):
  """A Runner whose iterations only train.

  Args:
    base_dir: see `Runner`.
    create_agent_fn: see `Runner`.
    create_environment_fn: see `Runner`; None is what gin binds for that, or its
      default.
    **kwargs: of `Runner`.
  """

  _evaluates = False

  def __init__(
    self,
    base_dir: str,
    create_agent_fn: Callable,
    create_environment_fn: Callable | None = None,
    **kwargs: Any,
  ):
    if create_environment_fn is not None:
      kwargs['create_environment_fn'] = create_environment_fn
    super().__init__(base_dir, create_agent_fn, **kwargs)
    self._agent.eval_mode = False

  def _run_one_iteration(self, iteration: int) -> dict[str, list]:
    """Runs the training phase and returns its statistics.

    Args:
      iteration: its number, counted from 0.
    """
    statistics = iteration_statistics.IterationStatistics()
    self._state.iteration = iteration
    num_episodes, average_return, rate = self._run_train_phase(statistics)
    self._save_tensorboard_summaries(
      iteration, num_episodes, average_return, rate
    )
    return statistics.data_lists

  def _save_tensorboard_summaries(  # type: ignore[override]
    self,
    iteration: int,
    num_episodes: int,
    average_reward: float,
    average_steps_per_second: float,
  ) -> None:
    """Writes an iteration's figures to the event file, at step `iteration`."""
    self._write_scalars(
      iteration,
      {
        'Train/NumEpisodes': num_episodes,
        'Train/AverageReturns': average_reward,
        'Train/AverageStepsPerSecond': average_steps_per_second,
      },
    )


# How long a run that is to stop waits for the end of an episode that it cannot
# be saved in.
_STOP_SECONDS = 15.0


def _says_so(owner: Any, *methods: str) -> bool:
  """Whether an object's class says that it can be saved within an episode.

  What a base class says does not hold for a subclass that overrides one of the
  methods: it may keep a state of its own.
  """
  if getattr(owner, 'saves_mid_episode', False) is not True:
    return False
  for cls in type(owner).__mro__:
    if 'saves_mid_episode' in vars(cls):
      return True
    if any(method in vars(cls) for method in methods):
      return False
  return True


def _clip(reward: Any) -> Any:
  """The reward clipped to [-1, 1]; arrays, which are rare, the slow way."""
  if np.ndim(reward):
    return np.clip(reward, -1.0, 1.0)  # Unsigned integers know no -1.
  return max(-1.0, min(1.0, reward))


def _is_finite(value: Any) -> bool:
  """False where a number of `value`, of any shape, is a NaN or an infinity."""
  if isinstance(value, float):
    return math.isfinite(value)
  kind = getattr(getattr(value, 'dtype', None), 'kind', None)
  if kind in ('b', 'i', 'u'):  # Pixels: 0.1 us, not 20.
    return True
  try:
    return bool(np.isfinite(np.asarray(value)).all())
  except (TypeError, ValueError):
    return True  # No numbers: what they are is the agent's business.


def _end_episode_arguments(agent: Any) -> dict[str, str]:
  """What the agent's `end_episode` takes beside the reward, by its own names.

  Returns:
    The name of a parameter -> 'terminal' or 'observation'.
  """
  if not hasattr(type(agent), 'end_episode'):  # E.g. a mock.
    return {}
  parameters = inspect.signature(agent.end_episode).parameters
  kinds = [p.kind for p in parameters.values()]
  names = ('terminal', 'observation')
  if inspect.Parameter.VAR_KEYWORD in kinds:
    return {name: name for name in names}
  taken = {name: name for name in names if name in parameters}
  required = [
    name
    for name, parameter in list(parameters.items())[1:]
    if parameter.default is parameter.empty
    and parameter.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD
  ]
  # Under another name, as in `end_episode(reward, is_terminal)`.
  if 'terminal' not in taken and required[:1] and required[0] not in taken:
    taken[required[0]] = 'terminal'
  return taken
