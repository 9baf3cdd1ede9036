"""Trees as LaTeX in which braces and dots leave nothing to guess."""

from __future__ import annotations

from rl_jax.tasks.answers.trees import Node

_AROUND = {
  "absolute": (r"\left|", r"\right|"), "floor": (r"\lfloor ", r"\rfloor "), "ceiling": (r"\lceil ", r"\rceil "),
}  # fmt: skip


def latex(tree: Node) -> str:
  r"""The LaTeX of a tree.

  >>> latex(Node("power", (Node("symbol", (), "x"), Node("constant", (), "pi"))))
  '{x}^{\\pi }'
  """
  return _RULES[tree.op](tree, [latex(arg) for arg in tree.args])


def _number(tree: Node, args: list[str]) -> str:
  if tree.value.denominator == 1:
    return str(tree.value.numerator)
  return rf"\frac{{{tree.value.numerator}}}{{{tree.value.denominator}}}"


def _symbol(tree: Node, args: list[str]) -> str:
  name, _, script = tree.value.partition("_")
  base = f"\\{name} " if len(name.rstrip("'")) > 1 and name.isalpha() else name
  return f"{base}_{{{script}}}" if script else base


def _around(tree: Node, args: list[str]) -> str:
  opening, closing = _AROUND[tree.op]
  return f"{opening}{args[0]}{closing}"


def _operator(tree: Node, args: list[str]) -> str:
  body = tree.args[0]
  if tree.value == r"\mod":
    return rf"{{{args[0]}}} \mod {{{args[1]}}}"
  if tree.value.startswith(r"\int") and body.op == "product" and body.args[-2] == Node("symbol", (), "d"):
    factors = [latex(arg) for arg in body.args]
    return rf"{tree.value} {_product(factors[:-2]) or '1'} \, d{factors[-1]}"
  return f"{tree.value} {args[0]}"


def _product(factors: list[str]) -> str:
  return r" \cdot ".join(f"{{{factor}}}" for factor in factors)


_RULES = {
  "number": _number,
  "constant": _symbol,
  "symbol": _symbol,
  "derivative": lambda tree, args: tree.value,
  "sum": lambda tree, args: f"({'+'.join(args)})",
  "negative": lambda tree, args: f"(-{args[0]})",
  "product": lambda tree, args: _product(args),
  "quotient": lambda tree, args: rf"\frac{{{args[0]}}}{{{args[1]}}}",
  "power": lambda tree, args: f"{{{args[0]}}}^{{{args[1]}}}",
  "root": lambda tree, args: rf"\sqrt[{args[1]}]{{{args[0]}}}",
  "call": lambda tree, args: rf"\{tree.value}" + (f"_{{{args[1]}}}" if len(args) > 1 else "") + f"({args[0]})",
  "absolute": _around,
  "floor": _around,
  "ceiling": _around,
  "factorial": lambda tree, args: f"({args[0]})!",
  "double factorial": lambda tree, args: f"({args[0]})!!",
  "binomial": lambda tree, args: rf"\binom{{{args[0]}}}{{{args[1]}}}",
  "degree": lambda tree, args: rf"{args[0]} \cdot \frac{{\pi}}{{180}}",
  "operator": _operator,
}
