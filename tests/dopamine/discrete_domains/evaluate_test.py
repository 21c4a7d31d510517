"""Tests of the evaluation of weights, through its `main`."""

import re

from absl import flags
import gin
import numpy as np
import pytest

from dopamine.discrete_domains import evaluate
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from tests.support import commands
from tests.support import inside

CARTPOLE = 'dopamine/agents/dqn/configs/dqn_cartpole.gin'
pytestmark = [
  pytest.mark.usefixtures('at_the_root', 'evaluation_flags'),
  pytest.mark.no_backend,
]


def run(capsys, checkpoint, *bindings, episodes=7, seed=3):
  """What the command prints last, and its returns."""
  gin.clear_config()
  flags.FLAGS(
    [
      'evaluate',
      f'--checkpoint={checkpoint}',
      f'--episodes={episodes}',
      f'--seed={seed}',
      f'--gin_files={CARTPOLE}',
      *(f'--gin_bindings={binding}' for binding in bindings),
    ]
  )
  capsys.readouterr()
  evaluate.main([])
  *_, returns, summary = capsys.readouterr().out.splitlines()
  return [float(value) for value in returns.split()], summary


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """A `base_dir` whose newest weights are those of iteration 1."""
  base_dir = tmp_path_factory.mktemp('trained')
  gin.clear_config()
  bindings = [
    'Runner.num_iterations = 2',
    'Runner.training_steps = 600',
    'Runner.evaluation_steps = 0',
    'Runner.seed = 1',
  ]
  run_experiment.load_gin_configs([str(commands.ROOT / CARTPOLE)], bindings)
  runner = run_experiment.create_runner(str(base_dir))
  runner.run_experiment()
  return base_dir, inside.agent(runner)


def test_the_newest_weights_play(trained, capsys):
  base_dir, agent = trained
  before = sorted(base_dir.rglob('*'))
  returns, summary = run(capsys, base_dir / 'checkpoints')
  assert len(returns) == 7 and all(r >= 8 for r in returns)
  assert summary.startswith('Mean return of 7 episodes: ')
  mean = float(re.search('episodes: ([0-9.]+) ', summary)[1])
  assert mean == round(np.mean(returns), 2)
  # The same seed plays the same; the weights are those of the run.
  assert run(capsys, base_dir / 'checkpoints')[0] == returns
  file = base_dir / 'checkpoints' / 'weights_ckpt.1.npz'
  assert run(capsys, file)[0] == run(capsys, base_dir)[0] == returns
  assert run(capsys, file, seed=4)[0] != returns
  assert sorted(base_dir.rglob('*')) == before
  gin.clear_config()
  run_experiment.load_gin_configs([CARTPOLE], [])
  other = run_experiment.create_agent(
    None, gym_lib.create_gym_environment('CartPole')
  )
  other.load_weights(file)
  for a, b in zip(
    other.online_convnet.get_weights(),
    agent.online_convnet.get_weights(),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b)


def test_weights_alone_are_enough(trained, tmp_path, capsys):
  base_dir, _ = trained
  file = tmp_path / 'weights.npz'
  source = base_dir / 'checkpoints' / 'weights_ckpt.1.npz'
  file.write_bytes(source.read_bytes())
  # Another optimizer is no hindrance: nothing is learnt.
  bindings = (
    'DQNAgent.optimizer = @tf.train.RMSPropOptimizer()',
    'tf.train.RMSPropOptimizer.learning_rate = 0.1',
  )
  returns, _ = run(capsys, file, *bindings)
  assert returns == run(capsys, source)[0]


@pytest.mark.parametrize(
  'checkpoint,bindings,text',
  [
    ('no.npz', (), "no.npz' has no weights"),
    ('', (), 'has no weights .*weights_ckpt.N.npz'),
    ('damaged.npz', (), 'damaged.npz is damaged'),
    ('wide.npz', (), r'online_convnet/\d .* has shape .* in the checkpoint'),
  ],
)
def test_what_cannot_be_evaluated_is_explained(
  trained, tmp_path, capsys, checkpoint, bindings, text
):
  base_dir, _ = trained
  source = base_dir / 'checkpoints' / 'weights_ckpt.1.npz'
  content = source.read_bytes()
  (tmp_path / 'damaged.npz').write_bytes(content[:5000])
  with np.load(source) as file:
    wide = {name: np.zeros((*array.shape, 2)) for name, array in file.items()}
  np.savez(tmp_path / 'wide.npz', **wide)
  with pytest.raises(SystemExit) as end:
    run(capsys, tmp_path / checkpoint, *bindings)
  assert re.search(text, str(end.value.code))


def test_the_interval_is_that_of_a_large_sample():
  """Of the mean of 400 normal numbers: 1.96 deviations of it to each side."""
  values = np.random.default_rng(1).normal(5.0, 2.0, 400)
  low, high = evaluate.confidence_interval(list(values))
  half = 1.96 * values.std() / 20
  np.testing.assert_allclose(
    [low, high], [values.mean() - half, values.mean() + half], atol=0.01
  )
  assert evaluate.confidence_interval([3.0, 3.0]) == (3.0, 3.0)
  assert evaluate.describe([2.5]) == 'Return of 1 episode: 2.5'
