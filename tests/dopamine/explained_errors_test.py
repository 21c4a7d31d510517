"""Which errors end a command with a paragraph, and which with a traceback."""

import abc
import os

import gin
import numpy as np
import pytest

from dopamine import command_line
from dopamine import shapes
from dopamine import storage
from dopamine.discrete_domains import run_experiment
from dopamine.replay_memory import circular_replay_buffer
from dopamine.settings import errors
from dopamine.settings import gin_files

pytestmark = pytest.mark.no_backend


DYNAMIC = 'from __gin__ import dynamic_registration'


@pytest.fixture(autouse=True)
def clear_gin():
  gin.clear_config()
  yield
  gin.clear_config()


@gin.configurable(module='explained_errors_test')
def call_well(a, b):
  return call_badly(a) if b else a


@gin.configurable(module='explained_errors_test')
class Called:
  def __init__(self, a, b=False):
    if b:
      self.helper()

  def helper(self, a):
    return a


class Plain:
  def __init__(self, a):
    self.a = a


@gin.configurable(module='explained_errors_test')
class Inherits(Called):
  pass


@gin.configurable(module='explained_errors_test')
class PassesOn(Plain):
  def __init__(self, a):
    super().__init__(a, c=1)


@gin.configurable(module='explained_errors_test')
class Empty:
  pass


@gin.configurable(module='explained_errors_test')
class New:
  def __new__(cls, a):
    if a == 'mine':
      raise TypeError('New.__new__() got a bad argument')
    return super().__new__(cls)


@gin.register(module='explained_errors_test')
class Abstract(abc.ABC):
  @abc.abstractmethod
  def method(self): ...


@gin.configurable(module='explained_errors_test')
def raise_(error):
  raise error


@gin.configurable(module='one')
def namesake(a):
  return a


gin.configurable('namesake', module='two')(lambda a: a)


def called_by_gin(value, *bindings):
  """Calls what takes a value that gin makes."""
  gin_files.parse([], [f'take.a = {value}', *bindings])
  return take()


@gin.configurable(module='explained_errors_test')
def take(a):
  return a


@gin.configurable(module='explained_errors_test')
def recursive():
  recursive()


def call_badly(a):
  return max(a, key=call_well, other=1)


@pytest.mark.parametrize(
  'error, built_in',
  [
    (errors.SettingError, ValueError),
    (errors.InterfaceError, TypeError),
    (errors.StateError, RuntimeError),
    (errors.NotFiniteError, FloatingPointError),
    (errors.MissingFileError, FileNotFoundError),
    (errors.NotSavedError, OSError),
    (errors.NotInstalledError, ImportError),
    (storage.DamagedError, ValueError),
    (circular_replay_buffer.NotFoundError, FileNotFoundError),
    (gin_files.StatementError, SyntaxError),
  ],
)
def test_what_explains_a_mistake_is_a_built_in_error_too(error, built_in):
  with pytest.raises(built_in, match='^the way out$') as caught:
    raise error('the way out')
  assert isinstance(caught.value, errors.UsageError)
  with pytest.raises(SystemExit) as end, command_line.explaining_mistakes():
    raise error('the way out')
  assert end.value.code == '\nError: the way out'


@pytest.mark.parametrize(
  'call, words',
  [
    (lambda: call_well(1), ["missing 1 required positional argument: 'b'"]),
    (lambda: call_well(1, 2, 3), ['takes 2 positional arguments but 3']),
    (lambda: call_well(1, 2, c=3), ["unexpected keyword argument 'c'"]),
    (lambda: Called(), ['Called.__init__() missing 1', "arguments: ['a']"]),
    (lambda: Called(1, name=2), ["unexpected keyword argument 'name'"]),
    (lambda: Inherits(1, name=2), ["unexpected keyword argument 'name'"]),
    (lambda: call_well(gin.REQUIRED, 2), ['Required bindings for', "['a']"]),
    (lambda: Empty(b=2), ['Error: Empty() takes no arguments']),
    (lambda: New(b=2), ['New.__new__() got an unexpected', "'b'"]),
    (lambda: called_by_gin('@Abstract()'), ['abstract class Abstract']),
    (lambda: called_by_gin('@x/Abstract()'), ['abstract class Abstract']),
    (
      lambda: called_by_gin(
        '@x/gin.singleton()', 'x/gin.singleton.constructor = 3'
      ),
      ["constructor for singleton 'x' is not callable"],
    ),
    (
      lambda: storage.put(os.devnull, write=lambda: None),
      ['<lambda>() takes 0 positional arguments but 1 was given'],
    ),
    (
      lambda: circular_replay_buffer.WrappedReplayBuffer((), 1, nope=1),
      ['OutOfGraphReplayBuffer.__init__() got an unexpected', "'nope'"],
    ),
    (
      lambda: run_experiment.Runner('', len, nope=1),
      ['Runner.__init__() got an unexpected', "'nope'"],
    ),
  ],
)
def test_a_call_that_gin_cannot_make_is_a_mistake(call, words):
  with pytest.raises(SystemExit) as end, command_line.explaining_mistakes():
    call()
  for word in words:
    assert word in end.value.code
  assert 'In call to' not in end.value.code


@pytest.mark.parametrize(
  'call, error',
  [
    (lambda: call_well(1, True), TypeError),
    (lambda: Called(1, True), TypeError),
    (lambda: PassesOn(1), TypeError),
    (lambda: call_badly(1), TypeError),
    (lambda: shapes.check('B', np.zeros((1, 1))), ValueError),
    (lambda: int('x'), ValueError),
    (lambda: New('mine'), TypeError),
    (lambda: raise_(TypeError('raise_() got a bad argument')), TypeError),
    (lambda: raise_(RuntimeError('Required bindings for `x`')), RuntimeError),
    (lambda: raise_(ValueError('mine')), ValueError),
    (lambda: recursive(), RecursionError),
  ],
)
def test_an_error_of_the_code_that_is_called_keeps_its_traceback(call, error):
  with pytest.raises(error), command_line.explaining_mistakes():
    call()


@pytest.mark.parametrize(
  'line',
  [
    'raise ValueError("mine")',
    'x = = 1',
    'import a_library_that_is_missing',
    'open("a_file_that_is_missing")',
    '{}["mine"]',
  ],
)
@pytest.mark.parametrize('is_included', [False, True])
def test_an_error_of_a_module_that_gin_imports_stays(
  line, is_included, tmp_path, monkeypatch
):
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / 'broken_module.py').write_text(line)
  (tmp_path / 'inner.gin').write_text('import broken_module\n')
  outer = tmp_path / 'outer.gin'
  outer.write_text(f"include '{tmp_path / 'inner.gin'}'\n")
  file = outer if is_included else tmp_path / 'inner.gin'
  with pytest.raises(Exception) as error:
    gin_files.parse([str(file)], [])
  assert not isinstance(error.value, errors.UsageError)


@pytest.mark.parametrize(
  'statement, words',
  [
    ('a.b = 1', ["No configurable matching 'a'"]),
    ('x =', ['Unable to parse value']),
    ('call_well.c = 1', ["parameter named 'c'"]),
    ('y = @nothing', ["'@nothing'"]),
    ('z = (', ['does not end']),
    (
      'import no_such_module',
      ["No module named 'no_such_module' (", 'line 1\n', 'PYTHONPATH'],
    ),
    ('import dopamine.agents.dqn.dqn_agnt', ["'dopamine.agents.dqn.dqn_agnt'"]),
    ('from dopamine import nothing_here', ["'dopamine.nothing_here'"]),
    ('namesake.a = 1', ["Ambiguous selector 'namesake', matches ", "'one.n"]),
    ('call_well.a = @namesake', ["Ambiguous selector 'namesake', matches "]),
    ("include 'nothere.gin'", ['nothere.gin', 'line 1\n']),
    ("include'nothere.gin'", ['nothere.gin']),
    (f'{DYNAMIC}\nnothing.a = 1', ["'nothing' was not provided by an import"]),
    (f'{DYNAMIC}\nimport os\nos.nothing.a = 1', ['has no attribute nothing']),
    ('call_well.a = {[]: 1}', ["unhashable type: 'list': a dictionary"]),
  ],
)
@pytest.mark.parametrize('is_in_a_file', [False, True])
def test_what_gin_cannot_read_is_a_mistake(
  statement, words, is_in_a_file, tmp_path
):
  file = tmp_path / 'mine.gin'
  file.write_text(statement)
  with pytest.raises(errors.UsageError) as error:
    gin_files.parse(*(([str(file)], []) if is_in_a_file else ([], [statement])))
  for word in words:
    assert word in str(error.value)


@pytest.mark.parametrize('statement', ["include 'dqm.gin'", "include'dqm.gin'"])
@pytest.mark.parametrize('is_in_a_file', [False, True])
def test_a_file_to_include_that_is_not_there(statement, is_in_a_file, tmp_path):
  file = tmp_path / 'mine.gin'
  file.write_text(statement)
  with pytest.raises(errors.MissingFileError, match='did you mean .*dqn.gin'):
    gin_files.read(*(([str(file)], []) if is_in_a_file else ([], [statement])))


@pytest.mark.parametrize(
  'bindings, names',
  [
    (['call_well.a = @call_well()'], '@call_well(), which needs @call_well()'),
    (
      ['call_well.a = [@Called()]', 'Called.b = {"x": %m}', 'm = @call_well()'],
      '@call_well()',
    ),
    (
      [
        'call_well.a = @x/gin.singleton()',
        'x/gin.singleton.constructor = @call_well',
      ],
      '@singleton()',
    ),
    (['call_well.a = @x/call_well()'], '@call_well()'),
    (['x/Called.a = [@call_well()]', 'call_well.a = @x/Called()'], '@Called()'),
  ],
)
def test_a_binding_that_needs_itself_is_a_mistake(bindings, names):
  with pytest.raises(errors.SettingError, match='which needs') as error:
    gin_files.parse([], bindings)
  assert names in str(error.value)


def test_a_binding_may_name_what_it_is_bound_to():
  gin_files.parse([], ['call_well.a = @call_well', 'a/Called.b = @b/Called()'])
  gin.clear_config()
  gin_files.parse([], ['call_well.a = @x/call_well()', 'x/call_well.a = 1'])
