"""Folders of runs with the returns that a test chooses."""

import pickle

ATARI = """
import dopamine.discrete_domains.atari_lib

# Parameters for create_agent:
# ====================================================================
create_agent.agent_name = {agent_name!r}

create_atari_environment.game_name = {task!r}
create_atari_environment.seed = None
create_atari_environment.sticky_actions = True

Runner.num_iterations = {iterations}
Runner.seed = {seed}
Runner.training_steps = {steps}
"""
GYM = (
  ATARI.replace(
    'atari_environment.game_name', 'gym_environment.environment_name'
  )
  .replace(
    'create_atari_environment.sticky_actions = True',
    "create_gym_environment.version = 'v0'",
  )
  .replace('create_atari', 'create_gym')
)


def write_run(
  path,
  returns,
  *,
  agent_name='dqn',
  task='Pong',
  seed=0,
  steps=250_000,
  config=None,
  more='',
  evaluated=(),
):
  """Writes what a run leaves of its statistics and settings.

  Args:
    path: a `pathlib.Path`, the folder.
    returns: one for each iteration, of training: a list of episodes, or their
      mean; None for an iteration in which no episode ended.
    agent_name: as in `create_agent.agent_name`.
    task: a game, or with `GYM` the name of an environment.
    seed: of the run.
    steps: of each iteration; two episodes of `steps / 2` each.
    config: the operative configuration, `ATARI` if None; '' writes none.
    more: lines that it has as well.
    evaluated: as `returns`, of evaluation.
  """
  (path / 'logs').mkdir(parents=True)
  data = {}
  for phase, of_phase in (('train', returns), ('eval', evaluated)):
    for i, value in enumerate(of_phase):
      statistics = data.setdefault(f'iteration_{i}', {})
      if value is not None:
        episodes = value if isinstance(value, list) else [value - 1, value + 1]
        statistics[f'{phase}_episode_returns'] = episodes
        length = steps // len(episodes)
        statistics[f'{phase}_episode_lengths'] = [length] * len(episodes)
      statistics[f'{phase}_average_return'] = [0.0 if value is None else 1.0]
  last = len(data) - 1
  with open(path / 'logs' / f'log_{last}', 'wb') as file:
    pickle.dump(data, file)
  config = ATARI if config is None else config
  if config:
    text = config.format(
      agent_name=agent_name,
      task=task,
      iterations=len(returns),
      seed=seed,
      steps=steps,
    )
    (path / 'operative_config.gin').write_text(text + more)
    (path / 'seed.json').write_text(str(seed))
  return path
