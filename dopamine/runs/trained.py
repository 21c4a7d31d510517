"""What a run has trained: its agent, to play with and to look at.

agent = load_agent('/tmp/dqn_pong')
observation = agent.environment.reset()
agent.begin_episode()
agent.q_values(observation)   # [A]
agent.act(observation)
"""

from collections.abc import Callable, Sequence
import contextlib
import os
import re
from typing import Any, NamedTuple, Self

from absl import logging
import numpy as np

from dopamine import safe_pickle
from dopamine import seams
from dopamine.discrete_domains import checkpointer
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from dopamine.files import atomic
from dopamine.runs import checkpoints
from dopamine.runs import progress
from dopamine.runs import run_record
from dopamine.runs import saver
from dopamine.settings import errors
from dopamine.settings import gin_files as gin_settings

# The agent stores nothing: its replay memory need not hold anything. But for a
# window of `update_horizon` there is room.
BINDINGS = tuple(
  f'dopamine.replay_memory.{module}_replay_buffer.{name}.replay_capacity = 9999'
  for module, name in (
    ('circular', 'OutOfGraphReplayBuffer'),
    ('circular', 'WrappedReplayBuffer'),
    ('prioritized', 'OutOfGraphPrioritizedReplayBuffer'),
    ('prioritized', 'WrappedPrioritizedReplayBuffer'),
  )
)


class Evaluation(run_experiment.Runner):
  """A Runner that only evaluates, with what gin binds for `Runner`.

  It has no folder, and saves nothing.
  """

  def __init__(
    self,
    checkpoint: str,
    create_agent_fn: Callable | None = None,
    create_environment_fn: Callable | None = None,
  ):
    """Makes agent and environment, and loads the weights.

    Args:
      checkpoint: see `find_weights`.
      create_agent_fn: see `run.Run`; None is what gin binds for `Runner`, or
        else what the commands have.
      create_environment_fn: see there; None is as above.

    Raises:
      FileNotFoundError: there are no weights.
      ValueError: they do not fit the agent; names the variable.
    """
    self.path = find_weights(checkpoint)
    makers = {
      'create_agent_fn': create_agent_fn,
      'create_environment_fn': create_environment_fn,
    }
    makers = {name: made for name, made in makers.items() if made is not None}
    bound = gin_settings.bound_values(run_experiment.Runner)
    if 'create_agent_fn' not in bound:
      makers.setdefault('create_agent_fn', run_experiment.create_agent)
    super().__init__('', **makers)

  @property
  def partners(self) -> tuple[Any, Any, int]:
    """The agent, the environment, and the seed of both."""
    return self._agent, self._environment, self._seed

  def _take_folder(self) -> saver.NoSaver:  # type: ignore[override]
    self._logger = self._summary_writer = None  # type: ignore[assignment]
    return saver.NoSaver()

  def _initialize_checkpointer_and_maybe_resume(
    self, checkpoint_file_prefix: str
  ) -> None:
    """Loads weights and attributes, in place of a checkpoint."""
    self._load_weights()
    if self._agent.bundles_attributes:
      self._agent.take_attributes(self._bundle_of(checkpoint_file_prefix))
    self._agent.eval_mode = True
    self._start_iteration = 0

  def _bundle_of(self, prefix: str) -> dict[str, Any]:
    """The pickle beside the weights; nothing if that is not there."""
    folder, name = os.path.split(self.path)
    if match := re.fullmatch(r'weights_ckpt\.(\d+)\.npz', name):
      path = os.path.join(folder, f'{prefix}.{match[1]}')
      if os.path.isfile(path):
        try:
          return atomic.read_pickle(path)
        except (atomic.DamagedError, safe_pickle.RefusedError) as error:
          logging.warning('The weights alone are taken: %s', error)
    return {}

  def _load_weights(self) -> None:
    self._agent.load_weights(self.path)

  def _report(self) -> None:
    """Says what is evaluated."""
    print(
      f'Evaluating {self.path} with {self._agent.__class__.__name__} in '
      f'{self._environment}, seed {self._seed}',
      flush=True,
    )

  def run(self, num_episodes: int) -> list[Any]:
    """Returns the undiscounted, unclipped returns of episodes.

    They are floats; where rewards are arrays, arrays of float64.
    """
    self._state.begin_phase('eval')
    try:
      episodes = [
        self._run_one_episode()
        for _ in progress.track(range(num_episodes), 'Episodes')
      ]
    finally:
      self._close()
    return [gym_lib.as_float64(value) for _, value in episodes]


def find_weights(checkpoint: str) -> str:
  """Returns the path of a file of weights.

  Args:
    checkpoint: the file `weights_ckpt.N.npz`, or a folder of checkpoints, or
      one of a run, of which the newest is taken, after an iteration or within
      one, or the one that gin binds to
      `get_latest_checkpoint_number.override_number`; or of Dopamine 1 to 3
      `tf_ckpt-N`, `ckpt.N` of a JAX agent, or a folder of such, complete or
      not.

  Raises:
    FileNotFoundError: there is none.
  """
  old_weights = seams.compat('old_weights')  # Loads Keras.
  # Absolute, because an environment may change the working folder.
  path = checkpoint and os.path.abspath(os.path.expanduser(checkpoint))
  if os.path.isdir(os.path.join(path, 'checkpoints')):  # Of a whole run.
    path = os.path.join(path, 'checkpoints')
  if os.path.isdir(path):
    folder, find = path, checkpointer.get_latest_checkpoint_number
    chosen = gin_settings.bound_values(find).get('override_number')
    newest = _newest(folder) if chosen is None else None
    if (number := find(folder)) < 0 and chosen is None:
      number = 'N'
    path = newest or os.path.join(folder, f'weights_ckpt.{number}.npz')
    if old_weights and not os.path.isfile(path):
      path = old_weights.latest(folder, chosen) or path
  is_old = old_weights and old_weights.is_tensorflow(path)
  if not (os.path.isfile(path) or is_old):
    raise errors.MissingFileError(
      f'the checkpoint {checkpoint!r} has no weights (there is no {path}): '
      'give a file weights_ckpt.N.npz, tf_ckpt-N or ckpt.N, or the folder '
      'checkpoints of a run'
    )
  return path


def _newest(folder: str) -> str | None:
  """The path of the newest weights, those within an iteration included."""
  for place in reversed(checkpoints.RunCheckpoints(folder).places()):
    name = f'weights_ckpt.{place.number}.npz'
    path = os.path.join(place.checkpointer.directory, name)
    if os.path.isfile(path):
      return path
  return None


def configuration(
  run_dir: str, gin_files: Sequence[str] = (), gin_bindings: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
  """The gin files and bindings of a run, with others on top.

  Args:
    run_dir: where it has kept its own. A run of Dopamine 1 to 3 has not.
    gin_files: are read after those.
    gin_bindings: come last.

  Raises:
    FileNotFoundError: it has kept none, and none are given.
  """
  run_dir = os.path.abspath(os.path.expanduser(run_dir))
  path = os.path.join(run_dir, 'operative_config.gin')
  if not os.path.isfile(path):
    if gin_files or gin_bindings:
      return [*gin_files], [*gin_bindings]
    raise errors.MissingFileError(
      f'{run_dir} holds no settings (there is no {path}): give the folder of a '
      'run, or the gin files that it was trained with (--gin_files, or '
      'gin_files= of load_agent)'
    )
  with open(path, encoding='utf-8') as file:
    settings = run_record.settings(file.read())
  # Where it once went on from says nothing of what is its newest.
  bindings = ['get_latest_checkpoint_number.override_number = None']
  for name, value in settings.items():
    # What is played is a Runner. To a TrainRunner, None is what that has.
    if name.startswith('TrainRunner.') and value != 'None':
      bindings.append(name.removeprefix('Train') + f' = {value}')
  return [path, *gin_files], [*bindings, *gin_bindings]


class Distribution(NamedTuple):
  """The return of each action.

  Attributes:
    values: `[A, N]`, or `[B, A, N]` of several states.
    probabilities: of the values.
  """

  values: np.ndarray
  probabilities: np.ndarray


class TrainedAgent:
  """Plays, and says what it thinks; it learns nothing.

  Where a method takes an observation it means the state that the agent is in
  once it sees that, after those that `act` was given in this episode. A whole
  state `[*observation_shape, stack_size]`, and several of them `[B, ...]`, are
  taken as they are.

  An environment that writes each observation into the same array has to give
  copies of it.

  Attributes:
    agent: what it is, in evaluation: weights, and attributes of its own that
      the checkpoint holds.
    environment: of the run, made anew.
    path: of the weights.
    seed: of both.
  """

  def __init__(self, evaluation: Evaluation):
    self._evaluation = evaluation
    self._settings = gin_settings.Settings()
    self.agent, self.environment, self.seed = evaluation.partners
    self.path = evaluation.path
    self.begin_episode()

  def __repr__(self):
    return f'TrainedAgent({self.agent.__class__.__name__}, {self.path!r})'

  def settings(self) -> contextlib.AbstractContextManager[None]:
    """Inside, gin has the settings of the run, and not the caller's.

    An environment that asks gin while it plays is to be reset and stepped
    inside. The methods here do so themselves.
    """
    return gin_settings.set_aside(settings=self._settings)

  def begin_episode(self) -> None:
    """Forgets what was seen."""
    self._seen: Any = None

  def close(self) -> None:
    """Closes the environment; may be called twice."""
    self._evaluation.close()

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *unused_error: Any) -> None:
    self.close()

  def act(self, observation: Any) -> Any:
    """Returns the next action, epsilon-greedy as in evaluation.

    Args:
      observation: the one that followed the last action, or the first of an
        episode.
    """
    is_first, self._seen = self._seen is None, observation
    with self.settings():
      if is_first:
        return self.agent.begin_episode(observation)
      return self.agent.step(0.0, observation)

  def q_values(self, observation: Any) -> np.ndarray:
    """Returns Q(s, .), `[A]`, or `[B, A]` of several states."""
    with self.settings():
      states, is_one = self._states(observation)
      found = self.agent.predict_q_values(states)
    return found[0] if is_one else found

  def distribution(self, observation: Any) -> Distribution | None:
    """Returns the return's distribution, None if the agent has none."""
    with self.settings():
      states, is_one = self._states(observation)
      found = self.agent.predict_distribution(states)
    if found is None:
      return None
    return Distribution(*(x[0] for x in found) if is_one else found)

  def _states(self, observation: Any) -> tuple[np.ndarray, bool]:
    """The states that are meant, `[B, ...]`, and whether it is only one."""
    from dopamine.agents import reporting  # Loads Keras.

    agent = self.agent
    if not isinstance(agent, reporting.ReportingAgent):
      raise errors.InterfaceError(
        f'{agent.__class__.__name__} does not say what it thinks: derive it '
        'from DQNAgent, or ask it itself (load_agent(...).agent)'
      )
    shape = *agent.observation_shape, agent.stack_size
    array = np.asarray(observation)
    if array.shape == shape:
      return array[None], True
    if array.shape[1:] == shape:
      return array, False
    if observation is self._seen:
      state = np.reshape(agent.state, (1, *shape))
      recorded = np.ravel(array).astype(state.dtype)
      if np.array_equal(np.ravel(state[0, ..., -1]), recorded):
        return state.copy(), True
    return agent.state_after(observation, self._seen is None), True


def load_agent(
  run_dir: str | os.PathLike,
  checkpoint: int | str | os.PathLike | None = None,
  gin_files: Sequence[str] = (),
  gin_bindings: Sequence[str] = (),
  create_agent_fn: Callable | None = None,
  create_environment_fn: Callable | None = None,
) -> TrainedAgent:
  """Returns the agent of a run, with the run's own settings.

  gin's settings in this process stay what they are. The backend is Keras's, one
  per process; weights of either fit both.

  Args:
    run_dir: the `base_dir` of a run.
    checkpoint: an iteration, or a path that `find_weights` takes; None is the
      newest, after an iteration or within one.
    gin_files: for a run that has kept no settings, as those of Dopamine 1 to 3;
      otherwise they come on top.
    gin_bindings: further statements, which override all files. The seed is
      that of the settings, or a fresh one: `'Runner.seed = 1'` sets it.
    create_agent_fn: what a program gave its Runner, if not by gin.
    create_environment_fn: what a program gave its Runner, if not by gin.

  Raises:
    FileNotFoundError: there are no settings, or no weights.
    ValueError: the weights do not fit the agent; names the variable.
  """
  run_dir = os.path.abspath(os.path.expanduser(os.fspath(run_dir)))
  files, bindings = configuration(run_dir, gin_files, gin_bindings)
  weights = weights_of(run_dir, checkpoint)
  with gin_settings.set_aside():
    run_experiment.load_gin_configs(files, [*bindings, *BINDINGS])
    return TrainedAgent(
      _Silent(weights, create_agent_fn, create_environment_fn)
    )


class _Silent(Evaluation):
  def _report(self) -> None: ...


def weights_of(run_dir: str, checkpoint: int | str | os.PathLike | None) -> str:
  """Returns what `find_weights` takes.

  Args:
    run_dir: of the run.
    checkpoint: an iteration of it, also as a text; or a path; None is the
      newest.
  """
  if checkpoint is None:
    return run_dir
  is_number = isinstance(checkpoint, int | np.integer)
  text = str(checkpoint) if is_number else os.fspath(checkpoint)
  return _of_iteration(run_dir, int(text)) if text.isdecimal() else text


def _of_iteration(run_dir: str, number: int) -> str:
  """The path of an iteration's weights, ours or those of before."""
  folder = os.path.join(run_dir, 'checkpoints')
  folder = folder if os.path.isdir(folder) else run_dir
  names = f'weights_ckpt.{number}.npz', f'tf_ckpt-{number}', f'ckpt.{number}'
  paths = [os.path.join(folder, name) for name in names]
  found = [
    p for p in paths if os.path.isfile(p) or os.path.isfile(f'{p}.index')
  ]
  return (found or paths)[0]
