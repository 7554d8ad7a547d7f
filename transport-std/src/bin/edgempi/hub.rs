//! `edgempi hub`: a hub as a process of its own, for a world without a rank that outlives the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use edgempi::Error;
use edgempi::config::{Config, Field, Origin};
use edgempi::hub::{Registry, Server};

use crate::{say, signals};

/// Serve as the hub of a world
///
/// Ranks find it by EDGEMPI_ADDR. Without a hub of its own, a world's hub is in the process of rank 0.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgempi hub --size 4 --listen 0.0.0.0")]
pub struct Arguments {
    /// How many ranks the world has [default: EDGEMPI_SIZE]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(edgempi::config::MAX_SIZE)))]
    size: Option<u32>,

    /// Address to listen on, as host or host:port; 0.0.0.0 is every interface, port 0 any free port
    /// [default: EDGEMPI_LISTEN, or 127.0.0.1, with EDGEMPI_PORT]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,

    /// Go on with a new world when one has ended, instead of exiting
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

/// Serves, and returns the exit code.
pub fn execute(arguments: &Arguments) -> u8 {
    let config = arguments.config();
    match config.resolve(edgempi::link::NAMES) {
        Err(error) => {
            say(Error::from(error));
            return 2;
        }
        Ok(resolved) if resolved.origin(Field::Size) == Origin::Default => {
            say("how many ranks has the world? Say --size N, or set EDGEMPI_SIZE");
            return 2;
        }
        Ok(_) => {}
    }
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
        signalled.store(128 + signal.number(), Ordering::SeqCst);
        stop.stop();
    });
    if let Err(error) = listening {
        say(format_args!("signals can not be handled: {error}"));
        return 1;
    }
    loop {
        say(format_args!("hub of a world of {} ranks at {}", server.size(), server.local_addr()));
        if let Err(error) = server.serve() {
            say(error);
            return 1;
        }
        if !arguments.forever || server.stop().is_stopped() {
            return code.load(Ordering::SeqCst);
        }
    }
}
