//! The whole system on a simulated disk.
//!
//! One root seed decides everything: what is appended, which operation fails and how, where the power goes and what that
//! leaves. A run is judged by [`oracle`], counted by [`tally`], repeated by its seed and made small by [`shrink`]. What
//! random runs cannot reach is gone through one by one by [`exhaust`] and [`damage`].
#![forbid(unsafe_code)]

pub mod control;
pub mod damage;
pub mod dice;
pub mod exhaust;
pub mod life;
pub mod operations;
pub mod oracle;
pub mod plan;
pub mod shrink;
pub mod soak;
pub mod stale;
mod system;
pub mod tally;
pub mod world;
