"""The public name of `dopamine.files.safe_pickle`: pickles that run no code."""

from dopamine.files import safe_pickle

FrozenDict = safe_pickle.FrozenDict
RefusedError = safe_pickle.RefusedError
SavedSumTree = safe_pickle.SavedSumTree
SavedTuple = safe_pickle.SavedTuple
allow = safe_pickle.allow
dumps = safe_pickle.dumps
is_plain = safe_pickle.is_plain
load = safe_pickle.load
loads = safe_pickle.loads
name_of = safe_pickle.name_of
