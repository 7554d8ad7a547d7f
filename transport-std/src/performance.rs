//! What calls cost, why, and the figures with the commands that made them.
//!
//! All figures are medians in microseconds, of one virtual machine with two cores (x86-64, Linux 6, rustc 1.95, Open MPI
//! 4.1.4), all ranks on it. Compare ratios, never the times themselves: an idle hour and a busy one of such a machine
//! differ by a factor of two. The commands print the same tables for yours.
//!
//! # A call's way
//!
//! A small collective is one frame from each rank to the hub and one back, whatever the number of ranks: two hops, where
//! libraries without a hub take log₂ P. What that takes is not computing but system calls and waiting for the processor:
//!
//! - **Nobody is woken.** Waking a thread takes longer than everything else together. So whoever waits for a call moves
//!   the frames of its process, the hub's too if it is there: it asks the sockets again and again, with a yield in
//!   between, for `EDGEMPI_SPIN` (50 µs) of its own time; what others do with the processor after a yield is not counted.
//!   Then it leaves the links to the engine's thread, which sleeps. `EDGEMPI_SPIN=0` sleeps at once: that costs 5 to 10
//!   times the latency, and suits machines that have other work or run on a battery.
//!   Where other programs compute on all processors, a yield takes milliseconds: whoever notices that sleeps instead for a
//!   while, and a small call takes 125 µs instead of 6,300 (`EDGEMPI_SPIN=0` takes as long there).
//! - **No copies** beyond those of the socket: vectors leave from the caller's memory and arrive in it, and a rank beside
//!   its hub hands payloads over as they are.
//! - **No new memory**: what passes through the hub lies in blocks that are used again, and frames allocate nothing
//!   (`cargo test -p edgempi-tests --test allocations` counts). [`Comm::gather_reusing`](crate::Comm::gather_reusing) and
//!   its kin do the same for results.
//! - **Ranks on the hub's machine** reach it by a Unix socket, which takes about half the time of TCP
//!   (`EDGEMPI_PROTO=auto`, the default).
//!
//! What the protocol computes for a barrier is 0.35 µs a rank, for an allreduce of 8 bytes 0.8 µs, both sides together;
//! sums of `f32` and `f64` in memory run at 0.8 to 1.1 times the rate of a copy of as many bytes (`cargo bench -p
//! edgempi-core`). One direction of one link has 0.94 of the rate of a plain TCP socket, and 1.12 of that of a Unix socket
//! (`tests/versus/run --stream`). A hub reads and writes many frames at a time: 2,000 small messages of one rank to another
//! take 22 reads and 72 writes (`cargo test -p edgempi-tests --test syscalls -- --nocapture`).
//!
//! # Beside Open MPI
//!
//! `tests/versus/run -n 4 --turns 5` measures both by turns, and prints the ratio to Open MPI over TCP: below 1 is faster
//! than it. The hub is in rank 0's process. The first ratio is over TCP, the second what one gets who sets nothing.
//! Bytes are those of the vector, or what a rank gives to, or gets from, all ranks together, itself too. Goals are what the
//! project has set itself for the two ratios.
//!
//! | 4 ranks | bytes | Open MPI over TCP, µs | edgempi over TCP, µs | ratio | edgempi, µs | ratio | goals |
//! |---|---|---|---|---|---|---|---|
//! | barrier | 0 | 42.2 | 42.4 | 1.00 | 26.6 | 0.63 | 0.7, 0.6 |
//! | pingpong | 8 | 28.0 | 29.5 | 1.05 | 15.0 | 0.53 |  |
//! | bcast | 8 | 24.0 | 21.0 | 0.88 | 17.8 | 0.74 |  |
//! | reduce | 8 | 47.0 | 39.1 | 0.83 | 24.3 | 0.52 |  |
//! | allreduce | 8 | 61.0 | 45.9 | 0.75 | 27.1 | 0.44 | 0.5, 0.4 |
//! | gather | 8 | 57.4 | 43.5 | 0.76 | 26.1 | 0.45 |  |
//! | scatter | 8 | 27.3 | 18.8 | 0.69 | 14.7 | 0.54 |  |
//! | allgather | 8 | 60.8 | 45.0 | 0.74 | 27.4 | 0.45 |  |
//! | alltoall | 8 | 61.7 | 45.2 | 0.73 | 30.6 | 0.50 |  |
//! | pingpong | 32768 | 45.5 | 41.0 | 0.90 | 27.6 | 0.61 |  |
//! | bcast | 32768 | 33.5 | 26.2 | 0.78 | 19.6 | 0.58 | 0.6, 0.5 |
//! | reduce | 32768 | 91.7 | 67.3 | 0.73 | 53.9 | 0.59 |  |
//! | allreduce | 32768 | 117 | 73.9 | 0.63 | 58.7 | 0.50 | 0.5, 0.4 |
//! | gather | 32768 | 62.3 | 50.9 | 0.82 | 39.5 | 0.63 |  |
//! | scatter | 32768 | 25.0 | 21.6 | 0.86 | 15.9 | 0.64 |  |
//! | allgather | 32768 | 72.0 | 88.1 | 1.22 | 55.3 | 0.77 |  |
//! | alltoall | 32768 | 76.4 | 79.7 | 1.04 | 66.2 | 0.87 |  |
//! | pingpong | 524288 | 178 | 229 | 1.29 | 151 | 0.85 |  |
//! | bcast | 524288 | 444 | 421 | 0.95 | 278 | 0.63 | 1.0, 0.8 |
//! | reduce | 524288 | 948 | 412 | 0.43 | 411 | 0.43 |  |
//! | allreduce | 524288 | 978 | 657 | 0.67 | 522 | 0.53 | 0.9, 0.7 |
//! | gather | 524288 | 254 | 152 | 0.60 | 129 | 0.51 |  |
//! | scatter | 524288 | 194 | 183 | 0.94 | 141 | 0.73 |  |
//! | allgather | 524288 | 470 | 325 | 0.69 | 295 | 0.63 |  |
//! | alltoall | 524288 | 430 | 493 | 1.15 | 431 | 1.00 |  |
//! | pingpong | 8388608 | 4077 | 4830 | 1.18 | 5042 | 1.24 |  |
//! | bcast | 8388608 | 8056 | 8752 | 1.09 | 6005 | 0.75 | 1.1, 0.7 |
//! | reduce | 8388608 | 11349 | 10408 | 0.92 | 9925 | 0.87 |  |
//! | allreduce | 8388608 | 17301 | 9703 | 0.56 | 7006 | 0.40 | 1.2, 0.7 |
//! | gather | 8388608 | 2024 | 2109 | 1.04 | 2121 | 1.05 | 1.3, 1.0 |
//! | scatter | 8388608 | 2274 | 2396 | 1.05 | 1784 | 0.78 |  |
//! | allgather | 8388608 | 8047 | 7326 | 0.91 | 6533 | 0.81 | 1.3, 1.0 |
//! | alltoall | 8388608 | 5933 | 14168 | 2.39 | 11055 | 1.86 | 2.0, 1.3 |
//!
//! With 2 ranks (`-n 2`) a hub has nothing to win: 8 bytes there and back take 20.4 µs over TCP and 12.6 by default,
//! where Open MPI takes 10.9. One that receives asks for the message in a frame of its own, which Open MPI need not do.
//! With 8 (`-n 8`) it has more to win:
//!
//! | 8 ranks | bytes | Open MPI over TCP, µs | edgempi over TCP, µs | ratio | edgempi, µs | ratio | goals |
//! |---|---|---|---|---|---|---|---|
//! | barrier | 0 | 188 | 105 | 0.56 | 62.3 | 0.33 | 0.5, 0.4 |
//! | pingpong | 8 | 40.6 | 26.3 | 0.65 | 20.0 | 0.49 |  |
//! | bcast | 8 | 181 | 63.3 | 0.35 | 37.1 | 0.20 |  |
//! | reduce | 8 | 195 | 112 | 0.57 | 59.2 | 0.30 |  |
//! | allreduce | 8 | 159 | 122 | 0.77 | 65.6 | 0.41 | 0.5, 0.4 |
//! | gather | 8 | 193 | 108 | 0.56 | 61.7 | 0.32 |  |
//! | scatter | 8 | 188 | 68.1 | 0.36 | 40.7 | 0.22 |  |
//! | allgather | 8 | 161 | 128 | 0.79 | 69.5 | 0.43 |  |
//! | alltoall | 8 | 235 | 127 | 0.54 | 76.9 | 0.33 |  |
//!
//! Objects (`-n 4 --objects`, strings and integers, beside mpi4py 3.1.4 over the same Open MPI):
//!
//! | 4 ranks | bytes | Open MPI over TCP, µs | edgempi over TCP, µs | ratio | edgempi, µs | ratio | goals |
//! |---|---|---|---|---|---|---|---|
//! | object-allreduce | 8 | 108 | 41.9 | 0.39 | 27.4 | 0.25 | 0.5 |
//! | object-bcast | 8 | 41.8 | 19.1 | 0.46 | 15.7 | 0.37 |  |
//! | object-bcast | 128 | 41.8 | 19.1 | 0.46 | 14.7 | 0.35 |  |
//! | object-bcast | 2048 | 42.7 | 20.9 | 0.49 | 15.2 | 0.36 |  |
//! | object-bcast | 32768 | 55.8 | 56.5 | 1.01 | 40.8 | 0.73 |  |
//! | object-bcast | 524288 | 1390 | 1563 | 1.12 | 1473 | 1.06 | 0.5 |
//!
//! # Beside Flower
//!
//! A federated round: 4 clients give weights, and get the mean back. `tests/versus/flower` installs Flower 1.41 in a
//! scratch environment, and measures its fastest server (`start_server`) and an allreduce beside it.
//!
//! | floats | Flower, µs | edgempi, µs | ratio |
//! |---|---|---|---|
//! | 4,810 | 9,404 | 61 | 1/155 |
//! | 2,000,000 | 311,459 | 12,682 | 1/25 |
//!
//! # Many ranks
//!
//! `cargo run --release -p edgempi-tests --bin crowd`: a hub in a process of its own, ranks over TCP in four processes,
//! each rank with a thread of its own. Most of the time goes into waking those threads.
//!
//! | ranks | barrier, µs | allreduce of 1 KiB, µs | hub's memory, KiB a rank | hub's processor while all wait | open files |
//! |---|---|---|---|---|---|
//! | 10 | 161 | 190 | 68.4 | 0.00 % | 24 |
//! | 100 | 1772 | 1946 | 8.1 | 0.00 % | 114 |
//! | 1000 | 25792 | 29504 | 7.3 | 0.00 % | 1014 |
//! | 5000 | 145566 | 167417 | 7.5 | 1.37 % | 5014 |
//!
//! Before it listens, a hub raises its limit of open files as far as it may, and says what is missing
//! ([`Error::TooManyRanks`](crate::Error::TooManyRanks)) if that is too few.
//!
//! # Where a hub is slower, and why
//!
//! Every byte passes the hub's process. A broadcast or a sum moves as many bytes that way as any other, but an alltoall
//! moves twice as many, on one core: 1.9 times Open MPI's time by default, 2.4 over TCP. Large messages between two
//! ranks do, too. A small sum over TCP is 0.75 of Open MPI's (the goal was 0.5): six sends and six receives, one after
//! the other on two cores, are what is left of it; a hub of plain sockets that does nothing else takes 25 to 30 µs. A
//! large object is bound by its encoding: a string of 512 KiB takes as long as with mpi4py. Ranks that have much to say
//! to each other and little to all are better served by an MPI with a link for each pair.
//!
//! # What was tried and did not help
//!
//! - To spin without a yield: 30 times slower as soon as there are more ranks than cores.
//! - To have the engine's thread watch the links while somebody spins: an event wakes it for every frame that the spinner
//!   is reading already.
//! - A tick of the engine's thread as the only way back from a spinner to it: whoever came while the thread looked around
//!   slept until the next tick; 1 in 50 calls took 600 µs instead of 60.
//! - To ask a socket again after it gave less than there was room for: a system call to hear that there is no more.
//! - To allocate each payload: page faults took a quarter of the time of large reductions, and an allreduce of 512 KiB 2.4
//!   times as long.
//! - Another congestion control than the machine's own (BBR): no difference on loopback.
