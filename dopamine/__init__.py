"""Dopamine: a research framework for value-based reinforcement learning."""

from dopamine import gin_compat

gin_compat.install()
