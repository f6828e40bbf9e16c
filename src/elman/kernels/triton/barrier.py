"""The barrier of the second tier: the programs of a batch tile wait for each other through a counter in memory."""

import triton
import triton.language as tl


@triton.jit
def meet(counter, target):
    """Return when `target` arrivals have been counted; what each program stored before is then seen by all.

    One integer is added per program, so the order of arrival changes no result. The adding releases, the looking
    acquires. Whoever calls this has been launched as a cooperative grid: all programs run at once, or none does.
    """
    tl.debug_barrier()  # the stores of all threads of this program come first
    tl.atomic_add(counter, 1, sem="release", scope="gpu")
    while tl.atomic_add(counter, 0, sem="acquire", scope="gpu") < target:
        pass
    tl.debug_barrier()  # no thread goes on before the one that looked
