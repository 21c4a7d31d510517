"""Measures how fast the agents run here, next to how fast they could run.

    python benchmarks/throughput.py [--backend jax] [--json PATH] [--quick]
    python benchmarks/throughput.py --profile

prints one table: updates, actions, environment steps, the replay memory, whole
training and evaluation loops, and the start of a run, on Pong and CartPole with
the published settings; updates and actions of every agent on Pong. Before each
figure stands its share of a limit that the same machine sets, measured in the
same run.
`benchmarks/README.md` says how to read it. With `--profile` it says instead
where a training loop spends its time, function by function.
"""

import argparse
from collections.abc import Callable, Iterator
from concurrent import futures
import contextlib
import cProfile
import importlib.metadata
import io
import itertools
import json
import math
import os
import pathlib
import platform
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, NamedTuple

import gin
import numpy as np

from dopamine import backend
from dopamine.discrete_domains import atari_lib
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import iteration_statistics
from dopamine.discrete_domains import run_experiment
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import prioritized_replay_buffer

# Agent steps per second of training, and the machine they are asked of.
GOALS = {'Pong': 75, 'CartPole': 800}
GOAL_GFLOPS = 130

# Seconds, measured with Dopamine 3.2.1 on another machine.
DOPAMINE_SAMPLE = 4.4e-3
DOPAMINE_ADD = 45e-6
DOPAMINE_WRITE = 0.18e-3


class Effort(NamedTuple):
  """How long to measure.

  Attributes:
    seconds: for each part.
    phases: of each whole loop, and starts of a run.
  """

  seconds: float
  phases: int


FULL, QUICK = Effort(2.0, 4), Effort(0.3, 1)


class Task(NamedTuple):
  """What an agent is trained on.

  Attributes:
    name: for the table.
    gin_file: the published settings.
    bindings: what has to differ from them to be measured in minutes.
    warm_up: agent steps before anything is measured.
    phase: agent steps of a measured phase.
    bare: environment -> `(step, reset)` without anything of ours; `step` takes
      an action and returns whether the episode is over.
    bare_name: says what that does.
  """

  name: str
  gin_file: str
  bindings: tuple[str, ...]
  warm_up: int
  phase: int
  bare: Callable[[Any], tuple[Callable, Callable]]
  bare_name: str


class Row(NamedTuple):
  """One figure of the table; less is better.

  Attributes:
    what: was measured.
    value: seconds per call or agent step, or bytes per transition.
    reference_value: what it is compared with.
    reference: says what that is.
    unit: the table's: 'time', 'steps/s' (one over the time), or 'bytes'.
    is_limit: whether nobody could do better than the reference.
  """

  what: str
  value: float
  reference_value: float
  reference: str
  unit: str = 'time'
  is_limit: bool = True

  @property
  def share(self) -> float:
    """Of the reference that is reached: 1 where nothing is left to gain."""
    return self.reference_value / self.value


def median_seconds(function: Callable[[], Any], seconds: float) -> float:
  """The median time of a call, over `seconds` of calls after a warm-up."""
  for _ in range(2):
    function()
  times: list[float] = []
  end = time.perf_counter() + seconds
  while time.perf_counter() < end or len(times) < 5:
    start = time.perf_counter()
    function()
    times.append(time.perf_counter() - start)
  return statistics.median(times)


# The machine ------------------------------------------------------------------


class Machine(NamedTuple):
  """What the limits are made of, measured in this run.

  Attributes:
    matrix_gflops: GFLOP/s of the backend's matrix product.
    read_gb: bytes of an array -> GB/s at which it is read again and again.
  """

  matrix_gflops: float
  read_gb: Callable[[int], float]


def matrix_gflops(seconds: float, size: int = 2048) -> float:
  """GFLOP/s of the backend's product of two square fp32 matrices."""
  from keras import ops  # Once the backend is chosen.

  rng = np.random.default_rng(0)
  a, b = (
    ops.convert_to_tensor(rng.standard_normal((size, size), np.float32))
    for _ in range(2)
  )
  # Fetching one element waits for all: JAX and GPUs return before they finish.
  took = median_seconds(
    lambda: ops.convert_to_numpy(ops.matmul(a, b)[0, 0]), seconds
  )
  return 2 * size**3 / took / 1e9


def read_gb(nbytes: int, seconds: float, repeats: int = 10) -> float:
  """GB/s at which all cores read an array of `nbytes` again and again.

  An array that fits into a cache is read faster than the memory allows; so are
  weights of that size.
  """
  array = np.ones(nbytes // 4, np.float32)
  parts = np.array_split(array, num_cores())

  def read(part: np.ndarray) -> None:
    for _ in range(repeats):  # So that starting a thread does not count.
      np.dot(part, part)

  with futures.ThreadPoolExecutor(len(parts)) as pool:
    took = median_seconds(lambda: list(pool.map(read, parts)), seconds)
  return repeats * nbytes / took / 1e9


def num_cores() -> int:
  """The cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def versions() -> dict[str, str]:
  """The versions of what the time is spent in."""
  packages = ('keras', backend.current(), 'numpy', 'ale-py', 'gymnasium')
  found = {name: importlib.metadata.version(name) for name in packages if name}
  return {'python': platform.python_version(), **found}


# Limits -----------------------------------------------------------------------


class Call(NamedTuple):
  """One call of a layer with a kernel.

  Attributes:
    layer: that was called.
    flop: of its matrix product; of both where noise has one of its own.
  """

  layer: Any
  flop: int


def recorded(agent: Any, function: Callable[[], Any]) -> list[Call]:
  """The calls of the agent's layers that `function` makes.

  A layer applies its whole kernel at every position of its output: one for a
  dense layer, height x width for a convolution.
  """
  calls: list[Call] = []

  def record(layer: Any, call: Callable, size: int) -> Callable:
    def recording(*args, **kwargs):
      outputs = call(*args, **kwargs)
      products = 2 if kwargs.get('noise') is not None else 1
      positions = math.prod(outputs.shape[:-1])
      calls.append(Call(layer, 2 * size * positions * products))
      return outputs

    return recording

  layers = [
    layer
    for network in (agent.online_convnet, agent.target_convnet)
    for layer in network._flatten_layers()
    if hasattr(layer, 'kernel') or hasattr(layer, 'kernel_mu')
  ]
  for layer in layers:
    kernel = layer.kernel_mu if hasattr(layer, 'kernel_mu') else layer.kernel
    layer.call = record(layer, layer.call, math.prod(kernel.shape))
  try:
    function()
  finally:
    for layer in layers:
      del layer.call
  return calls


def update_flop(agent: Any, batches: Any) -> int:
  """FLOP of one update: its matrix products, which are nearly all of it.

  All forward passes of the loss, and for the one that is differentiated the
  gradients of kernels and of inputs, each as much as a forward pass; but nobody
  needs that of the first layer's input.
  """
  batch = type(batches)(*(x[0] for x in batches))
  forward = recorded(agent, lambda: agent._loss(batch))
  if hasattr(agent, '_quantiles'):
    online = (agent.online_convnet, batch.state, batch.quantiles)
    differentiated = recorded(agent, lambda: agent._quantiles(*online))
  else:
    differentiated = recorded(agent, lambda: agent._online(batch))
  gradients = 2 * sum(c.flop for c in differentiated) - differentiated[0].flop
  return sum(c.flop for c in forward) + gradients


def weight_bytes(agent: Any) -> int:
  """Bytes of the network that acts."""
  return sum(4 * math.prod(w.shape) for w in agent.online_convnet.weights)


# Environments -----------------------------------------------------------------


def bare_pong(environment: Any) -> tuple[Callable, Callable]:
  """The emulator calls that an agent step cannot do without."""
  ale = environment.environment.ale
  actions = ale.getMinimalActionSet()
  screens = [np.empty(ale.getScreenDims(), np.uint8) for _ in range(2)]

  def step(action: int) -> bool:
    for _ in range(4):
      ale.act(actions[action])
    for screen in screens:
      ale.getScreenGrayscale(screen)
    return ale.game_over()

  return step, ale.reset_game


def bare_cartpole(environment: Any) -> tuple[Callable, Callable]:
  """Gymnasium's CartPole below its wrappers."""
  bare = gym_lib.unwrapped(environment.environment)
  return lambda action: bare.step(action)[2], bare.reset


def preprocessed(environment: Any) -> tuple[Callable, Callable]:
  """What the Runner calls."""

  def step(action: int) -> bool:
    environment.step(action)
    return environment.game_over

  return step, environment.reset


def step_seconds(
  step: Callable, reset: Callable, num_actions: int, seconds: float
) -> float:
  """The median time of a step, with random actions."""
  drawn = np.random.default_rng(0).integers(num_actions, size=1000)
  actions = itertools.cycle(drawn.tolist())
  reset()

  def play() -> None:
    if step(next(actions)):
      reset()

  return median_seconds(play, seconds)


# Tasks ------------------------------------------------------------------------


TASKS = (
  Task(
    name='Pong',
    gin_file='dopamine/agents/dqn/configs/dqn.gin',
    bindings=(
      'WrappedReplayBuffer.replay_capacity = 20000',
      'DQNAgent.min_replay_history = 1000',
      # Past the exploration, as nearly all of a run is: else random actions
      # would spare the network in the few steps measured here.
      'DQNAgent.epsilon_decay_period = 1',
      # No episode of Pong is shorter, so each phase has just its steps.
      'Runner.max_steps_per_episode = 500',
    ),
    warm_up=1500,
    phase=500,
    bare=bare_pong,
    bare_name='bare ALE: 4 acts, 2 grayscale reads',
  ),
  Task(
    name='CartPole',
    gin_file='dopamine/agents/dqn/configs/dqn_cartpole.gin',
    bindings=(),
    warm_up=1000,
    phase=1500,
    bare=bare_cartpole,
    bare_name='bare Gymnasium, no wrappers',
  ),
)


# The Atari files of the other agents, and the class that each configures.
AGENTS = (
  ('dopamine/agents/rainbow/configs/c51.gin', 'RainbowAgent'),
  ('dopamine/agents/rainbow/configs/rainbow.gin', 'RainbowAgent'),
  ('dopamine/agents/quantile/configs/quantile.gin', 'QuantileAgent'),
  (
    'dopamine/agents/implicit_quantile/configs/implicit_quantile.gin',
    'RainbowAgent',
  ),
  (
    'dopamine/agents/full_rainbow/configs/full_rainbow.gin',
    'FullRainbowAgent',
  ),
)


@contextlib.contextmanager
def build_runner(task: Task) -> Iterator[Any]:
  """The task's Runner, in a folder that is gone afterwards."""
  run_experiment.load_gin_configs(
    [task.gin_file], [*task.bindings, 'Runner.seed = 0']
  )
  with tempfile.TemporaryDirectory() as base_dir:
    with contextlib.redirect_stdout(io.StringIO()):
      runner = run_experiment.create_runner(base_dir)
    yield runner
    runner.close()
  gin.clear_config()


def loop_seconds(runner: Any, mode: str, steps: int) -> float:
  """Seconds per agent step of one phase of whole episodes.

  Args:
    runner: a Runner.
    mode: 'train' or 'eval'.
    steps: agent steps, at least.
  """
  runner._agent.eval_mode = mode == 'eval'
  data = iteration_statistics.IterationStatistics()
  with contextlib.redirect_stdout(io.StringIO()):
    start = time.perf_counter()
    taken, _, _ = runner._run_one_phase(steps, data, mode)
    return (time.perf_counter() - start) / taken


def measure_update(
  task: Task, agent: Any, machine: Machine, effort: Effort
) -> Row:
  """The row of an update on one batch."""
  batches = agent._sample_batches(1)
  flop = update_flop(agent, batches)
  return Row(
    f'{task.name} update, batch {agent._replay.batch_size}',
    median_seconds(
      # Fetching the loss waits for JAX and GPUs to finish.
      lambda: np.asarray(agent._learner.update(batches).objective),
      effort.seconds,
    ),
    flop / machine.matrix_gflops / 1e9,
    f'{flop / 1e9:.2f} GFLOP at the matrix rate',
  )


def measure_action(
  task: Task, agent: Any, machine: Machine, effort: Effort
) -> Row:
  """The row of a greedy action in one state."""
  nbytes = weight_bytes(agent)
  rate = machine.read_gb(nbytes)
  return Row(
    f'{task.name} action, batch 1',
    median_seconds(
      lambda: agent._learner.predict(agent.state, *agent._acting_draws(1)),
      effort.seconds,
    ),
    nbytes / rate / 1e9,
    f'{nbytes / 1e6:.1f} MB of weights at {rate:.0f} GB/s',
  )


def measure_step(task: Task, environment: Any, effort: Effort) -> Row:
  """The row of an environment step."""
  ours, bare = (
    step_seconds(*calls, environment.action_space.n, effort.seconds)
    for calls in (preprocessed(environment), task.bare(environment))
  )
  return Row(f'{task.name} environment step', ours, bare, task.bare_name)


def measure_agents(machine: Machine, effort: Effort) -> list[Row]:
  """The rows of every agent's update and action, with its Atari file."""
  rows = []
  for gin_file, cls in AGENTS:
    task = TASKS[0]._replace(
      name=pathlib.Path(gin_file).stem,
      gin_file=gin_file,
      bindings=(
        'WrappedPrioritizedReplayBuffer.replay_capacity = 2000',
        f'{cls}.min_replay_history = 2000',  # Fills the memory, learns nothing.
        'Runner.max_steps_per_episode = 500',
      ),
    )
    with build_runner(task) as runner:
      loop_seconds(runner, 'train', 500)
      agent = runner._agent
      rows += [
        measure_update(task, agent, machine, effort),
        measure_action(task, agent, machine, effort),
      ]
  return rows


def measure_task(task: Task, machine: Machine, effort: Effort) -> list[Row]:
  """The rows of a task: its parts, and the loops made of them."""
  with build_runner(task) as runner:
    agent = runner._agent
    loop_seconds(runner, 'train', task.warm_up)
    loops = {
      mode: statistics.median(
        loop_seconds(runner, mode, task.phase) for _ in range(effort.phases)
      )
      for mode in ('train', 'eval')
    }
    # The parts come last: they leave the agent in no state to go on.
    update = measure_update(task, agent, machine, effort)
    action = measure_action(task, agent, machine, effort)
    step = measure_step(task, runner._environment, effort)
  acting = action.reference_value + step.reference_value
  updating = update.reference_value / agent.update_period
  return [
    Row(
      f'{task.name} training loop',
      loops['train'],
      updating + acting,
      f'update / {agent.update_period} + action + environment',
      'steps/s',
    ),
    Row(
      f'{task.name} evaluation loop',
      loops['eval'],
      acting,
      'action + environment',
      'steps/s',
    ),
    update,
    action,
    step,
  ]


# Replay -----------------------------------------------------------------------


def full_replay(capacity: int) -> tuple[Any, Callable[[], Any]]:
  """A replay memory full of random frames, and what adds one more."""
  replay = circular_replay_buffer.WrappedReplayBuffer(
    atari_lib.NATURE_DQN_OBSERVATION_SHAPE,
    atari_lib.NATURE_DQN_STACK_SIZE,
    replay_capacity=capacity,
    batch_size=32,
    seed=0,
  )
  rng = np.random.default_rng(0)
  shape = (1000, *atari_lib.NATURE_DQN_OBSERVATION_SHAPE)
  frames = rng.integers(256, size=shape, dtype=np.uint8)
  # An episode lasts as long as there are frames.
  transitions = itertools.cycle(
    [(frame, 0, 0.0, i == len(frames) - 1) for i, frame in enumerate(frames)]
  )

  def add() -> None:
    replay.add(*next(transitions))

  while not replay.is_full():
    add()
  return replay, add


def measure_replay(effort: Effort, capacity: int = 1_000_000) -> list[Row]:
  """The rows of full replay memories of random Atari frames."""
  before = resident_bytes()
  replay, add_one = full_replay(capacity // 10)
  stored = (resident_bytes() - before) / (capacity // 10)
  add = median_seconds(add_one, effort.seconds)
  sample = median_seconds(replay.sample, effort.seconds)
  del replay, add_one
  # Of a million, where the tree has 20 levels; frames are not read, so that
  # what differs is the drawing.
  uniform, prioritized = (
    cls(
      observation_shape=(),
      stack_size=4,
      replay_capacity=capacity,
      batch_size=32,
      observation_dtype=np.uint8,
      seed=0,
    )
    for cls in (
      circular_replay_buffer.WrappedReplayBuffer,
      prioritized_replay_buffer.WrappedPrioritizedReplayBuffer,
    )
  )
  rng = np.random.default_rng(0)
  for i in range(capacity):
    end = i % 1000 == 999
    uniform.add(0, 0, 0.0, end)
    prioritized.add(0, 0, 0.0, end, priority=rng.random())
  without = median_seconds(uniform.sample, effort.seconds)
  drawn = median_seconds(prioritized.sample, effort.seconds)
  indices = prioritized.indices

  def write() -> None:
    prioritized.set_priority(indices, rng.random(len(indices)))

  written = median_seconds(write, effort.seconds)
  frame = math.prod(atari_lib.NATURE_DQN_OBSERVATION_SHAPE)
  return [
    Row(
      'Atari transition in memory',
      stored,
      frame,
      'its frame, 84 x 84, once',
      'bytes',
    ),
    _against_dopamine('Replay sample of 32, Atari', sample, DOPAMINE_SAMPLE),
    _against_dopamine('Replay add, Atari', add, DOPAMINE_ADD),
    Row(
      'Prioritised sample of 32',
      drawn,
      without,
      'uniform, both of a million slots of one byte',
    ),
    _against_dopamine('Prioritised write of 32', written, DOPAMINE_WRITE),
  ]


def _against_dopamine(what: str, seconds: float, dopamine: float) -> Row:
  reference = 'Dopamine 3.2.1, measured on another machine'
  return Row(what, seconds, dopamine, reference, is_limit=False)


def resident_bytes() -> int:
  """What this process holds in memory now."""
  with open('/proc/self/statm', encoding='ascii') as file:
    return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


# Starting ---------------------------------------------------------------------


# Ends a run as it is about to take its first step.
_START = """
import sys
from dopamine.discrete_domains import run_experiment

class Started(Exception):
  pass

def step(self, action):
  raise Started

gin_file, base_dir, *bindings = sys.argv[1:]
run_experiment.load_gin_configs([gin_file], bindings)
run_experiment.Runner._run_one_step = step
try:
  run_experiment.create_runner(base_dir).run_experiment()
except Started:
  print('started')
"""


def seconds(code: str, *arguments: str) -> float:
  """Runs code in a process of its own, which must end by saying 'started'."""
  start = time.perf_counter()
  done = subprocess.run(
    [sys.executable, '-c', code, *arguments], capture_output=True, text=True
  )
  took = time.perf_counter() - start
  if done.returncode or not done.stdout.endswith('started\n'):
    raise RuntimeError(done.stderr)
  return took


def seconds_to_start(gin_file: str, base_dir: str, *bindings: str) -> float:
  """From starting Python to the first step of a run."""
  return seconds(_START, gin_file, base_dir, *bindings)


def measure_start(repeats: int) -> list[Row]:
  """The rows of starting a run, with the published settings."""
  bare = f'import {backend.current()}, keras; print("started")'
  rows = []
  for task in TASKS:
    ours, limits = [], []
    for _ in range(repeats):  # In pairs: files come from the disk at first.
      limits.append(seconds(bare))
      with tempfile.TemporaryDirectory() as base_dir:
        ours.append(seconds_to_start(task.gin_file, base_dir))
    rows.append(
      Row(
        f'{task.name}, start to first step',
        min(ours),
        min(limits),
        f'starting Python, importing {backend.current()} and Keras',
      )
    )
  return rows


# Reporting --------------------------------------------------------------------


def _three_digits(value: float) -> str:
  return f'{value:.{max(0, 2 - math.floor(math.log10(value)))}f}'


def _figures(row: Row) -> list[str]:
  """Both figures of a row, in the unit that suits the first."""
  values = row.value, row.reference_value
  if row.unit == 'bytes':
    return [f'{value:.0f} bytes' for value in values]
  if row.unit == 'steps/s':
    return [f'{_three_digits(1 / value)} steps/s' for value in values]
  units = (('s', 1, 1), ('ms', 1e3, 1e-4), ('us', 1e6, 0))
  unit, per_second, _ = next(u for u in units if row.value >= u[2])
  return [f'{_three_digits(per_second * value)} {unit}' for value in values]


def _share(row: Row) -> str:
  return f'{row.share:.0%}' if row.is_limit else f'{row.share:.1f} x'


def print_table(rows: list[Row]) -> None:
  """Shares first, what they are made of beside them."""
  layout = '{:>6}  {:>13}  {:>13}  {:<36}{}'
  print(layout.format('share', 'here', 'reference', 'what', 'reference is'))
  for row in rows:
    print(layout.format(_share(row), *_figures(row), row.what, row.reference))


def print_machine(facts: dict[str, Any]) -> None:
  """What the shares were measured on."""
  print(', '.join(f'{k} {v}' for k, v in facts['versions'].items()))
  print(
    f'{facts["cores"]} cores; matrix product {facts["matrix_gflops"]:.0f} '
    f'GFLOP/s ({facts["matrix_gflops_at_the_end"]:.0f} at the end); memory '
    f'read {facts["memory_gb_per_second"]:.1f} GB/s'
  )


def print_goals(facts: dict[str, Any]) -> None:
  """What was asked of this code, and of which machine."""
  goals = ', '.join(f'{name} {goal}' for name, goal in GOALS.items())
  print(
    f'Goal, training steps/s: {goals} or more at {GOAL_GFLOPS} GFLOP/s; this '
    f'machine: {facts["matrix_gflops"]:.0f}'
  )


def parse_arguments() -> argparse.Namespace:
  """Reads the command line."""
  parser = argparse.ArgumentParser(
    description='Measures how fast the agents run.'
  )
  parser.add_argument(
    '--backend',
    choices=('tensorflow', 'jax'),
    default=os.environ.get('KERAS_BACKEND') or 'tensorflow',
  )
  parser.add_argument('--json', metavar='PATH', help='write the figures there')
  parser.add_argument(
    '--quick', action='store_true', help='seconds, at the price of noise'
  )
  parser.add_argument(
    '--profile',
    action='store_true',
    help="print a profiler's account of the training loops instead",
  )
  return parser.parse_args()


def print_profiles() -> None:
  """Where the training loops spend their time, by cProfile.

  It makes Python slower and leaves compiled code as it is: shares of Python are
  too large.
  """
  for task in TASKS:
    with build_runner(task) as runner:
      loop_seconds(runner, 'train', task.warm_up)
      profile = cProfile.Profile()
      with profile:
        loop_seconds(runner, 'train', task.phase)
    print(f'{task.name}, {task.phase} agent steps of training')
    pstats.Stats(profile).sort_stats('tottime').print_stats(15)


def measure(effort: Effort) -> tuple[dict[str, Any], list[Row]]:
  """What the machine is, and all rows."""

  def say(what: str) -> None:
    print(f'Measuring {what} ...', file=sys.stderr, flush=True)

  say('the machine')
  machine = Machine(
    matrix_gflops(effort.seconds),
    lambda nbytes: read_gb(nbytes, effort.seconds / 4),
  )
  facts = {
    'cores': num_cores(),
    'versions': versions(),
    'matrix_gflops': machine.matrix_gflops,
    'memory_gb_per_second': machine.read_gb(2**28),
  }
  rows: list[Row] = []
  for task in TASKS:
    say(task.name)
    rows += measure_task(task, machine, effort)
  say('the other agents')
  rows += measure_agents(machine, effort)
  say('the replay memory')
  rows += measure_replay(effort)
  say('the start of a run')
  rows += measure_start(effort.phases)
  # If it differs from the first, something else was running here.
  facts['matrix_gflops_at_the_end'] = matrix_gflops(effort.seconds)
  return facts, rows


def main() -> None:
  """Measures, prints and saves."""
  arguments = parse_arguments()
  os.environ['KERAS_BACKEND'] = arguments.backend
  backend.require(arguments.backend, 'throughput.py --backend')
  if arguments.profile:
    return print_profiles()
  facts, rows = measure(QUICK if arguments.quick else FULL)
  print_machine(facts)
  print_table(rows)
  print_goals(facts)
  if arguments.json:
    figures = [{**row._asdict(), 'share': row.share} for row in rows]
    with open(arguments.json, 'w', encoding='utf-8') as file:
      json.dump({'machine': facts, 'rows': figures}, file, indent=2)


if __name__ == '__main__':
  main()
