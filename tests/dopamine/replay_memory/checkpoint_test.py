"""Tests of what a replay memory puts in the checkpoints of a run."""

import gzip
import json
import math
import threading
import time

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from dopamine import storage
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import export
from dopamine.replay_memory import prioritized_replay_buffer
from tests.support import inside

pytestmark = pytest.mark.no_backend


def _play(memory, count, rng):
  """Adds steps of short episodes, which end in all three ways."""
  for _ in range(count):
    ending = rng.integers(12)
    frame = rng.integers(0, 255, memory._observation_shape)
    args = (frame, rng.integers(4), rng.normal(), ending == 0)
    if hasattr(memory, 'sum_tree'):
      args += (float(np.float32(rng.random())),)
    memory.add(*args, episode_end=ending == 1)
    if ending == 2:
      memory.add_final_observation(frame)


def _contents(memory):
  """All that a memory is, by name."""
  contents = dict(inside.arrays(memory))
  contents['markers'] = memory._markers
  contents['add_count'] = memory.add_count
  contents['start'] = memory._next_experience_is_episode_start
  if hasattr(memory, 'sum_tree'):
    contents['sums'] = memory.sum_tree._sums
    contents['largest'] = memory.sum_tree.max_recorded_priority
  return contents


def _assert_same(memory, contents):
  for name, value in contents.items():
    np.testing.assert_array_equal(_contents(memory)[name], value, err_msg=name)


def _pair(prioritized, **kwargs):
  build = circular_replay_buffer.OutOfGraphReplayBuffer
  if prioritized:
    build = prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer
  settings = dict(stack_size=2, replay_capacity=60, batch_size=4) | kwargs
  return [build((3, 2), **settings) for _ in range(2)]


@pytest.mark.parametrize('prioritized', [False, True])
@hypothesis.given(
  counts=st.lists(st.integers(0, 70), min_size=1, max_size=5),
  size=st.integers(1, 40),
)
@hypothesis.settings(max_examples=25, deadline=None)
def test_a_checkpoint_restores_everything(
  tmp_path_factory, prioritized, counts, size
):
  """Whatever was new since the last one: nothing, a part, or more than all."""
  folder = tmp_path_factory.mktemp('checkpoints')
  memory, other = _pair(prioritized)
  memory._chunk_size = lambda: size
  rng = np.random.default_rng(0)
  saved = []
  for number, count in enumerate(counts):
    _play(memory, count, rng)
    memory.checkpoint(folder, number)
    saved.append({k: np.copy(v) for k, v in _contents(memory).items()})
  # Any of them, in any order, into a memory that holds something else.
  for number in (*range(len(counts)), 0):
    other.restore(folder, number)
    _assert_same(other, saved[number])
  # It goes on with what it was restored from.
  _play(other, 7, rng)
  other.checkpoint(folder, 99)
  memory.restore(folder, 99)
  _assert_same(memory, _contents(other))


def test_a_checkpoint_writes_what_is_new(tmp_path):
  memory, _ = _pair(False, replay_capacity=4000)
  memory._chunk_size = lambda: 100
  rng = np.random.default_rng(0)
  covered = 0
  for number in range(30):
    before = set(tmp_path.glob('*.zst'))
    first = int(memory.add_count)
    _play(memory, 300, rng)
    memory.checkpoint(tmp_path, number)
    new = set(tmp_path.glob('*.zst')) - before
    ranges = sorted(tuple(map(int, p.name.split('-')[:2])) for p in new)
    assert ranges[0][0] == first and ranges[-1][1] == memory.add_count
    assert sum(b - a for a, b in ranges) == memory.add_count - first
    covered += memory.add_count - first
  assert covered == memory.add_count > 2 * inside.capacity(memory)


def test_a_full_memory_is_in_files_of_which_little_is_overwritten():
  for capacity, shape in ((1_000_000, (2,)), (50_000, (4,)), (3000, (84, 84))):
    memory = circular_replay_buffer.OutOfGraphReplayBuffer(
      shape, 1, replay_capacity=capacity
    )
    assert memory._chunk_size() <= capacity // 18
    assert capacity / memory._chunk_size() <= 41


def test_what_is_being_written_is_not_overwritten(tmp_path):
  """The writer is slower than the ring: adding waits, and what is saved is
  what was there when the checkpoint was taken."""
  memory, other = _pair(False)
  memory._chunk_size = lambda: 10
  rng = np.random.default_rng(0)
  _play(memory, 90, rng)
  expected = {k: np.copy(v) for k, v in _contents(memory).items()}
  collection = storage.Collection(str(tmp_path))
  with storage.collect(collection):
    memory.checkpoint(tmp_path, 0)
  end = int(memory.add_count)
  written = []

  def write():
    for function in collection.writes:
      time.sleep(0.02)
      function()
      written.append(memory._chunks.unsaved_from)
    collection.close()

  thread = threading.Thread(target=write)
  thread.start()
  while memory.add_count < end + 60:
    _play(memory, 1, rng)
    unsaved = memory._chunks.unsaved_from
    assert memory.add_count - 60 <= unsaved or unsaved == math.inf
  thread.join()
  assert written[:2] == [end - 50, end - 40]
  other.restore(tmp_path, 0)
  _assert_same(other, expected)


def test_a_checkpoint_that_is_never_written_does_not_block_the_memory(tmp_path):
  memory, other = _pair(True)
  rng = np.random.default_rng(0)
  _play(memory, 90, rng)
  with pytest.raises(KeyError):
    with storage.collect(storage.Collection(str(tmp_path))):
      memory.checkpoint(tmp_path, 0)
      raise KeyError
  _play(memory, 100, rng)
  memory.checkpoint(tmp_path, 1)
  other.restore(tmp_path, 1)
  _assert_same(other, _contents(memory))


def test_slots_that_were_changed_are_written_on_request(tmp_path):
  memory, other = _pair(False)
  _play(memory, 90, np.random.default_rng(0))
  memory.checkpoint(tmp_path, 0)
  inside.arrays(memory)['reward'][...] = 7.0
  memory.rewrite_checkpoints()
  memory.checkpoint(tmp_path, 1)
  other.restore(tmp_path, 1)
  _assert_same(other, _contents(memory))


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path):
  memory, _ = _pair(False)
  _play(memory, 20, np.random.default_rng(0))
  memory.checkpoint(tmp_path, 0)
  for change, text in (
    (dict(replay_capacity=61), r'\(60, 3, 2\).*\(61, 3, 2\)'),
    (dict(action_dtype=np.int64), r'action.*<i4.*<i8'),
  ):
    other, _ = _pair(False, **change)
    with pytest.raises(ValueError, match=text):
      other.restore(tmp_path, 0)
    assert other.add_count == 0
  with pytest.raises(ValueError, match='another kind.*no sum_tree'):
    _pair(True)[0].restore(tmp_path, 0)
  with pytest.raises(circular_replay_buffer.NotFoundError, match='ckpt.1.npz'):
    memory.restore(tmp_path, 1)


@pytest.mark.parametrize('prioritized', [False, True])
def test_a_checkpoint_is_exported_in_the_public_format(tmp_path, prioritized):
  extra = circular_replay_buffer.ReplayElement('extra', (2,), np.float32)
  memory, other = _pair(
    prioritized, stack_size=1, extra_storage_types=[extra] * (not prioritized)
  )
  rng = np.random.default_rng(0)
  for k in range(90):
    args = (np.full((3, 2), k), k % 4, k, k % 9 == 8)
    args += (rng.random(),) if prioritized else (np.full(2, k),)
    memory.add(*args)
  memory.checkpoint(tmp_path, 5)
  export.export(str(tmp_path), str(tmp_path / 'public'), 5)
  memory.save(tmp_path, 5)
  for path in tmp_path.glob('*.gz'):
    exported = (tmp_path / 'public' / path.name).read_bytes()
    assert gzip.decompress(exported) == gzip.decompress(path.read_bytes())
  other.load(tmp_path / 'public', 5)
  _assert_same(other, _contents(memory))


def test_a_request_to_rewrite_during_a_checkpoint_is_for_the_next(tmp_path):
  memory, other = _pair(False)
  memory._chunk_size = lambda: 10
  _play(memory, 90, np.random.default_rng(0))
  expected = {k: np.copy(v) for k, v in _contents(memory).items()}
  with storage.collect(storage.Collection(str(tmp_path))) as collection:
    memory.checkpoint(tmp_path, 0)
  for function in collection.writes:
    function()
    memory.rewrite_checkpoints()
  collection.close()
  other.restore(tmp_path, 0)
  _assert_same(other, expected)
  before = set(tmp_path.glob('*.zst'))
  memory.checkpoint(tmp_path, 1)
  new = set(tmp_path.glob('*.zst')) - before
  assert len(new) == len(before) == 6


def test_a_failed_checkpoint_leaves_no_files_and_the_next_is_whole(tmp_path):
  memory, other = _pair(True)
  memory._chunk_size = lambda: 10
  _play(memory, 90, np.random.default_rng(0))
  collection = storage.Collection(str(tmp_path))
  with storage.collect(collection):
    memory.checkpoint(tmp_path, 0)
  for function in collection.writes[:3]:
    function()
  assert len(list(tmp_path.iterdir())) == 3
  collection.close()
  assert not list(tmp_path.iterdir())
  memory.checkpoint(tmp_path, 1)
  other.restore(tmp_path, 1)
  _assert_same(other, _contents(memory))


def test_a_wrapper_that_saves_in_its_own_way_is_asked(tmp_path):
  class Own(circular_replay_buffer.WrappedReplayBuffer):
    saved = loaded = None

    def save(self, checkpoint_dir, iteration_number):
      self.saved = iteration_number

    def load(self, checkpoint_dir, suffix):
      self.loaded = suffix

  wrapper = Own((3, 2), 1, replay_capacity=20)
  wrapper.checkpoint(tmp_path, 5)
  wrapper.restore(tmp_path, 5)
  assert wrapper.saved == wrapper.loaded == 5 and not list(tmp_path.iterdir())


def test_structured_values_are_exported(tmp_path):
  kind = np.dtype([('a', np.float32), ('b', np.int8, (2, 3))])
  extra = circular_replay_buffer.ReplayElement('extra', (), kind)
  memory = circular_replay_buffer.OutOfGraphReplayBuffer(
    (2,), 1, replay_capacity=9, extra_storage_types=[extra]
  )
  value = np.array((0.5, np.arange(6).reshape(2, 3)), kind)
  memory.add(np.zeros(2), 0, 0.0, False, value)
  memory.checkpoint(tmp_path, 0)
  export.export(str(tmp_path), str(tmp_path / 'public'), 0)
  name = tmp_path / 'public' / '$store$_extra_ckpt.0.gz'
  with gzip.open(name) as file:
    assert np.load(file)[0] == value


def test_a_record_that_lacks_slots_is_damaged(tmp_path):
  memory, other = _pair(False)
  memory._chunk_size = lambda: 10
  _play(memory, 90, np.random.default_rng(0))
  memory.checkpoint(tmp_path, 0)
  path = tmp_path / 'replay_ckpt.0.npz'
  arrays = storage.read_npz(str(path))
  record = json.loads(arrays['record'].tobytes())
  for lost in (0, 3, 5):
    chunks = record['chunks'][:lost] + record['chunks'][lost + 1 :]
    text = json.dumps(record | {'chunks': chunks}).encode()
    np.savez(path, **arrays | {'record': np.frombuffer(text, np.uint8)})
    with pytest.raises(storage.DamagedError, match='slots are missing'):
      other.restore(tmp_path, 0)
