"""Messages between processes."""

from __future__ import annotations

import socket

import pytest

from rl_jax.tasks.verifiers import wire


@pytest.fixture
def pair():
  ours, theirs = socket.socketpair()
  with ours, theirs:
    yield ours, theirs


@pytest.mark.parametrize("message", [None, 1, "é\ud800\0", [1.5, {"a": [None]}], {"": {}}])
def test_messages_arrive_as_they_were(pair, message):
  wire.send(pair[0], message)
  assert wire.receive(pair[1]) == message


def test_messages_that_come_in_pieces_or_together(pair):
  ours, theirs = pair
  inbox, data = wire.Inbox(theirs), wire.packed([1]) + wire.packed("two") + wire.packed(3)
  ours.sendall(data[:3])
  assert inbox.read() == []
  ours.sendall(data[3:-1])
  assert inbox.read() == [[1], "two"]
  ours.sendall(data[-1:])
  assert inbox.read() == [3]


def test_one_message_is_taken_and_the_next_is_left_for_another_process(pair):
  for message in (1, 2):
    wire.send(pair[0], message)
  assert wire.receive(pair[1]) == 1
  assert wire.receive(pair[1].dup()) == 2


@pytest.mark.parametrize("data", [b"\xff" * 8, b"\0\0\0\1x", b"\0\0\0\2[", b""])
def test_what_is_no_message_is_told(pair, data):
  ours, theirs = pair
  ours.sendall(data)
  ours.close()
  with pytest.raises(wire.Broken):
    inbox = wire.Inbox(theirs)
    for _ in range(3):
      inbox.read()


def test_a_number_that_json_lacks_is_refused():
  with pytest.raises(ValueError):
    wire.packed(float("nan"))
