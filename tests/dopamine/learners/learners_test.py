"""Tests of both learners, and of their agreement."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
from numpy.testing import assert_allclose
import pytest

from dopamine import learners
from dopamine import networks
from dopamine import optimizers
from tests.support import agents
from tests.support import inside
from tests.support import small

pytestmark = pytest.mark.xla

OTHER = {'tensorflow': 'jax', 'jax': 'tensorflow'}[keras.config.backend()]

needs_both = pytest.mark.skipif(
  importlib.util.find_spec(OTHER) is None, reason=f'{OTHER} is not installed'
)

OPTIMIZERS = {
  'rmsprop': lambda: optimizers.RMSProp(0.001),
  'tf_adam': lambda: keras.optimizers.Adam(0.001, epsilon=0.0003125),
  'optax_adam': lambda: optimizers.Adam(0.001, epsilon=1.5e-4),
}


def train(name, state, num_batches):
  """Five updates from given weights; returns the learner's state after them."""
  agent = agents.make_agent(optimizer=OPTIMIZERS[name])
  learner = inside.learner(agent)
  if state:
    learner.set_state(state)
  start = learner.state()
  batches = small.batches(num_batches=5)
  for k in range(0, 5, num_batches):
    learner.update(small.Batch(*(x[k : k + num_batches] for x in batches)))
  return start, learner.state()


def main(folder):
  """Runs `train` with each optimizer in a process of the other backend."""
  for name in OPTIMIZERS:
    with np.load(f'{folder}/{name}_start.npz') as file:
      _, end = train(name, dict(file), num_batches=1)
    np.savez(f'{folder}/{name}_end.npz', **end)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """By optimizer: the start, and what each backend made of it."""
  folder, own, both = tmp_path_factory.mktemp('trained'), {}, {}
  for name in OPTIMIZERS:
    own[name] = train(name, None, num_batches=5)
    np.savez(folder / f'{name}_start.npz', **own[name][0])
  subprocess.run(
    [sys.executable, '-m', __spec__.name, str(folder)],
    env=os.environ | {'KERAS_BACKEND': OTHER},
    check=True,
  )
  for name in OPTIMIZERS:
    with np.load(folder / f'{name}_end.npz') as file:
      both[name] = *own[name], dict(file)
  return both


@needs_both
@pytest.mark.parametrize('name', OPTIMIZERS)
def test_backends_agree_after_five_updates(name, trained):
  start, end, other = trained[name]
  assert other.keys() == end.keys()
  moved = 0
  for key, value in end.items():
    assert_allclose(other[key], value, atol=1e-5, err_msg=key)
    moved += bool((value != start[key]).any())
  assert moved > 8, 'weights and slots must have moved'


def test_the_learning_rate_is_not_part_of_the_state():
  fast = agents.make_agent(optimizer=lambda: optimizers.RMSProp(0.1))
  slow = agents.make_agent(optimizer=lambda: optimizers.RMSProp(0.01))
  inside.learner(slow).set_state(inside.learner(fast).state())
  rate = inside.optimizer(slow).learning_rate
  assert float(rate) == pytest.approx(0.01)


def test_a_missing_variable_is_named_and_nothing_assigned():
  learner = inside.learner(agents.make_agent())
  state = learner.state()
  state['online_convnet/0'] = state['online_convnet/0'] + 1
  del state['target_convnet/1']
  with pytest.raises(ValueError, match='target_convnet/1'):
    learner.set_state(state)
  assert (learner.state()['online_convnet/0'] < 5).all()
  assert (
    learner.state()['online_convnet/0'] != state['online_convnet/0']
  ).all()


def test_schedules_count_updates():
  schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.1, 0.0])
  agent = agents.make_agent(optimizer=lambda: keras.optimizers.SGD(schedule))
  learner = inside.learner(agent)
  batches = small.batches(num_batches=3)
  learner.update(batches)
  before = learner.state()
  learner.update(batches)
  after = learner.state()
  assert_allclose(after['online_convnet/0'], before['online_convnet/0'])
  assert after['optimizer/0'] == 6


@pytest.mark.parametrize(
  'text,expected',
  [
    ('/cpu:*', ('cpu', 0)),
    ('/gpu:1', ('gpu', 1)),
    ('/device:GPU:2', ('gpu', 2)),
    ('GPU:0', ('gpu', 0)),
    ('cpu', ('cpu', 0)),
  ],
)
def test_devices_are_read_as_users_write_them(text, expected):
  assert learners.parse_device(text) == expected


def test_a_device_that_is_none_is_refused():
  with pytest.raises(ValueError, match="tf_device='/fpga:0'"):
    learners.parse_device('/fpga:0')


def test_a_gpu_that_is_not_there_means_the_cpu():
  agent = agents.make_agent(tf_device='/gpu:7')
  inside.learner(agent).update(small.batches())
  assert 'cpu, as there is no /gpu:7' in agent.describe_device().replace(
    f' ({learners.num_cpus()} threads)', ''
  )


def test_predict_returns_numpy():
  agent = agents.make_agent()
  q = inside.learner(agent).predict(agent.state)
  assert isinstance(q, np.ndarray) and q.shape == (1, small.NUM_ACTIONS)


def test_the_graph_is_there_once_it_is_compiled():
  agent = agents.make_agent()
  assert agent.graph_def() is None
  inside.learner(agent).update(small.batches())
  if keras.config.backend() == 'jax':
    assert agent.graph_def() is None
  else:
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef.FromString(agent.graph_def())
    assert any('MatMul' in node.op for node in graph.node)


def test_the_nature_network_learns_from_pixels():
  agent = agents.make_agent(
    num_actions=3,
    observation_shape=(84, 84),
    observation_dtype=np.uint8,
    stack_size=4,
    network=networks.NatureDQNNetwork,
  )
  rng = np.random.default_rng(0)
  batch = small.batches(batch_size=4)._replace(
    state=rng.integers(0, 256, (1, 4, 84, 84, 4)).astype(np.uint8),
    next_state=rng.integers(0, 256, (1, 4, 84, 84, 4)).astype(np.uint8),
  )
  batch = batch._replace(discount=np.zeros_like(batch.discount))
  first = float(inside.learner(agent).update(batch).objective[0])
  for _ in range(10):
    last = float(inside.learner(agent).update(batch).objective[0])
  assert last < first


if __name__ == '__main__':
  main(*sys.argv[1:])
