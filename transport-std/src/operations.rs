//! Operations of one's own, in three strengths: a page about [`Named`], [`Operation`] and [`hub::Registry`].
//!
//! | strength | the hub's half | a rank's call | takes | memory at the hub |
//! |---|---|---|---|---|
//! | [a reduce function](#a-reduce-function) | nothing, or `insert_reduce` | `objects().reduce`, `allreduce` | any serde value | the inputs |
//! | [range by range](#buffers-range-by-range) | `insert_fold`, `insert_columns` | [`Comm::fold`], [`fold_all`](crate::Comm::fold_all), [`fold_to`](crate::Comm::fold_to) | buffers | a window for each rank |
//! | [everything](#everything-an-apply) | `insert_fn`, `insert` | [`Comm::apply`] | any serde value for each rank | the inputs |
//!
//! Closures never travel. What runs at the hub is registered there under a name and a version, and a rank says both: with
//! another version, or an unknown name, every rank of the call is told what the hub has. User code runs on threads of its
//! own at the hub, of 64 calls at a time, so it holds nobody else up. A panic in it fails that call on every participant,
//! and nothing else.
//!
//! # A reduce function
//!
//! A closure that makes one value of two can stand where a built-in op can. It runs at the ranks: every value goes to every
//! rank, or to the root.
//!
//! ```
//! let worlds = edgempi::local(3)?;
//! let words = ["to", "exist", "or"];
//! let longest = |a: String, b: String| if b.len() > a.len() { b } else { a };
//! let requests: Vec<_> = worlds
//!     .iter()
//!     .zip(words)
//!     .map(|(world, word)| world.comm().objects().allreduce(word.to_owned(), longest))
//!     .collect();
//! for request in requests {
//!     assert_eq!(request.wait()?, "exist");
//! }
//! # Ok::<(), edgempi::Error>(())
//! ```
//!
//! At the hub the same function is called once for all, and a rank sends and receives one value, however many ranks there
//! are. The hub knows it by a name ([`insert_reduce`](crate::hub::Registry::insert_reduce)); ranks say [`Named`]:
//!
//! ```
//! use edgempi::hub::Registry;
//! use edgempi::{Builder, Named};
//!
//! const LONGEST: Named = Named::new("longest");
//!
//! let mut operations = Registry::new();
//! operations.insert_reduce(LONGEST.name, LONGEST.version, |a: String, b: String| if b.len() > a.len() { b } else { a });
//! let worlds = Builder::new().operations(operations).local(3)?;
//! let words = ["to", "exist", "or"];
//! let requests: Vec<_> = worlds
//!     .iter()
//!     .zip(words)
//!     .map(|(world, word)| world.comm().objects().allreduce(word.to_owned(), LONGEST))
//!     .collect();
//! for request in requests {
//!     assert_eq!(request.wait()?, "exist");
//! }
//! # Ok::<(), edgempi::Error>(())
//! ```
//!
//! Both fold in one shape, the tree of [`fold_tree`](edgempi_core::operation::fold_tree): so floats have the same bits
//! whatever came first. A function has to be associative; commutative it need not be. `examples/own_reduce` is a program.
//!
//! # Buffers, range by range
//!
//! A [`Fold`](edgempi_core::operation::Fold) combines elements of two ranks at a time, and
//! [`Columns`](edgempi_core::operation::Columns) get the values of all ranks at one place: medians, trimmed means, votes. The
//! hub works on the range that all have sent, and sends its result on at once; so it holds a window of each rank's buffer,
//! whether that has a thousand elements or a billion, and the slowest rank sets the pace. Frames may be a board's.
//!
//! A weighted mean is a fold of elements that are two numbers, value × weight and weight. `combine` adds, and the third
//! function divides when all ranks are in the sums. A trimmed mean leaves out what is largest and smallest:
//!
//! ```
//! use edgempi::hub::Registry;
//! use edgempi::{Builder, Named};
//!
//! const WEIGHTED: Named = Named::new("weighted mean");
//! const TRIMMED: Named = Named::new("trimmed mean");
//!
//! let mut operations = Registry::new();
//! operations.insert_fold_fn(
//!     WEIGHTED.name,
//!     WEIGHTED.version,
//!     |[a, v]: [f32; 2], [b, w]: [f32; 2]| [a + b, v + w],
//!     |[sum, weight]| [sum / weight, weight],
//! );
//! operations.insert_columns_fn(TRIMMED.name, TRIMMED.version, |values: &mut [f32]| {
//!     values.sort_unstable_by(f32::total_cmp);
//!     let kept = if values.len() > 2 { &values[1..values.len() - 1] } else { values };
//!     kept.iter().sum::<f32>() / kept.len() as f32
//! });
//! let worlds = Builder::new().operations(operations).local(3)?;
//!
//! // Rank r has the value 10 x r at both places, with weights that differ.
//! let weighted = [[0.0, 1.0, 0.0, 2.0], [10.0, 1.0, 0.0, 0.0], [40.0, 2.0, 40.0, 2.0f32]];
//! let requests: Vec<_> =
//!     worlds.iter().zip(weighted).map(|(world, data)| world.comm().fold_all(WEIGHTED, data)).collect();
//! for request in requests {
//!     assert_eq!(request.wait()?, [12.5, 4.0, 10.0, 4.0]);
//! }
//! let values = [[1.0, 5.0], [f32::NAN, 6.0], [2.0, f32::NEG_INFINITY]];
//! let requests: Vec<_> =
//!     worlds.iter().zip(values).map(|(world, data)| world.comm().fold_to(TRIMMED, 0, data)).collect();
//! let results = requests.into_iter().map(|request| request.wait()).collect::<Result<Vec<_>, _>>()?;
//! assert_eq!(results, [Some(vec![2.0, 5.0]), None, None]);
//! # Ok::<(), edgempi::Error>(())
//! ```
//!
//! **Half the bytes** where one weight holds for a rank's whole vector: send value × weight with the weight as one more
//! element through `allreduce(…, Sum)`, and divide by what comes back in its place. `examples/own_fold` does both.
//!
//! [`Comm::fold`] takes any group: some ranks give, and the same or others receive. All lengths must be equal, of whole
//! elements, or every rank of the call gets [`Error::Mismatch`](crate::Error::Mismatch) with both. Elements have at most
//! [`MAX_ELEMENT`](edgempi_core::hub::MAX_ELEMENT) bytes.
//!
//! # Everything: an `Apply`
//!
//! An [`Operation`] is a call of a function on the inputs of some ranks, with outputs for some ranks. A value of the type is
//! one call: it says the parameters, which all sources have to say alike (or all are told that they do not agree, with
//! their lines), and the group. Ranks that are not in it do not
//! call. Any number of calls may be in flight, on groups that overlap: each group counts its own calls. Where ranks give or
//! get different things, an enum says which:
//!
//! ```
//! use edgempi::hub::{Applied, Registry};
//! use edgempi::{Builder, Group, Operation, Rank};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! enum Given {
//!     Reading(f32),
//!     Limit { least: f32 },
//! }
//!
//! /// Some ranks read a sensor, and one says from where on that is too much; rank 0 gets how many it is too much for.
//! struct Alarms {
//!     who: Vec<Rank>,
//!     scale: f32,
//! }
//!
//! impl Operation for Alarms {
//!     const NAME: &'static str = "alarms";
//!     type Parameters = f32;
//!     type Input = Given;
//!     type Output = usize;
//!
//!     fn parameters(&self) -> f32 {
//!         self.scale
//!     }
//!
//!     fn group(&self) -> Group<'_> {
//!         Group::new(&self.who, &self.who[..1])
//!     }
//! }
//!
//! fn alarms(call: Applied<'_, f32>, inputs: Vec<(Rank, Given)>) -> Result<Vec<(Rank, usize)>, String> {
//!     let limit = inputs.iter().find_map(|(_, given)| match given {
//!         Given::Limit { least } => Some(*least),
//!         Given::Reading(_) => None,
//!     });
//!     let limit = limit.ok_or("nobody said a limit")?;
//!     let loud = |given: &Given| matches!(given, Given::Reading(value) if value * call.parameters >= limit);
//!     let count = inputs.iter().filter(|(_, given)| loud(given)).count();
//!     Ok(call.destinations.iter().map(|rank| (*rank, count)).collect())
//! }
//!
//! let mut operations = Registry::new();
//! operations.insert_fn(Alarms::NAME, Alarms::VERSION, alarms);
//! let worlds = Builder::new().operations(operations).local(4)?;
//! // Rank 2 has no part in it.
//! let call = Alarms { who: [0, 1, 3].map(Rank::new).to_vec(), scale: 2.0 };
//! let own = worlds[0].comm().apply(&call, Some(&Given::Limit { least: 5.0 }));
//! let one = worlds[1].comm().apply(&call, Some(&Given::Reading(3.0)));
//! let other = worlds[3].comm().apply(&call, Some(&Given::Reading(2.0)));
//! assert_eq!((own.wait()?, one.wait()?, other.wait()?), (Some(1), None, None));
//! # Ok::<(), edgempi::Error>(())
//! ```
//!
//! `examples/pair_reduce` is a program, and `examples/tree_allreduce` builds an allreduce of it, phase by phase, on groups
//! of two.
//!
//! To work on bytes, implement [`Apply`](crate::hub::Apply). What comes is postcard, the parameters and then the input, and
//! what goes is to be that of the output:
//!
//! ```
//! use edgempi::hub::{Apply, ApplyError, Payload, Registry};
//! use edgempi::{Builder, Group, Operation, Rank};
//!
//! /// Hands everybody the longest input, whatever that is.
//! struct Longest;
//!
//! impl Apply for Longest {
//!     fn apply(&self, to: &[Rank], inputs: Vec<(Rank, Payload)>) -> Result<Vec<(Rank, Payload)>, ApplyError> {
//!         let longest = inputs.into_iter().map(|(_, bytes)| bytes).max_by_key(|bytes| bytes.len());
//!         let longest = longest.ok_or("nobody gives anything")?;
//!         Ok(to.iter().map(|rank| (*rank, longest.clone())).collect())
//!     }
//! }
//!
//! struct LongestWord;
//!
//! impl Operation for LongestWord {
//!     const NAME: &'static str = "longest";
//!     // They take no byte.
//!     type Parameters = ();
//!     type Input = String;
//!     type Output = String;
//!
//!     fn parameters(&self) {}
//!
//!     fn group(&self) -> Group<'_> {
//!         Group::ALL
//!     }
//! }
//!
//! let mut operations = Registry::new();
//! operations.insert(LongestWord::NAME, LongestWord::VERSION, Longest);
//! let worlds = Builder::new().operations(operations).local(2)?;
//! let one = worlds[0].comm().apply(&LongestWord, Some(&"to".to_owned()));
//! let other = worlds[1].comm().apply(&LongestWord, Some(&"exist".to_owned()));
//! assert_eq!((one.wait()?.as_deref(), other.wait()?.as_deref()), (Some("exist"), Some("exist")));
//! # Ok::<(), edgempi::Error>(())
//! ```
//!
//! # Errors of one's own
//!
//! What a function at the hub returns as its error may be any type that is `Display` and `Serialize`; a `String` will do. On
//! every rank of the call it is [`Error::Remote`](crate::Error::Remote), whose text says it, and
//! [`Error::remote`](crate::Error::remote) turns it into the type again. Boards keep the text.
//!
//! # Where to register
//!
//! [`Builder::operations`](crate::Builder::operations) is for a world whose rank 0 has the hub in its process. A hub of its
//! own is a program with [`hub::Server`](crate::hub::Server), which ranks find by `EDGEMPI_ADDR`; `examples/own_hub` is
//! one, and starts its ranks:
//!
//! ```no_run
//! use edgempi::Config;
//! use edgempi::hub::{Registry, Server};
//!
//! let mut operations = Registry::new();
//! operations.insert_reduce("longest", 1, |a: String, b: String| if b.len() > a.len() { b } else { a });
//! let server = Server::bind(&Config::new().rank(0).size(4).listen("0.0.0.0:61642"), operations)?;
//! let report = server.serve()?;
//! println!("{} ranks have finished", report.finished);
//! # Ok::<(), edgempi::Error>(())
//! ```
//!
//! [`Named`]: crate::Named
//! [`Operation`]: crate::Operation
//! [`hub::Registry`]: crate::hub::Registry
//! [`Comm::fold`]: crate::Comm::fold
//! [`Comm::apply`]: crate::Comm::apply
