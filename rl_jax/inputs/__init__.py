"""Checks of users' inputs: the numbers of a config, code of their own, and the arrays that it returns."""
