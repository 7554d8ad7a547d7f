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
//! edgempi-core`). One direction of one link has 0.8 to 0.95 of the rate of a plain TCP socket, and 1.1 of a Unix socket's
//! (`tests/versus/run --stream`). A hub reads and writes many frames at a time: 2,000 small messages of one rank to another
//! take 22 reads and 72 writes (`cargo test -p edgempi-tests --test syscalls -- --nocapture`).
//!
//! # Beside Open MPI
//!
//! `tests/versus/run -n 4 --turns 3` measures both by turns, and prints the ratio to Open MPI over TCP: below 1 is faster
//! than it. The hub is in rank 0's process. The first ratio is over TCP, the second what one gets who sets nothing.
//! Bytes are those of the vector, or what a rank gives to, or gets from, all ranks together, itself too. Goals are what the
//! project has set itself for the two ratios.
//!
//! | 4 ranks | bytes | Open MPI over TCP, µs | edgempi over TCP, µs | ratio | edgempi, µs | ratio | goals |
//! |---|---|---|---|---|---|---|---|
//! | barrier | 0 | 43.0 | 46.5 | 1.08 | 25.0 | 0.58 | 0.7, 0.6 |
//! | pingpong | 8 | 28.9 | 24.4 | 0.84 | 15.1 | 0.52 |  |
//! | bcast | 8 | 27.1 | 25.8 | 0.95 | 16.5 | 0.61 |  |
//! | reduce | 8 | 57.1 | 51.3 | 0.90 | 26.8 | 0.47 |  |
//! | allreduce | 8 | 57.5 | 44.8 | 0.78 | 35.8 | 0.62 | 0.5, 0.4 |
//! | gather | 8 | 43.9 | 42.6 | 0.97 | 26.3 | 0.60 |  |
//! | scatter | 8 | 24.0 | 19.2 | 0.80 | 16.3 | 0.68 |  |
//! | allgather | 8 | 58.0 | 46.3 | 0.80 | 27.8 | 0.48 |  |
//! | alltoall | 8 | 60.3 | 45.2 | 0.75 | 31.1 | 0.52 |  |
//! | pingpong | 32768 | 45.1 | 49.7 | 1.10 | 27.6 | 0.61 |  |
//! | bcast | 32768 | 38.3 | 43.5 | 1.14 | 21.0 | 0.55 | 0.6, 0.5 |
//! | reduce | 32768 | 91.7 | 73.0 | 0.80 | 57.7 | 0.63 |  |
//! | allreduce | 32768 | 123 | 79.8 | 0.65 | 60.6 | 0.49 | 0.5, 0.4 |
//! | gather | 32768 | 62.7 | 71.4 | 1.14 | 39.9 | 0.64 |  |
//! | scatter | 32768 | 23.5 | 33.2 | 1.42 | 18.4 | 0.78 |  |
//! | allgather | 32768 | 74.9 | 81.7 | 1.09 | 55.3 | 0.74 |  |
//! | alltoall | 32768 | 79.0 | 83.7 | 1.06 | 68.1 | 0.86 |  |
//! | pingpong | 524288 | 192 | 301 | 1.56 | 181 | 0.94 |  |
//! | bcast | 524288 | 453 | 392 | 0.86 | 297 | 0.66 | 1.0, 0.8 |
//! | reduce | 524288 | 898 | 523 | 0.58 | 462 | 0.51 |  |
//! | allreduce | 524288 | 1021 | 640 | 0.63 | 525 | 0.51 | 0.9, 0.7 |
//! | gather | 524288 | 254 | 161 | 0.63 | 169 | 0.66 |  |
//! | scatter | 524288 | 175 | 182 | 1.04 | 127 | 0.72 |  |
//! | allgather | 524288 | 480 | 494 | 1.03 | 301 | 0.63 |  |
//! | alltoall | 524288 | 421 | 763 | 1.81 | 444 | 1.06 |  |
//! | pingpong | 8388608 | 4630 | 5772 | 1.25 | 5983 | 1.29 |  |
//! | bcast | 8388608 | 7990 | 6920 | 0.87 | 6124 | 0.77 | 1.1, 0.7 |
//! | reduce | 8388608 | 12688 | 10409 | 0.82 | 10017 | 0.79 |  |
//! | allreduce | 8388608 | 21478 | 15606 | 0.73 | 7674 | 0.36 | 1.2, 0.7 |
//! | gather | 8388608 | 2795 | 3195 | 1.14 | 3322 | 1.19 | 1.3, 1.0 |
//! | scatter | 8388608 | 2572 | 3454 | 1.34 | 2302 | 0.90 |  |
//! | allgather | 8388608 | 6929 | 7880 | 1.14 | 8005 | 1.16 | 1.3, 1.0 |
//! | alltoall | 8388608 | 6663 | 14367 | 2.16 | 11353 | 1.70 | 2.0, 1.3 |
//!
//! With 2 ranks (`-n 2`) a hub has nothing to win: 8 bytes there and back take 20.4 µs over TCP and 12.6 by default,
//! where Open MPI takes 10.9. One that receives asks for the message in a frame of its own, which Open MPI need not do.
//! With 8 (`-n 8`) it has more to win:
//!
//! | 8 ranks | bytes | Open MPI over TCP, µs | edgempi over TCP, µs | ratio | edgempi, µs | ratio | goals |
//! |---|---|---|---|---|---|---|---|
//! | barrier | 0 | 191 | 117 | 0.61 | 56.8 | 0.30 | 0.5, 0.4 |
//! | pingpong | 8 | 51.3 | 37.2 | 0.73 | 25.0 | 0.49 |  |
//! | bcast | 8 | 207 | 97.5 | 0.47 | 44.0 | 0.21 |  |
//! | reduce | 8 | 196 | 145 | 0.74 | 67.0 | 0.34 |  |
//! | allreduce | 8 | 201 | 131 | 0.65 | 68.0 | 0.34 | 0.5, 0.4 |
//! | gather | 8 | 175 | 120 | 0.68 | 67.4 | 0.38 |  |
//! | scatter | 8 | 195 | 70.6 | 0.36 | 49.6 | 0.26 |  |
//! | allgather | 8 | 181 | 136 | 0.75 | 112 | 0.62 |  |
//! | alltoall | 8 | 283 | 143 | 0.50 | 105 | 0.37 |  |
//!
//! Objects (`-n 4 --objects`, strings and integers, beside mpi4py 3.1.4 over the same Open MPI):
//!
//! | 4 ranks | bytes | Open MPI over TCP, µs | edgempi over TCP, µs | ratio | edgempi, µs | ratio | goals |
//! |---|---|---|---|---|---|---|---|
//! | object-allreduce | 8 | 105 | 41.1 | 0.39 | 31.6 | 0.30 | 0.5 |
//! | object-bcast | 8 | 42.2 | 19.0 | 0.45 | 19.4 | 0.46 |  |
//! | object-bcast | 128 | 45.5 | 19.4 | 0.43 | 17.7 | 0.39 |  |
//! | object-bcast | 2048 | 46.5 | 19.5 | 0.42 | 15.5 | 0.33 |  |
//! | object-bcast | 32768 | 62.5 | 58.5 | 0.94 | 52.5 | 0.84 |  |
//! | object-bcast | 524288 | 1648 | 1572 | 0.95 | 1620 | 0.98 | 0.5 |
//! | object-bcast | 8388608 | 38237 | 19054 | 0.50 | 15654 | 0.41 | 0.5 |
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
//! # Beside the Python original
//!
//! Its own test is an alltoall of 2 MiB a rank, of which it does 41 to 65 a second. `edgempi bench -n 4 --only alltoall
//! --sizes 2097152` takes 2.3 ms, 440 a second; with 8 ranks 6.8 ms, 150 a second. That is 7 to 10 times, and 2 to 4 times
//! with 8 ranks, where the goal was 10: each moves 28 MiB in and out of the hub's process then.
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
//! moves twice as many, on one core: 1.7 times Open MPI's time by default, 2.2 over TCP (the goals were 1.3 and 2.0). Large
//! messages between two ranks do, too, and a gather of 8 MiB ends when the hub has copied all of it: 1.2 times by default,
//! where the goal was 1.0. Ranks that have much to say to each other and little to all are better served by an MPI with a
//! link for each pair.
//!
//! Goals over TCP that small calls of 4 ranks miss: barrier 1.1 (0.7), a sum of 8 bytes 0.8 (0.5), of 32 KiB 0.65 (0.5), a
//! broadcast of 32 KiB 1.1 (0.6). Six sends and six receives, one after the other on two cores, are most of it: a hub of
//! plain sockets that does nothing else takes 25 to 30 µs for the barrier here, of our 42 to 46. What is left are yields that
//! give the processor to a rank that has nothing to do. By default, over Unix sockets, all goals of barriers and of sums
//! and broadcasts from 32 KiB on are met but for a few hundredths; a sum of 8 bytes takes 0.4 to 0.6 (0.4). With 8 ranks
//! the defaults meet theirs (0.30, 0.34), TCP does not (0.6, 0.65 where the goal was 0.5).
//!
//! With 2 ranks, 8 bytes there and back take 1.7 to 1.9 times Open MPI's time over TCP, and 1.0 to 1.2 by default (goals: 1.0,
//! 0.8): whoever receives asks the hub in a frame of its own, a second call to the system, which an MPI with a link for each
//! pair need not do.
//!
//! A large object is bound by its encoding and by memory that is new for each value: a string of 512 KiB takes as long as
//! with mpi4py (the goal was half of that), one of 8 MiB 0.4 to 0.5.
//!
//! What is said above of waiting holds where one thread of a process waits. Where several do, one moves the frames for all;
//! when its own call is done and it goes off to compute, the others' wait for the engine's thread, which looks every
//! half a millisecond.
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
