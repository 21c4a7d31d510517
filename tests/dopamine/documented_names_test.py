"""What the documents name is there, under the name that they give it."""

import importlib
import os
import pathlib
import re

import pytest

from dopamine.compat import old_modules

ROOT = pathlib.Path(__file__).parents[2]
PATTERN = re.compile(r'(?<![\w./])dopamine(?:\.[A-Za-z_]\w*)+')


def names():
  texts = [
    path.read_text(encoding='utf-8')
    for pattern in ('*.md', 'docs/*.md', 'docs/algorithms/*.md', 'examples/*')
    for path in ROOT.glob(pattern)
    if path.is_file() and path.suffix in ('.md', '.py', '.gin')
  ]
  found = {match[0] for text in texts for match in PATTERN.finditer(text)}
  for text in texts:
    for module, name in re.findall(
      r'^ *from (dopamine[\w.]*) import (\w+)', text, re.MULTILINE
    ):
      found.add(f'{module}.{name}')
  assert len(found) > 15
  return sorted(found)


def resolve(name):
  """The module of that name, or what is in one."""
  try:
    return importlib.import_module(name)
  except old_modules.GoneError:  # With what to do instead.
    return None
  except ModuleNotFoundError as error:
    if 'docs/migrating.md' in str(error):  # It was: that says what to do.
      return None
    if error.name != name or '.' not in name:
      raise
  owner, _, attribute = name.rpartition('.')
  return getattr(resolve(owner), attribute)


@pytest.mark.parametrize('name', names())
def test_what_documents_name_is_there(name):
  if name.startswith('dopamine.jax') and os.environ['KERAS_BACKEND'] != 'jax':
    pytest.skip('needs the JAX backend')
  resolve(name)
