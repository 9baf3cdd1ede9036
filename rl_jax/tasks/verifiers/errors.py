"""Error of a verifier that can score nothing at all."""


class CannotVerify(ValueError):
  """No response can be scored, whatever it says: one line with what is missing. A pool passes it on to its caller."""
