"""The screen of an environment, as a plotter."""

import cv2
import gin

from dopamine.utils import plotter


@gin.configurable
class AtariPlotter(plotter.Plotter):
  """Draws what `environment.render(mode='rgb_array')` returns.

  `environment` must be among the parameters; `width` and `height` are pixels.
  """

  _defaults = {'width': 160, 'height': 210}

  def __init__(self, parameter_dict: dict | None = None):
    super().__init__(parameter_dict)
    if 'environment' not in self.parameters:
      raise ValueError("AtariPlotter needs the parameter 'environment'")

  def draw(self):
    frame = self.parameters['environment'].render(mode='rgb_array')
    size = self.parameters['width'], self.parameters['height']
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
