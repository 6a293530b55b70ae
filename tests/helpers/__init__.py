"""What the tests share: a symbol that computes, gradient checks, exact values, cases for every operation."""
