//! Servers on the loopback that stand for the outside: for tests and demonstrations, never for runs of anybody else.
//!
//! They bind to port 0 of 127.0.0.1, answer the same request the same way, and keep what they were asked.

mod http;
mod llm;
mod smtp;

pub use http::{Asked, Reply, Server};
pub use llm::llm;
pub use smtp::{Mail, MailSink};
