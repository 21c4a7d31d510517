"""Tests for dopamine.compat.adapters: environments of users' own."""

import copy

import pytest

from dopamine import interfaces
from dopamine import seams
from dopamine.compat import adapters
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from dopamine.runs import bundles
from dopamine.runs import run_checks
from tests.support import inside
from tests.support import plain

pytestmark = pytest.mark.no_backend


class Bare:
  """The least that a Runner plays."""

  game_over = False

  def reset(self):
    return [0]

  def step(self, action):
    return [action], 1.0, False, {}


class Ours(interfaces.Environment):
  pass


def test_one_of_ours_is_returned_as_it_is():
  ours = Ours()
  assert adapters.environment(ours) is ours
  theirs = adapters.environment(Bare())
  assert adapters.environment(theirs) is theirs


def test_attributes_are_read_and_set_on_the_users_object():
  partner = Bare()
  environment = adapters.environment(partner)
  environment.speed = 3
  assert partner.speed == environment.speed == 3
  partner.game_over = True
  assert environment.game_over is True
  environment.step = lambda action: action + 1
  assert partner.step(1) == environment.step(1) == 2
  with pytest.raises(AttributeError, match="'Bare' object has no .* 'lives'"):
    _ = environment.lives
  assert isinstance(environment, Bare)
  assert (str(environment), repr(environment)) == (str(partner), repr(partner))


def test_a_copy_is_of_the_users_object():
  environment = adapters.environment(Bare())
  environment.speed = [3]
  copied = copy.deepcopy(environment)
  copied.speed.append(4)
  assert environment.speed == [3]
  assert copied.step(1) == environment.step(1)


def test_what_one_lacks_is_declared(caplog):
  environment = adapters.environment(Bare())
  assert environment.action_space is None
  assert environment.observation_space is None
  assert environment.task_name is None
  assert environment.saves_mid_episode is False
  environment.close()
  assert bundles.environment_state(environment) is None
  assert not caplog.text


def test_a_state_without_set_state_is_not_asked_for(caplog):
  class Telling(Bare):
    def get_state(self):
      raise AssertionError

  environment = adapters.environment(Telling())
  assert bundles.environment_state(environment) is None
  assert not caplog.text
  Telling.set_state = Telling.get_state = lambda self, *state: 3
  assert bundles.environment_state(environment) == 3


def test_who_overrides_a_step_must_say_again_that_it_saves():
  class Stepping(plain.Environment):
    def step(self, action):
      return super().step(action)

  class SayingSo(Stepping):
    saves_mid_episode = True

  for cls in (plain.Environment, Stepping, SayingSo):
    says_so = adapters.environment(cls()).saves_mid_episode
    assert says_so is (cls is not Stepping)
  environment = plain.Environment()
  environment.saves_mid_episode = False
  assert adapters.environment(environment).saves_mid_episode is False


def test_the_name_is_that_of_what_is_below():
  class Around(Bare):
    environment = gym_lib.create_gym_environment('CartPole').environment

  assert adapters.environment(Around()).task_name == 'CartPole-v0'
  partner = Bare()
  partner.game_name = 'chess'
  assert adapters.environment(partner).task_name == 'chess'


class Around:
  """What users' Runners put round an environment."""

  def __init__(self, environment):
    self.inner = environment

  def __getattr__(self, name):
    return getattr(self.inner, name)


def test_a_runner_takes_what_its_subclass_puts_round_the_environment(tmp_path):
  class Mine(run_experiment.Runner):
    def __init__(self, *args, **kwargs):
      super().__init__(*args, **kwargs)
      self._environment = Around(self._environment)

  made = []

  def make():
    made.append(plain.Environment())
    return made[-1]

  runner = plain.make_runner(str(tmp_path), make, cls=Mine, num_iterations=1)
  assert isinstance(inside.environment(runner), Around)
  inside.environment(runner).inner.length = 5
  runner.run_experiment()
  runner.close()
  assert (len(made), made[0].length, made[0].closed) == (1, 5, 1)
  assert set(inside.logs(runner)['iteration_0']['train_episode_lengths']) == {5}


def test_without_compat_a_foreign_one_is_told_what_to_derive_from(monkeypatch):
  monkeypatch.setattr(seams, 'compat', lambda name: None)
  ours = Ours()
  assert run_checks.as_environment(ours) is ours
  with pytest.raises(ValueError, match='dopamine.interfaces.Environment'):
    run_checks.as_environment(Bare())
