"""Who closes the environment, and what Runners that never run leave behind."""

import os

from absl import flags
import gin
import pytest

from dopamine.discrete_domains import evaluate
from dopamine.discrete_domains import run_experiment
from dopamine.discrete_domains import train
from tests.support import plain

pytestmark = pytest.mark.no_backend


@pytest.fixture
def made():
  """The environments that were made."""
  return []


@pytest.fixture
def environment(made):
  """A class of its own, whose steps are counted from 0."""

  class Environment(plain.Environment):
    at, steps = {}, 0

    def __init__(self):
      super().__init__()
      made.append(self)

  return Environment


def fail():
  raise RuntimeError('a bug in the environment')


def fail_to_close(self):
  self.closed += 1
  raise OSError('the window is gone')


# train and evaluate -----------------------------------------------------------


@pytest.fixture
def main(tmp_path, monkeypatch, environment):
  """`train.main` with the plain Runner."""
  runners = []

  def create_runner(base_dir):
    runners.append(plain.make_runner(base_dir, environment))
    return runners[-1]

  monkeypatch.setattr(run_experiment, 'create_runner', create_runner)
  flags.FLAGS(
    [
      'train',
      f'--base_dir={tmp_path}',
      '--gin_bindings=Runner.log_every_n = 1',
    ]
  )

  def main():
    gin.clear_config()
    train.main([])

  yield main, runners
  flags.FLAGS.unparse_flags()


def test_train_closes_its_environment_at_its_very_end(
  main, tmp_path, environment, made
):
  main, _ = main

  def close(self):
    self.closed += 1
    assert (tmp_path / 'checkpoints/sentinel_checkpoint_complete.2').exists()

  environment.close = close
  main()
  assert [e.closed for e in made] == [1]


def test_train_closes_also_what_failed_or_was_stopped(main, environment, made):
  main, runners = main
  environment.at = {5: fail, 50: lambda: runners[-1].request_stop()}
  with pytest.raises(RuntimeError, match='a bug in the environment'):
    main()
  with pytest.raises(SystemExit) as end:
    main()
  assert end.value.code == train.STOPPED
  assert [e.closed for e in made] == [1, 1]


def test_an_environment_that_cannot_be_closed_changes_no_ending(
  main, environment, made, caplog
):
  main, runners = main
  environment.close = fail_to_close
  environment.at = {5: fail, 50: lambda: runners[-1].request_stop()}
  with pytest.raises(RuntimeError, match='a bug in the environment'):
    main()
  with pytest.raises(SystemExit) as end:
    main()
  assert end.value.code == train.STOPPED
  main()
  assert [e.closed for e in made] == [1, 1, 1]
  assert caplog.text.count('the window is gone') == 3


@pytest.mark.parametrize('fails', [False, True])
def test_evaluate_closes_its_environment(
  tmp_path, monkeypatch, capsys, environment, made, fails
):
  plain.make_runner(tmp_path).run_experiment()
  gin.external_configurable(
    lambda: environment(), f'make_{fails}', module='closing_test'
  )
  monkeypatch.setattr(
    run_experiment, 'create_agent', lambda *args, **kwargs: plain.Agent()
  )
  environment.at = {9: fail} if fails else {}
  defined = 'checkpoint', 'episodes'
  flags.DEFINE_string('checkpoint', None, 'As of the command.')
  flags.DEFINE_integer('episodes', 30, 'As of the command.')
  try:
    flags.FLAGS(
      [
        'evaluate',
        f'--checkpoint={tmp_path / "checkpoints"}',
        '--episodes=2',
        f'--gin_bindings=Runner.create_environment_fn = @make_{fails}',
      ]
    )
    if fails:
      with pytest.raises(RuntimeError, match='a bug in the environment'):
        evaluate.main([])
    else:
      evaluate.main([])
  finally:
    flags.FLAGS.unparse_flags()
    for name in defined:
      delattr(flags.FLAGS, name)
  assert [e.closed for e in made] == [1]


# A Runner ---------------------------------------------------------------------


def test_run_experiment_leaves_the_environment_open(
  tmp_path, environment, made
):
  runner = plain.make_runner(tmp_path, environment)
  runner.run_experiment()
  assert made[0].closed == 0
  runner.close()
  runner.close()
  assert made[0].closed == 1


def test_a_runner_is_closed_at_the_end_of_with(tmp_path, environment, made):
  with pytest.raises(ZeroDivisionError):
    with plain.make_runner(tmp_path, environment) as runner:
      assert isinstance(runner, run_experiment.Runner)
      runner.run_experiment()
      raise ZeroDivisionError
  assert made[0].closed == 1
  # What it had made for a run before is closed too.
  environment.at = {environment.steps + 5: fail}
  with plain.make_runner(tmp_path, environment, num_iterations=5) as runner:
    with pytest.raises(RuntimeError, match='a bug'):
      runner.run_experiment()
    runner.run_experiment()
  assert [e.closed for e in made] == [1, 1, 1]


def test_a_closed_runner_starts_anew(tmp_path, environment, made):
  runner = plain.make_runner(tmp_path, environment)
  runner.close()
  runner.run_experiment()
  assert [e.closed for e in made] == [1, 0]
  assert runner._logger.data.keys() == {f'iteration_{i}' for i in range(3)}


def test_an_environment_need_not_have_close(tmp_path, caplog):
  class Bare:
    action_space, game_over = plain.Environment.action_space, True
    reset = step = None

  plain.make_runner(tmp_path, Bare).close()
  assert 'closed' not in caplog.text


def test_a_runner_that_cannot_be_made_closes_its_environment(
  tmp_path, monkeypatch, environment, made
):
  with pytest.raises(RuntimeError, match='a bug'):
    plain.make_runner(tmp_path / 'a', environment, fail)
  plain.make_runner(tmp_path / 'b', environment).run_experiment()
  monkeypatch.setattr(plain.Agent, 'unbundle', lambda *args: False)
  with pytest.raises(ValueError, match='did not take'):
    plain.make_runner(tmp_path / 'b', environment)
  assert [e.closed for e in made] == [1, 0, 1]


# Runners that never run -------------------------------------------------------


def event_files(folder):
  return {
    name: (folder / name).read_bytes()
    for name in os.listdir(folder)
    if 'events' in name or 'superseded' in name
  }


def test_runners_that_never_run_leave_no_event_files(tmp_path):
  runners = []
  for _ in range(3):
    runners.append(plain.make_runner(tmp_path))
    runners[-1]._summary_writer.add_scalar('x', 1.0, 0)
  assert event_files(tmp_path) == {}
  runners[0].close()
  assert event_files(tmp_path) == {}


def test_a_runner_that_never_runs_leaves_the_points_of_another(
  tmp_path, environment
):
  environment.at = {70: fail}
  with pytest.raises(RuntimeError):
    plain.make_runner(tmp_path, environment).run_experiment()
  # What was killed wrote more than its last checkpoint knows of.
  (name,) = event_files(tmp_path)
  with open(tmp_path / name, 'ab') as file:
    file.write(b'points')
  before = event_files(tmp_path)
  for _ in range(2):
    plain.make_runner(tmp_path)
  assert event_files(tmp_path) == before
  plain.make_runner(tmp_path, num_iterations=1).run_experiment()
  assert event_files(tmp_path) == before  # Nothing was left to run.
  plain.make_runner(tmp_path).run_experiment()
  after = event_files(tmp_path)
  assert len(after) == 2 and not after[name].endswith(b'points')


def test_a_runner_that_never_runs_leaves_damaged_checkpoints(tmp_path):
  plain.make_runner(tmp_path).run_experiment()
  path = tmp_path / 'checkpoints' / 'ckpt.2'
  content = path.read_bytes()
  path.unlink()
  assert plain.make_runner(tmp_path)._start_iteration == 2
  path.write_bytes(content)  # The disk is back.
  assert plain.make_runner(tmp_path)._start_iteration == 3


def test_an_iteration_that_is_run_by_hand_has_its_points(tmp_path):
  runner = plain.make_runner(tmp_path)
  runner._run_one_iteration(0)
  assert len(event_files(tmp_path)) == 1
