//! `edgempi hub`: a hub as a process of its own, for a world without a rank that outlives the others.

use edgempi::config::Config;

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
