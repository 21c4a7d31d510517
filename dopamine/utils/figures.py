"""What plotters that draw with matplotlib share."""

import cv2
import numpy as np

from dopamine import backend
from dopamine.utils import plotter

DEFAULTS = {
  'width': 213,
  'height': 210,
  'fontsize': 30,
  'bg_color': '#f8f7f2',
  'face_color': '#ffffff',
  'colors': ['b', 'g', 'r', 'c', 'm', 'y', 'k', 'w'],
  'figsize': (12, 9),
}


class FigurePlotter(plotter.Plotter):
  """A plotter with a figure of its own; matplotlib's settings stay as they are.

  Attributes:
    fig: the figure.
    plot: its axes.
  """

  _data_parameter: str

  def __init__(self, parameter_dict: dict | None = None):
    super().__init__(parameter_dict)
    if self._data_parameter not in self.parameters:
      raise ValueError(
        f'{type(self).__name__} needs the parameter {self._data_parameter!r}'
      )
    who = type(self).__name__
    figure = backend.import_extra('matplotlib.figure', who)
    backend_agg = backend.import_extra('matplotlib.backends.backend_agg', who)
    self.fig = figure.Figure(figsize=self.parameters['figsize'])
    backend_agg.FigureCanvasAgg(self.fig)
    self.plot = self.fig.add_subplot()
    self._setup_plot()

  def _setup_plot(self):
    """Empties the axes and labels them anew."""
    parameters = self.parameters
    size = parameters['fontsize']
    self.plot.clear()
    self.fig.set_facecolor(parameters['face_color'])
    self.plot.set_facecolor(parameters['bg_color'])
    self.plot.tick_params(labelsize=size)
    if 'xlabel' in parameters:
      self.plot.set_xlabel(parameters['xlabel'], fontsize=size)
    if 'ylabel' in parameters:
      self.plot.set_ylabel(parameters['ylabel'], fontsize=size)
    if 'title' in parameters:
      self.plot.set_title(parameters['title'], fontsize=size)

  def _color(self, i: int):
    colors = self.parameters['colors']
    return colors[i % len(colors)]

  def _image(self) -> np.ndarray:
    """The figure at `width` x `height`: `[height, width, 3]`, `uint8`."""
    if 'legend' in self.parameters:
      self.plot.legend(
        self.parameters['legend'], fontsize=self.parameters['fontsize']
      )
    self.fig.canvas.draw()
    pixels = np.asarray(self.fig.canvas.buffer_rgba())[..., :3]
    size = self.parameters['width'], self.parameters['height']
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
