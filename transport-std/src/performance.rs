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
//! - **No copies** beyond those of the socket: vectors leave from the caller's memory and arrive in it, and a rank beside
//!   its hub hands payloads over as they are.
//! - **No new memory**: what passes through the hub lies in blocks that are used again, and frames allocate nothing
//!   (`cargo test -p edgempi-tests --test allocations` counts). [`Comm::gather_reusing`](crate::Comm::gather_reusing) and
//!   its kin do the same for results.
//! - **Ranks on the hub's machine** reach it by a Unix socket, which takes about half the time of TCP
//!   (`EDGEMPI_PROTO=auto`, the default).
//!
//! What the protocol computes for a barrier is 0.35 µs a rank, for an allreduce of 8 bytes 0.8 µs, both sides together;
//! sums of `f32` and `f64` run at 0.8 to 1.1 times the rate of a copy of as many bytes (`cargo bench -p edgempi-core`).
//!
//! # Beside Open MPI
//!
//! `tests/versus/run -n 4 --turns 5` measures both by turns, and prints the ratio to Open MPI over TCP: below 1 is faster
//! than it. The hub is in rank 0's process. The first ratio is over TCP, the second what one gets who sets nothing.
//! Bytes are those of the vector, or what a rank gives to, or gets from, all others together.
//!
//! @TABLE4@
//!
//! With 2 ranks (`-n 2`) a hub has nothing to win: 8 bytes there and back take @PP@. One that receives asks for the message
//! in a frame of its own, which Open MPI need not do. With 8 (`-n 8`) it has more to win:
//!
//! @TABLE8@
//!
//! Objects (`-n 4 --objects`, strings and integers, beside mpi4py 3.1.4 over the same Open MPI):
//!
//! @TABLEO@
//!
//! # Beside Flower
//!
//! A federated round: 4 clients give weights, and get the mean back. `tests/versus/flower` installs Flower 1.41 in a
//! scratch environment, and measures its fastest server (`start_server`) and an allreduce beside it.
//!
//! | floats | Flower, µs | edgempi, µs | ratio |
//! |---|---|---|---|
//! @FLOWER@
//!
//! # Many ranks
//!
//! `cargo run --release -p edgempi-tests --bin crowd`: a hub in a process of its own, ranks over TCP in four processes,
//! each rank with a thread of its own. Most of the time goes into waking those threads.
//!
//! @CROWD@
//!
//! Before it listens, a hub raises its limit of open files as far as it may, and says what is missing
//! ([`Error::TooManyRanks`](crate::Error::TooManyRanks)) if that is too few.
//!
//! # Where a hub is slower, and why
//!
//! Every byte passes the hub's process. A broadcast or a sum moves as many bytes that way as any other, but an alltoall
//! moves twice as many, on one core. Large messages between two ranks do, too. Ranks that have much to say to each other
//! and little to all are better served by an MPI with a link for each pair.
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
