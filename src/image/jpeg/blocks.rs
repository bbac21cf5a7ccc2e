//! Finds out whether every block of a JPEG image is in its coded data: decodes the entropy coding (ITU-T T.81, annexes F and G) and drops
//! the coefficients.
//!
//! Decoders of whole images do not answer that: they fill up missing blocks, as browsers do (src/README.md has examples). Memory is
//! constant for sequential images.
//! A progressive one needs a bit for each coefficient, half a byte a pixel at most, because a refining scan has bits only for
//! coefficients that are not 0 yet.

use std::io::BufRead;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::source::Source;
use super::super::{Rejected, invalid};
use super::bits::Bits;
use super::frame::{Coding, Frame, Scan, ScanComponent};
use super::tables::{HuffmanTable, Tables};

/// Samples of a block's side.
const SIDE: u32 = 8;
/// The most scans that are decoded: each passes over all blocks, however few bytes it has.
const MOST_SCANS: u32 = 100;
/// The most blocks of a progressive image: 64 megapixels in four components are 2^22, with 32 MiB of bits.
const MOST_BLOCKS: u64 = 1 << 22;

/// Held while the coefficients of a progressive image are in memory, so that there is one at a time.
static PROGRESSIVE: Mutex<()> = Mutex::new(());

/// The progress of decoding.
#[derive(Default)]
pub(super) struct Blocks {
    scans: u32,
    /// The components that had a scan of their DC coefficients.
    has_dc: [bool; 4],
    /// Whether one sequential scan held all components.
    is_complete: bool,
    /// The coefficients of each block of a progressive image that are not 0, for each component.
    nonzero: [Vec<u64>; 4],
    permit: Option<MutexGuard<'static, ()>>,
}

impl Blocks {
    /// Decodes a scan; the marker that ended it, where one was met.
    pub(super) fn read_scan(
        &mut self,
        source: &mut Source<impl BufRead>,
        frame: &Frame,
        scan: &Scan,
        tables: &Tables,
    ) -> Result<Option<u8>, Rejected> {
        self.scans += 1;
        if self.scans > MOST_SCANS {
            return invalid("JPEG: number of scans");
        }
        if matches!(scan.coding, Coding::AcFirst | Coding::AcRefine) {
            self.make_room(frame, scan)?;
        }
        let mut bits = Bits::new(source);
        let mut run = 0;
        for mcu in 0..frame.mcus(scan) {
            let interval = u32::from(tables.restart_interval);
            if interval > 0 && mcu > 0 && mcu % interval == 0 {
                let number = (mcu / interval - 1) % 8;
                bits.restart(u8::try_from(number).unwrap_or(0))?;
                run = 0;
            }
            for component in &scan.components {
                for _ in 0..frame.blocks_of_mcu(scan, component) {
                    self.read_block(&mut bits, tables, scan, component, mcu, &mut run)?;
                }
            }
        }
        let marker = bits.finish()?;
        for component in &scan.components {
            self.has_dc[component.index] |= scan.spectrum.0 == 0;
        }
        self.is_complete =
            scan.coding == Coding::Sequential && scan.components.len() == frame.components.len();
        Ok(marker)
    }

    /// Whether the image is complete, whatever follows: its one sequential scan was decoded.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether the scans so far make an image.
    pub(super) fn is_whole(&self, frame: &Frame) -> bool {
        self.has_dc[..frame.components.len()].iter().all(|&has| has)
    }

    /// Makes room for the coefficients of the scan's component.
    fn make_room(&mut self, frame: &Frame, scan: &Scan) -> Result<(), Rejected> {
        let all: u64 = (0..frame.components.len())
            .map(|index| u64::from(frame.blocks(index)))
            .sum();
        if all > MOST_BLOCKS {
            return invalid("JPEG: number of blocks");
        }
        if self.permit.is_none() {
            self.permit = Some(PROGRESSIVE.lock().unwrap_or_else(PoisonError::into_inner));
        }
        for component in &scan.components {
            self.nonzero[component.index].resize(frame.blocks(component.index) as usize, 0);
        }
        Ok(())
    }

    /// Decodes one block. `run` is how many blocks of an end-of-band run are left.
    fn read_block<R: BufRead>(
        &mut self,
        bits: &mut Bits<'_, R>,
        tables: &Tables,
        scan: &Scan,
        component: &ScanComponent,
        mcu: u32,
        run: &mut u16,
    ) -> Result<(), Rejected> {
        let dc = || tables.dc(component.dc_table);
        let ac = || tables.ac(component.ac_table);
        match scan.coding {
            Coding::Sequential => {
                let size = bits.decode(dc()?)?;
                bits.number(size)?;
                read_band(bits, ac()?, (1, 63), None, &mut 0)
            }
            Coding::DcFirst => {
                let size = bits.decode(dc()?)?;
                bits.number(size).map(drop)
            }
            Coding::DcRefine => bits.bit().map(drop),
            Coding::AcFirst | Coding::AcRefine => {
                let ac = ac()?;
                // A scan of AC coefficients has one component, so that its MCU is a block.
                let Some(nonzero) = self.nonzero[component.index].get_mut(mcu as usize) else {
                    return invalid("JPEG: number of blocks");
                };
                match scan.coding {
                    Coding::AcFirst => read_band(bits, ac, scan.spectrum, Some(run), nonzero),
                    _ => refine_band(bits, ac, scan.spectrum, run, nonzero),
                }
            }
        }
    }
}

impl Frame {
    /// Blocks of a component that a scan of it alone codes (A.2.3).
    fn blocks(&self, index: usize) -> u32 {
        let component = &self.components[index];
        let (most_horizontal, most_vertical) = self.most_sampled();
        let across = u32::from(self.width) * u32::from(component.horizontal);
        let down = u32::from(self.height) * u32::from(component.vertical);
        across.div_ceil(SIDE * most_horizontal) * down.div_ceil(SIDE * most_vertical)
    }

    /// MCUs of a scan (A.2).
    fn mcus(&self, scan: &Scan) -> u32 {
        if let [component] = &scan.components[..] {
            return self.blocks(component.index);
        }
        let (horizontal, vertical) = self.most_sampled();
        u32::from(self.width).div_ceil(SIDE * horizontal)
            * u32::from(self.height).div_ceil(SIDE * vertical)
    }

    fn most_sampled(&self) -> (u32, u32) {
        self.components.iter().fold((1, 1), |(across, down), one| {
            (
                across.max(one.horizontal.into()),
                down.max(one.vertical.into()),
            )
        })
    }
}

/// Passes over a band of coefficients that no scan coded before (F.2.2.2, G.1.2.2), and notes which are not 0. Only progressive images
/// have an end-of-band `run`.
fn read_band<R: BufRead>(
    bits: &mut Bits<'_, R>,
    table: &HuffmanTable,
    (first, last): (u8, u8),
    mut run: Option<&mut u16>,
    nonzero: &mut u64,
) -> Result<(), Rejected> {
    if let Some(run) = run.as_mut().filter(|run| ***run > 0) {
        **run -= 1;
        return Ok(());
    }
    let mut place = first;
    while place <= last {
        let value = bits.decode(table)?;
        let (zeros, size) = (value >> 4, value & 15);
        match (zeros, size) {
            (15, 0) => place += 16,
            (_, 0) => {
                if let Some(run) = run {
                    *run = end_of_band_run(bits, zeros)?;
                }
                break;
            }
            _ => {
                place += zeros;
                bits.number(size)?;
                *nonzero |= 1_u64.checked_shl(place.into()).unwrap_or(0);
                place += 1;
            }
        }
    }
    Ok(())
}

/// Passes over the correction bits of a band that a scan coded before (G.1.2.3), and notes which coefficients are not 0 now.
fn refine_band<R: BufRead>(
    bits: &mut Bits<'_, R>,
    table: &HuffmanTable,
    (first, last): (u8, u8),
    run: &mut u16,
    nonzero: &mut u64,
) -> Result<(), Rejected> {
    let before = *nonzero;
    let has = |place: u8| before >> place & 1 == 1;
    let mut place = first;
    if *run == 0 {
        while place <= last {
            let value = bits.decode(table)?;
            let (mut zeros, size) = (value >> 4, value & 15);
            if size > 0 {
                // The sign of a coefficient that was 0.
                bits.bit()?;
            } else if zeros < 15 {
                *run = end_of_band_run(bits, zeros)? + 1;
                break;
            }
            while place <= last {
                if has(place) {
                    bits.bit()?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                place += 1;
            }
            if size > 0 && place <= last {
                *nonzero |= 1 << place;
            }
            place += 1;
        }
    }
    if *run > 0 {
        for place in place..=last {
            if has(place) {
                bits.bit()?;
            }
        }
        *run -= 1;
    }
    Ok(())
}

/// How many blocks after this one end with it: 2^`exponent` and the bits that follow, this one not counted.
fn end_of_band_run<R: BufRead>(bits: &mut Bits<'_, R>, exponent: u8) -> Result<u16, Rejected> {
    Ok((1 << exponent) - 1 + bits.number(exponent)?)
}
