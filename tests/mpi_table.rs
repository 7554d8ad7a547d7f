//! The table for somebody who knows MPI keeps its word: each call in it is made by a test, and none of ours is missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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

/// What tests say, and examples, which tests run; file by file.
fn tests() -> Vec<String> {
    let mut said = said_in(&["tests", "transport-std/tests", "examples"]);
    said.push(said_by(&workspace().join("transport-std/src/request/tests.rs")));
    said
}

/// What each of the Rust files of these folders says; without comments, imports, texts and white space.
fn said_in(folders: &[&str]) -> Vec<String> {
    let mut files = Vec::new();
    for folder in folders {
        sources(&workspace().join(folder), &mut files);
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

/// The names of what is bound to a persistent call.
fn persistent_names(text: &str) -> BTreeSet<&str> {
    let bound = text.match_indices("letmut").filter_map(|(at, _)| {
        let (name, value) = text[at + "letmut".len()..].split_once('=')?;
        let value = value.split(';').next()?;
        (value.contains("_init(") || value.contains("_init::<") || value.contains("Persistent::")).then_some(name)
    });
    let names = bound.filter_map(|name| name.split(':').next());
    // Of an array, one after the other.
    names.chain(["each", "call"]).filter(|name| name.chars().all(is_word)).collect()
}

/// Names that others than communicators have for methods of theirs: of texts, channels, iterators and threads.
const COMMON: [&str; 6] = ["split", "reduce", "scan", "send", "recv", "name"];

/// Whether a test uses what a link leads to.
fn is_tested(tests: &[String], link: &str) -> bool {
    tests.iter().any(|text| uses(text, link))
}

fn uses(tests: &str, link: &str) -> bool {
    let Some((owner, name)) = link.split_once("::") else {
        return has(tests, link, |_, _| true);
    };
    let is_called = |behind: &str| behind.starts_with('(') || behind.starts_with("::<");
    // A method of these is called on what `objects` gives, or on a variable of that name.
    let on_objects = |before: &str| before.ends_with("objects().") || before.ends_with("objects.");
    let on_one_of = |before: &str, names: &[&str]| {
        let ends = |name: &&str| before.strip_suffix('.').and_then(|rest| rest.strip_suffix(*name));
        names.iter().filter_map(ends).any(|rest| !rest.ends_with(is_word))
    };
    let on_communicator = |before: &str| {
        let of_a_list =
            || before.ends_with("].") && before.rfind('[').is_some_and(|at| before[..at].ends_with("comms"));
        // In the model's macro the receiver stands beside the call.
        on_one_of(before, &["comm", "comm()"]) || before.ends_with("played!(Comm,comm,") || of_a_list()
    };
    // They are told apart by what they are called on.
    let on_owner = |before: &str| match owner {
        "Objects" | "NeighborObjects" => on_objects(before),
        "Comm" if COMMON.contains(&name) => on_communicator(before),
        "Comm" | "Neighborhood" => !on_objects(before),
        "Message" => on_one_of(before, &["message"]),
        "Persistent" => on_one_of(before, &persistent_names(tests).into_iter().collect::<Vec<_>>()),
        _ => true,
    };
    let by_path = |before: &str| before.ends_with(&format!("{owner}::"));
    has(tests, name, |before, behind| match () {
        () if by_path(before) => true,
        // A field.
        () if owner == "Status" => on_one_of(before, &["status", "status()"]),
        () => before.ends_with(['.', ',']) && is_called(behind) && on_owner(before),
    })
}

#[test]
fn every_call_in_the_table_is_made_by_a_test() {
    let tests = tests();
    let rows = rows();
    assert!(rows.len() > 90, "the table has {} rows", rows.len());
    let mut untested = Vec::new();
    for row in &rows {
        untested.extend(links(row.ours).filter(|link| !is_tested(&tests, link)).map(|link| (row.mpi, link)));
    }
    assert!(untested.is_empty(), "no test makes these calls: {untested:#?}");
}

#[test]
fn every_call_in_the_table_is_made_over_every_link() {
    // Worlds over each link are made in that file.
    let mut conformance = said_in(&["tests/conformance"]);
    conformance.push(said_by(&workspace().join("tests/links.rs")));
    let mut missing = Vec::new();
    for row in &rows() {
        missing.extend(links(row.ours).filter(|link| !is_tested(&conformance, link)).map(|link| (row.mpi, link)));
    }
    assert!(missing.is_empty(), "the conformance suite of the links does not make these calls: {missing:#?}");
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
fn calls_are_found_where_they_are_made_and_nowhere_else() {
    let source = "use a::{\n    b_send,\n};\nlet x = comm // comm.recv()\n    .objects()\n    .send::<u8>(1);\nsay(\".ssend(\");\ncomm.bsend(1);";
    let tests = bare(source);
    assert!(uses(&tests, "Objects::send") && uses(&tests, "Comm::bsend"), "{tests}");
    for link in ["Comm::send", "Objects::bsend", "Comm::recv", "Comm::ssend", "b_send"] {
        assert!(!uses(&tests, link), "{link}: {tests}");
    }
    // What others call so is no call of ours.
    let source = "let mut sum = comm.allreduce_init(data, Sum);\nsum.start()?;\nlet mut sent = comm.send(1);\nsent.wait();\n\
                  text.split(' ');\ntx.send(1);\nrow.source;\nstatus.tag;\nclass.set_buffer();\ncomm.scan(1);\nbox.recv_object();";
    let tests = bare(source);
    for link in ["Persistent::start", "Status::tag", "Comm::send", "Comm::scan"] {
        assert!(uses(&tests, link), "{link}: {tests}");
    }
    for link in ["Persistent::wait", "Persistent::set_buffer", "Comm::split", "Status::source", "Message::recv_object"]
    {
        assert!(!uses(&tests, link), "{link}: {tests}");
    }
}
