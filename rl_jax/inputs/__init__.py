"""Checks of user input: numbers of a config, users' functions, and the arrays that these return."""
