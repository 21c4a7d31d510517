"""The loop: iterations of training and evaluation, logged and checkpointed.

Importing this module loads no framework; `load_gin_configs` chooses the
backend and imports its agents.
"""

from collections.abc import Callable
import time
from typing import Any

from absl import logging
import gin
import numpy as np

from dopamine import interfaces
from dopamine.discrete_domains import agent_factory
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import iteration_statistics
from dopamine.runs import progress
from dopamine.runs import run
from dopamine.runs import run_checks
from dopamine.runs import run_state
from dopamine.runs import saver
from dopamine.settings import checks
from dopamine.settings import errors
from dopamine.settings import gin_files

load_gin_configs = agent_factory.load_gin_configs
find_gin_file = gin_files.find_gin_file
create_agent = agent_factory.create_agent
find_agent_class = agent_factory.find_agent_class
Stopped = saver.Stopped


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


@gin.configurable
class Runner(run.Run):
  """Runs iterations, each a training phase and an evaluation phase.

  A phase consists of whole episodes, as many as it takes to reach its number
  of steps. After each iteration the statistics are logged and everything is
  checkpointed; a Runner on the same `base_dir` continues from there.

  `with Runner(...) as runner:` closes it at the end. What it takes is said in
  `run.Run`, which has all but the loop.
  """

  # A subclass that keeps nothing of its own from one step to the next, in the
  # hooks of an episode, may say so too: then it is saved within episodes.
  saves_mid_episode = True

  _evaluates = True  # In each iteration.

  def __init_subclass__(cls, **kwargs: Any):
    super().__init_subclass__(**kwargs)
    hooks = '_initialize_episode', '_run_one_step', '_end_episode'
    if interfaces.overrides(cls, *hooks):
      cls.saves_mid_episode = False

  # One episode ----------------------------------------------------------------

  def _initialize_episode(self) -> Any:
    """Resets the environment; returns the agent's first action."""
    observation = self._environment.reset()
    run_checks.check_finite(
      self._environment, self._state, observation=observation
    )
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
    self._agent.end_episode(
      reward, terminal=terminal, observation=self._state.observation
    )

  def _run_one_episode(self) -> tuple[int, float]:
    """Returns the agent steps and the undiscounted return of one episode."""
    state = self._state
    if not state.in_episode:
      state.begin_episode(self._initialize_episode())
    while True:
      if self._saver.is_due():
        self._save_within_iteration()
      start = time.perf_counter()
      state.observation, reward, is_terminal = self._run_one_step(state.action)
      self._live.step(self._agent, start)
      state.episode_steps += 1
      reward = gym_lib.as_numpy(reward)
      run_checks.check_finite(
        self._environment, state, observation=state.observation, reward=reward
      )
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

  # One phase ------------------------------------------------------------------

  def _still_to_come(self, phase: str) -> dict[str, int]:
    """Agent steps of each phase after this one, until the run ends."""
    iterations = self._num_iterations - 1 - self._state.iteration
    steps = {'train': iterations * self._training_steps}
    if self._evaluates:
      iterations += phase == 'train'
      steps['eval'] = iterations * self._evaluation_steps
    return steps

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
    if not is_finished:
      self._progress.begin_phase(
        state,
        min_steps,
        self._num_iterations,
        self._still_to_come(run_mode_str),
      )
      phase.start_clock()
      # A saved episode is finished, also where less is asked for now.
      while phase.steps < min_steps or state.in_episode:
        if self._saver.is_due():
          self._save_within_iteration()
        phase.count(*self._run_one_episode())
        state.in_episode = False
        if run_mode_str == 'train':
          self._live.end_episode(phase.lengths[-1], phase.returns[-1])
        self._progress.end_episode(phase.lengths[-1], phase.returns[-1])
      phase.stop_clock()
      self._live.stop_clock(self._agent)
      if min_steps > 0:
        self._progress.end_phase(state)
    for length, episode_return in zip(
      phase.lengths, phase.returns, strict=True
    ):
      statistics.append(
        {
          f'{run_mode_str}_episode_lengths': length,
          f'{run_mode_str}_episode_returns': episode_return,
        }
      )
    return phase.steps, phase.total_return, len(phase.lengths)

  def _run_train_phase(
    self, statistics: iteration_statistics.IterationStatistics
  ) -> tuple[int, float, float]:
    """Returns the episodes, their average return, and agent steps/s."""
    self._agent.eval_mode = False
    episodes, average_return, rate = self._averages(
      self._training_steps, statistics, 'train'
    )
    statistics.append(
      {
        'train_average_return': average_return,
        'train_average_steps_per_second': rate,
      }
    )
    progress.tell(
      'Average undiscounted return per training episode: '
      f'{np.round(average_return, 2)}'
    )
    logging.info('Average training steps per second: %.2f', rate)
    return episodes, average_return, rate

  def _run_eval_phase(
    self, statistics: iteration_statistics.IterationStatistics
  ) -> tuple[int, float]:
    """Returns the number of episodes and their average return."""
    self._agent.eval_mode = True
    episodes, average_return, rate = self._averages(
      self._evaluation_steps, statistics, 'eval'
    )
    progress.tell(
      'Average undiscounted return per evaluation episode: '
      f'{np.round(average_return, 2)}'
    )
    logging.info('Average evaluation steps per second: %.2f', rate)
    statistics.append({'eval_average_return': average_return})
    return episodes, average_return

  def _averages(
    self,
    min_steps: int,
    statistics: iteration_statistics.IterationStatistics,
    phase: str,
  ) -> tuple[int, float, float]:
    """Runs a phase; returns episodes, average return, and agent steps/s."""
    start = time.monotonic()
    steps, sum_returns, episodes = self._run_one_phase(
      min_steps, statistics, phase
    )
    seconds = time.monotonic() - start
    if phase in self._state.phases:  # With what was done before a resumption.
      seconds = max(seconds, self._state.phases[phase].elapsed)
    average_return = sum_returns / episodes if episodes else 0.0
    return episodes, average_return, steps / max(seconds, 1e-9)

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
    self._saver.begin_writing()
    self._event_writer.add_figures(scalars, iteration)
    self._event_writer.add_graph_of(self._agent)

  # The run --------------------------------------------------------------------

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
      self._saver.begin_writing()
      self._saver.start_clock()
      for iteration in range(self._start_iteration, self._num_iterations):
        if not self._resumed_phases:
          self._state = run_state.RunState(iteration=iteration)
        statistics = self._run_one_iteration(iteration)
        self._resumed_phases = {}
        self._save_iteration(iteration, statistics)
        self._next_iteration = iteration + 1
        self._film(iteration)
        if self._next_iteration < self._num_iterations:
          self._saver.stop_after(iteration, self._state, self._checkpointer)
    finally:
      self._stop_request.since = None
      self._close()


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


def _clip(reward: Any) -> Any:
  """The reward clipped to [-1, 1]; arrays, which are rare, the slow way."""
  if np.ndim(reward):
    return np.clip(reward, -1.0, 1.0)  # Unsigned integers know no -1.
  return max(-1.0, min(1.0, reward))
