"""What a Runner asks of its environment and its agent.

Ours derive from these. What does not is wrapped once, at the door, by
`compat.adapters`, so that nobody asks a partner what it can do.
"""

import contextlib
from typing import Any, NamedTuple

from dopamine.settings import errors


def overrides(cls: type, *methods: str) -> bool:
  """Whether methods are newer than what a class says by `saves_mid_episode`."""
  for base in cls.__mro__:
    own = vars(base)
    if 'saves_mid_episode' in own:
      return False
    if any(method in own for method in methods):
      return True
  return False


class Environment:
  """What a `Runner` plays.

  Attributes:
    game_over: whether the episode is over, for whatever reason.
    action_space: has `n`, the number of actions; None is not known.
    observation_space: of the observations; None is not known.
    task_name: of what is played, e.g. 'CartPole-v1'; None is not known.
    saves_mid_episode: whether `get_state` returns all it takes in the middle of
      an episode too. A subclass that overrides `reset` or `step` has to say so
      again: it may keep a state of its own.
  """

  game_over: bool
  action_space: Any = None
  observation_space: Any = None
  task_name: str | None = None
  saves_mid_episode: bool = False

  def __init_subclass__(cls, **kwargs: Any):
    super().__init_subclass__(**kwargs)
    if overrides(cls, 'reset', 'step'):
      cls.saves_mid_episode = False

  def reset(self) -> Any:
    """Starts an episode; returns its first observation."""
    raise NotImplementedError

  def step(self, action: Any) -> tuple[Any, float, bool, Any]:
    """Returns (observation, reward, is_terminal, info)."""
    raise NotImplementedError

  def get_state(self) -> Any:
    """Returns what `set_state` takes, of built-ins and NumPy values.

    None cannot be saved.
    """
    return None

  def set_state(self, state: Any) -> None:
    """Goes on from what `get_state` returned."""
    raise NotImplementedError

  def close(self) -> None:
    """Lets go of what it holds; by default nothing."""


class Signatures(NamedTuple):
  """What the hooks of an agent's class take, where they are older than ours.

  Attributes:
    stores_episode_end: whether `_store_transition` takes `episode_end`.
    takes_staging: whether `_build_replay_buffer` takes `use_staging`.
    splits_rng: whether its methods take `_rng` for a key of JAX.
  """

  stores_episode_end: bool = True
  takes_staging: bool = True
  splits_rng: bool = False


class Agent:
  """What a `Runner` trains.

  Attributes:
    eval_mode: True neither stores nor learns.
    is_warming_up: whether nothing is learnt yet, in training.
    saves_mid_episode: whether its bundle has all it takes in the middle of an
      episode too.
    allow_partial_reload: whether it goes on from weights alone.
    max_tf_checkpoints_to_keep: of a run; None or 0 keeps all.
    replay_nbytes: of its replay memory when that is full.
    bundles_attributes: whether its bundle has 'attributes', and is not all that
      it takes in the middle of an episode where a subclass leaves them out.
    seconds_updating: how long it has been computing updates, in all.
  """

  eval_mode: bool = False
  is_warming_up: bool = False
  saves_mid_episode: bool = False
  allow_partial_reload: bool = False
  max_tf_checkpoints_to_keep: int | None = 4
  replay_nbytes: int = 0
  bundles_attributes: bool = False
  seconds_updating: float = 0.0

  def begin_episode(self, observation: Any) -> Any:
    """Returns the first action."""
    raise NotImplementedError

  def step(self, reward: float, observation: Any) -> Any:
    """Takes what the last action led to; returns the next."""
    raise NotImplementedError

  def end_episode(
    self, reward: float, terminal: bool = True, observation: Any = None
  ) -> None:
    """Takes the last reward; see `DQNAgent.end_episode`."""
    raise NotImplementedError

  def bundle_and_checkpoint(
    self, checkpoint_dir: str, iteration_number: int
  ) -> dict[str, Any] | None:
    """Saves what is large; returns the rest, or None to save nothing."""
    raise NotImplementedError

  def unbundle(
    self,
    checkpoint_dir: str,
    iteration_number: int,
    bundle_dictionary: dict[str, Any] | None,
  ) -> bool:
    """Goes on from what was saved; returns whether it could."""
    raise NotImplementedError

  def load_weights(self, path: str) -> None:
    """Takes the weights of a checkpoint, to act with."""
    raise errors.InterfaceError(
      f'{type(self).__name__} has no load_weights(path), which an evaluation '
      'of weights calls'
    )

  def remember_settings(self) -> None:
    """Is called once it is made: what changes from here on is its state."""

  def identity(self) -> dict[str, Any]:
    """What a checkpoint's numbers mean something else without, by name."""
    return {}

  def unsaved_draws(self) -> str | None:
    """What draws otherwise in a run that goes on, and why; None for nothing."""
    return None

  def describe_device(self) -> str | None:
    """One line on what it computes with."""
    return None

  def graph_def(self) -> bytes | None:
    """Its update as a serialised TensorFlow graph, if there is one."""
    return None

  def live_figures(self) -> dict[str, Any]:
    """What training is like now, by the tag that TensorBoard shows it under."""
    return {}

  def take_attributes(self, bundle: dict[str, Any]) -> None:
    """Takes 'attributes' of a checkpoint's bundle, to act with."""

  def set_aside(self, seed: int) -> contextlib.AbstractContextManager:
    """Evaluates inside; afterwards the agent is what it was before.

    Args:
      seed: of what is drawn inside.
    """
    raise errors.InterfaceError(
      'its agent has no set_aside(seed), inside of which it plays and stays '
      'what it was'
    )

  def start_distribution(self) -> tuple[Any, Any] | None:
    """Values and probabilities, `[N]` each, in the first state of the run.

    Of the return of the greedy action; None if there is none.
    """
    return None
