//! Any call made again and again: those whose lengths differ, those among neighbours, those of objects.

use super::*;

/// Runs `rank` as every rank of a world, each on a thread of its own.
fn on_each(size: u32, rank: impl Fn(Comm) -> Result<(), Error> + Sync) -> Result<(), Error> {
    let worlds = edgempi::local(size)?;
    thread::scope(|scope| {
        let ranks: Vec<_> = comms(&worlds).into_iter().map(|comm| scope.spawn(|| rank(comm))).collect();
        ranks.into_iter().try_for_each(|rank| rank.join().expect("nobody panics"))
    })?;
    finalize(worlds)
}

#[test]
fn blocks_may_have_another_length_in_each_round() -> Result<(), Error> {
    on_each(3, |comm| {
        let (me, size) = (comm.rank().get(), comm.size());
        // Rank r gives r and round elements.
        let block = |rank: u32, round: u32| vec![rank * 10 + round; (rank + round) as usize];
        let (of_gather, of_all, of_scatter, of_each) = (comm.clone(), comm.clone(), comm.clone(), comm);
        let mut gather = Persistent::calling(Vec::new(), move |data| of_gather.gatherv(1, &*data));
        let mut all = Persistent::calling(Vec::new(), move |data| of_all.allgatherv(&*data));
        let mut scatter = Persistent::calling(Vec::new(), move |blocks: &mut Vec<Vec<u32>>| {
            of_scatter.scatterv(2, (me == 2).then(|| blocks.clone()))
        });
        let mut each =
            Persistent::calling(Vec::new(), move |blocks: &mut Vec<Vec<u32>>| of_each.alltoallv(blocks.clone()));
        for round in 0..4 {
            let everybodys: Vec<Vec<u32>> = (0..size).map(|rank| block(rank, round)).collect();
            for vector in [&mut gather.buffer_mut(), &mut all.buffer_mut()] {
                **vector.as_mut().expect("it is back") = block(me, round);
            }
            for blocks in [&mut scatter.buffer_mut(), &mut each.buffer_mut()] {
                **blocks.as_mut().expect("it is back") = everybodys.clone();
            }
            gather.start()?;
            start_all(std::slice::from_mut(&mut all))?;
            scatter.start()?;
            each.start()?;
            assert!(all.is_active() && all.buffer().is_none());
            assert_eq!(each.wait()?, vec![block(me, round); size as usize]);
            assert_eq!(block_on(async { (&mut scatter).await })?, block(me, round));
            assert_eq!(wait_all([all.request()]).wait()?, std::slice::from_ref(&everybodys));
            assert_eq!(gather.wait()?, (me == 1).then_some(everybodys));
            assert!(all.test() && all.buffer() == Some(&block(me, round)));
        }
        Ok(())
    })
}

#[test]
fn neighbours_exchange_round_by_round() -> Result<(), Error> {
    on_each(3, |comm| {
        let (me, size) = (comm.rank().get(), comm.size());
        let (next, last) = ((me + 1) % size, (me + size - 1) % size);
        let ring = comm.cart(&[size], &[true]).wait()?.expect("it has room for all");
        let (of_one, of_each, of_objects) = (ring.clone(), ring.clone(), ring);
        let mut one = Persistent::calling(vec![0], move |data| of_one.neighbor_allgather(&*data));
        let mut each = Persistent::calling(vec![0; 2], move |data| of_each.neighbor_alltoall(&*data));
        let mut objects =
            Persistent::calling(String::new(), move |text| of_objects.objects().neighbor_allgather(&*text));
        for round in 0..3 {
            one.buffer_mut().expect("it is back").fill(me * 10 + round);
            each.buffer_mut().expect("it is back").copy_from_slice(&[me * 10 + round, me * 10 + round + 5]);
            *objects.buffer_mut().expect("it is back") = format!("{me} in {round}");
            one.start()?;
            each.start()?;
            objects.start()?;
            assert_eq!(objects.wait()?, [last, next].map(|rank| Some(format!("{rank} in {round}"))));
            assert_eq!(each.wait()?, [Some(vec![last * 10 + round + 5]), Some(vec![next * 10 + round])]);
            assert_eq!(one.wait()?, [last, next].map(|rank| Some(vec![rank * 10 + round])));
        }
        Ok(())
    })
}

#[test]
fn objects_and_operations_of_ones_own_are_called_again() -> Result<(), Error> {
    on_each(2, |comm| {
        let (me, other) = (comm.rank().get(), 1 - comm.rank().get());
        let (sending, receiving, summing) = (comm.clone(), comm.clone(), comm);
        let mut send = Persistent::calling((0, "none"), move |pair| sending.objects().send(other, 7, pair));
        let mut receive = Persistent::calling((), move |()| receiving.objects().recv::<(u32, String)>(other, 7));
        let mut join = Persistent::calling(String::new(), move |text| {
            summing.objects().allreduce(std::mem::take(text), |a: String, b: String| a + &b)
        });
        for round in 0..3 {
            *send.buffer_mut().expect("it is back") = (me * 10 + round, "said");
            join.buffer_mut().expect("it is back").push_str(&me.to_string());
            receive.start()?;
            send.start()?;
            join.start()?;
            send.wait()?;
            assert_eq!(receive.wait()?.0, (other * 10 + round, "said".to_owned()));
            assert_eq!(join.wait()?, "01");
            assert_eq!(join.buffer().map(String::as_str), Some(""), "it was moved out");
        }
        Ok(())
    })
}

#[test]
fn a_round_that_fails_leaves_the_buffer_of_any_call() -> Result<(), Error> {
    let worlds = edgempi::local(2)?;
    let comms = comms(&worlds);
    let comm = comms[0].clone();
    let mut each = Persistent::calling(vec![vec![1u8]], move |blocks| comm.alltoallv(blocks.clone()));
    each.start()?;
    assert!(matches!(each.wait(), Err(Error::InvalidArgument { .. })), "one block for two ranks");
    each.buffer_mut().expect("no round has taken it").push(vec![2, 3]);
    each.start()?;
    let other = comms[1].alltoallv(vec![vec![4u8], vec![5]]);
    assert_eq!(each.wait()?, [vec![1], vec![4]]);
    assert_eq!(other.wait()?, [vec![2, 3], vec![5]]);
    each.start()?;
    let barrier = comms[1].barrier();
    let error = each.wait().expect_err("they differ");
    assert!(error.to_string().contains("any_call.rs"), "it names the line of the call: {error}");
    assert!(matches!(barrier.wait(), Err(Error::Mismatch { .. })));
    assert_eq!(each.into_buffer(), Some(vec![vec![1], vec![2, 3]]));
    finalize(worlds)
}
