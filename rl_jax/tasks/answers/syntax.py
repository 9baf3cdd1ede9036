r"""Tokens of one expression as a tree. The grammar is that of formulas: 2x, 1/2 x, \frac12, \sin 2x, \sqrt[3]{x}, |x|!

sum = signed ("+" | "-" | "\pm") …; signed = sign* product; product = power (("*" | "/" | nothing) power)*, from the
left; power = atom (script | "!" | "'" | degree)*. All tokens must be used: what is left over makes the text unreadable.
A numeral after another factor ("1 2", "\frac{1}{2}3") is no product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rl_jax.tasks.answers import commands, numbers
from rl_jax.tasks.answers.cursor import Cursor
from rl_jax.tasks.answers.letters import split_letters
from rl_jax.tasks.answers.tokens import Token, canonical
from rl_jax.tasks.answers.trees import Node, Unreadable, number, walk

MOST_DEPTH = 40
"""Most levels of nested brackets, fractions and scripts."""

_CONSTANTS = ("e", "i", "pi")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_RELATIONS = ("=", "<", ">", ",", ";")
_MODULO = ("mod", "bmod", "pmod")
_INVERSE = {name: f"arc{name}" for name in ("sin", "cos", "tan", "cot", "sec", "csc")}


def tree_of(tokens: Sequence[Token]) -> Node:
  """The tree of the one expression that the tokens are.

  Raises: Unreadable: they are none, or two by a sign of plus or minus.
  """
  tree = tree_with_signs(tokens)
  if any(node.op == "either" for node in walk(tree)):
    raise Unreadable("plus or minus")
  return tree


def tree_with_signs(tokens: Sequence[Token]) -> Node:
  """The tree of an expression, which may have signs of plus or minus.

  Raises: Unreadable.
  """
  parser = _Parser(split_letters(tokens))
  tree = parser.choice()
  if parser.at < len(parser.tokens):
    raise Unreadable(f"unexpected {parser.tokens[parser.at].text!r}")
  return tree


class _Parser(Cursor):
  """Recursive descent over tokens."""

  def __init__(self, tokens: list[Token]):
    super().__init__(tokens)
    self.depth = 0
    self.bars = 0
    """Absolute values that are open."""

  def choice(self) -> Node:
    r"""A sum, or two of them in n \choose k and a \over b, which take all of their group."""
    tree = self.sum()
    if self.peek().is_command("choose", "over"):
      op = "binomial" if self.next().text == "choose" else "quotient"
      tree = Node(op, (tree, self.sum()))
    return tree

  def sum(self) -> Node:
    terms = [self.signed()]
    while self.peek().is_sign("+", "-") or self.peek().is_command("pm", "mp"):
      terms.append(self.signed())
    return terms[0] if len(terms) == 1 else Node("sum", tuple(terms))

  def signed(self) -> Node:
    token = self.peek()
    if token.is_sign("+"):
      self.at += 1
      return self.signed_again()
    if token.is_sign("-"):
      self.at += 1
      return Node("negative", (self.signed_again(),))
    if token.is_command("pm", "mp"):
      self.at += 1
      return Node("either", (self.product(),), token.text)
    return self.product()

  def signed_again(self) -> Node:
    """Parse a product after a sign, with at most one more sign, as in 3 - -2."""
    if self.peek().is_sign("-"):
      self.at += 1
      return Node("negative", (self.product(),))
    return self.product()

  def product(self) -> Node:
    factors = [self.power()]
    while True:
      token = self.peek()
      if token.is_sign("*"):
        self.at += 1
        power = token.text == "*" and self.peek().is_sign("*") and not self.peek().spaced
        if power:
          self.at += 1
          factors[-1] = Node("power", (factors[-1], self.factor()))
        else:
          factors.append(self.factor())
      elif token.is_sign("/"):
        self.at += 1
        over = factors[0] if len(factors) == 1 else Node("product", tuple(factors))
        factors = [Node("quotient", (over, self.factor()))]
      elif token.is_command(*_MODULO):
        self.at += 1
        dividend = factors[0] if len(factors) == 1 else Node("product", tuple(factors))
        factors = [Node("operator", (dividend, self.factor()), r"\mod")]
      elif self.starts_factor(token):
        factors.append(self.power())
      else:
        return factors[0] if len(factors) == 1 else Node("product", tuple(factors))

  def factor(self) -> Node:
    """A power, after a sign or not."""
    if self.peek().is_sign("-", "+"):
      minus = self.next().text == "-"
      return Node("negative", (self.power(),)) if minus else self.power()
    return self.power()

  def starts_factor(self, token: Token) -> bool:
    if token.kind in ("letters", "name"):
      return True
    if token.kind == "sign":
      return token.text in "([{" or (token.text == "|" and self.bars == 0)
    return token.kind == "command" and (
      token.text in commands.SYMBOLS
      or token.text in commands.FUNCTIONS
      or token.text in commands.ACCENTS
      or token.text in ("frac", "sqrt", "surd", "binom", "lfloor", "lceil", "arsinh")
      or (token.text in commands.BIG and token.text not in _MODULO)
    )

  def power(self) -> Node:
    base = self.atom()
    while True:
      token = self.peek()
      if token.is_sign("^"):
        self.at += 1
        base = Node("power", (base, self.script()))
      elif token.is_sign("_") and base.op == "power" and base.args[0].op == "symbol":
        self.at += 1
        symbol = base.args[0]._replace(value=f"{base.args[0].value}_{self.label()}")
        base = base._replace(args=(symbol, base.args[1]))
      elif token.is_sign("!"):
        self.at += 1
        twice = self.peek().is_sign("!")
        self.at += twice
        base = Node("double factorial" if twice else "factorial", (base,))
      elif token.is_command("degree"):
        self.at += 1
        base = Node("degree", (base,))
      else:
        return base

  def script(self) -> Node:
    """An exponent: a group, or a number, letter or command with no more than a sign before it."""
    if self.peek().is_sign("-", "+"):
      minus = self.next().text == "-"
      return Node("negative", (self.script(),)) if minus else self.script()
    tree = self.atom()
    if self.peek().is_sign("^"):
      self.at += 1
      return Node("power", (tree, self.script()))
    return tree

  def atom(self) -> Node:
    self.depth += 1
    if self.depth > MOST_DEPTH:
      raise Unreadable(f"nested more than {MOST_DEPTH} deep")
    tree = self._atom()
    self.depth -= 1
    return tree

  def _atom(self) -> Node:
    token = self.next()
    if token.kind == "number":
      return self.numeral(token)
    if token.kind in ("letters", "name"):
      return self.symbol(token.text)
    if token.kind == "sign":
      if token.text in _CLOSING:
        return self.bracketed(_CLOSING[token.text])
      if token.text == "|":
        return self.absolute()
    if token.kind == "command":
      if token.text in commands.FUNCTIONS or token.text == "arsinh":
        return self.call(token.text)
      if token.text in commands.SYMBOLS:
        return self.symbol(token.text)
      if token.text in commands.BIG and token.text not in _MODULO:
        return self.operator(token.text)
      if token.text in _SPECIAL:
        return _SPECIAL[token.text](self)
      if token.text in commands.ACCENTS:
        return self.symbol(f"{token.text} {canonical(self.raw_group())}")
    raise Unreadable(f"unexpected {token.text!r}")

  def numeral(self, token: Token) -> Node:
    """A number, with the fraction after it where it is a mixed one."""
    literal = numbers.read(token.text)
    if literal is None:
      raise Unreadable(f"a number of {len(token.text)} characters")
    if not self.peek().is_command("frac"):
      return number(literal.value)
    before = self.at
    self.at += 1
    part = self.fraction()
    if part.op != "quotient" or any(arg.op != "number" for arg in part.args):
      self.at = before
      return number(literal.value)
    above, below = (arg.value for arg in part.args)
    if not token.text.isdigit() or not 0 < above < below or (above.denominator, below.denominator) != (1, 1):
      raise Unreadable("a number before a fraction that is no part of it")
    return number(literal.value + above / below)

  def symbol(self, name: str) -> Node:
    """A symbol with what belongs to its name: subscript and primes."""
    full_name = name
    while self.peek().is_sign("_", "'"):
      full_name += f"_{self.label()}" if self.next().text == "_" else "'"
    if full_name not in _CONSTANTS:
      full_name += self.place()
    return Node("constant" if full_name in _CONSTANTS else "symbol", (), full_name)

  def place(self) -> str:
    """The number in brackets after a symbol, as in x(0): a value of a function, which is a symbol of its own."""
    tokens = [token for token in self.tokens[self.at : self.at + 4] if not token.spaced]
    kinds = [token.kind if token.kind == "number" else token.text for token in tokens]
    for pattern in (["(", "number", ")"], ["(", "-", "number", ")"]):
      if kinds[: len(pattern)] == pattern:
        self.at += len(pattern)
        return "".join(token.text for token in tokens[: len(pattern)])
    return ""

  def bracketed(self, closing: str) -> Node:
    bars, self.bars = self.bars, 0
    tree = self.choice() if closing == "}" else self.sum()
    self.expect(closing)
    self.bars = bars
    return tree

  def absolute(self) -> Node:
    self.bars += 1
    tree = self.sum()
    self.expect("|")
    self.bars -= 1
    return Node("absolute", (tree,))

  def argument(self) -> Node:
    r"""An argument of \frac and its like: a group, one digit, or one letter or command."""
    token = self.peek()
    if token.kind == "number" and len(token.text) > 1:
      if not token.text.isdigit():
        raise Unreadable(f"{token.text} as an argument without braces")
      self.tokens[self.at] = token._replace(text=token.text[1:])
      return number(int(token.text[0]))
    if token.kind == "number":
      self.at += 1
      return number(int(token.text))
    if token.is_sign("(", "["):
      raise Unreadable("a bracket as an argument without braces")
    return self.atom()

  def fraction(self) -> Node:
    if derivative := self.derivative():
      return derivative
    above = self.argument()
    return Node("quotient", (above, self.argument()))

  def derivative(self) -> Node | None:
    r"""\frac{dy}{dx}, a symbol of its own, or \frac{d}{dx} y, an operator; None: an ordinary fraction."""
    before = self.at
    if not self.peek().is_sign("{"):
      return None
    above = self.raw_group()
    below = self.raw_group() if self.peek().is_sign("{") else []
    starts = [group[0] if group else Token("", "") for group in (above, below)]
    if (
      all(token.is_command("partial") or token == ("letters", "d", token.spaced) for token in starts)
      and len(below) > 1
      and (below[1].kind == "letters" or below[1].text in commands.GREEK)
      and (len(above) == 1 or above[1].kind in ("letters", "name", "command") or above[1].is_sign("^"))
    ):
      name = rf"\frac{{{canonical(above)}}}{{{canonical(below)}}}"
      of_something = len(above) > 1 and not (above[1].is_sign("^") and len(above) <= 5 and not _has_symbol(above[2:]))
      return Node("derivative", (), name) if of_something else Node("operator", (self.product(),), name)
    self.at = before
    return None

  def root(self) -> Node:
    index = number(2)
    if self.peek().is_sign("["):
      self.at += 1
      index = self.bracketed("]")
    if self.peek().kind == "number" and len(self.peek().text) > 1:
      raise Unreadable(r"\sqrt before several digits without braces")
    return Node("root", (self.atom(), index))

  def call(self, name: str) -> Node:
    """A function of the bracket after it, or else of the product that follows up to the next function."""
    exponent, base = None, None
    while self.peek().is_sign("^", "_"):
      if self.next().text == "^":
        exponent = self.script()
      else:
        base = self.script()
    if exponent == Node("negative", (number(1),)) and name in _INVERSE:
      name, exponent = _INVERSE[name], None
    if base is not None and name != "log":
      raise Unreadable(f"{name} with a subscript")
    if self.peek().is_sign("(", "[", "{") or (self.peek().is_sign("|") and self.bars == 0):
      inner = self.atom()
      if self.peek().is_sign("^"):
        self.at += 1
        exponent = self.script() if exponent is None else _refuse("two exponents")
    else:
      inner = self.plain_argument()
    if name == "exp":
      tree = Node("power", (Node("constant", (), "e"), inner))
    elif name in ("log", "lg"):
      base = number(10) if name == "lg" else base
      tree = Node("call", (inner,) if base is None else (inner, base), "log")
    else:
      tree = Node("call", (inner,), name)
    return tree if exponent is None else Node("power", (tree, exponent))

  def plain_argument(self) -> Node:
    if self.peek().is_sign("-"):
      self.at += 1
      return Node("negative", (self.plain_argument(),))
    factors = [self.power()]
    while (token := self.peek()) and self.starts_factor(token) and not token.is_sign("(", "["):
      if token.kind == "command" and token.text in commands.FUNCTIONS:
        break
      factors.append(self.power())
    return factors[0] if len(factors) == 1 else Node("product", tuple(factors))

  def operator(self, name: str) -> Node:
    r"""\sum, \int, \lim, \det and their like, with scripts and a body."""
    scripts, latex = [], f"\\{name}"
    while self.peek().is_sign("^", "_"):
      sign = self.next().text
      tokens = self.raw_group()
      scripts += _script_parts(tokens)
      latex += f"{sign}{{{canonical(tokens)}}}"
    return Node("operator", (self.product(), *scripts), latex)


def _script_parts(tokens: Sequence[Token]) -> list[Node]:
  """The expressions in the script of an operator: both sides of k=1, of x to 0."""
  parts: list[list[Token]] = [[]]
  for at, token in enumerate(tokens):
    if token.is_sign(*_RELATIONS) or token.is_command("to", "le", "ge", "in"):
      parts.append([])
    elif not (token.is_sign("^") and [later.text for later in tokens[at + 1 :]] in (["+"], ["-"])) and not (
      token.is_sign("+", "-") and at == len(tokens) - 1
    ):
      parts[-1].append(token)
  return [tree_of(part) for part in parts]


def _has_symbol(tokens: Sequence[Token]) -> bool:
  return any(token.kind in ("letters", "name", "command") for token in tokens)


def _refuse(why: str) -> Node:
  raise Unreadable(why)


def _between(op: str, closing: str) -> Callable[[_Parser], Node]:
  def parse(parser: _Parser) -> Node:
    tree = parser.sum()
    parser.expect(closing)
    return Node(op, (tree,))

  return parse


_SPECIAL: dict[str, Callable[[_Parser], Node]] = {
  "frac": _Parser.fraction,
  "sqrt": _Parser.root,
  "surd": lambda parser: Node("root", (parser.atom(), number(2))),
  "binom": lambda parser: Node("binomial", (parser.argument(), parser.argument())),
  "lfloor": _between("floor", "rfloor"),
  "lceil": _between("ceiling", "rceil"),
}
