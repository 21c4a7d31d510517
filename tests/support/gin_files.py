"""The gin files of the package, and what they say.

`gin_files.json` is the table of all 41 files of Dopamine 3.2.1, values as gin
text. The files are read by gin's parser but not executed, so that no backend is
loaded.
"""

import json
import pathlib

from gin import config_parser

ROOT = pathlib.Path(__file__).parents[2]
TABLE = json.loads(
  pathlib.Path(__file__).with_name('gin_files.json').read_text()
)

AGENTS = ('dqn', 'rainbow', 'quantile', 'implicit_quantile', 'full_rainbow')

# The TensorFlow twins of files that 3.2.1 has on JAX only.
TWINS = [
  'dopamine/agents/full_rainbow/configs/full_rainbow.gin',
  'dopamine/agents/quantile/configs/quantile.gin',
]

# Agents of which 3.2.1 has no file that learns on a CPU.
CARTPOLE = [
  'dopamine/agents/full_rainbow/configs/full_rainbow_cartpole.gin',
  'dopamine/agents/implicit_quantile/configs/implicit_quantile_cartpole.gin',
  'dopamine/agents/quantile/configs/quantile_cartpole.gin',
]

# More usual settings: {ours: the learning rate of the published file}.
TUNED = {
  f'dopamine/agents/rainbow/configs/{name}_tuned.gin': rate
  for name, rate in (
    ('rainbow_cartpole', 0.09),
    ('c51_acrobot', 0.1),
    ('rainbow_acrobot', 0.09),
  )
}

# Linear in a Fourier basis: {ours: the published file with a perceptron}.
FOURIER = {
  f'dopamine/agents/dqn/configs/dqn_{task}_fourier.gin': (
    f'dopamine/agents/dqn/configs/dqn_{task}.gin'
  )
  for task in ('cartpole', 'acrobot')
}

# Any Gymnasium task.
GYM = 'dopamine/agents/dqn/configs/dqn_gym.gin'

JAX_DQN = 'dopamine/jax/agents/dqn/configs/dqn_cartpole_tuned.gin'

OURS = [*TWINS, *CARTPOLE, *TUNED, *FOURIER, GYM, JAX_DQN]

WRITTEN = sorted(f for f in TABLE if pathlib.Path(f).parts[-3] in AGENTS)


class Name(str):
  """A reference or a macro, as the text it was read from; no quoted string."""


class AsText(config_parser.ParserDelegate):
  """Looks no name up."""

  def configurable_reference(self, scoped_configurable_name, evaluate):
    return Name(f'@{scoped_configurable_name}' + '()' * evaluate)

  def macro(self, macro_name):
    return Name(f'%{macro_name}')


def parse(text):
  """Returns the imports and a dict of the bindings of a gin file."""
  imports, bindings = [], {}
  for statement in config_parser.ConfigParser(text, AsText()):
    if isinstance(statement, config_parser.ImportStatement):
      imports.append(statement.format().removeprefix('import '))
    elif isinstance(statement, config_parser.BindingStatement):
      assert not statement.scope, statement.location
      name = f'{statement.selector}.{statement.arg_name}'
      assert name not in bindings, f'{name} is bound twice'
      bindings[name] = statement.value
    else:
      assert isinstance(statement, config_parser.BlockDeclaration), statement
  return imports, bindings


def read(name):
  """What `parse` returns of a file, whose name is relative to the root."""
  return parse((ROOT / name).read_text())
