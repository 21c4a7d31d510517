"""The networks of the agents, each a `keras.Model`: a trunk and a head.

`parts` has what all are made of, `atari` the trunk of pixels and DQN's network,
`distributional` and `rainbow` the heads and networks of the other agents,
`vectors` those of vectors, on the trunks `perceptron` and `fourier`, and
`wrapped` what an agent puts before one.

`B` is the batch, `A` the actions. A network is built once per agent as
`network(num_actions, name='Online')` and called with a batch of stacked
observations; it returns a named tuple of the type its agent expects. `N` are
the atoms of a distribution, or its quantiles.
"""
# ruff: noqa: F403

from dopamine.networks.atari import *
from dopamine.networks.distributional import *
from dopamine.networks.fourier import *
from dopamine.networks.parts import *
from dopamine.networks.perceptron import *
from dopamine.networks.rainbow import *
from dopamine.networks.vectors import *
from dopamine.networks.wrapped import *
