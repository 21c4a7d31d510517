"""Lines that grow as an agent plays."""

import gin

from dopamine.utils import figures


@gin.configurable
class LinePlotter(figures.FigurePlotter):
  """Draws the lists that the parameter `get_line_data_fn` returns.

  Of longer ones the last `max_width` values. Optional parameters: `xlabel`,
  `ylabel`, `title`, `legend`.
  """

  _data_parameter = 'get_line_data_fn'
  _defaults = {
    **figures.DEFAULTS,
    'max_width': 500,
    'linewidth': 5,
  }

  def draw(self):
    self._setup_plot()
    width = self.parameters['max_width']
    for i, line in enumerate(self.parameters['get_line_data_fn']()):
      start = max(0, len(line) - width)
      self.plot.plot(
        range(start, len(line)),
        line[start:],
        linewidth=self.parameters['linewidth'],
        color=self._color(i),
      )
    return self._image()
