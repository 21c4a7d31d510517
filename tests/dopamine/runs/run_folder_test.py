"""The folder of a run that is given none, and the one that it had before."""

import os
import pathlib
import shlex
import sys

import gin
import keras
import pytest

from dopamine.discrete_domains import checkpointer
from dopamine.discrete_domains import run_experiment
from dopamine.discrete_domains import train
from dopamine.runs import run_folder
from tests.support import commands

pytestmark = pytest.mark.usefixtures('at_the_root')

CONFIGS = 'dopamine/agents/dqn/configs'
CARTPOLE = f'{CONFIGS}/dqn_cartpole.gin'
GYM = f'{CONFIGS}/dqn_gym.gin'
JAX_RAINBOW = 'dopamine/jax/agents/rainbow/configs/rainbow.gin'


@gin.configurable('my_environment_of_run_folder_test')
def my_environment():
  raise AssertionError('it is named, and not made')


@gin.configurable('MyAgentOfRunFolderTest')
class MyAgent:
  pass


def below(*bindings, gin_files=(commands.DQN,)):
  run_experiment.load_gin_configs(gin_files, bindings)
  return run_folder.below('runs', gin_files, bindings)


GAME = 'create_atari_environment.game_name'
TASK = 'create_gym_environment.environment_name'


@pytest.mark.parametrize(
  ('bindings', 'gin_files', 'folder'),
  [
    ([], [commands.DQN], 'dqn_Pong'),
    (['Runner.seed = 2'], [commands.DQN], 'dqn_Pong_seed_2'),
    (['Runner.num_iterations = 2'], [commands.DQN], 'dqn_Pong'),
    (
      [f'dopamine.discrete_domains.atari_lib.{GAME} = "space_invaders"'],
      [commands.DQN],
      'dqn_SpaceInvaders',
    ),
    (["X = 'Seaquest'", f'{GAME} = %X'], [commands.DQN], 'dqn_Seaquest'),
    ([f"{GAME} = 'ALE/Pong-v5'"], [commands.DQN], 'dqn_Pong'),
    # Of another environment: it plays no part.
    ([f"{GAME} = 'Seaquest'"], [CARTPOLE], 'dqn_cartpole_CartPole'),
    ([], [CARTPOLE], 'dqn_cartpole'),
    (
      ["create_gym_environment.version = 'v1'"],
      [CARTPOLE],
      'dqn_cartpole_CartPole-v1',
    ),
    (
      [f"{TASK} = 'Acrobot'", "create_agent.agent_name = 'rainbow'"],
      [GYM],
      'dqn_gym_Acrobot_rainbow',
    ),
    ([], [GYM], 'dqn_gym_CartPole'),
    # Names that no folder can have.
    ([f'{TASK} = "../$HOME `a`"'], [GYM], 'dqn_gym_..-HOME-a-'),
    (
      ['create_agent.agent_name = @MyAgentOfRunFolderTest'],
      [commands.DQN],
      'dqn_Pong_MyAgent',
    ),
    (
      [
        'Runner.create_environment_fn = @my_environment_of_run_folder_test',
      ],
      [commands.DQN],
      'dqn_my_environment',
    ),
    ([], [CARTPOLE, commands.DQN], 'dqn_cartpole+dqn'),
  ],
)
def test_a_folder_tells_what_is_run(bindings, gin_files, folder):
  assert below(*bindings, gin_files=gin_files) == os.path.join('runs', folder)


@pytest.mark.skipif(keras.config.backend() != 'jax', reason='of JAX')
def test_a_file_of_jax_has_another_folder():
  assert below(gin_files=[JAX_RAINBOW]) == 'runs/jax_rainbow_Pong'


@pytest.mark.parametrize(
  ('path', 'folder'),
  [
    ('mine.gin', 'mine_Pong'),
    ('dqn.gin', '{cwd}_dqn_Pong'),
    ('high_gamma/dqn.gin', 'high_gamma_dqn_Pong'),
    ('high_gamma/mine.gin', 'high_gamma_mine_Pong'),
    ('{cwd_path}/mine.gin', '{cwd}_mine_Pong'),
  ],
)
def test_a_file_of_ones_own_has_another_folder(
  path, folder, tmp_path, monkeypatch
):
  names = {'cwd': tmp_path.name, 'cwd_path': str(tmp_path)}
  monkeypatch.chdir(tmp_path)
  file = pathlib.Path(path.format(**names))
  file.parent.mkdir(exist_ok=True)
  file.write_text(f"include '{commands.DQN}'")
  found = below(gin_files=[str(file)])
  assert found == os.path.join('runs', folder.format(**names))


def test_a_file_of_ours_is_known_by_any_path(monkeypatch):
  monkeypatch.chdir(commands.ROOT / CONFIGS)
  assert below(gin_files=['dqn.gin']) == 'runs/dqn_Pong'


def test_a_game_that_there_is_not_is_told():
  with pytest.raises(ValueError, match="no game 'Pung'. Nearest: .*Pong"):
    below(f"{GAME} = 'Pung'")


# The folder that there was before ---------------------------------------------


def save_run(folder, seed=1, agent='DQNAgent', environment='pong'):
  saver = checkpointer.Checkpointer(str(folder / 'checkpoints'))
  run = {'agent': agent, 'environment': environment}
  saver.save_checkpoint(0, {'run': run})
  (folder / 'seed.json').write_text(str(seed))


def of_before(root, *bindings, gin_file=commands.DQN):
  run_experiment.load_gin_configs([gin_file], bindings)
  new = run_folder.below(str(root), [gin_file], bindings)
  return run_folder.of_before(new, [gin_file])


@pytest.mark.parametrize(
  'bindings', [[], ['Runner.seed = 1'], [f"{GAME} = 'PONG'", "X = 'it''s $1'"]]
)
def test_a_run_in_the_folder_of_before_is_named(
  bindings, tmp_path, monkeypatch
):
  save_run(tmp_path / 'dqn')
  words = [
    'python',
    '-um',
    'train',
    '--gin_bindings=X = "it\'s"',
    '--seed',
    '1',
  ]
  monkeypatch.setattr(sys, 'orig_argv', [*words, f'--runs_dir={tmp_path}'])
  said = of_before(tmp_path, *bindings)
  command = said.splitlines()[1]
  # The last of each flag counts.
  given = [*words, f'--runs_dir={tmp_path}', '--runs_dir=']
  assert shlex.split(command) == [*given, f'--base_dir={tmp_path / "dqn"}']
  assert f'BASE_DIR={tmp_path / "dqn"}' in said


@pytest.mark.parametrize(
  ('bindings', 'run'),
  [
    (['Runner.seed = 2'], {}),
    ([], {'agent': 'RainbowAgent'}),
    ([], {'environment': 'seaquest'}),
    ([f"{GAME} = 'Seaquest'"], {}),
    ([f"{GAME} = 'Pitfall'"], {'environment': 'pitfall2'}),
  ],
)
def test_another_run_in_the_folder_of_before_is_not_offered(
  bindings, run, tmp_path
):
  save_run(tmp_path / 'dqn', **run)
  assert of_before(tmp_path, *bindings) == ''


@pytest.mark.parametrize(
  ('bindings', 'environment', 'is_named'),
  [
    ([], 'CartPole-v0', True),
    (["create_gym_environment.version = 'v1'"], 'CartPole-v1', True),
    (["create_gym_environment.version = 'v1'"], 'CartPole-v0', False),
    ([f"{TASK} = 'Acrobot'"], 'CartPole-v0', False),
  ],
)
def test_a_task_in_the_folder_of_before(
  bindings, environment, is_named, tmp_path
):
  save_run(tmp_path / 'dqn_cartpole', environment=environment)
  given = ["X = 'environment'", *bindings]  # Which makes the folder another.
  assert bool(of_before(tmp_path, *given, gin_file=CARTPOLE)) is is_named


@pytest.mark.parametrize(
  'harm', ['sentinel', 'damage', 'seed', 'begun', 'none']
)
def test_what_cannot_go_on_is_not_offered(harm, tmp_path):
  save_run(tmp_path / 'dqn')
  checkpoints = tmp_path / 'dqn' / 'checkpoints'
  if harm == 'sentinel':
    (checkpoints / 'sentinel_checkpoint_complete.0').unlink()
  elif harm == 'damage':
    (checkpoints / 'ckpt.0').write_bytes(b'damage')
  elif harm == 'seed':
    (tmp_path / 'dqn' / 'seed.json').write_text('one')
  elif harm == 'begun':
    (tmp_path / 'dqn_Pong').mkdir()
  else:
    tmp_path = tmp_path / 'elsewhere'
  assert of_before(tmp_path) == ''
  assert not tmp_path.name == 'elsewhere' or not tmp_path.exists()


@pytest.mark.no_backend
def test_two_runs_of_train_share_no_folder(tmp_path, capsys):
  short = ('Runner.training_steps = 5', 'Runner.evaluation_steps = 0')
  short += ('Runner.num_iterations = 1', 'Runner.max_steps_per_episode = 9')
  words = [
    *(f'--runs_dir={tmp_path}', f'--gin_files={GYM}'),
    *(f'--gin_bindings={binding}' for binding in short),
  ]
  for more in ([], [f"--gin_bindings={TASK} = 'Acrobot'"], ['--seed=5']):
    commands.set_flags(*words, *more)
    train.main([])
    output, _ = capsys.readouterr()
    assert output.splitlines()[-2].startswith('Finished. ')
  folders = sorted(path.name for path in pathlib.Path(tmp_path).iterdir())
  assert folders == [
    *('dqn_gym_Acrobot', 'dqn_gym_CartPole', 'dqn_gym_CartPole_seed_5'),
  ]
  commands.set_flags(*words, f'--base_dir={tmp_path}')
  with pytest.raises(SystemExit, match='leave one out'):
    train.main([])
