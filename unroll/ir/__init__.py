"""The recurrence-equation IR: axes, declarations, equations, systems, and their names and index ranges."""
