"""Plays a trained agent into pictures and a video: the game, rewards, values.

    path = example_viz_lib.run('dqn', 'Breakout', 500, '/tmp/dopamine',
                               '/tmp/dqn_breakout/checkpoints')

An agent of your own is shown as ours are; it is given by its class.
"""

from collections.abc import Callable
import colorsys
import functools
import os
from typing import Any

import numpy as np

from dopamine.agents.dqn import dqn_agent
from dopamine.agents.rainbow import rainbow_agent
from dopamine.discrete_domains import run_experiment
from dopamine.runs import filming
from dopamine.runs import progress
from dopamine.runs import trained
from dopamine.settings import gin_files as gin_settings
from dopamine.utils import agent_visualizer
from dopamine.utils import atari_plotter
from dopamine.utils import bar_plotter
from dopamine.utils import figures
from dopamine.utils import line_plotter
from dopamine.utils import panel

# Of names that papers have for ours; with 'jax_' before them too.
_ALIASES = {
  'c51': 'rainbow',
  'iqn': 'implicit_quantile',
  'qrdqn': 'quantile',
}


class Recording:
  """Keeps what an agent is rewarded with, and what it thinks.

  It comes before the class of a `DQNAgent`: `class My(Recording, MyAgent)`.

  Attributes:
    rewards: all of them, one after the other.
    q_values: for each action a list, with a number for each action taken.
  """

  def __init__(self, *args, **kwargs):
    super().__init__(*args, **kwargs)
    self.rewards = []
    self.q_values = [[] for _ in range(self.num_actions)]

  def step(self, reward, observation):
    self.rewards.append(reward)
    return super().step(reward, observation)

  def end_episode(self, reward, *args, **kwargs):
    self.rewards.append(reward)
    return super().end_episode(reward, *args, **kwargs)

  def _select_action(self):
    for values, q in zip(
      self.q_values, self.predict_q_values(self.state)[0], strict=True
    ):
      values.append(q)
    return super()._select_action()

  def reload_checkpoint(self, checkpoint_path, use_legacy_checkpoint=False):
    """Takes weights, to act with.

    Args:
      checkpoint_path: see `trained.find_weights`.
      use_legacy_checkpoint: ignored; older names of variables are recognised.

    Raises:
      FileNotFoundError: there are none.
      ValueError: they do not fit the agent; names the variable.
    """
    del use_legacy_checkpoint
    self.load_weights(trained.find_weights(checkpoint_path))

  def get_rewards(self):
    """Returns their sum so far after each of them, as the only line."""
    return [np.cumsum(self.rewards, axis=0)]

  def get_q_values(self):
    """Returns a line for each action."""
    return self.q_values

  def get_support(self):
    """Returns that all actions share, `[N]`; None if it has no such."""
    distribution = self.predict_distribution(self.state)
    if distribution is None:
      return None
    values = distribution[0][0]
    return values[0] if panel.is_support(values) else None

  def get_probabilities(self):
    """Those of the support in this state, `[A, N]`."""
    return self.predict_distribution(self.state)[1][0]


class MyDQNAgent(Recording, dqn_agent.DQNAgent):
  """A DQN agent to look at."""

  def __init__(
    self, sess=None, num_actions=None, summary_writer=None, **kwargs
  ):
    super().__init__(sess, num_actions, summary_writer=summary_writer, **kwargs)


class MyRainbowAgent(Recording, rainbow_agent.RainbowAgent):
  """A Rainbow agent to look at; C51 too."""

  def __init__(
    self, sess=None, num_actions=None, summary_writer=None, **kwargs
  ):
    super().__init__(sess, num_actions, summary_writer=summary_writer, **kwargs)


def recording(agent_class: type) -> type:
  """The class that is shown in place of one: it, with `Recording` before it."""
  if issubclass(agent_class, Recording):
    return agent_class
  for ours in (MyDQNAgent, MyRainbowAgent):
    if ours.__bases__ == (Recording, agent_class):
      return ours
  name = f'My{agent_class.__name__}'
  return type(
    name, (Recording, agent_class), {'__module__': agent_class.__module__}
  )


class _ActionsPlotter(figures.FigurePlotter):
  """Has the names of the actions at its right, each in its colour."""

  def _setup_plot(self):
    super()._setup_plot()
    self.fig.subplots_adjust(right=0.79)
    names = self.parameters['actions']
    for a, name in enumerate(names):
      self.plot.text(
        *(1.02, 1 - (a + 0.5) / max(len(names), 10), name),
        color=self._color(a),
        fontsize=0.8 * self.parameters['fontsize'],
        transform=self.plot.transAxes,
        verticalalignment='center',
      )


class _LinePlotter(_ActionsPlotter, line_plotter.LinePlotter):
  pass


class _BarPlotter(_ActionsPlotter, bar_plotter.BarPlotter):
  """Calls the bins by the returns that they stand for."""

  def _setup_plot(self):
    super()._setup_plot()
    support = self.parameters['support']
    bins = np.linspace(0, len(support) - 1, min(len(support), 5)).astype(int)
    self.plot.set_xticks(bins + 0.5, [f'{support[i]:.3g}' for i in bins])


class MyRunner(trained.Evaluation):
  """Plays a trained agent; it learns nothing, and nothing else is saved."""

  def __init__(
    self,
    base_dir: str,
    trained_agent_ckpt_path: str,
    create_agent_fn: Callable,
    use_legacy_checkpoint: bool = False,
  ):
    """Makes agent and environment, and loads the weights.

    Args:
      base_dir: nothing is written there.
      trained_agent_ckpt_path: see `trained.find_weights`.
      create_agent_fn: see `run.Run`; the agent is one that records.
      use_legacy_checkpoint: what the agent's `reload_checkpoint` is given.
    """
    self._trained_agent_ckpt_path = trained_agent_ckpt_path
    self._use_legacy_checkpoint = use_legacy_checkpoint
    self._take_picture: Callable = lambda: None
    super().__init__(trained_agent_ckpt_path, create_agent_fn)
    self._base_dir = base_dir
    self._clip_rewards = False  # What is shown is what the game gives.

  def _load_weights(self) -> None:
    self._agent.reload_checkpoint(self.path, self._use_legacy_checkpoint)

  def _run_one_step(self, action: Any) -> tuple[Any, float, bool]:
    """Shows what the agent has seen, and takes the step."""
    self._take_picture()
    return super()._run_one_step(action)

  def visualize(self, record_path: str, num_global_steps: int = 500) -> str:
    """Plays as many steps, with a picture of each.

    Args:
      record_path: the folder of the pictures, and of `video.mp4`.
      num_global_steps: agent steps, of as many episodes as it takes.

    Returns:
      The path of the video.
    """
    visualizer = self._make_visualizer(record_path)
    steps = iter(progress.track(range(num_global_steps), 'Steps'))

    def take_picture() -> None:
      visualizer.visualize()
      next(steps)

    longest, left = self._max_steps_per_episode, num_global_steps
    self._take_picture = take_picture
    self._state.begin_phase('eval')
    try:
      while left > 0:
        self._max_steps_per_episode = min(longest, left)
        left -= self._run_one_episode()[0]
    finally:
      self._max_steps_per_episode = longest
      self._take_picture = lambda: None
    return str(visualizer.generate_video())

  def _make_visualizer(
    self, record_path: str
  ) -> agent_visualizer.AgentVisualizer:
    """The game, at its right the rewards, and below what the agent thinks."""
    game = atari_plotter.AtariPlotter({'environment': self._environment})
    width, height = game.parameters['width'], game.parameters['height']
    rewards = line_plotter.LinePlotter(
      {
        'x': width,
        'get_line_data_fn': self._agent.get_rewards,
        'title': 'Rewards so far',
        'xlabel': 'Step',
      }
    )
    width += rewards.parameters['width']
    values = self._value_plotter({'y': height, 'width': width})
    height += values.parameters['height']
    return agent_visualizer.AgentVisualizer(
      record_path=record_path,
      plotters=[game, rewards, values],
      screen_width=width,
      screen_height=height,
    )

  def _value_plotter(self, place: dict) -> Any:
    """Bars of a distribution over a support, else lines of Q-values."""
    agent = self._agent
    num_actions = self._environment.action_space.n
    names = filming.action_names(self._environment)
    look = {
      **place,
      'figsize': (16, 9),
      'actions': [*names] or [str(a) for a in range(num_actions)],
      'colors': [
        colorsys.hsv_to_rgb(a / num_actions, 0.9, (0.9, 0.6)[a % 2])
        for a in range(num_actions)
      ],
    }
    support = _support_of(agent)
    if support is None:
      return _LinePlotter(
        {
          'get_line_data_fn': agent.get_q_values,
          'title': 'Q-values',
          'xlabel': 'Step',
          **look,
        }
      )
    return _BarPlotter(
      {
        'get_bar_data_fn': agent.get_probabilities,
        'title': 'Distribution of the return',
        'xlabel': 'Return',
        'support': support,
        **look,
      }
    )


def _support_of(agent: Any) -> Any:
  if isinstance(agent, Recording):
    return agent.get_support()
  # Of an agent's own recording only its name says what that is.
  if any(word in agent.__class__.__name__ for word in ('DQN', 'Implicit')):
    return None
  return np.arange(np.shape(agent.get_probabilities())[-1])


# Making them ------------------------------------------------------------------


def create_dqn_agent(
  sess: Any, environment: Any, summary_writer: Any = None
) -> Any:
  """Makes a DQN agent to look at."""
  return run_experiment.create_agent(
    sess, environment, MyDQNAgent, summary_writer
  )


def create_rainbow_agent(
  sess: Any, environment: Any, summary_writer: Any = None
) -> Any:
  """Makes a Rainbow agent to look at."""
  return run_experiment.create_agent(
    sess, environment, MyRainbowAgent, summary_writer
  )


def create_runner(
  base_dir: str,
  trained_agent_ckpt_path: str,
  agent: str | type = 'dqn',
  use_legacy_checkpoint: bool = False,
) -> MyRunner:
  """Makes the runner of an agent.

  Args:
    base_dir: see `MyRunner`.
    trained_agent_ckpt_path: see `MyRunner`.
    agent: a name that `create_agent.agent_name` takes, or 'c51', 'iqn' or
      'qrdqn', with or without 'jax_'; or a class of your own.
    use_legacy_checkpoint: see `MyRunner`.

  Raises:
    ValueError: there is no such agent.
  """
  create_agent = functools.partial(
    run_experiment.create_agent, agent_name=recording(_find_class(agent))
  )
  return MyRunner(
    base_dir, trained_agent_ckpt_path, create_agent, use_legacy_checkpoint
  )


def _find_class(agent: str | type) -> type:
  if isinstance(agent, str):
    prefix = 'jax_' if agent.startswith('jax_') else ''
    name = agent.removeprefix(prefix)
    agent = prefix + _ALIASES.get(name, name)
  return run_experiment.find_agent_class(agent)


def run(
  agent: str | type,
  game: str,
  num_steps: int,
  root_dir: str,
  restore_ckpt: str,
  use_legacy_checkpoint: bool = False,
) -> str:
  """Plays a game into `{root_dir}/agent_viz/{game}/{agent}/images`.

  What gin has bound counts, and is the same afterwards.

  Args:
    agent: see `create_runner`.
    game: of Atari, such as 'Breakout'.
    num_steps: agent steps.
    root_dir: above the folder.
    restore_ckpt: see `trained.find_weights`.
    use_legacy_checkpoint: see `MyRunner`.

  Returns:
    The path of the video.
  """
  name = agent if isinstance(agent, str) else agent.__name__
  base_dir = os.path.join(os.path.expanduser(root_dir), 'agent_viz', game, name)
  bindings = [
    f'create_atari_environment.game_name = {game!r}',
    *trained.BINDINGS,
  ]
  with (
    gin_settings.set_aside(bindings),
    create_runner(
      base_dir, restore_ckpt, agent, use_legacy_checkpoint
    ) as runner,
  ):
    return runner.visualize(os.path.join(base_dir, 'images'), num_steps)
