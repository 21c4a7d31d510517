"""Compares runs: reports with intervals, and the published band.

    python -m dopamine.analysis RUNS... --output report/

and from Python

    runs = analysis.read_runs(['runs/dqn_Pong', 'runs/c51_Pong'])
    report = analysis.report(runs, 'report')
    analysis.report({'A': scores_a, 'B': scores_b}, 'report')  # [runs, games]

Needs matplotlib, pandas, plotly and scipy, of the extra [viz].
"""

from dopamine.analysis.comparing import Report
from dopamine.analysis.figures import plot_curves
from dopamine.analysis.published import compare_returns
from dopamine.analysis.published import human_normalized
from dopamine.analysis.published import published_band
from dopamine.analysis.runs import Run
from dopamine.analysis.runs import curves
from dopamine.analysis.runs import read_runs
from dopamine.analysis.statistics import interval
from dopamine.analysis.statistics import performance_profile
from dopamine.analysis.statistics import probability_of_improvement
from dopamine.analysis.twins import compare_with_published
from dopamine.analysis.writer import report

__all__ = [
  'Report',
  'Run',
  'compare_returns',
  'compare_with_published',
  'curves',
  'human_normalized',
  'interval',
  'performance_profile',
  'plot_curves',
  'probability_of_improvement',
  'published_band',
  'read_runs',
  'report',
]
