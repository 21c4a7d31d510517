"""The public name of `dopamine.files.safe_pickle`: pickles that run no code."""

from dopamine.files import safe_pickle
from dopamine.files import unpickler

FrozenDict = unpickler.FrozenDict
RefusedError = safe_pickle.RefusedError
SavedSumTree = unpickler.SavedSumTree
SavedTuple = unpickler.SavedTuple
allow = safe_pickle.allow
dumps = safe_pickle.dumps
is_plain = safe_pickle.is_plain
load = safe_pickle.load
loads = safe_pickle.loads
name_of = unpickler.name_of
