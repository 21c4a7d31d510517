"""Tests of what a replay memory puts in the checkpoints of a run."""

import copy
import gzip
import json
import pickle
import threading
import time

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest
import zstandard

from dopamine.files import arrays
from dopamine.files import atomic
from dopamine.files import parity
from dopamine.files import pending
from dopamine.replay_memory import circular_replay_buffer
from dopamine.replay_memory import export
from dopamine.replay_memory import prioritized_replay_buffer
from dopamine.replay_memory import ring_reader
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
  inside.cut_ring(memory, size)
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


def _new_slots(folder, before):
  """The slots in files that were not there before: `[(first, end), ...]`."""
  new = set(folder.glob('*.zst')) - before
  return sorted(tuple(map(int, p.name.split('-')[:2])) for p in new)


@pytest.mark.parametrize('count', [0, 1, 99, 100, 101, 300, 1000, 3999, 5000])
def test_a_checkpoint_writes_what_is_new_and_two_segments_at_most(
  tmp_path, count
):
  memory, other = _pair(False, replay_capacity=4000)
  inside.cut_ring(memory, 100)
  rng = np.random.default_rng(0)
  _play(memory, 3950, rng)
  memory.checkpoint(tmp_path, 0)
  for number in range(1, 8):
    before = set(tmp_path.glob('*.zst'))
    added = int(memory.add_count)
    _play(memory, count, rng)
    added = int(memory.add_count) - added
    memory.checkpoint(tmp_path, number)
    written = sum(end - first for first, end in _new_slots(tmp_path, before))
    assert min(added, 4000) <= written <= min(added + 200, 4000)
  other.restore(tmp_path, 7)
  _assert_same(other, _contents(memory))


def test_of_the_segment_in_use_the_filled_part_is_saved(tmp_path):
  memory, other = _pair(False, replay_capacity=4000)
  inside.cut_ring(memory, 100)
  _play(memory, 120, np.random.default_rng(0))
  memory.checkpoint(tmp_path, 0)
  end = int(memory.add_count)
  assert 100 < end < 200
  assert _new_slots(tmp_path, set()) == [(0, 100), (100, end)]
  other.restore(tmp_path, 0)
  _assert_same(other, _contents(memory))


def test_a_ring_is_cut_into_so_many_segments_that_few_slots_are_written_twice():
  for capacity, shape in ((1_000_000, (2,)), (50_000, (4,)), (3000, (84, 84))):
    memory = circular_replay_buffer.OutOfGraphReplayBuffer(
      shape, 1, replay_capacity=capacity
    )
    length = memory._ring.length
    assert length * 20 <= capacity and capacity <= length * 64


@pytest.mark.parametrize('is_full', [False, True])
def test_what_is_being_written_is_not_overwritten(tmp_path, is_full):
  """The writer is slower than the ring: adding waits, and what is saved is
  what was there when the checkpoint was taken."""
  memory, other = _pair(False)
  inside.cut_ring(memory, 10)
  rng = np.random.default_rng(0)
  _play(memory, 90 if is_full else 35, rng)
  expected = {k: np.copy(v) for k, v in _contents(memory).items()}
  checkpoint = pending.Checkpoint(str(tmp_path), str(tmp_path))
  with checkpoint.open():
    memory.checkpoint(tmp_path, 0)
  (part,) = checkpoint.parts
  write_segment, written = part._write_segment, []

  def write_slowly(index):
    time.sleep(0.02)
    write_segment(index)
    written.append(index)

  part._write_segment = write_slowly
  thread = threading.Thread(target=checkpoint.write)
  thread.start()
  _play(memory, 150, rng)
  thread.join()
  checkpoint.close()
  assert len(written) == len(set(written)) > 3
  other.restore(tmp_path, 0)
  _assert_same(other, expected)


@pytest.mark.parametrize('count', [60, 66, 90])
def test_adding_does_not_wait_for_the_segment_in_use(tmp_path, count):
  memory, _ = _pair(False, stack_size=1)
  inside.cut_ring(memory, 10)
  for _ in range(count):
    memory.add(np.zeros((3, 2)), 0, 0.0, False)
  checkpoint = pending.Checkpoint(str(tmp_path), str(tmp_path))
  with checkpoint.open():
    memory.checkpoint(tmp_path, 0)
  while memory.cursor() % 10 != 9:
    memory.add(np.zeros((3, 2)), 0, 0.0, False)
  checkpoint.write()
  checkpoint.close()


def test_a_checkpoint_that_is_never_written_does_not_block_the_memory(tmp_path):
  memory, other = _pair(True)
  rng = np.random.default_rng(0)
  _play(memory, 90, rng)
  with pytest.raises(KeyError):
    with pending.Checkpoint(str(tmp_path), str(tmp_path)).open():
      memory.checkpoint(tmp_path, 0)
      raise KeyError
  _play(memory, 100, rng)
  memory.checkpoint(tmp_path, 1)
  other.restore(tmp_path, 1)
  _assert_same(other, _contents(memory))


def test_a_copy_of_a_memory_waits_for_nothing(tmp_path):
  memory, other = _pair(False)
  inside.cut_ring(memory, 10)
  rng = np.random.default_rng(0)
  _play(memory, 90, rng)
  checkpoint = pending.Checkpoint(str(tmp_path), str(tmp_path))
  with checkpoint.open():
    memory.checkpoint(tmp_path, 0)
    copies = copy.deepcopy(memory), pickle.loads(pickle.dumps(memory))
  for number, copied in enumerate(copies, 1):
    _play(copied, 100, rng)
    copied.checkpoint(tmp_path, number)
    other.restore(tmp_path, number)
    _assert_same(other, _contents(copied))
  checkpoint.close()


def test_what_a_subclass_keeps_may_have_any_name(tmp_path):
  class Own(circular_replay_buffer.OutOfGraphReplayBuffer):
    def __init__(self, *args, **kwargs):
      super().__init__(*args, **kwargs)
      self.record = np.zeros(3)

    def _return_checkpointable_elements(self):
      own = {'$store$_x': self.record + 1}
      return super()._return_checkpointable_elements() | own

    def _restore_elements(self, elements):
      assert np.all(elements.pop('$store$_x') == self.record + 8)
      super()._restore_elements(elements)

  memory, other = (Own((3, 2), 1, 60, 4) for _ in range(2))
  _play(memory, 30, np.random.default_rng(0))
  memory.record += 7
  memory.checkpoint(tmp_path, 0)
  other.restore(tmp_path, 0)
  _assert_same(other, _contents(memory))
  assert np.all(other.record == 7)


@pytest.mark.parametrize('count', [69, 70])
def test_adding_waits_for_no_segment_that_comes_at_once(tmp_path, count):
  """Also where all segments are new, and little is left of the one in use."""
  memory, other = _pair(False, stack_size=1)
  inside.cut_ring(memory, 10)
  for i in range(count):
    memory.add(np.full((3, 2), i), 0, i, False)
  expected = {k: np.copy(v) for k, v in _contents(memory).items()}
  checkpoint = pending.Checkpoint(str(tmp_path), str(tmp_path))
  with checkpoint.open():
    memory.checkpoint(tmp_path, 0)
  for i in range(7):
    memory.add(np.full((3, 2), i), 0, i, False)
  checkpoint.write()
  checkpoint.close()
  other.restore(tmp_path, 0)
  _assert_same(other, expected)


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
  inside.cut_ring(memory, 10)
  _play(memory, 90, np.random.default_rng(0))
  expected = {k: np.copy(v) for k, v in _contents(memory).items()}
  checkpoint = pending.Checkpoint(str(tmp_path), str(tmp_path))
  with checkpoint.open():
    memory.checkpoint(tmp_path, 0)
  memory.rewrite_checkpoints()
  checkpoint.write()
  checkpoint.close()
  other.restore(tmp_path, 0)
  _assert_same(other, expected)
  before = set(tmp_path.glob('*.zst'))
  memory.checkpoint(tmp_path, 1)
  assert len(_new_slots(tmp_path, before)) == len(before) == 6


def test_a_failed_checkpoint_leaves_no_files_and_the_next_is_whole(
  tmp_path, monkeypatch
):
  memory, other = _pair(True)
  inside.cut_ring(memory, 10)
  _play(memory, 90, np.random.default_rng(0))
  write_shared, written = parity.write_shared, []

  def fail_after_three(path, payload):
    if len(written) == 3:
      assert len(list(tmp_path.iterdir())) == 3
      raise OSError(28, 'No space left on device')
    written.append(path)
    return write_shared(path, payload)

  monkeypatch.setattr(parity, 'write_shared', fail_after_three)
  with pytest.raises(OSError, match='No space left'):
    memory.checkpoint(tmp_path, 0)
  assert written and not list(tmp_path.iterdir())
  monkeypatch.undo()
  memory.checkpoint(tmp_path, 1)
  other.restore(tmp_path, 1)
  _assert_same(other, _contents(memory))


def test_a_memory_that_was_emptied_is_saved_anew(tmp_path):
  memory, other = _pair(False)
  inside.cut_ring(memory, 10)
  _play(memory, 90, np.random.default_rng(0))
  memory.checkpoint(tmp_path, 0)
  memory._empty()
  _play(memory, 20, np.random.default_rng(1))
  memory.checkpoint(tmp_path, 1)
  other.restore(tmp_path, 1)
  _assert_same(other, _contents(memory))


def test_a_count_that_was_set_back_is_no_reason_to_share_files(tmp_path):
  memory, other = _pair(False)
  inside.cut_ring(memory, 10)
  _play(memory, 90, np.random.default_rng(0))
  memory.checkpoint(tmp_path, 0)
  memory.add_count = np.array(0)
  _play(memory, 20, np.random.default_rng(1))
  memory.checkpoint(tmp_path, 1)
  other.restore(tmp_path, 1)
  end = int(memory.add_count)
  for name, array in inside.arrays(memory).items():
    np.testing.assert_array_equal(inside.arrays(other)[name][:end], array[:end])


def test_what_cannot_be_read_leaves_an_empty_memory(tmp_path):
  memory, other = _pair(True)
  inside.cut_ring(memory, 10)
  rng = np.random.default_rng(0)
  _play(memory, 90, rng)
  memory.checkpoint(tmp_path, 0)
  _play(memory, 70, rng)
  memory.checkpoint(tmp_path, 1)
  segments = ring_reader.read(tmp_path, 0).record['segments']
  (tmp_path / segments[3]['file']).unlink()
  with pytest.raises(atomic.DamagedError, match='missing'):
    other.restore(tmp_path, 0)
  assert other.is_empty() and not inside.arrays(other)['observation'].any()
  other.restore(tmp_path, 1)
  _assert_same(other, _contents(memory))
  _play(other, 5, rng)
  other.checkpoint(tmp_path, 2)
  memory.restore(tmp_path, 2)
  _assert_same(memory, _contents(other))


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


def _rewrite(path, change):
  """Changes the record of a checkpoint."""
  saved = arrays.read_npz(str(path))
  record = json.loads(saved['record'].tobytes())
  change(record)
  text = np.frombuffer(json.dumps(record).encode(), np.uint8)
  np.savez(path, **saved | {'record': text})


def test_a_record_that_lacks_slots_is_damaged(tmp_path):
  memory, other = _pair(False)
  inside.cut_ring(memory, 10)
  _play(memory, 90, np.random.default_rng(0))
  memory.checkpoint(tmp_path, 0)
  path = tmp_path / 'replay_ckpt.0.npz'
  whole = path.read_bytes()
  for lost in (0, 3, 5):
    _rewrite(path, lambda record, lost=lost: record['segments'].pop(lost))
    with pytest.raises(atomic.DamagedError, match='slots are missing'):
      other.restore(tmp_path, 0)
    path.write_bytes(whole)


# Records of format 1 ----------------------------------------------------------


def _save_as_before(memory, folder, number, size):
  """Writes a checkpoint of format 1: `size` slots to a file, as added."""
  memory.checkpoint(folder, number)
  end, capacity = int(memory.add_count), inside.capacity(memory)
  chunks = []
  first = max(0, end - capacity) // size * size
  for start in range(first, end, size):
    stop = min(start + size, end)
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    content = b''
    for array in inside.arrays(memory).values():
      slots = np.arange(start, stop) % capacity
      content += compressor.compress(array[slots].tobytes())
    content += compressor.flush()
    name = f'{start}-{stop}-01234567.zst'
    checksums = parity.write_shared(str(folder / name), content)
    described = {'stream': 0, 'first': start, 'end': stop, 'file': name}
    chunks.append(described | {'size': len(content), 'checksums': checksums})

  def change(record):
    del record['segments']
    record['chunks'] = chunks

  _rewrite(folder / f'replay_ckpt.{number}.npz', change)


@pytest.mark.parametrize('prioritized', [False, True])
@pytest.mark.parametrize('count', [5, 20, 55, 57, 70, 130])
@pytest.mark.parametrize('size', [1, 7, 10, 60])
def test_a_record_of_format_1_is_restored(tmp_path, prioritized, count, size):
  memory, other = _pair(prioritized)
  inside.cut_ring(other, 10)
  rng = np.random.default_rng(count)
  _play(memory, count, rng)
  _save_as_before(memory, tmp_path, 0, size)
  other.restore(tmp_path, 0)
  _assert_same(other, _contents(memory))
  # What comes next is in the form of today, and whole.
  _play(other, 3, rng)
  other.checkpoint(tmp_path, 1)
  assert 'chunks' not in ring_reader.read(tmp_path, 1).record
  memory.restore(tmp_path, 1)
  _assert_same(memory, _contents(other))


def test_a_record_of_format_1_that_lacks_slots_is_damaged(tmp_path):
  memory, other = _pair(False)
  _play(memory, 90, np.random.default_rng(0))
  _save_as_before(memory, tmp_path, 0, 10)
  path = tmp_path / 'replay_ckpt.0.npz'
  whole = path.read_bytes()
  for lost in (0, 3, -1):
    _rewrite(path, lambda record, lost=lost: record['chunks'].pop(lost))
    with pytest.raises(atomic.DamagedError, match='slots are missing'):
      other.restore(tmp_path, 0)
    path.write_bytes(whole)
