"""What backends share: memory layout, liveness, symbolic sizes, product planning, arrays on the host."""
