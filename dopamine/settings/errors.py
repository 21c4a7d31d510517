"""Errors that tell users what to change."""


class UsageError(Exception):
  """A mistake of the user's. Its message says all: commands print only that.

  Every error that is raised to explain one is of a subclass that is a built-in
  error too, such as those below, so that `except ValueError` goes on to work.
  """


class SettingError(UsageError, ValueError):
  """What was set, or is in a file, cannot be used."""


class InterfaceError(UsageError, TypeError):
  """A user's class lacks what is called, or has what nothing calls."""


class StateError(UsageError, RuntimeError):
  """The process, or an object, is not in a state in which this can be done."""


class NotFiniteError(UsageError, FloatingPointError):
  """A number is a NaN or an infinity."""


class MissingFileError(UsageError, FileNotFoundError):
  """There is no such file."""


class NotSavedError(UsageError, OSError):
  """What was to be kept could not be written."""


class NotInstalledError(UsageError, ImportError):
  """A library is needed that is not there."""
