//! Grids and graphs of ranks, and what neighbours give each other.

use edgempi::{Neighborhood, Rank, World, dims_create};
use edgempi_tests::links::Link;
use edgempi_tests::on_ranks;

use super::data::{are_from, elements};
use super::{LENS, assert_usable, neighbours, plain, rank_and_size};

const SIZE: u32 = 6;

/// What a rank gives at one place of its list of destinations; the receiver knows the place in the giver's list by `back`.
fn block(from: u32, place: usize, len: usize) -> Vec<u32> {
    elements(from, place as u32, len)
}

/// Every call on the neighbours. Block `back(place)` of a source is what comes at `place`.
fn exchange(near: &Neighborhood, back: impl Fn(usize) -> usize, longest: usize) {
    let rank = near.comm().rank().get();
    let (sources, count) = (near.sources(), near.destinations().len());
    let check = |came: Vec<Option<Vec<u32>>>, to: &dyn Fn(usize) -> u32, len: &dyn Fn(u32, usize) -> usize| {
        assert_eq!(came.len(), sources.len());
        for (place, (came, source)) in came.into_iter().zip(&sources).enumerate() {
            assert_eq!(came.is_some(), source.is_some());
            let (Some(came), Some(source)) = (came, source) else { continue };
            assert!(came.len() == len(source.get(), back(place)) && are_from(source.get(), to(place), &came));
        }
    };
    // All at once; messages of one call do not meet those of another.
    let same = near.neighbor_allgather(elements::<u32>(rank, 7, longest));
    let uneven = near.neighbor_allgatherv(elements::<u32>(rank, 8, longest / (rank as usize + 1)));
    let blocks: Vec<u32> = (0..count).flat_map(|place| block(rank, place, longest)).collect();
    let different = near.neighbor_alltoall(blocks);
    let blocks = (0..count).map(|place| block(rank, place, longest / (place + 1))).collect();
    let all_different = near.neighbor_alltoallv(blocks);
    let text = |from: u32, place: usize| format!("{from} {place}").repeat(longest / 3);
    let told = near.objects().neighbor_allgather(&text(rank, 99));
    let texts: Vec<String> = (0..count).map(|place| text(rank, place)).collect();
    let each_told = near.objects().neighbor_alltoall(&texts);
    // The last first.
    let came = each_told.wait().unwrap();
    let heard = |place: usize, what: &dyn Fn(usize) -> usize| sources[place].map(|from| text(from.get(), what(place)));
    assert!(came.into_iter().enumerate().all(|(place, came)| came == heard(place, &back)));
    let came = told.wait().unwrap();
    assert!(came.into_iter().enumerate().all(|(place, came)| came == heard(place, &|_| 99)));
    check(all_different.wait().unwrap(), &|place| back(place) as u32, &|_, place| longest / (place + 1));
    check(different.wait().unwrap(), &|place| back(place) as u32, &|_, _| longest);
    check(uneven.wait().unwrap(), &|_| 8, &|from, _| longest / (from as usize + 1));
    check(same.wait().unwrap(), &|_| 7, &|_, _| longest);
}

pub fn neighbours_in_a_grid_exchange_blocks(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let dims = dims_create(size, 2).unwrap();
        assert_eq!(dims, [3, 2]);
        // A ring, and a line with two ends.
        let grid = comm.cart(&dims, &[true, false]).wait().unwrap().expect("everybody has a place");
        assert_eq!((grid.dims(), grid.periods()), (&dims[..], &[true, false][..]));
        let (row, column) = (rank / 2, rank % 2);
        assert_eq!(grid.coords(rank), Some(vec![row, column]));
        assert_eq!(grid.rank_at(&[i64::from(row) + 3, column.into()]), Some(Rank::new(rank)));
        assert_eq!(grid.rank_at(&[row.into(), 2]), None);
        for len in LENS {
            // Up is down for whom it comes from, and left is right.
            exchange(&grid, |place| place ^ 1, len);
        }
        assert_usable(world);
    });
}

pub fn shifts_in_a_grid_end_at_its_rim(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let rank = world.rank().get();
        let grid = world.comm().cart(&[2, 3], &[true, false]).wait().unwrap().expect("everybody has a place");
        for (dimension, len) in [0, 1].into_iter().zip(LENS) {
            let (from, to) = grid.shift(dimension, 1).unwrap();
            let mut place = elements::<u32>(rank, 1, len);
            grid.comm().sendrecv_replace(to, 1, from, 1, &mut place).wait().unwrap();
            assert!(are_from(from.map_or(rank, Rank::get), 1, &place));
            assert_eq!(from.is_none(), dimension == 1 && rank.is_multiple_of(3));
        }
        let rows = grid.sub(&[false, true]).wait().unwrap();
        assert_eq!((rows.dims(), rows.periods()), (&[3][..], &[false][..]));
        let first = rank - rank % 3;
        assert_eq!(rows.comm().allgather([rank]).wait().unwrap(), [first, first + 1, first + 2]);
        for len in LENS {
            exchange(&rows, |place| place ^ 1, len);
        }
        // A grid of fewer ranks than there are.
        let small = world.comm().cart(&[2, 2], &[false; 2]).wait().unwrap();
        assert_eq!(small.is_some(), rank < 4);
        if let Some(small) = small {
            exchange(&small, |place| place ^ 1, LENS[0]);
        }
        assert_usable(world);
    });
}

/// Edges go one way, to one's next and to rank 0; some twice, and some to oneself.
pub fn neighbours_in_a_graph_exchange_blocks(link: Link) {
    on_ranks(plain(link, SIZE), |world: &World| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let (next, previous) = neighbours(world);
        let ring = comm.dist_graph_adjacent(&[previous, previous, rank], &[next, next, rank]).wait().unwrap();
        assert_eq!(ring.sources(), [previous, previous, rank].map(|rank| Some(Rank::new(rank))));
        assert_eq!(ring.destinations(), [next, next, rank].map(|rank| Some(Rank::new(rank))));
        let everybody: Vec<u32> = (0..size).collect();
        let to_first: &[u32] = if rank == 0 { &everybody } else { &[] };
        let star = comm.dist_graph_adjacent(to_first, &[0]).wait().unwrap();
        // The same ring, of which everybody says what its next has to do.
        let edges = [(next, (next + 1) % size), (next, (next + 1) % size), (next, next)];
        let told = comm.dist_graph(&edges).wait().unwrap();
        assert_eq!(told.destinations(), [next, next, rank].map(|rank| Some(Rank::new(rank))));
        for len in LENS {
            exchange(&ring, |place| place, len);
            exchange(&star, |_| 0, len);
            let came = told.neighbor_alltoallv([0, 1, 2].map(|place| block(rank, place, len)).into()).wait().unwrap();
            // To oneself goes the third block, and the others to one's next, in their order.
            let mut places = [0, 1].into_iter();
            for (source, came) in told.sources().into_iter().zip(came) {
                let (source, came) = (source.expect("it is there").get(), came.expect("it is there"));
                let place = if source == rank { 2 } else { places.next().expect("two come from there") };
                assert!(came.len() == len && are_from(source, place, &came));
            }
        }
        assert_usable(world);
    });
}
