"""What a run is, as the dict that a checkpoint holds."""

from collections.abc import Mapping
import types
from typing import Any, NamedTuple

from absl import logging

from dopamine.discrete_domains import checkpointer
from dopamine.files import safe_pickle
from dopamine.runs import checkpoints
from dopamine.runs import event_writer
from dopamine.runs import run_state
from dopamine.settings import errors


def environment_state(environment: Any) -> Any:
  """What an environment says of itself, None where it says nothing."""
  try:
    state = environment.get_state()
    safe_pickle.dumps(state)
  except Exception as error:  # A user's method: it must not end the run.
    logging.log_first_n(
      logging.WARNING,
      'The state of %s is not saved, so a resumed run will not continue '
      'exactly: %s',
      1,
      environment,
      error,
    )
    return None
  return state


def saves_mid_episode(runner: Any, environment: Any, agent: Any) -> bool:
  """Whether all that an episode needs can be saved within it."""
  return (
    runner.saves_mid_episode
    and environment.saves_mid_episode
    and agent.saves_mid_episode
    and environment_state(environment) is not None
  )


# Saving -----------------------------------------------------------------------


class NotWithinEpisodesError(Exception):
  """As it turned out, the run cannot be saved in the middle of an episode."""


def bundle(
  place: checkpoints.Place,
  agent: Any,
  environment: Any,
  state: run_state.RunState,
  writer: event_writer.SummaryWriter,
  logs: Any,
  identity: dict[str, Any],
) -> dict[str, Any] | None:
  """Has the agent save itself; returns what a checkpoint holds beside that.

  Args:
    place: of the checkpoint.
    agent: puts what is large in the checkpoint.
    environment: is asked for its state.
    state: where the run stands.
    writer: whose files are to be continued from here.
    logs: of the iterations that are complete.
    identity: what the run is, to be compared when it goes on.

  Returns:
    None if the agent saves nothing here.

  Raises:
    NotWithinEpisodesError: see there.
    OSError: the event file could not be written.
  """
  data = agent.bundle_and_checkpoint(place.checkpointer.directory, place.number)
  if not data:
    return None
  if not isinstance(data, dict):
    raise errors.InterfaceError(
      f'bundle_and_checkpoint of {agent.__class__.__name__} returned {data!r}: '
      'it must return a dict, or None to save nothing'
    )
  run = run_of(environment, writer, identity)
  if place.nth and state.is_timed:
    run['state'] = state.saved()
    # A subclass that returns a dict of its own leaves out the attributes.
    is_whole = run['environment_state'] is not None and (
      'attributes' in data or not agent.bundles_attributes
    )
    if state.in_episode and not is_whole:
      raise NotWithinEpisodesError
  data['current_iteration'] = place.iteration - 1  # The last complete one.
  data |= {'logs': logs, 'run': run}
  return data


def run_of(
  environment: Any, writer: event_writer.SummaryWriter, identity: dict[str, Any]
) -> dict[str, Any]:
  """Returns what a checkpoint says of its run, beside the agent.

  Raises:
    OSError: the event file could not be written.
  """
  writer.events.sync()
  return identity | {
    'format': checkpointer.FORMAT,
    'graph_is_written': writer.has_graph,
    'environment_state': environment_state(environment),
    'event_files': event_writer.sizes(writer.events.get_logdir()),
  }


class Restored(NamedTuple):
  """Where a run goes on.

  Attributes:
    iteration: that is next, or that it is in.
    state: where it stands within the iteration; None at the beginning.
    logs: of the iterations before; None if they are lost.
    event_files: sizes that they had, by name; None if nobody knows.
    has_graph: whether one of them holds the graph.
    changes: sentences on what is not as it was.
    live: what its live figures go on from.
  """

  iteration: int
  state: run_state.RunState | None = None
  logs: Any = None
  event_files: dict[str, int] | None = None
  has_graph: bool = False
  changes: tuple[str, ...] = ()
  live: Mapping[str, Any] = types.MappingProxyType({'steps': 0})

  def __str__(self) -> str:
    if self.state is None:
      return f'iteration {self.iteration} at its beginning'
    return (
      f'iteration {self.state.iteration} at step {self.state.steps} of its '
      f'{self.state.phase} phase'
    )
