"""What distributional agents learn, and show, of returns that are known.

Asked of the run, in the film and in TensorBoard; see `tests.support.two_states`
for the task.
"""

import math

import gin
import keras
import numpy as np
from numpy.testing import assert_allclose
import pytest
from tensorboard.backend.event_processing import event_accumulator

from dopamine.discrete_domains import run_experiment
from dopamine.runs import live
from dopamine.runs import trained
from dopamine.utils import panel
from tests.support import films
from tests.support import two_states

GAMMA, NUM_ATOMS = 0.85, 21
# By name: agent, and its network; the settings of its own.
AGENTS = {
  'c51': ('Rainbow', "RainbowAgent.replay_scheme = 'uniform'"),
  'rainbow': ('Rainbow', "RainbowAgent.replay_scheme = 'prioritized'"),
  # With noise, what is learned is the mean over the noise, and what is asked is
  # what comes without: they differ by 0.04.
  'full_rainbow': ('FullRainbow', 'FullRainbowAgent.noisy = False'),
  # A Huber loss with kappa = 1 has expectiles where all errors are below 1.
  'quantile': (
    'Quantile',
    'QuantileAgent.kappa = 0.0',
    'QuantileAgent.num_atoms = 10',
    "QuantileAgent.replay_scheme = 'uniform'",
  ),
  'implicit_quantile': ('ImplicitQuantile', 'ImplicitQuantileAgent.kappa = 0.'),
}
CATEGORICAL = ['c51', 'rainbow', 'full_rainbow']
SETTINGS = f"""
import dopamine.agents.dqn.dqn_agent
import dopamine.discrete_domains.gym_lib
import dopamine.networks
create_agent.fit_to_environment = True
Runner.create_environment_fn = @gym_lib.create_gym_environment
create_gym_environment.environment_name = 'TwoStates'
create_gym_environment.version = 'v0'
AGENT.network = @networks.NETWORK
NETWORK.min_vals = 0.0
NETWORK.max_vals = 1.0
NETWORK.hidden_units = 32
AGENT.gamma = {GAMMA}
AGENT.stack_size = 1
AGENT.update_horizon = 1
AGENT.min_replay_history = 500
AGENT.update_period = 1
AGENT.target_update_period = 20
AGENT.epsilon_fn = @dqn_agent.identity_epsilon
AGENT.epsilon_train = 1.0
AGENT.epsilon_eval = 0.0
AGENT.optimizer = @two_states_adam()
Runner.num_iterations = 1
Runner.training_steps = STEPS
two_states_adam.steps = STEPS
Runner.evaluation_steps = 0
Runner.max_steps_per_episode = 9
Runner.seed = 0
WrappedPrioritizedReplayBuffer.replay_capacity = 10000
WrappedPrioritizedReplayBuffer.batch_size = 128
"""


# A kind of distribution under each backend; all of them take 5 to 40 s each.
QUICK = {'tensorflow': 'quantile', 'jax': 'c51'}[keras.config.backend()]
PRIORITISED = ['rainbow', 'full_rainbow']


def steps(name):
  """Agent steps, and updates about; other agents learn with more noise."""
  return 3000 if name in ('c51', 'quantile') else 6000


@gin.configurable
def two_states_adam(steps):
  """Ends with steps of length zero: the masses do not jump about."""
  schedule = keras.optimizers.schedules.CosineDecay(0.003, steps)
  return keras.optimizers.Adam(schedule, epsilon=1e-5)


@pytest.fixture(
  scope='module',
  params=[
    QUICK,
    *(
      pytest.param(name, marks=pytest.mark.slow)
      for name in AGENTS
      if name != QUICK
    ),
  ],
)
def run(request, tmp_path_factory):
  """The name of an agent, and the folder of its run."""
  two_states.register()
  base_dir = tmp_path_factory.mktemp(request.param)
  kind, *own = AGENTS[request.param]
  settings = SETTINGS.replace('AGENT', f'{kind}Agent')
  settings = settings.replace('NETWORK', f'ClassicControl{kind}Network')
  settings = settings.replace('STEPS', str(steps(request.param)))
  name = {'c51': 'rainbow'}.get(request.param, request.param)
  if request.param in CATEGORICAL:
    own += [f'{kind}Agent.num_atoms = {NUM_ATOMS}', f'{kind}Agent.vmax = 1.0']
  gin.clear_config()
  run_experiment.load_gin_configs(
    [],
    [*settings.splitlines(), f"create_agent.agent_name = '{name}'", *own],
  )
  with (
    pytest.MonkeyPatch.context() as patch,
    run_experiment.create_runner(str(base_dir)) as runner,
  ):
    patch.setattr(live, '_DISTRIBUTION_PERIOD', 1)
    runner.run_experiment()
  gin.clear_config()
  return request.param, base_dir


def chance_of_one(name):
  """The mass of 1 in the second state's action 0: 0.3 with uniform replay.

  With a prioritised one a transition counts p * (1 / p)^0.5 times, and p is the
  root of its loss: loss^0.25 times, which is more for the rarer outcome.
  """
  q = 0.3
  if name in PRIORITISED:
    for _ in range(100):
      odds = 0.3 / 0.7 * (math.log(q) / math.log(1 - q)) ** 0.25
      q = odds / (1 + odds)
  return q  # 0.349 when prioritised.


def masses(name):
  """Of the returns on the atoms -1, -0.9 ... 1, `[2, 2, 21]`."""
  q = chance_of_one(name)
  found = np.zeros((2, 2, NUM_ATOMS))
  # gamma = 0.85 is between two atoms, as -0.4 + gamma is.
  found[0, 0, [10, 18, 19]] = 1 - q, q / 2, q / 2
  found[0, 1, [6, 14, 15]] = 1 - q, q / 2, q / 2
  found[1, 0, [10, 20]] = 1 - q, q
  found[1, 1, 1::2] = 0.1
  return found


def quantiles(count):
  """The values of the quantiles (i + 0.5) / N of the returns, `[2, 2, N]`.

  And which of them are not at a jump, where any value between is one.
  """
  levels = (np.arange(count) + 0.5) / count
  returns = two_states.returns(GAMMA)
  values = returns[..., (levels * 10).astype(int)]
  jumps = [[[7], [7]], [[7], range(11)]]
  clear = [
    [np.abs(levels[:, None] - np.divide(at, 10)).min(-1) > 0.025 for at in row]
    for row in jumps
  ]
  return values, np.array(clear)


def error_of(name, values, probabilities):
  """How far off a distribution `[2, 2, N]` is, in units of what is allowed."""
  if name in CATEGORICAL:
    atoms = np.linspace(-1, 1, NUM_ATOMS)
    assert_allclose(values - atoms, 0, atol=1e-6)
    return np.abs(probabilities - masses(name)).max() / 0.02
  true, clear = quantiles(values.shape[-1])
  assert_allclose(probabilities, 1 / values.shape[-1], rtol=1e-6)
  width = np.ptp(true, axis=-1, keepdims=True)
  return (np.abs(values - true) / width)[clear].max() / 0.05


def test_the_distribution_of_the_return_is_the_true_one(run):
  name, base_dir = run
  agent = trained.load_agent(base_dir)
  found = agent.distribution(two_states.STATES[..., None])
  assert error_of(name, *found) < 1
  assert_allclose(
    (found.values * found.probabilities).sum(-1),
    agent.q_values(two_states.STATES[..., None]),
    atol=1e-5,
  )
  one = agent.distribution(two_states.STATES[1])
  assert_allclose(one.values, found.values[1], atol=1e-6)
  # What would be wrong is seen.
  values, probabilities = found
  if name in CATEGORICAL:
    for wrong in (
      probabilities[::-1],  # The other state.
      probabilities[:, ::-1],  # The other action.
      probabilities[..., ::-1],  # The other sign.
      np.roll(probabilities, 1, axis=-1),
      0.95 * probabilities + 0.05 / NUM_ATOMS,
    ):
      assert error_of(name, values, wrong) > 1
    return
  for wrong in (
    values[::-1],
    values[:, ::-1],
    -values[..., ::-1],
    values[..., ::-1],  # The level 1 - tau.
    values + 0.1,
    np.repeat(values.mean(-1, keepdims=True), values.shape[-1], -1),
  ):
    assert error_of(name, wrong, probabilities) > 1


def bars(frame, action, bins):
  """Heights in pixels of a distribution's bars, and how red they are."""
  top = panel._HEAD + 64 * action
  edges = np.linspace(*panel._MASS, bins + 1)
  middles = ((edges[1:] + edges[:-1]) / 2).astype(int)
  columns = frame[top + 2 : top + 62, -panel.WIDTH :][:, middles].astype(int)
  # The groove has 132, the two colours 408 and 470.
  is_bar = columns.sum(-1) > 250
  heights = is_bar.sum(0)
  for i, height in enumerate(heights):  # From the bottom up.
    assert is_bar[len(is_bar) - height :, i].all()
  return heights, np.median(columns[-1, heights > 2, 0])


@pytest.fixture(scope='module')
def pictures(run, tmp_path_factory):
  """Of its film: the first state, the second, and the end."""
  path = tmp_path_factory.mktemp('film') / 'film.mp4'
  with films.watching_flags():
    films.watch_run(run[1], f'--video={path}')
  frames, _ = films.read(path)
  assert len(frames) == 3
  return frames


# Between the masses of a row, in parts of the range from the left, and the mass
# that is before.
CUTS = [[(0.75, 0.7), (0.35, 0.7)], [(0.75, 0.7), (0.5, 0.5)]]


@pytest.mark.parametrize('state', [0, 1])
def test_the_film_shows_it(run, pictures, state):
  name, _ = run
  bins = NUM_ATOMS if name in CATEGORICAL else 50
  drawn = [bars(pictures[state], action, bins) for action in range(2)]
  assert [red > 160 for _, red in drawn] == [True, False]  # 0 is played.
  heights = np.array([heights for heights, _ in drawn])
  assert heights.max() == 60  # The highest is as high as a row.
  if name in CATEGORICAL:
    true = masses(name)[state]
    # Half a pixel is 0.5 / 60 of the highest.
    allowed = 0.02 + 0.5 / 60 * true.max()
    assert_allclose(heights / 60 * true.max(), true, atol=allowed)
    return
  for row, (cut, before) in zip(heights, CUTS[state], strict=True):
    share = row[: int(cut * bins)].sum() / row.sum()
    assert share == pytest.approx(before, abs=0.05)


def test_tensorboard_shows_it(run):
  name, base_dir = run
  every = {'histograms': 0}
  events = event_accumulator.EventAccumulator(str(base_dir), every)
  events.Reload()
  shown = events.Histograms('Learning/StartReturn')
  assert [event.step for event in shown] == [*range(250, steps(name) + 1, 250)]
  last = shown[-1].histogram_value
  assert last.num == pytest.approx(1, abs=1e-5)
  # Of the better action in the first state.
  agent = trained.load_agent(base_dir)
  q_value = agent.q_values(two_states.STATES[0])[0]
  assert last.sum == pytest.approx(q_value, abs=0.01)
  edges, counts = map(np.array, (last.bucket_limit, last.bucket))
  if name in CATEGORICAL:
    assert_allclose(counts, masses(name)[0, 0], atol=0.02)
    assert (last.min, last.max) == (-1, 1)
    atoms = np.linspace(-1, 1, NUM_ATOMS)
    assert ((atoms > np.append(-1.1, edges[:-1])) & (atoms <= edges)).all()
    return
  assert counts[edges < 0.3].sum() == pytest.approx(0.7, abs=0.05)
  assert counts[edges < 0.7].sum() == pytest.approx(0.7, abs=0.05)
