//! Delivery, a chapter to read: what a resolved call means, what stays in order, what is lost when something ends, and
//! who waits when there is too much.
//!
//! There is no code here. The rules are those of [`Endpoint`](crate::Endpoint) and [`Hub`](crate::hub), so they hold
//! on every link and for every driver.
//!
//! # What a resolved call means
//!
//! | call | when it resolves |
//! |---|---|
//! | send, within the queue limit (see [Three limits](#three-limits-and-who-waits)) | the library has taken the bytes, and the caller's buffer is free. They may not even have reached the hub |
//! | send, beyond it; ssend and rsend | a receive has matched, and the hub has all bytes |
//! | recv, mrecv | the message is in the caller's buffer |
//! | probe, mprobe | there is a message. It may be the beginning of one: how long it is is known, its bytes may still be with the sender |
//! | barrier | every rank has called it |
//! | bcast, scatter, at the root | the hub has the bytes that this rank gives. The others may not even have called |
//! | gather, reduce, elsewhere than at the root | every rank has called it, and the hub has the bytes that this rank gives |
//! | bcast, scatter, gather, reduce, where data arrive; allgather, alltoall, allreduce, reduce_scatter, scan, exscan | the result is in the caller's buffer |
//! | a user-defined operation | at a destination, its output has come; at a source, the user's function has returned |
//!
//! So a resolved send promises less than it seems: if the link breaks right after, the message may be gone, and the
//! next call of the sender says `Disconnected`. Whoever has to know that a message has arrived lets the receiver
//! answer. This is the standard send of MPI 4.1, chapter 3.4.
//!
//! # Order
//!
//! - Messages between two ranks do not overtake each other (MPI 4.1, chapter 3.5): of two messages that a receive could
//!   take, it takes the one that was sent first. Of two receives that could take a message, that which was posted first
//!   gets it. Nothing is said of messages from different ranks.
//! - Messages are matched in order, but they need not end in order: the bytes of several flow side by side.
//! - Collectives of one communicator and group have to be started in the same order on all of their ranks. They are
//!   matched by counting: the n-th call of one rank is the n-th of the others. They may be in flight together, and end
//!   in any order.
//! - Collectives and messages do not see each other, nor do calls on different communicators.
//!
//! # How often
//!
//! A message goes to one receive, once. A collective gives each rank its result once. Nothing is sent again, because
//! links are reliable: they deliver all bytes in order, or end.
//!
//! # When a link ends
//!
//! With its link a rank's session ends, and there is no going on with it (sessions that outlive links are planned; the
//! numbers for that are in the frames already). The rank itself gets `Disconnected` from everything that is open, and
//! from every later call. To the others it has died:
//!
//! - Every operation that needs it fails with `RankFailed`, at once, on every rank that still waits in it. Ranks that
//!   call it later are told then. Later collectives of its communicators fail too, and so do user-defined operations
//!   whose group has it. Communicators without it are not concerned.
//! - A receive that only this rank could serve fails, and so does `iprobe`. A receive from any rank fails within two
//!   seconds of when all others have gone, some of them by death, and it was asked for: one second at least a rank has to
//!   send to itself what it waits for.
//! - A message of the dead rank that had reached the hub whole is still delivered. One that had not fails the receive
//!   that takes it, then or later; so no message after it takes its place.
//! - Whoever had its result before keeps it, and is not told.
//! - It can not come back into this world.
//!
//! How soon the others know: at once where the connection closes, as it does when a process ends or is killed. A rank
//! whose machine or network falls silent is given up after the silence that its Hello announced,
//! [`max_silence`](crate::endpoint::Config::max_silence), 30 s for a host. It pings three times as often. A hub that
//! does not answer a ping within the time that its Welcome announced, 20 s, is given up likewise.
//!
//! If the hub ends, all of this happens to every rank: `Disconnected`, everywhere.
//!
//! # When a rank finalizes
//!
//! It first waits until all that it gives has been taken: its collectives are over, its sends are resolved. What it
//! sent within the queue limit stays at the hub and is still delivered. Its receives that nobody has served are over,
//! and messages to it that it never asked for are lost. To calls that need it later it is `RankFinished`.
//!
//! A receive from any rank that only its own rank is left to serve waits on, because another thread may send to it yet; people
//! are told of the first on each rank and communicator. `iprobe` may look for what a rank has left behind, and finds nothing;
//! people are told of a rank that goes on asking for longer than a second.
//!
//! A rank that frees a communicator has finished as far as that communicator is concerned. Nobody waits for anybody then:
//! what it still sends there goes on.
//!
//! # When a request is dropped
//!
//! A driver [cancels](crate::Endpoint::cancel) a request whose buffer its owner has taken back. From then on bytes for
//! it are discarded; its slot is free again when the hub has confirmed. The communicator stays in step. For the others
//! it depends on the call:
//!
//! - **A collective** fails with `Cancelled`, naming this rank, on everybody who still waits in it, and on those who
//!   come later. Who has its result keeps it.
//! - **A receive** that has not matched is taken back as if it had never been. If it has matched, its message is lost:
//!   when the hub had all of it nobody is told, otherwise its sender gets `Cancelled`.
//! - **A send** that has resolved can not be called back. One that waits for its receive is taken back. If a matched probe
//!   keeps its message, that arrives if the hub has all of it; otherwise the receive that follows the probe gets `Cancelled`.
//!
//! A send or a receive can also be [withdrawn](crate::Endpoint::withdraw), as `MPI_Cancel` does. Then it ends in one of two
//! ways, and its rank hears which: with `Cancelled`, if nobody had matched it, and it is as if it had never been; or as
//! ever, with the whole message, on both sides. So can a split, until all have come to it.
//!
//! A request that owns its buffers need not be cancelled when somebody drops it; crate `edgempi` lets it go on alone,
//! unless it makes a communicator, which nobody would have.
//!
//! # When ranks disagree
//!
//! The hub compares what the participants of a collective say: the call, its root, datatype, count, reduce op, or the
//! operation's name and version; and its [`Intent`](crate::Intent), which is what the program called where another call
//! travels for it, and a fingerprint of arguments that do not travel: counts of blocks, parameters. Who says no purpose
//! means the call that travels, and disagrees with whoever says another; who says no fingerprint agrees with all. The
//! first that says something else fails it with `Mismatch` for everybody, with both
//! sides in the text; with `Truncated`, and both sides as well, where all they differ in is how much the root of a bcast or
//! scatter gives, or that of a gather receives. A rank that was done already, a root that gave and went on, say, is told by the next collective
//! or receive that it starts; a collective then fails for all of its participants. The communicator is usable
//! afterwards. Where the datatypes of a message differ the receive fails, and the send if it has not resolved.
//!
//! Other failures are told in the same way: `TooLarge` beyond the hub's largest message or its number of communicators,
//! `Remote` when the user's function returns an error or panics, `UnknownOperation`. `Truncated` is told to the receiver
//! of a message alone, as in MPI; where a collective gives a rank more or less than it receives, to all.
//!
//! # Three limits, and who waits
//!
//! The Welcome announces how much the hub holds. **The hub never stops reading a link**, so a control frame is never
//! stuck behind somebody's data; it is always the giver that waits, and its request, not its thread.
//!
//! | limit | [default](crate::hub::Config) | beyond it |
//! |---|---|---|
//! | open requests of a rank | 32,768 | the call fails at once with `TooManyRequests` |
//! | bytes of a rank that the hub holds before anybody asks for them, 256 more for each message | 4 MiB, and an equal share of 1 GiB for all ranks | the bytes stay with the giver until the receive, or the last participant, has come |
//! | window: how far the giver of a part may be ahead of the slowest receiver, or of the fold | 512 KiB, less where many parts share 32 MiB for all operations | the giver goes on when the receiver has |
//!
//! - A `Submit` takes along what fits a frame, 256 KiB, and the second limit. If that is all that an operation needs, it
//!   does not wait for those who only receive: a late receiver finds its result at the hub. Otherwise the rest follows
//!   in `Data`, under credit, when all participants have come.
//! - A rank may have its answer to 1,024 collectives that others have not called. From then on it is as with a barrier:
//!   its next one resolves when all have called.
//! - The windows of an operation are reserved all at once, first come, first served, so that no two operations can
//!   starve each other half-served.
//! - A user-defined operation is the exception to the third limit: the hub holds all of its inputs, because the function
//!   sees them together.
//! - A board announces limits of its own: payload bytes in one frame, the window of a result, and how many parts of one
//!   message it can hold open. The hub keeps to them, and other ranks do not notice.
//!
//! # What waits for ever
//!
//! A receive that nobody sends to, and a collective that a living rank never calls. Requests have no deadline: put one
//! around them and drop the request, or end the process. The hub tells people of a call that has waited for long, and for
//! whom; it does not end it, because it may be served yet.
//!
//! Ranks that wait for each other are found out where each has [said](crate::Endpoint::blocked) that its calls come from one
//! thread alone, and that this thread waits for a request: then no rank of a cycle can ever go on, and their requests fail
//! with `Deadlock`. A rank that has not said so is never taken for stuck.
