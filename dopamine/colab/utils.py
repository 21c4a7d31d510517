"""Reads the logs of runs, old and new, and the published baselines.

Needs pandas, of the extra [viz], where a function returns a `DataFrame`.
"""

from collections.abc import Mapping, Sequence
import itertools
import json
import os
import re
from typing import Any

import numpy as np

from dopamine import backend
from dopamine.files import atomic

FILE_PREFIX = 'log'
ITERATION_PREFIX = 'iteration_'

# The games of the published baselines.
ALL_GAMES = (
  *('AirRaid', 'Alien', 'Amidar', 'Assault', 'Asterix', 'Asteroids'),
  *('Atlantis', 'BankHeist', 'BattleZone', 'BeamRider', 'Berzerk', 'Bowling'),
  *('Boxing', 'Breakout', 'Carnival', 'Centipede', 'ChopperCommand'),
  *('CrazyClimber', 'DemonAttack', 'DoubleDunk', 'ElevatorAction', 'Enduro'),
  *('FishingDerby', 'Freeway', 'Frostbite', 'Gopher', 'Gravitar', 'Hero'),
  *('IceHockey', 'Jamesbond', 'JourneyEscape', 'Kangaroo', 'Krull'),
  *('KungFuMaster', 'MontezumaRevenge', 'MsPacman', 'NameThisGame', 'Phoenix'),
  *('Pitfall', 'Pong', 'Pooyan', 'PrivateEye', 'Qbert', 'Riverraid'),
  *('RoadRunner', 'Robotank', 'Seaquest', 'Skiing', 'Solaris'),
  *('SpaceInvaders', 'StarGunner', 'Tennis', 'TimePilot', 'Tutankham'),
  *('UpNDown', 'Venture', 'VideoPinball', 'WizardOfWor', 'YarsRevenge'),
  'Zaxxon',
)


# Logs of one run --------------------------------------------------------------


def _iterations(path: str) -> list[int]:
  """The numbers of the logs in a folder, in order."""
  if not os.path.isdir(path):
    return []
  pattern = re.compile(rf'{FILE_PREFIX}_(\d+)')
  matches = map(pattern.fullmatch, os.listdir(path))
  return sorted(int(match[1]) for match in matches if match)


def get_latest_file(path: str) -> str | None:
  """Returns the path of the newest log in a folder, None if there is none."""
  iterations = _iterations(path)
  if not iterations:
    return None
  return os.path.join(path, f'{FILE_PREFIX}_{iterations[-1]}')


def get_latest_iteration(path: str) -> int:
  """Returns the number of the newest log in a folder.

  Raises:
    ValueError: there is none.
  """
  iterations = _iterations(path)
  if not iterations:
    raise ValueError(
      f'there is no {FILE_PREFIX}_N in {path}: give the folder `logs` of a run'
    )
  return iterations[-1]


def load_statistics(
  log_path: str, iteration_number: int | None = None, verbose: bool = True
) -> tuple[dict[str, dict[str, list]], int]:
  """Returns the statistics of a run and the iteration they go up to.

  Args:
    log_path: the folder `logs` of a run of this library or of Dopamine 2 or 3.
    iteration_number: of the log to read; None is the newest.
    verbose: whether the path that is read is printed.

  Returns:
    `{'iteration_0': {'train_episode_returns': [...], ...}, ...}`, and a number.

  Raises:
    ValueError: there is no log.
    FileNotFoundError: there is not this one.
    atomic.DamagedError: the file is no pickle.
    safe_pickle.RefusedError: it holds more than built-ins and NumPy values.
  """
  if iteration_number is None:
    iteration_number = get_latest_iteration(log_path)
  path = os.path.join(log_path, f'{FILE_PREFIX}_{iteration_number}')
  if verbose:
    print(f'Reading statistics from: {path}')
  return atomic.read_pickle(path), iteration_number


def summarize_data(
  data: Mapping[str, Mapping[str, Sequence[float]]], summary_keys: Sequence[str]
) -> dict[str, list[float]]:
  """Returns the mean of each key in each iteration.

  Args:
    data: what `load_statistics` returns.
    summary_keys: e.g. 'train_episode_returns'.

  Returns:
    A list per key, as long as the last iteration's number asks for. An
    iteration without the key, or with an empty list, repeats the value before;
    it is NaN if there is none.
  """
  pattern = re.compile(rf'{ITERATION_PREFIX}(\d+)')
  numbers = [int(m[1]) for m in map(pattern.fullmatch, data) if m]
  summary: dict[str, list[float]] = {key: [] for key in summary_keys}
  for iteration in range(max(numbers, default=-1) + 1):
    statistics = data.get(f'{ITERATION_PREFIX}{iteration}', {})
    for key, means in summary.items():
      values = statistics.get(key, ())
      if len(values):
        means.append(float(np.mean(values, dtype=np.float64)))
      else:
        means.append(means[-1] if means else np.nan)
  return summary


# Many runs --------------------------------------------------------------------


def read_experiment(
  log_path: str,
  parameter_set: Mapping[str, Sequence[Any]] | None = None,
  job_descriptor: str | None = '',
  iteration_number: int | None = None,
  summary_keys: Sequence[str] = (
    'train_episode_returns',
    'eval_episode_returns',
  ),
  verbose: bool = False,
):
  """Returns a table of the runs of a sweep, one row per iteration.

  Args:
    log_path: the folder above the runs.
    parameter_set: `{name: values}`; each combination is a run.
    job_descriptor: the folder of a run below `log_path`, with `{}` for the
      values in the order of the names; '' is `log_path` itself, None is
      `name_value-name_value`.
    iteration_number: of the logs to read; None is each run's newest.
    summary_keys: of which the means are taken. A key that no iteration of any
      run has (`eval_...`, where a file only trains) gets no column.
    verbose: whether the paths are printed.

  Returns:
    A `pandas.DataFrame` with a column for each parameter, `iteration`, and one
    for each key.

  Raises:
    ImportError: pandas is not installed.
  """
  pd = backend.import_extra('pandas', 'a table of runs')
  parameters = dict(parameter_set or {})
  rows: list[dict[str, Any]] = []
  found: set[str] = set()
  for values in itertools.product(*parameters.values()):
    if job_descriptor is None:
      pairs = zip(parameters, values, strict=True)
      name = '-'.join(f'{key}_{value}' for key, value in pairs)
    else:
      name = job_descriptor.format(*values)
    data, _ = load_statistics(
      os.path.join(log_path, name, 'logs'), iteration_number, verbose
    )
    found |= {key for statistics in data.values() for key in statistics}
    summary = summarize_data(data, summary_keys)
    setting = dict(zip(parameters, values, strict=True))
    length = max(map(len, summary.values()), default=0)
    for i in range(length):
      figures = {key: means[i] for key, means in summary.items()}
      rows.append(setting | {'iteration': i} | figures)
  columns = [*parameters, 'iteration', *(k for k in summary_keys if k in found)]
  return pd.DataFrame(rows, columns=columns)


# The published baselines ------------------------------------------------------


def load_baselines(base_dir: str, verbose: bool = False) -> dict[str, Any]:
  """Returns the published curves as `{game: pandas.DataFrame}`.

  Args:
    base_dir: `baselines/data` of Dopamine (later `baselines/atari/data`), which
      holds `{game}.json`: lists of `{"Iteration", "Value", "Agent"}`, the runs
      of an agent one after the other.
    verbose: whether the games that are not there are printed.

  Returns:
    Tables with the columns `iteration`, `train_episode_returns`, `agent` and
    `run_number`, by game as in `ALL_GAMES`.

  Raises:
    ValueError: there are none.
    atomic.DamagedError: a file holds something else.
  """
  tables = {}
  for game in ALL_GAMES:
    table = _table(os.path.join(base_dir, f'{game.lower()}.json'))
    if table is not None:
      tables[game] = table
    elif verbose:
      print(f'There are no baselines for {game} in {base_dir}')
  if not tables:
    raise ValueError(
      f'there is no GAME.json in {base_dir}: give the folder baselines/data of '
      'Dopamine (its GAME.pkl are pickled tables, which run code when they are '
      'read)'
    )
  return tables


def _table(path: str):
  """The curves of one game, None if there is no such file."""
  pd = backend.import_extra('pandas', 'a table of runs')
  if not os.path.exists(path):
    return None
  rows = [
    (iteration, value, agent, number)
    for agent, curves in read_baseline(path).items()
    for number, curve in enumerate(curves, 1)
    for iteration, value in curve.items()
  ]
  columns = ['iteration', 'train_episode_returns', 'agent', 'run_number']
  return pd.DataFrame(rows, columns=columns)


def read_baseline(path: str) -> dict[str, list[dict[int, float]]]:
  """Returns the published curves of a game, agent -> runs.

  Args:
    path: `GAME.json`, see `load_baselines`.

  Returns:
    Of each run iteration -> mean training return.

  Raises:
    atomic.DamagedError: the file holds something else.
  """
  # Runs have no number: one begins where an iteration comes again.
  runs: dict[str, list[dict[int, float]]] = {}
  with open(path, encoding='utf-8') as file:
    try:
      for point in json.load(file):
        agent, iteration = str(point['Agent']), int(point['Iteration'])
        of_agent = runs.setdefault(agent, [{}])
        if iteration in of_agent[-1]:
          of_agent.append({})
        of_agent[-1][iteration] = float(point['Value'])
    except (KeyError, RecursionError, TypeError, ValueError) as error:
      raise atomic.DamagedError(
        f'{path} is no list of Iteration, Value and Agent ({error!r})'
      ) from error
  return runs
