"""What every plotter has: parameters, a place on the screen, and `draw`."""


class Plotter:
  """A picture that changes as an agent plays.

  A subclass has `draw`, and `_defaults` for parameters of its own.

  Attributes:
    parameters: `x` and `y`, the place on the screen, 0 unless given; then
      `_defaults`, and over them what the constructor was given.
  """

  _defaults: dict = {}

  def __init__(self, parameter_dict: dict | None = None):
    self.parameters = {'x': 0, 'y': 0}
    self.parameters.update(self._defaults)
    self.parameters.update(parameter_dict or {})

  def _setup_plot(self):
    """Prepares a picture; a subclass may."""

  def draw(self):
    """Returns the picture: `[height, width, 3]`, `uint8`.

    A pygame surface does too.
    """
    raise NotImplementedError(f'{type(self).__name__} needs a method draw')

  @property
  def x(self) -> int:
    """Pixels from the left of the screen."""
    return self.parameters['x']

  @property
  def y(self) -> int:
    """Pixels from the top of the screen."""
    return self.parameters['y']
