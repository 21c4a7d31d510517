"""Tests for dopamine.discrete_domains.games."""

import ale_py
from ale_py import roms
import gymnasium
import pytest

from dopamine.colab import utils
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import games
from dopamine.discrete_domains import gym_lib

pytestmark = pytest.mark.no_backend


@pytest.mark.parametrize(
  'name, rom_id',
  [
    ('Pong', 'pong'),
    ('SpaceInvaders', 'space_invaders'),
    ('MsPacman', 'ms_pacman'),
    ('UpNDown', 'up_n_down'),
    ('Jamesbond', 'jamesbond'),
    ('JamesBond', 'jamesbond'),
    ('Riverraid', 'riverraid'),
    ('Qbert', 'qbert'),
    ('TicTacToe3D', 'tic_tac_toe_3d'),
    ('space_invaders', 'space_invaders'),
    ('SPACEINVADERS', 'space_invaders'),
    ('Space Invaders', 'space_invaders'),
    ('space-invaders', 'space_invaders'),
    ('Ms. Pacman', 'ms_pacman'),
  ],
)
def test_game_names(name, rom_id, caplog):
  assert atari_lib.find_rom_id(name) == rom_id
  assert not caplog.text


@pytest.mark.parametrize(
  'name, rom_id, is_ram',
  [
    ('PongNoFrameskip-v4', 'pong', False),
    ('PongDeterministic-v4', 'pong', False),
    ('Pong-v0', 'pong', False),
    ('Pong-ram-v4', 'pong', True),
    ('Pong-ramNoFrameskip-v0', 'pong', True),
    ('SpaceInvadersNoFrameskip-v4', 'space_invaders', False),
    ('ALE/Pong-v5', 'pong', False),
    ('ALE/Pong', 'pong', False),
    ('ALE/Pong-ram-v5', 'pong', True),
    ('ale_py:ALE/TicTacToe3D-v5', 'tic_tac_toe_3d', False),
    ('roms/space_invaders.bin', 'space_invaders', False),
  ],
)
def test_of_an_id_the_game_is_taken(name, rom_id, is_ram, caplog):
  games._say_what_counts.cache_clear()
  with caplog.at_level('WARNING', logger='absl'):
    for _ in range(2):
      assert atari_lib.find_rom_id(name) == rom_id
  assert caplog.text.count(f'game_name={name!r} is read as') == 1
  assert ('pictures and no RAM' in caplog.text) == is_ram


def test_every_id_of_gymnasium_names_its_game():
  atari = {
    environment_id: spec.kwargs['game']
    for environment_id, spec in gymnasium.registry.items()
    if 'game' in spec.kwargs
  }
  assert len(atari) > 300
  assert {name: atari_lib.find_rom_id(name) for name in atari} == atari


def test_the_published_games_are_found():
  found = {atari_lib.find_rom_id(game) for game in utils.ALL_GAMES}
  assert len(found) == len(utils.ALL_GAMES)


def test_a_run_goes_on_however_its_game_is_written():
  for name in ('Pong', 'pong', 'ALE/Pong-v5', 'PongNoFrameskip-v4'):
    environment = atari_lib.create_atari_environment(name)
    # As in the checkpoints of every release.
    assert gym_lib.name_of(environment) == 'pong'


def test_every_shipped_rom_has_its_own_name():
  rom_ids = roms.get_all_rom_ids()
  assert len(rom_ids) >= 108
  for rom_id in rom_ids:
    camel_case = ''.join(word.capitalize() for word in rom_id.split('_'))
    assert atari_lib.find_rom_id(rom_id) == rom_id
    assert atari_lib.find_rom_id(camel_case) == rom_id
  names = atari_lib.game_names()
  assert len(names) == len(rom_ids) - 4
  assert {'Pong', 'SpaceInvaders', 'UpNDown', 'TicTacToe3D'} < set(names)
  assert len({atari_lib.find_rom_id(name) for name in names}) == len(names)


def test_two_player_games_are_refused_instead_of_ending_the_process():
  refused = [
    rom_id
    for rom_id in roms.get_all_rom_ids()
    if ale_py.ALEInterface.isSupportedROM(roms.get_rom_path(rom_id)) is None
  ]
  assert sorted(refused) == ['combat', 'joust', 'maze_craze', 'warlords']
  for rom_id in refused:
    with pytest.raises(ValueError, match='no one-player mode'):
      atari_lib.create_atari_environment(rom_id)


@pytest.mark.parametrize(
  'name, nearest',
  [('Pongg', 'Pong'), ('SpaceInvader', 'SpaceInvaders'), ('mspackman', 'MsP')],
)
def test_unknown_game_names_its_neighbours(name, nearest):
  with pytest.raises(ValueError, match=f'{name}.*{nearest}.*game_names'):
    atari_lib.create_atari_environment(name)


def test_an_unknown_game_without_neighbours():
  with pytest.raises(ValueError, match="^there is no game 'zz'; atari_lib"):
    atari_lib.find_rom_id('zz')


@pytest.mark.parametrize('name', ['CartPole', 'CartPole-v1', 'LunarLander-v2'])
def test_a_task_that_is_no_game_is_told_its_file(name):
  with pytest.raises(ValueError, match=f'dqn_gym.gin.*{name}'):
    atari_lib.find_rom_id(name)


@pytest.mark.parametrize('name', [None, ''])
def test_missing_game_name(name):
  with pytest.raises(ValueError, match='game_name is not set'):
    atari_lib.create_atari_environment(name)
