//! Memory aligned as frames are, so that records are read in place.

use std::fmt;
use std::ops::{Deref, DerefMut};

const ALIGN: usize = 16;

/// Bytes whose first one stands at a multiple of 16, as every frame in a log does.
pub struct Aligned {
    bytes: Box<[u8]>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Aligned {
        let bytes = vec![0; len + ALIGN].into_boxed_slice();
        let start = bytes.as_ptr().align_offset(ALIGN);
        assert!(start < ALIGN, "every sixteenth byte is aligned");
        Aligned { bytes, start, len }
    }

    /// `len` bytes, in memory that held others before; what they are is for the caller to say.
    pub fn reused(self, len: usize) -> Aligned {
        if self.bytes.len() < len + ALIGN {
            return Aligned::zeroed(len);
        }
        Aligned { len, ..self }
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Aligned {
        let mut copy = Aligned::zeroed(bytes.len());
        copy.copy_from_slice(bytes);
        copy
    }
}

impl Default for Aligned {
    fn default() -> Aligned {
        Aligned::zeroed(0)
    }
}

impl Deref for Aligned {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

impl fmt::Debug for Aligned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_at_a_multiple_of_sixteen_and_keep_their_bytes() {
        for len in 0..100 {
            let bytes: Vec<u8> = (0..len).collect();
            let copy = Aligned::copy_of(&bytes);
            assert_eq!(copy.as_ptr() as usize % ALIGN, 0);
            assert_eq!(*copy, *bytes);
        }
    }

    #[test]
    fn memory_serves_again_where_it_suffices() {
        let buffer = Aligned::copy_of(&[7; 100]);
        let at = buffer.as_ptr();
        let shorter = buffer.reused(40);
        assert_eq!((shorter.as_ptr(), shorter.len()), (at, 40));
        let again = shorter.reused(100);
        assert_eq!((again.as_ptr(), again.len()), (at, 100));
        assert_eq!(again.reused(1000).len(), 1000);
    }
}
