//! `edgempi bridge`: a hub for a board that has nothing but a serial line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use edgempi::Error;
use edgempi::bridge::{Bridge, DEFAULT_BAUD, Line};
use edgempi::config::Config;

use crate::{say, signals};

/// Carry the frames of a board on a serial line to a hub
///
/// Serves until it is interrupted: opens the line again when it is lost, and connects to the hub whenever the board
/// begins a session.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    edgempi bridge --serial /dev/ttyUSB0 --baud 921600 --hub 192.0.2.1\n  \
    edgempi bridge --serial 127.0.0.1:4000        dial QEMU with -serial tcp:127.0.0.1:4000,server=on\n  \
    edgempi bridge --serial listen:127.0.0.1:4000 wait for QEMU with -serial tcp:127.0.0.1:4000")]
pub struct Arguments {
    /// The board's line: a device, an address host:port to dial, or listen:host:port (port 0 is any free port)
    #[arg(long, value_name = "DEVICE|ADDR")]
    serial: String,

    /// Bits per second of a device; 8 data bits, no parity, 1 stop bit
    #[arg(long, value_name = "RATE", default_value_t = DEFAULT_BAUD, value_parser = clap::value_parser!(u32).range(1..))]
    baud: u32,

    /// Address of the hub, as host or host:port [default: EDGEMPI_ADDR, or 127.0.0.1, with EDGEMPI_PORT]
    #[arg(long, value_name = "ADDR")]
    hub: Option<String>,
}

impl Arguments {
    /// The configuration that the arguments ask for. A bridge is no rank; see [`crate::hub`].
    fn config(&self) -> Config {
        let config = Config::new().rank(0);
        match &self.hub {
            Some(hub) => config.addr(hub),
            None => config,
        }
    }
}

/// Serves, and returns the exit code.
pub fn execute(arguments: &Arguments) -> u8 {
    let bridge =
        Line::parse(&arguments.serial, arguments.baud).and_then(|line| Bridge::open(line, &arguments.config()));
    let bridge = match bridge {
        Ok(bridge) => bridge,
        Err(error) => {
            let is_setting = matches!(error, Error::Config(_));
            say(error);
            return if is_setting { 2 } else { 1 };
        }
    };
    let (stop, code) = (bridge.stop(), Arc::new(AtomicU8::new(0)));
    let signalled = code.clone();
    let listening = signals::listen(move |signal| {
        signalled.store(128 + signal.number(), Ordering::SeqCst);
        stop.stop();
    });
    if let Err(error) = listening {
        say(format_args!("signals can not be handled: {error}"));
        return 1;
    }
    say(format_args!("bridge from the serial line {} to the hub at {}", bridge.line(), bridge.hub()));
    if let Err(error) = bridge.serve() {
        say(error);
        return 1;
    }
    code.load(Ordering::SeqCst)
}
