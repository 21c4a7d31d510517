"""The functional style of Dopamine's JAX agents, for the subclasses in it.

Such a subclass holds its parameters and the state of its optimizer itself,
and trains by functions of them; see docs/extending.md.
"""


def admit(cls: type) -> None:
  """Has a new subclass of `JaxDQNAgent` inherit what its style takes.

  One of today's hooks stays as it is.
  """
  from dopamine.compat import old_code

  if old_code.is_functional(cls):
    from dopamine.compat.functional import agents

    agents.join(cls)
