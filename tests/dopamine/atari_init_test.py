"""Checks an installation: trains DQN on Pong for a moment.

python -m tests.dopamine.atari_init_test
"""

import os

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
import gin

from dopamine.discrete_domains import train

BINDINGS = """
  Runner.num_iterations = 1
  Runner.training_steps = 100
  Runner.evaluation_steps = 10
  Runner.max_steps_per_episode = 100
  DQNAgent.min_replay_history = 40
  WrappedReplayBuffer.replay_capacity = 1000
  create_atari_environment.game_name = 'Pong'
"""


class AtariInitTest(absltest.TestCase):
  def test_dqn_trains_on_pong(self):
    if not flags.FLAGS.is_parsed():  # As under pytest.
      flags.FLAGS.mark_as_parsed()
    self.addCleanup(gin.clear_config)
    base_dir = self.create_tempdir().full_path
    with flagsaver.flagsaver(
      base_dir=base_dir,
      gin_files=['dopamine/agents/dqn/configs/dqn.gin'],
      gin_bindings=[line.strip() for line in BINDINGS.strip().splitlines()],
    ):
      train.main([])

    checkpoints = os.listdir(os.path.join(base_dir, 'checkpoints'))
    self.assertIn('ckpt.0', checkpoints)
    self.assertIn('sentinel_checkpoint_complete.0', checkpoints)
    self.assertEqual(os.listdir(os.path.join(base_dir, 'logs')), ['log_0'])
    events = [name for name in os.listdir(base_dir) if 'tfevents' in name]
    self.assertLen(events, 1)
    self.assertGreater(os.path.getsize(os.path.join(base_dir, events[0])), 100)


if __name__ == '__main__':
  absltest.main()
