//! Golden archives from outside: sealed from real runs, attacked, verified.

mod faults;
mod seal;
mod support;
