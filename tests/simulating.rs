//! The simulation example as a person runs it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use edgempi_tests::example;

/// Runs a few rounds with one board that dies, and returns what was printed.
fn simulate(seed: u64, plot: &Path) -> String {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| example("simulation"));
    let output = Command::new(program)
        .args(["--rounds", "12", "--deaths", "1", "--seed", &seed.to_string()])
        .arg("--output")
        .arg(plot)
        .env_remove("EDGEMPI_SIM_SEED")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn trace(text: &str) -> &str {
    let line = text.lines().find(|line| line.starts_with("trace ")).unwrap_or_else(|| panic!("no trace: {text}"));
    line.split_whitespace().nth(1).expect("its hash")
}

#[test]
fn the_table_of_costs_says_what_it_takes_and_measures_each_figure_alone() {
    let program = example("simulation_scale");
    let run = |arguments: &[&str]| Command::new(&program).args(arguments).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();

    let help = run(&["--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("Usage: simulation_scale [RANKS]..."), "{help:?}");
    let wrong = run(&["many"]);
    assert!(wrong.status.code() == Some(2) && wrong.stdout.is_empty(), "{wrong:?}");
    // As many ranks as are simulated once only.
    let figure = run(&["--measure", "join", "10001"]);
    let numbers: Vec<f64> = text(&figure.stdout).split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert!(figure.status.success() && numbers.len() == 2 && numbers[0] > 0.0, "{figure:?}");
}

#[test]
fn a_thousand_boards_learn_the_same_way_each_time_and_the_plot_shows_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let plots = ["first.svg", "second.svg"].map(|name| folder.path().join(name));
    let texts = [simulate(5, &plots[0]), simulate(5, &plots[1])];
    assert_eq!(trace(&texts[0]), trace(&texts[1]));
    assert_ne!(trace(&texts[0]), trace(&simulate(6, &plots[1])));

    let plot = std::fs::read_to_string(&plots[0]).expect("a plot");
    assert!(plot.starts_with("<svg") && plot.contains("accuracy") && plot.contains("virtual time"), "{plot}");
    // Both curves, with a point for each round.
    let curves = plot.lines().filter(|line| line.contains("stroke-width=\"2\"") && line.matches(',').count() >= 12);
    assert!(curves.count() >= 2, "{plot}");

    let learned = texts[0].lines().find_map(|line| line.strip_prefix("test accuracy ")).expect("how well it went");
    let percent: f32 = learned.split(' ').next().and_then(|number| number.parse().ok()).expect("a number");
    assert!(percent > 50.0, "{learned}");
    // The cell of the board that died is gone, and no other; nobody else counts as failed.
    assert!(texts[0].contains("; 1 rank failed\n"), "{}", texts[0]);
    let losses = "boards that lost their power: 1; cells of 50 that went on: 19 of 20\n";
    assert!(texts[0].contains(losses), "{}", texts[0]);
}
