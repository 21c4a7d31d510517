"""Windows of several streams against lists of episodes, on NumPy and JAX."""

import functools

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import windows
from tests.support import inside
from tests.support import replays

pytestmark = pytest.mark.no_backend


def _streams(sizes, played):
  """Returns an oracle of each stream, and the arrays of all of them."""
  oracles, rings, frames, rewards = [], [], [], []
  for number, episodes in enumerate(played):
    memory = circular_replay_buffer.OutOfGraphReplayBuffer(
      observation_shape=(2,),
      stack_size=sizes.stack_size,
      replay_capacity=sizes.length,
      update_horizon=sizes.horizon,
      extra_storage_types=replays.EXTRAS,
    )
    oracle = replays.Episodes(
      sizes.length, sizes.stack_size, sizes.horizon, (2,)
    )
    oracle.count = 17 * number  # So that no two streams have the same frames.
    oracle.play(episodes, memory)
    oracles.append(oracle)
    rings.append(inside.rings(memory))
    frames.append(inside.arrays(memory)['observation'])
    rewards.append(inside.arrays(memory)['reward'])
  if sizes.num_streams == 1:
    return oracles, rings[0], frames[0], rewards[0]
  terminal, markers, *known = zip(*rings, strict=True)
  joined = map(np.concatenate, (terminal, markers))
  rings = windows.Rings(*joined, *map(np.array, known))
  return oracles, rings, np.concatenate(frames), np.concatenate(rewards)


def _results(sizes, slots, rings, frames, rewards):
  """All that `windows` says of slots, by name."""
  window = windows.window(slots, rings, sizes)
  return {
    'is_valid': windows.is_valid(slots, rings, sizes),
    'is_lost': windows.is_lost(slots, rings, sizes),
    'steps': window.steps,
    'terminal': window.terminal,
    'reward': windows.n_step_return(rewards, window, replays.GAMMA),
    'discount': windows.discounts(window, replays.GAMMA),
    'state': windows.stacks(frames, window.start, sizes),
    'next_state': windows.stacks(frames, window.next, sizes),
    'next_reward': rewards[window.next],
  }


def _check(sizes, oracles, results):
  """Asserts that the results of all slots are what the oracles say."""
  for stream, oracle in enumerate(oracles):
    own = slice(stream * sizes.length, (stream + 1) * sizes.length)
    of_stream = {name: array[own] for name, array in results.items()}
    valid = oracle.valid()
    assert set(np.flatnonzero(of_stream['is_valid'])) == set(valid)
    assert set(np.flatnonzero(of_stream['is_lost'])) == oracle.lost()
    for slot, (episode, t) in valid.items():
      expected = oracle.transition(episode, t)
      for name in of_stream.keys() & expected.keys():
        np.testing.assert_allclose(
          of_stream[name][slot], expected[name], rtol=1e-6, err_msg=name
        )
      assert of_stream['steps'][slot] == min(
        sizes.horizon, len(episode['steps']) - t
      )


def _every_slot(sizes):
  return np.arange(sizes.num_streams * sizes.length)


@st.composite
def _sizes(draw):
  stack_size, horizon = draw(st.integers(1, 4)), draw(st.integers(1, 5))
  length = stack_size + horizon + draw(st.integers(0, 25))
  return windows.Sizes(length, stack_size, horizon, draw(st.integers(1, 4)))


def _played(sizes):
  """What is played in each stream; the last episode may be open."""
  one = st.tuples(
    replays.episodes,
    st.lists(st.tuples(st.integers(1, 9), st.none()), max_size=1),
  ).map(lambda parts: parts[0] + parts[1])
  return st.lists(one, min_size=sizes.num_streams, max_size=sizes.num_streams)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(st.data())
def test_streams_hold_what_lists_of_episodes_hold(data):
  sizes = data.draw(_sizes())
  oracles, *arrays = _streams(sizes, data.draw(_played(sizes)))
  _check(sizes, oracles, _results(sizes, _every_slot(sizes), *arrays))


# Each is compiled once.
@pytest.mark.parametrize(
  'sizes',
  [
    windows.Sizes(length=12, stack_size=3, horizon=2),
    windows.Sizes(length=9, stack_size=2, horizon=5, num_streams=3),
    windows.Sizes(length=6, stack_size=1, horizon=1, num_streams=2),
  ],
  ids=str,
)
def test_jax_says_what_numpy_does_compiled_and_not(sizes):
  jax = pytest.importorskip('jax')
  compiled = jax.jit(functools.partial(_results, sizes))

  @hypothesis.settings(max_examples=10, deadline=None, database=None)
  @hypothesis.given(_played(sizes))
  def check(played):
    oracles, *arrays = _streams(sizes, played)
    slots = _every_slot(sizes)
    ours = _results(sizes, slots, *arrays)
    slots, *arrays = jax.tree.map(jax.numpy.asarray, (slots, *arrays))
    eager = _results(sizes, slots, *arrays)
    jitted = compiled(slots, *arrays)
    for results in (eager, jitted):
      assert isinstance(results['state'], jax.Array)
      results = jax.tree.map(np.asarray, results)
      _check(sizes, oracles, results)
      for name, array in ours.items():
        assert results[name].shape == array.shape, name
        np.testing.assert_allclose(
          results[name], array, rtol=1e-6, err_msg=name
        )

  check()


def test_what_one_stream_does_is_nothing_to_another():
  # Stream 0 is full and ends with a terminal; stream 1 was begun just now.
  sizes = windows.Sizes(length=6, stack_size=2, horizon=2, num_streams=2)
  played = [[(5, 'time-out'), (3, 'terminal')], [(4, None)]]
  oracles, rings, frames, rewards = _streams(sizes, played)
  assert [len(oracle.log) for oracle in oracles] == [11, 5]
  slots = np.array([5, 6, 7, 8, 11])
  assert windows.later(slots, 1, sizes).tolist() == [0, 7, 8, 9, 6]
  assert windows.later(slots, -1, sizes).tolist() == [4, 11, 6, 7, 10]
  window = windows.window(np.array([4, 10]), rings, sizes)
  assert window.slots.tolist() == [[4, 5], [10, 11]]
  assert window.next.tolist() == [5, 6]
  assert window.terminal.tolist() == [True, False]
  low, high = windows.start_range(rings.add_count, sizes)
  assert (low.tolist(), high.tolist()) == ([7, 1], [9, 3])


@pytest.mark.parametrize(
  'ends, lost',
  [
    # The window of the empty slot 5 wraps around to the cut at slot 0.
    (['cut', None], [0]),
    # What ends at the terminal in slot 0 needs nothing of the cut in slot 1.
    (['terminal', 'cut', None], [1]),
    (['time-out', 'cut', None], [1, 2]),
    (['abandoned'], [0]),
    (['cut'], []),
  ],
)
def test_what_is_lost_with_two_steps_and_no_padding(ends, lost):
  sizes = windows.Sizes(length=6, stack_size=1, horizon=2)
  oracles, *arrays = _streams(sizes, [[(1, end) for end in ends]])
  results = _results(sizes, _every_slot(sizes), *arrays)
  assert np.flatnonzero(results['is_lost']).tolist() == lost
  _check(sizes, oracles, results)
