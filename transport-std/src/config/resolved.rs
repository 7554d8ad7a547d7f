//! What is in effect: each setting from whoever comes first in setting it, checked.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use edgempi_core::Rank;

use super::parse::{
    parse_addr, parse_bytes, parse_duration, parse_link, parse_listen, parse_message_size, parse_port, parse_rank,
    parse_size, parse_threads, parse_world,
};
use super::{Address, Config, ConfigError, Field, Origin, SETTINGS, Setting, Threads};

/// What [`Config::explain`] finds out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// One row for each of [`SETTINGS`], in that order.
    pub rows: Vec<Row>,
    /// The settings together, or the first that can't be right. A rank may be wrong although its row by itself is not.
    pub outcome: Result<Resolved, ConfigError>,
}

/// One setting as it is in effect.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// The setting.
    pub setting: &'static Setting,
    /// Who set it.
    pub origin: Origin,
    /// The value as it was written, or what is wrong with it.
    pub value: Result<String, ConfigError>,
}

/// Every setting as it is in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The hub's address; if none, rank 0 hosts the hub on [`listen`](Self::listen).
    pub addr: Option<Address>,
    /// Where a hub of this process listens.
    pub listen: Address,
    /// How many ranks the world has.
    pub size: u32,
    /// Which of them this process is.
    pub rank: Rank,
    /// How long to wait for the hub and for the other ranks.
    pub wait: Duration,
    /// The largest message, in bytes.
    pub message_size: u64,
    /// How many bytes of one rank the hub holds before another rank asks for them.
    pub queue_size: u64,
    /// The name of the link to the hub.
    pub proto: String,
    /// The name of the world; may be empty.
    pub world: String,
    /// How long whoever waits looks for frames before it sleeps.
    pub spin: Duration,
    /// Which threads of this process make calls.
    pub threads: Threads,
    /// How long a call waits for other ranks before a hub of this process says so; zero is never.
    pub slow: Duration,
    origins: [Origin; SETTINGS.len()],
}

impl Resolved {
    /// Who set this field.
    pub fn origin(&self, field: Field) -> Origin {
        self.origins[field as usize]
    }

    /// The address at which this process reaches the hub: [`addr`](Self::addr), or that of rank 0 on this machine.
    pub fn hub(&self) -> Address {
        if let Some(addr) = &self.addr {
            return addr.clone();
        }
        // Nobody can dial "every interface"; the loopback one is among them.
        let host = match self.listen.host.parse() {
            Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ipv4Addr::LOCALHOST.to_string(),
            Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Ipv6Addr::LOCALHOST.to_string(),
            _ => self.listen.host.clone(),
        };
        Address { host, port: self.listen.port }
    }

    fn check_rank(&self) -> Result<(), ConfigError> {
        let (size, size_origin, rank_origin) = (self.size, self.origin(Field::Size), self.origin(Field::Rank));
        if let (Origin::Variable(variable), Origin::Default, 2..) = (size_origin, rank_origin, size) {
            return Err(ConfigError::RankMissing { variable, size });
        }
        if self.rank >= size {
            return Err(ConfigError::RankOutOfRange { rank: self.rank.get(), rank_origin, size, size_origin });
        }
        Ok(())
    }
}

impl Config {
    /// As [`resolve_from`](Self::resolve_from), with a row to print for each setting, good or bad.
    pub fn explain(&self, links: &[&str], lookup: impl Fn(&str) -> Option<OsString>) -> Explanation {
        let mut reader = Reader { config: self, lookup, rows: Vec::with_capacity(SETTINGS.len()) };
        let addr = reader.read(Field::Addr, parse_addr);
        let listen = reader.read(Field::Listen, parse_listen);
        let port = reader.read(Field::Port, parse_port);
        let size = reader.read(Field::Size, parse_size);
        let rank = reader.read(Field::Rank, parse_rank);
        let wait = reader.read(Field::Wait, parse_duration);
        let message_size = reader.read(Field::MessageSize, parse_message_size);
        let queue_size = reader.read(Field::QueueSize, parse_bytes);
        let proto = reader.read(Field::Proto, |text| parse_link(text, links));
        let world = reader.read(Field::World, parse_world);
        let spin = reader.read(Field::Spin, parse_duration);
        let threads = reader.read(Field::Threads, parse_threads);
        let slow = reader.read(Field::Slow, parse_duration);
        let rows = reader.rows;
        let origins = std::array::from_fn(|index| rows.get(index).map_or(Origin::Default, |row| row.origin));
        let outcome = (|| {
            let (addr, listen, port) = (addr?, listen?, port?);
            let with_port = |(host, own): (String, Option<u16>)| Address { host, port: own.unwrap_or(port) };
            let resolved = Resolved {
                addr: addr.map(with_port),
                listen: with_port(listen),
                size: size?,
                rank: Rank::new(rank?),
                wait: wait?,
                message_size: message_size?,
                queue_size: queue_size?,
                proto: proto?,
                world: world?,
                spin: spin?,
                threads: threads?,
                slow: slow?,
                origins,
            };
            resolved.check_rank()?;
            Ok(resolved)
        })();
        Explanation { rows, outcome }
    }
}

/// Reads one field after the other and keeps a row of each.
struct Reader<'a, Lookup> {
    config: &'a Config,
    lookup: Lookup,
    rows: Vec<Row>,
}

impl<Lookup: Fn(&str) -> Option<OsString>> Reader<'_, Lookup> {
    /// The field's value; `parse` says in its error what would be right.
    fn read<T>(&mut self, field: Field, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        debug_assert_eq!(self.rows.len(), field as usize, "rows come in the order of SETTINGS");
        let (origin, text) = self.find(field);
        let parsed = text.and_then(|text| match parse(&text) {
            Ok(value) => Ok((text, value)),
            Err(expected) => Err(ConfigError::Invalid { field, origin, value: text, expected }),
        });
        let (value, parsed) = match parsed {
            Ok((text, value)) => (Ok(text), Ok(value)),
            Err(error) => (Err(error.clone()), Err(error)),
        };
        self.rows.push(Row { setting: field.setting(), origin, value });
        parsed
    }

    fn find(&self, field: Field) -> (Origin, Result<String, ConfigError>) {
        let setting = field.setting();
        if let Some(text) = &self.config.given[field as usize] {
            return (Origin::Code, Ok(text.clone()));
        }
        for &variable in setting.variables {
            if let Some(value) = (self.lookup)(variable).filter(|value| !value.is_empty()) {
                let text = value.into_string().map_err(|value| ConfigError::NotUnicode { field, variable, value });
                return (Origin::Variable(variable), text);
            }
        }
        (Origin::Default, Ok(setting.default.to_owned()))
    }
}
