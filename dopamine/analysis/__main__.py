r"""Compares runs: `python -m dopamine.analysis RUNS... --output=report`.

    python -m dopamine.analysis runs --output=report
    python -m dopamine.analysis runs/dqn_Pong runs/c51_Pong --output=report
    python -m dopamine.analysis 'old DQN/Pong=/data/run1' --output=report

RUNS are folders of runs, or folders above them, and the published curves of
Dopamine (`baselines/data`, or single files of it). AGENT=PATH and
AGENT/TASK=PATH say what a run is where its folder does not.
"""

from collections.abc import Sequence
import csv
import os
from typing import Any

from absl import flags

from dopamine import command_line
from dopamine.analysis import comparing
from dopamine.analysis import published
from dopamine.analysis import runs as runs_lib
from dopamine.analysis import writer
from dopamine.settings import errors

_DEFAULTS = comparing.Settings()
_MOST = 12  # Comparisons that are printed whole; files have all.


def define_flags() -> None:
  """Defines those of this command."""
  flags.DEFINE_string(
    'output', None, 'The folder that the report is written to.'
  )
  flags.DEFINE_enum(
    *('phase', _DEFAULTS.phase, ['train', 'eval']),
    'Of which the returns are compared.',
  )
  flags.DEFINE_integer(
    *('last', _DEFAULTS.last),
    'The score of a run is the mean over so many iterations.',
    lower_bound=1,
  )
  flags.DEFINE_float('coverage', _DEFAULTS.coverage, 'Of the intervals.')
  flags.DEFINE_integer(
    'repetitions', _DEFAULTS.repetitions, 'Of the bootstrap.', lower_bound=1
  )
  flags.DEFINE_integer(
    *('seed', _DEFAULTS.seed), 'Of the bootstrap.', lower_bound=0
  )
  flags.DEFINE_string(
    *('scale', None),
    'A CSV file with the columns task, low and high: what is 0 and 1 on tasks '
    'that have no human score.',
  )
  flags.DEFINE_string(
    *('source', None),
    'A set of published returns in place of the nearest: '
    f'{", ".join(sorted({source for source, _ in published.TWINS}))}.',
  )


def main(argv: Sequence[str]) -> None:
  """Writes what the flags and words name; a mistake ends with a paragraph."""
  command_line.carry_out(argv[:1], lambda: _compare(argv[1:]))


def _compare(words: Sequence[str]) -> None:
  output = command_line.require('output', 'report')
  if not words:
    raise errors.SettingError(
      'there is nothing to compare: give the folders of runs, for example '
      'python -m dopamine.analysis runs --output=report'
    )
  values = flags.FLAGS
  settings: dict[str, Any] = {
    name: values[name].value
    for name in ('phase', 'last', 'coverage', 'repetitions', 'seed', 'source')
  }
  settings['scale'] = _read_scale(values.scale) if values.scale else {}
  runs = runs_lib.read_runs(words, values.phase, min(8, os.cpu_count() or 1))
  made = writer.report(runs, None, **settings)
  folder = os.path.expanduser(output)
  page = writer.write(made, folder)
  for remark in made.remarks:
    print(remark)
  is_long = len(made.comparisons) > _MOST
  for comparison in made.comparisons:
    print('\n'.join(comparison.sentences()[: 1 if is_long else None]))
  for refusal in made.refusals:
    print(refusal)
  print(f'{page}: {len(made.runs)} runs of {"; ".join(made.agents)}')


def _read_scale(path: str) -> dict[str, tuple[float, float]]:
  """What `--scale` names."""
  try:
    with open(os.path.expanduser(path), encoding='utf-8', newline='') as file:
      rows = list(csv.DictReader(file))
    return {r['task']: (float(r['low']), float(r['high'])) for r in rows}
  except (OSError, KeyError, TypeError, ValueError) as error:
    raise errors.SettingError(
      f'--scale={path} is no CSV file with the columns task, low and high '
      f'({error!r})'
    ) from error


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
