"""What a replay memory must hold: an oracle, and what to try it with."""

from hypothesis import strategies as st
import numpy as np

from dopamine.replay_memory import circular_replay_buffer

GAMMA = 0.9
EXTRAS = [circular_replay_buffer.ReplayElement('note', (2,), np.int64)]
ENDS = ['terminal', 'cut', 'abandoned', 'time-out', 'time-out']
PUBLIC_FILES = {
  f'{name}_ckpt.3.gz'
  for name in (
    *('$store$_observation', '$store$_action', '$store$_reward'),
    *('$store$_terminal', 'add_count', 'invalid_range'),
  )
}


def memory(cls=circular_replay_buffer.OutOfGraphReplayBuffer, **kwargs):
  """One of 20 numbers, of which nothing but the arithmetic matters."""
  defaults = dict(
    observation_shape=(),
    stack_size=1,
    replay_capacity=20,
    batch_size=2,
    observation_dtype=np.float64,
    seed=0,
  )
  return cls(**defaults | kwargs)


class Episodes:
  """What a buffer should hold: episodes as lists, and who got which slot."""

  def __init__(self, capacity, stack_size, horizon, shape=(), reward_shape=()):
    self.capacity, self.stack_size, self.horizon = capacity, stack_size, horizon
    self.shape, self.reward_shape = shape, reward_shape
    self.log = []  # What each add wrote: (episode, t), or None if no start.
    self.count = 0
    self.end()

  def end(self):
    self.episode = {'frames': [], 'steps': [], 'end': None}
    self.begun = False

  def frame(self):
    self.count += 1
    return np.full(self.shape, self.count % 251 + 1)

  def step(self, end, *memories):
    """Adds one step to this and to the memories; `end` says what it ends."""
    if not self.begun:
      self.log += [None] * (self.stack_size - 1)
      self.begun = True
    frame, t = self.frame(), len(self.episode['steps'])
    reward = np.full(self.reward_shape, self.count / 7.0, np.float32)
    note = [self.count, -self.count]
    self.log.append((self.episode, t))
    self.episode['frames'].append(frame)
    self.episode['steps'].append((self.count % 5, reward, note))
    self.episode['end'] = end
    step = frame, self.count % 5, reward, end == 'terminal', note
    for memory in memories:
      memory.add(*step, episode_end=end == 'cut')
    if end == 'time-out':
      self.episode['frames'].append(self.frame())
      self.log.append(None)
      for memory in memories:
        memory.add_final_observation(self.episode['frames'][-1])
    if end == 'abandoned':
      for memory in memories:
        memory.cut_episode()
    if end is not None:
      self.end()

  def play(self, lengths_and_ends, *memories):
    for length, end in lengths_and_ends:
      for t in range(length):
        self.step(end if t == length - 1 else None, *memories)

  def needs_more(self, episode, t):
    """Whether a transition needs what followed, which nobody saw."""
    reaches = t + self.horizon >= len(episode['steps'])
    return reaches and episode['end'] in ('cut', 'abandoned')

  def lost(self):
    """Returns the slots that nothing which is added makes valid starts."""
    result = set()
    newest = len(self.log) - 1
    for position in range(max(0, newest + 1 - self.capacity), newest + 1):
      start = self.log[position]
      if start is not None and self.needs_more(*start):
        # Of one that was cut just now, a final observation may still come.
        is_last = self.log[newest] is not None and (
          self.log[newest][0] is start[0]
        )
        if not is_last or start[0]['end'] == 'abandoned':
          start = None
      if start is None:
        result.add(position % self.capacity)
    return result

  def valid(self):
    """Returns `{slot: (episode, t)}` of the starts that may be sampled."""
    result = {}
    for position, start in enumerate(self.log):
      age = len(self.log) - position  # 1 is the newest.
      if start is None or age <= self.horizon:
        continue
      if age > self.capacity - self.stack_size:
        continue  # Overwritten, or barred by invalid_range.
      episode, t = start
      if self.needs_more(episode, t):
        continue
      result[position % self.capacity] = start
    return result

  def stack(self, episode, t):
    zeros = [np.zeros(self.shape)] * (self.stack_size - 1)
    frames = zeros + episode['frames']
    return np.stack(frames[t : t + self.stack_size], axis=-1)

  def transition(self, episode, t):
    """Returns the transition as a dict; what is undefined is not in it."""
    steps = episode['steps'][t : t + self.horizon]
    k = len(steps)
    terminal = episode['end'] == 'terminal' and t + k == len(episode['steps'])
    action, _, note = steps[0]
    result = {
      'state': self.stack(episode, t),
      'action': action,
      'reward': sum(
        GAMMA**j * reward for j, (_, reward, _) in enumerate(steps)
      ),
      'terminal': terminal,
      'note': note,
      'discount': 0.0 if terminal else GAMMA**k,
    }
    if not terminal:
      result['next_state'] = self.stack(episode, t + k)
      final = t + k == len(episode['steps'])
      following = (0, 0, None) if final else episode['steps'][t + k]
      result['next_action'], result['next_reward'], _ = following
    return result


def names(memory):
  return [element.name for element in memory.get_transition_elements()]


def sampled(memory, indices):
  arrays = memory.sample_transition_batch(indices=indices)
  sample = dict(zip(names(memory), arrays, strict=True))
  for element in memory.get_transition_elements(len(indices)):
    assert sample[element.name].shape == element.shape, element.name
    assert sample[element.name].dtype == element.type, element.name
  return sample | {'discount': memory.discounts(indices)}


def assert_holds(memory, oracle):
  """Asserts that the memory has the oracle's transitions, and no others."""
  assert memory.add_count == len(oracle.log)
  expected = oracle.valid()
  slots = range(-2, oracle.capacity + 2)
  assert {i for i in slots if memory.is_valid_transition(i)} == set(expected)
  if not expected:
    return
  sample = sampled(memory, list(expected))
  np.testing.assert_array_equal(sample['indices'], list(expected))
  for row, start in enumerate(expected.values()):
    for name, value in oracle.transition(*start).items():
      np.testing.assert_allclose(
        sample[name][row], value, rtol=1e-6, err_msg=f'{name} of {start}'
      )


@st.composite
def settings(draw):
  stack_size, horizon = draw(st.integers(1, 4)), draw(st.integers(1, 5))
  return dict(
    observation_shape=draw(st.sampled_from([(), (3,), (2, 3)])),
    stack_size=stack_size,
    update_horizon=horizon,
    replay_capacity=stack_size + horizon + draw(st.integers(0, 25)),
    observation_dtype=draw(st.sampled_from([np.uint8, np.float32, np.int16])),
    reward_shape=draw(st.sampled_from([(), (2,)])),
  )


_episode = st.tuples(st.integers(1, 9), st.sampled_from(ENDS))
few_episodes = st.lists(_episode, max_size=4)
# Up to some 300 slots: the smallest buffers wrap around a hundred times.
episodes = few_episodes | st.lists(_episode, min_size=8, max_size=30)
