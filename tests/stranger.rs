//! Whoever speaks to a hub by hand, frame by frame or byte by byte.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use edgempi_core::request::CallCode;
use edgempi_core::wire::{
    Down, Hello, MAGIC, MAX_HEAD_LEN, PREFIX_LEN, Prefix, RankKind, Reject, Submit, SubmitFlags, Up, VERSION,
};
use edgempi_core::{Category, Datatype, Rank, RequestId, Tag};

/// A Hello with which a hub of a world of `size` lets rank `rank` in. It promises
/// nothing about how long it may be silent.
pub fn hello(rank: u32, size: u32) -> Hello {
    Hello {
        magic: MAGIC,
        version: VERSION,
        rank: Rank::new(rank),
        size,
        kind: RankKind::Host,
        max_payload: 64 * 1024,
        max_message: u64::MAX,
        open_parts: 8,
        receive_window: u32::MAX,
        max_silence: 0,
    }
}

/// The call by which `edgempi::init` waits for the other ranks, as the first one of a session.
pub fn first_barrier() -> Submit {
    Submit {
        request: request(1 << 16),
        sequence: 1,
        acknowledged: 0,
        call: CallCode::Barrier as u8,
        datatype: Datatype::Object.code(),
        op: 0,
        flags: SubmitFlags::EXACT,
        communicator: 0,
        group: 0,
        name: 0,
        site: 0,
        peer: Rank::new(0),
        tag: Tag(0),
        n: 0,
        send: 0,
        receive: 0,
    }
}

/// A receive of a message of at most `bytes` from `source`, as the second call of a session.
pub fn receive_from(source: u32, bytes: u64) -> Submit {
    Submit {
        request: request(2 << 16),
        sequence: 2,
        call: CallCode::Recv as u8,
        datatype: Datatype::U8.code(),
        flags: SubmitFlags::UNLIMITED,
        peer: Rank::new(source),
        receive: bytes,
        ..first_barrier()
    }
}

/// The request with this number on the wire.
pub fn request(number: u32) -> RequestId {
    match Up::decode(15, &number.to_le_bytes()) {
        Ok(Some(Up::Cancel(cancel))) => cancel.request,
        _ => unreachable!("a Cancel is a request's number"),
    }
}

/// A connection to a hub.
pub struct Stranger {
    stream: TcpStream,
}

impl Stranger {
    /// Connects, once the hub listens.
    pub fn connect(hub: SocketAddr) -> Self {
        let stream = loop {
            match TcpStream::connect(hub) {
                Ok(stream) => break stream,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}"),
            }
            thread::yield_now();
        };
        stream.set_nodelay(true).expect("TCP has that option");
        Self { stream }
    }

    /// Connects as a rank, and is let in.
    pub fn join(hub: SocketAddr, hello: Hello) -> Self {
        let mut stranger = Self::connect(hub);
        stranger.say(Up::Hello(hello), &[]).expect("the hub reads");
        match stranger.hear() {
            Some((Down::Welcome(_), _)) => stranger,
            other => panic!("the hub does not let this rank in: {other:?}"),
        }
    }

    /// Sends a frame.
    ///
    /// # Errors
    ///
    /// The connection is closed.
    pub fn say(&mut self, frame: Up, payload: &[u8]) -> io::Result<()> {
        let mut head = [0; MAX_HEAD_LEN];
        let len = frame.encode(payload.len() as u32, &mut head);
        self.write(&[&head[..len], payload].concat())
    }

    /// Sends bytes.
    ///
    /// # Errors
    ///
    /// The connection is closed.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next frame with its payload; `None` once the hub has closed the connection.
    pub fn hear(&mut self) -> Option<(Down, Vec<u8>)> {
        loop {
            let mut prefix = [0; PREFIX_LEN];
            self.stream.read_exact(&mut prefix).ok()?;
            let prefix = Prefix::decode(prefix);
            let mut header = vec![0; prefix.header_len.into()];
            self.stream.read_exact(&mut header).ok()?;
            let mut payload = vec![0; prefix.payload_len as usize];
            self.stream.read_exact(&mut payload).ok()?;
            match Down::decode(prefix.kind, &header) {
                Ok(Some(frame)) => return Some((frame, payload)),
                Ok(None) => {}
                Err(error) => panic!("the hub sends frames that make no sense: {error}"),
            }
        }
    }

    /// Listens until the hub closes the connection. Returns what it was told as the last thing, which is why.
    pub fn refusal(&mut self) -> (Category, String) {
        let mut last = None;
        while let Some(heard) = self.hear() {
            last = Some(heard);
        }
        match last {
            Some((Down::Reject(Reject { category, .. }), reason)) => {
                (category, String::from_utf8(reason).expect("reasons are text"))
            }
            other => panic!("the hub closed the connection without a reason: {other:?}"),
        }
    }

    /// Another handle on the same connection, to speak while this one listens.
    pub fn second_voice(&self) -> Self {
        Self { stream: self.stream.try_clone().expect("the system has descriptors left") }
    }
}
