"""What gin files for another Dopamine say, and what it is called here."""

from collections.abc import Iterable
import re

from dopamine.settings import errors

# A class of this name may be the user's own, in a module of another name.
_REPLAY_BUFFER_4 = r'(?:(?:dopamine\.[\w.]*)?\breplay_buffer\.)?ReplayBuffer'
# Dopamine 2 had functions, of whose names these gin knew.
_NETWORKS_2 = tuple(
  (
    rf'(.*@)(?:dopamine\.discrete_domains\.)?gym_lib\.{task.lower()}'
    rf'_{kind.lower()}{kind and "_"}{head.lower()}_network',
    rf'\1gym_lib.{task}{kind}{head}Network',
  )
  for task in ('Cartpole', 'Acrobot')
  for kind, head in (('', 'DQN'), ('', 'Rainbow'), ('Fourier', 'DQN'))
)


def _of_flax(name: str) -> str:
  """Lines that import a module of Flax, or something of it."""
  return (
    rf'import\s+flax\.{name}\b.*|from\s+flax\s+import\s+{name}\b.*'
    rf'|from\s+flax\.{name}\s+import\b.*'
  )


# What a line says, and what it says here.
_LINES = (
  (
    r'import dopamine\.jax\.replay_memory\.\S+',
    'import dopamine.replay_memory.circular_replay_buffer',
  ),
  (r'(.*)\bdopamine\.tf\.(.*)', r'\1dopamine.\2'),
  (
    _REPLAY_BUFFER_4 + r'\.max_capacity(\s*=.*)',
    r'OutOfGraphReplayBuffer.replay_capacity\1',
  ),
  (
    _REPLAY_BUFFER_4 + r'\.(batch_size\s*=.*)',
    r'OutOfGraphReplayBuffer.\1',
  ),
  (_of_flax('nn'), 'import flax.linen'),
  (_of_flax('optim'), 'import optax'),
  *_NETWORKS_2,
  (
    r'(?:[\w.]*\.)?(?:Checkpointer|OutOfGraphReplayBuffer|'
    r'OutOfGraphPrioritizedReplayBuffer)\.checkpoint_duration(\s*=.*)',
    r'DQNAgent.max_tf_checkpoints_to_keep\1',
  ),
  (
    r'(?:[\w.]*\.)?(?:Checkpointer|OutOfGraphReplayBuffer)\.'
    r'(?:keep_every|checkpoint_frequency)\s*=.*',
    '(nothing: each iteration is a checkpoint, and the newest are kept)',
  ),
  (
    r'(?:[\w.]*\.)?(?:CollectorDispatcher\.collectors|'
    r'ConsoleCollector\.save_to_file|Runner\.use_legacy_logger|'
    r'Runner\.fine_grained_print_to_console|Jax\w+\.collector_allowlist|'
    r'Logger\.\w+)\s*=.*',
    '(nothing: logs and event files are written as they are)',
  ),
)


def check_version(texts: Iterable[str]) -> None:
  """Refuses lines that only another Dopamine understands.

  Args:
    texts: of gin files, and bindings.

  Raises:
    ValueError: with the lines, and what to write instead.
  """
  found = []
  for text in texts:
    for line in text.splitlines():
      for pattern, new in _LINES:
        if match := re.fullmatch(pattern, line.split('#')[0].strip()):
          found.append(f'  {match[0]}\n  ->  {match.expand(new)}')
          break
  if found:
    raise errors.SettingError(
      'These lines are for another Dopamine; write here what is '
      'behind the arrow:\n' + '\n'.join(found)
    )
