//! The way to a server, on which something closes connections for what they carry.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// What a connection has carried towards the server.
pub struct Carried {
    pub since: Instant,
    pub bytes: usize,
    /// The latest bytes, and a few before them.
    pub latest: Vec<u8>,
    /// The longest message of PostgreSQL's protocol.
    pub longest: usize,
    header: Vec<u8>,
    rest: usize,
    started: bool,
}

type Ends = dyn Fn(&Carried) -> bool + Send + Sync;

struct Shared {
    ends: Box<Ends>,
    open: AtomicBool,
    ended: AtomicU32,
}

/// A port that carries bytes to another one, until `ends` says that a connection ends.
pub struct Way {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Way {
    pub fn to(port: u16, ends: impl Fn(&Carried) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let own = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            ends: Box::new(ends),
            open: AtomicBool::new(false),
            ended: AtomicU32::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                let server = TcpStream::connect(("127.0.0.1", port));
                thread::spawn(move || server.map(|server| carry(&shared, client, server)));
            }
        });
        Self { port: own, shared }
    }

    /// How many connections it has ended.
    pub fn ended(&self) -> u32 {
        self.shared.ended.load(SeqCst)
    }

    /// Ends connections again, as from the beginning.
    pub fn close(&self) {
        self.shared.open.store(false, SeqCst);
    }

    /// Ends none any more.
    pub fn open(&self) {
        self.shared.open.store(true, SeqCst);
    }
}

fn carry(shared: &Shared, mut client: TcpStream, mut server: TcpStream) {
    let (mut from_server, mut to_client) =
        (server.try_clone().unwrap(), client.try_clone().unwrap());
    let answers = thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let mut carried = Carried::nothing();
    let mut bytes = vec![0; 64 << 10];
    let look = Some(Duration::from_millis(5));
    client.set_read_timeout(look).unwrap();
    loop {
        let read = match client.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
            Err(_) => break,
        };
        carried.add(&bytes[..read]);
        if !shared.open.load(SeqCst) && (shared.ends)(&carried) {
            shared.ended.fetch_add(1, SeqCst);
            break;
        }
        if server.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Both);
    let _ = answers.join();
}

impl Carried {
    fn nothing() -> Self {
        Self {
            since: Instant::now(),
            bytes: 0,
            latest: Vec::new(),
            longest: 0,
            header: Vec::new(),
            rest: 0,
            started: false,
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        let kept = self.latest.len().saturating_sub(64);
        self.latest.drain(..kept);
        self.latest.extend_from_slice(bytes);
        self.read(bytes);
    }

    /// Reads the messages' lengths. The first message has no type in front of its length.
    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.rest.min(bytes.len());
            self.rest -= skipped;
            bytes = &bytes[skipped..];
            let header = if self.started { 5 } else { 4 };
            let taken = bytes.len().min(header - self.header.len());
            self.header.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.header.len() == header {
                let length: [u8; 4] = self.header[header - 4..].try_into().unwrap();
                let length = u32::from_be_bytes(length) as usize;
                self.longest = self.longest.max(length);
                self.rest = length - 4;
                self.started = true;
                self.header.clear();
            }
        }
    }
}
