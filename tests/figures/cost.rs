//! What the library costs: an image that calls it, less the image `echo` of the same board.

use std::thread;

use edgempi_tests::LoneHub;
use edgempi_tests::emulator::{AN385, AN386, Board, LM3S6965EVB, Line, MICROBIT, Machine, connect};

use crate::image::Size;

const BUDGET: &str = include_str!("../firmware/budget");

/// Bytes, in the budget's order; `None` where nothing is measured.
type Figures = [Option<i64>; 3];
const NAMES: [&str; 3] = ["text", "RAM", "stack"];

/// Prints a table, and what is over the budget. Returns whether nothing is.
pub fn print() -> bool {
    println!("Bytes beyond `echo` of the same board (in parentheses: its own); opt-level s, fat LTO\n");
    println!("| board | calls | text | RAM | stack |\n|---|---|---|---|---|");
    let mut complaints = Vec::new();
    for machine in [&AN385, &AN386, &LM3S6965EVB, &MICROBIT] {
        let echo = echo(machine);
        for calls in ["all", "basic"] {
            let image = image(machine, &format!("size_{calls}"));
            let cost = [0, 1, 2].map(|at| Some(image[at]? - echo[at]?));
            let cell = |at: usize| match (cost[at], echo[at]) {
                (Some(cost), Some(echo)) => format!("{cost:+} ({echo})"),
                _ => "-".to_owned(),
            };
            println!("| {} | {calls} | {} | {} | {} |", machine.name, cell(0), cell(1), cell(2));
            complaints.extend(over_budget(machine.name, calls, cost));
        }
    }
    println!();
    complaints.iter().for_each(|complaint| println!("over budget: {complaint}"));
    complaints.is_empty()
}

fn over_budget(board: &str, calls: &str, cost: Figures) -> Vec<String> {
    let line = BUDGET.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = line.into_iter().find(|words| words.starts_with(&[board, calls]));
    let line = line.unwrap_or_else(|| panic!("tests/firmware/budget has no line {board} {calls}"));
    let budget = |at: usize| line.get(at + 2).and_then(|number| number.parse::<i64>().ok());
    let over = |at: usize| {
        let (cost, budget) = (cost[at]?, budget(at)?);
        (cost > budget).then(|| format!("{} of {calls} calls on {board}: {cost} bytes, allowed {budget}", NAMES[at]))
    };
    (0..3).filter_map(over).collect()
}

fn echo(machine: &Machine) -> Figures {
    let Size { text, ram } = Size::of(&machine.image("echo"));
    let (board, stream) = connect(machine, "echo", &["bytes=1024"]);
    let mut answers = stream.try_clone().expect("a socket can be shared");
    let mut bytes = vec![7; 1024];
    std::io::Write::write_all(&mut &stream, &bytes).expect("the board's link is open");
    std::io::Read::read_exact(&mut answers, &mut bytes).expect("the board sends it back");
    [Some(text), Some(ram), Some(stack(board))]
}

/// An image of the library, run by both ranks of a world.
fn image(machine: &Machine, application: &str) -> Figures {
    let Size { text, ram } = Size::of(&machine.image(application));
    // Serial boards reach a hub through a bridge only.
    let stack = (machine.line == Line::Network).then(|| {
        let hub = LoneHub::start(2);
        let hub_argument = format!("hub=10.0.2.2:{}", hub.address.port());
        let board = |rank: &str| Board::start(machine, application, &[&hub_argument, rank, "size=2"], "null");
        let boards = ["rank=0", "rank=1"].map(board);
        let boards = boards.map(|board| thread::spawn(move || stack(board)));
        boards.into_iter().map(|board| board.join().expect("a board ends")).max().expect("there are two")
    });
    [Some(text), Some(ram), stack]
}

/// What a board says at its end of how much stack it used.
fn stack(board: Board) -> i64 {
    let (success, said) = board.end();
    assert!(success, "{said}");
    let number = said.lines().find_map(|line| line.strip_prefix("stack: ")?.strip_suffix(" bytes at most"));
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no stack in {said}"))
}
