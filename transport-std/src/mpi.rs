//! For somebody who knows MPI: every communication call of MPI 4.1, ours beside it, and where we differ and why.
//!
//! Calls of the first column that have a blocking and a nonblocking form, and a form for large counts, stand in one row: here
//! each is one call, which returns a [`Request`], and lengths are those of Rust slices. Each call of the second column has a
//! test. "Not offered" is said where there is none.
//!
//! # What is different everywhere
//!
//! - **Buffers and objects.** [`Comm`] has the calls on buffers, [`Objects`] ([`Comm::objects`]) those on any serde value.
//!   Buffers are vectors, arrays or slices of an [`Element`]; the type says MPI's datatype, the length its count. A result
//!   comes back in a vector, or in the caller's memory with `…_in_place` and `…_into`; `…_reusing` takes a vector whose
//!   memory is used again.
//! - **Errors are values.** No call aborts. A failed call gives an [`Error`], and the communicator goes on.
//! - **The hub sees both sides.** Ranks that call different collectives, or give lengths that do not fit, are told so with
//!   their lines of code, where MPI leaves that undefined.
//! - **Floats are reproducible.** Reductions are folded in one shape, in the order of ranks: the same bits in every run.
//! - **Nothing is freed by hand.** Requests, groups, communicators and topologies are dropped.
//! - **No derived datatypes**: what does not lie in one piece is an object, or is packed by a line of Rust.
//!
//! # Point-to-point (chapter 3)
//!
//! | MPI | here | where it differs |
//! |---|---|---|
//! | `MPI_Send`, `MPI_Isend` | [`Comm::send`], [`Objects::send`] | done when the hub has taken the data (up to `EDGEMPI_QUEUE_SIZE`), or the receiver |
//! | `MPI_Ssend`, `MPI_Issend` | [`Comm::ssend`], [`Objects::ssend`] | done when a receive has taken it |
//! | `MPI_Bsend`, `MPI_Ibsend` | [`Comm::bsend`], [`Objects::bsend`] | the library keeps the data: there is no buffer to attach, and none to overflow |
//! | `MPI_Rsend`, `MPI_Irsend` | [`Comm::rsend`], [`Objects::rsend`] | without a posted receive (a matched probe is none) it is an error, [`Error::NotReady`], never undefined |
//! | `MPI_Buffer_attach`, `MPI_Buffer_detach`, `MPI_Buffer_flush`, `MPI_Buffer_iflush`, `MPI_Comm_attach_buffer`, `MPI_Comm_detach_buffer`, `MPI_Comm_flush_buffer`, `MPI_Comm_iflush_buffer`, `MPI_Session_attach_buffer`, `MPI_Session_detach_buffer`, `MPI_Session_flush_buffer`, `MPI_Session_iflush_buffer` | not offered | needless: see `MPI_Bsend`; [`World::finalize`] waits for what is under way |
//! | `MPI_Recv`, `MPI_Irecv` | [`Comm::recv`], [`Comm::recv_into`], [`Comm::recv_reusing`], [`Objects::recv`], [`Objects::recv_or_none`] | an owned vector of the message's length, or the caller's buffer, where a longer message is [`Error::Truncated`]; the element type has to be the sender's |
//! | `MPI_Sendrecv`, `MPI_Isendrecv` | [`Comm::sendrecv`], [`Objects::sendrecv`] | a request made of two, which can not be cancelled |
//! | `MPI_Sendrecv_replace`, `MPI_Isendrecv_replace` | [`Comm::sendrecv_replace`], [`Objects::sendrecv_replace`] | |
//! | `MPI_Probe`, `MPI_Iprobe` | [`Comm::probe`], [`Comm::iprobe`] | `iprobe` asks the hub, so it is a request, too |
//! | `MPI_Mprobe`, `MPI_Improbe` | [`Comm::mprobe`], [`Comm::improbe`], [`Message::status`] | |
//! | `MPI_Mrecv`, `MPI_Imrecv` | [`Message::recv`], [`Message::recv_into`], [`Message::recv_object`] | a message that is dropped, or kept beyond `finalize`, is lost, and its sender goes on |
//! | `MPI_ANY_SOURCE`, `MPI_ANY_TAG` | [`ANY_SOURCE`], [`ANY_TAG`] | when all others have left and somebody has died, a receive from any source fails after a second or two, unless this rank has sent to itself by then; if all have finalized it is told of, and waits, as this rank may yet send to itself |
//! | `MPI_PROC_NULL` | [`Status::NOBODY`] | `None` instead of a rank. As no value comes from nobody, [`Objects::recv_or_none`] and [`Objects::sendrecv`] give an `Option` |
//! | `MPI_Status`, `MPI_Status_get_source`, `MPI_Status_get_tag`, `MPI_Status_get_error`, `MPI_Get_count` | [`Status::source`], [`Status::tag`], [`Status::count`], [`Status::bytes`] | a failed receive has no status but an [`Error`] |
//! | `MPI_Get_elements`, `MPI_Status_set_elements`, `MPI_Status_set_cancelled` | not offered | they belong to derived datatypes and generalized requests |
//! | `MPI_Wait` | [`Request::wait`] | or `.await`; [`Request::map`] makes something else of the result first |
//! | `MPI_Test`, `MPI_Request_get_status` | [`Request::test`], [`Request::is_active`] | tells whether it is done, and leaves the result to `wait` |
//! | `MPI_Waitall`, `MPI_Waitany`, `MPI_Waitsome` | [`wait_all`], [`wait_any`], [`wait_some`] | lists of different results are made equal by `map` |
//! | `MPI_Testall`, `MPI_Testany`, `MPI_Testsome` | [`test_all`], [`test_any`], [`test_some`] | |
//! | `MPI_Request_get_status_all`, `MPI_Request_get_status_any`, `MPI_Request_get_status_some` | [`Request::test`] | of each request: it leaves the result to `wait` |
//! | `MPI_Cancel`, `MPI_Test_cancelled` | [`Request::cancel`], [`Persistent::cancel`] | one request tells the outcome; a collective can not be cancelled, in MPI neither |
//! | `MPI_Request_free` | drop it | a send or a collective goes on, a receive is taken back: see [`Request`] |
//! | `MPI_Send_init`, `MPI_Ssend_init`, `MPI_Bsend_init`, `MPI_Rsend_init` | [`Comm::send_init`], [`Comm::ssend_init`], [`Comm::bsend_init`], [`Comm::rsend_init`] | a [`Persistent`] request owns its buffer; of objects by [`Persistent::calling`] |
//! | `MPI_Recv_init` | [`Comm::recv_init`], [`Persistent::buffer`], [`Persistent::buffer_mut`], [`Persistent::set_buffer`], [`Persistent::into_buffer`] | |
//! | `MPI_Start`, `MPI_Startall` | [`Persistent::start`], [`start_all`], [`Persistent::wait`], [`Persistent::test`], [`Persistent::request`] | waiting for one that was not started is an error, where MPI returns at once |
//!
//! # Partitioned (chapter 4) and datatypes (chapter 5)
//!
//! | MPI | here | why |
//! |---|---|---|
//! | `MPI_Psend_init`, `MPI_Precv_init`, `MPI_Pready`, `MPI_Pready_range`, `MPI_Pready_list`, `MPI_Parrived` | not offered | several sends of parts do the same; a hub gains nothing from one match for all |
//! | `MPI_Type_contiguous`, `MPI_Type_vector`, `MPI_Type_create_struct` and all other constructors, `MPI_Type_commit`, `MPI_Type_free` | not offered | objects have any shape, and parts of a slice are gathered by an iterator |
//! | `MPI_Pack`, `MPI_Unpack`, `MPI_Pack_size` and kin | not offered | objects are packed by serde |
//! | `MPI_INT8_T` to `MPI_UINT64_T`, `MPI_BYTE`, `MPI_FLOAT`, `MPI_DOUBLE`, `MPI_C_BOOL`, `MPI_FLOAT_INT` and kin | [`Element`], [`Logical`], [`Located`] | `f16` and `bf16`, too; no complex numbers |
//!
//! # Collectives (chapter 6)
//!
//! | MPI | here | where it differs |
//! |---|---|---|
//! | `MPI_Barrier`, `MPI_Ibarrier` | [`Comm::barrier`] | |
//! | `MPI_Bcast`, `MPI_Ibcast` | [`Comm::bcast`], [`Comm::bcast_in_place`], [`Objects::bcast`] | who does not know the length takes that of objects; another length is [`Error::Truncated`] |
//! | `MPI_Gather`, `MPI_Igather` | [`Comm::gather`], [`Comm::gather_in_place`], [`Comm::gather_reusing`], [`Objects::gather`] | |
//! | `MPI_Gatherv`, `MPI_Igatherv` | [`Comm::gatherv`] | a vector for each rank: no counts, no displacements |
//! | `MPI_Scatter`, `MPI_Iscatter` | [`Comm::scatter`], [`Comm::scatter_in_place`], [`Comm::scatter_reusing`], [`Objects::scatter`] | who is not the root gives `None`: MPI ignores what it gives, here it is an error |
//! | `MPI_Scatterv`, `MPI_Iscatterv` | [`Comm::scatterv`] | a vector for each rank; receivers need not know its length |
//! | `MPI_Allgather`, `MPI_Iallgather` | [`Comm::allgather`], [`Comm::allgather_in_place`], [`Comm::allgather_reusing`], [`Objects::allgather`] | |
//! | `MPI_Allgatherv`, `MPI_Iallgatherv` | [`Comm::allgatherv`] | a vector for each rank |
//! | `MPI_Alltoall`, `MPI_Ialltoall` | [`Comm::alltoall`], [`Comm::alltoall_in_place`], [`Comm::alltoall_reusing`], [`Objects::alltoall`] | |
//! | `MPI_Alltoallv`, `MPI_Ialltoallv` | [`Comm::alltoallv`] | a vector for each rank |
//! | `MPI_Alltoallw`, `MPI_Ialltoallw`, `MPI_Alltoallw_init` | not offered | a call has one element type; [`Objects::alltoall`] of an enum has any |
//! | `MPI_Reduce`, `MPI_Ireduce` | [`Comm::reduce`], [`Comm::reduce_in_place`], [`Objects::reduce`] | |
//! | `MPI_Allreduce`, `MPI_Iallreduce` | [`Comm::allreduce`], [`Comm::allreduce_in_place`], [`Objects::allreduce`] | |
//! | `MPI_Reduce_scatter`, `MPI_Ireduce_scatter` | [`Comm::reduce_scatter`], [`Comm::reduce_scatter_in_place`], [`Objects::reduce_scatter`] | |
//! | `MPI_Reduce_scatter_block`, `MPI_Ireduce_scatter_block` | [`Comm::reduce_scatter_block`], [`Comm::reduce_scatter_block_in_place`], [`Objects::reduce_scatter_block`] | |
//! | `MPI_Scan`, `MPI_Iscan` | [`Comm::scan`], [`Comm::scan_in_place`], [`Objects::scan`] | |
//! | `MPI_Exscan`, `MPI_Iexscan` | [`Comm::exscan`], [`Comm::exscan_in_place`], [`Objects::exscan`] | rank 0 gets `None`, where MPI leaves its buffer undefined |
//! | `MPI_IN_PLACE` | the `…_in_place` calls | |
//! | `MPI_Barrier_init`, `MPI_Bcast_init` | [`Comm::barrier_init`], [`Comm::bcast_init`] | a round also meets the plain call of the same name |
//! | `MPI_Gather_init`, `MPI_Scatter_init`, `MPI_Allgather_init`, `MPI_Alltoall_init` | [`Comm::gather_init`], [`Comm::scatter_init`], [`Comm::allgather_init`], [`Comm::alltoall_init`], [`SendReceive`] | |
//! | `MPI_Reduce_init`, `MPI_Allreduce_init`, `MPI_Reduce_scatter_init`, `MPI_Reduce_scatter_block_init` | [`Comm::reduce_init`], [`Comm::allreduce_init`], [`Comm::reduce_scatter_init`], [`Comm::reduce_scatter_block_init`] | |
//! | `MPI_Scan_init`, `MPI_Exscan_init` | [`Comm::scan_init`], [`Comm::exscan_init`] | |
//! | `MPI_Gatherv_init`, `MPI_Scatterv_init`, `MPI_Allgatherv_init`, `MPI_Alltoallv_init` | [`Persistent::calling`] | makes any call persistent, those of objects and of one's own operations, too; each round may have other lengths |
//! | `MPI_MAX`, `MPI_MIN`, `MPI_SUM`, `MPI_PROD` | [`Max`], [`Min`], [`Sum`], [`Prod`] | integers wrap around |
//! | `MPI_LAND`, `MPI_LOR`, `MPI_LXOR`, `MPI_BAND`, `MPI_BOR`, `MPI_BXOR` | [`Land`], [`Lor`], [`Lxor`], [`Band`], [`Bor`], [`Bxor`] | |
//! | `MPI_MAXLOC`, `MPI_MINLOC` | [`Maxloc`], [`Minloc`], [`Located`] | |
//! | `MPI_Op_create` | [`Named`], [`Comm::fold`], [`Comm::fold_all`], [`Comm::fold_to`], [`Comm::apply`] | or a closure, given to [`Objects::reduce`]: three strengths, in [`operations`](crate::operations) |
//! | `MPI_Op_commutative`, `MPI_Op_free` | not offered | operations need not be commutative: values are combined in the order of ranks |
//! | `MPI_Reduce_local` | [`reduce_local`] | for built-in ops; a function of one's own is called as any other |
//!
//! # Groups and communicators (chapter 7)
//!
//! | MPI | here | where it differs |
//! |---|---|---|
//! | `MPI_COMM_WORLD` | [`World::comm`] | a value, so that a process may have several worlds ([`local`]) |
//! | `MPI_COMM_SELF` | [`comm_self`], [`World::comm_self`] | works without a hub, before `init` and after `finalize` |
//! | `MPI_Comm_rank`, `MPI_Comm_size` | [`Comm::rank`], [`Comm::size`] | |
//! | `MPI_Comm_compare` | [`Comm::compare`], [`Comparison`] | asks the hub for the groups, so it is a request |
//! | `MPI_Comm_dup`, `MPI_Comm_idup` | [`Comm::dup`] | attributes are not copied; `clone` is another handle of the same communicator |
//! | `MPI_Comm_dup_with_info`, `MPI_Comm_idup_with_info`, `MPI_Comm_set_info`, `MPI_Comm_get_info`, `MPI_Info_create` and kin | not offered | there are no hints to give; settings are in [`config`](crate::config) |
//! | `MPI_Comm_split` | [`Comm::split`] | `None` is `MPI_UNDEFINED` |
//! | `MPI_Comm_split_type` | [`Comm::split_type`], [`SplitType::Machine`], [`SplitType::Kind`] | by machine, or by kind of rank: host, board, virtual. No hardware or resource types |
//! | `MPI_Comm_create` | [`Comm::create`] | ranks may give different groups, as in MPI |
//! | `MPI_Comm_create_group` | [`Comm::create_group`] | takes ranks of this communicator: those of a group by [`ProcessGroup::translate_ranks`] |
//! | `MPI_Comm_create_from_group`, `MPI_Group_from_session_pset`, `MPI_Session_init` and kin | not offered | a [`World`] is a value already; libraries are given a [`Comm::dup`] |
//! | `MPI_Comm_free`, `MPI_Comm_disconnect`, `MPI_Group_free` | drop the last clone | |
//! | `MPI_Comm_group` | [`Comm::group`] | asks the hub, so it is a request |
//! | `MPI_Group_size`, `MPI_Group_rank`, `MPI_GROUP_EMPTY` | [`ProcessGroup::size`], [`ProcessGroup::rank`], [`ProcessGroup::ranks`], [`ProcessGroup::empty`], [`ProcessGroup::is_empty`] | [`Group`] is another thing: who gives and receives in a user operation |
//! | `MPI_Group_translate_ranks`, `MPI_Group_compare` | [`ProcessGroup::translate_ranks`], [`ProcessGroup::compare`] | |
//! | `MPI_Group_union`, `MPI_Group_intersection`, `MPI_Group_difference` | [`ProcessGroup::union`], [`ProcessGroup::intersection`], [`ProcessGroup::difference`] | |
//! | `MPI_Group_incl`, `MPI_Group_excl` | [`ProcessGroup::include`], [`ProcessGroup::exclude`], [`ProcessGroup::new`] | |
//! | `MPI_Group_range_incl`, `MPI_Group_range_excl` | [`ProcessGroup::range_include`], [`ProcessGroup::range_exclude`], [`RankRange`] | |
//! | `MPI_Comm_set_name`, `MPI_Comm_get_name` | [`Comm::set_name`], [`Comm::name`] | clones share the name |
//! | `MPI_Comm_create_keyval`, `MPI_Comm_free_keyval` | not offered | the attribute's Rust type is the key; its `Drop` is the delete callback |
//! | `MPI_Comm_set_attr`, `MPI_Comm_get_attr`, `MPI_Comm_delete_attr` | [`Comm::set_attribute`], [`Comm::attribute`], [`Comm::remove_attribute`] | |
//! | `MPI_Type_set_attr`, `MPI_Win_set_attr`, `MPI_Type_set_name`, `MPI_Win_set_name` and kin | not offered | there are no such things to name |
//! | `MPI_Comm_test_inter`, `MPI_Comm_remote_size`, `MPI_Comm_remote_group`, `MPI_Intercomm_create`, `MPI_Intercomm_create_from_groups`, `MPI_Intercomm_merge` | not offered | [`Comm::apply`] has any sources and any destinations in one communicator |
//!
//! # Topologies (chapter 8)
//!
//! | MPI | here | where it differs |
//! |---|---|---|
//! | `MPI_Dims_create` | [`dims_create`] | no length can be given in advance |
//! | `MPI_Cart_create` | [`Comm::cart`], [`Neighborhood::comm`] | the grid is a value that holds its communicator; ranks keep their order |
//! | `MPI_Cart_get`, `MPI_Cartdim_get` | [`Cartesian::dims`], [`Cartesian::periods`] | |
//! | `MPI_Cart_rank`, `MPI_Cart_coords` | [`Cartesian::rank_at`], [`Cartesian::coords`] | `None` beyond the rim, where MPI has an error |
//! | `MPI_Cart_shift` | [`Cartesian::shift`] | its `None` goes into `sendrecv` as it is |
//! | `MPI_Cart_sub` | [`Cartesian::sub`] | |
//! | `MPI_Dist_graph_create_adjacent` | [`Comm::dist_graph_adjacent`] | no weights: every rank is as far from every other |
//! | `MPI_Dist_graph_neighbors`, `MPI_Dist_graph_neighbors_count` | [`Neighborhood::sources`], [`Neighborhood::destinations`] | of grids, too |
//! | `MPI_Dist_graph_create` | [`Comm::dist_graph`] | pairs of ranks, and no weights |
//! | `MPI_Graph_create`, `MPI_Graph_get`, `MPI_Graphdims_get`, `MPI_Graph_neighbors`, `MPI_Graph_neighbors_count` | not offered | superseded in MPI, too, as every rank has to give the whole graph: [`Comm::dist_graph`] on one rank does that |
//! | `MPI_Topo_test`, `MPI_Cart_map`, `MPI_Graph_map` | not offered | the type tells the topology, and there is nothing to map ranks to |
//! | `MPI_Neighbor_allgather`, `MPI_Ineighbor_allgather` | [`Neighborhood::neighbor_allgather`], [`NeighborObjects::neighbor_allgather`] | from a neighbour that is not there comes `None` |
//! | `MPI_Neighbor_allgatherv`, `MPI_Ineighbor_allgatherv` | [`Neighborhood::neighbor_allgatherv`] | |
//! | `MPI_Neighbor_alltoall`, `MPI_Ineighbor_alltoall` | [`Neighborhood::neighbor_alltoall`], [`NeighborObjects::neighbor_alltoall`] | |
//! | `MPI_Neighbor_alltoallv`, `MPI_Ineighbor_alltoallv` | [`Neighborhood::neighbor_alltoallv`] | |
//! | `MPI_Neighbor_alltoallw`, `MPI_Ineighbor_alltoallw`, `MPI_Neighbor_alltoallw_init` | not offered | as `MPI_Alltoallw`: [`NeighborObjects::neighbor_alltoall`] of an enum |
//! | `MPI_Neighbor_allgather_init`, `MPI_Neighbor_allgatherv_init`, `MPI_Neighbor_alltoall_init`, `MPI_Neighbor_alltoallv_init` | [`Persistent::calling`] | as `MPI_Gatherv_init` |
//!
//! # Environment and processes (chapters 9 to 11)
//!
//! | MPI | here | where it differs |
//! |---|---|---|
//! | `MPI_Init` | [`init`], [`Builder::init`] | |
//! | `MPI_Init_thread`, `MPI_Query_thread` | [`Config::threads`], [`Threads::Single`], [`Threads::Multiple`] | every [`Comm`] may be used on all threads and tasks at once (`MPI_THREAD_MULTIPLE`); who says `Single`, as in `MPI_THREAD_SINGLE`, is told of deadlocks, and so is a process that has one thread alone ([`Threads::Auto`]) |
//! | `MPI_Is_thread_main`, `MPI_Initialized`, `MPI_Finalized` | not offered | who has a [`World`] has initialized; finalizing takes it |
//! | `MPI_Finalize` | [`World::finalize`] | calls made later are [`Error::Finalized`] |
//! | `MPI_Abort` | not offered | end the process: it has failed then, calls that need it fail elsewhere, and the launcher ends the job |
//! | `MPI_Comm_create_errhandler`, `MPI_Comm_set_errhandler`, `MPI_Comm_call_errhandler` and kin, `MPI_Add_error_class` and kin | not offered | errors are values |
//! | `MPI_Error_class`, `MPI_Error_string` | [`Error`] | variants to match on, and texts that name ranks and lines |
//! | `MPI_Comm_spawn`, `MPI_Comm_spawn_multiple`, `MPI_Comm_get_parent`, `MPI_Open_port`, `MPI_Close_port`, `MPI_Comm_accept`, `MPI_Comm_connect`, `MPI_Comm_join`, `MPI_Publish_name`, `MPI_Unpublish_name`, `MPI_Lookup_name` | not offered | a world has one size from its beginning |
//! | `MPI_Grequest_start`, `MPI_Grequest_complete` | not offered | requests are futures: any other future can stand beside them |
//! | `MPI_Get_processor_name`, `MPI_Get_version`, `MPI_Wtime`, `MPI_Alloc_mem` and kin | not offered | no communication: the standard library has them |
//!
//! # One-sided (chapter 12) and files (chapter 14)
//!
//! | MPI | here | why |
//! |---|---|---|
//! | `MPI_Win_create`, `MPI_Win_allocate`, `MPI_Win_allocate_shared`, `MPI_Win_create_dynamic` and kin | not offered | not planned for now: boards have no memory to expose, and the hub would serialize every access |
//! | `MPI_Put`, `MPI_Get`, `MPI_Accumulate`, `MPI_Get_accumulate`, `MPI_Fetch_and_op`, `MPI_Compare_and_swap`, `MPI_Rput`, `MPI_Rget`, `MPI_Raccumulate`, `MPI_Rget_accumulate` | not offered | a user operation at the hub can keep state that ranks read and change: [`Comm::apply`] |
//! | `MPI_Win_fence`, `MPI_Win_start`, `MPI_Win_complete`, `MPI_Win_post`, `MPI_Win_wait`, `MPI_Win_test`, `MPI_Win_lock`, `MPI_Win_lock_all`, `MPI_Win_unlock`, `MPI_Win_unlock_all`, `MPI_Win_flush`, `MPI_Win_flush_all`, `MPI_Win_flush_local`, `MPI_Win_flush_local_all`, `MPI_Win_sync` | not offered | |
//! | `MPI_File_open` and all of its kin | not offered | no communication |

#[cfg(doc)]
use crate::config::{Config, Threads};
#[cfg(doc)]
use crate::{
    ANY_SOURCE, ANY_TAG, Band, Bor, Builder, Bxor, Cartesian, Comm, Comparison, Element, Error, Group, Land, Located,
    Logical, Lor, Lxor, Max, Maxloc, Message, Min, Minloc, Named, NeighborObjects, Neighborhood, Objects, Persistent,
    ProcessGroup, Prod, RankRange, Request, SendReceive, SplitType, Status, Sum, World, comm_self, dims_create, init,
    local, reduce_local, start_all, test_all, test_any, test_some, wait_all, wait_any, wait_some,
};
