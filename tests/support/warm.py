"""A Python that is warm: it has imported what is slow, and forks per command.

`Python(folder)` puts a `python` into `folder/bin` that hands its words to this
one, which runs them as a process of their own: flags, signals, working folder
and exit code are the command's. Only the imports are not done again.
"""

import array
import gc
import json
import os
import pathlib
import runpy
import socket
import stat
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]
CLIENT = """#!{python} -IS
import array, json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
  server.connect({address!r})
  words = sys.argv[1:]
  words[2:2] = {words}.get(words[min(1, len(words) - 1)], [])
  words = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
  fds = array.array('i', [0, 1, 2]).tobytes()
  server.sendmsg([len(words).to_bytes(4)], [(
    socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
  server.sendall(words)
  sys.exit(int(server.recv(16)))
"""


class Python:
  """Use as a context: its `bin` is a folder for PATH."""

  def __init__(self, folder: pathlib.Path, words: dict[str, list[str]]):
    """Says where it is.

    Args:
      folder: for `bin`, and where it is asked.
      words: which a module gets before its own.
    """
    self.bin = folder / 'bin'
    self._address = str(folder / 'warm')
    self._words = words

  def __enter__(self):
    self.bin.mkdir(parents=True)
    client = self.bin / 'python'
    client.write_text(
      CLIENT.format(
        python=sys.executable, address=self._address, words=self._words
      )
    )
    client.chmod(client.stat().st_mode | stat.S_IXUSR)
    self._server = subprocess.Popen(
      [sys.executable, '-m', 'tests.support.warm', self._address], cwd=ROOT
    )
    while not os.path.exists(self._address):
      assert self._server.poll() is None, 'it does not start'
      time.sleep(0.05)
    return self

  def __exit__(self, *unused):
    self._server.terminate()
    self._server.wait()


def warm_up() -> None:
  """Imports what commands import, and compiles lightly: see conftest.py."""
  import keras

  from dopamine.agents.dqn import dqn_agent  # noqa: F401
  from dopamine.discrete_domains import gym_lib  # noqa: F401
  from dopamine.runs import trained  # noqa: F401

  if keras.config.backend() == 'tensorflow':
    import tensorflow as tf

    plain = tf.function
    tf.function = lambda *args, jit_compile=None, **kwargs: plain(
      *args, **kwargs
    )
  gc.freeze()  # Else a collection copies in each process what they share.


def serve(address: str) -> None:
  """Runs one command after the other."""
  with socket.socket(socket.AF_UNIX) as server:
    server.bind(address + '~')
    server.listen()
    os.rename(address + '~', address)  # Only now it can be asked.
    while True:
      client, _ = server.accept()
      with client:
        size, ancillary, _, _ = client.recvmsg(4, socket.CMSG_SPACE(12))
        fds = array.array('i', ancillary[0][2])
        words = client.recv(int.from_bytes(size), socket.MSG_WAITALL)
        child = os.fork()
        if not child:
          server.close()
          client.close()
          for number, fd in enumerate(fds):
            os.dup2(fd, number)
          sys.stdin, sys.stdout, sys.stderr = (
            open(0),
            open(1, 'w'),
            open(2, 'w'),
          )
          run(*json.loads(words))
          return
        for fd in fds:
          os.close(fd)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        client.sendall(str(code if code >= 0 else 128 - code).encode())


def run(words: list[str], folder: str, variables: dict[str, str]) -> None:
  """What `python` does with these words: `-m MODULE ...`, or a script."""
  os.chdir(folder)
  os.environ.clear()
  os.environ.update(variables)
  if words[0] in ('-m', '-um'):
    sys.path[0] = folder
    sys.argv = words[1:]
    runpy.run_module(words[1], run_name='__main__', alter_sys=True)
  else:
    sys.path[0] = os.path.dirname(words[0])
    sys.argv = words
    runpy.run_path(words[0], run_name='__main__')


if __name__ == '__main__':
  warm_up()
  serve(sys.argv[1])
