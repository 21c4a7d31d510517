"""Tests for dopamine.interfaces."""

import gin
import pytest

from dopamine import interfaces
from dopamine.discrete_domains import run_experiment

pytestmark = pytest.mark.no_backend


class Saved(interfaces.Environment):
  saves_mid_episode = True

  def reset(self):
    return 0

  def step(self, action):
    return 0, 0.0, False, {}


class Named(Saved):
  def __init__(self):
    self.name = 'mine'


class Stepping(Saved):
  def step(self, action):
    return super().step(action)


class BelowStepping(Stepping):
  pass


class SayingSo(Stepping):
  saves_mid_episode = True


class Mixin:
  def reset(self):
    return 1


class WithMixin(Mixin, Saved):
  pass


@gin.configurable(module='interfaces_test')
class Bindable(Saved):
  def __init__(self, length=3):
    self.length = length


@gin.configurable(module='interfaces_test')
class BindableStepping(Saved):
  def step(self, action):
    return 0, 1.0, False, {}


@pytest.mark.parametrize(
  'cls, says_so',
  [
    (interfaces.Environment, False),
    (Saved, True),
    (Named, True),
    (Stepping, False),
    (BelowStepping, False),
    (SayingSo, True),
    (WithMixin, False),
    (Bindable, True),
    (BindableStepping, False),
  ],
)
def test_who_overrides_a_step_must_say_again_that_it_saves(cls, says_so):
  assert cls.saves_mid_episode is says_so
  assert cls().saves_mid_episode is says_so


@pytest.mark.parametrize(
  'hook', ['_initialize_episode', '_run_one_step', '_end_episode', 'other']
)
def test_who_overrides_a_hook_of_a_runner_must_say_so_too(hook):
  plain = type('Mine', (run_experiment.TrainRunner,), {hook: lambda self: 0})
  assert plain.saves_mid_episode is (hook == 'other')
  body = {hook: lambda self: 0, 'saves_mid_episode': True}
  assert type('Mine', (run_experiment.Runner,), body).saves_mid_episode is True
