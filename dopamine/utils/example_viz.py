r"""Shows a trained agent: `python -m dopamine.utils.example_viz`.

    python -m dopamine.utils.example_viz --agent=rainbow --game=Breakout \
      --restore_checkpoint=/tmp/rainbow/checkpoints/tf_ckpt-199 --num_steps=500

plays into pictures and a video in `{root_dir}/agent_viz/{game}/{agent}/images`.
`python -m dopamine.discrete_domains.watch` films a whole run of ours, whose
settings it knows; here all are the agent's defaults, but for those of gin.
"""

from collections.abc import Sequence

from absl import flags

from dopamine import backend
from dopamine import command_line
from dopamine import signals
from dopamine.discrete_domains import run_experiment


def define_flags() -> None:
  """Defines those of this command, beside gin's and the seed."""
  flags.DEFINE_string(
    'agent',
    'dqn',
    'dqn, rainbow (c51), implicit_quantile (iqn), quantile (qrdqn) or '
    'full_rainbow; with jax_ before it on JAX.',
  )
  flags.DEFINE_string('game', 'Breakout', 'The Atari game.')
  flags.DEFINE_string(
    'root_dir', '/tmp/dopamine/', 'Above the folder of the pictures.'
  )
  flags.DEFINE_string(
    'restore_checkpoint',
    None,
    'A file weights_ckpt.N.npz, tf_ckpt-N or ckpt.N, a folder of such, or one '
    'of a run.',
  )
  flags.DEFINE_integer('num_steps', 2000, 'Agent steps to play.', lower_bound=1)
  flags.DEFINE_bool(
    'use_legacy_checkpoint',
    False,
    'Not needed: older names of variables are recognised.',
  )


def main(argv: Sequence[str]) -> None:
  """Shows what the flags name; a mistake ends with a paragraph."""
  command_line.carry_out(argv, _show)


def _show() -> None:
  checkpoint = command_line.require(
    'restore_checkpoint', '/tmp/dqn_breakout/checkpoints'
  )
  backend.choose([f'agent_name = {flags.FLAGS.agent!r}'])
  # What gin files may bind without an import; it loads Keras.
  from dopamine.utils import example_viz_lib

  run_experiment.load_gin_configs(
    flags.FLAGS.gin_files, command_line.gin_bindings()
  )
  with signals.interrupting():
    path = example_viz_lib.run(
      agent=flags.FLAGS.agent,
      game=flags.FLAGS.game,
      num_steps=flags.FLAGS.num_steps,
      root_dir=flags.FLAGS.root_dir,
      restore_ckpt=checkpoint,
      use_legacy_checkpoint=flags.FLAGS.use_legacy_checkpoint,
    )
  print(f'The video is {path}', flush=True)


if __name__ == '__main__':
  command_line.define_gin_flags()
  define_flags()
  command_line.run(main)
