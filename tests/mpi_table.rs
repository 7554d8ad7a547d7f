//! The table for somebody who knows MPI keeps its word: each call in it is made by a test, and none of ours is missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use edgempi_tests::say;

/// The page with the table.
const PAGE: &str = include_str!("../transport-std/src/mpi.rs");

/// A row of it: MPI's names, and the links to ours.
struct Row {
    mpi: &'static str,
    ours: &'static str,
}

fn rows() -> Vec<Row> {
    let lines = PAGE.lines().filter_map(|line| line.strip_prefix("//! | "));
    let cells = lines.filter_map(|line| {
        let mut cells = line.split(" | ");
        Some(Row { mpi: cells.next()?, ours: cells.next()? })
    });
    cells.filter(|row| row.mpi.contains("`MPI_")).collect()
}

/// What stands between `[` and `]` in backquotes: rustdoc has checked that it exists.
fn links(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split("[`").skip(1).filter_map(|rest| Some(rest.split_once('`')?.0))
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The Rust files of a folder, and of those in it.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            // Firmware calls another crate.
            if !path.ends_with("target") && !path.ends_with("examples/firmware") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("mpi_table.rs") {
            found.push(path);
        }
    }
}

/// What each of the Rust files at these places says; without comments, imports, texts and white space.
fn said_in(places: &[&str]) -> Vec<String> {
    let mut files = Vec::new();
    for place in places.iter().map(|place| workspace().join(place)) {
        if place.is_dir() {
            sources(&place, &mut files);
        } else {
            files.push(place);
        }
    }
    files.iter().map(|file| said_by(file)).collect()
}

fn said_by(file: &Path) -> String {
    bare(&fs::read_to_string(file).unwrap())
}

fn bare(source: &str) -> String {
    let mut text = String::new();
    let mut imports = false;
    for line in source.lines().map(|line| line.split("//").next().unwrap_or_default().trim()) {
        imports |= line.starts_with("use ");
        if !imports {
            // What is between quotes is said, not called. A quote in quotes cuts a line short, no more.
            text.extend(line.split('"').step_by(2).flat_map(str::chars).filter(|letter| *letter != ' '));
            text.push('\n');
        }
        imports &= !line.ends_with(';');
    }
    // A chain of calls is one line.
    text.replace("\n.", ".")
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Whether `text` has `name` as a whole word, where `before` and `behind` fit.
fn has(text: &str, name: &str, fits: impl Fn(&str, &str) -> bool) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let (before, behind) = (&text[..at], &text[at + name.len()..]);
        !before.ends_with(is_word) && !behind.starts_with(is_word) && fits(before, behind)
    })
}

/// What a row names that is no function and begins with a small letter, too.
const FIELDS: [&str; 3] = ["Status::source", "Status::tag", "Status::bytes"];

fn is_function(link: &str) -> bool {
    !FIELDS.contains(&link) && link.rsplit("::").next().is_some_and(|name| name.starts_with(char::is_lowercase))
}

/// Whether a text uses a type, a constant or a field.
fn mentions(text: &str, link: &str) -> bool {
    let Some((owner, name)) = link.split_once("::") else {
        return has(text, link, |_, _| true);
    };
    let of_a_status = |before: &str| {
        let mut rests = ["status.", "status()."].into_iter().filter_map(|ends| before.strip_suffix(ends));
        rests.any(|rest| !rest.ends_with(is_word))
    };
    let of_the_owner = |before: &str| before.ends_with(&format!("{owner}::"));
    has(text, name, |before, _| if FIELDS.contains(&link) { of_a_status(before) } else { of_the_owner(before) })
}

/// A file that calls a function of ours, and that function, by the name that links have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    file: String,
    function: String,
}

impl Call {
    /// The call that clippy tells of in a line.
    fn in_line(line: &str) -> Option<Self> {
        let (place, told) = line.split_once(": warning: use of a disallowed method `edgempi::")?;
        let file = place.split(':').next()?.replace('\\', "/");
        Some(Self { file, function: told.split('`').next()?.to_owned() })
    }
}

/// The calls of all functions in the table. Texts, channels, iterators, threads and requests have methods of the same
/// names, so that only the compiler can tell whose is called: a lint of clippy finds the calls of what it is given a list
/// of. None where there is no clippy.
fn calls() -> Option<&'static BTreeSet<Call>> {
    static CALLS: OnceLock<Option<BTreeSet<Call>>> = OnceLock::new();
    CALLS.get_or_init(find_calls).as_ref()
}

fn find_calls() -> Option<BTreeSet<Call>> {
    let clippy = || {
        let mut command = Command::new(env!("CARGO"));
        command.arg("clippy").current_dir(workspace());
        command
    };
    if !clippy().arg("--version").output().is_ok_and(|output| output.status.success()) {
        say("\nSKIPPED: who calls what the table for MPI names: there is no clippy (rustup component add clippy)");
        return None;
    }
    let rows = rows();
    let functions: BTreeSet<_> = rows.iter().flat_map(|row| links(row.ours)).filter(|link| is_function(link)).collect();
    let list: Vec<_> = functions.iter().map(|function| format!("\"edgempi::{function}\"")).collect();
    let list = format!("disallowed-methods = [{}]\n", list.join(", "));
    let settings = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mpi_table");
    let file = settings.join("clippy.toml");
    // A new file would have everything looked at again.
    if fs::read_to_string(&file).ok().as_ref() != Some(&list) {
        fs::create_dir_all(&settings).unwrap();
        fs::write(&file, list).unwrap();
    }
    let mut command = clippy();
    command.args(["--locked", "--all-targets", "--message-format=short"]);
    command.args(["edgempi", "edgempi-tests", "edgempi-examples"].map(|package| format!("--package={package}")));
    // Whatever else is an error in this environment, or allowed in a file.
    command.args(["--", "--allow=clippy::all", "--force-warn=clippy::disallowed_methods"]);
    command.env("CLIPPY_CONF_DIR", settings).env("CARGO_TERM_COLOR", "never");
    let output = command.output().expect("it could tell its version");
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let others: Vec<_> = told.lines().filter(|line| Call::in_line(line).is_none()).collect();
        panic!("{command:?}: {others:#?}");
    }
    Some(told.lines().filter_map(Call::in_line).collect())
}

/// Tests and examples, which tests run.
const TESTED: [&str; 3] = ["tests/", "transport-std/tests/", "examples/"];
/// Tests of all links; worlds over each link are made in the second one.
const OF_LINKS: [&str; 2] = ["tests/conformance/", "tests/links.rs"];
/// Those within the library.
const WITHIN: &str = "transport-std/src/request/tests.rs";

/// The rows' links that nothing uses in these folders and files, each with MPI's name.
fn unused(places: &[&str]) -> Vec<(&'static str, &'static str)> {
    let texts = said_in(places);
    let is_used = |link: &str| match (is_function(link), calls()) {
        (true, Some(calls)) => {
            let mut calls = calls.iter().filter(|call| call.function == link && call.file != file!());
            calls.any(|call| places.iter().any(|place| call.file.starts_with(place)))
        }
        (true, None) => true,
        (false, _) => texts.iter().any(|text| mentions(text, link)),
    };
    let rows = rows();
    let named = rows.iter().flat_map(|row| links(row.ours).map(|link| (row.mpi, link)));
    named.filter(|(_, link)| !is_used(link)).collect()
}

#[test]
fn every_call_in_the_table_is_made_by_a_test() {
    let rows = rows();
    assert!(rows.len() > 90, "the table has {} rows", rows.len());
    let unused = unused(&[&TESTED[..], &[WITHIN]].concat());
    assert!(unused.is_empty(), "no test makes these calls: {unused:#?}");
}

#[test]
fn every_call_in_the_table_is_made_over_every_link() {
    let mut unused = unused(&OF_LINKS);
    // It takes its settings from the environment, which a process has one of.
    unused.retain(|(_, link)| *link != "init");
    assert!(unused.is_empty(), "the conformance suite of the links does not make these calls: {unused:#?}");
}

#[test]
fn a_row_without_a_call_of_ours_says_so() {
    for Row { mpi, ours } in rows() {
        let free = ["not offered", "drop it", "drop the last clone", "the `…_in_place` calls"];
        assert!(links(ours).next().is_some() || free.contains(&ours), "{mpi}: {ours:?}");
        assert!(ours != "not offered" || !mpi.contains("Send`"), "{mpi}");
    }
}

#[test]
fn no_name_of_mpi_stands_in_two_rows() {
    let mut seen = BTreeSet::new();
    for row in rows() {
        for name in row.mpi.split('`').filter(|name| name.starts_with("MPI_")) {
            assert!(seen.insert(name), "{name} is there twice");
        }
    }
    assert!(seen.len() > 300, "{} names of MPI", seen.len());
}

/// The public methods of a source, as "Comm::send". Blocks of traits are not looked at.
fn methods(source: &str) -> Vec<String> {
    let owners = [
        "Comm",
        "Objects",
        "Neighborhood",
        "NeighborObjects",
        "Cartesian",
        "ProcessGroup",
        "Message",
        "Request",
        "Persistent",
    ];
    let mut owner = None;
    let mut found = Vec::new();
    for line in source.lines() {
        if line.starts_with("impl") {
            // "impl Comm {", "impl<'a, T> Request<'a, T> {", "impl Objects<'_> {".
            let is_of = |name: &&&str| has(line, name, |before, _| before.ends_with(' ') && !before.contains('('));
            owner = if line.contains(" for ") { None } else { owners.iter().find(is_of) };
        }
        if let (Some(owner), Some(rest)) = (owner, line.strip_prefix("    pub fn ")) {
            found.push(format!("{owner}::{}", rest.split(['(', '<']).next().unwrap_or_default()));
        }
    }
    found
}

#[test]
fn every_call_of_a_communicator_is_in_the_table() {
    let rows = rows();
    let known: BTreeSet<_> = rows.iter().flat_map(|row| links(row.ours)).collect();
    let mut files = Vec::new();
    for folder in ["comm", "topology", "request"] {
        sources(&workspace().join("transport-std/src").join(folder), &mut files);
    }
    files.push(workspace().join("transport-std/src/group.rs"));
    let methods: Vec<_> = files.iter().flat_map(|file| methods(&fs::read_to_string(file).unwrap())).collect();
    assert!(methods.len() > 130, "{} methods were found", methods.len());
    // The way to the calls on objects is none itself, and what becomes of a result is nothing of MPI's.
    let others = ["Comm::objects", "Neighborhood::objects", "Request::map", "Persistent::is_active"];
    let missing = methods.iter().filter(|call| !known.contains(call.as_str()) && !others.contains(&call.as_str()));
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "the table does not name {missing:#?}");
}

/// The README's shorter table: its rows from "From MPI to edgempi" to the next heading, without the head.
fn short_rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    let readme = include_str!("../README.md");
    let begin = readme.find("\n## From MPI to edgempi\n").expect("README has the table");
    let table = readme[begin + 4..].split("\n## ").next().unwrap_or_default();
    table.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | ")).skip(1)
}

#[test]
fn the_readme_names_calls_that_are_in_the_table() {
    // "MPI_" stands before none of them.
    let of_mpi: BTreeSet<_> = rows().iter().flat_map(|row| row.mpi.split('`')).collect();
    let ours: BTreeSet<_> =
        rows().iter().flat_map(|row| links(row.ours)).filter_map(|link| link.split("::").last()).collect();
    let mut count = 0;
    for (mpi, here) in short_rows() {
        for name in mpi.split('`').skip(1).step_by(2) {
            assert!(of_mpi.contains(format!("MPI_{name}").as_str()), "{name}");
            count += 1;
        }
        let calls = here.split('`').skip(1).step_by(2).flat_map(|code| code.split_inclusive('('));
        for call in calls.filter_map(|code| code.strip_suffix('(')) {
            let name = call.trim_end_matches("::<T>").rsplit(|letter| !is_word(letter)).next().unwrap_or_default();
            let is_call = name.starts_with(char::is_lowercase) && name != "objects";
            assert!(!is_call || ours.contains(name), "{name} of {here}");
        }
    }
    assert!(count > 70, "{count} names");
}

#[test]
fn names_are_found_where_they_are_used_and_nowhere_else() {
    let source = "use a::{\n    Min,\n};\nlet x = comm // Max\n    .probe(1, 2).wait()?\n    .status()\n    .tag;\n\
                  say(\"Sum\");\nSplitType::Kind;\nrow.source;\nThreads::Machine;\nfold(Prod)";
    let text = bare(source);
    for link in ["Status::tag", "SplitType::Kind", "Prod"] {
        assert!(mentions(&text, link), "{link}: {text}");
    }
    for link in ["Min", "Max", "Sum", "Status::source", "SplitType::Machine", "Pro"] {
        assert!(!mentions(&text, link), "{link}: {text}");
    }
}

#[test]
fn calls_are_found_where_they_are_made_and_nowhere_else() {
    let Some(calls) = calls() else { return };
    let made =
        |function: &str| calls.contains(&Call { file: "tests/mpi_table.rs".to_owned(), function: function.to_owned() });
    let comm = edgempi::comm_self().unwrap();
    assert_eq!("a b".split(' ').count(), 2);
    assert_eq!(comm.rank(), 0);
    for function in ["comm_self", "Comm::rank"] {
        assert!(made(function), "{function}: {calls:#?}");
    }
    for function in ["Comm::split", "Status::count", "ProcessGroup::rank"] {
        assert!(!made(function), "{function}");
    }
}
