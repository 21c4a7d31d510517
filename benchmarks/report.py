"""Measures how long a report takes, beside reading the same logs alone.

    python benchmarks/report.py                 # 60 games, 6 agents, 5 seeds
    python benchmarks/report.py --games 5 --seeds 2

Writes folders of runs, 200 iterations of 200 episodes each, as training leaves
them (0.5 MB each), and times `python -m dopamine.analysis` on them: reading,
statistics, the page, figures and tables. The reference is Python's own
`pickle.load` of the logs, which a report cannot do without, and may not use:
it runs what a file asks for.
"""

import argparse
import json
import pathlib
import pickle
import subprocess
import sys
import tempfile
import time

import numpy as np

from dopamine.analysis import published

AGENTS = (
  'dqn',
  'rainbow',
  'quantile',
  'implicit_quantile',
  'jax_dqn',
  'jax_rainbow',
)
ITERATIONS, EPISODES = 200, 200
CONFIG = """
create_agent.agent_name = {agent!r}
create_atari_environment.game_name = {game!r}
create_atari_environment.sticky_actions = True
Runner.training_steps = 250000
"""


def write_run(folder, agent, game, level, rng):
  """Writes one run, whose returns rise to a level."""
  (folder / 'logs').mkdir(parents=True)
  config = CONFIG.format(agent=agent, game=game)
  (folder / 'operative_config.gin').write_text(config)
  lengths = [250_000 // EPISODES + 1] * EPISODES
  data = {}
  for i in range(ITERATIONS):
    mean = level * (1 - np.exp(-i / 50))
    returns = mean + rng.normal(scale=abs(level) / 10, size=EPISODES)
    data[f'iteration_{i}'] = {
      'train_episode_returns': returns.tolist(),
      'train_episode_lengths': lengths,
    }
  with open(folder / 'logs' / f'log_{ITERATIONS - 1}', 'wb') as file:
    pickle.dump(data, file, protocol=pickle.HIGHEST_PROTOCOL)


def main():
  """Writes runs, and prints two times and their ratio."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--games', type=int, default=60)
  parser.add_argument('--seeds', type=int, default=5)
  arguments = parser.parse_args()
  games = [g for g in published.games().values() if g.is_published]
  rng = np.random.default_rng(0)
  with tempfile.TemporaryDirectory() as temporary:
    root = pathlib.Path(temporary)
    for game in games[: arguments.games]:
      scale = (game.human - game.random) if game.human == game.human else 100
      for agent in AGENTS:
        for seed in range(arguments.seeds):
          folder = root / 'runs' / f'{agent}_{game.name}_{seed}'
          write_run(folder, agent, game.name, scale * rng.gamma(2, 0.5), rng)
    logs = sorted(root.glob('runs/*/logs/log_*'))
    start = time.perf_counter()
    for log in logs:
      pickle.loads(log.read_bytes())
    reading = time.perf_counter() - start
    start = time.perf_counter()
    command = [sys.executable, '-m', 'dopamine.analysis', str(root / 'runs')]
    command.append(f'--output={root}/report')
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    report = time.perf_counter() - start
    size = len(json.loads((root / 'report/report.json').read_text())['runs'])
  print(
    f'{size} runs: a report in {report:.1f} s, pickle.load of their logs alone '
    f'in {reading:.1f} s: {report / reading:.1f} x'
  )


if __name__ == '__main__':
  main()
