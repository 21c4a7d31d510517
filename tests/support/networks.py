"""Networks of every kind, made once, and how their first weights are drawn."""

import functools

import numpy as np
from numpy.testing import assert_allclose

from dopamine import networks

SUPPORT = np.linspace(-10.0, 10.0, 51)  # float64, as a user may well pass it.

MAKE = {
  'dqn': functools.partial(networks.NatureDQNNetwork, 6),
  'rainbow': functools.partial(networks.RainbowNetwork, 6, 51, SUPPORT),
  'quantile': functools.partial(networks.QuantileNetwork, 6, 200),
  'implicit_quantile': functools.partial(
    networks.ImplicitQuantileNetwork, 6, 64
  ),
  'full_rainbow': functools.partial(
    networks.FullRainbowNetwork, 6, 51, SUPPORT
  ),
  'full_rainbow_plain': functools.partial(
    networks.FullRainbowNetwork, 6, 51, SUPPORT, noisy=False, dueling=False
  ),
  'full_rainbow_q': functools.partial(
    networks.FullRainbowNetwork, 6, 51, SUPPORT, distributional=False
  ),
}

NUM_QUANTILES = 4


def outputs_of(network, state):
  if 'Implicit' in type(network).__name__:
    return network(state, num_quantiles=NUM_QUANTILES)
  return network(state)


@functools.cache
def nature(name):
  """A network of `MAKE` and what it returns of two states."""
  network = MAKE[name](name='Online')
  return network, outputs_of(network, pixels())


def pixels(seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (2, 84, 84, 4)).astype(np.uint8)


C51 = networks.RainbowNetworkType

IQN = networks.ImplicitQuantileNetworkType

DQN = networks.DQNNetworkType


def glorot(*shape):
  area = np.prod(shape[:-2], dtype=int)
  return np.sqrt(6 / (area * (shape[-2] + shape[-1])))


def variance_scaling(*shape):
  return np.sqrt(np.sqrt(3) / np.prod(shape[:-1]))


def assert_uniform(weight, limit):
  """Whether the weights are uniform between +-limit, as far as that shows."""
  assert np.abs(weight).max() <= limit * (1 + 1e-6)
  # Once in e^20 times the largest of n numbers is below.
  assert np.abs(weight).max() > (1 - 20 / weight.size) * limit
  error = 4 / np.sqrt(weight.size)  # Seven deviations.
  assert abs(weight.mean()) < error * limit
  assert_allclose(weight.std(), limit / np.sqrt(3), rtol=error)


CLASSIC = {
  'dqn': functools.partial(networks.ClassicControlDQNNetwork, 2),
  'rainbow': functools.partial(
    networks.ClassicControlRainbowNetwork, 2, 51, SUPPORT
  ),
  'cartpole_rainbow': functools.partial(
    networks.CartpoleRainbowNetwork, 2, 51, SUPPORT
  ),
  'quantile': functools.partial(networks.ClassicControlQuantileNetwork, 2, 200),
  'implicit_quantile': functools.partial(
    networks.ClassicControlImplicitQuantileNetwork, 2, 64
  ),
  'full_rainbow': functools.partial(
    networks.ClassicControlFullRainbowNetwork, 2, 51, SUPPORT
  ),
  'full_rainbow_plain': functools.partial(
    networks.ClassicControlFullRainbowNetwork, 2, 51, SUPPORT, noisy=False
  ),
}


@functools.cache
def classic(name):
  """A network of `CLASSIC` and what it returns of two states."""
  network = CLASSIC[name](name='Target')
  return network, outputs_of(network, np.zeros((2, 4, 1)))


def randomize(layer, seed=0):
  """Gives every weight a number of its own; returns the weights."""
  rng = np.random.default_rng(seed)
  weights = [rng.normal(size=w.shape) for w in layer.get_weights()]
  layer.set_weights(weights)
  return weights


def embed(features, tau, kernel, bias):
  """Dabney et al. (2018a), eq. (4), one row at a time, but for i from 1."""
  rows = []
  for n in range(tau.shape[1]):
    for b in range(len(features)):
      i = np.arange(1, len(kernel) + 1)
      phi = np.maximum(np.cos(np.pi * i * tau[b, n]) @ kernel + bias, 0)
      rows.append(features[b] * phi)
  return np.array(rows)


HEAD_SUPPORT = np.array([-1.0, 0.0, 3.0], np.float32)
