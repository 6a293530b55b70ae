"""System to system: adjoint, simplification, modes, intervention, ragged batches, a cut between two steps."""
