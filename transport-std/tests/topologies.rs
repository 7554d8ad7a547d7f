//! Grids and graphs of ranks, and the collectives among neighbours.

use std::thread;

use edgempi::{Cartesian, Comm, Error, Rank, World, dims_create};

/// What each rank of a world does, in a thread each.
fn on_all(size: u32, program: impl Fn(&World) -> Result<(), Error> + Sync) -> Result<(), Error> {
    let worlds = edgempi::local(size)?;
    thread::scope(|scope| {
        let ranks = worlds.into_iter().map(|world| {
            let program = &program;
            scope.spawn(move || program(&world).and_then(|()| world.finalize().wait()))
        });
        let ranks: Vec<_> = ranks.collect();
        ranks.into_iter().try_for_each(|rank| rank.join().expect("no panic"))
    })
}

const SIZES: [u32; 4] = [1, 2, 4, 5];

fn number(rank: Option<Rank>) -> Option<u32> {
    rank.map(Rank::get)
}

#[test]
fn lengths_of_a_grid_are_as_equal_as_can_be() -> Result<(), Error> {
    for (nodes, dimensions, lengths) in [
        (6, 2, &[3, 2][..]),
        (7, 2, &[7, 1]),
        (6, 3, &[3, 2, 1]),
        (36, 2, &[6, 6]),
        (64, 3, &[4, 4, 4]),
        (1, 3, &[1, 1, 1]),
        (1, 0, &[]),
        (4_294_967_291, 2, &[4_294_967_291, 1]),
    ] {
        assert_eq!(dims_create(nodes, dimensions)?, lengths);
    }
    for nodes in 1..400 {
        let best = (1..=nodes).filter(|one| nodes % one == 0).map(|one| one.max(nodes / one)).min();
        let lengths = dims_create(nodes, 2)?;
        assert_eq!((lengths.iter().product::<u32>(), lengths.iter().max().copied()), (nodes, best));
        assert!(dims_create(nodes, 4)?.is_sorted_by(|one, next| one >= next));
    }
    for (nodes, dimensions) in [(0, 1), (2, 0), (2, 33)] {
        let error = dims_create(nodes, dimensions).expect_err("it makes no sense").to_string();
        assert!(error.contains(", at transport-std/tests/topologies.rs:"), "{error}");
    }
    Ok(())
}

#[test]
fn a_grid_knows_who_is_where() -> Result<(), Error> {
    for size in SIZES {
        on_all(size, |world| {
            let dims = dims_create(size, 2)?;
            let grid = world.comm().cart(&dims, &[true, false]).wait()?.expect("all have a place");
            for rank in 0..size {
                let coords = grid.coords(rank).expect("it is in the grid");
                assert_eq!(coords, [rank / dims[1], rank % dims[1]]);
                let there: Vec<i64> = coords.iter().copied().map(i64::from).collect();
                assert_eq!(number(grid.rank_at(&there)), Some(rank));
                assert_eq!(number(grid.rank_at(&[there[0] - 2 * i64::from(dims[0]), there[1]])), Some(rank));
            }
            assert_eq!(grid.coords(size), None);
            assert_eq!(grid.rank_at(&[0, -1]), None);
            assert_eq!(grid.rank_at(&[0, dims[1].into()]), None);
            assert_eq!(grid.rank_at(&[0]), None);
            let rank = world.rank().get();
            let column = rank % dims[1];
            let (source, dest) = grid.shift(1, 1)?;
            assert_eq!(number(source), (column > 0).then(|| rank - 1));
            assert_eq!(number(dest), (column + 1 < dims[1]).then_some(rank + 1));
            let (source, dest) = grid.shift(0, -1)?;
            assert_eq!(number(source), Some((rank + dims[1]) % size), "a ring");
            assert_eq!(number(dest), Some((rank + size - dims[1]) % size));
            assert!(grid.shift(2, 1).is_err());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn ranks_beyond_a_grid_have_none() -> Result<(), Error> {
    on_all(5, |world| {
        let grid = world.comm().cart(&[2, 2], &[false, false]).wait()?;
        assert_eq!(grid.as_ref().map(|grid| grid.comm().rank()), (world.rank() < 4).then_some(world.rank()));
        assert!(world.comm().cart(&[3, 2], &[false; 2]).wait().is_err(), "six are too many");
        assert!(world.comm().cart(&[0], &[false]).wait().is_err());
        assert!(world.comm().cart(&[1], &[]).wait().is_err());
        Ok(())
    })
}

#[test]
fn ranks_that_mean_different_grids_are_told_so() -> Result<(), Error> {
    on_all(2, |world| {
        let periodic = world.rank() == 0;
        let error = world.comm().cart(&[2], &[periodic]).wait().expect_err("they do not agree");
        assert!(matches!(&error, Error::Mismatch { .. }), "{error}");
        Ok(())
    })
}

#[test]
fn rows_and_columns_of_a_grid_are_grids() -> Result<(), Error> {
    on_all(4, |world| {
        let grid = world.comm().cart(&[2, 2], &[false, true]).wait()?.expect("all have a place");
        let (row, column) = (world.rank().get() / 2, world.rank().get() % 2);
        let columns = grid.sub(&[true, false]).wait()?;
        assert_eq!((columns.dims(), columns.periods()), (&[2][..], &[false][..]));
        assert_eq!(columns.comm().rank(), row);
        assert_eq!(columns.comm().allgather([world.rank().get()]).wait()?, [column, column + 2]);
        let rows = grid.sub(&[false, true]).wait()?;
        assert_eq!(rows.comm().allgather([world.rank().get()]).wait()?, [row * 2, row * 2 + 1]);
        assert_eq!(rows.periods(), [true]);
        let point = grid.sub(&[false, false]).wait()?;
        assert_eq!((point.comm().size(), point.dims().len()), (1, 0));
        assert!(grid.sub(&[true]).wait().is_err());
        Ok(())
    })
}

/// What a rank says in one direction: who it is, and where the block goes.
fn said(rank: u32, place: usize) -> u32 {
    rank * 10 + place as u32
}

/// What comes from each neighbour of a grid: the block that it sent in the other direction.
fn expected(grid: &Cartesian) -> Vec<Option<u32>> {
    let neighbours = grid.sources();
    neighbours.iter().enumerate().map(|(place, rank)| rank.map(|rank| said(rank.get(), place ^ 1))).collect()
}

#[test]
fn neighbours_of_a_grid_get_each_others_blocks_in_order() -> Result<(), Error> {
    for size in SIZES {
        for periods in [[false, false], [true, false], [true, true]] {
            on_all(size, |world| {
                let dims = dims_create(size, 2)?;
                let grid = world.comm().cart(&dims, &periods).wait()?.expect("all have a place");
                let rank = world.rank().get();
                let order: Vec<_> = [(0, -1), (0, 1), (1, -1), (1, 1)]
                    .map(|(dimension, by)| grid.shift(dimension, by).expect("it is there").1)
                    .into();
                assert_eq!((grid.sources(), grid.destinations()), (order.clone(), order.clone()));
                let all = grid.neighbor_allgather([rank, 7]).wait()?;
                let from: Vec<_> = order.iter().map(|rank| rank.map(|rank| vec![rank.get(), 7])).collect();
                assert_eq!(all, from);
                let all = grid.neighbor_allgatherv(vec![rank; rank as usize]).wait()?;
                let from: Vec<_> = order.iter().map(|rank| rank.map(|rank| vec![rank.get(); rank.index()])).collect();
                assert_eq!(all, from);
                let all = grid.objects().neighbor_allgather(&format!("I am {rank}")).wait()?;
                let from: Vec<_> = order.iter().map(|rank| rank.map(|rank| format!("I am {rank}"))).collect();
                assert_eq!(all, from);
                let blocks: Vec<u32> = (0..4).map(|place| said(rank, place)).collect();
                let one = |blocks: Vec<Option<Vec<u32>>>| -> Vec<Option<u32>> {
                    blocks.into_iter().map(|block| block.map(|block| block[0])).collect()
                };
                assert_eq!(one(grid.neighbor_alltoall(&blocks).wait()?), expected(&grid));
                let uneven: Vec<Vec<u32>> =
                    blocks.iter().enumerate().map(|(place, said)| vec![*said; place + 1]).collect();
                let all = grid.neighbor_alltoallv(uneven).wait()?;
                let lengths: Vec<_> = all.iter().map(|block| block.as_ref().map(Vec::len)).collect();
                let sent: Vec<_> =
                    order.iter().enumerate().map(|(place, rank)| rank.map(|_| (place ^ 1) + 1)).collect();
                assert_eq!((lengths, one(all)), (sent, expected(&grid)));
                assert_eq!(grid.objects().neighbor_alltoall(&blocks).wait()?, expected(&grid));
                Ok(())
            })?;
        }
    }
    Ok(())
}

#[test]
fn many_calls_among_neighbours_at_once_are_not_mixed_up() -> Result<(), Error> {
    for size in SIZES {
        on_all(size, |world| {
            let rank = world.rank().get();
            let grid = world.comm().cart(&[size], &[true]).wait()?.expect("all have a place");
            let (before, after) = ((rank + size - 1) % size, (rank + 1) % size);
            let graph = world.comm().dist_graph_adjacent(&[before, before], &[after, after]).wait()?;
            let mut requests = Vec::new();
            for round in 0..40 {
                // Large ones and small ones overtake each other wherever they may.
                let len = if round % 3 == 0 { 30_000 } else { 1 };
                requests.push((round, grid.neighbor_alltoallv(vec![vec![rank * 1000 + round; len], vec![round]])));
                requests.push((round, graph.neighbor_alltoall([rank * 1000 + round, round])));
            }
            for (at, (round, request)) in requests.into_iter().enumerate().rev() {
                let first: Vec<u32> = request.wait()?.into_iter().map(|block| block.expect("it is there")[0]).collect();
                match at % 2 {
                    0 => assert_eq!(first, [round, after * 1000 + round]),
                    _ => assert_eq!(first, [before * 1000 + round, round]),
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn edges_of_a_graph_need_not_go_both_ways() -> Result<(), Error> {
    for size in SIZES {
        on_all(size, |world| {
            let rank = world.rank().get();
            // Everybody tells rank 0, itself included; rank 0 tells the last one.
            let everybody: Vec<u32> = (0..size).rev().collect();
            let mut sources = if rank == 0 { everybody.clone() } else { vec![] };
            if rank == size - 1 {
                sources.push(0);
            }
            let destinations = if rank == 0 { vec![0, size - 1] } else { vec![0] };
            let graph = world.comm().dist_graph_adjacent(&sources, &destinations).wait()?;
            let came = graph.objects().neighbor_allgather(&rank).wait()?;
            let expected: Vec<_> = sources.iter().copied().map(Some).collect();
            assert_eq!(came, expected);
            let refused = world.comm().dist_graph_adjacent(&[size], &[]).wait().expect_err("nobody is there");
            assert!(refused.to_string().contains(&format!("no rank {size} in a communicator of {size}")), "{refused}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn edges_that_others_say_reach_both_their_ends() -> Result<(), Error> {
    for size in SIZES {
        // The last one says a ring, every other one an edge that is not its own; one of rank 0 to itself is there twice.
        let said = |rank: u32| -> Vec<(u32, u32)> {
            match rank + 1 == size {
                true => (0..size).map(|rank| (rank, (rank + 1) % size)).chain([(0, 0), (0, 0)]).collect(),
                false => vec![((rank + 1) % size, (rank + 2) % size)],
            }
        };
        let all: Vec<(u32, u32)> = (0..size).flat_map(said).collect();
        on_all(size, |world| {
            let rank = world.rank().get();
            let graph = world.comm().dist_graph(&said(rank)).wait()?;
            let sources: Vec<u32> = all.iter().filter(|edge| edge.1 == rank).map(|edge| edge.0).collect();
            let destinations: Vec<u32> = all.iter().filter(|edge| edge.0 == rank).map(|edge| edge.1).collect();
            let numbers =
                |ranks: Vec<Option<Rank>>| -> Vec<u32> { ranks.iter().flatten().map(|rank| rank.get()).collect() };
            assert_eq!(numbers(graph.sources()), sources);
            assert_eq!(numbers(graph.destinations()), destinations);
            // Each block tells its number: edges between the same two ranks keep their order.
            let blocks: Vec<Vec<usize>> = (0..destinations.len()).map(|at| vec![at]).collect();
            let came = graph.objects().neighbor_alltoall(&blocks).wait()?;
            for source in 0..size {
                let edges = all.iter().filter(|edge| edge.0 == source).enumerate();
                let sent: Vec<_> = edges.filter(|(_, edge)| edge.1 == rank).map(|(at, _)| Some(vec![at])).collect();
                let from_it = sources.iter().zip(&came).filter(|(one, _)| **one == source);
                assert_eq!(from_it.map(|(_, block)| block.clone()).collect::<Vec<_>>(), sent);
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn edges_that_make_no_sense_are_refused_and_the_communicator_goes_on() -> Result<(), Error> {
    on_all(2, |world| {
        let comm = world.comm();
        let refused = comm.dist_graph(&[(0, 2)]).wait().expect_err("nobody is there");
        assert!(refused.to_string().contains("no rank 2 in a communicator of 2"), "{refused}");
        // The other rank makes calls that travel as it does.
        let error = if world.rank() == 0 {
            comm.dist_graph(&[(Rank::new(1), Rank::new(0))]).wait().expect_err("it is a dup elsewhere")
        } else {
            comm.dup().wait().expect_err("it is no dup elsewhere")
        };
        let Error::Mismatch { reason } = &error else { panic!("{error:?}") };
        assert!(reason.contains("rank 0 calls dist_graph at "), "{reason}");
        assert!(reason.contains("rank 1 calls dup at "), "{reason}");
        let nobodys = comm.dist_graph::<u32>(&[]).wait()?;
        assert!(nobodys.sources().is_empty() && nobodys.neighbor_allgather([1u8]).wait()?.is_empty());
        comm.barrier().wait()
    })
    .map(drop)
}

#[test]
fn a_graph_that_meets_another_call_is_told_on_both_sides() -> Result<(), Error> {
    let worlds = edgempi::local(2)?;
    let comms: Vec<Comm> = worlds.iter().map(World::comm).collect();
    let (graph, barrier) = (comms[0].dist_graph::<u32>(&[]), comms[1].barrier());
    for error in [graph.wait().map(drop).expect_err("they differ"), barrier.wait().expect_err("they differ")] {
        assert!(matches!(&error, Error::Mismatch { reason } if reason.contains("rank 1 calls barrier")), "{error}");
    }
    Ok(())
}

#[test]
fn who_sends_to_nobody_takes_blocks_of_any_length() -> Result<(), Error> {
    on_all(2, |world| {
        let rank = world.rank().get();
        let (sources, destinations) = if rank == 0 { ([].as_slice(), [1].as_slice()) } else { (&[0][..], &[][..]) };
        let graph = world.comm().dist_graph_adjacent(sources, destinations).wait()?;
        let data = if rank == 0 { vec![7u16, 8] } else { vec![] };
        let came = graph.neighbor_alltoall(data).wait()?;
        assert_eq!(came, if rank == 0 { vec![] } else { vec![Some(vec![7, 8])] });
        Ok(())
    })
}

#[test]
fn blocks_that_do_not_fit_the_neighbours_are_refused() -> Result<(), Error> {
    on_all(2, |world| {
        let line = world.comm().cart(&[2], &[false]).wait()?.expect("all have a place");
        assert!(line.neighbor_alltoall([1, 2, 3]).wait().is_err());
        assert!(line.neighbor_alltoallv(vec![vec![1]]).wait().is_err());
        assert!(line.objects().neighbor_alltoall(&[1]).wait().is_err());
        let error = line.neighbor_allgather(vec![1; world.rank().index() + 1]).wait().expect_err("lengths differ");
        assert!(matches!(error, Error::Mismatch { .. }), "{error}");
        // The calls that follow are not mixed up with those.
        let blocks = line.neighbor_allgather([world.rank().get()]).wait()?;
        assert_eq!(blocks.iter().flatten().count(), 1);
        Ok(())
    })
}

#[test]
fn a_call_that_is_dropped_does_not_meet_the_next() -> Result<(), Error> {
    on_all(2, |world| {
        let ring = world.comm().cart(&[2], &[true]).wait()?.expect("all have a place");
        let rank = world.rank().get();
        if rank == 0 {
            drop(ring.neighbor_allgather([99]));
        }
        world.comm().barrier().wait()?;
        if rank == 1 {
            drop(ring.neighbor_allgather([77]));
        }
        let blocks = ring.neighbor_allgather([rank]).wait()?;
        assert_eq!(blocks, [Some(vec![1 - rank]), Some(vec![1 - rank])]);
        Ok(())
    })
}
