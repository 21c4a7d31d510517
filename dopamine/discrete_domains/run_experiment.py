"""The loop: iterations of training and evaluation, logged and checkpointed.

Importing this module loads no framework; `load_gin_configs` chooses the
backend and imports its agents.
"""

from collections.abc import Callable, Sequence
import difflib
import importlib
import inspect
import os
import pathlib
import re
import time
from typing import Any

from absl import logging
import gin
import gymnasium
import numpy as np

from dopamine import backend
from dopamine import checks
from dopamine import gin_compat
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import iteration_statistics
from dopamine.runs import run
from dopamine.runs import run_checks
from dopamine.runs import run_state
from dopamine.runs import saver

_PACKAGE_PARENT = os.path.dirname(
  os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
)

# create_agent.agent_name -> module and class.
_AGENTS = {
  prefix + name: (
    f'dopamine.{folder}agents.{name}.{name}_agent',
    prefix.replace('jax_', 'Jax') + cls,
  )
  for prefix, folder in (('', ''), ('jax_', 'jax.'))
  for name, cls in (
    ('dqn', 'DQNAgent'),
    ('rainbow', 'RainbowAgent'),
    ('implicit_quantile', 'ImplicitQuantileAgent'),
    ('quantile', 'QuantileAgent'),
    ('full_rainbow', 'FullRainbowAgent'),
  )
}

# What gin files bind without importing it.
_CONFIGURABLES = (
  'dopamine.networks',
  'dopamine.optimizers',
  'dopamine.replay_memory.circular_replay_buffer',
  'dopamine.replay_memory.prioritized_replay_buffer',
  'dopamine.discrete_domains.gym_lib',
  'dopamine.discrete_domains.legacy_networks',
)


def load_gin_configs(
  gin_files: Sequence[str], gin_bindings: Sequence[str]
) -> None:
  """Chooses the backend, imports what gin files may name, and parses them.

  Args:
    gin_files: paths, looked for from the current folder, then from those of
      `gin.add_config_file_search_path`, and then inside the installed package
      (`dopamine/agents/dqn/configs/dqn.gin`).
    gin_bindings: further statements, which override those of the files.
  """
  if isinstance(gin_files, str):
    gin_files = [gin_files]
  if isinstance(gin_bindings, str):
    gin_bindings = [gin_bindings]
  gin_bindings = [gin_compat.typed(b) for b in gin_bindings or ()]
  gin_files = [find_gin_file(path) for path in gin_files or ()]
  texts = [text for path in gin_files for text in _read(path)]
  gin_compat.check_version(texts + gin_bindings)
  name = backend.choose(texts + gin_bindings)
  modules = list(_CONFIGURABLES)
  modules += [
    m for m, _ in _AGENTS.values() if not m.startswith('dopamine.jax')
  ]
  if name == 'jax':
    modules += [m for m, _ in _AGENTS.values() if m.startswith('dopamine.jax')]
    modules.append('dopamine.jax.networks')
  backend.load_keras()
  for module in modules:
    importlib.import_module(module)
  gin_compat.parse(gin_files, gin_bindings)


def find_gin_file(gin_file: str) -> str:
  """The path of a gin file: here, where gin was told to look, or ours."""
  folders = *gin.config._LOCATION_PREFIXES, _PACKAGE_PARENT
  places = [os.path.join(f, gin_file) for f in folders]
  for place in places:
    if os.path.isfile(place):
      return place
  ours = pathlib.Path(_PACKAGE_PARENT, 'dopamine').rglob('*.gin')
  names = {file.name: file for file in sorted(ours, reverse=True)}
  near = difflib.get_close_matches(os.path.basename(gin_file), names, n=1)
  hint = ''
  if near:
    path = names[near[0]].relative_to(_PACKAGE_PARENT)
    hint = f' (did you mean {str(path)!r}?)'
  looked_at = dict.fromkeys(map(os.path.abspath, places))
  raise FileNotFoundError(
    f'There is no gin file {gin_file!r}{hint}; looked at '
    f'{" and ".join(looked_at)}'
  )


def _read(path: str, *above: str) -> list[str]:
  """The texts of a gin file and of those that it includes."""
  if path in above:
    raise ValueError(f'gin file {path} includes itself, by {above[-1]}')
  with open(path, encoding='utf-8-sig') as file:
    try:
      text = file.read()
    except UnicodeDecodeError as error:
      raise ValueError(f'{path} is not UTF-8 ({error}): save it so') from None
  included = re.findall(r'^include\s+[\'"](.+?)[\'"]', text, re.MULTILINE)
  return [text] + [
    t for name in included for t in _read(find_gin_file(name), *above, path)
  ]


@gin.configurable
def create_agent(
  sess: Any,
  environment: Any,
  agent_name: str | type | None = None,
  summary_writer: Any = None,
  debug_mode: bool = False,
  fit_to_environment: bool = False,
) -> Any:
  """Makes the agent that gin names.

  Args:
    sess: ignored; passed on to agents that take it.
    environment: its `action_space.n` is the number of actions.
    agent_name: 'dqn', 'rainbow', 'implicit_quantile', 'quantile' or
      'full_rainbow', or one of these with 'jax_' before it. On the JAX backend
      'full_rainbow' is 'jax_full_rainbow', as in the files of Dopamine 4. Or a
      class of your own, in gin `@MyAgent`: it is given `num_actions`, and
      `summary_writer` and `sess` if it takes them.
    summary_writer: for the losses of training.
    debug_mode: whether the agent logs its losses to TensorBoard.
    fit_to_environment: whether observation_shape, observation_dtype and network
      of the agent follow from `environment.observation_space`, where gin does
      not bind them.

  Raises:
    ValueError: there is no such agent, or it cannot act in the environment.
  """
  checks.switches(
    'create_agent', debug_mode=debug_mode, fit_to_environment=fit_to_environment
  )
  agent_class = find_agent_class(agent_name)
  parameters = inspect.signature(agent_class).parameters
  arguments = {}
  if 'sess' in parameters:
    arguments['sess'] = sess
  if 'summary_writer' in parameters or any(
    p.kind == p.VAR_KEYWORD for p in parameters.values()
  ):
    arguments['summary_writer'] = summary_writer if debug_mode else None
  if fit_to_environment:
    arguments |= _fitted(agent_class, environment)
  return agent_class(num_actions=_num_actions(environment), **arguments)


def _num_actions(environment: Any) -> int:
  """How many actions there are, which must be 0, 1, 2, ..."""
  space = environment.action_space
  is_other = isinstance(space, gymnasium.Space) and not isinstance(
    space, gymnasium.spaces.Discrete
  )
  if is_other or getattr(space, 'n', None) is None:
    raise ValueError(
      f'action_space={space} of {environment} does not number its actions, and '
      'every agent here chooses among n of them: give it a '
      'gymnasium.spaces.Discrete(n), by a wrapper or by an argument of the '
      "environment's own (create_gym_environment.continuous = False for "
      'CarRacing and LunarLander)'
    )
  if getattr(space, 'start', 0) != 0:
    raise ValueError(
      f'action_space={space} of {environment} numbers its actions from '
      f'{space.start}, and every agent here from 0: wrap it, e.g. in '
      'gymnasium.wrappers.TransformAction'
    )
  return space.n


def find_agent_class(agent_name: str | type | None) -> type:
  """The class that `create_agent.agent_name` means."""
  if inspect.isclass(agent_name):
    return agent_name
  if not isinstance(agent_name, str) or agent_name not in _AGENTS:
    near = gin_compat.hint(str(agent_name), _AGENTS)
    if agent_name is not None and not isinstance(agent_name, str):
      near = f' (a {type(agent_name).__name__}, not a class)'
    raise ValueError(
      f'Unknown agent: {agent_name}{near}; '
      f'create_agent.agent_name is one of {", ".join(_AGENTS)}, or a class of '
      'your own, @MyAgent without quotes or ()'
    )
  if agent_name == 'full_rainbow' and backend.current() == 'jax':
    agent_name = 'jax_full_rainbow'
  module, name = _AGENTS[agent_name]
  return getattr(importlib.import_module(module), name)


def _fitted(agent_class: type, environment: Any) -> dict[str, Any]:
  """What an agent's gin bindings leave to its environment's observations."""
  parameters = {
    name: _unbound_parameter(agent_class, name)
    for name in ('observation_shape', 'observation_dtype', 'network')
  }
  parameters = {name: p for name, p in parameters.items() if p is not None}
  if not parameters:
    return {}
  space: Any = getattr(environment, 'observation_space', None)
  if not all(hasattr(space, n) for n in ('shape', 'dtype', 'low', 'high')):
    raise ValueError(
      f'create_agent.fit_to_environment needs observations of a Box, and '
      f'observation_space={space} of {environment} is none: set '
      'create_gym_environment.flatten = True, or give the environment a '
      'gymnasium.spaces.Box, or bind observation_shape, observation_dtype and '
      f'network of {agent_class.__name__} and fit_to_environment = False'
    )
  found = {'observation_shape': space.shape, 'observation_dtype': space.dtype}
  network = parameters.get('network')
  if network is not None and network.default is not network.empty:
    networks = importlib.import_module('dopamine.networks')
    found['network'] = networks.fitting(network.default, space)
  return {name: value for name, value in found.items() if name in parameters}


def _unbound_parameter(cls: type, name: str) -> inspect.Parameter | None:
  """A constructor's parameter, None if it has none or gin has a value for it.

  A binding counts for the class whose constructor names the parameter, and for
  those below, which pass it on.
  """
  for base in inspect.getmro(cls)[:-1]:
    if name in gin_compat.bound_parameters(base):
      return None
    # gin gives a class that inherits its constructor a wrapper of that.
    constructor = inspect.unwrap(vars(base).get('__init__', object.__init__))
    if constructor.__qualname__ == f'{base.__qualname__}.__init__':
      parameter = inspect.signature(constructor).parameters.get(name)
      if parameter is not None:
        return parameter
  return None


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
  raise ValueError(
    f'Unknown schedule: {schedule}; create_runner.schedule is '
    "'continuous_train_and_eval' or 'continuous_train'"
  )


Stopped = saver.Stopped


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
    values = {'terminal': terminal, 'observation': self._state.observation}
    arguments = {n: values[v] for n, v in self._end_episode_arguments.items()}
    self._agent.end_episode(reward, **arguments)

  def _run_one_episode(self) -> tuple[int, float]:
    """Returns the agent steps and the undiscounted return of one episode."""
    state = self._state
    if not state.in_episode:
      state.begin_episode(self._initialize_episode())
    while True:
      if self._saver.is_due():
        self._save_within_iteration()
      state.observation, reward, is_terminal = self._run_one_step(state.action)
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
        self._progress.end_episode(phase.lengths[-1], phase.returns[-1])
      phase.stop_clock()
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
    logging.info(
      'Average undiscounted return per training episode: %s',
      np.round(average_return, 2),
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
    logging.info(
      'Average undiscounted return per evaluation episode: %s',
      np.round(average_return, 2),
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
    self._summary_writer.add_figures(scalars, iteration)
    self._summary_writer.add_graph_of(self._agent)

  # The run --------------------------------------------------------------------

  @property
  def num_iterations(self) -> int:
    """Where the run ends; may be raised when it has ended."""
    return self._num_iterations

  @num_iterations.setter
  def num_iterations(self, value: int) -> None:
    self._num_iterations = value
    checks.integers(self, 0, '_num_iterations')

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
        if self._next_iteration < self._num_iterations:
          self._saver.stop_after(iteration, self._state)
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
