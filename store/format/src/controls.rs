//! Planted faults: each turns one safeguard off, so that a test can show that it would be missed.
//!
//! They exist only with the cargo feature `controls`, which nothing but tests and `aos-sim --features controls` turns on;
//! without it [`on`] is `false` at compile time. A fault is on for the thread that asked for it, while [`with`] runs.

/// A safeguard that can be turned off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Control {
    /// CRCs of frames and bodies are not compared.
    CrcOff,
    /// A frame may stand at another offset than its own.
    OwnOffsetOff,
    /// A frame of an earlier epoch, and a group that does not continue the one before it, are taken for live.
    StaleFrameLive,
    /// The catalogue is committed before the sync of the group that it knows.
    CatalogueAhead,
    /// Whatever follows the first bad frame is a torn tail.
    CutAtFirstBad,
    /// A commit frame behind a torn group proves damage, whether or not its group is there.
    CommitIsProof,
    /// Readers take the last group for durable.
    TrustLastGroup,
}

impl Control {
    /// Every control.
    pub const ALL: [Control; 7] = [
        Control::CrcOff,
        Control::OwnOffsetOff,
        Control::StaleFrameLive,
        Control::CatalogueAhead,
        Control::CutAtFirstBad,
        Control::CommitIsProof,
        Control::TrustLastGroup,
    ];

    /// Name on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Control::CrcOff => "crc-off",
            Control::OwnOffsetOff => "own-offset-off",
            Control::StaleFrameLive => "stale-frame-live",
            Control::CatalogueAhead => "catalogue-ahead",
            Control::CutAtFirstBad => "cut-at-first-bad",
            Control::CommitIsProof => "commit-is-proof",
            Control::TrustLastGroup => "trust-last-group",
        }
    }
}

/// Whether this build can turn controls on.
pub const AVAILABLE: bool = cfg!(feature = "controls");

#[cfg(feature = "controls")]
thread_local! {
    static ON: std::cell::Cell<u8> = const { std::cell::Cell::new(0) };
}

/// Whether a control is on for this thread.
#[cfg(feature = "controls")]
pub fn on(control: Control) -> bool {
    ON.get() & (1 << control as u8) != 0
}

/// Whether a control is on: never in this build.
#[cfg(not(feature = "controls"))]
pub const fn on(_control: Control) -> bool {
    false
}

/// Runs `work` with a control on for this thread; without the feature `controls`, with it off.
pub fn with<T>(control: Option<Control>, work: impl FnOnce() -> T) -> T {
    #[cfg(feature = "controls")]
    let _restored = {
        struct Restore(u8);
        impl Drop for Restore {
            fn drop(&mut self) {
                ON.set(self.0);
            }
        }
        let before = ON.get();
        ON.set(before | control.map_or(0, |control| 1 << control as u8));
        Restore(before)
    };
    #[cfg(not(feature = "controls"))]
    let _off = control;
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_is_on_only_inside_and_only_where_there_are_any() {
        for control in Control::ALL {
            assert!(!on(control));
            with(Some(control), || assert_eq!(on(control), AVAILABLE));
            with(None, || assert!(!on(control)));
            assert!(!on(control));
        }
    }
}
