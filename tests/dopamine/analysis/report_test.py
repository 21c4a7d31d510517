"""A report from the numbers to the files."""

import csv
import html.parser
import json
import re
import subprocess
import sys

from matplotlib import image
import numpy as np
from numpy.testing import assert_allclose
import pytest

from dopamine import analysis
from tests.support import run_folders

pytestmark = pytest.mark.no_backend

write_run = run_folders.write_run
RNG = np.random.default_rng(5)
SCORES = {
  'A & B_1 <b></script>': RNG.gamma(2, 0.5, size=(5, 4)),
  'other': RNG.gamma(3, 0.5, size=(3, 4)),
}


def few(**kwargs):
  return {'repetitions': 50} | kwargs


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Two agents on three tasks, one of which has no human score."""
  root = tmp_path_factory.mktemp('runs')
  rng = np.random.default_rng(0)
  for agent, level in (('dqn', 10.0), ('quantile', 30.0)):
    for task in ('Breakout', 'Pong', 'Pooyan'):
      for seed in range(3):
        returns = [level * (i + 1) / 6 + rng.normal() for i in range(6)]
        path = root / f'{agent}_{task}_{seed}'
        write_run(path, returns, agent_name=agent, task=task, seed=seed)
  return root


@pytest.fixture(scope='module')
def made(folder, tmp_path_factory):
  output = tmp_path_factory.mktemp('report') / 'new'
  runs = analysis.read_runs(str(folder))
  return analysis.report(runs, output, **few()), output


# The numbers ------------------------------------------------------------------


def test_a_score_is_the_mean_of_the_last_iterations(folder):
  runs = analysis.read_runs(str(folder))
  report = analysis.report(runs, last=2, **few())
  row = next(r for r in report.table if (r.agent, r.task) == ('DQN', 'Pong'))
  of_row = [r for r in runs if (r.agent, r.task) == ('DQN', 'Pong')]
  assert_allclose(row.scores, [r.train[-2:].mean() for r in of_row])
  assert row.agent_steps == 1_500_000
  assert_allclose(row.mean.value, row.scores.mean())


def test_aggregates_are_of_games_with_a_human_score(made):
  report, _ = made
  assert report.games == ('Breakout', 'Pong')
  assert report.improvement_games == ('Breakout', 'Pong', 'Pooyan')
  assert any('Pooyan' in r and 'human' in r for r in report.remarks)
  rows = {(r.agent, r.task): r.scores for r in report.table}
  # Breakout: random 1.7, human 30.5; Pong: -20.7 and 14.6.
  expected = np.stack(
    [
      (rows['DQN', 'Breakout'] - 1.7) / 28.8,
      (rows['DQN', 'Pong'] + 20.7) / 35.3,
    ],
    axis=1,
  )
  assert_allclose(report.scores['DQN'], expected)
  mean = report.aggregates['DQN']['Mean']
  assert_allclose(mean.value, expected.mean())


def test_sample_efficiency_ends_at_the_last_iteration(made):
  report, _ = made
  runs = [r for r in report.runs if r.agent == 'QR-DQN' and r.task != 'Pooyan']
  scaled = {'Breakout': (1.7, 28.8), 'Pong': (-20.7, 35.3)}
  last = [(r.train[-1] - scaled[r.task][0]) / scaled[r.task][1] for r in runs]
  middle = np.sort(last)[1:-1]  # Of six, a quarter is one at each end.
  assert_allclose(report.efficiency['QR-DQN'].value[-1], middle.mean())
  assert report.efficiency_steps[0] == 250_000
  assert report.efficiency_steps[-1] == 1_500_000


def test_a_scale_of_ones_own_makes_tasks_comparable(tmp_path):
  for agent in ('dqn', 'rainbow'):
    for task, value in (('CartPole', 100.0), ('Acrobot', -250.0)):
      kwargs = {'agent_name': agent, 'task': task, 'config': run_folders.GYM}
      write_run(tmp_path / f'{agent}_{task}', [value], **kwargs)
  runs = analysis.read_runs(str(tmp_path))
  report = analysis.report(runs, **few())
  assert not report.aggregates and report.improvement
  assert any('no common scale' in remark for remark in report.remarks)
  scale = {'CartPole-v0': (0, 200), 'Acrobot-v0': (-500, 0)}
  report = analysis.report(runs, scale=scale, **few())
  with pytest.raises(
    ValueError, match='has CartPole, of which .* Acrobot-v0, C'
  ):
    analysis.report(runs, scale={'CartPole': (0, 200)}, **few())
  assert_allclose(report.scores['DQN'], [[0.5, 0.5]])


def test_one_task_is_its_own_scale(tmp_path):
  for seed in range(2):
    kwargs = {'task': 'CartPole', 'config': run_folders.GYM, 'seed': seed}
    write_run(tmp_path / f'{seed}', [50.0 * seed], **kwargs)
  report = analysis.report(analysis.read_runs(str(tmp_path)), **few())
  assert report.scale == 'returns on CartPole-v0'
  assert_allclose(report.scores['DQN'][:, 0], [0, 50])


def test_runs_whose_last_episodes_differ_have_come_as_far(tmp_path):
  write_run(tmp_path / 'a', [1.0, 2.0], steps=600)
  write_run(tmp_path / 'b', [1.0, 2.0], steps=750, agent_name='rainbow')
  report = analysis.report(analysis.read_runs(str(tmp_path)), **few())
  assert len(report.remarks) == 1  # Of few runs.


def test_agents_are_compared_as_far_as_all_have_come(tmp_path):
  write_run(tmp_path / 'short', [1.0, 2.0], agent_name='rainbow')
  write_run(tmp_path / 'long', [1.0, 2.0, 300.0, 400.0])
  runs = analysis.read_runs(str(tmp_path))
  report = analysis.report(runs, last=1, **few())
  assert [row.mean.value for row in report.table] == [2, 2]
  (remark,) = [r for r in report.remarks if 'short has no more' in r]
  assert 'Pong is compared after 500,000 agent steps' in remark
  assert [len(c.agent_steps) for c in report.curves] == [4, 2]


def test_a_task_that_not_all_agents_have_is_in_no_aggregate(tmp_path):
  write_run(tmp_path / 'a', [1.0])
  write_run(tmp_path / 'b', [1.0], task='Qbert')
  write_run(tmp_path / 'c', [1.0], agent_name='rainbow')
  report = analysis.report(analysis.read_runs(str(tmp_path)), **few())
  assert report.games == ('Pong',)
  assert any('not all agents have Qbert' in r for r in report.remarks)
  assert len(report.table) == 3


def test_an_agent_with_more_runs_of_a_task_says_which_count(tmp_path):
  for name, task in (('a', 'Pong'), ('b', 'Pong'), ('c', 'Qbert')):
    write_run(tmp_path / name, [1.0], task=task, seed=ord(name))
  report = analysis.report(analysis.read_runs(str(tmp_path)), **few())
  assert report.scores['DQN'].shape == (1, 2)
  assert any(
    'DQN has 1 runs on some tasks, more on Pong' in r for r in report.remarks
  )


def test_the_score_is_of_as_many_steps_where_iterations_differ(tmp_path):
  """The same line, of 1 for 250,000 agent steps, in long and short pieces."""
  for name, steps, count in (('a', 250_000, 40), ('b', 1_000_000, 10)):
    middles = (np.arange(count) + 0.5) * steps / 250_000
    more = f'MyAgent.name = {name!r}\n'
    write_run(tmp_path / name, middles.tolist(), steps=steps, more=more)
  report = analysis.report(analysis.read_runs(str(tmp_path)), last=5, **few())
  # The last 5 of 10 million agent steps: 20 to 40, on average 30.
  assert_allclose([row.mean.value for row in report.table], [30, 30])


def test_a_run_that_fell_behind_holds_nobody_up(tmp_path):
  for seed in range(3):
    write_run(tmp_path / f'{seed}', [1.0] * (2 if seed else 50), seed=seed)
  (tmp_path / 'c').mkdir()
  write_run(tmp_path / 'c/3', [1.0] * 40, seed=3)
  report = analysis.report(analysis.read_runs(str(tmp_path)), **few())
  assert len(report.runs) == 2 and report.table[0].agent_steps == 10_000_000
  (remark,) = [r for r in report.remarks if r.startswith('LEFT OUT')]
  assert '/1;' in remark and '/2' in remark


def test_a_task_with_few_runs_leaves_the_others_their_intervals(tmp_path):
  for seed in range(5):
    write_run(tmp_path / f'p{seed}', [float(seed)], seed=seed)
  write_run(tmp_path / 'q', [1.0], task='Qbert')
  report = analysis.report(analysis.read_runs(str(tmp_path)), **few())
  assert report.scores['DQN'].shape == (5, 1)
  assert any(
    r.startswith('LEFT OUT of all') and 'Qbert' in r for r in report.remarks
  )


def test_returns_have_no_optimality_gap(tmp_path):
  write_run(tmp_path / 'a', [3.0], config=run_folders.GYM, task='CartPole')
  report = analysis.report(
    analysis.read_runs(str(tmp_path)), tmp_path / 'report', **few()
  )
  assert list(report.aggregates['DQN']) == ['Median', 'IQM', 'Mean']


@pytest.mark.parametrize(
  'runs, loud', [(1, 'ONE RUN'), (4, 'FEW RUNS'), (5, '')]
)
def test_few_seeds_are_said_out_loud(runs, loud):
  scores = {'A': RNG.uniform(size=(runs, 3)), 'B': RNG.uniform(size=(9, 3))}
  report = analysis.report(scores, **few())
  assert bool(report.remarks) == bool(loud)
  if loud:
    assert report.remarks[0].startswith(loud)
    assert re.search(r'\bA\b', report.remarks[0])
    assert not re.search(r'\bB\b', report.remarks[0])
  is_known = np.isfinite(report.aggregates['A']['IQM'].low)
  assert is_known == (runs > 1)


def test_two_runs_of_one_seed_are_no_two_samples(tmp_path):
  for name in 'ab':
    write_run(tmp_path / name, [1.0], seed=4)
  report = analysis.report(analysis.read_runs(str(tmp_path)), **few())
  assert any('several runs of seed 4' in r for r in report.remarks)


def test_a_run_without_any_return_is_left_out_and_named(tmp_path):
  write_run(tmp_path / 'good', [1.0])
  write_run(tmp_path / 'bad', [None])
  runs = analysis.read_runs(str(tmp_path))
  report = analysis.report(runs, **few())
  assert len(report.runs) == 1
  assert any('left out' in r and '/bad' in r for r in report.remarks)
  with pytest.raises(ValueError, match='no run has a return of the eval phase'):
    analysis.report(runs, phase='eval')


@pytest.mark.parametrize(
  'scores, kwargs, message',
  [
    ({}, {}, 'no scores'),
    ({'A': np.ones((2, 3)), 'B': np.ones((2, 2))}, {}, 'different numbers of'),
    ({'A': np.ones((1, 2, 3))}, {}, r'shape \(1, 2, 3\)'),
    ({'A': np.full((2, 2), np.nan)}, {}, r"scores\['A'\] has nan"),
    ({'A': np.ones((2, 3))}, {'games': ['a']}, '1 names for 3 games'),
    ({'A': np.ones((2, 3))}, {'coverage': 95}, 'coverage=95'),
    ({'A': np.ones((2, 3))}, {'last': 0}, 'last=0'),
    ({'A': np.ones((2, 3))}, {'phase': 'test'}, "phase='test'"),
    ({'A': np.ones((2, 3))}, {'scale': {'x': (1, 1)}}, 'scale of x'),
    ({'A': np.ones((2, 3))}, {'source': 'foo'}, "source='foo'"),
  ],
)
def test_what_cannot_be_compared_is_refused(scores, kwargs, message):
  with pytest.raises(ValueError, match=message):
    analysis.report(scores, **kwargs)


# The files --------------------------------------------------------------------


def test_the_same_seed_gives_the_same_report(folder, made, tmp_path):
  _, output = made
  again = tmp_path / 'again'
  analysis.report(analysis.read_runs(str(folder)), again, **few())
  names = sorted(path.name for path in output.iterdir())
  assert names == sorted(path.name for path in again.iterdir())
  for name in names:
    assert (output / name).read_bytes() == (again / name).read_bytes(), name
  other = analysis.report(analysis.read_runs(str(folder)), seed=1, **few())
  assert other.aggregates['DQN']['Mean'] != made[0].aggregates['DQN']['Mean']


def test_all_files_are_there(made):
  _, output = made
  figures = {
    *('curves', 'aggregates', 'profiles', 'improvement', 'efficiency'),
    'published_band',
  }
  pictures = {f'{f}.{kind}' for f in figures for kind in ('png', 'pdf')}
  numbers = {f'{name}.csv' for name in (figures | {'runs', 'scores', 'table'})}
  texts = {'index.html', 'report.json', 'tables.md', 'tables.tex'}
  assert {p.name for p in output.iterdir()} == pictures | numbers | texts
  for name in figures:
    pixels = image.imread(output / f'{name}.png')
    assert pixels.std() > 0.02, name  # Something is drawn.
    assert (output / f'{name}.pdf').read_bytes().startswith(b'%PDF')


def test_the_numbers_of_csv_and_json_are_those_of_the_report(made):
  report, output = made
  found = json.loads((output / 'report.json').read_text())
  with open(output / 'aggregates.csv') as file:
    rows = list(csv.DictReader(file))
  assert len(rows) == 8
  for row, of_json in zip(rows, found['aggregates'], strict=True):
    interval = report.aggregates[row['agent']][row['aggregate']]
    figures = [float(row[key]) for key in ('value', 'low', 'high')]
    assert figures == [*map(float, interval)]
    assert figures == [of_json[key] for key in ('value', 'low', 'high')]
  assert found['remarks'] == list(report.remarks)
  assert len(found['curves']) == 2 * 3 * 6
  assert len(found['runs']) == 18


def test_nothing_stays_of_another_report(tmp_path):
  analysis.report(SCORES, tmp_path, **few())
  (tmp_path / 'notes.txt').write_text('mine')
  assert (tmp_path / 'improvement.csv').exists()
  analysis.report({'A': np.ones((3, 2))}, tmp_path, **few())
  left = {path.name for path in tmp_path.iterdir()}
  assert not {n for n in left if n.startswith(('improvement', 'curves'))}
  assert 'notes.txt' in left


def test_unknown_figures_are_empty(tmp_path):
  analysis.report({'A': np.ones((1, 2))}, tmp_path, **few())
  with open(tmp_path / 'aggregates.csv') as file:
    assert next(csv.DictReader(file))['low'] == ''
  found = json.loads((tmp_path / 'report.json').read_text())
  assert found['aggregates'][0]['low'] is None


@pytest.fixture(scope='module')
def strange(tmp_path_factory):
  """Of names that mean something to HTML, LaTeX and Markdown."""
  output = tmp_path_factory.mktemp('strange')
  games = ['</script>', 'a|b', '50% #1', 'x_y^2']
  analysis.report(SCORES, output, games=games, **few())
  return output


def test_latex_is_escaped(strange):
  text = (strange / 'tables.tex').read_text()
  assert r'A \& B\_1 $<$b$>$' in text and r'50\% \#1' in text
  assert text.count(r'\begin{tabular}') == text.count(r'\bottomrule') == 3
  rows = [line for line in text.splitlines() if line.endswith(r'\\')]
  columns = {len(re.findall(r'(?<!\\)&', row)) for row in rows}
  assert columns == {4, 2}


def test_markdown_tables_have_as_many_cells_in_each_row(strange):
  text = (strange / 'tables.md').read_text()
  for table in re.findall(r'(?:^\|.*\n)+', text, re.MULTILINE):
    rows = table.splitlines()
    counts = {len(re.findall(r'(?<!\\)\|', row)) for row in rows}
    assert len(counts) == 1, table


class Page(html.parser.HTMLParser):
  """Collects what a page would load, its places for figures, and its data."""

  def __init__(self, text):
    super().__init__()
    self.loads, self.places, self.scripts, self.tags = [], [], [], []
    self.feed(text)
    self.close()

  def handle_starttag(self, tag, attrs):
    attrs = dict(attrs)
    self.tags.append(tag)
    self.loads += [attrs[k] for k in ('src', 'href') if k in attrs]
    if 'data-figure' in attrs:
      self.places.append(attrs['data-figure'])
    if tag == 'script':
      self.scripts.append('')

  def handle_endtag(self, tag):
    self.tags.append(f'/{tag}')

  def handle_data(self, data):
    if self.scripts and self.tags[-1] == 'script':
      self.scripts[-1] += data


@pytest.mark.parametrize('which', ['made', 'strange'])
def test_the_page_needs_nothing_and_has_its_figures(which, request):
  found = request.getfixturevalue(which)
  output = found[1] if which == 'made' else found
  text = (output / 'index.html').read_text()
  page = Page(text)
  assert page.loads == ['data:,']  # An icon, or the browser asks for one.
  assert not re.findall(r'url\((?!data:)', text.partition('<script')[0])
  assert len(page.scripts) == 3 and 'plotly.js v' in page.scripts[1][:300]
  data = json.loads(page.scripts[0])
  assert sorted(data['figures']) == sorted(page.places)
  assert len(set(page.places)) == len(page.places)
  assert 'b' not in page.tags  # Of the agent's name.


def test_the_page_has_the_curves(made):
  report, output = made
  data = json.loads(Page((output / 'index.html').read_text()).scripts[0])
  figure = data['figures']['curves Pong']
  assert len(figure['series']) == 2
  curve = next(
    c for c in report.curves if (c.agent, c.task) == ('QR-DQN', 'Pong')
  )
  of_page = figure['series'][1]
  assert data['agents'][of_page['agent']]['name'] == 'QR-DQN'
  assert_allclose(of_page['y'], curve.returns.value, rtol=1e-5)
  assert_allclose(of_page['low'], curve.returns.low, rtol=1e-5)
  assert len(data['figures']['band DQN Breakout']['at']) == 5


def test_a_map_is_drawn_of_many_bands(tmp_path):
  for i, task in enumerate(list(analysis.published.games())[:14]):
    write_run(tmp_path / f'{task}', [float(i)], task=task)
  runs = analysis.read_runs(str(tmp_path))
  analysis.report(runs, tmp_path / 'report', **few())
  pixels = image.imread(tmp_path / 'report' / 'published_band.png')
  assert pixels.std() > 0.05


def test_a_folder_that_is_a_file_is_refused(tmp_path):
  (tmp_path / 'report').write_text('mine')
  with pytest.raises(ValueError, match='report is a file'):
    analysis.report(SCORES, tmp_path / 'report', **few())
  assert (tmp_path / 'report').read_text() == 'mine'


def test_curves_are_drawn_of_runs(folder):
  runs = analysis.read_runs(str(folder))
  figure = analysis.plot_curves(runs)
  assert [axis.get_title() for axis in figure.axes] == [
    'Breakout',
    'Pong',
    'Pooyan',
  ]
  line = figure.axes[0].lines[1]
  of_panel = [
    r.train for r in runs if (r.agent, r.task) == ('QR-DQN', 'Breakout')
  ]
  assert_allclose(line.get_ydata(), np.mean(of_panel, axis=0))
  with pytest.raises(ValueError, match='no run to draw'):
    analysis.plot_curves([])


@pytest.mark.parametrize('package', ['scipy', 'plotly', 'matplotlib'])
def test_what_is_not_installed_is_named(package, monkeypatch, tmp_path):
  for name in [package, *sys.modules]:
    if name.partition('.')[0] == package:
      monkeypatch.setitem(sys.modules, name, None)
  with pytest.raises(ImportError, match=rf'{package}, which .*\[viz\]'):
    analysis.report(SCORES, tmp_path, **few())


# The command ------------------------------------------------------------------


def run_command(*words):
  return subprocess.run(
    [sys.executable, '-m', 'dopamine.analysis', *words],
    capture_output=True,
    text=True,
  )


def test_the_command_writes_what_python_does(folder, made, tmp_path):
  report, output = made
  result = run_command(
    *(str(folder), f'--output={tmp_path}/r', '--repetitions=50')
  )
  assert result.returncode == 0, result.stderr
  assert (tmp_path / 'r/index.html').read_bytes() == (
    output / 'index.html'
  ).read_bytes()
  lines = result.stdout.splitlines()
  for comparison in report.comparisons:
    assert comparison.sentences()[0] in lines
  assert lines[: len(report.remarks)] == list(report.remarks)
  assert lines[-1] == f'{tmp_path}/r/index.html: 18 runs of DQN; QR-DQN'


@pytest.mark.parametrize(
  'words, message',
  [
    (['--output=/tmp/none'], 'nothing to compare'),
    (['runs'], '--output is missing'),
    (['/none', '--output=x'], 'there is no /none'),
  ],
)
def test_a_mistake_ends_with_a_paragraph(words, message):
  result = run_command(*words)
  assert result.returncode == 1
  assert result.stderr.startswith('\nError: ') and message in result.stderr


def test_a_scale_is_read_of_a_file(tmp_path):
  from dopamine.analysis import __main__ as command

  path = tmp_path / 'scale.csv'
  path.write_text('task,low,high\nCartPole-v0,0,200\n')
  assert command._read_scale(str(path)) == {'CartPole-v0': (0, 200)}
  path.write_text('task,min,max\nCartPole-v0,0,200\n')
  with pytest.raises(ValueError, match='columns task, low and high'):
    command._read_scale(str(path))
