"""The agents with the defaults of Dopamine's JAX agents. Needs JAX."""

from dopamine import backend

backend.require('jax', 'dopamine.jax')
