"""Programs that call a policy, turned into environments that wait for it. Imports no JAX.

A library that plays an episode by itself awaits the policy's replies. Here it is a coroutine that is suspended where it
asks, and goes on when the reply comes, in an event loop that runs in between and not longer.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

Ask = Callable[[Any], Awaitable[str]]
"""Function of a question, whatever it is, that gives the reply."""


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
  """The event loop of all episodes of this process."""
  return asyncio.new_event_loop()


class Suspended:
  """A program that asks.

  Args:
    program: is given a function that asks.
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
    """Run until the program asks, and return what; None where it has ended. Raises what it raises."""

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
    """Give the program up."""
    if not self._task.done():
      self._task.cancel()
      _loop().run_until_complete(asyncio.wait({self._task}))
