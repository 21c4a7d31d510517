"""What tests share is in `tests/support`: no test module needs another."""

import ast
from importlib import util
import pathlib
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.no_backend

TESTS = pathlib.Path(__file__).parent


def modules():
  """`{name: path}` of all below `tests`."""
  return {
    '.'.join(path.relative_to(TESTS.parent).with_suffix('').parts): path
    for path in TESTS.rglob('*.py')
  }


def imported(program, package):
  """The test modules that a program names, in those that it starts too."""
  found = set()
  for node in ast.walk(ast.parse(program)):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      module = util.resolve_name(
        '.' * node.level + (node.module or ''), package
      )
      found |= {module} | {f'{module}.{alias.name}' for alias in node.names}
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
      found |= set(re.findall(r'\btests(?:\.\w+)+', node.value))
      if 'import' in node.value:
        try:
          found |= imported(node.value, package)
        except SyntaxError:
          pass  # It is prose.
  return {name for name in found if name.endswith('_test')}


def test_no_module_imports_another_that_is_a_test():
  for name, path in modules().items():
    others = imported(path.read_text(), name.rpartition('.')[0]) - {name}
    assert not others, f'{name} imports {others}'


@pytest.mark.parametrize(
  'program',
  [
    'import tests.imports_test',
    'from tests import imports_test',
    'from tests.imports_test import Case',
    'def f():\n  from . import imports_test',
    'from .imports_test import Case',
    'code = """\nfrom tests import imports_test\n"""',
    "command = [sys.executable, '-m', 'tests.imports_test']",
  ],
)
def test_an_import_of_a_test_is_seen(program):
  assert imported(program, 'tests') == {'tests.imports_test'}


# Whose agents are Keras's, although what they test is the same under each.
OF_ANY_BACKEND = {
  'agents.broken_agents_test',
  'compat.gin_paths_test',
  'damaged_files_test',
  'discrete_domains.kill_test',
  'discrete_domains.notebook_test',
  'discrete_domains.wrong_bindings_test',
}


def test_what_needs_no_backend_loads_none():
  texts = {name: path.read_text() for name, path in modules().items()}
  whole = re.compile(r'^pytestmark = .*\bno_backend\b', re.MULTILINE)
  marked = [name for name, text in texts.items() if whole.search(text)]
  others = {f'tests.dopamine.{name}' for name in OF_ANY_BACKEND}
  assert len(marked) > 10 and set(marked) > others
  marked = sorted(set(marked) - others)
  code = f'import sys, {", ".join(marked)}\nprint("keras" in sys.modules)'
  result = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert result.stdout == 'False\n'
