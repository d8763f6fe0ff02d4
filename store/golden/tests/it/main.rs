//! Golden archives from outside: sealed from real runs, attacked, verified.

mod faults;
mod python;
mod seal;
mod support;
mod vectors;
