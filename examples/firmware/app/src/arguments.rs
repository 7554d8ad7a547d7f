//! What an application was started with, by name.

use core::str::FromStr;

use crate::Failure;

/// Words such as `hub=10.0.2.2:61642 rank=3 size=5`.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a>(&'a str);

impl<'a> Arguments<'a> {
    /// The words of `line`, which have spaces between.
    pub const fn new(line: &'a str) -> Self {
        Self(line)
    }

    /// What follows `name=`, where one of the words begins so.
    ///
    /// # Errors
    ///
    /// [`Failure::Argument`] if it is no `T`.
    pub fn find<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, Failure> {
        let Some(value) = self.text(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| Failure::Argument { argument: name })
    }

    /// What follows `name=`, as it is.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.0.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// As [`find`](Self::find), for what an application can't do without.
    ///
    /// # Errors
    ///
    /// As for [`find`](Self::find), and [`Failure::Missing`] if there is no such word.
    pub fn need<T: FromStr>(&self, name: &'static str) -> Result<T, Failure> {
        self.find(name)?.ok_or(Failure::Missing { argument: name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_found_by_its_whole_name() {
        let arguments = Arguments::new("fw ranks=3 rank=2 size= rank");
        assert_eq!(arguments.find::<u16>("rank"), Ok(Some(2)));
        assert_eq!(arguments.find::<u16>("ran"), Ok(None));
        assert_eq!(arguments.need::<u16>("port"), Err(Failure::Missing { argument: "port" }));
        assert_eq!(arguments.find::<u16>("size"), Err(Failure::Argument { argument: "size" }));
    }
}
