"""Messages of plain data between processes: JSON after its length, never a pickle. Imports nothing but Python."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

LONGEST = 1 << 28
_LENGTH = struct.Struct("!I")


class Broken(Exception):
  """Error if the other end is gone, or sent something that is not a message."""


def packed(message: Any) -> bytes:
  """Return a message as bytes. Raises: ValueError: it holds NaN, or is too long."""
  data = json.dumps(message, allow_nan=False).encode()
  if len(data) > LONGEST:
    raise ValueError(f"a message of {len(data)} bytes between processes, want at most {LONGEST}")
  return _LENGTH.pack(len(data)) + data


def send(connection: socket.socket, message: Any) -> None:
  """Send a message. Raises: Broken: the other end has gone, or takes nothing within the connection's timeout."""
  try:
    connection.sendall(packed(message))
  except OSError as error:
    raise Broken(str(error)) from error


def receive(connection: socket.socket) -> Any:
  """Wait for a message and return it. Raises: Broken."""
  inbox = Inbox(connection)
  while not (messages := inbox.read(most=1)):
    pass
  return messages[0]


class Inbox:
  """Messages received on a connection, without waiting for the rest of an incomplete one."""

  def __init__(self, connection: socket.socket):
    self.connection = connection
    self._data = bytearray()

  def read(self, most: int | None = None) -> list[Any]:
    """Take what has arrived, at least a byte, and return the messages that are complete.

    Args:
      most: messages; nothing beyond them is taken, as another process may read the same connection.

    Raises: Broken.
    """
    try:
      data = self.connection.recv(1 << 20 if most is None else self._missing())
    except OSError as error:
      raise Broken(str(error)) from error
    if not data:
      raise Broken("the other end has gone")
    self._data += data
    messages = []
    while len(self._data) >= _LENGTH.size and len(self._data) >= self._length():
      messages.append(self._message(bytes(self._data[_LENGTH.size : self._length()])))
      del self._data[: self._length()]
    return messages

  def _length(self) -> int:
    """Bytes of the message that has begun, with its length before it."""
    length = _LENGTH.unpack_from(self._data)[0]
    if length > LONGEST:
      raise Broken(f"a message of {length} bytes")
    return _LENGTH.size + length

  def _missing(self) -> int:
    return (_LENGTH.size if len(self._data) < _LENGTH.size else self._length()) - len(self._data)

  @staticmethod
  def _message(data: bytes) -> Any:
    try:
      return json.loads(data)
    except (ValueError, RecursionError) as error:
      raise Broken("no JSON") from error
