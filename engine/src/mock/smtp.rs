//! A mail server that keeps what it is given and delivers nothing.

use parking_lot::Mutex;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest line and message, and most messages kept.
const LINE_BYTES_MAX: u64 = 4 << 10;
const MAIL_BYTES_MAX: usize = 1 << 20;
const KEPT_MAX: usize = 1_000;
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A message that came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mail {
    /// Sender of the envelope.
    pub from: String,
    /// Receivers of the envelope.
    pub to: Vec<String>,
    /// Headers and text, as they came.
    pub data: String,
}

/// A mail server that is stopped when it is dropped. A receiver whose address begins with `refused` is refused.
#[derive(Debug)]
pub struct MailSink {
    address: SocketAddr,
    kept: Arc<Mutex<Vec<Mail>>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl MailSink {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// What the system says.
    pub fn start() -> io::Result<MailSink> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (kept, stop) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let (keep, stopped) = (kept.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("aos-mail".into())
            .spawn(move || {
                for stream in listener.incoming() {
                    if stopped.load(Ordering::Acquire) {
                        return;
                    }
                    // One conversation at a time; whoever breaks off has sent nothing.
                    if let Ok(stream) = stream {
                        let _ = converse(&stream, &keep);
                    }
                }
            })?;
        Ok(MailSink {
            address,
            kept,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came so far.
    pub fn kept(&self) -> Vec<Mail> {
        self.kept.lock().clone()
    }
}

impl Drop for MailSink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn converse(mut stream: &TcpStream, kept: &Mutex<Vec<Mail>>) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    let mut reader = BufReader::new(stream);
    let mut mail = Mail::default();
    stream.write_all(b"220 mock\r\n")?;
    loop {
        let line = line(&mut reader)?;
        let upper = line.to_ascii_uppercase();
        let answer = if upper.starts_with("EHLO") {
            "250-mock\r\n250 8BITMIME\r\n"
        } else if upper.starts_with("MAIL FROM:") {
            mail.from = address(&line);
            "250 ok\r\n"
        } else if upper.starts_with("RCPT TO:") {
            let to = address(&line);
            if to.starts_with("refused") {
                "550 no such receiver\r\n"
            } else {
                mail.to.push(to);
                "250 ok\r\n"
            }
        } else if upper == "DATA" {
            stream.write_all(b"354 go on\r\n")?;
            mail.data = data(&mut reader)?;
            let mut kept = kept.lock();
            if kept.len() < KEPT_MAX {
                kept.push(std::mem::take(&mut mail));
            }
            "250 kept\r\n"
        } else if upper == "QUIT" || line.is_empty() {
            return stream.write_all(b"221 bye\r\n");
        } else {
            "250 ok\r\n"
        };
        stream.write_all(answer.as_bytes())?;
    }
}

fn line(reader: &mut BufReader<&TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn data(reader: &mut BufReader<&TcpStream>) -> io::Result<String> {
    let mut data = String::new();
    loop {
        let line = line(reader)?;
        if line == "." {
            return Ok(data);
        }
        if data.len() + line.len() > MAIL_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "too long"));
        }
        data.push_str(line.strip_prefix('.').unwrap_or(&line));
        data.push('\n');
    }
}

fn address(line: &str) -> String {
    let inner = line
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inner
        .map(|(address, _)| address.to_owned())
        .unwrap_or_default()
}
