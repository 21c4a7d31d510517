"""Tests of `dopamine.settings.gin_files` and `dopamine.compat.gin_tf`."""

import os
import subprocess
import sys

import gin
import keras
import numpy as np
import pytest

from dopamine import optimizers
from dopamine.compat import dopamine_4
from dopamine.discrete_domains import run_experiment
from dopamine.settings import gin_files


@gin.configurable
def holder(optimizer=None, activation=None, dtype=None):
  return optimizer, activation, dtype


def parse(*lines):
  gin.parse_config('\n'.join(lines))
  return holder()


def test_rmsprop_of_the_published_files():
  optimizer, _, _ = parse(
    'import gin.tf.external_configurables',
    'holder.optimizer = @tf.train.RMSPropOptimizer()',
    'tf.train.RMSPropOptimizer.learning_rate = 0.00025',
    'tf.train.RMSPropOptimizer.decay = 0.95',
    'tf.train.RMSPropOptimizer.momentum = 0.0',
    'tf.train.RMSPropOptimizer.epsilon = 0.00001',
    'tf.train.RMSPropOptimizer.centered = True',
  )
  assert type(optimizer) is optimizers.RMSProp
  assert float(optimizer.learning_rate) == pytest.approx(0.00025)
  assert (optimizer.decay, optimizer.momentum) == (0.95, 0.0)
  assert (optimizer.epsilon, optimizer.centered) == (0.00001, True)
  assert optimizer.initial_mean_square == 1.0


def test_rmsprop_defaults_are_tf1s():
  optimizer, _, _ = parse(
    'holder.optimizer = @tf.train.RMSPropOptimizer()',
    'RMSPropOptimizer.learning_rate = 0.1',
  )
  found = optimizer.decay, optimizer.momentum, optimizer.epsilon
  assert found == (0.9, 0.0, 1e-10)
  assert not optimizer.centered


def test_adam_of_the_published_files():
  optimizer, _, _ = parse(
    'import gin.tf',
    'holder.optimizer = @tf.train.AdamOptimizer()',
    'tf.train.AdamOptimizer.learning_rate = 0.001',
    'tf.train.AdamOptimizer.epsilon = 0.0003125',
  )
  assert type(optimizer) is keras.optimizers.Adam
  assert float(optimizer.learning_rate) == pytest.approx(0.001)
  found = optimizer.beta_1, optimizer.beta_2, optimizer.epsilon
  assert found == (0.9, 0.999, 0.0003125)


def test_keras_optimizers_under_their_tensorflow_names():
  optimizer, _, _ = parse(
    'holder.optimizer = @tf.keras.optimizers.Adam()',
    'tf.keras.optimizers.Adam.learning_rate = 0.5',
  )
  assert type(optimizer) is keras.optimizers.Adam
  assert float(optimizer.learning_rate) == pytest.approx(0.5)


def test_adagrad_is_tf1s():
  optimizer, _, _ = parse(
    'holder.optimizer = @tf.train.AdagradOptimizer()',
    'tf.train.AdagradOptimizer.learning_rate = 0.5',
  )
  variable = keras.Variable([1.0, 2.0])
  optimizer.apply([keras.ops.convert_to_tensor([0.3, -4.0])], [variable])
  # accumulator + g^2, and no epsilon.
  moved = 0.5 * np.array([0.3, -4.0]) / np.sqrt(0.1 + np.array([0.09, 16.0]))
  np.testing.assert_allclose(variable, np.array([1.0, 2.0]) - moved, rtol=1e-6)


@pytest.mark.parametrize(
  'name, bindings, expected',
  [
    ('exponential_decay', 'decay_rate = 0.5', lambda t: 0.1 * 0.5 ** (t / 4)),
    (
      'exponential_decay',
      'decay_rate = 0.5; staircase = True',
      lambda t: 0.1 * 0.5 ** (t // 4),
    ),
    (
      'natural_exp_decay',
      'decay_rate = 0.5',
      lambda t: 0.1 * np.exp(-0.5 * t / 4),
    ),
    (
      'inverse_time_decay',
      'decay_rate = 0.5',
      lambda t: 0.1 / (1 + 0.5 * t / 4),
    ),
    (
      'polynomial_decay',
      'end_learning_rate = 0.02; power = 2.0',
      lambda t: 0.08 * (1 - min(t, 4) / 4) ** 2 + 0.02,
    ),
    (
      'cosine_decay',
      'alpha = 0.1',
      lambda t: 0.1 * (0.9 * (1 + np.cos(np.pi * min(t, 4) / 4)) / 2 + 0.1),
    ),
    (
      'piecewise_constant',
      'boundaries = [2, 3]; values = [1, 0.5, 0.25]',
      lambda t: 1.0 if t <= 2 else 0.5 if t <= 3 else 0.25,
    ),
  ],
)
def test_learning_rate_decays(name, bindings, expected):
  bindings = bindings.split('; ')
  if name != 'piecewise_constant':
    bindings += ['learning_rate = 0.1', 'decay_steps = 4']
    bindings += ['global_step = @tf.train.get_or_create_global_step()']
  optimizer, _, _ = parse(
    'import gin.tf.external_configurables',
    'holder.optimizer = @tf.train.GradientDescentOptimizer()',
    f'tf.train.GradientDescentOptimizer.learning_rate = @tf.train.{name}()',
    *(f'tf.train.{name}.{binding}' for binding in bindings),
  )
  variable = keras.Variable([0.0])
  for t in range(7):
    before = float(variable[0])
    optimizer.apply([keras.ops.convert_to_tensor([1.0])], [variable])
    rate = before - float(variable[0])
    assert rate == pytest.approx(expected(t), rel=1e-4), t


def test_keras_schedules_under_their_tensorflow_names():
  optimizer, _, _ = parse(
    'holder.optimizer = @tf.keras.optimizers.Adam()',
    'tf.keras.optimizers.Adam.learning_rate = '
    '@tf.keras.optimizers.schedules.ExponentialDecay()',
    'ExponentialDecay.initial_learning_rate = 0.5',
    'ExponentialDecay.decay_steps = 2',
    'ExponentialDecay.decay_rate = 0.25',
  )
  assert float(optimizer.learning_rate) == 0.5
  optimizer.build([keras.Variable([0.0])])
  optimizer.iterations.assign(1)
  assert float(optimizer.learning_rate) == pytest.approx(0.25)


def test_an_optimizer_that_is_not_known_says_what_to_use():
  with pytest.raises(ValueError, match='FtrlOptimizer.*@tf.keras.*Ftrl'):
    parse(
      'holder.optimizer = @tf.train.FtrlOptimizer()',
      'tf.train.FtrlOptimizer.learning_rate = 0.1',
    )


def test_a_replay_buffer_of_ones_own_is_not_dopamine_4s():
  dopamine_4.check_version(['my_lab.ReplayBuffer.batch_size = 3'])
  dopamine_4.check_version(['WrappedReplayBuffer.batch_size = 3'])


def test_a_decay_that_lacks_an_argument_names_it():
  with pytest.raises(RuntimeError, match='exponential_decay.*decay_steps'):
    parse(
      'holder.optimizer = @tf.train.GradientDescentOptimizer()',
      'GradientDescentOptimizer.learning_rate = @tf.train.exponential_decay()',
      'exponential_decay.learning_rate = 0.1',
    )


@pytest.mark.parametrize(
  'line, instead',
  [
    (
      'ReplayBuffer.max_capacity = 1000000  # In frames.',
      'OutOfGraphReplayBuffer.replay_capacity = 1000000',
    ),
    (
      'dopamine.jax.replay_memory.replay_buffer.ReplayBuffer.batch_size = 8',
      'OutOfGraphReplayBuffer.batch_size = 8',
    ),
    (
      'import dopamine.tf.agents.dqn.dqn_agent',
      'import dopamine.agents.dqn.dqn_agent',
    ),
    (
      'import dopamine.jax.replay_memory.replay_buffer',
      'import dopamine.replay_memory.circular_replay_buffer',
    ),
    (
      'dopamine.tf.agents.dqn.dqn_agent.DQNAgent.gamma = 0.5',
      'dopamine.agents.dqn.dqn_agent.DQNAgent.gamma = 0.5',
    ),
  ],
)
def test_a_line_for_dopamine_4_is_told_what_to_write(tmp_path, line, instead):
  path = tmp_path / 'four.gin'
  path.write_text(f'DQNAgent.gamma = 0.9\n{line}\n')
  for files, bindings in (([str(path)], []), ([], [line])):
    with pytest.raises(ValueError) as error:
      run_experiment.load_gin_configs(files, bindings)
    assert str(error.value).splitlines()[1:] == [
      f'  {line.split("#")[0].strip()}',
      f'  ->  {instead}',
    ]
  path.write_text(f'DQNAgent.gamma = 0.9\n{instead}\n')
  run_experiment.load_gin_configs([str(path)], [])


def test_each_agent_gets_an_optimizer_of_its_own():
  lines = ('holder.optimizer = @tf.train.AdamOptimizer()',)
  assert parse(*lines)[0] is not parse(*lines)[0]


def test_activations_and_dtypes():
  _, activation, dtype = parse(
    'holder.activation = @tf.nn.tanh', 'holder.dtype = %tf.uint8'
  )
  values = activation(np.array([0.5], np.float32))
  assert np.allclose(values, np.tanh(0.5))
  assert np.dtype(dtype) == np.uint8


def test_a_typo_names_the_configurable():
  with pytest.raises(ValueError, match='tf.train.AdamOptimizer.*epsilom'):
    parse(
      'holder.optimizer = @tf.train.AdamOptimizer()',
      'tf.train.AdamOptimizer.epsilom = 1',
    )


@pytest.mark.no_backend
def test_research_code_may_import_gin_tf_first():
  code = (
    'import dopamine, gin.tf, gin.tf.external_configurables, sys;'
    'print("tensorflow" in sys.modules, "keras" in sys.modules)'
  )
  result = subprocess.run(
    [sys.executable, '-c', code],
    env=os.environ,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.stdout.split() == ['False', 'False'], result.stderr


# Letters ----------------------------------------------------------------------


@pytest.mark.no_backend
def test_gin_files_are_utf8_in_every_locale(tmp_path):
  inner, outer = tmp_path / 'inner.gin', tmp_path / 'outer.gin'
  inner.write_bytes('word = "Käse"  # für später\n'.encode())
  outer.write_bytes(f"# naïve\r\ninclude '{inner}'\r\nn = 1\r\n".encode())
  code = """
import sys
import dopamine
import gin
from dopamine.discrete_domains import run_experiment

def show():
  values = [gin.query_parameter(f'%{name}') for name in ('word', 'n')]
  gin.clear_config()
  return values

gin.parse_config_file(sys.argv[1])
print(ascii(show()))
run_experiment.load_gin_configs([sys.argv[1]], ['a = 1'])
print(ascii(show()))
run_experiment.load_gin_configs([sys.argv[1]], [sys.argv[2]])
print(ascii(show()))
"""
  result = subprocess.run(
    [sys.executable, '-c', code, outer, 'word = "Öl"'.encode()],
    env={
      **os.environ,
      **{'LC_ALL': 'C', 'PYTHONCOERCECLOCALE': '0', 'PYTHONUTF8': '0'},
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.stdout.splitlines() == [
    ascii(['Käse', 1]),
    ascii(['Käse', 1]),
    ascii(['Öl', 1]),
  ], result.stderr[-2000:]


def test_a_binding_that_is_no_utf8_is_named():
  assert gin_files._typed('a = "ü"') == 'a = "ü"'
  with pytest.raises(ValueError, match=r"'a = \\udcfc' is not UTF-8"):
    gin_files._typed(os.fsdecode(b'a = \xfc'))


def test_gin_files_of_a_search_path_are_found(tmp_path, monkeypatch):
  monkeypatch.setattr(gin.config, '_LOCATION_PREFIXES', [''])
  (tmp_path / 'outer.gin').write_text("include 'inner.gin'\n")
  (tmp_path / 'inner.gin').write_text('DQNAgent.gamma = 0.5\n')
  gin.add_config_file_search_path(str(tmp_path))
  run_experiment.load_gin_configs(['outer.gin'], [])
  assert gin.query_parameter('DQNAgent.gamma') == 0.5


def test_gin_files_are_found_here_and_in_the_package(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'mine.gin').write_text('Runner.num_iterations = 3\n')
  run_experiment.load_gin_configs(
    ['dopamine/agents/dqn/configs/dqn_cartpole.gin', 'mine.gin'],
    ['Runner.training_steps = 7'],
  )
  assert gin.query_parameter('Runner.num_iterations') == 3
  assert gin.query_parameter('Runner.training_steps') == 7
  assert gin.query_parameter('Runner.max_steps_per_episode') == 200


def test_gin_files_include_those_of_the_package(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'mine.gin').write_text(
    "include 'dopamine/agents/dqn/configs/dqn_cartpole.gin'\n"
    'Runner.num_iterations = 3\n'
  )
  run_experiment.load_gin_configs(['mine.gin'], [])
  assert gin.query_parameter('Runner.num_iterations') == 3
  assert gin.query_parameter('Runner.max_steps_per_episode') == 200


def test_a_missing_gin_file_says_where_it_was_looked_for(tmp_path):
  run_experiment.load_gin_configs([], 'Runner.log_every_n = 1')
  with pytest.raises(FileNotFoundError, match='no gin file.*nowhere.gin'):
    run_experiment.load_gin_configs([str(tmp_path / 'nowhere.gin')], [])


def test_a_second_run_of_a_process_says_what_to_clear():
  run_experiment.load_gin_configs([], ['Runner.log_every_n = 1'])
  with pytest.raises(RuntimeError, match=r'call gin.clear_config\(\)'):
    run_experiment.load_gin_configs([], ['Runner.log_every_n = 1'])


def test_an_error_in_a_module_that_gin_imports_is_its_own(
  tmp_path, monkeypatch
):
  monkeypatch.syspath_prepend(str(tmp_path))
  (tmp_path / 'broken_value.py').write_text('number = 1\nint("x")\n')
  (tmp_path / 'broken_syntax.py').write_text('number = 1\ndef f(:\n')
  with pytest.raises(ValueError) as error:
    run_experiment.load_gin_configs([], ['import broken_value'])
  assert error.traceback[-1].path.name == 'broken_value.py'
  with pytest.raises(SyntaxError) as error:
    run_experiment.load_gin_configs([], ['import broken_syntax'])
  assert error.value.lineno == 2
  assert error.value.filename.endswith('broken_syntax.py')
