//! `docs/cli.md` says what the program does.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::program::run;

const PAGE: &str = include_str!("../../../docs/cli.md");
const COMMANDS: [&str; 5] = ["retrieve", "recover", "push", "serve", "inspect"];
/// Those of every program.
const NEEDS_NO_WORDS: [&str; 2] = ["--help", "--version"];

/// An event of a run has its row in the table of events, and each of its fields is named there.
#[track_caller]
pub fn assert_documented(event: &Value) {
    let name = event["event"].as_str().unwrap();
    let start = format!("| `{name}` |");
    let row = PAGE.lines().find(|line| line.starts_with(&start));
    let row = row.unwrap_or_else(|| panic!("{name} is no event in docs/cli.md"));
    for field in event.as_object().unwrap().keys().filter(|f| *f != "event") {
        assert!(row.contains(&format!("`{field}`")), "{name}: {field}");
    }
}

#[test]
fn every_option_of_every_command_is_documented() {
    let helps = COMMANDS.iter().map(|command| vec![*command, "--help"]);
    for args in helps.chain([vec!["--help"]]) {
        let help = run(&args).expect(0).stdout;
        let options: Vec<_> = options(&help).collect();
        assert!(options.len() > 2, "{help}");
        for option in options {
            let is_documented = NEEDS_NO_WORDS.contains(&option) || names(PAGE, option);
            assert!(is_documented, "{option} of {args:?} is not in docs/cli.md");
        }
    }
}

#[test]
fn every_event_that_the_code_names_is_documented() {
    let mut source = String::new();
    read(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut source,
    );
    source.retain(|c| !c.is_whitespace());
    let quoted = |text: &str| text.split('"').next().map(ToOwned::to_owned);
    // As `output.event("done", ..)` and as `("asked", json!(..))`.
    let calls = source.split(".event(\"").skip(1).filter_map(quoted);
    let pairs = source.split("\",json!(").map(|before| {
        let name = before.rsplit('"').next().unwrap_or_default();
        name.to_owned()
    });
    let is_name = |name: &String| !name.is_empty() && name.chars().all(is_of_a_name);
    let events: BTreeSet<_> = calls.chain(pairs).filter(is_name).collect();
    assert!(
        events.contains("asked") && events.contains("done") && events.len() > 20,
        "{events:?}"
    );
    for event in events {
        let row = format!("| `{event}` |");
        assert!(PAGE.lines().any(|l| l.starts_with(&row)), "{event}");
    }
}

#[test]
fn every_exit_code_is_documented_in_the_words_of_the_program() {
    let source = include_str!("../../src/failure.rs");
    let emitted = source.split("(_) => ").skip(1);
    let emitted = emitted.filter_map(|rest| rest.split(',').next()?.parse::<u8>().ok());
    let emitted: BTreeSet<u8> = emitted.chain([0]).collect();
    let help = run(["--help"]).expect(0).stdout;
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    let said: Vec<_> = codes
        .lines()
        .filter_map(|line| line.trim().split_once("  "))
        .collect();
    let codes = said.iter().map(|(code, _)| code.parse().unwrap());
    assert_eq!(codes.collect::<BTreeSet<u8>>(), emitted);
    let page = PAGE.replace('`', "");
    for (code, words) in said {
        let row = format!("| {code} | {words} |");
        assert!(page.lines().any(|line| line == row), "{row}");
    }
}

fn options(help: &str) -> impl Iterator<Item = &str> {
    let lines = help.lines().map(str::trim_start);
    let lines = lines.filter(|line| line.starts_with('-'));
    lines.filter_map(|line| {
        let mut words = line.split([' ', ',', '=', '[']);
        words.find(|word| word.starts_with("--"))
    })
}

/// Whether the option stands there, and not one of which it is the beginning.
fn names(page: &str, option: &str) -> bool {
    let mut found = page.match_indices(option).map(|(at, _)| at + option.len());
    found.any(|end| !page[end..].starts_with(|c: char| c.is_alphanumeric() || c == '-'))
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_lowercase() || c == '_'
}

fn read(dir: &Path, source: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => read(&path, source),
            false => source.push_str(&std::fs::read_to_string(&path).unwrap()),
        }
    }
}
