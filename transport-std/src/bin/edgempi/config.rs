//! `edgempi config`: the settings in effect, and where each comes from.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use edgempi::config::{Config, ConfigError, Row, unknown_variables};

/// Show the settings that a rank started here would have, and where each comes from
///
/// Exits with 2 if one of them can't be right. Warns of variables that begin with EDGEMPI_ and are no settings.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub fn execute(_: &Arguments) -> u8 {
    let explanation = Config::new().explain(edgempi::link::NAMES, |name| std::env::var_os(name));
    // Somebody who reads only the first lines has seen enough.
    let _ = print(&explanation.rows, &mut anstream::stdout().lock());
    let mut errors: Vec<_> = explanation.rows.iter().filter_map(|row| row.value.as_ref().err()).collect();
    if let Err(error) = &explanation.outcome
        && !errors.contains(&error)
    {
        errors.push(error);
    }
    for error in &errors {
        crate::say(error);
    }
    for variable in unknown_variables() {
        crate::say(format_args!("{variable} is no setting and has no effect; is it one of those above, misspelt?"));
    }
    if errors.is_empty() { 0 } else { 2 }
}

fn print(rows: &[Row], to: &mut impl Write) -> io::Result<()> {
    let bold = Style::new().bold();
    let heading = ["VARIABLE", "VALUE", "FROM", "MEANING"].map(str::to_owned);
    let cells: Vec<_> = rows.iter().map(cells).collect();
    let width =
        |column: usize| cells.iter().chain([&heading]).map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2)];
    let mut line = |[variable, value, origin, meaning]: &[String; 4], style: Style| {
        let [first, second, third] = widths;
        writeln!(to, "{style}{variable:first$}  {value:second$}  {origin:third$}  {meaning}{style:#}")
    };
    line(&heading, bold)?;
    for (row, cells) in rows.iter().zip(&cells) {
        let style = if row.value.is_ok() { Style::new() } else { AnsiColor::Red.on_default() };
        line(cells, style)?;
    }
    Ok(())
}

fn cells(row: &Row) -> [String; 4] {
    let (first, others) = row.setting.variables.split_first().unwrap_or((&"", &[]));
    let value = match &row.value {
        Ok(value) if value.is_empty() => "none".to_owned(),
        Ok(value) | Err(ConfigError::Invalid { value, .. }) => value.clone(),
        Err(ConfigError::NotUnicode { value, .. }) => value.display().to_string(),
        Err(_) => "?".to_owned(),
    };
    let mut meaning = row.setting.meaning.replace('`', "");
    if !others.is_empty() {
        meaning += &format!("; also {}", others.join(", "));
    }
    [(*first).to_owned(), value, row.origin.to_string(), meaning]
}
