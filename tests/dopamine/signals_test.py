"""SIGTERM, SIGHUP and Ctrl-C, at any moment of a program's life.

Each program here is a process, which says when it has come to where a signal is
to be sent.
"""

import fcntl
import json
import os
import pathlib
import pty
import select
import signal
import subprocess
import sys
import termios
import time

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[2]
TRAIN = 'dopamine.discrete_domains.train'
EVALUATE = 'dopamine.discrete_domains.evaluate'
EXPORT = 'dopamine.replay_memory.export'
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

# Is loaded by Python itself: stops where a module is about to be loaded.
STOP_BEFORE = """
import os, sys, time


class Finder:
  def find_spec(self, name, path=None, target=None):
    if name == os.environ.get('STOP_BEFORE'):
      os.write(int(os.environ['SAY']), b'here')
      for _ in range(600):
        try:
          time.sleep(0.1)
        except BaseException:
          pass  # As C code does, and what is called by it.


sys.meta_path.insert(0, Finder())
"""

# What a user's gin file names.
MINE = """
import os, sys, time, types
import gin


def here():
  os.write(int(os.environ['SAY']), b'here')


@gin.configurable
class Environment:
  action_space = types.SimpleNamespace(n=2)
  saves_mid_episode = True
  prints = False
  steps = 0

  def reset(self):
    self.game_over = False
    return 0

  def step(self, action):
    self.steps += 1
    if self.steps == 5:
      here()
    if self.prints:
      print('An environment that prints', self.steps, flush=True)
      print('and says more', file=sys.stderr)
    time.sleep(0.002)
    return 0, 1.0, False, {}

  def get_state(self):
    return self.steps

  def set_state(self, state):
    self.steps = state
    self.game_over = False


@gin.configurable
class Printing(Environment):
  prints = True


@gin.configurable
class Forking(Environment):
  saves_mid_episode = True

  def __init__(self):
    self.child = os.fork()
    if not self.child:
      time.sleep(60)
      os._exit(0)

  def step(self, action):
    if self.steps == 3:
      import signal
      for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(self.child, number)
      time.sleep(0.1)
      assert os.waitpid(self.child, os.WNOHANG) == (0, 0)
      os.kill(self.child, signal.SIGTERM)
      assert os.waitstatus_to_exitcode(os.wait()[1]) == -signal.SIGTERM
    return super().step(action)


@gin.configurable
def slow():
  here()
  time.sleep(60)


@gin.configurable
class Agent:
  saves_mid_episode = True
  eval_mode = False

  def __init__(self, num_actions):
    pass

  def begin_episode(self, observation):
    return 0

  def step(self, reward, observation):
    return 0

  def end_episode(self, reward):
    pass

  def bundle_and_checkpoint(self, directory, iteration):
    return {'x': 1}

  def unbundle(self, directory, iteration, data):
    return True

  def load_weights(self, path):
    pass
"""


class Program:
  """A process, and where it stops."""

  def __init__(self, folder, *arguments, **kwargs):
    (folder / 'sitecustomize.py').write_text(STOP_BEFORE)
    (folder / 'mine.py').write_text(MINE)
    self._said, say = os.pipe()
    environment = os.environ | {
      'KERAS_BACKEND': keras.config.backend(),
      'PYTHONPATH': f'{folder}{os.pathsep}{ROOT}',
      'SAY': str(say),
    }
    environment |= kwargs.pop('env', {})
    ignored = kwargs.pop('ignored', ())

    def prepare():
      # Where the tests themselves run in the background, Ctrl-C is ignored.
      for number in SIGNALS:
        is_ignored = number in ignored
        signal.signal(number, signal.SIG_IGN if is_ignored else signal.SIG_DFL)

    defaults = dict(stdout=-1, stderr=-1, cwd=folder, preexec_fn=prepare)
    self.process = subprocess.Popen(
      [sys.executable, *arguments],
      env=environment,
      pass_fds=[say],
      **defaults | kwargs,
    )
    os.close(say)

  def wait_until_it_is_here(self):
    assert select.select([self._said], [], [], 120)[0]
    assert os.read(self._said, 9) == b'here', self.process.communicate()

  def end(self, number=None):
    """Sends a signal; returns the exit code, and what was printed."""
    self.wait_until_it_is_here()
    if number is not None:
      self.process.send_signal(number)
    output = self.process.communicate(timeout=120)
    return self.process.returncode, *(
      o if o is None else o.decode() for o in output
    )

  def close(self):
    self.process.kill()
    self.process.wait()
    os.close(self._said)


@pytest.fixture
def start(tmp_path):
  """Starts a Program, none of which outlives the test."""
  made = []
  (tmp_path / 'code').mkdir()

  def start(*arguments, **kwargs):
    made.append(Program(tmp_path / 'code', *arguments, **kwargs))
    return made[-1]

  yield start
  for program in made:
    program.close()


def training(base_dir, *bindings, environment='Environment'):
  """The arguments of a run of the environment and agent above."""
  bindings = (
    'import mine',
    f'Runner.create_environment_fn = @mine.{environment}',
    'create_agent.agent_name = @mine.Agent',
    'Runner.evaluation_steps = 0',
    'Runner.checkpoint_minutes = None',
    *bindings,
  )
  return (
    *('-m', TRAIN, f'--base_dir={base_dir}'),
    *(f'--gin_bindings={binding}' for binding in bindings),
  )


# Before there is a run --------------------------------------------------------


@pytest.mark.no_backend
@pytest.mark.parametrize('number', SIGNALS)
@pytest.mark.parametrize(
  ('module', 'before'),
  [
    (TRAIN, 'numpy'),
    (TRAIN, 'absl'),
    (TRAIN, 'gymnasium'),
    (EVALUATE, 'numpy'),
    (EVALUATE, 'tensorboardX'),
    (EXPORT, 'cv2'),
  ],
)
def test_a_signal_while_modules_are_loaded_ends_with_130_and_a_line(
  module, before, number, start
):
  program = start('-um', module, env={'STOP_BEFORE': before})
  assert program.end(number) == (130, '', '\nStopped.\n')


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
  'number',
  [
    signal.SIGINT,
    pytest.param(signal.SIGTERM, marks=SLOW),
    pytest.param(signal.SIGHUP, marks=SLOW),
  ],
)
def test_a_signal_while_the_framework_is_loaded(number, start, tmp_path):
  arguments = training(tmp_path / 'run')
  framework = keras.config.backend()
  program = start(*arguments, env={'STOP_BEFORE': framework})
  assert program.end(number) == (130, '', '\nStopped.\n')
  assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_a_signal_after_the_framework_was_loaded(start, tmp_path):
  """What frameworks load has taken no signal away."""
  program = start(*training(tmp_path / 'run'), env={'STOP_BEFORE': 'mine'})
  assert program.end(signal.SIGTERM) == (130, '', '\nStopped.\n')


@pytest.mark.no_backend
def test_a_signal_while_the_environment_is_made_frees_the_folder(
  start, tmp_path
):
  program = start(*training(tmp_path / 'run', environment='slow'))
  code, _, stderr = program.end(signal.SIGTERM)
  assert code == 130 and stderr.endswith('\nStopped.\n')
  assert 'Traceback' not in stderr
  assert (tmp_path / 'run/lock').read_text() == ''


@pytest.mark.no_backend
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_was_ignored_stays_so(number, start):
  environment = {'STOP_BEFORE': 'numpy'}
  program = start('-m', TRAIN, env=environment, ignored=[number])
  program.wait_until_it_is_here()
  program.process.send_signal(number)
  with pytest.raises(subprocess.TimeoutExpired):
    program.process.wait(0.3)


@pytest.mark.no_backend
@pytest.mark.parametrize('module', [TRAIN, EVALUATE, EXPORT])
def test_loading_a_program_changes_no_signal(module):
  code = (
    'import signal\nbefore = [signal.getsignal(n) for n in (1, 2, 15)]\n'
    f'import {module}\n'
    'assert before == [signal.getsignal(n) for n in (1, 2, 15)]'
  )
  subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)


SCRIPT = """
import signal, sys
from absl import app
from dopamine.discrete_domains import train
before = [signal.getsignal(n) for n in (1, 2, 15)]
try:
  app.run(train.main, [''] + sys.argv[3:])
finally:
  assert before == [signal.getsignal(n) for n in (1, 2, 15)]
"""


@pytest.mark.slow
def test_main_in_a_script_of_ones_own(start, tmp_path):
  arguments = training(tmp_path / 'run', environment='slow')
  code, _, stderr = start('-c', SCRIPT, *arguments).end(signal.SIGTERM)
  assert code == 130 and 'Traceback' not in stderr
  assert stderr.endswith('\nStopped.\n')


@pytest.mark.no_backend
def test_evaluation_ends_with_a_line_and_leaves_nothing(start, tmp_path):
  (tmp_path / 'weights_ckpt.0.npz').touch()
  arguments = training(tmp_path / 'run')[3:]
  weights = f'--checkpoint={tmp_path / "weights_ckpt.0.npz"}'
  temporary = tmp_path / 'temporary'
  temporary.mkdir()
  program = start(
    *('-m', EVALUATE, weights, *arguments), env={'TMPDIR': str(temporary)}
  )
  code, _, stderr = program.end(signal.SIGTERM)
  assert code == 130 and stderr.endswith('\nStopped.\n')
  assert 'Traceback' not in stderr
  assert list(temporary.iterdir()) == []


# The run ----------------------------------------------------------------------


def stopped_at(base_dir):
  """The number of the only checkpoint, which is complete."""
  folder = base_dir / 'checkpoints' / 'mid_iteration'
  (sentinel,) = folder.glob('sentinel_checkpoint_complete.*[0-9]')
  number = sentinel.suffix[1:]
  manifest = (folder / f'manifest_ckpt.{number}.json').read_bytes()
  for name in json.loads(manifest.split(b'\n')[0])['files']:
    assert (folder / name).exists()
  return int(number)


@pytest.mark.no_backend
def test_a_terminal_that_is_closed_ends_with_a_checkpoint(start, tmp_path):
  """Also where the environment prints, which fails from then on."""
  master, slave = pty.openpty()

  def take():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

  arguments = training(tmp_path / 'run', environment='Printing')
  program = start(
    *arguments,
    stdin=slave,
    stdout=slave,
    stderr=slave,
    start_new_session=True,
    preexec_fn=take,
  )
  os.close(slave)
  printed = b''
  while b'and says more' not in printed:
    printed += os.read(master, 2**16)
  program.wait_until_it_is_here()
  os.close(master)
  assert program.process.wait(60) == 75
  assert stopped_at(tmp_path / 'run') == 0


@pytest.mark.no_backend
@pytest.mark.parametrize(
  'number', [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=SLOW)]
)
def test_signals_that_come_again_and_again_change_no_exit_code(
  number, start, tmp_path
):
  program = start(*training(tmp_path / 'run'), stdout=subprocess.DEVNULL)
  program.wait_until_it_is_here()
  while program.process.poll() is None:
    program.process.send_signal(number)
    time.sleep(0.01)
  assert program.process.returncode == 75
  stderr = program.process.stderr.read().decode()
  assert 'The checkpoint is complete' in stderr and 'Traceback' not in stderr
  assert stopped_at(tmp_path / 'run') == 0


@pytest.mark.slow
def test_children_of_an_environment_end_by_the_signal(start, tmp_path):
  arguments = training(tmp_path / 'run', environment='Forking')
  program = start(*arguments, stdout=subprocess.DEVNULL)
  code, _, stderr = program.end(signal.SIGTERM)
  assert code == 75 and 'Traceback' not in stderr
  assert stderr.count('Stopped') == 1


# Nobody reads -----------------------------------------------------------------

SHORT = 'Runner.training_steps = 20', 'Runner.max_steps_per_episode = 10'
SHORT += ('Runner.num_iterations = 2',)


@pytest.mark.no_backend
@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full')
def test_output_to_a_full_disk_does_not_end_a_run(start, tmp_path):
  with open('/dev/full', 'wb') as full:
    program = start(
      *training(tmp_path / 'run', *SHORT), stdout=full, stderr=full
    )
    assert program.end()[0] == 0
  assert (tmp_path / 'run/checkpoints/sentinel_checkpoint_complete.1').exists()


@pytest.mark.slow
def test_a_reader_that_is_gone_does_not_end_a_run(start, tmp_path):
  reader, writer = os.pipe()
  program = start(*training(tmp_path / 'run', *SHORT), stdout=writer)
  os.close(writer)
  os.close(reader)
  code, _, stderr = program.end()
  assert code == 0 and 'BrokenPipe' not in stderr
  assert (tmp_path / 'run/checkpoints/sentinel_checkpoint_complete.1').exists()


@pytest.mark.slow
def test_no_output_at_all_does_not_end_a_run(start, tmp_path):
  code = (
    'import os, runpy, sys\nos.close(1)\nos.close(2)\n'
    'os.execv(sys.executable, [sys.executable, *sys.argv[1:]])'
  )
  assert start('-c', code, *training(tmp_path / 'run', *SHORT)).end()[0] == 0
  assert (tmp_path / 'run/checkpoints/sentinel_checkpoint_complete.1').exists()


@pytest.mark.no_backend
def test_a_program_whose_output_is_closed_writes_into_no_file(tmp_path):
  path = tmp_path / 'file'
  code = (
    'import os\nfrom dopamine import signals\nsignals.begin()\n'
    f'file = open({str(path)!r}, "wb", buffering=0)\n'
    'signals.write("Saving")\nfile.write(b"mine")'
  )
  command = ['sh', '-c', 'exec "$@" 2>&-', 'sh', sys.executable]
  subprocess.run([*command, '-c', code], check=True)
  assert path.read_bytes() == b'mine'


@pytest.mark.no_backend
def test_letters_that_the_output_lacks_end_no_program():
  code = (
    'from dopamine import signals\nsignals.begin()\n'
    'print("/tmp/\\xdcbung")\nsignals.write("\\xdc\\udcff")'
  )
  result = subprocess.run(
    [sys.executable, '-c', code],
    env=os.environ | {'PYTHONIOENCODING': 'ascii'},
    capture_output=True,
    check=True,
  )
  assert result.stdout == b'/tmp/\\xdcbung\n'
  assert result.stderr == b'\xc3\x9c\\udcff'


TEE = """
import runpy, sys

class Tee:
  text = ''

  def write(self, text):
    self.text += text

  def flush(self):
    pass

sys.stdout = Tee()
sys.argv = ['train', *sys.argv[3:]]
try:
  runpy.run_module('dopamine.discrete_domains.train', run_name='__main__')
finally:
  print(sys.stdout.text, file=sys.__stdout__)
"""


@pytest.mark.slow
def test_a_stdout_that_only_writes_ends_no_run(start, tmp_path):
  program = start('-c', TEE, *training(tmp_path / 'run', *SHORT))
  code, stdout, stderr = program.end()
  assert code == 0, stderr
  assert 'Steps executed: 20' in stdout
  assert 'Finished.' in stdout
