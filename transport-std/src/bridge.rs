//! A bridge: carries the bytes of a board on a serial line to a hub, and back.
//!
//! The line is made reliable by [`edgempi_core::serial`]; retransmission ends here. Each session on the line has a
//! connection to the hub of its own: when the hub is lost, the session is reset and the board knows; when the board
//! starts anew, its old connection is closed and the hub knows. While the line's window is full the bridge reads nothing
//! from the hub.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use edgempi_core::serial::{Frame, MAX_WINDOW, Reason, SerialLink, State};

use crate::config::Address;

/// Bytes moved at a time.
const PIECE: usize = 4096;
/// Bytes handed to the line at a time: what is in its driver can not be overtaken by a report of a loss.
const LINE_PIECE: usize = 512;
/// How long the hub may take to accept a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How long the bridge promises to answer within.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// What the threads that read tell the bridge.
enum Event {
    /// Bytes from the line.
    Line(Vec<u8>),
    LineLost(io::Error),
    /// Bytes from the hub, in the session with this number; none when it has closed.
    Hub(u64, Vec<u8>),
}

/// A connection to the hub, for one session.
struct Connection {
    stream: TcpStream,
    /// Lets its reader go on.
    proceed: SyncSender<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Ends the reader, too. The hub may be gone already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// A bridge between one serial line and the hub at an address.
pub struct Bridge {
    hub: Address,
    start: Instant,
    epoch: u32,
    sessions: u64,
}

impl Bridge {
    /// A bridge to the hub at `hub`.
    pub fn new(hub: Address) -> Self {
        // An epoch that no bridge has used on this line lately.
        let epoch = uuid::Uuid::new_v4().as_fields().0;
        Self { hub, start: Instant::now(), epoch, sessions: 0 }
    }

    /// Serves the board behind a line, session after session, until the line is lost; returns why it was.
    ///
    /// `reader` and `writer` are the two directions of the line, and block. The reader is left to a thread, which ends
    /// when it next returns.
    pub fn serve(&mut self, reader: impl Read + Send + 'static, mut writer: impl Write) -> io::Error {
        let (events, inbox) = channel();
        let to_bridge = events.clone();
        if let Err(error) = spawn("edgempi-line", move || read_line(reader, &to_bridge)) {
            return error;
        }
        let (mut sent, mut received) = ([Frame::<1000>::EMPTY; MAX_WINDOW], [Frame::<1000>::EMPTY; MAX_WINDOW]);
        self.epoch = self.epoch.wrapping_add(1);
        let link = SerialLink::bridge(self.now(), MAX_SILENCE, self.epoch, &mut sent, &mut received);
        let mut session = Session { link, connection: None, from_hub: Vec::new(), hub_closed: false, bridge: self };
        session.run(&events, &inbox, &mut writer)
    }

    fn now(&self) -> edgempi_core::Instant {
        edgempi_core::Instant::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Connects a new session to the hub.
    fn connect(&mut self, events: &Sender<Event>) -> io::Result<Connection> {
        let addresses = std::net::ToSocketAddrs::to_socket_addrs(&self.hub)?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT_WAIT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    self.sessions += 1;
                    let (number, from_hub, events) = (self.sessions, stream.try_clone()?, events.clone());
                    let (proceed, may_proceed) = sync_channel(1);
                    spawn("edgempi-hub", move || read_hub(from_hub, number, &events, &may_proceed))?;
                    return Ok(Connection { stream, proceed });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// What goes on between a line and a hub.
struct Session<'s> {
    link: SerialLink<'s, 1000>,
    connection: Option<Connection>,
    /// Bytes from the hub that the line has no room for yet.
    from_hub: Vec<u8>,
    hub_closed: bool,
    bridge: &'s mut Bridge,
}

impl Session<'_> {
    fn run(&mut self, events: &Sender<Event>, inbox: &Receiver<Event>, line: &mut impl Write) -> io::Error {
        loop {
            let now = self.bridge.now();
            self.link.handle_timeout(now);
            self.follow_state(events);
            self.move_up();
            self.move_down();
            let mut bytes = [0; LINE_PIECE];
            let n = self.link.transmit(now, &mut bytes);
            if n > 0 {
                if let Err(error) = line.write_all(&bytes[..n]).and_then(|()| line.flush()) {
                    return error;
                }
                // Whatever has come meanwhile may change what to send next.
                while let Ok(event) = inbox.try_recv() {
                    if let Some(error) = self.take(event) {
                        return error;
                    }
                }
                continue;
            }
            let event = match self.link.poll_timeout() {
                Some(at) => inbox.recv_timeout(at.since(now)),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match event {
                Ok(event) => {
                    if let Some(error) = self.take(event) {
                        return error;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return io::ErrorKind::BrokenPipe.into(),
            }
        }
    }

    /// Takes in what a reader brings; an error if the line is lost.
    fn take(&mut self, event: Event) -> Option<io::Error> {
        match event {
            Event::Line(bytes) => self.link.receive(self.bridge.now(), &bytes),
            Event::LineLost(error) => return Some(error),
            Event::Hub(number, bytes) if number == self.bridge.sessions && self.connection.is_some() => {
                self.hub_closed |= bytes.is_empty();
                self.from_hub.extend(bytes);
            }
            // Of a session that is over.
            Event::Hub(..) => {}
        }
        None
    }

    /// Connects and disconnects the hub as sessions on the line come and go.
    fn follow_state(&mut self, events: &Sender<Event>) {
        match (self.link.state(), &self.connection) {
            (State::Up, None) => match self.bridge.connect(events) {
                Ok(connection) => {
                    tracing::info!(session = self.bridge.sessions, "a board is here; connected to the hub");
                    self.connection = Some(connection);
                }
                Err(error) => {
                    tracing::warn!("no hub at {}: {error}", self.bridge.hub);
                    self.link.reset(Reason::HubUnreachable);
                }
            },
            (State::Reset(reason), _) => {
                tracing::info!("the session on the line is over: {}", reason.as_str());
                self.connection = None;
                self.from_hub.clear();
                self.hub_closed = false;
                self.link.reconnect(self.bridge.now());
            }
            (State::Up | State::Connecting, _) => {}
        }
    }

    /// From the line to the hub.
    fn move_up(&mut self) {
        let mut bytes = [0; PIECE];
        while self.link.is_readable() && self.connection.is_some() {
            let n = self.link.read(&mut bytes);
            // The hub never stops reading, so this does not block for long.
            let written = self.connection.as_mut().map(|connection| connection.stream.write_all(&bytes[..n]));
            if let Some(Err(error)) = written {
                tracing::info!("the hub is lost: {error}");
                self.link.reset(Reason::HubLost);
                return;
            }
        }
    }

    /// From the hub to the line, as far as its window goes.
    fn move_down(&mut self) {
        if !self.from_hub.is_empty() {
            let n = self.link.free().min(self.from_hub.len());
            let n = self.link.write(&self.from_hub[..n]);
            self.from_hub.drain(..n);
            if let (true, Some(connection)) = (self.from_hub.is_empty(), &self.connection) {
                let _ = connection.proceed.try_send(());
            }
        }
        // What the hub said last is to arrive before the line is told that it has closed.
        if self.hub_closed && self.from_hub.is_empty() && self.link.is_flushed() {
            self.link.reset(Reason::HubLost);
        }
    }
}

fn read_line(mut reader: impl Read, events: &Sender<Event>) {
    let mut bytes = [0; PIECE];
    loop {
        let event = match reader.read(&mut bytes) {
            Ok(0) => Event::LineLost(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => Event::Line(bytes[..n].to_vec()),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::TimedOut) => continue,
            Err(error) => Event::LineLost(error),
        };
        let is_over = matches!(event, Event::LineLost(_));
        if events.send(event).is_err() || is_over {
            return;
        }
    }
}

fn read_hub(mut hub: TcpStream, number: u64, events: &Sender<Event>, may_proceed: &Receiver<()>) {
    let mut bytes = [0; PIECE];
    loop {
        let n = match hub.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.unwrap_or(0),
        };
        if events.send(Event::Hub(number, bytes[..n].to_vec())).is_err() || n == 0 || may_proceed.recv().is_err() {
            return;
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map(drop)
}
