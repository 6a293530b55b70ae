"""Tuning of the native backend: limits of its cost model and block sizes of its products, with their reasons."""

EXAMPLES_PER_SHARE = 4
"""The examples of a share are a multiple of this."""
MIN_FLOPS_LOOP_TASK = 2**22
"""Multiplications in a loop worth waking a thread for."""
FLOPS_PER_POINTWISE = 8
"""Multiplications of a product that take as long as one pointwise operation."""
BLOCK_K_BYTES = 1024
"""Bytes of a block along the inner dimension."""
BLOCK_N_VECTORS = 36
"""Vectors of columns in a block: whole panels of three, of two, and both."""
BLOCK_M_ROWS = 64
"""Rows in a block."""
MAX_K_UNPACKED = 2048
"""Numbers that are added up one by one, at most, where nothing is packed."""
MAX_M_UNPACKED = 8
"""Rows for which packing the other operand is not worth while."""
PANEL_VECTORS = 3
"""Vectors in a panel: with eight rows as many sums as keep both units busy, and few enough for the registers."""
UNROLL_K = 4
"""Steps of the inner dimension at once where a single row leaves registers free."""
COPY_K = 16
"""Elements along the inner dimension that are copied before the next column where a matrix lies the other way."""
MIN_CYCLES_PER_TASK = 2**14
"""Cycles of a kernel worth sharing with another thread, at every step of a loop."""
MAX_CYCLES_INLINE = 2**10
"""Cycles of one lane that a kernel takes for an example, so few that to call a function takes as long."""
MIN_ELEMENTS_PARALLEL_PACKING = 2**15
"""Elements whose packing is worth sharing."""
MIN_ELEMENTS_PACKING = 64
"""Elements of a matrix worth packing."""
SWITCH_INTERVAL = 0.0002
"""Seconds until the thread that writes a program lets one that compiles go on."""
LONG = 0.05
"""Seconds of a call worth making in another thread, so that Ctrl-C can end it."""
PATIENCE = 0.1
"""Seconds after which the thread that waits for a call looks whether there was a signal, where nothing wakes it."""
CHUNK = 2**16
"""Elements side by side until a look whether the run is to end."""
CHUNK_ROWS = 2**6
"""Rows until such a look; a multiple of the widest vector, too."""
SUM_BLOCK = 128
"""Steps in a block: to add a block up once more costs as much as one of them."""
SUM_BLOCKS = 32
"""Blocks in a block of blocks."""
MAX_RUNNING_SUM = 1024
"""Numbers that may be added up one by one."""
MIN_FLOPS_PER_TASK = 2**17
"""Multiplications worth sharing with another thread: some microseconds."""
WAKE_UP_FACTOR = 16
"""How much more work must be that is done once, not at every step: to wake a thread takes as long as much of it."""
MAX_THREADS = 8
"""Threads at most: beyond, the waits at the end of each product cost more than a share saves."""
MAX_BYTES_COPIED = 2**12
"""Bytes of an array that are copied in less time than it takes Python to ask for its address."""
MAX_BYTES_SPARE = 2**20
"""Bytes of a workspace that whoever calls again and again may keep to himself."""
LINGER = 2**12
"""Looks of a thread that helped whether there is more to do, until it sleeps: about a tenth of a millisecond."""
MIN_BYTES_ALONE = 2**21
"""Bytes of a packed matrix that the cache of one core holds: to read more takes so long that sharing it always pays."""
MIN_BYTES_BACKWARDS = 2**19
"""Bytes of a packed matrix that may not stay in a core's nearer caches from one product to the next."""
