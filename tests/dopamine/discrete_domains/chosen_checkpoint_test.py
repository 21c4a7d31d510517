"""`get_latest_checkpoint_number.override_number`, 0 included."""

import gin
import numpy as np
import pytest

from dopamine.discrete_domains import evaluate
from dopamine.discrete_domains import run_experiment
from tests.support import plain

pytestmark = pytest.mark.no_backend

NAME = 'get_latest_checkpoint_number.override_number'


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
  """Those of a run of three iterations."""
  base_dir = tmp_path_factory.mktemp('run')
  plain.make_runner(base_dir).run_experiment()
  return base_dir / 'checkpoints'


@pytest.mark.parametrize('number', [None, 0, 1, 2])
def test_the_chosen_weights_are_evaluated(
  tmp_path, monkeypatch, checkpoints, number
):
  monkeypatch.setattr(
    run_experiment, 'create_agent', lambda *args, **kwargs: plain.Agent()
  )
  gin.external_configurable(
    plain.Environment, f'Environment{number}', module='chosen_checkpoint_test'
  )
  gin.parse_config(
    [
      f'{NAME} = {number}',
      f'Runner.create_environment_fn = @Environment{number}',
    ]
  )
  with evaluate.Evaluation(str(checkpoints)) as evaluation:
    path = checkpoints / f'weights_ckpt.{2 if number is None else number}.npz'
    with np.load(path) as file:
      assert evaluation._agent.total == file['total']
    assert evaluation._agent.eval_mode
    assert len(evaluation.run(3)) == 3
  assert evaluation._start_iteration == 0


@pytest.mark.parametrize('number', [-1, 3])
def test_weights_that_are_not_there_are_named(checkpoints, number):
  gin.bind_parameter(NAME, number)
  with pytest.raises(FileNotFoundError, match=rf'weights_ckpt\.{number}\.npz'):
    evaluate.find_weights(str(checkpoints))


def test_no_other_weights_are_taken_than_the_chosen_ones(tmp_path):
  for number in (3, 4):
    (tmp_path / f'tf_ckpt-{number}.index').touch()
    (tmp_path / f'tf_ckpt-{number}.data-00000-of-00001').touch()
  assert evaluate.find_weights(str(tmp_path)).endswith('tf_ckpt-4.index')
  gin.bind_parameter(NAME, 3)
  assert evaluate.find_weights(str(tmp_path)).endswith('tf_ckpt-3.index')
  gin.bind_parameter(NAME, 0)
  with pytest.raises(FileNotFoundError, match=r'weights_ckpt\.0\.npz'):
    evaluate.find_weights(str(tmp_path))


def test_a_checkpoint_whose_weights_are_gone_is_told_by_their_name(tmp_path):
  plain.make_runner(tmp_path).run_experiment()
  (tmp_path / 'checkpoints' / 'weights_ckpt.0.npz').unlink()
  gin.bind_parameter(NAME, 0)
  with pytest.raises(FileNotFoundError, match=r'weights_ckpt\.0\.npz'):
    evaluate.find_weights(str(tmp_path / 'checkpoints'))


def test_a_run_goes_on_from_the_chosen_checkpoint(checkpoints):
  for number, start in ((0, 1), (1, 2), (-1, 0)):
    gin.bind_parameter(NAME, number)
    runner = plain.make_runner(checkpoints.parent)
    assert runner._start_iteration == start


@pytest.mark.parametrize('number', [0, 3])
def test_a_checkpoint_that_does_not_count_is_not_gone_on_from(tmp_path, number):
  plain.make_runner(tmp_path).run_experiment()
  sentinel = tmp_path / 'checkpoints' / 'sentinel_checkpoint_complete.0'
  sentinel.unlink()
  gin.bind_parameter(NAME, number)
  with pytest.raises(
    ValueError,
    match=rf'override_number={number}, .* sentinel_\w*_complete\.{number}',
  ):
    plain.make_runner(tmp_path)
