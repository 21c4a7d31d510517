"""Reads what is compared: folders of runs, and published curves in JSON."""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import itertools
import multiprocessing
import os
import re
from typing import Any

from absl import logging
import numpy as np

from dopamine import backend
from dopamine.analysis import naming
from dopamine.analysis import published
from dopamine.colab import utils
from dopamine.files import atomic
from dopamine.runs import run_checks
from dopamine.runs import run_record
from dopamine.settings import errors

_MANY = 50  # Runs that are worth more processes.


@dataclasses.dataclass(frozen=True)
class Run:
  """One run: one agent, one task, one seed.

  Attributes:
    path: its folder, or the file of published curves.
    agent: how it is labelled; runs of one label differ in nothing that is
      known to matter, but for seed and task.
    agent_name: as in `create_agent.agent_name`, but 'c51' and 'jax_c51'; ''
      where nobody knows.
    task: a game, 'SpaceInvaders', or an id of Gymnasium.
    seed: None where nobody knows.
    agent_steps: `[I]`, of training, up to the end of each iteration.
    train: `[I]`, mean return of the episodes of each iteration's training; NaN
      where none ended.
    eval: `[I]`, the same of evaluation.
    settings: of its operative configuration, parameter -> value as text.
    is_published: whether it was read from published curves.
  """

  path: str
  agent: str
  agent_name: str
  task: str
  seed: int | None
  agent_steps: np.ndarray
  train: np.ndarray
  eval: np.ndarray
  settings: Mapping[str, str] = dataclasses.field(default_factory=dict)
  is_published: bool = False

  def returns(self, phase: str) -> np.ndarray:
    """Those of 'train' or 'eval', `[I]`."""
    return {'train': self.train, 'eval': self.eval}[phase]

  def setting(self, name: str) -> Any:
    """The value of a parameter, by its last word; None where it is unknown."""
    return naming.setting(self.settings, name)


# Many -------------------------------------------------------------------------


def read_runs(
  paths: Sequence[str] | str, phase: str = 'train', processes: int = 1
) -> list[Run]:
  """Reads runs and published curves.

  Args:
    paths: each the folder of a run, of this library or of Dopamine 1 to 4
      (where `logs` is), or a folder above such; a folder of published curves,
      `GAME.json`, or one of these files. `AGENT=PATH` and `AGENT/TASK=PATH` say
      what a run is where its folder does not, or otherwise than it does.
    phase: 'train' or 'eval': of which the returns are compared.
    processes: how many read.

  Returns:
    The runs, labelled such that a label stands for one set of settings.

  Raises:
    ValueError: there is no run, or nothing tells which task it is of.
  """
  if phase not in ('train', 'eval'):
    raise errors.SettingError(f"phase={phase!r}: give 'train' or 'eval'")
  folders: dict[str, tuple[str, str]] = {}
  files: dict[str, str] = {}
  for text in [paths] if isinstance(paths, str | os.PathLike) else paths:
    agent, task, path = _parts(os.fspath(text))
    path = os.path.abspath(os.path.expanduser(path))
    if not os.path.exists(path):
      raise errors.SettingError(f'there is no {path}: give the folder of a run')
    found, curves_ = _below(os.path.realpath(path))
    if not found and not curves_:
      raise errors.SettingError(
        f'there is no run in {path}: a run has its statistics in logs/log_N '
        'once its first iteration is done'
      )
    for folder in found:  # Once, whatever names it; a label holds.
      folders[folder] = max((agent, task), folders.get(folder, ('', '')))
    for file in curves_:
      files[file] = max(agent, files.get(file, ''))
  words = [(folder, *names) for folder, names in folders.items()]
  runs = list(_read_all(words, processes))
  for file, label in files.items():
    runs += read_published(file, label)
  labels = naming.labels([(r.agent, r.task, r.settings) for r in runs], phase)
  return [
    dataclasses.replace(run, agent=label)
    for run, label in zip(runs, labels, strict=True)
  ]


def _read_all(
  words: Sequence[tuple[str, str, str]], processes: int
) -> Iterator[Run]:
  if processes < 2 or len(words) < _MANY:
    yield from itertools.starmap(read_run, words)
    return
  context = multiprocessing.get_context('spawn')
  with context.Pool(processes) as pool:
    yield from pool.starmap(read_run, words, chunksize=8)


def _parts(text: str) -> tuple[str, str, str]:
  """Agent, task and path of `AGENT/TASK=PATH`, '' where it does not say."""
  if os.path.exists(os.path.expanduser(text)) or '=' not in text:
    return '', '', text
  ends = [i for i, letter in enumerate(text) if letter == '=']
  paths = [text[i + 1 :] for i in ends]
  there = [p for p in paths if os.path.exists(os.path.expanduser(p))]
  path = there[0] if there else paths[0]
  agent, _, task = text.removesuffix(f'={path}').partition('/')
  return agent, task, path


def _below(path: str) -> tuple[list[str], list[str]]:
  """The folders of runs at and below a path, and files of published curves."""
  if os.path.isfile(path):
    return [], [path] if path.endswith('.json') else []
  if os.path.basename(path) == 'logs' and utils.get_latest_file(path):
    path = os.path.dirname(path)
  runs, curves_, unfinished = [], [], []
  for folder, names, files in os.walk(path, followlinks=False):
    names.sort()
    if utils.get_latest_file(os.path.join(folder, 'logs')):
      runs.append(folder)
      names.clear()
    elif 'operative_config.gin' in files:
      unfinished.append(folder)
      names.clear()
    curves_ += [
      os.path.join(folder, name)
      for name in sorted(files)
      if name.endswith('.json') and published.find_game(name[:-5])
    ]
  if unfinished:
    logging.warning(
      'Without a finished iteration, and left out: %s', ', '.join(unfinished)
    )
  return runs, curves_


# One --------------------------------------------------------------------------


def read_run(path: str, agent: str = '', task: str = '') -> Run:
  """Reads the newest log of a run, and what it says of itself.

  Args:
    path: its folder, which has `logs`.
    agent: how it is labelled; '' is what it says, or else its folder's name
      without game and numbers.
    task: '' is what it says, or else the game that its path has.

  Raises:
    ValueError: nothing tells the task, or the log is damaged.
  """
  try:
    data, _ = utils.load_statistics(os.path.join(path, 'logs'), verbose=False)
  except atomic.DamagedError as error:
    raise atomic.DamagedError(
      f'{error}: remove this file, so that an older one beside it is read; or '
      'leave the run out'
    ) from error
  settings = run_record.settings(_text(path, 'operative_config.gin'))
  settings |= _backend(path)
  train, steps = _of_phase(data, 'train')
  evaluated, _ = _of_phase(data, 'eval')
  of_path = naming.of_path(path)
  name = naming.agent_name(settings)
  # What a run says of itself decides what it is, a label how it is called.
  name = name or naming.known_agent(agent) or naming.known_agent(of_path)
  return Run(
    path=path,
    agent=naming.LABELS.get(agent, agent)
    or naming.LABELS.get(name, name)
    or of_path,
    agent_name=name,
    task=naming.canonical(task) or naming.task(settings, path),
    seed=run_checks.saved_seed(path),
    agent_steps=np.cumsum(steps),
    train=train,
    eval=evaluated,
    settings=settings,
  )


def _text(path: str, name: str) -> str:
  file = os.path.join(path, name)
  if not os.path.isfile(file):
    return ''
  return atomic.read_file(file, 10**7).decode('utf-8', 'replace')


def _backend(path: str) -> dict[str, str]:
  """TensorFlow or JAX, as a setting: they start from other weights."""
  text = _text(path, 'run.json')
  device = atomic.json_object(text, path).get('device') if text else None
  return {'backend': str(device).split(' ')[0]} if device else {}


def _of_phase(
  data: Mapping[str, Mapping[str, Sequence[float]]], phase: str
) -> tuple[np.ndarray, np.ndarray]:
  """Mean return, and agent steps, of each iteration; NaN for no episode.

  Of an iteration that is not in the log, as Dopamine left them where a log was
  lost, the steps are taken for those of the others.
  """
  pattern = re.compile(rf'{utils.ITERATION_PREFIX}(\d+)')
  numbers = [int(m[1]) for m in map(pattern.fullmatch, data) if m]
  returns = np.full(max(numbers, default=-1) + 1, np.nan)
  steps = np.full(len(returns), np.nan)
  for i in numbers:
    statistics = data[f'{utils.ITERATION_PREFIX}{i}']
    values = statistics.get(f'{phase}_episode_returns', ())
    if len(values):
      mean = np.mean(np.asarray(values, np.float64))
      returns[i] = mean if np.isfinite(mean) else np.nan
    steps[i] = np.sum(statistics.get(f'{phase}_episode_lengths', ()))
  if numbers:
    steps[np.isnan(steps)] = np.nanmean(steps)
  return returns, steps


# Published curves -------------------------------------------------------------


def read_published(path: str, label: str = '') -> list[Run]:
  """Reads `GAME.json` of Dopamine's `baselines/data`.

  Args:
    path: the file: a list of `{"Iteration", "Value", "Agent"}`, the runs of an
      agent one after the other; an iteration is 250,000 agent steps.
    label: stands before the agent's name, in place of ', published' after it.

  Raises:
    ValueError: the file holds something else, or its name is no game.
  """
  name = os.path.basename(path).removesuffix('.json')
  game = published.find_game(name)
  if game is None:
    raise errors.SettingError(
      f'{path}: there is no published game {name!r}; the files are named as in '
      'baselines/data of Dopamine, pong.json'
    )

  def name_of(agent: str) -> str:
    return f'{label} {agent}' if label else f'{agent}, published'

  found = []
  for agent, curves in utils.read_baseline(path).items():
    for curve in curves:
      iterations = np.array(sorted(curve))
      returns = np.full(iterations[-1] + 1, np.nan)
      returns[iterations] = [curve[i] for i in iterations.tolist()]
      steps = published.STEPS_PER_ITERATION * np.arange(1, len(returns) + 1)
      found.append(
        Run(
          *(path, name_of(agent), '', game.name, None),
          *(steps, returns, np.full(len(returns), np.nan)),
          is_published=True,
        )
      )
  return found


# A table ----------------------------------------------------------------------


def curves(runs: Sequence[Run]) -> Any:
  """Returns a `pandas.DataFrame` with a row for each iteration of each run.

  Its columns are agent, task, seed, iteration, agent_steps, train_return,
  eval_return and path.
  """
  pd = backend.import_extra('pandas', 'a table of runs')
  tables = [
    pd.DataFrame(
      {
        'agent': run.agent,
        'task': run.task,
        'seed': run.seed,
        'iteration': np.arange(len(run.train)),
        'agent_steps': run.agent_steps,
        'train_return': run.train,
        'eval_return': run.eval,
        'path': run.path,
      }
    )
    for run in runs
  ]
  return pd.concat(tables, ignore_index=True)
