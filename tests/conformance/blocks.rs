//! Collectives that move blocks: of lengths that differ, in place, and into memory that is used again.

use edgempi::World;
use edgempi_tests::links::Link;
use edgempi_tests::on_ranks;

use super::data::{are_from, are_from_all, elements, to_all, zeros};
use super::{LENS, assert_usable, plain, rank_and_size};

const SIZE: u32 = 4;

/// How long the block from one rank to another is: some are empty.
fn len(from: u32, to: u32, longest: usize) -> usize {
    longest * ((from + 2 * to) % SIZE) as usize / SIZE as usize
}

pub fn blocks_that_differ_reach_their_ranks(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        for longest in LENS {
            for root in [0, size - 1] {
                let gathered = comm.gatherv(root, elements::<u16>(rank, 0, len(rank, 0, longest))).wait().unwrap();
                assert_eq!(gathered.is_some(), rank == root);
                for (from, block) in (0..).zip(gathered.unwrap_or_default()) {
                    assert!(block.len() == len(from, 0, longest) && are_from(from, 0, &block));
                }
                let blocks = (0..size).map(|to| elements::<u16>(root, to, len(root, to, longest))).collect();
                let block = comm.scatterv(root, (rank == root).then_some(blocks)).wait().unwrap();
                assert!(block.len() == len(root, rank, longest) && are_from(root, rank, &block));
            }
            let all = comm.allgatherv(elements::<f32>(rank, 0, len(rank, 0, longest))).wait().unwrap();
            for (from, block) in (0..).zip(all) {
                assert!(block.len() == len(from, 0, longest) && are_from(from, 0, &block));
            }
            let blocks = (0..size).map(|to| elements::<u32>(rank, to, len(rank, to, longest))).collect();
            for (from, block) in (0..).zip(comm.alltoallv(blocks).wait().unwrap()) {
                assert!(block.len() == len(from, rank, longest) && are_from(from, rank, &block));
            }
        }
        assert_usable(world);
    });
}

pub fn blocks_in_place_leave_what_is_not_theirs(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        for block in LENS {
            at_a_root_in_place(world, 2, block);
            everywhere_in_place(world, block);
        }
        assert_usable(world);
    });
}

fn at_a_root_in_place(world: &World, root: u32, block: usize) {
    let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
    let own = elements::<u16>(rank, 0, block);
    let mut place = if rank == root { zeros(block * size as usize) } else { own.clone() };
    if rank == root {
        place[rank as usize * block..][..block].copy_from_slice(&own);
    }
    comm.gather_in_place(root, &mut place).wait().unwrap();
    assert!(if rank == root { are_from_all(size, |_| 0, &place) } else { place == own });
    let mut place = if rank == root { to_all::<u64>(size, root, block) } else { zeros(block) };
    comm.scatter_in_place(root, &mut place).wait().unwrap();
    assert!(if rank == root { place == to_all::<u64>(size, root, block) } else { are_from(root, rank, &place) });
}

fn everywhere_in_place(world: &World, block: usize) {
    let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
    let mut place = zeros::<u32>(block * size as usize);
    place[rank as usize * block..][..block].copy_from_slice(&elements::<u32>(rank, 0, block));
    comm.allgather_in_place(&mut place).wait().unwrap();
    assert!(are_from_all(size, |_| 0, &place));
    let mut place = to_all::<u32>(size, rank, block);
    comm.alltoall_in_place(&mut place).wait().unwrap();
    assert!(are_from_all(size, |_| rank, &place));
}

/// Memory that is too short at first, then longer than what comes into it.
pub fn blocks_come_into_memory_that_is_used_again(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let [short, long] = LENS;
        let root = 1;
        let is_root = rank == root;
        let mut memory: Vec<u32> = Vec::new();
        for (round, block) in (0..).zip([short, long, short]) {
            let own = || elements::<u32>(rank, round, block);
            let gathered = comm.gather_reusing(memory, root, own()).wait().unwrap();
            assert!(gathered.is_some() == is_root);
            memory = gathered.unwrap_or_default();
            assert!(!is_root || are_from_all(size, |_| round, &memory));
            let given = is_root.then(|| to_all::<u32>(size, root, block));
            memory = comm.scatter_reusing(memory, root, given).wait().unwrap();
            assert!(memory.len() == block && are_from(root, rank, &memory));
            memory = comm.allgather_reusing(memory, own()).wait().unwrap();
            assert!(memory.len() == block * size as usize && are_from_all(size, |_| round, &memory));
            memory = comm.alltoall_reusing(memory, to_all(size, rank, block)).wait().unwrap();
            assert!(memory.len() == block * size as usize && are_from_all(size, |_| rank, &memory));
        }
        assert_usable(world);
    });
}

pub fn objects_of_lengths_that_differ_reach_their_ranks(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let objects = comm.objects();
        for longest in LENS {
            let text = |from: u32, to: u32| format!("{from} to {to}").repeat(len(from, to, longest));
            let from_all = |to: u32| (0..size).map(|from| text(from, to)).collect::<Vec<String>>();
            let to_all = |from: u32| (0..size).map(|to| text(from, to)).collect::<Vec<String>>();
            let root = 2;
            assert!(objects.gather(root, &text(rank, 0)).wait().unwrap() == (rank == root).then(|| from_all(0)));
            let given = (rank == root).then(|| to_all(root));
            assert!(objects.scatter(root, given).wait().unwrap() == text(root, rank));
            assert!(objects.allgather(&text(rank, 1)).wait().unwrap() == from_all(1));
            assert!(objects.alltoall(&to_all(rank)).wait().unwrap() == from_all(rank));
        }
        assert_usable(world);
    });
}
