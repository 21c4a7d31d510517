"""Films a run while it trains: an episode more after every n-th iteration.

It is played as in evaluation, on an environment of its own, once the iteration
is logged and its checkpoint taken. Training does not know of it: it goes on
with the same numbers as without.
"""

from collections.abc import Callable, Iterator
import contextlib
import os
import re
from typing import Any

from absl import logging
import numpy as np

from dopamine import interfaces
from dopamine import seeding
from dopamine.runs import filming
from dopamine.runs import live
from dopamine.runs import progress
from dopamine.runs import run_checks
from dopamine.runs import run_state
from dopamine.runs import saver
from dopamine.settings import errors
from dopamine.settings import gin_files
from dopamine.utils import video

_NAME = 'iteration_{}.mp4'


class Videos:
  """Those in a run's folder `videos`; each is there only once it is complete.

  Where recording fails, training goes on. A recording that was killed is not
  made up for, unless its iteration is run again.
  """

  def __init__(
    self,
    base_dir: str,
    agent: interfaces.Agent,
    environment: Any,
    made: Any,
    create_environment_fn: Callable,
    seed: int,
    keep: int | None,
    stop_request: saver.StopRequest,
    **settings: Any,
  ):
    """Makes sure that episodes can be filmed.

    Args:
      base_dir: of the run.
      agent: of the run.
      environment: of the run, which is not touched.
      made: the same, as `create_environment_fn` made it.
      create_environment_fn: makes others.
      seed: of the run; with the iteration, it is that of a video.
      keep: videos that stay, or None for all.
      stop_request: ends a recording too.
      **settings: of the episodes, see `_Episode`.

    Raises:
      ValueError: they cannot.
    """
    self._folder = os.path.join(base_dir, 'videos')
    self._environment, self._made = environment, made
    self._create_environment_fn, self._seed = create_environment_fn, seed
    self._keep, self._stop_request = keep, stop_request
    self._settings = settings
    try:
      video.find_ffmpeg()
      with self._player(0, agent, environment) as player:
        player.begin()
      self.sweep()
    except Exception as error:  # Of a user's task, or agent.
      raise errors.SettingError(
        'Runner.record_video_every is set, but this run cannot be filmed: '
        f'{str(error) or repr(error)}. Mend that, or set it to None'
      ) from error

  def sweep(self) -> None:
    """Removes what recordings left that were killed."""
    video.sweep(self._folder, _NAME.format('*'), is_locked=True)

  @contextlib.contextmanager
  def _player(
    self, iteration: int, agent: interfaces.Agent, environment: Any
  ) -> Iterator['_Episode']:
    """What plays an episode; afterwards all is as it was before."""
    if environment is not self._environment:
      raise errors.SettingError(
        f'the run plays on {environment}, which was put in the place of '
        f'{self._made}, and a video would be one of that: have '
        'Runner.create_environment_fn make it'
      )
    seed = seeding.integer(self._seed, f'video {iteration}')
    with seeding.globals_kept(), agent.set_aside(seed):
      with gin_files.set_aside([filming.BINDING]), seeding.run_seed(seed):
        another = self._create_environment_fn()
      if another is self._made:
        raise errors.SettingError(
          f'Runner.create_environment_fn returned {another} twice, and a '
          'video is played on an environment of its own: make a new one at '
          'each call'
        )
      another = run_checks.as_environment(another)
      try:
        yield _Episode(agent, another, self._stop_request, **self._settings)
      finally:
        with contextlib.suppress(Exception):  # A user's method.
          another.close()

  def record(
    self, iteration: int, agent: interfaces.Agent, environment: Any
  ) -> None:
    """Films an episode after an iteration, or says why not.

    Args:
      iteration: of the run.
      agent: which plays. A subclass may have replaced the first.
      environment: that it is trained on.
    """
    try:
      self.sweep()
      path = os.path.join(self._folder, _NAME.format(iteration))
      with self._player(iteration, agent, environment) as player:
        text = player.film(path)
      progress.say(f'{path}: {text}')
      self._remove_surplus(iteration)
    except _StoppedError:
      logging.info('The video of iteration %d was given up', iteration)
    except Exception as error:  # A renderer's, a full disk's.
      logging.warning('No video of iteration %d: %r', iteration, error)
      progress.say(
        f'\nThe video of iteration {iteration} could not be made: '
        f'{str(error) or repr(error)}. Training goes on.'
      )

  def _remove_surplus(self, iteration: int) -> None:
    if self._keep is None:
      return
    matches = (
      re.fullmatch(_NAME.format(r'(0|[1-9][0-9]*)'), name)
      for name in os.listdir(self._folder)
    )
    others = {int(match[1]) for match in matches if match} - {iteration}
    # Of a run that went back, those of later iterations count least.
    order = sorted(others, key=lambda other: (other < iteration, other))
    for other in order[: max(0, len(order) + 1 - self._keep)]:
      os.remove(os.path.join(self._folder, _NAME.format(other)))


class _StoppedError(Exception):
  """The run is to stop."""


class _NoSaver(saver.NoSaver):
  """Asks before each step whether to stop."""

  def __init__(self, stop_request: saver.StopRequest):
    self._stop_request = stop_request

  def is_due(self) -> bool:
    return self._stop_request.since is not None

  def save_within(self, *unused_args: Any) -> None:
    raise _StoppedError


class _Episode(filming.Filmed):
  """The loop of an episode, for an agent and an environment that are there."""

  def __init__(  # It takes no folder, and what gin binds to others.
    self,
    agent: interfaces.Agent,
    environment: Any,
    stop_request: saver.StopRequest,
    max_steps_per_episode: int,
    clip_rewards: bool,
  ):
    self._agent, self._environment = agent, environment
    self._saver = _NoSaver(stop_request)  # type: ignore[assignment]
    self._live, self._progress = live.NoFigures(), progress.Progress()
    self._max_steps_per_episode = max_steps_per_episode
    self._clip_rewards = clip_rewards
    self._timeouts_are_terminal = False
    self._state = run_state.RunState()
    self._aim()

  def begin(self) -> None:
    """Looks at the first picture, and at what the agent thinks of it."""
    self._thought = self._think(self._initialize_episode())
    self._render()

  def film(self, path: str) -> str:
    """Plays an episode into an mp4; returns what there is to say of it."""
    with self._filming(path):
      steps, total = self._run_one_episode()
    numbers = ' '.join(f'{value:g}' for value in np.ravel(total))
    return f'{steps} agent steps, return {numbers}'
