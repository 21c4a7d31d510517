"""What gin files for Dopamine 4 say, and what it is called here."""

from collections.abc import Iterable
import re

from dopamine.settings import errors

# What a line of a gin file for Dopamine 4 says, and what it says here. A class
# of this name may be the user's own, in a module of another name.
_REPLAY_BUFFER_4 = r'(?:(?:dopamine\.[\w.]*)?\breplay_buffer\.)?ReplayBuffer'
_DOPAMINE_4 = (
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
)


def check_version(texts: Iterable[str]) -> None:
  """Refuses lines that only Dopamine 4 understands.

  Args:
    texts: of gin files, and bindings.

  Raises:
    ValueError: with the lines, and what to write instead.
  """
  found = []
  for text in texts:
    for line in text.splitlines():
      for pattern, new in _DOPAMINE_4:
        if match := re.fullmatch(pattern, line.split('#')[0].strip()):
          found.append(f'  {match[0]}\n  ->  {match.expand(new)}')
          break
  if found:
    raise errors.SettingError(
      'These lines are for Dopamine 4; write here what is behind the arrow:\n'
      + '\n'.join(found)
    )
