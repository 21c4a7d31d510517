"""Gymnasium environments for the discrete agents: CartPole and the like.

`create_gym_environment` builds any environment that Gymnasium knows, and
`GymPreprocessing` gives it the interface that the Runner expects.
"""

import difflib
import functools
import re
from typing import Any, SupportsFloat
import warnings

from absl import logging
import gin
import gymnasium
import numpy as np

from dopamine import backend
from dopamine import interfaces
from dopamine import seams
from dopamine import seeding
from dopamine.settings import checks
from dopamine.settings import errors

CARTPOLE_MIN_VALS = np.array([-2.4, -5.0, -np.pi / 12.0, -np.pi * 2.0])
CARTPOLE_MAX_VALS = np.array([2.4, 5.0, np.pi / 12.0, np.pi * 2.0])
ACROBOT_MIN_VALS = np.array([-1.0, -1.0, -1.0, -1.0, -5.0, -5.0])
ACROBOT_MAX_VALS = np.array([1.0, 1.0, 1.0, 1.0, 5.0, 5.0])
MOUNTAINCAR_MIN_VALS = np.array([-1.2, -0.07])
MOUNTAINCAR_MAX_VALS = np.array([0.6, 0.07])
RANGES = {
  'CARTPOLE_MIN_VALS': CARTPOLE_MIN_VALS,
  'CARTPOLE_MAX_VALS': CARTPOLE_MAX_VALS,
  'ACROBOT_MIN_VALS': ACROBOT_MIN_VALS,
  'ACROBOT_MAX_VALS': ACROBOT_MAX_VALS,
  'MOUNTAINCAR_MIN_VALS': MOUNTAINCAR_MIN_VALS,
  'MOUNTAINCAR_MAX_VALS': MOUNTAINCAR_MAX_VALS,
}

_SHAPES = {
  'CARTPOLE': (4, 1),
  'ACROBOT': (6, 1),
  'LUNAR': (8, 1),
  'MOUNTAINCAR': (2, 1),
}

# E.g. CARTPOLE_OBSERVATION_SHAPE here, and %gym_lib.CARTPOLE_... in gin.
for _task, _shape in _SHAPES.items():
  for _name, _value in (
    (f'{_task}_OBSERVATION_SHAPE', _shape),
    (f'{_task}_OBSERVATION_DTYPE', seams.dtype(np.float64)),
    (f'{_task}_STACK_SIZE', 1),
  ):
    globals()[_name] = _value
    gin.constant(f'gym_lib.{_name}', _value)
for _name, _range in RANGES.items():
  gin.constant(f'gym_lib.{_name}', tuple(_range.tolist()))


def __getattr__(name: str) -> Any:
  """Serves the networks, which lived here until 3.2.1."""
  return seams.old_name(__name__, name)


# Numbers ----------------------------------------------------------------------


def as_numpy(value: Any) -> Any:
  """Returns a tensor of any framework as NumPy has it, all else as it is."""
  if isinstance(value, (float, int, np.generic, np.ndarray)):
    return value
  if hasattr(value, '__array__'):
    return np.asarray(value)[()]
  return float(value) if isinstance(value, SupportsFloat) else value


def as_float64(reward: Any) -> Any:
  """Returns a number as a float, and an array as one of float64.

  Rewards are summed as such: in float32 the sum would stop to grow at 2^24, in
  float16 at 2^11.
  """
  if isinstance(reward, (float, int, np.generic)):
    return float(reward)
  array = np.asarray(reward).astype(np.float64)
  return array if array.ndim else float(array)


# Environments that are handed in ----------------------------------------------


class Preprocessing(interfaces.Environment):
  """What both kinds of preprocessing leave as it is.

  Attributes:
    environment: what was handed in.
  """

  @property
  def environment(self) -> Any:
    return self._handed_in

  @environment.setter
  def environment(self, environment: Any) -> None:
    self._handed_in = environment
    self._gymnasium = self._with_gymnasiums_interface(environment)
    seams.check_code(self)

  def _with_gymnasiums_interface(self, environment: Any) -> Any:
    """Returns it as it is, if it has that; compat wraps any other."""
    if old_gym := seams.compat('old_gym'):
      return old_gym.environment(environment)
    if isinstance(environment, gymnasium.Env):
      return environment
    raise errors.SettingError(
      f'{environment} is no gymnasium.Env: derive it from that'
    )

  @property
  def _is_foreign(self) -> bool:
    return self._gymnasium is not self._handed_in

  @property
  def action_space(self) -> Any:  # type: ignore[override]
    return self._gymnasium.action_space

  @property
  def task_name(self) -> str | None:  # type: ignore[override]
    if isinstance(self._handed_in, gymnasium.Env):
      spec = self._handed_in.unwrapped.spec
      return spec.id if spec else None
    return self._gymnasium.game_name

  @property
  def reward_range(self) -> tuple[float, float]:
    # Gymnasium 1.0 dropped it.
    return getattr(self._handed_in, 'reward_range', (-np.inf, np.inf))

  @property
  def metadata(self) -> dict[str, Any]:
    return self._gymnasium.metadata

  def render(self, mode: str = 'rgb_array') -> Any:
    """Returns a picture of the present state."""
    if self._is_foreign:
      return self._gymnasium.render_in(mode)
    if self._gymnasium.render_mode != mode:
      raise errors.SettingError(
        'this environment was created with render_mode='
        f'{self._gymnasium.render_mode!r}, so it cannot render {mode!r}: '
        f'create it with render_mode={mode!r}'
      )
    return self._gymnasium.render()

  def close(self) -> None:
    self._gymnasium.close()


# Environments -----------------------------------------------------------------


_SETTINGS = {
  'environment_name': checks.text,
  'version': checks.text,
  'render_mode': checks.text,
  'keep_time_limit': checks.switch,
  'flatten': checks.switch,
}


@gin.configurable
def create_gym_environment(
  environment_name: str | None = None,
  version: str | None = 'v0',
  seed: int | None = None,
  render_mode: str | None = None,
  keep_time_limit: bool = False,
  flatten: bool = False,
  **kwargs: Any,
) -> 'GymPreprocessing':
  """Creates a Gymnasium environment.

  Args:
    environment_name: e.g. 'CartPole'. A full id, which ends in its version
      ('CartPole-v1'), is taken as it is; 'package:Name-v0' imports the package
      that registers the environment.
    version: e.g. 'v0'; None is the newest, or none if the id has no version.
    seed: seeds the first reset; None takes the run's seed.
    render_mode: what `render()` will be asked for, e.g. 'rgb_array'.
    keep_time_limit: whether episodes are cut at the environment's own limit
      too, not by `Runner.max_steps_per_episode` alone.
    flatten: whether observations that are no arrays (of Discrete, Dict or Tuple
      spaces and the like) become vectors, one-hot where they are categories.
    **kwargs: of the environment, e.g. `continuous=False` for CarRacing.
  """
  checks.check_arguments('create_gym_environment', _SETTINGS, locals())
  if not environment_name:
    raise errors.SettingError(
      'create_gym_environment.environment_name is not set: give the name of a '
      "Gymnasium environment, e.g. 'CartPole'"
    )
  if version is None or re.search(r'-v\d+$', environment_name):
    environment_id = environment_name
  else:
    environment_id = f'{environment_name}-{version}'
  if environment_id == 'LunarLander-v2':
    environment_id = 'LunarLander-v3'
    logging.log_first_n(
      logging.WARNING,
      'Gymnasium no longer has LunarLander-v2: using LunarLander-v3.',
      1,
    )
  if render_mode is not None:  # Not every environment has the argument.
    kwargs['render_mode'] = render_mode
  if not keep_time_limit:
    kwargs['max_episode_steps'] = -1
  environment = _make(environment_id, kwargs)
  spec = environment.spec
  if spec and str(spec.entry_point).startswith('ale_py.'):
    _say_how_atari_is_played(environment_id)
  is_array = isinstance(environment.observation_space, gymnasium.spaces.Box)
  if flatten and not is_array:
    environment = gymnasium.wrappers.FlattenObservation(environment)
  # A seed that is not given is left to GymPreprocessing, which may have its
  # own gin binding.
  if seed is None:
    return GymPreprocessing(environment)
  return GymPreprocessing(environment, seed=seed)


@functools.cache  # Once.
def _say_how_atari_is_played(environment_id: str) -> None:
  logging.warning(
    '%s is played as Gymnasium has it, in large colour pictures. As Dopamine '
    'plays Atari games: Runner.create_environment_fn = '
    '@atari_lib.create_atari_environment, whose game_name takes this id too.',
    environment_id,
  )


class _NotInstalledError(
  errors.UsageError, gymnasium.error.DependencyNotInstalled
):
  """Gymnasium lacks what an environment needs."""


def _make(environment_id: str, kwargs: dict[str, Any]) -> gymnasium.Env:
  """Calls `gymnasium.make` and says what to do where that fails."""
  try:
    with warnings.catch_warnings():
      # Published gin files name CartPole-v0; v1 differs in the time limit
      # only, which we drop. Who names no version asks for the latest.
      warnings.filterwarnings('ignore', '.*(is out of date|latest versioned)')
      return gymnasium.make(environment_id, **kwargs)
  except TypeError as error:  # From create_gym_environment.**kwargs.
    raise errors.SettingError(
      f'{environment_id} cannot be made: {error}'
    ) from None
  except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
    # Also of the package that 'package:Name-v0' names.
    message = f'{environment_id} needs what is not installed: {error}'
    if 'box2d' in str(error).lower():
      message = (
        f'{environment_id} needs Box2D: {backend.how_to_install("box2d")}'
      )
    raise _NotInstalledError(message) from error
  except (
    gymnasium.error.DeprecatedEnv,
    gymnasium.error.Error,  # Also of an id that is none.
  ) as error:
    near = _nearest(environment_id)
    raise errors.SettingError(
      f'Gymnasium has no environment {environment_id!r}'
      f'{f". Nearest: {near}" if near else ""}; `gymnasium.registry` holds all '
      'of them, and an environment of another package is named '
      "'package:Name-v0'. The version of a name without one is "
      'create_gym_environment.version, where None is the newest'
    ) from error


def _nearest(environment_id: str) -> list[str]:
  """The ids that differ in capitals, blanks or version; else similar ones."""

  def letters(name: str) -> str:
    return re.sub(r'([-_ ]?v\d+)+$|[\W_]', '', name.lower())

  wanted = letters(environment_id)
  same = [name for name in gymnasium.registry if letters(name) == wanted]
  return same or difflib.get_close_matches(
    environment_id, gymnasium.registry, n=5, cutoff=0.5
  )


@gin.configurable
class GymPreprocessing(Preprocessing):
  """Gives a Gymnasium or old Gym environment the interface of the Runner.

  Attributes:
    environment: what was handed in.
    game_over: whether the episode is over, by a true end or by a time limit of
      the environment's own.
  """

  def __init__(self, environment: Any, seed: int | None = None):
    """Takes an environment of either API.

    Args:
      environment: a Gymnasium environment (`step` returns five values), or an
        old one (four, and a bare observation from `reset`).
      seed: seeds the first reset; None takes the run's seed.
    """
    self.environment = environment
    self.game_over = False
    # The seed of the next reset: Gymnasium is seeded once, by the first.
    self._next_seed: int | None = seeding.integer(
      seeding.resolve(seed), 'environment'
    )
    if self._is_foreign:
      self._gymnasium.seed_once(self._next_seed)

  def __repr__(self):
    return f'{type(self).__name__}({self.environment})'

  @property
  def observation_space(self) -> Any:  # type: ignore[override]
    return self._gymnasium.observation_space

  def reset(self) -> Any:
    """Starts an episode and returns its first observation."""
    self.game_over = False
    if self._next_seed is None:
      result = self._gymnasium.reset()
    else:
      result = self._gymnasium.reset(seed=self._next_seed)
      self._next_seed = None
    is_pair = isinstance(result, (tuple, list)) and len(result) == 2
    return result[0] if is_pair and isinstance(result[1], dict) else result

  def step(self, action: int) -> tuple[Any, float, bool, Any]:
    """Returns (observation, reward, is_terminal, info).

    `is_terminal` is True at a true end only; after a time limit of the
    environment's own, `game_over` alone is.
    """
    observation, reward, terminated, truncated, info = as_five(
      self._gymnasium.step(action)
    )
    self.game_over = bool(terminated or truncated)
    return observation, reward, bool(terminated), info

  def get_state(self) -> dict[str, Any]:
    """Returns the state of the environment's generator.

    That is all an environment keeps between two episodes. In the middle of one
    it is not enough: set the state, then `reset()`.
    """
    return {
      'generator': self._generator().bit_generator.state,
      'next_seed': self._next_seed,
      'game_over': self.game_over,
    }

  def set_state(self, state: dict[str, Any]) -> None:
    """Takes what `get_state` returned; the next call must be `reset()`."""
    self._generator().bit_generator.state = state['generator']
    self._next_seed = state['next_seed']
    self.game_over = state['game_over']

  def _generator(self) -> np.random.Generator:
    """That of the innermost environment."""
    generator = self._gymnasium.np_random
    if not isinstance(generator, np.random.Generator):
      raise NotImplementedError(
        f'{type(self._gymnasium.unwrapped).__name__} has no `np_random` '
        'generator whose state could be saved: derive it from gymnasium.Env '
        'and draw from self.np_random'
      )
    return generator


def as_five(result: Any) -> tuple[Any, float, bool, bool, Any]:
  """What a step returned as Gymnasium has it, which compat knows of others."""
  if isinstance(result, (tuple, list)) and len(result) == 5:
    return tuple(result)
  if old_gym := seams.compat('old_gym'):
    return old_gym.read_step(result)
  raise errors.SettingError(
    f'the step of an environment returned {result!r}: it must return '
    '(observation, reward, terminated, truncated, info)'
  )
