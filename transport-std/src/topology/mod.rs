//! Process topologies (MPI 4.1, chapter 8): grids and graphs of ranks, and the collectives among neighbours.

mod cartesian;
mod graph;
mod neighbours;

pub use cartesian::{Cartesian, dims_create};
pub use graph::DistGraph;
pub use neighbours::{NeighborObjects, Neighborhood};
