"""What classes do with `self` is read from their methods, however made."""

import functools
import pathlib

import gin
import pytest

import dopamine
from dopamine import seams
from dopamine.compat import old_code
from dopamine.compat import own_code

pytestmark = pytest.mark.no_backend


class Base:
  """Stands for `JaxDQNAgent`, which needs JAX."""

  __module__ = 'dopamine.jax.agents.dqn.dqn_agent'


Base.__name__ = 'JaxDQNAgent'


def jitted(function):
  """As `jax.jit` makes of a method: an object that is no function."""

  class Jitted:
    def __init__(self):
      self.__wrapped__ = function

    def __call__(self, *args):
      return function(*args)

  return Jitted()


def bare(function):
  """A decorator without `functools.wraps`."""

  def call(*args):
    return function(*args)

  return call


def test_paths_below_self():
  class Agent:
    def verbs(me, x):
      me._replay.memory._store[0] = x.other
      memory = me._replay.memory
      memory.add_count += 1
      me.count += 1
      me.first, me.second = x.third, me._sess.run(x)
      x.fourth = x.fifth

  uses = own_code.methods(Agent)['Agent.verbs']
  assert uses.stored == {'_replay.memory.add_count', 'count', 'first', 'second'}
  assert uses.read == {
    *('_replay', '_replay.memory', '_replay.memory._store', '_sess'),
    *('_sess.run', '_replay.memory.add_count', 'count'),
  }


def test_names_in_texts_and_of_parents():
  class Agent(dict):
    def verbs(self, other):
      if hasattr(self, 'asked'):
        setattr(self, 'stored', getattr(self, 'read', 'no'))  # noqa: B010
      getattr(other, 'other')  # noqa: B009
      super().get(other)
      super(Agent, self).copy()  # noqa: UP008

    def of_a_module(self):
      super(functools.Agent, self).keys()

  uses = own_code.methods(Agent)['Agent.verbs']
  assert uses.read == {'read'}
  assert uses.stored == {'stored'}
  assert uses.asked == {'asked', 'read'}  # It has a default.
  assert uses.inherited == {'get', 'copy'}
  assert {'no', 'other'} < uses.texts
  assert own_code.methods(Agent)['Agent.of_a_module'].inherited == {'keys'}


def test_names_that_are_set_in_a_loop_or_a_dict():
  class Agent:
    def in_a_loop(self):
      [setattr(self, name, 1) for name in ('_first', '_second')]

    def in_a_dict(self):
      self.__dict__.update(_third=2)

  uses = own_code.uses(Agent)
  assert {'_first', '_second', '_third'} <= uses.texts


class Decorated:
  @property
  def by_property(self):
    return self.a

  @by_property.setter
  def by_property(self, value):
    self.b = value

  @functools.cached_property
  def by_cached_property(self):
    return self.c

  @jitted
  def by_jit(self):
    return self.d

  @bare
  def by_bare(self):
    return self.e

  @functools.cache  # noqa: B019
  def by_cache(me):
    return me.j

  @classmethod
  def of_the_class(cls):
    return cls.not_of_self

  @staticmethod
  def of_none(first):
    return first.not_of_self

  by_lambda = lambda self: self.f  # noqa: E731

  def inside(self, items):
    def call(x):
      return x.no, self.g

    return call, [self.h for _ in items], lambda: self.i

  def shadowed(self, items):
    return [lambda self: self.no for _ in items]

  by_partial = functools.partialmethod(inside, items=[])


def test_decorators_and_functions_inside():
  uses = own_code.uses(Decorated)
  assert uses.read == set('acdefghij')
  assert uses.stored == {'b'}


def test_what_gin_made_and_what_takes_its_place():
  @gin.configurable(module='own_code_test')
  class Parent:
    def __init__(self):
      self.made = self.inherited

    def verb(self):
      return self.old

    def other(self):
      return self.older

  class Child(Parent):
    def verb(self):
      return self.new

    def other(self):
      return super().other(), self.newer

  assert own_code.uses(Child).read == {'inherited', 'new', 'older', 'newer'}
  assert own_code.uses(Child).stored == {'made'}
  assert {'verb', '__init__'} < own_code.defined(Child)


def test_what_gin_makes_of_our_constructor_is_ours():
  code = 'def made(self): self.ours = self.read'
  names = {'__name__': 'dopamine.losses'}
  exec(code, names)

  @functools.wraps(names['made'])
  def gin_wrapper(*args):
    return names['made'](*args)

  class Mine:
    __init__ = gin_wrapper

  assert own_code.uses(Mine) == own_code.Uses()


def test_modules_are_ours_by_name():
  root = pathlib.Path(dopamine.__path__[0])
  for path in root.rglob('*.py'):
    if path.parent.name != 'configs' and path.read_text():
      parts = path.relative_to(root.parent).with_suffix('').parts
      name = '.'.join(parts).removesuffix('.__init__')
      assert seams.is_ours(name), f'{name} is missing in seams._MODULES'
  for fork in 'agents.my.my_agent', 'replay_memory.mine', 'my_project', 'runs_':
    assert not seams.is_ours(f'dopamine.{fork}')
  assert not seams.is_ours('__main__')
  assert not seams.is_ours(None)


# Functional agents ------------------------------------------------------------


class Builds(Base):
  def _build_networks_and_optimizer(self):
    self.online_params = {}


class Updates(Base):
  def _train_step(self):
    self.optimizer_state, self.online_params, _ = train(self.network_def)


class Resets(Base):
  def _sync_weights(self):
    self.online_params = None


class ByName(Base):
  def values(self):
    return getattr(self, 'target_network_params')  # noqa: B009


class Jits(Base):
  @jitted
  def update(self, x):
    return [self.replay_elements[key] for key in x]


class Mixin:
  def _sample_from_replay_buffer(self):
    pass


class Mixed(Mixin, Base):
  pass


class Below(Updates):
  def begin_episode(self, observation):
    return 0


def train(*args):
  return args


@pytest.mark.parametrize(
  'cls', [Builds, Updates, Resets, ByName, Jits, Mixed, Below]
)
def test_functional(cls):
  assert old_code.is_functional(cls)


class Reads(Base):
  def values(self):
    return self.online_params, self.target_convnet


class Owns(Base):
  network_def = None

  def values(self):
    return self.network_def


class OwnsBelow(Owns):
  def values(self):
    return super().network_def


class Asks(Base):
  def values(self):
    return hasattr(self, 'network_def') and self.network_def


class Perturbs(Base):
  """An agent of hooks whose parameters are set."""

  def _loss(self, batch):
    return super()._loss(batch)

  def begin_episode(self, observation):
    self.online_params = self.target_network_params = None


class OfOthers(Base):
  def values(self, other):
    return other.network_def, 'network_def'


class Other(Updates.__mro__[-1]):
  def _build_networks_and_optimizer(self):
    pass


@pytest.mark.parametrize(
  'cls', [Base, Reads, Owns, OwnsBelow, Asks, Perturbs, OfOthers, Other]
)
def test_not_functional(cls):
  assert not old_code.is_functional(cls)
