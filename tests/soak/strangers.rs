//! Whoever else connects to a hub at work: lost clients, scanners, ranks of other worlds, and a rank that turns on its
//! world.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use edgempi_core::Rank;
use edgempi_core::wire::{Down, Hello, MAX_HEAD_LEN, Ping, Submit, Up};
use edgempi_tests::stranger::{Stranger, first_barrier, hello};

use crate::plan::Random;

/// The hub sends away whoever it does not want, and gives him time to read why.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects to a hub while its world is complete, in a few bad ways. Returns how often, and the connections that are
/// still open.
pub fn pester(hub: SocketAddr, size: u32, random: &mut Random) -> (u64, Vec<TcpStream>) {
    let mut open = Vec::new();
    let mut count = 0;
    for _ in 0..random.below(5) {
        let rank = random.below(size as usize) as u32;
        count += 1;
        match random.below(10) {
            0 => drop(connect(hub)),
            1 => {
                count += 39;
                let crowd: Vec<_> = (0..40).map(|_| connect(hub)).collect();
                drop(crowd);
            }
            2 => open.push(connect(hub)),
            3 => {
                let mut stream = connect(hub);
                let head = head(Up::Hello(hello(rank, size)), 0);
                let len = random.below(head.len());
                let _ = stream.write_all(&head[..len]);
                open.push(stream);
            }
            4 => refused(hub, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"),
            5 => {
                let noise: Vec<u8> = (0..6 + random.below(3000)).map(|_| random.next() as u8).collect();
                refused(hub, &noise);
            }
            6 => refused(hub, &head(Up::Hello(hello(rank, size)), u32::MAX)),
            7 => refused(hub, &head(Up::Hello(hello(size + rank, size)), 0)),
            8 => refused(hub, &head(Up::Hello(Hello { version: 99, ..hello(rank, size) }), 0)),
            // A rank that is there already, or has been.
            _ => refused(hub, &head(Up::Hello(hello(rank, size)), 0)),
        }
    }
    (count, open)
}

fn connect(hub: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(hub).expect("the hub listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("TCP has that option");
    stream
}

fn head(frame: Up, payload: u32) -> Vec<u8> {
    let mut head = [0; MAX_HEAD_LEN];
    let len = frame.encode(payload, &mut head);
    head[..len].to_vec()
}

/// Says something upon which the hub closes the connection.
fn refused(hub: SocketAddr, bytes: &[u8]) {
    let mut stream = connect(hub);
    // It may be closed before everything has been said.
    let _ = stream.write_all(bytes);
    match stream.read_to_end(&mut Vec::new()) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("a stranger who says {bytes:?} is not sent away within {PATIENCE:?}");
        }
        _ => {}
    }
}

/// A rank that joins, and then breaks the protocol.
pub struct Traitor {
    stranger: Stranger,
}

impl Traitor {
    /// Joins, together with all other ranks of the world.
    pub fn join(hub: SocketAddr, size: u32, rank: u32) -> Self {
        let mut stranger = Stranger::join(hub, hello(rank, size));
        stranger.say(Up::Submit(first_barrier()), &[]).expect("the hub reads");
        loop {
            match stranger.hear() {
                Some((Down::Complete(_), _)) => return Self { stranger },
                Some(_) => {}
                None => panic!("the hub does not let rank {rank} in"),
            }
        }
    }

    /// Breaks the protocol, and hears what the hub thinks of it.
    pub fn betray(mut self, random: &mut Random) {
        let lie = Submit { sequence: 2, request: edgempi_tests::stranger::request(2 << 16), n: 1, ..first_barrier() };
        let frame = match random.below(6) {
            0 => vec![99, 0, 0, 0, 0, 0],
            1 => head(Up::Submit(Submit { communicator: 77, ..lie }), 0),
            2 => head(Up::Submit(Submit { sequence: 9, ..lie }), 0),
            3 => head(Up::Submit(Submit { peer: Rank::new(9_999), call: 1, send: u64::MAX, ..lie }), 0),
            4 => head(Up::Ping(Ping { acknowledged: 0 }), u32::MAX),
            // Half a frame, and its connection breaks.
            _ => {
                let _ = self.stranger.write(&head(Up::Submit(Submit { send: 1000, ..lie }), 1000));
                return;
            }
        };
        let _ = self.stranger.write(&frame);
        while self.stranger.hear().is_some() {}
    }
}
