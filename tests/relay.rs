//! A relay between one rank and its hub: passes on what both say, until it is told to cut the connection without a word,
//! at once or in the middle of a frame.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use edgempi_core::wire::{PREFIX_LEN, Prefix};

/// A payload from so many bytes on is long enough to be cut in two.
pub const LONG: u32 = 1000;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the rank to the hub.
    Up,
    /// From the hub to the rank.
    Down,
}

/// A relay for one connection.
pub struct Relay {
    /// Where the rank finds it, instead of its hub.
    pub address: SocketAddr,
    wire: Arc<Wire>,
}

/// What both directions share.
#[derive(Default)]
struct Wire {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Closes both connections.
    close: Option<Box<dyn Fn() + Send>>,
    /// The next long frame of this way is the last.
    ordered: Option<Way>,
    is_cut: bool,
}

impl Relay {
    /// A relay to the hub that listens on TCP there.
    pub fn tcp(hub: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        Self::start(address, move || {
            let (rank, hub) = (listener.accept()?.0, dial(hub)?);
            for stream in [&rank, &hub] {
                stream.set_nodelay(true)?;
            }
            Ok([rank, hub])
        })
    }

    /// A relay to the Unix socket beside that.
    #[cfg(target_os = "linux")]
    pub fn unix(hub: SocketAddr) -> Self {
        // Ranks make the name out of the TCP address that they are told, so that has to be this relay's, too.
        let name = |address: SocketAddr| {
            UnixAddr::from_abstract_name(format!("edgempi {} {}", address.ip(), address.port())).expect("it is short")
        };
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = port.local_addr().expect("its address");
        let listener = UnixListener::bind_addr(&name(address)).expect("the port is this relay's, and so the name");
        Self::start(address, move || {
            let _port = port;
            Ok([listener.accept()?.0, UnixStream::connect_addr(&name(hub))?])
        })
    }

    /// Passes on between the rank that connects, and the hub.
    fn start<S: Socket>(address: SocketAddr, connect: impl FnOnce() -> io::Result<[S; 2]> + Send + 'static) -> Self {
        let wire = Arc::<Wire>::default();
        let relay = Self { address, wire: wire.clone() };
        thread::spawn(move || {
            let ends = connect().expect("a rank comes, and the hub is there");
            let [rank, hub] = ends.each_ref().map(|end| [end.another(), end.another()]);
            wire.state().close = Some(Box::new(move || ends.iter().for_each(|end| end.shut(Shutdown::Both))));
            let ([rank, from_rank], [hub, from_hub]) = (rank, hub);
            let up = wire.clone();
            thread::spawn(move || up.pass_on(Way::Up, from_rank, hub));
            wire.pass_on(Way::Down, from_hub, rank);
        });
        relay
    }

    /// Cuts the connection, wherever it is. The rank has joined.
    pub fn cut(&self) {
        self.wire.cut();
    }

    /// Cuts the connection in the middle of the next frame that goes this way with a payload of [`LONG`] bytes.
    pub fn cut_in_a_frame(&self, way: Way) {
        self.wire.state().ordered = Some(way);
    }

    /// Waits until the connection is cut.
    pub fn wait_until_cut(&self) {
        let mut state = self.wire.state();
        while !state.is_cut {
            state = self.wire.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Wire {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self) {
        let mut state = self.state();
        state.is_cut = true;
        let close = state.close.as_ref().expect("a rank has joined");
        close();
        self.changed.notify_all();
    }

    fn pass_on<S: Socket>(&self, way: Way, mut from: S, mut to: S) {
        while let Ok(true) = self.pass_frame(way, &mut from, &mut to) {}
        // It has closed its side, or the other one takes no more.
        to.shut(Shutdown::Write);
    }

    /// Passes a frame on, or half of it. Returns whether another may follow.
    fn pass_frame<S: Socket>(&self, way: Way, from: &mut S, to: &mut S) -> io::Result<bool> {
        let mut prefix = [0; PREFIX_LEN];
        from.read_exact(&mut prefix)?;
        to.write_all(&prefix)?;
        let Prefix { header_len, payload_len, .. } = Prefix::decode(prefix);
        let is_last = payload_len >= LONG && self.state().ordered == Some(way);
        let passes = u64::from(header_len) + u64::from(if is_last { payload_len / 2 } else { payload_len });
        let passed = io::copy(&mut Read::by_ref(from).take(passes), to)?;
        if is_last {
            self.cut();
        }
        Ok(passed == passes && !is_last)
    }
}

/// Connects to the hub; it may come later than its ranks.
fn dial(hub: SocketAddr) -> io::Result<TcpStream> {
    loop {
        match TcpStream::connect(hub) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => thread::yield_now(),
            result => return result,
        }
    }
}

/// A socket of either kind.
trait Socket: Read + Write + Send + 'static {
    /// Another handle of the same one.
    fn another(&self) -> Self;
    /// Closes it, or a side of it; it may be closed already.
    fn shut(&self, side: Shutdown);
}

impl Socket for TcpStream {
    fn another(&self) -> Self {
        self.try_clone().expect("descriptors are left")
    }

    fn shut(&self, side: Shutdown) {
        let _ = self.shutdown(side);
    }
}

#[cfg(target_os = "linux")]
impl Socket for UnixStream {
    fn another(&self) -> Self {
        self.try_clone().expect("descriptors are left")
    }

    fn shut(&self, side: Shutdown) {
        let _ = self.shutdown(side);
    }
}
