"""A histogram for each action."""

import gin
import numpy as np

from dopamine.utils import figures


@gin.configurable
class BarPlotter(figures.FigurePlotter):
  """Draws the `[actions, bins]` that the parameter `get_bar_data_fn` returns.

  Optional parameters: `xlabel`, `ylabel`, `title`, `legend`.
  """

  _data_parameter = 'get_bar_data_fn'
  _defaults = figures.DEFAULTS

  def draw(self):
    self._setup_plot()
    heights = np.asarray(self.parameters['get_bar_data_fn']())
    num_actions, num_bins = heights.shape
    width = 1 / num_actions
    for a in range(num_actions):
      self.plot.bar(
        np.arange(num_bins) + a * width,
        heights[a],
        width,
        align='edge',
        color=self._color(a),
      )
    return self._image()
