//! Bytes of a fuzzer as the choices of a test.

use crate::world::Choose;

/// Choices that the bytes of an input make: a byte each, two or more where there is more to choose from. When they are
/// used up, every choice is the first. So an input that lost its end is the beginning of the same story, and one with a
/// changed byte is the same story with another choice in it, which is what a fuzzer's mutations live on.
pub struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn byte(&mut self) -> usize {
        match self.rest.split_first() {
            Some((first, rest)) => {
                self.rest = rest;
                usize::from(*first)
            }
            None => 0,
        }
    }
}

impl Choose for Choices<'_> {
    fn below(&mut self, bound: usize) -> usize {
        let (mut number, mut reach) = (0, 1);
        while reach < bound {
            number = number << 8 | self.byte();
            reach <<= 8;
        }
        number % bound.max(1)
    }
}
