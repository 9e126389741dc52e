//! The commands of the world, and its README.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::Value;

#[test]
fn the_readme_names_every_command_and_no_other() {
    let readme = include_str!("../README.md");
    let commands = readme.split("## Commands").nth(1).unwrap();
    let rows = commands.lines().filter_map(|line| line.strip_prefix("| `"));
    let named: BTreeSet<&str> = rows.map(|row| row.split('`').next().unwrap()).collect();
    let named: BTreeSet<&str> = named.into_iter().filter(|name| *name != "do").collect();

    // Whoever asks for something else is told what there is.
    let answers = ask(&[r#"{"do": "something else"}"#]);
    let error = answers[0]["error"].as_str().unwrap();
    let known = error.split("expected one of ").nth(1).unwrap();
    let known: BTreeSet<&str> = known.split('`').skip(1).step_by(2).collect();
    assert_eq!(named, known);
}

#[test]
fn it_goes_on_after_errors_and_ends_with_its_input() {
    let answers = ask(&[
        "no json",
        r#"{"do": "tip"}"#,
        r#"{"do": "start", "name": "errors", "peers": [{"name": "anna", "kind": "stock"}]}"#,
        r#"{"do": "start", "name": "errors", "peers": []}"#,
        r#"{"do": "tip", "what": 1}"#,
        r#"{"do": "peer_stop", "peer": "nobody"}"#,
        r#"{"do": "misbehave", "peer": "anna", "how": "forgets"}"#,
        r#"{"do": "mine", "blocks": 2}"#,
    ]);
    let ok: Vec<bool> = answers.iter().map(|a| a["ok"].as_bool().unwrap()).collect();
    assert_eq!(ok, [false, false, true, false, false, false, false, true]);
    assert_eq!(answers[7]["height"], 112);
    let wrong = answers.iter().filter(|answer| answer["ok"] == false);
    assert!(wrong.into_iter().all(|answer| answer["error"].is_string()));
}

/// Asks a world all of this, and waits until it has ended.
fn ask(commands: &[&str]) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peer-storage-world"));
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut world = pipes.stderr(Stdio::null()).spawn().unwrap();
    let mut asked = world.stdin.take().unwrap();
    for command in commands {
        writeln!(asked, "{command}").unwrap();
    }
    drop(asked);
    let answers = BufReader::new(world.stdout.take().unwrap()).lines();
    let answers = answers.map(|line| serde_json::from_str(&line.unwrap()).unwrap());
    let answers = answers.collect();
    assert!(world.wait().unwrap().success());
    answers
}
