"""The folder of a run that is given none: it tells what is run.

`train --runs_dir=runs` trains in `runs/dqn_Pong`, or in
`runs/dqn_Seaquest_seed_1`, and so does `make train`.
"""

from collections.abc import Sequence
import copy
import os
import pathlib
import re
import shlex
import sys
import types
from typing import Any

from dopamine import seams
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from dopamine.settings import gin_files


def below(
  runs_dir: str, gin_files: Sequence[str], gin_bindings: Sequence[str]
) -> str:
  """Returns a folder for what gin has read.

  Its name has the gin files, what is played, the agent if a binding names one,
  and the seed if there is one: other settings may change within a run.

  Args:
    runs_dir: the folder above.
    gin_files: those that were read.
    gin_bindings: those that came on top.

  Raises:
    ValueError: there is no such game.
  """
  given = '\n'.join(gin_bindings)
  words = ['+'.join(map(_stem, gin_files)) or 'run']
  played = _played('create_gym_environment' in given)
  if played.lower() not in words[0].lower() or 'environment' in given:
    words.append(played)
  if 'agent_name' in given:
    words.append(_agent())
  seed = _bound('seed', *_RUNNERS)
  if seed is not None:
    words.append(f'seed_{seed}')
  name = re.sub(r'[^\w.+-]+', '-', '_'.join(filter(None, words)))
  return os.path.join(runs_dir, name)


_PACKAGE = pathlib.Path(run_experiment.__file__).resolve().parents[1]
_RUNNERS = run_experiment.TrainRunner, run_experiment.Runner


def _bound(parameter: str, *targets: Any) -> Any:
  """What gin gives to a parameter, None for nothing."""
  for target in targets:
    value = gin_files.bound_values(target).get(parameter)
    if value is not None:
      return copy.deepcopy(value)  # In gin, this looks up what it refers to.
  return None


def _stem(gin_file: str) -> str:
  """`dqn` of `dopamine/agents/dqn/configs/dqn.gin`, and `jax_dqn`."""
  # A file of the user's has its folder before it, where it is given with one,
  # or has the name of one of ours.
  path = pathlib.Path(run_experiment.find_gin_file(gin_file)).resolve()
  if path.is_relative_to(_PACKAGE):
    is_of_jax = path.is_relative_to(_PACKAGE / 'jax')
    return f'jax_{path.stem}' if is_of_jax else path.stem
  ours = (file.name for file in _PACKAGE.rglob('*.gin'))
  if os.path.dirname(gin_file) or path.name in ours:
    return f'{path.parent.name}_{path.stem}'
  return path.stem


def _played(with_version: bool) -> str:
  """The game or task; of a function of the user's, its name."""
  function = _bound('create_environment_fn', *_RUNNERS)
  ours = atari_lib.create_atari_environment, gym_lib.create_gym_environment
  atari, gym, function = map(gin_files.unwrapped, (*ours, function or ours[0]))
  if function is atari:
    game = _bound('game_name', atari_lib.create_atari_environment)
    return atari_lib.camel_case(atari_lib.find_rom_id(game))
  if function is not gym:
    is_named = isinstance(function, type | types.FunctionType)
    return function.__name__ if is_named else ''
  name, version = (
    _bound(parameter, gym_lib.create_gym_environment)
    for parameter in ('environment_name', 'version')
  )
  return f'{name}-{version}' if with_version and version else str(name)


def _agent() -> str:
  name = _bound('agent_name', run_experiment.create_agent)
  return name.__name__ if isinstance(name, type) else str(name)


# Where a run was before -------------------------------------------------------


def of_before(new: str, gin_files: Sequence[str]) -> str:
  """A sentence on the folder that `make train` took until 5.0, or ''.

  Args:
    new: the folder that it takes now.
    gin_files: of the run.
  """
  if os.path.exists(new) or not gin_files:
    return ''
  stem = os.path.splitext(os.path.basename(gin_files[-1]))[0]
  if '/jax/' in gin_files[-1]:
    stem = f'jax_{stem}'
  old = os.path.join(os.path.dirname(new), stem)
  if old == new or not os.path.isdir(f'{old}/checkpoints'):
    return ''
  old_folders = seams.compat('old_folders')
  if not old_folders or not old_folders.holds(
    old,
    _bound('seed', *_RUNNERS),
    _bound('agent_name', run_experiment.create_agent),
    _played(True),
  ):
    return ''
  words = [*sys.orig_argv, '--runs_dir=', f'--base_dir={old}']
  return (
    f'{old} holds such a run, of when all games of a gin file shared a folder. '
    f'This one begins afresh, in {new}. To go on with that one:\n  '
    f'{shlex.join(words)}\n(make train takes BASE_DIR={old})\n'
  )
