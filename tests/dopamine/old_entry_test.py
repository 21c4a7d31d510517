"""Programs that enter a graph or session of TensorFlow 1, as Dopamine 2's do.

Each is a process of its own: these are switches of the whole process.
"""

import functools
import pathlib
import subprocess
import sys

import keras
import pytest

pytestmark = pytest.mark.skipif(
  keras.config.backend() != 'tensorflow', reason='habits of TensorFlow 1'
)

ENTRIES = {
  'none': 'entry = contextlib.nullcontext()',
  'session': 'entry = v1.Session()',
  'graph': 'entry = tf.Graph().as_default()',
  'session without v2': 'v1.disable_v2_behavior()\nentry = v1.Session()',
  'seed without v2': (
    'v1.disable_v2_behavior()\n'
    'v1.set_random_seed(1)\n'
    'entry = contextlib.nullcontext()'
  ),
}

PROGRAM = """
import contextlib
import hashlib
import os
import tempfile

import keras
import numpy as np
import tensorflow as tf

from dopamine import networks
from dopamine.agents.dqn import dqn_agent
from dopamine.discrete_domains import run_experiment
from tests.support import agents
from tests.support import inside

v1 = tf.compat.v1
{entry}


class OldNetwork(keras.Model):

  def __init__(self, num_actions, name=None):
    super().__init__(name=name)
    self.last = keras.layers.Dense(num_actions)

  def call(self, state):
    x = tf.reshape(tf.cast(state, tf.float32), [tf.shape(state)[0], 4])
    assert type(x.shape[-1]) is int
    x += tf.cast((x > 0) == (x > 1), tf.float32)  # Element by element.
    return networks.DQNNetworkType(self.last(x))


def make(seed, **kwargs):
  kwargs = dict(min_replay_history=8, target_update_period=8) | kwargs
  cls = kwargs.pop('cls', dqn_agent.DQNAgent)
  return agents.make_agent(cls, network=OldNetwork, seed=seed, **kwargs)


def play(agent):
  rng = np.random.default_rng(0)
  actions = [agent.begin_episode(rng.normal(size=4))]
  actions += [agent.step(1.0, rng.normal(size=4)) for _ in range(60)]
  agent.end_episode(0.0)
  agent._train_step()
  return actions


def digest(agent):
  found = hashlib.sha256()
  for name, value in sorted(inside.learner(agent).state().items()):
    found.update(name.encode() + value.tobytes())
  return found.hexdigest()[:16]


def run(base_dir):
  runner = run_experiment.create_runner(base_dir)
  runner.run_experiment()
  return digest(inside.agent(runner))


with entry as sess, tempfile.TemporaryDirectory() as folder:
  run_experiment.load_gin_configs(
    ['dopamine/agents/dqn/configs/dqn_cartpole.gin'],
    [
      'create_agent.debug_mode = True',
      'DQNAgent.summary_writing_frequency = 100',
      'OutOfGraphReplayBuffer.batch_size = 8',
      'Runner.evaluation_steps = 10',
      'Runner.num_iterations = 1',
      'Runner.seed = 1',
      'Runner.training_steps = 700',
      'WrappedReplayBuffer.batch_size = 8',
      'WrappedReplayBuffer.replay_capacity = 1000',
    ],
  )
  for scheme in ('uniform', 'prioritized'):
    agent = make(1, replay_scheme=scheme)
    if isinstance(sess, v1.Session):
      sess.run(v1.global_variables_initializer())
    print(scheme, play(agent), digest(agent))
    bundle = agent.bundle_and_checkpoint(folder, 1)
    other = make(2, replay_scheme=scheme)
    assert other.unbundle(folder, 1, bundle)
    print('again', play(other), digest(other))
    agent = make(3, replay_scheme=scheme)
    agent.load_weights(os.path.join(folder, 'weights_ckpt.1.npz'))
    print('weights', digest(agent))
  agent = make(1, optimizer=v1.train.RMSPropOptimizer(0.01))
  print('old optimizer', play(agent), digest(agent))
  base_dir = os.path.join(folder, 'run')
  print('run', run(base_dir), run(base_dir))

  class Scaled(dqn_agent.DQNAgent):

    def __init__(self, *args, **kwargs):
      self.scale = keras.Variable(1.0, name='scale')
      super().__init__(*args, **kwargs)

  if {is_graph}:
    built = {name: OldNetwork(3) for name in ('Online', 'Target')}
    for network in built.values():
      network.last.build((1, 4))
    for kwargs in (
      dict(optimizer=keras.optimizers.Adam()),
      dict(cls=Scaled),
      dict(network=lambda num_actions, name: built[name]),
    ):
      try:
        play(agents.make_agent(**kwargs))
      except ValueError as error:
        print('Refused:', str(error).splitlines()[0])
"""


@functools.cache
def outcome(name):
  """What the program prints: the same of all, and what it refuses."""
  is_graph = name != 'none'
  code = PROGRAM.replace('{entry}', ENTRIES[name])
  result = subprocess.run(
    [sys.executable, '-c', code.replace('{is_graph}', str(is_graph))],
    capture_output=True,
    text=True,
    check=False,
    cwd=pathlib.Path(__file__).parents[2],
  )
  assert result.returncode == 0, result.stderr[-3000:]
  # Beside what the Runner prints of its settings and times.
  words = ('uniform', 'prioritized', 'again', 'weights', 'old', 'run ')
  lines = result.stdout.splitlines()
  said = result.stderr.count('see the row of sess in docs/migrating.md')
  return (
    [line for line in lines if line.startswith(words)],
    [line for line in lines if line.startswith('Refused: ')],
    said,
  )


@pytest.mark.parametrize('name', [name for name in ENTRIES if name != 'none'])
def test_agents_learn_the_same_in_a_graph_of_version_1(name):
  expected, _, said = outcome('none')
  assert len(expected) == 8
  assert said == 0
  found, refused, said = outcome(name)
  assert found == expected
  assert said == 1
  assert len(refused) == 3
  for line, variable in zip(
    refused, ('iteration', 'scale', 'kernel'), strict=True
  ):
    assert variable in line.split(' was made in a graph')[0]
    assert 'row of sess in docs/migrating.md' in line
