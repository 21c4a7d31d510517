r"""Evaluates trained weights: `python -m dopamine.discrete_domains.evaluate`.

    python -m dopamine.discrete_domains.evaluate \
      --checkpoint=/tmp/dqn_pong/checkpoints \
      --gin_files=dopamine/agents/dqn/configs/dqn.gin --episodes=30

plays whole episodes as the evaluation phase of a run does, and prints their
returns. Nothing of the run is needed but its weights, and nothing is written.
Where the run has kept its settings,

    python -m dopamine.discrete_domains.evaluate --base_dir=/tmp/dqn_pong

needs no gin files; those that are given come on top.
"""

from collections.abc import Sequence
from typing import Any

from absl import flags
import numpy as np

from dopamine import command_line
from dopamine import signals
from dopamine.discrete_domains import run_experiment
from dopamine.runs import trained

Evaluation = trained.Evaluation
find_weights = trained.find_weights


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


def print_returns(returns: Sequence[Any]) -> None:
  """Prints those of episodes; each number of an array reward by itself."""
  for values in np.reshape(returns, (len(returns), -1)).T.tolist():
    print(*(f'{value:g}' for value in values))
    print(describe(values), flush=True)


def main(argv: Sequence[str]) -> None:
  """Evaluates what the flags name; a mistake ends with a paragraph."""
  command_line.carry_out(argv, _evaluate)


def _evaluate() -> None:
  checkpoint, run_dir = flags.FLAGS.checkpoint, flags.FLAGS.base_dir
  files, bindings = flags.FLAGS.gin_files, command_line.gin_bindings()
  if run_dir:
    checkpoint = trained.weights_of(run_dir, checkpoint or None)
    files, own = trained.configuration(run_dir, files)
    bindings = [*own, *bindings]
  else:
    command_line.require('checkpoint', '/tmp/dqn_pong/checkpoints')
    command_line.require_gin()
  run_experiment.load_gin_configs(files, [*bindings, *trained.BINDINGS])
  with signals.interrupting(), Evaluation(checkpoint) as evaluation:
    returns = evaluation.run(flags.FLAGS.episodes)
  print_returns(returns)


if __name__ == '__main__':
  command_line.define_gin_flags()
  flags.DEFINE_string(
    'checkpoint',
    None,
    'A file weights_ckpt.N.npz, tf_ckpt-N or ckpt.N, a folder of such, or one '
    'of a run; with --base_dir the number of an iteration too.',
  )
  flags.DEFINE_string(
    'base_dir',
    None,
    'The folder of a run, whose settings and newest checkpoint are taken.',
  )
  flags.DEFINE_integer('episodes', 30, 'How many to play.', lower_bound=1)
  command_line.run(main)
