"""Shape checks that read like a signature and cost nothing once compiled."""

from typing import Any


def check(spec: str, *arrays: Any) -> None:
  """Raises unless `arrays` have the shapes in `spec`.

  `check('B A, B', q_values, actions)` asks for a matrix and a vector of the
  same first size. A name keeps one size throughout the call; a size unknown
  at trace time (`None`) matches anything.

  Raises:
    ValueError: names the dimension, its sizes and the whole `spec`.
  """
  sizes: dict[str, int] = {}
  for part, array in zip(spec.split(','), arrays, strict=True):
    names, shape = part.split(), tuple(array.shape)
    if len(names) != len(shape):
      raise ValueError(
        f'expected shape [{", ".join(names)}] of {spec!r}, got {shape}'
      )
    for name, size in zip(names, shape, strict=True):
      if size is not None and sizes.setdefault(name, size) != size:
        raise ValueError(f'{name} is {sizes[name]} and {size} in {spec!r}')
