"""Reads what is compared: folders of runs, and published curves in JSON."""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
import dataclasses
import itertools
import multiprocessing
import os
import re
from typing import Any

import numpy as np

from dopamine.analysis import published
from dopamine.colab import utils
from dopamine.files import atomic
from dopamine.runs import run_record
from dopamine.settings import errors

LABELS = {
  'dqn': 'DQN',
  'c51': 'C51',
  'rainbow': 'Rainbow',
  'full_rainbow': 'Full Rainbow',
  'quantile': 'QR-DQN',
  'implicit_quantile': 'IQN',
}
LABELS |= {f'jax_{name}': f'{label} (JAX)' for name, label in LABELS.items()}

_MANY = 50  # Runs that are worth more processes.

# Settings that do not change what is learnt; games are compared apart.
_NO_MATTER = re.compile(
  r'(.*\.)?(seed|game_name|environment_name|version|num_iterations|tf_device|'
  r'allow_\w+|checkpoint_\w+|log_\w+|logging_\w+|live_figures|keep_videos|'
  r'record_video_every|debug_mode|summary_\w+|max_tf_checkpoints_to_keep|'
  r'eval_mode|use_staging|wrapped_memory|render_mode|create_environment_fn)'
)
# Those that only evaluation knows.
_OF_EVALUATION = re.compile(r'(.*\.)?(evaluation_steps|epsilon_eval|schedule)')


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
    """The value of a parameter, by its last word; None where it is unknown.

    Where several have this name, the one of the agent counts.
    """
    found = {
      owner: text
      for key, text in self.settings.items()
      for owner, _, last in [key.rpartition('.')]
      if last == name
    }
    if not found:
      return None
    return literal(
      next((v for k, v in found.items() if 'Agent' in k), None)
      or next(iter(found.values()))
    )


def literal(text: str) -> Any:
  """The value of a text; the text itself of a reference."""
  try:
    return ast.literal_eval(text)
  except (SyntaxError, ValueError):
    return text


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
  found: list[Run] = []
  folders: dict[str, tuple[str, str]] = {}
  for text in [paths] if isinstance(paths, str | os.PathLike) else paths:
    agent, task, path = _parts(os.fspath(text))
    path = os.path.abspath(os.path.expanduser(path))
    if not os.path.exists(path):
      raise errors.SettingError(f'there is no {path}: give the folder of a run')
    if files := _published_files(path):
      found += [run for f in files for run in read_published(f, agent)]
      continue
    below = list(_folders(path))
    if not below:
      raise errors.SettingError(
        f'there is no run in {path}: a run has its statistics in logs/log_N '
        'once its first iteration is done'
      )
    for folder in below:  # Once, whatever names it.
      folders.setdefault(folder, (agent, task))
  words = [(folder, *names) for folder, names in folders.items()]
  return _labelled([*_read_all(words, processes), *found], phase)


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
  name, equals, path = text.partition('=')
  if not equals or os.path.exists(text):
    return '', '', text
  agent, _, task = name.partition('/')
  return agent, task, path


def _folders(path: str) -> Iterator[str]:
  """The folders of runs at and below a path, in order."""
  path = os.path.realpath(path)
  if os.path.basename(path) == 'logs' and utils.get_latest_file(path):
    path = os.path.dirname(path)
  for folder, names, _ in os.walk(path, followlinks=False):
    names.sort()
    if utils.get_latest_file(os.path.join(folder, 'logs')):
      yield folder
      names.clear()


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
  data, _ = utils.load_statistics(os.path.join(path, 'logs'), verbose=False)
  settings = run_record.settings(_text(path, 'operative_config.gin'))
  settings |= _backend(path)
  train, steps = _of_phase(data, 'train')
  evaluated, _ = _of_phase(data, 'eval')
  run = Run(
    *(path, '', '', '', _seed(path)),
    *(np.cumsum(steps), train, evaluated, settings),
  )
  name = _known(agent) or _agent_name(run) or _known(_of_path(path))
  return dataclasses.replace(
    run,
    agent=agent or LABELS.get(name, name) or _of_path(path),
    agent_name=name,
    task=_canonical(task) or _task(run),
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


def _seed(path: str) -> int | None:
  text = _text(path, 'seed.json')
  seed = atomic.json_object(text, path).get('seed') if text[:1] == '{' else text
  return int(str(seed)) if str(seed).isdecimal() else None


def _of_phase(
  data: Mapping[str, Mapping[str, Sequence[float]]], phase: str
) -> tuple[np.ndarray, np.ndarray]:
  """Mean return, and agent steps, of each iteration; NaN for no episode."""
  pattern = re.compile(rf'{utils.ITERATION_PREFIX}(\d+)')
  numbers = [int(m[1]) for m in map(pattern.fullmatch, data) if m]
  returns = np.full(max(numbers, default=-1) + 1, np.nan)
  steps = np.full(len(returns), np.nan)
  for i in numbers:
    statistics = data[f'{utils.ITERATION_PREFIX}{i}']
    values = statistics.get(f'{phase}_episode_returns', ())
    if len(values):
      returns[i] = np.mean(np.asarray(values, np.float64))
    steps[i] = np.sum(statistics.get(f'{phase}_episode_lengths', ()))
  return returns, steps


def _last(settings: Mapping[str, str], name: str) -> str | None:
  """The value of the parameter that ends with a name."""
  return next(
    (v for k, v in settings.items() if f'.{k}'.endswith(f'.{name}')), None
  )


def _agent_name(run: Run) -> str:
  settings = run.settings
  made = _last(settings, 'create_agent_fn')
  text = _last(settings, 'create_agent.agent_name')
  if text is None or (made and not made.endswith('create_agent')):
    text = made
  if text in (None, 'None'):
    return ''
  name = _referred(str(literal(text)))
  if name.removeprefix('jax_') == 'rainbow' and _is_c51(run):
    return name.replace('rainbow', 'c51')
  return name


def _referred(text: str) -> str:
  """The name in a reference of gin, '@module.Name()'; any other text as it is.

  >>> _referred('@mine.MyAgent')
  'MyAgent'
  """
  if not text.startswith('@'):
    return text
  return text.removesuffix('()').rpartition('.')[-1].lstrip('@')


def _is_c51(run: Run) -> bool:
  """Whether it is Rainbow without what Rainbow adds."""
  return (
    run.setting('update_horizon') == 1
    and run.setting('replay_scheme') == 'uniform'
  )


def _of_path(path: str) -> str:
  """The first folder from below that is called more than a game and numbers.

  >>> _of_path('/data/rainbow/Pong/seed_1')
  'rainbow'
  >>> _of_path('/data/rainbow_Pong_1')
  'rainbow'
  """
  for part in reversed(path.split(os.sep)):
    words = [
      word
      for word in re.split(r'[-_. ]', part)
      if word not in ('', 'seed', 'run', 'runs')
      and not word.isdecimal()
      and not published.find_game(word)
    ]
    if words and not published.find_game(part):
      return '_'.join(words)
  return os.path.basename(path)


def _known(label: str) -> str:
  """The agent_name of a label, '' if it is a word of the user's."""
  names = {v.lower(): k for k, v in LABELS.items()} | {k: k for k in LABELS}
  return names.get(label.lower(), '')


def _task(run: Run) -> str:
  settings = run.settings
  name = _last(settings, 'create_gym_environment.environment_name')
  if name is not None:
    name = str(literal(name))
    version = literal(_last(settings, 'create_gym_environment.version') or '')
    has_version = re.search(r'-v\d+$', name) or not version
    return name if has_version else f'{name}-{version}'
  made = _last(settings, 'create_environment_fn')
  is_atari = not made or made == 'None' or 'create_atari_environment' in made
  bound = _last(settings, 'create_atari_environment.game_name')
  if bound is not None and is_atari:
    return _canonical(str(literal(bound)))
  if made and made != 'None':
    return _referred(made)
  for part in reversed(run.path.split(os.sep)):
    for word in (part, *re.split(r'[-_. ]', part)):
      if game := published.find_game(word):
        return game.name
  raise errors.SettingError(
    f'nothing tells which task {run.path} is of: give AGENT/TASK=PATH, for '
    f"example 'DQN/Pong={run.path}'"
  )


def _canonical(task: str) -> str:
  game = published.find_game(task) if task else None
  return game.name if game else task


# Labels -----------------------------------------------------------------------


def _labelled(runs: list[Run], phase: str) -> list[Run]:
  """The runs, each label with what distinguishes it."""
  varying = {
    agent: _varying([run for run in runs if run.agent == agent], phase)
    for agent in {run.agent for run in runs}
  }
  return [
    dataclasses.replace(run, agent=_label(run, varying[run.agent]))
    for run in runs
  ]


def _varying(runs: Iterable[Run], phase: str) -> list[str]:
  """The parameters that runs of the same task have different values of."""
  values: dict[tuple[str, str], set[str]] = {}
  for run in runs:
    for name, text in run.settings.items():
      matters = not _NO_MATTER.fullmatch(name)
      if phase == 'train':
        matters = matters and not _OF_EVALUATION.fullmatch(name)
      if matters:
        values.setdefault((run.task, name), set()).add(text)
  return sorted({name for (_, name), found in values.items() if len(found) > 1})


def _label(run: Run, varying: Sequence[str]) -> str:
  own = [name for name in varying if name in run.settings]
  lasts = [name.rpartition('.')[-1] for name in own]
  words = [
    f'{last if lasts.count(last) == 1 else name}={run.settings[name]}'
    for name, last in zip(own, lasts, strict=True)
  ]
  return ', '.join([run.agent, *words])


# Published curves -------------------------------------------------------------


def _published_files(path: str) -> list[str]:
  """The files GAME.json of published curves at a path."""
  if os.path.isfile(path):
    return [path] if path.endswith('.json') else []
  names = sorted(os.listdir(path))
  return [
    os.path.join(path, name)
    for name in names
    if name.endswith('.json') and published.find_game(name[:-5])
  ]


def read_published(path: str, label: str = '') -> list[Run]:
  """Reads `GAME.json` of Dopamine's `baselines/data`.

  Args:
    path: the file: a list of `{"Iteration", "Value", "Agent"}`, the runs of an
      agent one after the other; an iteration is 250,000 agent steps.
    label: in place of the agent's name and ', published'.

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
  found = []
  for agent, curves in utils.read_baseline(path).items():
    for curve in curves:
      iterations = np.array(sorted(curve))
      returns = np.full(iterations[-1] + 1, np.nan)
      returns[iterations] = [curve[i] for i in iterations.tolist()]
      steps = published.STEPS_PER_ITERATION * np.arange(1, len(returns) + 1)
      found.append(
        Run(
          *(path, label or f'{agent}, published', '', game.name, None),
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
  pd = utils.import_pandas()
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
