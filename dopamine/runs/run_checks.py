"""What is checked before a run starts, or goes on in its folder."""

from collections.abc import Iterator
import contextlib
import json
import math
import os
import tempfile
from typing import Any

import gin
import numpy as np

from dopamine import interfaces
from dopamine import memory
from dopamine import seams
from dopamine import seeding
from dopamine.files import atomic
from dopamine.replay_memory import ring
from dopamine.runs import progress
from dopamine.runs import run_record
from dopamine.settings import errors

# Bytes that come on top of what is there before the first step: compiled
# functions, batches, and what a checkpoint being written holds.
_WORKING_MEMORY = 5e8


# The folder -------------------------------------------------------------------


def check_base_dir(base_dir: str) -> str:
  """Refuses a folder that cannot be written, or that holds something else.

  Returns its absolute path.

  Files beside a run are fine: notes, or what its output is sent to.
  """
  ours = ('checkpoints', 'logs')
  if '://' in base_dir:
    raise errors.SettingError(
      f'base_dir={base_dir} is an address: give a folder of this '
      'machine, and copy it afterwards'
    )
  for path in (
    base_dir,
    *(os.path.join(base_dir, d) for d in ours),
  ):
    if os.path.exists(path) and not os.path.isdir(path):
      raise errors.SettingError(
        f'base_dir={base_dir}: {path} is a file; give a folder, or the '
        'name of one that is to be made'
      )
  with writing_to(base_dir):
    os.makedirs(base_dir, exist_ok=True)
    with tempfile.TemporaryFile(dir=base_dir):
      pass
  with os.scandir(base_dir) as entries:
    found = {e.name: e.is_dir() for e in entries}
  folders = [f for f in sorted(found) if found[f] and not f.startswith('.')]
  if folders and not set(found) & {'seed.json', *ours}:
    raise errors.SettingError(
      f'base_dir={base_dir} holds something else than a run: '
      f'{", ".join(folders[:5])}; give a folder of its own to each run'
    )
  return os.path.abspath(base_dir)


@contextlib.contextmanager
def writing_to(base_dir: str) -> Iterator[None]:
  """Says in a sentence what cannot be written at the start, and why."""
  try:
    yield
  except OSError as error:
    raise errors.SettingError(
      f'base_dir={base_dir} cannot be written ({error.filename or base_dir}: '
      f'{error.strerror}): give a folder that can, or make room'
    ) from None


def settle_seed(base_dir: str, is_begun: bool, seed: int | None) -> int:
  """The seed given, or that of the run in `base_dir`, or a fresh one.

  Args:
    base_dir: keeps it, in `seed.json`.
    is_begun: whether there is a checkpoint, whose seed must not change.
    seed: what the run is given, if anything.
  """
  saved = saved_seed(base_dir)
  seed = seeding.resolve(saved if seed is None else seed)
  if is_begun and saved not in (None, seed):
    raise errors.SettingError(
      f'base_dir={base_dir} holds a run whose seed is {saved}, and '
      f'this one is {seed}: give another base_dir, or leave the seed out to '
      'go on with that run'
    )
  if saved != seed:
    path = os.path.join(base_dir, 'seed.json')
    atomic.write_file(path, lambda file: file.write(b'%d' % seed))
  return seed


def saved_seed(base_dir: str) -> int | None:
  """The seed of the run in a folder, None if there is none."""
  path = os.path.join(base_dir, 'seed.json')
  if not os.path.exists(path):
    return None
  try:
    return seeding.resolve(json.loads(atomic.read_file(path, 1000)))
  except (RecursionError, ValueError) as error:
    raise errors.SettingError(
      f'{path} does not hold the seed of this run ({error}): write it '
      'there, or delete the file and give --seed'
    ) from None


# What runs --------------------------------------------------------------------


def as_environment(given: Any) -> Any:
  """Returns ours as it is; compat wraps any other, or one is refused."""
  if issubclass(type(given), interfaces.Environment):
    return given
  if adapters := seams.compat('adapters'):
    return adapters.environment(given)
  raise errors.SettingError(
    f'{given} is no environment of a Runner: derive it from '
    'dopamine.interfaces.Environment, or return '
    'gym_lib.GymPreprocessing(environment) of a Gymnasium environment'
  )


def check_environment(environment: Any) -> None:
  """Refuses a foreign one that would only be missed in the first episode."""
  if not issubclass(type(environment), interfaces.Environment):
    seams.compat('adapters').check_environment(environment)


def as_agent(given: Any) -> Any:
  """Returns ours as it is; compat wraps any other, or one is refused."""
  if adapters := seams.compat('adapters', given):
    return adapters.agent(given)
  if issubclass(type(given), interfaces.Agent):
    return given
  raise errors.InterfaceError(
    f'{type(given).__name__} is no agent of a Runner: derive it from '
    'dopamine.interfaces.Agent'
  )


def check_finite(environment: Any, where: Any, **values: Any) -> None:
  """Raises FloatingPointError for NaN, infinity, and rewards of no number.

  Args:
    environment: that gave the values.
    where: the run stands.
    **values: by what they are.
  """
  for name, value in values.items():
    is_none = name == 'reward' and isinstance(value, str | None)
    if is_none or not _is_finite(value):
      raise errors.NotFiniteError(
        f'{environment} gave the {name} {value} at {where}. Checkpoints of '
        'earlier iterations are as they were'
      )


def _is_finite(value: Any) -> bool:
  """False where a number of `value`, of any shape, is a NaN or an infinity."""
  if isinstance(value, float):
    return math.isfinite(value)
  if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in 'biu':
    return True  # Pixels: 0.1 us, not 20.
  try:
    return bool(np.isfinite(np.asarray(value)).all())
  except (TypeError, ValueError):
    return True  # No numbers: what they are is the agent's business.


def check_memory(agent: interfaces.Agent) -> str:
  """Returns what memory the run will need; refuses what is not there.

  The pages of a replay memory are committed as it fills: now none are.

  Raises:
    ValueError: there is less.
  """
  replay = agent.replay_nbytes
  # Of a checkpoint, its weights and some files of the replay memory are in
  # memory at a time; compiled functions take some too.
  peak = memory.resident() + replay + _WORKING_MEMORY
  limit = memory.tightest(allocated=replay)
  if peak > limit.size:
    raise errors.SettingError(
      f'this run will need about {peak / 1e9:.1f} GB of memory, '
      f'{replay / 1e9:.1f} GB of them for the replay memory when it is full, '
      f'and {limit.owner} {limit.size / 1e9:.1f} GB: lower '
      f'{ring.CAPACITY_SETTINGS}'
    )
  text = f'about {peak / 1e9:.1f} GB at the peak'
  if replay:
    text += f', {replay / 1e9:.2g} GB of them for the full replay memory'
  return text


def report(
  agent: interfaces.Agent, environment: Any, restored: Any, **others: Any
) -> None:
  """Says on stdout what runs, on what, and with which settings.

  Args:
    agent: that runs.
    environment: that it runs in.
    restored: where it goes on, None at its beginning.
    **others: further lines, by what they are about.
  """
  lines = {}
  if device := agent.describe_device():
    lines['Backend'] = device
  if restored is not None:
    lines['Continues'] = str(restored)
  lines |= {
    'Agent': agent.__class__.__name__,
    'Environment': f'{environment}, {environment.action_space}',
    **others,
  }
  if draws := agent.unsaved_draws():
    lines['Not exact'] = f'{draws}: a run that goes on draws other batches'
  for name, text in lines.items():
    progress.say(f'{name + ":":13}{text}')
  settings = [
    line
    for line in gin.operative_config_str().splitlines()
    if line and not line.startswith(('#', 'import '))
  ]
  progress.say('\n  '.join(('Settings:', *settings)))
  for text in restored.changes if restored else ():  # Last: there it is seen.
    progress.say(text)


def identity(agent: interfaces.Agent, environment: Any) -> dict[str, Any]:
  """What a checkpoint says of its run, for `going_on.check_same_run`.

  Call it once the agent is made: gin's settings are those given so far.

  Returns:
    Names of agent and environment, what else the agent's `identity()` names,
    the settings, and the device; None for what is not known. A Jax agent is
    called as its twin: it goes on with what that has learnt, and the other way
    round.
  """
  return {
    'agent': agent.__class__.__name__.removeprefix('Jax'),
    'environment': environment.task_name,
    'parts': agent.identity(),
    'settings': run_record.settings(gin.operative_config_str()),
    'device': agent.describe_device(),
  }
