//! Messages larger than allowed.

use edgempi::hub::{Applied, Registry};
use edgempi::{Comm, Config, Error, Group, Operation, Rank, Ranks, Sum};
use edgempi_tests::{both_kinds_of_worlds, on_ranks};

use super::assert_usable;

/// The largest message of the worlds below, in bytes and in elements.
const MESSAGE: usize = 60_000;
const ELEMENTS: usize = MESSAGE / 4;

/// A user operation that gives everybody as many letters as its parameter says.
struct Letters(usize);

impl Operation for Letters {
    const NAME: &'static str = "letters";
    type Parameters = usize;
    type Input = String;
    type Output = String;

    fn parameters(&self) -> usize {
        self.0
    }

    fn group(&self) -> Group<'_> {
        Group { sources: Ranks::All, destinations: Ranks::All }
    }
}

fn letters(call: Applied<'_, usize>, _: Vec<(Rank, String)>) -> Result<Vec<(Rank, String)>, String> {
    Ok(call.destinations.iter().map(|rank| (*rank, "x".repeat(call.parameters))).collect())
}

/// A call that gives this many elements too many, or as many as are allowed.
type Excess = fn(&Comm, usize) -> Result<(), Error>;

/// All of them send blocks of as many elements as there are in the largest message, and 3 more if `excess` is 3.
const CALLS: [(&str, Excess); 17] = [
    ("bcast", |comm, excess| comm.bcast(1, vec![1; ELEMENTS + excess]).wait().map(drop)),
    ("bcast in place", |comm, excess| comm.bcast_in_place(1, &mut vec![1; ELEMENTS + excess]).wait()),
    ("gather", |comm, excess| comm.gather(1, vec![1; ELEMENTS + excess]).wait().map(drop)),
    ("scatter", |comm, excess| {
        comm.scatter(1, (comm.rank() == 1).then(|| vec![1; ELEMENTS + excess])).wait().map(drop)
    }),
    ("allgather", |comm, excess| comm.allgather(vec![1; ELEMENTS + excess]).wait().map(drop)),
    ("alltoall", |comm, excess| comm.alltoall(vec![1; ELEMENTS + excess]).wait().map(drop)),
    ("reduce", |comm, excess| comm.reduce(1, vec![1; ELEMENTS + excess], Sum).wait().map(drop)),
    ("allreduce", |comm, excess| comm.allreduce(vec![1; ELEMENTS + excess], Sum).wait().map(drop)),
    ("allreduce in place", |comm, excess| comm.allreduce_in_place(&mut vec![1; ELEMENTS + excess], Sum).wait()),
    ("send and recv", |comm, excess| match comm.rank().get() {
        0 => comm.send(1, 0, vec![1; ELEMENTS + excess]).wait(),
        1 => comm.recv::<i32>(0, 0).wait().map(drop),
        // Takes no part, and says what the others are to say.
        _ => told(excess),
    }),
    ("send and recv_into", |comm, excess| match comm.rank().get() {
        0 => comm.send(2, 0, vec![1; ELEMENTS + excess]).wait(),
        2 => comm.recv_into(0, 0, &mut [0; ELEMENTS]).wait().map(drop),
        _ => told(excess),
    }),
    ("send to oneself", |comm, excess| {
        let sent = comm.send(comm.rank(), 0, vec![1; ELEMENTS + excess]);
        let received = comm.recv::<i32>(comm.rank(), 0).wait().map(drop);
        // Each names its own call.
        let told = |result: &Result<(), Error>| match result {
            Err(Error::TooLarge { len, max, .. }) => Some((*len, *max)),
            _ => None,
        };
        let sent = sent.wait();
        assert_eq!((sent.is_ok(), told(&sent)), (received.is_ok(), told(&received)));
        received
    }),
    ("bcast of an object", |comm, excess| {
        comm.objects().bcast(1, (comm.rank() == 1).then(|| text(excess))).wait().map(drop)
    }),
    ("gather of objects", |comm, excess| {
        // Small ones; one of them is too large.
        let value = if comm.rank() == 0 { text(excess) } else { String::new() };
        comm.objects().gather(1, &value).wait().map(drop)
    }),
    ("alltoall of objects", |comm, excess| {
        let values = if comm.rank() == 1 { [text(excess), String::new(), String::new()] } else { Default::default() };
        let [first, second, third] = values;
        comm.objects().alltoall(&[second, third, first]).wait().map(drop)
    }),
    ("input of a user operation", |comm, excess| {
        let input = if comm.rank() == 1 { text(excess) } else { String::new() };
        comm.apply(&Letters(0), Some(&input[..input.len() - usize::from(comm.rank() == 1)].to_owned())).wait().map(drop)
    }),
    ("output of a user operation", |comm, excess| {
        comm.apply(&Letters(text(excess).len()), Some(&String::new())).wait().map(drop)
    }),
];

/// What a rank says of a call in which it takes no part.
fn told(excess: usize) -> Result<(), Error> {
    let (len, max) = ((ELEMENTS + excess) as u64 * 4, MESSAGE as u64);
    if excess == 0 {
        Ok(())
    } else {
        Err(Error::TooLarge { len, max, reason: format!("{len} {max} EDGEMPI_MSG_SIZE") })
    }
}

/// An object that is allowed, or has 12 bytes too many with its length.
fn text(excess: usize) -> String {
    "x".repeat(if excess == 0 { MESSAGE - 10 } else { MESSAGE + 12 - 3 })
}

#[test]
fn a_message_larger_than_allowed_fails_on_all_its_ranks_with_both_numbers() {
    let mut operations = Registry::new();
    operations.insert_fn(Letters::NAME, Letters::VERSION, letters);
    let config = Config::new().message_size(MESSAGE as u64);
    for (_, worlds) in both_kinds_of_worlds(&operations, &config, 3) {
        on_ranks(worlds, |world| {
            let comm = world.comm();
            for (name, call) in CALLS {
                assert_eq!(call(&comm, 0), Ok(()), "{name} of bytes that are allowed");
                match call(&comm, 3) {
                    Err(Error::TooLarge { len, max, reason }) => {
                        // Empty objects have one byte each.
                        assert!(len - max == 12 || (name.contains("object") && len - max == 13), "{name}: {reason}");
                        assert_eq!(max, MESSAGE as u64);
                        for word in [len.to_string().as_str(), &max.to_string(), "EDGEMPI_MSG_SIZE"] {
                            assert!(reason.contains(word), "{name}: {reason}");
                        }
                    }
                    other => panic!("{name} of too many bytes, on rank {}: {other:?}", comm.rank()),
                }
                assert_usable(&comm);
            }
        });
    }
}

#[test]
fn objects_that_are_together_larger_than_allowed_fail_on_all_ranks_with_both_numbers() {
    let config = Config::new().message_size(MESSAGE as u64);
    for (_, worlds) in both_kinds_of_worlds(&Registry::new(), &config, 3) {
        on_ranks(worlds, |world| {
            let comm = world.comm();
            match comm.objects().allgather(&text(0)).wait() {
                Err(Error::Truncated { len, max, reason }) => {
                    assert!(len > max && max == MESSAGE as u64, "{reason}");
                    assert!(reason.contains(&len.to_string()) && reason.contains(&max.to_string()), "{reason}");
                }
                other => panic!("{:?}", other.map(|values| values.len())),
            }
            assert_usable(&comm);
        });
    }
}

#[test]
fn objects_of_the_others_that_are_together_as_large_as_allowed_arrive_whatever_the_own_one_is() {
    let config = Config::new().message_size(MESSAGE as u64);
    for (_, worlds) in both_kinds_of_worlds(&Registry::new(), &config, 2) {
        on_ranks(worlds, |world| {
            let comm = world.comm();
            let (text, objects) = (text(0), comm.objects());
            let both = vec![text.clone(), text.clone()];
            assert_eq!(objects.allgather(&text).wait(), Ok(both.clone()));
            assert_eq!(objects.gather(1, &text).wait(), Ok((comm.rank() == 1).then(|| both.clone())));
            assert_eq!(objects.alltoall(&both).wait(), Ok(both.clone()));
            assert_usable(&comm);
        });
    }
}
