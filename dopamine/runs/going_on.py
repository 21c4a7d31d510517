"""Has a run go on from what a checkpoint holds of it, if it is the same run."""

import os
from typing import Any

from absl import logging

from dopamine.discrete_domains import checkpointer
from dopamine.files import atomic
from dopamine.runs import bundles
from dopamine.runs import checkpoints
from dopamine.runs import run_state
from dopamine.settings import errors

# Settings that any run may change.
_FREE_SETTINGS = frozenset(
  (
    *('num_iterations', 'log_every_n', 'checkpoint_minutes', 'allow_changes'),
    *('seed', 'debug_mode', 'summary_writing_frequency', 'live_figures'),
    *('record_video_every', 'keep_videos'),
  )
)


def restore(
  place: checkpoints.Place,
  prefix: str,
  agent: Any,
  environment: Any,
  base_dir: str,
  identity: dict[str, Any],
  allow_changes: bool,
) -> bundles.Restored:
  """Has agent and environment go on from a checkpoint.

  Args:
    place: of the checkpoint.
    prefix: of the pickles.
    agent: what takes its bundle.
    environment: what takes its state.
    base_dir: of the run.
    identity: what the run is now.
    allow_changes: whether it may have been another.

  Raises:
    DamagedError: naming the file that is.
    ValueError: it does not fit this run.
  """
  data = _read(place, prefix, agent)
  run, changes = {}, []
  if data is not None:
    run = data.pop('run', {})
    changes = check_same_run(base_dir, run, identity, allow_changes)
  if not agent.unbundle(place.checkpointer.directory, place.number, data):
    raise errors.SettingError(
      f'{agent.__class__.__name__} did not take {place} (its unbundle '
      'returned no True). Nothing was overwritten: put back what is missing '
      'or the settings of that run, set DQNAgent.allow_partial_reload = True '
      'to go on from the weights alone, or give another base_dir'
    )
  if data is None:
    return bundles.Restored(place.iteration)
  for key in ('logs', 'current_iteration'):
    if key not in data:
      raise errors.SettingError(
        f'{_path(place, prefix)} has no {key!r}: it is no checkpoint of a '
        'Runner'
      )
  if run.get('environment_state') is not None:
    environment.set_state(run['environment_state'])
  state = run.get('state')
  return bundles.Restored(
    int(data['current_iteration']) + 1,
    state and run_state.RunState.restored(state),
    data['logs'],
    run.get('event_files'),
    bool(run.get('graph_is_written')),
    tuple(changes),
    # Before there were any, the agent has counted.
    run.get('live') or {'steps': int(data.get('training_steps', 0))},
  )


def _read(place: checkpoints.Place, prefix: str, agent: Any) -> Any:
  """The dict of a checkpoint; None if it is lost and the agent can do without.

  Raises:
    DamagedError: naming the file that is.
  """
  is_partial = agent.allow_partial_reload
  path, has_manifest, data = _path(place, prefix), False, None
  try:
    has_manifest = check_files(place.checkpointer, place.number)
    data = place.checkpointer.load_checkpoint(place.number)
  except atomic.DamagedError as error:
    if not is_partial:
      raise
    logging.warning('Resuming from a partial checkpoint: %s', error)
  if data is None:
    return None
  if not isinstance(data, dict):
    raise errors.SettingError(f'{path} holds no dict: no Runner saved it')
  run = data.get('run', {})
  if not isinstance(run, dict):
    raise atomic.DamagedError(f'{path} is damaged: its run is no dict')
  checkpointer.check_format(run.get('format'), path)
  if 'settings' in run and not (has_manifest or is_partial):
    raise atomic.DamagedError(f'the manifest of {path} is missing')
  return data


def check_files(saver: checkpointer.Checkpointer, number: int) -> bool:
  """Compares the files of a checkpoint with its manifest, if it has one.

  What it shares with others is checked when it is read.

  Returns:
    Whether it has a manifest; what Dopamine 3 wrote has none.

  Raises:
    atomic.DamagedError: naming the file that is missing or damaged.
    ValueError: a later release wrote it.
  """
  manifest = saver.manifest(number)
  for name, (size, checksum) in manifest.get('files', {}).items():
    path = os.path.join(saver.directory, name)
    if not os.path.isfile(path):
      raise atomic.DamagedError(f'{path} is missing')
    if os.path.getsize(path) != size:
      raise atomic.DamagedError(
        f'{path} is damaged: it has {os.path.getsize(path)} bytes, not {size}'
      )
    try:
      found = atomic.checksum(path)
    except OSError as error:
      raise atomic.DamagedError(f'{path} cannot be read: {error}') from None
    if found != checksum:
      raise atomic.DamagedError(f'{path} is damaged: its checksum is wrong')
  return bool(manifest)


def _path(place: checkpoints.Place, prefix: str) -> str:
  return os.path.join(place.checkpointer.directory, f'{prefix}.{place.number}')


def check_same_run(
  base_dir: str,
  saved: dict[str, Any],
  now: dict[str, Any],
  allow_changes: bool,
) -> list[str]:
  """Refuses to go on with another run; returns what has changed in it.

  Args:
    base_dir: of the run.
    saved: the `identity` in its checkpoint, as far as there is one.
    now: that of this process.
    allow_changes: whether nothing is refused.

  Raises:
    ValueError: the agent, what it consists of, or the environment is another.
  """
  way_out = (
    'give another base_dir, or the settings of that run, or set '
    'Runner.allow_changes = True to go on nevertheless'
  )
  said: list[str] = []
  names = ('agent', 'environment')
  old = {n: saved.get(n) for n in names} | saved.get('parts', {})
  new = {n: now[n] for n in names} | now['parts']
  for name, value in new.items():
    if None in (value, old.get(name)) or value == old[name]:
      continue
    if not allow_changes:
      raise errors.SettingError(
        f'base_dir={base_dir} holds a run whose {name} is {old[name]}, and '
        f'this one is {value}: {way_out}'
      )
    said.append(f'Changed since the checkpoint: {name}, which was {old[name]}')
  before, after = saved.get('settings', {}), now['settings']
  changes = {
    name: f'{name} from {before[name]} to {after[name]}'
    for name in sorted({*before} & {*after})
    if before[name] != after[name]
    and name.rpartition('.')[2] not in _FREE_SETTINGS
  }
  if changes:
    lines = 'Changed since the checkpoint:', *changes.values()
    said.append('\n  '.join(lines))
  if saved.get('device') not in (None, now['device']):
    said.append(
      f'The checkpoint was computed by {saved["device"]}, and this process '
      f'computes by {now["device"]}: from here on, the last bits may differ '
      'from what an uninterrupted run would have'
    )
  return said
