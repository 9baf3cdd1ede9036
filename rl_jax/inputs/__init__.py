"""What users hand over: the numbers of a config, and code of their own."""
