"""Files that are whole or not there, for agents that save some of their own."""

from dopamine.files import arrays
from dopamine.files import atomic
from dopamine.files import pending

DamagedError = atomic.DamagedError
put = pending.put
read_npz = arrays.read_npz
write_file = atomic.write_file
