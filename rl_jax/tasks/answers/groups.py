"""Tokens by brackets: where they close, and parts between separators that no bracket holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rl_jax.tasks.answers.tokens import Token

CONNECTIVES = ("and", "or")


def depth_change(token: Token) -> int:
  """1 for an opening bracket, -1 for a closing one, else 0. Intervals may mix round and square ones."""
  if token.is_sign("(", "[", "{") or token.is_command("lbrace", "langle") or token.kind == "begin":
    return 1
  return -(token.is_sign(")", "]", "}") or token.is_command("rbrace", "rangle") or token.kind == "end")


def closes(tokens: Sequence[Token]) -> int:
  """Index at which the first token's bracket closes; -1 if it opens none, or does not close."""
  depth = 0
  for at, token in enumerate(tokens):
    depth += depth_change(token)
    if depth <= 0:
      return at if at > 0 else -1
  return -1


def split(tokens: Sequence[Token], separates: Callable[[Token], bool]) -> list[list[Token]]:
  """The parts between separators outside of brackets; empty ones too."""
  parts: list[list[Token]] = [[]]
  depth = 0
  for token in tokens:
    depth += depth_change(token)
    if depth == 0 and separates(token):
      parts.append([])
    else:
      parts[-1].append(token)
  return parts


def outside(tokens: Sequence[Token]) -> list[Token]:
  """The tokens outside of all brackets."""
  outer, depth = [], 0
  for token in tokens:
    change = depth_change(token)
    if depth == 0 and change == 0:
      outer.append(token)
    depth += change
  return outer


def separates(token: Token) -> bool:
  """Return whether a token separates the items of a list."""
  return token.is_sign(",", ";") or is_connective(token)


def is_connective(token: Token) -> bool:
  """Return whether a token is "and", "or" or their sign."""
  return (token.kind in ("word", "letters") and token.text.casefold() in CONNECTIVES) or token.is_command("lor", "land")


def has_words(tokens: Sequence[Token]) -> bool:
  """Return whether the items of a list are joined by words; commas beside words do not matter."""
  return any(map(is_connective, tokens))


def joined_by(tokens: Sequence[Token], word: str) -> bool:
  """Return whether all separators outside of brackets are this word."""
  signs = {"or": "lor", "and": "land"}
  separators = [token for token in outside(tokens) if separates(token)]
  return all(token.text.casefold() == word or token.is_command(signs[word]) for token in separators)


def joined(tokens: Sequence[Token]) -> list[Token] | None:
  """The tokens with tight commas of thousands outside of brackets taken out of numbers; None: there are none."""
  result: list[Token] = []
  at, depth, has_groups = 0, 0, False
  while at < len(tokens):
    depth += depth_change(tokens[at])
    end = at + 1
    while depth == 0 and tokens[at].kind == "number" and end + 1 < len(tokens) and _continues(tokens[end : end + 2]):
      end += 2
    run = [token.text for token in tokens[at:end:2]]
    if end - at > 1 and _are_groups(run):
      result.append(tokens[at]._replace(text="".join(run)))
      has_groups = True
    else:
      result += tokens[at:end]
    at = end
  return result if has_groups else None


def _continues(pair: Sequence[Token]) -> bool:
  """Return whether a comma and a number follow without a blank."""
  return pair[0].is_sign(",") and pair[1].kind == "number" and not (pair[0].spaced or pair[1].spaced)


def _are_groups(run: Sequence[str]) -> bool:
  last = run[-1].partition(".")[0]
  return (
    run[0].isdigit()
    and len(run[0]) <= 3
    and run[0][0] != "0"
    and all(len(group) == 3 and group.isdigit() for group in (*run[1:-1], last))
  )
