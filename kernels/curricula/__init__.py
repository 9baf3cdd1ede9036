"""Curriculum mathematics: which prompts and groups are worth training on."""
