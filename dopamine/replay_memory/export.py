r"""Exports the replay memory of a run in the public format of Dopamine.

    python -m dopamine.replay_memory.export \
      --checkpoint_dir=/tmp/dqn_pong/checkpoints --output_dir=/tmp/pong_replay

writes `$store$_observation_ckpt.N.gz` and its siblings, what
`OutOfGraphReplayBuffer.load` and offline-RL libraries read.
"""

import os

from absl import flags
import numpy as np

from dopamine import command_line
from dopamine import signals
from dopamine.discrete_domains import checkpointer
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import prioritized_replay_buffer
from dopamine.replay_memory import ring_reader


def export(checkpoint_dir: str, output_dir: str, number: int) -> None:
  """Reads one checkpoint's replay memory and writes it to `output_dir`.

  Args:
    checkpoint_dir: `checkpoints` of a run, or `mid_iteration` in it.
    output_dir: is made if it is not there.
    number: of the checkpoint.

  Raises:
    FileNotFoundError: there is no such checkpoint.
    atomic.DamagedError: naming the file that is damaged.
  """
  record = ring_reader.read(checkpoint_dir, number).record
  described = {
    name: (tuple(shape[1:]), np.lib.format.descr_to_dtype(_tuples(dtype)))
    for name, (shape, dtype) in record['buffer'].items()
  }
  observation, action, reward, terminal = (
    described.pop(name)
    for name in ('observation', 'action', 'reward', 'terminal')
  )
  build = circular_replay_buffer.OutOfGraphReplayBuffer
  if 'sum_tree' in record['elements']:
    build = prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer
  memory = build(
    observation[0],
    stack_size=1,
    replay_capacity=record['replay_capacity'],
    observation_dtype=observation[1],
    action_shape=action[0],
    action_dtype=action[1],
    reward_shape=reward[0],
    reward_dtype=reward[1],
    terminal_dtype=terminal[1],
    extra_storage_types=[
      circular_replay_buffer.ReplayElement(name, shape, dtype)
      for name, (shape, dtype) in described.items()
    ],
  )
  memory.restore(checkpoint_dir, number)
  os.makedirs(output_dir, exist_ok=True)
  memory.save(output_dir, number)


def _tuples(dtype):
  """The description of a dtype, whose tuples JSON made lists."""
  if isinstance(dtype, str):
    return dtype
  return [
    (name, _tuples(kind), *map(tuple, shape)) for name, kind, *shape in dtype
  ]


def main(argv):
  """Exports what the flags name."""
  command_line.check_words(argv)
  with signals.handled():
    try:
      checkpoint_dir = command_line.require(
        'checkpoint_dir', '/tmp/dqn_pong/checkpoints'
      )
      output_dir = command_line.require('output_dir', '/tmp/pong_replay')
      number = flags.FLAGS.number
      if number is None:
        number = checkpointer.get_latest_checkpoint_number(checkpoint_dir)
      with signals.interrupting():
        export(checkpoint_dir, output_dir, number)
    except (OSError, ValueError) as error:
      raise SystemExit(f'\nError: {error}') from error
    except KeyboardInterrupt:
      signals.end('\nStopped.\n', signals.INTERRUPTED)
    print(f'Wrote checkpoint {number} to {output_dir}', flush=True)
    signals.settle(0)


if __name__ == '__main__':
  flags.DEFINE_string('checkpoint_dir', None, "A run's folder of checkpoints.")
  flags.DEFINE_string('output_dir', None, 'Where to write.')
  flags.DEFINE_integer(
    'number', None, 'Of the checkpoint; by default the newest.'
  )
  command_line.run(main)
