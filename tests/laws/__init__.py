"""Laws that hold for every template: each backend against `reference`, and each derivative against the values."""
