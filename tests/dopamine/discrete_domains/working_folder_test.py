"""Relative paths, and an environment that changes the working folder."""

import os
import pathlib

import pytest

from dopamine.discrete_domains import checkpointer
from dopamine.discrete_domains import evaluate
from dopamine.discrete_domains import logger
from dopamine.runs import checkpoints
from dopamine.runs import event_writer
from tests.support import plain

pytestmark = pytest.mark.no_backend


@pytest.fixture
def folders(tmp_path, monkeypatch):
  """The working folder, and another."""
  here, there = tmp_path / 'here', tmp_path / 'there'
  here.mkdir()
  there.mkdir()
  monkeypatch.chdir(here)
  return here, there


@pytest.mark.parametrize('method', ['__init__', 'reset', 'step'])
@pytest.mark.parametrize('kind', [str, pathlib.Path])
def test_a_relative_base_dir_is_that_of_the_start(folders, method, kind):
  here, there = folders

  class Environment(plain.Environment):
    pass

  def wandering(self, *args):
    os.chdir(there)
    return getattr(plain.Environment, method)(self, *args)

  setattr(Environment, method, wandering)
  for num_iterations in (1, 3):
    os.chdir(here)
    runner = plain.make_runner(
      kind('runs/a'), Environment, num_iterations=num_iterations
    )
    runner.run_experiment()
  assert pathlib.Path.cwd() == there and not list(there.iterdir())
  run = here / 'runs' / 'a'
  assert (run / 'checkpoints' / 'sentinel_checkpoint_complete.2').exists()
  assert (run / 'logs' / 'log_2').exists()
  assert len(list(run.glob('events.*'))) == 2
  assert not list(run.rglob('superseded*'))
  # And again on the same Runner.
  runner.num_iterations = 4
  runner.run_experiment()
  assert (run / 'checkpoints' / 'sentinel_checkpoint_complete.3').exists()
  assert not list(there.iterdir())


def test_a_base_dir_is_text_or_a_path(tmp_path):
  with pytest.raises(ValueError, match='Runner.base_dir = b.* must be'):
    plain.make_runner(os.fsencode(tmp_path))


def test_what_writes_a_run_keeps_its_folder(folders):
  here, there = folders
  saver = checkpointer.Checkpointer('checkpoints')
  run = checkpoints.RunCheckpoints('run')
  log = logger.Logger('logs')
  writer = event_writer.SummaryWriter('.')
  os.chdir(there)
  saver.save_checkpoint(0, {'x': 1})
  with run.complete.collect():
    run.complete.save_checkpoint(1, {'x': 2})
  place = run.within(2)
  with place.checkpointer.collect() as checkpoint:
    run.write(place, b'', checkpoint, pytest.fail)
  assert run.wait() is None
  log['iteration_0'] = {}
  log.log_to_file('log', 0)
  writer.events.open()
  writer.close()
  assert not list(there.iterdir())
  assert saver.load_checkpoint(0) == {'x': 1}
  for path in (
    *('checkpoints/ckpt.0', 'run/ckpt.1', 'logs/log_0'),
    f'run/mid_iteration/ckpt.{place.number}',
  ):
    assert (here / path).exists()
  assert len(list(here.glob('events.*'))) == 1


def test_the_weights_to_evaluate_are_those_of_the_start(folders):
  here, there = folders
  plain.make_runner('run', num_iterations=1).run_experiment()
  path = evaluate.find_weights('run/checkpoints')
  os.chdir(there)
  assert path == str(here / 'run' / 'checkpoints' / 'weights_ckpt.0.npz')
  os.chdir(here)
  assert evaluate.find_weights(os.path.relpath(path)) == path
  with pytest.raises(FileNotFoundError, match='has no weights'):
    evaluate.find_weights('')
