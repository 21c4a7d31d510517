"""Atari games by their names, however they are written."""

import difflib
import functools
import re

from absl import logging
from ale_py import roms
import gymnasium

from dopamine.settings import errors

# ale-py ships these four, but has no one-player mode for them: loading one
# ends the whole process.
TWO_PLAYER_ROMS = frozenset({'combat', 'joust', 'maze_craze', 'warlords'})

# What ids and the names of files have around a game: 'ale_py:ALE/Pong-ram-v5',
# 'PongNoFrameskip-v4', 'roms/pong.bin'.
_AROUND_GAME = re.compile(
  r'(?:.*[:/\\])?(?P<game>.+?)(?P<ram>[-_ ]ram)?'
  r'([-_ ]?(No[-_ ]?Frameskip|Deterministic))?([-_ ]v\d+)?(\.bin)?',
  re.IGNORECASE,
)


def game_names() -> list[str]:
  """Returns the names of all games, e.g. 'SpaceInvaders'."""
  playable = set(roms.get_all_rom_ids()) - TWO_PLAYER_ROMS
  return sorted(map(camel_case, playable))


def camel_case(rom_id: str) -> str:
  """'SpaceInvaders' of ale-py's id, 'space_invaders'."""
  return rom_id.title().replace('_', '')


def find_rom_id(game_name: str | None) -> str:
  """Returns ale-py's id of a game: 'SpaceInvaders' is 'space_invaders'.

  Args:
    game_name: in any capitalisation, with or without blanks and the like. Of
      an id of Gym, Gymnasium or ALE ('ALE/Pong-v5', 'PongNoFrameskip-v4') and
      of a file ('pong.bin') the game is taken; a warning says so.
  """
  if not game_name:
    raise errors.SettingError(
      'create_atari_environment.game_name is not set: give a game, e.g. '
      "'Pong'; for another kind of task bind create_environment_fn of Runner, "
      'or of TrainRunner, in gin @gym_lib.create_gym_environment'
    )
  name = str(game_name).strip()
  rom_ids = {letters(rom_id): rom_id for rom_id in roms.get_all_rom_ids()}
  if letters(name) in rom_ids:
    return rom_ids[letters(name)]
  around = _AROUND_GAME.fullmatch(name)
  key = letters(around['game'] if around else name)
  if around and key in rom_ids:
    _say_what_counts(name, camel_case(rom_ids[key]), around['ram'] is not None)
    return rom_ids[key]
  if key in {letters(spec.name) for spec in gymnasium.registry.values()}:
    raise errors.SettingError(
      f'there is no Atari game {name!r}: for tasks of Gymnasium take the gin '
      'file dopamine/agents/dqn/configs/dqn_gym.gin, and '
      f'create_gym_environment.environment_name = {name!r}'
    )
  names = {letters(name): name for name in game_names()}
  close = difflib.get_close_matches(key, names, n=3, cutoff=0.5)
  nearest = f'. Nearest: {[names[n] for n in close]}' if close else ''
  raise errors.SettingError(
    f'there is no game {name!r}{nearest}; atari_lib.game_names() lists all'
  )


def letters(name: str) -> str:
  """A name without what people write differently."""
  return re.sub(r'[\W_]', '', name).lower()


@functools.cache  # Once.
def _say_what_counts(game_name: str, game: str, is_ram: bool) -> None:
  logging.warning(
    'game_name=%r is read as %r, and nothing else of it counts: the ROM is '
    "ale-py's, and frame skip, sticky actions and observations%s are those of "
    'the gin file (AtariPreprocessing.frame_skip, '
    'create_atari_environment.sticky_actions).',
    *(game_name, game, ', which are pictures and no RAM,' if is_ram else ''),
  )
