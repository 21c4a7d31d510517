"""Makes README.md what an index page shows; the rest is in pyproject.toml.

There, a link to a file of this project leads nowhere. It gets the address of
the project before it, or, as long as there is none, becomes the file's name.
"""

import pathlib
import re
import tomllib

import setuptools

ROOT = pathlib.Path(__file__).parent


def long_description() -> str:
  """The text of README.md, with absolute links or none."""
  project = tomllib.loads((ROOT / 'pyproject.toml').read_text('utf-8'))
  source = project['project']['urls'].get('Source')

  def absolute(link: re.Match) -> str:
    text, path = link.groups()
    if source:
      return f'[{text}]({source.rstrip("/")}/blob/HEAD/{path})'
    path = path.split('#')[0]
    return f'`{path}`' if text == path else f'{text} (`{path}`)'

  # Those that have no scheme, and are no heading of the page itself.
  links = r'\[([^\]]+)\]\((?![a-z]+:|#)([^)]+)\)'
  return re.sub(links, absolute, (ROOT / 'README.md').read_text('utf-8'))


setuptools.setup(
  long_description=long_description(),
  long_description_content_type='text/markdown',
)
