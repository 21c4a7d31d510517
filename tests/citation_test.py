"""`CITATION.cff` fits the project; `cffconvert --validate` knows its schema."""

import pathlib
import tomllib

import pytest

pytestmark = pytest.mark.no_backend

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope='module')
def citation():
  yaml = pytest.importorskip('yaml')
  return yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))


def test_it_has_what_the_format_requires(citation):
  required = {'cff-version', 'message', 'title', 'authors'}
  assert required <= citation.keys()
  assert citation['cff-version'] == '1.2.0'  # A text, not a number.
  assert all(author.keys() == {'name'} for author in citation['authors'])


def test_it_is_of_this_version(citation):
  project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
  for key in ('version', 'license', 'keywords'):
    assert citation[key] == project[key], key


def test_the_paper_is_among_its_references(citation):
  (paper,) = citation['references']
  project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
  assert paper['url'] == project['urls']['Paper: Dopamine']
  assert paper['doi'].endswith(paper['url'].rpartition('/')[2])
  names = [author['family-names'] for author in paper['authors']]
  assert names == ['Castro', 'Moitra', 'Gelada', 'Kumar', 'Bellemare']
  assert paper['year'] == 2018 and paper['title'].startswith('Dopamine: ')
