"""From a system to a program: what runs once over all steps, what runs in a loop, and in which direction."""
