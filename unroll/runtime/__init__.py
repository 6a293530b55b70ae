"""Running a net: arguments are checked and bound, programs compiled when they are first asked for."""
