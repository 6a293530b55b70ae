"""An oracle that knows nothing of the code under test: random systems of recurrences, run by PyTorch step by step."""
