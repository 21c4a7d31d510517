"""Dopamine: a research framework for value-based deep reinforcement learning."""

from dopamine import gin_compat

gin_compat.install()
