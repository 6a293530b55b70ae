"""The front end: what the user writes, recorded as equations and validated."""
