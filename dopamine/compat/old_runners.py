"""Runners whose hooks are the whole of what 3.2.1 had in them.

A hook that calls ours is left as it is. Around one that does not, what ours
does beside is done: the folder, the state of the environment, the event file.
"""

from collections.abc import Callable, Iterator
import contextlib
import functools
import inspect
import types
from typing import Any

from dopamine import seams
from dopamine.compat import proxy
from dopamine.runs import bundles
from dopamine.runs import run_state
from dopamine.settings import errors


def adapt(cls: type) -> None:
  """Puts round what a class overrides what is done beside it."""
  for name, around in _AROUND.items():
    owner = next((c for c in cls.__mro__ if name in vars(c)), cls)
    own = vars(owner).get(name)  # Of a mixin too.
    if own is None or seams.is_ours(owner.__module__):
      continue
    if not hasattr(own, _SURROUNDED) and not _calls(own, name):
      setattr(cls, name, _surrounded(own, around))


# What a hook has that something was put round already.
_SURROUNDED = '_is_surrounded'


def _calls(hook: Any, name: str) -> bool:
  """Whether a function, or one that it was decorated from, names a method."""
  hook = inspect.unwrap(hook) if callable(hook) else hook
  if isinstance(hook, functools.partialmethod):
    hook = hook.func
  code = getattr(hook, '__code__', None)
  cells = getattr(hook, '__closure__', None) or ()
  inner = [c.cell_contents for c in cells if inspect.isfunction(_content(c))]
  return (
    code is None
    or name in code.co_names
    or any(_calls(function, name) for function in inner)
  )


def _content(cell: types.CellType) -> Any:
  try:
    return cell.cell_contents
  except ValueError:  # It is empty as yet.
    return None


def _surrounded(own: Callable, around: Callable) -> Callable:
  @functools.wraps(own)
  def hook(self: Any, *args: Any, **kwargs: Any) -> Any:
    with around(self):
      return own(self, *args, **kwargs)

  setattr(hook, _SURROUNDED, True)
  return hook


class _OwnCheckpointer(proxy.Proxy):
  """One of a user's own kind, which writes at once."""

  __slots__ = ()

  _if_missing = {'collect': contextlib.ExitStack}


@contextlib.contextmanager
def _resuming(runner: Any) -> Iterator[None]:
  """Has the environment and the event file go on too."""
  yield
  saver, start = runner._saver, runner._start_iteration
  ours = saver.checkpoints.complete
  theirs = vars(runner).setdefault('_checkpointer', ours)
  paths = [
    (c._pickle_path(0), c._sentinel_path(0), c._frequency)
    for c in (
      ours,
      *[theirs] * (type(theirs) is type(ours)),
    )
  ]
  if len(paths) > 1 and paths[0] == paths[1]:
    runner._checkpointer = ours  # It removes what replay memories share.
  elif not hasattr(theirs, 'collect'):
    if seams.is_ours(type(runner)._checkpoint_experiment.__module__):
      raise errors.InterfaceError(
        f'{type(runner).__name__}._checkpointer is a {type(theirs).__name__}, '
        'whose save_checkpoint nothing calls: call it in an own '
        '_checkpoint_experiment(iteration), see the row of save_checkpoint in '
        'docs/migrating.md'
      )
    runner._checkpointer = _OwnCheckpointer(theirs)
  saver._event_sizes = {}
  if start == 0:
    return
  place = saver.checkpoints.at_end_of(start - 1)
  data = place.checkpointer.load_checkpoint(place.number) or {}
  run = data.get('run', {})
  if run.get('environment_state') is not None:
    runner._environment.set_state(run['environment_state'])
  runner._event_writer.has_graph = bool(run.get('graph_is_written'))
  runner._live.restore(run.get('live') or {'steps': 0})
  saver._event_sizes = run.get('event_files')
  runner._restored = bundles.Restored(start)


@contextlib.contextmanager
def _saving(runner: Any) -> Iterator[None]:
  """Adds what the run is to the dict that is saved."""
  keeper = runner._checkpointer
  save = keeper.save_checkpoint

  def save_checkpoint(iteration_number: int, data: Any) -> None:
    identity = runner._identity | {'live': runner._live.saved()}
    place = runner._environment, runner._event_writer, identity
    save(iteration_number, {**data, 'run': bundles.run_of(*place)})

  keeper.save_checkpoint = save_checkpoint
  try:
    yield
  finally:
    del keeper.save_checkpoint


@contextlib.contextmanager
def _looping(runner: Any) -> Iterator[None]:
  """Begins and ends a run, and does in between what ours does."""
  if runner._is_used and runner._next_iteration < runner._num_iterations:
    runner._close()
    runner._begin()
  if runner._is_used:
    runner._start_iteration = runner._next_iteration
  runner._is_used = True
  run_one_iteration = runner._run_one_iteration
  checkpoint_experiment = runner._checkpoint_experiment
  saver = runner._saver

  def run_one(iteration: int) -> Any:
    if not runner._resumed_phases:
      runner._state = run_state.RunState(iteration=iteration)
    saver.begin_writing()
    saver.start_clock()
    statistics = run_one_iteration(iteration)
    runner._resumed_phases = {}
    return statistics

  def checkpoint(iteration: int) -> None:
    is_last = iteration >= runner._num_iterations - 1
    saver.save_iteration(
      iteration,
      lambda: None,  # It has been logged.
      lambda: checkpoint_experiment(iteration),
      runner._checkpointer,
      is_last,
    )
    runner._next_iteration = iteration + 1
    runner._film(iteration)
    if not is_last:
      saver.stop_after(iteration, runner._state, runner._checkpointer)

  own = {'_run_one_iteration': run_one, '_checkpoint_experiment': checkpoint}
  vars(runner).update(own)
  try:
    yield
  finally:
    for name in own:
      del vars(runner)[name]
    runner._stop_request.since = None
    runner._close()


_AROUND = {
  'run_experiment': _looping,
  '_initialize_checkpointer_and_maybe_resume': _resuming,
  '_checkpoint_experiment': _saving,
}
