r"""Evaluates trained weights: `python -m dopamine.discrete_domains.evaluate`.

    python -m dopamine.discrete_domains.evaluate \
      --checkpoint=/tmp/dqn_pong/checkpoints \
      --gin_files=dopamine/agents/dqn/configs/dqn.gin --episodes=30

plays whole episodes as the evaluation phase of a run does, and prints their
returns. Nothing of the run is needed but its weights, and nothing is written.
"""

from collections.abc import Sequence
import os
from typing import Any

from absl import flags
import numpy as np

from dopamine import command_line
from dopamine import seams
from dopamine import signals
from dopamine.discrete_domains import checkpointer
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from dopamine.runs import progress
from dopamine.runs import saver
from dopamine.settings import errors
from dopamine.settings import gin_files

# The agent stores nothing: its replay memory need not hold anything.
_BINDINGS = tuple(
  f'{name}.replay_capacity = 1000'
  for name in (
    'OutOfGraphReplayBuffer',
    'OutOfGraphPrioritizedReplayBuffer',
    'WrappedReplayBuffer',
    'WrappedPrioritizedReplayBuffer',
  )
)


class Evaluation(run_experiment.Runner):
  """A Runner that only evaluates, with what gin binds for `Runner`.

  It has no folder, and saves nothing.
  """

  def __init__(self, checkpoint: str):
    """Makes agent and environment, and loads the weights.

    Args:
      checkpoint: see `find_weights`.

    Raises:
      FileNotFoundError: there are no weights.
      ValueError: they do not fit the agent; names the variable.
    """
    self._path = find_weights(checkpoint)
    super().__init__('', run_experiment.create_agent)

  def _take_folder(self) -> saver.NoSaver:  # type: ignore[override]
    self._logger = self._summary_writer = None  # type: ignore[assignment]
    return saver.NoSaver()

  def _initialize_checkpointer_and_maybe_resume(
    self, checkpoint_file_prefix: str
  ) -> None:
    """Loads the weights, in place of a checkpoint."""
    self._agent.load_weights(self._path)
    self._agent.eval_mode = True
    self._start_iteration = 0

  def _report(self) -> None:
    """Says what is evaluated."""
    print(
      f'Evaluating {self._path} with {self._agent.__class__.__name__} in '
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
      one of a run, of which the newest complete one is taken, or the one that
      gin binds to `get_latest_checkpoint_number.override_number`; or of
      Dopamine 1 to 3 `tf_ckpt-N`, `ckpt.N` of a JAX agent, or a folder of such,
      complete or not.

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
    number = find(folder)
    chosen = gin_files.bound_values(find).get('override_number')
    has_none = number < 0 and chosen is None
    name = f'weights_ckpt.{"N" if has_none else number}.npz'
    path = os.path.join(folder, name)
    if old_weights and not os.path.isfile(path):
      path = old_weights.latest(folder, chosen) or path
  is_old = old_weights and old_weights.is_tensorflow(path)
  if not (os.path.isfile(path) or is_old):
    raise errors.MissingFileError(
      f'--checkpoint={checkpoint} has no weights (there is no {path}): give a '
      'file weights_ckpt.N.npz, tf_ckpt-N or ckpt.N, or the folder checkpoints '
      'of a run'
    )
  return path


def confidence_interval(
  returns: list[float], level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
  """Returns the bootstrap percentile interval of the mean.

  Efron and Tibshirani (1993), chapter 13, with 10,000 resamples.

  Args:
    returns: at least one.
    level: the probability that it is to hold.
    seed: of the resampling.
  """
  values = np.asarray(returns, np.float64)
  rng = np.random.default_rng(seed)
  means = [rng.choice(values, len(values)).mean() for _ in range(10_000)]
  tail = (1 - level) / 2
  low, high = np.quantile(means, (tail, 1 - tail))
  return float(low), float(high)


def describe(returns: list[float]) -> str:
  """Returns one line on the returns of some episodes."""
  mean = float(np.mean(returns, dtype=np.float64))
  if len(returns) == 1:
    return f'Return of 1 episode: {mean:g}'
  low, high = confidence_interval(returns)
  return (
    f'Mean return of {len(returns)} episodes: {mean:.2f} (95 % confidence '
    f'interval {low:.2f} to {high:.2f}; median {np.median(returns):g}, from '
    f'{min(returns):g} to {max(returns):g})'
  )


def main(argv: Sequence[str]) -> None:
  """Evaluates what the flags name; a mistake ends with a paragraph."""
  command_line.check_words(argv)
  with signals.handled():
    try:
      with command_line.explaining_mistakes():
        _evaluate()
    except KeyboardInterrupt:
      signals.end('\nStopped.\n', signals.INTERRUPTED)
    signals.settle(0)


def _evaluate() -> None:
  checkpoint = command_line.require('checkpoint', '/tmp/dqn_pong/checkpoints')
  command_line.require_gin()
  bindings = [*command_line.gin_bindings(), *_BINDINGS]
  run_experiment.load_gin_configs(flags.FLAGS.gin_files, bindings)
  with signals.interrupting(), Evaluation(checkpoint) as evaluation:
    returns = evaluation.run(flags.FLAGS.episodes)
  # Each number of an array reward by itself.
  for values in np.reshape(returns, (len(returns), -1)).T.tolist():
    print(*(f'{value:g}' for value in values))
    print(describe(values), flush=True)


if __name__ == '__main__':
  command_line.define_gin_flags()
  flags.DEFINE_string(
    'checkpoint',
    None,
    'A file weights_ckpt.N.npz, tf_ckpt-N or ckpt.N, a folder of such, or one '
    'of a run.',
  )
  flags.DEFINE_integer('episodes', 30, 'How many to play.', lower_bound=1)
  command_line.run(main)
