"""What Keras is set to outside of gin decides no network and no number."""

import contextlib
import functools
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from dopamine import learners
from dopamine import networks
from dopamine import optimizers
from dopamine.agents.dqn import dqn_agent
from dopamine.agents.full_rainbow import full_rainbow_agent
from dopamine.agents.implicit_quantile import implicit_quantile_agent
from dopamine.agents.quantile import quantile_agent
from dopamine.agents.rainbow import rainbow_agent
from dopamine.compat import gin_tf
from tests.support import small

pytestmark = pytest.mark.xla

DQN = dqn_agent.DQNAgent
IQN = implicit_quantile_agent.ImplicitQuantileAgent
FULL_RAINBOW = full_rainbow_agent.FullRainbowAgent

_IMAGES = {
  'observation_shape': (12, 12),
  'observation_dtype': np.uint8,
  'stack_size': 2,
}
_VECTORS = {
  'observation_shape': (4,),
  'observation_dtype': np.float64,
  'stack_size': 1,
}


def _decaying_sgd():
  schedule = keras.optimizers.schedules.ExponentialDecay(1e-3, 1, 0.9)
  return keras.optimizers.SGD(schedule)


# Every kind of network, and of optimizer.
AGENTS = {
  'dqn': (DQN, _IMAGES),
  'c51': (
    rainbow_agent.RainbowAgent,
    _IMAGES | {'optimizer': lambda: gin_tf._adam(6.25e-5)},
  ),
  'quantile': (quantile_agent.QuantileAgent, _IMAGES),
  'iqn': (IQN, _IMAGES),
  'full_rainbow': (FULL_RAINBOW, _IMAGES),
  'cartpole': (
    DQN,
    _VECTORS
    | {
      'network': networks.CartpoleDQNNetwork,
      'optimizer': functools.partial(keras.optimizers.Nadam, 6.25e-5),
    },
  ),
  'fourier': (DQN, _VECTORS | {'network': networks.CartpoleFourierDQNNetwork}),
  'iqn of vectors': (
    IQN,
    _VECTORS | {'network': networks.ClassicControlImplicitQuantileNetwork},
  ),
  'full rainbow of vectors': (
    FULL_RAINBOW,
    _VECTORS
    | {'network': networks.ClassicControlFullRainbowNetwork, 'noisy': False},
  ),
  # A user's own network, of plain Keras layers.
  'own': (
    DQN,
    _VECTORS | {'network': small.Perceptron, 'optimizer': _decaying_sgd},
  ),
}


# What shows most in the least time; the rest is slow.
FEW = ('dqn', 'own')


def results(names):
  """Action values and all weights of each agent after a few updates."""
  found = {}
  for name in names:
    agent_class, settings = AGENTS[name]
    agent = agent_class(
      num_actions=3,
      min_replay_history=6,
      update_period=2,
      target_update_period=4,
      seed=1,
      **settings,
    )
    rng = np.random.default_rng(0)
    shape = agent.observation_shape

    def observe(shape=shape, rng=rng):
      if len(shape) == 2:
        return rng.integers(0, 256, shape).astype(np.uint8)
      return rng.uniform(-0.1, 0.1, shape)

    agent.begin_episode(observe())
    for _ in range(10):
      agent.step(float(rng.normal()), observe())
    assert int(agent._learner.optimizer.iterations) >= 2
    draws = agent._acting_draws(1)
    found[f'{name}/q'] = agent._learner.predict(agent.state, *draws)
    for key, value in agent._learner.state().items():
      found[f'{name}/{key}'] = value
  return found


@functools.cache
def expected(names):
  return results(names)


def run_python(*arguments, **environment):
  return subprocess.run(
    [sys.executable, *arguments],
    env=os.environ | environment,
    capture_output=True,
    text=True,
    check=False,
  )


def assert_same_in_a_process_of(names, tmp_path, **environment):
  path = str(tmp_path / 'results.npz')
  done = run_python('-m', __spec__.name, path, *names, **environment)
  assert done.returncode == 0, done.stderr[-3000:]
  with np.load(path) as file:
    assert set(file.files) == set(expected(names))
    for name, value in expected(names).items():
      # Keras takes integers of the backend's size for counts and seeds.
      assert value.dtype.kind != 'f' or file[name].dtype == value.dtype, name
      np.testing.assert_array_equal(file[name], value, err_msg=name)


@pytest.mark.parametrize(
  'names', [FEW, pytest.param(tuple(AGENTS), marks=pytest.mark.slow)]
)
def test_a_users_keras_json_decides_neither_network_nor_numbers(
  names, tmp_path
):
  settings = {'floatx': 'float16', 'image_data_format': 'channels_first'}
  (tmp_path / 'keras.json').write_text(json.dumps(settings))
  assert_same_in_a_process_of(names, tmp_path, KERAS_HOME=str(tmp_path))


@pytest.mark.slow
def test_nor_does_one_of_a_wider_float_and_another_backend(tmp_path):
  settings = {'floatx': 'float64', 'epsilon': 1e-3, 'backend': 'torch'}
  (tmp_path / 'keras.json').write_text(json.dumps(settings))
  assert_same_in_a_process_of(FEW, tmp_path, KERAS_HOME=str(tmp_path))


@pytest.mark.parametrize(
  'layer',
  [
    lambda: networks.NatureDQNNetwork(3),
    lambda: networks.ImplicitQuantileNetwork(3, 5),
    lambda: networks.FullRainbowNetwork(3, 5, np.arange(5.0)),
    lambda: networks.AcrobotFourierDQNNetwork(3),
    lambda: networks.ClassicControlQuantileNetwork(3, 5),
    lambda: networks.NoisyDense(3),
    lambda: networks.QuantileEmbedding(5),
  ],
)
def test_our_networks_say_what_they_need_themselves(layer):
  with policy('mixed_float16'):
    network = layer()
  parts = network._flatten_layers() if hasattr(network, 'layers') else [network]
  for part in parts:
    assert part.dtype_policy.name == 'float32', part.name
    layout = getattr(part, 'data_format', 'channels_last')
    assert layout == 'channels_last', part.name


@contextlib.contextmanager
def policy(name):
  before = keras.config.dtype_policy()
  keras.config.set_dtype_policy(name)
  keras.config.set_image_data_format('channels_first')
  try:
    yield
  finally:
    keras.config.set_dtype_policy(before)
    keras.config.set_image_data_format('channels_last')


def make_agent(**settings):
  return DQN(num_actions=3, network=small.Perceptron, **(_VECTORS | settings))


@pytest.mark.parametrize(
  'name,value',
  [
    ('dtype_policy', 'mixed_float16'),
    ('dtype_policy', 'mixed_bfloat16'),
    ('dtype_policy', 'float64'),
    ('floatx', 'float64'),
    ('image_data_format', 'channels_first'),
  ],
)
def test_what_a_script_asks_of_keras_for_all_is_refused_by_name(
  name, value, monkeypatch, tmp_path
):
  monkeypatch.setenv('KERAS_HOME', str(tmp_path))  # No keras.json.
  before = getattr(keras.config, name)()
  getattr(keras.config, f'set_{name}')(value)
  try:
    with pytest.raises(ValueError) as refusal:
      make_agent()
  finally:
    getattr(keras.config, f'set_{name}')(before)
  assert f"keras.config.{name}() is '{value}'" in str(refusal.value)
  assert f'leave keras.config.set_{name} out' in str(refusal.value)
  make_agent()


def test_settings_of_keras_are_put_back():
  before = keras.config.dtype_policy()
  keras.config.set_floatx('float16')
  keras.config.set_dtype_policy('mixed_float16')
  try:
    with pytest.raises(ZeroDivisionError), learners.keras_defaults():
      assert keras.config.floatx() == 'float32'
      assert keras.layers.Dense(1).dtype_policy.name == 'float32'
      raise ZeroDivisionError
    assert keras.config.floatx() == 'float16'
    assert keras.config.dtype_policy().name == 'mixed_float16'
  finally:
    keras.config.set_floatx('float32')
    keras.config.set_dtype_policy(before)


def test_a_learning_rate_that_float16_rounded_is_refused():
  keras.config.set_floatx('float16')
  try:
    rounded = keras.optimizers.Adam(6.25e-5)
    ours = [
      optimizers.tf1_adam(),
      optimizers.RMSProp(6.25e-5),
      optimizers.create_optimizer('adam'),
      gin_tf._momentum(6.25e-5, 0.9),
      gin_tf._adagrad(6.25e-5),
      gin_tf._keras_optimizer('AdamW')(6.25e-5),
    ]
  finally:
    keras.config.set_floatx('float32')
  with pytest.raises(ValueError, match='learning rate in float16.*a factory'):
    optimizers.resolve(rounded)
  for optimizer in ours:
    assert optimizer.learning_rate.dtype == 'float32'
    assert optimizers.resolve(optimizer) is optimizer


if __name__ == '__main__':
  np.savez(sys.argv[1], **results(sys.argv[2:]))
