r"""Films trained agents: `python -m dopamine.discrete_domains.watch`.

    python -m dopamine.discrete_domains.watch --base_dir=/tmp/dqn_pong

plays whole episodes as the evaluation phase of that run does, in an mp4 of real
speed in the run's folder `videos`: at the left the game, at the right the
return so far, the Q-values and, where there are any, the distributions of the
return.
"""

from collections.abc import Sequence
import os
from typing import Any

from absl import flags

from dopamine import command_line
from dopamine import signals
from dopamine.discrete_domains import evaluate
from dopamine.discrete_domains import run_experiment
from dopamine.runs import filming
from dopamine.runs import trained
from dopamine.settings import errors
from dopamine.utils import video


class Film(filming.Filmed, trained.Evaluation):
  """An evaluation of which each step is a picture."""

  def __init__(self, checkpoint: str, every_frame: bool = False):
    """Makes agent and environment, and loads the weights.

    Args:
      checkpoint: see `trained.find_weights`.
      every_frame: whether all the frames of the emulator are shown, not only
        those that a decision is taken in.

    Raises:
      ValueError: the game has no frames in between.
    """
    super().__init__(checkpoint)
    self._aim(every_frame)

  def path_in(self, base_dir: str) -> str:
    """Where the video goes: its name tells the weights and the seed."""
    folder, weights = os.path.split(self.path.removesuffix('.npz'))
    if os.path.basename(folder) == 'mid_iteration':
      weights = f'mid_iteration_{weights}'
    name = f'{weights}_seed_{self._seed}.mp4'
    return os.path.join(base_dir, 'videos', name)

  def film(self, num_episodes: int, path: str) -> tuple[list[Any], int]:
    """Plays episodes into an mp4; returns their returns, and the frames."""
    with self._filming(path):
      returns = self.run(num_episodes)
    return returns, self._frames


# The command ------------------------------------------------------------------


def define_flags() -> None:
  """Defines those of this command, beside base_dir, gin's and the seed."""
  flags.DEFINE_string(
    'checkpoint',
    None,
    'The number of one of its checkpoints, or a path as evaluate takes it; by '
    'default the newest.',
  )
  flags.DEFINE_integer('episodes', 1, 'How many to play.', lower_bound=1)
  flags.DEFINE_string(
    'video', None, 'The mp4; by default one in the folder videos of the run.'
  )
  flags.DEFINE_bool(
    'every_frame',
    False,
    'Of an Atari game, show all frames of the emulator, 60 a second, not only '
    'those that a decision is taken in, 15 a second.',
  )


def main(argv: Sequence[str]) -> None:
  """Films what the flags name; a mistake ends with a paragraph."""
  command_line.carry_out(argv, _watch)


def _watch() -> None:
  base_dir = command_line.require('base_dir', '/tmp/dqn_pong')
  base_dir = os.path.abspath(os.path.expanduser(base_dir))
  video.find_ffmpeg()  # Before anything is played.
  _load_settings(base_dir)
  checkpoint = trained.weights_of(base_dir, flags.FLAGS.checkpoint or None)
  with signals.interrupting(), _make_film(checkpoint) as film:
    path = os.path.expanduser(flags.FLAGS.video or film.path_in(base_dir))
    returns, frames = film.film(flags.FLAGS.episodes, path)
    evaluate.print_returns(returns)
    print(
      f'{path}: {frames} frames, {film.fps:g} a second '
      f'({frames / film.fps:.1f} s)',
      flush=True,
    )


def _load_settings(base_dir: str) -> None:
  """Reads those that the run was started with last."""
  files, bindings = trained.configuration(base_dir, flags.FLAGS.gin_files)
  own = *trained.BINDINGS, filming.BINDING
  run_experiment.load_gin_configs(
    files, [*bindings, *command_line.gin_bindings(), *own]
  )


def _make_film(checkpoint: str) -> Film:
  try:
    return Film(checkpoint, flags.FLAGS.every_frame)
  except errors.SettingError as error:
    if 'render_mode' not in str(error):
      raise
    raise errors.SettingError(
      f'this run cannot be watched: its task renders no pictures: {error}'
    ) from error


if __name__ == '__main__':
  command_line.define_gin_flags()
  flags.DEFINE_string('base_dir', None, 'The folder of the run.')
  define_flags()
  command_line.run(main)
