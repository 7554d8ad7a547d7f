//! Where in the program a call is made, so that the hub can print it with a mismatch: behind the feature `sites`, because it
//! brings the names of source files into flash. Without the feature nothing here takes any room.

use edgempi_core::Category;

use crate::memory::NameEntry;
#[cfg(feature = "sites")]
use crate::names::Hash;
use crate::names::Put;

/// Sites that a rank can tell the hub of; what is called at further ones is printed without.
pub(crate) const SITES: usize = if cfg!(feature = "sites") { 16 } else { 0 };

/// Most bytes of a file's name; of a longer one the end is told.
#[cfg(feature = "sites")]
const FILE: usize = 100;

/// A place in the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    #[cfg(feature = "sites")]
    location: &'static core::panic::Location<'static>,
}

#[cfg(not(feature = "sites"))]
impl Site {
    #[inline(always)]
    pub(crate) fn here() -> Self {
        Self {}
    }

    pub(crate) fn number(self, _: &mut [NameEntry]) -> (u16, bool) {
        (0, false)
    }

    pub(crate) fn len(self) -> usize {
        0
    }

    pub(crate) fn write(self, _: Put<'_>) -> Result<(), Category> {
        Ok(())
    }
}

#[cfg(feature = "sites")]
impl Site {
    /// Where the function that calls this was called.
    #[track_caller]
    pub(crate) fn here() -> Self {
        Self { location: core::panic::Location::caller() }
    }

    /// Its number among the sites of this session, 0 if there are too many; and whether the hub has still to be told.
    pub(crate) fn number(self, sites: &mut [NameEntry]) -> (u16, bool) {
        let place = Hash::new(4).word(self.location.line()).word(self.location.column());
        let hash = self.location.file().bytes().fold(place, |hash, letter| hash.word(letter.into())).get();
        let known = sites.iter().position(|site| site.hash == hash);
        let index = known.or_else(|| sites.iter().position(|site| site.hash == 0));
        let Some((index, site)) = index.and_then(|index| Some((index, sites.get_mut(index)?))) else {
            return (0, false);
        };
        site.hash = hash;
        (index as u16 + 1, !site.told)
    }

    /// Bytes of its text.
    pub(crate) fn len(self) -> usize {
        let mut len = 0;
        // Nothing that only counts can fail.
        let _ = self.write(&mut |piece| {
            len += piece.len();
            Ok(())
        });
        len
    }

    /// Gives out its text: file, line and column.
    pub(crate) fn write(self, put: Put<'_>) -> Result<(), Category> {
        let file = self.location.file();
        let start = (file.len().saturating_sub(FILE)..).find(|start| file.is_char_boundary(*start));
        put(file.get(start.unwrap_or(0)..).unwrap_or_default().as_bytes())?;
        for number in [self.location.line(), self.location.column()] {
            put(b":")?;
            let mut digits = [0; 10];
            let mut rest = number;
            let mut first = digits.len();
            while rest > 0 || first == digits.len() {
                first -= 1;
                if let Some(digit) = digits.get_mut(first) {
                    *digit = b'0' + (rest % 10) as u8;
                }
                rest /= 10;
            }
            put(digits.get(first..).unwrap_or_default())?;
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "sites"))]
mod tests {
    extern crate std;
    use std::string::String;

    use super::*;

    fn text(site: Site) -> String {
        let mut text = std::vec::Vec::new();
        site.write(&mut |piece| {
            text.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
        assert_eq!(text.len(), site.len());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_site_is_told_as_file_line_and_column() {
        let (site, line) = (Site::here(), line!());
        assert!(text(site).ends_with(&std::format!("site.rs:{line}:29")), "{}", text(site));
    }

    #[test]
    fn sites_have_numbers_until_there_are_too_many() {
        let mut sites = [NameEntry::FREE; 2];
        let (first, second, third) = (Site::here(), Site::here(), Site::here());
        assert_eq!(first.number(&mut sites), (1, true));
        sites[0].told = true;
        assert_eq!(second.number(&mut sites), (2, true));
        assert_eq!(first.number(&mut sites), (1, false));
        assert_eq!(third.number(&mut sites), (0, false));
    }
}
