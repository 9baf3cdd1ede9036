"""Programs that call a policy, turned into environments that wait for it. Imports no JAX.

A library that plays an episode by itself awaits the policy's replies. Here it runs as a coroutine, which is suspended
when it asks and resumed when the reply comes. The event loop runs only in between.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

Ask = Callable[[Any], Awaitable[str]]
"""Function from a question, of any type, to the reply."""


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
  """The event loop of all episodes of this process."""
  return asyncio.new_event_loop()


class Suspended:
  """A program that asks for replies.

  Args:
    program: function that takes the function with which it asks.
  """

  def __init__(self, program: Callable[[Ask], Awaitable[Any]]):
    self._question: asyncio.Future[Any] = _loop().create_future()
    self._reply: asyncio.Future[str] = _loop().create_future()
    self._task = _loop().create_task(self._run(program))

  async def _run(self, program: Callable[[Ask], Awaitable[Any]]) -> Any:
    return await program(self._ask)

  async def _ask(self, question: Any) -> str:
    self._reply = _loop().create_future()
    self._question.set_result(question)
    return await self._reply

  def question(self) -> Any | None:
    """Run until the program asks; return its question, or None if it has ended. Its exceptions pass through."""

    async def until() -> None:
      await asyncio.wait({self._task, self._question}, return_when=asyncio.FIRST_COMPLETED)

    _loop().run_until_complete(until())
    if self._question.done():
      return self._question.result()
    self._task.result()
    return None

  def reply(self, text: str) -> None:
    """Give the reply to the last question."""
    self._question = _loop().create_future()
    self._reply.set_result(text)

  def result(self) -> Any:
    """The result of a program that has ended."""
    return self._task.result()

  def cancel(self) -> None:
    """Abandon the program."""
    if not self._task.done():
      self._task.cancel()
      _loop().run_until_complete(asyncio.wait({self._task}))
