"""Writes what the site is built of: `python docs/pages.py build/pages`.

The pages are those of the repository, where links lead to files. On the site
the README is the first page, a file outside of docs/ that a page links to has a
page of its own, a notebook is text and code, and a page of the reference names
the modules that mkdocstrings reads. So mkdocs.yml needs no hook, and whatever
reads it and builds from Markdown will do.
"""

import os
import pathlib
import posixpath
import re
import shutil
import sys

ROOT = pathlib.Path(__file__).parents[1]
MOVED = {
  'README.md': 'index.md',
  'CHANGELOG.md': 'changelog.md',
  'CONTRIBUTING.md': 'contributing.md',
}
LANGUAGES = {'.py': 'python', '.gin': 'python', '.yml': 'yaml'}
# The pages of the reference, and the modules of each.
REFERENCE = {
  'agents': """
    agents.dqn.dqn_agent agents.rainbow.rainbow_agent
    agents.quantile.quantile_agent
    agents.implicit_quantile.implicit_quantile_agent
    agents.full_rainbow.full_rainbow_agent agents.exploration
    agents.replay_agent agents.saving interfaces""",
  'jax_agents': """
    jax.agents.dqn.dqn_agent jax.agents.rainbow.rainbow_agent
    jax.agents.quantile.quantile_agent
    jax.agents.implicit_quantile.implicit_quantile_agent
    jax.agents.full_rainbow.full_rainbow_agent""",
  'replay': """
    replay_memory.circular_replay_buffer
    replay_memory.prioritized_replay_buffer replay_memory.sum_tree
    replay_memory.export""",
  'runs': """
    discrete_domains.run_experiment discrete_domains.agent_factory runs.trained
    discrete_domains.train discrete_domains.evaluate discrete_domains.watch""",
  'environments': 'discrete_domains.atari_lib discrete_domains.gym_lib',
  'networks': """
    networks.atari networks.vectors networks.distributional networks.rainbow
    networks.perceptron networks.fourier networks.parts networks.wrapped""",
  'losses': 'losses optimizers',
  'analysis': """
    analysis.writer analysis.comparing analysis.runs analysis.statistics
    analysis.published analysis.twins analysis.figures""",
  'utils': """
    colab.utils utils.agent_visualizer utils.atari_plotter utils.bar_plotter
    utils.line_plotter utils.plotter utils.example_viz_lib safe_pickle seeding
    storage""",
}
# Below pages with commands that tests/docs_test.py runs.
SHORTENED = """
??? note "The blocks marked *run* are run by a test"
    before what they say themselves, with

    ```python
    {}
    ```
"""
# A link's target, in Markdown or in HTML; and what is no text of a page.
LINK = re.compile(r'(\]\(|(?:src|href)=")([^)"\s]+)')
CODE = re.compile(r'(^```[\s\S]*?^```$|^(?:    .*\n)+|`[^`\n]+`)', re.MULTILINE)


class Site:
  """The pages that are written, and those that they ask for."""

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    self._wanted: list[pathlib.Path] = []

  def write(self) -> None:
    """Writes all pages, from nothing."""
    shutil.rmtree(self._folder, ignore_errors=True)
    self._wanted += [ROOT / name for name in (*MOVED, 'docs/site.css')]
    for kind in ('*.md', '*.ipynb'):
      self._wanted += sorted((ROOT / 'docs').rglob(kind))
    for path in self._wanted:  # Grows meanwhile.
      target = self._folder / place(path)
      target.parent.mkdir(parents=True, exist_ok=True)
      if target.suffix == '.md':
        target.write_text(self._page(path), encoding='utf-8')
      else:
        shutil.copyfile(path, target)
    for name, modules in REFERENCE.items():
      page = self._folder / 'reference' / f'{name}.md'
      page.parent.mkdir(exist_ok=True)
      page.write_text(reference(name, modules.split()), encoding='utf-8')

  def _page(self, path: pathlib.Path) -> str:
    if path.is_dir():
      text = '\n'.join(
        f'- [{child.name}]({child.name})'
        for child in sorted(path.iterdir())
        if child.suffix in ('.py', '.gin', '.md')
      )
      text = f'# {name_of(path)}\n\n{text}\n'
    elif path.suffix == '.ipynb':
      text = notebook(path, (self._folder / place(path)).parent)
    elif path.suffix == '.md':
      text = path.read_text('utf-8')
      if 'title="run"' in text:
        text += SHORTENED.format((ROOT / 'docs/shortened.gin').read_text())
    else:
      language = LANGUAGES.get(path.suffix, 'text')
      code = path.read_text('utf-8')
      return f'# {name_of(path)}\n\n````{language}\n{code}````\n'
    parts = CODE.split(text)  # Every second one is code.
    folder = path if path.is_dir() else path.parent
    parts[::2] = [self._lead(part, folder, place(path)) for part in parts[::2]]
    return ''.join(parts)

  def _lead(self, text: str, folder: pathlib.Path, page: str) -> str:
    """Text of a page whose links lead to places of the site."""

    def lead(link: re.Match) -> str:
      start, address = link.groups()
      name, mark, anchor = address.partition('#')
      picture = (self._folder / page).parent / name  # Of a notebook.
      if re.match('[a-z]+:', address) or not name or picture.is_file():
        return link[0]
      path = pathlib.Path(os.path.normpath(folder / name))
      if not path.exists():
        raise FileNotFoundError(f'{page} links to {address}, which is nowhere')
      if path not in self._wanted:
        self._wanted.append(path)
      to = posixpath.relpath(place(path), posixpath.dirname(page) or '.')
      return f'{start}{to}{mark}{anchor}'

    return LINK.sub(lead, text)


def name_of(path: pathlib.Path) -> str:
  """From the root of the repository."""
  return path.relative_to(ROOT).as_posix()


def place(path: pathlib.Path) -> str:
  """Where on the site a file of the repository is, or a page that shows it."""
  name = name_of(path)
  if name in MOVED:
    return MOVED[name]
  inside = name.removeprefix('docs/')
  if path.is_dir():
    return f'source/{name}/index.md'
  if inside == name:
    return f'source/{name}' if path.suffix == '.md' else f'source/{name}.md'
  if path.name == 'README.md':
    return inside.replace('README.md', 'index.md')
  return inside.replace('.ipynb', '.md')


def notebook(path: pathlib.Path, folder: pathlib.Path) -> str:
  """A notebook as Markdown; its pictures are put into the folder."""
  import nbconvert

  text, resources = nbconvert.MarkdownExporter().from_filename(
    str(path), resources={'unique_key': path.stem}
  )
  for name, picture in resources['outputs'].items():
    (folder / name).write_bytes(picture)
  # Tables of pandas look like those of the site, which may be scrolled.
  text = re.sub(r'<style scoped>.*?</style>\n', '', text, flags=re.DOTALL)
  text = text.replace('<table border="1" class="dataframe">', '<table>')
  title, rest = text.split('\n', 1)
  return f'{title}\n\nThis is the notebook `{name_of(path)}`.\n{rest}'


def reference(name: str, modules: list[str]) -> str:
  """A page that mkdocstrings fills."""
  title = {'jax_agents': 'JAX agents', 'runs': 'Runs'}.get(
    name, name.capitalize()
  )
  body = '\n\n'.join(
    f'::: dopamine.{module}\n    options: {{filters: ["{shown()}"]}}'
    for module in modules
  )
  return f'# {title}\n\n{body}\n'


def shown() -> str:
  """What mkdocstrings leaves out: what is private, but for an agent's hooks."""
  text = (ROOT / 'docs/extending.md').read_text('utf-8')
  table = text.partition('### The hooks')[2].partition('\n\n`batch`')[0]
  hooks = re.findall(r'`_(\w+)\(', table)
  return f'!^_(?!(?:{"|".join(hooks)})$)'


if __name__ == '__main__':
  Site(ROOT / sys.argv[1]).write()
