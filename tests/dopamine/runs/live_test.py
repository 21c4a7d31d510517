"""Live figures: when, what, once each, and that learning does not know them."""

import types

import keras
from keras import ops
import numpy as np
from numpy.testing import assert_allclose
from numpy.testing import assert_array_equal
import pytest
from tensorboard.backend.event_processing import event_accumulator

from dopamine.agents.dqn import dqn_agent
from dopamine.discrete_domains import gym_lib
from dopamine.discrete_domains import run_experiment
from dopamine.runs import event_writer
from dopamine.runs import live
from tests.support import inside
from tests.support import runs

TAGS = {
  *('Learning/Loss', 'Learning/GradientNorm', 'Learning/MeanQ'),
  *('Learning/MeanTarget', 'Learning/LearningRate', 'Learning/Epsilon'),
  *('Episode/Return', 'Episode/Length', 'Replay/ShareFull'),
  *('Speed/AgentStepsPerSecond', 'Speed/ShareStepping'),
  *('Speed/ShareUpdating', 'Speed/ShareActing'),
}
PRIORITIES = {'Replay/MeanPriority', 'Replay/LargestPriority'}
NAMES = sorted(runs.CASES)


def read(folder):
  # A histogram is kept by its newest 500, a scalar by its newest 10,000.
  accumulator = event_accumulator.EventAccumulator(str(folder))
  return accumulator.Reload()


@pytest.fixture
def often(monkeypatch):
  """A report every ten agent steps."""
  monkeypatch.setattr(live, 'period', lambda step: 10)


def run(folder, name, **kwargs):
  with runs.make_runner(folder, 'cartpole', runs.CASES[name], **kwargs) as made:
    made.run_experiment()
    return runs.figures(made)


@pytest.fixture(scope='module')
def whole_runs(tmp_path_factory):
  return tmp_path_factory.mktemp('whole'), {}


@pytest.fixture
def whole(whole_runs, often):
  """By the name of an agent: the folder of its run, and the figures of it."""
  folder, figures = whole_runs

  def whole(name):
    if name not in figures:
      figures[name] = run(folder / name, name)
    return folder / name, dict(figures[name])

  return whole


# When -------------------------------------------------------------------------


@pytest.mark.no_backend
def test_points_are_every_250_steps_and_then_grow_to_a_bounded_number():
  points, step = [], 0
  while step < 50_000_000:  # 200 million frames.
    step += live.period(step)
    points.append(step)
  assert points[:100] == list(range(250, 25_001, 250))
  assert (np.diff(np.diff(points)) >= 0).all()
  assert 1000 < len(points) < 20_000
  # 15 tags of at most 60 bytes.
  assert len(points) * 15 * 60 < 20e6
  # And it would take a thousand times as long to fill the rest.
  while step < 50_000_000_000:
    step += live.period(step)
    points.append(step)
  assert len(points) < 20_000


# What -------------------------------------------------------------------------


@pytest.mark.parametrize('name', NAMES)
def test_every_agent_shows_its_figures(name, whole):
  folder, figures = whole(name)
  has_priorities = 'sum_tree' in figures
  accumulator = read(folder)
  found = {t for t in accumulator.Tags()['scalars'] if t.count('/') == 1}
  assert found >= TAGS
  assert found & PRIORITIES == (PRIORITIES if has_priorities else set())
  # Training has a little more than 120 agent steps per iteration; evaluation
  # has none.
  steps = [event.step for event in accumulator.Scalars('Learning/Epsilon')]
  assert steps[:24] == list(range(10, 241, 10))
  assert len(steps) < 31
  shares = [
    np.array([event.value for event in accumulator.Scalars(f'Speed/Share{n}')])
    for n in ('Acting', 'Stepping', 'Updating')
  ]
  assert_allclose(sum(shares), 1.0, atol=1e-5)


def test_the_figures_are_those_of_training(tmp_path, often):
  case = runs.CASES['dqn']
  with runs.make_runner(tmp_path, 'cartpole', case) as runner:
    runner.run_experiment()
    agent, logs = inside.agent(runner), inside.logs(runner)
  accumulator = read(tmp_path)
  # As the episodes of a period are averaged, their sums are those of the logs,
  # but for what came after the last report.
  lengths = [
    length
    for iteration in logs.values()
    for length in iteration['train_episode_lengths']
  ]
  shown = accumulator.Scalars('Episode/Length')
  ends = np.cumsum(lengths)
  before = 0
  for event in shown:
    # A report at a step comes before the end of the episode is counted.
    inside_period = [
      n
      for n, end in zip(lengths, ends, strict=True)
      if before <= end < event.step
    ]
    assert_allclose(event.value, np.mean(inside_period), rtol=1e-6)
    before = event.step
  assert_array_equal(
    [e.value for e in accumulator.Scalars('Episode/Return')],
    [e.value for e in shown],  # CartPole pays 1 a step.
  )
  fills = [e.value for e in accumulator.Scalars('Replay/ShareFull')]
  assert fills == sorted(fills)
  rate = accumulator.Scalars('Learning/LearningRate')[-1].value
  assert_allclose(rate, inside.learner(agent).learning_rate, rtol=1e-6)
  norms = [e.value for e in accumulator.Scalars('Learning/GradientNorm')]
  assert min(norms) > 0.0


def test_a_mean_of_priorities_is_of_those_that_are_there():
  from dopamine.replay_memory import prioritized_replay_buffer

  memory = prioritized_replay_buffer.OutOfGraphPrioritizedReplayBuffer(
    (2,), 1, replay_capacity=10, batch_size=2
  )
  for priority in (1.0, 2.0, 6.0):
    memory.add(np.zeros(2, np.uint8), 0, 0.0, False, priority)
  found = memory.live_figures()
  assert found == {
    'Replay/ShareFull': 0.3,
    'Replay/MeanPriority': 3.0,
    'Replay/LargestPriority': 6.0,
  }


def test_the_norm_and_the_means_are_of_the_batch():
  from tests.support import agents
  from tests.support import small

  agent = agents.make_agent(optimizer='adam')
  batches = small.batches()
  online = agent.predict_q_values(batches.state[0])
  q = online[np.arange(6), batches.action[0]]
  update = inside.learner(agent).update(batches)
  figures = {k: np.asarray(v) for k, v in update.figures.items()}
  assert {k: v.shape for k, v in figures.items()} == dict.fromkeys(
    ('MeanQ', 'MeanTarget', 'GradientNorm'), (1,)
  )
  assert_allclose(figures['MeanQ'], q.mean(), rtol=1e-5)
  # Target and online network are equal at the start.
  y = batches.reward[0] + batches.discount[0] * (
    agents.make_agent(optimizer='adam')
    .predict_q_values(batches.next_state[0])
    .max(axis=-1)
  )
  assert_allclose(figures['MeanTarget'], y.mean(), rtol=1e-5)
  # An Adam slot m after one update is 0.1 g.
  state = inside.learner(agent).state()
  slots = [v for k, v in state.items() if k.startswith('optimizer/')]
  moments = [v for v in slots if v.ndim][0::2]
  norm = np.sqrt(sum(np.sum((m / 0.1) ** 2) for m in moments))
  assert_allclose(figures['GradientNorm'], norm, rtol=1e-4)


def test_a_subclass_shows_a_figure_beside_those_of_the_loss_it_calls():
  from keras import ops

  from tests.support import agents
  from tests.support import small

  class Noting(agents.SmallReplayAgent):
    def _loss(self, batch):
      loss = super()._loss(batch)
      self._note_figures(LargestLoss=ops.max(loss))
      return loss

  agent = agents.make_agent(Noting)
  for _ in range(2):
    update = inside.learner(agent).update(small.batches())
  assert update.figures.keys() == {
    *('GradientNorm', 'MeanQ', 'MeanTarget', 'LargestLoss'),
  }
  largest = float(np.asarray(update.figures['LargestLoss'])[0])
  assert_allclose(largest, np.asarray(update.loss).max(), rtol=1e-6)


def test_a_distribution_of_returns_at_the_start_is_shown(whole):
  folder, _ = whole('c51')
  (event,) = read(folder).Histograms('Learning/StartReturn')
  assert event.step == 10
  histogram = event.histogram_value
  assert_allclose(histogram.num, 1.0, rtol=1e-5)
  assert_allclose(sum(histogram.bucket), 1.0, rtol=1e-5)


@pytest.mark.no_backend
def test_a_distribution_is_drawn_where_its_masses_are(tmp_path):
  writer = event_writer.SummaryWriter(str(tmp_path))
  writer.events.open()
  writer.add_distribution('D', [0.0, 1.0, 2.0], [0.2, 0.3, 0.5], 7)
  writer.close()
  (event,) = read(tmp_path).Histograms('D')
  assert event.step == 7
  assert_allclose(event.histogram_value.bucket, [0.2, 0.3, 0.5])
  assert (event.histogram_value.min, event.histogram_value.max) == (0.0, 2.0)
  # 0.3 * 1 + 0.5 * 2, and of the squares.
  sums = event.histogram_value.sum, event.histogram_value.sum_squares
  assert sums == (1.3, 2.3)


# Once each, and bit-equal -----------------------------------------------------


@pytest.mark.parametrize('name', NAMES)
def test_learning_does_not_know_of_figures(name, tmp_path, whole):
  _, shown = whole(name)
  hidden = run(tmp_path / 'off', name, live_figures=False)
  assert [k for k in shown if 'tensorboard/Learning' in k]
  live_tags = ('Learning/', 'Episode/', 'Replay/', 'Speed/')
  is_live = tuple(f'tensorboard/{tag}' for tag in live_tags)
  shown = {k: v for k, v in shown.items() if not k.startswith(is_live)}
  runs.assert_equal(shown, hidden)


# Without a distribution; with one, and priorities, and noise.
@pytest.mark.parametrize('name', ['dqn', 'full'])
def test_a_resumed_run_shows_each_point_once(name, tmp_path, whole):
  _, expected = whole(name)
  folder = tmp_path / 'stopped'
  own = {'stops': (57, 130, 201), 'steps': 0}
  cls = type('Interrupted', (runs.Interrupted,), own)
  for _ in cls.stops:
    with pytest.raises(run_experiment.Stopped):
      run(folder, name, cls=cls)
  runs.assert_equal(run(folder, name, cls=cls), expected)
  steps = [e.step for e in read(folder).Scalars('Learning/Loss')]
  assert steps == sorted(set(steps))
  tags = read(folder).Tags()['histograms']
  assert tags == ([] if name == 'dqn' else ['Learning/StartReturn'])
  for tag in tags:
    assert [e.step for e in read(folder).Histograms(tag)] == [10]


@pytest.mark.no_backend
def test_shares_are_of_all_training_since_the_last_point(monkeypatch):
  """Ten steps of 1 s and 2 s of updates each; evaluation is in between."""
  clock = 0.0
  monkeypatch.setattr(live.time, 'perf_counter', lambda: clock)
  monkeypatch.setattr(live, 'period', lambda step: 10)
  shown = []
  writer = types.SimpleNamespace(add_figures=lambda f, step: shown.append(f))
  agent = types.SimpleNamespace(
    eval_mode=False,
    seconds_updating=0.0,
    live_figures=dict,
    start_distribution=lambda: None,
  )
  figures = live.LiveFigures(writer)
  for step in range(1, 31):
    start, clock = clock, clock + 1.0
    figures.step(agent, start)
    clock += 4.0
    agent.seconds_updating += 2.0
    if step == 15:
      figures.stop_clock(agent)
      agent.eval_mode = True
      figures.step(agent, clock)
      agent.eval_mode, clock = False, clock + 1000.0
  assert len(shown) == 3
  for found in shown[1:]:
    assert found == {
      'Speed/AgentStepsPerSecond': 0.2,
      'Speed/ShareStepping': 0.2,
      'Speed/ShareUpdating': 0.4,
      'Speed/ShareActing': pytest.approx(0.4),
    }


@pytest.mark.no_backend
def test_a_run_of_before_goes_on_counting_where_its_agent_is():
  figures = live.LiveFigures(types.SimpleNamespace())
  figures.restore({'steps': 1_000_000})
  assert figures.saved()['next'] == 1_000_000 + live.period(1_000_000)


# Agents of one's own ----------------------------------------------------------


class Looping(dqn_agent.DQNAgent):
  """Computes its loss in a loop of the backend, a transition at a time."""

  def _loss(self, batch):
    def loss(transition):
      one = keras.tree.map_structure(lambda x: x[None], transition)
      return super(Looping, self)._loss(one)[0]

    return ops.map(loss, batch)


class OwnEpsilon(dqn_agent.DQNAgent):
  """Has an epsilon that takes the steps alone."""

  def __init__(self, **kwargs):
    super().__init__(**kwargs)
    self.epsilon_fn = lambda steps: 1 / (1 + steps)

  def _select_action(self):
    if self._rng.random() < self.epsilon_fn(self.training_steps):
      return 0
    return int(np.argmax(self._learner.predict(self.state)))


class Counting(dqn_agent.DQNAgent):
  """Has an epsilon that is another each time it is asked."""

  calls = 0

  def __init__(self, **kwargs):
    super().__init__(**kwargs)
    self.epsilon_fn = self._alternate

  def _alternate(self, *unused):
    self.calls += 1
    return self.calls % 2


def run_own(folder, agent_class, live_figures=True):
  def create_agent(sess, environment, summary_writer=None):
    return agent_class(
      num_actions=2,
      observation_shape=(4,),
      observation_dtype=np.float32,
      stack_size=1,
      network=gym_lib.CartpoleDQNNetwork,
      min_replay_history=30,
      summary_writer=summary_writer,
    )

  with run_experiment.Runner(
    str(folder),
    create_agent,
    lambda: gym_lib.create_gym_environment('CartPole'),
    num_iterations=1,
    training_steps=90,
    evaluation_steps=0,
    seed=3,
    live_figures=live_figures,
  ) as made:
    made.run_experiment()
    return inside.learner(inside.agent(made)).state()


@pytest.mark.parametrize('agent_class', [Looping, OwnEpsilon, Counting])
def test_figures_ask_nothing_of_an_agent_of_ones_own(
  agent_class, tmp_path, often
):
  shown = run_own(tmp_path / 'on', agent_class)
  hidden = run_own(tmp_path / 'off', agent_class, live_figures=False)
  for name, values in hidden.items():
    assert_array_equal(shown[name], values)
  tags = set(read(tmp_path / 'on').Tags()['scalars'])
  assert 'Learning/Loss' in tags
  assert ('Learning/MeanQ' in tags) == (agent_class is not Looping)
  assert ('Learning/Epsilon' in tags) == (agent_class is not OwnEpsilon)


def test_steps_are_counted_where_figures_are_off(tmp_path, often):
  case = runs.CASES['dqn']
  for iterations, is_shown in ((1, True), (2, False), (3, True)):
    with runs.make_runner(
      *(tmp_path, 'cartpole', case),
      num_iterations=iterations,
      live_figures=is_shown,
    ) as made:
      made.run_experiment()
      steps = inside.agent(made).training_steps
  found = [e.step for e in read(tmp_path).Scalars('Episode/Length')]
  assert len(set(found)) == len(found)
  assert steps - 40 < found[-1] <= steps
