//! Settings as people write them: addresses, durations, sizes.

use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

use edgempi_core::wire::MAX_HELLO_PAYLOAD;

use super::MAX_SIZE;

/// A host (name or IP address) and a port; prints as `host:port`, with brackets around an IPv6 address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name to resolve, or an IP address without brackets.
    pub host: String,
    /// The port. 0 occurs only in an address to listen on: any free one.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl std::net::ToSocketAddrs for Address {
    type Iter = std::vec::IntoIter<std::net::SocketAddr>;

    fn to_socket_addrs(&self) -> std::io::Result<Self::Iter> {
        (self.host.as_str(), self.port).to_socket_addrs()
    }
}

/// Which threads of a process make calls (MPI 4.1, chapter 11.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Threads {
    /// Found out: [`Single`](Self::Single) while a thread waits beside which there is no other in its process, those of
    /// this crate aside; else [`Multiple`](Self::Multiple), as everywhere but on Linux. What runs on threads of this crate,
    /// a waker or a fold at the hub, makes no calls; it may drop what there is.
    #[default]
    Auto,
    /// Any number of threads and tasks, at any time (`MPI_THREAD_MULTIPLE`).
    Multiple,
    /// One thread alone. While it waits in [`Request::wait`](crate::Request::wait), this rank makes no other call, and
    /// says so to the hub: where ranks then wait for each other, their calls fail with
    /// [`Error::Deadlock`](crate::Error::Deadlock) instead of waiting for ever.
    Single,
}

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Multiple => "multiple",
            Self::Single => "single",
        })
    }
}

pub(super) fn parse_threads(text: &str) -> Result<Threads, String> {
    [Threads::Auto, Threads::Multiple, Threads::Single]
        .into_iter()
        .find(|threads| threads.to_string() == text)
        .ok_or_else(|| "auto, single (one thread makes all calls) or multiple".into())
}

pub(super) fn parse_addr(text: &str) -> Result<Option<(String, Option<u16>)>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    split_address(text)
        .filter(|(_, port)| *port != Some(0))
        .map(Some)
        .ok_or_else(|| "the hub's address, such as example.org:61642, 192.0.2.1 or [2001:db8::1]:61642".into())
}

pub(super) fn parse_listen(text: &str) -> Result<(String, Option<u16>), String> {
    split_address(text).ok_or_else(|| {
        "an address of this machine, such as 127.0.0.1, 0.0.0.0 (every interface) or 0.0.0.0:61642".into()
    })
}

/// Host and port of `host`, `host:port`, `[IPv6]:port`, `[IPv6]` or a bare IPv6 address.
pub(crate) fn split_address(text: &str) -> Option<(String, Option<u16>)> {
    let is_name = |host: &str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    };
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']')?;
        let port = match rest {
            "" => None,
            _ => Some(parse_digits(rest.strip_prefix(':')?)?),
        };
        return host.parse::<Ipv6Addr>().ok().map(|_| (host.to_owned(), port));
    }
    match text.split_once(':') {
        None => is_name(text).then(|| (text.to_owned(), None)),
        Some((_, rest)) if rest.contains(':') => text.parse::<Ipv6Addr>().ok().map(|_| (text.to_owned(), None)),
        Some((host, port)) => is_name(host).then_some((host.to_owned(), Some(parse_digits(port)?))),
    }
}

/// A number of plain digits: no sign, no space.
fn parse_digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

pub(super) fn parse_port(text: &str) -> Result<u16, String> {
    parse_digits(text).filter(|port| *port != 0).ok_or_else(|| "a port from 1 to 65535".into())
}

pub(super) fn parse_size(text: &str) -> Result<u32, String> {
    parse_digits(text)
        .filter(|size| (1..=MAX_SIZE).contains(size))
        .ok_or_else(|| format!("a number of ranks from 1 to {MAX_SIZE}"))
}

pub(super) fn parse_rank(text: &str) -> Result<u32, String> {
    parse_digits(text)
        .filter(|rank| *rank < MAX_SIZE)
        .ok_or_else(|| "a rank: a whole number from 0 to one less than the number of ranks".into())
}

pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    parse_digits(text)
        .map(Duration::from_secs)
        .or_else(|| humantime::parse_duration(text).ok())
        .ok_or_else(|| "a duration, such as 30s, 2min, 500ms, 50us or 30 (seconds)".into())
}

/// Bytes, with the binary units alone, because people disagree on what 1 MB is.
pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start_matches(' ') {
        "" | "B" => Some(0),
        "KiB" => Some(10),
        "MiB" => Some(20),
        "GiB" => Some(30),
        "TiB" => Some(40),
        _ => None,
    };
    shift
        .and_then(|shift| parse_digits::<u64>(number)?.checked_mul(1 << shift))
        .ok_or_else(|| "a size, such as 65536 (bytes), 64KiB, 64MiB or 1GiB".into())
}

pub(super) fn parse_message_size(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        0 => Err("a size of at least one byte, such as 64MiB or 1GiB".into()),
        bytes => Ok(bytes),
    }
}

/// A name that fits beside a Hello.
pub(super) fn parse_world(text: &str) -> Result<String, String> {
    let max = MAX_HELLO_PAYLOAD as usize;
    if text.len() <= max { Ok(text.to_owned()) } else { Err(format!("a name of at most {max} bytes")) }
}

pub(super) fn parse_link(text: &str, links: &[&str]) -> Result<String, String> {
    if links.contains(&text) { Ok(text.to_owned()) } else { Err(format!("the name of a link: {}", links.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        for (text, milliseconds) in
            [("30s", 30_000), ("2min", 120_000), ("500ms", 500), ("2000us", 2), ("7", 7_000), ("1m 1s", 61_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "-1", "1 fortnight", "99999999999999999999"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for (text, bytes) in [("65536", 65_536), ("0", 0), ("7B", 7), ("64 MiB", 64 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "1MB", "1M", "-1", "+1", "1.5GiB", "1 0", "16777216TiB", "99999999999999999999"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
