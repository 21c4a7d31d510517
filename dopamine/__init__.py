"""Dopamine: a research framework for value-based reinforcement learning."""

from dopamine import signals

if signals.is_program():  # Before what takes time to load.
  signals.begin()

from dopamine import gin_compat  # noqa: E402
from dopamine import gin_tf  # noqa: E402

gin_compat.install()
gin_tf.install()
