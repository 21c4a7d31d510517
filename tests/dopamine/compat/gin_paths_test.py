"""Paths of gin files that were registered elsewhere; modules that are gone."""

import importlib
import importlib.util
import os
import sys
import types

import gin
import pytest

from dopamine.agents.dqn import dqn_agent
from dopamine.compat import dopamine_4
from dopamine.discrete_domains import run_experiment
from dopamine.settings import gin_files

pytestmark = pytest.mark.no_backend

PATHS = (
  'dopamine.jax.agents.dqn.dqn_agent',
  'jax.agents.dqn.dqn_agent',
  'dopamine.tf.agents.dqn.dqn_agent',
  'tf.agents.dqn.dqn_agent',
  'agents.dqn.dqn_agent',
  'dqn_agent',
)


@gin.configurable(module='gin_paths_test')
def pathed(value=None, text=None):
  return value, text


@pytest.mark.parametrize('path', PATHS)
@pytest.mark.parametrize('scope', ['', 'warm/', 'a/b/'])
def test_a_path_is_found_as_a_value_a_call_and_a_macro(path, scope):
  name = f'{scope}{path}.linearly_decaying_epsilon'
  gin.parse_config(
    f"""
{scope}{path}.linearly_decaying_epsilon.decay_period = 100
{path}.linearly_decaying_epsilon.step = 60
linearly_decaying_epsilon.warmup_steps = 10
linearly_decaying_epsilon.epsilon = 0.5
a/pathed.value = @{name}()  # Not @{path}.identity_epsilon.
b/pathed.value = [{{'k': (@{name},)}}]
macro = @{name}()
c/pathed.value = %macro
pathed.text = '@{name}'
"""
  )
  with gin.config_scope('a'):
    assert pathed() == (0.75, f'@{name}')
  with gin.config_scope('b'):
    (function,) = pathed()[0][0]['k']
  assert function() == 0.75
  with gin.config_scope('c'):
    assert pathed()[0] == 0.75
  selectors = {selector for _, selector in gin.config._CONFIG}
  epsilon = 'dopamine.agents.dqn.dqn_agent.linearly_decaying_epsilon'
  assert epsilon in selectors
  assert not any(
    'jax' in selector or '.tf.' in selector for selector in selectors
  )
  decay = gin.query_parameter(
    f'{scope}{path}.linearly_decaying_epsilon.decay_period'
  )
  assert decay == 100


def test_short_names_stay_unambiguous():
  name = 'linearly_decaying_epsilon'
  gin.parse_config(f'pathed.value = @jax.agents.dqn.dqn_agent.{name}')
  assert gin.config._REGISTRY.matching_selectors(name) == [
    f'dopamine.agents.dqn.dqn_agent.{name}'
  ]
  gin.parse_config('pathed.value = @jax.agents.dqn.dqn_agent.identity_epsilon')
  assert pathed()[0](1, 2, 3, 0.25) == 0.25


def test_files_includes_and_bindings(tmp_path):
  inner, outer = tmp_path / 'inner.gin', tmp_path / 'outer.gin'
  line = 'pathed.value = @jax.agents.dqn.dqn_agent.{}_epsilon\n'
  inner.write_text(line.format('identity'))
  outer.write_text(f'include "{inner}"\n')
  gin_files.parse([str(outer)], [])
  assert pathed()[0](1, 2, 3, 0.25) == 0.25
  gin.clear_config()
  gin_files.parse([str(outer)], [line.format('linearly_decaying')])
  assert pathed()[0](100, 60, 10, 0.5) == 0.75
  assert callable(dqn_agent.linearly_decaying_epsilon)


@pytest.mark.parametrize(
  'name',
  [
    'jax.agents.dqn.dqn_agent.DQNAgent',  # It is JaxDQNAgent.
    'jax.agents.rainbow.rainbow_agent.linearly_decaying_epsilon',
    'my.jax.agents.dqn.dqn_agent.identity_epsilon',
    'tf.keras.linearly_decaying_epsilon',
    'tf.agents.dqn.dqn_agent.Nothing',
  ],
)
def test_other_paths_are_unknown(name):
  with pytest.raises(ValueError, match='No configurable matching'):
    gin.parse_config(f'pathed.value = @{name}')


@pytest.mark.parametrize(
  'line, instead',
  [
    ('from flax import nn', 'import flax.linen'),
    ('import flax.nn  # The old one.', 'import flax.linen'),
    ('import flax.optim', 'import optax'),
    ('from flax import optim', 'import optax'),
    (
      'DQNAgent.network = @gym_lib.acrobot_fourier_dqn_network',
      'DQNAgent.network = @gym_lib.AcrobotFourierDQNNetwork',
    ),
    (
      'checkpointer.Checkpointer.checkpoint_duration = 7',
      'DQNAgent.max_tf_checkpoints_to_keep = 7',
    ),
    (
      "CollectorDispatcher.collectors = ('console',)",
      '(nothing: logs and event files are written as they are)',
    ),
    (
      'run_experiment.Runner.use_legacy_logger = False',
      '(nothing: logs and event files are written as they are)',
    ),
  ],
)
def test_a_line_of_another_dopamine_is_told_what_to_write(line, instead):
  with pytest.raises(ValueError) as error:
    run_experiment.load_gin_configs([], [line])
  assert str(error.value).splitlines()[1:] == [
    f'  {line.split("  #")[0]}',
    f'  ->  {instead}',
  ]


def test_a_collector_of_ones_own_is_not_dopamine_4s():
  dopamine_4.check_version(
    ['MyCollector.collectors = 1', 'x.Runner.logger = 2']
  )


# Modules ----------------------------------------------------------------------


def test_a_statistics_instance():
  from dopamine.metrics import statistics_instance

  figure = statistics_instance.StatisticsInstance('Loss', 0.5, step=3)
  assert (figure.name, figure.value, figure.step) == ('Loss', 0.5, 3)
  assert figure == statistics_instance.StatisticsInstance(
    name='Loss', value=0.5, step=3
  )
  module = importlib.import_module('dopamine.metrics.statistics_instance')
  assert module is statistics_instance
  assert type(figure).__module__ == 'dopamine.metrics.statistics_instance'


@pytest.mark.parametrize(
  'name, row',
  [
    *(
      (f'dopamine.metrics.{name}', 'dopamine.metrics')
      for name in (
        *('collector', 'collector_dispatcher', 'console_collector'),
        *('pickle_collector', 'tensorboard_collector'),
      )
    ),
    ('dopamine.labs.atari_100k.spr_agent', 'dopamine.labs'),
    ('dopamine.labs', 'dopamine.labs'),
    ('dopamine.continuous_domains.train', 'dopamine.continuous_domains'),
    *(
      [
        ('dopamine.jax.serial_utils', 'dopamine.jax.serial_utils'),
        ('dopamine.jax.agents.sac.sac_agent', 'dopamine.jax.agents.sac'),
        ('dopamine.jax.replay_memory.elements', 'dopamine.jax.replay_memory'),
      ]
      if os.environ.get('KERAS_BACKEND') == 'jax'
      else []
    ),
    ('dopamine.tf.agents.dqn.dqn_agent', 'dopamine.tf'),
  ],
)
def test_a_module_that_is_gone_says_what_to_do(name, row):
  with pytest.raises(ModuleNotFoundError, match=f'see the row of {row} in'):
    importlib.import_module(name)


def test_a_module_of_no_dopamine_is_not_there():
  with pytest.raises(ModuleNotFoundError, match='^No module named') as error:
    importlib.import_module('dopamine.metric')
  assert 'row' not in str(error.value)
  assert importlib.util.find_spec('dopamine.nothing') is None


def test_a_fork_that_has_such_a_module_imports_it(tmp_path, monkeypatch):
  import dopamine

  (tmp_path / 'labs').mkdir()
  (tmp_path / 'labs/mine.py').write_text('VALUE = 3\n')
  monkeypatch.setattr(dopamine, '__path__', [*dopamine.__path__, str(tmp_path)])
  for name in ('dopamine.labs', 'dopamine.labs.mine'):
    monkeypatch.delitem(sys.modules, name, raising=False)
  try:
    module = importlib.import_module('dopamine.labs.mine')
  finally:
    for name in ('dopamine.labs', 'dopamine.labs.mine'):
      sys.modules.pop(name, None)
  assert isinstance(module, types.ModuleType) and module.VALUE == 3


def test_gin_says_it_too():
  with pytest.raises(ImportError, match='row of dopamine.labs in docs'):
    gin_files.parse([], ['import dopamine.labs.atari_100k.spr_agent'])
