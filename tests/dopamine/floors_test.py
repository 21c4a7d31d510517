"""The house has four floors, and imports only go down."""

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
  ('dopamine.backend', FRAMEWORKS | {'keras'}),
  ('dopamine.settings', FRAMEWORKS | {'keras'}),
  ('dopamine.compat', FRAMEWORKS | {'keras'}),
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


@pytest.mark.parametrize(
  'module', [m for m in modules() if any(m.startswith(p) for p, _ in FORBIDDEN)]
)
def test_a_module_loads_no_higher_floor(module):
  forbidden = next(f for p, f in FORBIDDEN if module.startswith(p))
  code = (
    f'import sys, {module}\n'
    f'print(*[m for m in {sorted(forbidden)} if m in sys.modules])'
  )
  environment = os.environ | {'KERAS_BACKEND': 'jax'}
  result = subprocess.run(
    [sys.executable, '-c', code],
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  assert result.stdout.split() == []


def test_only_learners_and_adapters_name_a_framework():
  root = pathlib.Path(dopamine.__path__[0])
  for path in root.rglob('*.py'):
    if path.parent.name in ('learners', 'jax'):
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
        assert words[-1] in ('backend', 'errors', 'learners'), f'{path}: {line}'
