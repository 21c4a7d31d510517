r"""The folder of a run that is given none: `make train` asks for it.

    python -m dopamine.discrete_domains.default_folder \
      --gin_files=dopamine/agents/dqn/configs/dqn.gin --seed=1

prints `runs/dqn_Pong_seed_1`: the gin files, what is played, the agent if a
binding names another than the files do, and the seed if one is given. Two runs
that `train` would not let share a folder get two, as far as these tell. The
files are read, not executed, and what is wrong with them is left for `train` to
say.
"""

import argparse
from collections.abc import Iterator, Sequence
import json
import os
import re
import shlex
import sys
import tokenize
from typing import Any, NamedTuple

from gin import config_parser

import dopamine
from dopamine import signals
from dopamine import storage
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import checkpointer

_PACKAGE_PARENT = os.path.dirname(os.path.dirname(dopamine.__file__))


# What gin is told -------------------------------------------------------------


class _Name(NamedTuple):
  """`@a.name`, or `%a.name`."""

  sign: str
  name: str


class _Names(config_parser.ParserDelegate):
  """Takes names for what they are: nothing is looked up."""

  def configurable_reference(
    self, scoped_configurable_name: str, evaluate: bool
  ) -> _Name:
    return _Name('@', scoped_configurable_name.split('.')[-1])

  def macro(self, scoped_name: str) -> _Name:
    return _Name('%', scoped_name)


def _bindings(text: str, *above: str) -> Iterator[tuple[str, Any]]:
  """Yields names, as `function.parameter` or of a macro, and their values.

  Args:
    text: of a gin file, or a binding; what follows a mistake is left out.
    *above: the files that include it.
  """
  try:
    for statement in config_parser.ConfigParser(text, _Names()):
      if isinstance(statement, config_parser.IncludeStatement):
        yield from _of_file(statement.filename, *above)
      elif isinstance(statement, config_parser.BindingStatement):
        if not statement.scope:
          owner = statement.selector.split('.')[-1]
          yield f'{owner}.{statement.arg_name}'.rstrip('.'), statement.value
  except (RecursionError, SyntaxError, ValueError, tokenize.TokenError):
    pass


def _of_file(path: str, *above: str) -> Iterator[tuple[str, Any]]:
  """The bindings of a file, here or in the package."""
  for place in (path, os.path.join(_PACKAGE_PARENT, path)):
    if os.path.isfile(place) and place not in above:
      try:
        with open(place, encoding='utf-8', errors='replace') as file:
          text = file.read()
      except OSError:
        return
      yield from _bindings(text, *above, place)
      return


def _value(bound: dict[str, Any], name: str) -> Any:
  """What is bound to a name, by macros or not; None if it is not known."""
  value = bound.get(name)
  for _ in bound:
    if not (isinstance(value, _Name) and value.sign == '%'):
      break
    value = bound.get(value.name)
  return value


# What is run ------------------------------------------------------------------


class Run(NamedTuple):
  """What a run's settings say of it.

  Attributes:
    game: of Atari, as `atari_lib.game_names` has it or as it is given; or else
    task: of Gymnasium, with its version if it is known.
    agent: `create_agent.agent_name`, or the name of a class.
  """

  game: str | None
  task: str | None
  agent: str | None


def _game(name: Any) -> str | None:
  """The one name of a game that has several."""
  if not isinstance(name, str):
    return None
  try:
    rom_id = atari_lib.find_rom_id(name)
  except ValueError:
    return name
  return rom_id.title().replace('_', '')


def _task(bound: dict[str, Any]) -> str | None:
  """The id of a Gymnasium task, without a version where that is the newest."""
  name = _value(bound, 'create_gym_environment.environment_name')
  version = _value(bound, 'create_gym_environment.version')
  if 'create_gym_environment.version' not in bound:
    version = 'v0'
  if not isinstance(name, str):
    return None
  if isinstance(version, str) and not re.search(r'-v\d+$', name):
    name += f'-{version}'
  return re.sub(r'^LunarLander-v2$', 'LunarLander-v3', name)


def _run(bound: dict[str, Any]) -> Run:
  """What is bound says this of a run."""
  makes = [_value(bound, f'{r}.create_environment_fn') for r in _RUNNERS]
  make = next((m.name for m in makes if isinstance(m, _Name)), _ATARI)
  agent = _value(bound, 'create_agent.agent_name')
  agent = agent.name if isinstance(agent, _Name) else agent
  return Run(
    game=_game(_value(bound, f'{_ATARI}.game_name'))
    if make == _ATARI
    else None,
    task=_task(bound) if make == _GYM else None,
    agent=agent if isinstance(agent, str) else None,
  )


_RUNNERS = 'Runner', 'TrainRunner'
_ATARI, _GYM = 'create_atari_environment', 'create_gym_environment'


# Its folder -------------------------------------------------------------------


def _stem(gin_file: str) -> str:
  """`dqn` of `dopamine/agents/dqn/configs/dqn.gin`, and `jax_dqn`."""
  stem = os.path.splitext(os.path.basename(gin_file))[0]
  return f'jax_{stem}' if '/jax/' in gin_file else stem


def folder(
  gin_files: Sequence[str], gin_bindings: Sequence[str], seed: str | None
) -> str:
  """Names the folder of a run; see above."""
  return _folder(gin_files, *_read(gin_files, gin_bindings), seed)


def _read(
  gin_files: Sequence[str], gin_bindings: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
  """What is bound by the files, and what by the bindings."""
  of_files = [b for path in gin_files for b in _of_file(path)]
  of_bindings = [b for binding in gin_bindings for b in _bindings(binding)]
  return dict(of_files), dict(of_bindings)


def _folder(
  gin_files: Sequence[str],
  of_files: dict[str, Any],
  of_bindings: dict[str, Any],
  seed: str | None,
) -> str:
  bound = of_files | of_bindings
  run, of_file = _run(bound), _run(of_files)
  words = ['+'.join(map(_stem, gin_files)) or 'run']
  played = run.game or run.task
  if run.task and 'create_gym_environment.version' not in of_bindings:
    played = re.sub(r'-v\d+$', '', run.task)
  if played and played.lower() not in re.split('[_+]', words[0].lower()):
    words.append(played)
  if run.agent and run.agent != of_file.agent:
    words.append(run.agent)
  for runner in _RUNNERS:
    if seed is None and isinstance(_value(of_bindings, f'{runner}.seed'), int):
      seed = str(_value(of_bindings, f'{runner}.seed'))
  if seed is not None:
    words.append(f'seed_{seed}')
  return 'runs/' + re.sub(r'[^\w.+-]+', '-', '_'.join(words))


# The folder that there was before ---------------------------------------------


def _holds(place: str, run: Run, seed: str | None) -> bool:
  """Whether a folder has a checkpoint of this run, as far as that tells."""
  checkpoints = os.path.join(place, 'checkpoints')
  if not os.path.isdir(checkpoints):
    return False
  try:
    if seed is not None:
      saved = json.loads(
        storage.read_file(os.path.join(place, 'seed.json'), 1000)
      )
      if str(saved) != seed:
        return False
    *_, newest = checkpointer.RunCheckpoints(checkpoints).places()
    data = newest.checkpointer.load_checkpoint(newest.number)
    its = data['run']
    name = (run.agent or '').removeprefix('jax_').replace('_', '').lower()
    if its['agent'].lower() not in (name, f'{name}agent'):
      return False
    if run.game:
      return its['environment'] == atari_lib.find_rom_id(run.game)
    any_version = re.sub(r'-v\d+$', '', its['environment'])
    return run.task in (its['environment'], any_version)
  except Exception:  # Damage, a later release, another's files: no advice.
    return False


def _old_folder(gin_files: Sequence[str]) -> str:
  """What `make train` took until runs were told apart."""
  is_jax = any('/jax/' in path for path in gin_files)
  stem = _stem(gin_files[-1]).removeprefix('jax_')
  return f'runs/{"jax_" * is_jax}{stem}'


def _command(
  gin_files: Sequence[str],
  gin_bindings: Sequence[str],
  seed: str | None,
  base_dir: str,
) -> str:
  """`make train` of this run in a folder, as a line of the shell."""
  variables = {
    'GIN': ' '.join(gin_files),
    'BINDINGS': '; '.join(b.strip() for b in gin_bindings),
    'SEED': seed or '',
    'BASE_DIR': base_dir,
  }
  words = [f'{name}={_quoted(v)}' for name, v in variables.items() if v]
  return ' '.join(['make train', *words])


def _quoted(value: str) -> str:
  """As a word of the shell, from which make takes a variable."""
  if "'" in value and not re.search(r'["$`\\!]', value):
    return f'"{value}"'  # The quotes of gin stay readable.
  return shlex.quote(value.replace('$', '$$'))


def main(arguments: Sequence[str] | None = None) -> None:
  """Prints the folder, and on stderr where this run may have been before."""
  parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
  parser.add_argument('--gin_files', action='append', default=[])
  parser.add_argument('--gin_bindings', action='append', default=[])
  parser.add_argument('--seed')
  given, _ = parser.parse_known_args(arguments)
  of_files, of_bindings = _read(given.gin_files, given.gin_bindings)
  new = _folder(given.gin_files, of_files, of_bindings, given.seed)
  if given.gin_files and not os.path.exists(new):
    old = _old_folder(given.gin_files)
    run = _run(of_files | of_bindings)
    if old != new and _holds(old, run, given.seed):
      command = _command(given.gin_files, given.gin_bindings, given.seed, old)
      print(
        f'{old} holds such a run; this one begins afresh, in {new}. To go on '
        f'with that one:\n  {command}',
        file=sys.stderr,
      )
  print(new)


if __name__ == '__main__':
  signals.begin()
  main()
