"""Tests for dopamine.discrete_domains.ale_state, by two games."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from dopamine.discrete_domains import atari_lib
from tests.support import atari

pytestmark = pytest.mark.no_backend

CONTINUE = """
import pickle, sys
from dopamine.discrete_domains import atari_lib
from tests.support import atari
environment = atari_lib.create_atari_environment('Breakout', seed=99)
if sys.argv[2] == 'life':
  environment.terminal_on_life_loss = True
with open(sys.argv[1], 'rb') as file:
  environment.set_state(pickle.load(file))
print(atari.play(environment, 600, seed=5))
"""


@pytest.mark.parametrize('life', ['life', 'game'])
def test_another_process_continues_exactly(tmp_path, life):
  environment = atari_lib.create_atari_environment('Breakout', seed=3)
  environment.terminal_on_life_loss = life == 'life'
  environment.reset()
  atari.play(environment, 57)
  state = environment.get_state()
  path = tmp_path / 'state'
  path.write_bytes(pickle.dumps(state))
  continued = atari.play(environment, 600, seed=5)
  result = subprocess.run(
    [sys.executable, '-c', CONTINUE, path, life],
    env=dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
    cwd=os.getcwd(),
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  assert result.stdout.strip() == continued


@pytest.mark.parametrize('game', ['Breakout', 'Pong'])
def test_action_that_sticky_frames_repeat_is_restored(game):
  def create(seed):
    return atari_lib.AtariPreprocessing(
      atari_lib.AleEnvironment(game, 0.25, seed), frame_skip=1
    )

  environment, other = create(1), create(2)
  environment.reset()
  for trial in range(60):
    atari.play(environment, 20, seed=trial)
    other.set_state(environment.get_state())
    expected = atari.play(environment, 10, seed=trial)
    assert atari.play(other, 10, seed=trial) == expected, trial


def test_state_can_be_passed_on_without_a_step():
  environment, second, third = (
    atari_lib.create_atari_environment('Breakout', seed=seed)
    for seed in (3, 4, 5)
  )
  environment.reset()
  for trial in range(20):
    atari.play(environment, 20, seed=trial)
    second.set_state(environment.get_state())
    third.set_state(second.get_state())
    expected = atari.play(environment, 10, seed=trial)
    assert atari.play(third, 10, seed=trial) == expected, trial


def test_saving_does_not_disturb_the_game():
  def digest(is_saved):
    environment = atari_lib.create_atari_environment('Breakout', seed=3)
    environment.reset()
    digests = []
    for trial in range(20):
      if is_saved:
        environment.get_state()
      digests.append(atari.play(environment, 10, seed=trial))
    return digests

  assert digest(True) == digest(False)


def test_saving_after_a_reset_does_not_disturb_the_game():
  def digest(is_saved):
    environment = atari_lib.create_atari_environment('Breakout', seed=3)
    digests = []
    for trial in range(20):
      environment.reset()
      if is_saved:
        environment.get_state()
      digests.append(atari.play(environment, 10, seed=trial))
    return digests

  assert digest(True) == digest(False)


def test_state_is_not_changed_by_playing_on():
  environment = atari_lib.create_atari_environment('Breakout', seed=3)
  environment.reset()
  atari.play(environment, 50)
  state = environment.get_state()
  assert type(state['emulator']) is bytes
  assert type(state['screen_buffer']) is np.ndarray
  assert type(state['lives']) is int
  assert type(state['game_over']) is bool
  assert type(state['played']) is bytes
  # Short: the first picture after a restore depends on the buffers.
  first = atari.play(environment, 3, seed=5)
  atari.play(environment, 50)
  environment.set_state(state)
  assert atari.play(environment, 3, seed=5) == first


def test_restored_picture_is_stale_as_the_original_would_be():
  environment = atari_lib.create_atari_environment('Breakout', seed=3)
  environment.reset()
  atari.play(environment, 20)
  state = environment.get_state()
  other = atari_lib.create_atari_environment('Breakout', seed=4)
  other.set_state(state)
  np.testing.assert_array_equal(
    other._pool_and_resize(), environment._pool_and_resize()
  )


def test_state_of_another_game_is_refused():
  state = atari_lib.create_atari_environment('Pong').get_state()
  environment = atari_lib.create_atari_environment('Breakout')
  with pytest.raises(ValueError, match='not a state of this game'):
    environment.set_state(state)


@pytest.mark.parametrize('game', ['Breakout', 'Pong'])
def test_saving_does_not_change_the_run(game):
  """Nor does restoring, where a whole step repeated an older action.

  With this stickiness one step in four does; with the usual, one in 256.
  """

  def make():
    return atari_lib.AtariPreprocessing(
      atari_lib.AleEnvironment(game, repeat_action_probability=0.7, seed=3)
    )

  straight, saved = make(), make()
  rng = np.random.default_rng(0)
  straight.reset(), saved.reset()
  for step in range(60):
    state = saved.get_state()
    if step % 3 == 0:
      saved = make()
      saved.set_state(state)
    action = int(rng.integers(straight.action_space.n))
    expected, found = straight.step(action), saved.step(action)
    np.testing.assert_array_equal(found[0], expected[0], err_msg=str(step))
    assert found[1:3] == expected[1:3]
  assert straight._ale.getRAM().tolist() == saved._ale.getRAM().tolist()
