//! Where a process finds its world: who it is, where the hub listens, how much may be in flight.
//!
//! [`Config`] takes each setting from the program's code, else from the environment, else from the default, so that a
//! program started alone, by `edgempi run`, by `mpirun` or by SLURM's `srun` finds its place without a line of code.
//! Where there are several variables the first that is set and not empty counts. `edgempi config` prints what is in
//! effect and where it comes from. A variable that begins with `EDGEMPI_` and is none of these has no effect, and is
//! [warned of](unknown_variables).
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `EDGEMPI_ADDR` | none | address of the hub, as host:port, or host alone with the port from `EDGEMPI_PORT`; if unset, rank 0 hosts the hub |
//! | `EDGEMPI_LISTEN` | `127.0.0.1` | address on which a hub (that of rank 0, or `edgempi hub`) listens; may carry a port |
//! | `EDGEMPI_PORT` | `61642` | port of the hub, where the address carries none |
//! | `EDGEMPI_SIZE`, `OMPI_COMM_WORLD_SIZE`, `PMI_SIZE`, `SLURM_NTASKS`, `SLURM_NPROCS` | `1` | number of ranks in the world |
//! | `EDGEMPI_RANK`, `OMPI_COMM_WORLD_RANK`, `PMI_RANK`, `PMIX_RANK`, `SLURM_PROCID` | `0` | rank of this process |
//! | `EDGEMPI_WAIT` | `30s` | how long to wait for the hub and for the other ranks: 30s, 2min, 500ms, or seconds |
//! | `EDGEMPI_MSG_SIZE` | `4GiB` | largest message: 64MiB, 1GiB, or bytes |
//! | `EDGEMPI_QUEUE_SIZE` | `4MiB` | bytes of one rank that the hub holds before another rank asks for them |
//! | `EDGEMPI_PROTO` | `auto` | link to the hub: tcp, unix (Linux, hub on the same machine), or auto: unix where it leads to a hub of the same user or root, else tcp |
//! | `EDGEMPI_WORLD` | none | name of the world, the same on all its ranks; keeps two jobs on one hub port apart |
//! | `EDGEMPI_SPIN` | `50us` | how long whoever waits looks for frames, giving way to others in between, before it sleeps: 50us, 1ms, or seconds; 0 saves the most power |
//! | `EDGEMPI_THREADS` | `auto` | threads that make calls in this process: single lets the hub fail what it waits for in a deadlock; multiple is any number; auto is single while a thread waits that is the only one of its process (Linux) |
//! | `EDGEMPI_SLOW` | `60s` | how long a call waits for other ranks before the hub says so; 0 is never |
//!
//! ```
//! use edgempi::config::{Config, Field, Origin};
//!
//! let environment = |name: &str| (name == "SLURM_NTASKS").then(|| "8".into());
//! let resolved = Config::new().rank(2).resolve_from(&["auto", "tcp"], environment)?;
//! assert_eq!((resolved.rank.get(), resolved.size), (2, 8));
//! assert_eq!(resolved.origin(Field::Size), Origin::Variable("SLURM_NTASKS"));
//! # Ok::<(), edgempi::config::ConfigError>(())
//! ```

mod error;
mod parse;
mod resolved;
mod setting;
mod unknown;

use std::ffi::OsString;
use std::time::Duration;

pub use error::ConfigError;
#[cfg(feature = "bridge")]
pub(crate) use parse::split_address;
pub use parse::{Address, Threads};
pub use resolved::{Explanation, Resolved, Row};
pub use setting::{Field, Origin, SETTINGS, Setting};
pub(crate) use unknown::meant_by;
pub use unknown::unknown_variables;

/// The largest number of ranks that a world may have.
pub const MAX_SIZE: u32 = 1_000_000;

/// What the program itself sets; the rest comes from the environment and the defaults.
///
/// Nothing is checked before [`resolve`](Self::resolve), so that all sources report mistakes in the same way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Config {
    given: [Option<String>; SETTINGS.len()],
}

impl Config {
    /// Nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The hub's address, as `host:port`, or as `host` with [`port`](Self::port). Empty: rank 0 hosts the hub.
    pub fn addr(self, addr: impl Into<String>) -> Self {
        self.set(Field::Addr, addr.into())
    }

    /// The address on which a hub of this process listens, as `host` or `host:port`; port 0 takes any free one.
    pub fn listen(self, listen: impl Into<String>) -> Self {
        self.set(Field::Listen, listen.into())
    }

    /// The hub's port, where [`addr`](Self::addr) and [`listen`](Self::listen) carry none.
    pub fn port(self, port: u16) -> Self {
        self.set(Field::Port, port.to_string())
    }

    /// How many ranks the world has, 1 to [`MAX_SIZE`].
    pub fn size(self, size: u32) -> Self {
        self.set(Field::Size, size.to_string())
    }

    /// Which of them this process is, from 0.
    pub fn rank(self, rank: u32) -> Self {
        self.set(Field::Rank, rank.to_string())
    }

    /// How long to wait for the hub and for the other ranks.
    pub fn wait(self, wait: Duration) -> Self {
        self.set(Field::Wait, humantime::format_duration(wait).to_string())
    }

    /// The largest message, in bytes.
    pub fn message_size(self, bytes: u64) -> Self {
        self.set(Field::MessageSize, bytes.to_string())
    }

    /// How many bytes of one rank the hub holds before another rank asks for them.
    pub fn queue_size(self, bytes: u64) -> Self {
        self.set(Field::QueueSize, bytes.to_string())
    }

    /// The name of the link to the hub.
    pub fn proto(self, proto: impl Into<String>) -> Self {
        self.set(Field::Proto, proto.into())
    }

    /// The name of the world, at most 256 bytes.
    pub fn world(self, world: impl Into<String>) -> Self {
        self.set(Field::World, world.into())
    }

    /// How long whoever waits looks for frames before it sleeps.
    pub fn spin(self, spin: Duration) -> Self {
        self.set(Field::Spin, humantime::format_duration(spin).to_string())
    }

    /// Which threads of this process make calls.
    pub fn threads(self, threads: Threads) -> Self {
        self.set(Field::Threads, threads.to_string())
    }

    /// How long a call waits for other ranks before the hub of this process says so; zero is never.
    pub fn slow(self, slow: Duration) -> Self {
        self.set(Field::Slow, humantime::format_duration(slow).to_string())
    }

    fn set(mut self, field: Field, text: String) -> Self {
        self.given[field as usize] = Some(text);
        self
    }

    /// Every setting as it is in effect, with the environment of this process. `links` are the names of known links.
    ///
    /// # Errors
    ///
    /// The first setting that can't be right.
    pub fn resolve(&self, links: &[&str]) -> Result<Resolved, ConfigError> {
        self.resolve_from(links, |name| std::env::var_os(name))
    }

    /// As [`resolve`](Self::resolve), with the environment that `lookup` gives.
    ///
    /// # Errors
    ///
    /// The first setting that can't be right.
    pub fn resolve_from(
        &self,
        links: &[&str],
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Resolved, ConfigError> {
        self.explain(links, lookup).outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        |name| variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.into())
    }

    fn resolve(config: &Config, variables: &[(&str, &str)]) -> Result<Resolved, ConfigError> {
        config.resolve_from(&["auto", "tcp", "unix"], environment(variables))
    }

    fn error(variables: &[(&str, &str)]) -> String {
        resolve(&Config::new(), variables).unwrap_err().to_string()
    }

    /// The row of a Markdown table, for the documentation.
    fn markdown(setting: &Setting) -> String {
        let variables: Vec<_> = setting.variables.iter().map(|variable| format!("`{variable}`")).collect();
        let default = if setting.default.is_empty() { "none".into() } else { format!("`{}`", setting.default) };
        format!("| {} | {default} | {} |", variables.join(", "), setting.meaning)
    }

    #[test]
    fn settings_are_in_the_order_of_their_fields() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            assert_eq!(setting.field as usize, index);
        }
    }

    #[test]
    fn documentation_shows_the_same_table() {
        let expected: Vec<_> = SETTINGS.iter().map(markdown).collect();
        let rows = |text: &str, comment: &str| -> Vec<String> {
            text.lines().filter_map(|line| line.strip_prefix(comment)).map(str::to_owned).collect()
        };
        let mut module = rows(include_str!("mod.rs"), "//! ");
        module.retain(|line| line.starts_with("| `"));
        assert_eq!(module, expected);
        for readme in ["README.md", "../README.md"] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(readme);
            // It is beside the crate in a package, and above it in the repository.
            let Ok(text) = std::fs::read_to_string(path) else { continue };
            let mut table = rows(&text, "");
            table.retain(|line| line.starts_with("| `EDGEMPI_"));
            assert!(table == expected, "{readme} should have:\n{}", expected.join("\n"));
        }
    }

    #[test]
    fn everything_has_a_default() {
        let resolved = resolve(&Config::new(), &[]).unwrap();
        assert_eq!((resolved.rank.get(), resolved.size), (0, 1));
        assert_eq!(resolved.addr, None);
        assert_eq!(resolved.listen.to_string(), "127.0.0.1:61642");
        assert_eq!(resolved.hub().to_string(), "127.0.0.1:61642");
        assert_eq!(resolved.wait, Duration::from_secs(30));
        assert_eq!((resolved.message_size, resolved.queue_size), (4 << 30, 4 << 20));
        assert_eq!((resolved.proto.as_str(), resolved.world.as_str()), ("auto", ""));
        for setting in SETTINGS {
            assert_eq!(resolved.origin(setting.field), Origin::Default);
        }
    }

    #[test]
    fn code_wins_over_environment() {
        let config = Config::new()
            .addr("hub.example")
            .listen("[::]:7000")
            .port(7001)
            .size(8)
            .rank(7)
            .wait(Duration::new(90, 5))
            .message_size(10)
            .queue_size(0)
            .proto("unix")
            .world("job 1")
            .spin(Duration::from_micros(7))
            .threads(Threads::Single)
            .slow(Duration::from_secs(3));
        let wrong: Vec<_> = SETTINGS.iter().flat_map(|setting| setting.variables).map(|name| (*name, "?")).collect();
        let resolved = resolve(&config, &wrong).unwrap();
        assert_eq!(resolved.hub().to_string(), "hub.example:7001");
        assert_eq!(resolved.listen.to_string(), "[::]:7000");
        assert_eq!((resolved.rank.get(), resolved.size), (7, 8));
        assert_eq!(resolved.wait, Duration::new(90, 5));
        assert_eq!((resolved.message_size, resolved.queue_size), (10, 0));
        assert_eq!((resolved.proto.as_str(), resolved.world.as_str()), ("unix", "job 1"));
        assert_eq!((resolved.origin(Field::World), resolved.spin), (Origin::Code, Duration::from_micros(7)));
        assert_eq!((resolved.threads, resolved.slow), (Threads::Single, Duration::from_secs(3)));
    }

    #[test]
    fn durations_from_code_keep_their_value() {
        for wait in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(400 * 86_400), Duration::MAX] {
            assert_eq!(resolve(&Config::new().wait(wait), &[]).map(|resolved| resolved.wait), Ok(wait));
        }
    }

    #[test]
    fn the_first_variable_that_is_set_counts_and_empty_is_unset() {
        let variables =
            [("EDGEMPI_SIZE", ""), ("PMI_SIZE", "4"), ("SLURM_NTASKS", "9"), ("PMI_RANK", "3"), ("EDGEMPI_WORLD", "")];
        let resolved = resolve(&Config::new(), &variables).unwrap();
        assert_eq!((resolved.rank.get(), resolved.size), (3, 4));
        assert_eq!(resolved.origin(Field::Size), Origin::Variable("PMI_SIZE"));
        assert_eq!(resolved.origin(Field::Rank), Origin::Variable("PMI_RANK"));
        assert_eq!(resolved.origin(Field::World), Origin::Default);
    }

    #[test]
    fn addresses() {
        let hub = |addr: &str| resolve(&Config::new().addr(addr), &[]).map(|resolved| resolved.hub().to_string()).ok();
        for (text, expected) in [
            ("", "127.0.0.1:61642"),
            ("host", "host:61642"),
            ("my-host.example:1", "my-host.example:1"),
            ("192.0.2.1:65535", "192.0.2.1:65535"),
            ("::1", "[::1]:61642"),
            ("[::1]", "[::1]:61642"),
            ("[2001:db8::1]:9", "[2001:db8::1]:9"),
        ] {
            assert_eq!(hub(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            ":1",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "tcp://host:1",
            "[::1",
            "[::1]1",
            "a:b:c",
            "a b",
            "[h]:1",
        ] {
            assert_eq!(hub(text), None, "{text}");
        }
    }

    #[test]
    fn ranks_dial_loopback_when_rank_0_listens_everywhere() {
        let hub = |listen: &str| resolve(&Config::new().listen(listen), &[]).unwrap().hub().to_string();
        assert_eq!(hub("0.0.0.0:7000"), "127.0.0.1:7000");
        assert_eq!(hub("::"), "[::1]:61642");
        assert_eq!(hub("192.0.2.1"), "192.0.2.1:61642");
        assert_eq!(hub("127.0.0.1:0"), "127.0.0.1:0");
    }

    #[test]
    fn errors_name_the_variable_and_what_would_be_right() {
        assert_eq!(
            error(&[("EDGEMPI_SIZE", "four")]),
            "EDGEMPI_SIZE=four: expected a number of ranks from 1 to 1000000"
        );
        assert_eq!(
            error(&[("EDGEMPI_PROTO", "tpc")]),
            "EDGEMPI_PROTO=tpc: expected the name of a link: auto, tcp, unix"
        );
        assert_eq!(error(&[("EDGEMPI_PORT", "0")]), "EDGEMPI_PORT=0: expected a port from 1 to 65535");
        assert!(error(&[("EDGEMPI_WAIT", "soon")]).starts_with("EDGEMPI_WAIT=soon: expected a duration, such as 30s"));
        assert!(error(&[("EDGEMPI_MSG_SIZE", "1MB")]).starts_with("EDGEMPI_MSG_SIZE=1MB: expected a size"));
        assert!(error(&[("EDGEMPI_MSG_SIZE", "0")]).contains("at least one byte"));
        assert!(error(&[("EDGEMPI_WORLD", &"x".repeat(257))]).ends_with("expected a name of at most 256 bytes"));
        assert!(resolve(&Config::new().world("x".repeat(256)), &[]).is_ok());
        for size in [0, MAX_SIZE + 1] {
            let expected = format!("Config::size({size}): expected a number of ranks from 1 to 1000000");
            assert_eq!(resolve(&Config::new().size(size), &[]).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn rank_beyond_the_size() {
        let error = resolve(&Config::new().size(4), &[("PMI_RANK", "4")]).unwrap_err();
        let (rank_origin, size_origin) = (Origin::Variable("PMI_RANK"), Origin::Code);
        assert_eq!(error, ConfigError::RankOutOfRange { rank: 4, rank_origin, size: 4, size_origin });
        let expected = "PMI_RANK=4 does not exist in a world of 4 (set by Config::size): ranks go from 0 to 3; ";
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[test]
    fn rank_without_a_size() {
        let text = error(&[("PMIX_RANK", "1")]);
        let expected = "PMIX_RANK=1 does not exist in a world of 1 (the default, because EDGEMPI_SIZE is not set)";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn size_without_a_rank() {
        let variables = [("OMPI_COMM_WORLD_SIZE", "4")];
        let error = resolve(&Config::new(), &variables).unwrap_err();
        assert_eq!(error, ConfigError::RankMissing { variable: "OMPI_COMM_WORLD_SIZE", size: 4 });
        assert!(error.to_string().starts_with("OMPI_COMM_WORLD_SIZE=4 but nothing says which rank this is"), "{error}");
        assert!(resolve(&Config::new().rank(0), &variables).is_ok());
        assert!(resolve(&Config::new(), &[("EDGEMPI_SIZE", "1")]).is_ok());
        assert!(resolve(&Config::new().size(4), &[]).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn values_that_are_not_text() {
        use std::os::unix::ffi::OsStringExt;
        let value = OsString::from_vec(vec![b'4', 0xff]);
        let lookup = |name: &str| (name == "SLURM_PROCID").then(|| value.clone());
        let error = Config::new().resolve_from(&["tcp"], lookup).unwrap_err();
        assert_eq!(
            error,
            ConfigError::NotUnicode { field: Field::Rank, variable: "SLURM_PROCID", value: value.clone() }
        );
        assert!(error.to_string().starts_with("SLURM_PROCID=4\u{fffd} is not UTF-8 text"), "{error}");
    }

    #[test]
    fn explain_shows_every_row_beside_the_bad_one() {
        let explanation = Config::new()
            .size(3)
            .explain(&["auto", "tcp"], environment(&[("EDGEMPI_WAIT", "x"), ("EDGEMPI_RANK", "2")]));
        assert_eq!(explanation.rows.len(), SETTINGS.len());
        let bad: Vec<_> =
            explanation.rows.iter().filter(|row| row.value.is_err()).map(|row| row.setting.field).collect();
        assert_eq!(bad, [Field::Wait]);
        assert_eq!(explanation.rows[Field::Rank as usize].value.as_deref(), Ok("2"));
        assert_eq!(explanation.outcome.unwrap_err(), explanation.rows[Field::Wait as usize].value.clone().unwrap_err());
    }
}
