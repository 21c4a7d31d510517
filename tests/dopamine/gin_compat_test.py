"""Tests of `dopamine.gin_compat`."""

import os
import subprocess
import sys

import gin
import keras
import numpy as np
import pytest

import dopamine  # noqa: F401 Installs the stand-ins.
from dopamine import optimizers


@gin.configurable
def holder(optimizer=None, activation=None, dtype=None):
  return optimizer, activation, dtype


@pytest.fixture(autouse=True)
def clear_gin():
  yield
  gin.clear_config()


def parse(*lines):
  gin.parse_config('\n'.join(lines))
  return holder()


def test_rmsprop_of_the_published_files():
  optimizer, _, _ = parse(
    'import gin.tf.external_configurables',
    'holder.optimizer = @tf.train.RMSPropOptimizer()',
    'tf.train.RMSPropOptimizer.learning_rate = 0.00025',
    'tf.train.RMSPropOptimizer.decay = 0.95',
    'tf.train.RMSPropOptimizer.momentum = 0.0',
    'tf.train.RMSPropOptimizer.epsilon = 0.00001',
    'tf.train.RMSPropOptimizer.centered = True',
  )
  assert type(optimizer) is optimizers.RMSProp
  assert float(optimizer.learning_rate) == pytest.approx(0.00025)
  assert (optimizer.decay, optimizer.momentum) == (0.95, 0.0)
  assert (optimizer.epsilon, optimizer.centered) == (0.00001, True)
  assert optimizer.initial_mean_square == 1.0


def test_rmsprop_defaults_are_tf1s():
  optimizer, _, _ = parse(
    'holder.optimizer = @tf.train.RMSPropOptimizer()',
    'RMSPropOptimizer.learning_rate = 0.1',
  )
  found = optimizer.decay, optimizer.momentum, optimizer.epsilon
  assert found == (0.9, 0.0, 1e-10)
  assert not optimizer.centered


def test_adam_of_the_published_files():
  optimizer, _, _ = parse(
    'import gin.tf',
    'holder.optimizer = @tf.train.AdamOptimizer()',
    'tf.train.AdamOptimizer.learning_rate = 0.001',
    'tf.train.AdamOptimizer.epsilon = 0.0003125',
  )
  assert type(optimizer) is keras.optimizers.Adam
  assert float(optimizer.learning_rate) == pytest.approx(0.001)
  found = optimizer.beta_1, optimizer.beta_2, optimizer.epsilon
  assert found == (0.9, 0.999, 0.0003125)


def test_keras_optimizers_under_their_tensorflow_names():
  optimizer, _, _ = parse(
    'holder.optimizer = @tf.keras.optimizers.Adam()',
    'tf.keras.optimizers.Adam.learning_rate = 0.5',
  )
  assert type(optimizer) is keras.optimizers.Adam
  assert float(optimizer.learning_rate) == pytest.approx(0.5)


def test_each_agent_gets_an_optimizer_of_its_own():
  lines = ('holder.optimizer = @tf.train.AdamOptimizer()',)
  assert parse(*lines)[0] is not parse(*lines)[0]


def test_activations_and_dtypes():
  _, activation, dtype = parse(
    'holder.activation = @tf.nn.tanh', 'holder.dtype = %tf.uint8'
  )
  values = activation(np.array([0.5], np.float32))
  assert np.allclose(values, np.tanh(0.5))
  assert np.dtype(dtype) == np.uint8


def test_a_typo_names_the_configurable():
  with pytest.raises(ValueError, match='tf.train.AdamOptimizer.*epsilom'):
    parse(
      'holder.optimizer = @tf.train.AdamOptimizer()',
      'tf.train.AdamOptimizer.epsilom = 1',
    )


def test_research_code_may_import_gin_tf_first():
  code = (
    'import dopamine, gin.tf, gin.tf.external_configurables, sys;'
    'print("tensorflow" in sys.modules, "keras" in sys.modules)'
  )
  result = subprocess.run(
    [sys.executable, '-c', code],
    env=os.environ,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.stdout.split() == ['False', 'False'], result.stderr
