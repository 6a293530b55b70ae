"""Tuning of the NumPy backend: block sizes, and from where on the quicker way pays."""

VIEW_BYTES = 144
"""Bytes of one of the views that `rows` makes, one for each step: in small networks more than the numbers take."""
BLOCK_ELEMENTS = 2**15
"""Of the widest array in a block: small enough that a few stay in the second-level cache, and worth the calls."""
MAX_PARTS = 8
"""Parts beyond which a vector is left as it is."""
MAX_PREPARED_VIEWS = 2048
"""Steps up to which every step's view is made beforehand: each takes a fifth of a kilobyte."""
MAX_SCAN_GROWTH = 4.0
"""How large a block's product of coefficients may be: errors grow with it."""
MAX_SCAN_NODES = 24
"""Nodes in an expression that is written out."""
SUM_BLOCK = 128
"""So many numbers are added one after another."""
MAX_RUNNING_SUM = 1024
"""So many are left to `numpy.sum`, which begins sooner, and adds up one after another along all axes but the last."""
MIN_SCAN_STEPS = 128
"""Steps from which a blocked scan is quicker than the loop."""
MAX_SCAN_NUMBERS = 128
"""Numbers a step up to which it is."""
SCAN_BLOCK = 129
"""Steps in a block of a scan: an odd number keeps the blocks' first steps apart in the cache."""
