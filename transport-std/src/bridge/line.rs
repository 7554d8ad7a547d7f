//! The serial line of a bridge: a device, or a TCP connection that stands for one, such as an emulator's.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use serial2::SerialPort;

use crate::config::{Address, split_address};
use crate::error::Error;
use crate::link;

/// Bits per second of a device where nobody says otherwise.
pub const DEFAULT_BAUD: u32 = 115_200;

/// How long a call to the system may take before it is looked whether all is over.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Where a bridge finds its board.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Line {
    /// A serial device.
    Device {
        /// Its path, or its name on Windows.
        path: PathBuf,
        /// Bits per second; 8 data bits, no parity, 1 stop bit.
        baud: u32,
    },
    /// A TCP connection to make; QEMU waits for it with `-serial tcp:HOST:PORT,server=on`.
    Dial(Address),
    /// A TCP connection to wait for; QEMU makes it with `-serial tcp:HOST:PORT`.
    Listen(Address),
}

impl Line {
    /// Reads what a user writes: a device, `HOST:PORT` to dial or `listen:HOST:PORT`. `baud` is for a device.
    ///
    /// # Errors
    ///
    /// [`Error::SerialLine`] if it is neither.
    pub fn parse(text: &str, baud: u32) -> Result<Self, Error> {
        let invalid = |reason: &str| Error::SerialLine { line: text.to_owned(), reason: reason.to_owned() };
        if let Some(address) = text.strip_prefix("listen:") {
            return match split_address(address) {
                Some((host, Some(port))) => Ok(Self::Listen(Address { host, port })),
                _ => Err(invalid("an address to listen on has a host and a port")),
            };
        }
        match split_address(text) {
            Some((_, Some(0))) => Err(invalid("nobody can dial port 0")),
            Some((host, Some(port))) => Ok(Self::Dial(Address { host, port })),
            _ if text.is_empty() => Err(invalid("it has no name")),
            _ => Ok(Self::Device { path: text.into(), baud }),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { path, .. } => path.display().fmt(f),
            Self::Dial(address) => address.fmt(f),
            Self::Listen(address) => write!(f, "listen:{address}"),
        }
    }
}

/// An open line. Reading and writing give up after a [`TICK`], and may be done side by side.
pub(super) enum Port {
    Device { device: SerialPort, name: String },
    Tcp { stream: TcpStream, name: String },
}

impl Port {
    /// Opens a device, or dials.
    pub(super) fn open(line: &Line) -> io::Result<Self> {
        match line {
            Line::Device { path, baud } => {
                let mut device = SerialPort::open(path, *baud)?;
                device.set_read_timeout(TICK)?;
                device.set_write_timeout(TICK)?;
                Ok(Self::Device { device, name: line.to_string() })
            }
            Line::Dial(address) | Line::Listen(address) => Self::accepted(link::dial(address, Duration::from_secs(2))?),
        }
    }

    /// A connection that stands for a line.
    pub(super) fn accepted(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(TICK))?;
        let name = stream.peer_addr()?.to_string();
        Ok(Self::Tcp { stream, name })
    }

    /// Which it is, for people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Device { name, .. } | Self::Tcp { name, .. } => name.clone(),
        }
    }

    /// Reads what has come; 0 if that took too long.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = match self {
            Self::Device { device, .. } => device.read(buffer),
            Self::Tcp { stream, .. } => (&mut &*stream).read(buffer),
        };
        match result {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other side closed it")),
            other => patient(other),
        }
    }

    /// Writes the first bytes of `bytes`, and returns how many; 0 if that took too long.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        patient(match self {
            Self::Device { device, .. } => device.write(bytes),
            Self::Tcp { stream, .. } => (&mut &*stream).write(bytes),
        })
    }
}

fn patient(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(0)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_devices_or_addresses() {
        let parse = |text: &str| Line::parse(text, 9600).ok();
        let device = |path: &str| Some(Line::Device { path: path.into(), baud: 9600 });
        let address = |host: &str, port| Address { host: host.to_owned(), port };
        assert_eq!(parse("/dev/ttyUSB0"), device("/dev/ttyUSB0"));
        assert_eq!(parse("COM3"), device("COM3"));
        assert_eq!(parse("/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0"), {
            device("/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0")
        });
        assert_eq!(parse("127.0.0.1:4000"), Some(Line::Dial(address("127.0.0.1", 4000))));
        assert_eq!(parse("[::1]:4000"), Some(Line::Dial(address("::1", 4000))));
        assert_eq!(parse("listen:127.0.0.1:0"), Some(Line::Listen(address("127.0.0.1", 0))));
        for text in ["", "listen:", "listen:4000", "listen:127.0.0.1", "127.0.0.1:0"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
