"""What holds for all tests."""

import contextlib
import gc
import sys

from absl import flags
import gin
import pytest


def pytest_collection_finish():
  """What was imported stays: the collector need not go through it again."""
  gc.freeze()


@pytest.fixture(autouse=True, scope='module')
def let_go_of_what_was_compiled():
  """Otherwise JAX keeps what every agent of the suite compiled: 4 GB."""
  yield
  if 'jax' in sys.modules:
    gc.collect()
    sys.modules['jax'].clear_caches()


@pytest.fixture(autouse=True, scope='module')
def compiled_lightly(request):
  """TensorFlow compiles without XLA, and JAX without most optimizations.

  It takes a third less time, and a sixth. But for modules with the mark `xla`:
  those that test it, or compare numbers with those of processes of their own.
  """
  if request.node.get_closest_marker('xla'):
    yield
    return
  with contextlib.ExitStack() as stack:
    if jax := sys.modules.get('jax'):
      jax.config.update('jax_disable_most_optimizations', True)
      stack.callback(jax.config.update, 'jax_disable_most_optimizations', False)
    if tf := sys.modules.get('tensorflow'):
      plain = tf.function

      def function(*args, jit_compile=None, **kwargs):
        del jit_compile
        return plain(*args, **kwargs)

      patch = stack.enter_context(pytest.MonkeyPatch.context())
      patch.setattr(tf, 'function', function)
    yield


@pytest.fixture(autouse=True)
def clear_gin():
  """Every test begins with nothing bound, and leaves nothing bound."""
  gin.clear_config()
  yield
  gin.clear_config()


@pytest.fixture
def at_the_root(monkeypatch, pytestconfig):
  """Paths are relative to the root of the checkout, as those of gin files."""
  monkeypatch.chdir(pytestconfig.rootpath)


@pytest.fixture
def small_replay():
  """Replay memories of agents hold 200 transitions, batches have 8."""
  for name in ('WrappedReplayBuffer', 'OutOfGraphReplayBuffer'):
    gin.bind_parameter(f'{name}.replay_capacity', 200)
    gin.bind_parameter(f'{name}.batch_size', 8)


@pytest.fixture(scope='module')
def evaluation_flags():
  """Those that `evaluate` has where it is a process of its own."""
  flags.DEFINE_string('checkpoint', None, 'As of the command.')
  flags.DEFINE_integer('episodes', 30, 'As of the command.')
  yield
  delattr(flags.FLAGS, 'checkpoint')
  delattr(flags.FLAGS, 'episodes')
