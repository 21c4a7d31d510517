"""What `unbundle` says of a checkpoint of which files are missing."""

import functools

import pytest

from dopamine import safe_pickle
from dopamine.agents.dqn import dqn_agent
from dopamine.replay_memory import circular_replay_buffer
from tests.support import small


class SmallAgent(dqn_agent.DQNAgent):
  """A DQN agent with a replay memory of 50 transitions."""

  def _build_replay_buffer(self, use_staging):
    return circular_replay_buffer.WrappedReplayBuffer(
      self.observation_shape, self.stack_size, replay_capacity=50
    )


@functools.cache
def make_agent(allow_partial_reload=False):
  return SmallAgent(
    num_actions=2,
    observation_shape=(2,),
    stack_size=1,
    network=small.Perceptron,
    allow_partial_reload=allow_partial_reload,
    seed=1,
  )


@pytest.fixture(name='saved')
def fixture_saved(tmp_path):
  """A folder with checkpoint 3, and its bundle."""
  return tmp_path, make_agent().bundle_and_checkpoint(str(tmp_path), 3)


@pytest.mark.parametrize('is_partial', [False, True])
@pytest.mark.parametrize('number', [0, 13, 33])
def test_a_folder_without_any_of_its_files_is_no_error(
  saved, is_partial, number
):
  folder, bundle = saved
  agent = make_agent(is_partial)
  for given in (bundle, None):
    assert agent.unbundle(folder, number, given) is False
    assert agent.unbundle(str(folder / 'none'), number, given) is False


def test_files_that_were_all_removed_are_no_error(saved):
  folder, bundle = saved
  for path in folder.iterdir():
    if path.is_file():
      path.unlink()
  assert make_agent().unbundle(folder, 3, bundle) is False


@pytest.mark.parametrize(
  'name',
  [
    'replay_ckpt.3.npz',
    '$store$_action_ckpt.3.gz',
    'ckpt.3',
    'tf_ckpt-3.data-00000-of-00001',
  ],
)
def test_a_checkpoint_of_which_something_is_there_lacks_its_weights(
  tmp_path, name
):
  (tmp_path / name).write_bytes(b'')
  with pytest.raises(FileNotFoundError, match='weights_ckpt.3.npz is missing'):
    make_agent().unbundle(tmp_path, 3, {})


def test_an_attribute_that_would_not_be_read_again_is_named(tmp_path):
  agent = SmallAgent(
    num_actions=2,
    observation_shape=(2,),
    stack_size=1,
    network=small.Perceptron,
  )
  agent.remember_settings()
  agent.visits = [[] for _ in range(10**5)]
  with pytest.raises(safe_pickle.RefusedError, match='SmallAgent.visits'):
    agent.bundle_and_checkpoint(str(tmp_path), 1)
