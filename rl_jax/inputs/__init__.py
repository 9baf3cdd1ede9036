"""What users hand over: the numbers of a config, code of their own, and the arrays that it gives."""
