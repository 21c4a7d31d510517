"""The house has four floors, and imports only go down."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import dopamine

pytestmark = pytest.mark.no_backend

FRAMEWORKS = {'tensorflow', 'jax', 'torch'}

# What a fresh process must not have loaded after importing a module. The
# first prefix that fits decides.
FORBIDDEN = [
  ('dopamine.jax', {'tensorflow'}),
  ('dopamine.replay_memory', FRAMEWORKS | {'keras'}),
  # Networks, under the name that Dopamine 3 had for them.
  ('dopamine.discrete_domains.legacy_networks', {'tensorflow'}),
  ('dopamine.discrete_domains', FRAMEWORKS | {'keras'}),
  ('dopamine.analysis', FRAMEWORKS | {'keras'}),
  ('dopamine.backend', FRAMEWORKS | {'keras'}),
  ('dopamine.settings', FRAMEWORKS | {'keras'}),
  # What agents and optimizers ask for.
  ('dopamine.compat.flax', {'tensorflow'}),
  ('dopamine.compat.functional', {'tensorflow'}),
  ('dopamine.compat.old_optimizers', {'tensorflow'}),
  ('dopamine.compat.old_weights', {'tensorflow'}),
  ('dopamine.compat', FRAMEWORKS | {'keras'}),
  ('dopamine.interfaces', FRAMEWORKS | {'keras'}),
  ('dopamine.files', FRAMEWORKS | {'keras'}),
  ('dopamine.seams', FRAMEWORKS | {'keras'}),
  ('dopamine.seeding', FRAMEWORKS | {'keras'}),
  ('dopamine.runs', FRAMEWORKS | {'keras'}),
  ('dopamine.safe_pickle', FRAMEWORKS | {'keras'}),
  ('dopamine.signals', FRAMEWORKS | {'keras'}),
  ('dopamine.shapes', FRAMEWORKS | {'keras'}),
  ('dopamine.storage', FRAMEWORKS | {'keras'}),
]


def modules():
  root = pathlib.Path(dopamine.__path__[0])
  paths = [p.relative_to(root.parent) for p in sorted(root.rglob('*.py'))]
  found = ['.'.join(p.with_suffix('').parts) for p in paths]
  assert len(found) > 15
  return [m.removesuffix('.__init__') for m in found]


def forbidden_to(module):
  return next((f for p, f in FORBIDDEN if module.startswith(p)), None)


# Imports what others wrote once, and then each module in a copy of its own.
IMPORT_ALONE = """
import importlib, json, os, sys, traceback

forbidden, modules, before = map(json.loads, sys.argv[1:])
for name in before:
  importlib.import_module(name)
for module in modules:
  if not os.fork():
    error = ''
    try:
      importlib.import_module(module)
    except BaseException:
      error = traceback.format_exc()
    loaded = [m for m in forbidden if m in sys.modules]
    os.write(1, json.dumps([module, loaded, error]).encode() + b'\\n')
    os._exit(0)
  os.wait()
"""


@pytest.fixture(scope='module')
def loaded():
  """By module: what it loaded of what is forbidden to it, and its error."""
  found = {}
  for forbidden, before in (
    (FRAMEWORKS | {'keras'}, ['numpy', 'gin', 'absl.flags', 'gymnasium']),
    ({'tensorflow'}, ['numpy', 'gin', 'keras', 'jax', 'flax']),
  ):
    of_floor = [m for m in modules() if forbidden_to(m) == forbidden]
    arguments = map(json.dumps, (sorted(forbidden), of_floor, before))
    output = subprocess.run(
      [sys.executable, '-c', IMPORT_ALONE, *arguments],
      env=os.environ | {'KERAS_BACKEND': 'jax'},
      stdout=subprocess.PIPE,
      text=True,
      check=True,
    ).stdout
    for line in output.splitlines():
      module, *rest = json.loads(line)
      found[module] = rest
  return found


@pytest.mark.parametrize('module', filter(forbidden_to, modules()))
def test_a_module_loads_no_higher_floor(module, loaded):
  assert loaded[module] == [[], '']


def test_only_learners_and_adapters_name_a_framework():
  root = pathlib.Path(dopamine.__path__[0])
  for path in root.rglob('*.py'):
    is_flax = path.name.startswith('flax_')
    if path.name == 'old_writers.py':  # Programs that write by TensorFlow.
      continue
    if is_flax or path.parent.name in ('learners', 'functional'):
      continue
    for line in path.read_text().splitlines():
      words = line.split()
      if words[:1] in (['import'], ['from']):
        assert words[1].split('.')[0] not in FRAMEWORKS, f'{path}: {line}'


def test_learners_know_nothing_of_agents():
  root = pathlib.Path(dopamine.__path__[0]) / 'learners'
  for path in root.rglob('*.py'):
    for line in path.read_text().splitlines():
      if line.strip().startswith('from dopamine'):
        words = line.split()
        is_inside = words[1] == 'dopamine.learners'
        is_below = words[-1] in ('backend', 'errors', 'learners')
        assert is_inside or is_below, f'{path}: {line}'
