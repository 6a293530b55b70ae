"""Tests of `unroll.analysis`."""
