"""What a reader meets, how large the rooms are, and which of them are seams.

The figures only go down; those of wings may rise, with the reason.
"""

import pathlib
import re

import pytest

import dopamine

pytestmark = pytest.mark.no_backend

ROOT = pathlib.Path(dopamine.__path__[0])

# Who reads DQN on Atari from the command to the screen, on TensorFlow.
READER = [
  'discrete_domains/train.py',
  'discrete_domains/run_experiment.py',
  'agents/dqn/dqn_agent.py',
  'agents/replay_agent.py',
  'agents/exploration.py',
  'losses.py',
  'networks/__init__.py',
  'networks/parts.py',
  'networks/atari.py',
  'learners/__init__.py',
  'learners/tf_learner.py',
  'replay_memory/batches.py',
  'replay_memory/circular_replay_buffer.py',
  'replay_memory/windows.py',
  'replay_memory/ring.py',
  'replay_memory/elements.py',
  'discrete_domains/atari_lib.py',
]
MOST_FILES, MOST_LINES, LONGEST = 17, 3400, 450

# What serves old files, old code, mistakes and damaged disks, and its lines.
# `compat` has the functional style of JAX agents, and says at once what of a
# class is gone; in `files`, a file of a checkpoint has one writer.
# `settings` asks which classes are of a fork's.
WINGS = {'settings': 798, 'files': 1478, 'compat': 5860}
LONGEST_OF_THE_CORE = 466

# Where the core asks for compat, as the docstring of `seams` says how.
SEAMS = {
  'agents/dqn/dqn_agent.py': {'adapters', 'old_code'},
  'agents/implicit_quantile/implicit_quantile_agent.py': {'adapters'},
  'agents/replay_agent.py': {'old_code'},
  'agents/saving.py': {'old_weights'},
  'discrete_domains/agent_factory.py': {'dopamine_4'},
  'discrete_domains/ale_state.py': {'old_states'},
  'discrete_domains/atari_lib.py': {'old_names'},
  'discrete_domains/gym_lib.py': {'old_gym'},
  'jax/agents/dqn/dqn_agent.py': {'flax_networks', 'functional'},
  'optimizers.py': {'old_optimizers'},
  'replay_memory/batches.py': {'old_memories'},
  'replay_memory/circular_replay_buffer.py': {'old_memories'},
  'replay_memory/data_set.py': {'old_records'},
  'replay_memory/prioritized_replay_buffer.py': {'old_records'},
  'replay_memory/ring_reader.py': {'old_records'},
  'replay_memory/saved_ring.py': {'old_memories'},
  'runs/checkpoints.py': {'old_records'},
  'runs/event_writer.py': {'old_writers'},
  'runs/run.py': {'old_runners'},
  'runs/run_checks.py': {'adapters'},
  'runs/run_folder.py': {'old_folders'},
  'runs/trained.py': {'old_weights'},
  'seams.py': {
    *('dtypes', 'gin_paths', 'gin_tf', 'old_code', 'old_modules', 'old_names'),
  },
}

REFLECTION = re.compile(r'\b(?:hasattr|getattr|vars)\(|inspect\.[a-z]')
MOST_REFLECTION = 20


def modules(*folders):
  paths = sorted(ROOT.rglob('*.py'))
  found = [p.relative_to(ROOT).as_posix() for p in paths]
  assert len(found) > 50
  if folders:
    return [m for m in found if m.partition('/')[0] in folders]
  return [m for m in found if m.partition('/')[0] not in WINGS]


def lines(module):
  return (ROOT / module).read_text().splitlines()


def test_a_reader_of_dqn_meets_few_files_and_none_that_is_long():
  sizes = {module: len(lines(module)) for module in READER}
  assert len(sizes) <= MOST_FILES
  assert max(sizes.values()) <= LONGEST, sizes
  assert sum(sizes.values()) <= MOST_LINES, (sum(sizes.values()), sizes)


@pytest.mark.parametrize('module', READER)
def test_what_a_reader_meets_knows_no_wing_but_settings(module):
  for line in lines(module):
    if re.match(r'\s*(from|import) dopamine', line):
      assert not re.search(r'\b(files|compat|runs\.\w+_record)\b', line), line


def test_the_algorithm_is_on_the_first_screen_of_its_class():
  text = lines('agents/dqn/dqn_agent.py')
  start = text.index('class DQNAgent(replay_agent.ReplayAgent):')
  screen = '\n'.join(text[start : start + 50])
  for hook in ('_loss', '_td_loss', '_build_target_q_op', '_next_action'):
    assert f'  def {hook}(self' in screen


def test_no_room_of_the_core_is_long():
  sizes = {module: len(lines(module)) for module in modules()}
  assert max(sizes.values()) <= LONGEST_OF_THE_CORE, max(sizes, key=sizes.get)


@pytest.mark.parametrize('wing', WINGS)
def test_the_wings_have_their_size(wing):
  assert sum(len(lines(module)) for module in modules(wing)) <= WINGS[wing]


def test_the_core_asks_few_partners_what_they_can_do():
  found = {m: len(REFLECTION.findall('\n'.join(lines(m)))) for m in modules()}
  assert sum(found.values()) <= MOST_REFLECTION, {
    m: n for m, n in found.items() if n
  }


def test_compat_is_asked_for_at_its_seams_alone():
  found = {}
  for module in modules() + modules('settings', 'files'):
    text = '\n'.join(lines(module))
    assert not re.search(r'(from|import) dopamine\.compat', text), module
    names = set(re.findall(r"\bcompat\('(\w+)'", text))
    if names:
      found[module] = names
  assert found == SEAMS
