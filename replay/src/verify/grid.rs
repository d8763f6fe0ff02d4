//! The grid: how a log is cut into chunks of work.
//!
//! Cuts depend on the log alone, never on workers, so that whatever a chunk's check says is the same at any number of them.
//! A cut may fall inside a frame: a chunk answers for the frames that *begin* in it.

use aos_format::offset::{Offset, Stride};

/// Longest chunk in bytes.
pub(crate) const CHUNK_LEN: u64 = 1 << 20;

/// A range of one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chunk {
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// First byte of the segment.
    pub(crate) segment: u64,
    /// First byte after the segment.
    pub(crate) segment_end: u64,
}

impl Chunk {
    /// Whether the segment's header stands in it.
    pub(crate) fn is_first(&self) -> bool {
        self.from == self.segment
    }
}

/// The chunks of a log from `start`, where a segment begins, to `end`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    stride: Stride,
    start: u64,
    end: u64,
    chunk_len: u64,
}

impl Grid {
    pub(crate) fn new(stride: Stride, start: Offset, end: Offset) -> Grid {
        Grid {
            stride,
            start: start.0.min(end.0),
            end: end.0,
            chunk_len: CHUNK_LEN.min(stride.bytes()),
        }
    }

    /// Number of chunks.
    pub(crate) fn len(&self) -> usize {
        usize::try_from((self.end - self.start).div_ceil(self.chunk_len))
            .expect("a log has fewer chunks than the machine addresses")
    }

    /// Chunk number `index`.
    pub(crate) fn chunk(&self, index: usize) -> Chunk {
        let from = self.start + index as u64 * self.chunk_len;
        let segment = self.stride.segment_start(Offset(from)).0;
        Chunk {
            from,
            to: (from + self.chunk_len).min(self.end),
            segment,
            segment_end: segment + self.stride.bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_the_log_without_holes_and_never_cross_a_segment() {
        for (log2, end) in [(12, 4096 * 3 + 160), (22, (4 << 20) + 5000), (26, 96)] {
            let stride = Stride::from_log2(log2).unwrap();
            let grid = Grid::new(stride, Offset(0), Offset(end));
            let mut at = 0;
            for index in 0..grid.len() {
                let chunk = grid.chunk(index);
                assert_eq!(chunk.from, at);
                assert!(chunk.to > chunk.from && chunk.to <= chunk.segment_end);
                assert_eq!(chunk.is_first(), chunk.from.is_multiple_of(stride.bytes()));
                at = chunk.to;
            }
            assert_eq!(at, end);
        }
        assert_eq!(Grid::new(Stride::MIN, Offset(0), Offset(0)).len(), 0);
        let pruned = Grid::new(Stride::MIN, Offset(8192), Offset(12_300));
        let chunks: Vec<Chunk> = (0..pruned.len()).map(|index| pruned.chunk(index)).collect();
        let ranges: Vec<(u64, u64)> = chunks.iter().map(|c| (c.from, c.to)).collect();
        assert_eq!(ranges, [(8192, 12_288), (12_288, 12_300)]);
    }
}
