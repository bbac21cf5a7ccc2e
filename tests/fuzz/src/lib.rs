//! What must hold for every input, one function for each target. A function that returns has found nothing.
//!
//! Readers of streams are run several times over the same bytes, split in different ways: the outcome may depend on the bytes
//! alone. Where another program reads the same format, it is asked for a second opinion.

#![cfg_attr(fuzzing, feature(ip))]

pub mod downloads;
pub mod fastcgi;
pub mod forms;
pub mod images;
pub mod log;
pub mod nginx;
pub mod paths;

use std::io::{self, Read};

/// Bytes in reads of random length, some of them interrupted. The lengths follow from the bytes, so that an input always takes the
/// same way.
pub struct Split<'a> {
    rest: &'a [u8],
    largest: u64,
    random: u64,
}

impl<'a> Split<'a> {
    /// Splits `bytes` in the way number `way` of it.
    #[must_use]
    pub fn new(bytes: &'a [u8], way: u64) -> Self {
        // FNV-1a: any hash that changes with every byte would do.
        let hash = bytes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325 ^ way, |hash, &byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let mut split = Self {
            rest: bytes,
            largest: 1,
            random: hash | 1,
        };
        split.largest = [1, 2, 7, 60, 4096][usize::try_from(split.below(5)).unwrap_or(0)];
        split
    }

    /// A random number below `end`, by xorshift64*.
    pub fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % end
    }
}

impl Read for Split<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.below(32) == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = 1 + self.below(self.largest);
        self.rest.by_ref().take(length).read(into)
    }
}
