"""A verifier that an untrained policy pleases half of the time. Imports nothing, as workers load it."""


def even(response, entry, **arguments):
  """1 for a response with an even number of characters."""
  return float(len(response) % 2 == 0)
