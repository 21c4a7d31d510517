"""Saved Atari games go on, in another process, as if nothing had been.

`python atari_state_test.py SAVED CONTINUED` is that other process.
"""

import hashlib
import os
import pickle
import subprocess
import sys
import warnings

import ale_py
import gymnasium
import numpy as np
import pytest

from dopamine.discrete_domains import atari_lib

# Where ALE's own states leave out more than the action that is to be repeated.
GAMES = ('Pitfall2', 'MiniatureGolf', 'Qbert', 'Amidar')
NUM_STEPS_AFTER = 300

pytestmark = [
  pytest.mark.filterwarnings('error:.*came elsewhere'),
  pytest.mark.no_backend,
]


def make(game, seed, repeat_action_probability=0.25, **kwargs):
  return atari_lib.AtariPreprocessing(
    atari_lib.AleEnvironment(game, repeat_action_probability, seed), **kwargs
  )


def play(environment, steps):
  """Plays these steps of a run, with resets; returns a digest of each.

  It has all that can be seen, and the emulator with its random state.
  """
  ale = environment._ale
  digests = []
  for step in steps:
    if environment.game_over:
      environment.reset()
    # Five times the same: a player that changes at once gets nowhere.
    rng = np.random.default_rng(step // 5)
    action = int(rng.integers(environment.action_space.n))
    observation, *rest, _ = environment.step(action)
    rest += [environment.game_over, environment.lives, ale.lives()]
    digest = hashlib.md5(repr(rest).encode())
    for array in (observation, ale.getScreen(), ale.getRAM()):
      digest.update(array.tobytes())
    digest.update(ale.cloneState(include_rng=True).serialize())
    digests.append(digest.hexdigest()[:12])
  return digests


def save(arguments, save_at):
  """Plays a run and saves it; returns the states by step, and its digests.

  Args:
    arguments: of `make`, but the seed.
    save_at: the steps before which it is saved, besides the first after the
      loss of a life and the first after a game.
  """
  environment = make(seed=3, **arguments)
  environment.reset()
  play(environment, range(20))
  environment.reset()  # As the Runner at its step limit.
  states, digests, seen = {}, [], set()
  lives = environment._ale.lives()
  for step in range(max(save_at) + NUM_STEPS_AFTER):
    events = {'a game is over'} if environment.game_over else set()
    if environment._ale.lives() < lives:
      events.add('a life is lost')
    lives = environment._ale.lives()
    if step in save_at or (events - seen and step < max(save_at)):
      states[step] = environment.get_state()
    seen |= events
    digests += play(environment, [step])
  return states, digests


def check_in_another_process(tmp_path, runs, save_at):
  """Saves runs, goes on from each state elsewhere, and compares."""
  saved, expected = {}, {}
  for name, arguments in runs.items():
    states, expected[name] = save(arguments, save_at)
    saved[name] = (arguments, states)
  (tmp_path / 'saved').write_bytes(pickle.dumps(saved))
  result = subprocess.run(
    [sys.executable, __file__, tmp_path / 'saved', tmp_path / 'continued'],
    env=dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  continued = pickle.loads((tmp_path / 'continued').read_bytes())
  assert continued.keys() == runs.keys()
  different = [
    (name, step)
    for name, digests_by_step in continued.items()
    for step, digests in digests_by_step.items()
    if digests != expected[name][step : step + NUM_STEPS_AFTER]
  ]
  assert not different


def go_on(saved_path, continued_path):
  warnings.simplefilter('error')
  with open(saved_path, 'rb') as file:
    saved = pickle.load(file)
  continued = {}
  for name, (arguments, states) in saved.items():
    continued[name] = {}
    for step, state in states.items():
      environment = make(seed=99, **arguments)
      environment.set_state(state)
      continued[name][step] = play(
        environment, range(step, step + NUM_STEPS_AFTER)
      )
  with open(continued_path, 'wb') as file:
    pickle.dump(continued, file)


# What emulator states lack ----------------------------------------------------


def test_games_that_the_emulator_cannot_save_go_on_in_another_process(tmp_path):
  # A frame per step: of Amidar ALE leaves out what the next frame shows.
  runs = {game: {'game': game, 'frame_skip': 1} for game in GAMES}
  check_in_another_process(tmp_path, runs, save_at=(0, 1, 200))


@pytest.mark.parametrize('game', GAMES)
def test_saving_does_not_change_the_run(game):
  saved, straight = make(game, 3), make(game, 3)
  saved.reset(), straight.reset()
  for step in range(60):
    saved.get_state()
    assert play(saved, [step]) == play(straight, [step]), step


@pytest.mark.slow
@pytest.mark.parametrize('part', range(4))
def test_all_games_go_on_in_another_process(tmp_path, part):
  kinds = (
    {},
    {'terminal_on_life_loss': True},
    {'frame_skip': 3, 'repeat_action_probability': 0.0},
  )
  games = atari_lib.game_names()
  assert len(games) == 104
  runs = {
    game: {'game': game, **kinds[i % len(kinds)]}
    for i, game in enumerate(games)
    if i % 4 == part
  }
  # 2,500 steps are 10,000 frames.
  check_in_another_process(tmp_path, runs, save_at=(0, 1, 60, 500, 2500))


# Other states -----------------------------------------------------------------


def check_goes_on(environment, other, num_steps=60):
  """Restores `other` to `environment`, and a second time, and compares."""
  other.set_state(environment.get_state())
  other.set_state(other.get_state())
  assert play(other, range(num_steps)) == play(environment, range(num_steps))


def test_state_from_before_the_first_reset():
  for game in ('MiniatureGolf', 'Pitfall2'):
    environment, other = make(game, 3), make(game, 99)
    other.set_state(environment.get_state())
    environment.reset(), other.reset()
    check_goes_on(environment, other)


def test_mode_and_difficulty_of_gymnasium():
  def make_ale():
    gymnasium.register_envs(ale_py)
    environment = gymnasium.make(
      'ALE/Breakout-v5',
      frameskip=1,
      mode=8,
      difficulty=1,
      full_action_space=True,
    )
    return atari_lib.AtariPreprocessing(environment)

  environment = make_ale()
  for _ in range(2):
    environment.reset()
    play(environment, range(60))
    check_goes_on(environment, make_ale())


def test_saved_with_another_frame_skip():
  environment, other = (make('Breakout', 3, frame_skip=n) for n in (4, 2))
  environment.reset()
  play(environment, range(60))
  state = environment.get_state()
  other.set_state(state)
  assert other.get_state()['emulator'] == state['emulator']


@pytest.mark.parametrize('has_executed', [True, False])
def test_states_of_earlier_versions_go_on(has_executed):
  environment, other, third = (
    make('Breakout', seed, frame_skip=1) for seed in (3, 99, 98)
  )
  environment.reset()
  for _ in range(20):
    # All but one in 10^12 end in LEFT, which one frame in four repeats.
    for _ in range(20):
      environment.step(3)
    state = environment.get_state()
    del state['start'], state['played']
    state['last_action'] = 3
    if has_executed:
      state['executed_action'] = ale_py.Action.LEFT.value
    other.set_state(state)
    third.set_state(other.get_state())
    expected = play(environment, range(10))
    assert play(other, range(10)) == expected
    third.set_state(other.get_state())
    assert play(third, range(10)) == play(other, range(10))


def test_what_a_subclass_plays_by_itself_is_played_again():
  class PressesFire(atari_lib.AtariPreprocessing):
    def reset(self):
      super().reset()
      self.environment.step(1)
      return self.step(1)[0]

  environment, other = (
    PressesFire(atari_lib.AleEnvironment('Pitfall2', 0.25, seed))
    for seed in (3, 99)
  )
  environment.reset()
  play(environment, range(20))
  check_goes_on(environment, other)


class Forwarding:
  """An environment whose emulator cannot be replaced."""

  def __init__(self, environment):
    self._environment = environment

  def __getattr__(self, name):
    return getattr(self._environment, name)

  ale = property(lambda self: self._environment.ale)


def gone_back_in():
  environment = make('Breakout', 3)
  environment.reset()
  early = environment._ale.cloneState()
  play(environment, range(20))
  environment._ale.restoreState(early)
  return environment, make('Breakout', 99)


def other_stickiness():
  environment = make('Breakout', 3)
  environment.reset()
  return environment, make('Breakout', 99, repeat_action_probability=0.5)


def not_recorded():
  environment, other = (
    atari_lib.AtariPreprocessing(
      Forwarding(atari_lib.AleEnvironment('Breakout', 0.25, seed))
    )
    for seed in (3, 99)
  )
  environment.reset()
  return environment, other


@pytest.mark.parametrize(
  'make_both', [gone_back_in, other_stickiness, not_recorded]
)
def test_what_cannot_be_played_again_is_restored_and_told(make_both):
  environment, other = make_both()
  play(environment, range(20))
  state = environment.get_state()
  with pytest.warns(UserWarning, match='came elsewhere'):
    other.set_state(state)
  assert other.get_state()['emulator'] == state['emulator']


if __name__ == '__main__':
  go_on(*sys.argv[1:])
