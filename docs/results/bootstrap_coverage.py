"""How often a bootstrap interval of few runs holds the true mean.

    python docs/results/bootstrap_coverage.py

Normal scores, the same deviation on each game; the mean of all runs and games,
with the 95 % percentile interval of the stratified bootstrap. Takes a minute.
"""

import numpy as np

from dopamine.analysis import statistics

GAMES, RUNS, REPETITIONS = (1, 10, 55), (2, 3, 5, 10, 20), 1000


def coverage(games, runs):
  """The share of intervals that hold the true mean, 0."""
  rng = np.random.default_rng(games + 100 * runs)
  inside = 0
  for seed in range(REPETITIONS):
    scores = rng.normal(size=(runs, games))
    found = statistics.interval(
      scores, statistics.mean, repetitions=500, seed=seed
    )
    inside += found.low <= 0 <= found.high
  return inside / REPETITIONS


def main():
  """Prints a table in Markdown."""
  header = ' | '.join(f'{runs} runs' for runs in RUNS)
  print(f'| games | {header} |')
  print('|---' * (1 + len(RUNS)) + '|')
  for games in GAMES:
    cells = ' | '.join(f'{coverage(games, runs):.2f}' for runs in RUNS)
    print(f'| {games} | {cells} |')


if __name__ == '__main__':
  main()
