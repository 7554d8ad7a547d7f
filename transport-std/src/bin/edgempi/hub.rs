//! `edgempi hub`: a hub as a process of its own, for a world without a rank that outlives the others.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use edgempi::Error;
use edgempi::config::{Config, Field, Origin};
use edgempi::hub::{Registry, Report, Server, snapshot};

use crate::{say, signals};

/// Serve as the hub of a world
///
/// Ranks find it by EDGEMPI_ADDR. Without a hub of its own, a world's hub is in the process of rank 0.
///
/// The hub ends with its world, when all ranks have finished or failed; its last line says how many did which. Its exit
/// code is 0 then, even if ranks have failed: whether they have is for their own exit codes to say. It is 1 if the hub
/// can't serve, 2 for a wrong use, and 128 + the signal if one ended it; the ranks that are still there then learn that
/// it has gone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    edgempi hub --size 4 --listen 0.0.0.0   one world, of ranks on any machine\n  \
    edgempi hub --size 4 --forever          world after world, of ranks on this machine\n  \
    edgempi hub --status 192.0.2.1:61642    what the ranks of a running world do\n\n\
    RUST_LOG=warn leaves out who comes and goes, RUST_LOG=debug says more.")]
pub struct Arguments {
    /// How many ranks the world has [default: EDGEMPI_SIZE]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(edgempi::config::MAX_SIZE)))]
    size: Option<u32>,

    /// Address to listen on, as host or host:port; 0.0.0.0 is every interface, port 0 any free port
    /// [default: EDGEMPI_LISTEN, or 127.0.0.1, with EDGEMPI_PORT]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,

    /// Ask the hub at this address for a snapshot of its world, and print that: its ranks and what each does, operations
    /// in flight and who is missing, what waits unmatched, what the hub holds. The world's name is that of EDGEMPI_WORLD
    /// [default address: EDGEMPI_ADDR, or 127.0.0.1, with EDGEMPI_PORT]
    #[arg(long, value_name = "ADDR", num_args = 0..=1, conflicts_with_all = ["size", "listen", "forever"])]
    status: Option<Option<String>>,

    /// Print it as JSON, for scripts
    #[arg(long, requires = "status")]
    json: bool,

    /// Go on with a new world when one has ended, instead of exiting; only a signal ends the hub
    #[arg(long)]
    forever: bool,
}

impl Arguments {
    /// The configuration that the arguments ask for. A hub has no rank; rank 0 keeps a size without one from being
    /// taken for a mistake.
    fn config(&self) -> Config {
        let mut config = Config::new().rank(0);
        if let Some(size) = self.size {
            config = config.size(size);
        }
        if let Some(listen) = &self.listen {
            config = config.listen(listen);
        }
        config
    }
}

/// How long a question waits for a hub, unless EDGEMPI_WAIT says: it is about a world that runs.
const ASK_WAIT: Duration = Duration::from_secs(3);

/// Asks a hub how its world is, and returns the exit code.
fn print_snapshot(address: Option<&str>, json: bool) -> u8 {
    // Whoever asks is no rank; the environment may well say which one would be.
    let config = Config::new().size(1).rank(0);
    let config = match address {
        Some(address) => config.addr(address),
        None => config,
    };
    let config = match config.resolve(edgempi::link::NAMES) {
        Ok(resolved) if resolved.origin(Field::Wait) == Origin::Default => config.wait(ASK_WAIT),
        _ => config,
    };
    let snapshot = match snapshot(&config) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            say(&error);
            return if let Error::Config(_) = error { 2 } else { 1 };
        }
    };
    let text = if json { serde_json::to_string_pretty(&snapshot) } else { Ok(snapshot.to_string()) };
    match text.map_err(io::Error::from).and_then(|text| writeln!(io::stdout().lock(), "{text}")) {
        Ok(()) => 0,
        Err(error) => {
            say(format_args!("the snapshot can not be printed: {error}"));
            1
        }
    }
}

/// Serves, and returns the exit code.
pub fn execute(arguments: &Arguments) -> u8 {
    if let Some(address) = &arguments.status {
        return print_snapshot(address.as_deref(), arguments.json);
    }
    let config = arguments.config();
    let world = match config.resolve(edgempi::link::NAMES) {
        Err(error) => {
            say(Error::from(error));
            return 2;
        }
        Ok(resolved) if resolved.origin(Field::Size) == Origin::Default => {
            say("how many ranks has the world? Say --size N, or set EDGEMPI_SIZE");
            return 2;
        }
        Ok(resolved) => resolved.world,
    };
    let server = match Server::bind(&config, Registry::new()) {
        Ok(server) => server,
        Err(error) => {
            say(error);
            return 1;
        }
    };
    let (stop, code) = (server.stop(), Arc::new(AtomicU8::new(0)));
    let signalled = code.clone();
    let listening = signals::listen(move |signal| {
        say(format_args!("{}: the ranks are told that the hub goes", signal.name()));
        signalled.store(128 + signal.number(), Ordering::SeqCst);
        stop.stop();
    });
    if let Err(error) = listening {
        say(format_args!("signals can not be handled: {error}"));
        return 1;
    }
    say(format_args!("hub of a world of {} at {}", ranks(server.size()), server.local_addr()));
    say(format_args!("start each rank with {}", hint(server.local_addr(), server.size(), &world)));
    loop {
        let report = match server.serve() {
            Ok(report) => report,
            Err(error) => {
                say(error);
                return 1;
            }
        };
        let stopped = server.stop().is_stopped();
        say(summary(&report, server.size(), stopped));
        if stopped {
            return code.load(Ordering::SeqCst);
        }
        if !arguments.forever {
            return 0;
        }
        say(format_args!("ready for the next world, at {}", server.local_addr()));
    }
}

/// The variables by which ranks find the hub.
fn hint(address: SocketAddr, size: u32, world: &str) -> String {
    // Where the hub listens on every interface, only the user knows by which name the ranks can reach it.
    let reachable =
        if address.ip().is_unspecified() { format!("HOST:{}", address.port()) } else { address.to_string() };
    let rank = if size == 1 { "0".to_owned() } else { format!("0 to {}", size - 1) };
    let world = if world.is_empty() { String::new() } else { format!(" EDGEMPI_WORLD={world}") };
    format!("EDGEMPI_ADDR={reachable} EDGEMPI_SIZE={size} EDGEMPI_RANK={rank}{world}")
}

/// How a world has ended, in a line.
fn summary(report: &Report, size: u32, stopped: bool) -> String {
    // So many failures are named; the log has them all.
    const NAMED: usize = 3;
    let ended = if stopped { "stopped" } else { "the world has ended" };
    let time = humantime::format_duration(Duration::from_millis(report.duration.as_millis() as u64));
    let mut text = format!("{ended} after {time}: {} of {} finished", report.finished, ranks(size));
    for (rank, reason) in report.failed.iter().take(NAMED) {
        text += &format!(", rank {rank} failed ({reason})");
    }
    if report.failed.len() > NAMED {
        text += &format!(", {} more failed", report.failed.len() - NAMED);
    }
    text + &format!("; {} received, {} sent", bytes(report.traffic.received), bytes(report.traffic.sent))
}

fn ranks(count: u32) -> String {
    if count == 1 { "1 rank".to_owned() } else { format!("{count} ranks") }
}

/// A number of bytes for people.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    let mut scaled = count as f64;
    let mut name = "bytes";
    for unit in UNITS {
        if scaled < 999.95 {
            break;
        }
        (scaled, name) = (scaled / 1000.0, unit);
    }
    if name == "bytes" { format!("{count} bytes") } else { format!("{scaled:.1} {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_bytes_read_well() {
        let texts = [0, 999, 1000, 999_949, 999_950, 1_250_000, 5 << 40].map(bytes);
        assert_eq!(texts, ["0 bytes", "999 bytes", "1.0 kB", "999.9 kB", "1.0 MB", "1.2 MB", "5.5 TB"]);
    }

    #[test]
    fn a_hint_for_ranks_can_be_copied() {
        let hint = |address: &str, size| hint(address.parse().unwrap(), size, "");
        assert_eq!(hint("127.0.0.1:7", 1), "EDGEMPI_ADDR=127.0.0.1:7 EDGEMPI_SIZE=1 EDGEMPI_RANK=0");
        assert_eq!(hint("[::1]:7", 3), "EDGEMPI_ADDR=[::1]:7 EDGEMPI_SIZE=3 EDGEMPI_RANK=0 to 2");
        assert_eq!(hint("0.0.0.0:7", 2), "EDGEMPI_ADDR=HOST:7 EDGEMPI_SIZE=2 EDGEMPI_RANK=0 to 1");
    }
}
