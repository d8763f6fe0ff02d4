//! A small HTTP server: one thread a connection, bounded in what it reads and keeps.

use crate::value::Value;
use parking_lot::Mutex;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Longest head and body that are read.
const HEAD_BYTES_MAX: u64 = 64 << 10;
const BODY_BYTES_MAX: usize = 8 << 20;
/// Most requests that are kept.
const KEPT_MAX: usize = 10_000;
/// Most connections at a time.
const CONNECTIONS_MAX: usize = 256;
/// Longest that a connection may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A request that was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers by lower-case name.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Number of the connection it came over, from 0.
    pub connection: usize,
}

impl Asked {
    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Content type.
    pub content_type: &'static str,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// An answer of JSON.
    pub fn json(status: u16, body: &str) -> Reply {
        Reply {
            status,
            content_type: "application/json",
            body: body.into(),
        }
    }

    /// An answer of JSON.
    pub fn value(status: u16, value: &Value) -> Reply {
        Reply::json(status, value.as_str())
    }
}

type Handler = dyn Fn(&Asked) -> Reply + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    seen: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    stop: AtomicBool,
}

/// A server that is stopped when it is dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.address).finish()
    }
}

impl Server {
    /// Starts a server on a free port.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> io::Result<Server> {
        Server::on(0, handler)
    }

    /// Starts a server on that port; a free one for 0.
    ///
    /// # Errors
    /// What the system says.
    pub fn on(
        port: u16,
        handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> io::Result<Server> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let serving = shared.clone();
        let thread = std::thread::Builder::new()
            .name("aos-mock".into())
            .spawn(move || accept(&listener, &serving))?;
        Ok(Server {
            address,
            shared,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Asked> {
        self.shared.seen.lock().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Wakes the thread that accepts; where that fails, so did the listener.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            // A handler that panicked has said so already.
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if shared.open.load(Ordering::Acquire) >= CONNECTIONS_MAX {
            continue;
        }
        shared.open.fetch_add(1, Ordering::AcqRel);
        let number = shared.connections.fetch_add(1, Ordering::AcqRel);
        let serving = shared.clone();
        let spawned = std::thread::Builder::new().spawn(move || {
            // Whoever is on the other side may go away at any time.
            let _ = serve(&stream, number, &serving);
            serving.open.fetch_sub(1, Ordering::AcqRel);
        });
        if spawned.is_err() {
            shared.open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn serve(mut stream: &TcpStream, connection: usize, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    let mut reader = BufReader::new(stream);
    while !shared.stop.load(Ordering::Acquire) {
        let Some(asked) = read(&mut reader, connection)? else {
            return Ok(());
        };
        let reply = (shared.handler)(&asked);
        let close = asked
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let head_only = asked.method == "HEAD";
        {
            let mut seen = shared.seen.lock();
            if seen.len() < KEPT_MAX {
                seen.push(asked);
            }
        }
        let mut out = format!(
            "HTTP/1.1 {} Mock\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
            reply.status,
            reply.content_type,
            reply.body.len()
        )
        .into_bytes();
        if !head_only {
            out.extend_from_slice(&reply.body);
        }
        stream.write_all(&out)?;
        if close {
            return Ok(());
        }
    }
    Ok(())
}

/// The next request; none when the other side has ended.
fn read(reader: &mut BufReader<&TcpStream>, connection: usize) -> io::Result<Option<Asked>> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut head = reader.by_ref().take(HEAD_BYTES_MAX);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return if lines.is_empty() {
                Ok(None)
            } else {
                Err(bad("the head ends early"))
            };
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let first = lines.first().ok_or_else(|| bad("no request line"))?;
    let mut words = first.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(bad("no request line"));
    };
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut asked = Asked {
        method: method.into(),
        target: target.into(),
        headers,
        body: Vec::new(),
        connection,
    };
    if let Some(length) = asked.header("content-length") {
        let length: usize = length.parse().map_err(|_| bad("no length"))?;
        if length > BODY_BYTES_MAX {
            return Err(bad("a body beyond the limit"));
        }
        asked.body = vec![0; length];
        reader.read_exact(&mut asked.body)?;
    }
    Ok(Some(asked))
}
