"""What ends training with one line for a person."""


class TrainingError(Exception):
  """Bad input or a run that cannot go on: the message says what was got and what to do."""
