//! What a rank learns from: a view of labelled images, and how a dataset is dealt out to ranks.

use edgempi_core::Rank;

use crate::generator::Generator;
use crate::model::INPUTS;

/// Labelled images, borrowed from wherever they live: a file in memory, or flash.
#[derive(Clone, Copy, Debug)]
pub struct Shard<'a> {
    pixels: &'a [[u8; INPUTS]],
    labels: &'a [u8],
    rows: Option<&'a [u16]>,
}

impl<'a> Shard<'a> {
    /// All images of `pixels`, each with values from 0 to 16, and for each a label from 0 to 9.
    ///
    /// # Panics
    ///
    /// If there are not as many labels as images.
    pub const fn new(pixels: &'a [[u8; INPUTS]], labels: &'a [u8]) -> Self {
        assert!(pixels.len() == labels.len(), "a shard needs one label for each image");
        Self { pixels, labels, rows: None }
    }

    /// The images with these numbers alone, in this order.
    pub const fn select(self, rows: &'a [u16]) -> Self {
        Self { rows: Some(rows), ..self }
    }

    /// How many images there are.
    pub const fn len(&self) -> usize {
        match self.rows {
            Some(rows) => rows.len(),
            None => self.labels.len(),
        }
    }

    /// Whether there is no image.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The image at `index` and its label.
    ///
    /// # Panics
    ///
    /// If there is no such image.
    pub fn example(&self, index: usize) -> (&'a [u8; INPUTS], u8) {
        let row = self.rows.map_or(index, |rows| usize::from(rows[index]));
        (&self.pixels[row], self.labels[row])
    }
}

/// How a dataset is dealt out to ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// At random: every rank sees all labels, about equally often.
    Iid,
    /// By label: the dataset is sorted by label and cut into two pieces for each rank, so that a rank sees
    /// few labels (of ten, four or five among four ranks, two to four among sixteen).
    LabelSkew,
}

impl Split {
    /// The stream of the generator that deals out rows.
    const STREAM: u64 = (1 << 63) - 2;

    /// The rows of `rank`, of `size` ranks, in a dataset with these labels. The ranks' rows are disjoint and
    /// together cover the dataset; their numbers differ by two at most. They are written to the front of
    /// `memory`, which has an element for each label.
    ///
    /// # Panics
    ///
    /// If `memory` has another length than `labels`, if there are more than 65,536 labels, or if `rank` is not
    /// below `size`.
    pub fn rows<'a>(self, labels: &[u8], rank: Rank, size: u32, seed: u64, memory: &'a mut [u16]) -> &'a [u16] {
        assert_eq!(memory.len(), labels.len(), "the memory for rows needs an element for each label");
        assert!(labels.len() <= 1 << 16, "row numbers have 16 bits");
        assert!(rank < size, "rank {rank} of a communicator of {size}");
        for (row, element) in memory.iter_mut().enumerate() {
            *element = row as u16;
        }
        let (count, rank, size) = (memory.len(), rank.index(), size as usize);
        match self {
            Split::Iid => {
                Generator::new(seed, Self::STREAM).shuffle(memory);
                &memory[count * rank / size..count * (rank + 1) / size]
            }
            Split::LabelSkew => {
                memory.sort_unstable_by_key(|&row| (labels[usize::from(row)], row));
                let piece = |number: usize| count * number / (2 * size)..count * (number + 1) / (2 * size);
                let (first, second) = (piece(rank), piece(rank + size));
                let (middle, end) = (first.len(), first.len() + second.len());
                memory.copy_within(first, 0);
                memory.copy_within(second, middle);
                &memory[..end]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use edgempi_core::Rank;

    use super::Split;

    const SPLITS: [Split; 2] = [Split::Iid, Split::LabelSkew];

    fn labels() -> Vec<u8> {
        (0..1297_u32).map(|row| (row * 7 % 10) as u8).collect()
    }

    fn deal(split: Split, size: u32) -> Vec<Vec<u16>> {
        let labels = labels();
        let rows = |rank| split.rows(&labels, Rank::new(rank), size, 1, &mut vec![0; labels.len()]).to_vec();
        (0..size).map(rows).collect()
    }

    #[test]
    fn shards_are_disjoint_and_cover_the_dataset_for_any_number_of_ranks() {
        for split in SPLITS {
            for size in 1..=64 {
                let shards = deal(split, size);
                let mut rows = shards.concat();
                rows.sort_unstable();
                assert!(rows.iter().copied().eq(0..1297), "{split:?} among {size}");
                let lens = || shards.iter().map(Vec::len);
                assert!(lens().max() <= lens().min().map(|len| len + 2), "{split:?} among {size}");
            }
        }
    }

    #[test]
    fn shards_are_empty_where_there_are_more_ranks_than_rows() {
        for split in SPLITS {
            let rows = |rank| split.rows(&[1, 0, 1], Rank::new(rank), 8, 1, &mut [0; 3]).len();
            assert_eq!((0..8).map(rows).sum::<usize>(), 3, "{split:?}");
        }
    }

    #[test]
    fn label_skew_shows_few_labels_to_a_rank_and_iid_all() {
        let labels = labels();
        for (split, least, most) in [(Split::Iid, 10, 10), (Split::LabelSkew, 2, 4)] {
            for rows in deal(split, 10) {
                let mut seen: Vec<u8> = rows.iter().map(|&row| labels[usize::from(row)]).collect();
                seen.sort_unstable();
                seen.dedup();
                assert!((least..=most).contains(&seen.len()), "{split:?}: {seen:?}");
            }
        }
    }
}
