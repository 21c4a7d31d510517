"""Whether runs may be held against published ones, and what differs."""

from collections.abc import Sequence
import importlib.resources
import re
from typing import Any

import numpy as np

from dopamine.analysis import naming
from dopamine.analysis import published
from dopamine.analysis import runs as runs_lib
from dopamine.runs import run_record
from dopamine.settings import errors

# The protocol of the published runs: where it differs, so does what a return
# is, or when it counts.
_PROTOCOL = {
  'sticky_actions': True,
  'frame_skip': 4,
  'terminal_on_life_loss': False,
  'max_steps_per_episode': 27000,
}
# What no published run had; their other settings are in the gin file.
_DEFAULTS = {
  'double_dqn': False,
  'noisy': False,
  'dueling': False,
  'clip_rewards': True,
  'screen_size': 84,
  'stack_size': 4,
  'replay_scheme': 'uniform',
  'epsilon_fn': 'linearly_decaying_epsilon',
  'learning_rate': 6.25e-5,
  'epsilon': 1.5e-4,
  'beta1': 0.9,
  'beta2': 0.999,
  'weight_decay': 0.0,
}
_OTHER_NAMES = {'eps': 'epsilon'}  # Of the optimizer, in `create_optimizer`.
# Settings that are no part of the algorithm.
_NO_PART = re.compile(
  r'game_name|num_iterations|evaluation_steps|epsilon_eval|tf_device|schedule|'
  r'debug_mode|agent_name|summary_\w+|seed'
)


def compare_with_published(
  runs: Sequence[runs_lib.Run],
  *,
  coverage: float = 0.95,
  source: str | None = None,
) -> tuple[list[published.Comparison], list[str]]:
  """Holds runs against what was published of their agents and games.

  Args:
    runs: those of one label and game are one mean.
    coverage: of the bands.
    source: see `published.find_twin`.

  Returns:
    A comparison for each agent and game, and why there is none for others;
    nothing of tasks that are no Atari games.
  """
  groups: dict[tuple[str, str], list[runs_lib.Run]] = {}
  for run in runs:
    if not run.is_published and _is_atari(run):
      groups.setdefault((run.agent, run.task), []).append(run)
  comparisons = []
  refused: dict[str, list[str]] = {}
  for (agent, task), members in groups.items():
    try:
      comparisons.append(_compare(members, coverage, source))
    except errors.SettingError as error:
      refused.setdefault(str(error), []).append(f'{agent} on {task}')
  return comparisons, [
    f'not compared: {"; ".join(who)}: {why}' for why, who in refused.items()
  ]


def _is_atari(run: runs_lib.Run) -> bool:
  is_known = published.find_game(run.task) is not None
  return is_known or run.setting('sticky_actions') is not None


def _compare(
  runs: Sequence[runs_lib.Run], coverage: float, source: str | None
) -> published.Comparison:
  run = runs[0]
  name = run.agent_name or run.agent
  twin = published.find_twin(name, source)
  _check_protocol(run)
  length = min(len(run.train) for run in runs)
  for run in runs:
    _check_iterations(run)
  return published.compare_returns(
    *(name, run.task, np.stack([run.train[:length] for run in runs])),
    coverage=coverage,
    source=source,
    label=run.agent,
    differences=tuple(differences(run, twin)),
  )


def _check_protocol(run: runs_lib.Run) -> None:
  for name, value in _PROTOCOL.items():
    ours = run.setting(name)
    if ours is not None and ours != value:
      raise errors.SettingError(
        f'{name} is {ours} in {run.path}, and was {value} in the published '
        'runs: their returns mean something else'
      )


def _check_iterations(run: runs_lib.Run) -> None:
  """Iterations are of a million frames, and of what the last episode adds."""
  steps = np.diff(run.agent_steps, prepend=0)
  step = published.STEPS_PER_ITERATION
  longest = _PROTOCOL['max_steps_per_episode']
  is_alike = (step <= steps) & (steps < step + longest)
  if not is_alike.all():
    i = int(np.flatnonzero(~is_alike)[0])
    raise errors.SettingError(
      f'iteration {i} of {run.path} has {steps[i]:.0f} agent steps of '
      f'training: a published one has {step} (Runner.training_steps)'
    )


# What differs -----------------------------------------------------------------


def differences(run: runs_lib.Run, twin: published.Twin) -> list[str]:
  """The settings that differ from those of the published runs.

  A run that says nothing of its settings gets a sentence that says so.
  """
  if not run.settings:
    return ['nobody knows: the run has no operative_config.gin']
  found = list(twin.but)
  if run.setting('timeouts_are_terminal') is True:
    found = [text for text in found if text != published.AS_TERMINALS]
  pairs = [
    ('optimizer', _optimizer(run.setting('optimizer')), twin.optimizer),
    ('loss', _loss(run), twin.loss),
    ('network', _network(run.setting('network')), twin.network),
  ]
  for name, value in (_DEFAULTS | _expected(twin.gin_file)).items():
    pairs.append((name, _plain(_setting(run, name)), _plain(value)))
  return found + [
    f'{name}: {ours}, published {theirs}'
    for name, ours, theirs in pairs
    if ours is not None and ours != theirs
  ]


def _expected(gin_file: str) -> dict[str, Any]:
  """The settings of the algorithm in a gin file of ours, by last words."""
  path = importlib.resources.files('dopamine').joinpath(
    gin_file.removeprefix('dopamine/')
  )
  text = re.sub('#.*', '', path.read_text(encoding='utf-8'))
  found = {
    _OTHER_NAMES.get(last, last): naming.literal(value)
    for name, value in run_record.settings(text).items()
    for last in [name.rpartition('.')[-1]]
  }
  apart = _PROTOCOL.keys() | {'optimizer', 'network', 'loss_type'}
  return {
    name: value
    for name, value in found.items()
    if name not in apart and not _NO_PART.fullmatch(name)
  }


def _setting(run: runs_lib.Run, name: str) -> Any:
  names = [name, *(old for old, new in _OTHER_NAMES.items() if new == name)]
  values = [run.setting(name) for name in names]
  return next((value for value in values if value is not None), None)


def _plain(value: Any) -> Any:
  """A reference without its modules; what is no text as it is."""
  if not isinstance(value, str):
    return value
  return value.removesuffix('()').rpartition('.')[-1].lstrip('@')


def _optimizer(value: Any) -> str | None:
  name = _plain(value)
  for known in ('RMSProp', 'Adam'):
    if re.fullmatch(f'({known})(optimizer)?', str(name), re.IGNORECASE):
      return known
  return name


def _loss(run: runs_lib.Run) -> str | None:
  """DQN's may be chosen; those of the others are their own."""
  is_dqn = run.agent_name.removeprefix('jax_') == 'dqn'
  kind = str(run.setting('loss_type')) if is_dqn else 'None'
  names = {'mse': 'mean squared error', 'huber': 'Huber', 'None': None}
  return names.get(kind, kind)


def _network(value: Any) -> str:
  name = _plain(value)
  names = 'NatureDQN', 'Rainbow', 'Quantile', 'ImplicitQuantile'
  is_nature = name is None or name in [f'{n}Network' for n in names]
  return published.NATURE if is_nature else name
