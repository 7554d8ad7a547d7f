//! `edgempi bridge`: brings a board on a serial line to a hub.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use edgempi::bridge::Bridge;
use edgempi::config::{Config, ConfigError};
use serial2::SerialPort;

use crate::say;

/// How long to wait before a line that was lost is opened again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a read of a device may take; then it is read again.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Bring a board on a serial line to a hub
///
/// Serves until it is interrupted: session after session on the line, each with a connection to the hub of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    edgempi bridge --serial /dev/ttyACM0 --hub 192.0.2.1:61642    a board on USB\n  \
    edgempi bridge --serial listen:127.0.0.1:7000 --hub HOST      an emulated board that dials 127.0.0.1:7000\n\n\
    RUST_LOG=info says when boards come and go.")]
pub struct Arguments {
    /// The line: a device, the address of a program that listens (host:port), or listen:ADDR to wait for one that dials
    #[arg(long, value_name = "LINE")]
    serial: String,

    /// Bits a second, for a device
    #[arg(long, value_name = "RATE", default_value_t = 115_200)]
    baud: u32,

    /// Where the hub is, as host:port or host [default: EDGEMPI_ADDR, or 127.0.0.1, with EDGEMPI_PORT]
    #[arg(long, value_name = "ADDR")]
    hub: Option<String>,
}

/// A way to open the line, again and again.
enum Line {
    Device { path: String, baud: u32 },
    Dial(String),
    Listen(TcpListener),
}

type Halves = (Box<dyn Read + Send>, Box<dyn Write>);

impl Line {
    fn parse(text: &str, baud: u32) -> io::Result<Self> {
        if let Some(address) = text.strip_prefix("listen:") {
            return TcpListener::bind(address).map(Self::Listen);
        }
        let is_address = !text.contains(['/', '\\']) && text.contains(':');
        Ok(if is_address { Self::Dial(text.to_owned()) } else { Self::Device { path: text.to_owned(), baud } })
    }

    fn open(&self) -> io::Result<Halves> {
        let stream = match self {
            Self::Device { path, baud } => {
                let mut port = SerialPort::open(path, *baud)?;
                port.set_read_timeout(READ_TIMEOUT)?;
                return Ok((Box::new(port.try_clone()?), Box::new(port)));
            }
            Self::Dial(address) => TcpStream::connect(address)?,
            Self::Listen(listener) => listener.accept()?.0,
        };
        stream.set_nodelay(true)?;
        Ok((Box::new(stream.try_clone()?), Box::new(stream)))
    }
}

/// Serves, and returns the exit code if it can't.
pub fn execute(arguments: &Arguments) -> u8 {
    let hub = match hub(arguments) {
        Ok(hub) => hub,
        Err(error) => {
            say(error);
            return 2;
        }
    };
    let line = match Line::parse(&arguments.serial, arguments.baud) {
        Ok(line) => line,
        Err(error) => {
            say(format_args!("can't use the line {}: {error}", arguments.serial));
            return 1;
        }
    };
    match &line {
        Line::Listen(listener) => match listener.local_addr() {
            Ok(address) => say(format_args!("bridge to the hub at {hub}; waiting for a line at {address}")),
            Err(error) => say(error),
        },
        Line::Device { .. } | Line::Dial(_) => {
            say(format_args!("bridge between {} and the hub at {hub}", arguments.serial));
        }
    }
    let mut bridge = Bridge::new(hub);
    let mut told = false;
    loop {
        match line.open() {
            Ok((reader, writer)) => {
                told = false;
                let error = bridge.serve(reader, writer);
                tracing::info!("the line is lost: {error}");
            }
            // Said once, however long it takes: a board may be plugged in later.
            Err(error) if !told => {
                told = true;
                say(format_args!("the line {} can't be opened: {error}; trying again", arguments.serial));
            }
            Err(_) => {}
        }
        thread::sleep(PAUSE);
    }
}

fn hub(arguments: &Arguments) -> Result<edgempi::config::Address, ConfigError> {
    // A bridge has no rank; any will do for the address.
    let mut config = Config::new().size(1).rank(0);
    if let Some(hub) = &arguments.hub {
        config = config.addr(hub);
    }
    Ok(config.resolve(edgempi::link::NAMES)?.hub())
}
