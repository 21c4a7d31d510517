"""Dopamine: a research framework for value-based reinforcement learning."""

from dopamine import gin_tf

gin_tf.install()
