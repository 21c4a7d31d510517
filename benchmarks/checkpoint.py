"""Measures what a checkpoint of a full replay memory costs.

    python benchmarks/checkpoint.py [--games Pong Seaquest] [--frames 1000000]
      [--new 250000] [--cache DIR] [--dir DIR]

fills a memory of `--frames` slots with real play, takes checkpoints of it as a
Runner does, `--new` slots apart, and prints one table for each game: how long
training waits, until when a checkpoint is complete, what it writes, what four
take on the disk, the memory for it, and how long it takes to restore. Beside it
stands, measured in the same run, the original's way: gzip of the whole store.
Linux only. Playing 1.8 million agent steps takes a quarter of an hour for each
game; `--cache` keeps them for the next run.
"""

import argparse
from collections.abc import Callable, Iterator
import ctypes
import gzip
import io
import itertools
import math
import os
import sys
import tempfile
import time
from typing import IO, Any, NamedTuple
import zlib

import numpy as np
import zstandard

from dopamine import memory as process_memory
from dopamine.discrete_domains import atari_lib
from dopamine.files import atomic
from dopamine.files import safe_pickle
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import ring_reader
from dopamine.runs import checkpoints
from dopamine.runs import going_on

# Agent steps that are played and cached together.
PART = 10_000

# What is sampled where all would take too long: so many slots, in so many runs.
SAMPLED, RUNS = 20_000, 10

# The Runner's default, 10 minutes, of which a checkpoint may take 1 %.
INTERVAL_SECONDS = 600


class Row(NamedTuple):
  """One figure of the table; less is better.

  Attributes:
    what: was measured.
    value: in `unit`.
    reference_value: what it is compared with.
    reference: says what that is.
    unit: 's', 'bytes' or 'slots'.
    at_most: the aim for their ratio, if there is one.
  """

  what: str
  value: float
  reference_value: float
  reference: str
  unit: str
  at_most: float | None = None


# Playing ----------------------------------------------------------------------


def play(game: str, seed: int) -> np.ndarray:
  """Returns the transitions of `PART` agent steps, to the end of an episode.

  Actions are drawn, and each is kept for five steps on average: an agent that
  draws a new one every step hardly moves.
  """
  environment = atari_lib.create_atari_environment(game, seed=seed)
  rng = np.random.default_rng(seed)
  num_actions, action, is_over = environment.action_space.n, 0, True
  played: list[tuple] = []
  while len(played) < PART or not is_over:
    if is_over:
      observation = environment.reset()
    if rng.random() < 0.2:
      action = int(rng.integers(num_actions))
    frame = observation[..., 0]
    observation, reward, _, _ = environment.step(action)
    is_over = environment.game_over
    played.append((frame, action, np.clip(reward, -1, 1), is_over))
  shape = atari_lib.NATURE_DQN_OBSERVATION_SHAPE
  return np.array(
    played,
    [
      ('observation', np.uint8, shape),
      ('action', np.int32),
      ('reward', np.float32),
      ('terminal', np.uint8),
    ],
  )


def cached_play(game: str, seed: int, cache: str) -> np.ndarray:
  """What `play` returns, from the cache if it is there."""
  path = os.path.join(cache, f'{game}_{PART}_{seed}.npy.zst')
  if not os.path.exists(path):
    array = io.BytesIO()
    np.save(array, play(game, seed))

    def write(file: IO[bytes]) -> None:
      file.write(zstandard.compress(array.getbuffer(), 1))

    os.makedirs(cache, exist_ok=True)
    atomic.write_file(path, write)
  with open(path, 'rb') as file:
    return np.load(io.BytesIO(zstandard.decompress(file.read())))


def transitions(game: str, cache: str | None) -> Iterator[tuple]:
  """Yields what `add` takes, without an end and without a repetition."""
  for seed in itertools.count():
    part = cached_play(game, seed, cache) if cache else play(game, seed)
    scalars = (part[n].tolist() for n in ('action', 'reward', 'terminal'))
    yield from zip(part['observation'], *scalars, strict=True)


def fill(memory: Any, source: Iterator[tuple], until: int) -> float:
  """Adds to the memory up to an `add_count`; returns the longest `add`."""
  longest = 0.0
  while memory.add_count < until:
    transition = next(source)
    start = time.perf_counter()
    memory.add(*transition)
    longest = max(longest, time.perf_counter() - start)
  return longest


# Measuring --------------------------------------------------------------------


class Cost(NamedTuple):
  """What something took.

  Attributes:
    seconds: on the clock.
    cpu_seconds: of all threads.
    written: bytes.
    memory: bytes at the peak, beyond what the process had before.
  """

  seconds: float
  cpu_seconds: float
  written: int
  memory: int


def cost(function: Callable[[], Any]) -> Cost:
  """Calls the function and says what that took."""
  # What was freed, but not given back, would be used again and not be counted.
  ctypes.CDLL(None).malloc_trim(0)
  with open('/proc/self/clear_refs', 'w', encoding='ascii') as file:
    file.write('5')  # The peak is that from now on.
  before = _of_process('io', 'wchar'), process_memory.resident()
  start, cpu_start = time.perf_counter(), time.process_time()
  function()
  return Cost(
    time.perf_counter() - start,
    time.process_time() - cpu_start,
    _of_process('io', 'wchar') - before[0],
    max(0, 1024 * _of_process('status', 'VmHWM') - before[1]),
  )


def _of_process(file: str, name: str) -> int:
  """A number that the system keeps of this process."""
  with open(f'/proc/self/{file}', encoding='ascii') as lines:
    return next(int(x.split()[1]) for x in lines if x.startswith(name + ':'))


def start_checkpoint(
  run: checkpoints.RunCheckpoints, memory: Any, number: int
) -> float:
  """Does what `Runner._save` does; returns for how long the loop waits."""
  start = time.perf_counter()
  place = run.at_end_of(number)
  with place.checkpointer.collect() as checkpoint:
    memory.checkpoint(place.checkpointer.directory, place.number)
    pickled = safe_pickle.dumps({'current_iteration': number})
  run.write(place, pickled, checkpoint, lambda error: None)
  return time.perf_counter() - start


def finish_checkpoint(run: checkpoints.RunCheckpoints) -> None:
  """Returns when it is complete."""
  error = run.wait()
  if error is not None:
    raise error


def restore(directory: str, memory: Any) -> None:
  """Does what `Runner._resume` does: checks the newest, and reads it."""
  place = checkpoints.RunCheckpoints(directory).places()[-1]
  going_on.check_files(place.checkpointer, place.number)
  place.checkpointer.load_checkpoint(place.number)
  memory.restore(place.checkpointer.directory, place.number)


def build_memory(
  capacity: int,
) -> circular_replay_buffer.OutOfGraphReplayBuffer:
  """An empty memory of Atari frames."""
  return circular_replay_buffer.OutOfGraphReplayBuffer(
    atari_lib.NATURE_DQN_OBSERVATION_SHAPE,
    atari_lib.NATURE_DQN_STACK_SIZE,
    replay_capacity=capacity,
    observation_dtype=np.uint8,
    seed=0,
  )


def checksums(memory: Any) -> list[int]:
  """Of the arrays of a memory, and how many slots were added to it."""
  arrays = *memory._store.values(), memory._markers, memory.add_count
  return [zlib.crc32(np.ravel(array)) for array in arrays]


def distinct_share(memory: Any) -> float:
  """How many of the stored frames there are once, by checksum."""
  frames = memory._store['observation']
  return len({zlib.crc32(frame) for frame in frames}) / len(frames)


def gzip_sample(memory: Any, level: int) -> tuple[float, float]:
  """Seconds and bytes of the whole store as gzip, from a sample of the slots.

  Dopamine 3.2.1 leaves the level to Python, and that is 9. The sample is of
  runs of slots: what is close to each other is alike.
  """
  capacity = memory._replay_capacity
  length = min(SAMPLED, capacity) // RUNS
  starts = np.linspace(0, capacity - length, RUNS).astype(int)
  file = io.BytesIO()
  start = time.perf_counter()
  with gzip.GzipFile('', 'wb', compresslevel=level, fileobj=file) as zipped:
    for array in memory._store.values():
      for first in starts:
        np.save(zipped, array[first : first + length], allow_pickle=False)
  took = time.perf_counter() - start
  scale = capacity / (RUNS * length)
  return took * scale, file.getbuffer().nbytes * scale


class Kept(NamedTuple):
  """What the checkpoints that are kept are made of.

  Attributes:
    size: bytes of all files.
    slots: that are in these files.
    once: bytes of the slots that the checkpoints need, each once, at the rate
      at which these are compressed, without the parity that repairs them.
  """

  size: int
  slots: int
  once: float


def kept(run: checkpoints.RunCheckpoints, distinct: int) -> Kept:
  """Measures the folder of checkpoints that need so many distinct slots."""
  directory = run.complete.directory
  records = [
    ring_reader.read(directory, number).record
    for number in run.complete.numbers()
  ]
  segments = {s['file']: s for record in records for s in record['segments']}
  slots = sum(s['end'] - s['first'] for s in segments.values())
  size = sum(s['size'] for s in segments.values())
  assert slots >= distinct, 'slots are missing'
  return Kept(
    sum(os.path.getsize(path) for path in _files(directory)),
    slots,
    size * distinct / slots,
  )


def _files(directory: str) -> list[str]:
  """The paths of all files, those of folders below it included."""
  return [
    os.path.join(folder, name)
    for folder, _, names in os.walk(directory)
    for name in names
  ]


def forget(directory: str) -> None:
  """Makes the system read files from the disk again, as after a restart."""
  for path in _files(directory):
    with open(path, 'rb') as file:
      os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# One game ---------------------------------------------------------------------

LEVEL_1 = 'gzip of the whole store, level 1'
LEVEL_9 = 'the same at level 9, from a sample'


class Folders(NamedTuple):
  """Where the files of one game go.

  Attributes:
    run: the folder of our checkpoints.
    whole: that of what `save` writes.
  """

  run: str
  whole: str


def measure(
  game: str, frames: int, new: int, cache: str | None, directory: str
) -> tuple[str, list[Row]]:
  """What the memory of the game holds, and the rows of its table."""
  folders = Folders(
    *(os.path.join(directory, name) for name in Folders._fields)
  )
  os.makedirs(folders.whole)

  def say(what: str) -> None:
    print(f'{game}: {what} ...', file=sys.stderr, flush=True)

  memory, rows = measure_saving(
    transitions(game, cache), frames, new, folders, say
  )
  about = f'{game}: {distinct_share(memory):.1%} of {frames:,} frames distinct'
  expected = checksums(memory)
  del memory
  forget(directory)
  say('restoring')
  rows += measure_restoring(frames, folders, expected)
  say('starting a run with it')
  return about, rows + measure_resuming(game, frames, folders)


def measure_saving(
  source: Iterator[tuple],
  frames: int,
  new: int,
  folders: Folders,
  say: Callable[[str], None],
) -> tuple[Any, list[Row]]:
  """Returns the memory as it was saved, and the rows of that."""
  run = checkpoints.RunCheckpoints(folders.run)
  memory = build_memory(frames)
  say('playing')
  # As in the middle of a run, the oldest slots that are needed do not start a
  # file: there is a checkpoint before the four that are kept, and 0.02 of the
  # memory is eight tenths of a file.
  fill(memory, source, new)
  start_checkpoint(run, memory, 0)
  finish_checkpoint(run)
  until = frames + frames // 50
  fill(memory, source, until)
  first = int(memory.add_count) - frames
  start_checkpoint(run, memory, 1)
  finish_checkpoint(run)
  longest_add = fill(memory, source, until + new)

  say('taking checkpoints')
  os.sync()  # What is left to be written would be in the way.
  waits = []

  def take() -> None:
    waits.append(start_checkpoint(run, memory, 2))
    finish_checkpoint(run)

  ours = cost(take)
  fill(memory, source, until + 2 * new)
  start_checkpoint(run, memory, 3)
  longest_beside = fill(memory, source, until + 3 * new)
  finish_checkpoint(run)
  start_checkpoint(run, memory, 4)
  finish_checkpoint(run)
  distinct = int(memory.add_count) - first
  four = kept(run, distinct)

  say("saving the original's way")
  os.sync()
  original = cost(lambda: memory.save(folders.whole, 4))
  level_9 = gzip_sample(memory, 9)
  return memory, [
    Row('the loop waits', waits[0], 0.1, 'aim', 's', 1),
    Row(
      'longest add, one being written',
      longest_beside,
      longest_add,
      'longest add, none being written',
      's',
    ),
    Row('complete after', ours.seconds, 10, 'aim', 's', 1),
    Row('', ours.seconds, original.seconds, LEVEL_1, 's'),
    Row('', ours.seconds, level_9[0], LEVEL_9, 's'),
    Row(
      'processor time of it',
      ours.cpu_seconds,
      INTERVAL_SECONDS,
      'from one checkpoint to the next',
      's',
      0.01,
    ),
    Row('written', ours.written, original.written, LEVEL_1, 'bytes'),
    Row('', ours.written, level_9[1], LEVEL_9, 'bytes'),
    Row(
      'four on the disk',
      four.size,
      four.once,
      'their distinct slots once, bare',
      'bytes',
      1.1,
    ),
    Row('', four.slots, distinct, 'their distinct slots', 'slots', 1.1),
    Row('', four.size, 4 * original.written, f'4 x {LEVEL_1}', 'bytes'),
    Row('', four.size, 4 * level_9[1], f'4 x {LEVEL_9}', 'bytes'),
    Row(
      'extra memory at the peak',
      ours.memory,
      memory.nbytes,
      'the memory',
      'bytes',
      1 / 20,
    ),
  ]


def measure_restoring(
  frames: int, folders: Folders, expected: list[int]
) -> list[Row]:
  """The rows of reading what `measure_saving` wrote into new memories."""

  def seconds(read: Callable[[Any], None]) -> float:
    start = time.perf_counter()
    memory = build_memory(frames)
    read(memory)
    took = time.perf_counter() - start
    assert checksums(memory) == expected, 'something else was restored'
    return took

  ours = seconds(lambda memory: restore(folders.run, memory))
  original = seconds(lambda memory: memory.load(folders.whole, 4))
  return [
    Row('restored after', ours, 20, 'aim', 's', 1),
    Row('', ours, original, LEVEL_1, 's'),
  ]


DQN = 'dopamine/agents/dqn/configs/dqn.gin'

# Makes a run that is saved with the memory of another folder.
_MAKE_RUN = """
import sys
from dopamine.discrete_domains import run_experiment

gin_file, base_dir, folder, *bindings = sys.argv[1:]
run_experiment.load_gin_configs([gin_file], bindings)
runner = run_experiment.create_runner(base_dir)
runner._agent._replay.restore(folder, 4)
runner._save_iteration(0, {})
runner.close()
print('started')
"""


def measure_resuming(game: str, frames: int, folders: Folders) -> list[Row]:
  """The row of starting a run of DQN where it was left, memory full."""
  import throughput  # Loads Keras, which nothing above needs.

  base_dir = os.path.join(os.path.dirname(folders.run), 'base_dir')
  bindings = (
    f'create_atari_environment.game_name = "{game}"',
    f'WrappedReplayBuffer.replay_capacity = {frames}',
  )
  throughput.seconds(_MAKE_RUN, DQN, base_dir, folders.run, *bindings)
  forget(base_dir)
  took = throughput.seconds_to_start(DQN, base_dir, *bindings)
  return [Row('resumed: start to first step', took, 20, 'aim', 's', 1)]


# Reporting --------------------------------------------------------------------


def _three_digits(value: float) -> str:
  if not value:
    return '0'
  return f'{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}'


def _figure(value: float, unit: str) -> str:
  if unit == 's':
    if 0 < value < 1:
      return f'{_three_digits(1e3 * value)} ms'
    return f'{_three_digits(value)} s'
  if unit == 'bytes':
    return f'{_three_digits(value / 1e6)} MB'
  return f'{value:,.0f} {unit}'


def print_table(rows: list[Row]) -> None:
  """Ratios first, what they are made of beside them."""
  layout = '{:>9}  {:>7}  {:>16}  {:>16}  {:<32}{}'
  print(
    layout.format('ratio', 'at most', 'here', 'reference', '', 'reference is')
  )
  for row in rows:
    print(
      layout.format(
        _three_digits(row.value / row.reference_value),
        '' if row.at_most is None else f'{row.at_most:g}',
        _figure(row.value, row.unit),
        _figure(row.reference_value, row.unit),
        row.what,
        row.reference,
      )
    )


def parse_arguments() -> argparse.Namespace:
  """Reads the command line."""
  parser = argparse.ArgumentParser(
    description='Measures what a checkpoint of a full replay memory costs.'
  )
  parser.add_argument('--games', nargs='+', default=['Pong', 'Seaquest'])
  parser.add_argument(
    '--frames', type=int, default=1_000_000, help='slots of the memory'
  )
  parser.add_argument(
    '--new', type=int, default=250_000, help='from one checkpoint to the next'
  )
  parser.add_argument(
    '--cache', metavar='DIR', help='keeps what was played for the next run'
  )
  parser.add_argument(
    '--dir', help='where to write, in a folder that is removed; by default /tmp'
  )
  return parser.parse_args()


def main() -> None:
  """Measures and prints, one game after the other."""
  arguments = parse_arguments()
  if arguments.dir:
    os.makedirs(arguments.dir, exist_ok=True)
  for game in arguments.games:
    with tempfile.TemporaryDirectory(dir=arguments.dir) as directory:
      about, rows = measure(
        game, arguments.frames, arguments.new, arguments.cache, directory
      )
    print(about)
    print_table(rows)
    print(f'Load of the machine: {os.getloadavg()[0]:.1f}', flush=True)


if __name__ == '__main__':
  main()
