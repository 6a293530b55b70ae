"""Tuning of the CUDA backend: launch shapes and limits; none has been measured on a device yet."""

THREADS_PER_BLOCK = 256
"""Threads of a block, in every kernel of points and sums, and in a loop as one kernel."""
STAGED_NUMBERS = 4352
"""Numbers that a product puts aside in shared memory, for itself alone."""
MAX_TURNS_PER_PHASE = 16
"""Blocks' worth of points or rows that one block takes at most in a phase."""
BARRIER_TIMEOUT_S = 10
"""Seconds that a block waits for the others."""
MIN_THREADS_VECTORIZED = 64
"""Threads of a block at least, where each takes several elements: as many blocks as if it took one."""
HALVES_PER_STORE = 8
"""Numbers of 16 bits that a thread stores at once."""
WARP = 32
"""Threads that run side by side."""
MAX_GRAPH_NODES = 2**18
"""Calls beyond which a run is no graph: a node takes a kilobyte or so, on the device too."""
MAX_GRID = 2**31
"""What a grid and the sizes that cuBLAS takes stay below."""
MAX_INT32_INDEX = 2**31 - 2**20
"""What indices of 32 bits count up to, with room for a last block and for steps beyond an end."""
MAX_ARRAYS_PER_LAUNCH = 64
"""Arrays that one launch takes: their addresses are an argument, and arguments have 4 KiB at most."""
SUMS_PER_BLOCK = 32
"""Sums of a block, side by side, where there are as many; threads that share one meet in a tree."""
BLOCKS_PER_SUM = 32
"""Blocks that share a long sum."""
MIN_TERMS_LONG_SUM = 32
"""Terms of one thread above which a sum counts as long."""
MAX_SHARED_SUMS = 8192
"""Sums up to which blocks share them: more of them fill a device by themselves."""
TABLE_TILE = 1024
"""Entries of a table's gradient that a block compares with its row before it adds up those that are the row's."""
VECTOR_BYTES = 16
"""The widest load of a thread."""
MAX_TILE_ROWS, MAX_TILE_COLUMNS = 64, 1024
"""Rows and columns of a product that one block takes at most."""
