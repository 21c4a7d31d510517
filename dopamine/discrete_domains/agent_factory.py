"""Makes agents, of whose modules gin files need import none."""

from collections.abc import Sequence
import importlib
import inspect
import pkgutil
import re
from typing import Any

import gin

from dopamine import backend
from dopamine import seams
from dopamine.settings import checks
from dopamine.settings import errors
from dopamine.settings import gin_files as gin_settings
from dopamine.settings import spaces

# create_agent.agent_name -> module and class.
_AGENTS = {
  prefix + name: (
    f'dopamine.{folder}agents.{name}.{name}_agent',
    prefix.replace('jax_', 'Jax') + cls,
  )
  for prefix, folder in (('', ''), ('jax_', 'jax.'))
  for name, cls in (
    ('dqn', 'DQNAgent'),
    ('rainbow', 'RainbowAgent'),
    ('implicit_quantile', 'ImplicitQuantileAgent'),
    ('quantile', 'QuantileAgent'),
    ('full_rainbow', 'FullRainbowAgent'),
  )
}

# What gin files bind without importing it: of most files, and of some.
_CONFIGURABLES = (
  'dopamine.networks',
  'dopamine.optimizers',
  'dopamine.replay_memory.circular_replay_buffer',
)
_OTHERS = (
  'dopamine.replay_memory.prioritized_replay_buffer',
  'dopamine.discrete_domains.gym_lib',
  'dopamine.discrete_domains.legacy_networks',
  'dopamine.jax.networks',
)

# What is in every gin file for another Dopamine that `dopamine_4` refuses.
_DOPAMINE_4 = re.compile(
  r'\bReplayBuffer\b|dopamine\.(tf|jax\.replay_memory)|\bflax\b|_network\b'
  r'|\b(Checkpointer|Logger)\b|\b(Console)?Collector|use_legacy_logger'
  r'|collector_allowlist|keep_every|checkpoint_duration|fine_grained'
)


def load_gin_configs(
  gin_files: Sequence[str], gin_bindings: Sequence[str]
) -> None:
  """Chooses the backend, imports what gin files may name, and parses them.

  Args:
    gin_files: paths, looked for from the current folder, then from those of
      `gin.add_config_file_search_path`, and then inside the installed package
      (`dopamine/agents/dqn/configs/dqn.gin`).
    gin_bindings: further statements, which override those of the files.
  """
  paths, bindings, texts = gin_settings.read(gin_files, gin_bindings)
  if any(map(_DOPAMINE_4.search, texts)):
    if (dopamine_4 := seams.compat('dopamine_4')) is not None:
      dopamine_4.check_version(texts)
  backend.choose(texts)
  backend.load_keras()
  named = [n for n in _AGENTS if any(n in text for text in texts)] or _AGENTS
  _import(*_CONFIGURABLES, *(_AGENTS[name][0] for name in named))
  try:
    gin_settings.parse(paths, bindings)
  except ValueError:  # Of a name, perhaps, that is in another module.
    import_configurables()
    try:
      gin_settings.parse(paths, bindings)
    except ValueError as error:
      if backend.current() == 'jax' or not backend.names_jax(texts):
        raise
      raise errors.SettingError(
        f'the files name an agent of JAX, and the backend is '
        f'{backend.current()}: set KERAS_BACKEND=jax, or nothing, before '
        f'Python starts ({str(error).strip()})'
      ) from error


def import_configurables() -> None:
  """Imports all whose names gin files may bind without an import."""
  _import(
    *_CONFIGURABLES, *_OTHERS, *(module for module, _ in _AGENTS.values())
  )


def _import(*modules: str) -> None:
  """Imports modules, but for those of another backend."""
  for module in modules:
    if backend.current() == 'jax' or not module.startswith('dopamine.jax.'):
      importlib.import_module(module)


@gin.configurable(module='dopamine.discrete_domains.run_experiment')
def create_agent(
  sess: Any,
  environment: Any,
  agent_name: str | type | None = None,
  summary_writer: Any = None,
  debug_mode: bool = False,
  fit_to_environment: bool = False,
) -> Any:
  """Makes the agent that gin names.

  Args:
    sess: ignored; passed on to agents that take it.
    environment: its `action_space.n` is the number of actions.
    agent_name: 'dqn', 'rainbow', 'implicit_quantile', 'quantile' or
      'full_rainbow', or one of these with 'jax_' before it. On the JAX backend
      'full_rainbow' is 'jax_full_rainbow', as in the files of Dopamine 4. Or a
      class of your own, in gin `@MyAgent`: it is given `num_actions`, and
      `summary_writer` and `sess` if it takes them.
    summary_writer: for the losses of training.
    debug_mode: whether the agent logs its losses to TensorBoard.
    fit_to_environment: whether observation_shape, observation_dtype and network
      of the agent follow from `environment.observation_space`, where gin does
      not bind them.

  Raises:
    ValueError: there is no such agent, or it cannot act in the environment.
  """
  checks.switch('create_agent', 'debug_mode', debug_mode)
  checks.switch('create_agent', 'fit_to_environment', fit_to_environment)
  agent_class = find_agent_class(agent_name)
  parameters = inspect.signature(agent_class).parameters
  arguments = {}
  if 'sess' in parameters:
    arguments['sess'] = sess
  if 'summary_writer' in parameters or any(
    p.kind == p.VAR_KEYWORD for p in parameters.values()
  ):
    arguments['summary_writer'] = summary_writer if debug_mode else None
  if fit_to_environment:
    arguments |= _fitted(agent_class, environment)
  return agent_class(num_actions=spaces.num_actions(environment), **arguments)


def find_agent_class(agent_name: str | type | None) -> type:
  """The class that `create_agent.agent_name` means."""
  if isinstance(agent_name, type):
    return agent_name
  if not isinstance(agent_name, str) or agent_name not in _AGENTS:
    near = gin_settings.hint(str(agent_name), _AGENTS)
    if agent_name is not None and not isinstance(agent_name, str):
      near = f' (a {type(agent_name).__name__}, not a class)'
    raise errors.SettingError(
      f'Unknown agent: {agent_name}{near}; '
      f'create_agent.agent_name is one of {", ".join(_AGENTS)}, or a class of '
      'your own, @MyAgent without quotes or ()'
    )
  if agent_name == 'full_rainbow' and backend.current() == 'jax':
    agent_name = 'jax_full_rainbow'
  module, name = _AGENTS[agent_name]
  return pkgutil.resolve_name(f'{module}:{name}')


def _fitted(agent_class: type, environment: Any) -> dict[str, Any]:
  """What an agent's gin bindings leave to its environment's observations."""
  parameters = {
    name: gin_settings.unbound_parameter(agent_class, name)
    for name in ('observation_shape', 'observation_dtype', 'network')
  }
  parameters = {name: p for name, p in parameters.items() if p is not None}
  if not parameters:
    return {}
  space = spaces.box(environment, agent_class.__name__)
  found = {'observation_shape': space.shape, 'observation_dtype': space.dtype}
  network = parameters.get('network')
  if network is not None and network.default is not network.empty:
    from dopamine import networks  # Loads Keras.

    found['network'] = networks.fitting(network.default, space)
  return {name: value for name, value in found.items() if name in parameters}
