//! Variables that look like settings and are none: misspelt, most likely.

use std::ffi::OsString;

use super::SETTINGS;

/// The environment variables of this process whose names begin with `EDGEMPI_` and mean nothing here, in the order of
/// their names. [`init`](crate::init) warns of each, and `edgempi config` lists them.
pub fn unknown_variables() -> Vec<String> {
    unknown(std::env::vars_os())
}

/// The setting that a variable which is none looks like.
pub(crate) fn meant_by(variable: &str) -> Option<&'static str> {
    /// Letters that are wrong, missing, or in each other's place.
    const MOST_MISTAKES: usize = 2;
    let settings = SETTINGS.iter().flat_map(|setting| setting.variables).copied();
    let mistakes = |name: &str| strsim::damerau_levenshtein(variable, name);
    settings.min_by_key(|name| mistakes(name)).filter(|name| mistakes(name) <= MOST_MISTAKES)
}

fn unknown(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
    let settings = SETTINGS.iter().flat_map(|setting| setting.variables);
    let known: Vec<&str> = settings.copied().chain([crate::sim::SEED_VARIABLE]).collect();
    // An empty variable counts as one that is not set, here as everywhere.
    let set = variables.filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.to_string_lossy().into_owned());
    let mut unknown: Vec<String> =
        set.filter(|name| name.starts_with("EDGEMPI_") && !known.contains(&name.as_str())).collect();
    unknown.sort_unstable();
    unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_look_like_settings_and_are_none() {
        let names = ["PATH", "EDGEMPI_SIZ", "EDGEMPI_SIZE", "EDGEMPI_SIM_SEED", "OMPI_COMM_WORLD_SIZ", "EDGEMPI_HOST"];
        let mut variables: Vec<(OsString, OsString)> = names.map(|name| (name.into(), "3".into())).to_vec();
        variables.push(("EDGEMPI_EMPTY".into(), "".into()));
        assert_eq!(unknown(variables.into_iter()), ["EDGEMPI_HOST", "EDGEMPI_SIZ"]);
    }
}
