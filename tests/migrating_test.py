"""docs/migrating.md: each row says what was and what is, and is tested.

That what a row calls refused is refused, is in compat/old_ways_test.py.
"""

import ast
import builtins
import functools
import pathlib
import re

import pytest

from dopamine.compat import gone

pytestmark = pytest.mark.no_backend

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / 'docs/migrating.md').read_text()

# What is refused in another way than by `gone`, as the test in the file shows.
REFUSED = {
  'sess': 'dopamine/old_entry_test.py',
  '--help': 'dopamine/command_line_test.py',
  'loss_type': 'dopamine/jax/agents/agents_test.py',
  'exponential_decay': 'dopamine/optimizers_test.py',
  'flax import nn': 'dopamine/compat/gin_paths_test.py',
  'is a function of a state': 'dopamine/compat/old_ways_test.py',
  '_build_target_distribution': 'dopamine/compat/old_ways_test.py',
  '_build_target_q_op': 'dopamine/compat/old_ways_test.py',
  'cumulative_gamma': 'dopamine/compat/old_ways_test.py',
  'jax.random.split': 'dopamine/compat/old_ways_test.py',
  '_replay._store': 'dopamine/compat/old_ways_test.py',
  '_replay.states': 'dopamine/compat/old_ways_test.py',
  'that overrides `_loss`': 'dopamine/compat/old_ways_test.py',
  'private attributes': 'dopamine/compat/old_ways_test.py',
  '_q_argmax': 'dopamine/compat/old_ways_test.py',
  'seed(1)': 'dopamine/compat/old_ways_test.py',
  'environment.unwrapped': 'dopamine/compat/old_ways_test.py',
  'FileWriter': 'dopamine/agents/dqn/dqn_agent_test.py',
  'tf.compat.v1.train': 'dopamine/optimizers_test.py',
  'KERAS_BACKEND': 'dopamine/backend_test.py',
  'WrappedReplayBuffer.load': 'dopamine/replay_memory',
  'cannot hold': 'dopamine/replay_memory',
  'picklable': 'dopamine/files/safe_pickle_test.py',
  '_sess.run': 'dopamine/compat/old_ways_test.py',
  'dopamine.metrics': 'dopamine/compat/gin_paths_test.py',
  'dopamine.labs': 'dopamine/compat/gin_paths_test.py',
  'dopamine.continuous_domains': 'dopamine/compat/gin_paths_test.py',
  'dopamine.jax.serial_utils': 'dopamine/compat/gin_paths_test.py',
  'use_staging': 'dopamine/compat/old_ways_test.py',
  'extra_storage_types': 'dopamine/compat/old_ways_test.py',
  'fewer arguments': 'dopamine/compat/old_ways_test.py',
  'as_default(): tf.summary': 'dopamine/runs/event_writer_test.py',
  'ignores `replay_scheme': 'dopamine/compat/functional_agents_test.py',
  'dopamine.tf': 'dopamine/compat/gin_paths_test.py',
  'of 3.2.1': 'dopamine/jax',
}


def tables():
  """The rows of each table, cell by cell, by its heading."""
  found = {}
  for section in re.split(r'^##+ ', PAGE, flags=re.MULTILINE)[1:]:
    heading, _, text = section.partition('\n')
    lines = re.findall(r'^\|(.*)\|$', text, re.MULTILINE)
    if lines:
      found[heading] = [[c.strip() for c in row.split('|')] for row in lines]
  return found


ROWS = [
  (before, after)
  for rows in tables().values()
  for before, after in (row[:2] for row in rows[2:])
]


def test_each_table_has_a_question_and_two_columns():
  found = tables()
  *questions, differences = found
  assert differences == 'Where results can differ, on purpose'
  assert all(question.startswith('My ') for question in questions)
  for heading, rows in found.items():
    if heading != differences:
      assert rows[0] == ['before', 'after']
    assert {len(row) for row in rows} == {2}
    assert all(all(row) for row in rows)
  assert len(ROWS) > 110


@functools.cache
def known():
  """All names and words of the package, of Python, and of what it is for."""
  found = set(dir(builtins)) | {'self', 'lambda', 'import', 'in', 'python', 'm'}
  for path in (ROOT / 'dopamine').rglob('*.py'):
    found |= set(path.with_suffix('').relative_to(ROOT).parts)
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
      for field in ('id', 'name', 'attr', 'arg', 'asname', 'value'):
        value = getattr(node, field, None)
        if isinstance(value, str) and ' ' not in value:  # No prose.
          found |= set(re.findall(r'\w+', value))
  for path in (ROOT / 'dopamine').rglob('*.gin'):
    found |= set(re.findall(r'\w+', path.read_text()))
    found.add(path.stem)
  return found


# Of other libraries, of files, or made up.
OTHERS = set(
  """
  A B K N n k 1 0 2 0.001 1e6 8x8 199 gin_files gin bin json
  my_lib Name map_name MyAgent FrozenLake
  get_weights set_weights save_weights ValueError pygame surfarray make_surface
  swapaxes linen ale normal_numbers baselines zst npz weights_ckpt tf_ckpt ckpt
  replay_ckpt episode_markers_ckpt gz prefix iteration W H height width file
  path
  game agent Game x value name step
  """.split()
)


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row[0][:50])
def test_what_a_row_says_to_write_exists(row):
  _, after = row
  for span in re.findall(r'`([^`]+)`', after):
    words = {w for w in re.findall(r'\w+', span) if not w.isdecimal()}
    unknown = words - known() - OTHERS
    assert not unknown, f'{span}: there is no {", ".join(sorted(unknown))}'


@functools.cache
def names_that_are_gone():
  names = {*gone.OF_PARTNERS, *gone.TRACED}
  for table in gone.BY_CLASS.values():
    names |= {*table.overridden, *table.used, *table.stored}
  return names


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row[0][:50])
def test_what_a_row_calls_refused_is_tested_to_be(row):
  before, after = row
  if not re.search(r'\b[Rr]efused?\b', after):
    return
  names = set(re.findall(r'[\w.]+', before))
  if names & names_that_are_gone():  # Each of which is tested.
    return
  files = [file for start, file in REFUSED.items() if start in before]
  assert len(files) <= 3
  assert files, f'no test is said to show that this is refused: {before}'
  for file in files:
    assert (ROOT / 'tests' / file).exists()


def test_each_reason_is_of_a_row():
  befores = [before for before, _ in ROWS]
  for start in REFUSED:
    assert any(start in before for before in befores), start
