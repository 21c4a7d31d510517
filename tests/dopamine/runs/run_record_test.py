"""`run.json` and `operative_config.gin`: a run, to read and to repeat."""

import json
import os
import platform
import subprocess
import sys

import gin
import keras
import numpy as np
import pytest
from tensorboard import context
from tensorboard.backend.event_processing import data_provider
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.backend.event_processing import plugin_event_multiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import backend_context as hparams_context
from tensorboard.plugins.hparams import list_session_groups

from dopamine.discrete_domains import run_experiment
from dopamine.files import atomic
from dopamine.runs import run_record
from tests.support import commands

pytestmark = pytest.mark.usefixtures('at_the_root')

CARTPOLE = 'dopamine/agents/dqn/configs/dqn_cartpole.gin'
SHORT = (
  'Runner.training_steps = 30',
  'Runner.evaluation_steps = 10',
  'Runner.num_iterations = 1',
)


def run(base_dir, *bindings, gin_file=CARTPOLE, seed=None):
  """One run of this process; returns its Runner."""
  gin.clear_config()
  if seed is not None:
    bindings = (*bindings, f'Runner.seed = {seed}')
  run_experiment.load_gin_configs([str(gin_file)], [*SHORT, *bindings])
  with run_experiment.create_runner(str(base_dir)) as runner:
    runner.run_experiment()
  return runner


def record(base_dir):
  return json.loads((base_dir / 'run.json').read_text(encoding='utf-8'))


def config(base_dir):
  return (base_dir / 'operative_config.gin').read_text(encoding='utf-8')


def texts(base_dir, name):
  accumulator = event_accumulator.EventAccumulator(str(base_dir))
  accumulator.Reload()
  return [
    (event.step, event.tensor_proto.string_val[0].decode())
    for event in accumulator.Tensors(f'{name}/text_summary')
  ]


def test_a_run_says_what_it_is(tmp_path):
  run(tmp_path, 'DQNAgent.gamma = 0.97', seed=5)
  found = record(tmp_path)
  assert found['seed'] == 5 and found['folder'] == os.getcwd()
  assert found['python'] == platform.python_version()
  assert found['versions']['numpy'] == np.__version__
  assert found['host'] and 'pytest' in found['command']
  assert ' on ' in found['device']
  (start,) = found['starts']
  assert start.keys() == {'began'}
  assert 'DQNAgent.gamma = 0.97\n' in config(tmp_path)
  assert 'DQNAgent.update_period = 4\n' in config(tmp_path)  # A default.
  ((step, text),) = texts(tmp_path, 'operative_config')
  assert step == 0 and '    DQNAgent.gamma = 0.97\n' in text
  ((step, text),) = texts(tmp_path, 'run')
  assert step == 0 and '    "seed": 5,\n' in text


GIN_FILES = [
  'agents/dqn/configs/dqn_cartpole.gin',
  'agents/dqn/configs/dqn_gym.gin',
  'agents/rainbow/configs/rainbow_cartpole.gin',
  'agents/full_rainbow/configs/full_rainbow_cartpole.gin',
  'agents/implicit_quantile/configs/implicit_quantile_cartpole.gin',
  'jax/agents/dqn/configs/dqn_cartpole.gin',
  'jax/agents/rainbow/configs/rainbow_cartpole.gin',
]


@pytest.mark.parametrize('name', GIN_FILES)
def test_the_configuration_makes_the_same_run_again(name, tmp_path):
  if name.startswith('jax/') and keras.config.backend() != 'jax':
    pytest.skip('of JAX')
  bindings = ['Runner.log_every_n = %EVERY', 'EVERY = 1']
  bindings += [line.replace('Runner', 'TrainRunner') for line in SHORT]
  run(tmp_path / 'a', *bindings, gin_file=f'dopamine/{name}', seed=3)
  run(tmp_path / 'b', gin_file=tmp_path / 'a' / 'operative_config.gin', seed=3)
  settings = [
    run_record.settings(config(tmp_path / run_name)) for run_name in 'ab'
  ]
  assert settings[0] == settings[1] and len(settings[0]) > 50
  weights = [
    np.load(tmp_path / run_name / 'checkpoints' / 'weights_ckpt.0.npz')
    for run_name in 'ab'
  ]
  for key in weights[0]:
    np.testing.assert_array_equal(weights[0][key], weights[1][key])


def test_a_resumed_run_says_what_has_changed(tmp_path):
  run(tmp_path, seed=1)
  run(tmp_path, 'Runner.num_iterations = 2', 'DQNAgent.epsilon_train = 0.2')
  run(tmp_path, 'Runner.num_iterations = 3', 'DQNAgent.epsilon_train = 0.2')
  first, second, third = record(tmp_path)['starts']
  assert 'continues' not in first and 'changed' not in first
  assert second['continues'] == 'iteration 1 at its beginning'
  assert second['changed'] == {
    'DQNAgent.epsilon_train': ['0.01', '0.2'],
    'Runner.num_iterations': ['1', '2'],
  }
  assert third['changed'] == {'Runner.num_iterations': ['2', '3']}
  assert record(tmp_path)['seed'] == 1
  assert 'DQNAgent.epsilon_train = 0.2\n' in config(tmp_path)
  found = texts(tmp_path, 'operative_config')
  assert [step for step, _ in found] == [0, 1, 2]
  assert 'epsilon_train = 0.01' in found[0][1]
  assert 'epsilon_train = 0.2' in found[1][1]


def test_other_versions_and_places_are_changes(tmp_path, monkeypatch):
  run(tmp_path)
  found = record(tmp_path)
  found['versions']['numpy'], found['host'] = '1.0', 'elsewhere'
  (tmp_path / 'run.json').write_text(json.dumps(found))
  run(tmp_path, 'Runner.num_iterations = 2')
  changed = record(tmp_path)['starts'][1]['changed']
  assert changed['versions.numpy'] == ['1.0', np.__version__]
  assert changed['host'][0] == 'elsewhere'
  assert 'versions.keras' not in changed


def test_a_start_that_is_refused_leaves_the_record(tmp_path):
  run(tmp_path, seed=1)
  before = record(tmp_path), config(tmp_path)
  with pytest.raises(ValueError, match='seed'):
    run(tmp_path, 'Runner.num_iterations = 2', seed=2)
  run(tmp_path)  # Nothing is left to run.
  assert (record(tmp_path), config(tmp_path)) == before


def test_what_is_used_later_is_added(tmp_path):
  @gin.configurable('late_epsilon')
  def late_epsilon(decay, step, warmup, epsilon, slope=7):
    return epsilon

  gin.external_configurable(late_epsilon, 'late')
  run(tmp_path, 'DQNAgent.epsilon_fn = @late_epsilon')
  assert 'late_epsilon.slope = 7' in config(tmp_path)


@pytest.mark.parametrize('content', [b'{', b'[]', b'{"starts": 5}', b'\xff'])
def test_a_damaged_record_is_written_anew(content, tmp_path):
  run(tmp_path)
  (tmp_path / 'run.json').write_bytes(content)
  run(tmp_path, 'Runner.num_iterations = 2')
  assert len(record(tmp_path)['starts']) == 1


def test_a_record_that_cannot_be_written_ends_nothing(tmp_path, monkeypatch):
  write_file = atomic.write_file

  def fail(path, write):
    if path.endswith(('run.json', '.gin')):
      raise OSError(28, 'No space left on device', path)
    write_file(path, write)

  monkeypatch.setattr(atomic, 'write_file', fail)
  run(tmp_path)
  assert (tmp_path / 'checkpoints' / 'ckpt.0').exists()
  assert not (tmp_path / 'run.json').exists()


@pytest.mark.no_backend
@pytest.mark.parametrize('name', ['Übung'.encode(), b'\xdcbung'])
def test_names_that_the_locale_cannot_read(name, tmp_path):
  folder = tmp_path / os.fsdecode(name)
  folder.mkdir()
  words = commands.train_command(b'', commands.ROOT / CARTPOLE, SHORT)[1:]
  words = [os.fsencode(word) for word in words]
  words[2] = b'--base_dir=' + name
  result = subprocess.run(
    [sys.executable, *words, '--gin_bindings=LABEL = "é"'.encode()],
    env=commands.environment(
      LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0'
    ),
    cwd=folder,
    capture_output=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  base_dir = folder / os.fsdecode(name)
  assert 'bung' in record(base_dir)['folder']
  if name.startswith(b'\xc3'):  # TensorBoard takes no others.
    assert texts(base_dir, 'run')


def test_the_revision_of_the_working_folder(tmp_path, monkeypatch):
  git = ['git', '-C', str(tmp_path), '-c', 'user.name=a', '-c', 'user.email=b']
  subprocess.run([*git, 'init', '-q'], check=True)
  (tmp_path / 'a.py').touch()
  subprocess.run([*git, 'add', '.'], check=True)
  subprocess.run([*git, 'commit', '-qm', 'a'], check=True)
  revision = subprocess.run(
    [*git, 'rev-parse', 'HEAD'], check=True, capture_output=True, text=True
  ).stdout.strip()
  monkeypatch.chdir(tmp_path)
  run_record._revisions.cache_clear()
  root = os.path.realpath(tmp_path)
  assert run_record._revisions()[root] == revision
  (tmp_path / 'a.py').write_text('changed')
  run_record._revisions.cache_clear()
  assert run_record._revisions()[root] == f'{revision}-dirty'
  run_record._revisions.cache_clear()


@pytest.mark.no_backend
def test_the_command_can_be_given_again(tmp_path):
  result = commands.train(
    tmp_path, CARTPOLE, [*SHORT, "X = 'a b'"], ['--seed=2']
  )
  assert result.returncode == 0
  command = record(tmp_path)['command']
  assert "'--gin_bindings=X = '\"'\"'a b'\"'\"''" in command
  again = subprocess.run(
    command, shell=True, capture_output=True, text=True, check=False
  )
  assert 'nothing is left to run' in again.stderr, again.stderr


def hyper_parameters(base_dir):
  """What TensorBoard's HParams has of a run, by its own reading."""
  multiplexer = plugin_event_multiplexer.EventMultiplexer({'.': str(base_dir)})
  multiplexer.Reload()
  provider = data_provider.MultiplexerDataProvider(multiplexer, str(base_dir))
  backend_context = hparams_context.Context(
    base_plugin.TBContext(logdir=str(base_dir), data_provider=provider)
  )
  request = api_pb2.ListSessionGroupsRequest(
    experiment_name='', slice_size=10, allowed_statuses=range(4)
  )
  found = list_session_groups.Handler(
    context.RequestContext(), backend_context, '', request
  ).run()
  (group,) = found.session_groups
  values = group.hparams.items()
  return {k: getattr(v, v.WhichOneof('kind')) for k, v in values}


def test_hparams_shows_the_settings_of_a_run_once(tmp_path):
  run(tmp_path, 'DQNAgent.gamma = 0.97', 'Runner.num_iterations = 1', seed=5)
  run(tmp_path, 'DQNAgent.gamma = 0.97', 'Runner.num_iterations = 2', seed=5)
  found = hyper_parameters(tmp_path)
  assert found['DQNAgent.gamma'] == 0.97
  assert found['DQNAgent.double_dqn'] is False
  assert found['Runner.create_environment_fn'].startswith('@')
  assert found['seed'] == 5
  assert found['Runner.num_iterations'] == 1  # As the run began.
