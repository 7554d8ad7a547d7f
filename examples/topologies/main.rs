//! Topologies: heat spreads over a plate that is cut into blocks, one for each rank of a grid, which exchange their rims
//! with their neighbours.
//!
//!     edgempi run -n 4 --example topologies
//!
//! Needs the crates `edgempi` and `tokio` (features `macros` and `rt`). Without async, `.wait()?` stands wherever
//! `.await?` stands here, and `main` is an ordinary function.

use std::io::{Write, stdout};

use edgempi::{Cartesian, Error, Max, dims_create};

/// Cells of a block in each direction.
const SIDE: usize = 8;
const STEPS: usize = 200;
/// Beyond the rim of the plate it is cold, but for one side.
const COLD: f64 = 0.0;
const HOT: f64 = 100.0;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let world = edgempi::init().await?;
    let comm = world.comm();
    // As square as the number of ranks allows: 4 are 2 x 2, 5 are 5 x 1.
    let dims = dims_create(comm.size(), 2)?;
    let grid = comm.cart(&dims, &[false, false]).await?.expect("the grid has a place for every rank");
    let mut block = vec![COLD; SIDE * SIDE];
    let mut change = 0.0;
    for _ in 0..STEPS {
        let rims = exchange(&grid, &block).await?;
        let next = step(&block, &rims, SIDE, SIDE);
        change = block.iter().zip(&next).map(|(old, new)| (new - old).abs()).fold(0.0, f64::max);
        block = next;
    }
    // The largest change anywhere says how far it is from the end.
    let change = grid.comm().allreduce([change], Max).await?[0];
    if let Some(blocks) = grid.comm().gather(0, block).await? {
        check(&grid, &blocks);
        // Unlike `println!` this doesn't panic where nobody reads any more, as in `edgempi run … | head -1`.
        let _ = writeln!(stdout(), "{} x {} blocks as computed alone; last change {change:.4}", dims[0], dims[1]);
    }
    world.finalize().await
}

/// Gives each neighbour the rim at its side, and gets theirs. Their order: north and south, the first dimension, then west
/// and east. Where the plate ends nobody is there, and the wall stands in.
async fn exchange(grid: &Cartesian, block: &[f64]) -> Result<[Vec<f64>; 4], Error> {
    let row = |row: usize| block[row * SIDE..][..SIDE].to_vec();
    let column = |column: usize| block.iter().skip(column).step_by(SIDE).copied().collect::<Vec<_>>();
    let rims = [row(0), row(SIDE - 1), column(0), column(SIDE - 1)].concat();
    let came = grid.neighbor_alltoall(rims).await?;
    let walls = [HOT, COLD, COLD, COLD].map(|wall| vec![wall; SIDE]);
    let mut came = came.into_iter();
    Ok(walls.map(|wall| came.next().flatten().unwrap_or(wall)))
}

/// Each cell becomes the mean of the four around it.
fn step(cells: &[f64], [north, south, west, east]: &[Vec<f64>; 4], rows: usize, columns: usize) -> Vec<f64> {
    let cell = |at: usize| {
        let (row, column) = (at / columns, at % columns);
        let above = if row == 0 { north[column] } else { cells[at - columns] };
        let below = if row + 1 == rows { south[column] } else { cells[at + columns] };
        let left = if column == 0 { west[row] } else { cells[at - 1] };
        let right = if column + 1 == columns { east[row] } else { cells[at + 1] };
        (above + below + left + right) / 4.0
    };
    (0..rows * columns).map(cell).collect()
}

/// Rank 0 computes the whole plate alone. Every cell is the same, to the last bit.
fn check(grid: &Cartesian, blocks: &[f64]) {
    let (rows, columns) = (grid.dims()[0] as usize * SIDE, grid.dims()[1] as usize * SIDE);
    let walls = [vec![HOT; columns], vec![COLD; columns], vec![COLD; rows], vec![COLD; rows]];
    let mut plate = vec![COLD; rows * columns];
    for _ in 0..STEPS {
        plate = step(&plate, &walls, rows, columns);
    }
    for (rank, block) in (0..).zip(blocks.chunks(SIDE * SIDE)) {
        let coords = grid.coords(rank).expect("it is in the grid");
        let (top, left) = (coords[0] as usize * SIDE, coords[1] as usize * SIDE);
        for (at, cell) in block.iter().enumerate() {
            assert_eq!(*cell, plate[(top + at / SIDE) * columns + left + at % SIDE], "cell {at} of rank {rank}");
        }
    }
}
