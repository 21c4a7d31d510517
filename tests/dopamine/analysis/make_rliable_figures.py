"""Makes `rliable_figures.json`, what another implementation says of scores.

    python3.11 -m venv /tmp/rliable
    /tmp/rliable/bin/pip install rliable==1.2.0 'arch>=7,<8' 'pandas>=2,<3'
    /tmp/rliable/bin/python tests/dopamine/analysis/make_rliable_figures.py

rliable is that of the authors of Agarwal et al. (2021); neither it nor arch 7
can be installed beside pandas 3, so its figures are kept, with the scores that
they are of and the versions that made them.
"""

import importlib.metadata
import json
import pathlib

import numpy as np
from rliable import library
from rliable import metrics

PATH = pathlib.Path(__file__).with_name('rliable_figures.json')
REPETITIONS = 5000
PACKAGES = 'rliable', 'arch', 'numpy', 'pandas', 'scipy'
AGGREGATES = {
  'Median': metrics.aggregate_median,
  'IQM': metrics.aggregate_iqm,
  'Mean': metrics.aggregate_mean,
  'Optimality gap': metrics.aggregate_optimality_gap,
}


def make_scores():
  """Skewed scores of games that differ; 5, 3 and 10 runs of 9 games."""
  rng = np.random.default_rng(2021)
  level = rng.uniform(0.1, 3, size=9)
  return {
    name: np.round(level * factor * rng.gamma(3, 1 / 3, size=(runs, 9)), 3)
    for name, runs, factor in (('A', 5, 1.0), ('B', 3, 1.3), ('C', 10, 0.9))
  }


def main():
  """Writes the figures."""
  scores = make_scores()
  scores['C'][:, 3] = scores['C'][0, 3]  # Ties.
  scores['A'][:, 3] = scores['C'][0, 3]
  rng = np.random.RandomState(1)
  found = {'aggregates': {}, 'improvement': {}}
  for name, aggregate in AGGREGATES.items():
    points, intervals = library.get_interval_estimates(
      scores,
      lambda x, f=aggregate: np.array([f(x)]),
      reps=REPETITIONS,
      random_state=rng,
    )
    found['aggregates'][name] = {
      agent: [float(points[agent][0]), *map(float, intervals[agent][:, 0])]
      for agent in scores
    }
  thresholds = np.linspace(0, 5, 21)
  profiles, intervals = library.create_performance_profile(
    scores, thresholds, reps=REPETITIONS
  )
  found['thresholds'] = thresholds.tolist()
  found['profiles'] = {
    agent: [profiles[agent].tolist(), *intervals[agent].tolist()]
    for agent in scores
  }
  pairs = {
    f'{x},{y}': (scores[x], scores[y])
    for x, y in (('A', 'B'), ('A', 'C'), ('B', 'C'))
  }
  points, intervals = library.get_interval_estimates(
    pairs,
    metrics.probability_of_improvement,
    reps=REPETITIONS,
    random_state=rng,
  )
  found['improvement'] = {
    pair: [float(points[pair]), *map(float, intervals[pair].ravel())]
    for pair in pairs
  }
  found['scores'] = {agent: array.tolist() for agent, array in scores.items()}
  found['repetitions'] = REPETITIONS
  found['versions'] = {p: importlib.metadata.version(p) for p in PACKAGES}
  PATH.write_text(json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
  main()
