"""Gymnasium environments for the discrete agents: CartPole and the like.

`create_gym_environment` builds any environment that Gymnasium knows, and
`GymPreprocessing` gives it, or an environment of the old Gym API, the shape the
Runner expects: `reset()` returns an observation, `step(action)` returns
`(observation, reward, is_terminal, info)`, and `game_over` says that the
episode is over, for whatever reason.
"""

import difflib
import functools
import inspect
import re
from typing import Any
import warnings

from absl import logging
import gin
import gymnasium
import numpy as np

from dopamine import backend
from dopamine import seeding
from dopamine.compat import dtypes
from dopamine.settings import checks
from dopamine.settings import errors

CARTPOLE_MIN_VALS = np.array([-2.4, -5.0, -np.pi / 12.0, -np.pi * 2.0])
CARTPOLE_MAX_VALS = np.array([2.4, 5.0, np.pi / 12.0, np.pi * 2.0])
ACROBOT_MIN_VALS = np.array([-1.0, -1.0, -1.0, -1.0, -5.0, -5.0])
ACROBOT_MAX_VALS = np.array([1.0, 1.0, 1.0, 1.0, 5.0, 5.0])
MOUNTAINCAR_MIN_VALS = np.array([-1.2, -0.07])
MOUNTAINCAR_MAX_VALS = np.array([0.6, 0.07])

CARTPOLE_OBSERVATION_SHAPE = (4, 1)
CARTPOLE_OBSERVATION_DTYPE = dtypes.DType(np.float64)
CARTPOLE_STACK_SIZE = 1
ACROBOT_OBSERVATION_SHAPE = (6, 1)
ACROBOT_OBSERVATION_DTYPE = dtypes.DType(np.float64)
ACROBOT_STACK_SIZE = 1
LUNAR_OBSERVATION_SHAPE = (8, 1)
LUNAR_OBSERVATION_DTYPE = dtypes.DType(np.float64)
LUNAR_STACK_SIZE = 1
MOUNTAINCAR_OBSERVATION_SHAPE = (2, 1)
MOUNTAINCAR_OBSERVATION_DTYPE = dtypes.DType(np.float64)
MOUNTAINCAR_STACK_SIZE = 1

for _domain in ('CARTPOLE', 'ACROBOT', 'LUNAR', 'MOUNTAINCAR'):
  for _field in ('OBSERVATION_SHAPE', 'OBSERVATION_DTYPE', 'STACK_SIZE'):
    _name = f'{_domain}_{_field}'
    gin.constant(f'gym_lib.{_name}', globals()[_name])
  if _domain != 'LUNAR':
    for _field in ('MIN_VALS', 'MAX_VALS'):
      _name = f'{_domain}_{_field}'
      gin.constant(f'gym_lib.{_name}', tuple(globals()[_name].tolist()))
del _domain, _field, _name

# Until 3.2.1 these networks lived here, and gin files and scripts name them so.
_NETWORKS = frozenset(
  {
    'AcrobotDQNNetwork',
    'AcrobotFourierDQNNetwork',
    'AcrobotRainbowNetwork',
    'BasicDiscreteDomainNetwork',
    'CartpoleDQNNetwork',
    'CartpoleFourierDQNNetwork',
    'CartpoleRainbowNetwork',
    'FourierBasis',
    'FourierDQNNetwork',
    'LunarLanderDQNNetwork',
    'MountainCarDQNNetwork',
  }
)


def __getattr__(name: str) -> Any:
  """Serves the networks, loading Keras only when one is asked for."""
  if name in _NETWORKS:
    from dopamine import networks

    return getattr(networks, name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


# Both APIs, old Gym's and Gymnasium's -----------------------------------------


def unwrapped(environment: Any) -> Any:
  """Returns the environment below all wrappers."""
  return getattr(environment, 'unwrapped', environment)


def name_of(environment: Any) -> str | None:
  """Returns the id of what is played, e.g. 'CartPole-v1', None if unknown."""
  inner = unwrapped(getattr(environment, 'environment', environment))
  name = getattr(getattr(inner, 'spec', None), 'id', None)
  name = name or getattr(inner, 'game_name', None)
  return name if isinstance(name, str) else None


def read_step(result: tuple) -> tuple[Any, float, bool, bool, Any]:
  """Returns (observation, reward, terminated, truncated, info) for either API.

  Args:
    result: what `step` returned: Gymnasium's five values, or the four of the
      old API, which mark a time-out by `info['TimeLimit.truncated']`.
  """
  if not isinstance(result, (tuple, list)) or len(result) not in (4, 5):
    raise errors.SettingError(
      f'the step of an environment returned {result!r}: it must return '
      '(observation, reward, terminated, truncated, info)'
    )
  if len(result) == 5:
    observation, reward, terminated, truncated, info = result
    return observation, reward, bool(terminated), bool(truncated), info
  observation, reward, done, info = result
  if not done:
    return observation, reward, False, False, info
  truncated = isinstance(info, dict) and bool(info.get('TimeLimit.truncated'))
  return observation, reward, not truncated, truncated, info


def as_numpy(value: Any) -> Any:
  """Returns a tensor of any framework as NumPy has it, all else as it is."""
  if isinstance(value, (float, int, np.generic, np.ndarray)):
    return value
  if hasattr(value, '__array__'):
    return np.asarray(value)[()]
  return float(value) if hasattr(value, '__float__') else value


def as_float64(reward: Any) -> Any:
  """Returns a number as a float, and an array as one of float64.

  Rewards are summed as such: in float32 the sum would stop to grow at 2^24, in
  float16 at 2^11.
  """
  if isinstance(reward, (float, int, np.generic)):
    return float(reward)
  array = np.asarray(reward).astype(np.float64)
  return array if array.ndim else float(array)


def render(environment: Any, mode: str) -> Any:
  """Renders an environment of either API, in `mode`."""
  if 'mode' in inspect.signature(unwrapped(environment).render).parameters:
    return environment.render(mode)
  if getattr(environment, 'render_mode', mode) != mode:
    raise errors.SettingError(
      f'this environment was created with render_mode='
      f'{environment.render_mode!r}, so it cannot render {mode!r}: create it '
      f'with render_mode={mode!r}'
    )
  return environment.render()


class Preprocessing:
  """Hands on what both kinds of preprocessing leave as it is."""

  environment: Any

  # Whether `get_state` returns all it takes in the middle of an episode too.
  saves_mid_episode = False

  @property
  def action_space(self) -> Any:
    return self.environment.action_space

  @property
  def reward_range(self) -> tuple[float, float]:
    # Gymnasium 1.0 dropped it.
    return getattr(self.environment, 'reward_range', (-np.inf, np.inf))

  @property
  def metadata(self) -> dict[str, Any]:
    return getattr(self.environment, 'metadata', {})

  def close(self) -> None:
    close = getattr(self.environment, 'close', None)
    if close is not None:
      close()


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
  if hasattr(unwrapped(environment), 'ale'):
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
    seed = seeding.integer(seeding.resolve(seed), 'environment')
    # The seed of the next reset: Gymnasium is seeded once, by the first.
    self._next_seed: int | None = None
    # Wrappers pass any keyword on, so what is below them decides.
    reset_parameters = inspect.signature(unwrapped(environment).reset)
    if 'seed' in reset_parameters.parameters:
      self._next_seed = seed
    elif hasattr(environment, 'seed'):
      environment.seed(seed)

  def __repr__(self):
    return f'{type(self).__name__}({self.environment})'

  @property
  def observation_space(self) -> Any:
    return self.environment.observation_space

  def reset(self) -> Any:
    """Starts an episode and returns its first observation."""
    self.game_over = False
    if self._next_seed is None:
      result = self.environment.reset()
    else:
      result = self.environment.reset(seed=self._next_seed)
      self._next_seed = None
    is_pair = isinstance(result, tuple) and len(result) == 2
    if is_pair and isinstance(result[1], dict):
      return result[0]
    return result

  def step(self, action: int) -> tuple[Any, float, bool, Any]:
    """Returns (observation, reward, is_terminal, info).

    `is_terminal` is True at a true end only; after a time limit of the
    environment's own, `game_over` alone is.
    """
    observation, reward, terminated, truncated, info = read_step(
      self.environment.step(action)
    )
    self.game_over = terminated or truncated
    return observation, reward, terminated, info

  def render(self, mode: str = 'rgb_array') -> Any:
    """Returns a picture of the present state."""
    return render(self.environment, mode)

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
    inner = unwrapped(self.environment)
    generator = getattr(inner, 'np_random', None)
    if not isinstance(generator, np.random.Generator):
      raise NotImplementedError(
        f'{type(inner).__name__} has no `np_random` generator whose state '
        'could be saved: derive it from gymnasium.Env and draw from '
        'self.np_random'
      )
    return generator
