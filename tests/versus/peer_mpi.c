/* What `edgempi bench` measures, on an MPI: the same calls, sizes, rounds and columns, so that lines can be divided.
 *
 * name ranks bytes median_us p99_us; a call begins after a barrier, and its time is that of its slowest rank.
 *
 * mpicc -O2 peer_mpi.c -o peer_mpi && mpirun -np 4 ./peer_mpi [LARGEST SIZE IN BYTES] */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum call { BARRIER, PINGPONG, BCAST, REDUCE, ALLREDUCE, GATHER, SCATTER, ALLGATHER, ALLTOALL, CALLS };

static const char *const NAMES[CALLS] = {
    "barrier", "pingpong", "bcast", "reduce", "allreduce", "gather", "scatter", "allgather", "alltoall",
};

static int rank, size;
static char *given, *taken;

static int rounds_for(long bytes) {
    if (bytes <= 4096) return 2000;
    if (bytes <= 262144) return 300;
    if (bytes <= 4194304) return 60;
    return 20;
}

static void ping_pong(long bytes) {
    const int other = 1 - rank;
    if (rank == 0) {
        MPI_Send(given, (int)bytes, MPI_BYTE, other, 0, MPI_COMM_WORLD);
        MPI_Recv(taken, (int)bytes, MPI_BYTE, other, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else {
        MPI_Recv(taken, (int)bytes, MPI_BYTE, other, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Send(given, (int)bytes, MPI_BYTE, other, 0, MPI_COMM_WORLD);
    }
}

static void make(enum call call, long bytes) {
    const int whole = (int)bytes, floats = (int)(bytes / 4);
    const int block = bytes / size > 0 ? (int)(bytes / size) : 1;
    const MPI_Comm world = MPI_COMM_WORLD;
    switch (call) {
    case BARRIER: MPI_Barrier(world); break;
    case PINGPONG: if (rank < 2) ping_pong(bytes); break;
    case BCAST: MPI_Bcast(given, whole, MPI_BYTE, 0, world); break;
    case REDUCE: MPI_Reduce(given, taken, floats, MPI_FLOAT, MPI_SUM, 0, world); break;
    case ALLREDUCE: MPI_Allreduce(given, taken, floats, MPI_FLOAT, MPI_SUM, world); break;
    case GATHER: MPI_Gather(given, block, MPI_BYTE, taken, block, MPI_BYTE, 0, world); break;
    case SCATTER: MPI_Scatter(given, block, MPI_BYTE, taken, block, MPI_BYTE, 0, world); break;
    case ALLGATHER: MPI_Allgather(given, block, MPI_BYTE, taken, block, MPI_BYTE, world); break;
    case ALLTOALL: MPI_Alltoall(given, block, MPI_BYTE, taken, block, MPI_BYTE, world); break;
    case CALLS: break;
    }
}

static int ascending(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void measure(enum call call, long bytes) {
    /* Ranks 0 and 1 play alone, without a barrier between two rounds: theirs is one already. */
    const int lockstep = call != PINGPONG;
    const int rounds = rounds_for(bytes), warm = lockstep ? rounds / 10 + 2 : 5;
    double *const seconds = calloc((size_t)rounds, sizeof *seconds);
    if (!seconds) MPI_Abort(MPI_COMM_WORLD, 1);
    for (int round = -warm; round < rounds; round++) {
        if (lockstep && round >= 0) MPI_Barrier(MPI_COMM_WORLD);
        const double start = MPI_Wtime();
        make(call, bytes);
        if (round >= 0 && (lockstep || rank < 2)) seconds[round] = MPI_Wtime() - start;
    }
    MPI_Reduce(rank ? seconds : MPI_IN_PLACE, seconds, rounds, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        qsort(seconds, (size_t)rounds, sizeof *seconds, ascending);
        printf("%-16s %3d %10ld %12.2f %12.2f\n", NAMES[call], size, bytes, seconds[rounds / 2] * 1e6,
               seconds[rounds * 99 / 100] * 1e6);
        fflush(stdout);
    }
    free(seconds);
}

int main(int count, char **arguments) {
    MPI_Init(&count, &arguments);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    const long largest = count > 1 ? atol(arguments[1]) : 8 << 20;
    const size_t room = (size_t)largest + (size_t)size;
    given = malloc(room);
    taken = malloc(room);
    if (!given || !taken) MPI_Abort(MPI_COMM_WORLD, 1);
    memset(given, 0, room);
    memset(taken, 0, room);
    measure(BARRIER, 0);
    for (long bytes = 8; bytes <= largest; bytes *= 16)
        for (enum call call = PINGPONG; call < CALLS; call++)
            if (call != PINGPONG || size > 1) measure(call, bytes);
    MPI_Finalize();
    return 0;
}
