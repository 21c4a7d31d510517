"""Tests of the plotters and the visualizer, by pixels."""

import gin
import imageio_ffmpeg
import numpy as np
import pygame
import pytest

from dopamine.utils import agent_visualizer
from dopamine.utils import atari_plotter
from dopamine.utils import bar_plotter
from dopamine.utils import line_plotter
from dopamine.utils import plotter

pytestmark = pytest.mark.no_backend


class _Environment:
  def render(self, mode):
    assert mode == 'rgb_array'
    frame = np.zeros((20, 10, 3), np.uint8)
    frame[:10] = 255, 0, 0
    return frame


def _is_red(image):
  return (image[..., 0] > 200) & (image[..., 1:].max(axis=-1) < 80)


def test_atari_plotter_scales_the_screen():
  image = atari_plotter.AtariPlotter({'environment': _Environment()}).draw()
  assert image.shape == (210, 160, 3)
  assert _is_red(image)[:100].all()
  assert not _is_red(image)[110:].any()


def test_a_bar_is_where_its_bin_is():
  heights = np.zeros((1, 4))
  heights[0, 3] = 1
  plot = bar_plotter.BarPlotter(
    {'get_bar_data_fn': lambda: heights, 'colors': ['r'], 'width': 300}
  )
  image = plot.draw()
  assert image.shape == (210, 300, 3)
  right = np.flatnonzero(_is_red(image).any(axis=0))
  heights[0] = 1, 0, 0, 0
  left = np.flatnonzero(_is_red(plot.draw()).any(axis=0))
  assert left.max() < right.min()
  assert left.max() < 150 < right.min()


def test_a_line_goes_up():
  line = [0, 0, 1, 1]
  image = line_plotter.LinePlotter(
    {'get_line_data_fn': lambda: [line], 'colors': ['r']}
  ).draw()
  rows, columns = np.nonzero(_is_red(image))
  assert rows[columns < 80].mean() > rows[columns > 140].mean() + 50


def test_the_window_of_a_line_moves():
  plot = line_plotter.LinePlotter(
    {'get_line_data_fn': lambda: [list(range(30))], 'max_width': 10}
  )
  plot.draw()
  assert list(plot.plot.lines[0].get_xdata()) == list(range(20, 30))


class _MyPlotter(line_plotter.LinePlotter):
  _defaults = {**line_plotter.LinePlotter._defaults, 'title': 'Mine', 'x': 7}

  def _setup_plot(self):
    super()._setup_plot()
    self.plot.set_ylim(0, self.parameters['top'])


def test_a_subclass_sets_up_its_own_plot():
  mine = _MyPlotter({'get_line_data_fn': lambda: [[1, 2]], 'top': 9, 'y': 3})
  mine.draw()
  assert (mine.x, mine.y) == (7, 3)
  assert mine.plot.get_title() == 'Mine'
  assert mine.plot.get_ylim() == (0, 9)
  assert mine.fig.axes == [mine.plot]


@gin.configurable(module='plotters_test')
def lines_of_gin():
  return [[0, 0, 1, 1]]


@gin.configurable(module='plotters_test')
def bars_of_gin():
  return np.eye(2)


@gin.configurable(module='plotters_test')
def screen_of_gin():
  return _Environment()


def test_gin_binds_plotters(tmp_path):
  gin.parse_config("""
  AtariPlotter.parameter_dict = {
      'environment': @screen_of_gin(), 'width': 40, 'height': 30}
  LinePlotter.parameter_dict = {
      'get_line_data_fn': @lines_of_gin, 'colors': ['r'], 'x': 40}
  BarPlotter.parameter_dict = {
      'get_bar_data_fn': @bars_of_gin, 'colors': ['r'], 'y': 30,
      'width': 50, 'height': 60}
  AgentVisualizer.screen_width = 99
  AgentVisualizer.screen_height = 100
  AgentVisualizer.filename_format = 'my_{:02d}'
  """)
  plotters = [
    atari_plotter.AtariPlotter(),
    line_plotter.LinePlotter(),
    bar_plotter.BarPlotter(),
  ]
  shapes = [plot.draw().shape for plot in plotters]
  assert shapes == [(30, 40, 3), (210, 213, 3), (60, 50, 3)]
  assert all(_is_red(plot.draw()).any() for plot in plotters)
  visualizer = agent_visualizer.AgentVisualizer(str(tmp_path), plotters)
  visualizer.visualize()
  assert visualizer.record_frame.shape == (100, 99, 3)
  assert _is_red(visualizer.record_frame[:12, :40]).all()  # The game.
  assert _is_red(visualizer.record_frame[:, 40:]).any()  # The line.
  assert _is_red(visualizer.record_frame[30:90, :40]).any()  # The bars.
  assert [file.name for file in tmp_path.iterdir()] == ['my_00.png']


def test_plotters_leave_matplotlib_as_it_was(tmp_path):
  import matplotlib
  from matplotlib import pyplot

  with matplotlib.rc_context({'font.size': 7, 'font.family': 'monospace'}):
    before = dict(matplotlib.rcParams)
    own = pyplot.figure()
    plots = [
      line_plotter.LinePlotter(
        {'get_line_data_fn': lines_of_gin, 'title': 'L'}
      ),
      bar_plotter.BarPlotter({'get_bar_data_fn': bars_of_gin, 'legend': 'ab'}),
    ]
    agent_visualizer.AgentVisualizer(str(tmp_path), plots).visualize()
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == [own.number] and pyplot.gcf() is own
    pyplot.close(own)


class _Moving(plotter.Plotter):
  """As written for Dopamine 3.2.1: returns a surface."""

  step = 0

  def draw(self):
    surface = pygame.Surface((40, 10))
    surface.fill((255, 0, 0), (self.step, 0, 5, 10))
    self.step += 2
    return surface


def test_surfaces_become_pictures_and_a_video(tmp_path):
  visualizer = agent_visualizer.AgentVisualizer(
    str(tmp_path / 'images'),
    [_Moving({'x': 3, 'y': 5}), _Moving({'x': 90, 'y': 60})],
    screen_width=100,
    screen_height=64,
    render_rate=2,
  )
  for _ in range(19):
    visualizer.visualize()
  red = np.argwhere(_is_red(visualizer.record_frame[:50]))
  assert red.min(axis=0).tolist() == [5, 3 + 18]
  assert red.max(axis=0).tolist() == [14, 3 + 18 + 4]
  path = visualizer.generate_video()
  assert sorted(file.name for file in path.parent.iterdir()) == [
    *(f'frame_{i:06d}.png' for i in range(10)),
    'video.mp4',
  ]
  reader = imageio_ffmpeg.read_frames(str(path))
  meta = next(reader)
  frames = np.array([np.frombuffer(f, np.uint8) for f in reader])
  frames = frames.reshape(-1, 64, 100, 3)
  assert (meta['fps'], meta['size'], len(frames)) == (30, (100, 64), 10)
  for t, frame in enumerate(frames):
    red = np.flatnonzero(frame[9, :80, 0] > 128)
    assert abs(red.min() - (3 + 2 * t)) <= 1


class _Given(plotter.Plotter):
  _defaults = {'draw': None}

  def draw(self):
    return self.parameters['draw']()


def _shown(folder, draw, x=10, y=10):
  """What is on the screen of a plotter on a grey ground."""
  ground = _Given({'draw': lambda: np.full((60, 100, 3), 50, np.uint8)})
  visualizer = agent_visualizer.AgentVisualizer(
    str(folder), [ground, _Given({'draw': draw, 'x': x, 'y': y})], 100, 60
  )
  visualizer.visualize()
  return visualizer.record_frame


def _disc(*args, **kwargs):
  surface = pygame.Surface((20, 20), *args, **kwargs)
  pygame.draw.circle(surface, (0, 255, 0), (10, 10), 5)
  return surface


def _of_colorkey():
  surface = _disc()
  surface.set_colorkey((0, 0, 0))
  return surface


def _half():
  surface = _disc()
  surface.set_alpha(128)
  return surface


def _text():
  return pygame.font.SysFont(None, 20).render('Hi', True, (255, 255, 0))


@pytest.mark.parametrize('place', [(10, 10), (-7, -3), (10.7, -3.7), (95, 70)])
@pytest.mark.parametrize(
  'draw',
  [
    lambda: _disc(pygame.SRCALPHA),
    lambda: _disc(depth=8),
    lambda: _disc().convert(),
    *(_of_colorkey, _half, _text),
  ],
)
def test_a_surface_is_blitted(draw, place, tmp_path):
  pygame.quit()
  image = _shown(tmp_path, draw, *place)
  screen = pygame.Surface((100, 60), depth=32)
  screen.fill((50, 50, 50))
  screen.blit(draw(), place)
  expected = pygame.surfarray.array3d(screen).swapaxes(0, 1)
  np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize('place', [(10, 10), (-7, -3), (10.7, -3.7), (95, 70)])
def test_an_array_has_its_place_as_a_surface_has(place, tmp_path):
  surface = _disc(depth=32)
  array = pygame.surfarray.array3d(surface).swapaxes(0, 1)
  np.testing.assert_array_equal(
    _shown(tmp_path, lambda: array, *place),
    _shown(tmp_path, lambda: surface, *place),
  )


def test_a_window_that_is_there_stays(tmp_path, monkeypatch):
  monkeypatch.setenv('SDL_VIDEODRIVER', 'dummy')
  pygame.quit()
  window = pygame.display.set_mode((7, 5))
  _shown(tmp_path, _text)
  assert pygame.display.get_surface() is window
  assert window.get_size() == (7, 5)
  pygame.quit()


def _visualizer(folder, **kwargs):
  return agent_visualizer.AgentVisualizer(
    str(folder),
    [_Moving({'x': 3, 'y': 5})],
    screen_width=100,
    screen_height=64,
    **kwargs,
  )


def test_pictures_of_an_earlier_recording_are_not_in_the_video(tmp_path):
  for count in (9, 4):
    visualizer = _visualizer(tmp_path)
    for _ in range(count):
      visualizer.visualize()
    path = visualizer.generate_video()
  frames, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
  assert frames == 4
  assert len(list(tmp_path.glob('*.png'))) == 9
  (tmp_path / 'frame_000002.png').unlink()
  with pytest.raises(OSError, match=r'cannot read .*frame_000002\.png'):
    visualizer.generate_video('other.mp4')
  assert not list(tmp_path.glob('*other*'))


@pytest.mark.parametrize(
  ('count', 'settings'), [(3, {'file_types': ('',)}), (0, {})]
)
def test_a_video_of_no_pictures_is_refused(count, settings, tmp_path):
  visualizer = _visualizer(tmp_path, **settings)
  for _ in range(count):
    visualizer.visualize()
  with pytest.raises(ValueError, match=f'after {count} calls .*file_types'):
    visualizer.generate_video()
  assert not list(tmp_path.iterdir())
