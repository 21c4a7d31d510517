"""Paths that gin files give to what is registered under another one here.

They are found when gin looks a name up, in a file, a binding or a call. A
second registration would make the short names ambiguous.
"""

import re

import gin

# What was registered for JAX too, and is once here: `linearly_decaying_epsilon`
# by Dopamine 3 and 4, and what files say in its place.
_OF_JAX = re.compile(
  r'(?:dopamine\.)?jax\.(agents\.dqn\.dqn_agent\.'
  r'(?:linearly_decaying|identity)_epsilon)'
)
# Where Dopamine 4.1 has what is not of JAX.
_OF_TF = re.compile(r'(?:dopamine\.)?tf\.((?:agents|replay_memory)\.[\w.]+)')


def install() -> None:
  """Has gin find them, once per process."""
  registry = gin.config._REGISTRY
  find = registry.matching_selectors

  def matching_selectors(name: str) -> list[str]:
    found = find(name)
    moved = None
    if not found:
      moved = _OF_JAX.fullmatch(name) or _OF_TF.fullmatch(name)
    return find(f'dopamine.{moved[1]}') if moved else found

  registry.matching_selectors = matching_selectors
