"""Names of LaTeX that answers use, by what they do."""

from __future__ import annotations

FUNCTIONS = frozenset(
  "sin cos tan cot sec csc sinh cosh tanh coth sech csch arcsin arccos arctan arccot arcsec arccsc"
  " ln log lg exp".split()
)
"""Take one argument, with or without parentheses."""

BIG = frozenset(
  "sum prod int iint iiint oint lim limsup liminf det gcd lcm max min sup inf mod bmod pmod argmax argmin"
  " tr trace".split()
)
"""Operators that name a computation: an answer with one of them restates a question."""

GREEK = frozenset(
  "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega"
  " Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split()
)
SYMBOLS = GREEK | frozenset("hbar ell infty partial nabla aleph Re Im imath jmath wp emptyset angle triangle".split())
"""Commands that denote a value of their own."""

STRUCTURE = frozenset("frac sqrt surd binom choose over lfloor rfloor lceil rceil pm mp degree overline".split())
RELATIONS = frozenset("le ge ne approx equiv in notin to sim cong propto subset subseteq mid not".split())
OTHERS = frozenset(
  "cup cap setminus dots lbrace rbrace langle rangle lor land perp parallel circ prime cdot times div star".split()
)

SAME = {
  "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom", "leq": "le", "geq": "ge",
  "leqslant": "le", "geqslant": "ge", "neq": "ne", "thickapprox": "approx", "simeq": "approx", "varepsilon": "epsilon",
  "varphi": "phi", "vartheta": "theta", "varrho": "rho", "varsigma": "sigma", "varnothing": "emptyset", "empty":
  "emptyset", "ldots": "dots", "cdots": "dots", "dotsc": "dots", "dotsb": "dots", "vdots": "dots", "ddots": "dots",
  "rightarrow": "to", "longrightarrow": "to", "vee": "lor", "wedge": "land", "hslash": "hbar", "lbrack": "[",
  "rbrack": "]", "lparen": "(", "rparen": ")", "lvert": "|", "rvert": "|", "vert": "|", "lVert": "parallel",
  "rVert": "parallel", "Vert": "parallel", "|": "parallel", "lt": "<", "gt": ">", "ast": "*", "cdot": "*",
  "times": "*", "div": "/", "colon": ":", "{": "lbrace", "}": "rbrace", "%": "%", "$": "$", "&": "&", "#": "#",
  "_": "_", "arcsinh": "arsinh", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "deg": "degree", "prime": "'",
  "infinity": "infty", "qed": "", "pounds": "£", "euro": "€", "texteuro": "€",
}  # fmt: skip
"""Other names of the same sign; "" for one that says nothing."""

TEXT = frozenset(
  "text textrm textnormal textsf texttt textit textbf textup mbox hbox emph mathrm operatorname rm".split()
)
"""Commands whose argument is words."""
UPRIGHT = frozenset({"mathrm", "operatorname", "rm"})
"""Commands whose argument is the name of one thing."""
LETTER_UNITS = frozenset("mshgJNWVACKLTFHMl")
"""Upright letters that are units after a number."""
FONTS = frozenset("underline mathbf boldsymbol bm mathit mathsf mathcal mathscr mathfrak pmb vec bf it".split())
"""Commands that change the font of their argument."""
ACCENTS = frozenset("dot ddot hat widehat bar overline tilde widetilde overrightarrow".split())
"""Commands that turn their argument into another symbol."""
SIZES = frozenset(
  "left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm displaystyle textstyle"
  " scriptstyle limits nolimits quad qquad enspace thinspace thickspace medspace space hfill hline mathstrut"
  " strut".split()
)
"""Commands that change only sizes and gaps."""
DELIMITED = frozenset("left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm".split())
"""Sizes of the bracket that follows; a full stop after one is an empty bracket."""

KNOWN = FUNCTIONS | BIG | SYMBOLS | STRUCTURE | RELATIONS | OTHERS | ACCENTS | {"arsinh", "mathbb"}
SPLITTABLE = FUNCTIONS | GREEK | {"infty", "in", "cdot", "times", "pm", "cup", "cap", "le", "ge", "ne", "frac", "sqrt"}
"""Known names that text without blanks may glue to what follows, as in `\\lnx` and `\\cdoti`."""

WORDS = FUNCTIONS | GREEK | {"sqrt", "infty", "infinity", "asin", "acos", "atan"}
"""Names that plain text writes without a backslash."""
