//! A network that can fail, between the processes and a server.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// It works.
    Up = 0,
    /// It swallows everything and closes nothing; who connects is accepted and gets no answer.
    BlackHole = 1,
    /// Requests arrive and answers do not.
    HalfOpen = 2,
    /// It refuses everybody.
    Refusing = 3,
    /// It works, and no server hears of the end of a client, as where the client's host vanishes.
    Orphaning = 4,
}

/// An answer that the network makes up, as a pooler does that loses its server.
#[derive(Debug, Clone)]
pub struct Forgery {
    /// The text of the query, sent by PostgreSQL's simple protocol, that is answered so.
    pub query: &'static str,
    /// What the server gets instead, if anything; its own answer is swallowed.
    pub forwarded: Option<&'static str>,
    /// The SQLSTATE of the answer.
    pub sqlstate: &'static str,
}

impl Forgery {
    /// Whether this is what a client sends, and what the server gets of it.
    fn of(&self, request: &[u8]) -> Option<Vec<u8>> {
        let is_it = request == simple_query(self.query);
        is_it.then(|| self.forwarded.map_or_else(Vec::new, simple_query))
    }

    fn answer(&self) -> Vec<u8> {
        let fields = format!(
            "SERROR\0VERROR\0C{}\0Mthe network says so\0\0",
            self.sqlstate
        );
        let mut answer = message(b'E', fields.as_bytes());
        answer.extend(message(b'Z', b"I"));
        answer
    }
}

fn simple_query(text: &str) -> Vec<u8> {
    message(b'Q', format!("{text}\0").as_bytes())
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend((body.len() as u32 + 4).to_be_bytes());
    message.extend(body);
    message
}

/// Whether the last thing that is answered is that the server is ready again.
fn is_ready(answer: &[u8]) -> bool {
    matches!(answer, [.., b'Z', 0, 0, 0, 5, _])
}

/// A forgery that waits for its query, and the one that waits for the server's answer.
#[derive(Default)]
struct Forging {
    armed: Option<Forgery>,
    swallowing: Option<Forgery>,
}

struct Shared {
    port: u16,
    forging: Mutex<Forging>,
    network: AtomicU8,
    /// Counts the times that all connections were closed.
    generation: AtomicU64,
    /// How many bytes of answers still pass before a connection is cut; negative: no cut.
    cut_after: AtomicI64,
}

/// Listens on a port of its own and carries bytes to a server's port.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

/// How often a quiet connection looks whether the network has changed.
const LOOK: Duration = Duration::from_millis(20);

impl Proxy {
    /// A working network to this port.
    pub fn start(server_port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared {
            port: server_port,
            forging: Mutex::default(),
            network: AtomicU8::new(Network::Up as u8),
            generation: AtomicU64::new(0),
            cut_after: AtomicI64::new(-1),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.carry(client));
            }
        });
        Self { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes how the network is.
    pub fn set(&self, network: Network) {
        self.shared.network.store(network as u8, Ordering::SeqCst);
    }

    /// The network works again, and all connections of before are gone.
    pub fn heal(&self) {
        self.shared.cut_after.store(-1, Ordering::SeqCst);
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
        self.set(Network::Up);
    }

    /// Answers the next such query so, once.
    pub fn forge(&self, forgery: Forgery) {
        self.shared.forging.lock().expect("the lock").armed = Some(forgery);
    }

    /// Cuts one connection after so many more bytes of answers.
    pub fn cut_after(&self, bytes: u64) {
        self.shared.cut_after.store(bytes as i64, Ordering::SeqCst);
    }
}

/// When the probes of TCP's keep-alive would tell a server that its client is gone. In the midst of a
/// COPY nothing else does.
const KEPT_ALIVE: Duration = Duration::from_secs(8);

/// Keeps the connection to a server whose client is gone until the server ends it, or its keep-alive
/// would.
fn orphan(server: &mut TcpStream) {
    let mut buffer = [0; 1 << 10];
    let end = Instant::now() + KEPT_ALIVE;
    while Instant::now() < end {
        match server.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

impl Shared {
    fn is(&self, network: Network) -> bool {
        self.network.load(Ordering::SeqCst) == network as u8
    }

    fn carry(self: Arc<Self>, client: TcpStream) {
        let generation = self.generation.load(Ordering::SeqCst);
        if self.is(Network::Refusing) {
            return;
        }
        while self.is(Network::BlackHole) {
            std::thread::sleep(LOOK);
        }
        if self.generation.load(Ordering::SeqCst) != generation {
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.port)) else {
            return;
        };
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
            let _ = stream.set_read_timeout(Some(LOOK));
        }
        let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else {
            return;
        };
        let requests = Arc::clone(&self);
        std::thread::spawn(move || requests.pump(from_client, to_server, generation, false));
        self.pump(server, client, generation, true);
    }

    /// Carries one direction until an end closes, or the network does.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream, generation: u64, answers: bool) {
        let mut buffer = [0; 16 << 10];
        loop {
            if self.generation.load(Ordering::SeqCst) != generation || self.is(Network::Refusing) {
                break;
            }
            if self.is(Network::BlackHole) || (answers && self.is(Network::HalfOpen)) {
                std::thread::sleep(LOOK);
                continue;
            }
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    continue;
                }
                Err(_) => break,
            };
            let forged = match answers {
                true => self.swallow(&buffer[..read]),
                false => self.forge(&buffer[..read], &from),
            };
            if let Some(bytes) = forged {
                if to.write_all(&bytes).is_err() {
                    break;
                }
                continue;
            }
            let passed = if answers { self.passed(read) } else { read };
            if to.write_all(&buffer[..passed]).is_err() || passed < read {
                break;
            }
        }
        if self.is(Network::Orphaning) {
            orphan(if answers { &mut from } else { &mut to });
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// What the server gets instead of a request, where that is answered by the network.
    fn forge(&self, request: &[u8], mut client: &TcpStream) -> Option<Vec<u8>> {
        let mut forging = self.forging.lock().expect("the lock");
        let forwarded = forging.armed.as_ref()?.of(request)?;
        let forgery = forging.armed.take()?;
        match forwarded.is_empty() {
            true => drop(client.write_all(&forgery.answer())),
            false => forging.swallowing = Some(forgery),
        }
        Some(forwarded)
    }

    /// What the client gets instead of an answer, where one is made up.
    fn swallow(&self, answer: &[u8]) -> Option<Vec<u8>> {
        let mut forging = self.forging.lock().expect("the lock");
        let forgery = forging.swallowing.as_ref()?.answer();
        if !is_ready(answer) {
            return Some(Vec::new());
        }
        forging.swallowing = None;
        Some(forgery)
    }

    /// How many bytes of an answer pass.
    fn passed(&self, bytes: usize) -> usize {
        let before = self.cut_after.load(Ordering::SeqCst);
        if before < 0 {
            return bytes;
        }
        if bytes as i64 <= before {
            self.cut_after.fetch_sub(bytes as i64, Ordering::SeqCst);
            return bytes;
        }
        // Whoever changes it back cuts: one connection.
        let cuts = self
            .cut_after
            .compare_exchange(before, -1, Ordering::SeqCst, Ordering::SeqCst);
        if cuts.is_ok() { before as usize } else { bytes }
    }
}
