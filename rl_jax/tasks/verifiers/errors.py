"""Error of a verifier that can score nothing at all."""


class CannotVerify(ValueError):
  """Error if no response can be scored: one line on what is missing. A pool passes it on to its caller."""
