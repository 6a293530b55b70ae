"""What a user writes, and what a user gets wrong: each message names what happened, where, and how to mend it."""
