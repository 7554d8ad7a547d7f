"""What `edgempi bench --only object-allreduce,object-bcast` measures, on mpi4py: the same rounds and columns.

mpirun -np 4 python3 peer_objects.py [LARGEST SIZE IN BYTES]
"""

import sys

from mpi4py import MPI

WORLD = MPI.COMM_WORLD


def rounds_for(size):
    return 2000 if size <= 4096 else 300 if size <= 262144 else 60 if size <= 4194304 else 20


def measure(name, size, call):
    rounds = rounds_for(size)
    for _ in range(rounds // 10 + 2):
        call()
    seconds = []
    for _ in range(rounds):
        WORLD.Barrier()
        start = MPI.Wtime()
        call()
        seconds.append(MPI.Wtime() - start)
    # A call's time is that of its slowest rank.
    everybodys = WORLD.gather(seconds, root=0)
    if WORLD.rank == 0:
        slowest = sorted(map(max, zip(*everybodys)))
        median, p99 = slowest[rounds // 2] * 1e6, slowest[rounds * 99 // 100] * 1e6
        print(f"{name:<16} {WORLD.size:>3} {size:>10} {median:>12.2f} {p99:>12.2f}", flush=True)


def main():
    largest = int(sys.argv[1]) if len(sys.argv) > 1 else 8 << 20
    size = 8
    while size <= largest:
        if size == 8:
            measure("object-allreduce", size, lambda: WORLD.allreduce(WORLD.rank))
        value = "x" * size if WORLD.rank == 0 else None
        measure("object-bcast", size, lambda: WORLD.bcast(value, root=0))
        size *= 16


main()
