"""Digests of every network: equal before and after a change that keeps numbers.

    KERAS_BACKEND=tensorflow python -m tests.support.network_digests > a.json

Of the weights in their order, each with its path and shape, of the generators
afterwards, and of what the network returns. They are those of one machine and
backend.
"""

import hashlib
import json
import random
import sys

import keras
import numpy as np

from dopamine import networks

SUPPORT = np.linspace(-10.0, 10.0, 51)
LIMITS = {'min_vals': (-2.0,) * 4, 'max_vals': (3.0,) * 4}
PLAIN = {'noisy': False, 'dueling': False}
Q = {'distributional': False}
VECTOR, PIXELS = (4, 1), (84, 84, 4)
# The class, its arguments, and the shape of a state.
CASES = [
  *(('NatureDQNNetwork', (6,), k, PIXELS) for k in ({}, {'name': 'Online'})),
  ('RainbowNetwork', (6, 51, SUPPORT), {}, PIXELS),
  ('QuantileNetwork', (6, 20), {}, PIXELS),
  ('ImplicitQuantileNetwork', (6, 64), {}, PIXELS),
  ('NatureTrunk', (7,), {}, PIXELS),
  *(
    ('FullRainbowNetwork', (6, 51, SUPPORT), k, PIXELS)
    for k in ({}, PLAIN, Q, {'inputs_preprocessed': True})
  ),
  ('BasicDiscreteDomainNetwork', (None, None, 2, 51), {}, VECTOR),
  ('BasicDiscreteDomainNetwork', (*LIMITS.values(), None), {}, VECTOR),
  *(
    (f'{task}DQNNetwork', (3,), {'name': 'Online'}, (n, 1))
    for task, n in (
      ('Cartpole', 4),
      ('Acrobot', 6),
      ('MountainCar', 2),
      ('LunarLander', 8),
      ('CartpoleFourier', 4),
      ('AcrobotFourier', 6),
    )
  ),
  ('CartpoleRainbowNetwork', (3, 51, SUPPORT), {}, VECTOR),
  ('AcrobotRainbowNetwork', (3, 51, SUPPORT), {}, (6, 1)),
  ('FourierDQNNetwork', (*LIMITS.values(), 3), {}, VECTOR),
  *(
    case
    for kwargs in ({}, LIMITS | {'hidden_units': 7})
    for case in (
      ('ClassicControlDQNNetwork', (3,), kwargs, VECTOR),
      ('ClassicControlRainbowNetwork', (3, 51, SUPPORT), kwargs, VECTOR),
      ('ClassicControlQuantileNetwork', (3, 20), kwargs, VECTOR),
      ('ClassicControlImplicitQuantileNetwork', (3, 6), kwargs, VECTOR),
      ('ClassicControlFullRainbowNetwork', (3, 51, SUPPORT), kwargs, VECTOR),
      (
        'ClassicControlFullRainbowNetwork',
        (3, 51, SUPPORT),
        kwargs | PLAIN,
        VECTOR,
      ),
    )
  ),
  ('NoisyDense', (3, 'relu'), {}, (5,)),
  ('RainbowHead', (2, 3, SUPPORT[:3].astype(np.float32)), {}, (5,)),
]


def digest(name, args, kwargs, shape):
  """A digest of weights and generators, and one of outputs."""
  keras.utils.clear_session()
  random.seed(1)
  np.random.seed(1)
  rng = np.random.default_rng(1)
  state = rng.integers(0, 256, (2, *shape)) / 99.0
  network = getattr(networks, name)(*args, **kwargs)
  call = network.outputs if name == 'NatureTrunk' else network
  asked = {'num_quantiles': 5} if 'Implicit' in name else {}
  outputs = [call(state.astype(np.float32), **asked)]
  if 'Full' in name or name in ('NoisyDense', 'RainbowHead'):
    noise = rng.normal(size=network.num_noise).astype(np.float32)
    outputs.append(call(state.astype(np.float32), noise=noise))
  started = hashlib.sha256()
  for weight in network.weights:
    started.update(f'{weight.path} {weight.dtype} {weight.shape}'.encode())
    started.update(np.array(weight).tobytes())
  started.update(f'{random.random()} {np.random.random()}'.encode())
  returned = hashlib.sha256()
  for output in outputs:
    returned.update(type(output).__name__.encode())
    for array in output if isinstance(output, tuple) else (output,):
      returned.update(np.array(array).tobytes())
  return [started.hexdigest()[:16], returned.hexdigest()[:16]]


def main():
  found = {}
  for number, case in enumerate(CASES):
    found[f'{number:02} {case[0]}'] = digest(*case)
  json.dump(found, sys.stdout, indent=2)
  print()


if __name__ == '__main__':
  main()
