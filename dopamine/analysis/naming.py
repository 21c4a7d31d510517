"""What a run is called: its agent, its task, and what tells it from others."""

import ast
from collections.abc import Mapping, Sequence
import os
import re
from typing import Any

from dopamine.analysis import published
from dopamine.settings import errors

LABELS = {
  'dqn': 'DQN',
  'c51': 'C51',
  'rainbow': 'Rainbow',
  'full_rainbow': 'Full Rainbow',
  'quantile': 'QR-DQN',
  'implicit_quantile': 'IQN',
}
LABELS |= {f'jax_{name}': f'{label} (JAX)' for name, label in LABELS.items()}

# Settings that do not change what is learnt; games are compared apart.
_NO_MATTER = re.compile(
  r'(.*\.)?('
  r'(Train)?Runner\.(num_iterations|allow_changes|checkpoint_\w+|log_every_n|'
  r'logging_\w+|live_figures|keep_videos|record_video_every|'
  r'create_environment_fn)|'
  r'create_\w*environment\.(game_name|environment_name|version|render_mode)|'
  r'create_agent\.debug_mode|'
  r'\w*Agent\.(tf_device|summary_\w+|max_tf_checkpoints_to_keep|'
  r'allow_partial_reload|eval_mode|use_staging)|'
  r'\w*ReplayBuffer\.(use_staging|wrapped_memory)|'
  r'\w+\.seed)'
)
# Those that only evaluation knows.
_OF_EVALUATION = re.compile(
  r'(.*\.)?((Train)?Runner\.evaluation_steps|\w*Agent\.epsilon_eval|'
  r'create_runner\.schedule)'
)
_MOST_WORDS = 3  # Of a label, if they tell all apart.

# Words of a folder's name that tell one run from another.
_OF_SEEDS = re.compile(r'(seed|run|exp|trial|version|s|v)?s?\d*', re.IGNORECASE)


# Settings ---------------------------------------------------------------------


def literal(text: str) -> Any:
  """The value of a text; the text itself of a reference."""
  try:
    return ast.literal_eval(text)
  except (SyntaxError, ValueError):
    return text


def last(settings: Mapping[str, str], name: str) -> str | None:
  """The value of the parameter that ends with a name."""
  return next(
    (v for k, v in settings.items() if f'.{k}'.endswith(f'.{name}')), None
  )


def setting(settings: Mapping[str, str], name: str) -> Any:
  """The value of a parameter, by its last word; None where it is unknown.

  Where several have this name, the one of the agent counts.
  """
  found = {
    key.rpartition('.')[0]: text
    for key, text in settings.items()
    if key.rpartition('.')[-1] == name
  }
  of_agents = [text for owner, text in found.items() if 'Agent' in owner]
  texts = [*of_agents, *found.values()]
  return literal(texts[0]) if texts else None


def referred(text: str) -> str:
  """The name in a reference of gin; any other text as it is.

  `@mine.MyAgent()` is `MyAgent`.
  """
  if not text.startswith('@'):
    return text
  return text.removesuffix('()').rpartition('.')[-1].lstrip('@')


# Names ------------------------------------------------------------------------


def agent_name(settings: Mapping[str, str]) -> str:
  """As in `create_agent.agent_name`, but 'c51' and 'jax_c51'; '' for none."""
  made = last(settings, 'create_agent_fn')
  text = last(settings, 'create_agent.agent_name')
  if text is None or (made and not made.endswith('create_agent')):
    text = made
  if text in (None, 'None'):
    return ''
  name = referred(str(literal(text)))
  # C51 is Rainbow without what Rainbow adds.
  is_c51 = (
    name.removeprefix('jax_') == 'rainbow'
    and setting(settings, 'update_horizon') == 1
    and setting(settings, 'replay_scheme') == 'uniform'
  )
  return name.replace('rainbow', 'c51') if is_c51 else name


def known_agent(label: str) -> str:
  """The agent_name of a label, '' if it is a word of the user's."""
  names = {v.lower(): k for k, v in LABELS.items()} | {k: k for k in LABELS}
  return names.get(label.lower(), '')


def task(settings: Mapping[str, str], path: str) -> str:
  """A game, an id of Gymnasium, or the name of the user's function.

  Raises:
    ValueError: neither the settings nor the path tell.
  """
  name = last(settings, 'create_gym_environment.environment_name')
  if name is not None:
    name = str(literal(name))
    version = literal(last(settings, 'create_gym_environment.version') or '')
    has_version = re.search(r'-v\d+$', name) or not version
    return name if has_version else f'{name}-{version}'
  made = last(settings, 'create_environment_fn')
  is_atari = not made or made == 'None' or 'create_atari_environment' in made
  bound = last(settings, 'create_atari_environment.game_name')
  if bound is not None and is_atari:
    return canonical(str(literal(bound)))
  if made and made != 'None':
    return referred(made)
  for part in reversed(path.split(os.sep)):
    game, _ = _game_in(part)
    if game:
      return game
  raise errors.SettingError(
    f'nothing tells which task {path} is of: give AGENT/TASK=PATH, for '
    f"example 'DQN/Pong={path}'"
  )


def canonical(name: str) -> str:
  """The name of a game however it is written; any other as it is."""
  game = published.find_game(name) if name else None
  return game.name if game else name


def of_path(path: str) -> str:
  """The first folder from below that is called more than a game and a run.

  It is `rainbow` of `/data/rainbow/Pong/seed_1` and `/data/rainbow_pong_1`.
  """
  for part in reversed(path.split(os.sep)):
    _, words = _game_in(part)
    words = [word for word in words if not _OF_SEEDS.fullmatch(word)]
    if words:
      return '_'.join(words)
  return os.path.basename(path)


def _game_in(part: str) -> tuple[str, list[str]]:
  """The game in a folder's name, '' for none, and its other words."""
  words = [word for word in re.split(r'[-_. ]', part) if word]
  for length in range(min(4, len(words)), 0, -1):
    for i in range(len(words) - length + 1):
      game = published.find_game(''.join(words[i : i + length]))
      if game:
        return game.name, [*words[:i], *words[i + length :]]
  return '', words


# Labels -----------------------------------------------------------------------


def labels(
  known: Sequence[tuple[str, str, Mapping[str, str]]], phase: str
) -> list[str]:
  """The labels of runs, with what tells runs of an agent from each other.

  Args:
    known: of each run its agent, task and settings.
    phase: 'train' or 'eval', of which the returns are compared.
  """
  names: dict[str, set[str]] = {}
  for agent, _, settings in known:
    if settings:
      names.setdefault(agent, set()).add(agent_name(settings))
  bases = []
  for agent, _, settings in known:
    name = agent_name(settings)
    is_one = len(names.get(agent, ())) < 2 or not settings
    bases.append(agent if is_one else f'{agent} {LABELS.get(name, name)}')
  words: dict[str, list[list[str]]] = {}
  for base in dict.fromkeys(bases):
    members = [k for k, b in zip(known, bases, strict=True) if b == base]
    words[base] = _words([(t, s) for _, t, s in members], phase)
  return [', '.join([base, *words[base].pop(0)]) for base in bases]


def _words(
  runs: Sequence[tuple[str, Mapping[str, str]]], phase: str
) -> list[list[str]]:
  """What tells each of the runs of an agent from the others."""
  varying = _varying(runs, phase)
  found = []
  for _, settings in runs:
    values = _values(settings, varying)
    lasts = [name.rpartition('.')[-1] for name in values]
    found.append(
      [
        f'{last if lasts.count(last) == 1 else name}={text}'
        for (name, text), last in zip(values.items(), lasts, strict=True)
      ]
    )
    if not settings and any(s for _, s in runs):
      found[-1] = ['settings unknown']
  short = [
    words
    if len(words) <= _MOST_WORDS
    else [*words[:_MOST_WORDS], f'{len(words) - _MOST_WORDS} more']
    for words in found
  ]
  is_enough = len(set(map(tuple, short))) == len(set(map(tuple, found)))
  return short if is_enough else found


def _varying(
  runs: Sequence[tuple[str, Mapping[str, str]]], phase: str
) -> list[str]:
  """The parameters that runs of the same task have different values of."""
  names = {name for _, settings in runs for name in settings}
  names = {name for name in names if not _NO_MATTER.fullmatch(name)}
  if phase == 'train':
    names = {name for name in names if not _OF_EVALUATION.fullmatch(name)}
  found: dict[tuple[str, str], set[str]] = {}
  for of_task, settings in runs:
    for name, text in _values(settings, names).items():
      found.setdefault((of_task, name), set()).add(text)
  varying = {name for (_, name), texts in found.items() if _differ(texts)}
  return sorted(varying)


def _values(settings: Mapping[str, str], names: Any) -> dict[str, str]:
  """What a run has of parameters: 'default' of what its owner has none of.

  An operative configuration leaves out a default that is a function or class.
  """
  owners = {name.rpartition('.')[0] for name in settings}
  return {
    name: settings.get(name, _DEFAULT)
    for name in names
    if name in settings or name.rpartition('.')[0] in owners
  }


_DEFAULT = 'default'


def _differ(texts: set[str]) -> bool:
  given = texts - {_DEFAULT}
  # Another release may know parameters that this one does not: those have
  # values, and no references.
  is_replaced = _DEFAULT in texts and any(t[:1] in '@%' for t in given)
  return len(given) > 1 or is_replaced
