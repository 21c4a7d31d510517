"""States of games as the checkpoints of earlier versions have them."""

from typing import Any


def with_start(
  state: dict[str, Any], ale: Any, num_actions: int
) -> dict[str, Any]:
  """Has a state from before games were recorded start right where it is.

  Args:
    state: of an `AtariPreprocessing`.
    ale: its emulator.
    num_actions: of its action space.
  """
  executed = state.get('executed_action')
  if executed is None and state['last_action'] is not None:
    actions = ale.getMinimalActionSet()
    if len(actions) != num_actions:
      actions = ale.getLegalActionSet()
    executed = actions[state['last_action']].value
  start = {'emulator': state['emulator'], 'executed_action': executed or 0}
  return {**state, 'start': start, 'played': b''}
