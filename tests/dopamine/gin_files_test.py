"""The gin files hold what Dopamine 3.2.1's hold: every value and every import.

Where ours differ on purpose, `EXCEPTIONS` says so; `OURS` are files that 3.2.1
lacks.
"""

import pytest

from tests.support import gin_files

pytestmark = pytest.mark.no_backend

# {file: {binding: value}}. 3.2.1 has 'jax_rainbow', which is the wrong agent.
EXCEPTIONS = {
  f'dopamine/jax/agents/full_rainbow/configs/{name}.gin': {
    'create_agent.agent_name': "'jax_full_rainbow'"
  }
  for name in ('full_rainbow', 'full_rainbow_profiling')
}


def typed(bindings):
  """Returns values with their types: 1, 1.0 and True are not the same."""
  return {name: (type(v).__name__, v) for name, v in bindings.items()}


def test_every_gin_file_is_in_the_table_and_none_is_missing():
  found = (gin_files.ROOT / 'dopamine').rglob('*.gin')
  found = sorted(f.relative_to(gin_files.ROOT).as_posix() for f in found)
  assert found == sorted(gin_files.WRITTEN + gin_files.OURS)


def test_the_table_is_whole():
  assert len(gin_files.TABLE) == 41
  assert (
    sum(len(entry['bindings']) for entry in gin_files.TABLE.values()) == 1045
  )


@pytest.mark.parametrize('name', gin_files.WRITTEN)
def test_imports_and_bindings_are_those_of_the_original(name):
  imports, bindings = gin_files.read(name)
  assert imports == gin_files.TABLE[name]['imports']
  table = gin_files.TABLE[name]['bindings'] | EXCEPTIONS.get(name, {})
  _, expected = gin_files.parse(
    '\n'.join(f'{k} = {v}' for k, v in table.items())
  )
  assert len(expected) == len(gin_files.TABLE[name]['bindings'])
  assert typed(bindings) == typed(expected)


@pytest.mark.parametrize('name', EXCEPTIONS)
def test_exceptions_differ_from_the_original(name):
  for binding, value in EXCEPTIONS[name].items():
    assert value != gin_files.TABLE[name]['bindings'][binding]


@pytest.mark.parametrize('name', gin_files.TWINS)
def test_ours_have_the_settings_of_their_jax_twins(name):
  """Parameter by parameter, whichever class they are bound to."""

  def settings(path):
    _, bindings = gin_files.read(path)
    by_parameter = {k.rpartition('.')[2]: v for k, v in bindings.items()}
    assert len(by_parameter) == len(bindings)
    return typed(by_parameter)

  ours = settings(name)
  twin = settings(name.replace('dopamine/', 'dopamine/jax/'))
  assert ours.pop('tf_device') == ('str', '/gpu:0')
  assert twin.pop('schedule') == ('str', 'continuous_train')
  assert twin.pop('debug_mode') == ('bool', True)
  agent = ours.pop('agent_name')[1]
  assert twin.pop('agent_name')[1] == f'jax_{agent}'
  assert ours == twin


@pytest.mark.parametrize('name', gin_files.CARTPOLE)
def test_our_cartpole_files_set_the_same_task(name):
  """That of the published file, with fewer iterations: curves compare."""

  def task(path):
    _, bindings = gin_files.read(path)
    named = ('Runner', 'create_gym_environment')
    return typed(
      {k: v for k, v in bindings.items() if k.startswith(named)}
      | {k: v for k, v in bindings.items() if k.endswith('replay_capacity')}
    )

  published = 'dopamine/agents/rainbow/configs/rainbow_cartpole.gin'
  expected = task(published) | {'Runner.num_iterations': ('int', 60)}
  assert task(name) == expected


@pytest.mark.parametrize(('name', 'rate'), gin_files.TUNED.items())
def test_the_tuned_files_differ_from_the_published_ones_as_they_say(name, rate):
  imports, tuned = gin_files.read(name)
  others, plain = gin_files.read(name.replace('_tuned', ''))
  assert sorted(imports) == sorted(others)
  assert tuned.keys() == plain.keys()
  differences = {k: (v, tuned[k]) for k, v in plain.items() if v != tuned[k]}
  assert differences == {
    'tf.train.AdamOptimizer.learning_rate': (rate, 0.0005),
    'RainbowAgent.num_atoms': (51, 101),
    'RainbowAgent.vmax': (10.0, 100.0),
    'Runner.num_iterations': (500, 60),
  }


@pytest.mark.parametrize('name', gin_files.FOURIER)
def test_the_fourier_files_differ_from_the_published_ones_as_they_say(name):
  imports, ours = gin_files.read(name)
  others, plain = gin_files.read(gin_files.FOURIER[name])
  assert imports == others and ours.keys() == plain.keys()
  differences = {k: (v, ours[k]) for k, v in plain.items() if v != ours[k]}
  network = plain['DQNAgent.network']
  expected = {
    'DQNAgent.network': (network, network.replace('DQN', 'FourierDQN')),
    'Runner.num_iterations': (500, 30),
  }
  if 'cartpole' in name:
    expected['tf.train.AdamOptimizer.learning_rate'] = (0.001, 0.01)
  assert differences == expected


def test_the_gym_file_sets_what_other_agents_do_not_inherit():
  """`QuantileAgent` has defaults of its own for what it also binds here."""
  _, bindings = gin_files.read(gin_files.GYM)
  quantile = {
    name.partition('.')[2]: value
    for name, value in bindings.items()
    if name.startswith('QuantileAgent.')
  }
  assert sorted(quantile) == [
    'epsilon_decay_period',
    'epsilon_eval',
    'epsilon_train',
    'min_replay_history',
    'target_update_period',
  ]
  for parameter, value in quantile.items():
    assert bindings[f'DQNAgent.{parameter}'] == value
  # Rewards of 1 have returns of 1 / (1 - gamma), which the atoms must reach.
  gamma, vmax = bindings['DQNAgent.gamma'], bindings['RainbowAgent.vmax']
  assert vmax == pytest.approx(1 / (1 - gamma))


def test_the_tuned_file_of_jax_dqn_differs_as_it_says():
  imports, tuned = gin_files.read(gin_files.JAX_DQN)
  others, plain = gin_files.read(gin_files.JAX_DQN.replace('_tuned', ''))
  assert imports == others
  assert {k: v for k, v in tuned.items() if v != plain.get(k)} == {
    'JaxDQNAgent.double_dqn': True,
    'JaxDQNAgent.replay_scheme': 'prioritized',
    'JaxDQNAgent.target_update_period': 400,
    'create_optimizer.learning_rate': 0.0005,
    'Runner.num_iterations': 60,
  }
  assert not plain.keys() - tuned.keys()


@pytest.mark.parametrize('name', gin_files.WRITTEN + gin_files.OURS)
def test_the_first_line_says_which_paper(name):
  first = (gin_files.ROOT / name).read_text().splitlines()[0]
  assert first.startswith('# ') and 'et al., 20' in first


def test_parse_tells_values_from_references():
  imports, bindings = gin_files.parse(
    'import a.b\n'
    "A.x = 1  # agent steps\nA.y = @b.C()\nA.z = @b.C\nA.s = '@b.C'\n"
    'A.m = %b.D\nB.v = 1.\nB.w = -3e-4\n'
  )
  assert imports == ['a.b']
  assert typed(bindings) == {
    'A.x': ('int', 1),
    'A.y': ('Name', '@b.C()'),
    'A.z': ('Name', '@b.C'),
    'A.s': ('str', '@b.C'),
    'A.m': ('Name', '%b.D'),
    'B.v': ('float', 1.0),
    'B.w': ('float', -3e-4),
  }
