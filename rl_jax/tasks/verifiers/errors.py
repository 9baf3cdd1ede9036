"""Error of a verifier that can score nothing at all."""


class CannotVerify(ValueError):
  """No response can be scored: one line that says what is missing. A pool passes it on to its caller."""
