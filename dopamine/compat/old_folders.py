"""The folders of `make train` until 5.0: one for all games of a gin file."""

import os
import re

from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import run_experiment
from dopamine.runs import checkpoints
from dopamine.runs import run_checks


def holds(
  base_dir: str, seed: int | None, agent_name: str | type | None, played: str
) -> bool:
  """Whether a folder has a checkpoint of this agent, game and seed.

  Args:
    base_dir: the folder.
    seed: None is any.
    agent_name: see `create_agent`.
    played: the game, or the task with its version, if it has one.
  """
  if not os.path.isdir(f'{base_dir}/checkpoints'):
    return False
  try:
    places = checkpoints.RunCheckpoints(f'{base_dir}/checkpoints').places()
    place = places[-1]
    saved = place.checkpointer.load_checkpoint(place.number)['run']
    agent = run_experiment.find_agent_class(agent_name).__name__
    environment = saved['environment']
    if not re.search(r'-v\d+$', played):
      environment = re.sub(r'-v\d+$', '', environment)
    return (
      seed in (None, run_checks.saved_seed(base_dir))
      and saved['agent'] == agent.removeprefix('Jax')
      and atari_lib.letters(played) == atari_lib.letters(environment)
    )
  except Exception:  # Damage, another's files, no run at all: no advice.
    return False
